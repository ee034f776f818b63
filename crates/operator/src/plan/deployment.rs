//! The Deployment: what it is rendered from, whether it is as it shall be, and which pods it goes back to.
//!
//! | annotation | says |
//! |---|---|
//! | `rendered-from` | what the present template was made from |
//! | `active` | what the pods were made from that served before it, and from then on that it serves itself; none on the first |
//! | `rejected` | what was made, did not become ready, and shall not be made again |
//! | `rejected-for` | why it did not |
//! | `former` | the newest revision before this one that no gate refused; none where nothing else was served |
//! | `refused` | why the gate refused the revision, which is here because somebody named it |
//!
//! A template is made anew only when what it is made from changes. An operator that would render the same otherwise changes
//! nothing; it only repairs what it can compare, which is what it rendered itself.

use k8s_openapi::api::{
    apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
    core::v1::PodTemplateSpec,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use modelwright_api::{
    Model,
    conditions::{Cause, Class, Reason},
    contract::{annotations, names},
    defaults::{ResolvedRollout, ResolvedSurge},
    rollout::RolloutStrategy,
    serving::Serving,
};
use serde::Serialize;

use super::{
    DeploymentChange, Restore, Revision, RolloutState, drift, identity,
    metadata::{Owner, selector},
    scale, server_pod,
};
use crate::{
    causes::{PodCause, replica_failure, worst_pod},
    observe::Observed,
    settings::{ImageRollout, Images, Platform, PrivateAddresses, Settings},
};

mod annotated;

pub(crate) use annotated::said_of_rejection;
pub(super) use annotated::{Annotated, Former, Refusal, annotated};

/// How many former templates are kept to go back to.
const HISTORY: i32 = 5;
/// How much of the operator's part of `rendered-from` is kept: it is only compared with itself.
const OPERATOR_DIGITS: usize = 16;

/// The Model's part of what a template is made from. Whatever changes pods must be here, and nothing else.
#[derive(Serialize)]
struct ModelPart<'a> {
    digest: &'a str,
    uri: &'a str,
    serving: Option<Serving>,
    secret: Option<&'a str>,
    account: Option<&'a str>,
    pod_template: Option<&'a modelwright_api::free_form::FreeForm>,
}

/// The operator's part.
#[derive(Serialize)]
struct OperatorPart<'a> {
    images: &'a Images,
    private_addresses: PrivateAddresses,
    platform: Platform,
}

/// What a template of this revision would be rendered from: the Model's part and the operator's.
fn rendered_from(model: &Model, settings: &Settings, revision: &Revision) -> String {
    let serving = model.spec.serving.clone().map(|serving| Serving {
        // These are other objects or other fields, and change no pod.
        replicas: None,
        autoscaling: None,
        service: None,
        network_policy: None,
        ..serving
    });
    let models = identity::sha256(&ModelPart {
        digest: &revision.digest,
        uri: &revision.uri,
        serving: serving.filter(|serving| *serving != Serving::default()),
        secret: server_pod::secret_of(model, &revision.uri).map(|secret| secret.name.as_str()),
        account: model.spec.service_account_name.as_deref(),
        pod_template: model.spec.pod_template.as_ref(),
    });
    let operators = identity::sha256(&OperatorPart {
        images: &settings.images,
        private_addresses: settings.private_addresses,
        platform: settings.platform,
    });
    format!("{models}.{}", operators.get(..OPERATOR_DIGITS).unwrap_or(&operators))
}

/// Whether pods made from `present` need not be replaced by those that would be made from `wanted`.
fn is_as_wanted(present: &str, wanted: &str, rollout: ImageRollout) -> bool {
    let models_part = |text: &str| text.split('.').next().map(str::to_owned);
    match rollout {
        ImageRollout::Immediately => present == wanted,
        ImageRollout::OnNextChange => models_part(present) == models_part(wanted),
    }
}

/// What is remembered of what a new template comes after.
#[derive(Default)]
struct Before {
    active: Option<String>,
    former: Option<Former>,
    refused: Option<Refusal>,
}

/// What the planning of a Deployment looks at.
pub(super) struct View<'a> {
    pub(super) model: &'a Model,
    pub(super) owner: &'a Owner<'a>,
    pub(super) observed: &'a Observed,
    pub(super) settings: &'a Settings,
    pub(super) rollout: &'a ResolvedRollout,
    /// The identity of what the source was asked, and the digest that it was answered with, if it was.
    pub(super) resolved_from: &'a str,
    pub(super) resolved: Option<&'a str>,
    /// Why the gate refused the wanted revision, if it did.
    pub(super) refused: Option<Refusal>,
    pub(super) now: jiff::Timestamp,
}

