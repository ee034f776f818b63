//! What trainings gave: from Jobs, from the status, and from the Deployment's annotations, the newest first. The status is a
//! cache: without it nothing is trained again, because a Job or the Deployment still says it, and else the store does.

use std::cmp::Reverse;

use jiff::Timestamp;
use modelwright_api::{
    Outcome,
    conditions::{Cause, Class, Reason},
    status::{ModelFacts, Retrievable, TrainingPhase, TrainingStatus},
    training::Approval,
};

use super::{
    Trained,
    attempt::Attempt,
    trained_at,
    view::{Known, View},
};
use crate::{
    causes::TrainingJob,
    facts,
    plan::{Revision, attempts, deployment, revision},
};

/// A training that ended with a revision.
pub(super) struct Past {
    pub(super) started: Timestamp,
    pub(super) trained: Trained,
    pub(super) fingerprint: Option<String>,
    pub(super) facts: Option<ModelFacts>,
}

impl View<'_> {
    fn revision(&self, digest: &str) -> Revision {
        Revision {
            digest: digest.to_owned(),
            uri: trained_at(self.model, digest).unwrap_or_default(),
            retrievable: Some(Retrievable::Always),
        }
    }

    /// The trainings that ended with a revision, the newest first.
    pub(super) fn past(&self, attempts: &[Attempt<'_>]) -> Vec<Past> {
        let of_job = |attempt: &Attempt<'_>| match &attempt.state {
            TrainingJob::Trained { outcome, refused } => {
                self.of_outcome(attempt.started(), outcome, refused.as_ref())
            }
            _ => None,
        };
        let of_status = self.status().and_then(|status| self.of_status(status));
        let mut past: Vec<Past> = attempts.iter().rev().filter_map(of_job).chain(of_status).collect();
        // Of equal times what a Job says comes first: the status may not have been written yet.
        past.sort_by_key(|past| Reverse(past.started));
        past.extend(self.of_deployment());
        past.extend(self.of_former());
        past
    }

    fn of_outcome(&self, started: Timestamp, outcome: &Outcome, refused: Option<&Cause>) -> Option<Past> {
        let trained = Trained {
            revision: self.revision(outcome.digest.as_ref()?),
            reused: outcome.reason == Reason::Reused.as_str(),
            refused: refused.cloned(),
            metrics: outcome.metrics.clone(),
            baseline: outcome.baseline.clone(),
            inputs_digest: outcome.inputs_digest.clone(),
            needs_approval: false,
        };
        let (fingerprint, facts) = (outcome.fingerprint.clone(), facts::of(outcome));
        Some(self.past_with(started, trained, fingerprint, facts))
    }

    fn of_status(&self, status: &TrainingStatus) -> Option<Past> {
        let refused = (status.passed == Some(false)).then(|| refusal(status));
        let trained = Trained {
            revision: self.revision(status.revision.as_ref()?),
            reused: status.reason.as_deref() == Some(Reason::Reused.as_str()),
            refused,
            metrics: status.metrics.clone(),
            baseline: status.baseline.clone(),
            inputs_digest: status.inputs_digest.clone(),
            needs_approval: false,
        };
        let started = status.started_at.as_ref().and_then(|text| text.parse().ok());
        let fingerprint = status.fingerprint.clone();
        Some(self.past_with(started.unwrap_or(Timestamp::MIN), trained, fingerprint, None))
    }

    fn of_deployment(&self) -> Option<Past> {
        let deployed = self.deployed()?;
        let refused = deployment::annotated(self.observed)?.refusal().cloned();
        let trained = Trained { revision: deployed, refused, ..Trained::default() };
        Some(self.past_with(Timestamp::MIN, trained, None, None))
    }

    /// What the Deployment remembers of the time before a revision that the gate refused and somebody named.
    fn of_former(&self) -> Option<Past> {
        let deployed =
            deployment::annotated(self.observed).filter(|deployed| deployed.refusal().is_some())?;
        let former = deployed.former.filter(|former| former.answered(self.trained_from))?;
        let trained = Trained { revision: self.revision(&former.digest), ..Trained::default() };
        Some(self.past_with(Timestamp::MIN, trained, None, None))
    }

    /// What the Deployment remembers of what is asked for now.
    fn deployed(&self) -> Option<Revision> {
        let deployed = deployment::annotated(self.observed)?;
        (deployed.resolved_from.as_deref() == Some(self.trained_from))
            .then_some(Revision { retrievable: Some(Retrievable::Always), ..deployed.revision })
    }

    fn past_with(
        &self,
        started: Timestamp,
        trained: Trained,
        fingerprint: Option<String>,
        facts: Option<ModelFacts>,
    ) -> Past {
        let passed = trained.refused.is_none();
        let needs_approval = passed && !self.is_approved(&trained.revision.digest);
        Past { started, trained: Trained { needs_approval, ..trained }, fingerprint, facts }
    }

    /// Whether a revision that passed may be served: nobody is asked, or somebody named it, now or when it was deployed.
    fn is_approved(&self, digest: &str) -> bool {
        let gate = self.training.gate.as_ref();
        gate.and_then(|gate| gate.approval).unwrap_or_default() == Approval::Automatic
            || self.is_named(digest)
            || deployment::annotated(self.observed).is_some_and(|deployed| {
                deployed.revision.digest == digest
                    || deployed.former.is_some_and(|former| former.digest == digest)
            })
    }

    pub(super) fn is_named(&self, digest: &str) -> bool {
        self.pin.is_some_and(|pin| revision::names(pin, digest))
    }

    /// Jobs that nobody needs any more: those that train something else, attempts before the last success, the last refusal and
    /// the last failure, and what is old and remembered elsewhere.
    pub(super) fn superseded(&self, known: &Known<'_>) -> Vec<String> {
        let newest = |wanted: fn(&TrainingJob) -> bool| {
            known.attempts.iter().filter(|attempt| wanted(&attempt.state)).map(|attempt| attempt.number).max()
        };
        let success = newest(|state| matches!(state, TrainingJob::Trained { refused: None, .. }));
        let refusal = newest(|state| matches!(state, TrainingJob::Trained { refused: Some(_), .. }));
        let latest = known.attempts.last().map(|latest| latest.number);
        let needed = |attempt: &Attempt<'_>| match &attempt.state {
            TrainingJob::Trained { outcome, refused } => {
                let newest = Some(attempt.number) == if refused.is_none() { success } else { refusal };
                let old = attempts::is_old(attempt.ended, self.now);
                newest && !(old && self.is_remembered(outcome, refused.is_some()))
            }
            // It says how often the training failed.
            TrainingJob::Failed(_) => Some(attempt.number) == latest,
            // One after it stands for its failure: it made no progress.
            TrainingJob::Queued | TrainingJob::WithoutPod | TrainingJob::Active { .. } => {
                Some(attempt.number) == latest
            }
        };
        let (_, others) = attempts::jobs(self.observed, self.owner, "train", self.trained_from);
        let others = others.into_iter().map(attempts::name);
        let old = known.attempts.iter().filter(|attempt| !needed(attempt)).map(|attempt| attempt.name);
        let mut deleted: Vec<String> = others.chain(old).map(str::to_owned).collect();
        deleted.extend(known.looks.superseded.iter().cloned());
        deleted
    }

    /// Whether something else says what a training gave: the Deployment, or of a refused revision, which nobody needs, the status.
    fn is_remembered(&self, outcome: &Outcome, refused: bool) -> bool {
        let digest = outcome.digest.as_deref();
        if refused {
            return self.status().is_some_and(|status| status.revision.as_deref() == digest);
        }
        self.deployed().is_some_and(|deployed| Some(deployed.digest.as_str()) == digest)
    }
}

/// Why a gate refused, from what is said of it: the sentence without what is added to it each time.
fn refusal(status: &TrainingStatus) -> Cause {
    let said = status.message.as_deref().filter(|_| status.phase == Some(TrainingPhase::Refused));
    let (reason, said) = match said {
        Some(said) => (status.reason.as_deref().unwrap_or_default(), said),
        None => ("GateRefused", "its gate refused it"),
    };
    let said = said
        .strip_prefix("the gate refused revision ")
        .and_then(|rest| rest.split_once(": "))
        .map_or(said, |(_, why)| why);
    let said = said.split("; looking whether the data changed failed").next().unwrap_or_default();
    Cause::reported(reason, said, Class::User)
}
