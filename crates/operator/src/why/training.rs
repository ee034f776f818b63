//! The part of the chain that is about a training: from the data to the container that failed, or to the gate.

use std::fmt::Write as _;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use modelwright_api::{
    Model,
    conditions::{Cause, Class, Reason},
    contract::names::revision_id,
    status::{TrainingPhase, TrainingStatus},
    training::Training,
};

use super::{Link, Mark, mark, next, of_pod};
use crate::{
    causes::{self, PodCause, text},
    observe::Observed,
};

/// The training, its newest Job, and what that suffers from.
pub(super) fn of_training(model: &Model, observed: &Observed, now: Timestamp) -> Vec<Link> {
    let Some(spec) = &model.spec.training else { return Vec::new() };
    let status = model.status.as_ref().and_then(|status| status.training.clone()).unwrap_or_default();
    let job = newest_job(model, observed, &status);
    let found = job.and_then(|job| suffers(job, observed, now));
    let what = format!("training from {}", text::one_line(&spec.data.source.uri, 200));
    let link = |mark, said: &str| Link::new(1, mark, what.clone(), said);
    match status.phase {
        None => {
            let mut first = link(Mark::Working, "has not begun yet");
            if let Some(said) =
                status.message.as_deref().filter(|_| status.reason.as_deref() != Some("Training"))
            {
                first = link(Mark::Working, said);
            }
            vec![first]
        }
        Some(TrainingPhase::Succeeded) => vec![succeeded(model, &status, link)],
        Some(TrainingPhase::Refused) => refused(model, &status, link(Mark::Bad, &gave(&status))),
        Some(TrainingPhase::Failed) => {
            let cause = cause(&status, found.as_ref());
            let attempt = status.attempt.unwrap_or(1);
            let again = status.next_at.as_deref();
            let again = again.map_or_else(String::new, |at| format!("; the next one is due at {at}"));
            let mut chain = vec![link(mark(&cause), &format!("attempt {attempt} failed{again}"))];
            chain.extend(of_job(model, observed, &status, "failed", &cause, found));
            chain
        }
        Some(phase @ (TrainingPhase::Queued | TrainingPhase::Starting)) => {
            waiting(model, spec, observed, &status, phase, found, &link)
        }
        Some(_) => {
            let mut chain = vec![link(Mark::Working, &at_work(&status))];
            let job = status.job.as_deref().unwrap_or_default();
            chain.push(Link::new(2, Mark::Working, format!("Job {job}"), "its pod is at work"));
            chain
        }
    }
}

/// The Job that the status names, else the one that was made last.
fn newest_job<'a>(model: &Model, observed: &'a Observed, status: &TrainingStatus) -> Option<&'a Job> {
    let (_, name) = next::place(model);
    let prefix = format!("{name}-train-");
    let ours = || {
        let jobs = observed.jobs.iter().map(AsRef::as_ref);
        jobs.filter(|job| job.metadata.name.as_deref().is_some_and(|name| name.starts_with(&prefix)))
    };
    let named = ours().find(|job| job.metadata.name == status.job);
    named.or_else(|| ours().max_by_key(|job| (&job.metadata.creation_timestamp, &job.metadata.name)))
}

/// The worst of its pods, those that ended among them.
fn suffers(job: &Job, observed: &Observed, now: Timestamp) -> Option<PodCause> {
    let pods = causes::pods_of_job(job, observed.pods.iter().map(AsRef::as_ref));
    causes::worst_pod(pods, now)
}

/// Why it failed: what the operator found, unless the pod is there to tell it itself.
fn cause(status: &TrainingStatus, found: Option<&PodCause>) -> Cause {
    let reason = status.reason.as_deref().unwrap_or(Reason::ContainerFailed.as_str());
    // The operator decided more than the pod knows, such as that no further attempt is made.
    let decided = [Reason::RetriesExhausted, Reason::TrainingDeadlineExceeded, Reason::TrainingStalled]
        .iter()
        .any(|decided| decided.as_str() == reason);
    if let Some(found) = found.filter(|_| !decided) {
        return found.cause.clone();
    }
    let message = status.message.as_deref().unwrap_or_default();
    match Reason::ALL.iter().copied().find(|known| known.as_str() == reason) {
        Some(known) => Cause::new(known, message),
        // What is tried again waits for somebody; what is not needs the user.
        None if status.next_at.is_some() => Cause::reported(reason, message, Class::Wait),
        None => Cause::reported(reason, message, Class::User),
    }
}

