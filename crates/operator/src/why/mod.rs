//! Explains one Model: the chain from it to the root cause, and what to do next.
//!
//! It needs no more than what a user of the Model's namespace may read: the Model, its Deployment, Jobs, pods, Services and
//! autoscaler. Nothing here asks for them, and nothing knows how the operator was installed.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler, batch::v1::Job, core::v1::Pod,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use modelwright_api::{
    Model,
    conditions::{Cause, Class, ConditionType, Reason},
    contract::{annotations, labels, names::revision_id},
    status::{Condition, ConditionStatus},
};

use crate::{
    causes::{self, JobState, PodCause, text},
    observe::{self, Observed, Ownership},
    plan::{self, scale},
};

mod next;
#[cfg(test)]
mod tests;
mod training;
mod tree;

pub use tree::render;

/// The longest text of one link.
const TEXT: usize = 700;

/// How one link of the chain is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mark {
    /// As it should be.
    Good,
    /// On its way.
    Working,
    /// Somebody must act.
    Bad,
}

impl Mark {
    /// As it is printed.
    pub const fn as_char(self) -> char {
        match self {
            Self::Good => '✓',
            Self::Working => '…',
            Self::Bad => '✗',
        }
    }
}

/// One object or fact, and how it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Link {
    /// How many links lie between it and the Model.
    pub depth: usize,
    /// How it is.
    pub mark: Mark,
    /// What it is, such as `Pod bc-7d9f`.
    pub what: String,
    /// How it is, in words.
    pub text: String,
    /// What to do about it, each a command or, after a `#`, a sentence.
    pub next: Vec<String>,
}

impl Link {
    fn new(depth: usize, mark: Mark, what: impl Into<String>, said: &str) -> Self {
        Self { depth, mark, what: what.into(), text: text::one_line(said, TEXT), next: Vec::new() }
    }
}

/// The chain from a Model to what it suffers from, each link followed by those beneath it.
pub fn explain(model: &Model, observed: &Observed, now: Timestamp) -> Vec<Link> {
    let mut chain = vec![of_model(model)];
    chain.extend(of_source(model, observed, now));
    chain.extend(training::of_training(model, observed, now));
    chain.extend(of_deployment(model, observed, now));
    chain.extend(of_service(model, observed));
    chain.extend(of_autoscaler(model, observed));
    // What the operator alone knows, such as a spec that cannot be carried out, has no link beneath the Model.
    let explained = chain.iter().skip(1).any(|link| !link.next.is_empty());
    if let (false, Some(ready), Some(first)) = (explained, unready(model), chain.first_mut()) {
        first.next = next::of_condition(model, ready);
    }
    chain
}

fn unready(model: &Model) -> Option<&Condition> {
    model.condition(ConditionType::Ready).filter(|ready| ready.status != ConditionStatus::True)
}

fn of_model(model: &Model) -> Link {
    let (namespace, name) = next::place(model);
    let what = format!("Model {namespace}/{name}");
    let observed = model.status.as_ref().and_then(|status| status.observed_generation);
    let Some(ready) = model.condition(ConditionType::Ready) else {
        let mut link = Link::new(0, Mark::Working, what, "no operator has written a status yet");
        link.next = vec![
            "kubectl get pods -A -l app.kubernetes.io/name=modelwright  # is the operator running?".into(),
        ];
        return link;
    };
    if observed < model.metadata.generation {
        return Link::new(0, Mark::Working, what, "the operator has not yet seen the newest spec");
    }
    let mark = match (ready.status, model.holds(ConditionType::Stalled)) {
        (ConditionStatus::True, _) => Mark::Good,
        (_, true) => Mark::Bad,
        (_, false) => Mark::Working,
    };
    let word = if ready.status == ConditionStatus::True { "ready" } else { "not ready" };
    let available =
        if mark == Mark::Good || !model.holds(ConditionType::Available) { "" } else { ", and answers" };
    Link::new(0, mark, what, &format!("{word}{available} ({}): {}", ready.reason, ready.message))
}

