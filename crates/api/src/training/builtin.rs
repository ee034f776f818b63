//! `spec.training.builtin`: the settings of the built-in trainer. The doc comments are the descriptions in the CRD.
#![allow(unreachable_pub, reason = "KubeSchema copies each struct, `pub` and all, into a function")]

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;

/// The built-in trainer: a dense network on columns.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::FULL_BATCH)]
pub struct Builtin {
    /// What is predicted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// How single columns are read and prepared. Columns that are not named here have every default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["name".into()]))]
    pub columns: Vec<ColumnSpec>,
    /// The form of the model's inputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<InputLayout>,
    /// The hidden layers, first to last. An empty list makes a linear model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub layers: Option<Vec<Layer>>,
    /// What is minimised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
    /// How the weights follow the gradient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optimizer: Option<Optimizer>,
    /// How the learning rate changes over the epochs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// How often all rows are seen at most. Early stopping usually ends sooner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub epochs: Option<i32>,
    /// Rows of one step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_048_576))]
    pub batch_size: Option<i32>,
    /// One step over all rows in each epoch: gradient descent in its plain sense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_batch: Option<bool>,
    /// When to stop before the last epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStopping>,
    /// How much the rows of each class count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_weights: Option<ClassWeights>,
    /// What decides the split, the first weights, the order of rows and the dropout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 9_007_199_254_740_991_i64))]
    pub seed: Option<i64>,
    /// Threads of one multiplication; never more than the CPUs there are. Results do not depend on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub threads: Option<i32>,
}

/// What is predicted: `Binary` (one of two classes), `Multiclass` (one of several) or `Regression` (a number). Absent: what
/// the values of the target suggest.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum Task {
    /// One of two classes.
    Binary,
    /// One of several classes.
    Multiclass,
    /// A number.
    Regression,
}

/// How one column is read and prepared.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::COLUMN_FIELDS, validation = rules::COLUMN_IGNORED)]
pub struct ColumnSpec {
    /// The column's name in the data.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// What its values are.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ColumnKind>,
    /// What stands in for a missing value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impute: Option<Impute>,
    /// How numbers are scaled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
    /// The most categories of a text column that get an input of their own; rarer ones count as unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_categories: Option<i32>,
}

/// What the values of a column are: numbers (`Numeric`), texts (`String`), each of which is a category, or truth values
/// (`Boolean`). `Ignored` leaves the column out of the model.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum ColumnKind {
    /// Numbers.
    Numeric,
    /// Texts, each a category.
    String,
    /// Truth values.
    Boolean,
    /// Not used.
    Ignored,
}

/// What stands in for a missing value: the `Mean` or `Median` of the training rows (numbers), their `MostFrequent` value, or
/// `Category`: a missing text is a category of its own. Absent: `Median` for numbers, `MostFrequent` for truth values, and
/// for texts `Category`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum Impute {
    /// The mean of the training rows.
    Mean,
    /// Their median.
    Median,
    /// Their most frequent value; of several, the smallest.
    MostFrequent,
    /// A category of its own.
    Category,
}

/// How numbers are scaled: `Standard` subtracts the mean and divides by the standard deviation of the training rows, `None`
/// leaves them as they are.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum Scale {
    /// To mean 0 and standard deviation 1.
    #[default]
    Standard,
    /// Not at all.
    None,
}

/// The form of the model's inputs: `Features` is one matrix `features` with a column for each of the data, which must all be
/// numeric; `Columns` is an input for each column, of its name. Absent: `Features` for more than 32 columns that are all
/// numeric, else `Columns`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum InputLayout {
    /// One matrix `features` of all columns, which must be numeric.
    Features,
    /// An input for each column, of its name.
    Columns,
}

/// One hidden layer.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Layer {
    /// How many values the layer gives.
    #[schemars(range(min = 1, max = 65_536))]
    pub units: i32,
    /// What is applied to each of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<Activation>,
    /// The share of values that is dropped at random in each training step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: Option<f64>,
    /// The weight of the squared weights of this layer in what is minimised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 100.0))]
    pub l2: Option<f64>,
}

/// What is applied to each value of a layer: `Relu` is max(0, x), `Tanh` the hyperbolic tangent, `Sigmoid` 1 / (1 + exp(-x)),
/// `Gelu` x Φ(x) with the exact error function, and `Linear` x itself.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum Activation {
    /// max(0, x).
    #[default]
    Relu,
    /// The hyperbolic tangent.
    Tanh,
    /// 1 / (1 + exp(-x)).
    Sigmoid,
    /// x Φ(x), with the exact error function.
    Gelu,
    /// x itself.
    Linear,
}

