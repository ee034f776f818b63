//! Where a Model stands whose revisions are trained.

use std::fmt::Write as _;

use modelwright_api::{contract::names::revision_id, status::TrainingPhase};

use super::{
    super::training::{self, Stage},
    Case, Facts, Servers, Standing,
};
use crate::plan::training::TrainingState;

/// Of a Model that has no revision to serve yet, because it must be trained; `None` if it has one.
pub(super) fn first(facts: &Facts<'_>, servers: &Servers<'_>) -> Option<Standing> {
    if facts.situation.wanted.is_some() {
        return None;
    }
    let stage = training::stage(facts)?;
    let found = facts.situation.training.as_ref();
    let case = match found.map(|found| &found.state) {
        Some(TrainingState::Queued) => Case::TrainingQueued,
        Some(TrainingState::Retrying { .. }) => Case::TrainingRetrying,
        Some(TrainingState::Failed { .. }) => Case::TrainingFailed,
        Some(TrainingState::Running { .. }) => Case::TrainingFirst,
        Some(TrainingState::Idle) | None => match found.and_then(|found| found.newest.as_ref()) {
            Some(newest) if newest.refused.is_some() => Case::GateRefused,
            Some(newest) if newest.needs_approval => Case::ApprovalNeeded,
            _ => Case::TrainingFirst,
        },
    };
    let mut standing = Standing::new(case, stage.message.clone());
    standing.cause = cause(facts, &stage);
    if let Some(digest) = servers.ready_digest() {
        let _ = write!(standing.message, "; revision {} is served meanwhile", revision_id(digest));
    }
    Some(standing)
}

/// Why it is not further, if something is wrong.
fn cause(facts: &Facts<'_>, stage: &Stage) -> Option<modelwright_api::conditions::Cause> {
    let found = facts.situation.training.as_ref()?;
    match &found.state {
        TrainingState::Running { held_up, .. } => {
            training::held_up_by(facts, found.job.as_deref(), held_up.as_ref()).cloned()
        }
        TrainingState::Retrying { cause, .. } | TrainingState::Failed { cause } => Some(cause.clone()),
        TrainingState::Idle if stage.phase == Some(TrainingPhase::Refused) => {
            found.newest.as_ref()?.refused.clone()
        }
        TrainingState::Idle => found.look_failed.clone().filter(|_| found.newest.is_none()),
        TrainingState::Queued => None,
    }
}

/// Of a Model whose wanted revision is served: what goes on beside, and the sentence about it.
pub(super) fn beside(facts: &Facts<'_>) -> Option<(Case, String)> {
    let stage = training::stage(facts)?;
    let found = facts.situation.training.as_ref()?;
    let case = match &found.state {
        TrainingState::Queued => Case::RetrainingQueued,
        TrainingState::Running { .. } => Case::Retraining,
        TrainingState::Retrying { .. } => Case::RetrainingRetrying,
        TrainingState::Failed { .. } => Case::RetrainingFailed,
        TrainingState::Idle => match &found.newest {
            Some(newest) if newest.refused.is_some() => Case::RetrainingRefused,
            Some(newest) if newest.needs_approval => Case::RetrainingApproval,
            _ => return None,
        },
    };
    Some((case, stage.message))
}

impl Case {
    /// Whether somebody's pin is the more important news.
    pub(super) const fn yields_to_a_pin(self) -> bool {
        matches!(self, Self::RetrainingFailed | Self::RetrainingRefused)
    }
}