fn of_source(model: &Model, observed: &Observed, now: Timestamp) -> Vec<Link> {
    let Some(source) = &model.spec.source else { return Vec::new() };
    let what = format!("source {}", text::one_line(&source.uri, 200));
    let (_, name) = next::place(model);
    let prefix = format!("{name}-resolve-");
    let reads = |job: &&Arc<Job>| job.metadata.name.as_deref().is_some_and(|name| name.starts_with(&prefix));
    let jobs = observed.jobs.iter().filter(reads);
    let newest = jobs.max_by_key(|job| (&job.metadata.creation_timestamp, &job.metadata.name));
    let known = model.status.as_ref().and_then(|status| status.source.as_ref());
    let holds = |digest: &str| format!("holds revision {}", revision_id(digest));
    let Some(job) = newest else {
        return vec![match (known, &source.digest) {
            (Some(known), _) => Link::new(1, Mark::Good, what, &holds(&known.digest)),
            (None, Some(pin)) => {
                Link::new(1, Mark::Good, what, &format!("{}, as spec.source.digest says", holds(pin)))
            }
            (None, None) if scale::is_suspended(model) => {
                Link::new(1, Mark::Good, what, "is not read: spec.suspend is true")
            }
            (None, None) => Link::new(1, Mark::Working, what, "not read yet"),
        }];
    };
    let pods = observed.pods.iter().map(AsRef::as_ref);
    let job_name = job.metadata.name.as_deref().unwrap_or_default();
    let job_link = |mark, said: &str| Link::new(2, mark, format!("Job {job_name}"), said);
    match causes::job_state(job, pods.clone(), now) {
        JobState::Succeeded(outcome) => {
            let digest = outcome.digest.as_deref().or(known.map(|known| known.digest.as_str()));
            vec![Link::new(1, Mark::Good, what, &digest.map_or_else(|| "was read".to_owned(), holds))]
        }
        JobState::WithoutPod => {
            let mut link = job_link(Mark::Working, "has no pod yet");
            link.next = next::of_silent_job(model, job_name);
            vec![Link::new(1, Mark::Working, what, "is read"), link]
        }
        JobState::Active(None) => {
            vec![
                Link::new(1, Mark::Working, what, "is read"),
                job_link(Mark::Working, "its pod runs or is about to"),
            ]
        }
        JobState::Active(Some(found)) => {
            let mut chain = vec![
                Link::new(1, Mark::Working, what, "is read"),
                job_link(Mark::Working, "its pod does not run"),
            ];
            chain.extend(of_pod(model, 3, &found, observed));
            chain
        }
        JobState::Failed(cause) => {
            let mut chain =
                vec![Link::new(1, mark(&cause), what, "reading it failed"), job_link(mark(&cause), "failed")];
            chain.extend(of_failed_job(model, job, observed, &cause, now));
            chain
        }
    }
}

fn of_failed_job(model: &Model, job: &Job, observed: &Observed, cause: &Cause, now: Timestamp) -> Vec<Link> {
    let pods = causes::pods_of_job(job, observed.pods.iter().map(AsRef::as_ref));
    let found =
        pods.into_iter().filter_map(|pod| causes::pod_cause(pod, now)).find(|found| found.cause == *cause);
    if let Some(found) = found {
        return of_pod(model, 3, &found, observed);
    }
    let mut link = Link::new(3, mark(cause), &*cause.reason, &cause.message);
    link.next = next::of_cause(model, cause, None, None);
    vec![link]
}

/// Who must act decides how a cause looks.
const fn mark(cause: &Cause) -> Mark {
    match cause.class {
        Class::User | Class::Bug | Class::Wait => Mark::Bad,
        Class::Settled | Class::Working | Class::Transient => Mark::Working,
    }
}

fn of_deployment(model: &Model, observed: &Observed, now: Timestamp) -> Vec<Link> {
    let (_, name) = next::place(model);
    let what = format!("Deployment {name}");
    let Some(deployment) = &observed.deployment else {
        if scale::wants_none(model) {
            let why = if scale::is_suspended(model) {
                "spec.suspend is true"
            } else {
                "spec.serving.replicas is 0"
            };
            return vec![Link::new(1, Mark::Good, what, &format!("none is made: {why}"))];
        }
        let once = match &model.spec.training {
            Some(_) => "not made yet; it is made once a training gave a revision that may be served",
            None => "not made yet; it is made once the source was read",
        };
        return vec![Link::new(1, Mark::Working, what, once)];
    };
    if is_foreign(model, &deployment.metadata) {
        return vec![of_foreign(model, what)];
    }
    let servers: Vec<&Pod> = observed.pods.iter().map(AsRef::as_ref).filter(|pod| is_server(pod)).collect();
    let ready = servers.iter().filter(|pod| causes::is_ready(pod)).count();
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let enough = usize::try_from(wanted).is_ok_and(|wanted| ready >= wanted);
    let worst = causes::worst_pod(servers.iter().copied(), now);
    let denial = causes::denial(deployment).filter(|_| !enough);
    let state = match (enough, &worst, &denial) {
        (true, None, _) => Mark::Good,
        (_, None, None) => Mark::Working,
        (_, Some(found), _) => mark(&found.cause),
        (_, None, Some(_)) => Mark::Bad,
    };
    let revision = revision_of(deployment).map_or_else(String::new, |id| format!(", revision {id}"));
    let mut chain = vec![Link::new(1, state, what, &format!("{ready} of {wanted} pods ready{revision}"))];
    if let Some(found) = worst {
        chain.extend(of_pod(model, 2, &found, observed));
    } else if let Some(cause) = denial {
        let mut link = Link::new(2, Mark::Bad, &*cause.reason, &cause.message);
        link.next = next::of_cause(model, &cause, None, None);
        chain.push(link);
    }
    chain
}

