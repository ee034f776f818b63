//! `metrics.json` of a user's training: numbers by name, and nothing else that must be there.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::error::{ContainerError, place, shortened};

/// The most metrics of a training.
const MAX_METRICS: usize = 64;
/// The longest name of a metric, as in a gate.
const MAX_NAME: usize = 64;

/// What a training measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// The model's own, such as `valAccuracy`.
    pub metrics: BTreeMap<String, f64>,
    /// The same of something simple, where the training says so.
    pub baseline: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct Document {
    metrics: BTreeMap<String, Value>,
    #[serde(default)]
    baseline: BTreeMap<String, Value>,
}

impl Measured {
    /// Reads the file's content. Keys besides `metrics` and `baseline` are the training's own.
    pub fn parse(bytes: &[u8]) -> Result<Self, ContainerError> {
        let document: Document = serde_json::from_slice(bytes)
            .map_err(|error| ContainerError::Metrics { problem: place(&error) })?;
        Ok(Self { metrics: numbers(document.metrics)?, baseline: numbers(document.baseline)? })
    }
}

fn numbers(values: BTreeMap<String, Value>) -> Result<BTreeMap<String, f64>, ContainerError> {
    let refuse = |problem: String| Err(ContainerError::Metrics { problem });
    if values.len() > MAX_METRICS {
        return refuse(format!("it has {} metrics, more than {MAX_METRICS}", values.len()));
    }
    let mut numbers = BTreeMap::new();
    for (name, value) in values {
        if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return refuse(format!(
                "\"{}\" is no name of a metric: 1 to {MAX_NAME} characters",
                shortened(&name)
            ));
        }
        let Some(number) = value.as_f64().filter(|number| number.is_finite()) else {
            return refuse(format!("the metric \"{}\" is no finite number", shortened(&name)));
        };
        numbers.insert(name, number);
    }
    Ok(numbers)
}
