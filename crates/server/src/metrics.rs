//! What the server tells a scraper, in the `OpenMetrics` text format.
//!
//! Labels come from closed sets: routes, classes of status codes, and the names of models that the registry knows.
//! Anything else is `unknown`, so that no client can make the number of time series grow.
//!
//! What is counted per request is in [`crate::counters`] and read here when somebody asks, like the state of the models.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use modelwright_runtime::{LoadReport, Priority};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::counters::{CLASSES, Distribution, ModelCounters, PRIORITIES, ROW_BOUNDS, TIME_BOUNDS};
use crate::label::Label;
use crate::local_models::LocalModels;
use crate::observe;
use crate::phase::Phase;
use crate::registry::{ModelState, ReadyModel, Registry};
use crate::threads::OpenConnections;
use crate::trace::Tracer;

/// The label of requests that name no known model.
const UNKNOWN: &str = "unknown";
const NANOSECONDS: f64 = 1e9;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    model: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ThreadLabels {
    thread: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InfoLabels {
    model: String,
    version: String,
    execution_provider: &'static str,
    runtime_version: String,
    lane: &'static str,
    weights: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

/// Counters and histograms may carry examples with labels; none do.
pub(crate) type NoExample = [(&'static str, &'static str); 0];
type Seconds = Gauge<f64, AtomicU64>;
type PerModel<G> = Family<ModelLabels, G>;

/// All metrics of a server.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: prometheus_client::registry::Registry,
    models: Arc<Registry>,
    unknown: Arc<ModelCounters>,
    open: OpenConnections,
    in_flight: Gauge,
    connections: Family<ThreadLabels, Gauge>,
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
    run_time_fixed: PerModel<Seconds>,
    run_time_per_row: PerModel<Seconds>,
    most_batch_rows: PerModel<Gauge>,
    sessions: PerModel<Gauge>,
    busy: PerModel<Counter<f64, AtomicU64>>,
    info: Family<InfoLabels, Gauge>,
}

impl Metrics {
    /// `uptime` is how long the process has run already.
    pub(crate) fn new(
        uptime: Duration,
        models: Arc<Registry>,
        open: OpenConnections,
        tracer: Option<Arc<Tracer>>,
    ) -> Self {
        let mut registry = prometheus_client::registry::Registry::default();
        let unknown = Arc::new(ModelCounters::new());
        let counted = Counted { models: Arc::clone(&models), unknown: Arc::clone(&unknown) };
        registry.register_collector(Box::new(counted));
        registry.register_collector(Box::new(observe::Counted::new(Arc::clone(&models), tracer)));
        let (in_flight, connections) = (Gauge::default(), Family::<ThreadLabels, Gauge>::default());
        registry.register(
            "modelwright_requests_in_flight",
            "Requests that are being worked on",
            in_flight.clone(),
        );
        registry.register(
            "modelwright_connections",
            "Open connections of the data port by the thread that serves them",
            connections.clone(),
        );
        let state = State::default();
        state.register(&mut registry);
        register_process(&mut registry, uptime);
        Self { registry, models, unknown, open, in_flight, connections, state }
    }

    /// Counts a request that was answered with a status, or whose client went away before. Says whether there is a model of
    /// that name.
    pub(crate) fn answered(
        &self,
        models: &LocalModels,
        model: Option<&str>,
        label: Label,
        status: Option<StatusCode>,
        took: Duration,
    ) -> bool {
        let count = |counters: &ModelCounters| counters.answered(label, status, took);
        let known = model.is_some_and(|name| models.count(name, count));
        if !known {
            count(&self.unknown);
        }
        known
    }

    /// All metrics as text.
    pub(crate) fn text(&self, phase: &Phase) -> Result<String, std::fmt::Error> {
        self.in_flight.set(signed(phase.in_flight()));
        for (thread, count) in self.open.counts().into_iter().enumerate() {
            self.connections.get_or_create(&ThreadLabels { thread }).set(signed(count));
        }
        self.state.read(&self.models);
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// The counters of all models and of requests that name none.
#[derive(Debug)]
struct Counted {
    models: Arc<Registry>,
    unknown: Arc<ModelCounters>,
}

impl Collector for Counted {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let models = self.models.counters();
        let known = models.iter().map(|(name, counters)| (name.as_str(), counters.as_ref()));
        let all: Vec<_> = known.chain([(UNKNOWN, self.unknown.as_ref())]).collect();
        encode_requests(&mut encoder, &all)?;
        encode_histogram(
            &mut encoder,
            ("modelwright_request_duration_seconds", "Time from a request's head to its answer."),
            &all,
            |counters| seconds(&counters.request_times()),
        )?;
        encode_by_priority(
            &mut encoder,
            ("modelwright_inference_duration_seconds", "Time that a model computed."),
            &all,
            |counters, priority| seconds(&counters.inference_times(priority)),
        )?;
        encode_by_priority(
            &mut encoder,
            ("modelwright_queue_duration_seconds", "Time that a request waited for a session."),
            &all,
            |counters, priority| seconds(&counters.queue_times(priority)),
        )?;
        encode_by_priority(
            &mut encoder,
            ("modelwright_batch_rows", "Rows of the runs of a model, each counted once."),
            &all,
            |counters, priority| scaled(&counters.batch_rows(priority), &ROW_BOUNDS, 1.0),
        )
    }
}

/// What an encoder takes for a histogram: the sum, the count, and the count of each bucket alone.
struct Buckets {
    sum: f64,
    count: u64,
    by_bound: Vec<(f64, u64)>,
}

fn encode_requests(
    encoder: &mut DescriptorEncoder<'_>,
    models: &[(&str, &ModelCounters)],
) -> Result<(), std::fmt::Error> {
    let help =
        "Requests on the data port by model, route and class of the status code, or cancelled by the client.";
    let mut family = encoder.encode_descriptor("modelwright_requests", help, None, MetricType::Counter)?;
    for &(model, counters) in models {
        for label in Label::ALL {
            for (code, count) in CLASSES.into_iter().zip(counters.requests(label)) {
                if count > 0 {
                    let labels = [("model", model), ("route", label.as_str()), ("code", code)];
                    family.encode_family(&labels)?.encode_counter::<NoExample, _, f64>(&count, None)?;
                }
            }
        }
    }
    Ok(())
}

/// Models of which nothing has been observed are left out.
fn encode_histogram(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    models: &[(&str, &ModelCounters)],
    read: impl Fn(&ModelCounters) -> Buckets,
) -> Result<(), std::fmt::Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for &(model, counters) in models {
        let Buckets { sum, count, by_bound } = read(counters);
        if count > 0 {
            let labels = [("model", model)];
            family.encode_family(&labels)?.encode_histogram::<NoExample>(sum, count, &by_bound, None)?;
        }
    }
    Ok(())
}

/// As [`encode_histogram`], with the priorities apart: explanations are `low`.
fn encode_by_priority(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    models: &[(&str, &ModelCounters)],
    read: impl Fn(&ModelCounters, Priority) -> Buckets,
) -> Result<(), std::fmt::Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for &(model, counters) in models {
        for priority in PRIORITIES {
            let Buckets { sum, count, by_bound } = read(counters, priority);
            if count > 0 {
                let labels = [("model", model), ("priority", priority.as_str())];
                family.encode_family(&labels)?.encode_histogram::<NoExample>(sum, count, &by_bound, None)?;
            }
        }
    }
    Ok(())
}

