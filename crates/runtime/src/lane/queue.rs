//! A bounded queue from many asynchronous producers to a few blocking consumers.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::QueueBounds;

/// Something that waits.
pub(super) trait Waiting {
    /// The memory that it holds.
    fn bytes(&self) -> usize;

    /// Whether nobody waits for it any more.
    fn is_abandoned(&self) -> bool;
}

/// Why an item was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Full { waiting: usize, bytes: usize },
    Closed,
}

#[derive(Debug)]
pub(super) struct Queue<T> {
    bounds: QueueBounds,
    state: Mutex<State<T>>,
    /// Signalled for every new item, and to all when the queue closes.
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    bytes: usize,
    open: bool,
}

impl<T: Waiting> Queue<T> {
    pub(super) fn new(bounds: QueueBounds) -> Self {
        let state = State { items: VecDeque::new(), bytes: 0, open: true };
        Self { bounds, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Appends an item unless that would exceed the bounds. Never blocks on anything but the short lock.
    pub(super) fn push(&self, item: T) -> Result<(), Refused> {
        let mut state = self.lock();
        if !state.open {
            return Err(Refused::Closed);
        }
        if !self.fits(&state, &item) {
            // A wave of clients that gave up must not keep the next ones out.
            state.items.retain(|item| !item.is_abandoned());
            state.bytes = state.items.iter().map(Waiting::bytes).sum();
        }
        if !self.fits(&state, &item) {
            return Err(Refused::Full { waiting: state.items.len(), bytes: state.bytes });
        }
        state.bytes += item.bytes();
        state.items.push_back(item);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Takes the oldest item that somebody still waits for, blocking until there is one. `None` once the queue is closed
    /// and empty.
    pub(super) fn pop(&self) -> Option<T> {
        let mut state = self.lock();
        loop {
            while let Some(item) = state.items.pop_front() {
                state.bytes = state.bytes.saturating_sub(item.bytes());
                if !item.is_abandoned() {
                    return Some(item);
                }
            }
            if !state.open {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes no more items; consumers get those that are there.
    pub(super) fn close(&self) {
        self.lock().open = false;
        self.changed.notify_all();
    }

    /// Removes everything that waits.
    pub(super) fn clear(&self) -> VecDeque<T> {
        let mut state = self.lock();
        state.bytes = 0;
        std::mem::take(&mut state.items)
    }

    /// How many items wait, and their bytes.
    pub(super) fn depth(&self) -> (usize, usize) {
        let state = self.lock();
        (state.items.len(), state.bytes)
    }

    fn fits(&self, state: &State<T>, item: &T) -> bool {
        state.items.is_empty()
            || (state.items.len() < self.bounds.requests && state.bytes + item.bytes() <= self.bounds.bytes)
    }

    /// Nothing that can panic runs under the lock, so a poisoned one still holds a consistent state.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Item {
        bytes: usize,
        abandoned: bool,
    }

    impl Waiting for Item {
        fn bytes(&self) -> usize {
            self.bytes
        }

        fn is_abandoned(&self) -> bool {
            self.abandoned
        }
    }

    fn item(bytes: usize) -> Item {
        Item { bytes, abandoned: false }
    }

    fn queue(requests: usize, bytes: usize) -> Queue<Item> {
        Queue::new(QueueBounds { requests, bytes })
    }

    #[test]
    fn requests_and_bytes_are_bounded() {
        let by_requests = queue(2, 1000);
        by_requests.push(item(1)).unwrap();
        by_requests.push(item(1)).unwrap();
        assert_eq!(by_requests.push(item(1)), Err(Refused::Full { waiting: 2, bytes: 2 }));
        let by_bytes = queue(100, 10);
        by_bytes.push(item(6)).unwrap();
        assert_eq!(by_bytes.push(item(6)), Err(Refused::Full { waiting: 1, bytes: 6 }));
        assert_eq!(by_bytes.depth(), (1, 6));
    }

    #[test]
    fn a_request_larger_than_the_bound_is_taken_alone() {
        let queue = queue(4, 10);
        queue.push(item(50)).unwrap();
        assert!(queue.push(item(1)).is_err());
        assert_eq!(queue.pop(), Some(item(50)));
        queue.push(item(1)).unwrap();
    }

    #[test]
    fn abandoned_items_make_room_and_are_never_handed_out() {
        let queue = queue(2, 100);
        queue.push(Item { bytes: 1, abandoned: true }).unwrap();
        queue.push(Item { bytes: 2, abandoned: true }).unwrap();
        queue.push(item(3)).unwrap();
        assert_eq!(queue.depth(), (1, 3));
        assert_eq!(queue.pop(), Some(item(3)));
    }

    #[test]
    fn a_closed_queue_gives_what_it_has_and_then_ends() {
        let queue = queue(2, 100);
        queue.push(item(1)).unwrap();
        queue.close();
        assert_eq!(queue.push(item(1)), Err(Refused::Closed));
        assert_eq!(queue.pop(), Some(item(1)));
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn closing_wakes_every_consumer() {
        let queue = queue(2, 100);
        std::thread::scope(|scope| {
            let consumers = [scope.spawn(|| queue.pop()), scope.spawn(|| queue.pop())];
            queue.close();
            for consumer in consumers {
                assert_eq!(consumer.join().unwrap(), None);
            }
        });
    }
}
