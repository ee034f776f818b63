//! How a server that was told to end takes its leave.
//!
//! It goes on for [`DRAIN_DELAY`] while its endpoint leaves the Service, then lets the requests that it has end
//! ([`drain_grace`]), and must be gone when Kubernetes kills it ([`termination_grace`]).

use std::time::Duration;

/// How long a server takes requests after it was told to end: until every node has heard that its endpoint is gone.
pub const DRAIN_DELAY: Duration = Duration::from_secs(5);
/// Until a request that was cut off by nothing but its own bound has its answer: its body is read before the bound begins
/// to count, and its answer is written after that.
const ANSWER: Duration = Duration::from_secs(5);
/// Until a process has ended whose last request is answered: what was given up is told so, and traces are sent.
const END: Duration = Duration::from_secs(5);

/// How long the requests of a server may take to end: as long as the longest that it takes, `requestTimeout`.
pub const fn drain_grace(request_timeout: Duration) -> Duration {
    request_timeout.saturating_add(ANSWER)
}

/// `terminationGracePeriodSeconds` of a server's pod.
pub const fn termination_grace(request_timeout: Duration) -> Duration {
    DRAIN_DELAY.saturating_add(drain_grace(request_timeout)).saturating_add(END)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_request_ends_before_the_server_and_the_server_before_its_pod() {
        for timeout in [Duration::from_secs(1), Duration::from_mins(1), Duration::from_hours(1)] {
            assert!(drain_grace(timeout) > timeout);
            assert!(termination_grace(timeout) > DRAIN_DELAY + drain_grace(timeout));
        }
    }
}
