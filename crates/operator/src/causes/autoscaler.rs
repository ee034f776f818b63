//! Why an autoscaler does not act, from what its conditions say.
//!
//! The words of its reasons and the texts of its messages are those of Kubernetes' own controller
//! (`pkg/controller/podautoscaler`); a text that is not known is passed on as it is.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerCondition},
    core::v1::Pod,
};
use modelwright_api::{
    conditions::{Cause, Reason},
    contract::{containers, labels},
};

use super::{condition_time, is_ready, text};

/// How long a pod may be ready without a value of its metrics: a metrics server measures twice, and the autoscaler looks after
/// that, each every 15 seconds or less often.
const FIRST_VALUES: SignedDuration = SignedDuration::from_secs(90);

/// Why an autoscaler does not act.
#[derive(Clone, Debug, PartialEq)]
pub struct AutoscalerFailure {
    /// Why.
    pub cause: Cause,
    /// Since when.
    since: Option<Timestamp>,
    /// Whether that is usual for a while after the first pods became ready.
    passes: bool,
}

impl AutoscalerFailure {
    /// From when on this is a failure, and not what is usual while the first pods have been ready for a moment; `None`: at once.
    pub fn settled_at(&self, pods: &[Arc<Pod>]) -> Option<Timestamp> {
        let servers = pods.iter().filter(|pod| is_server(pod) && is_ready(pod));
        let ready = servers.filter_map(|pod| condition_time(pod, "Ready")).min();
        let since = self.since.into_iter().chain(ready).max().filter(|_| self.passes)?;
        since.checked_add(FIRST_VALUES).ok()
    }
}

fn is_server(pod: &Pod) -> bool {
    let role = pod.metadata.labels.as_ref().and_then(|all| all.get(labels::ROLE));
    role.is_some_and(|role| role == labels::ROLE_SERVER)
}

/// What keeps an autoscaler from acting, if anything does. That its target has no pods is no failure.
pub fn failure(autoscaler: &HorizontalPodAutoscaler) -> Option<AutoscalerFailure> {
    let conditions = autoscaler.status.as_ref()?.conditions.as_ref()?;
    let fails = |type_: &str| {
        conditions.iter().find(|condition| condition.type_ == type_ && condition.status == "False")
    };
    let condition = fails("AbleToScale").or_else(|| fails("ScalingActive"))?;
    let (cause, passes) = cause(autoscaler, condition)?;
    let since = condition.last_transition_time.as_ref().map(|time| time.0);
    Some(AutoscalerFailure { cause, since, passes })
}

/// The API that an autoscaler asks, and what serves it.
struct Source {
    api: &'static str,
    server: &'static str,
}

const RESOURCES: Source = Source { api: "metrics.k8s.io", server: "metrics-server" };
const CUSTOM: Source =
    Source { api: "custom.metrics.k8s.io", server: "an adapter for it, such as prometheus-adapter" };
const EXTERNAL: Source = Source {
    api: "external.metrics.k8s.io",
    server: "an adapter for it, such as KEDA or prometheus-adapter",
};

/// Why, and whether it may pass by itself within moments.
fn cause(
    autoscaler: &HorizontalPodAutoscaler,
    condition: &HorizontalPodAutoscalerCondition,
) -> Option<(Cause, bool)> {
    let name = autoscaler.metadata.name.as_deref().unwrap_or_default();
    let namespace = autoscaler.metadata.namespace.as_deref().unwrap_or_default();
    let said = condition.message.as_deref().unwrap_or_default();
    let source = match condition.reason.as_deref().unwrap_or_default() {
        "ScalingDisabled" => return None,
        // Which other one it names changes from look to look.
        "AmbiguousSelector" => {
            let message = format!(
                "HorizontalPodAutoscaler/{name} does not act, because another one counts the same pods; delete one of the two: \
                 `kubectl describe hpa {name} -n {namespace}` names both"
            );
            return Some((Cause::new(Reason::AutoscalerConflict, message), false));
        }
        "FailedGetResourceMetric" | "FailedGetContainerResourceMetric" => &RESOURCES,
        "FailedGetPodsMetric" | "FailedGetObjectMetric" => &CUSTOM,
        "FailedGetExternalMetric" => &EXTERNAL,
        _ => {
            let message = format!("HorizontalPodAutoscaler/{name} does not act: {}", tail(said));
            return Some((Cause::new(Reason::AutoscalerFailing, message), true));
        }
    };
    Some(unmeasured(name, said, source))
}

