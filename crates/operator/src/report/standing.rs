//! Where a Model stands: one [`Case`], what holds it up, and a sentence.

use std::fmt::Write as _;

use modelwright_api::{
    conditions::{Cause, Class, Reason},
    contract::names::revision_id,
    defaults::ResolvedSurge,
    rollout::RolloutStrategy,
};

use super::{Facts, conditions::MAX_REASON, servers::Servers, table::Case};
use crate::{
    causes::{self, JobState, PodCause, text},
    plan::{RolloutState, SourceState, scale},
};

mod scaling;
mod training;

/// Where a Model stands.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) case: Case,
    /// The root cause that gives `Ready` its reason, where the case has one.
    pub(super) cause: Option<Cause>,
    /// What `Ready` says.
    pub(super) message: String,
}

impl Standing {
    fn new(case: Case, message: impl Into<String>) -> Self {
        Self { case, cause: None, message: message.into() }
    }

    fn caused(kind: Case, cause: &Cause) -> Self {
        Self { case: kind, cause: Some(cause.clone()), message: cause.message.clone() }
    }

    /// With what holds it up, if anything does.
    fn held_up_by(mut self, cause: Option<Cause>) -> Self {
        if let Some(cause) = &cause {
            let _ = write!(self.message, "; {}", cause.message);
        }
        self.cause = cause;
        self
    }

    /// The word of `Ready`.
    pub(super) fn reason(&self) -> &str {
        match &self.cause {
            Some(cause) if self.case.row().cause_names_it => &cause.reason,
            _ => self.case.row().reason.as_str(),
        }
    }

    /// The word of `Progressing` while it is True.
    pub(super) fn progress(&self) -> &str {
        match self.case {
            Case::Scaling | Case::Ending => Reason::Scaling.as_str(),
            Case::HandOver => Reason::AutoscalerHandOver.as_str(),
            Case::ApplyFailingServed => Reason::ApplyFailed.as_str(),
            Case::Waiting | Case::ResolveRetrying | Case::TrainingRetrying => self.reason(),
            Case::Retraining | Case::RetrainingRetrying => Reason::Training.as_str(),
            Case::RetrainingQueued => Reason::Queued.as_str(),
            case => case.row().reason.as_str(),
        }
    }
}

/// Finds it. What keeps the spec from being carried out comes first, then the user's wish to serve nothing, then the source or
/// the first training, then the pods, then what goes on beside them.
pub(super) fn standing(facts: &Facts<'_>, servers: &Servers<'_>) -> Standing {
    if let Some(standing) = blocked(facts) {
        return standing;
    }
    if scale::is_suspended(facts.model) {
        return idle(servers, Case::Suspended, "spec.suspend is true: nothing is served");
    }
    let standing = if facts.situation.pinned { None } else { source(facts, servers) };
    let standing = standing.or_else(|| training::first(facts, servers));
    let standing = standing.unwrap_or_else(|| rollout(facts, servers));
    apply_failing(facts, servers, standing)
}

fn blocked(facts: &Facts<'_>) -> Option<Standing> {
    let refused = || {
        let failure = facts.applied.failures.iter().find(|failure| failure.cause.class == Class::User)?;
        Some(Cause {
            message: format!("{}: {}", failure.child, failure.cause.message),
            ..failure.cause.clone()
        })
    };
    let cause = facts.situation.blocked.clone().or_else(refused)?;
    let kind = match cause.class {
        _ if cause.reason == Reason::NameConflict.as_str() => Case::NameConflict,
        Class::User | Class::Bug => Case::Blocked,
        Class::Settled | Class::Working | Class::Wait | Class::Transient => Case::Waiting,
    };
    Some(Standing::caused(kind, &cause))
}

fn idle(servers: &Servers<'_>, case: Case, message: &str) -> Standing {
    if servers.live.is_empty() {
        return Standing::new(case, message);
    }
    Standing::new(Case::Ending, format!("{message}, and the last pods end"))
}

