//! `spec.training`: from data to a gated revision.
//!
//! As in [`crate::model`], nothing is ever defaulted into a spec; [`resolved`] says what holds where a field is absent. The
//! doc comments are the descriptions in the CRD, where a field whose type is an enum shows the description of the enum.
//!
//! An API server cuts the fraction off a bound before it compares a whole number with it, so to it 0 is not less than 0.5.
//! A lower bound that is not whole is therefore exclusive, which 0 never passes; a test keeps it so.
#![allow(unreachable_pub, reason = "KubeSchema copies each struct, `pub` and all, into a function")]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{free_form::FreeForm, model::SecretReference, rules, serving::Resources};

mod builtin;
mod container;
pub mod cron;
pub mod order;
pub mod progress;
pub mod resolved;

pub use self::builtin::{
    Activation, Builtin, ClassWeightMode, ClassWeights, ColumnKind, ColumnSpec, EarlyStopping, Impute,
    InputLayout, Layer, Loss, Optimizer, OptimizerKind, Scale, Schedule, ScheduleKind, Task,
};
pub use self::container::{EnvironmentVariable, TrainingContainer};

/// How a model is made from data.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::TEST_METRIC_NEEDS_TEST,
    validation = rules::OUTPUT_IN_A_CLUSTER,
    validation = rules::BUILTIN_OR_CONTAINER,
    validation = rules::TARGET_OF_BUILTIN,
    validation = rules::DATA_OF_CONTAINER,
    validation = rules::BEAT_OF_BUILTIN,
    validation = rules::TIME_ZONE_OF_CRON
)]
pub struct Training {
    /// What to learn from.
    pub data: TrainingData,
    /// The built-in trainer: a dense network on columns. Absent, like `container`: with every default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builtin: Option<Builtin>,
    /// Instead of the built-in trainer: a container of yours. Only in a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<TrainingContainer>,
    /// The store that revisions are published into. Required in a cluster. Absent: they stay in the data folder of
    /// `modelwright run`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
    /// What a new revision must achieve before it is served. Absent: every revision is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gate>,
    /// When to train again, as in a crontab: minute, hour, day, month, weekday. Data that did not change is not trained on
    /// again. Ticks that pass during a training count once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = rules::CRON)]
    pub cron: Option<String>,
    /// The time zone of `cron`, such as `Europe/Berlin`. Absent: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
    /// How long one attempt may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = rules::DURATION, validation = rules::TRAINING_DEADLINE)]
    pub deadline: Option<String>,
    /// How long a training may make no progress, in `progress.jsonl` or by checkpoints, before it is ended and tried again.
    /// Absent: only `deadline` counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = rules::DURATION, validation = rules::STALL_TIMEOUT)]
    pub stall_timeout: Option<String>,
    /// How often a failed attempt is tried again. What waits for a Secret, a store or a node does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub retries: Option<i32>,
    /// The LocalQueue of Kueue that admits the training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::QUEUE)]
    pub queue: Option<String>,
    /// How many revisions stay in the store, the newest; those that are served, wanted or pinned always do. Absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub keep: Option<i32>,
    /// Resources of the container `train`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// What training pods get on top of `spec.podTemplate`, in the same form. Containers: `train`; with `container`
    /// `publish`, and `train`, `fetch`, `agent` and `check` among `initContainers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<FreeForm>,
}

impl Training {
    /// Every Secret that the training names, in the order of the fields.
    pub fn secret_references(&self) -> Vec<&SecretReference> {
        let TrainingData { source, validation, test, .. } = &self.data;
        let validation = validation.as_ref().and_then(|validation| validation.source.as_ref());
        let sources = [Some(source), validation, test.as_ref().map(|test| &test.source)];
        let data = sources.into_iter().flatten().filter_map(|source| source.credentials_secret_ref.as_ref());
        data.chain(self.output.as_ref().and_then(|output| output.credentials_secret_ref.as_ref())).collect()
    }
}