/// There is no value of a metric.
fn unmeasured(name: &str, said: &str, source: &Source) -> (Cause, bool) {
    let Source { api, server } = source;
    if let Some((resource, container)) = missing_request(said) {
        let how = if container == containers::SERVE {
            format!("write spec.serving.resources.requests.{resource}")
        } else {
            "write its request in podTemplate, or measure another container by ContainerResource".to_owned()
        };
        let message = format!(
            "HorizontalPodAutoscaler/{name} does not act: container {container} requests no {resource}, so there is nothing to \
             measure a share of; {how}"
        );
        return (Cause::new(Reason::RequestMissing, message), false);
    }
    if said.contains("could not find the requested resource") || said.contains("registered") {
        let message = format!(
            "HorizontalPodAutoscaler/{name} does not act: nothing in the cluster serves {api}; install {server}"
        );
        return (Cause::new(Reason::MetricsAPIMissing, message), false);
    }
    let look = format!("`kubectl get apiservices | grep {api}` shows whether it is served");
    let message = format!(
        "HorizontalPodAutoscaler/{name} does not act, because {api} has no values: {}; {look}",
        tail(said)
    );
    (Cause::new(Reason::MetricsUnavailable, message), true)
}

/// The resource and the container of `missing request for RESOURCE in container NAME of Pod POD`.
fn missing_request(said: &str) -> Option<(&str, &str)> {
    let (_, rest) = said.split_once("missing request for ")?;
    let (resource, rest) = rest.split_once(" in container ")?;
    let container = rest.split_whitespace().next()?;
    Some((resource, container))
}

