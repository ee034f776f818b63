//! What an autoscaler asks for: the metadata of a trigger, read and checked. Pure.

use std::collections::HashMap;

use modelwright_api::duration;
use tonic::Status;

use super::messages::ScaledObjectRef;
use crate::{pull::PodLoad, stores::ModelKey};

const MODEL: &str = "model";
const METRIC: &str = "metric";
const TARGET: &str = "target";
/// What KEDA itself reads of a trigger's metadata, and passes on.
const OF_KEDA: [&str; 3] = ["scalerAddress", "enableTLS", "unsafeSsl"];
const MILLISECONDS: f64 = 1e3;
const PERCENT: f64 = 100.0;
/// What somebody else wrote is repeated only so far.
const EXCERPT: usize = 64;

/// What is measured of each pod.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Metric {
    /// Requests that wait or run.
    InFlight,
    /// The share of its sessions' time that they run, in percent.
    Utilization,
    /// How long requests wait for a session, in milliseconds.
    QueueTime,
}

/// One trigger of a `ScaledObject`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Trigger {
    /// Whose pods are scaled.
    pub(super) model: ModelKey,
    pub(super) metric: Metric,
    /// What each pod shall have, in the metric's unit.
    pub(super) target: f64,
}

impl Metric {
    const ALL: [Self; 3] = [Self::InFlight, Self::Utilization, Self::QueueTime];

    /// The word in a trigger.
    const fn word(self) -> &'static str {
        match self {
            Self::InFlight => "inFlight",
            Self::Utilization => "utilization",
            Self::QueueTime => "queueTime",
        }
    }

    /// The name of the external metric. It becomes part of a path of the API.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::InFlight => "modelwright-in-flight",
            Self::Utilization => "modelwright-utilization",
            Self::QueueTime => "modelwright-queue-time",
        }
    }

    /// The value of one pod, in the metric's unit.
    pub(super) fn of(self, load: &PodLoad) -> f64 {
        match self {
            Self::InFlight => load.in_flight,
            Self::Utilization => load.utilization * PERCENT,
            Self::QueueTime => load.queue_seconds * MILLISECONDS,
        }
    }

    /// Reads a target, or says what to write.
    fn target(self, text: &str) -> Result<f64, &'static str> {
        let number = || text.parse::<f64>().ok().filter(|number| number.is_finite());
        let (target, advice) = match self {
            Self::InFlight => (
                number().filter(|number| *number >= 0.1),
                "write how many requests a pod shall have at once, such as \"8\"",
            ),
            // Above it no load of full pods would lead to more of them: an autoscaler tolerates a tenth.
            Self::Utilization => (
                number().filter(|number| (1.0..=90.0).contains(number)),
                "write percent from 1 to 90, such as \"70\"",
            ),
            Self::QueueTime => (
                duration::parse(text)
                    .ok()
                    .map(|time| time.as_secs_f64() * MILLISECONDS)
                    .filter(|ms| *ms > 0.0),
                "write a duration, such as \"20ms\"",
            ),
        };
        target.ok_or(advice)
    }
}

impl Trigger {
    /// Reads what an autoscaler sent, or says which field is wrong and what to write.
    pub(super) fn parse(asked: &ScaledObjectRef) -> Result<Self, Status> {
        let metadata = &asked.scaler_metadata;
        refuse_unknown(metadata)?;
        if asked.namespace.is_empty() {
            return Err(Status::invalid_argument("the ScaledObject has no namespace"));
        }
        let metric = metric(metadata)?;
        let Some(target) = metadata.get(TARGET) else {
            let advice = metric.target("").err().unwrap_or_default();
            return Err(Status::invalid_argument(format!("metadata.target is missing: {advice}")));
        };
        let target = metric.target(target).map_err(|advice| {
            let text = excerpt(target);
            let word = metric.word();
            Status::invalid_argument(format!(
                "metadata.target is {text}, and the metric {word} needs another: {advice}"
            ))
        })?;
        let name = metadata.get(MODEL).unwrap_or(&asked.name);
        if name.is_empty() {
            return Err(Status::invalid_argument("metadata.model is empty: write the name of a Model"));
        }
        Ok(Self { model: ModelKey::new(&asked.namespace, name), metric, target })
    }

    /// The metric's value of all pods together. A pod that did not answer counts as one that is at its target: it is a reason for
    /// neither more pods nor fewer.
    pub(super) fn value(&self, loads: &[PodLoad], silent: usize) -> f64 {
        let told: f64 = loads.iter().map(|load| self.metric.of(load)).sum();
        told + silent as f64 * self.target
    }
}

fn metric(metadata: &HashMap<String, String>) -> Result<Metric, Status> {
    let advice = "write inFlight, utilization or queueTime";
    let Some(word) = metadata.get(METRIC) else {
        return Err(Status::invalid_argument(format!("metadata.metric is missing: {advice}")));
    };
    Metric::ALL.into_iter().find(|metric| metric.word() == word).ok_or_else(|| {
        Status::invalid_argument(format!(
            "metadata.metric is {}, which there is not: {advice}",
            excerpt(word)
        ))
    })
}

