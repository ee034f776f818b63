//! Whether `explain.onnx` computes gradients.
//!
//! They are compared with those of double precision, at two points of the way from the first row to each. A gradient may jump
//! where a unit of `Relu` begins to be active, and rounding decides on which side of that single precision is: rows with such a
//! unit say nothing and are left out. Of the others, the difference may be what rounding does to each layer's sums, carried on
//! to the gradient by the sizes of the weights.

use std::path::Path;

use modelwright_api::training::{Activation, Task};
use modelwright_protocol::{Tensor, TensorData};
use modelwright_runtime::{Session, SessionOptions};

use crate::export::replay::{ReplayError, Replayed, activate, sigmoid};
use crate::export::scorer::ScoreError;
use crate::features::target::Target;
use crate::network::Dense;

/// Where gradients are compared.
const POINTS: [f32; 2] = [0.5, 1.0];
/// What rounding of single precision may do to a sum, of the sum of its parts' sizes.
const ROUNDING: f64 = 2e-6;
/// The least that gradients may be apart, of what they can be by the weights.
const TOLERANCE: f64 = 1e-5;

/// What `explain.onnx` gives for rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// Which class was explained.
    class: usize,
    /// `[N, W]`.
    gradients: Vec<f32>,
    /// `[N, W]`.
    features: Vec<f32>,
    /// `[N]`.
    outputs: Vec<f32>,
}

/// Runs `explain.onnx` with the inputs of some rows, once for each of some classes, or for the number of a regression.
pub fn run(path: &Path, inputs: &[Tensor], target: &Target) -> Result<Vec<Explained>, ScoreError> {
    /// More classes would show nothing new.
    const CLASSES: usize = 4;
    let mut session = Session::open(path, &SessionOptions::default())?;
    let other = |detail: String| ScoreError::OtherSignature { path: path.to_owned(), detail };
    let names: Vec<String> = session.signature().inputs.iter().map(|input| input.name.clone()).collect();
    let [.., points, wanted] = names.as_slice() else {
        return Err(other(format!("it has {} inputs", names.len())));
    };
    let classes = target.classes.len().max(1);
    let row = |name: &str, values: Vec<f32>| {
        let shape = vec![1, i64::try_from(values.len()).unwrap_or(i64::MAX)];
        Tensor::new(name, shape, TensorData::Fp32(values)).map_err(|error| other(error.to_string()))
    };
    let mut all = Vec::new();
    for class in 0..classes.min(CLASSES) {
        let shares = (0..classes).map(|other| f32::from(u8::from(other == class))).collect();
        let mut inputs = inputs.to_vec();
        inputs.extend([row(points, POINTS.to_vec())?, row(wanted, shares)?]);
        let outputs = session.run(&inputs)?.into_iter().map(|output| match output.into_parts().2 {
            TensorData::Fp32(values) => Ok(values),
            data => Err(other(format!("an output is {}", data.datatype()))),
        });
        let outputs = outputs.collect::<Result<Vec<_>, _>>()?;
        let [gradients, features, outputs] = outputs
            .try_into()
            .map_err(|outputs: Vec<_>| other(format!("it has {} outputs", outputs.len())))?;
        all.push(Explained { class, gradients, features, outputs });
    }
    Ok(all)
}

/// Compares with double precision; `of` has the rows that were explained. Returns the largest difference of gradients, as a
/// share of what may be.
pub fn compare(explained: &[Explained], of: &Replayed<'_>) -> Result<f64, ReplayError> {
    let (rows, width) = (of.inputs.rows(), of.inputs.columns());
    let bound = bounds(of);
    let mut largest = 0.0_f64;
    for Explained { class, gradients, features, outputs } in explained {
        if gradients.len() != rows * width || features.len() != rows * width || outputs.len() != rows {
            let expected = format!("[{rows}, {width}]");
            let got = format!("{} gradients, {} features", gradients.len(), features.len());
            return Err(ReplayError::OtherShape { expected, got });
        }
        for row in 0..rows {
            let at = |point: f32| {
                let pairs = of.inputs.row(0).iter().zip(of.inputs.row(row));
                let between = |(start, end): (&f32, &f32)| {
                    let [start, end, point] = [*start, *end, point].map(f64::from);
                    start + point * (end - start)
                };
                gradient(of, *class, &pairs.map(between).collect::<Vec<_>>())
            };
            let ends = POINTS.map(at);
            // The last point is the row itself.
            let (exact, error) = (ends[1].output, ends.iter().map(|end| end.error).fold(0.0, f64::max));
            let difference = |what: &dyn Fn() -> String, got: f32, exact: f64, tolerance: f64| {
                let apart = (f64::from(got) - exact).abs() / tolerance;
                // NaN is no small difference.
                if apart <= 1.0 {
                    return Ok(apart);
                }
                Err(ReplayError::ExplanationDiffers { what: what(), row, got, exact, tolerance })
            };
            let scale = slope_bound(of.target) * (1.0 + exact.abs() / f64::from(of.target.spread.abs()));
            difference(&|| "output".to_owned(), outputs[row], exact, scale * (TOLERANCE + 4.0 * error))?;
            if ends.iter().any(|end| end.gradient.is_none()) {
                continue;
            }
            for feature in 0..width {
                let sum: f64 = ends.iter().flat_map(|end| &end.gradient).map(|slopes| slopes[feature]).sum();
                let tolerance = bound[feature] * (TOLERANCE + 4.0 * error) + f64::from(f32::MIN_POSITIVE);
                let what = || format!("gradient of feature {feature}");
                let got = gradients[row * width + feature];
                largest = largest.max(difference(&what, got, sum / 2.0, tolerance)?);
            }
        }
    }
    Ok(largest)
}

