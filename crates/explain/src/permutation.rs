//! Orders of players, the same for the same seed everywhere.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

/// Draws orders.
#[derive(Debug)]
pub(crate) struct Permutations(ChaCha8Rng);

impl Permutations {
    pub(crate) fn new(seed: u64) -> Self {
        let mut key = [0; 32];
        if let Some(bytes) = key.first_chunk_mut() {
            *bytes = seed.to_le_bytes();
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// The numbers below `count` in an order that is as likely as any other (Fisher-Yates).
    pub(crate) fn draw(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            let other = self.below(last as u64 + 1);
            order.swap(last, usize::try_from(other).unwrap_or(last));
        }
        order
    }

    /// A number below `bound`, each as likely as any other (Lemire 2019).
    fn below(&mut self, bound: u64) -> u64 {
        let uneven = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.0.next_u64()) * u128::from(bound);
            #[expect(clippy::cast_possible_truncation, reason = "the halves are wanted")]
            let [high, low] = [(product >> 64) as u64, product as u64];
            if low >= uneven {
                return high;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_order_is_as_likely_as_any_other() {
        let mut permutations = Permutations::new(3);
        let mut counts = BTreeMap::new();
        for _ in 0..6_000 {
            *counts.entry(permutations.draw(3)).or_insert(0_i32) += 1;
        }
        assert_eq!(counts.len(), 6);
        // Five standard deviations of a share of one in six.
        assert!(counts.values().all(|count| (count - 1_000).abs() < 145), "{counts:?}");
    }

    #[test]
    fn seeds_choose_the_orders() {
        let draw = |seed| Permutations::new(seed).draw(20);
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert_eq!((Permutations::new(1).draw(0), Permutations::new(1).draw(1)), (vec![], vec![0]));
    }
}
