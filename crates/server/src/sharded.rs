//! Numbers that every I/O thread writes for itself: two threads that count at the same time never share a cache line, and
//! whoever reads adds up.

use std::cell::Cell;

thread_local! {
    /// The place of this thread in everything that is sharded. Threads that never said theirs share the first.
    static PLACE: Cell<usize> = const { Cell::new(0) };
}

/// Says which place this thread has, from now on.
pub(crate) fn enter(place: usize) {
    PLACE.set(place);
}

/// One value per I/O thread. Any thread may use any place, so the values must be atomic; fewer places than threads are
/// merely slower.
#[derive(Debug)]
pub(crate) struct Sharded<T>(Box<[Padded<T>]>);

/// Two cache lines, because processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

impl<T> Sharded<T> {
    /// A value for each of so many threads, at least one.
    pub(crate) fn new(threads: usize, make: impl Fn() -> T) -> Self {
        Self((0..threads.max(1)).map(|_| Padded(make())).collect())
    }

    /// The value of this thread.
    pub(crate) fn mine(&self) -> &T {
        &self.0[PLACE.get() % self.0.len()].0
    }

    /// All values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|padded| &padded.0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn each_thread_writes_its_own_value_and_a_reader_sees_all() {
        let counts = Sharded::new(2, AtomicUsize::default);
        std::thread::scope(|scope| {
            for place in 0..4 {
                let counts = &counts;
                scope.spawn(move || {
                    enter(place);
                    counts.mine().fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        let all: Vec<usize> = counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        assert_eq!(all, [2, 2]);
        assert!(std::mem::align_of::<Padded<u8>>() >= 128);
    }
}
