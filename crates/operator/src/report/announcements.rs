//! Events: what changed since the status that is there. One about the source and one about where the Model stands at most, so a
//! pass never floods, and none where nothing changed.

use modelwright_api::{
    ModelStatus,
    conditions::{ConditionType, Reason},
    contract::names::revision_id,
};

use super::{Announcement, standing::Standing, table::Case};
use crate::causes::text;

/// Compares the status that was with the one that is.
pub(super) fn announcements(
    before: &ModelStatus,
    after: &ModelStatus,
    standing: &Standing,
) -> Vec<Announcement> {
    [resolved(before, after), stands(before, after, standing)].into_iter().flatten().collect()
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
        Case::Blocked
        | Case::NameConflict
        | Case::Waiting
        | Case::ApplyFailing
        | Case::ApplyFailingServed => "Apply",
        Case::FirstDeploy | Case::Failed | Case::Rolling => "RollOut",
        Case::FailedCandidate | Case::RolledBack => "RollBack",
        Case::Ending | Case::ScaledToZero | Case::Suspended | Case::Scaling => "Scale",
        Case::Serving
        | Case::Autoscaled
        | Case::PollFailed
        | Case::Pinned
        | Case::Unavailable
        | Case::SourceChanged => "Serve",
    }
}
