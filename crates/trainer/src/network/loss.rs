//! What is minimised, from the numbers before any squashing.
//!
//! Losses and their gradients are computed in double precision: a loss has few numbers per row, and this is where digits are
//! lost. The loss of rows with weights w is Σ w l / Σ w, as `torch.nn.CrossEntropyLoss` has it; without class
//! weights that is the mean. Rows whose weights are all 0 have loss and gradient 0.

use modelwright_api::training::Loss;

use super::Scalar;
use crate::matrix::Targets;

/// What is to be predicted, in the form in which losses take it.
#[derive(Clone, Debug)]
pub(crate) enum Labels {
    /// Positions in the list of classes.
    Classes(Vec<u32>),
    /// Standardised numbers.
    Numbers(Vec<f32>),
}

impl Labels {
    /// The targets, with numbers as (y - center) / spread.
    pub(crate) fn of(targets: &Targets, center: f32, spread: f32) -> Self {
        match targets {
            Targets::Classes { indices, .. } => Self::Classes(indices.clone()),
            Targets::Numbers(numbers) => {
                Self::Numbers(numbers.iter().map(|number| (number - center) / spread).collect())
            }
        }
    }

    /// The class of a row as a position; 0 for numbers.
    fn class(&self, row: usize) -> usize {
        match self {
            Self::Classes(classes) => usize::try_from(classes[row]).unwrap_or(usize::MAX),
            Self::Numbers(_) => 0,
        }
    }

    /// The number of a row; of a class, its position.
    fn number(&self, row: usize) -> f64 {
        match self {
            Self::Classes(classes) => f64::from(classes[row]),
            Self::Numbers(numbers) => f64::from(numbers[row]),
        }
    }
}

/// Sums from which the loss of any number of rows follows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct LossSum {
    /// Σ w l.
    pub(crate) weighted: f64,
    /// Σ w.
    pub(crate) weight: f64,
}

impl LossSum {
    /// The loss of these rows.
    pub(crate) fn mean(self) -> f64 {
        if self.weight == 0.0 { 0.0 } else { self.weighted / self.weight }
    }

    /// With other rows added.
    pub(crate) fn with(self, other: Self) -> Self {
        Self { weighted: self.weighted + other.weighted, weight: self.weight + other.weight }
    }
}

/// A loss with the weights of classes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Objective<'a> {
    /// The loss of a row.
    pub(crate) loss: Loss,
    /// The weight of the rows of each class; `None`: 1.
    pub(crate) class_weights: Option<&'a [f64]>,
}

impl Objective<'_> {
    /// The loss of rows from `outputs`, `[rows, columns]`; row `i` has the label `order[i]`. The gradient with respect to
    /// each output goes to `gradient`, where that is wanted.
    pub(crate) fn evaluate<T: Scalar>(
        &self,
        outputs: &[T],
        labels: &Labels,
        order: &[u32],
        gradient: Option<&mut [T]>,
    ) -> LossSum {
        let columns = outputs.len() / order.len().max(1);
        let rows = || order.iter().map(|row| usize::try_from(*row).unwrap_or(usize::MAX));
        let weight: f64 = rows().map(|row| self.weight(labels, row)).sum();
        let mut slopes = vec![0.0; columns];
        let mut gradients = gradient.map(|gradient| gradient.chunks_exact_mut(columns));
        let mut weighted = 0.0;
        for (row, outputs) in rows().zip(outputs.chunks_exact(columns)) {
            let weight_of_row = self.weight(labels, row);
            weighted += weight_of_row * self.of_row(outputs, labels, row, &mut slopes);
            if let Some(gradient) = gradients.as_mut().and_then(Iterator::next) {
                let share = if weight == 0.0 { 0.0 } else { weight_of_row / weight };
                gradient.iter_mut().zip(&slopes).for_each(|(to, slope)| *to = T::from_f64(share * slope));
            }
        }
        LossSum { weighted, weight }
    }

    fn weight(&self, labels: &Labels, row: usize) -> f64 {
        self.class_weights.map_or(1.0, |weights| weights[labels.class(row)])
    }

    /// The loss of a row; its derivatives go to `slopes`.
    fn of_row<T: Scalar>(&self, outputs: &[T], labels: &Labels, row: usize, slopes: &mut Vec<f64>) -> f64 {
        let output = outputs[0].to_f64();
        let difference = || output - labels.number(row);
        let (loss, slope) = match self.loss {
            Loss::Mse => {
                let difference = difference();
                (difference * difference, 2.0 * difference)
            }
            Loss::Mae => {
                let difference = difference();
                (difference.abs(), if difference == 0.0 { 0.0 } else { difference.signum() })
            }
            Loss::Huber => {
                let difference = difference();
                if difference.abs() <= 1.0 {
                    (0.5 * difference * difference, difference)
                } else {
                    (difference.abs() - 0.5, difference.signum())
                }
            }
            Loss::BinaryCrossEntropy => {
                let label = labels.number(row);
                let loss = output.max(0.0) - output * label + libm::log1p(libm::exp(-output.abs()));
                // `max` would hide a number that is none.
                (if output.is_nan() { output } else { loss }, sigmoid(output) - label)
            }
            Loss::CategoricalCrossEntropy => {
                let log_of_sum = softmax(outputs, slopes);
                let class = labels.class(row);
                slopes[class] -= 1.0;
                return log_of_sum - outputs[class].to_f64();
            }
        };
        slopes[0] = slope;
        loss
    }
}

/// 1 / (1 + exp(-x)), without overflow.
pub(crate) fn sigmoid(x: f64) -> f64 {
    let power = libm::exp(-x.abs());
    if x >= 0.0 { 1.0 / (1.0 + power) } else { power / (1.0 + power) }
}

/// exp(z) / Σ exp(z) into `probabilities`; returns log Σ exp(z).
pub(super) fn softmax<T: Scalar>(outputs: &[T], probabilities: &mut Vec<f64>) -> f64 {
    let largest = outputs.iter().fold(f64::NEG_INFINITY, |largest, output| largest.max(output.to_f64()));
    probabilities.clear();
    probabilities.extend(outputs.iter().map(|output| libm::exp(output.to_f64() - largest)));
    let sum: f64 = probabilities.iter().sum();
    for probability in probabilities.iter_mut() {
        *probability /= sum;
    }
    largest + libm::log(sum)
}
