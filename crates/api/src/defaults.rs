//! What holds where a manifest says nothing. Nothing here is ever written into a spec.

use std::{num::NonZeroUsize, time::Duration};

use crate::{
    duration::{self, DurationError},
    model::Model,
    quantity::{Quantity, QuantityError},
    serving::{ExecutionProvider, PayloadLogging, Resources, Serving, ServingLimits},
};

mod drain;
mod payload_logging;
mod rollout;
mod session;
mod training;

pub use drain::{DRAIN_DELAY, drain_grace, termination_grace};
pub use payload_logging::{PAYLOAD_MAX_BYTES, PAYLOAD_SAMPLE_PERCENT, ResolvedPayloadLogging};
pub use rollout::{AUTOSCALING_CPU, PROGRESS_DEADLINE, ResolvedAutoscaling, ResolvedRollout, ResolvedSurge};
pub use session::{INTER_OP_THREADS, MAX_BATCH_SIZE, ResolvedBatching, ResolvedCuda, ResolvedSession};
pub use training::{ResolvedTrainingJobs, TIME_ZONE, TRAINING_DEADLINE, TRAINING_RETRIES};

/// Server pods.
pub const REPLICAS: i32 = 1;
/// Time from a server's start to ready.
pub const STARTUP_TIMEOUT: Duration = Duration::from_mins(10);
/// Largest request body in bytes: 64 MiB.
pub const MAX_REQUEST_BYTES: u64 = 64 << 20;
/// Requests that may wait in one server.
pub const MAX_QUEUED_REQUESTS: u32 = 1_024;
/// Time that a request may wait and run.
pub const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);
/// Time that a connection may last.
pub const MAX_CONNECTION_AGE: Duration = Duration::from_mins(10);

/// `spec.serving` with every default resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedServing {
    /// What computes.
    pub execution_provider: ExecutionProvider,
    /// Server pods.
    pub replicas: i32,
    /// CPUs that one server may use, from `limits.cpu`, else `requests.cpu`; `None` where neither is written.
    pub cpus: Option<Cpus>,
    /// How requests are computed together.
    pub batching: ResolvedBatching,
    /// Settings of the ONNX Runtime session.
    pub session: ResolvedSession,
    /// Largest request body in bytes.
    pub max_request_bytes: u64,
    /// Requests that may wait in one server.
    pub max_queued_requests: u32,
    /// Time that a request may wait and run.
    pub request_timeout: Duration,
    /// Time that a connection may last.
    pub max_connection_age: Duration,
    /// Time from a server's start to ready.
    pub startup_timeout: Duration,
    /// Which requests and answers are logged; `None`: none.
    pub payload_logging: Option<ResolvedPayloadLogging>,
}

/// An amount of processor time per time, in thousandths of a CPU; more than zero.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Cpus {
    milli: u64,
}

impl Cpus {
    /// Thousandths of a CPU.
    pub const fn milli(self) -> u64 {
        self.milli
    }

    /// How many threads can be busy: the amount rounded up, at least one.
    pub fn threads(self) -> NonZeroUsize {
        usize::try_from(self.milli.div_ceil(1_000))
            .ok()
            .and_then(NonZeroUsize::new)
            .unwrap_or(NonZeroUsize::MIN)
    }
}

impl std::fmt::Display for Cpus {
    /// A decimal number such as `2` or `0.5`, the form of
    /// [`MODELWRIGHT_CPUS`](crate::contract::environment::CPUS).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, thousandths) = (self.milli / 1_000, self.milli % 1_000);
        if thousandths == 0 {
            return write!(f, "{whole}");
        }
        let fraction = format!("{thousandths:03}");
        write!(f, "{whole}.{}", fraction.trim_end_matches('0'))
    }
}

/// A value of the spec that cannot be used. A Model that passed [`crate::parse`] or an API server has none.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// A quantity cannot be read.
    #[error("{path}: {source}")]
    Quantity {
        /// Where it stands.
        path: &'static str,
        /// What is wrong.
        source: QuantityError,
    },
    /// A duration cannot be read.
    #[error("{path}: {source}")]
    Duration {
        /// Where it stands.
        path: &'static str,
        /// What is wrong.
        source: DurationError,
    },
    /// A number is outside its range.
    #[error("{path}: {value} is out of range; write a number that the manifest reference allows")]
    OutOfRange {
        /// Where it stands.
        path: &'static str,
        /// What was written.
        value: i64,
    },
}

