//! Models that anybody could fit in a minute. A network that is not better than these is not worth serving.
//!
//! Two are always fitted: one that ignores the inputs, and a linear one with scikit-learn's default penalty. Neither knows
//! of class weights. Data that is too large for an exact fit in reasonable time gets a bounded number of passes over it,
//! which depends on its size alone, so that the same data gives the same model.

use modelwright_api::training::Task;

use self::logistic::Logistic;
use self::ridge::Ridge;
use super::measure::single;
use super::metric::Metric;
use crate::matrix::{Examples, Matrix, Predictions, Targets};

mod logistic;
mod minimise;
mod ridge;
mod vectors;

/// Additions and multiplications of one fit, roughly: some seconds of one CPU.
const WORK: usize = 4_000_000_000;

/// How many passes over the inputs a fit of so many outputs may take: 200, for large data fewer, at least 30.
fn passes(inputs: &Matrix, outputs: usize) -> usize {
    let pass = inputs.values().len().saturating_mul(outputs.max(1));
    (WORK / pass.max(1)).clamp(30, 200)
}

/// A simple model.
#[derive(Clone, Debug)]
pub struct Baseline(Model);

#[derive(Clone, Debug)]
enum Model {
    /// The share of each class.
    Frequencies(Vec<f32>),
    /// One number.
    Mean(f32),
    Logistic(Logistic),
    Ridge(Ridge),
}

impl Baseline {
    /// What kind of model it is, for people.
    pub const fn name(&self) -> &'static str {
        match self.0 {
            Model::Frequencies(_) => "majority class",
            Model::Mean(_) => "mean",
            Model::Logistic(_) => "logistic regression",
            Model::Ridge(_) => "ridge regression",
        }
    }

    /// What it predicts for encoded rows of the width that it was fitted to.
    pub fn predict(&self, inputs: &Matrix) -> Predictions {
        match &self.0 {
            Model::Frequencies(shares) => {
                let mut probabilities = Matrix::zeros(inputs.rows(), shares.len());
                (0..inputs.rows()).for_each(|row| probabilities.row_mut(row).copy_from_slice(shares));
                Predictions::Probabilities(probabilities)
            }
            Model::Mean(mean) => Predictions::Numbers(vec![*mean; inputs.rows()]),
            Model::Logistic(logistic) => Predictions::Probabilities(logistic.predict(inputs)),
            Model::Ridge(ridge) => Predictions::Numbers(ridge.predict(inputs)),
        }
    }
}

/// The simple models of some data.
#[derive(Clone, Debug)]
pub struct Baselines {
    /// The majority class, with the classes' shares as probabilities, or the mean.
    pub constant: Baseline,
    /// Logistic regression (C = 1; of two classes binomial, else multinomial) or ridge regression (alpha = 1), without a
    /// penalty of the intercept.
    pub linear: Baseline,
}

impl Baselines {
    /// Fits both to the rows. Of no rows, every class has the same probability, and the mean is 0.
    pub fn fit(examples: &Examples) -> Self {
        let inputs = &examples.inputs;
        let [constant, linear] = match &examples.targets {
            Targets::Classes { indices, count } => {
                let rows = rows_of(indices, *count);
                [
                    Model::Frequencies(frequencies(&rows)),
                    Model::Logistic(Logistic::fit(inputs, indices, &rows)),
                ]
            }
            Targets::Numbers(numbers) => {
                let ridge = Ridge::fit(inputs, numbers);
                [Model::Mean(vectors::narrow(ridge.mean())), Model::Ridge(ridge)]
            }
        };
        Self { constant: Baseline(constant), linear: Baseline(linear) }
    }

    /// The better one on some rows, and its value of the metric; of equally good ones the constant. `None` where the metric
    /// is undefined for both.
    pub fn best(&self, metric: Metric, task: Task, examples: &Examples) -> Option<(&Baseline, f64)> {
        let value = |baseline: &Baseline| {
            single(metric, task, &baseline.predict(&examples.inputs), &examples.targets)
        };
        match (value(&self.constant), value(&self.linear)) {
            (Some(constant), Some(linear)) if !metric.direction().better(linear, constant) => {
                Some((&self.constant, constant))
            }
            (_, Some(linear)) => Some((&self.linear, linear)),
            (constant, None) => constant.map(|value| (&self.constant, value)),
        }
    }
}

/// How many rows each class has.
fn rows_of(indices: &[u32], classes: usize) -> Vec<u64> {
    let mut rows = vec![0; classes];
    for &class in indices {
        rows[class as usize] += 1;
    }
    rows
}

