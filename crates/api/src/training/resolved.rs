//! `spec.training.builtin` and the choice of rows with every default that does not depend on the data resolved.
//!
//! What depends on the data (the task, the loss that follows from it, the types of columns) stays open here, and the
//! trainer decides it from the same data in the same way every time. [`ResolvedTraining`] serialises to what a training is
//! identified by: every setting that changes the resulting bytes, and none that does not (uris, threads, gate).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Activation, Builtin, ClassWeightMode, ColumnSpec, EarlyStopping, InputLayout, Layer, Loss, Optimizer,
    OptimizerKind, Schedule, ScheduleKind, Task, Training, TrainingData,
};

/// The share of rows set aside for validation.
pub const VALIDATION_FRACTION: f64 = 0.2;
/// Units of the hidden layer where none is written.
pub const UNITS: u32 = 128;
/// The most epochs.
pub const EPOCHS: u32 = 200;
/// Rows of one step.
pub const BATCH_SIZE: u32 = 32;
/// Epochs without improvement before training stops.
pub const PATIENCE: u32 = 10;
/// What early stopping watches.
pub const MONITOR: &str = "valLoss";
/// The most categories of a text column.
pub const MAX_CATEGORIES: u32 = 64;
/// The step length of the adaptive methods.
pub const LEARNING_RATE: f64 = 0.001;
/// The step length of SGD.
pub const SGD_LEARNING_RATE: f64 = 0.01;

/// Everything that a training's result depends on besides the bytes of its data.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedTraining {
    /// The column to predict.
    pub target: String,
    /// How the lines of CSV are split: one ASCII character for each of training, validation and test data.
    pub delimiters: Delimiters,
    /// The rows to judge the model by.
    pub validation: ResolvedValidation,
    /// The built-in trainer's settings.
    pub builtin: ResolvedBuiltin,
}

/// What separates the values of a line in each set of rows; a comma where nothing is written.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Delimiters {
    /// In the training data.
    pub training: char,
    /// In the validation data.
    pub validation: char,
    /// In the test data.
    pub test: char,
}

impl Default for Delimiters {
    fn default() -> Self {
        Self { training: ',', validation: ',', test: ',' }
    }
}

/// The rows to judge the model by.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedValidation {
    /// The share of the training rows that is set aside; `None`: rows of their own are given.
    pub fraction: Option<f64>,
    /// Whether each class keeps its share.
    pub stratify: bool,
}

/// `spec.training.builtin`, resolved as far as that needs no data.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedBuiltin {
    /// What is predicted; `None`: inferred from the target.
    pub task: Option<Task>,
    /// What is written about single columns.
    pub columns: Vec<ColumnSpec>,
    /// The form of the model's inputs; `None`: decided by the columns.
    pub inputs: Option<InputLayout>,
    /// The hidden layers, first to last.
    pub layers: Vec<ResolvedLayer>,
    /// What is minimised; `None`: the loss of the task.
    pub loss: Option<Loss>,
    /// How the weights follow the gradient.
    pub optimizer: ResolvedOptimizer,
    /// How the learning rate changes.
    pub schedule: ResolvedSchedule,
    /// The most epochs.
    pub epochs: u32,
    /// Rows of one step; `None`: all rows.
    pub batch_size: Option<u32>,
    /// When to stop before the last epoch; `None`: never.
    pub early_stopping: Option<ResolvedEarlyStopping>,
    /// How much the rows of each class count.
    pub class_weights: ResolvedClassWeights,
    /// What decides everything random.
    pub seed: u64,
    /// Threads of one multiplication. Not part of a training's identity: results do not depend on it.
    #[serde(skip, default = "one")]
    pub threads: usize,
}

const fn one() -> usize {
    1
}

/// One hidden layer.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedLayer {
    /// How many values it gives.
    pub units: u32,
    /// What is applied to each.
    pub activation: Activation,
    /// The share that is dropped in training, 0 to less than 1.
    pub dropout: f64,
    /// The weight of the squared weights in what is minimised.
    pub l2: f64,
}

