//! What the server counts, in the `OpenMetrics` text format.
//!
//! Labels come from closed sets: routes, classes of status codes, and the names of models that the registry knows.
//! Anything else is `unknown`, so that no client can make the number of time series grow.

use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use modelwright_runtime::Outcome;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use crate::phase::Phase;
use crate::registry::{ModelState, Registry};

/// The class of requests whose clients went away before they were answered.
const CANCELLED: &str = "cancelled";
/// The label of requests that name no known model.
const UNKNOWN: &str = "unknown";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    model: String,
    route: &'static str,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    model: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InfoLabels {
    model: String,
    version: String,
    execution_provider: &'static str,
    runtime_version: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

type Seconds = Gauge<f64, AtomicU64>;
type Times = Family<ModelLabels, Histogram, fn() -> Histogram>;
type PerModel<G> = Family<ModelLabels, G>;

/// All metrics of a server.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: prometheus_client::registry::Registry,
    requests: Family<RequestLabels, Counter>,
    request_time: Times,
    inference_time: Times,
    queue_time: Times,
    in_flight: Gauge,
    state: State,
}

/// What is read from the models when somebody asks.
#[derive(Debug, Default)]
struct State {
    ready: PerModel<Gauge>,
    waiting: PerModel<Gauge>,
    waiting_bytes: PerModel<Gauge>,
    running: PerModel<Gauge>,
    load_time: PerModel<Seconds>,
    warm_up_time: PerModel<Seconds>,
    info: Family<InfoLabels, Gauge>,
}

/// From 100 µs to 100 s, three to a decade.
fn histogram() -> Histogram {
    let decades = [1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0];
    Histogram::new(decades.into_iter().flat_map(|start| [start, 2.5 * start, 5.0 * start]).chain([100.0]))
}

impl Metrics {
    /// `uptime` is how long the process has run already.
    pub(crate) fn new(uptime: Duration) -> Self {
        let mut registry = prometheus_client::registry::Registry::default();
        let times = || Times::new_with_constructor(histogram as fn() -> Histogram);
        let metrics = Self {
            requests: Family::default(),
            request_time: times(),
            inference_time: times(),
            queue_time: times(),
            in_flight: Gauge::default(),
            state: State::default(),
            registry: prometheus_client::registry::Registry::default(),
        };
        registry.register(
            "modelwright_requests",
            "Requests on the data port by model, route and class of the status code, or cancelled by the client",
            metrics.requests.clone(),
        );
        registry.register(
            "modelwright_request_duration_seconds",
            "Time from a request's head to its answer",
            metrics.request_time.clone(),
        );
        registry.register(
            "modelwright_inference_duration_seconds",
            "Time that a model computed",
            metrics.inference_time.clone(),
        );
        registry.register(
            "modelwright_queue_duration_seconds",
            "Time that a request waited for a session",
            metrics.queue_time.clone(),
        );
        registry.register(
            "modelwright_requests_in_flight",
            "Requests that are being worked on",
            metrics.in_flight.clone(),
        );
        metrics.state.register(&mut registry);
        register_process(&mut registry, uptime);
        Self { registry, ..metrics }
    }

    /// Counts a request that was answered with a status, or whose client went away before.
    pub(crate) fn answered(
        &self,
        model: Option<&str>,
        route: &'static str,
        status: Option<StatusCode>,
        took: Duration,
    ) {
        let model = model.unwrap_or(UNKNOWN).to_owned();
        let labels = RequestLabels { model, route, code: status.map_or(CANCELLED, code_class) };
        self.requests.get_or_create(&labels).inc();
        if status.is_none() {
            return;
        }
        self.request_time.get_or_create(&ModelLabels { model: labels.model }).observe(took.as_secs_f64());
    }

    /// Counts a run.
    pub(crate) fn ran(&self, model: &str, outcome: &Outcome) {
        let labels = ModelLabels { model: model.to_owned() };
        self.inference_time.get_or_create(&labels).observe(outcome.ran.as_secs_f64());
        self.queue_time.get_or_create(&labels).observe(outcome.waited.as_secs_f64());
    }

