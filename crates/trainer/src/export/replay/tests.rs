use modelwright_api::contract::ExitCode;
use modelwright_api::training::InputLayout;
use rstest::rstest;

use super::*;
use crate::export::random_models::{ACTIVATIONS, RandomModel};

/// A network of one linear layer.
fn linear(weights: &[f32], units: usize) -> Network {
    let weights = Matrix::new(weights.len() / units, units, weights.to_vec()).unwrap();
    Network { layers: vec![Dense { weights, bias: vec![0.0; units], activation: Activation::Linear }] }
}

fn target(task: Task, center: f32, spread: f32) -> Target {
    let classes = if task == Task::Regression { Vec::new() } else { vec!["a".to_owned(), "b".to_owned()] };
    Target { name: "y".to_owned(), task, classes, center, spread }
}

fn probabilities(values: &[f32]) -> Predictions {
    Predictions::Probabilities(Matrix::new(values.len() / 2, 2, values.to_vec()).unwrap())
}

/// Compares predictions of two classes for rows of one feature.
fn binary(inputs: &[f32], expected: &[f32], got: &[f32]) -> Result<f64, ReplayError> {
    let inputs = Matrix::new(inputs.len(), 1, inputs.to_vec()).unwrap();
    let (network, target) = (linear(&[1.0], 1), target(Task::Binary, 0.0, 1.0));
    let of = Replayed { network: &network, target: &target, inputs: &inputs };
    compare(&probabilities(expected), &probabilities(got), &of)
}

/// Compares predictions of numbers for rows of one feature that the network gives back.
fn numbers(target: &Target, inputs: &[f32], got: &[f32]) -> Result<f64, ReplayError> {
    let expected = inputs.iter().map(|input| input * target.spread + target.center).collect();
    let inputs = Matrix::new(inputs.len(), 1, inputs.to_vec()).unwrap();
    let of = Replayed { network: &linear(&[1.0], 1), target, inputs: &inputs };
    compare(&Predictions::Numbers(expected), &Predictions::Numbers(got.to_vec()), &of)
}

#[test]
fn the_largest_difference_is_returned() {
    let largest = binary(&[0.0, 0.0], &[0.5, 0.5, 0.5, 0.5], &[0.5, 0.5, 0.500_003, 0.499_998]).unwrap();
    assert!((largest - 3e-6).abs() < 1e-7, "{largest}");
    assert!(binary(&[], &[], &[]).unwrap().abs() < f64::EPSILON);
}

#[test]
fn a_prediction_beyond_rounding_is_our_bug_and_names_its_row() {
    let error = binary(&[0.0, 0.0], &[0.5; 4], &[0.5, 0.5, 0.499_98, 0.500_02]).unwrap_err();
    let ReplayError::Differs { row: 1, expected, tolerance, .. } = error else { panic!("{error}") };
    assert_eq!((expected, tolerance), (0.5, TOLERANCE));
    assert_eq!((error.reason(), error.exit_code()), ("ExportDiffers", ExitCode::Bug));
    let message = error.to_string();
    assert!(message.contains("for row 1") && message.ends_with("please report this"), "{message}");
}

#[test]
fn a_prediction_that_is_none_agrees_with_nothing() {
    let error = binary(&[0.0], &[0.5, 0.5], &[f32::NAN, 0.5]).unwrap_err();
    assert_eq!(error.reason(), "ExportDiffers");
    let error = binary(&[f32::NAN], &[f32::NAN, f32::NAN], &[f32::NAN, f32::NAN]).unwrap_err();
    assert_eq!((error.reason(), error.exit_code()), ("UnstableModel", ExitCode::BadData));
}

#[test]
fn other_numbers_of_rows_or_outputs_are_our_bug() {
    let error = binary(&[0.0, 0.0], &[0.5; 4], &[0.5; 2]).unwrap_err();
    assert_eq!((error.reason(), error.exit_code()), ("ExportDiffers", ExitCode::Bug));
    assert!(error.to_string().contains("gives [1, 2] predictions and the trainer [2, 2]"), "{error}");
}

#[rstest]
// The network's own numbers are about 1: what counts is the spread.
#[case(0.0, 1.0, 0.0, 9e-6, true)]
#[case(0.0, 1.0, 0.0, 2e-5, false)]
#[case(0.0, 1000.0, 0.0, 9e-3, true)]
#[case(0.0, 1000.0, 0.0, 2e-2, false)]
// A prediction far from the center is a large number of the network.
#[case(0.0, 1.0, 1000.0, 9e-3, true)]
// A large center costs digits of the sum: 0.0625 is a unit in the last place of a million.
#[case(1e6, 0.01, 0.0, 0.0625, true)]
#[case(1e6, 0.01, 0.0, 0.5, false)]
fn numbers_may_differ_by_what_their_scale_allows(
    #[case] center: f32,
    #[case] spread: f32,
    #[case] input: f32,
    #[case] apart: f32,
    #[case] accepted: bool,
) {
    let target = target(Task::Regression, center, spread);
    let got = input * spread + center + apart;
    let result = numbers(&target, &[0.0, input], &[center, got]);
    assert_eq!(result.is_ok(), accepted, "{result:?}");
}

/// Predictions by a sum of large terms that cancel, in single precision from the first and from the last.
fn cancelling(size: f32) -> Result<f64, ReplayError> {
    let inputs = [0.3, size, -size];
    let network = linear(&[1.0; 3], 1);
    let target = target(Task::Binary, 0.0, 1.0);
    let inputs = Matrix::new(1, 3, inputs.to_vec()).unwrap();
    let predict = |sum: f32| {
        let second = 1.0 / (1.0 + libm::expf(-sum));
        probabilities(&[1.0 - second, second])
    };
    let forwards = predict(inputs.row(0).iter().fold(0.0, |sum, value| sum + value));
    let backwards = predict(inputs.row(0).iter().rev().fold(0.0, |sum, value| sum + value));
    compare(&forwards, &backwards, &Replayed { network: &network, target: &target, inputs: &inputs })
}

#[test]
fn a_network_that_loses_some_digits_is_accepted() {
    let apart = cancelling(3000.0).unwrap();
    assert!(apart > TOLERANCE, "{apart}");
}

#[test]
fn a_network_that_loses_all_digits_is_refused_with_what_to_do() {
    let error = cancelling(1e7).unwrap_err();
    assert_eq!((error.reason(), error.exit_code()), ("UnstableModel", ExitCode::BadData));
    assert!(error.to_string().contains("scale: Standard"), "{error}");
}

#[test]
fn double_precision_is_that_of_the_definition() {
    let cases = [Task::Binary, Task::Multiclass, Task::Regression];
    for (seed, task) in (1..).zip(cases) {
        let model = RandomModel::new(seed, task, InputLayout::Columns, &ACTIVATIONS);
        let inputs = model.features();
        let exact = exact(&Replayed { network: &model.network, target: &model.target, inputs: &inputs });
        let expected: Vec<f64> = model.expected().concat();
        assert_eq!(exact.len(), expected.len());
        for (exact, expected) in exact.iter().zip(&expected) {
            assert!((exact - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{exact} {expected}");
        }
    }
}
