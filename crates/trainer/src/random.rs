//! Random numbers that are the same everywhere, one stream for each purpose.
//!
//! A stream is named by the seed, what it is for, and a position such as the epoch. So an interrupted training needs no
//! state of a generator to go on, and one more use of randomness changes no other.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

/// What random numbers are for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u64)]
pub enum Purpose {
    /// Which rows are set aside for validation.
    Split = 1,
    /// The first weights; the position is the layer.
    Initialisation = 2,
    /// The order of rows; the position is the epoch.
    Shuffle = 3,
    /// Which values are dropped; the position is the step since the beginning.
    Dropout = 4,
    /// Which values are exchanged to measure a column's importance; the position is the column.
    Importance = 5,
    /// Which rows are published as samples.
    Samples = 6,
}

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream of a seed for a purpose at a position.
    pub fn new(seed: u64, purpose: Purpose, position: u64) -> Self {
        let mut key = [0; 32];
        for (bytes, value) in key.as_chunks_mut::<8>().0.iter_mut().zip([seed, purpose as u64, position]) {
            *bytes = value.to_le_bytes();
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// 32 random bits.
    pub fn bits(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// A number from 0 to less than 1, of 53 bits.
    pub fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A whole number from 0 to less than `bound`, which is not 0; each with the same probability (Lemire's method).
    pub fn below(&mut self, bound: u32) -> u32 {
        let bound = bound.max(1);
        // Those at the beginning that would make some results likelier.
        let uneven = bound.wrapping_neg() % bound;
        loop {
            let product = u64::from(self.0.next_u32()) * u64::from(bound);
            #[expect(clippy::cast_possible_truncation, reason = "the halves are wanted")]
            let [high, low] = [(product >> 32) as u32, product as u32];
            if low >= uneven {
                return high;
            }
        }
    }

    /// Brings items into a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = u32::try_from(last + 1).map_or(0, |bound| self.below(bound));
            items.swap(last, usize::try_from(other).unwrap_or(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_reproducible_and_independent() {
        let first = |seed, purpose, position| Stream::new(seed, purpose, position).bits();
        assert_eq!(first(7, Purpose::Split, 0), first(7, Purpose::Split, 0));
        let others =
            [first(8, Purpose::Split, 0), first(7, Purpose::Shuffle, 0), first(7, Purpose::Split, 1)];
        assert!(others.iter().all(|other| *other != first(7, Purpose::Split, 0)), "{others:?}");
    }

    #[test]
    fn bounded_numbers_are_even_and_in_range() {
        let mut stream = Stream::new(1, Purpose::Split, 0);
        let mut counts = [0_u32; 6];
        (0..60_000).for_each(|_| counts[stream.below(6) as usize] += 1);
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }

    #[test]
    fn shuffling_keeps_every_item() {
        let mut items: Vec<u32> = (0..100).collect();
        Stream::new(1, Purpose::Shuffle, 0).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
