//! Requests that are sent and lost while the pods of a Model come, go and are killed.
//!
//! A [`Generator`](generator::Generator) sends requests to the Service of a Model at a steady rate, over connections that
//! it keeps, and repeats none. Meanwhile a [`Stage`] changes the Model's pods. What became of the requests is a [`Row`] each;
//! a [`course`] is all of them, one after the other.
pub mod course;
mod events;
pub mod generator;
mod pods;
pub mod record;
mod stage;

use std::{fmt, time::Duration};

use self::record::Window;
pub use self::stage::Stage;

/// What became of the requests around an event.
#[derive(Debug)]
pub struct Row {
    /// What happened.
    pub event: String,
    /// The requests.
    pub window: Window,
    /// From the event until the pods were as they should be.
    pub settled: Duration,
    /// From the event until the last request that failed was begun.
    pub last_failure: Duration,
    /// From the first failure until the last.
    pub failing: Duration,
}

impl Row {
    /// The head of a table of rows.
    pub const HEAD: &str =
        "| Event | Requests | Settled after | From the first failure to the last |\n|---|---|---|---|";

    /// The same event once more: requests are added, and of times the longest counts.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            event: self.event,
            window: self.window.and(other.window),
            settled: self.settled.max(other.settled),
            last_failure: self.last_failure.max(other.last_failure),
            failing: self.failing.max(other.failing),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "| {} | {} | {:.1} s | {:.1} s |",
            self.event,
            self.window,
            self.settled.as_secs_f64(),
            self.failing.as_secs_f64()
        )
    }
}
