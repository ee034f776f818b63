//! The revisions that a status lists, and what is known of the one that is served.

use std::collections::VecDeque;

use jiff::Timestamp;
use modelwright_api::{
    conditions::{Cause, Reason},
    contract::{annotations, names::revision_id},
    status::{Metrics, RejectedRevision, Retrievable, Revision, Revisions},
};

use super::{
    Facts,
    servers::{Servers, annotation},
    training,
};
use crate::{
    causes::{self, text},
    plan::{self, RolloutState, training::Trained},
};

/// How many revisions of the past are kept.
const MOST_FORMER: usize = 10;
/// How many rejected ones are kept.
const MOST_REJECTED: usize = 5;
/// How many of those that are deleted next are listed.
const MOST_EXPIRING: usize = 32;
/// The longest id.
const MOST_ID: usize = 16;
/// The longest uri of a status.
const MOST_URI: usize = 2_048;

/// The revisions.
pub(super) fn revisions(facts: &Facts<'_>, servers: &Servers<'_>) -> Option<Revisions> {
    let known = facts.former_revisions().cloned().unwrap_or_default();
    let active = active(facts, servers, known.active.as_ref());
    let is_active = |digest: &str| active.as_ref().is_some_and(|active| active.digest == digest);
    let mut former: VecDeque<Revision> = known.former.into();
    if let Some(left) = known.active.filter(|left| !is_active(&left.digest)) {
        former.retain(|revision| revision.digest != left.digest);
        former.push_front(left);
    }
    former.retain(|revision| !is_active(&revision.digest));
    former.truncate(MOST_FORMER);
    let mut rejected: VecDeque<RejectedRevision> = known.rejected.into();
    // Always in this order, so that two that last do not change places.
    for new in [overridden(facts), refused(facts), newly_rejected(facts, &rejected)].into_iter().flatten() {
        rejected.retain(|revision| revision.digest != new.digest);
        rejected.push_front(new);
    }
    let is_overridden = |digest: &str| {
        let deployed = facts.situation.deployed.as_ref().filter(|_| facts.situation.overridden.is_some());
        deployed.is_some_and(|deployed| deployed.digest == digest)
    };
    rejected.retain(|revision| !is_active(&revision.digest) || is_overridden(&revision.digest));
    rejected.truncate(MOST_REJECTED);
    let on_its_way = matches!(facts.situation.rollout, RolloutState::First | RolloutState::Candidate);
    let candidate = facts.situation.deployed.as_ref().filter(|_| on_its_way);
    let candidate = candidate.or_else(|| awaiting_approval(facts)).filter(|new| !is_active(&new.digest));
    let candidate = candidate.map(|candidate| listed(facts, candidate));
    let revisions = Revisions {
        candidate,
        active,
        former: former.into(),
        rejected: rejected.into(),
        expiring: expiring(facts),
    };
    (revisions != Revisions::default()).then_some(revisions)
}

/// The revision that the ready pods serve. Where several do, the one that was active before stays it until its last pod is
/// gone or the new one has settled. Where none is ready it is the last that was.
fn active(facts: &Facts<'_>, servers: &Servers<'_>, known: Option<&Revision>) -> Option<Revision> {
    let ready = servers.ready_by_digest();
    let deployed = facts.situation.deployed.as_ref();
    let settled = facts.situation.rollout == RolloutState::Settled;
    let digest = deployed
        .filter(|deployed| settled && ready.contains_key(deployed.digest.as_str()))
        .map(|deployed| deployed.digest.as_str())
        .or_else(|| known.map(|known| known.digest.as_str()).filter(|digest| ready.contains_key(digest)))
        .or_else(|| {
            // With the status lost in the middle of a rollout, the revision that is not the Deployment's was there before.
            let before =
                ready.keys().find(|digest| deployed.is_none_or(|deployed| deployed.digest != **digest));
            before.copied().or_else(|| servers.ready_digest())
        });
    let Some(digest) = digest else {
        return known
            .cloned()
            .or_else(|| deployed.filter(|_| settled).map(|deployed| listed(facts, deployed)));
    };
    let pods = ready.get(digest).map(Vec::as_slice).unwrap_or_default();
    let of_pods = pods.iter().find_map(|pod| annotation(pod, annotations::URI));
    let same = known.filter(|known| known.digest == digest);
    let known_uri = || Some(find(facts, digest)?.uri.as_str()).or(same.map(|known| known.uri.as_str()));
    let uri = of_pods.or_else(known_uri).unwrap_or_default();
    let first_ready: Option<Timestamp> =
        pods.iter().filter_map(|pod| causes::condition_time(pod, "Ready")).min();
    Some(Revision {
        id: revision_id(digest).to_owned(),
        digest: digest.to_owned(),
        uri: text::one_line(uri, MOST_URI),
        retrievable: retrievable(facts, digest),
        metrics: metrics(facts, digest),
        since: same
            .and_then(|known| known.since.clone())
            .or_else(|| Some(first_ready.unwrap_or(facts.now).to_string())),
    })
}

