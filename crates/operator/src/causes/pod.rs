//! What one pod suffers from.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use modelwright_api::{
    conditions::{Class, Reason},
    contract::paths,
};

use super::{Found, Severity, container, text};

/// How long a pod may be without news before that is a cause.
pub(super) const YOUNG: SignedDuration = SignedDuration::from_secs(30);
/// How long a node may take to mount volumes and make containers before that is a cause.
const CREATION: SignedDuration = SignedDuration::from_mins(2);
/// How long a pod that its kubelet gave up tells something of those that replaced it.
const RECENT: SignedDuration = SignedDuration::from_mins(5);
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

/// Whether it ended well.
pub(super) fn has_succeeded(pod: &Pod) -> bool {
    phase(pod) == "Succeeded"
}

/// Until when a pod that its kubelet gave up tells something of those that replaced it.
pub(super) fn tells_until(pod: &Pod) -> Option<Timestamp> {
    // Of a pod that wrote more than it may, a kubelet says only the reason.
    let gave_up = || pod.status.as_ref().is_some_and(|status| status.reason.as_deref() == Some("Evicted"));
    let ended = since(pod, "DisruptionTarget", "True");
    let ended = ended.or_else(|| since(pod, "Ready", "False").filter(|_| gave_up()));
    ended.filter(|_| has_ended(pod)).map(|since| since + RECENT)
}

/// Whether its kubelet gave it up a short while ago: what replaces it may come to the same end.
pub(super) fn was_just_evicted(pod: &Pod, now: Timestamp) -> bool {
    tells_until(pod).is_some_and(|until| now < until)
}

/// Why it was given up, if it was for what it wrote itself: what replaces it does the same, even if it answers for a while.
pub(super) fn overused(pod: &Pod) -> Option<Found> {
    let text = pod.status.as_ref()?.message.as_deref()?;
    evicted(pod).filter(|_| limit_of_storage(pod, text).is_some())
}

/// Where a pod runs.
pub(super) fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("its node")
}

/// What to do about a disk on which nothing more can be written: that of the node, unless the model's files are in memory.
pub(super) fn of_full_disk(pod: &Pod) -> String {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let of_model = volumes.into_iter().find(|volume| volume.name == paths::MODELS_VOLUME);
    let folder = of_model.and_then(|volume| volume.empty_dir.as_ref());
    let in_memory = folder.filter(|folder| folder.medium.as_deref() == Some("Memory"));
    match in_memory.and_then(|folder| folder.size_limit.as_ref()) {
        Some(size) => format!(
            "; volume {} is in memory and holds {}: raise its emptyDir.sizeLimit in spec.serving.podTemplate",
            paths::MODELS_VOLUME,
            size.0
        ),
        None => format!(
            "; the disk of {} is full: free space there, or let the pod go to another node",
            node(pod)
        ),
    }
}

/// Whether its node is not heard of any more: then not the kubelet but the control plane says that the pod is not ready, and
/// gives no reason, while the last that the kubelet said is that its containers are.
pub(super) fn is_on_a_lost_node(pod: &Pod) -> bool {
    let without_reason = |condition: &PodCondition| {
        condition.status == "False" && condition.reason.as_deref().unwrap_or_default().is_empty()
    };
    phase(pod) == "Running"
        && condition(pod, "Ready").is_some_and(without_reason)
        && condition(pod, "ContainersReady").is_some_and(|condition| condition.status == "True")
}