/// What is minimised: mean squared error, mean absolute error, `Huber` (squared up to a deviation of 1, absolute beyond), or
/// the cross-entropy of two or of several classes. Absent: `BinaryCrossEntropy`, `CategoricalCrossEntropy` or `MSE`, as the
/// task wants.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum Loss {
    /// Mean squared error.
    #[serde(rename = "MSE")]
    Mse,
    /// Mean absolute error.
    #[serde(rename = "MAE")]
    Mae,
    /// Squared up to a deviation of 1, absolute beyond.
    Huber,
    /// Cross-entropy of two classes.
    BinaryCrossEntropy,
    /// Cross-entropy of several classes.
    CategoricalCrossEntropy,
}

/// How the weights follow the gradient.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::OPTIMIZER_FIELDS, validation = rules::NESTEROV_NEEDS_MOMENTUM)]
pub struct Optimizer {
    /// The method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<OptimizerKind>,
    /// The length of a step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1000.0), extend("minimum" = 0, "exclusiveMinimum" = true))]
    pub learning_rate: Option<f64>,
    /// How much of the former step goes into the next (`SGD`, `RMSProp`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 0.9999))]
    pub momentum: Option<f64>,
    /// Whether the momentum looks ahead (`SGD`); needs a momentum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nesterov: Option<bool>,
    /// How slowly the mean of the gradients is forgotten (`Adam`, `AdamW`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 0.999_999_9))]
    pub beta1: Option<f64>,
    /// How slowly the mean of their squares is forgotten (`Adam`, `AdamW`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 0.999_999_9))]
    pub beta2: Option<f64>,
    /// How slowly the mean of the squared gradients is forgotten (`RMSProp`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 0.999_999_9))]
    pub rho: Option<f64>,
    /// What keeps a division from exploding (`Adam`, `AdamW`, `RMSProp`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1.0), extend("minimum" = 1e-16, "exclusiveMinimum" = true))]
    pub epsilon: Option<f64>,
    /// How much of each weight is taken away in a step, times the learning rate (`AdamW`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 100.0))]
    pub weight_decay: Option<f64>,
}

/// The method by which weights follow the gradient: `SGD` (with `fullBatch` plain gradient descent), `Adam`, `AdamW` (with
/// weight decay apart from the gradient) or `RMSProp`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum OptimizerKind {
    /// Stochastic gradient descent, with `fullBatch` plain gradient descent.
    #[serde(rename = "SGD")]
    Sgd,
    /// Adaptive moments.
    #[default]
    Adam,
    /// The same with weight decay apart from the gradient.
    AdamW,
    /// Gradients by the root of their recent mean square.
    #[serde(rename = "RMSProp")]
    RmsProp,
}

/// How the learning rate changes over the epochs.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::SCHEDULE_FIELDS)]
pub struct Schedule {
    /// The shape of its fall.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ScheduleKind>,
    /// After how many epochs the rate falls (`Step`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub every_epochs: Option<i32>,
    /// What it is multiplied by then (`Step`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1.0), extend("minimum" = 0, "exclusiveMinimum" = true))]
    pub factor: Option<f64>,
}

/// How the learning rate changes: not at all (`Constant`), to 0 over all epochs along half a cosine (`Cosine`), or by a factor
/// every so many epochs (`Step`).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum ScheduleKind {
    /// It stays.
    #[default]
    Constant,
    /// It falls to 0 along half a cosine.
    Cosine,
    /// It falls by a factor every so many epochs.
    Step,
}

/// When to stop before the last epoch.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EarlyStopping {
    /// Whether to stop early at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// The metric to watch, such as `valLoss` or `valRocAuc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = rules::MONITOR)]
    pub monitor: Option<String>,
    /// How many epochs may pass without an improvement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub patience: Option<i32>,
    /// The least change that is an improvement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1_000_000.0))]
    pub min_delta: Option<f64>,
    /// Whether the weights of the best epoch are taken, and not those of the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_best: Option<bool>,
}

/// How much the rows of each class count.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::CLASS_WEIGHTS_VALUES)]
pub struct ClassWeights {
    /// Where the weights come from.
    pub mode: ClassWeightMode,
    /// The weight of a row of each class (`Values`); a class that is not named has 1. To leave a class out, leave its rows
    /// out of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    // A weight of 0 would make a class that the model answers with but never learns.
    #[schemars(extend(
        "maxProperties" = 1000,
        "additionalProperties" = {
            "type": "number", "format": "double", "minimum": 1e-6, "exclusiveMinimum": true, "maximum": 1e6
        }
    ))]
    pub values: Option<BTreeMap<String, f64>>,
}

/// Where the weights of classes come from. `None`: all rows count the same; `Balanced`: all classes count the same, however
/// many rows they have; `Values`: as written.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum ClassWeightMode {
    /// All rows count the same.
    #[default]
    None,
    /// All classes count the same.
    Balanced,
    /// As written.
    Values,
}
