//! `cargo xtask bench trainer`: one network trained by the built-in trainer and by PyTorch, side by side.
//!
//! 1,000 inputs, 128 units with relu, one logit; binary cross-entropy, Adam with a learning rate of 1e-3; 16,000 rows to
//! learn from and 4,000 that judge. Each runs in a process and on a thread of its own, in turns, and the CPU time of the
//! fastest epoch of all rounds counts: other work on the machine can only add to it. First weights and the order of rows
//! are each trainer's own, so accuracies are alike and not equal.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

/// The PyTorch that is compared with.
const TORCH: &str = "2.15.0";
/// Rows of a step.
const BATCHES: [u32; 2] = [32, 256];
/// This trainer as a program, once it is built.
const OURS: &str = "target/release/examples/bench";

/// Options of the bench of the trainer.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often each training is run.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Epochs of one training.
    #[arg(long, default_value_t = 5)]
    epochs: u32,
    /// A Python that has PyTorch. Without it, one is installed into the user's cache folder.
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
}

pub(super) fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(options.rounds > 0 && options.epochs > 0, "--rounds and --epochs must be 1 or more");
    let build = ["build", "--release", "--quiet", "--package", "modelwright-trainer", "--example", "bench"];
    ensure!(Command::new("cargo").args(build).status()?.success(), "the release build failed");
    let python = match &options.python {
        Some(python) => python.clone(),
        None => ensure_torch()?,
    };
    let folder = tempfile::tempdir()?;
    let peer = folder.path().join("peer.py");
    fs::write(&peer, include_str!("peer.py"))?;
    let file = folder.path().join("rows");
    let settings = |trainer: Trainer, batch: u32| {
        json!({
            "file": file, "training": 16_000, "heldOut": 4_000, "features": 1_000, "units": 128,
            "batch": batch, "epochs": options.epochs, "seed": 7, "fused": trainer == Trainer::TorchFused,
        })
    };
    answer(Command::new(OURS).arg("generate").arg(settings(Trainer::Ours, 1).to_string()))?;

    println!(
        "{:<28} {:>5} {:>12} {:>9} {:>14} {:>9} {:>12}",
        "trainer", "batch", "CPU s/epoch", "epochs/s", "times of ours", "accuracy", "peak RSS MB"
    );
    let mut torch = Value::Null;
    for batch in BATCHES {
        let mut results = [const { Measured::NOTHING }; Trainer::ALL.len()];
        for _ in 0..options.rounds {
            for (trainer, result) in Trainer::ALL.iter().zip(&mut results) {
                let said = trainer.train(&python, &peer, &settings(*trainer, batch))?;
                result.add(&said)?;
                if *trainer != Trainer::Ours {
                    torch = said;
                }
            }
        }
        for (trainer, result) in Trainer::ALL.iter().zip(&results) {
            println!("{:<28} {batch:>5} {}", trainer.name(), result.row(results[0].epoch));
        }
    }
    sizes(&torch)
}

/// Who trains.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trainer {
    Ours,
    Torch,
    TorchFused,
}

impl Trainer {
    /// Ours comes first: the others are compared with it.
    const ALL: [Self; 3] = [Self::Ours, Self::TorchFused, Self::Torch];

    fn name(self) -> &'static str {
        match self {
            Self::Ours => "modelwright",
            Self::Torch => "PyTorch, Adam",
            Self::TorchFused => "PyTorch, Adam(fused=True)",
        }
    }

    /// Trains once, and returns what the process says of it.
    fn train(self, python: &Path, peer: &Path, settings: &Value) -> anyhow::Result<Value> {
        let mut command = match self {
            Self::Ours => {
                let mut command = Command::new(OURS);
                command.arg("train");
                command
            }
            Self::Torch | Self::TorchFused => {
                let mut command = Command::new(python);
                command.arg(peer);
                command
            }
        };
        command.arg(settings.to_string()).env("OMP_NUM_THREADS", "1").env("MKL_NUM_THREADS", "1");
        serde_json::from_str(&answer(&mut command)?).with_context(|| format!("{} said no JSON", self.name()))
    }
}

