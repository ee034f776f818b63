//! What is counted of each model. Counting is a few additions to memory that no other I/O thread writes; whoever reads
//! (a scrape, the statistics route) adds the threads up.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use modelwright_runtime::{Outcome, Priority, Run, cpus};

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

/// The priorities of requests, each at its [`place`]. Explanations have the low one.
pub(crate) const PRIORITIES: [Priority; 2] = [Priority::Normal, Priority::Low];
/// Runs of so many sizes are told apart; a model without batches takes requests of any size, and makes one run of each.
const MOST_BATCH_SIZES: usize = 256;

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

/// What the statistics route says about the runs of one size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct BatchTotals {
    pub(crate) input: Total,
    pub(crate) infer: Total,
    pub(crate) output: Total,
}

/// What the statistics route says about a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    /// The runs by their rows.
    pub(crate) batches: BTreeMap<u64, BatchTotals>,
}

/// The counters of a model.
#[derive(Debug)]
pub(crate) struct ModelCounters(Sharded<Shard>);

/// Those of one thread.
#[derive(Debug)]
struct Shard {
    requests: [[AtomicU64; CLASSES.len()]; Label::ALL.len()],
    request: Histogram<{ TIME_BOUNDS.len() }>,
    /// By priority.
    work: [Work; PRIORITIES.len()],
    success: Sum,
    fail: Sum,
    input: Sum,
    output: Sum,
    rows: AtomicU64,
    last: AtomicU64,
    /// Taken once for each run, and by whoever reads.
    batches: Mutex<BTreeMap<u64, BatchTotals>>,
}

/// What a model computed for requests of one priority.
#[derive(Debug)]
struct Work {
    queue: Histogram<{ TIME_BOUNDS.len() }>,
    inference: Histogram<{ TIME_BOUNDS.len() }>,
    batch: Histogram<{ ROW_BOUNDS.len() }>,
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

    /// Counts a request that was computed, of so many rows, and the runs that it tells of.
    pub(crate) fn ran(&self, outcome: &Outcome, rows: u64) {
        let shard = self.0.mine();
        shard.work[place(Priority::Normal)].observe(outcome);
        add(&shard.rows, rows);
        // Of the requests of a run, one tells of it: the lock and the clock are for each run, not for each request.
        if outcome.runs.iter().next().is_none() {
            return;
        }
        let mut batches = shard.batches.lock().unwrap_or_else(PoisonError::into_inner);
        outcome.runs.iter().for_each(|run| count(&mut batches, run));
        drop(batches);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        shard.last.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Counts a part of an explanation that was computed. Statistics are about inferences, so it is in the metrics alone.
    pub(crate) fn explained(&self, outcome: &Outcome) {
        self.0.mine().work[place(Priority::Low)].observe(outcome);
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

    pub(crate) fn queue_times(&self, priority: Priority) -> Distribution<{ TIME_BOUNDS.len() }> {
        self.distribution(|shard| &shard.work[place(priority)].queue)
    }

    pub(crate) fn inference_times(&self, priority: Priority) -> Distribution<{ TIME_BOUNDS.len() }> {
        self.distribution(|shard| &shard.work[place(priority)].inference)
    }

    pub(crate) fn batch_rows(&self, priority: Priority) -> Distribution<{ ROW_BOUNDS.len() }> {
        self.distribution(|shard| &shard.work[place(priority)].batch)
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
            executions: self.batch_rows(Priority::Normal).count(),
            last_inference: self.0.iter().map(|shard| shard.last.load(Ordering::Relaxed)).max().unwrap_or(0),
            success: total(|shard| &shard.success),
            fail: total(|shard| &shard.fail),
            queue: of(&self.queue_times(Priority::Normal)),
            compute_input: total(|shard| &shard.input),
            compute_infer: of(&self.inference_times(Priority::Normal)),
            compute_output: total(|shard| &shard.output),
            batches: self.batches(),
        }
    }

    fn batches(&self) -> BTreeMap<u64, BatchTotals> {
        let mut all = BTreeMap::<u64, BatchTotals>::new();
        for shard in self.0.iter() {
            for (rows, one) in shard.batches.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                let all = all.entry(*rows).or_default();
                all.input.add(one.input);
                all.infer.add(one.infer);
                all.output.add(one.output);
            }
        }
        all
    }

    fn sum(&self, counter: impl Fn(&Shard) -> &AtomicU64) -> u64 {
        self.0.iter().map(|shard| counter(shard).load(Ordering::Relaxed)).sum()
    }