/// What double precision gives at a point.
struct Exact {
    output: f64,
    /// `None` where rounding decides whether a unit is active.
    gradient: Option<Vec<f64>>,
    /// What rounding may do to any sum.
    error: f64,
}

/// The layers forwards and back.
fn gradient(of: &Replayed<'_>, class: usize, features: &[f64]) -> Exact {
    let mut values = features.to_vec();
    let mut errors = vec![0.0; values.len()];
    let mut slopes = Vec::new();
    let (mut is_clear, mut largest) = (true, 0.0_f64);
    for layer in &of.network.layers {
        let mut sums: Vec<f64> = layer.bias.iter().copied().map(f64::from).collect();
        let mut sizes: Vec<f64> = sums.iter().map(|bias| bias.abs() * ROUNDING).collect();
        for (index, (value, error)) in values.iter().zip(&errors).enumerate() {
            for ((sum, size), weight) in sums.iter_mut().zip(&mut sizes).zip(layer.weights.row(index)) {
                let weight = f64::from(*weight);
                *sum += value * weight;
                *size += weight.abs() * (value.abs() * ROUNDING + error);
            }
        }
        if layer.activation == Activation::Relu {
            is_clear &= sums.iter().zip(&sizes).all(|(sum, size)| sum.abs() > *size);
        }
        largest = sizes.iter().copied().fold(largest, f64::max);
        values = sums.iter().map(|sum| activate(layer.activation, *sum)).collect();
        slopes.push(sums.iter().map(|sum| slope(layer.activation, *sum)).collect::<Vec<f64>>());
        errors = sizes;
    }
    let (output, mut back) = head(of.target, class, &values);
    for (layer, slopes) in of.network.layers.iter().zip(&slopes).rev() {
        let sums: Vec<f64> = back.iter().zip(slopes).map(|(back, slope)| back * slope).collect();
        back = through(layer, &sums, |weight| weight);
    }
    Exact { output, gradient: is_clear.then_some(back), error: largest }
}

/// From the slopes of a layer's sums to those of its inputs.
fn through(layer: &Dense<f32>, slopes: &[f64], weight: impl Fn(f64) -> f64) -> Vec<f64> {
    let input = |row| {
        let weights = layer.weights.row(row).iter();
        weights.zip(slopes).map(|(own, slope)| weight(f64::from(*own)) * slope).sum()
    };
    (0..layer.weights.rows()).map(input).collect()
}

/// The explained output and its gradient with respect to the last layer's values.
fn head(target: &Target, class: usize, last: &[f64]) -> (f64, Vec<f64>) {
    match target.task {
        Task::Binary => {
            let sign = if class == 1 { 1.0 } else { -1.0 };
            let output = last.first().map_or(0.0, |logit| sigmoid(sign * logit));
            (output, vec![sign * output * (1.0 - output)])
        }
        Task::Multiclass => {
            let largest = last.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let powers: Vec<f64> = last.iter().map(|logit| libm::exp(logit - largest)).collect();
            let sum: f64 = powers.iter().sum();
            let own = powers.get(class).map_or(0.0, |power| power / sum);
            let slope =
                |(index, power): (usize, &f64)| own * (f64::from(u8::from(index == class)) - power / sum);
            (own, powers.iter().enumerate().map(slope).collect())
        }
        Task::Regression => {
            let [center, spread] = [target.center, target.spread].map(f64::from);
            (last.first().map_or(center, |value| value * spread + center), vec![spread])
        }
    }
}

/// The derivative of an activation.
fn slope(activation: Activation, sum: f64) -> f64 {
    match activation {
        Activation::Linear => 1.0,
        Activation::Relu => f64::from(u8::from(sum > 0.0)),
        Activation::Tanh => 1.0 - libm::tanh(sum).powi(2),
        Activation::Sigmoid => sigmoid(sum) * sigmoid(-sum),
        Activation::Gelu => {
            let normal = 0.5 * (1.0 + libm::erf(sum * std::f64::consts::FRAC_1_SQRT_2));
            normal + sum * libm::exp(-0.5 * sum * sum) / (2.0 * std::f64::consts::PI).sqrt()
        }
    }
}

/// The largest slope of the head.
fn slope_bound(target: &Target) -> f64 {
    match target.task {
        Task::Binary | Task::Multiclass => 1.0,
        Task::Regression => f64::from(target.spread.abs()),
    }
}

/// The largest gradient that the sizes of the weights allow, by feature. No activation's slope is above 1.13.
fn bounds(of: &Replayed<'_>) -> Vec<f64> {
    const STEEPEST: f64 = 1.13;
    let units = of.network.layers.last().map_or(0, |layer| layer.bias.len());
    let mut bound = vec![slope_bound(of.target); units];
    for layer in of.network.layers.iter().rev() {
        let steep: Vec<f64> = bound.iter().map(|bound| bound * STEEPEST).collect();
        bound = through(layer, &steep, f64::abs);
    }
    bound
}
