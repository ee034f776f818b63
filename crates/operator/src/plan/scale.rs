//! How many pods: written by the operator, or by an autoscaler, and never by two.

use k8s_openapi::api::{apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler};
use modelwright_api::{
    Model,
    conditions::{Cause, Reason},
    contract::field_managers,
    serving::AutoscalingMode,
};

use super::{Change, DeploymentChange, drift};
use crate::observe::{Observed, autoscalers::Target};

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
///
/// Taking a number over never removes a pod by itself: a number that the spec says is written once the autoscaler is gone, and
/// where it says none, the number stays that is there.
pub(super) fn plan(model: &Model, observed: &Observed, deployment: &DeploymentChange) -> Scale {
    let found = observed.deployment.as_deref();
    let creates = found.is_none() && matches!(deployment, DeploymentChange::Apply(_));
    if found.is_none() && !creates {
        return Scale { replicas: None, wanted: wanted(model, 0) };
    }
    // A Deployment that is being made begins with one pod.
    let present = found.map_or(1, replicas);
    let wanted = wanted(model, present);
    let write = |wanted: i32| (wanted != present).then_some(wanted);
    if is_suspended(model) {
        return Scale { replicas: write(0), wanted };
    }
    // With 0 pods a HorizontalPodAutoscaler does not act, so somebody must begin; but whoever made one may also have scaled to 0.
    let ended_by_us = found.is_some_and(|found| present == 0 && is_set_by_us(found));
    let has_another = is_scaled_by_another(observed);
    let begins = creates || ended_by_us || (present == 0 && !has_another);
    match model.autoscaling().map(|autoscaling| (autoscaling.mode, autoscaling.min_replicas)) {
        Some((AutoscalingMode::Managed, least)) => {
            Scale { replicas: write(least).filter(|_| begins), wanted }
        }
        // One that scales to 0 is let be: only what the operator ended itself begins again.
        Some((AutoscalingMode::External, _)) => {
            let begins = creates || ended_by_us;
            Scale {
                replicas: write(1).filter(|_| begins),
                wanted: wanted.or((present == 0 && !begins).then_some(0)),
            }
        }
        // Until the autoscaler is gone both would write.
        None if observed.autoscaler.is_some() => Scale { replicas: None, wanted },
        // Two that write in turn would add and remove pods for ever.
        None if contest(model, observed).is_some() && !begins && wanted != Some(0) => {
            Scale { replicas: None, wanted }
        }
        // One that scales to 0 is let be here as well.
        None if has_another && !begins && wanted != Some(0) => {
            Scale { replicas: None, wanted: Some(present) }
        }
        None => Scale { replicas: wanted.and_then(write), wanted },
    }
}

/// How many pods there shall be of a Deployment that has `present` now: none of a suspended Model, else the number that the
/// spec says, else as many as there are, and one to begin with; `None` where an autoscaler decides.
fn wanted(model: &Model, present: i32) -> Option<i32> {
    let serving = model.spec.serving.as_ref();
    if wants_none(model) {
        return Some(0);
    }
    if serving.is_some_and(|serving| serving.autoscaling.is_some()) {
        return None;
    }
    let written = serving.and_then(|serving| serving.replicas);
    Some(written.unwrap_or_else(|| present.max(modelwright_api::defaults::REPLICAS)))
}

/// Whether the spec says that there shall be no pod.
pub(crate) fn wants_none(model: &Model) -> bool {
    is_suspended(model) || model.spec.serving.as_ref().and_then(|serving| serving.replicas) == Some(0)
}

/// Whether an autoscaler of somebody else has the Deployment as its target.
fn is_scaled_by_another(observed: &Observed) -> bool {
    let mut others =
        observed.other_autoscalers.iter().filter(|other| other.metadata.deletion_timestamp.is_none());
    others.any(|other| matches!(Target::of(other), Some(Target::Deployment(_))))
}

/// Whether the number of pods is the one that the operator wrote last. Its ownership ends when somebody else writes another.
fn is_set_by_us(deployment: &Deployment) -> bool {
    let entries = deployment.metadata.managed_fields.iter().flatten();
    entries.into_iter().any(|entry| entry.manager.as_deref() == Some(field_managers::REPLICAS))
}

/// What follows from more than one deciding how many pods there are, if that is so.
///
/// Kubernetes lets no HorizontalPodAutoscaler act whose pods another one counts too.
pub(crate) fn contest(model: &Model, observed: &Observed) -> Option<Cause> {
    let name = model.metadata.name.as_deref().unwrap_or_default();
    let others =
        observed.other_autoscalers.iter().filter(|other| other.metadata.deletion_timestamp.is_none());
    let (mut of_deployment, mut of_model) = (Vec::new(), Vec::new());
    for other in others {
        let found = format!("HorizontalPodAutoscaler/{}", other.metadata.name.as_deref().unwrap_or_default());
        match Target::of(other) {
            Some(Target::Deployment(_)) => of_deployment.push(found),
            Some(Target::Model(_)) => of_model.push(found),
            None => {}
        }
    }
    let count = of_deployment.len() + of_model.len();
    let all = || [of_deployment.as_slice(), of_model.as_slice()].concat().join(" and ");
    let external = "spec.serving.autoscaling: {mode: External}";
    let written = model.spec.serving.as_ref().and_then(|serving| serving.replicas);
    let message = match (model.autoscaling().map(|autoscaling| autoscaling.mode), written) {
        _ if count == 0 => return None,
        (Some(AutoscalingMode::Managed), _) => format!(
            "{} and HorizontalPodAutoscaler/{name} of this Model scale the same pods, so Kubernetes lets neither act; delete {0}, \
             or write {external} to leave scaling to it",
            all()
        ),
        (Some(AutoscalingMode::External), _) if !of_model.is_empty() => format!(
            "{} has the Model as its target, whose number of pods is not to be written in mode External; make Deployment/{name} \
             its target",
            of_model.join(" and ")
        ),
        _ if count > 1 => {
            format!("{} scale the same pods, so Kubernetes lets none act; delete all but one", all())
        }
        (None, Some(replicas)) if !of_deployment.is_empty() => format!(
            "{} scales Deployment/{name}, for which spec.serving.replicas says {replicas}; the number is left as it is until one \
             of the two goes: write {external} in place of replicas, or delete {0}",
            all()
        ),
        _ => return None,
    };
    Some(Cause::new(Reason::AutoscalerConflict, message))
}

/// Whether the Model shall rest.
pub(crate) fn is_suspended(model: &Model) -> bool {
    model.spec.suspend == Some(true)
}

/// How many pods a Deployment asks for.
pub(crate) fn replicas(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}
