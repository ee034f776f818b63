//! What the planning of every kind of Job shares: which Jobs there are, when another attempt is due, and how long one is kept.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use modelwright_api::contract::annotations;

use super::{JobChanges, metadata::Owner};
use crate::causes;
use crate::observe::{Observed, Ownership, ownership};

/// A Job without a pod for this long was probably refused one.
pub(super) const NO_POD: Duration = Duration::from_secs(10);
/// Whoever frees a quota does not tell, so a Job without a pod is looked at again.
const WITHOUT_POD_AGAIN: Duration = Duration::from_secs(30);
/// So much the clocks of a cluster may differ.
pub(super) const SKEW: Duration = Duration::from_secs(10);
/// How long a finished Job is kept for people to look at.
const KEPT: Duration = Duration::from_hours(24);
/// The pauses between attempts double from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// The longest after a failure that passes by itself, such as a store that is away: it bounds how long after the end of an
/// outage what waited for it goes on waiting.
const LONGEST_PASSING_PAUSE: Duration = Duration::from_mins(1);

/// A Job with the number in its name.
pub(super) type Numbered<'a> = (u32, &'a Job);

/// The Jobs of one kind that this Model controls: those that were made for `hash`, by their numbers, and those for anything else.
/// `kind` stands between the Model's name and the hash in a Job's name.
pub(super) fn jobs<'a>(
    observed: &'a Observed,
    owner: &Owner<'_>,
    kind: &str,
    hash: &str,
) -> (Vec<Numbered<'a>>, Vec<&'a Job>) {
    let ours = observed.jobs.iter().map(AsRef::as_ref).filter(|job: &&Job| {
        let rest = name(job).strip_prefix(owner.name).and_then(|rest| rest.strip_prefix('-'));
        ownership(&job.metadata, owner.name, owner.uid) == Ownership::Ours
            && rest.and_then(|rest| rest.strip_prefix(kind)).is_some_and(|rest| rest.starts_with('-'))
    });
    let (mut same, mut others) = (Vec::new(), Vec::new());
    for job in ours {
        let number = name(job).rsplit('-').next().and_then(|number| number.parse().ok());
        match number {
            Some(number) if annotation(job, annotations::JOB_HASH) == Some(hash) => same.push((number, job)),
            _ => others.push(job),
        }
    }
    same.sort_by_key(|(number, _)| *number);
    (same, others)
}

pub(super) fn name(job: &Job) -> &str {
    job.metadata.name.as_deref().unwrap_or_default()
}

pub(super) fn annotation<'a>(job: &'a Job, key: &str) -> Option<&'a str> {
    job.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

/// The number that an annotation of a Job counts; 0 without it.
pub(super) fn count(job: &Job, key: &str) -> u32 {
    annotation(job, key).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// When a Job was made.
pub(super) fn created(job: &Job) -> Option<Timestamp> {
    job.metadata.creation_timestamp.as_ref().map(|time| time.0)
}

/// When a Job ended, if it did.
pub(super) fn ended(job: &Job) -> Option<Timestamp> {
    let end = causes::finished(job)?;
    Some(end.last_transition_time.as_ref().map_or(Timestamp::MIN, |time| time.0))
}

/// When an attempt ended that ended: as its Job's controller says, or as its pods do, which are done before the controller has
/// looked at them. An end that is to come was written by a clock that is ahead, or one was put back since, and what is due after
/// it must not wait for that. Then, and where nobody says, the time counts at which the API server made the Job.
///
/// Never the present time: what follows from it is written into the status, and the next pass would write another.
pub(super) fn end<'a>(job: &Job, pods: impl IntoIterator<Item = &'a Pod>, now: Timestamp) -> Timestamp {
    let can_be = |time: &Timestamp| *time <= later(now, SKEW);
    let created = created(job);
    // A node's clock may be behind that of the API server.
    let of_pods = causes::end_of_pods(job, pods).map(|end| created.map_or(end, |created| end.max(created)));
    [ended(job), of_pods, created].into_iter().flatten().find(can_be).unwrap_or(Timestamp::MIN)
}

pub(super) fn is_over(job: &Job) -> bool {
    ended(job).is_some()
}

/// Whether what ended then was there long enough for people to look at.
pub(super) fn is_old(ended: Timestamp, now: Timestamp) -> bool {
    now.duration_since(ended) > signed(KEPT)
}

/// A Job has no pod yet: asks why when it should have one.
pub(super) fn without_pod(
    job: &Job,
    now: Timestamp,
    jobs: &mut JobChanges,
    look_again_at: &mut Option<Timestamp>,
) {
    let due = later(created(job).unwrap_or(now), NO_POD);
    if now >= due {
        jobs.without_pod.push(name(job).to_owned());
        *look_again_at = Some(later(now, WITHOUT_POD_AGAIN));
    } else {
        *look_again_at = Some(due);
    }
}

/// The pause after this many attempts that failed one after the other.
pub(super) fn pause(failures: u32) -> Duration {
    doubled(FIRST_PAUSE, LONGEST_PAUSE, failures)
}

/// The same after failures that pass by themselves.
pub(super) fn passing_pause(failures: u32) -> Duration {
    doubled(FIRST_PAUSE, LONGEST_PASSING_PAUSE, failures)
}

/// The pause after this many failures, where pauses double from the first to the longest.
pub(super) fn doubled(first: Duration, longest: Duration, failures: u32) -> Duration {
    first.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(longest)
}

/// A time after another.
pub(super) fn later(time: Timestamp, pause: Duration) -> Timestamp {
    time.saturating_add(signed(pause)).unwrap_or(Timestamp::MAX)
}

/// A pause as jiff counts it; every pause here is short.
fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