    fn distribution<const N: usize>(&self, part: impl Fn(&Shard) -> &Histogram<N>) -> Distribution<N> {
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
            work: [const { Work::new() }; PRIORITIES.len()],
            success: Sum::default(),
            fail: Sum::default(),
            input: Sum::default(),
            output: Sum::default(),
            rows: AtomicU64::new(0),
            last: AtomicU64::new(0),
            batches: Mutex::default(),
        }
    }
}

impl Work {
    const fn new() -> Self {
        Self {
            queue: Histogram::new(&TIME_BOUNDS),
            inference: Histogram::new(&TIME_BOUNDS),
            batch: Histogram::new(&ROW_BOUNDS),
        }
    }

    fn observe(&self, outcome: &Outcome) {
        self.queue.observe(nanoseconds(outcome.waited));
        self.inference.observe(nanoseconds(outcome.ran));
        outcome.runs.iter().for_each(|run| self.batch.observe(run.rows as u64));
    }
}

impl Total {
    fn add(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.nanoseconds = self.nanoseconds.saturating_add(other.nanoseconds);
    }
}

/// Counts a run by its rows. Once there are many sizes, no new one is begun.
fn count(batches: &mut BTreeMap<u64, BatchTotals>, run: &Run) {
    let rows = run.rows as u64;
    if batches.len() >= MOST_BATCH_SIZES && !batches.contains_key(&rows) {
        return;
    }
    let one = |took| Total { count: 1, nanoseconds: nanoseconds(took) };
    let totals = batches.entry(rows).or_default();
    totals.input.add(one(run.gathering));
    totals.infer.add(one(run.computing));
    totals.output.add(one(run.taking));
}

/// Where a priority stands in [`PRIORITIES`].
const fn place(priority: Priority) -> usize {
    match priority {
        Priority::Normal => 0,
        Priority::Low => 1,
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

    /// A request that waited 5 ns and ran for so long, and tells of runs of so many rows.
    fn outcome(took: u64, runs: &[usize]) -> Outcome {
        let run = |rows: &usize| Run { rows: *rows, gathering: ns(1), computing: ns(took), taking: ns(2) };
        Outcome {
            outputs: vec![],
            waited: ns(5),
            ran: ns(took),
            batch_rows: 1,
            runs: runs.iter().map(run).collect(),
        }
    }

    #[test]
    fn a_value_at_a_bound_belongs_below_it() {
        let counters = ModelCounters::new();
        for took in [10_000, 10_001, u64::MAX] {
            counters.ran(&outcome(took, &[1]), 1);
        }
        let times = counters.inference_times(Priority::Normal);
        assert_eq!((times.buckets[0], times.buckets[1], times.buckets[22]), (1, 1, 1));
        assert_eq!(counters.queue_times(Priority::Normal).buckets[0], 3);
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
    fn each_run_is_counted_once_however_many_requests_share_it() {
        let counters = ModelCounters::new();
        for (rows, told) in [(1, &[7][..]), (2, &[]), (4, &[])] {
            counters.ran(&outcome(7, told), rows);
        }
        // One that was alone, and one that was cut.
        counters.ran(&outcome(7, &[1]), 1);
        counters.ran(&outcome(7, &[4, 4, 1]), 9);
        let statistics = counters.statistics();
        assert_eq!((statistics.inferences, statistics.executions), (17, 5));
        assert_eq!(statistics.queue, Total { count: 5, nanoseconds: 25 });
        assert_eq!(counters.batch_rows(Priority::Normal).buckets[..4], [2, 0, 2, 1]);
        assert!(statistics.last_inference > 0);
        let counts: Vec<_> = statistics.batches.iter().map(|(rows, batch)| (*rows, batch.infer)).collect();
        let total = |count| Total { count, nanoseconds: 7 * count };
        assert_eq!(counts, [(1, total(2)), (4, total(2)), (7, total(1))]);
        assert_eq!(statistics.batches[&4].input, Total { count: 2, nanoseconds: 2 });
        assert_eq!(statistics.batches[&4].output, Total { count: 2, nanoseconds: 4 });
    }

    #[test]
    fn sizes_of_batches_are_bounded() {
        let counters = ModelCounters::new();
        for rows in 1..=2 * MOST_BATCH_SIZES {
            counters.ran(&outcome(7, &[rows]), rows as u64);
        }
        let statistics = counters.statistics();
        assert_eq!((statistics.batches.len(), statistics.executions), (MOST_BATCH_SIZES, 512));
    }

    #[test]
    fn explanations_are_counted_apart() {
        let counters = ModelCounters::new();
        counters.explained(&outcome(7, &[256]));
        assert_eq!(counters.inference_times(Priority::Low).count(), 1);
        assert_eq!(counters.batch_rows(Priority::Low).buckets[8], 1);
        assert_eq!(counters.statistics(), ModelStatistics::default());
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
