use modelwright_api::training::Loss;
use rstest::rstest;

use super::*;
use crate::random::{Purpose, Stream};

const ROWS: usize = 7;
const INPUTS: usize = 3;

fn numbers(count: usize, position: u64) -> Vec<f64> {
    let mut stream = Stream::new(11, Purpose::Samples, position);
    (0..count).map(|_| 2.0 * stream.unit() - 1.0).collect()
}

/// A problem whose gradient is checked.
struct Checked<'a> {
    objective: Objective<'a>,
    labels: Labels,
    inputs: Vec<f64>,
    shares: Vec<f64>,
    penalties: Vec<f64>,
}

impl Checked<'_> {
    /// The whole loss, penalties included, and its gradient.
    fn evaluate(&self, network: &Network<f64>) -> (f64, Gradients<f64>) {
        let order: Vec<u32> = (0..u32::try_from(ROWS).unwrap()).rev().collect();
        let mut pass = Pass::new(network, ROWS, 1);
        let mut gradients = Gradients::of(network);
        pass.forward(network, &self.inputs, ROWS, Some(Dropout { shares: &self.shares, seed: 3, step: 4 }));
        let loss = pass.judge(network, ROWS, |outputs, gradient| {
            self.objective.evaluate(outputs, &self.labels, &order, Some(gradient))
        });
        pass.backward(network, &self.inputs, ROWS, &self.penalties, &mut gradients);
        let penalty: f64 = network
            .layers
            .iter()
            .zip(&self.penalties)
            .map(|(layer, l2)| l2 * layer.weights.values().iter().map(|weight| weight * weight).sum::<f64>())
            .sum();
        (loss.mean() + penalty, gradients)
    }

    /// Compares every derivative with a central difference.
    fn check(&self, mut network: Network<f64>) {
        const STEP: f64 = 1e-6;
        // Biases of 0 would hide mistakes with them.
        network
            .layers
            .iter_mut()
            .zip(0..)
            .for_each(|(layer, at)| layer.bias = numbers(layer.bias.len(), 100 + at));
        let (_, gradients) = self.evaluate(&network);
        for (parameter, gradient) in gradients.parameters().enumerate() {
            for (at, derivative) in gradient.iter().enumerate() {
                let moved = |by: f64| {
                    let mut network = network.clone();
                    network.parameters_mut().nth(parameter).unwrap()[at] += by;
                    self.evaluate(&network).0
                };
                let difference = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
                assert!(
                    (difference - derivative).abs() < 1e-7 * (1.0 + difference.abs()),
                    "parameter {parameter}, number {at}: {derivative} and {difference}"
                );
            }
        }
    }
}

#[rstest]
fn gradients_are_those_of_differences(
    #[values(0, 1, 2, 3)] hidden: usize,
    #[values(Activation::Relu, Activation::Tanh, Activation::Sigmoid, Activation::Gelu, Activation::Linear)]
    activation: Activation,
    #[values(Loss::Mse, Loss::Mae, Loss::Huber, Loss::BinaryCrossEntropy, Loss::CategoricalCrossEntropy)]
    loss: Loss,
    #[values(false, true)] everything: bool,
) {
    let classes = match loss {
        Loss::BinaryCrossEntropy => 2,
        Loss::CategoricalCrossEntropy => 4,
        Loss::Mse | Loss::Mae | Loss::Huber => 0,
    };
    let labels = if classes == 0 {
        Labels::Numbers((0_u8..).take(ROWS).map(|row| f32::from(row) - 3.1).collect())
    } else {
        Labels::Classes((0..).take(ROWS).map(|row| row % classes).collect())
    };
    let weights = [0.5, 3.0, 1.0, 0.0];
    let class_weights = (everything && classes > 0).then(|| &weights[..usize::try_from(classes).unwrap()]);
    let checked = Checked {
        objective: Objective { loss, class_weights },
        labels,
        inputs: numbers(ROWS * INPUTS, 1),
        shares: if everything { vec![0.3, 0.0, 0.5] } else { vec![] },
        penalties: if everything { vec![0.1, 0.02, 0.0] } else { vec![] },
    };
    let layers: Vec<_> = [4, 5, 3].into_iter().take(hidden).map(|units| (units, activation)).collect();
    let outputs = usize::try_from(classes).unwrap();
    checked.check(Network::initialised(INPUTS, &layers, if outputs > 2 { outputs } else { 1 }, 2));
}

#[test]
fn losses_are_finite_and_right_far_out() {
    let loss = |loss, outputs: &[f32], class| {
        let objective = Objective { loss, class_weights: None };
        objective.evaluate(outputs, &Labels::Classes(vec![class]), &[0], None).mean()
    };
    assert!((loss(Loss::BinaryCrossEntropy, &[1e4], 0) - 1e4).abs() < 1e-9);
    assert!(loss(Loss::BinaryCrossEntropy, &[1e4], 1).abs() < 1e-9);
    assert!((loss(Loss::BinaryCrossEntropy, &[0.0], 1) - std::f64::consts::LN_2).abs() < 1e-12);
    assert!((loss(Loss::CategoricalCrossEntropy, &[1e4, 0.0, -1e4], 2) - 2e4).abs() < 1e-9);
    for kind in [Loss::Mse, Loss::Mae, Loss::Huber, Loss::BinaryCrossEntropy] {
        assert!(loss(kind, &[f32::NAN], 1).is_nan(), "{kind:?}");
        assert!(!loss(kind, &[f32::INFINITY], 0).is_finite(), "{kind:?}");
    }
    assert!(loss(Loss::CategoricalCrossEntropy, &[f32::NAN, 1.0], 0).is_nan());
    assert!(loss(Loss::CategoricalCrossEntropy, &[1.0, f32::NAN], 0).is_nan());
}