/// What a message of the autoscaler says at its end, where its cause is.
fn tail(said: &str) -> String {
    const PREFIX: &str = "the HPA was unable to compute the replica count: ";
    text::one_line(said.strip_prefix(PREFIX).unwrap_or(said), 400)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::causes::samples::{self, DIGEST, now, server};

    fn autoscaler(type_: &str, reason: &str, message: &str) -> HorizontalPodAutoscaler {
        let message = format!("the HPA was unable to compute the replica count: {message}");
        let condition = json!({
            "type": type_, "status": "False", "reason": reason, "message": message,
            "lastTransitionTime": now().to_string(),
        });
        let autoscaler = json!({
            "metadata": {"name": "bc", "namespace": "demo"},
            "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "bc"}},
            "status": {"desiredReplicas": 0, "conditions": [
                {"type": "AbleToScale", "status": "True"}, {"type": "ScalingLimited", "status": "False"}, condition,
            ]},
        });
        serde_json::from_value(autoscaler).unwrap()
    }

    #[rstest]
    #[case::no_metrics_server(
        "FailedGetContainerResourceMetric",
        "failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from resource metrics API: \
         the server could not find the requested resource (get pods.metrics.k8s.io)",
        "MetricsAPIMissing",
        "nothing in the cluster serves metrics.k8s.io; install metrics-server",
        false
    )]
    #[case::no_adapter(
        "FailedGetPodsMetric",
        "unable to get metric queue: unable to fetch metrics from custom metrics API: no custom metrics API \
         (custom.metrics.k8s.io) registered",
        "MetricsAPIMissing",
        "serves custom.metrics.k8s.io; install an adapter for it, such as prometheus-adapter",
        false
    )]
    #[case::no_external_adapter(
        "FailedGetExternalMetric",
        "unable to get external metric demo/x: the server could not find the requested resource",
        "MetricsAPIMissing",
        "install an adapter for it, such as KEDA",
        false
    )]
    #[case::metrics_server_is_away(
        "FailedGetResourceMetric",
        "failed to get cpu utilization: unable to fetch metrics from resource metrics API: the server is currently unable to \
         handle the request (get pods.metrics.k8s.io)",
        "MetricsUnavailable",
        "because metrics.k8s.io has no values: failed to get cpu utilization",
        true
    )]
    #[case::nothing_measured(
        "FailedGetContainerResourceMetric",
        "failed to get cpu utilization: did not receive metrics for targeted pods (pods might be unready)",
        "MetricsUnavailable",
        "did not receive metrics",
        true
    )]
    #[case::no_request(
        "FailedGetContainerResourceMetric",
        "failed to get cpu utilization: missing request for cpu in container serve of Pod bc-5d-x",
        "RequestMissing",
        "container serve requests no cpu, so there is nothing to measure a share of; write spec.serving.resources.requests.cpu",
        false
    )]
    #[case::no_request_of_a_sidecar(
        "FailedGetResourceMetric",
        "failed to get memory utilization: missing request for memory in container proxy of Pod bc-5d-x",
        "RequestMissing",
        "container proxy requests no memory, so there is nothing to measure a share of; write its request in podTemplate",
        false
    )]
    #[case::another(
        "AmbiguousSelector",
        "pods by selector a=b are controlled by more than one HPA (e.g. [demo/x demo/bc])",
        "AutoscalerConflict",
        "delete one of the two",
        false
    )]
    #[case::other(
        "InvalidMetricSourceType",
        "unknown metric source type",
        "AutoscalerFailing",
        "act: unknown metric",
        true
    )]
    fn reason_of_an_autoscaler_that_does_not_act(
        #[case] reason: &str,
        #[case] said: &str,
        #[case] expected: &str,
        #[case] message: &str,
        #[case] passes: bool,
    ) {
        let failure = failure(&autoscaler("ScalingActive", reason, said)).unwrap();
        assert_eq!(failure.cause.reason, expected);
        assert!(failure.cause.message.contains(message), "{}", failure.cause.message);
        assert_eq!(failure.passes, passes);
    }

    #[test]
    fn scale_that_cannot_be_written_is_a_failure_and_no_pods_are_none() {
        let forbidden = failure(&autoscaler("AbleToScale", "FailedUpdateScale", "forbidden")).unwrap();
        assert_eq!(forbidden.cause.reason, "AutoscalerFailing");
        let disabled = "scaling is disabled since the replica count of the target is zero";
        assert_eq!(failure(&autoscaler("ScalingActive", "ScalingDisabled", disabled)), None);
        assert_eq!(failure(&HorizontalPodAutoscaler::default()), None, "nobody has looked at it yet");
    }

    #[test]
    fn first_values_are_waited_for_and_a_missing_api_is_not() {
        let unmeasured =
            failure(&autoscaler("ScalingActive", "FailedGetResourceMetric", "no metrics returned")).unwrap();
        let waits = |failure: &AutoscalerFailure, pods: &[Arc<Pod>]| {
            failure.settled_at(pods).map(|at| at.duration_since(now()).as_secs())
        };
        assert_eq!(waits(&unmeasured, &[]), Some(90));
        let pod = |second: &str| {
            let mut pod = server("bc-a", DIGEST, &samples::ready());
            for condition in pod.status.as_mut().unwrap().conditions.iter_mut().flatten() {
                condition.last_transition_time =
                    Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(second.parse().unwrap()));
            }
            Arc::new(pod)
        };
        let later = now().checked_add(SignedDuration::from_secs(40)).unwrap().to_string();
        assert_eq!(waits(&unmeasured, &[pod(&later)]), Some(130), "from the first ready pod on");
        let missing =
            autoscaler("ScalingActive", "FailedGetResourceMetric", "could not find the requested resource");
        assert_eq!(waits(&failure(&missing).unwrap(), &[pod(&later)]), None);
    }
}
