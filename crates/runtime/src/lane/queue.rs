//! What waits, in the order in which it is run. Pure: no lock, no clock.

use std::collections::VecDeque;
use std::time::Instant;

use super::Priority;
use crate::batch::Rules;

/// Requests of low priority are taken after so many runs of others at the latest.
const PATIENCE: u32 = 8;
/// So many requests that do not fit into a batch are looked past; behind them there may be more that would.
const LOOKED_PAST: usize = 32;

/// Something that waits.
pub(super) trait Waiting {
    /// Who goes first.
    fn priority(&self) -> Priority;

    /// The rows that it has left, if it can share a run by them.
    fn rows(&self) -> Option<usize>;

    /// Whether both may share a run.
    fn goes_with(&self, other: &Self) -> bool;

    /// Whether nobody waits for it any more.
    fn is_abandoned(&self) -> bool;

    /// Whether its time is over.
    fn is_late(&self, now: Instant) -> bool;
}

/// What waits for a session.
#[derive(Debug)]
pub(super) struct Backlog<T> {
    normal: VecDeque<T>,
    low: VecDeque<T>,
    /// Runs without one of low priority since one began to wait.
    passed_over: u32,
}

/// What was taken out.
#[derive(Debug)]
pub(super) struct Taken<T> {
    /// What shares the next run; empty if nothing waits.
    pub(super) batch: Vec<T>,
    /// What came too late.
    pub(super) late: Vec<T>,
}

impl<T: Waiting> Backlog<T> {
    pub(super) fn new() -> Self {
        Self { normal: VecDeque::new(), low: VecDeque::new(), passed_over: 0 }
    }

    pub(super) fn push(&mut self, item: T) {
        self.queue(item.priority()).push_back(item);
    }

    /// Puts back what has had a turn and needs another: it stays the next one.
    pub(super) fn push_front(&mut self, item: T) {
        self.queue(item.priority()).push_front(item);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.normal.is_empty() && self.low.is_empty()
    }

    /// Takes what is to be run next: the oldest request, and what waits behind it as far as the rules allow and it fits.
    pub(super) fn take(&mut self, rules: Rules, now: Instant) -> Taken<T> {
        let low = !self.low.is_empty() && (self.normal.is_empty() || self.passed_over >= PATIENCE);
        self.passed_over = if low || self.low.is_empty() { 0 } else { self.passed_over + 1 };
        let queue = if low { &mut self.low } else { &mut self.normal };
        let mut taken = Taken { batch: Vec::new(), late: Vec::new() };
        let (mut space, mut at, mut looked_past) = (rules.merge, 0, 0);
        while at < queue.len() && looked_past <= LOOKED_PAST {
            let item = &queue[at];
            let abandoned = item.is_abandoned();
            let late = item.is_late(now);
            let next = item.rows().map(|rows| rules.next(rows));
            let fits = match taken.batch.first() {
                None => true,
                Some(first) => {
                    next.is_some_and(|rows| rows <= space && item.rows() == next && item.goes_with(first))
                }
            };
            if !abandoned && !late && !fits {
                at += 1;
                looked_past += 1;
                continue;
            }
            let Some(item) = queue.remove(at) else { break };
            if abandoned {
                continue;
            }
            if late {
                taken.late.push(item);
                continue;
            }
            taken.batch.push(item);
            // What cannot share, or fills the run, is alone.
            space = next.map_or(0, |rows| space.saturating_sub(rows));
            if space == 0 {
                break;
            }
        }
        taken
    }

    /// The rows that the next run could have at this moment, at most those that fit into one; 0 if nobody waits.
    pub(super) fn ready_rows(&self, rules: Rules) -> usize {
        let ready = |queue: &VecDeque<T>| {
            let mut rows = 0;
            for item in queue.iter().filter(|item| !item.is_abandoned()) {
                // What cannot share a run has nothing to wait for.
                rows += item.rows().unwrap_or(rules.merge);
                if rows >= rules.merge {
                    return rules.merge;
                }
            }
            rows
        };
        match ready(&self.normal) {
            0 => ready(&self.low),
            rows => rows,
        }
    }

    /// Takes out what nobody waits for any more.
    pub(super) fn sweep(&mut self) -> Vec<T> {
        let mut swept = Vec::new();
        for queue in [&mut self.normal, &mut self.low] {
            let (abandoned, kept): (VecDeque<T>, _) =
                std::mem::take(queue).into_iter().partition(T::is_abandoned);
            *queue = kept;
            swept.extend(abandoned);
        }
        swept
    }

