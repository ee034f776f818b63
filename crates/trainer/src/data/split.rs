//! Which rows are for training and which for validation.

use super::DataError;
use super::names::quoted;
use crate::random::{Purpose, Stream};

/// Positions of rows, ascending in each part.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Split {
    /// The rows to learn from.
    pub training: Vec<usize>,
    /// The rows to judge by.
    pub validation: Vec<usize>,
}

/// The classes that keep their shares.
#[derive(Clone, Copy, Debug)]
pub struct Strata<'a> {
    /// For each row the position of its class.
    pub indices: &'a [u32],
    /// What the classes are called.
    pub names: &'a [String],
}

/// Sets `fraction` of the rows aside, the nearest whole number of them, chosen by the seed alone.
///
/// With `strata`, each class keeps its share, rounded so that the total stays the same (the largest remainders are
/// rounded up), and has at least one row in each part. Where more classes than validation rows force that, there are
/// more of those. A class of one row, and a part without rows, are [`DataError::TooFewRows`].
pub fn split(strata: Option<Strata<'_>>, rows: usize, fraction: f64, seed: u64) -> Result<Split, DataError> {
    let everything = vec![0; rows];
    let classes = strata.map_or(everything.as_slice(), |strata| strata.indices);
    debug_assert_eq!(classes.len(), rows, "a class for each row");
    let counts = counts(classes);
    if let (Some(strata), Some(class)) = (strata, counts.iter().position(|count| *count == 1)) {
        return Err(single(strata, class));
    }
    let wanted = nearest(rows as f64 * fraction);
    if rows == 0 || (strata.is_none() && (wanted == 0 || wanted >= rows)) {
        let problem = format!(
            "{rows} rows are too few to set {fraction} of them aside for validation: one part would be \
             empty; add rows, or change spec.training.data.validation.fraction"
        );
        return Err(DataError::TooFewRows { problem });
    }
    let mut quotas = quotas(&counts, fraction, wanted);
    let mut order: Vec<usize> = (0..rows).collect();
    Stream::new(seed, Purpose::Split, 0).shuffle(&mut order);
    let mut chosen = vec![false; rows];
    for row in order {
        let quota = &mut quotas[index(classes[row])];
        if *quota > 0 {
            *quota -= 1;
            chosen[row] = true;
        }
    }
    let part = |of: bool| (0..rows).filter(|row| chosen[*row] == of).collect();
    Ok(Split { training: part(false), validation: part(true) })
}

fn single(strata: Strata<'_>, class: usize) -> DataError {
    let row = strata.indices.iter().position(|of| index(*of) == class).map_or(0, |row| row + 1);
    let name = strata.names.get(class).map_or_else(|| class.to_string(), |name| quoted(name));
    let problem = format!(
        "the class {name} has one row (row {row}), and needs one for training and one for validation: add \
         rows of it, leave that row out, or write `stratify: false` in spec.training.data.validation"
    );
    DataError::TooFewRows { problem }
}

fn index(class: u32) -> usize {
    usize::try_from(class).unwrap_or(usize::MAX)
}

/// How many rows each class has.
fn counts(classes: &[u32]) -> Vec<usize> {
    let length = classes.iter().max().map_or(0, |class| index(*class) + 1);
    let mut counts = vec![0; length];
    for class in classes {
        counts[index(*class)] += 1;
    }
    counts
}

/// The nearest whole number; halves up.
fn nearest(number: f64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a number of rows"
    )]
    let nearest = number.round() as usize;
    nearest
}

/// How many rows of each class are set aside: the whole part of its share and at least one, at most all but one; what
/// the total then lacks goes to the largest remainders, and what it has too much is taken from the smallest. Of equal
/// remainders, the first class comes first.
fn quotas(counts: &[usize], fraction: f64, wanted: usize) -> Vec<usize> {
    let shares: Vec<f64> = counts.iter().map(|count| *count as f64 * fraction).collect();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a number of rows"
    )]
    let whole = |share: f64| share.floor() as usize;
    let bounded = |(share, count): (&f64, &usize)| match count {
        // A class of the list that no row has. None has one row.
        0 | 1 => 0,
        count => whole(*share).clamp(1, count - 1),
    };
    let mut quotas: Vec<usize> = shares.iter().zip(counts).map(bounded).collect();
    let remainder = |quotas: &[usize], class: usize| shares[class] - quotas[class] as f64;
    let mut total: usize = quotas.iter().sum();
    while total < wanted {
        let possible = (0..counts.len()).rev().filter(|class| quotas[*class] + 1 < counts[*class]);
        let largest =
            possible.max_by(|one, other| remainder(&quotas, *one).total_cmp(&remainder(&quotas, *other)));
        let Some(class) = largest else { break };
        quotas[class] += 1;
        total += 1;
    }
    while total > wanted {
        let possible = (0..counts.len()).filter(|class| quotas[*class] > 1);
        let smallest =
            possible.min_by(|one, other| remainder(&quotas, *one).total_cmp(&remainder(&quotas, *other)));
        let Some(class) = smallest else { break };
        quotas[class] -= 1;
        total -= 1;
    }
    quotas
}
