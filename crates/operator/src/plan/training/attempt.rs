//! The attempts at what is trained now, as their Jobs tell them, and what a failed one means for the next.

use jiff::{Timestamp, fmt::strtime, tz::TimeZone};
use k8s_openapi::api::batch::v1::Job;
use modelwright_api::{
    conditions::{Cause, Class, Reason},
    contract::annotations,
};

use crate::{
    causes::{TrainingJob, training_job},
    observe::Observed,
    plan::{attempts, metadata::Owner},
};

/// The time in the name of a run, which makes it unique in a store and sorts runs.
const TIME: &str = "%Y%m%dt%H%M%Sz";

/// A training Job of this Model.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    pub(super) job: &'a Job,
    pub(super) name: &'a str,
    pub(super) number: u32,
    pub(super) state: TrainingJob,
    /// When it ended, if it did.
    pub(super) ended: Timestamp,
    /// The run that it belongs to.
    pub(super) run: &'a str,
    /// The number of the attempt at that run, from 0.
    pub(super) tried: u32,
    /// How many attempts at the run before it failed in a way that counts.
    failures: u32,
    /// Whether it only stands for the end of attempts, and why.
    pub(super) given_up: bool,
}

impl<'a> Attempt<'a> {
    /// Every attempt at what is trained now, the newest last, and the Jobs that trained something else.
    pub(super) fn all(
        observed: &'a Observed,
        owner: &Owner<'_>,
        trained_from: &str,
        now: Timestamp,
    ) -> (Vec<Self>, Vec<&'a Job>) {
        let (same, others) = attempts::jobs(observed, owner, "train", trained_from);
        let pods = || observed.pods.iter().map(AsRef::as_ref);
        let attempt = |(in_name, job): attempts::Numbered<'a>| {
            let given_up = attempts::annotation(job, annotations::GIVEN_UP);
            let state = match given_up {
                Some(why) => TrainingJob::Failed(Cause::new(Reason::TrainingStalled, why)),
                None => training_job(job, pods(), now),
            };
            Self {
                job,
                name: attempts::name(job),
                number: in_name,
                state,
                ended: attempts::end(job, pods(), now),
                run: attempts::annotation(job, annotations::RUN).unwrap_or_default(),
                tried: attempts::count(job, annotations::ATTEMPT),
                failures: attempts::count(job, annotations::FAILURES),
                given_up: given_up.is_some(),
            }
        };
        (same.into_iter().map(attempt).collect(), others)
    }

    /// When its run began.
    pub(super) fn started(&self) -> Timestamp {
        started(self.run).or_else(|| attempts::created(self.job)).unwrap_or(self.ended)
    }

    /// How many attempts at the run failed in a way that counts, this one included if it failed so.
    pub(super) fn failures_with(&self, cause: &Cause) -> u32 {
        self.failures + u32::from(counts(cause) && !self.given_up)
    }

    /// Which of the growing pauses follows this failure. Nothing is wrong with what was interrupted, so it need not wait for anything
    /// to get better, nor does it lengthen the pause after what counts.
    pub(super) fn pauses(&self, cause: &Cause, failures: u32) -> u32 {
        if is_interrupted(cause) {
            1
        } else if counts(cause) {
            failures
        } else {
            self.tried + 1
        }
    }

    /// Whether a Job of it is there that is or will be at work.
    pub(super) fn is_at_work(&self) -> bool {
        matches!(self.state, TrainingJob::Queued | TrainingJob::WithoutPod | TrainingJob::Active { .. })
    }
}

/// Whether a failure counts against `retries`: not what waits for somebody, and not what took the node away.
fn counts(cause: &Cause) -> bool {
    matches!(cause.class, Class::Transient | Class::Bug) && !is_interrupted(cause)
}

/// Whether the training was interrupted from outside.
pub(super) fn is_interrupted(cause: &Cause) -> bool {
    let interrupted = [Reason::TrainingPreempted, Reason::Evicted, Reason::JobPodLost];
    interrupted.iter().any(|reason| cause.reason == reason.as_str())
}

/// Whether another attempt may help at all.
pub(super) fn is_retried(cause: &Cause, failures: u32, retries: u32) -> bool {
    match cause.class {
        Class::User | Class::Settled | Class::Working => false,
        Class::Wait | Class::Transient | Class::Bug => failures <= retries,
    }
}

/// What is said when no attempt is left.
pub(super) fn exhausted(failures: u32, retries: u32, last: &Cause) -> Cause {
    let times = if failures == 1 { "once".to_owned() } else { format!("{failures} times") };
    let message = format!(
        "the training failed {times}, and spec.training.retries is {retries}; change the spec, or set the annotation {}; \
         the last: {}",
        annotations::RETRAIN_AT,
        last.message
    );
    Cause::new(Reason::RetriesExhausted, message)
}

/// The name of a run that begins now.
pub(super) fn run(trained_from: &str, now: Timestamp) -> String {
    let hash: String = trained_from.chars().take(8).collect();
    // The format is fixed, so that it cannot fail; without a time the name is still one.
    let time = strtime::format(TIME, &now.to_zoned(TimeZone::UTC)).unwrap_or_default();
    format!("{time}-{hash}")
}

/// When a run began, as its name says.
pub(super) fn started(run: &str) -> Option<Timestamp> {
    let (time, _) = run.split_once('-')?;
    let shown = strtime::parse(TIME, time).ok()?.to_datetime().ok()?;
    shown.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_says_when_it_began() {
        let now: Timestamp = "2026-11-27T03:04:05Z".parse().unwrap();
        let name = run("0123456789abcdef", now);
        assert_eq!(name, "20261127t030405z-01234567");
        assert_eq!((started(&name), started("x"), started("")), (Some(now), None, None));
    }
}
