//! From first weights to final ones.
//!
//! [`train`] runs epochs of steps. Everything that a training will still do follows from its settings, its data and the
//! state that [`checkpoint`] writes, so that one which is continued ends with the same bits as one that never stopped.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use modelwright_api::training::resolved::ResolvedBuiltin;
use modelwright_api::training::{Loss, Task};

use crate::matrix::{Examples, Predictions};
use crate::network::Network;

mod checkpoint;
mod error;
mod optimizer;
mod progress;
mod run;
mod schedule;
#[cfg(test)]
mod tests;

pub use error::TrainingError;

/// What is to be learned, from what.
pub struct Problem<'a> {
    /// The rows to learn from.
    pub training: &'a Examples,
    /// The rows to judge every epoch by.
    pub validation: &'a Examples,
    /// What is predicted.
    pub task: Task,
    /// What is minimised; it must fit the task.
    pub loss: Loss,
    /// What is subtracted from the numbers to predict; 0 for classes.
    pub center: f32,
    /// What they are divided by then; 1 for classes.
    pub spread: f32,
    /// The weight of the rows of each class; `None`: 1.
    pub class_weights: Option<Vec<f64>>,
    /// The task's primary metric on the validation rows, for the history.
    pub score: &'a dyn Fn(&Predictions) -> f64,
    /// What decides which epoch is the best.
    pub monitor: Monitor<'a>,
}

/// A number of each epoch that should get better.
pub enum Monitor<'a> {
    /// The validation loss, lower is better.
    ValidationLoss,
    /// A metric on the validation rows.
    Metric {
        /// Whether it should rise.
        higher_is_better: bool,
        /// The metric of the predictions of all validation rows, in their order.
        measure: &'a dyn Fn(&Predictions) -> f64,
    },
}

/// What goes on around a training.
pub struct Control<'a> {
    /// Who is told how far it is.
    pub observer: &'a mut dyn Observer,
    /// Where its state is kept; `None`: nowhere.
    pub checkpoint: Option<CheckpointPlace>,
    /// Whether to stop after the step that is being computed.
    pub stop: &'a AtomicBool,
}

/// Where a training's state is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CheckpointPlace {
    /// The file. Its folder must be there. Whoever publishes the result removes it.
    pub path: PathBuf,
    /// What identifies settings and data. A file of another identity is not continued.
    pub identity: String,
}

/// Who is told how far a training is.
pub trait Observer {
    /// Called after every step; must return at once.
    fn step(&mut self, progress: &StepProgress);
    /// Called after every epoch.
    fn epoch(&mut self, record: &EpochRecord);
    /// Called when all epochs are done and the result is measured and written, which takes a while for many columns.
    fn trained(&mut self) {}
}

/// How far a training is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StepProgress {
    /// The epoch, from 1.
    pub epoch: u32,
    /// The most epochs.
    pub epochs: u32,
    /// The last step that is done in it, from 1.
    pub step: u64,
    /// The steps of every epoch.
    pub steps: u64,
}

/// What came out of an epoch. Losses are weighted as classes are, and without the penalty of `l2`; those of a regression
/// are of standardised numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpochRecord {
    /// The epoch, from 1.
    pub epoch: u32,
    /// The learning rate of its steps.
    pub learning_rate: f64,
    /// The mean loss of the training rows, each with the weights of its step.
    pub training_loss: f64,
    /// The mean loss of the validation rows after the last step.
    pub validation_loss: f64,
    /// The task's primary metric on the validation rows.
    pub validation_score: f64,
}

/// A place in a training.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Position {
    /// The epochs that are complete.
    pub epochs: u32,
    /// The steps of the next one that are done.
    pub steps: u64,
}

/// The result of a training.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    /// The network with its final weights: those of the best epoch if early stopping is to restore them, else the last ones.
    pub network: Network<f32>,
    /// Every epoch, in order, those before an interruption included.
    pub history: Vec<EpochRecord>,
    /// The epoch with the best monitored value, from 1; of several equal ones the first. The last one if that value never
    /// was a number.
    pub best_epoch: u32,
    /// Whether training ended before the last epoch because nothing got better.
    pub stopped_early: bool,
    /// Where a former run had stopped; `None` if this one began at the beginning.
    pub resumed_from: Option<Position>,
}

/// The loss of a task for which none is written.
pub const fn default_loss(task: Task) -> Loss {
    match task {
        Task::Binary => Loss::BinaryCrossEntropy,
        Task::Multiclass => Loss::CategoricalCrossEntropy,
        Task::Regression => Loss::Mse,
    }
}

/// Refuses a loss of another task.
pub const fn check_loss(task: Task, loss: Loss) -> Result<(), TrainingError> {
    let fits = matches!(
        (task, loss),
        (Task::Binary, Loss::BinaryCrossEntropy)
            | (Task::Multiclass, Loss::CategoricalCrossEntropy)
            | (Task::Regression, Loss::Mse | Loss::Mae | Loss::Huber)
    );
    if fits { Ok(()) } else { Err(TrainingError::LossDoesNotFit { loss, task }) }
}

/// Trains a network.
///
/// Rows are put into a new order for each epoch `e` (from 0), by the stream of [`Purpose::Shuffle`] at position `e`, and
/// taken `batch_size` at a time; the last step of an epoch gets what is left. Without a batch size, each epoch is one step
/// over all rows in their own order.
///
/// With a [`CheckpointPlace`] the state is written when `stop` is set, at the end of the training, once a minute, and at the
/// ends of epochs as far as that takes no more than a twentieth of the time. A usable state that is found there is continued.
///
/// # Errors
///
/// [`TrainingError::NonFiniteLoss`] if it diverges, [`TrainingError::Interrupted`] if `stop` was set, and what else
/// [`TrainingError`] names.
///
/// [`Purpose::Shuffle`]: crate::random::Purpose::Shuffle
pub fn train(
    problem: &Problem<'_>,
    settings: &ResolvedBuiltin,
    control: &mut Control<'_>,
) -> Result<Trained, TrainingError> {
    run::train(problem, settings, control, checkpoint::Pace::USUAL)
}