/// What the plan knows of a revision.
fn find<'a>(facts: &Facts<'a>, digest: &str) -> Option<&'a plan::Revision> {
    let situation = facts.situation;
    let resolved = situation.resolution.as_ref().map(|resolution| &resolution.revision);
    let trained = newest(facts).map(|newest| &newest.revision);
    [situation.deployed.as_ref(), situation.wanted.as_ref(), resolved, trained]
        .into_iter()
        .flatten()
        .filter(|revision| revision.digest == digest)
        .max_by_key(|revision| revision.retrievable.is_some())
}

fn retrievable(facts: &Facts<'_>, digest: &str) -> Option<Retrievable> {
    let known = || {
        let revisions = facts.former_revisions()?;
        let mut known = revisions.servable().filter(|revision| revision.digest == digest);
        known.find_map(|revision| revision.retrievable)
    };
    find(facts, digest).and_then(|revision| revision.retrievable).or_else(known)
}

fn listed(facts: &Facts<'_>, revision: &plan::Revision) -> Revision {
    Revision {
        id: revision_id(&revision.digest).to_owned(),
        digest: revision.digest.clone(),
        uri: text::one_line(&revision.uri, MOST_URI),
        retrievable: revision.retrievable,
        metrics: metrics(facts, &revision.digest),
        since: None,
    }
}

/// What the newest training gave.
fn newest<'a>(facts: &Facts<'a>) -> Option<&'a Trained> {
    facts.situation.training.as_ref()?.newest.as_ref()
}

/// The revision that a person may let into service.
fn awaiting_approval<'a>(facts: &Facts<'a>) -> Option<&'a plan::Revision> {
    newest(facts)
        .filter(|newest| newest.needs_approval && newest.refused.is_none())
        .map(|newest| &newest.revision)
}

/// What the training of a revision measured, which never changes: what was said of it first, else what is known now. A later
/// training's progress stands in `status.training` in the place of these numbers.
pub(super) fn metrics(facts: &Facts<'_>, digest: &str) -> Metrics {
    let known = facts.former_revisions().and_then(|known| {
        let rejected = known.rejected.iter().map(|revision| (&revision.digest, &revision.metrics));
        let mut all = known.servable().map(|revision| (&revision.digest, &revision.metrics)).chain(rejected);
        all.find(|(known, metrics)| *known == digest && !metrics.is_empty())
            .map(|(_, metrics)| metrics.clone())
    });
    let of_newest = || newest(facts).filter(|newest| newest.revision.digest == digest);
    known.or_else(|| of_newest().map(|newest| training::measured(&newest.metrics))).unwrap_or_default()
}

/// The ids of revisions that are deleted next.
fn expiring(facts: &Facts<'_>) -> Vec<String> {
    let training = facts.situation.training.as_ref();
    let ids = training.into_iter().flat_map(|training| &training.expiring);
    ids.take(MOST_EXPIRING).map(|id| text::one_line(revision_id(id), MOST_ID)).collect()
}

/// The revision that is served although the gate refused it: the gate's word stays beside it.
fn overridden(facts: &Facts<'_>) -> Option<RejectedRevision> {
    let cause = facts.situation.overridden.as_ref()?;
    let digest = &facts.situation.deployed.as_ref()?.digest;
    Some(RejectedRevision {
        digest: digest.clone(),
        reason: cause.reason.to_string(),
        message: text::one_line(&cause.message, text::MAX_MESSAGE_BYTES),
        metrics: metrics(facts, digest),
    })
}

/// The revision that the gate refused.
fn refused(facts: &Facts<'_>) -> Option<RejectedRevision> {
    let newest = newest(facts)?;
    let cause = newest.refused.as_ref()?;
    Some(RejectedRevision {
        digest: newest.revision.digest.clone(),
        reason: cause.reason.to_string(),
        message: text::one_line(&cause.message, text::MAX_MESSAGE_BYTES),
        metrics: metrics(facts, &newest.revision.digest),
    })
}

/// The revision whose pods failed, with why. What is no longer known is taken from what was said before.
fn newly_rejected(facts: &Facts<'_>, known: &VecDeque<RejectedRevision>) -> Option<RejectedRevision> {
    let (digest, cause): (&str, Option<&Cause>) = match &facts.situation.rollout {
        RolloutState::RolledBack { rejected, cause } => (&rejected.digest, cause.as_ref()),
        RolloutState::Failed { cause } => (&facts.situation.deployed.as_ref()?.digest, Some(cause)),
        RolloutState::Absent | RolloutState::First | RolloutState::Settled | RolloutState::Candidate => {
            return None;
        }
    };
    if digest.is_empty() {
        return None;
    }
    let (reason, message) = match (cause, known.iter().find(|known| known.digest == digest)) {
        (Some(cause), _) => {
            (cause.reason.to_string(), text::one_line(&cause.message, text::MAX_MESSAGE_BYTES))
        }
        (None, Some(known)) => (known.reason.clone(), known.message.clone()),
        (None, None) => (
            Reason::ProgressDeadlineExceeded.as_str().to_owned(),
            "its pods were not ready in time".to_owned(),
        ),
    };
    let metrics = metrics(facts, digest);
    Some(RejectedRevision { digest: digest.to_owned(), reason, message, metrics })
}