fn source(facts: &Facts<'_>, servers: &Servers<'_>) -> Option<Standing> {
    let meanwhile = servers
        .ready_digest()
        .map_or_else(String::new, |digest| format!("; revision {} is served meanwhile", revision_id(digest)));
    match &facts.situation.source {
        SourceState::Resolving { job, poll: false } => {
            let case =
                if facts.situation.deployed.is_some() { Case::ResolvingAgain } else { Case::ResolvingFirst };
            let message = format!("Job {job} reads {}{meanwhile}", source_uri(facts));
            Some(Standing::new(case, message).held_up_by(held_up(facts, job)))
        }
        SourceState::Retrying { cause, at, poll: false } => {
            let mut standing = Standing::caused(Case::ResolveRetrying, cause);
            let _ = write!(standing.message, "; tried again at {at}{meanwhile}");
            Some(standing)
        }
        SourceState::Refused { cause, poll: false } => {
            let mut standing = Standing::caused(Case::ResolveRefused, cause);
            standing.message.push_str(&meanwhile);
            Some(standing)
        }
        SourceState::Quiet
        | SourceState::Resolving { .. }
        | SourceState::Retrying { .. }
        | SourceState::Refused { .. } => None,
    }
}

fn source_uri<'a>(facts: &Facts<'a>) -> &'a str {
    facts.model.spec.source.as_ref().map_or("the source", |source| &source.uri)
}

/// What keeps a Job from reading the source.
fn held_up(facts: &Facts<'_>, job: &str) -> Option<Cause> {
    let denial = facts.applied.denials.get(job).cloned();
    denial.or_else(|| {
        let job = facts.observed.jobs.iter().find(|known| known.metadata.name.as_deref() == Some(job))?;
        let pods = facts.observed.pods.iter().map(AsRef::as_ref);
        match causes::job_state(job, pods, facts.now) {
            JobState::Active(found) => found.map(|found| found.cause),
            JobState::WithoutPod | JobState::Succeeded(_) | JobState::Failed(_) => None,
        }
    })
}

fn rollout(facts: &Facts<'_>, servers: &Servers<'_>) -> Standing {
    let situation = facts.situation;
    let worst = causes::worst_pod(servers.all.iter().copied(), facts.now);
    let denial = || servers.deployment.and_then(causes::denial);
    let cause = worst.as_ref().map(|worst| worst.cause.clone()).or_else(denial);
    let id = situation
        .deployed
        .as_ref()
        .or(situation.wanted.as_ref())
        .map_or("…", |revision| revision_id(&revision.digest));
    match &situation.rollout {
        RolloutState::Failed { cause } => Standing::caused(Case::Failed, cause),
        RolloutState::RolledBack { rejected, cause: known } => {
            rolled_back(facts, servers, &rejected.digest, known.as_ref(), cause)
        }
        RolloutState::Absent if situation.wanted.is_none() => {
            Standing::new(Case::ResolvingFirst, format!("{} is about to be read", source_uri(facts)))
        }
        _ if situation.replicas == Some(0) => {
            let why = if facts.model.autoscaling().is_some() {
                "its autoscaler scaled it to 0: nothing is served"
            } else {
                "spec.serving.replicas is 0: nothing is served"
            };
            idle(servers, Case::ScaledToZero, why)
        }
        RolloutState::Absent | RolloutState::First => {
            Standing::new(Case::FirstDeploy, format!("the first pods of revision {id} start"))
                .held_up_by(cause)
        }
        RolloutState::Candidate => rolling(facts, servers, id).held_up_by(cause),
        RolloutState::Settled if is_outdated(facts) => rolling(facts, servers, id).held_up_by(cause),
        RolloutState::Settled => settled(facts, servers, id, worst),
    }
}

/// Whether another revision than that of the Deployment is wanted: it is written next.
fn is_outdated(facts: &Facts<'_>) -> bool {
    let (wanted, deployed) = (&facts.situation.wanted, &facts.situation.deployed);
    matches!((wanted, deployed), (Some(wanted), Some(deployed)) if wanted.digest != deployed.digest)
}