/// A method with its numbers.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedOptimizer {
    /// The length of a step.
    pub learning_rate: f64,
    /// The method.
    pub method: Method,
}

/// The method by which weights follow the gradient, as `PyTorch`'s optimizers of the same names define it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all_fields = "camelCase")]
pub enum Method {
    /// Stochastic gradient descent.
    Sgd {
        /// How much of the former step goes into the next; 0 for none.
        momentum: f64,
        /// Whether the momentum looks ahead.
        nesterov: bool,
    },
    /// Adaptive moments.
    Adam {
        /// Decay of the mean of gradients.
        beta1: f64,
        /// Decay of the mean of their squares.
        beta2: f64,
        /// Keeps the division finite.
        epsilon: f64,
    },
    /// Adaptive moments with weight decay apart from the gradient.
    AdamW {
        /// Decay of the mean of gradients.
        beta1: f64,
        /// Decay of the mean of their squares.
        beta2: f64,
        /// Keeps the division finite.
        epsilon: f64,
        /// How much of each weight goes in a step, times the learning rate.
        weight_decay: f64,
    },
    /// Gradients by the root of their recent mean square.
    RmsProp {
        /// Decay of the mean of squares.
        rho: f64,
        /// Keeps the division finite.
        epsilon: f64,
        /// How much of the former step goes into the next; 0 for none.
        momentum: f64,
    },
}

/// The shape of the learning rate over the epochs.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all_fields = "camelCase")]
pub enum ResolvedSchedule {
    /// It stays.
    Constant,
    /// It falls to 0 along half a cosine: in epoch `e` of `n` (from 0) it is multiplied by (1 + cos(π e / n)) / 2.
    Cosine,
    /// It is multiplied by `factor` every `every_epochs` epochs.
    Step {
        /// After how many epochs.
        every_epochs: u32,
        /// By what.
        factor: f64,
    },
}

/// When to stop before the last epoch.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedEarlyStopping {
    /// The metric to watch, with its prefix `val`.
    pub monitor: String,
    /// Epochs without an improvement.
    pub patience: u32,
    /// The least improvement.
    pub min_delta: f64,
    /// Whether the best weights are taken.
    pub restore_best: bool,
}

/// How much the rows of each class count.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum ResolvedClassWeights {
    /// All the same.
    None,
    /// Rows / (classes × rows of the class).
    Balanced,
    /// By class; 1 for a class that is not named.
    Values(BTreeMap<String, f64>),
}

impl Training {
    /// This with every default resolved that does not depend on the data. A Model that passed [`crate::parse`] or an API
    /// server has no values that this would have to refuse.
    pub fn resolved(&self) -> ResolvedTraining {
        let builtin = self.builtin.clone().unwrap_or_default();
        let delimiter = |source: Option<&super::DataSource>| match source
            .and_then(|source| source.delimiter.as_deref())
        {
            Some("\\t") => '\t',
            Some(text) => text.chars().next().unwrap_or(','),
            None => ',',
        };
        // The operator alone polls.
        let TrainingData { source, target, validation, test, poll_interval: _ } = &self.data;
        let own_rows = validation.as_ref().and_then(|validation| validation.source.as_ref());
        ResolvedTraining {
            target: target.clone().unwrap_or_default(),
            delimiters: Delimiters {
                training: delimiter(Some(source)),
                validation: delimiter(own_rows),
                test: delimiter(test.as_ref().map(|test| &test.source)),
            },
            validation: ResolvedValidation {
                fraction: own_rows.is_none().then(|| {
                    validation
                        .as_ref()
                        .and_then(|validation| validation.fraction)
                        .unwrap_or(VALIDATION_FRACTION)
                }),
                stratify: validation.as_ref().and_then(|validation| validation.stratify).unwrap_or(true),
            },
            builtin: builtin.resolved(),
        }
    }
}