/// What to learn from: rows of columns, one of which is to be predicted.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrainingData {
    /// The rows to train on.
    pub source: DataSource,
    /// The column to predict. Required by the built-in trainer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub target: Option<String>,
    /// The rows to judge the model by. Absent: a part of the training rows, chosen by the seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
    /// Rows that training never looks at; the final model is measured on them once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<TestData>,
    /// How often the stores are asked whether the data changed, as `spec.source.pollInterval`; changed data is trained on.
    /// Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = rules::DURATION, validation = rules::POLL_INTERVAL)]
    pub poll_interval: Option<String>,
}

/// Rows in files.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::DELIMITER_OF_CSV)]
pub struct DataSource {
    /// One file, or a prefix whose files of this format are read in the order of their names. The places are those of
    /// `spec.source.uri`.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(
        validation = rules::SOURCE_SCHEME,
        validation = rules::SOURCE_NOT_FILE,
        validation = rules::URI_NO_USERINFO,
        validation = rules::URI_NO_QUERY
    )]
    pub uri: String,
    /// How the files are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<DataFormat>,
    /// What separates the values of a line of CSV: one character, or `\t` for a tab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2))]
    #[x_kube(validation = rules::DELIMITER)]
    pub delimiter: Option<String>,
    /// The Secret with the store's credentials, as in `spec.source`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretReference>,
}

/// How data files are written: `CSV` with a header line (RFC 4180), or `Parquet`. Absent: by the ending of their names.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum DataFormat {
    /// Comma-separated values with a header line.
    #[serde(rename = "CSV")]
    Csv,
    /// Apache Parquet.
    Parquet,
}

/// The rows to judge the model by: a part of the training rows, or rows of their own.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::VALIDATION_ONE_OF)]
pub struct Validation {
    /// The share of the training rows that is set aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 0.9), extend("minimum" = 0, "exclusiveMinimum" = true))]
    pub fraction: Option<f64>,
    /// Whether each class keeps its share. Has no effect on a regression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stratify: Option<bool>,
    /// Rows of their own, with the same columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<DataSource>,
}

/// Rows that training never looks at.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TestData {
    /// The rows, with the same columns.
    pub source: DataSource,
}

/// The store that revisions are published into.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// The prefix to publish under: `s3://BUCKET/PATH`, `gs://BUCKET/PATH`, `az://CONTAINER/PATH`, or `file:PATH` in
    /// `modelwright run`.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(
        validation = rules::OUTPUT_SCHEME,
        validation = rules::SOURCE_NOT_FILE,
        validation = rules::URI_NO_USERINFO,
        validation = rules::URI_NO_QUERY
    )]
    pub uri: String,
    /// The Secret with this store's credentials, in the Model's namespace. They need read and write access.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretReference>,
}

/// The reasons for which a gate refuses a revision, as outcomes and `status.revisions.rejected` have them.
pub const GATE_REASONS: [&str; 4] =
    ["RequirementNotMet", "WorseThanBaseline", "WorseThanActive", "NotComparable"];

/// What a new revision must achieve before it is served. One that does not is kept, and the former one goes on serving.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// Bounds of metrics; all must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub require: Vec<Requirement>,
    /// What the revision must be at least as good as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beat: Option<Beat>,
    /// Who lets a revision that passed into service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
}

/// A bound of one metric.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::REQUIREMENT_BOUND, validation = rules::REQUIREMENT_ORDER)]
pub struct Requirement {
    /// The metric: `val` or `test` and its name, such as `valAccuracy` or `testRmse`.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = rules::REQUIREMENT_METRIC)]
    pub metric: String,
    /// The least value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The largest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

/// What a revision must be at least as good as, by the metric of its task and on its own validation rows: the simple model
/// that is always fitted beside it (`Baseline`), or the revision that is served now (`Active`). Absent: nothing.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum Beat {
    /// The simple model that is always fitted beside it.
    Baseline,
    /// The revision that is served now.
    Active,
}

/// Who lets a revision into service: `Automatic` serves one that passed at once, `Manual` when `spec.rollout.revision` names
/// it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum Approval {
    /// The gate.
    #[default]
    Automatic,
    /// A person, by `spec.rollout.revision`.
    Manual,
}