/// A Job with what it suffers from: its pod and container while the pod is there, else the words that are left.
fn of_job(
    model: &Model,
    observed: &Observed,
    status: &TrainingStatus,
    said: &str,
    cause: &Cause,
    found: Option<PodCause>,
) -> Vec<Link> {
    let job = status.job.as_deref().unwrap_or("of the training");
    let decided = found.as_ref().is_some_and(|found| found.cause != *cause);
    let said = if decided { format!("{}: {}", cause.reason, cause.message) } else { said.to_owned() };
    let mut chain = vec![Link::new(2, mark(cause), format!("Job {job}"), &said)];
    if let Some(found) = found {
        let mut of_pod = of_pod(model, 3, &found, observed);
        if decided && let Some(last) = of_pod.last_mut() {
            last.next = next::of_cause(
                model,
                cause,
                Some(&found.pod),
                found.container.as_deref().map(|container| (container, false)),
            );
        }
        chain.extend(of_pod);
    }
    if chain.len() == 1 {
        let mut link = Link::new(3, mark(cause), &*cause.reason, &cause.message);
        link.next = next::of_training_cause(model, cause);
        chain.push(link);
    }
    chain
}

/// It waits for its queue, or for a node and images.
fn waiting(
    model: &Model,
    spec: &Training,
    observed: &Observed,
    status: &TrainingStatus,
    phase: TrainingPhase,
    found: Option<PodCause>,
    link: &dyn Fn(Mark, &str) -> Link,
) -> Vec<Link> {
    if phase == TrainingPhase::Queued {
        let queue = spec.queue.as_deref().unwrap_or("?");
        let mut first = link(Mark::Working, &format!("waits until the queue {queue} admits it"));
        first.next = next::of_training_cause(model, &Cause::new(Reason::Queued, ""));
        return vec![first];
    }
    let expected = status.reason.as_deref().is_none_or(|reason| reason == Reason::Training.as_str());
    if expected && found.is_none() {
        let mut chain = vec![link(Mark::Working, &at_work(status))];
        let job = status.job.as_deref().unwrap_or_default();
        chain.push(Link::new(2, Mark::Working, format!("Job {job}"), "its pod is about to run"));
        return chain;
    }
    let cause = cause(status, found.as_ref());
    let mut chain = vec![link(mark(&cause), "does not start")];
    chain.extend(of_job(model, observed, status, "its pod does not run", &cause, found));
    chain
}

fn succeeded(model: &Model, status: &TrainingStatus, link: impl Fn(Mark, &str) -> Link) -> Link {
    if status.reason.as_deref() != Some(Reason::ApprovalRequired.as_str()) {
        return link(Mark::Good, &gave(status));
    }
    let mut waits = link(Mark::Bad, &format!("{}, and waits for approval", gave(status)));
    waits.next = next::of_training_cause(model, &Cause::new(Reason::ApprovalRequired, ""));
    waits
}

/// The revision and its deciding metric, beside that of the simple model.
fn gave(status: &TrainingStatus) -> String {
    let mut said = match &status.revision {
        Some(digest) => format!("gave revision {}", revision_id(digest)),
        None => "gave a revision".to_owned(),
    };
    if let Some(metric) = &status.metric {
        let _ = write!(said, ", {metric}");
        let name = metric.split(' ').next().unwrap_or_default();
        if let Some(simple) = status.baseline.get(name) {
            let _ = write!(said, " (the simple model beside it: {simple:.4})");
        }
    }
    said
}

/// What the gate says, which has both numbers.
fn refused(model: &Model, status: &TrainingStatus, first: Link) -> Vec<Link> {
    let reason = status.reason.as_deref().unwrap_or("Refused");
    let message = status.message.as_deref().unwrap_or_default();
    let (_, numbers) = message.split_once(": ").unwrap_or(("", message));
    let mut gate = Link::new(2, Mark::Bad, "gate", &format!("{reason}: {numbers}"));
    gate.next = next::of_refusal(model);
    vec![first, gate]
}

/// How far it is.
fn at_work(status: &TrainingStatus) -> String {
    let mut said = format!("attempt {}", status.attempt.unwrap_or(1));
    if let Some(phase) = status.phase {
        let _ = write!(said, " is {phase:?}");
    }
    if let Some(percent) = status.progress_percent {
        let _ = write!(said, ", {percent} %");
    }
    if let Some(epoch) = status.epoch {
        let _ = write!(said, ", epoch {epoch}");
    }
    if let Some(seconds) = status.eta_seconds {
        let _ = write!(said, ", about {seconds} s left");
    }
    if let Some(metric) = status.metric.as_deref().filter(|_| status.progress_percent.is_some()) {
        let _ = write!(said, ", {metric}");
    }
    let unread =
        status.message.as_deref().and_then(|message| message.split_once("; progress cannot be read: "));
    if let Some((_, why)) = unread {
        let _ = write!(said, "; progress cannot be read: {why}");
    }
    said
}
