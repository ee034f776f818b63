//! Networks and explanations of `testdata/`, which other programs made.

use serde::Deserialize;

/// Weights `[inputs, units]` and biases.
#[derive(Debug, Deserialize)]
pub(crate) struct Layer {
    pub(crate) weights: Vec<Vec<f64>>,
    pub(crate) bias: Vec<f64>,
}

impl Layer {
    /// What the units get, before their activation.
    pub(crate) fn sums(&self, inputs: &[f64]) -> Vec<f64> {
        let mut sums = self.bias.clone();
        for (input, weights) in inputs.iter().zip(&self.weights) {
            sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += input * weight);
        }
        sums
    }

    /// From the gradient with respect to the sums to that with respect to the inputs.
    pub(crate) fn back(&self, gradient: &[f64]) -> Vec<f64> {
        let product = |weights: &Vec<f64>| {
            weights.iter().zip(gradient).map(|(weight, gradient)| weight * gradient).sum()
        };
        self.weights.iter().map(product).collect()
    }
}

/// Shapley values by `shap.explainers.Exact`.
#[derive(Debug, Deserialize)]
pub(crate) struct Shapley {
    pub(crate) network: Vec<Layer>,
    pub(crate) background: Vec<Vec<f64>>,
    pub(crate) rows: Vec<Vec<f64>>,
    pub(crate) base: Vec<f64>,
    pub(crate) predictions: Vec<f64>,
    pub(crate) attributions: Vec<Vec<f64>>,
}

/// Both cases of `shapley.json`.
#[derive(Debug, Deserialize)]
pub(crate) struct ShapleyCases {
    /// Six numbers and a category, against four rows.
    pub(crate) columns: Shapley,
    /// Fourteen numbers, against one row.
    pub(crate) numbers: Shapley,
}

impl ShapleyCases {
    pub(crate) fn read() -> Self {
        serde_json::from_str(include_str!("../testdata/shapley.json")).unwrap()
    }
}

impl Shapley {
    /// The probability of features: tanh, then the logistic function.
    pub(crate) fn probability(&self, features: &[f64]) -> f64 {
        let hidden: Vec<f64> = self.network[0].sums(features).iter().map(|sum| sum.tanh()).collect();
        1.0 / (1.0 + (-self.network[1].sums(&hidden)[0]).exp())
    }
}

/// Integrated gradients by captum.
#[derive(Debug, Deserialize)]
pub(crate) struct IntegratedGradients {
    pub(crate) network: Vec<Layer>,
    pub(crate) baseline: Vec<f64>,
    pub(crate) rows: Vec<Vec<f64>>,
    pub(crate) steps: u64,
    /// For each class.
    pub(crate) base: Vec<f64>,
    /// For each row and class.
    pub(crate) predictions: Vec<Vec<f64>>,
    /// For each class, row and feature.
    pub(crate) attributions: Vec<Vec<Vec<f64>>>,
}

impl IntegratedGradients {
    pub(crate) fn read() -> Self {
        serde_json::from_str(include_str!("../testdata/integrated_gradients.json")).unwrap()
    }

    /// The gradient of a class's probability: relu, tanh and softmax, backwards.
    pub(crate) fn gradient(&self, class: usize, features: &[f64]) -> Vec<f64> {
        let first = self.network[0].sums(features);
        let second: Vec<f64> =
            self.network[1].sums(&first.iter().map(|sum| sum.max(0.0)).collect::<Vec<_>>());
        let tanh: Vec<f64> = second.iter().map(|sum| sum.tanh()).collect();
        let powers: Vec<f64> = self.network[2].sums(&tanh).iter().map(|sum| sum.exp()).collect();
        let total: f64 = powers.iter().sum();
        let own = powers[class] / total;
        let slope = |(at, power): (usize, &f64)| own * (f64::from(u8::from(at == class)) - power / total);
        let gradient: Vec<f64> = powers.iter().enumerate().map(slope).collect();
        let back = self.network[2].back(&gradient);
        let back: Vec<f64> =
            back.iter().zip(&tanh).map(|(slope, value)| slope * (1.0 - value * value)).collect();
        let back = self.network[1].back(&back);
        let active = back.iter().zip(&first).map(|(slope, sum)| if *sum > 0.0 { *slope } else { 0.0 });
        self.network[0].back(&active.collect::<Vec<_>>())
    }
}