fn rolling(facts: &Facts<'_>, servers: &Servers<'_>, id: &str) -> Standing {
    let mut message = match servers.ready_digest() {
        Some(active) if revision_id(active) == id => format!("revision {id} rolls out with changed settings"),
        Some(active) => format!("revision {id} replaces revision {}", revision_id(active)),
        None => format!("revision {id} rolls out"),
    };
    if let Some(why) = interruption(facts) {
        let _ = write!(message, "; that interrupts the service, because {why}");
    }
    Standing::new(Case::Rolling, message)
}

fn rolled_back(
    facts: &Facts<'_>,
    servers: &Servers<'_>,
    rejected: &str,
    known: Option<&Cause>,
    now: Option<Cause>,
) -> Standing {
    let former = facts.former_revisions();
    let remembered = former
        .and_then(|revisions| revisions.rejected.iter().find(|known| known.digest == rejected))
        .map(|known| known.message.clone());
    let why = known.map(|cause| cause.message.clone()).or(remembered);
    let active = former.and_then(|revisions| revisions.active.as_ref());
    let active = active.map(|active| active.digest.as_str()).or_else(|| servers.ready_digest());
    let what = if active == Some(rejected) {
        "the changed settings".to_owned()
    } else {
        format!("revision {}", revision_id(rejected))
    };
    let why = why.map_or_else(String::new, |why| format!(": {why}"));
    let message = format!("{what} did not become ready{why}");
    if servers.mixed || servers.short(facts) {
        let held_up = now.filter(|_| !servers.mixed);
        let held_up = held_up.map_or_else(String::new, |cause| format!("; {}", cause.message));
        return Standing::new(
            Case::FailedCandidate,
            format!("{message}; the former pods are put back{held_up}"),
        );
    }
    let served = servers.ready_digest().map_or("…", revision_id);
    Standing::new(Case::RolledBack, format!("{message}; revision {served} is served as before"))
}

fn settled(facts: &Facts<'_>, servers: &Servers<'_>, id: &str, worst: Option<PodCause>) -> Standing {
    // A server that is killed for memory under load starts again; that does not end by itself, and serves meanwhile.
    let refused = |worst: &&PodCause| worst.hopeless && worst.cause.reason != Reason::OutOfMemory.as_str();
    if let Some(worst) = worst.as_ref().filter(refused) {
        return Standing::caused(Case::SourceChanged, &worst.cause);
    }
    if servers.ready.is_empty() {
        let message = format!("no pod of revision {id} is ready");
        return Standing::new(Case::Unavailable, message).held_up_by(worst.map(|worst| worst.cause));
    }
    if let Some(undecided) = scaling::undecided(facts, servers, id) {
        return undecided;
    }
    let unscaled = scaling::failure(facts);
    let beside = training::beside(facts);
    let poll = poll_failure(facts).filter(|_| beside.is_none());
    let pinned = facts.situation.pinned;
    let trained = beside.as_ref().map(|(case, _)| *case).filter(|case| !(pinned && case.yields_to_a_pin()));
    let case = match trained {
        _ if servers.changing(facts) => Case::Scaling,
        Some(case) => case,
        None if unscaled.is_some() => Case::AutoscalerFailing,
        None if pinned => Case::Pinned,
        None if poll.is_some() => Case::PollFailed,
        None if facts.situation.replicas.is_none() => Case::Autoscaled,
        None => Case::Serving,
    };
    let mut message = format!("revision {id} is served");
    if pinned {
        message.push_str(&pin(facts));
    }
    if let Some(relapse) = causes::relapse(servers.former(), facts.now).filter(|_| case != Case::Scaling) {
        let _ = write!(message, "; {}", relapse.cause.message);
    }
    match worst.filter(|_| case == Case::Scaling) {
        Some(worst) => {
            let what =
                if servers.short(facts) { "not by as many pods as wanted" } else { "pods are removed" };
            let _ = write!(message, ", and {what}: {}", worst.cause.message);
        }
        None if case == Case::Scaling => message.push_str(", and pods are added, removed or replaced"),
        None if case == Case::Autoscaled => message.push_str(&scaling::decided(facts)),
        None => {}
    }
    if let Some(cause) = &unscaled {
        let _ = write!(message, "; {}", cause.message);
    }
    if let Some(said) = beside.map(|(_, said)| said).or(poll.map(|poll| poll.message)) {
        let _ = write!(message, "; {said}");
    } else if let Some(why) = interruption(facts).filter(|_| matches!(case, Case::Serving | Case::Pinned)) {
        let _ = write!(message, "; an update will interrupt it, because {why}");
    }
    let names_it = unscaled.filter(|_| case == Case::AutoscalerFailing);
    Standing { case, cause: names_it, message }
}

