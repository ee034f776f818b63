use std::sync::atomic::{AtomicBool, Ordering};

use modelwright_api::contract::ExitCode;
use modelwright_api::training::Activation;
use modelwright_api::training::resolved::{
    Method, ResolvedClassWeights, ResolvedEarlyStopping, ResolvedLayer, ResolvedOptimizer, ResolvedSchedule,
};
use modelwright_artifact::Digest;
use rstest::rstest;

use super::checkpoint::Pace;
use super::*;
use crate::matrix::{Matrix, Targets};
use crate::network::{Scalar as _, simd_class};
use crate::random::{Purpose, Stream};

mod pytorch;
mod resume;

const ADAM: Method = Method::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };

fn layer(units: u32) -> ResolvedLayer {
    ResolvedLayer { units, activation: Activation::Relu, dropout: 0.0, l2: 0.0 }
}

fn settings() -> ResolvedBuiltin {
    ResolvedBuiltin {
        task: None,
        columns: Vec::new(),
        inputs: None,
        layers: vec![layer(8)],
        loss: None,
        optimizer: ResolvedOptimizer { learning_rate: 0.01, method: ADAM },
        schedule: ResolvedSchedule::Constant,
        epochs: 5,
        batch_size: Some(8),
        early_stopping: None,
        class_weights: ResolvedClassWeights::None,
        seed: 7,
        threads: 1,
    }
}

fn stopping(patience: u32, min_delta: f64, restore_best: bool) -> ResolvedEarlyStopping {
    ResolvedEarlyStopping { monitor: "valLoss".into(), patience, min_delta, restore_best }
}

/// Points around the corners of a square, in as many classes as there are corners divided among them.
fn corners(rows: usize, classes: u32, position: u64) -> Examples {
    let mut stream = Stream::new(3, Purpose::Samples, position);
    let mut inputs = Vec::new();
    let mut indices = Vec::new();
    for _ in 0..rows {
        let corner = stream.below(4);
        let [x, y] = [corner & 1, corner >> 1];
        for side in [x, y] {
            inputs.push(f32::from_f64(2.0 * f64::from(side) - 1.0 + 0.6 * (stream.unit() - 0.5)));
        }
        indices.push(if classes == 2 { x ^ y } else { corner });
    }
    let inputs = Matrix::new(rows, 2, inputs).unwrap();
    Examples { inputs, targets: Targets::Classes { indices, count: classes as usize } }
}

/// y = 100 + 20 x₀ x₁, with a little noise.
fn saddle(rows: usize, position: u64) -> Examples {
    let mut stream = Stream::new(4, Purpose::Samples, position);
    let values: Vec<f32> = (0..rows * 3).map(|_| f32::from_f64(2.0 * stream.unit() - 1.0)).collect();
    let numbers = values.chunks(3).map(|row| 100.0 + 20.0 * row[0] * row[1] + 0.1 * row[2]).collect();
    Examples { inputs: Matrix::new(rows, 3, values).unwrap(), targets: Targets::Numbers(numbers) }
}

fn problem<'a>(training: &'a Examples, validation: &'a Examples, task: Task) -> Problem<'a> {
    let (center, spread) = if task == Task::Regression { (100.0, 10.0) } else { (0.0, 1.0) };
    Problem {
        training,
        validation,
        task,
        loss: default_loss(task),
        center,
        spread,
        class_weights: None,
        score: &|_| 0.5,
        monitor: Monitor::ValidationLoss,
    }
}

/// An observer that can stop a training.
#[derive(Default)]
struct Watch {
    steps: Vec<StepProgress>,
    epochs: Vec<EpochRecord>,
    stop_after: Option<usize>,
    stop: AtomicBool,
}

struct Seen<'a>(&'a mut Vec<StepProgress>, &'a mut Vec<EpochRecord>, Option<usize>, &'a AtomicBool);

impl Observer for Seen<'_> {
    fn step(&mut self, progress: &StepProgress) {
        self.0.push(*progress);
        self.3.store(self.2 == Some(self.0.len()), Ordering::Relaxed);
    }

    fn epoch(&mut self, record: &EpochRecord) {
        self.1.push(*record);
    }
}

impl Watch {
    fn train(
        &mut self,
        problem: &Problem<'_>,
        settings: &ResolvedBuiltin,
        checkpoint: Option<CheckpointPlace>,
    ) -> Result<Trained, TrainingError> {
        let Self { steps, epochs, stop_after, stop } = self;
        let observer = &mut Seen(steps, epochs, *stop_after, stop);
        let eager = Pace { spacing: 0, most: std::time::Duration::ZERO };
        run::train(problem, settings, &mut Control { observer, checkpoint, stop }, eager)
    }
}

