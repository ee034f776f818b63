//! One pass through a network, forwards and back, in memory that is allocated once.

use modelwright_api::training::Activation;
use pulp::Arch;

use super::product::{View, Workspace};
use super::{Dense, Network, Scalar, activation};
use crate::random::{Purpose, Stream};

/// Rows whose gradients of a bias are added before they join the others, as products do it.
const CHAIN: usize = 256;

/// Which values are dropped in a pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dropout<'a> {
    /// The share of each hidden layer.
    pub(crate) shares: &'a [f64],
    /// What decides everything random.
    pub(crate) seed: u64,
    /// The step since the beginning of the training.
    pub(crate) step: u64,
}

/// The gradient of a loss: for each parameter of a network one, in the same order.
#[derive(Clone, Debug)]
pub(crate) struct Gradients<T>(Vec<Vec<T>>);

impl<T: Scalar> Gradients<T> {
    /// As many as a network has parameters.
    pub(crate) fn of(network: &Network<T>) -> Self {
        Self(network.parameters().map(|values| vec![T::default(); values.len()]).collect())
    }

    /// Weights and biases in the order of layers, each layer's weights first.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &[T]> {
        self.0.iter().map(Vec::as_slice)
    }
}

/// What one layer computes in a pass.
#[derive(Debug)]
struct Trace<T> {
    /// Before `Gelu`; of other activations nothing is kept.
    raw: Vec<T>,
    /// After the activation.
    values: Vec<T>,
    /// What values are multiplied by: 0, or 1 / (1 - share). Empty where none are dropped.
    mask: Vec<T>,
    /// Values times the mask. Empty where none are dropped.
    kept: Vec<T>,
    /// The gradient with respect to what the activation was applied to.
    gradients: Vec<T>,
}

impl<T> Trace<T> {
    /// What the next layer gets of so many values.
    fn output(&self, values: usize) -> &[T] {
        if self.kept.is_empty() { &self.values[..values] } else { &self.kept[..values] }
    }
}

/// The memory of passes through one network.
#[derive(Debug)]
pub(crate) struct Pass<T> {
    traces: Vec<Trace<T>>,
    workspace: Workspace<T>,
    partial: Vec<T>,
}

impl<T: Scalar> Pass<T> {
    /// For at most `rows` rows at a time, with products of at most `threads` threads.
    pub(crate) fn new(network: &Network<T>, rows: usize, threads: usize) -> Self {
        let trace = |layer: &Dense<T>| {
            let size = rows * layer.bias.len();
            let raw = if layer.activation == Activation::Gelu { size } else { 0 };
            Trace {
                raw: vec![T::default(); raw],
                values: vec![T::default(); size],
                mask: Vec::new(),
                kept: Vec::new(),
                gradients: Vec::new(),
            }
        };
        Self {
            traces: network.layers.iter().map(trace).collect(),
            workspace: Workspace::new(threads),
            partial: Vec::new(),
        }
    }

    /// What the last layer gives for `rows` rows of `inputs`: `[rows, outputs]`. With `dropout`, as in training.
    pub(crate) fn forward(
        &mut self,
        network: &Network<T>,
        inputs: &[T],
        rows: usize,
        dropout: Option<Dropout<'_>>,
    ) -> &[T] {
        let mut stream = dropout.map(|dropout| Stream::new(dropout.seed, Purpose::Dropout, dropout.step));
        for (at, layer) in network.layers.iter().enumerate() {
            let units = layer.bias.len();
            let size = rows * units;
            let (before, rest) = self.traces.split_at_mut(at);
            let input = match before.last() {
                Some(trace) => trace.output(rows * layer.weights.rows()),
                None => inputs,
            };
            let trace = &mut rest[0];
            let values = &mut trace.values[..size];
            let left = View::new(input, rows, layer.weights.rows());
            self.workspace.multiply(left, weights(layer), values);
            let raw = trace.raw.len().min(size);
            activation::apply(layer.activation, &layer.bias, values, &mut trace.raw[..raw]);
            let share = dropout.and_then(|dropout| dropout.shares.get(at).copied()).unwrap_or(0.0);
            match &mut stream {
                Some(stream) if share > 0.0 => trace.drop(stream, share, size),
                _ => trace.kept.clear(),
            }
        }
        self.outputs(network, rows)
    }

    /// What the last layer gave.
    fn outputs(&self, network: &Network<T>, rows: usize) -> &[T] {
        self.traces.last().map_or(&[], |trace| &trace.values[..rows * network.outputs()])
    }

    #[cfg(test)]
    pub(super) fn hidden(&self, layer: usize, values: usize) -> &[T] {
        self.traces[layer].output(values)
    }