/// A field that nobody reads would be one that does not do what its author thinks.
fn refuse_unknown(metadata: &HashMap<String, String>) -> Result<(), Status> {
    let known = |key: &str| [MODEL, METRIC, TARGET].contains(&key) || OF_KEDA.contains(&key);
    // The first in order, so that the same mistake has the same message.
    let Some(key) = metadata.keys().filter(|key| !known(key)).min() else { return Ok(()) };
    let advice = if key.to_ascii_lowercase().starts_with("activation") {
        "a Model that is served keeps a pod, because without any there is nothing to measure; remove it, and use spec.suspend of \
         the Model to serve with none"
    } else {
        "there are model, metric and target"
    };
    Err(Status::invalid_argument(format!("metadata.{} is not known: {advice}", excerpt(key))))
}

/// The beginning of a text, as one printable word.
fn excerpt(text: &str) -> String {
    format!("{:?}", text.chars().take(EXCERPT).collect::<String>())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn asked(metadata: &[(&str, &str)]) -> ScaledObjectRef {
        let pair = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
        ScaledObjectRef {
            name: "bc".to_owned(),
            namespace: "demo".to_owned(),
            scaler_metadata: metadata.iter().map(pair).collect(),
        }
    }

    #[rstest]
    #[case::requests("inFlight", "8", Metric::InFlight, 8.0)]
    #[case::few_requests("inFlight", "0.5", Metric::InFlight, 0.5)]
    #[case::percent("utilization", "70", Metric::Utilization, 70.0)]
    #[case::time("queueTime", "20ms", Metric::QueueTime, 20.0)]
    #[case::long_time("queueTime", "1s500ms", Metric::QueueTime, 1500.0)]
    fn triggers_are_read(
        #[case] metric: &str,
        #[case] target: &str,
        #[case] expected: Metric,
        #[case] number: f64,
    ) {
        let of_keda = [("scalerAddress", "modelwright-scaler.modelwright:9092"), ("enableTLS", "false")];
        let metadata = [&[("metric", metric), ("target", target)], &of_keda[..]].concat();
        let trigger = Trigger::parse(&asked(&metadata)).unwrap();
        let model = ModelKey::new("demo", "bc");
        assert_eq!(trigger, Trigger { model, metric: expected, target: number });
    }

    #[test]
    fn model_may_have_another_name_than_the_scaled_object() {
        let metadata = [("model", "fraud"), ("metric", "inFlight"), ("target", "8")];
        assert_eq!(Trigger::parse(&asked(&metadata)).unwrap().model, ModelKey::new("demo", "fraud"));
    }

    #[rstest]
    #[case::no_metric(&[("target", "1")], "metadata.metric is missing: write inFlight, utilization or queueTime")]
    #[case::other_metric(&[("metric", "cpu")], "metadata.metric is \"cpu\"")]
    #[case::british(&[("metric", "utilisation")], "write inFlight, utilization or queueTime")]
    #[case::no_target(&[("metric", "utilization")], "metadata.target is missing: write percent from 1 to 90")]
    #[case::share(&[("metric", "utilization"), ("target", "0.7")], "such as \"70\"")]
    #[case::full(&[("metric", "utilization"), ("target", "95")], "from 1 to 90")]
    #[case::nothing(&[("metric", "inFlight"), ("target", "0")], "such as \"8\"")]
    #[case::no_number(&[("metric", "inFlight"), ("target", "NaN")], "such as \"8\"")]
    #[case::no_unit(&[("metric", "queueTime"), ("target", "20")], "such as \"20ms\"")]
    #[case::no_model(&[("metric", "inFlight"), ("target", "1"), ("model", "")], "metadata.model is empty")]
    #[case::misspelt(&[("metric", "inFlight"), ("target", "1"), ("modell", "x")], "metadata.\"modell\" is not known: there are")]
    #[case::activation(&[("metric", "inFlight"), ("target", "1"), ("activationTarget", "0")], "use spec.suspend")]
    fn mistakes_are_named_with_what_to_write(#[case] metadata: &[(&str, &str)], #[case] expected: &str) {
        let status = Trigger::parse(&asked(metadata)).unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert!(status.message().contains(expected), "{status:?}");
    }

    #[test]
    fn values_of_pods_add_up_and_a_silent_pod_is_at_its_target() {
        let load = |in_flight, utilization, queue_seconds| PodLoad { in_flight, utilization, queue_seconds };
        let loads = [load(3.0, 0.5, 0.002), load(5.0, 0.25, 0.001)];
        let value = |metric, target, silent| {
            Some(Trigger { model: ModelKey::new("demo", "bc"), metric, target }.value(&loads, silent))
        };
        assert_eq!(value(Metric::InFlight, 8.0, 0), Some(8.0));
        assert_eq!(value(Metric::Utilization, 70.0, 0), Some(75.0));
        assert_eq!(value(Metric::QueueTime, 20.0, 0), Some(3.0));
        assert_eq!(value(Metric::Utilization, 70.0, 2), Some(215.0));
    }

    #[test]
    fn what_somebody_wrote_is_repeated_only_so_far() {
        let status = Trigger::parse(&asked(&[("metric", &"\n".repeat(10_000))])).unwrap_err();
        assert!(status.message().len() < 300 && !status.message().contains('\n'), "{status:?}");
    }
}