fn trained(problem: &Problem<'_>, settings: &ResolvedBuiltin) -> Trained {
    Watch::default().train(problem, settings, None).unwrap()
}

fn bits(network: &Network<f32>) -> Vec<u32> {
    network.parameters().flatten().map(|value| value.to_bits()).collect()
}

fn accuracy(predictions: &Predictions, targets: &Targets) -> f64 {
    let (Predictions::Probabilities(matrix), Targets::Classes { indices, .. }) = (predictions, targets)
    else {
        panic!("not a classification")
    };
    let right = indices.iter().enumerate().filter(|(row, class)| {
        let row = matrix.row(*row);
        row.iter().all(|probability| *probability <= row[**class as usize])
    });
    right.count() as f64 / indices.len() as f64
}

#[rstest]
#[case(Task::Binary, 2)]
#[case(Task::Multiclass, 4)]
fn classes_that_no_line_separates_are_learned(#[case] task: Task, #[case] classes: u32) {
    let [training, validation] = [corners(200, classes, 1), corners(100, classes, 2)];
    let problem = Problem {
        score: &|predictions| accuracy(predictions, &validation.targets),
        ..problem(&training, &validation, task)
    };
    let result = trained(&problem, &ResolvedBuiltin { epochs: 30, ..settings() });
    let predictions = result.network.predict(&validation.inputs, task, 0.0, 1.0);
    assert!(accuracy(&predictions, &validation.targets) > 0.98);
    let score = accuracy(&predictions, &validation.targets);
    assert_eq!(result.history[29].validation_score.to_bits(), score.to_bits());
    assert!(result.history[29].training_loss < 0.2 * result.history[0].training_loss);
}

#[test]
fn numbers_are_learned_in_the_unit_of_the_data() {
    let [training, validation] = [saddle(300, 1), saddle(50, 2)];
    let settings = ResolvedBuiltin { epochs: 60, layers: vec![layer(16), layer(8)], ..settings() };
    let result = trained(&problem(&training, &validation, Task::Regression), &settings);
    let predictions = result.network.predict(&validation.inputs, Task::Regression, 100.0, 10.0);
    let (Predictions::Numbers(predicted), Targets::Numbers(numbers)) = (predictions, &validation.targets)
    else {
        panic!("not a regression")
    };
    let squares: f32 = predicted.iter().zip(numbers).map(|(a, b)| (a - b).powi(2)).sum();
    assert!((squares / 50.0).sqrt() < 2.0, "{}", (squares / 50.0).sqrt());
}

#[test]
fn the_observer_hears_of_every_step_and_epoch() {
    let [training, validation] = [corners(20, 2, 1), corners(9, 2, 2)];
    let mut watch = Watch::default();
    let settings = ResolvedBuiltin { epochs: 2, ..settings() };
    let result = watch.train(&problem(&training, &validation, Task::Binary), &settings, None).unwrap();
    let steps: Vec<_> = watch.steps.iter().map(|it| (it.epoch, it.epochs, it.step, it.steps)).collect();
    assert_eq!(steps, [(1, 2, 1, 3), (1, 2, 2, 3), (1, 2, 3, 3), (2, 2, 1, 3), (2, 2, 2, 3), (2, 2, 3, 3)]);
    assert_eq!(watch.epochs, result.history);
    assert_eq!(result.history.iter().map(|record| record.epoch).collect::<Vec<_>>(), [1, 2]);
    assert!(!result.stopped_early && result.resumed_from.is_none());
}

#[test]
fn a_full_batch_is_one_step_and_needs_no_order() {
    let [training, validation] = [corners(20, 2, 1), corners(9, 2, 2)];
    let problem = problem(&training, &validation, Task::Binary);
    let mut watch = Watch::default();
    let full = ResolvedBuiltin { batch_size: None, ..settings() };
    let result = watch.train(&problem, &full, None).unwrap();
    assert_eq!(watch.steps.len(), 5);
    // A batch of all rows takes them in another order, so the last digits differ, but no more.
    let batch = trained(&problem, &ResolvedBuiltin { batch_size: Some(100), ..settings() });
    for (one, other) in result.network.parameters().flatten().zip(batch.network.parameters().flatten()) {
        assert!((one - other).abs() < 1e-5, "{one} and {other}");
    }
}

#[test]
fn the_training_loss_is_the_mean_over_rows() {
    let training = saddle(21, 1);
    let settings = ResolvedBuiltin {
        epochs: 1,
        optimizer: ResolvedOptimizer {
            learning_rate: 1e-30,
            method: Method::Sgd { momentum: 0.0, nesterov: false },
        },
        ..settings()
    };
    // Weights stay as they are, so both losses are of the same network and the same rows.
    let result = trained(&problem(&training, &training, Task::Regression), &settings);
    let EpochRecord { training_loss, validation_loss, .. } = result.history[0];
    assert!((training_loss - validation_loss).abs() < 1e-12, "{training_loss} and {validation_loss}");
}

