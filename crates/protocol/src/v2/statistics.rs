//! The statistics extension: what a model has done since the server started.
//!
//! Source: `triton-inference-server/server`, `docs/protocol/extension_statistics.md`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The body of `GET /v2/models[/{name}[/versions/{version}]]/stats`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// One entry per model and version.
    pub model_stats: Vec<ModelStatistics>,
}

/// The statistics of one version of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelStatistics {
    /// The name of the model.
    pub name: String,
    /// Its version; absent when empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// When the last request came, in milliseconds since 1970; 0 if none has.
    pub last_inference: u64,
    /// Rows of successful requests.
    pub inference_count: u64,
    /// Runs of the model; one run may serve several requests.
    pub execution_count: u64,
    /// Counts and durations of requests.
    pub inference_stats: InferenceStatistics,
    /// Counts and durations of runs by the size of their batch.
    pub batch_stats: Vec<BatchStatistics>,
}

/// Counts and durations of requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InferenceStatistics {
    /// Requests that were answered.
    pub success: DurationStatistics,
    /// Requests that failed.
    pub fail: DurationStatistics,
    /// Waiting for a run.
    pub queue: DurationStatistics,
    /// Preparing the inputs.
    pub compute_input: DurationStatistics,
    /// Running the model.
    pub compute_infer: DurationStatistics,
    /// Taking the outputs.
    pub compute_output: DurationStatistics,
    /// Answers from a cache; there is none here.
    #[serde(default)]
    pub cache_hit: DurationStatistics,
    /// Look-ups in a cache that found nothing; there is none here.
    #[serde(default)]
    pub cache_miss: DurationStatistics,
}

/// Counts and durations of the runs of one size of batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchStatistics {
    /// Rows of the batch.
    pub batch_size: u64,
    /// Preparing the inputs.
    pub compute_input: DurationStatistics,
    /// Running the model.
    pub compute_infer: DurationStatistics,
    /// Taking the outputs.
    pub compute_output: DurationStatistics,
}

/// How often something happened, and how long it took in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DurationStatistics {
    /// How often.
    pub count: u64,
    /// Nanoseconds in all.
    pub ns: u64,
}

impl DurationStatistics {
    /// Adds one occurrence; both sums stay at their largest value rather than start again.
    pub fn add(&mut self, duration: Duration) {
        self.count = self.count.saturating_add(1);
        self.ns = self.ns.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_those_of_the_extension() {
        let mut model =
            ModelStatistics { name: "iris".into(), inference_count: 3, ..ModelStatistics::default() };
        model.inference_stats.success.add(Duration::from_micros(2));
        model.batch_stats.push(BatchStatistics { batch_size: 3, ..BatchStatistics::default() });
        let json = serde_json::to_value(Statistics { model_stats: vec![model] }).unwrap();
        let model = &json["model_stats"][0];
        assert_eq!(model["inference_stats"]["success"], serde_json::json!({"count": 1, "ns": 2000}));
        assert_eq!(model["inference_stats"].as_object().unwrap().len(), 8);
        assert_eq!(model["batch_stats"][0]["compute_infer"], serde_json::json!({"count": 0, "ns": 0}));
        assert!(model.get("version").is_none());
        assert_eq!((&model["last_inference"], &model["execution_count"]), (&0.into(), &0.into()));
    }

    #[test]
    fn sums_never_start_again() {
        let mut sum = DurationStatistics { count: u64::MAX, ns: u64::MAX - 1 };
        sum.add(Duration::MAX);
        assert_eq!(sum, DurationStatistics { count: u64::MAX, ns: u64::MAX });
    }
}
