//! How many pods: written by the operator, or by an autoscaler, and never by two.

use k8s_openapi::api::{apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler};
use modelwright_api::{Model, serving::AutoscalingMode};

use super::{Change, DeploymentChange, drift};
use crate::observe::Observed;

/// What is to be done about the number of pods.
pub(super) struct Scale {
    /// The number to write, if it is not there.
    pub(super) replicas: Option<i32>,
    /// The number that there shall be; `None` where an autoscaler decides.
    pub(super) wanted: Option<i32>,
}

/// What is to be done with the autoscaler.
pub(super) fn autoscaler(
    desired: Option<HorizontalPodAutoscaler>,
    observed: &Observed,
) -> Change<HorizontalPodAutoscaler> {
    match (desired, &observed.autoscaler) {
        (Some(desired), Some(present)) if drift::is_current(&desired, &**present) => Change::Keep,
        // Before its target there is nothing to scale, and it would only complain.
        (Some(_), None) if observed.deployment.is_none() => Change::Keep,
        (Some(desired), _) => Change::Apply(Box::new(desired)),
        (None, Some(present)) if present.metadata.deletion_timestamp.is_none() => Change::Delete,
        (None, _) => Change::Keep,
    }
}

/// How many pods there shall be, and who says so.
pub(super) fn plan(model: &Model, observed: &Observed, deployment: &DeploymentChange) -> Scale {
    let wanted = wanted(model);
    let present = observed.deployment.as_deref().map(replicas);
    let creates = present.is_none() && matches!(deployment, DeploymentChange::Apply(_));
    if present.is_none() && !creates {
        return Scale { replicas: None, wanted };
    }
    // A Deployment that is being made begins with one pod.
    let present = present.unwrap_or(1);
    let write = |wanted: i32| (wanted != present).then_some(wanted);
    match model.autoscaling() {
        _ if is_suspended(model) => Scale { replicas: write(0), wanted },
        Some(autoscaling) => {
            let least = match autoscaling.mode {
                AutoscalingMode::Managed => autoscaling.min_replicas,
                AutoscalingMode::External => 1,
            };
            // The autoscaler decides from the first pod on. With 0 pods it does not act, so somebody must begin.
            let begins = creates || present == 0;
            Scale { replicas: write(least).filter(|_| begins), wanted }
        }
        // Until the autoscaler is gone both would write.
        None if observed.autoscaler.is_some() => Scale { replicas: None, wanted },
        None => Scale { replicas: wanted.and_then(write), wanted },
    }
}

/// How many pods there shall be: none of a suspended Model, else the number that the spec says, or its default; `None` where an
/// autoscaler decides.
pub(super) fn wanted(model: &Model) -> Option<i32> {
    if is_suspended(model) {
        return Some(0);
    }
    let serving = model.spec.serving.as_ref();
    if serving.is_some_and(|serving| serving.autoscaling.is_some()) {
        return None;
    }
    Some(serving.and_then(|serving| serving.replicas).unwrap_or(modelwright_api::defaults::REPLICAS))
}

fn is_suspended(model: &Model) -> bool {
    model.spec.suspend == Some(true)
}

/// How many pods a Deployment asks for.
pub(super) fn replicas(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}
