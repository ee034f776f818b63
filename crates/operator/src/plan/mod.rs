//! What shall be there. Pure: everything it needs is given to it, the time too, and equal inputs give equal plans.
//!
//! A [`Plan`] lists every child in the order in which they are written, and is taken apart without `..`, so that a new child
//! cannot be forgotten. What is not written is as important: a child that has every field that we would write is left
//! alone, so a settled Model costs no write at all.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::Job,
    core::v1::{Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use modelwright_api::{
    Model,
    conditions::{Cause, Reason},
    contract::names,
    status::{ModelFacts, Retrievable},
};

use serde::Serialize;

pub use self::access::service_url;
pub(crate) use self::deployment::said_of_rejection;
use self::{metadata::Owner, verbatim::verbatim};
use crate::{
    causes,
    observe::{Observed, Ownership, ownership},
    settings::Settings,
};

mod access;
mod attempts;
mod autoscaler;
mod children;
mod deployment;
mod drift;
mod identity;
mod metadata;
pub mod offline;
mod origin;
mod overlay;
mod pods;
mod resolve_job;
pub(crate) mod retention;
mod revision;
pub(crate) mod scale;
mod server_pod;
mod source;
pub mod training;
mod verbatim;

/// What is to be written about one Model, in this order.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The account that pods run as.
    pub service_account: Change<ServiceAccount>,
    /// The Service with the Model's name.
    pub service: Change<Service>,
    /// The headless Service.
    pub headless_service: Change<Service>,
    /// The disruption budget of server pods.
    pub disruption_budget: Change<PodDisruptionBudget>,
    /// Who may reach server pods.
    pub network_policy: Change<NetworkPolicy>,
    /// The headless Service through which training pods find each other.
    pub train_service: Change<Service>,
    /// Jobs.
    pub jobs: JobChanges,
    /// The Deployment, but for its replicas.
    pub deployment: DeploymentChange,
    /// The Deployment's replicas.
    pub replicas: Option<i32>,
    /// The autoscaler.
    pub autoscaler: Change<HorizontalPodAutoscaler>,
    /// Why all of that: what the report is made from.
    pub situation: Situation,
    /// When to look again although nothing changes.
    pub look_again_at: Option<Timestamp>,
}

/// What is to be done with one child.
#[derive(Clone, Debug, Default)]
pub enum Change<K> {
    /// Nothing: it is as it shall be, or it shall not be and is not.
    #[default]
    Keep,
    /// Write these fields.
    Apply(Box<K>),
    /// Delete it.
    Delete,
}

/// What is to be done with Jobs.
#[derive(Clone, Debug, Default)]
pub struct JobChanges {
    /// The names of Jobs to delete, with their pods.
    pub deleted: Vec<String>,
    /// A Job to make.
    pub created: Option<Box<Job>>,
    /// The names of Jobs that have no pod although they should: Events may say why.
    pub without_pod: Vec<String>,
}

/// What is to be done with the Deployment.
#[derive(Clone, Debug, Default)]
pub enum DeploymentChange {
    /// Nothing.
    #[default]
    Keep,
    /// Write all of it but the replicas.
    Apply(Box<Deployment>),
    /// Put the former pods back: the template of the `ReplicaSet` whose template carries this `rendered-from`, with these
    /// annotations of the Deployment beside those that stand on the template.
    Restore(Restore),
}

/// How the former pods are put back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Restore {
    /// The `rendered-from` of the pods to go back to.
    pub rendered_from: String,
    /// What the Deployment shall say was rejected.
    pub rejected: String,
    /// Why.
    pub cause: Cause,
}

/// Where a Model stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Situation {
    /// Why the spec cannot be carried out, if it cannot.
    pub blocked: Option<Cause>,
    /// What is going on with the source.
    pub source: SourceState,
    /// Where the training stands, if the Model has one.
    pub training: Option<training::TrainingSituation>,
    /// What the source was found to hold, the newest that is known for the source as it is written.
    pub resolution: Option<Resolution>,
    /// The revision that shall be served.
    pub wanted: Option<Revision>,
    /// Whether `spec.rollout.revision` chose it, although the source holds another.
    pub pinned: bool,
    /// What is going on with the Deployment.
    pub rollout: RolloutState,
    /// The revision of the pods that the Deployment makes now, as its annotations say.
    pub deployed: Option<Revision>,
    /// Why the gate refused that revision, where it is served all the same, because somebody named it.
    pub overridden: Option<Cause>,
    /// How many pods there shall be; `None` where an autoscaler decides.
    pub replicas: Option<i32>,
}

/// What is going on with the source.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum SourceState {
    /// Nothing: it is known what it holds, or nothing shall be found out now.
    #[default]
    Quiet,
    /// A Job of this name is finding out what it holds.
    Resolving {
        /// The Job.
        job: String,
        /// Whether this is only a look whether it changed.
        poll: bool,
    },
    /// Finding out failed, and is tried again.
    Retrying {
        /// Why it failed.
        cause: Cause,
        /// When it is tried again.
        at: Timestamp,
        /// Whether that was only a look whether it changed.
        poll: bool,
    },
    /// It holds nothing that can be served, or cannot be asked until the user acts.
    Refused {
        /// Why.
        cause: Cause,
        /// Whether that was only a look whether it changed.
        poll: bool,
    },
}