    /// Takes out everything.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = T> + use<T> {
        std::mem::take(&mut self.normal).into_iter().chain(std::mem::take(&mut self.low))
    }

    fn queue(&mut self, priority: Priority) -> &mut VecDeque<T> {
        match priority {
            Priority::Normal => &mut self.normal,
            Priority::Low => &mut self.low,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq)]
    struct Item {
        id: u32,
        rows: Option<usize>,
        key: u32,
        low: bool,
        abandoned: bool,
        late: bool,
    }

    impl Waiting for Item {
        fn priority(&self) -> Priority {
            if self.low { Priority::Low } else { Priority::Normal }
        }

        fn rows(&self) -> Option<usize> {
            self.rows
        }

        fn goes_with(&self, other: &Self) -> bool {
            self.key == other.key
        }

        fn is_abandoned(&self) -> bool {
            self.abandoned
        }

        fn is_late(&self, _: Instant) -> bool {
            self.late
        }
    }

    fn item(id: u32, rows: usize) -> Item {
        Item { id, rows: Some(rows), key: 0, low: false, abandoned: false, late: false }
    }

    fn backlog(items: impl IntoIterator<Item = Item>) -> Backlog<Item> {
        let mut backlog = Backlog::new();
        items.into_iter().for_each(|item| backlog.push(item));
        backlog
    }

    fn take(backlog: &mut Backlog<Item>, merge: usize) -> Vec<u32> {
        let rules = Rules { merge, split: Some(merge) };
        backlog.take(rules, Instant::now()).batch.iter().map(|item| item.id).collect()
    }

    #[test]
    fn a_batch_takes_what_fits_the_oldest_first() {
        let mut backlog = backlog([item(1, 3), item(2, 4), item(3, 2), item(4, 3), item(5, 1)]);
        // 2 does not fit behind 1 and 3 any more, 5 does; nothing overtakes 2 twice.
        assert_eq!(backlog.ready_rows(Rules { merge: 6, split: Some(6) }), 6);
        assert_eq!(take(&mut backlog, 6), [1, 3, 5]);
        assert_eq!(take(&mut backlog, 6), [2]);
        assert_eq!(take(&mut backlog, 6), [4]);
        assert!(take(&mut backlog, 6).is_empty());
        assert!(backlog.is_empty());
    }

    #[test]
    fn shapes_are_never_mixed() {
        let mut backlog = backlog((0..6).map(|id| Item { key: id % 2, ..item(id, 1) }));
        assert_eq!(take(&mut backlog, 32), [0, 2, 4]);
        assert_eq!(take(&mut backlog, 32), [1, 3, 5]);
    }

    #[test]
    fn without_rows_or_merging_every_request_is_alone() {
        let mut without_rows =
            backlog([Item { rows: None, ..item(1, 1) }, item(2, 1), Item { rows: None, ..item(3, 1) }]);
        assert_eq!(take(&mut without_rows, 8), [1]);
        assert_eq!(take(&mut without_rows, 8), [2]);
        assert_eq!(take(&mut without_rows, 8), [3]);
        let mut two = backlog([item(1, 1), item(2, 1)]);
        assert_eq!(two.take(Rules::ALONE, Instant::now()).batch, [item(1, 1)]);
    }

    #[test]
    fn a_request_larger_than_a_run_is_taken_and_can_be_put_back() {
        let mut backlog = backlog([item(1, 20), item(2, 1)]);
        assert_eq!(take(&mut backlog, 8), [1]);
        backlog.push_front(item(1, 4));
        assert_eq!(take(&mut backlog, 8), [1, 2]);
    }

    #[test]
    fn the_abandoned_are_dropped_and_the_late_set_aside() {
        let mut backlog = backlog([
            Item { abandoned: true, ..item(1, 1) },
            Item { late: true, ..item(2, 1) },
            item(3, 1),
            Item { abandoned: true, late: true, ..item(4, 1) },
        ]);
        let taken = backlog.take(Rules { merge: 8, split: None }, Instant::now());
        assert_eq!((taken.batch, taken.late), (vec![item(3, 1)], vec![Item { late: true, ..item(2, 1) }]));
        assert!(backlog.is_empty());
        backlog.push(Item { abandoned: true, ..item(5, 1) });
        backlog.push(item(6, 1));
        assert_eq!(backlog.sweep().len(), 1);
        assert_eq!(take(&mut backlog, 8), [6]);
    }

    #[test]
    fn low_priority_waits_for_the_others_but_not_for_ever() {
        let low = Item { low: true, ..item(100, 1) };
        let mut few = backlog([low, item(1, 1)]);
        assert_eq!(take(&mut few, 8), [1]);
        assert_eq!(take(&mut few, 8), [100]);
        let mut many = backlog((0..20).map(|id| item(id, 8)).chain([low]));
        let order: Vec<_> = (0..21).flat_map(|_| take(&mut many, 8)).collect();
        assert_eq!(order.iter().position(|id| *id == 100), Some(8), "{order:?}");
    }
}
