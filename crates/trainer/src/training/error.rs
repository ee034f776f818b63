//! Why a training gives no network.

use std::io;
use std::path::PathBuf;

use modelwright_api::training::{Loss, Task};

/// Why a training gives no network.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// The loss became infinite or no number at all.
    #[error(
        "the loss is {loss} in step {step} of epoch {epoch}, with a learning rate of {learning_rate}: the training diverges; \
         try a learning rate ten times smaller, and scale the numeric columns (scale: Standard)"
    )]
    NonFiniteLoss {
        /// The loss of the step.
        loss: f64,
        /// The epoch, from 1.
        epoch: u32,
        /// The step in it, from 1.
        step: u64,
        /// The learning rate of that epoch.
        learning_rate: f64,
    },
    /// A loss of another task.
    #[error("the loss {} does not fit the task {task:?}: leave `loss` out, or write {}", name(*loss), losses(*task))]
    LossDoesNotFit {
        /// The loss.
        loss: Loss,
        /// The task.
        task: Task,
    },
    /// Nothing to learn from, or nothing to judge by.
    #[error("there are no rows {purpose}: give more data, or another validation.fraction")]
    NoRows {
        /// For what: `to learn from`, or `to judge the model by`.
        purpose: &'static str,
    },
    /// More rows than can be put into an order.
    #[error("{rows} rows to learn from are more than this trainer can take ({}): use fewer", u32::MAX)]
    TooManyRows {
        /// How many there are.
        rows: usize,
    },
    /// The training was told to stop.
    #[error("interrupted in epoch {epoch} after step {step}{}", if *kept { "; started again, it goes on there" } else { "" })]
    Interrupted {
        /// The epoch, from 1.
        epoch: u32,
        /// The last step that was done in it.
        step: u64,
        /// Whether there is a checkpoint of it.
        kept: bool,
    },
    /// The checkpoint cannot be written.
    #[error("the checkpoint {} cannot be written: {}: {source}", path.display(), advice(source))]
    CheckpointUnwritable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Arguments that contradict each other.
    #[error("the training was asked for something impossible, which is a mistake in modelwright: {problem}")]
    Impossible {
        /// What.
        problem: String,
    },
}

crate::reasons::reasons! {
    TrainingError:
    NonFiniteLoss => "NonFiniteLoss", BadData;
    LossDoesNotFit => "LossDoesNotFit", InvalidConfiguration;
    NoRows => "NoRows", BadData;
    TooManyRows => "TooManyRows", BadData;
    Interrupted => "Interrupted", Preempted;
    CheckpointUnwritable => "CheckpointUnwritable", OutputUnwritable;
    Impossible => "ImpossibleTraining", Bug;
}

/// A loss as it is written in a manifest.
const fn name(loss: Loss) -> &'static str {
    match loss {
        Loss::Mse => "MSE",
        Loss::Mae => "MAE",
        Loss::Huber => "Huber",
        Loss::BinaryCrossEntropy => "BinaryCrossEntropy",
        Loss::CategoricalCrossEntropy => "CategoricalCrossEntropy",
    }
}

/// The losses of a task as they are written in a manifest.
const fn losses(task: Task) -> &'static str {
    match task {
        Task::Binary => "BinaryCrossEntropy",
        Task::Multiclass => "CategoricalCrossEntropy",
        Task::Regression => "MSE, MAE or Huber",
    }
}

fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "the disk is full; give it more space",
        io::ErrorKind::NotFound => "its folder is missing; make it",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "this user may not write there; allow it, or choose another folder"
        }
        _ => "choose another folder",
    }
}
