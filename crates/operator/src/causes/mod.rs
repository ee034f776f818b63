//! What pods and Jobs suffer from, as one cause each: the root, not the symptom.
//!
//! Of several pods the worst counts, and of several containers of one pod too; see [`Severity`] for the order. Among equals
//! the pod whose name comes first and the container that starts first count, so equal clusters give equal causes.
//!
//! Nothing that a pod says is trusted: words are checked, texts become one bounded line.

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{Deployment, DeploymentCondition},
    batch::v1::Job,
    core::v1::Pod,
};
use modelwright_api::{
    Outcome,
    conditions::{Cause, Reason},
};

pub mod autoscaler;
mod container;
mod creation;
mod job;
mod pod;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
pub mod text;
mod training;

pub(crate) use container::is_training;
pub use creation::refused_creation;
pub(crate) use job::finished;
pub use training::TrainingJob;

/// What a pod suffers from.
#[derive(Clone, Debug, PartialEq)]
pub struct PodCause {
    /// Why it is not ready.
    pub cause: Cause,
    /// The pod's name.
    pub pod: String,
    /// The container it is about, if it is about one.
    pub container: Option<String>,
    /// Whether the pod will never be ready, however long one waits: a command in it said that the user must act, or it was
    /// killed for memory again and again.
    pub hopeless: bool,
}

/// How far a Job is.
#[derive(Clone, Debug, PartialEq)]
pub enum JobState {
    /// It has no pod yet.
    WithoutPod,
    /// Its pod has not ended; what it suffers from, if it cannot start.
    Active(Option<PodCause>),
    /// Its command did what it was asked, and said this.
    Succeeded(Box<Outcome>),
    /// It failed.
    Failed(Cause),
}

impl JobState {
    /// Whether it is or will be at work.
    pub fn is_at_work(&self) -> bool {
        matches!(self, Self::Active(_) | Self::WithoutPod)
    }
}

/// How bad a cause is: the later variant is the worse. A cause that more waiting cannot cure comes before one that it can, and
/// one nearer to the model before one nearer to the machine.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Severity {
    /// It runs, and is not ready.
    NotReady,
    /// The node gave it up.
    Evicted,
    /// No node takes it.
    Unscheduled,
    /// A node took it and cannot start a container.
    CannotStart,
    /// A container ended.
    Ended,
    /// A container ended and will do so again until the user acts.
    Hopeless,
}

/// A cause with its place.
#[derive(Clone, Debug)]
struct Found {
    severity: Severity,
    cause: Cause,
    container: Option<String>,
}

impl Found {
    fn new(severity: Severity, reason: Reason, message: impl Into<String>) -> Self {
        Self { severity, cause: Cause::new(reason, message), container: None }
    }

    /// As what is told to others: the message says where, on one bounded line.
    fn placed(mut self, pod: &str) -> PodCause {
        let place = match &self.container {
            Some(container) => format!("pod {pod}, container {container}: "),
            None => format!("pod {pod}: "),
        };
        self.cause.message = text::one_line(&(place + &self.cause.message), text::MAX_MESSAGE_BYTES);
        PodCause {
            cause: self.cause,
            pod: pod.to_owned(),
            container: self.container,
            hopeless: self.severity == Severity::Hopeless,
        }
    }
}

/// The pod that is furthest from being ready and what it suffers from; `None` if all are ready or simply young.
///
/// Pods that are being deleted do not count, and pods that ended for good count only where no other is left: they were
/// replaced. But where those that replaced them are not ready yet and suffer from nothing, a pod that its kubelet gave up a
/// short while ago tells what may become of them; and where there is nothing else, one that shall end and cannot.
pub fn worst_pod<'a>(pods: impl IntoIterator<Item = &'a Pod>, now: Timestamp) -> Option<PodCause> {
    let (going, there): (Vec<&Pod>, Vec<&Pod>) =
        pods.into_iter().partition(|pod| pod.metadata.deletion_timestamp.is_some());
    let (ended, live): (Vec<_>, Vec<_>) = there.into_iter().partition(|pod| pod::has_ended(pod));
    let found = worst(if live.is_empty() { &ended } else { &live }, now);
    let evicted = || {
        let evicted: Vec<&Pod> =
            ended.iter().copied().filter(|pod| pod::was_just_evicted(pod, now)).collect();
        let starting = live.iter().any(|pod| !is_ready(pod));
        worst(&evicted, now).filter(|found| starting && !found.hopeless)
    };
    let held_up = || {
        let first = going.iter().filter_map(|pod| Some((pod::name(pod), pod::end_held_up(pod)?)));
        first.min_by_key(|(name, _)| *name).map(|(name, found)| found.placed(name))
    };
    found.or_else(evicted).or_else(held_up)
}

