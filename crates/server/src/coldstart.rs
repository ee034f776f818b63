//! How long it took until each model answered, and what took it.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::registry::{ModelState, Registry};

/// The body of `GET /debug/coldstart`. Times are in milliseconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ColdStart {
    uptime_ms: f64,
    models: Vec<ModelStart>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct ModelStart {
    name: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    ready: Option<Stages>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Stages {
    version: String,
    /// From the start of the process.
    ready_after_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    fetch_ms: Option<f64>,
    library_ms: f64,
    session_ms: f64,
    warm_up_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_run_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    steady_run_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warm_up_failure: Option<String>,
    execution_provider: &'static str,
    instances: usize,
    intra_op_threads: usize,
    runtime_version: String,
}

pub(crate) fn report(models: &Registry, started: Instant) -> ColdStart {
    let models = models.snapshot().iter().map(|(name, state)| model(name, state, started)).collect();
    ColdStart { uptime_ms: milliseconds(started.elapsed()), models }
}

fn model(name: &str, state: &ModelState, started: Instant) -> ModelStart {
    let name = name.to_owned();
    match state {
        ModelState::Loading => ModelStart { name, state: "Loading", ..ModelStart::default() },
        ModelState::Unloaded => ModelStart { name, state: "Unloaded", ..ModelStart::default() },
        ModelState::Failed { reason, message } => {
            let message = Some(format!("{reason}: {message}"));
            ModelStart { name, state: "Failed", message, ready: None }
        }
        ModelState::Ready(ready) => {
            let report = ready.model().report();
            let stages = Stages {
                version: ready.version().to_owned(),
                ready_after_ms: milliseconds(ready.since().saturating_duration_since(started)),
                fetch_ms: ready.fetched().map(milliseconds),
                library_ms: milliseconds(report.library),
                session_ms: milliseconds(report.session),
                warm_up_ms: milliseconds(report.warm_up.took),
                first_run_ms: report.warm_up.first_run.map(milliseconds),
                steady_run_ms: report.warm_up.steady_run.map(milliseconds),
                warm_up_failure: report.warm_up.failure.clone(),
                execution_provider: report.execution_provider.as_str(),
                instances: report.instances.get(),
                intra_op_threads: report.intra_op_threads.get(),
                runtime_version: report.runtime_version.clone(),
            };
            ModelStart { name, state: "Ready", message: None, ready: Some(stages) }
        }
    }
}

/// Microseconds are as fine as anybody needs.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}
