//! The memory that requests hold, counted over all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::answer::Refusal;

/// A bound on what all requests hold together.
///
/// A request is admitted when it fits beside the others, or when nothing else is held: so one that alone is larger than the
/// bound is not refused for ever, and what it may hold is bounded by the size of one body.
#[derive(Debug)]
pub(crate) struct Memory {
    most: usize,
    held: AtomicUsize,
}

/// One thread's own way to the memory that all share: counting its holders writes nothing that another thread reads.
pub(crate) type MemoryHandle = Arc<Arc<Memory>>;

/// What one request holds; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    memory: MemoryHandle,
    bytes: usize,
}

impl Memory {
    pub(crate) const fn new(most: usize) -> Self {
        Self { most, held: AtomicUsize::new(0) }
    }
}

impl Share {
    /// A share of nothing.
    pub(crate) fn of(memory: &MemoryHandle) -> Self {
        Self { memory: Arc::clone(memory), bytes: 0 }
    }

    /// Holds at least so many bytes, or leaves everything as it is and refuses the request.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> Result<(), Refusal> {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        let fits = |held: usize| {
            let (alone, total) = (held == self.bytes, held.saturating_add(more));
            (alone || total <= self.memory.most).then_some(total)
        };
        // Nothing else depends on the order in which shares grow and shrink.
        let Ok(before) = self.memory.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) else {
            let message = "the server holds as many requests as its memory allows; try again soon";
            return Err(Refusal::unavailable(message, Duration::from_secs(1)));
        };
        self.bytes += before.saturating_add(more) - before;
        Ok(())
    }

    /// Another share of the same memory, of nothing.
    pub(crate) fn empty(&self) -> Self {
        Self::of(&self.memory)
    }

    /// How many bytes are held.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives back what is held beyond so many bytes.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes);
        self.bytes -= less;
        self.memory.held.fetch_sub(less, Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

/// Bytes that keep something alive for as long as they are: an answer's until the last of it is written.
pub(crate) fn keeping<T: Send + 'static>(bytes: impl AsRef<[u8]> + Send + 'static, kept: T) -> Bytes {
    struct Keeping<B, T>(B, #[allow(dead_code, reason = "it is there to be dropped")] T);
    impl<B: AsRef<[u8]>, T> AsRef<[u8]> for Keeping<B, T> {
        fn as_ref(&self) -> &[u8] {
            self.0.as_ref()
        }
    }
    Bytes::from_owner(Keeping(bytes, kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_request_is_admitted_whatever_its_size() {
        let memory = Arc::new(Arc::new(Memory::new(100)));
        let mut large = Share::of(&memory);
        large.grow_to(60).unwrap();
        large.grow_to(500).unwrap();
        assert!(Share::of(&memory).grow_to(1).is_err());
        drop(large);
        Share::of(&memory).grow_to(100).unwrap();
        assert_eq!(memory.held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn requests_together_stay_within_the_bound() {
        let memory = Arc::new(Arc::new(Memory::new(100)));
        let (mut first, mut second) = (Share::of(&memory), Share::of(&memory));
        first.grow_to(60).unwrap();
        assert!(second.grow_to(41).is_err());
        second.grow_to(40).unwrap();
        assert!(first.grow_to(61).is_err());
        second.shrink_to(10);
        first.grow_to(90).unwrap();
    }

    #[test]
    fn an_answer_keeps_its_share_until_the_last_of_it_is_gone() {
        let memory = Arc::new(Arc::new(Memory::new(100)));
        let mut share = Share::of(&memory);
        share.grow_to(80).unwrap();
        let mut answer = keeping(vec![1, 2, 3], share);
        let rest = answer.split_off(1);
        drop(answer);
        assert_eq!((memory.held.load(Ordering::Relaxed), rest.as_ref()), (80, [2, 3].as_slice()));
        drop(rest);
        assert_eq!(memory.held.load(Ordering::Relaxed), 0);
    }
}
