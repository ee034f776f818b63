//! What the statistics, configuration and index routes say, over HTTP and gRPC alike.

use std::collections::BTreeMap;
use std::time::Duration;

use modelwright_protocol::v2::config::{
    ConfigParameter, DynamicBatching, InstanceGroup, InstanceKind, ModelConfig,
};
use modelwright_protocol::v2::repository::{self, RepositoryModel};
use modelwright_protocol::v2::statistics::{self, BatchStatistics, DurationStatistics, InferenceStatistics};
use modelwright_runtime::{ExecutionProvider, LoadReport};

use crate::counters::{BatchTotals, ModelStatistics, Total};
use crate::registry::{ModelState, ReadyModel};

/// What a model has done since the server started, over all its versions.
pub(crate) fn statistics(name: &str, ready: &ReadyModel) -> statistics::ModelStatistics {
    of_counters(name, ready.version(), &ready.counters().statistics())
}

fn of_counters(name: &str, version: &str, counted: &ModelStatistics) -> statistics::ModelStatistics {
    statistics::ModelStatistics {
        name: name.to_owned(),
        version: version.to_owned(),
        last_inference: counted.last_inference,
        inference_count: counted.inferences,
        execution_count: counted.executions,
        inference_stats: InferenceStatistics {
            success: durations(counted.success),
            fail: durations(counted.fail),
            queue: durations(counted.queue),
            compute_input: durations(counted.compute_input),
            compute_infer: durations(counted.compute_infer),
            compute_output: durations(counted.compute_output),
            // There is no cache.
            cache_hit: DurationStatistics::default(),
            cache_miss: DurationStatistics::default(),
        },
        batch_stats: counted.batches.iter().map(|(rows, batch)| of_batch(*rows, batch)).collect(),
    }
}

const fn of_batch(batch_size: u64, batch: &BatchTotals) -> BatchStatistics {
    BatchStatistics {
        batch_size,
        compute_input: durations(batch.input),
        compute_infer: durations(batch.infer),
        compute_output: durations(batch.output),
    }
}

const fn durations(total: Total) -> DurationStatistics {
    DurationStatistics { count: total.count, ns: total.nanoseconds }
}

/// How a model is served. The shapes are whole, as those of the metadata: a request brings its rows itself, as many as it
/// likes.
pub(crate) fn config(name: &str, ready: &ReadyModel) -> ModelConfig {
    const NO_BATCH_DIMENSION: u32 = 0;
    let report = ready.model().report();
    let kind = match report.execution_provider {
        ExecutionProvider::Cpu => InstanceKind::Cpu,
        ExecutionProvider::Cuda => InstanceKind::Gpu,
    };
    let count = u32::try_from(report.instances.get()).unwrap_or(u32::MAX);
    let delay = |delay: Duration| u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
    ModelConfig {
        instance_group: vec![InstanceGroup { kind, count, gpus: Vec::new() }],
        dynamic_batching: report.batching.enabled.then(|| DynamicBatching {
            max_queue_delay_microseconds: delay(report.batching.max_queue_delay),
        }),
        parameters: choices(report),
        ..ModelConfig::new(name, ready.model().signature(), NO_BATCH_DIMENSION)
    }
}

/// What was chosen when the model was loaded, and why.
fn choices(report: &LoadReport) -> BTreeMap<String, ConfigParameter> {
    let mut choices = vec![
        ("lane", report.lane.as_str().to_owned()),
        ("lane_reason", report.lane_reason.clone()),
        ("batching_reason", report.batching.reason.clone()),
        ("max_batch_rows", report.batching.max_batch_size.to_string()),
        ("weights", report.weights.as_str().to_owned()),
        ("runtime_version", report.runtime_version.clone()),
    ];
    if let Some(fit) = report.fit {
        choices.push(("run_fixed_microseconds", format!("{:.1}", fit.fixed.as_secs_f64() * 1e6)));
        choices.push(("run_row_microseconds", format!("{:.1}", fit.per_row.as_secs_f64() * 1e6)));
    }
    let parameter =
        |(name, value): (&str, String)| (name.to_owned(), ConfigParameter { string_value: value });
    choices.into_iter().map(parameter).collect()
}

/// A model as the index lists it.
pub(crate) fn index_entry(name: &str, state: &ModelState) -> RepositoryModel {
    let (version, word) = match state {
        ModelState::Ready(ready) => (ready.version(), repository::ModelState::Ready),
        ModelState::Loading => ("", repository::ModelState::Loading),
        ModelState::Failed { .. } | ModelState::Unloaded => ("", repository::ModelState::Unavailable),
    };
    let reason = match state {
        ModelState::Unloaded => "unloaded".to_owned(),
        ModelState::Failed { reason, message } => format!("{reason}: {message}"),
        ModelState::Ready(_) | ModelState::Loading => String::new(),
    };
    RepositoryModel { name: name.to_owned(), version: version.to_owned(), state: Some(word), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_those_that_were_counted() {
        let counted = ModelStatistics {
            inferences: 3,
            executions: 1,
            success: Total { count: 2, nanoseconds: 9 },
            batches: [(
                3,
                BatchTotals { infer: Total { count: 1, nanoseconds: 8 }, ..BatchTotals::default() },
            )]
            .into(),
            ..ModelStatistics::default()
        };
        let said = of_counters("m", "7", &counted);
        assert_eq!((said.name.as_str(), said.version.as_str()), ("m", "7"));
        assert_eq!((said.inference_count, said.execution_count), (3, 1));
        assert_eq!(said.inference_stats.success, DurationStatistics { count: 2, ns: 9 });
        let [batch] = said.batch_stats.as_slice() else { panic!("{said:?}") };
        assert_eq!((batch.batch_size, batch.compute_infer), (3, DurationStatistics { count: 1, ns: 8 }));
    }

    #[test]
    fn the_index_says_why_a_model_does_not_answer() {
        let failed =
            ModelState::Failed { reason: "ModelRejected".to_owned(), message: "no graph".to_owned() };
        let entry = index_entry("m", &failed);
        assert_eq!(entry.state, Some(repository::ModelState::Unavailable));
        assert_eq!(entry.reason, "ModelRejected: no graph");
        assert_eq!(index_entry("m", &ModelState::Loading).state, Some(repository::ModelState::Loading));
        assert_eq!(index_entry("m", &ModelState::Unloaded).reason, "unloaded");
    }
}
