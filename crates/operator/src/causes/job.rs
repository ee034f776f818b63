//! How far a Job is.

use jiff::Timestamp;
use k8s_openapi::api::{
    batch::v1::{Job, JobCondition},
    core::v1::{ContainerStateTerminated, Pod},
};
use modelwright_api::{
    Outcome,
    conditions::{Cause, Reason},
    contract::containers,
};

use super::{JobState, pod, text, worst};

/// The labels by which a Job's controller marks its pods, the newer first.
const NAME_LABELS: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];

/// The containers of Jobs whose words count; each Job has one of them.
const COMMANDS: [&str; 3] = [containers::RESOLVE, containers::DATA, containers::DELETE];

/// What came of it: its pod's own words first, since they are there before the Job's controller has seen them.
pub(super) fn state<'a>(job: &Job, pods: impl IntoIterator<Item = &'a Pod>, now: Timestamp) -> JobState {
    let mut pods: Vec<&Pod> = pods.into_iter().filter(|pod| controls(job, pod)).collect();
    pods.sort_by_key(|pod| (pod.metadata.creation_timestamp.clone(), pod::name(pod)));
    if let Some(outcome) = pods.iter().find_map(|pod| success(pod)) {
        return JobState::Succeeded(Box::new(outcome));
    }
    if let Some(failed) = pods.iter().rev().find(|pod| command(pod).is_some() || pod::has_ended(pod)) {
        return JobState::Failed(failure(failed, now));
    }
    let live: Vec<&Pod> =
        pods.iter().copied().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect();
    let suffers = worst(&live, now);
    if let Some(ended) = finished(job) {
        // What kept the pod from starting is the reason why time ran out.
        return JobState::Failed(suffers.map_or_else(|| without_words(job, ended), |pod| pod.cause));
    }
    let active = job.status.as_ref().and_then(|status| status.active).unwrap_or_default();
    if pods.is_empty() && active == 0 { JobState::WithoutPod } else { JobState::Active(suffers) }
}

/// Whether the pod is the Job's.
pub(super) fn controls(job: &Job, pod: &Pod) -> bool {
    let owner =
        pod.metadata.owner_references.iter().flatten().find(|reference| reference.controller == Some(true));
    if let (Some(owner), Some(uid)) = (owner, &job.metadata.uid) {
        return owner.uid == *uid;
    }
    let labels = pod.metadata.labels.as_ref();
    let name = NAME_LABELS.iter().find_map(|label| labels?.get(*label));
    name.is_some() && name == job.metadata.name.as_ref()
}

/// How the command ended, if it did. What a user's container beside it does is of no account.
fn command(pod: &Pod) -> Option<&ContainerStateTerminated> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let status = statuses.iter().find(|status| COMMANDS.contains(&status.name.as_str()))?;
    status.state.as_ref()?.terminated.as_ref()
}

fn success(pod: &Pod) -> Option<Outcome> {
    let terminated = command(pod).filter(|terminated| terminated.exit_code == 0)?;
    Outcome::read(terminated.message.as_deref()?).filter(|outcome| outcome.ok)
}

fn failure(pod: &Pod, now: Timestamp) -> Cause {
    if let Some(found) = pod::cause(pod, now) {
        return found.placed(pod::name(pod)).cause;
    }
    // Exit code 0, and nothing that can be read: the image is not ours, or not of our version.
    Cause::new(
        Reason::ContainerFailed,
        format!(
            "pod {name}, container {container}: ended with exit code 0 and left no outcome; check that the image is \
             Modelwright's, and see: kubectl logs {name} -c {container}",
            name = pod::name(pod),
            container = command_name(pod)
        ),
    )
}

/// The container whose words count.
fn command_name(pod: &Pod) -> &str {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let mut names = statuses.into_iter().flatten().map(|status| status.name.as_str());
    names.find(|name| COMMANDS.contains(name)).unwrap_or(containers::RESOLVE)
}

/// The condition that says that it is ending, or ended: the former is there before its pods are gone.
pub(super) fn ending(job: &Job) -> Option<&JobCondition> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| {
        condition.status == "True" && matches!(condition.type_.as_str(), "FailureTarget" | "Failed")
    })
}

/// The condition that says that it ended.
pub(crate) fn finished(job: &Job) -> Option<&JobCondition> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| {
        condition.status == "True" && matches!(condition.type_.as_str(), "Complete" | "Failed")
    })
}

/// It ended, and no pod is left that says how.
pub(super) fn without_words(job: &Job, ended: &JobCondition) -> Cause {
    let name = job.metadata.name.as_deref().unwrap_or_default();
    let said = text::one_line(ended.message.as_deref().unwrap_or_default(), 300);
    let (reason, message) = match (ended.type_.as_str(), ended.reason.as_deref()) {
        ("Failed", Some("DeadlineExceeded")) => {
            let seconds = job.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
            let within = seconds.map_or_else(String::new, |seconds| format!(" within {seconds} s"));
            (Reason::JobDeadlineExceeded, format!("Job {name}: did not end{within}; it is tried again"))
        }
        ("Failed", _) if !said.is_empty() => (
            Reason::JobPodLost,
            format!("Job {name}: its pod was gone before it was read ({said}); it is tried again"),
        ),
        _ => (
            Reason::JobPodLost,
            format!("Job {name}: its pod was gone before it was read; it is tried again"),
        ),
    };
    Cause::new(reason, message)
}