/// What holds up the end of a pod that shall go; `None` if nothing does.
pub(super) fn end_held_up(pod: &Pod) -> Option<Found> {
    (pod.metadata.deletion_timestamp.is_some() && is_on_a_lost_node(pod)).then(|| {
        let node = node(pod);
        Found::new(
            Severity::NotReady,
            Reason::NotReady,
            format!(
                "shall end, which node {node} does not confirm; it goes when the node is back, or is deleted: kubectl get node \
                 {node}"
            ),
        )
    })
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
            // Its kubelet refused it, for want of room for instance (`OutOfcpu`): others came first.
            || (phase(pod) == "Failed" && container::none_started(pod))
    });
    if disruption.is_none() && reason.is_none() {
        return None;
    }
    let why = disruption.and_then(|condition| condition.reason.as_deref()).or(reason).unwrap_or("Evicted");
    let text = disruption
        .and_then(|condition| condition.message.as_deref())
        .or(status.message.as_deref())
        .unwrap_or("the node gave no reason");
    let (node, hint) = (node(pod), short_of_storage(pod, text));
    Some(Found::new(
        Severity::Evicted,
        Reason::Evicted,
        format!(
            "removed from {node} ({why}): {}; a replacement starts by itself{hint}",
            text::one_line(text, 500)
        ),
    ))
}

/// What to do where it was the pod that used too much of a disk, or a disk that had too little: then the replacement may come to
/// the same end.
fn short_of_storage(pod: &Pod, said: &str) -> String {
    if let Some(limit) = limit_of_storage(pod, said) {
        return format!(
            ", and ends like this one unless you raise {limit} above what the files of the model take"
        );
    }
    if said.contains("ephemeral-storage") {
        let resources = resources(pod);
        return format!(
            "; free space on the node, and write what the files of the model take as \
             {resources}.requests.ephemeral-storage, so that pods go where there is room"
        );
    }
    String::new()
}

/// The limit that a pod exceeded by what it wrote, by the words of the kubelet's eviction manager.
fn limit_of_storage(pod: &Pod, said: &str) -> Option<String> {
    if said.contains("EmptyDir volume") {
        return Some("the emptyDir.sizeLimit of that volume in podTemplate".to_owned());
    }
    let of_pod = said.contains("ephemeral local storage usage exceeds");
    let of_container = said.contains("exceeded its local ephemeral storage limit");
    (of_pod || of_container).then(|| format!("{}.limits.ephemeral-storage", resources(pod)))
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
            format!("{short}; free or add what is named, or request less in {}", resources(pod)),
        ),
    }
}

/// Where a user sets what a pod requests.
fn resources(pod: &Pod) -> &'static str {
    if container::is_training(pod) { "spec.training.resources" } else { "spec.serving.resources" }
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

/// Since when one of its conditions is so.
fn since(pod: &Pod, type_: &str, status: &str) -> Option<Timestamp> {
    let condition = condition(pod, type_).filter(|condition| condition.status == status)?;
    condition.last_transition_time.as_ref().map(|time| time.0)
}

/// When it will be [`slow`], if nothing changes.
pub(super) fn slow_at(pod: &Pod) -> Option<Timestamp> {
    if has_ended(pod) || pod.metadata.deletion_timestamp.is_some() || since(pod, "Ready", "True").is_some() {
        return None;
    }
    let scheduled = since(pod, "PodScheduled", "True")?;
    let due = if container::none_started(pod) {
        scheduled + CREATION
    } else if container::started(pod) {
        since(pod, "Ready", "False").unwrap_or(scheduled) + YOUNG
    } else {
        return None;
    };
    Some(due + SignedDuration::from_secs(1))
}

/// A node took it and does not get on with it, or it runs and is not ready.
fn slow(pod: &Pod, now: Timestamp) -> Option<Found> {
    let scheduled = since(pod, "PodScheduled", "True")?;
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
    let unready = since(pod, "Ready", "False").unwrap_or(scheduled);
    if is_on_a_lost_node(pod) {
        let node = node(pod);
        return Some(Found::new(
            Severity::NotReady,
            Reason::NotReady,
            format!(
                "node {node} is not heard of since {unready}; if it does not come back, the pod is replaced when the node is given \
                 up, by default after 5 minutes; see: kubectl describe node {node}"
            ),
        ));
    }
    if !container::started(pod) || now.duration_since(unready) <= YOUNG {
        return None;
    }
    Some(Found::new(
        Severity::NotReady,
        Reason::NotReady,
        format!(
            "runs and does not answer its readiness probe since {unready}; see: kubectl logs {name} -c {}",
            container::unready(pod)
        ),
    ))
}
