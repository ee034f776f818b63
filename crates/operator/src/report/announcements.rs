//! Events: what changed since the status that is there. One about what the source holds, one about a look that
//! failed, one about the training and one about where the Model stands at most, so a pass never floods, and none where nothing changed.

use modelwright_api::{
    ModelStatus,
    conditions::{Cause, ConditionType, Reason},
    contract::names::revision_id,
    status::TrainingPhase,
};

use super::{Announcement, standing::Standing, table::Case};
use crate::causes::text;

/// Compares the status that was with the one that is.
pub(super) fn announcements(
    before: &ModelStatus,
    after: &ModelStatus,
    standing: &Standing,
    poll_failure: Option<&Cause>,
) -> Vec<Announcement> {
    let looked = poll_failure.and_then(|cause| looked(before, after, cause));
    [resolved(before, after), looked, trains(before, after), stands(before, after, standing)]
        .into_iter()
        .flatten()
        .collect()
}

fn resolved(before: &ModelStatus, after: &ModelStatus) -> Option<Announcement> {
    let found = after.source.as_ref()?;
    let known = before.source.as_ref().map(|source| source.digest.as_str());
    let changed = known != Some(&*found.digest);
    changed.then(|| Announcement {
        warning: false,
        reason: "Resolved".to_owned(),
        action: "Resolve",
        note: text::one_line(
            &format!("the source holds revision {} at {}", revision_id(&found.digest), found.uri),
            text::MAX_MESSAGE_BYTES,
        ),
    })
}

/// A look whether the source or the data changed that failed, once for each reason: the next looks may fail in the same way for
/// hours. Where a status was lost, it is no news.
fn looked(before: &ModelStatus, after: &ModelStatus, cause: &Cause) -> Option<Announcement> {
    let known = match (&before.source, &before.training) {
        (Some(source), _) => source.look_failed.as_deref(),
        (None, Some(training)) => training.look_failed.as_deref(),
        (None, None) => return None,
    };
    let now = after.source.as_ref().and_then(|source| source.look_failed.as_deref());
    let now = now.or_else(|| after.training.as_ref()?.look_failed.as_deref())?;
    (known != Some(now)).then(|| Announcement {
        warning: true,
        reason: now.to_owned(),
        action: "Look",
        note: text::one_line(&cause.message, text::MAX_MESSAGE_BYTES),
    })
}

/// A training that began, is held up, or ended. Where a status was lost, what ended before is no news; nor is it that the Job of
/// a training that ended is cleared away.
fn trains(before: &ModelStatus, after: &ModelStatus) -> Option<Announcement> {
    let (known, now) = (before.training.clone().unwrap_or_default(), after.training.as_ref()?);
    let (phase, reason) = (now.phase?, now.reason.as_deref()?);
    let working = at_work(now.phase);
    let usual = [Reason::Training, Reason::Queued].iter().any(|known| known.as_str() == reason);
    let admitted = known.phase == Some(TrainingPhase::Queued) && phase != TrainingPhase::Queued;
    let began = working && (!at_work(known.phase) || known.job != now.job || admitted);
    let held_up = working && !usual && known.reason.as_deref() != Some(reason);
    let another = known.job.is_some() && now.job.is_some() && known.job != now.job;
    let ended = !working && before.training.is_some() && (known.phase != now.phase || another);
    if !began && !held_up && !ended {
        return None;
    }
    let succeeded = phase == TrainingPhase::Succeeded;
    let expected = succeeded || (working && usual) || reason == Reason::TrainingPreempted.as_str();
    Some(Announcement {
        warning: !expected,
        // A revision that waits for approval has an event of its own.
        reason: if succeeded && reason != Reason::Reused.as_str() {
            Reason::Trained.as_str()
        } else {
            reason
        }
        .to_owned(),
        action: "Train",
        note: now.message.clone().unwrap_or_default(),
    })
}

/// Whether a training of this phase has not ended.
fn at_work(phase: Option<TrainingPhase>) -> bool {
    match phase {
        Some(
            TrainingPhase::Queued
            | TrainingPhase::Starting
            | TrainingPhase::Fetching
            | TrainingPhase::Training
            | TrainingPhase::Checking
            | TrainingPhase::Publishing,
        ) => true,
        Some(TrainingPhase::Succeeded | TrainingPhase::Refused | TrainingPhase::Failed) | None => false,
    }
}

fn stands(before: &ModelStatus, after: &ModelStatus, standing: &Standing) -> Option<Announcement> {
    let word = |status: &ModelStatus| {
        status.condition(ConditionType::Ready).map(|known| (known.status, known.reason.clone()))
    };
    let active = |status: &ModelStatus| Some(status.revisions.as_ref()?.active.as_ref()?.digest.clone());
    let candidate =
        |status: &ModelStatus| Some(status.revisions.as_ref()?.candidate.as_ref()?.digest.clone());
    let moved = word(before) != word(after);
    let stalled = after.holds(ConditionType::Stalled) && !before.holds(ConditionType::Stalled);
    let replaced = active(before).is_some() && active(before) != active(after);
    let another = candidate(before).is_some_and(|known| candidate(after).is_some_and(|new| known != new));
    let ready = after.condition(ConditionType::Ready)?;
    // That a new Model is on its way as it should be is no news; its conditions say how far it is.
    if standing.cause.is_none() && matches!(standing.case, Case::ResolvingFirst | Case::FirstDeploy) {
        return None;
    }
    // The training's own Event tells.
    let told = [
        Case::TrainingFirst,
        Case::TrainingQueued,
        Case::TrainingRetrying,
        Case::TrainingFailed,
        Case::GateRefused,
    ];
    if told.contains(&standing.case) {
        return None;
    }
    (moved || stalled || replaced || another).then(|| Announcement {
        warning: standing.cause.is_some() || is_warning(standing.case),
        reason: ready.reason.clone(),
        action: action(standing.case),
        note: ready.message.clone(),
    })
}

fn is_warning(case: Case) -> bool {
    let row = case.row();
    row.stalled.is(true)
        || matches!(case, Case::FailedCandidate | Case::Unavailable | Case::ApplyFailingServed)
        || row.reason == Reason::ApplyFailed
}

/// What is being done, as one word.
fn action(case: Case) -> &'static str {
    match case {
        Case::ResolvingFirst | Case::ResolvingAgain | Case::ResolveRetrying | Case::ResolveRefused => {
            "Resolve"
        }
        Case::TrainingFirst
        | Case::TrainingQueued
        | Case::TrainingRetrying
        | Case::TrainingFailed
        | Case::GateRefused
        | Case::ApprovalNeeded => "Train",
        Case::Blocked
        | Case::NameConflict
        | Case::Waiting
        | Case::ApplyFailing
        | Case::ApplyFailingServed => "Apply",
        Case::FirstDeploy | Case::Failed | Case::Rolling => "RollOut",
        Case::FailedCandidate | Case::RolledBack => "RollBack",
        Case::Ending
        | Case::ScaledToZero
        | Case::Suspended
        | Case::Scaling
        | Case::AutoscalerFailing
        | Case::HandOver
        | Case::Contested => "Scale",
        Case::Serving
        | Case::Autoscaled
        | Case::PollFailed
        | Case::Retraining
        | Case::RetrainingQueued
        | Case::RetrainingRetrying
        | Case::RetrainingFailed
        | Case::RetrainingRefused
        | Case::RetrainingApproval
        | Case::Pinned
        | Case::Unavailable
        | Case::SourceChanged => "Serve",
    }
}
