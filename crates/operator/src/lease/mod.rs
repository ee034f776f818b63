//! Leader election: of all processes of an operator, at most one reconciles.
//!
//! The claim is a `Lease` object, and every write to it is a compare-and-swap on its `resourceVersion`. Who holds it writes
//! it every [`Settings::renew_every`]; another takes it over only after it has seen it unchanged for
//! [`Settings::duration`] **on its own monotonic clock**: what times the holder wrote is of no account, so wrong wall clocks
//! do no harm. The holder gives up when no write of its own *began* within [`Settings::deadline`], which is shorter, so it
//! has stopped before anybody else can start.
//!
//! | Module | What | I/O |
//! |---|---|---|
//! | [`decide`] | what a process may do now | none |
//! | [`elector`] | what it asks of the API server, and what it learns from answers | none |
//! | [`participant`] | carries that out, with timeouts | the API server, the clock |
//!
//! A Lease does not fence: a request that was sent just before the end of a claim may arrive after it. That is why the claim
//! ends 5 s before the Lease does, why [`client`](crate::client) refuses writes without one, and why a process that lost it
//! exits.

mod claim;
mod decide;
mod elector;
mod participant;
#[cfg(test)]
mod simulation;

use std::time::Duration;

pub use claim::Claim;
pub use decide::{Decision, Me, Record, decide};
pub use participant::{Lost, Participant, Place};

/// The times of an election.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settings {
    /// How long a Lease must have been unchanged before another takes it.
    pub duration: Duration,
    /// How often its holder writes it.
    pub renew_every: Duration,
    /// How old the holder's last successful write may be; then it has lost. Shorter than `duration` by more than two clocks
    /// can differ in that time and a request can be under way.
    pub deadline: Duration,
    /// How long one request may take. A fraction of `deadline`: one slow call costs nothing.
    pub attempt: Duration,
    /// The leader's pause after a request that failed.
    pub retry_after: Duration,
    /// How often those that wait look at the Lease: how long a hand-over takes at most.
    pub look_every: Duration,
}

impl Settings {
    /// The shortest `duration`: its holder renews it every second.
    pub const SHORTEST: Duration = Duration::from_secs(3);
    /// The longest: so long nobody leads after the loss of a node.
    pub const LONGEST: Duration = Duration::from_mins(5);

    /// The times that belong to a Lease of this duration.
    pub fn of(duration: Duration) -> Self {
        Self {
            duration,
            renew_every: duration / 3,
            deadline: duration / 3 * 2,
            attempt: duration * 2 / 15,
            retry_after: duration / 30,
            look_every: duration * 2 / 15,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::of(Duration::from_secs(15))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_a_lease_keep_their_order_at_every_duration() {
        for seconds in [3, 15, 300] {
            let Settings { duration, renew_every, deadline, attempt, retry_after, look_every } =
                Settings::of(Duration::from_secs(seconds));
            assert!(retry_after < attempt && attempt < renew_every && look_every < renew_every);
            assert!(renew_every + attempt < deadline && deadline < duration, "{seconds}");
        }
        assert_eq!(Settings::default().renew_every, Duration::from_secs(5));
        assert_eq!(Settings::default().deadline, Duration::from_secs(10));
        assert_eq!(Settings::default().retry_after, Duration::from_millis(500));
    }
}
