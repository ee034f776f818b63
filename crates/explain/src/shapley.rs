//! Shapley values, of all coalitions or of a sample of orders.

use crate::coalition::{Batch, Coalition, values};
use crate::error::Error;
use crate::explanation::{Attribution, Explanation, Method};
use crate::permutation::Permutations;

/// Up to so many players all coalitions are computed, if they are allowed: 1,024 of them.
pub const EXACT_PLAYERS: usize = 10;
/// Pairs of orders that are sampled unless something else is asked for. Twenty orders of 30 columns were at most 0.018 of a
/// probability from the exact values.
const USUAL_PAIRS: u64 = 10;

/// How Shapley values are computed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ShapleySettings {
    /// The rows that the model may compute.
    pub max_evaluations: u64,
    /// The rows that it computes for one coalition: those of the baseline. The model gives the mean over them.
    pub background_rows: u64,
    /// How many coalitions it gets at once.
    pub batch: Batch,
    /// What decides which orders are sampled.
    pub seed: u64,
}

/// The evaluations of all coalitions against one baseline row; a number beyond all bounds if there are too many players.
pub fn enumerated_evaluations(players: usize) -> u64 {
    u32::try_from(players).ok().and_then(|players| 1_u64.checked_shl(players)).unwrap_or(u64::MAX)
}

/// The evaluations of so many pairs of orders against one baseline row.
pub fn sampled_evaluations(players: usize, pairs: u64) -> u64 {
    per_pair(players).saturating_mul(pairs).saturating_add(2)
}

/// The evaluations that are worth their time against one baseline row where nobody says how many: all coalitions of few
/// players, else ten pairs of orders.
pub fn usual_evaluations(players: usize) -> u64 {
    if players <= EXACT_PLAYERS {
        enumerated_evaluations(players)
    } else {
        sampled_evaluations(players, USUAL_PAIRS)
    }
}

/// The coalitions between none and all, once forwards and once backwards.
fn per_pair(players: usize) -> u64 {
    (players as u64).saturating_sub(1).saturating_mul(2)
}

/// What each player adds to the prediction, averaged over the orders in which players may come.
///
/// Up to [`EXACT_PLAYERS`] players, all coalitions are computed if they are allowed. Otherwise orders are drawn in pairs, one
/// and its reverse: what the first overestimates the second mostly underestimates (antithetic sampling; Mitchell et al.
/// 2022). In every order the differences telescope, so the values add up whatever was sampled.
///
/// Fails if not even one pair is allowed, and if the model fails.
pub async fn shapley_values<E, F: Future<Output = Result<Vec<f64>, E>>>(
    players: usize,
    settings: &ShapleySettings,
    mut evaluate: impl FnMut(Vec<Coalition>) -> F,
) -> Result<Explanation, Error<E>> {
    let allowed = settings.max_evaluations / settings.background_rows.max(1);
    if players <= EXACT_PLAYERS && enumerated_evaluations(players) <= allowed {
        return enumerated(players, settings, &mut evaluate).await;
    }
    let pairs = allowed.saturating_sub(2) / per_pair(players).max(1);
    if pairs == 0 {
        return Err(Error::TooFewEvaluations {
            method: Method::Shapley.name(),
            players,
            needed: sampled_evaluations(players, 1).saturating_mul(settings.background_rows),
            allowed: settings.max_evaluations,
        });
    }
    sampled(players, pairs, settings, &mut evaluate).await
}

async fn enumerated<E, F: Future<Output = Result<Vec<f64>, E>>>(
    players: usize,
    settings: &ShapleySettings,
    evaluate: &mut impl FnMut(Vec<Coalition>) -> F,
) -> Result<Explanation, Error<E>> {
    let count = 1_usize << players;
    let all = (0..count).map(|bits| Coalition::of_bits(players, bits));
    let values = values(all, settings.batch, evaluate).await?;
    // The share of orders in which exactly some players come before one: size! (players - size - 1)! / players!.
    let mut shares = Vec::with_capacity(players);
    let mut share = 1.0 / players.max(1) as f64;
    for size in 0..players {
        shares.push(share);
        share *= (size + 1) as f64 / (players - size - 1).max(1) as f64;
    }
    let attribution = |player: usize| {
        let bit = 1 << player;
        let others = (0..count).filter(|bits| bits & bit == 0);
        let value =
            others.map(|bits| shares[bits.count_ones() as usize] * (values[bits | bit] - values[bits]));
        Attribution::exact(value.sum())
    };
    Ok(Explanation {
        method: Method::Shapley,
        prediction: values[count - 1],
        base_value: values[0],
        attributions: (0..players).map(attribution).collect(),
        evaluations: (count as u64).saturating_mul(settings.background_rows),
    })
}

