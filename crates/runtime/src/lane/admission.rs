//! Who may wait: bounds that hold over all queues of a lane, and deadlines that can still be kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::statistics::Statistics;
use super::{Load, QueueBounds};
use crate::batch::Rules;
use crate::error::Error;

/// The door of a lane.
#[derive(Debug)]
pub(super) struct Gate {
    bounds: QueueBounds,
    rules: Rules,
    statistics: Arc<Statistics>,
    closed: AtomicBool,
    requests: AtomicUsize,
    rows: AtomicUsize,
    bytes: AtomicUsize,
}

/// One queue's own way to the gate that all queues share: counting its holders writes nothing that another thread reads.
pub(super) type GateHandle = Arc<Arc<Gate>>;

/// What requests take of the bounds while they wait; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    gate: GateHandle,
    requests: usize,
    rows: usize,
    bytes: usize,
}

impl Place {
    /// Takes another one's part over, of the same gate, so that both are given back at once: the threads of all sessions
    /// write to the gate, and each write takes its cache line away from the others.
    pub(super) fn join(&mut self, mut other: Self) {
        self.requests += std::mem::take(&mut other.requests);
        self.rows += other.rows;
        self.bytes += other.bytes;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.requests > 0 {
            self.gate.subtract(self.requests, self.rows, self.bytes);
        }
    }
}

impl Gate {
    pub(super) fn new(bounds: QueueBounds, rules: Rules, statistics: Arc<Statistics>) -> Arc<Self> {
        Arc::new(Self {
            bounds,
            rules,
            statistics,
            closed: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
            rows: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
        })
    }