fn is_server(pod: &Pod) -> bool {
    let labels = pod.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(labels::ROLE)).is_some_and(|role| role == labels::ROLE_SERVER)
}

fn revision_of(deployment: &Deployment) -> Option<&str> {
    let annotations = deployment.metadata.annotations.as_ref()?;
    annotations.get(annotations::DIGEST).map(|digest| revision_id(digest))
}

/// A pod, its container, and the cause.
fn of_pod(model: &Model, depth: usize, found: &PodCause, observed: &Observed) -> Vec<Link> {
    let pod = observed.pods.iter().find(|pod| pod.metadata.name.as_deref() == Some(&*found.pod));
    let status = pod.and_then(|pod| pod.status.as_ref());
    let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
    let container = status.and_then(|status| {
        let mut all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
        all.find(|known| Some(&*known.name) == found.container.as_deref())
    });
    let restarts = match container.map_or(0, |container| container.restart_count) {
        0 => String::new(),
        1 => ", restarted once".to_owned(),
        times => format!(", restarted {times} times"),
    };
    let state = mark(&found.cause);
    let place = match &found.container {
        Some(container) => format!("pod {}, container {container}: ", found.pod),
        None => format!("pod {}: ", found.pod),
    };
    let said = found.cause.message.strip_prefix(&place).unwrap_or(&found.cause.message);
    let mut chain =
        vec![Link::new(depth, state, format!("Pod {}", found.pod), &format!("{phase}{restarts}"))];
    let what = match &found.container {
        Some(container) => format!("container {container}"),
        None => found.cause.reason.to_string(),
    };
    let said =
        if found.container.is_some() { format!("{}: {said}", found.cause.reason) } else { said.to_owned() };
    let mut last = Link::new(depth + 1, state, what, &said);
    let previous = container.is_some_and(|container| container.restart_count > 0);
    let container = found.container.as_deref();
    last.next = next::of_cause(
        model,
        &found.cause,
        Some(&found.pod),
        container.map(|container| (container, previous)),
    );
    chain.push(last);
    chain
}

fn of_service(model: &Model, observed: &Observed) -> Vec<Link> {
    let (_, name) = next::place(model);
    let what = format!("Service {name}");
    let Some(service) = &observed.service else { return Vec::new() };
    if is_foreign(model, &service.metadata) {
        return vec![of_foreign(model, what)];
    }
    vec![Link::new(1, Mark::Good, what, &plan::service_url(model).unwrap_or_default())]
}

fn is_foreign(model: &Model, metadata: &ObjectMeta) -> bool {
    observe::ownership_for(model, metadata) == Ownership::Foreign
}

fn of_foreign(model: &Model, what: String) -> Link {
    let mut link = Link::new(1, Mark::Bad, what, "belongs to somebody else, so the Model cannot have one");
    link.next = next::of_cause(model, &Cause::new(Reason::NameConflict, ""), None, None);
    link
}

fn of_autoscaler(model: &Model, observed: &Observed) -> Vec<Link> {
    let contest = scale::contest(model, observed).map(|cause| {
        let mut link = Link::new(1, Mark::Bad, "The number of pods".to_owned(), &cause.message);
        link.next = next::of_autoscaler(model, &cause);
        link
    });
    contest
        .into_iter()
        .chain(observed.autoscaler.as_deref().map(|own| of_own_autoscaler(model, own)))
        .collect()
}

fn of_own_autoscaler(model: &Model, autoscaler: &HorizontalPodAutoscaler) -> Link {
    let what = format!("HorizontalPodAutoscaler {}", autoscaler.metadata.name.as_deref().unwrap_or_default());
    if let Some(failure) = causes::autoscaler::failure(autoscaler) {
        let mut link = Link::new(1, Mark::Bad, what, &failure.cause.message);
        link.next = next::of_autoscaler(model, &failure.cause);
        return link;
    }
    let Some(status) = &autoscaler.status else {
        return Link::new(1, Mark::Working, what, "has not measured yet");
    };
    let most = autoscaler.spec.as_ref().map_or(0, |spec| spec.max_replicas);
    Link::new(1, Mark::Good, what, &format!("wants {} pods, at most {most}", status.desired_replicas))
}
