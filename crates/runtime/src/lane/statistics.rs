//! What a lane has done, and what that says of how long things will take.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::batch::Fit;

/// The weight of the newest run in the averages, as a power of two: 1/8.
const AVERAGE_SHIFT: u32 = 3;
/// The pace of runs that take as long as the fit says; a power of two.
const AS_FITTED: u64 = 1 << 10;

/// Counters of a lane. Relaxed atomics: nothing is decided by their order.
#[derive(Debug)]
pub(super) struct Statistics {
    fit: Option<Fit>,
    /// When time began.
    origin: Instant,
    sessions: Box<[Meter]>,
    running: AtomicUsize,
    rows: AtomicU64,
    executions: AtomicU64,
    /// The moving average of run times in nanoseconds.
    average: AtomicU64,
    /// The moving average of actual over fitted time, in parts of [`AS_FITTED`]: real inputs may be longer than made-up ones.
    pace: AtomicU64,
    /// The largest busy time that was ever told.
    told: AtomicU64,
}

/// The time that a session has run.
#[derive(Debug, Default)]
struct Meter {
    /// Nanoseconds of runs that have ended.
    busy: AtomicU64,
    /// When the present run began, in nanoseconds after the origin plus one; 0 without one.
    since: AtomicU64,
}

impl Statistics {
    pub(super) fn new(sessions: usize, fit: Option<Fit>) -> Self {
        Self {
            fit,
            origin: Instant::now(),
            sessions: (0..sessions).map(|_| Meter::default()).collect(),
            running: AtomicUsize::new(0),
            rows: AtomicU64::new(0),
            executions: AtomicU64::new(0),
            average: AtomicU64::new(0),
            pace: AtomicU64::new(AS_FITTED),
            told: AtomicU64::new(0),
        }
    }

    /// Session `index` begins to run so many requests.
    pub(super) fn begin(&self, index: usize, requests: usize, now: Instant) {
        self.running.fetch_add(requests, Ordering::Relaxed);
        if let Some(meter) = self.sessions.get(index) {
            meter.since.store(nanos(now.saturating_duration_since(self.origin)) + 1, Ordering::Relaxed);
        }
    }

    /// It ends after `ran`. Runs that failed count as work, but say nothing about how long a run takes.
    pub(super) fn end(&self, index: usize, requests: usize, rows: usize, ran: Duration, succeeded: bool) {
        self.running.fetch_sub(requests, Ordering::Relaxed);
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        self.executions.fetch_add(1, Ordering::Relaxed);
        if let Some(meter) = self.sessions.get(index) {
            // In this order a look in between misses the run rather than counting it twice, and `busy` hides that.
            meter.since.store(0, Ordering::Relaxed);
            meter.busy.fetch_add(nanos(ran), Ordering::Relaxed);
        }
        if !succeeded {
            return;
        }
        average(&self.average, nanos(ran), 0);
        if let Some(fitted) = self.fit.map(|fit| nanos(fit.time(rows))).filter(|fitted| *fitted > 0) {
            average(&self.pace, nanos(ran).saturating_mul(AS_FITTED) / fitted, AS_FITTED);
        }
    }

    pub(super) fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    pub(super) fn executions(&self) -> u64 {
        self.executions.load(Ordering::Relaxed)
    }

    pub(super) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn average(&self) -> Duration {
        Duration::from_nanos(self.average.load(Ordering::Relaxed))
    }

    /// The time that all sessions have run, present runs included. Never less than what it said before.
    pub(super) fn busy(&self, now: Instant) -> Duration {
        let now = nanos(now.saturating_duration_since(self.origin));
        let of_session = |meter: &Meter| {
            let since = meter.since.load(Ordering::Relaxed);
            let present = if since == 0 { 0 } else { (now + 1).saturating_sub(since) };
            meter.busy.load(Ordering::Relaxed).saturating_add(present)
        };
        let busy = self.sessions.iter().map(of_session).fold(0, u64::saturating_add);
        Duration::from_nanos(self.told.fetch_max(busy, Ordering::Relaxed).max(busy))
    }

    /// How long all sessions together need for so many runs with so many rows, from the fit and the pace of recent runs; from
    /// their average alone where nothing could be fitted.
    pub(super) fn time_for(&self, runs: usize, rows: usize) -> Duration {
        let sessions = u32::try_from(self.sessions.len()).unwrap_or(u32::MAX).max(1);
        let Some(fit) = self.fit else {
            return self.average().saturating_mul(u32::try_from(runs).unwrap_or(u32::MAX)) / sessions;
        };
        let pace = self.pace.load(Ordering::Relaxed);
        let fitted = u128::from(nanos(fit.total(runs, rows)));
        let time = fitted * u128::from(pace) / u128::from(AS_FITTED);
        Duration::from_nanos(u64::try_from(time).unwrap_or(u64::MAX)) / sessions
    }
}

/// Moves an average towards a value; `unset` is replaced by the first value if it is 0.
fn average(average: &AtomicU64, value: u64, unset: u64) {
    let step = |average: u64| {
        let next = if average == 0 && unset == 0 {
            value
        } else {
            average - (average >> AVERAGE_SHIFT) + (value >> AVERAGE_SHIFT)
        };
        Some(next.max(1))
    };
    // The step always gives a value, so this cannot fail.
    let _ = average.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn fitted(sessions: usize) -> Statistics {
        Statistics::new(sessions, Some(Fit { per_row: MS, fixed: 10 * MS }))
    }

    #[test]
    fn the_time_of_work_comes_from_the_fit_and_is_shared_by_the_sessions() {
        assert_eq!(fitted(1).time_for(2, 8), 28 * MS);
        assert_eq!(fitted(2).time_for(2, 8), 14 * MS);
        assert_eq!(Statistics::new(1, None).time_for(5, 5), Duration::ZERO);
    }

    #[test]
    fn runs_that_take_longer_than_made_up_ones_raise_the_estimate() {
        let statistics = fitted(1);
        for _ in 0..100 {
            statistics.begin(0, 1, Instant::now());
            statistics.end(0, 1, 10, 200 * MS, true);
        }
        let estimate = statistics.time_for(1, 10);
        assert!((190 * MS..=200 * MS).contains(&estimate), "{estimate:?}");
        assert_eq!((statistics.executions(), statistics.rows(), statistics.running()), (100, 1000, 0));
    }

    #[test]
    fn without_a_fit_the_average_counts() {
        let statistics = Statistics::new(2, None);
        statistics.end(0, 0, 1, 40 * MS, true);
        statistics.end(0, 0, 1, 400 * MS, false);
        assert_eq!((statistics.average(), statistics.time_for(3, 99)), (40 * MS, 60 * MS));
    }

    #[test]
    fn busy_time_includes_the_present_run_and_never_decreases() {
        let statistics = fitted(2);
        let start = statistics.origin;
        statistics.begin(0, 1, start);
        statistics.begin(1, 1, start);
        assert_eq!(statistics.busy(start + 5 * MS), 10 * MS);
        statistics.end(0, 1, 1, 4 * MS, true);
        assert_eq!(statistics.busy(start + 5 * MS), 10 * MS);
        assert_eq!(statistics.busy(start + 20 * MS), 24 * MS);
    }
}