impl Builtin {
    /// This with every default resolved that does not depend on the data.
    pub fn resolved(&self) -> ResolvedBuiltin {
        let layers = match &self.layers {
            Some(layers) => layers.iter().map(Layer::resolved).collect(),
            None => {
                vec![ResolvedLayer { units: UNITS, activation: Activation::default(), dropout: 0.0, l2: 0.0 }]
            }
        };
        let full_batch = self.full_batch.unwrap_or(false);
        ResolvedBuiltin {
            task: self.task,
            columns: self.columns.clone(),
            inputs: self.inputs,
            layers,
            loss: self.loss,
            optimizer: self.optimizer.clone().unwrap_or_default().resolved(),
            schedule: self.schedule.clone().unwrap_or_default().resolved(),
            epochs: count(self.epochs, EPOCHS),
            batch_size: (!full_batch).then(|| count(self.batch_size, BATCH_SIZE)),
            early_stopping: self.early_stopping.clone().unwrap_or_default().resolved(),
            class_weights: match &self.class_weights {
                None => ResolvedClassWeights::None,
                Some(weights) => match weights.mode {
                    ClassWeightMode::None => ResolvedClassWeights::None,
                    ClassWeightMode::Balanced => ResolvedClassWeights::Balanced,
                    ClassWeightMode::Values => {
                        ResolvedClassWeights::Values(weights.values.clone().unwrap_or_default())
                    }
                },
            },
            seed: self.seed.and_then(|seed| u64::try_from(seed).ok()).unwrap_or(0),
            threads: self.threads.and_then(|threads| usize::try_from(threads).ok()).unwrap_or(1).max(1),
        }
    }
}

impl Layer {
    fn resolved(&self) -> ResolvedLayer {
        ResolvedLayer {
            units: count(Some(self.units), 1),
            activation: self.activation.unwrap_or_default(),
            dropout: self.dropout.unwrap_or(0.0),
            l2: self.l2.unwrap_or(0.0),
        }
    }
}

impl Optimizer {
    fn resolved(&self) -> ResolvedOptimizer {
        let kind = self.kind.unwrap_or_default();
        let (beta1, beta2) = (self.beta1.unwrap_or(0.9), self.beta2.unwrap_or(0.999));
        let (epsilon, momentum) = (self.epsilon.unwrap_or(1e-8), self.momentum.unwrap_or(0.0));
        let method = match kind {
            OptimizerKind::Sgd => Method::Sgd { momentum, nesterov: self.nesterov.unwrap_or(false) },
            OptimizerKind::Adam => Method::Adam { beta1, beta2, epsilon },
            OptimizerKind::AdamW => {
                Method::AdamW { beta1, beta2, epsilon, weight_decay: self.weight_decay.unwrap_or(0.01) }
            }
            OptimizerKind::RmsProp => Method::RmsProp { rho: self.rho.unwrap_or(0.99), epsilon, momentum },
        };
        let default = if kind == OptimizerKind::Sgd { SGD_LEARNING_RATE } else { LEARNING_RATE };
        ResolvedOptimizer { learning_rate: self.learning_rate.unwrap_or(default), method }
    }
}

impl Schedule {
    fn resolved(&self) -> ResolvedSchedule {
        match self.kind.unwrap_or_default() {
            ScheduleKind::Constant => ResolvedSchedule::Constant,
            ScheduleKind::Cosine => ResolvedSchedule::Cosine,
            ScheduleKind::Step => ResolvedSchedule::Step {
                every_epochs: count(self.every_epochs, 10),
                factor: self.factor.unwrap_or(0.1),
            },
        }
    }
}

impl EarlyStopping {
    fn resolved(&self) -> Option<ResolvedEarlyStopping> {
        self.enabled.unwrap_or(true).then(|| ResolvedEarlyStopping {
            monitor: self.monitor.clone().unwrap_or_else(|| MONITOR.to_owned()),
            patience: count(self.patience, PATIENCE),
            min_delta: self.min_delta.unwrap_or(0.0),
            restore_best: self.restore_best.unwrap_or(true),
        })
    }
}

/// A count of the spec, which its schema keeps above zero.
fn count(written: Option<i32>, default: u32) -> u32 {
    written.and_then(|count| u32::try_from(count).ok()).unwrap_or(default)
}

#[cfg(test)]
mod tests;
