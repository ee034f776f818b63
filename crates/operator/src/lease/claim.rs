//! Whether this process leads, for those who must know before each write.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Until when this process leads. Clones are the same claim.
///
/// It ends by itself: a process that was stopped for a while, and with it the task that renews the Lease, finds no claim when
/// it goes on.
#[derive(Clone, Debug)]
pub struct Claim {
    origin: Instant,
    /// Milliseconds after `origin`; 0: never.
    until: Arc<AtomicU64>,
}

impl Claim {
    /// The claim of a process that does not lead.
    pub(crate) fn none() -> Self {
        Self { origin: Instant::now(), until: Arc::new(AtomicU64::new(0)) }
    }

    /// The claim of the only process there is: for an operator without leader election.
    pub fn always() -> Self {
        Self { origin: Instant::now(), until: Arc::new(AtomicU64::new(u64::MAX)) }
    }

    /// Whether this process leads at this moment.
    pub fn held(&self) -> bool {
        self.at(Instant::now()) < self.until.load(Ordering::Acquire)
    }

    pub(crate) fn hold_until(&self, until: Option<Duration>) {
        let until = until.map_or(0, milliseconds);
        self.until.store(until, Ordering::Release);
    }

    /// Time since the claim was made: the clock that `hold_until` is on.
    pub(crate) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    pub(super) fn instant(&self, at: Duration) -> Instant {
        self.origin + at
    }

    fn at(&self, instant: Instant) -> u64 {
        milliseconds(instant.duration_since(self.origin))
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claim_ends_without_anybody_ending_it() {
        let claim = Claim::none();
        assert!(!claim.held() && Claim::always().held());
        claim.hold_until(Some(claim.now() + Duration::from_mins(1)));
        assert!(claim.clone().held());
        claim.hold_until(Some(claim.now() + Duration::from_millis(2)));
        std::thread::sleep(Duration::from_millis(3));
        assert!(!claim.held());
    }
}
