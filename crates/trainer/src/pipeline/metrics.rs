//! `metrics.json`: how good a revision is, and how good something simple is on the same rows.

use std::collections::BTreeMap;

use modelwright_api::training::Task;
use serde::{Deserialize, Serialize};

use crate::evaluate::{Metric, MetricName};

/// The name of the file in a revision's folder.
pub const METRICS_FILE: &str = "metrics.json";
/// The version of the file that is written and read.
const VERSION: &str = "1";

/// Everything that was measured. Metrics go by the names that a gate uses, such as `valAccuracy`, `testRmse` or `valLoss`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricsDocument {
    /// The version of the file.
    pub version: String,
    /// What is predicted.
    pub task: Task,
    /// The metric that models of this task are compared by, without prefix, such as `accuracy`.
    pub primary: Metric,
    /// The model's own.
    pub metrics: BTreeMap<String, f64>,
    /// Those of the simple models.
    pub baselines: Vec<BaselineMetrics>,
    /// How many rows were for what.
    pub rows: Rows,
    /// The epoch whose weights were taken, from 1.
    pub epoch: u32,
    /// Every epoch.
    pub history: Vec<Epoch>,
    /// For classes: validation rows by actual and predicted class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confusion_matrix: Option<Vec<Vec<u64>>>,
    /// How much of the primary metric is lost when a column's values are exchanged between rows; most first.
    pub importance: Vec<ColumnImportance>,
}

/// One simple model.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BaselineMetrics {
    /// What it is, such as `majority class` or `ridge regression`.
    pub name: String,
    /// Its metrics, by the same names.
    pub metrics: BTreeMap<String, f64>,
}

/// How many rows were for what.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rows {
    /// To learn from.
    pub training: u64,
    /// To decide by.
    pub validation: u64,
    /// To measure once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<u64>,
}

/// One epoch.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Epoch {
    /// Its number, from 1.
    pub epoch: u32,
    /// The learning rate.
    pub learning_rate: f64,
    /// The mean loss of the training rows while they were learnt from.
    pub training_loss: f64,
    /// The mean loss of the validation rows afterwards.
    pub validation_loss: f64,
    /// The primary metric of the validation rows, where it is defined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_score: Option<f64>,
}

/// What one column is worth.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ColumnImportance {
    /// The column.
    pub column: String,
    /// The mean loss of the primary metric.
    pub mean: f64,
    /// Its standard deviation over the repetitions.
    pub deviation: f64,
}

/// Why a `metrics.json` cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{METRICS_FILE} cannot be used: {problem}")]
pub struct MetricsError {
    problem: String,
}

impl MetricsDocument {
    /// The version to write.
    pub fn version() -> String {
        VERSION.to_owned()
    }

    /// Reads the file's content.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetricsError> {
        let document: Self =
            serde_json::from_slice(bytes).map_err(|error| MetricsError { problem: error.to_string() })?;
        if document.version != VERSION {
            let problem = format!("its version is {:?}; this program reads {VERSION:?}", document.version);
            return Err(MetricsError { problem });
        }
        Ok(document)
    }

    /// The validation value of the primary metric.
    pub fn primary_value(&self) -> Option<f64> {
        self.metrics.get(&self.primary_name()).copied()
    }

    /// The name of the primary metric on the validation rows, such as `valAccuracy`.
    pub fn primary_name(&self) -> String {
        MetricName::validation(self.primary).to_string()
    }
}