    /// All metrics as text.
    pub(crate) fn text(&self, models: &Registry, phase: &Phase) -> Result<String, std::fmt::Error> {
        self.in_flight.set(signed(phase.in_flight()));
        self.state.read(models);
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl State {
    fn register(&self, registry: &mut prometheus_client::registry::Registry) {
        registry.register("modelwright_model_ready", "1 if the model answers, else 0", self.ready.clone());
        registry.register(
            "modelwright_queue_requests",
            "Requests that wait for a session",
            self.waiting.clone(),
        );
        registry.register(
            "modelwright_queue_bytes",
            "Bytes of the input tensors that wait for a session",
            self.waiting_bytes.clone(),
        );
        registry.register(
            "modelwright_running_requests",
            "Requests that sessions are computing",
            self.running.clone(),
        );
        registry.register(
            "modelwright_model_load_seconds",
            "Time to load the library and create the sessions",
            self.load_time.clone(),
        );
        registry.register(
            "modelwright_model_warmup_seconds",
            "Time of the runs before the model was called ready",
            self.warm_up_time.clone(),
        );
        registry.register(
            "modelwright_model_info",
            "The version of each model that answers, and what runs it",
            self.info.clone(),
        );
    }

    /// Reads the models' state; families are emptied first so that a removed model leaves nothing behind.
    fn read(&self, models: &Registry) {
        for family in [&self.ready, &self.waiting, &self.waiting_bytes, &self.running] {
            family.clear();
        }
        self.load_time.clear();
        self.warm_up_time.clear();
        self.info.clear();
        for (name, state) in models.snapshot().iter() {
            let labels = ModelLabels { model: name.clone() };
            let ModelState::Ready(ready) = state else {
                self.ready.get_or_create(&labels).set(0);
                continue;
            };
            let (report, load) = (ready.model().report(), ready.model().load_now());
            self.ready.get_or_create(&labels).set(1);
            self.waiting.get_or_create(&labels).set(signed(load.waiting));
            self.waiting_bytes.get_or_create(&labels).set(signed(load.waiting_bytes));
            self.running.get_or_create(&labels).set(signed(load.running));
            self.load_time.get_or_create(&labels).set((report.library + report.session).as_secs_f64());
            self.warm_up_time.get_or_create(&labels).set(report.warm_up.took.as_secs_f64());
            let info = InfoLabels {
                model: name.clone(),
                version: ready.version().to_owned(),
                execution_provider: report.execution_provider.as_str(),
                runtime_version: report.runtime_version.clone(),
            };
            self.info.get_or_create(&info).set(1);
        }
    }
}

fn register_process(registry: &mut prometheus_client::registry::Registry, uptime: Duration) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let started = Seconds::default();
    started.set(now.saturating_sub(uptime).as_secs_f64());
    registry.register(
        "process_start_time_seconds",
        "When the process started, in seconds since 1970",
        started,
    );
    let build = Family::<BuildLabels, Gauge>::default();
    build.get_or_create(&BuildLabels { version: env!("CARGO_PKG_VERSION") }).set(1);
    registry.register("modelwright_build_info", "The version of the server", build);
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

const fn code_class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_class_and_models_by_state() {
        let metrics = Metrics::new(Duration::from_secs(5));
        metrics.answered(Some("m"), "infer", Some(StatusCode::OK), Duration::from_millis(2));
        metrics.answered(Some("m"), "infer", Some(StatusCode::NO_CONTENT), Duration::from_millis(2));
        metrics.answered(None, "infer", Some(StatusCode::NOT_FOUND), Duration::from_millis(2));
        metrics.answered(Some("m"), "infer", None, Duration::from_millis(2));
        let models = Registry::new();
        models.loading("m");
        let text = metrics.text(&models, &Phase::default()).unwrap();
        for line in [
            "modelwright_requests_total{model=\"m\",route=\"infer\",code=\"2xx\"} 2",
            "modelwright_requests_total{model=\"unknown\",route=\"infer\",code=\"4xx\"} 1",
            "modelwright_requests_total{model=\"m\",route=\"infer\",code=\"cancelled\"} 1",
            "modelwright_request_duration_seconds_count{model=\"m\"} 2",
            "modelwright_model_ready{model=\"m\"} 0",
            "modelwright_requests_in_flight 0",
            "modelwright_build_info{version=",
            "process_start_time_seconds ",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} is missing in:\n{text}");
        }
        models.remove("m");
        assert!(!metrics.text(&models, &Phase::default()).unwrap().contains("modelwright_model_ready{"));
    }
}
