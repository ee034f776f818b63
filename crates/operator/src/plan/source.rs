//! What the source holds: what is known of it, and the Job that finds out.
//!
//! What is known comes, the newest first, from a Job that succeeded, from the status, and from the Deployment's annotations.
//! The status is a cache: without it nothing is resolved again, because the Job or the Deployment still says it.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use modelwright_api::{
    Model,
    conditions::{Cause, Class},
    contract::{annotations, names},
    model::Source,
    status::Retrievable,
};

use super::{
    Resolution, Revision, SourceState, attempts, deployment, metadata::Owner, origin::Found, resolve_job,
    resolve_job::Request, scale,
};
use crate::{
    causes::{JobState, job_state},
    facts,
    observe::Observed,
    settings::Settings,
};

/// A mistake of ours is not tried for ever.
const MOST_BUGS: u32 = 5;

/// A resolve Job of this Model.
struct Attempt<'a> {
    job: &'a Job,
    name: &'a str,
    number: u32,
    state: JobState,
    /// How many attempts before it failed by a mistake of ours.
    bugs: u32,
    /// When it ended, if it did.
    ended: Timestamp,
}

/// What the planning of a source looks at.
pub(super) struct View<'a> {
    pub(super) model: &'a Model,
    pub(super) owner: &'a Owner<'a>,
    pub(super) observed: &'a Observed,
    pub(super) settings: &'a Settings,
    pub(super) resolved_from: &'a str,
    pub(super) now: Timestamp,
}

