//! What one pod suffers from.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use modelwright_api::conditions::{Class, Reason};

use super::{Found, Severity, container, text};

/// How long a pod may be without news before that is a cause.
pub(super) const YOUNG: SignedDuration = SignedDuration::from_secs(30);
/// How long a node may take to mount volumes and make containers before that is a cause.
const CREATION: SignedDuration = SignedDuration::from_mins(2);
/// The longest text of a scheduler that is passed on.
const SCHEDULER_TEXT: usize = 400;

pub(super) fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

pub(super) fn condition<'a>(pod: &'a Pod, type_: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == type_)
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

/// Whether it ended for good; its owner replaces it.
pub(super) fn has_ended(pod: &Pod) -> bool {
    matches!(phase(pod), "Failed" | "Succeeded")
}

/// What it suffers from; `None` if it is ready, ended well, or is simply young.
pub(super) fn cause(pod: &Pod, now: Timestamp) -> Option<Found> {
    if phase(pod) == "Succeeded" || condition(pod, "Ready").is_some_and(|ready| ready.status == "True") {
        return None;
    }
    let from_containers = container::worst(pod, now);
    let given_up = evicted(pod);
    // A command that said why it ended knows more than the node; a node that killed it knows more than the command's silence.
    match (from_containers, given_up) {
        (Some(found), Some(_)) if found.cause.class == Class::User => Some(found),
        (_, Some(given_up)) => Some(given_up),
        (Some(found), None) => Some(found),
        (None, None) => unscheduled(pod).or_else(|| slow(pod, now)),
    }
}

/// A node gave it up, or was given up itself.
fn evicted(pod: &Pod) -> Option<Found> {
    let status = pod.status.as_ref()?;
    let disruption = condition(pod, "DisruptionTarget").filter(|condition| condition.status == "True");
    let reason = status.reason.as_deref().filter(|reason| {
        matches!(*reason, "Evicted" | "NodeLost" | "Preempting" | "Preempted" | "NodeShutdown" | "Terminated")
            || (phase(pod) == "Failed" && reason.starts_with("Unexpected"))
    });
    if disruption.is_none() && reason.is_none() {
        return None;
    }
    let why = disruption.and_then(|condition| condition.reason.as_deref()).or(reason).unwrap_or("Evicted");
    let text = disruption
        .and_then(|condition| condition.message.as_deref())
        .or(status.message.as_deref())
        .unwrap_or("the node gave no reason");
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("its node");
    Some(Found::new(
        Severity::Evicted,
        Reason::Evicted,
        format!("removed from {node} ({why}): {}; a replacement starts by itself", text::one_line(text, 500)),
    ))
}

/// No node takes it.
fn unscheduled(pod: &Pod) -> Option<Found> {
    let condition = condition(pod, "PodScheduled").filter(|condition| condition.status == "False")?;
    let text = condition.message.as_deref().unwrap_or("the scheduler gave no reason");
    let found = |reason, message: String| Some(Found::new(Severity::Unscheduled, reason, message));
    if condition.reason.as_deref() == Some("SchedulingGated") {
        return found(
            Reason::Unschedulable,
            "held back by a scheduling gate, which something in the cluster must remove".to_owned(),
        );
    }
    if condition.reason.as_deref() != Some("Unschedulable") {
        return None;
    }
    let short = scheduler_text(text);
    if text.contains("persistentvolumeclaim")
        || text.contains("PersistentVolumeClaim")
        || text.contains("persistent volume")
    {
        return found(Reason::VolumeUnavailable, format!("{short}; see the claims with: kubectl get pvc"));
    }
    match accelerator(text) {
        Some(resource) => {
            found(Reason::WaitingForAccelerator, format!("no node has enough {resource} free: {short}"))
        }
        None => found(
            Reason::Unschedulable,
            format!("{short}; free or add what is named, or request less in spec.serving.resources"),
        ),
    }
}

/// What a scheduler says without what it tried beside.
fn scheduler_text(text: &str) -> String {
    let text = text.split_once(" preemption:").map_or(text, |(before, _)| before);
    text::one_line(text.trim_end_matches(['.', ' ']), SCHEDULER_TEXT)
}

/// The device that is short: names of devices have a domain, `nvidia.com/gpu`, and those of cpu and memory have none.
fn accelerator(text: &str) -> Option<String> {
    let device = text.split("Insufficient ").skip(1).find_map(|rest| {
        let word: &str = rest.split([' ', ',']).next()?;
        let word = word.trim_end_matches('.');
        word.contains('/').then(|| text::one_line(word, 100))
    });
    device
        .or_else(|| text.contains("cannot allocate all claims").then(|| "of the claimed devices".to_owned()))
}

/// A node took it and does not get on with it, or it runs and is not ready.
fn slow(pod: &Pod, now: Timestamp) -> Option<Found> {
    let since = |type_: &str, status: &str| {
        let condition = condition(pod, type_).filter(|condition| condition.status == status)?;
        condition.last_transition_time.as_ref().map(|time| time.0)
    };
    let scheduled = since("PodScheduled", "True")?;
    let name = name(pod);
    if container::none_started(pod) {
        // A kubelet says only in Events which volume it waits for.
        return (now.duration_since(scheduled) > CREATION).then(|| {
            let mut found = Found::new(
                Severity::CannotStart,
                Reason::NotReady,
                format!("no container started since {scheduled}: a volume, a Secret or the pod's network is missing; see: kubectl describe pod {name}"),
            );
            found.container = None;
            found
        });
    }
    let unready = since("Ready", "False").unwrap_or(scheduled);
    if !container::started(pod) || now.duration_since(unready) <= YOUNG {
        return None;
    }
    Some(Found::new(
        Severity::NotReady,
        Reason::NotReady,
        format!(
            "runs and does not answer its readiness probe since {unready}; see: kubectl logs {name} -c serve"
        ),
    ))
}
