//! What is to be done about a training: wait for a Job, make the next attempt, begin another run, look at the data.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use modelwright_api::{
    Model,
    conditions::{Cause, Class, Reason},
    contract::annotations,
    status::{TrainingPhase, TrainingStatus},
    training::Training,
};

use super::{
    Trained, TrainingSituation, TrainingState,
    attempt::{self, Attempt},
    data::{self, Look, Looks},
    job::{self, Request},
    limits::Limits,
    past::Past,
};
use crate::{
    causes::{self, JobState, TrainingJob},
    observe::Observed,
    plan::{Resolution, attempts, deployment, identity, metadata::Owner, origin::Found, scale},
    settings::Settings,
};

/// How long after the end of its grace period a pod is waited for.
const UNREACHABLE: Duration = Duration::from_mins(1);

/// What the planning of a training looks at.
pub(in crate::plan) struct View<'a> {
    pub(in crate::plan) model: &'a Model,
    pub(in crate::plan) training: &'a Training,
    pub(in crate::plan) owner: &'a Owner<'a>,
    pub(in crate::plan) observed: &'a Observed,
    pub(in crate::plan) settings: &'a Settings,
    pub(in crate::plan) trained_from: &'a str,
    /// The revision that `spec.rollout.revision` names.
    pub(in crate::plan) pin: Option<&'a str>,
    pub(in crate::plan) now: Timestamp,
}

/// Everything that is known, before it is decided what to do.
pub(super) struct Known<'a> {
    limits: Limits,
    pub(super) attempts: Vec<Attempt<'a>>,
    /// Jobs that train something else and have not ended.
    others_run: bool,
    pub(super) looks: Looks<'a>,
    /// Trainings that ended with a revision, the newest first.
    past: Vec<Past>,
    /// When the newest training began; of one of which that is no longer known, now.
    started: Option<Timestamp>,
    /// When the data was looked at last, by a training or a look, if it is to be looked at; of what that is no longer known of, now.
    checked: Option<Timestamp>,
}

impl Known<'_> {
    /// What the data looked like that was trained on last, or that the last look saw before a training that failed.
    fn fingerprint(&self) -> Option<&str> {
        let failed = matches!(self.attempts.last().map(|latest| &latest.state), Some(TrainingJob::Failed(_)));
        let looked = self.looks.latest.as_ref().and_then(Look::fingerprint);
        let trained = self.past.first().and_then(|past| past.fingerprint.as_deref());
        if failed { looked.or(trained) } else { trained.or(looked) }
    }

    /// Whether the Job of the last attempt is not over, although its pod said all there is.
    fn is_ending(&self) -> bool {
        self.attempts.last().is_some_and(|latest| !latest.given_up && !attempts::is_over(latest.job))
    }
}

impl<'a> View<'a> {
    /// What is to be done. Fails if the spec cannot be carried out.
    pub(in crate::plan) fn plan(&self) -> Result<Found, Cause> {
        let known = self.known()?;
        let mut found = Found { resolution: self.resolution(&known), ..Found::default() };
        found.jobs.deleted = self.superseded(&known);
        let situation = self.situation(&known);
        found.training = Some(situation);
        match known.attempts.last() {
            Some(latest) if latest.is_at_work() => self.wait_for(&known, latest, &mut found)?,
            Some(Attempt { state: TrainingJob::Failed(cause), .. }) => {
                self.after_failure(&known, cause, &mut found)?;
            }
            _ => self.next(&known, &mut found)?,
        }
        Ok(found)
    }