#[test]
fn rows_without_weight_have_no_loss() {
    let weights = [0.0, 1.0];
    let objective = Objective { loss: Loss::BinaryCrossEntropy, class_weights: Some(&weights) };
    let mut gradient = [f32::NAN; 2];
    let sum = objective.evaluate(&[1.0, 2.0], &Labels::Classes(vec![0, 0]), &[0, 1], Some(&mut gradient));
    assert_eq!((sum.mean(), gradient), (0.0, [0.0; 2]));
}

#[test]
fn first_weights_are_bounded_and_reproducible() {
    let made =
        |seed| Network::<f32>::initialised(100, &[(50, Activation::Relu), (20, Activation::Tanh)], 1, seed);
    let network = made(1);
    assert_eq!(network, made(1));
    assert_ne!(network, made(2));
    let bounds = [6.0 / 100.0, 6.0 / 70.0, 6.0 / 21.0].map(f32::sqrt);
    for (layer, bound) in network.layers.iter().zip(bounds) {
        let largest =
            layer.weights.values().iter().fold(0.0, |largest: f32, weight| largest.max(weight.abs()));
        assert!(largest <= bound && largest > 0.8 * bound, "{largest} of {bound}");
        assert!(layer.bias.iter().all(|bias| *bias == 0.0));
    }
    assert_eq!(network.layers[2].activation, Activation::Linear);
}

#[test]
fn predictions_mean_what_the_task_says() {
    let network = |outputs: &[f32]| Network {
        layers: vec![Dense {
            weights: Matrix::zeros(2, outputs.len()),
            bias: outputs.to_vec(),
            activation: Activation::Linear,
        }],
    };
    let inputs = Matrix::zeros(3, 2);
    let probabilities = |predictions| match predictions {
        Predictions::Probabilities(matrix) => matrix,
        Predictions::Numbers(_) => panic!("numbers"),
    };
    let binary = probabilities(network(&[3_f32.ln()]).predict(&inputs, Task::Binary, 0.0, 1.0));
    assert_eq!((binary.rows(), binary.columns()), (3, 2));
    assert!(binary.values().iter().zip([0.25, 0.75].iter().cycle()).all(|(a, b)| (a - b).abs() < 1e-6));
    let logits = [0.0, 2_f32.ln(), 5_f32.ln()];
    let several = probabilities(network(&logits).predict(&inputs, Task::Multiclass, 0.0, 1.0));
    assert!(several.row(2).iter().zip([0.125, 0.25, 0.625]).all(|(a, b)| (a - b).abs() < 1e-6));
    let regression = network(&[1.5]).predict(&inputs, Task::Regression, 10.0, 2.0);
    assert_eq!(regression, Predictions::Numbers(vec![13.0; 3]));
}

#[test]
fn predictions_of_a_row_do_not_depend_on_the_others() {
    let network = Network::initialised(5, &[(9, Activation::Gelu)], 1, 1);
    let rows = 2 * PREDICTED_AT_ONCE + 3;
    let values = numbers(rows * 5, 1).into_iter().map(f32::from_f64).collect();
    let inputs = Matrix::new(rows, 5, values).unwrap();
    let Predictions::Numbers(all) = network.predict(&inputs, Task::Regression, 0.0, 1.0) else { panic!() };
    for row in [0, PREDICTED_AT_ONCE, rows - 1] {
        let one = network.predict(&inputs.select(&[row]), Task::Regression, 0.0, 1.0);
        assert_eq!(one, Predictions::Numbers(vec![all[row]]));
    }
    assert_eq!(
        network.predict(&inputs.select(&[]), Task::Regression, 0.0, 1.0),
        Predictions::Numbers(vec![])
    );
}

#[test]
fn dropout_keeps_the_mean_and_the_share() {
    let network = Network::<f32>::initialised(1, &[(1000, Activation::Sigmoid)], 1, 1);
    let mut pass = Pass::new(&network, 50, 1);
    let shares = [0.25];
    pass.forward(&network, &[0.0; 50], 50, Some(Dropout { shares: &shares, seed: 1, step: 0 }));
    let kept = pass.hidden(0, 50 * 1000);
    let dropped = kept.iter().filter(|value| **value == 0.0).count() as f64 / 50_000.0;
    assert!((dropped - 0.25).abs() < 0.01, "{dropped}");
    assert!(kept.iter().all(|value| *value == 0.0 || (value - 0.5 / 0.75).abs() < 1e-6));
    // Without dropout, the same memory gives every value.
    pass.forward(&network, &[0.0; 50], 50, None);
    assert!(pass.hidden(0, 50 * 1000).iter().all(|value| (*value - 0.5).abs() < 1e-9));
}
