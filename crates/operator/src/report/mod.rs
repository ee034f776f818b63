//! Says where a Model stands: its status and the Events of what changed. Pure; written by the controller, and only if it
//! differs from what is there.
//!
//! [`Case`] is the truth table of the conditions; everything else follows from the case a Model is in and from its pods. No
//! message holds what changes by itself, such as an age, so a report of an unchanged Model is equal to its status.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use modelwright_api::{
    Model, ModelStatus,
    conditions::ConditionType,
    contract::labels,
    status::{ConditionStatus, Revisions},
};

use crate::{
    apply::Applied,
    observe::{self, Observed, Ownership},
    plan::{self, Situation},
    settings::Settings,
};

mod announcements;
mod conditions;
mod model;
mod revisions;
mod servers;
mod standing;
mod table;
#[cfg(test)]
mod tests;
mod training;

pub use model::{cold_start, with_server_times};
pub use table::{Case, Holds, Row};
pub use training::{DECIDING_METRICS, differs_in_progress_alone};

use servers::Servers;

/// What there is to say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The whole status.
    pub status: ModelStatus,
    /// What changed, for Events.
    pub announcements: Vec<Announcement>,
}

/// One Event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Announcement {
    /// Whether something is wrong.
    pub warning: bool,
    /// One word.
    pub reason: String,
    /// What was done, as one word such as `Resolve` or `RollOut`.
    pub action: &'static str,
    /// A sentence.
    pub note: String,
}

/// Everything that a report is made from.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The Model, with the status that it has now.
    pub model: &'a Model,
    /// What is there.
    pub observed: &'a Observed,
    /// What the plan found.
    pub situation: &'a Situation,
    /// What came of the plan.
    pub applied: &'a Applied,
    /// The operator's settings.
    pub settings: &'a Settings,
    /// Now.
    pub now: Timestamp,
}

impl<'a> Facts<'a> {
    /// The revisions of the status that is there.
    fn former_revisions(&self) -> Option<&'a Revisions> {
        self.model.status.as_ref()?.revisions.as_ref()
    }

    /// Whether the status that is there calls the Model ready with the spec that it has now.
    fn was_ready(&self) -> bool {
        self.model.condition(ConditionType::Ready).is_some_and(|ready| {
            ready.status == ConditionStatus::True
                && ready.observed_generation == self.model.metadata.generation
        })
    }
}

/// What there is to say about a Model.
pub fn report(facts: &Facts<'_>) -> Report {
    let before = facts.model.status.clone().unwrap_or_default();
    let servers = Servers::of(facts.model, facts.observed);
    let standing = standing::standing(facts, &servers);
    let (replicas, ready_replicas) = counts(&servers);
    let mut status = ModelStatus {
        observed_generation: facts.model.metadata.generation,
        url: url(facts),
        desired_replicas: desired(&servers),
        replicas: Some(replicas),
        ready_replicas: Some(ready_replicas),
        selector: Some(selector(facts.model)),
        revisions: revisions::revisions(facts, &servers),
        source: model::source(facts),
        training: training::training(facts),
        model: None,
        runtime: Some(model::runtime(facts, &servers)),
        cold_start: None,
        conditions: conditions::conditions(facts, &servers, &standing),
    };
    status.model = model::model(facts, &servers, &status);
    status.cold_start = model::first_cold_start(facts, &servers, &status);
    let announcements =
        announcements::announcements(&before, &status, &standing, standing::poll_failure(facts).as_ref());
    Report { status, announcements }
}

/// How many pods the Deployment is to have, whoever said so last.
fn desired(servers: &Servers<'_>) -> Option<i32> {
    servers.deployment.map(plan::scale::replicas)
}

/// Server pods and how many of them are ready. Like a Deployment it counts none that is being deleted; unlike a Deployment's
/// status, which follows its pods a moment later, it never contradicts the conditions.
fn counts(servers: &Servers<'_>) -> (i32, i32) {
    let count = |pods: &[&Pod]| {
        let staying = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        i32::try_from(staying.count()).unwrap_or(i32::MAX)
    };
    (count(&servers.live), count(&servers.ready))
}

/// Where the Model answers, unless the Service of that name is somebody else's.
fn url(facts: &Facts<'_>) -> Option<String> {
    let foreign =
        facts.observed.service.as_ref().is_some_and(|service| {
            observe::ownership_for(facts.model, &service.metadata) == Ownership::Foreign
        });
    if foreign { None } else { plan::service_url(facts.model) }
}

/// The pods that take the Model's load, of every revision: an autoscaler whose target is the Model must average over all of them
/// during a rollout too, since they share the requests. A selector with the revision in it would leave out the pods that
/// still do the work.
fn selector(model: &Model) -> String {
    let name = model.metadata.name.as_deref().unwrap_or_default();
    format!("{}={name},{}={}", labels::MODEL, labels::ROLE, labels::ROLE_SERVER)
}