    fn known(&self) -> Result<Known<'a>, Cause> {
        if self.training.output.is_none() {
            let message = "spec.training.output: is missing; write output: {uri: s3://BUCKET/PATH}";
            return Err(Cause::new(Reason::InvalidSpec, message));
        }
        let limits = Limits::read(self.training)?;
        let (attempts, others) = Attempt::all(self.observed, self.owner, self.trained_from, self.now);
        let looks = self.looks();
        let past = self.past(&attempts);
        let status = self.status();
        let time = |text: Option<&String>| text.and_then(|text| text.parse::<Timestamp>().ok());
        let told = status.and_then(|status| time(status.started_at.as_ref()));
        let started = attempts.last().map(Attempt::started).into_iter().chain(told).max();
        let looked = looks.latest.as_ref().filter(|look| !look.state.is_at_work()).map(|look| look.ended);
        let ended =
            attempts.iter().filter(|attempt| !attempt.is_at_work()).map(|attempt| attempt.ended).max();
        let told = status.and_then(|status| time(status.checked_at.as_ref()));
        let checked = looked.into_iter().chain(ended).chain(told).max();
        let at_rest = !past.is_empty() && attempts.is_empty();
        Ok(Known {
            others_run: others.iter().any(|job| !attempts::is_over(job)),
            started: started.or_else(|| (!past.is_empty()).then_some(self.now)),
            // Never now while a training is at work: the status could not remember it, and every pass would write another.
            checked: checked
                .or_else(|| at_rest.then_some(self.now))
                .filter(|_| limits.poll_interval.is_some()),
            limits,
            attempts,
            looks,
            past,
        })
    }

    pub(super) fn retrain_at(&self) -> Option<&'a str> {
        identity::annotation(self.model, annotations::RETRAIN_AT)
    }

    /// What the status says of a training, if it is the one that is asked for now.
    pub(super) fn status(&self) -> Option<&'a TrainingStatus> {
        let known = self.model.status.as_ref()?.training.as_ref()?;
        (known.trained_from.as_deref() == Some(self.trained_from)).then_some(known)
    }

    /// The newest revision that may be served. Who names a revision that the gate refused wants it all the same.
    fn resolution(&self, known: &Known<'_>) -> Option<Resolution> {
        let may = |past: &&Past| {
            let Trained { revision, refused, needs_approval, .. } = &past.trained;
            self.is_named(&revision.digest) || (refused.is_none() && !needs_approval)
        };
        let past = known.past.iter().find(may)?;
        Some(Resolution {
            resolved_from: self.trained_from.to_owned(),
            revision: past.trained.revision.clone(),
            fingerprint: past.fingerprint.clone(),
            checked_at: known.checked,
            facts: past.facts.clone(),
            refused: past.trained.refused.clone(),
        })
    }

    fn situation(&self, known: &Known<'_>) -> TrainingSituation {
        let latest = known.attempts.last();
        let status = self.status();
        let job = latest.map(|attempt| attempt.name.to_owned());
        TrainingSituation {
            trained_from: self.trained_from.to_owned(),
            state: TrainingState::Idle,
            job: job.or_else(|| status?.job.clone()),
            attempt: match latest {
                Some(latest) => latest.tried + 1,
                None => status.and_then(|status| status.attempt?.try_into().ok()).unwrap_or(0),
            },
            started_at: known.started,
            next_at: self.next_tick(known),
            newest: known.past.first().map(|past| past.trained.clone()),
            fingerprint: known.fingerprint().map(str::to_owned),
            checked_at: known.checked,
            looking: known.looks.latest.as_ref().is_some_and(|look| look.state.is_at_work()),
            look_failed: known.looks.latest.as_ref().and_then(data::look_failed),
            expiring: Vec::new(),
            retention_failed: None,
        }
    }

    fn next_tick(&self, known: &Known<'_>) -> Option<Timestamp> {
        known.limits.schedule.as_ref()?.next_after(known.started.unwrap_or(self.now))
    }

    /// A Job is at work.
    fn wait_for(&self, known: &Known<'a>, latest: &Attempt<'_>, found: &mut Found) -> Result<(), Cause> {
        let state = match &latest.state {
            TrainingJob::Queued => TrainingState::Queued,
            TrainingJob::Active { phase, held_up } => {
                if let Some(cause) = self.stalled(known, latest) {
                    return self.after_stall(known, latest, *phase, &cause, found);
                }
                TrainingState::Running { phase: *phase, held_up: held_up.clone() }
            }
            _ => {
                attempts::without_pod(latest.job, self.now, &mut found.jobs, &mut found.look_again_at);
                let phase = TrainingPhase::Starting;
                TrainingState::Running { phase, held_up: None }
            }
        };
        set(found, state);
        Ok(())
    }

    /// Why a Job is ended that is at work: it makes no progress. Nobody ends one of a suspended Model, since no other would follow.
    fn stalled(&self, known: &Known<'_>, latest: &Attempt<'_>) -> Option<Cause> {
        let timeout = known.limits.stall_timeout.filter(|_| !self.is_suspended())?;
        let progress = self.observed.progress.as_ref().filter(|progress| progress.job == latest.name)?;
        let seconds = progress.told.as_ref()?.stalled_seconds;
        if seconds <= timeout.as_secs() {
            return None;
        }
        let message = format!(
            "Job {} made no progress for {seconds} s, and spec.training.stallTimeout is {} s; it was ended",
            latest.name,
            timeout.as_secs()
        );
        Some(Cause::new(Reason::TrainingStalled, message))
    }

    /// The Job that made no progress goes, and with it the memory of how often the training failed. So first a Job is made that never
    /// starts and says that this attempt failed; once it is there, what made no progress is deleted, and another attempt follows
    /// it as after any failure.
    fn after_stall(
        &self,
        known: &Known<'a>,
        latest: &Attempt<'_>,
        phase: TrainingPhase,
        cause: &Cause,
        found: &mut Found,
    ) -> Result<(), Cause> {
        let request = Request {
            number: latest.number + 1,
            run: latest.run,
            attempt: latest.tried,
            failures: latest.failures_with(cause),
            trigger: "stalled",
            given_up: Some(cause.message.as_str()),
        };
        let job = job::train(self, &known.limits, &request)?;
        self.make(job, found);
        set(found, TrainingState::Running { phase, held_up: Some(cause.clone()) });
        Ok(())
    }

    /// The last attempt failed: another one is due now, later, or not before the user acts or it is time for another training.
    fn after_failure(&self, known: &Known<'a>, cause: &Cause, found: &mut Found) -> Result<(), Cause> {
        let Some(latest) = known.attempts.last() else { return Ok(()) };
        let failures = latest.failures_with(cause);
        let retries = known.limits.retries;
        if !attempt::is_retried(cause, failures, retries) {
            let exhausted = failures > retries && cause.class != Class::User;
            let cause = if exhausted { attempt::exhausted(failures, retries, cause) } else { cause.clone() };
            set(found, TrainingState::Failed { cause });
            return self.next(known, found);
        }
        let at = attempts::later(latest.ended, attempts::pause(latest.pauses(cause, failures)));
        set(found, TrainingState::Retrying { cause: cause.clone(), at });
        if self.is_suspended() {
            return Ok(());
        }
        if self.now < at {
            found.look_again_at = Some(at);
            return Ok(());
        }
        let request = Request {
            number: latest.number + 1,
            run: latest.run,
            attempt: latest.tried + 1,
            failures,
            trigger: attempts::annotation(latest.job, annotations::TRIGGER).unwrap_or_default(),
            given_up: None,
        };
        self.start(known, &request, found)
    }

    /// Begins another training if one is due, or looks whether the data changed.
    fn next(&self, known: &Known<'a>, found: &mut Found) -> Result<(), Cause> {
        if self.is_suspended() {
            return Ok(());
        }
        let number = known.attempts.last().map_or(0, |latest| latest.number + 1);
        if let Some(trigger) = self.due(known) {
            let run = attempt::run(self.trained_from, self.now);
            let request =
                Request { number, run: &run, attempt: 0, failures: 0, trigger: &trigger, given_up: None };
            return self.start(known, &request, found);
        }
        found.look_again_at = self.next_tick(known);
        self.look_if_due(known, found)
    }

    /// What another training is due for.
    fn due(&self, known: &Known<'_>) -> Option<String> {
        if known.past.is_empty() && known.attempts.is_empty() {
            let first = deployment::annotated(self.observed).is_none()
                && self.model.status.as_ref().is_none_or(|status| status.training.is_none());
            return Some(match (first, self.retrain_at()) {
                (true, _) => "first".to_owned(),
                (false, None) => "changed".to_owned(),
                (false, Some(value)) => format!("changed, or retrain-at {value}"),
            });
        }
        let changed = known.looks.latest.as_ref().and_then(Look::changed);
        // What cannot be compared is new only to a training that has seen data.
        let (trained, started) = (!known.past.is_empty(), known.started.unwrap_or(self.now));
        if changed.is_some_and(|(at, compared)| at > started && (compared || trained)) {
            return Some("data changed".to_owned());
        }
        self.next_tick(known).filter(|tick| *tick <= self.now).map(|tick| format!("cron {tick}"))
    }

    fn look_if_due(&self, known: &Known<'a>, found: &mut Found) -> Result<(), Cause> {
        if let Some(look) = known.looks.latest.as_ref().filter(|look| look.state.is_at_work()) {
            if look.state == JobState::WithoutPod {
                attempts::without_pod(look.job, self.now, &mut found.jobs, &mut found.look_again_at);
            }
            return Ok(());
        }
        let Some((interval, checked)) = known.limits.poll_interval.zip(known.checked) else { return Ok(()) };
        let due = attempts::later(checked, interval);
        if self.now < due {
            found.look_again_at = found.look_again_at.into_iter().chain([due]).min();
            return Ok(());
        }
        if known.others_run {
            return Ok(());
        }
        let job = self.look(known.looks.next, known.fingerprint())?;
        self.make(job, found);
        Ok(())
    }

    /// Makes the Job of an attempt. There are never two at once: what still runs is deleted first.
    fn start(&self, known: &Known<'a>, request: &Request<'_>, found: &mut Found) -> Result<(), Cause> {
        let job = job::train(self, &known.limits, request)?;
        let look = known.looks.latest.as_ref().filter(|look| look.state.is_at_work());
        found.jobs.deleted.extend(look.map(|look| attempts::name(look.job).to_owned()));
        if known.others_run || known.is_ending() || look.is_some() {
            return Ok(());
        }
        if let Some(until) = self.lingers(known) {
            found.look_again_at = Some(until);
            return Ok(());
        }
        if let Some(situation) = &mut found.training {
            situation.job.clone_from(&job.metadata.name);
            situation.attempt = request.attempt + 1;
            if request.attempt == 0 {
                situation.started_at = attempt::started(request.run);
                situation.next_at =
                    known.limits.schedule.as_ref().and_then(|schedule| schedule.next_after(self.now));
            }
        }
        let phase = TrainingPhase::Starting;
        set(
            found,
            match &self.training.queue {
                Some(_) => TrainingState::Queued,
                None => TrainingState::Running { phase, held_up: None },
            },
        );
        self.make(job, found);
        Ok(())
    }

    /// How long to wait for what an attempt that was ended left behind, if there is anything: its Job, or a pod of it that may still
    /// bring its state out, where the next attempt would do so as well. A pod that should have been gone for a while is on a node
    /// that nobody reaches, and is not waited for.
    fn lingers(&self, known: &Known<'_>) -> Option<Timestamp> {
        let again = attempts::later(self.now, attempts::NO_POD);
        if known.attempts.iter().any(Attempt::is_at_work) {
            return Some(again);
        }
        let of_no_job =
            |pod: &&Pod| self.observed.jobs.iter().all(|job| causes::pods_of_job(job, [*pod]).is_empty());
        let pods = self.observed.pods.iter().map(AsRef::as_ref);
        let pods = pods.filter(|pod| causes::is_training(pod) && !causes::has_ended(pod)).filter(of_no_job);
        let unreachable_at = |pod: &Pod| {
            let due = pod.metadata.deletion_timestamp.as_ref()?;
            Some(attempts::later(due.0, UNREACHABLE))
        };
        pods.map(|pod| unreachable_at(pod).unwrap_or(again)).filter(|at| *at > self.now).max()
    }

    fn make(&self, job: Job, found: &mut Found) {
        found.jobs.created = Some(Box::new(job));
        found.look_again_at = Some(attempts::later(self.now, attempts::NO_POD));
    }

    fn is_suspended(&self) -> bool {
        scale::is_suspended(self.model)
    }
}

fn set(found: &mut Found, state: TrainingState) {
    if let Some(situation) = &mut found.training {
        situation.state = state;
    }
}