/// Why pods that answer will not do so for long: one of those given was removed a short while ago for what it wrote. They
/// should be of one template, since another may have other limits.
pub fn relapse<'a>(pods: impl IntoIterator<Item = &'a Pod>, now: Timestamp) -> Option<PodCause> {
    let just = pods.into_iter().filter(|pod| pod::was_just_evicted(pod, now));
    let first =
        just.filter_map(|pod| Some((pod::name(pod), pod::overused(pod)?))).min_by_key(|(name, _)| *name);
    first.map(|(name, found)| found.placed(name))
}

/// When the first of the pods that were removed a short while ago tells nothing more of those that replaced them.
pub fn forgotten_at<'a>(pods: impl IntoIterator<Item = &'a Pod>, now: Timestamp) -> Option<Timestamp> {
    pods.into_iter().filter_map(pod::tells_until).filter(|until| *until > now).min()
}

/// When the first of the pods that have no cause yet will have one, if nothing changes: it takes too long to start, or to answer. Its
/// node says nothing then.
pub fn slow_at<'a>(pods: impl IntoIterator<Item = &'a Pod>, now: Timestamp) -> Option<Timestamp> {
    pods.into_iter().filter_map(pod::slow_at).filter(|at| *at > now).min()
}

/// What one pod suffers from.
pub fn pod_cause(pod: &Pod, now: Timestamp) -> Option<PodCause> {
    pod::cause(pod, now).map(|found| found.placed(pod::name(pod)))
}

/// How far a Job is, from itself and its pods (those that it controls).
pub fn job_state<'a>(job: &Job, pods: impl IntoIterator<Item = &'a Pod>, now: Timestamp) -> JobState {
    job::state(job, pods, now)
}

/// How far a Job is that trains, from itself and its pods.
pub fn training_job<'a>(job: &Job, pods: impl IntoIterator<Item = &'a Pod>, now: Timestamp) -> TrainingJob {
    training::state(job, pods, now)
}

/// The pods that a Job controls.
pub fn pods_of_job<'a>(job: &Job, pods: impl IntoIterator<Item = &'a Pod>) -> Vec<&'a Pod> {
    pods.into_iter().filter(|pod| job::controls(job, pod)).collect()
}

/// When the last container of a Job's pods ended, as far as their nodes say.
pub(crate) fn end_of_pods<'a>(job: &Job, pods: impl IntoIterator<Item = &'a Pod>) -> Option<Timestamp> {
    pods_of_job(job, pods).into_iter().filter_map(container::last_end).max()
}

/// Why the cluster refuses to make a Deployment's pods, if it does: its quota or its admission.
pub fn denial(deployment: &Deployment) -> Option<Cause> {
    let said = replica_failure(deployment)?.message.as_deref().unwrap_or("its pods cannot be made");
    let name = deployment.metadata.name.as_deref().unwrap_or_default();
    let message = text::one_line(&format!("Deployment {name}: {said}"), text::MAX_MESSAGE_BYTES);
    Some(Cause::new(refused_creation(said), message))
}

/// What a Deployment's own controller says if no pod can be made: a quota, or admission.
pub(crate) fn replica_failure(deployment: &Deployment) -> Option<&DeploymentCondition> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")
}

/// Whether a pod answers requests now: ready, and not about to end.
pub fn is_ready(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && !pod::has_ended(pod)
        && pod::condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

/// Whether a pod ended for good; its owner replaces it.
pub(crate) fn has_ended(pod: &Pod) -> bool {
    pod::has_ended(pod)
}

/// When a pod became what a condition of it says.
pub fn condition_time(pod: &Pod, condition: &str) -> Option<Timestamp> {
    let condition = pod::condition(pod, condition).filter(|condition| condition.status == "True")?;
    condition.last_transition_time.as_ref().map(|time| time.0)
}

fn worst(pods: &[&Pod], now: Timestamp) -> Option<PodCause> {
    let mut found: Vec<(&str, Found)> =
        pods.iter().filter_map(|pod| Some((pod::name(pod), pod::cause(pod, now)?))).collect();
    found.sort_by(|(a, left), (b, right)| right.severity.cmp(&left.severity).then_with(|| a.cmp(b)));
    found.into_iter().next().map(|(name, found)| found.placed(name))
}
