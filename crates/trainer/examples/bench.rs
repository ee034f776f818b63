//! This crate's side of `cargo xtask bench trainer`: the training of one network, measured from inside.
//!
//! `bench generate SETTINGS` writes rows to `file`; `bench train SETTINGS` trains on them, with a pass over the held-out
//! rows at the end of each epoch, and prints one line of JSON. Settings are a JSON object, see [`Settings`].

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read as _, Write as _};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use modelwright_api::training::resolved::{ResolvedBuiltin, ResolvedLayer};
use modelwright_api::training::{Activation, Builtin, Loss, Task};
use modelwright_trainer::matrix::{Examples, Matrix, Predictions, Targets};
use modelwright_trainer::random::{Purpose, Stream};
use modelwright_trainer::training::{Control, EpochRecord, Monitor, Observer, Problem, StepProgress, train};
use serde::{Deserialize, Serialize};

/// How far classes are apart: the standard deviation of the logit that decides the probability of a label.
const SPREAD: f64 = 4.0;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Settings {
    /// All rows as 32-bit floats, least significant byte first: the inputs row after row, then the labels, 0 or 1.
    file: PathBuf,
    /// How many of the rows are trained on.
    training: usize,
    /// How many rows after them judge the network.
    held_out: usize,
    /// Inputs of the network.
    features: usize,
    /// Units of its hidden layer.
    units: u32,
    /// Rows of a step.
    batch: u32,
    /// How often all rows are trained on.
    epochs: u32,
    /// What decides everything random.
    seed: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Measured {
    /// The CPU time of each epoch, all threads together.
    epoch_cpu_seconds: Vec<f64>,
    /// The share of held-out rows that the network is right about after the last epoch.
    accuracy: f64,
    /// The most memory that was resident.
    peak_bytes: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [command, settings] = arguments.as_slice() else {
        return Err("usage: bench COMMAND SETTINGS".into());
    };
    let settings: Settings = serde_json::from_str(settings)?;
    match command.as_str() {
        "generate" => Ok(generate(&settings)?),
        "train" => {
            println!("{}", serde_json::to_string(&measure(&settings)?)?);
            Ok(())
        }
        _ => Err(format!("{command} is not a command; use generate or train").into()),
    }
}

/// Normal inputs, and labels that are likelier the further a row lies in one direction.
fn generate(settings: &Settings) -> std::io::Result<()> {
    let mut stream = Stream::new(settings.seed, Purpose::Samples, 0);
    let direction: Vec<f64> = (0..settings.features).map(|_| normal(&mut stream)).collect();
    let length = direction.iter().map(|value| value * value).sum::<f64>().sqrt();
    let mut file = BufWriter::new(File::create(&settings.file)?);
    let mut labels = Vec::new();
    for _ in 0..settings.training + settings.held_out {
        let mut logit = 0.0;
        for weight in &direction {
            let value = normal(&mut stream);
            logit += SPREAD * weight / length * value;
            #[expect(clippy::cast_possible_truncation, reason = "inputs are 32-bit floats")]
            file.write_all(&(value as f32).to_le_bytes())?;
        }
        let positive = stream.unit() < 1.0 / (1.0 + libm::exp(-logit));
        labels.extend(f32::from(u8::from(positive)).to_le_bytes());
    }
    file.write_all(&labels)?;
    file.flush()
}

/// A number of the standard normal distribution (Box and Muller).
fn normal(stream: &mut Stream) -> f64 {
    let radius = (-2.0 * libm::log(1.0 - stream.unit())).sqrt();
    radius * libm::cos(std::f64::consts::TAU * stream.unit())
}

/// The rows to learn from, and those that judge.
fn read(settings: &Settings) -> Result<[Examples; 2], Box<dyn Error>> {
    let mut file = BufReader::new(File::open(&settings.file)?);
    let mut numbers = |count: usize| -> std::io::Result<Vec<f32>> {
        let mut bytes = [0; size_of::<f32>()];
        let mut number = || file.read_exact(&mut bytes).map(|()| f32::from_le_bytes(bytes));
        (0..count).map(|_| number()).collect()
    };
    let parts = [settings.training, settings.held_out];
    let mut examples = Vec::with_capacity(parts.len());
    for rows in parts {
        let inputs = Matrix::new(rows, settings.features, numbers(rows * settings.features)?);
        let inputs = inputs.ok_or("the sizes do not fit")?;
        examples.push(Examples { inputs, targets: Targets::Classes { indices: Vec::new(), count: 2 } });
    }
    for (examples, rows) in examples.iter_mut().zip(parts) {
        let indices = numbers(rows)?.iter().map(|label| u32::from(*label > 0.5)).collect();
        examples.targets = Targets::Classes { indices, count: 2 };
    }
    examples.try_into().map_err(|_| "the sizes do not fit".into())
}

/// The defaults of a training, but for what the bench compares.
fn builtin(settings: &Settings) -> ResolvedBuiltin {
    let hidden = ResolvedLayer { units: settings.units, activation: Activation::Relu, dropout: 0.0, l2: 0.0 };
    ResolvedBuiltin {
        task: Some(Task::Binary),
        layers: vec![hidden],
        epochs: settings.epochs,
        batch_size: Some(settings.batch),
        early_stopping: None,
        seed: settings.seed,
        threads: 1,
        ..Builtin::default().resolved()
    }
}

/// Takes the time of every epoch.
struct Watch {
    last: f64,
    epochs: Vec<f64>,
    accuracy: f64,
}

impl Observer for Watch {
    fn step(&mut self, _progress: &StepProgress) {}

    fn epoch(&mut self, record: &EpochRecord) {
        let now = cpu_seconds();
        self.epochs.push(now - self.last);
        (self.last, self.accuracy) = (now, record.validation_score);
    }
}

fn measure(settings: &Settings) -> Result<Measured, Box<dyn Error>> {
    let [training, held_out] = read(settings)?;
    let score = |predictions: &Predictions| accuracy(predictions, &held_out.targets);
    let problem = Problem {
        training: &training,
        validation: &held_out,
        task: Task::Binary,
        loss: Loss::BinaryCrossEntropy,
        center: 0.0,
        spread: 1.0,
        class_weights: None,
        score: &score,
        monitor: Monitor::ValidationLoss,
    };
    let mut watch = Watch { last: cpu_seconds(), epochs: Vec::new(), accuracy: f64::NAN };
    let stop = AtomicBool::new(false);
    train(
        &problem,
        &builtin(settings),
        &mut Control { observer: &mut watch, checkpoint: None, stop: &stop },
    )?;
    Ok(Measured { epoch_cpu_seconds: watch.epochs, accuracy: watch.accuracy, peak_bytes: peak_bytes() })
}

fn accuracy(predictions: &Predictions, targets: &Targets) -> f64 {
    let (Predictions::Probabilities(probabilities), Targets::Classes { indices, .. }) =
        (predictions, targets)
    else {
        return f64::NAN;
    };
    let right = |(row, index): &(usize, &u32)| (probabilities.row(*row)[1] > 0.5) == (**index == 1);
    indices.iter().enumerate().filter(right).count() as f64 / indices.len() as f64
}

/// The CPU time of every thread of this process; 0 where the system does not say (Linux does, in nanoseconds).
fn cpu_seconds() -> f64 {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e9
}

/// The most memory that this process had resident; 0 where the system does not say.
fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes: Option<u64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kilobytes.unwrap_or(0) * 1024
}
