//! Dense networks, their losses and gradients.
//!
//! A network is a list of layers y = f(x W + b). Its last layer gives numbers before any squashing: one logit for two
//! classes, one for each of several classes, or one standardised number; losses work on those, because the exponential
//! function and the logarithm cancel there.
//!
//! Every sum has a fixed order ([`product`] states that of products), and nothing but the four operations, square roots and
//! the functions of [`libm`] is used. So results depend neither on threads nor on which of the processors of one
//! [`simd_class`] computes them.

use modelwright_api::training::{Activation, Task};

use crate::matrix::{Matrix, Predictions};
use crate::random::{Purpose, Stream};

mod activation;
mod loss;
mod pass;
mod product;
mod scalar;
#[cfg(test)]
mod tests;

pub(crate) use loss::{Labels, LossSum, Objective, sigmoid};
pub(crate) use pass::{Dropout, Gradients, Pass};
pub use product::simd_class;
pub use scalar::Scalar;

/// Rows that are predicted at a time. No result depends on it.
pub(crate) const PREDICTED_AT_ONCE: usize = 256;

/// One layer: y = f(x W + b).
#[derive(Clone, Debug, PartialEq)]
pub struct Dense<T = f32> {
    /// W: `[inputs, units]`.
    pub weights: Matrix<T>,
    /// b: one for each unit.
    pub bias: Vec<T>,
    /// f.
    pub activation: Activation,
}

/// A dense network.
#[derive(Clone, Debug, PartialEq)]
pub struct Network<T = f32> {
    /// First to last. The activation of the last one is [`Activation::Linear`].
    pub layers: Vec<Dense<T>>,
}

impl<T: Scalar> Network<T> {
    /// A network with its first weights: each layer of `hidden` by its units and activation, then one of `outputs` units.
    ///
    /// Weights are drawn evenly from -a to a, a row of W after the other, layer `l` from the stream of
    /// [`Purpose::Initialisation`] at position `l`. For `Relu` and `Gelu`, a = √(6 / inputs) (He et al. 2015); for other
    /// layers and the last one, a = √(6 / (inputs + units)) (Glorot & Bengio 2010). Biases are 0.
    pub fn initialised(inputs: usize, hidden: &[(usize, Activation)], outputs: usize, seed: u64) -> Self {
        let mut fan_in = inputs;
        let mut layers = Vec::with_capacity(hidden.len() + 1);
        for &(units, activation) in hidden.iter().chain([&(outputs, Activation::Linear)]) {
            let fan = match activation {
                Activation::Relu | Activation::Gelu => fan_in,
                Activation::Tanh | Activation::Sigmoid | Activation::Linear => fan_in + units,
            };
            let bound = (6.0 / fan.max(1) as f64).sqrt();
            let mut stream = Stream::new(seed, Purpose::Initialisation, layers.len() as u64);
            let mut weights = Matrix::zeros(fan_in, units);
            weights
                .values_mut()
                .iter_mut()
                .for_each(|weight| *weight = T::from_f64((2.0 * stream.unit() - 1.0) * bound));
            layers.push(Dense { weights, bias: vec![T::default(); units], activation });
            fan_in = units;
        }
        Self { layers }
    }

    /// The number of numbers that the last layer gives.
    pub(crate) fn outputs(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.bias.len())
    }

    /// Weights and biases in the order of layers, each layer's weights first.
    pub(crate) fn parameters_mut(&mut self) -> impl Iterator<Item = &mut [T]> {
        self.layers.iter_mut().flat_map(|layer| [layer.weights.values_mut(), layer.bias.as_mut_slice()])
    }

    /// The same, to be read.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &[T]> {
        self.layers.iter().flat_map(|layer| [layer.weights.values(), layer.bias.as_slice()])
    }

    /// What the last layer gives for rows of `inputs`: `[rows, outputs]`. `pass` must have been made for this network.
    pub(crate) fn outputs_of(&self, inputs: &Matrix<T>, pass: &mut Pass<T>) -> Matrix<T> {
        let (rows, columns) = (inputs.rows(), self.outputs());
        let mut outputs = Matrix::zeros(rows, columns);
        for start in (0..rows).step_by(PREDICTED_AT_ONCE) {
            let end = rows.min(start + PREDICTED_AT_ONCE);
            let values = &inputs.values()[start * inputs.columns()..end * inputs.columns()];
            let chunk = pass.forward(self, values, end - start, None);
            outputs.values_mut()[start * columns..end * columns].copy_from_slice(chunk);
        }
        outputs
    }
}

impl Network<f32> {
    /// What the network says about rows of `inputs`, `[rows, features]`. For a regression `center` and `spread` lead from
    /// the standardised number back to the unit of the data; classes have 0 and 1, which change nothing.
    pub fn predict(&self, inputs: &Matrix, task: Task, center: f32, spread: f32) -> Predictions {
        let mut pass = Pass::new(self, PREDICTED_AT_ONCE.min(inputs.rows()), 1);
        predictions(&self.outputs_of(inputs, &mut pass), task, center, spread)
    }
}

/// What the numbers of the last layer mean.
pub(crate) fn predictions(outputs: &Matrix, task: Task, center: f32, spread: f32) -> Predictions {
    let rows = outputs.rows();
    match task {
        Task::Binary => {
            let mut probabilities = Matrix::zeros(rows, 2);
            for (both, logit) in probabilities.values_mut().as_chunks_mut().0.iter_mut().zip(outputs.values())
            {
                let positive = f32::from_f64(sigmoid(logit.to_f64()));
                *both = [1.0 - positive, positive];
            }
            Predictions::Probabilities(probabilities)
        }
        Task::Multiclass => {
            let mut probabilities = Matrix::zeros(rows, outputs.columns());
            let mut row_of = Vec::with_capacity(outputs.columns());
            for row in 0..rows {
                loss::softmax(outputs.row(row), &mut row_of);
                let target = probabilities.row_mut(row);
                target.iter_mut().zip(&row_of).for_each(|(to, from)| *to = f32::from_f64(*from));
            }
            Predictions::Probabilities(probabilities)
        }
        Task::Regression => {
            Predictions::Numbers(outputs.values().iter().map(|value| center + spread * value).collect())
        }
    }
}
