//! What is counted of each model. Counting is a few additions to memory that no other I/O thread writes; whoever reads
//! (a scrape, the statistics route) adds the threads up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use modelwright_runtime::cpus;

use crate::label::Label;
use crate::sharded::Sharded;

/// The upper bounds of the histograms of time in nanoseconds, the last without bound: from 10 µs to 100 s, three to a
/// decade.
pub(crate) const TIME_BOUNDS: [u64; 23] = time_bounds();
/// The upper bounds of the histogram of rows, the last without bound.
pub(crate) const ROW_BOUNDS: [u64; 12] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, u64::MAX];

/// The classes of answers: by the first digit of the status, or the client went away before there was one.
pub(crate) const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "cancelled"];
const CANCELLED: usize = 5;
const SUCCESS: usize = 1;

/// The unit in which parts of runs are added up.
const WHOLE_RUN: u64 = 1 << 20;

const fn time_bounds() -> [u64; 23] {
    let mut bounds = [u64::MAX; 23];
    let (mut index, mut start) = (0, 10_000);
    while index < 21 {
        bounds[index] = start;
        bounds[index + 1] = start * 5 / 2;
        bounds[index + 2] = start * 5;
        (index, start) = (index + 3, start * 10);
    }
    bounds[21] = start;
    bounds
}

/// How often something happened and how long it took together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Total {
    pub(crate) count: u64,
    pub(crate) nanoseconds: u64,
}

/// A histogram read at a moment: the count of each bucket alone, and the sum of all values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Distribution<const N: usize> {
    pub(crate) buckets: [u64; N],
    pub(crate) sum: u64,
}

/// What the statistics route says about a model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ModelStatistics {
    /// Rows that were computed.
    pub(crate) inferences: u64,
    /// Runs of the model; less than the rows where several went together.
    pub(crate) executions: u64,
    /// When the last inference ended, in milliseconds since 1970; 0 if there was none.
    pub(crate) last_inference: u64,
    pub(crate) success: Total,
    pub(crate) fail: Total,
    pub(crate) queue: Total,
    pub(crate) compute_input: Total,
    pub(crate) compute_infer: Total,
    pub(crate) compute_output: Total,
}

/// The counters of a model.
#[derive(Debug)]
pub(crate) struct ModelCounters(Sharded<Shard>);

/// Those of one thread.
#[derive(Debug)]
struct Shard {
    requests: [[AtomicU64; CLASSES.len()]; Label::ALL.len()],
    request: Histogram<{ TIME_BOUNDS.len() }>,
    queue: Histogram<{ TIME_BOUNDS.len() }>,
    inference: Histogram<{ TIME_BOUNDS.len() }>,
    batch: Histogram<{ ROW_BOUNDS.len() }>,
    success: Sum,
    fail: Sum,
    input: Sum,
    output: Sum,
    rows: AtomicU64,
    /// In parts of [`WHOLE_RUN`].
    runs: AtomicU64,
    last: AtomicU64,
}

#[derive(Debug)]
struct Histogram<const N: usize> {
    bounds: &'static [u64; N],
    buckets: [AtomicU64; N],
    sum: AtomicU64,
}

#[derive(Debug, Default)]
struct Sum {
    count: AtomicU64,
    nanoseconds: AtomicU64,
}

impl ModelCounters {
    pub(crate) fn new() -> Self {
        Self(Sharded::new(cpus::available().get(), Shard::new))
    }

    /// Counts a request that was answered with a status, or whose client went away before.
    pub(crate) fn answered(&self, label: Label, status: Option<StatusCode>, took: Duration) {
        let shard = self.0.mine();
        let class = status.map_or(CANCELLED, class);
        add(&shard.requests[label.index()][class], 1);
        if class != CANCELLED {
            shard.request.observe(nanoseconds(took));
        }
        if label.is_inference() {
            (if class == SUCCESS { &shard.success } else { &shard.fail }).observe(took);
        }
    }

