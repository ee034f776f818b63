//! The same numbers as scikit-learn, and what must hold of any predictions.

use modelwright_api::training::Task;
use proptest::prelude::*;
use rstest::rstest;
use serde::Deserialize;

use super::*;
use crate::matrix::{Examples, Matrix, Predictions, Targets};

/// Written by `testdata/sklearn/make.py`.
const FIXTURE: &str = include_str!("../../testdata/sklearn/fixture.json");

#[derive(Deserialize)]
struct Fixture {
    classification: Vec<Classification>,
    regression: Vec<Regression>,
    logistic: Vec<LogisticCase>,
    ridge: Vec<RidgeCase>,
}

#[derive(Deserialize)]
struct Classification {
    name: String,
    task: String,
    probabilities: Vec<Vec<f32>>,
    actual: Vec<u32>,
    metrics: std::collections::BTreeMap<Metric, f64>,
    confusion: Vec<Vec<u64>>,
}

#[derive(Deserialize)]
struct Regression {
    name: String,
    predicted: Vec<f32>,
    actual: Vec<f32>,
    metrics: std::collections::BTreeMap<Metric, f64>,
}

#[derive(Deserialize)]
struct LogisticCase {
    name: String,
    inputs: Vec<Vec<f32>>,
    classes: usize,
    actual: Vec<u32>,
    unseen: Vec<Vec<f32>>,
    probabilities: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct RidgeCase {
    name: String,
    inputs: Vec<Vec<f32>>,
    numbers: Vec<f32>,
    unseen: Vec<Vec<f32>>,
    predicted: Vec<f64>,
}

fn fixture() -> Fixture {
    serde_json::from_str(FIXTURE).unwrap()
}

fn matrix(rows: &[Vec<f32>]) -> Matrix {
    Matrix::new(rows.len(), rows[0].len(), rows.concat()).unwrap()
}

fn classes(indices: &[u32], count: usize) -> Targets {
    Targets::Classes { indices: indices.to_vec(), count }
}

fn assert_near(found: f64, wanted: f64, tolerance: f64, what: &str) {
    assert!((found - wanted).abs() <= tolerance * wanted.abs().max(1.0), "{what}: {found} and not {wanted}");
}

fn assert_metrics(
    found: &std::collections::BTreeMap<Metric, f64>,
    wanted: &std::collections::BTreeMap<Metric, f64>,
    name: &str,
) {
    assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>(), "{name}");
    for (metric, value) in wanted {
        assert_near(found[metric], *value, 1e-9, &format!("{name}, {}", metric.name()));
        let (least, most) = metric.range();
        assert!((least..=most).contains(value), "{name}, {}", metric.name());
    }
}

#[test]
fn metrics_of_classes_equal_scikit_learn() {
    for case in fixture().classification {
        let task = if case.task == "Binary" { Task::Binary } else { Task::Multiclass };
        let predictions = Predictions::Probabilities(matrix(&case.probabilities));
        let targets = classes(&case.actual, case.confusion.len());
        let found = measure(task, &predictions, &targets);
        assert_metrics(&found, &case.metrics, &case.name);
        assert_eq!(confusion(&predictions, &targets), case.confusion, "{}", case.name);
        let curves = roc(&predictions, &targets);
        if let Some(area) = found.get(&Metric::RocAuc) {
            let mean = curves.iter().map(|curve| curve.area).sum::<f64>() / curves.len() as f64;
            assert_near(mean, *area, 1e-12, &case.name);
        }
        for curve in curves {
            assert_near(area_under(&curve.points), curve.area, 1e-12, &case.name);
        }
    }
}

/// By trapezoids.
fn area_under(points: &[(f64, f64)]) -> f64 {
    points.windows(2).map(|pair| (pair[1].0 - pair[0].0) * f64::midpoint(pair[0].1, pair[1].1)).sum()
}

#[test]
fn metrics_of_numbers_equal_scikit_learn() {
    for case in fixture().regression {
        let found =
            measure(Task::Regression, &Predictions::Numbers(case.predicted), &Targets::Numbers(case.actual));
        assert_metrics(&found, &case.metrics, &case.name);
    }
}

#[test]
fn logistic_regression_equals_scikit_learn() {
    for case in fixture().logistic {
        let examples =
            Examples { inputs: matrix(&case.inputs), targets: classes(&case.actual, case.classes) };
        let Predictions::Probabilities(found) =
            Baselines::fit(&examples).linear.predict(&matrix(&case.unseen))
        else {
            panic!("numbers");
        };
        for (found, wanted) in found.values().iter().zip(case.probabilities.concat()) {
            assert!((f64::from(*found) - wanted).abs() < 1e-4, "{}: {found} and not {wanted}", case.name);
        }
    }
}