/// What a pin holds back.
fn pin(facts: &Facts<'_>) -> String {
    let said = ", as spec.rollout.revision says";
    let trained = facts.situation.training.as_ref().and_then(|training| training.newest.as_ref());
    match (&facts.situation.resolution, trained) {
        _ if facts.situation.overridden.is_some() => format!("{said}, although the gate refused it"),
        (_, Some(newest)) if newest.refused.is_none() && !newest.needs_approval => {
            format!("{said}; the newest training gave {}", revision_id(&newest.revision.digest))
        }
        (Some(newest), None) => format!("{said}; the source holds {}", revision_id(&newest.revision.digest)),
        _ => said.to_owned(),
    }
}

/// Why the last look whether the source or the data changed failed, if it did, with a sentence that says so.
pub(super) fn poll_failure(facts: &Facts<'_>) -> Option<Cause> {
    let said = |cause: &Cause, how: String| {
        Some(Cause { message: format!("{how}: {}", cause.message), ..cause.clone() })
    };
    let training = facts.situation.training.as_ref();
    if let Some(cause) = training.and_then(|training| training.look_failed.as_ref()) {
        return said(cause, "looking whether the data changed failed, and is tried again".to_owned());
    }
    match &facts.situation.source {
        SourceState::Retrying { cause, at, poll: true } => {
            said(cause, format!("looking whether the source changed failed, and is tried again at {at}"))
        }
        SourceState::Refused { cause, poll: true } => {
            said(cause, "what the source holds now cannot be served".to_owned())
        }
        _ => None,
    }
}

/// The word of that, for the status: while another look is at work, the former one's. `looking` is whether one is.
pub(super) fn look_failed(facts: &Facts<'_>, looking: bool, known: Option<&String>) -> Option<String> {
    let reason = poll_failure(facts).map(|cause| text::one_line(&cause.reason, MAX_REASON));
    reason.or_else(|| known.filter(|_| looking).cloned())
}

/// Why a change of this Model interrupts its service, if it does: with one pod and no room for a second.
fn interruption(facts: &Facts<'_>) -> Option<&'static str> {
    let rollout = facts.model.rollout().ok()?;
    if rollout.strategy == RolloutStrategy::Recreate {
        return Some("spec.rollout.strategy is Recreate");
    }
    (rollout.surge == ResolvedSurge::None && facts.situation.replicas == Some(1))
        .then_some("there is one pod and none may be added (spec.rollout.surge: One adds one)")
}

/// Says that something could not be written. A Model that is served as its spec says stays ready: a moment without an API
/// server changes nothing for its clients.
fn apply_failing(facts: &Facts<'_>, servers: &Servers<'_>, standing: Standing) -> Standing {
    let Some(failure) = facts.applied.failures.first() else { return standing };
    let row = standing.case.row();
    if row.stalled.is(true) {
        return standing;
    }
    let said = format!("{}: {}", failure.child, failure.cause.message);
    if row.ready.is(true) && !servers.ready.is_empty() && facts.was_ready() {
        return Standing::new(Case::ApplyFailingServed, format!("{}; {said}", standing.message));
    }
    let mut failing = Standing::caused(Case::ApplyFailing, &failure.cause);
    failing.message = said;
    failing
}
