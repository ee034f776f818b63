//! Metrics of predicted numbers.

use crate::matrix::{Predictions, Targets};

/// Predicted numbers beside the right ones. There is at least one row.
#[derive(Clone, Copy)]
pub(super) struct Estimated<'a> {
    predicted: &'a [f32],
    actual: &'a [f32],
}

impl<'a> Estimated<'a> {
    /// `None` when these are not the numbers of these rows, or there are no rows.
    pub(super) fn new(predictions: &'a Predictions, targets: &'a Targets) -> Option<Self> {
        let (Predictions::Numbers(predicted), Targets::Numbers(actual)) = (predictions, targets) else {
            return None;
        };
        (predicted.len() == actual.len() && !actual.is_empty()).then_some(Self { predicted, actual })
    }

    /// The right and the predicted number of each row.
    pub(super) fn pairs(self) -> impl Iterator<Item = (f32, f32)> {
        self.actual.iter().copied().zip(self.predicted.iter().copied())
    }

    fn errors(self) -> impl Iterator<Item = f64> {
        self.pairs().map(|(actual, predicted)| f64::from(predicted) - f64::from(actual))
    }

    /// The mean of squared errors.
    pub(super) fn mse(self) -> f64 {
        self.errors().map(|error| error * error).sum::<f64>() / self.actual.len() as f64
    }

    /// The mean of absolute errors.
    pub(super) fn mae(self) -> f64 {
        self.errors().map(f64::abs).sum::<f64>() / self.actual.len() as f64
    }

    /// The share of the variance that is explained; `None` where there is no variance.
    pub(super) fn r2(self) -> Option<f64> {
        let rows = self.actual.len() as f64;
        // Sums of equal f32 are exact in f64, and so is their mean: no variance is 0 and not nearly 0.
        let mean = self.actual.iter().copied().map(f64::from).sum::<f64>() / rows;
        let deviation = |actual: &f32| (f64::from(*actual) - mean) * (f64::from(*actual) - mean);
        let variance = self.actual.iter().map(deviation).sum::<f64>() / rows;
        (variance > 0.0).then(|| 1.0 - self.mse() / variance)
    }
}