    /// Counts a request that waited, and then ran with so many rows of its own among so many rows at once.
    pub(crate) fn ran(&self, waited: Duration, ran: Duration, rows: u64, batch_rows: u64) {
        let shard = self.0.mine();
        let batch_rows = batch_rows.max(rows).max(1);
        shard.queue.observe(nanoseconds(waited));
        shard.inference.observe(nanoseconds(ran));
        shard.batch.observe(batch_rows);
        add(&shard.rows, rows);
        add(&shard.runs, rows.max(1).saturating_mul(WHOLE_RUN) / batch_rows);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        shard.last.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Counts that tensors were made from a request's body.
    pub(crate) fn parsed(&self, took: Duration) {
        self.0.mine().input.observe(took);
    }

    /// Counts that an answer was made from tensors.
    pub(crate) fn wrote(&self, took: Duration) {
        self.0.mine().output.observe(took);
    }

    /// The requests of a route by class.
    pub(crate) fn requests(&self, label: Label) -> [u64; CLASSES.len()] {
        std::array::from_fn(|class| self.sum(|shard| &shard.requests[label.index()][class]))
    }

    pub(crate) fn request_times(&self) -> Distribution<{ TIME_BOUNDS.len() }> {
        self.distribution(|shard| &shard.request)
    }

    pub(crate) fn queue_times(&self) -> Distribution<{ TIME_BOUNDS.len() }> {
        self.distribution(|shard| &shard.queue)
    }

    pub(crate) fn inference_times(&self) -> Distribution<{ TIME_BOUNDS.len() }> {
        self.distribution(|shard| &shard.inference)
    }

    pub(crate) fn batch_rows(&self) -> Distribution<{ ROW_BOUNDS.len() }> {
        self.distribution(|shard| &shard.batch)
    }

    pub(crate) fn statistics(&self) -> ModelStatistics {
        let total = |part: fn(&Shard) -> &Sum| Total {
            count: self.sum(|shard| &part(shard).count),
            nanoseconds: self.sum(|shard| &part(shard).nanoseconds),
        };
        let of = |distribution: &Distribution<{ TIME_BOUNDS.len() }>| Total {
            count: distribution.count(),
            nanoseconds: distribution.sum,
        };
        ModelStatistics {
            inferences: self.sum(|shard| &shard.rows),
            // The parts of a run were rounded down.
            executions: self.sum(|shard| &shard.runs).saturating_add(WHOLE_RUN / 2) / WHOLE_RUN,
            last_inference: self.0.iter().map(|shard| shard.last.load(Ordering::Relaxed)).max().unwrap_or(0),
            success: total(|shard| &shard.success),
            fail: total(|shard| &shard.fail),
            queue: of(&self.queue_times()),
            compute_input: total(|shard| &shard.input),
            compute_infer: of(&self.inference_times()),
            compute_output: total(|shard| &shard.output),
        }
    }

    fn sum(&self, counter: impl Fn(&Shard) -> &AtomicU64) -> u64 {
        self.0.iter().map(|shard| counter(shard).load(Ordering::Relaxed)).sum()
    }

    fn distribution<const N: usize>(&self, part: fn(&Shard) -> &Histogram<N>) -> Distribution<N> {
        Distribution {
            buckets: std::array::from_fn(|bucket| self.sum(|shard| &part(shard).buckets[bucket])),
            sum: self.sum(|shard| &part(shard).sum),
        }
    }
}

impl<const N: usize> Distribution<N> {
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

impl Shard {
    fn new() -> Self {
        Self {
            requests: [const { [const { AtomicU64::new(0) }; CLASSES.len()] }; Label::ALL.len()],
            request: Histogram::new(&TIME_BOUNDS),
            queue: Histogram::new(&TIME_BOUNDS),
            inference: Histogram::new(&TIME_BOUNDS),
            batch: Histogram::new(&ROW_BOUNDS),
            success: Sum::default(),
            fail: Sum::default(),
            input: Sum::default(),
            output: Sum::default(),
            rows: AtomicU64::new(0),
            runs: AtomicU64::new(0),
            last: AtomicU64::new(0),
        }
    }
}

impl<const N: usize> Histogram<N> {
    const fn new(bounds: &'static [u64; N]) -> Self {
        Self { bounds, buckets: [const { AtomicU64::new(0) }; N], sum: AtomicU64::new(0) }
    }

    fn observe(&self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        add(&self.buckets[bucket.min(N - 1)], 1);
        add(&self.sum, value);
    }
}

impl Sum {
    fn observe(&self, took: Duration) {
        add(&self.count, 1);
        add(&self.nanoseconds, nanoseconds(took));
    }
}

/// Nothing is ordered by counters.
fn add(counter: &AtomicU64, value: u64) {
    counter.fetch_add(value, Ordering::Relaxed);
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn class(status: StatusCode) -> usize {
    usize::from(status.as_u16() / 100).clamp(1, 5) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ns(nanoseconds: u64) -> Duration {
        Duration::from_nanos(nanoseconds)
    }

    #[test]
    fn bounds_rise_from_ten_microseconds_to_a_hundred_seconds() {
        assert!(TIME_BOUNDS.is_sorted());
        assert_eq!(TIME_BOUNDS[..4], [10_000, 25_000, 50_000, 100_000]);
        assert_eq!(TIME_BOUNDS[20..], [50_000_000_000, 100_000_000_000, u64::MAX]);
    }

    #[test]
    fn a_value_at_a_bound_belongs_below_it() {
        let counters = ModelCounters::new();
        for took in [10_000, 10_001, u64::MAX] {
            counters.ran(ns(0), ns(took), 1, 1);
        }
        let times = counters.inference_times();
        assert_eq!((times.buckets[0], times.buckets[1], times.buckets[22]), (1, 1, 1));
        assert_eq!(counters.queue_times().buckets[0], 3);
    }

    #[test]
    fn threads_add_up() {
        let counters = ModelCounters::new();
        std::thread::scope(|scope| {
            for place in 0..8 {
                let counters = &counters;
                scope.spawn(move || {
                    crate::sharded::enter(place);
                    for _ in 0..1000 {
                        counters.answered(Label::Infer, Some(StatusCode::OK), ns(2));
                    }
                });
            }
        });
        assert_eq!(counters.requests(Label::Infer), [0, 8000, 0, 0, 0, 0]);
        assert_eq!(counters.statistics().success, Total { count: 8000, nanoseconds: 16_000 });
    }

    #[test]
    fn rows_that_ran_together_are_one_execution() {
        let counters = ModelCounters::new();
        for rows in [1, 2, 4] {
            counters.ran(ns(5), ns(7), rows, 7);
        }
        counters.ran(ns(5), ns(7), 1, 1);
        let statistics = counters.statistics();
        assert_eq!((statistics.inferences, statistics.executions), (8, 2));
        assert_eq!(statistics.queue, Total { count: 4, nanoseconds: 20 });
        assert_eq!(counters.batch_rows().buckets[..4], [1, 0, 0, 3]);
        assert!(statistics.last_inference > 0);
    }

    #[test]
    fn a_cancelled_inference_is_a_failure_without_a_duration() {
        let counters = ModelCounters::new();
        counters.answered(Label::Infer, None, Duration::from_secs(1));
        counters.answered(Label::ModelReady, Some(StatusCode::NOT_FOUND), Duration::from_secs(1));
        assert_eq!(counters.requests(Label::Infer)[CANCELLED], 1);
        assert_eq!(counters.statistics().fail.count, 1);
        assert_eq!(counters.request_times().count(), 1);
    }
}