impl View<'_> {
    /// What is to be done so that `wanted` is served, and where that stands. Without a wanted revision nothing changes.
    pub(super) fn plan(&self, wanted: Option<&Revision>) -> Result<(DeploymentChange, RolloutState), Cause> {
        let Some(deployment) = &self.observed.deployment else {
            // With no pods wanted none is made: there is nothing to remember that its Job does not say.
            return match wanted.filter(|_| !scale::wants_none(self.model)) {
                Some(wanted) => self.first(wanted),
                None => Ok((DeploymentChange::Keep, RolloutState::Absent)),
            };
        };
        let Some(present) = annotated(self.observed) else {
            // Half of a creation, or somebody removed the annotations: write them again.
            return match wanted {
                Some(wanted) => self.first(wanted),
                None => Ok((DeploymentChange::Keep, RolloutState::First)),
            };
        };
        let Some(wanted) = wanted else {
            return Ok((DeploymentChange::Keep, self.state(deployment, &present)));
        };
        let wanted_from = rendered_from(self.model, self.settings, wanted);
        if !is_as_wanted(&present.rendered_from, &wanted_from, self.settings.image_rollout) {
            if present.rejected.as_deref() == Some(self.rejection(&wanted_from).as_str()) {
                let cause = present.rejected_for.clone();
                let state = RolloutState::RolledBack { rejected: wanted.clone(), cause };
                return Ok((self.repair(deployment, &present)?, state));
            }
            let before = self.before(deployment, &present);
            let state = if before.active.is_some() { RolloutState::Candidate } else { RolloutState::First };
            return Ok((self.render(wanted, &wanted_from, before)?, state));
        }
        self.settle(deployment, &present)
    }

    /// The first template that there ever was.
    fn first(&self, wanted: &Revision) -> Result<(DeploymentChange, RolloutState), Cause> {
        let rendered_from = rendered_from(self.model, self.settings, wanted);
        Ok((self.render(wanted, &rendered_from, Before::default())?, RolloutState::First))
    }

    /// What a new template has before it. Pods that never served are nothing to go back to; then those before them are, if there
    /// were any.
    fn before(&self, deployment: &Deployment, present: &Annotated) -> Before {
        if self.state(deployment, present) == RolloutState::Settled {
            let active = Some(present.rendered_from.clone());
            return Before { active, former: present.unrefused(), refused: present.refused.clone() };
        }
        Before {
            active: present.active.clone(),
            former: present.former.clone(),
            refused: present.refused.clone(),
        }
    }

    /// The template is the wanted one: its pods become ready, or do not, or were.
    fn settle(
        &self,
        deployment: &Deployment,
        present: &Annotated,
    ) -> Result<(DeploymentChange, RolloutState), Cause> {
        let state = self.state(deployment, present);
        let change = match (&state, present.pods_before()) {
            (RolloutState::RolledBack { cause: Some(cause), .. }, Some(former)) => {
                DeploymentChange::Restore(Restore {
                    rendered_from: former.to_owned(),
                    rejected: self.rejection(&present.rendered_from),
                    cause: cause.clone(),
                })
            }
            // From now on these are the pods to go back to, whatever becomes of them. For the first there is no write: there is
            // nothing else that they could be taken for.
            (RolloutState::Settled, Some(_)) => {
                let served = Annotated { active: Some(present.rendered_from.clone()), ..present.clone() };
                DeploymentChange::Apply(Box::new(self.desired(deployment, &served)?))
            }
            _ => self.repair(deployment, present)?,
        };
        Ok((change, state))
    }

    fn state(&self, deployment: &Deployment, present: &Annotated) -> RolloutState {
        if present.served() || is_settled(deployment) || self.first_served(present) {
            return RolloutState::Settled;
        }
        match (present.pods_before(), self.failure(&present.rendered_from)) {
            (Some(_), Some(cause)) => {
                RolloutState::RolledBack { rejected: present.revision.clone(), cause: Some(cause) }
            }
            (Some(_), None) => RolloutState::Candidate,
            (None, Some(cause)) => RolloutState::Failed { cause },
            (None, None) => RolloutState::First,
        }
    }

    /// Whether the first template that there ever was served once, as the status remembers: its pods are merely not ready now,
    /// for instance after they were scaled up from 0.
    fn first_served(&self, present: &Annotated) -> bool {
        let revisions = self.model.status.as_ref().and_then(|status| status.revisions.as_ref());
        let active = revisions.and_then(|revisions| revisions.active.as_ref());
        present.active.is_none() && active.is_some_and(|active| active.digest == present.revision.digest)
    }

    /// Why the pods of this template will not become ready, if that is certain: the deadline passed, or a command in one of
    /// them said that it can never work.
    fn failure(&self, rendered_from: &str) -> Option<Cause> {
        let deployment = self.observed.deployment.as_ref()?;
        let pods = self.observed.pods.iter().map(AsRef::as_ref).filter(|pod| {
            let all = pod.metadata.annotations.as_ref();
            all.and_then(|all| all.get(annotations::RENDERED_FROM)).is_some_and(|from| from == rendered_from)
        });
        let worst = worst_pod(pods, self.now);
        if let Some(PodCause { cause, hopeless: true, .. }) = worst {
            return Some(self.of_pinned(cause));
        }
        if !is_past_deadline(deployment) {
            return None;
        }
        let deadline = self.rollout.progress_deadline.as_secs();
        let because = match &worst {
            Some(worst) => &worst.cause.message,
            None => replica_failure(deployment)
                .and_then(|failure| failure.message.as_deref())
                .unwrap_or("the pods run and are not ready"),
        };
        let message = format!(
            "no further pod became ready within {deadline} s (spec.rollout.progressDeadline): {because}"
        );
        Some(Cause { class: Class::User, ..Cause::new(Reason::ProgressDeadlineExceeded, message) })
    }

    /// Bytes that are no longer those of a revision that somebody pinned are not a changed source, but a lost revision.
    fn of_pinned(&self, cause: Cause) -> Cause {
        match &self.rollout.revision {
            Some(pin) if cause.reason == Reason::SourceChanged.as_str() => Cause::new(
                Reason::RevisionBytesGone,
                format!(
                    "the bytes of revision {pin} (spec.rollout.revision) are no longer where they were; write another of \
                     status.revisions; {}",
                    cause.message
                ),
            ),
            _ => cause,
        }
    }

    /// What the annotation `rejected` says of a template that failed. Another answer of the source is worth another try.
    fn rejection(&self, rendered_from: &str) -> String {
        format!("{rendered_from}/{}", self.resolved_from.get(..OPERATOR_DIGITS).unwrap_or(self.resolved_from))
    }

    /// A new template.
    fn render(
        &self,
        revision: &Revision,
        rendered_from: &str,
        before: Before,
    ) -> Result<DeploymentChange, Cause> {
        let template = self.template(revision, rendered_from)?;
        let written = Annotated {
            revision: revision.clone(),
            rendered_from: rendered_from.to_owned(),
            renderer: Some(self.settings.version.clone()),
            resolved_from: self.answers(revision).map(str::to_owned),
            active: before.active,
            rejected: None,
            rejected_for: None,
            former: before.former.filter(|former| former.digest != revision.digest),
            // Until the new pods serve, the former may be put back.
            refused: self
                .refusal_of(revision)
                .or(before.refused.filter(|refused| refused.digest != revision.digest)),
        };
        Ok(DeploymentChange::Apply(Box::new(self.object(&written, template))))
    }

    fn refusal_of(&self, revision: &Revision) -> Option<Refusal> {
        self.refused.clone().filter(|refused| refused.digest == revision.digest)
    }

    /// The question that this revision answers, if it answers the present one.
    fn answers(&self, revision: &Revision) -> Option<&str> {
        (self.resolved == Some(revision.digest.as_str())).then_some(self.resolved_from)
    }

    fn template(&self, revision: &Revision, rendered_from: &str) -> Result<PodTemplateSpec, Cause> {
        server_pod::template(&server_pod::Request {
            model: self.model,
            owner: self.owner,
            settings: self.settings,
            revision,
            rendered_from,
        })
    }

    /// Writes the Deployment again if somebody changed what we wrote.
    fn repair(&self, deployment: &Deployment, present: &Annotated) -> Result<DeploymentChange, Cause> {
        let desired = self.desired(deployment, present)?;
        // What is left out of what is applied is taken off, and no comparison of what is applied sees that.
        let cleared = present.refused.is_some() && !is_refused(&desired);
        Ok(if drift::is_current(&desired, deployment) && !cleared {
            DeploymentChange::Keep
        } else {
            DeploymentChange::Apply(Box::new(desired))
        })
    }

    /// The Deployment as it shall be with its present template. A template that another version or another configuration of
    /// the operator rendered is taken as it is: rendering it anew could restart pods.
    fn desired(&self, deployment: &Deployment, present: &Annotated) -> Result<Deployment, Cause> {
        let rendered_here = present.renderer.as_deref() == Some(self.settings.version.as_str())
            && rendered_from(self.model, self.settings, &present.revision) == present.rendered_from;
        let template = match &deployment.spec {
            Some(spec) if !rendered_here => spec.template.clone(),
            _ => self.template(&present.revision, &present.rendered_from)?,
        };
        let mut written = present.clone();
        let is_own = |refused: &Refusal| refused.digest == present.revision.digest;
        if let Some(question) = self.answers(&present.revision) {
            // Asked again, the source gave the same answer, and the gate perhaps another one.
            written.resolved_from = Some(question.to_owned());
            written.refused =
                self.refusal_of(&present.revision).or(written.refused.filter(|known| !is_own(known)));
        }
        if present.served() {
            written.refused = written.refused.filter(is_own);
        }
        Ok(self.object(&written, template))
    }

    fn object(&self, written: &Annotated, template: PodTemplateSpec) -> Deployment {
        let mut metadata = self.owner.child(names::child(self.owner.name));
        metadata.annotations = Some(written.annotations());
        Deployment {
            metadata,
            spec: Some(DeploymentSpec {
                // Replicas have another writer.
                replicas: None,
                revision_history_limit: Some(HISTORY),
                progress_deadline_seconds: Some(seconds(self.rollout.progress_deadline)),
                selector: selector(self.owner.deployment_selector()),
                strategy: Some(strategy(self.rollout)),
                template,
                ..DeploymentSpec::default()
            }),
            status: None,
        }
    }
}

