//! Which players have the values of the row, and which those of the baseline.

use std::num::NonZeroUsize;

use crate::error::Error;

/// Some of the players: those that have the row's values, while the others have the baseline's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Coalition(Vec<bool>);

impl Coalition {
    /// All players: the row itself.
    pub fn all(players: usize) -> Self {
        Self(vec![true; players])
    }

    /// No player: the baseline.
    pub fn none(players: usize) -> Self {
        Self(vec![false; players])
    }

    /// The players whose bits are set.
    pub(crate) fn of_bits(players: usize, bits: usize) -> Self {
        Self((0..players).map(|player| bits >> player & 1 == 1).collect())
    }

    /// The same with a player, or without.
    pub(crate) fn set(&mut self, player: usize, present: bool) {
        if let Some(value) = self.0.get_mut(player) {
            *value = present;
        }
    }

    /// Whether a player has the row's value.
    pub fn has(&self, player: usize) -> bool {
        self.0.get(player).copied().unwrap_or(false)
    }

    /// One value for each player, from first to last: whether it has the row's.
    pub fn players(&self) -> impl ExactSizeIterator<Item = bool> + '_ {
        self.0.iter().copied()
    }

    /// The values of a row for those in the coalition, and of a baseline for the others; one value is one player.
    pub fn mix<T: Clone>(&self, row: &[T], baseline: &[T]) -> Vec<T> {
        let pairs = self.0.iter().zip(row.iter().zip(baseline));
        pairs.map(|(&present, (row, baseline))| if present { row } else { baseline }.clone()).collect()
    }
}

/// How many coalitions, or points of a path, a model gets at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Batch(pub NonZeroUsize);

impl Default for Batch {
    /// 256: enough that a run's fixed costs do not count.
    fn default() -> Self {
        const USUAL: NonZeroUsize = NonZeroUsize::new(256).unwrap();
        Self(USUAL)
    }
}

/// The value of each coalition, one batch after the other. No more of them are drawn, and so held, than are computed at once.
pub(crate) async fn values<E, F: Future<Output = Result<Vec<f64>, E>>>(
    coalitions: impl IntoIterator<Item = Coalition>,
    batch: Batch,
    evaluate: &mut impl FnMut(Vec<Coalition>) -> F,
) -> Result<Vec<f64>, Error<E>> {
    let mut values = Vec::new();
    let mut coalitions = coalitions.into_iter();
    loop {
        let together: Vec<_> = coalitions.by_ref().take(batch.0.get()).collect();
        let wanted = together.len();
        if wanted == 0 {
            return Ok(values);
        }
        let found = evaluate(together).await.map_err(Error::Evaluation)?;
        if found.len() != wanted {
            return Err(Error::WrongCount { wanted, got: found.len() });
        }
        values.extend(found);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures::FutureExt;

    use super::*;

    #[test]
    fn models_get_no_more_than_a_batch_and_keep_the_order() {
        let (mut sizes, drawn) = (Vec::new(), Cell::new(0));
        let mut evaluate = |coalitions: Vec<Coalition>| {
            sizes.push((coalitions.len(), drawn.get()));
            let first = |coalition: &Coalition| f64::from(u8::from(coalition.has(0)));
            let found: Vec<f64> = coalitions.iter().map(first).collect();
            async move { Ok::<_, ()>(found) }
        };
        let coalitions =
            (0..5).inspect(|_| drawn.set(drawn.get() + 1)).map(|bits| Coalition::of_bits(3, bits));
        let batch = Batch(NonZeroUsize::new(2).unwrap());
        let found = values(coalitions, batch, &mut evaluate).now_or_never().unwrap().unwrap();
        assert_eq!((found, sizes), (vec![0.0, 1.0, 0.0, 1.0, 0.0], vec![(2, 2), (2, 4), (1, 5)]));
    }

    #[test]
    fn results_are_counted() {
        let mut evaluate = |_| async { Ok::<_, ()>(vec![1.0]) };
        let two = vec![Coalition::all(1), Coalition::none(1)];
        let found = values(two, Batch::default(), &mut evaluate).now_or_never().unwrap();
        assert_eq!(found.unwrap_err(), Error::WrongCount { wanted: 2, got: 1 });
    }
}
