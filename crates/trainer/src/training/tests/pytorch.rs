//! Steps are those of `torch.optim`: see `testdata/pytorch/make.py`.

use serde::Deserialize;

use super::*;
use crate::network::{Dense, Gradients, Labels, Objective, Pass};
use crate::training::optimizer::Optimizer;

#[derive(Deserialize)]
struct Fixture {
    loss: Loss,
    activation: Activation,
    inputs: Vec<f32>,
    targets: Targets,
    layers: Vec<Layer>,
    batches: Vec<Vec<u32>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Targets {
    Classes(Vec<u32>),
    Numbers(Vec<f32>),
}

#[derive(Deserialize)]
struct Layer {
    weights: Vec<f32>,
    bias: Vec<f32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    name: String,
    optimizer: ResolvedOptimizer,
    class_weights: Option<Vec<f64>>,
    l2: f64,
    layers: Vec<Layer>,
}

impl Fixture {
    fn network(&self) -> Network<f32> {
        let last = self.layers.len() - 1;
        let dense = |(at, layer): (usize, &Layer)| Dense {
            weights: Matrix::new(
                layer.weights.len() / layer.bias.len(),
                layer.bias.len(),
                layer.weights.clone(),
            )
            .unwrap(),
            bias: layer.bias.clone(),
            activation: if at == last { Activation::Linear } else { self.activation },
        };
        Network { layers: self.layers.iter().enumerate().map(dense).collect() }
    }

    fn labels(&self) -> Labels {
        match &self.targets {
            Targets::Classes(classes) => Labels::Classes(classes.clone()),
            Targets::Numbers(numbers) => Labels::Numbers(numbers.clone()),
        }
    }

    fn train(&self, case: &Case) -> Network<f32> {
        let mut network = self.network();
        let objective = Objective { loss: self.loss, class_weights: case.class_weights.as_deref() };
        let mut optimizer = Optimizer::new(&case.optimizer, &network);
        let mut gradients = Gradients::of(&network);
        let mut pass = Pass::new(&network, 8, 1);
        let labels = self.labels();
        let columns = network.layers[0].weights.rows();
        for batch in &self.batches {
            let rows = batch.iter().map(|row| *row as usize * columns);
            let inputs: Vec<f32> =
                rows.flat_map(|start| &self.inputs[start..start + columns]).copied().collect();
            pass.forward(&network, &inputs, batch.len(), None);
            pass.judge(&network, batch.len(), |outputs, gradient| {
                objective.evaluate(outputs, &labels, batch, Some(gradient))
            });
            pass.backward(&network, &inputs, batch.len(), &[case.l2], &mut gradients);
            optimizer.step(&mut network, &gradients, case.optimizer.learning_rate);
        }
        network
    }
}

#[rstest]
#[case(include_str!("../../../testdata/pytorch/MSE.json"))]
#[case(include_str!("../../../testdata/pytorch/MAE.json"))]
#[case(include_str!("../../../testdata/pytorch/Huber.json"))]
#[case(include_str!("../../../testdata/pytorch/BinaryCrossEntropy.json"))]
#[case(include_str!("../../../testdata/pytorch/CategoricalCrossEntropy.json"))]
fn fifty_steps_lead_where_pytorch_gets(#[case] fixture: &str) {
    let fixture: Fixture = serde_json::from_str(fixture).unwrap();
    assert!(fixture.cases.len() >= 8 && fixture.batches.len() == 50);
    for case in &fixture.cases {
        let network = fixture.train(case);
        let expected = case.layers.iter().flat_map(|layer| layer.weights.iter().chain(&layer.bias));
        let differences =
            network.parameters().flatten().zip(expected).map(|(got, expected)| (got - expected).abs());
        let largest = differences.fold(0.0, f32::max);
        assert!(largest < 1e-5, "{:?}, {}: {largest}", fixture.loss, case.name);
        let start = fixture.network();
        let moved = network
            .parameters()
            .flatten()
            .zip(start.parameters().flatten())
            .any(|(a, b)| (a - b).abs() > 0.02);
        assert!(moved, "{:?}, {}: nothing happened", fixture.loss, case.name);
    }
}
