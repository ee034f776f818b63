//! Where predictions go wrong: what a report draws.

use serde::Serialize;

use super::classification::{Classified, Ranked};
use super::regression::Estimated;
use crate::matrix::{Predictions, Targets};

/// The most points of a curve.
const CURVE_POINTS: usize = 500;
/// The most points of a plot of residuals.
const RESIDUAL_POINTS: usize = 1_000;

/// How many rows of each class are given each class: `[actual][predicted]`. Empty for numbers, and where there are no rows.
pub fn confusion(predictions: &Predictions, targets: &Targets) -> Vec<Vec<u64>> {
    let Some(classified) = Classified::new(predictions, targets) else { return Vec::new() };
    let mut counts = vec![vec![0; classified.classes()]; classified.classes()];
    classified.labels().for_each(|(actual, predicted)| counts[actual][predicted] += 1);
    counts
}

/// The trade between false and true alarms when a class is told from the rest by its probability.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RocCurve {
    /// The position of the class.
    pub class_index: usize,
    /// The rates of false and of true alarms, from (0, 0) to (1, 1); at most 500.
    pub points: Vec<(f64, f64)>,
    /// The area under the curve, of all its points.
    pub area: f64,
}

/// The ROC curve of the second class in binary tasks, else those of all classes. A class that no row has, or every row, has
/// no curve; numbers have none.
pub fn roc(predictions: &Predictions, targets: &Targets) -> Vec<RocCurve> {
    let Some(classified) = Classified::new(predictions, targets) else { return Vec::new() };
    let classes = if classified.classes() == 2 { 1..2 } else { 0..classified.classes() };
    let curve = |class_index| {
        let ranked = classified.ranked(class_index);
        Some(RocCurve { class_index, area: ranked.area()?, points: points(&ranked) })
    };
    classes.filter_map(curve).collect()
}

fn points(ranked: &Ranked) -> Vec<(f64, f64)> {
    let mut corners: Vec<(u64, u64)> = vec![(0, 0)];
    for step in ranked.steps() {
        // A point between two others on one line shows nothing.
        if let [.., before, last] = corners[..]
            && on_a_line(before, last, step)
        {
            corners.pop();
        }
        corners.push(step);
    }
    let (negatives, positives) = corners.last().copied().unwrap_or_default();
    let rates =
        |(without, with): (u64, u64)| (without as f64 / negatives as f64, with as f64 / positives as f64);
    thinned(&corners, CURVE_POINTS).map(rates).collect()
}

fn on_a_line(first: (u64, u64), middle: (u64, u64), last: (u64, u64)) -> bool {
    let product = |one: u64, other: u64| u128::from(one) * u128::from(other);
    product(middle.0 - first.0, last.1 - middle.1) == product(last.0 - middle.0, middle.1 - first.1)
}

/// The right and the predicted numbers of at most 1,000 rows, evenly spread. Empty for classes.
pub fn residuals(predictions: &Predictions, targets: &Targets) -> Vec<(f32, f32)> {
    let pairs: Vec<_> =
        Estimated::new(predictions, targets).map_or_else(Vec::new, |all| all.pairs().collect());
    thinned(&pairs, RESIDUAL_POINTS).collect()
}

/// At most `most` items, which are at least 2, evenly spread; the first and the last are among them.
fn thinned<T: Copy>(items: &[T], most: usize) -> impl Iterator<Item = T> {
    let kept = items.len().min(most);
    (0..kept).map(move |index| items[index * (items.len() - 1) / (kept - 1).max(1)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Matrix;

    fn binary(scores: &[f32], actual: &[u32]) -> (Predictions, Targets) {
        let values: Vec<f32> = scores.iter().flat_map(|&score| [1.0 - score, score]).collect();
        let matrix = Matrix::new(scores.len(), 2, values).unwrap();
        (Predictions::Probabilities(matrix), Targets::Classes { indices: actual.to_vec(), count: 2 })
    }

    #[test]
    fn confusion_counts_actual_by_predicted() {
        let (predictions, targets) = binary(&[0.9, 0.1, 0.8, 0.5], &[1, 1, 0, 1]);
        // The last row is undecided, so it is given the first class.
        assert_eq!(confusion(&predictions, &targets), [[0, 1], [2, 1]]);
    }

    #[test]
    fn roc_curve_has_only_its_corners() {
        let (predictions, targets) = binary(&[0.9, 0.8, 0.7, 0.6, 0.5], &[1, 1, 0, 0, 1]);
        let [curve] = roc(&predictions, &targets).try_into().unwrap();
        assert_eq!(curve.points, [(0.0, 0.0), (0.0, 2.0 / 3.0), (1.0, 2.0 / 3.0), (1.0, 1.0)]);
        assert!((curve.area - 2.0 / 3.0).abs() < 1e-15, "{}", curve.area);
    }

    #[test]
    fn equal_scores_are_one_step() {
        let (predictions, targets) = binary(&[0.5, 0.5, 0.5], &[1, 0, 1]);
        let [curve] = roc(&predictions, &targets).try_into().unwrap();
        assert_eq!((curve.points, curve.area), (vec![(0.0, 0.0), (1.0, 1.0)], 0.5));
    }

    #[test]
    fn curve_of_many_points_is_thinned_between_its_ends() {
        // Alternating rows give a corner each.
        let scores: Vec<f32> = (0..5_000_u16).map(|row| f32::from(row) / 5_000.0).collect();
        let actual: Vec<u32> = (0..5_000).map(|row| row % 2).collect();
        let (predictions, targets) = binary(&scores, &actual);
        let [curve] = roc(&predictions, &targets).try_into().unwrap();
        assert_eq!(curve.points.len(), CURVE_POINTS);
        assert_eq!((curve.points[0], curve.points[CURVE_POINTS - 1]), ((0.0, 0.0), (1.0, 1.0)));
        assert!(curve.points.is_sorted());
    }

    #[test]
    fn class_without_rows_has_no_curve() {
        let matrix = Matrix::new(2, 3, vec![0.8, 0.1, 0.1, 0.2, 0.7, 0.1]).unwrap();
        let targets = Targets::Classes { indices: vec![0, 1], count: 3 };
        let curves = roc(&Predictions::Probabilities(matrix), &targets);
        assert_eq!(curves.iter().map(|curve| curve.class_index).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn residuals_are_spread_over_all_rows() {
        let numbers: Vec<f32> = (0..2_500_u16).map(f32::from).collect();
        let points = residuals(&Predictions::Numbers(numbers.clone()), &Targets::Numbers(numbers));
        assert_eq!(points.len(), RESIDUAL_POINTS);
        assert_eq!((points[0], points[RESIDUAL_POINTS - 1]), ((0.0, 0.0), (2_499.0, 2_499.0)));
    }

    #[test]
    fn few_residuals_are_all_kept() {
        let of = |numbers: &[f32]| {
            residuals(&Predictions::Numbers(numbers.to_vec()), &Targets::Numbers(numbers.to_vec())).len()
        };
        assert_eq!((of(&[]), of(&[1.0]), of(&[1.0, 2.0])), (0, 1, 2));
    }
}
