//! Whether two sets of predictions are the same but for rounding.
//!
//! The trainer and ONNX Runtime compute the same formula in single precision, but in other orders of summation and with other
//! approximations of exp, tanh and erf, so their results differ in the last digits. How far apart they may be:
//!
//! * Probabilities: [`TOLERANCE`], absolute.
//! * Numbers: [`TOLERANCE`] of the larger of the target's spread and the prediction's distance from its center (that is what
//!   the network itself computes), and two units in the last place of the larger of prediction and center (that is what the
//!   final addition rounds).
//!
//! Some networks cannot keep to that and are right nevertheless: where large terms cancel each other, as with a column of
//! large numbers that is not scaled, single precision itself loses digits. So if predictions are further apart, the network
//! is computed in double precision, and the trainer's own distance from that shows what rounding does to it. Up to
//! [`ROUNDING`] times that distance is accepted, as long as the trainer's own is at most [`LIMIT`] tolerances. Beyond, nobody
//! can say what the network predicts, and it is refused as [`ReplayError::Unstable`].

use modelwright_api::training::{Activation, Task};

use crate::features::target::Target;
use crate::matrix::{Matrix, Predictions};
use crate::network::{Dense, Network};

/// How far apart predictions may be, see the module's documentation.
pub const TOLERANCE: f64 = 1e-5;
/// How many times as far from double precision ONNX Runtime may be as the trainer.
pub const ROUNDING: f64 = 16.0;
/// How many tolerances the trainer may be away from double precision.
pub const LIMIT: f64 = 100.0;

/// What predictions were made by and from.
#[derive(Clone, Copy, Debug)]
pub struct Replayed<'a> {
    /// The network.
    pub network: &'a Network,
    /// What its results mean.
    pub target: &'a Target,
    /// The rows as it sees them, `[rows, features]`.
    pub inputs: &'a Matrix,
}

/// Why predictions are not the same.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ReplayError {
    /// There are more or fewer predictions.
    #[error("the exported model gives {got} predictions and the trainer {expected}; please report this")]
    OtherShape {
        /// Those of the trainer, as `[rows, outputs]`.
        expected: String,
        /// Those of the exported model.
        got: String,
    },
    /// They differ by more than rounding.
    #[error(
        "the exported model predicts {got} for row {row} where the trainer predicts {expected} and double precision gives {exact}; at most {tolerance:e} between the first two would be rounding; please report this"
    )]
    Differs {
        /// The row, from 0.
        row: usize,
        /// The trainer's prediction.
        expected: f32,
        /// The exported model's.
        got: f32,
        /// The same in double precision.
        exact: f64,
        /// How far apart they may be.
        tolerance: f64,
    },
    /// Single precision is not enough for this network.
    #[error(
        "the network loses too many digits to be served: for row {row} the trainer predicts {expected}, the exported model {got}, and double precision gives {exact}; scale columns of large numbers (`scale: Standard`), or use a smaller learning rate or more l2"
    )]
    Unstable {
        /// The row, from 0.
        row: usize,
        /// The trainer's prediction.
        expected: f32,
        /// The exported model's.
        got: f32,
        /// The same in double precision.
        exact: f64,
    },
    /// What `explain.onnx` computes is not the gradient.
    #[error(
        "the exported explanation gives {got} for the {what} of row {row} where double precision gives {exact}; at most {tolerance:e} would be rounding; please report this"
    )]
    ExplanationDiffers {
        /// Of what.
        what: String,
        /// The row, from 0.
        row: usize,
        /// What the graph gives.
        got: f32,
        /// The same in double precision.
        exact: f64,
        /// How far apart they may be.
        tolerance: f64,
    },
}

crate::reasons::reasons! {
    ReplayError:
    OtherShape => "ExportDiffers", Bug;
    Differs => "ExportDiffers", Bug;
    ExplanationDiffers => "ExportDiffers", Bug;
    Unstable => "UnstableModel", BadData;
}