/// Whether it says that a gate refused a revision.
fn is_refused(deployment: &Deployment) -> bool {
    let all = deployment.metadata.annotations.as_ref();
    all.is_some_and(|all| all.contains_key(annotations::REFUSED))
}

fn strategy(rollout: &ResolvedRollout) -> DeploymentStrategy {
    if rollout.strategy == RolloutStrategy::Recreate {
        return DeploymentStrategy { type_: Some("Recreate".to_owned()), rolling_update: None };
    }
    let (surge, unavailable) = match rollout.surge {
        ResolvedSurge::Quarter => (IntOrString::String("25%".to_owned()), IntOrString::Int(0)),
        ResolvedSurge::One => (IntOrString::Int(1), IntOrString::Int(0)),
        ResolvedSurge::None => (IntOrString::Int(0), IntOrString::Int(1)),
    };
    DeploymentStrategy {
        type_: Some("RollingUpdate".to_owned()),
        rolling_update: Some(RollingUpdateDeployment {
            max_surge: Some(surge),
            max_unavailable: Some(unavailable),
        }),
    }
}

/// Whether every pod is of the present template and available, and no other is left.
///
/// The numbers decide, not the condition `Progressing`: where the ReplicaSet of a template is there already, as when a revision
/// comes back, the condition speaks of the former template until the first pod of the new one is made. With no pods wanted
/// every template is complete, which proves nothing.
fn is_settled(deployment: &Deployment) -> bool {
    let Some(status) = &deployment.status else { return false };
    let wanted = scale::replicas(deployment);
    let all = |number: Option<i32>| number.unwrap_or(0) == wanted;
    wanted > 0
        && status.observed_generation >= deployment.metadata.generation
        && all(status.replicas)
        && all(status.updated_replicas)
        && all(status.available_replicas)
}

/// Whether the Deployment's own controller gave up waiting for its pods, and not for those of a template before them.
fn is_past_deadline(deployment: &Deployment) -> bool {
    let status = deployment.status.as_ref();
    let status = status.filter(|status| status.observed_generation >= deployment.metadata.generation);
    status.and_then(|status| status.conditions.as_ref()).into_iter().flatten().any(|condition| {
        condition.type_ == "Progressing"
            && condition.status == "False"
            && condition.reason.as_deref().is_none_or(|reason| reason == "ProgressDeadlineExceeded")
    })
}

fn seconds(duration: std::time::Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}

/// Where the Deployment stands, for a spec that cannot be carried out.
pub(super) fn as_it_is(observed: &Observed) -> RolloutState {
    match (&observed.deployment, annotated(observed)) {
        (None, _) => RolloutState::Absent,
        (Some(deployment), Some(present)) if present.served() || is_settled(deployment) => {
            RolloutState::Settled
        }
        (Some(_), Some(present)) if present.pods_before().is_some() => RolloutState::Candidate,
        (Some(_), _) => RolloutState::First,
    }
}