impl Model {
    /// `spec.serving` with every default resolved.
    pub fn serving(&self) -> Result<ResolvedServing, Error> {
        self.spec.serving.as_ref().map_or_else(|| Serving::default().resolved(), Serving::resolved)
    }
}

impl Serving {
    /// This with every default resolved.
    pub fn resolved(&self) -> Result<ResolvedServing, Error> {
        let ServingLimits { max_request_bytes, max_queued_requests, request_timeout, max_connection_age } =
            self.limits.clone().unwrap_or_default();
        Ok(ResolvedServing {
            execution_provider: self.execution_provider.unwrap_or_default(),
            replicas: self.replicas.unwrap_or(REPLICAS),
            cpus: self.resources.as_ref().map_or(Ok(None), cpus)?,
            batching: self.batching.clone().unwrap_or_default().resolved()?,
            session: self.session.clone().unwrap_or_default().resolved()?,
            max_request_bytes: max_request_bytes.map_or(Ok(MAX_REQUEST_BYTES), |bytes| {
                number("spec.serving.limits.maxRequestBytes", bytes)
            })?,
            max_queued_requests: max_queued_requests.map_or(Ok(MAX_QUEUED_REQUESTS), |requests| {
                number("spec.serving.limits.maxQueuedRequests", requests.into())
            })?,
            request_timeout: span(
                "spec.serving.limits.requestTimeout",
                request_timeout.as_deref(),
                REQUEST_TIMEOUT,
            )?,
            max_connection_age: span(
                "spec.serving.limits.maxConnectionAge",
                max_connection_age.as_deref(),
                MAX_CONNECTION_AGE,
            )?,
            startup_timeout: span(
                "spec.serving.startupTimeout",
                self.startup_timeout.as_deref(),
                STARTUP_TIMEOUT,
            )?,
            payload_logging: self.payload_logging.as_ref().map(PayloadLogging::resolved).transpose()?,
        })
    }
}

/// A duration of the spec, or what holds without it.
fn span(path: &'static str, written: Option<&str>, absent: Duration) -> Result<Duration, Error> {
    written
        .map_or(Ok(absent), |text| duration::parse(text).map_err(|source| Error::Duration { path, source }))
}

/// What holds where a field is absent, in words for the manifest reference; `None` where absent says all there is.
///
/// `path` is a field such as `spec.serving.replicas` or `spec.training.builtin.layers[].units`.
pub fn describe(path: &str) -> Option<String> {
    if let Some(path) = path.strip_prefix("spec.training.") {
        return training::describe(path);
    }
    let serving = Serving::default().resolved().ok()?;
    let text = match path {
        "spec.serving.executionProvider" => serving.execution_provider.to_string(),
        "spec.serving.replicas" => serving.replicas.to_string(),
        "spec.serving.limits.maxRequestBytes" => {
            format!("{} ({} MiB)", serving.max_request_bytes, serving.max_request_bytes >> 20)
        }
        "spec.serving.limits.maxQueuedRequests" => serving.max_queued_requests.to_string(),
        "spec.serving.limits.requestTimeout" => format!("{}s", serving.request_timeout.as_secs()),
        "spec.serving.limits.maxConnectionAge" => format!("{}m", serving.max_connection_age.as_secs() / 60),
        "spec.serving.startupTimeout" => format!("{}m", serving.startup_timeout.as_secs() / 60),
        _ => {
            let session = session::describe(path, &serving);
            return session.or_else(|| rollout::describe(path)).or_else(|| payload_logging::describe(path));
        }
    };
    Some(text)
}

/// CPUs that one pod may use: its limit, else its request. Zero says nothing, as in Kubernetes.
fn cpus(resources: &Resources) -> Result<Option<Cpus>, Error> {
    let cpu = |map: Option<&std::collections::BTreeMap<String, Quantity>>, path| {
        let Some(quantity) = map.and_then(|map| map.get("cpu")) else { return Ok(None) };
        let milli = quantity.milli().map_err(|source| Error::Quantity { path, source })?;
        Ok(u64::try_from(milli).ok().filter(|milli| *milli > 0).map(|milli| Cpus { milli }))
    };
    match cpu(resources.limits.as_ref(), "spec.serving.resources.limits.cpu")? {
        Some(cpus) => Ok(Some(cpus)),
        None => cpu(resources.requests.as_ref(), "spec.serving.resources.requests.cpu"),
    }
}