impl View<'_> {
    /// What is to be done about `source`. Fails if the Job cannot be made as the spec says.
    pub(super) fn plan(&self, source: &Source) -> Result<Found, Cause> {
        let mut plan = Found::default();
        let (attempts, others) = self.attempts();
        plan.jobs.deleted = self.superseded(&attempts, &others);
        plan.resolution = self.resolution(source, &attempts);
        let known = plan.resolution.is_some();
        let Some(latest) = attempts.last() else {
            self.start(source, &mut plan, 0, others.iter().any(|job| !attempts::is_over(job)))?;
            return Ok(plan);
        };
        match &latest.state {
            JobState::WithoutPod | JobState::Active(_) => self.wait_for(latest, known, &mut plan),
            JobState::Succeeded(_) => {
                self.start(source, &mut plan, latest.number + 1, false)?;
            }
            JobState::Failed(cause) => self.after_failure(source, &attempts, cause, &mut plan)?,
        }
        Ok(plan)
    }

    /// The Jobs that ask what is asked now, and the names of those that ask something else.
    fn attempts(&self) -> (Vec<Attempt<'_>>, Vec<&Job>) {
        let (same, others) = attempts::jobs(self.observed, self.owner, "resolve", self.resolved_from);
        let pods = || self.observed.pods.iter().map(AsRef::as_ref);
        let attempt = |(number, job)| Attempt {
            job,
            name: attempts::name(job),
            number,
            state: job_state(job, pods(), self.now),
            bugs: attempts::count(job, annotations::FAILURES),
            ended: attempts::end(job, pods(), self.now),
        };
        (same.into_iter().map(attempt).collect(), others)
    }

    /// Jobs that nobody needs any more: those of another question, attempts before the last success and the last failure, and
    /// what is old and remembered elsewhere.
    fn superseded(&self, attempts: &[Attempt<'_>], others: &[&Job]) -> Vec<String> {
        let newest = |wanted: fn(&JobState) -> bool| {
            attempts.iter().filter(|attempt| wanted(&attempt.state)).map(|attempt| attempt.number).max()
        };
        let success = newest(|state| matches!(state, JobState::Succeeded(_)));
        let failure = newest(|state| matches!(state, JobState::Failed(_)));
        let old = attempts.iter().filter(|attempt| match &attempt.state {
            JobState::Succeeded(outcome) => {
                Some(attempt.number) != success
                    || (self.is_old(attempt) && self.is_remembered(outcome.digest.as_deref()))
            }
            JobState::Failed(_) => {
                Some(attempt.number) != failure
                    || (self.is_old(attempt) && success.is_some_and(|success| success > attempt.number))
            }
            JobState::Active(_) | JobState::WithoutPod => false,
        });
        let others = others.iter().filter_map(|job| job.metadata.name.clone());
        others.chain(old.map(|attempt| attempt.name.to_owned())).collect()
    }

    fn is_old(&self, attempt: &Attempt<'_>) -> bool {
        attempts::is_old(attempt.ended, self.now)
    }

    /// Whether the Deployment says what this Job found out. One that found nothing new says nothing more.
    fn is_remembered(&self, digest: Option<&str>) -> bool {
        let Some(digest) = digest else { return true };
        deployment::annotated(self.observed).is_some_and(|deployed| {
            deployed.resolved_from.as_deref() == Some(self.resolved_from)
                && deployed.revision.digest == digest
        })
    }

    /// What the source was found to hold.
    fn resolution(&self, source: &Source, attempts: &[Attempt<'_>]) -> Option<Resolution> {
        let remembered = self.remembered(source);
        let success = attempts.iter().rev().find_map(|attempt| match &attempt.state {
            JobState::Succeeded(outcome) => Some((attempt, outcome)),
            _ => None,
        });
        let Some((attempt, outcome)) = success else { return remembered };
        if self.last_check().is_some_and(|checked_at| checked_at > attempt.ended) {
            // The Job of a later look was deleted.
            return remembered;
        }
        let checked_at = Some(attempt.ended);
        match &outcome.digest {
            Some(digest) => Some(Resolution {
                resolved_from: self.resolved_from.to_owned(),
                revision: revision(source, digest, outcome.retrievable),
                fingerprint: outcome.fingerprint.clone(),
                checked_at,
                facts: facts::of(outcome),
                refused: None,
            }),
            // It looked as before.
            None => remembered.map(|remembered| Resolution { checked_at, ..remembered }),
        }
    }

    /// When the source was looked at last, as the status says. A time that is to come is none: a clock was put back.
    fn last_check(&self) -> Option<Timestamp> {
        let known = self.model.status.as_ref()?.source.as_ref()?;
        let at: Option<Timestamp> =
            (known.resolved_from == self.resolved_from).then(|| known.checked_at.as_ref()?.parse().ok())?;
        at.filter(|at| *at <= attempts::later(self.now, attempts::SKEW))
    }

    /// What status and Deployment know, and what need not be asked.
    fn remembered(&self, source: &Source) -> Option<Resolution> {
        let base = |revision, checked_at| Resolution {
            resolved_from: self.resolved_from.to_owned(),
            revision,
            checked_at,
            ..Resolution::default()
        };
        let status = self.model.status.as_ref().and_then(|status| status.source.as_ref());
        if let Some(known) = status.filter(|known| known.resolved_from == self.resolved_from) {
            let revision = Revision {
                digest: known.digest.clone(),
                uri: known.uri.clone(),
                retrievable: known.retrievable,
            };
            // A poll is due an interval after the last look, or after it is known again that nobody looked.
            let checked_at = self.last_check().unwrap_or(self.now);
            return Some(Resolution {
                fingerprint: known.fingerprint.clone(),
                ..base(revision, Some(checked_at))
            });
        }
        if let Some(deployed) = deployment::annotated(self.observed)
            && deployed.resolved_from.as_deref() == Some(self.resolved_from)
        {
            return Some(base(deployed.revision, Some(self.now)));
        }
        let pinned = published(source)?;
        Some(base(pinned, None))
    }

    /// A Job is at work.
    fn wait_for(&self, latest: &Attempt<'_>, known: bool, plan: &mut Found) {
        plan.source = SourceState::Resolving { job: latest.name.to_owned(), poll: known };
        if latest.state == JobState::WithoutPod {
            attempts::without_pod(latest.job, self.now, &mut plan.jobs, &mut plan.look_again_at);
        }
    }

    /// The last Job failed: another one is due now, later, or not before the user acts.
    fn after_failure(
        &self,
        source: &Source,
        attempts: &[Attempt<'_>],
        cause: &Cause,
        plan: &mut Found,
    ) -> Result<(), Cause> {
        let Some(latest) = attempts.last() else { return Ok(()) };
        let poll = plan.resolution.is_some();
        if poll {
            // What is known goes on being served, and the next poll asks again.
            let due = self.poll_due(Some(latest.ended))?;
            plan.source = match due {
                Some(at) => SourceState::Retrying { cause: cause.clone(), at, poll },
                // Nobody looks any more. What that look could not find out says nothing of what is there.
                None if cause.class != Class::User => SourceState::Quiet,
                None => SourceState::Refused { cause: cause.clone(), poll },
            };
            return self.start_if_due(source, plan, (latest.number + 1, 0), due);
        }
        let failed = failures(attempts);
        let bugs = latest.bugs + u32::from(cause.class == Class::Bug);
        let tries_on = match cause.class {
            Class::User | Class::Settled | Class::Working => false,
            Class::Bug => bugs < MOST_BUGS,
            Class::Wait | Class::Transient => true,
        };
        if !tries_on {
            plan.source = SourceState::Refused { cause: cause.clone(), poll };
            return Ok(());
        }
        let pause = match cause.class {
            Class::Transient => attempts::passing_pause(failed),
            _ => attempts::pause(failed),
        };
        let at = attempts::later(latest.ended, pause);
        plan.source = SourceState::Retrying { cause: cause.clone(), at, poll };
        self.start_if_due(source, plan, (latest.number + 1, bugs), Some(at))
    }

    /// Makes a Job if none is at work and something is to be found out.
    fn start(&self, source: &Source, plan: &mut Found, number: u32, another_runs: bool) -> Result<(), Cause> {
        let due = match &plan.resolution {
            None => Some(self.now),
            Some(known) => self.poll_due(known.checked_at)?,
        };
        if another_runs {
            // Never two at once; it is being deleted.
            return Ok(());
        }
        self.start_if_due(source, plan, (number, 0), due)
    }

    fn start_if_due(
        &self,
        source: &Source,
        plan: &mut Found,
        (attempt, bugs): (u32, u32),
        due: Option<Timestamp>,
    ) -> Result<(), Cause> {
        let Some(due) = due else { return Ok(()) };
        if scale::is_suspended(self.model) {
            return Ok(());
        }
        if self.now < due {
            plan.look_again_at = Some(due);
            return Ok(());
        }
        let known = plan.resolution.as_ref();
        let request = Request {
            source,
            resolved_from: self.resolved_from,
            attempt,
            bugs,
            unless: known.and_then(|known| known.fingerprint.as_deref()),
        };
        let job = resolve_job::job(self.model, self.owner, self.settings, &request)?;
        plan.source = SourceState::Resolving {
            job: job.metadata.name.clone().unwrap_or_default(),
            poll: known.is_some(),
        };
        plan.jobs.created = Some(Box::new(job));
        plan.look_again_at = Some(attempts::later(self.now, attempts::NO_POD));
        Ok(())
    }

    /// When the next poll is due after a look at this time.
    fn poll_due(&self, checked_at: Option<Timestamp>) -> Result<Option<Timestamp>, Cause> {
        let interval = self.model.poll_interval().map_err(|error| super::invalid(&error))?;
        Ok(interval.map(|interval| attempts::later(checked_at.unwrap_or(self.now), interval)))
    }
}

/// How many attempts failed one after the other; failed Jobs but the last are deleted, so numbers tell.
fn failures(attempts: &[Attempt<'_>]) -> u32 {
    let last = attempts.last().map_or(0, |attempt| attempt.number + 1);
    let success = attempts
        .iter()
        .filter(|attempt| matches!(attempt.state, JobState::Succeeded(_)))
        .map(|attempt| attempt.number + 1)
        .max();
    last - success.unwrap_or(0)
}

/// The revision of this digest, where it will be read from.
fn revision(source: &Source, digest: &str, retrievable: Option<Retrievable>) -> Revision {
    match &source.copy_to {
        Some(copy) => Revision {
            digest: digest.to_owned(),
            uri: published_at(&copy.uri, digest),
            retrievable: Some(Retrievable::Always),
        },
        None => Revision { digest: digest.to_owned(), uri: source.uri.clone(), retrievable },
    }
}

/// Where a store keeps a revision.
pub(super) fn published_at(prefix: &str, digest: &str) -> String {
    format!("{}/revisions/{}/", prefix.trim_end_matches('/'), names::revision_id(digest))
}

/// A source that is a published revision with its digest: there is nothing to find out that fetching does not verify.
fn published(source: &Source) -> Option<Revision> {
    let digest = source.digest.as_deref().filter(|_| source.copy_to.is_none())?;
    let folder = source.uri.trim_end_matches('/').rsplit_once("/revisions/")?.1;
    (folder == names::revision_id(digest)).then(|| Revision {
        digest: digest.to_owned(),
        uri: source.uri.clone(),
        retrievable: Some(Retrievable::Always),
    })
}