/// Compares the trainer's predictions with those of the exported model for the same rows.
///
/// Returns the largest absolute difference. For a classification it is one of probabilities, for a regression it has the unit
/// of the data.
pub fn compare(expected: &Predictions, got: &Predictions, of: &Replayed<'_>) -> Result<f64, ReplayError> {
    let (shape, trainer) = flat(expected);
    let (other, exported) = flat(got);
    if shape != other || shape[0] != of.inputs.rows() {
        let [expected, got] = [shape, other].map(|shape| format!("{shape:?}"));
        return Err(ReplayError::OtherShape { expected, got });
    }
    let tolerances: Vec<f64> = trainer.iter().map(|&value| tolerance(of.target, value)).collect();
    let apart = |position: usize| (f64::from(trainer[position]) - f64::from(exported[position])).abs();
    let Some((worst, ratio)) =
        worst((0..trainer.len()).map(|position| apart(position) / tolerances[position]))
    else {
        return Ok(0.0);
    };
    if ratio > 1.0 {
        let exact = exact(of);
        let from_exact = |values: &[f32]| {
            let distances = values.iter().zip(&exact).zip(&tolerances);
            let distances =
                distances.map(|((value, exact), tolerance)| (f64::from(*value) - exact).abs() / tolerance);
            self::worst(distances).map_or(0.0, |(_, distance)| distance)
        };
        let own = from_exact(trainer);
        let row = worst / shape[1];
        let (expected, got, exact) = (trainer[worst], exported[worst], exact[worst]);
        if own > LIMIT {
            return Err(ReplayError::Unstable { row, expected, got, exact });
        }
        if from_exact(exported) > ROUNDING * own {
            return Err(ReplayError::Differs { row, expected, got, exact, tolerance: tolerances[worst] });
        }
    }
    Ok((0..trainer.len()).map(apart).fold(0.0, f64::max))
}

/// Position and value of the largest. NaN counts as infinite: a prediction that is none never agrees.
fn worst(values: impl Iterator<Item = f64>) -> Option<(usize, f64)> {
    values
        .map(|value| if value.is_nan() { f64::INFINITY } else { value })
        .enumerate()
        .max_by(|(_, one), (_, other)| one.total_cmp(other))
}

/// The shape `[rows, outputs]` and the numbers.
fn flat(predictions: &Predictions) -> ([usize; 2], &[f32]) {
    match predictions {
        Predictions::Probabilities(matrix) => ([matrix.rows(), matrix.columns()], matrix.values()),
        Predictions::Numbers(numbers) => ([numbers.len(), 1], numbers),
    }
}

/// How far from this prediction another may be.
fn tolerance(target: &Target, prediction: f32) -> f64 {
    match target.task {
        Task::Binary | Task::Multiclass => TOLERANCE,
        Task::Regression => {
            let [prediction, center, spread] = [prediction, target.center, target.spread].map(f64::from);
            let network = spread.abs().max((prediction - center).abs());
            let addition = 2.0 * f64::from(f32::EPSILON) * prediction.abs().max(center.abs());
            TOLERANCE * network + addition
        }
    }
}

/// The predictions in double precision, row after row.
fn exact(of: &Replayed<'_>) -> Vec<f64> {
    let mut predictions = Vec::new();
    for row in 0..of.inputs.rows() {
        let mut values: Vec<f64> = of.inputs.row(row).iter().copied().map(f64::from).collect();
        for layer in &of.network.layers {
            values = dense(layer, &values);
        }
        match of.target.task {
            Task::Binary => {
                predictions.extend(
                    values.first().map(|logit| [sigmoid(-logit), sigmoid(*logit)]).into_iter().flatten(),
                );
            }
            Task::Multiclass => {
                let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let powers: Vec<f64> = values.iter().map(|logit| libm::exp(logit - largest)).collect();
                let sum: f64 = powers.iter().sum();
                predictions.extend(powers.iter().map(|power| power / sum));
            }
            Task::Regression => {
                let [center, spread] = [of.target.center, of.target.spread].map(f64::from);
                predictions.extend(values.first().map(|value| value * spread + center));
            }
        }
    }
    predictions
}

fn dense(layer: &Dense<f32>, inputs: &[f64]) -> Vec<f64> {
    let mut sums: Vec<f64> = layer.bias.iter().copied().map(f64::from).collect();
    for (row, input) in inputs.iter().enumerate() {
        for (sum, weight) in sums.iter_mut().zip(layer.weights.row(row)) {
            *sum += input * f64::from(*weight);
        }
    }
    sums.iter().map(|sum| activate(layer.activation, *sum)).collect()
}

pub(super) fn activate(activation: Activation, value: f64) -> f64 {
    match activation {
        // Not `max`, which would make 0 of NaN.
        Activation::Relu => {
            if value < 0.0 {
                0.0
            } else {
                value
            }
        }
        Activation::Tanh => libm::tanh(value),
        Activation::Sigmoid => sigmoid(value),
        Activation::Gelu => value * 0.5 * (1.0 + libm::erf(value * std::f64::consts::FRAC_1_SQRT_2)),
        Activation::Linear => value,
    }
}

pub(super) fn sigmoid(value: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-value))
}

#[cfg(test)]
mod tests;