    /// Lets `loss` see what the last [`forward`](Self::forward) gave, and write its gradient with respect to that.
    pub(crate) fn judge<R>(
        &mut self,
        network: &Network<T>,
        rows: usize,
        loss: impl FnOnce(&[T], &mut [T]) -> R,
    ) -> R {
        let size = rows * network.outputs();
        let Some(trace) = self.traces.last_mut() else { return loss(&[], &mut []) };
        trace.gradients.resize(size, T::default());
        loss(&trace.values[..size], &mut trace.gradients)
    }

    /// From the gradient with respect to the last layer's outputs, which [`judge`](Self::judge) left, to that of the loss
    /// with `penalties`: for each layer l, l2 · Σ w² over its weights is added to the loss. `inputs` are those of the last
    /// [`forward`](Self::forward).
    pub(crate) fn backward(
        &mut self,
        network: &Network<T>,
        inputs: &[T],
        rows: usize,
        penalties: &[f64],
        gradients: &mut Gradients<T>,
    ) {
        for (at, layer) in network.layers.iter().enumerate().rev() {
            let (fan_in, units) = (layer.weights.rows(), layer.bias.len());
            let (before, rest) = self.traces.split_at_mut(at);
            let slopes = &rest[0].gradients[..rows * units];
            let [weight_gradient, bias_gradient] = &mut gradients.0[2 * at..2 * at + 2] else { continue };
            let input = before.last().map_or(inputs, |trace| trace.output(rows * fan_in));
            let left = View::new(input, rows, fan_in).transposed();
            self.workspace.multiply(left, View::new(slopes, rows, units), weight_gradient);
            penalise(layer, penalties.get(at).copied().unwrap_or(0.0), weight_gradient);
            sum_rows(slopes, bias_gradient, &mut self.partial);
            let Some(trace) = before.last_mut() else { continue };
            trace.gradients.resize(rows * fan_in, T::default());
            let right = weights(layer).transposed();
            self.workspace.multiply(View::new(slopes, rows, units), right, &mut trace.gradients);
            trace.differentiate(network.layers[at - 1].activation);
        }
    }
}

fn weights<T: Scalar>(layer: &Dense<T>) -> View<'_, T> {
    View::new(layer.weights.values(), layer.weights.rows(), layer.weights.columns())
}

impl<T: Scalar> Trace<T> {
    /// Drops each value with probability `share`, in the order of rows: where 32 bits of the stream are a number below
    /// share · 2³². The others are divided by 1 - share, so that their sum stays the same on average.
    fn drop(&mut self, stream: &mut Stream, share: f64, size: usize) {
        let bound = share * 2_f64.powi(32);
        let scale = T::from_f64(1.0 / (1.0 - share));
        self.mask.clear();
        self.mask.extend((0..size).map(
            |_| {
                if f64::from(stream.bits()) < bound { T::default() } else { scale }
            },
        ));
        self.kept.clear();
        self.kept.extend(self.values.iter().zip(&self.mask).map(|(value, scale)| *value * *scale));
    }

    /// From the gradient with respect to what the next layer got to that before the activation.
    fn differentiate(&mut self, activation: Activation) {
        if !self.kept.is_empty() {
            self.gradients
                .iter_mut()
                .zip(&self.mask)
                .for_each(|(gradient, scale)| *gradient = *gradient * *scale);
        }
        activation::differentiate(activation, &self.values, &self.raw, &mut self.gradients);
    }
}

/// Adds the derivative of l2 · Σ w².
fn penalise<T: Scalar>(layer: &Dense<T>, l2: f64, gradients: &mut [T]) {
    if l2 == 0.0 {
        return;
    }
    let factor = T::from_f64(2.0 * l2);
    Arch::new().dispatch(|| {
        gradients
            .iter_mut()
            .zip(layer.weights.values())
            .for_each(|(gradient, weight)| *gradient += factor * *weight);
    });
}

/// The sum of rows, column by column.
fn sum_rows<T: Scalar>(values: &[T], sums: &mut [T], partial: &mut Vec<T>) {
    let columns = sums.len();
    sums.fill(T::default());
    for rows in values.chunks(CHAIN * columns) {
        partial.clear();
        partial.resize(columns, T::default());
        Arch::new().dispatch(|| {
            for row in rows.chunks_exact(columns) {
                partial.iter_mut().zip(row).for_each(|(sum, value)| *sum += *value);
            }
            sums.iter_mut().zip(partial.iter()).for_each(|(sum, part)| *sum += *part);
        });
    }
}