async fn sampled<E, F: Future<Output = Result<Vec<f64>, E>>>(
    players: usize,
    pairs: u64,
    settings: &ShapleySettings,
    evaluate: &mut impl FnMut(Vec<Coalition>) -> F,
) -> Result<Explanation, Error<E>> {
    let ends = vec![Coalition::none(players), Coalition::all(players)];
    let ends = values(ends, settings.batch, evaluate).await?;
    let (base_value, prediction) = (ends[0], ends[1]);
    let mut permutations = Permutations::new(settings.seed);
    let mut spreads = vec![Spread::default(); players];
    // As many pairs together as fill a batch.
    let together = (settings.batch.0.get() as u64 / per_pair(players).max(1)).max(1);
    let mut done = 0;
    while done < pairs {
        let orders: Vec<Vec<usize>> =
            (done..pairs.min(done + together)).map(|_| permutations.draw(players)).collect();
        let both = |order: &Vec<usize>| [order.clone(), order.iter().rev().copied().collect()];
        let walks: Vec<[Vec<usize>; 2]> = orders.iter().map(both).collect();
        let coalitions = walks.iter().flatten().flat_map(|order| between(players, order));
        // A type with a name, without which the compiler cannot tell that the future may go to another thread.
        let coalitions: Box<dyn Iterator<Item = Coalition> + Send> = Box::new(coalitions);
        let found = values(coalitions, settings.batch, evaluate).await?;
        let mut found = found.chunks_exact(players.saturating_sub(1).max(1));
        for pair in &walks {
            let mut sums = vec![0.0; players];
            for order in pair {
                let between = found.next().unwrap_or_default();
                let mut before = base_value;
                for (&player, &after) in order.iter().zip(between.iter().chain([&prediction])) {
                    sums[player] += after - before;
                    before = after;
                }
            }
            spreads.iter_mut().zip(&sums).for_each(|(spread, sum)| spread.add(sum / 2.0));
        }
        done += orders.len() as u64;
    }
    Ok(Explanation {
        method: Method::Shapley,
        prediction,
        base_value,
        attributions: spreads.iter().map(Spread::attribution).collect(),
        evaluations: sampled_evaluations(players, pairs).saturating_mul(settings.background_rows),
    })
}

/// The coalitions between none and all as players come in this order, each made when it is asked for: all those of a wide
/// input would be gigabytes.
fn between(players: usize, order: &[usize]) -> impl Iterator<Item = Coalition> {
    let come = order.iter().take(players.saturating_sub(1));
    come.scan(Coalition::none(players), |coalition, &player| {
        coalition.set(player, true);
        Some(coalition.clone())
    })
}

/// Mean and sum of squared distances from it, in one pass (Welford 1962).
#[derive(Clone, Copy, Debug, Default)]
struct Spread {
    count: u64,
    mean: f64,
    squares: f64,
}

impl Spread {
    fn add(&mut self, value: f64) {
        self.count += 1;
        let before = value - self.mean;
        self.mean += before / self.count as f64;
        self.squares += before * (value - self.mean);
    }

    /// Pairs are drawn independently of each other, so the error of their mean follows from their spread.
    fn attribution(&self) -> Attribution {
        let variance = || self.squares / (self.count - 1) as f64;
        let standard_error = (self.count > 1).then(|| (variance() / self.count as f64).sqrt());
        Attribution { value: self.mean, standard_error }
    }
}

#[cfg(test)]
mod tests;