/// A revision that could be served.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Revision {
    /// The full digest.
    pub digest: String,
    /// Where its bytes are read from.
    pub uri: String,
    /// Whether they can be read again later, if that is known.
    pub retrievable: Option<Retrievable>,
}

/// What a source was found to hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resolution {
    /// What it was resolved for.
    pub resolved_from: String,
    /// The revision.
    pub revision: Revision,
    /// What the source looked like without reading it.
    pub fingerprint: Option<String>,
    /// When the source was looked at.
    pub checked_at: Option<Timestamp>,
    /// What the model says of itself, if that is still known.
    pub facts: Option<ModelFacts>,
    /// Why the gate refused it, where it is the wanted one all the same, because `spec.rollout.revision` names it.
    pub refused: Option<Cause>,
}

/// What is going on with the Deployment.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum RolloutState {
    /// There is none, and none is due.
    #[default]
    Absent,
    /// Its first pods are not ready yet, and there is nothing to go back to.
    First,
    /// All pods are as they shall be and were ready once.
    Settled,
    /// New pods replace those that served.
    Candidate,
    /// New pods failed, and the former are put back now or were put back.
    RolledBack {
        /// What was rejected: the revision of the failed pods.
        rejected: Revision,
        /// Why, as far as it is still known.
        cause: Option<Cause>,
    },
    /// The pods failed, and there is nothing to go back to.
    Failed {
        /// Why.
        cause: Cause,
    },
}

/// What shall be there, and why.
///
/// A spec that cannot be carried out changes nothing: what is there goes on, and the situation says why.
pub fn plan(model: &Model, observed: &Observed, settings: &Settings, now: Timestamp) -> Plan {
    let pass = Pass { model, observed, settings, now, owner: Owner::of(model, &settings.version) };
    pass.plan().unwrap_or_else(|blocked| Plan {
        situation: Situation { blocked: Some(blocked), ..pass.as_it_is() },
        ..Plan::default()
    })
}

/// What a value of the spec that cannot be used means.
fn invalid(error: &modelwright_api::defaults::Error) -> Cause {
    Cause::new(Reason::InvalidSpec, error.to_string())
}

/// One planning.
struct Pass<'a> {
    model: &'a Model,
    observed: &'a Observed,
    settings: &'a Settings,
    now: Timestamp,
    owner: Owner<'a>,
}