fn frequencies(rows: &[u64]) -> Vec<f32> {
    let all: u64 = rows.iter().sum();
    if all == 0 {
        return vec![vectors::narrow(1.0 / rows.len() as f64); rows.len()];
    }
    rows.iter().map(|&rows| vectors::narrow(rows as f64 / all as f64)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(inputs: Matrix, indices: &[u32], count: usize) -> Examples {
        Examples { inputs, targets: Targets::Classes { indices: indices.to_vec(), count } }
    }

    fn probabilities(baseline: &Baseline, inputs: &Matrix) -> Matrix {
        match baseline.predict(inputs) {
            Predictions::Probabilities(matrix) => matrix,
            Predictions::Numbers(_) => panic!("numbers"),
        }
    }

    #[test]
    fn constant_is_the_share_of_each_class() {
        let baselines = Baselines::fit(&classes(Matrix::zeros(4, 1), &[2, 0, 2, 2], 3));
        assert_eq!(baselines.constant.name(), "majority class");
        assert_eq!(probabilities(&baselines.constant, &Matrix::zeros(1, 1)).values(), [0.25, 0.0, 0.75]);
    }

    #[test]
    fn class_without_rows_has_no_probability() {
        let inputs = Matrix::new(4, 1, vec![-1.0, -2.0, 1.0, 2.0]).unwrap();
        let baselines = Baselines::fit(&classes(inputs, &[0, 0, 2, 2], 3));
        assert_eq!(baselines.linear.name(), "logistic regression");
        let given = probabilities(&baselines.linear, &Matrix::new(1, 1, vec![1.5]).unwrap());
        let [first, second, third] = given.values().try_into().unwrap();
        assert!(first < 0.2 && second == 0.0 && third > 0.8, "{given:?}");
    }

    #[test]
    fn one_class_alone_is_certain() {
        let baselines = Baselines::fit(&classes(Matrix::zeros(3, 2), &[1, 1, 1], 2));
        assert_eq!(probabilities(&baselines.linear, &Matrix::zeros(1, 2)).values(), [0.0, 1.0]);
    }

    #[test]
    fn nothing_is_known_of_no_rows() {
        let baselines = Baselines::fit(&classes(Matrix::zeros(0, 2), &[], 4));
        for baseline in [&baselines.constant, &baselines.linear] {
            assert_eq!(probabilities(baseline, &Matrix::zeros(1, 2)).values(), [0.25; 4]);
        }
        let empty = Examples { inputs: Matrix::zeros(0, 2), targets: Targets::Numbers(Vec::new()) };
        let baselines = Baselines::fit(&empty);
        for baseline in [&baselines.constant, &baselines.linear] {
            assert_eq!(baseline.predict(&Matrix::zeros(1, 2)), Predictions::Numbers(vec![0.0]));
        }
    }

    #[test]
    fn rows_without_columns_give_the_shares() {
        let baselines = Baselines::fit(&classes(Matrix::zeros(4, 0), &[0, 1, 1, 1], 2));
        let given = probabilities(&baselines.linear, &Matrix::zeros(1, 0));
        assert!((given.values()[1] - 0.75).abs() < 1e-5, "{given:?}");
    }

    #[test]
    fn huge_values_give_finite_predictions() {
        let values = vec![1e30, -1e30, 3e30, -2e30, 5e29, 1e30];
        let inputs = Matrix::new(3, 2, values).unwrap();
        let baselines = Baselines::fit(&classes(inputs.clone(), &[0, 1, 0], 2));
        assert!(probabilities(&baselines.linear, &inputs).values().iter().all(|p| p.is_finite()));
        let numbers = Examples { inputs: inputs.clone(), targets: Targets::Numbers(vec![1.0, 2.0, 3.0]) };
        let Predictions::Numbers(given) = Baselines::fit(&numbers).linear.predict(&inputs) else {
            panic!("classes")
        };
        assert!(given.iter().all(|number| number.is_finite()), "{given:?}");
    }

    #[test]
    fn best_is_the_linear_one_only_where_it_is_better() {
        let inputs = Matrix::new(4, 1, vec![-1.0, -2.0, 1.0, 2.0]).unwrap();
        let numbers = Examples { inputs, targets: Targets::Numbers(vec![-1.0, -2.0, 1.0, 2.0]) };
        let baselines = Baselines::fit(&numbers);
        let (best, value) = baselines.best(Metric::R2, Task::Regression, &numbers).unwrap();
        assert_eq!(best.name(), "ridge regression");
        assert!(value > 0.9, "{value}");

        let unrelated = Examples { targets: Targets::Numbers(vec![2.0, -1.0, 2.0, -1.0]), ..numbers };
        let baselines = Baselines::fit(&unrelated);
        let (best, value) = baselines.best(Metric::R2, Task::Regression, &unrelated).unwrap();
        assert_eq!((best.name(), value), ("mean", 0.0));
        assert!(baselines.best(Metric::Accuracy, Task::Regression, &unrelated).is_none());
    }

    #[test]
    fn larger_data_gets_fewer_passes() {
        assert_eq!(passes(&Matrix::zeros(1_000, 10), 1), 200);
        assert_eq!(passes(&Matrix::zeros(1_000, 1_000), 40), 100);
        assert_eq!(passes(&Matrix::zeros(1_000, 1_000), 10_000), 30);
    }
}