fn number<T: TryFrom<i64>>(path: &'static str, value: i64) -> Result<T, Error> {
    T::try_from(value).map_err(|_| Error::OutOfRange { path, value })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn serving(json: &str) -> Serving {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn absent_serving_has_every_default() {
        let resolved = Model::new("bc", crate::ModelSpec::default()).serving().unwrap();
        assert_eq!(resolved.execution_provider, ExecutionProvider::Cpu);
        assert_eq!(resolved.replicas, 1);
        assert_eq!(resolved.cpus, None);
        assert_eq!(resolved.startup_timeout, Duration::from_mins(10));
        assert_eq!(resolved.max_request_bytes, 67_108_864);
        assert_eq!(resolved.request_timeout, Duration::from_mins(1));
        assert_eq!(resolved.max_connection_age, Duration::from_mins(10));
    }

    #[test]
    fn written_values_win() {
        let resolved = serving(
            r#"{"executionProvider": "CUDA", "replicas": 0, "startupTimeout": "90s",
                "limits": {"maxRequestBytes": 2048, "maxQueuedRequests": 7, "requestTimeout": "5s",
                           "maxConnectionAge": "1h"}}"#,
        )
        .resolved()
        .unwrap();
        assert_eq!(resolved.execution_provider, ExecutionProvider::Cuda);
        assert_eq!((resolved.replicas, resolved.startup_timeout), (0, Duration::from_secs(90)));
        assert_eq!((resolved.max_request_bytes, resolved.max_queued_requests), (2_048, 7));
        assert_eq!(resolved.request_timeout, Duration::from_secs(5));
        assert_eq!(resolved.max_connection_age, Duration::from_hours(1));
    }

    #[rstest]
    #[case(r#"{"limits": {"cpu": 2}, "requests": {"cpu": 1}}"#, Some("2"), 2)]
    #[case(r#"{"limits": {"memory": "1Gi"}, "requests": {"cpu": "500m"}}"#, Some("0.5"), 1)]
    #[case(r#"{"limits": {"cpu": "1250m"}}"#, Some("1.25"), 2)]
    #[case(r#"{"limits": {"cpu": "1n"}}"#, Some("0.001"), 1)]
    #[case(r#"{"limits": {"cpu": 0}, "requests": {"cpu": 3}}"#, Some("3"), 3)]
    #[case(r#"{"requests": {"memory": "1Gi"}}"#, None, 0)]
    fn cpus_come_from_the_limit_else_the_request(
        #[case] resources: &str,
        #[case] text: Option<&str>,
        #[case] threads: usize,
    ) {
        let cpus = serving(&format!("{{\"resources\": {resources}}}")).resolved().unwrap().cpus;
        assert_eq!(cpus.map(|cpus| cpus.to_string()).as_deref(), text);
        assert_eq!(cpus.map_or(0, |cpus| cpus.threads().get()), threads);
    }

    #[rstest]
    #[case(r#"{"resources": {"limits": {"cpu": "two"}}}"#, "spec.serving.resources.limits.cpu: \"two\"")]
    #[case(r#"{"startupTimeout": "soon"}"#, "spec.serving.startupTimeout: \"soon\"")]
    #[case(r#"{"limits": {"maxRequestBytes": -1}}"#, "spec.serving.limits.maxRequestBytes: -1")]
    fn unusable_value_is_named(#[case] json: &str, #[case] message: &str) {
        let error = serving(json).resolved().unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }

    #[test]
    fn described_defaults_are_fields_of_the_manifest() {
        let spec = &crate::crd::schema()["properties"]["spec"]["properties"]["serving"]["properties"];
        for path in ["replicas", "executionProvider", "startupTimeout"] {
            assert!(spec[path].is_object() && describe(&format!("spec.serving.{path}")).is_some(), "{path}");
        }
        assert_eq!(describe("spec.serving.startupTimeout").as_deref(), Some("10m"));
        assert_eq!(describe("spec.source.uri"), None);
        assert_eq!(describe("spec.training.builtin.epochs").as_deref(), Some("200"));
    }
}