#[test]
fn threads_and_repetition_change_no_bit() {
    let [training, validation] = [corners(300, 4, 1), corners(50, 4, 2)];
    let problem = problem(&training, &validation, Task::Multiclass);
    // Wide enough for products to be shared among threads.
    let layers = vec![ResolvedLayer { dropout: 0.2, l2: 1e-4, ..layer(300) }, layer(128)];
    let one = ResolvedBuiltin { epochs: 2, batch_size: Some(256), layers, ..settings() };
    let [first, second] =
        [1, 2].map(|threads| trained(&problem, &ResolvedBuiltin { threads, ..one.clone() }));
    assert_eq!(bits(&first.network), bits(&second.network));
    assert_eq!(first, second);
    let other = trained(&problem, &ResolvedBuiltin { seed: 8, ..one });
    assert_ne!(bits(&first.network), bits(&other.network));
}

/// A monitor that gives the same values whatever is predicted.
fn scripted<'a>(values: &'a [f64], at: &'a std::cell::Cell<usize>) -> impl Fn(&Predictions) -> f64 + 'a {
    move |_| {
        at.set(at.get() + 1);
        values[at.get() - 1]
    }
}

#[rstest]
#[case::falls_for_good(true, 2, 0.0, &[0.5, 0.7, 0.7, 0.6, 0.9], 2, 4)]
#[case::waits_long_enough(true, 3, 0.0, &[0.5, 0.7, 0.7, 0.6, 0.9], 5, 5)]
#[case::too_little_is_nothing(true, 2, 0.1, &[0.5, 0.55, 0.59, 0.9, 0.9], 1, 3)]
#[case::lower_is_better(false, 2, 0.0, &[0.5, 0.4, 0.41, 0.45, 0.3], 2, 4)]
#[case::not_a_number_is_never_better(false, 3, 0.0, &[f64::NAN, f64::NAN, 0.4, f64::NAN, f64::NAN], 3, 5)]
#[case::never_a_number(true, 3, 0.0, &[f64::NAN, f64::NAN, f64::NAN, 1.0, 1.0], 3, 3)]
#[case::infinite_is_worst(false, 2, 0.0, &[f64::INFINITY, 0.4, 0.4, 0.4, 0.4], 2, 4)]
fn training_stops_when_nothing_gets_better(
    #[case] higher_is_better: bool,
    #[case] patience: u32,
    #[case] min_delta: f64,
    #[case] values: &[f64],
    #[case] best: u32,
    #[case] last: u32,
    #[values(false, true)] restore_best: bool,
) {
    let [training, validation] = [corners(20, 2, 1), corners(9, 2, 2)];
    let at = std::cell::Cell::new(0);
    let measure = scripted(values, &at);
    let watched = Problem {
        monitor: Monitor::Metric { higher_is_better, measure: &measure },
        ..problem(&training, &validation, Task::Binary)
    };
    let early =
        ResolvedBuiltin { early_stopping: Some(stopping(patience, min_delta, restore_best)), ..settings() };
    let result = trained(&watched, &early);
    assert_eq!((result.best_epoch, result.history.len()), (best, last as usize));
    assert_eq!(result.stopped_early, last < 5);
    // The weights are those of a training that ends with that epoch.
    let epochs = if restore_best { best } else { last };
    let reference =
        trained(&problem(&training, &validation, Task::Binary), &ResolvedBuiltin { epochs, ..settings() });
    assert_eq!(bits(&result.network), bits(&reference.network));
}

#[test]
fn schedules_set_the_rate_of_each_epoch() {
    let [training, validation] = [corners(20, 2, 1), corners(9, 2, 2)];
    let problem = problem(&training, &validation, Task::Binary);
    let rates = |schedule| {
        let result = trained(&problem, &ResolvedBuiltin { epochs: 4, schedule, ..settings() });
        result.history.iter().map(|record| record.learning_rate).collect::<Vec<_>>()
    };
    assert_eq!(rates(ResolvedSchedule::Constant), [0.01; 4]);
    let step = rates(ResolvedSchedule::Step { every_epochs: 2, factor: 0.1 });
    assert!(step.iter().zip([0.01, 0.01, 0.001, 0.001]).all(|(a, b)| (a - b).abs() < 1e-15), "{step:?}");
    let half = std::f64::consts::FRAC_1_SQRT_2 / 2.0;
    let cosine = rates(ResolvedSchedule::Cosine);
    let expected = [1.0, 0.5 + half, 0.5, 0.5 - half];
    assert!(cosine.iter().zip(expected).all(|(a, b)| (a - 0.01 * b).abs() < 1e-15), "{cosine:?}");
}

