//! What the operator counts, in the `OpenMetrics` text format. Every label is from a closed set: there are as many time
//! series with ten thousand Models as with one.

mod instruments;
mod process;
mod trainings;

pub use instruments::Instruments;
pub use trainings::TrainingOutcome;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// What came of one pass over a Model.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum PassOutcome {
    /// All was as it shall be.
    Unchanged,
    /// Something was written.
    Changed,
    /// Something could not be written.
    Failed,
}

impl PassOutcome {
    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "Unchanged",
            Self::Changed => "Changed",
            Self::Failed => "Failed",
        }
    }
}

impl EncodeLabelValue for PassOutcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.as_str().encode(encoder)
    }
}

/// How many Models are in each state. A Model can be in several.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ModelCounts {
    /// With `Ready=True`.
    pub ready: usize,
    /// With `Progressing=True`.
    pub progressing: usize,
    /// With `Stalled=True`: nothing happens until somebody acts.
    pub stalled: usize,
    /// Whose `Available` is not `True`: they answer nothing.
    pub unavailable: usize,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: PassOutcome,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct TrainingLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct ClassLabels {
    class: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct WriteLabels {
    verb: &'static str,
    kind: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

/// All metrics of an operator.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    passes: Family<OutcomeLabels, Histogram, fn() -> Histogram>,
    errors: Family<ClassLabels, Counter>,
    queue: Gauge,
    writes: Family<WriteLabels, Counter>,
    leader: Gauge,
    watch_restarts: Family<KindLabels, Counter>,
    models: Family<StateLabels, Gauge>,
    trainings: Family<TrainingLabels, Counter>,
    trainings_in_progress: Family<StateLabels, Gauge>,
    crd_outdated: Gauge,
}

/// From 0.5 ms, a pass that writes nothing, to a minute.
fn histogram() -> Histogram {
    Histogram::new([
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    ])
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero. Made when the process starts.
    pub fn new() -> Self {
        let metrics = Self {
            registry: Registry::default(),
            passes: Family::new_with_constructor(histogram as fn() -> Histogram),
            errors: Family::default(),
            queue: Gauge::default(),
            writes: Family::default(),
            leader: Gauge::default(),
            watch_restarts: Family::default(),
            models: Family::default(),
            trainings: Family::default(),
            trainings_in_progress: Family::default(),
            crd_outdated: Gauge::default(),
        };
        // What is rare is there from the beginning, so that an alert on its increase sees the first one.
        for outcome in [PassOutcome::Unchanged, PassOutcome::Changed, PassOutcome::Failed] {
            drop(metrics.passes.get_or_create(&OutcomeLabels { outcome }));
        }
        for outcome in TrainingOutcome::ALL {
            drop(metrics.trainings.get_or_create(&TrainingLabels { outcome: outcome.as_str() }));
        }
        let registry = metrics.registered();
        Self { registry, ..metrics }
    }

    /// The same for many owners.
    pub fn shared() -> Arc<Self> {
        Arc::new(Self::new())
    }

    /// Counts a pass over a Model.
    pub fn reconciled(&self, outcome: PassOutcome, took: Duration) {
        self.passes.get_or_create(&OutcomeLabels { outcome }).observe(took.as_secs_f64());
    }

    /// Counts a failed pass by the class of its error, one of a fixed set of words.
    pub fn failed(&self, class: &'static str) {
        self.errors.get_or_create(&ClassLabels { class }).inc();
    }

    /// How many Models wait for a pass.
    pub fn queue(&self, depth: usize) {
        self.queue.set(signed(depth));
    }

    /// Counts a watch that had to begin anew, by the kind of what it watches.
    pub fn watch_restarted(&self, kind: &'static str) {
        self.watch_restarts.get_or_create(&KindLabels { kind }).inc();
    }

    /// How many Models are in each state.
    pub fn models(&self, counts: ModelCounts) {
        let ModelCounts { ready, progressing, stalled, unavailable } = counts;
        let states = [
            ("Ready", ready),
            ("Progressing", progressing),
            ("Stalled", stalled),
            ("Unavailable", unavailable),
        ];
        for (state, count) in states {
            self.models.get_or_create(&StateLabels { state }).set(signed(count));
        }
    }

    /// Counts an attempt at a training that ended.
    pub fn trained(&self, outcome: TrainingOutcome) {
        self.trainings.get_or_create(&TrainingLabels { outcome: outcome.as_str() }).inc();
    }

    /// How many trainings are at work, and how many wait for their queues.
    pub fn trainings(&self, running: usize, queued: usize) {
        for (state, count) in [("Running", running), ("Queued", queued)] {
            self.trainings_in_progress.get_or_create(&StateLabels { state }).set(signed(count));
        }
    }

    /// Counts a write to the API server; [`client`](crate::client) does so for every one.
    pub fn wrote(&self, verb: &'static str, kind: &'static str) {
        self.writes.get_or_create(&WriteLabels { verb, kind }).inc();
    }

    /// Whether this process leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// Whether the cluster's definition of Models lacks something that this operator knows.
    pub fn crd_outdated(&self, outdated: bool) {
        self.crd_outdated.set(outdated.into());
    }

    /// All metrics as text.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    fn registered(&self) -> Registry {
        let mut registry = Registry::default();
        registry.register(
            "modelwright_reconcile_duration_seconds",
            "Time of a pass over a Model by what came of it",
            self.passes.clone(),
        );
        registry.register(
            "modelwright_reconcile_errors",
            "Passes that failed, by the class of the error",
            self.errors.clone(),
        );
        registry.register("modelwright_queue_depth", "Models that wait for a pass", self.queue.clone());
        registry.register(
            "modelwright_api_writes",
            "Requests to the API server that write, by verb and kind, the Lease's among them",
            self.writes.clone(),
        );
        registry.register("modelwright_leader", "1 if this process leads, else 0", self.leader.clone());
        registry.register(
            "modelwright_watch_restarts",
            "Watches that had to begin anew, by kind",
            self.watch_restarts.clone(),
        );
        registry.register(
            "modelwright_models",
            "Models by state; one can be in several",
            self.models.clone(),
        );
        registry.register(
            "modelwright_trainings",
            "Attempts at trainings that ended, by what came of them",
            self.trainings.clone(),
        );
        registry.register(
            "modelwright_trainings_in_progress",
            "Trainings that are at work or wait for their queues, by state",
            self.trainings_in_progress.clone(),
        );
        registry.register(
            "modelwright_crd_outdated",
            "1 if the cluster's definition of Models lacks something that this operator knows, else 0",
            self.crd_outdated.clone(),
        );
        let build = Family::<BuildLabels, Gauge>::default();
        build.get_or_create(&BuildLabels { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("modelwright_build_info", "The version of the operator", build);
        let started = Gauge::<f64, AtomicU64>::default();
        started.set(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
        registry.register(
            "process_start_time_seconds",
            "When the process started, in seconds since 1970",
            started,
        );
        registry.register_collector(Box::new(process::Process));
        registry
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_happens_is_counted_under_its_documented_name() {
        let metrics = Metrics::new();
        metrics.reconciled(PassOutcome::Changed, Duration::from_millis(3));
        metrics.failed("Transient");
        metrics.queue(7);
        metrics.watch_restarted("Pod");
        metrics.models(ModelCounts { ready: 5, progressing: 1, stalled: 2, unavailable: 3 });
        metrics.wrote("apply", "Deployment");
        metrics.trained(TrainingOutcome::Refused);
        metrics.trainings(2, 3);
        metrics.leads(true);
        let text = metrics.text().unwrap();
        for line in [
            "modelwright_reconcile_duration_seconds_count{outcome=\"Changed\"} 1",
            "modelwright_reconcile_duration_seconds_count{outcome=\"Failed\"} 0",
            "modelwright_reconcile_errors_total{class=\"Transient\"} 1",
            "modelwright_queue_depth 7",
            "modelwright_api_writes_total{verb=\"apply\",kind=\"Deployment\"} 1",
            "modelwright_leader 1",
            "modelwright_watch_restarts_total{kind=\"Pod\"} 1",
            "modelwright_models{state=\"Ready\"} 5",
            "modelwright_models{state=\"Progressing\"} 1",
            "modelwright_models{state=\"Stalled\"} 2",
            "modelwright_models{state=\"Unavailable\"} 3",
            "modelwright_trainings_total{outcome=\"Refused\"} 1",
            "modelwright_trainings_total{outcome=\"Preempted\"} 0",
            "modelwright_trainings_in_progress{state=\"Running\"} 2",
            "modelwright_trainings_in_progress{state=\"Queued\"} 3",
            "modelwright_crd_outdated 0",
            "modelwright_build_info{version=",
            "process_start_time_seconds ",
            "process_cpu_seconds_total ",
            "process_resident_memory_bytes ",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} is missing in:\n{text}");
        }
    }

    #[test]
    fn document_has_every_metric() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operations.md");
        let document = std::fs::read_to_string(path).unwrap();
        let metrics = Metrics::new();
        // A family of which nothing was counted yet is not in the text.
        metrics.models(ModelCounts::default());
        metrics.trainings(0, 0);
        metrics.failed("x");
        metrics.wrote("x", "x");
        metrics.watch_restarted("x");
        let text = metrics.text().unwrap();
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let names: Vec<_> = types
            .map(|line| {
                let (name, kind) = line.split_once(' ').unwrap();
                if kind == "counter" { format!("{name}_total") } else { name.to_owned() }
            })
            .collect();
        assert!(names.len() >= 12, "{names:?}");
        for name in names {
            assert!(document.contains(&format!("| `{name}`")), "{name} is missing in docs/operations.md");
        }
    }
}