fn seconds(times: &Distribution<{ TIME_BOUNDS.len() }>) -> Buckets {
    scaled(times, &TIME_BOUNDS, NANOSECONDS)
}

/// Buckets in another unit.
fn scaled<const N: usize>(distribution: &Distribution<N>, bounds: &[u64; N], divisor: f64) -> Buckets {
    let bound = |bound: u64| if bound == u64::MAX { f64::INFINITY } else { bound as f64 / divisor };
    Buckets {
        sum: distribution.sum as f64 / divisor,
        count: distribution.count(),
        by_bound: bounds.iter().map(|&at| bound(at)).zip(distribution.buckets).collect(),
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
            "modelwright_model_run_fixed_seconds",
            "What a run takes whatever its rows, fitted to the warm-up",
            self.run_time_fixed.clone(),
        );
        registry.register(
            "modelwright_model_run_row_seconds",
            "What each row of a run adds to its time, fitted to the warm-up",
            self.run_time_per_row.clone(),
        );
        registry.register(
            "modelwright_model_max_batch_rows",
            "The most rows of several requests in one run; 1 where requests are run one by one",
            self.most_batch_rows.clone(),
        );
        registry.register(
            "modelwright_model_sessions",
            "Sessions that run side by side",
            self.sessions.clone(),
        );
        registry.register(
            "modelwright_model_busy_seconds",
            "Time that the sessions of this revision have run, together; its rate by the number of sessions is their utilisation",
            self.busy.clone(),
        );
        registry.register(
            "modelwright_model_info",
            "The version of each model that answers, and what runs it",
            self.info.clone(),
        );
    }

    /// Reads the models' state; families are emptied first so that a removed model leaves nothing behind.
    fn read(&self, models: &Registry) {
        for family in [
            &self.ready,
            &self.waiting,
            &self.waiting_bytes,
            &self.running,
            &self.most_batch_rows,
            &self.sessions,
        ] {
            family.clear();
        }
        for family in [&self.load_time, &self.warm_up_time, &self.run_time_fixed, &self.run_time_per_row] {
            family.clear();
        }
        self.busy.clear();
        self.info.clear();
        for (name, state) in models.snapshot().iter() {
            let labels = ModelLabels { model: name.clone() };
            let ModelState::Ready(ready) = state else {
                self.ready.get_or_create(&labels).set(0);
                continue;
            };
            let load = ready.model().load_now();
            self.ready.get_or_create(&labels).set(1);
            self.waiting.get_or_create(&labels).set(signed(load.waiting));
            self.waiting_bytes.get_or_create(&labels).set(signed(load.waiting_bytes));
            self.running.get_or_create(&labels).set(signed(load.running));
            self.sessions.get_or_create(&labels).set(signed(load.capacity));
            // From 0, because the family was emptied.
            self.busy.get_or_create(&labels).inc_by(load.busy.as_secs_f64());
            self.describe(&labels, ready, ready.model().report());
        }
    }

    /// What loading a model decided and measured.
    fn describe(&self, labels: &ModelLabels, ready: &ReadyModel, report: &LoadReport) {
        self.load_time.get_or_create(labels).set((report.library + report.session).as_secs_f64());
        self.warm_up_time.get_or_create(labels).set(report.warm_up.took.as_secs_f64());
        if let Some(fit) = report.fit {
            self.run_time_fixed.get_or_create(labels).set(fit.fixed.as_secs_f64());
            self.run_time_per_row.get_or_create(labels).set(fit.per_row.as_secs_f64());
        }
        self.most_batch_rows.get_or_create(labels).set(signed(report.batching.max_batch_size));
        let info = InfoLabels {
            model: labels.model.clone(),
            version: ready.version().to_owned(),
            execution_provider: report.execution_provider.as_str(),
            runtime_version: report.runtime_version.clone(),
            lane: report.lane.as_str(),
            weights: report.weights.as_str(),
        };
        self.info.get_or_create(&info).set(1);
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

#[cfg(test)]
mod tests {
    use modelwright_runtime::{Outcome, Run};

    use super::*;

    #[test]
    fn requests_are_counted_by_class_and_models_by_state() {
        let models = Arc::new(Registry::new());
        let metrics =
            Metrics::new(Duration::from_secs(5), Arc::clone(&models), OpenConnections::new(2), None);
        models.loading("m");
        let (took, local) = (Duration::from_millis(2), LocalModels::new(Arc::clone(&models), 1));
        let answered = |model, status| metrics.answered(&local, model, Label::Infer, status, took);
        assert!(answered(Some("m"), Some(StatusCode::OK)));
        answered(Some("m"), Some(StatusCode::NO_CONTENT));
        answered(Some("m"), None);
        for nobody in [None, Some("made-up")] {
            assert!(!answered(nobody, Some(StatusCode::NOT_FOUND)));
        }
        let run = Run { rows: 3, computing: took, ..Run::default() };
        let runs = std::iter::once(run).collect();
        let outcome = Outcome { outputs: vec![], waited: took, ran: took, batch_rows: 3, runs };
        models.counters()["m"].ran(&outcome, 1);
        models.counters()["m"].explained(&outcome);
        let text = metrics.text(&Phase::new(2)).unwrap();
        for line in [
            "modelwright_requests_total{model=\"m\",route=\"infer\",code=\"2xx\"} 2",
            "modelwright_requests_total{model=\"unknown\",route=\"infer\",code=\"4xx\"} 2",
            "modelwright_requests_total{model=\"m\",route=\"infer\",code=\"cancelled\"} 1",
            "modelwright_request_duration_seconds_count{model=\"m\"} 2",
            "modelwright_request_duration_seconds_bucket{le=\"0.001\",model=\"m\"} 0",
            "modelwright_request_duration_seconds_bucket{le=\"0.0025\",model=\"m\"} 2",
            "modelwright_request_duration_seconds_bucket{le=\"+Inf\",model=\"m\"} 2",
            "modelwright_request_duration_seconds_sum{model=\"m\"} 0.004",
            "modelwright_batch_rows_bucket{le=\"2.0\",model=\"m\",priority=\"normal\"} 0",
            "modelwright_batch_rows_bucket{le=\"4.0\",model=\"m\",priority=\"normal\"} 1",
            "modelwright_batch_rows_count{model=\"m\",priority=\"low\"} 1",
            "modelwright_inference_duration_seconds_sum{model=\"m\",priority=\"low\"} 0.002",
            "modelwright_queue_duration_seconds_count{model=\"m\",priority=\"low\"} 1",
            "modelwright_model_ready{model=\"m\"} 0",
            "modelwright_connections{thread=\"1\"} 0",
            "modelwright_requests_in_flight 0",
            "modelwright_build_info{version=",
            "process_start_time_seconds ",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} is missing in:\n{text}");
        }
        models.remove("m");
        assert!(!metrics.text(&Phase::new(2)).unwrap().contains("model=\"m\""));
    }
}