#[test]
fn a_diverging_training_says_where_and_what_to_do() {
    let [training, validation] = [saddle(40, 1), saddle(9, 2)];
    let problem = problem(&training, &validation, Task::Regression);
    let method = Method::Sgd { momentum: 0.0, nesterov: false };
    let settings = ResolvedBuiltin {
        optimizer: ResolvedOptimizer { learning_rate: 1e6, method },
        epochs: 50,
        ..settings()
    };
    let error = Watch::default().train(&problem, &settings, None).unwrap_err();
    let TrainingError::NonFiniteLoss { loss, epoch, step, learning_rate } = &error else { panic!("{error}") };
    assert!(!loss.is_finite() && *epoch >= 1 && *step >= 1);
    assert!((*learning_rate - 1e6).abs() < 1e-9);
    assert_eq!((error.reason(), error.exit_code()), ("NonFiniteLoss", ExitCode::BadData));
    assert!(error.to_string().contains("learning rate ten times smaller"), "{error}");
}

#[rstest]
#[case(Task::Binary, Loss::Mse, "write BinaryCrossEntropy")]
#[case(Task::Multiclass, Loss::BinaryCrossEntropy, "write CategoricalCrossEntropy")]
#[case(Task::Regression, Loss::CategoricalCrossEntropy, "write MSE, MAE or Huber")]
fn a_loss_of_another_task_is_refused(#[case] task: Task, #[case] loss: Loss, #[case] advice: &str) {
    let rows = corners(8, 2, 1);
    let error = Watch::default()
        .train(&Problem { loss, ..problem(&rows, &rows, task) }, &settings(), None)
        .unwrap_err();
    assert_eq!((error.reason(), error.exit_code()), ("LossDoesNotFit", ExitCode::InvalidConfiguration));
    assert!(error.to_string().contains(advice), "{error}");
}

#[test]
fn rows_are_needed_on_both_sides() {
    let [rows, none] = [corners(8, 2, 1), corners(0, 2, 1)];
    for (training, validation) in [(&none, &rows), (&rows, &none)] {
        let error = Watch::default()
            .train(&problem(training, validation, Task::Binary), &settings(), None)
            .unwrap_err();
        assert_eq!((error.reason(), error.exit_code()), ("NoRows", ExitCode::BadData));
    }
}

#[test]
fn targets_of_another_task_are_our_mistake() {
    let [classes, numbers] = [corners(8, 4, 1), saddle(8, 1)];
    for problem in [
        problem(&classes, &classes, Task::Binary),
        problem(&numbers, &numbers, Task::Multiclass),
        problem(&classes, &classes, Task::Regression),
        Problem { class_weights: Some(vec![1.0; 3]), ..problem(&classes, &classes, Task::Multiclass) },
    ] {
        let error = Watch::default().train(&problem, &settings(), None).unwrap_err();
        assert_eq!((error.reason(), error.exit_code()), ("ImpossibleTraining", ExitCode::Bug));
    }
}

/// What a small training ends with, for each class of processors that it was computed on.
const GOLDEN: [(&str, &str); 1] =
    [("x86-64-v3", "65263d920a0a88b050090505de31d6d1b464f73252f48446a6883d9bf33fe8d7")];

/// If this fails because the arithmetic was changed on purpose, change `NUMERICS_VERSION` and the digest.
#[test]
fn arithmetic_changes_only_with_its_version() {
    assert_eq!(crate::NUMERICS_VERSION, "2");
    let [training, validation] = [corners(90, 4, 1), corners(20, 4, 2)];
    let layers = [Activation::Relu, Activation::Tanh, Activation::Gelu, Activation::Sigmoid]
        .map(|activation| ResolvedLayer { units: 11, activation, dropout: 0.1, l2: 1e-4 });
    let settings = ResolvedBuiltin {
        layers: layers.to_vec(),
        schedule: ResolvedSchedule::Cosine,
        optimizer: ResolvedOptimizer {
            learning_rate: 0.01,
            method: Method::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01 },
        },
        ..settings()
    };
    let weighted = Problem {
        class_weights: Some(vec![1.0, 2.0, 0.5, 1.0]),
        ..problem(&training, &validation, Task::Multiclass)
    };
    let result = trained(&weighted, &settings);
    let bytes: Vec<u8> = bits(&result.network).into_iter().flat_map(u32::to_le_bytes).collect();
    let digest = Digest::of(&bytes).hex();
    match GOLDEN.iter().find(|(class, _)| *class == simd_class()) {
        Some((_, golden)) => assert_eq!(digest, *golden),
        None => eprintln!("SKIPPED: no digest is known for processors of the class {}", simd_class()),
    }
}