/// Runs a program to its end; what it wrote to standard output.
fn answer(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().display().to_string();
    let output =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start {program}"))?;
    ensure!(output.status.success(), "{program} ended with {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// The best of several runs.
struct Measured {
    /// CPU seconds of the fastest epoch.
    epoch: f64,
    /// After the last epoch.
    accuracy: f64,
    /// The most resident memory in bytes.
    peak: f64,
}

impl Measured {
    const NOTHING: Self = Self { epoch: f64::INFINITY, accuracy: f64::NAN, peak: 0.0 };

    fn add(&mut self, said: &Value) -> anyhow::Result<()> {
        let epochs = said["epochCpuSeconds"].as_array().context("no epochCpuSeconds")?;
        self.epoch = epochs.iter().filter_map(Value::as_f64).fold(self.epoch, f64::min);
        ensure!(self.epoch > 0.0, "this system does not say the CPU time of a process");
        self.accuracy = said["accuracy"].as_f64().context("no accuracy")?;
        self.peak = said["peakBytes"].as_f64().context("no peakBytes")?.max(self.peak);
        Ok(())
    }

    fn row(&self, ours: f64) -> String {
        format!(
            "{:>12.3} {:>9.1} {:>14.2} {:>9.4} {:>12.0}",
            self.epoch,
            1.0 / self.epoch,
            self.epoch / ours,
            self.accuracy,
            self.peak / 1e6
        )
    }
}

/// Prints what each takes on the disk.
fn sizes(torch: &Value) -> anyhow::Result<()> {
    let folder = |key: &str| {
        let path = torch[key].as_str().with_context(|| format!("no {key}"))?;
        megabytes(Path::new(path))
    };
    let version = torch["version"].as_str().unwrap_or(TORCH);
    println!("\non disk: the built-in trainer {:.1} MB as a program of its own", megabytes(Path::new(OURS))?);
    let whole = Path::new("target/release/modelwright");
    if whole.is_file() {
        println!("         modelwright with all it does {:.1} MB", megabytes(whole)?);
    }
    println!("         PyTorch {version} {:.0} MB", folder("package")?);
    println!("         with all that its environment holds {:.0} MB", folder("environment")?);
    Ok(())
}

/// The size of a file, or of everything below a folder.
fn megabytes(path: &Path) -> anyhow::Result<f64> {
    let (mut bytes, mut left) = (0, vec![path.to_owned()]);
    while let Some(path) = left.pop() {
        let metadata =
            fs::symlink_metadata(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if metadata.is_dir() {
            for entry in fs::read_dir(&path)? {
                left.push(entry?.path());
            }
        } else if metadata.is_file() {
            bytes += metadata.len();
        }
    }
    Ok(bytes as f64 / 1e6)
}

/// Puts PyTorch into `<cache>/bench/torch-<version>/` unless it is there, and returns the path of its Python.
///
/// `<cache>` is [`modelwright_test_servers::cache_folder`]. An environment cannot be moved, so it is made where it stays;
/// one that was not finished is made again.
fn ensure_torch() -> anyhow::Result<PathBuf> {
    let folder = modelwright_test_servers::cache_folder()?.join("bench").join(format!("torch-{TORCH}"));
    let (python, finished) = (folder.join("bin/python"), folder.join("finished"));
    if finished.is_file() {
        return Ok(python);
    }
    eprintln!(
        "installing PyTorch {TORCH} into {}: some minutes, and up to 6 GB on the disk (the wheel alone has 0.5 GB; on Linux \
         it brings the libraries of CUDA). --python PATH takes one that is there.",
        folder.display()
    );
    let made = Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder).status();
    let made = made.context("python3 is not installed: install Python 3 with venv and pip")?;
    ensure!(made.success(), "python3 -m venv ended with {made}; is venv installed (python3 -m venv --help)?");
    let requirement = format!("torch=={TORCH}");
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"];
    let installed = Command::new(&python).args(install).arg(requirement).stdout(Stdio::null()).status()?;
    ensure!(installed.success(), "pip could not install PyTorch {TORCH} and ended with {installed}");
    fs::write(&finished, "")?;
    Ok(python)
}