impl Pass<'_> {
    fn plan(&self) -> Result<Plan, Cause> {
        let Pass { model, observed, settings, now, owner } = self;
        let question = origin::question(model)?;
        self.check_owners()?;
        let rollout = model.rollout().map_err(|error| invalid(&error))?;
        let children = self.children()?;
        let mut found = self.find(&question, rollout.revision.as_deref())?;
        let deployed = deployment::annotated(observed);
        let (wanted, pinned) = revision::wanted(
            model,
            rollout.revision.as_deref(),
            found.resolution.as_ref(),
            deployed.as_ref(),
        )?;
        let view = deployment::View {
            model,
            owner,
            observed,
            settings,
            rollout: &rollout,
            resolved_from: &question,
            resolved: found.resolution.as_ref().map(|known| known.revision.digest.as_str()),
            refused: wanted.as_ref().and_then(|wanted| {
                revision::refusal(model, wanted, found.resolution.as_ref(), deployed.as_ref())
            }),
            now: *now,
        };
        let (deployment, state) = view.plan(wanted.as_ref())?;
        let scale = scale::plan(model, observed, &deployment);
        let mut children = children;
        if self.needs_account(&state) && matches!(children.plan.service_account, Change::Delete) {
            children.plan.service_account = Change::Keep;
        }
        self.retain(&mut found, wanted.as_ref(), deployed.as_ref(), &state);
        Ok(Plan {
            jobs: found.jobs,
            deployment,
            replicas: scale.replicas,
            autoscaler: scale::autoscaler(children.autoscaler, observed),
            situation: Situation {
                blocked: None,
                source: found.source,
                training: found.training,
                resolution: found.resolution,
                wanted,
                pinned,
                rollout: state,
                overridden: deployed.as_ref().and_then(|deployed| deployed.refusal().cloned()),
                deployed: deployed.map(|deployed| deployed.revision),
                replicas: scale.wanted,
            },
            look_again_at: [found.look_again_at, self.autoscaler_settles(), self.pods_tell_more()]
                .into_iter()
                .flatten()
                .min(),
            ..children.plan
        })
    }

    /// When an autoscaler that does not act yet is past the time in which that is usual.
    fn autoscaler_settles(&self) -> Option<Timestamp> {
        let failure = causes::autoscaler::failure(self.observed.autoscaler.as_deref()?)?;
        failure.settled_at(&self.observed.pods).filter(|at| *at > self.now)
    }

    /// When something else is to be said of pods, although nothing about them changes.
    fn pods_tell_more(&self) -> Option<Timestamp> {
        let pods = || self.observed.pods.iter().map(AsRef::as_ref);
        let (forgotten, slow) = (causes::forgotten_at(pods(), self.now), causes::slow_at(pods(), self.now));
        forgotten.into_iter().chain(slow).min()
    }

    /// What is there, for the report about a spec that cannot be carried out.
    fn as_it_is(&self) -> Situation {
        let deployed = deployment::annotated(self.observed);
        Situation {
            rollout: deployment::as_it_is(self.observed),
            overridden: deployed.as_ref().and_then(|deployed| deployed.refusal().cloned()),
            deployed: deployed.map(|deployed| deployed.revision),
            ..Situation::default()
        }
    }

    /// The children that do not depend on the source.
    fn children(&self) -> Result<Children, Cause> {
        let Pass { model, observed, settings, owner, .. } = self;
        let policy = children::network_policy(model, owner, settings.namespace.as_deref())?;
        let plan = Plan {
            service_account: change(
                children::service_account(model, owner),
                observed.service_account.as_ref(),
            ),
            service: change(Some(children::service(model, owner)), observed.service.as_ref()),
            headless_service: change(
                Some(children::headless_service(model, owner)),
                observed.headless_service.as_ref(),
            ),
            disruption_budget: change(
                Some(children::disruption_budget(owner)),
                observed.disruption_budget.as_ref(),
            ),
            network_policy: change(policy, observed.network_policy.as_ref()),
            train_service: self.train_service(),
            ..Plan::default()
        };
        Ok(Children { plan, autoscaler: autoscaler::autoscaler(model, owner)? })
    }

    /// Whether pods may be made that run as the Model's own account, although the spec names another: those that serve until the new
    /// ones do, and to which a rollout that fails goes back.
    fn needs_account(&self, rollout: &RolloutState) -> bool {
        let Some(deployment) = &self.observed.deployment else { return false };
        let template = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
        let account = template.and_then(|template| template.service_account_name.as_deref());
        *rollout != RolloutState::Settled || account == Some(names::child(self.owner.name).as_str())
    }

    /// The Service of pods that train together. Once made it stays as long as its Model: it costs nothing, and the operator needs
    /// no right to delete Services.
    fn train_service(&self) -> Change<Service> {
        match training::nodes::service(self.model, &self.owner) {
            None => Change::Keep,
            desired => change(desired, self.observed.train_service.as_ref()),
        }
    }

    /// Refuses to write what somebody else owns.
    fn check_owners(&self) -> Result<(), Cause> {
        let Observed {
            service_account,
            service,
            headless_service,
            disruption_budget,
            network_policy,
            train_service,
            deployment,
            autoscaler,
            other_autoscalers: _,
            jobs: _,
            pods: _,
            progress: _,
        } = self.observed;
        let metadata = [
            ("ServiceAccount", service_account.as_ref().map(|child| &child.metadata)),
            ("Service", service.as_ref().map(|child| &child.metadata)),
            ("Service", headless_service.as_ref().map(|child| &child.metadata)),
            ("PodDisruptionBudget", disruption_budget.as_ref().map(|child| &child.metadata)),
            ("NetworkPolicy", network_policy.as_ref().map(|child| &child.metadata)),
            ("Service", train_service.as_ref().map(|child| &child.metadata)),
            ("Deployment", deployment.as_ref().map(|child| &child.metadata)),
            ("HorizontalPodAutoscaler", autoscaler.as_ref().map(|child| &child.metadata)),
        ];
        let found = metadata.into_iter().filter_map(|(kind, metadata)| Some((kind, metadata?)));
        for (kind, metadata) in found {
            let name = metadata.name.as_deref().unwrap_or_default();
            let (reason, text) = match ownership(metadata, self.owner.name, self.owner.uid) {
                Ownership::Ours | Ownership::Nobodys => continue,
                Ownership::FormerModels => (
                    Reason::WaitingForDeletion,
                    format!("{kind}/{name} belongs to a deleted Model of the same name and is going away"),
                ),
                Ownership::Foreign => (
                    Reason::NameConflict,
                    format!(
                        "{kind}/{name} belongs to somebody else; rename the Model, or delete that object"
                    ),
                ),
            };
            return Err(Cause::new(reason, text));
        }
        Ok(())
    }
}

/// What [`Pass::children`] makes.
struct Children {
    plan: Plan,
    autoscaler: Option<HorizontalPodAutoscaler>,
}

/// What is to be done with a child so that it is as `desired`.
fn change<K: Serialize>(desired: Option<K>, observed: Option<&Arc<K>>) -> Change<K> {
    match (desired, observed) {
        (Some(desired), Some(observed)) if drift::is_current(&desired, &**observed) => Change::Keep,
        (Some(desired), _) => Change::Apply(Box::new(desired)),
        (None, Some(_)) => Change::Delete,
        (None, None) => Change::Keep,
    }
}

#[cfg(test)]
pub(crate) mod tests;
