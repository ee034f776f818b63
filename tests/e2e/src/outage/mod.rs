//! Parts of a cluster that are taken away for a while, and what becomes meanwhile of requests to a Model.
pub mod programs;

use std::{fmt, time::Duration};

use crate::disruption::record::Window;

/// What came of an outage.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was away.
    pub fault: String,
    /// For how long.
    pub outage: Duration,
    /// The requests from its beginning until all was as before.
    pub requests: Window,
    /// From its end until what waited for it was done.
    pub recovered: Duration,
    /// What a user saw meanwhile.
    pub seen: String,
}

impl Row {
    /// The head of a table of rows.
    pub const HEAD: &str = "| Away | For | Requests | Recovered after | Seen meanwhile |\n\
                            |---|---|---|---|---|";
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fault, outage, requests, recovered, seen } = self;
        let seen = seen.replace('|', "\\|").replace('\n', " ");
        write!(
            f,
            "| {fault} | {} s | {requests} | {:.1} s | {seen} |",
            outage.as_secs(),
            recovered.as_secs_f64()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_is_one_line_of_a_table() {
        let row = Row {
            fault: "etcd".into(),
            outage: Duration::from_secs(5),
            requests: Window { sent: [700, 40], ..Window::default() },
            recovered: Duration::from_millis(1_250),
            seen: "a|b\nc".into(),
        };
        assert_eq!(row.to_string(), "| etcd | 5 s | 700 + 40 sent, 0 failed | 1.2 s | a\\|b c |");
    }
}