    /// Lets a request in that comes now, or refuses it. `sweep` removes requests that nobody waits for any more: a wave of clients that gave
    /// up must not keep the next ones out.
    pub(super) fn admit(
        self: &GateHandle,
        rows: usize,
        bytes: usize,
        (now, deadline): (Instant, Option<Instant>),
        sweep: impl FnOnce(),
    ) -> Result<Place, Error> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        let enter = || {
            let place = self.enter(rows, bytes)?;
            // Without a queue there is nothing that could be late by the queue.
            let others = self.requests.load(Ordering::Relaxed) > 1;
            if others && deadline.is_some_and(|deadline| now + self.finish() > deadline) {
                return None;
            }
            Some(place)
        };
        let mut entered = enter();
        if entered.is_none() {
            sweep();
            entered = enter();
        }
        entered.ok_or_else(|| {
            let waiting = self.requests.load(Ordering::Relaxed);
            let bytes = self.bytes.load(Ordering::Relaxed);
            let worked_off = self.finish().as_secs().saturating_add(1).min(60);
            Error::Overloaded { waiting, bytes, retry_after: Duration::from_secs(worked_off) }
        })
    }

    /// Counts first and looks then, so that the bounds hold although several threads enter at once.
    fn enter(self: &GateHandle, rows: usize, bytes: usize) -> Option<Place> {
        let requests = self.requests.fetch_add(1, Ordering::Relaxed);
        let all_rows = self.rows.fetch_add(rows, Ordering::Relaxed).saturating_add(rows);
        let all_bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        // From here on dropping it takes everything back.
        let place = Place { gate: Arc::clone(self), requests: 1, rows, bytes };
        let fits =
            requests < self.bounds.requests && all_rows <= self.bounds.rows && all_bytes <= self.bounds.bytes;
        (requests == 0 || fits).then_some(place)
    }

    fn subtract(&self, requests: usize, rows: usize, bytes: usize) {
        self.requests.fetch_sub(requests, Ordering::Relaxed);
        self.rows.fetch_sub(rows, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// How long the sessions need for what waits.
    fn finish(&self) -> Duration {
        let requests = self.requests.load(Ordering::Relaxed);
        let rows = self.rows.load(Ordering::Relaxed);
        let runs = match (self.rules.merge, self.rules.split) {
            (2.., _) => rows.div_ceil(self.rules.merge),
            (_, Some(split)) => requests.max(rows.div_ceil(split)),
            (_, None) => requests,
        };
        self.statistics.time_for(runs, rows)
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    pub(super) fn load(&self) -> Load {
        Load {
            waiting: self.requests.load(Ordering::Relaxed),
            waiting_bytes: self.bytes.load(Ordering::Relaxed),
            waiting_rows: self.rows.load(Ordering::Relaxed),
            running: self.statistics.running(),
            average_run: self.statistics.average(),
            busy: self.statistics.busy(Instant::now()),
            capacity: self.statistics.sessions(),
            executions: self.statistics.executions(),
            rows: self.statistics.rows(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Fit;

    const MS: Duration = Duration::from_millis(1);

    fn gate(requests: usize, rows: usize, bytes: usize) -> GateHandle {
        let fit = Fit { per_row: MS, fixed: 10 * MS };
        let rules = Rules { merge: 8, split: Some(8) };
        let statistics = Arc::new(Statistics::new(1, Some(fit)));
        Arc::new(Gate::new(QueueBounds { requests, rows, bytes }, rules, statistics))
    }

    fn admit(gate: &GateHandle, rows: usize, bytes: usize) -> Result<Place, Error> {
        gate.admit(rows, bytes, (Instant::now(), None), || {})
    }

    #[test]
    fn requests_rows_and_bytes_are_bounded_while_they_wait() {
        for (requests, rows, bytes) in [(2, 99, 99), (99, 2, 99), (99, 99, 2)] {
            let gate = gate(requests, rows, bytes);
            let first = admit(&gate, 1, 1).unwrap();
            let _second = admit(&gate, 1, 1).unwrap();
            let error = admit(&gate, 1, 1).unwrap_err();
            assert!(matches!(error, Error::Overloaded { waiting: 2, bytes: 2, .. }), "{error}");
            drop(first);
            let _third = admit(&gate, 1, 1).unwrap();
            assert_eq!((gate.load().waiting, gate.load().waiting_rows, gate.load().waiting_bytes), (2, 2, 2));
        }
    }

    #[test]
    fn places_that_were_joined_are_given_back_at_once() {
        let gate = gate(9, 9, 9);
        let mut all = admit(&gate, 2, 3).unwrap();
        all.join(admit(&gate, 1, 1).unwrap());
        let load = gate.load();
        assert_eq!((load.waiting, load.waiting_rows, load.waiting_bytes), (2, 3, 4));
        drop(all);
        let load = gate.load();
        assert_eq!((load.waiting, load.waiting_rows, load.waiting_bytes), (0, 0, 0));
    }

    #[test]
    fn a_request_larger_than_the_bounds_is_taken_alone() {
        let gate = gate(4, 10, 10);
        let large = admit(&gate, 50, 50).unwrap();
        assert!(admit(&gate, 1, 1).is_err());
        drop(large);
        let small = admit(&gate, 1, 1).unwrap();
        assert!(admit(&gate, 50, 1).is_err());
        drop(small);
        assert_eq!(gate.load().waiting_rows, 0);
    }

    #[test]
    fn those_that_nobody_waits_for_are_swept_before_anyone_is_refused() {
        let gate = gate(1, 10, 10);
        let mut abandoned = Some(admit(&gate, 1, 1).unwrap());
        gate.admit(1, 1, (Instant::now(), None), || drop(abandoned.take())).unwrap();
    }

    #[test]
    fn a_deadline_that_the_queue_does_not_leave_is_refused_at_once() {
        let gate = gate(100, 1000, 1000);
        let now = Instant::now();
        let within = |time| (now, Some(now + time));
        // Nothing waits: a deadline may be short.
        let first = gate.admit(1, 1, within(Duration::ZERO), || {}).unwrap();
        // 33 rows are five runs: 5 × 10 ms + 33 × 1 ms.
        let waiting = gate.admit(31, 1, (now, None), || {}).unwrap();
        let error = gate.admit(1, 1, within(50 * MS), || {}).unwrap_err();
        assert!(matches!(error, Error::Overloaded { waiting: 2, .. }), "{error}");
        gate.admit(1, 1, within(200 * MS), || {}).unwrap();
        drop(waiting);
        gate.admit(1, 1, within(50 * MS), || {}).unwrap();
        drop(first);
    }

    #[test]
    fn a_closed_gate_lets_nobody_in() {
        let gate = gate(1, 1, 1);
        gate.close();
        assert_eq!(admit(&gate, 1, 1).unwrap_err(), Error::Closed);
    }
}