#[test]
fn ridge_regression_equals_scikit_learn() {
    for case in fixture().ridge {
        let examples = Examples { inputs: matrix(&case.inputs), targets: Targets::Numbers(case.numbers) };
        let Predictions::Numbers(found) = Baselines::fit(&examples).linear.predict(&matrix(&case.unseen))
        else {
            panic!("classes");
        };
        for (found, wanted) in found.iter().zip(case.predicted) {
            // As near as f32 can be.
            assert_near(f64::from(*found), wanted, 1e-6, &case.name);
        }
    }
}

/// A set of `testdata/scores`, with the mean accuracy of scikit-learn's logistic regression over the splits.
#[derive(Deserialize)]
struct Scores {
    name: String,
    linear: Summary,
    tests: Vec<Vec<usize>>,
}

#[derive(Deserialize)]
struct Summary {
    mean: f64,
}

/// The rows, and the classes in the order in which they first occur.
fn rows_of_file(text: &str) -> (Vec<Vec<f32>>, Vec<u32>, usize) {
    let (mut rows, mut indices, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for record in csv::Reader::from_reader(text.as_bytes()).records() {
        let record = record.unwrap();
        let name = record[record.len() - 1].to_owned();
        rows.push(record.iter().take(record.len() - 1).map(|value| value.parse().unwrap()).collect());
        if !names.contains(&name) {
            names.push(name.clone());
        }
        indices.push(u32::try_from(names.iter().position(|other| *other == name).unwrap()).unwrap());
    }
    (rows, indices, names.len())
}

/// Scaled by the mean and the standard deviation of `train`.
fn standardised(rows: &[Vec<f32>], train: &[usize]) -> Matrix {
    let mut scaled = rows.to_vec();
    for column in 0..rows[0].len() {
        let values = || train.iter().map(|&row| f64::from(rows[row][column]));
        let mean = values().sum::<f64>() / train.len() as f64;
        let variance =
            values().map(|value| (value - mean) * (value - mean)).sum::<f64>() / train.len() as f64;
        for row in &mut scaled {
            #[expect(clippy::cast_possible_truncation, reason = "inputs are f32")]
            let value = ((f64::from(row[column]) - mean) / variance.sqrt()) as f32;
            row[column] = value;
        }
    }
    matrix(&scaled)
}

#[rstest]
#[case("iris", include_str!("../../testdata/scores/iris.csv"))]
#[case("wine", include_str!("../../testdata/scores/wine.csv"))]
fn logistic_regression_scores_on_real_data_as_in_scikit_learn(#[case] name: &str, #[case] text: &str) {
    let all: Vec<Scores> = serde_json::from_str(include_str!("../../testdata/scores/scores.json")).unwrap();
    let scores = all.iter().find(|scores| scores.name == name).unwrap();
    let (rows, indices, count) = rows_of_file(text);
    let accuracy = |test: &Vec<usize>| {
        let train: Vec<usize> = (0..rows.len()).filter(|row| !test.contains(row)).collect();
        let all = Examples { inputs: standardised(&rows, &train), targets: classes(&indices, count) };
        let part =
            |rows: &[usize]| Examples { inputs: all.inputs.select(rows), targets: all.targets.select(rows) };
        let (train, test) = (part(&train), part(test));
        let predictions = Baselines::fit(&train).linear.predict(&test.inputs);
        single(Metric::Accuracy, Task::Multiclass, &predictions, &test.targets).unwrap()
    };
    let mean = scores.tests.iter().map(accuracy).sum::<f64>() / scores.tests.len() as f64;
    assert_near(mean, scores.linear.mean, 1e-9, name);
}

#[test]
fn nothing_is_measured_of_no_rows_and_of_what_does_not_fit() {
    let none = Predictions::Probabilities(Matrix::zeros(0, 2));
    let numbers = Predictions::Numbers(vec![1.0]);
    for (task, predictions, targets) in [
        (Task::Binary, &none, classes(&[], 2)),
        (Task::Regression, &Predictions::Numbers(Vec::new()), Targets::Numbers(Vec::new())),
        (Task::Binary, &none, classes(&[1], 2)),
        (Task::Binary, &numbers, classes(&[1], 2)),
        (Task::Multiclass, &Predictions::Probabilities(Matrix::zeros(1, 2)), classes(&[2], 3)),
        (Task::Binary, &numbers, Targets::Numbers(vec![1.0])),
        (Task::Regression, &numbers, Targets::Numbers(vec![1.0, 2.0])),
    ] {
        assert!(measure(task, predictions, &targets).is_empty(), "{predictions:?} {targets:?}");
    }
    assert!(confusion(&none, &classes(&[], 2)).is_empty());
    assert!(roc(&none, &classes(&[], 2)).is_empty());
    assert!(residuals(&numbers, &classes(&[1], 2)).is_empty());
}

#[test]
fn what_is_not_a_number_is_not_measured() {
    let predictions = Predictions::Numbers(vec![f32::NAN, 1.0]);
    assert!(measure(Task::Regression, &predictions, &Targets::Numbers(vec![1.0, 2.0])).is_empty());
    let undecided = Matrix::new(2, 2, vec![f32::NAN; 4]).unwrap();
    let found = measure(Task::Binary, &Predictions::Probabilities(undecided), &classes(&[0, 1], 2));
    assert!(!found.contains_key(&Metric::RocAuc) && !found.contains_key(&Metric::LogLoss), "{found:?}");
}

/// Rows of a binary task: the probability of the second class, in steps so that some are equal, and the class.
fn rows() -> impl Strategy<Value = Vec<(u8, u32)>> {
    prop::collection::vec((0..=32_u8, 0..2_u32), 1..80)
}

fn binary(rows: &[(u8, u32)], score: impl Fn(f32) -> f32) -> (Predictions, Targets) {
    let second = rows.iter().map(|(step, _)| score(f32::from(*step) / 32.0));
    let values: Vec<f32> = second.flat_map(|second| [1.0 - second, second]).collect();
    let indices: Vec<u32> = rows.iter().map(|(_, class)| *class).collect();
    (Predictions::Probabilities(Matrix::new(rows.len(), 2, values).unwrap()), classes(&indices, 2))
}

proptest! {
    #[test]
    fn roc_auc_depends_on_the_order_of_scores_alone(rows in rows()) {
        let area = |score: fn(f32) -> f32| {
            let (predictions, targets) = binary(&rows, score);
            single(Metric::RocAuc, Task::Binary, &predictions, &targets)
        };
        // Both keep the order; a third turns it around.
        prop_assert_eq!(area(|score| score), area(|score| score * score));
        prop_assert_eq!(area(|score| score), area(|score| score / 4.0 + 0.5));
        match (area(|score| score), area(|score| 1.0 - score)) {
            (Some(area), Some(turned)) => prop_assert!((area + turned - 1.0).abs() < 1e-12),
            (area, turned) => prop_assert_eq!(area, turned),
        }
    }

    #[test]
    fn order_of_rows_does_not_matter(rows in rows(), by in 0..80_usize) {
        let mut others = rows.clone();
        others.rotate_left(by % rows.len());
        others.reverse();
        let measured = |rows: &[(u8, u32)]| {
            let (predictions, targets) = binary(rows, |score| score);
            measure(Task::Binary, &predictions, &targets)
        };
        let (one, other) = (measured(&rows), measured(&others));
        prop_assert_eq!(one.len(), other.len());
        for (metric, value) in one {
            prop_assert!((other[&metric] - value).abs() < 1e-12);
        }
    }

    #[test]
    fn values_are_in_their_ranges(rows in rows()) {
        let (predictions, targets) = binary(&rows, |score| score);
        for (metric, value) in measure(Task::Binary, &predictions, &targets) {
            let (least, most) = metric.range();
            prop_assert!((least..=most).contains(&value));
            prop_assert_eq!(single(metric, Task::Binary, &predictions, &targets), Some(value));
        }
    }

    #[test]
    fn errors_of_numbers_are_related(pairs in prop::collection::vec((-1e6_f32..1e6, -1e6_f32..1e6), 1..50)) {
        let (predicted, actual): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
        let found = measure(Task::Regression, &Predictions::Numbers(predicted), &Targets::Numbers(actual));
        let (mse, rmse, mae) = (found[&Metric::Mse], found[&Metric::Rmse], found[&Metric::Mae]);
        prop_assert!((rmse * rmse - mse).abs() <= 1e-9 * mse);
        prop_assert!(mae <= rmse * (1.0 + 1e-12));
        prop_assert!(found.get(&Metric::R2).is_none_or(|r2| *r2 <= 1.0));
    }
}
