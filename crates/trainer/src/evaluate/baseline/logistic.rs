//! Logistic regression: ½‖w‖² + Σ log loss is minimised, as by scikit-learn's `LogisticRegression` with C = 1.

use super::minimise::{Limits, minimise};
use super::passes;
use super::vectors::{add, dot, narrow, scale, widen};
use crate::matrix::Matrix;

/// A fitted model. Of two classes it has one output, the logit of the second; of more, one for each.
#[derive(Clone, Debug)]
pub(super) struct Logistic {
    /// How many classes there are, with those that no row had.
    classes: usize,
    /// The classes that rows had. Others are given no probability: the data says nothing of them.
    present: Vec<usize>,
    parameters: Parameters,
}

/// Weights `[outputs][features]`, after them the intercepts `[outputs]`.
#[derive(Clone, Debug)]
struct Parameters {
    features: usize,
    outputs: usize,
    values: Vec<f64>,
}

impl Parameters {
    /// Writes the outputs of one row.
    fn apply(values: &[f64], features: usize, row: &[f64], outputs: &mut [f64]) {
        let (weights, intercepts) = values.split_at(features * outputs.len());
        for (index, output) in outputs.iter_mut().enumerate() {
            *output = dot(&weights[index * features..(index + 1) * features], row) + intercepts[index];
        }
    }
}

/// Turns logits into probabilities and gives the log of the sum of their exponentials.
fn softmax(logits: &mut [f64]) -> f64 {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    for logit in logits.iter_mut() {
        *logit = libm::exp(*logit - largest);
    }
    let sum: f64 = logits.iter().sum();
    scale(logits, 1.0 / sum);
    largest + libm::log(sum)
}

fn sigmoid(logit: f64) -> f64 {
    // The exponential of the negative side cannot overflow.
    let small = libm::exp(-logit.abs());
    if logit >= 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) }
}

impl Logistic {
    /// Fits to inputs with their classes; `rows` is how many there are of each class.
    pub(super) fn fit(inputs: &Matrix, indices: &[u32], rows: &[u64]) -> Self {
        let present: Vec<usize> = (0..rows.len()).filter(|&class| rows[class] > 0).collect();
        let features = inputs.columns();
        let outputs = if present.len() == 2 { 1 } else { present.len() };
        let mut values = vec![0.0; features * outputs + outputs];
        // The intercepts of the shares alone: what is best when no column says anything.
        let share = |class: &usize| libm::log(rows[*class] as f64);
        let intercepts = &mut values[features * outputs..];
        match present[..] {
            [first, second] => intercepts[0] = share(&second) - share(&first),
            _ => intercepts.iter_mut().zip(&present).for_each(|(intercept, class)| *intercept = share(class)),
        }
        if present.len() > 1 {
            let position = |class: &u32| present.partition_point(|&other| other < *class as usize);
            let labels: Vec<usize> = indices.iter().map(position).collect();
            values = minimise(values, &limits(inputs, outputs), |values, gradient| {
                loss(inputs, &labels, values, gradient, outputs)
            });
        }
        Self { classes: rows.len(), present, parameters: Parameters { features, outputs, values } }
    }

    /// `[rows, classes]`.
    pub(super) fn predict(&self, inputs: &Matrix) -> Matrix {
        let mut probabilities = Matrix::zeros(inputs.rows(), self.classes);
        if self.present.is_empty() {
            probabilities.values_mut().fill(narrow(1.0 / self.classes.max(1) as f64));
            return probabilities;
        }
        let Parameters { features, outputs, values } = &self.parameters;
        let (mut row, mut logits) = (vec![0.0; *features], vec![0.0; *outputs]);
        for index in 0..inputs.rows() {
            widen(inputs.row(index), &mut row);
            Parameters::apply(values, *features, &row, &mut logits);
            let given = probabilities.row_mut(index);
            if let [first, second] = self.present[..] {
                given[first] = narrow(sigmoid(-logits[0]));
                given[second] = narrow(sigmoid(logits[0]));
            } else {
                softmax(&mut logits);
                self.present.iter().zip(&logits).for_each(|(&class, share)| given[class] = narrow(*share));
            }
        }
        probabilities
    }
}

fn limits(inputs: &Matrix, outputs: usize) -> Limits {
    /// Numbers in the remembered steps: 256 MiB.
    const REMEMBERED: usize = 1 << 25;
    let parameters = (inputs.columns() + 1) * outputs;
    let history = (REMEMBERED / (2 * parameters)).clamp(2, 10);
    Limits { evaluations: passes(inputs, outputs), tolerance: 1e-6, history }
}

/// What is minimised, divided by the number of rows, and its gradient by the parameters.
fn loss(inputs: &Matrix, labels: &[usize], values: &[f64], gradient: &mut [f64], outputs: usize) -> f64 {
    let features = inputs.columns();
    let weights = features * outputs;
    gradient[..weights].copy_from_slice(&values[..weights]);
    gradient[weights..].fill(0.0);
    let mut sum = dot(&values[..weights], &values[..weights]) / 2.0;
    let (mut row, mut logits) = (vec![0.0; features], vec![0.0; outputs]);
    for (index, &label) in labels.iter().enumerate() {
        widen(inputs.row(index), &mut row);
        Parameters::apply(values, features, &row, &mut logits);
        sum += errors(&mut logits, label);
        for (output, &error) in logits.iter().enumerate() {
            add(&mut gradient[output * features..(output + 1) * features], error, &row);
            gradient[weights + output] += error;
        }
    }
    let share = 1.0 / labels.len() as f64;
    scale(gradient, share);
    sum * share
}

/// The loss of one row; its logits become what each probability is too large by.
fn errors(logits: &mut [f64], label: usize) -> f64 {
    if let [logit] = logits {
        let second = label as f64;
        // ln(1 + exp(z)), without overflow.
        let rest = logit.max(0.0) + libm::log1p(libm::exp(-logit.abs()));
        let loss = rest - second * *logit;
        *logit = sigmoid(*logit) - second;
        return loss;
    }
    let right = logits[label];
    let loss = softmax(logits) - right;
    logits[label] -= 1.0;
    loss
}
