//! What running trainings tell of their progress, for `status.training`. Best effort: kept in memory, asked every 15 seconds
//! while a training runs and only then, and nothing waits for it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use modelwright_api::{ModelStatus, training::progress::TrainingProgress};
use tracing::debug;

use crate::{
    observe::{Observed, Progress},
    plan::{Situation, training::TrainingState},
    pull::{Error, Puller, training_pod},
    report::differs_in_progress_alone,
    stores::{ModelKey, Triggers},
};

/// The pause between two questions, and between two writes of a status that differs in progress alone.
const INTERVAL: Duration = Duration::from_secs(15);
/// How long a container may take before it is asked for the first time.
const START: Duration = Duration::from_secs(2);
/// Questions in a row without an answer before that is said: a pod that begins or ends does not answer once.
const VAIN: u32 = 2;

/// What the training of each Model told, if one runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Trainings {
    puller: Puller,
    running: Arc<Mutex<HashMap<ModelKey, Running>>>,
}

/// A pod that trains.
#[derive(Debug)]
struct Running {
    pod: String,
    progress: Progress,
    /// How often in a row it did not answer.
    vain: u32,
    /// When it is asked next.
    due: Instant,
    /// Whether a question has no answer yet: many pods that do not answer must not make questions pile up.
    asked: bool,
    /// When the Model's status was written last.
    written: Option<Instant>,
}

impl Running {
    fn new(job: &str, pod: &str, now: Instant) -> Self {
        let progress = Progress { job: job.to_owned(), ..Progress::default() };
        Self { pod: pod.to_owned(), progress, vain: 0, due: now + START, asked: false, written: None }
    }

    /// Takes over what came of a question. Returns whether there is anything new to say.
    fn answered(&mut self, answer: Result<TrainingProgress, Error>) -> bool {
        self.asked = false;
        let before = self.progress.clone();
        match answer {
            Ok(told) => {
                self.vain = 0;
                (self.progress.told, self.progress.failure) = (Some(told), None);
            }
            Err(error) => {
                self.vain = self.vain.saturating_add(1);
                if self.vain >= VAIN {
                    self.progress.failure = Some(error.to_string());
                }
            }
        }
        self.progress != before
    }

    /// How long a status that differs in progress alone must wait.
    fn pause(&self, now: Instant) -> Option<Duration> {
        let rest = (self.written? + INTERVAL).saturating_duration_since(now);
        Some(rest).filter(|rest| !rest.is_zero())
    }
}

impl Trainings {
    /// What the training of a Model told last.
    pub(super) fn told(&self, key: &ModelKey) -> Option<Progress> {
        self.lock().get(key).map(|running| running.progress.clone())
    }

    /// Asks the pod that trains a Model, if one does and it is time. Returns when to come back.
    pub(super) fn follow(
        &self,
        key: &ModelKey,
        situation: &Situation,
        observed: &Observed,
        triggers: &Triggers,
    ) -> Option<Duration> {
        let now = Instant::now();
        let mut all = self.lock();
        let Some(job) = running_job(situation) else {
            all.remove(key);
            return None;
        };
        let Some(pod) = training_pod(&key.name, job, &observed.pods) else {
            // What it told stays until the Job is another: it may publish now.
            if all.get(key).is_some_and(|running| running.progress.job != job) {
                all.remove(key);
            }
            return None;
        };
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let same = all.get(key).is_some_and(|running| running.pod == name && running.progress.job == job);
        if !same {
            all.insert(key.clone(), Running::new(job, name, now));
        }
        let running = all.get_mut(key)?;
        let due = now >= running.due;
        if due {
            running.due = now + INTERVAL;
        }
        if due && !std::mem::replace(&mut running.asked, true) {
            let (all, puller, pod) = (self.clone(), self.puller.clone(), Arc::clone(pod));
            let (key, job, triggers) = (key.clone(), job.to_owned(), triggers.clone());
            tokio::spawn(async move {
                let answer = puller.progress(&key.name, &job, &pod).await;
                let name = pod.metadata.name.as_deref().unwrap_or_default();
                if all.answered(&key, name, answer) {
                    triggers.changed(key);
                }
            });
        }
        Some(running.due.saturating_duration_since(now))
    }

    /// Takes over an answer, unless the training it is of is no longer the one that runs.
    fn answered(&self, key: &ModelKey, pod: &str, answer: Result<TrainingProgress, Error>) -> bool {
        if let Err(error) = &answer {
            debug!(model = %key, %error, "a training did not tell of its progress");
        }
        let mut all = self.lock();
        all.get_mut(key).filter(|running| running.pod == pod).is_some_and(|running| running.answered(answer))
    }

    /// How long the write of this status is put off: where it differs in progress alone, until 15 seconds after the last one.
    pub(super) fn too_soon(
        &self,
        key: &ModelKey,
        before: Option<&ModelStatus>,
        after: &ModelStatus,
    ) -> Option<Duration> {
        let pause = self.lock().get(key)?.pause(Instant::now())?;
        before.is_some_and(|before| differs_in_progress_alone(before, after)).then_some(pause)
    }

    /// A Model's status was written.
    pub(super) fn written(&self, key: &ModelKey) {
        if let Some(running) = self.lock().get_mut(key) {
            running.written = Some(Instant::now());
        }
    }

    /// A Model is gone.
    pub(super) fn forget(&self, key: &ModelKey) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ModelKey, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The Job of the training that is at work.
fn running_job(situation: &Situation) -> Option<&str> {
    let training = situation.training.as_ref()?;
    training.job.as_deref().filter(|_| matches!(training.state, TrainingState::Running { .. }))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use modelwright_api::status::{TrainingPhase, TrainingStatus};
    use serde_json::json;

    use super::*;
    use crate::plan::training::TrainingSituation;

    const JOB: &str = "bc-train-01234567-1";
    const NEXT: &str = "bc-train-01234567-2";

    fn key() -> ModelKey {
        ModelKey::new("demo", "bc")
    }

    fn situation(job: &str, state: TrainingState) -> Situation {
        let training = TrainingSituation { job: Some(job.to_owned()), state, ..TrainingSituation::default() };
        Situation { training: Some(training), ..Situation::default() }
    }

    fn running() -> Situation {
        situation(JOB, TrainingState::Running { phase: TrainingPhase::Training, held_up: None })
    }

    fn observed(job: &str) -> Observed {
        let pod = json!({
            "metadata": {
                "name": format!("{job}-x"),
                "labels": {"modelwright.dev/role": "train", "modelwright.dev/model": "bc"},
                "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": "u",
                    "controller": true}],
            },
            "status": {"phase": "Running", "podIP": "192.0.2.1", "containerStatuses": [{"name": "train", "image": "",
                "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}}}]},
        });
        let pod: Pod = serde_json::from_value(pod).unwrap();
        Observed { pods: vec![Arc::new(pod)], ..Observed::default() }
    }

    fn told(percent: u8) -> TrainingProgress {
        serde_json::from_value(json!({"phase": "Training", "progressPercent": percent})).unwrap()
    }

    fn failure() -> Error {
        Error::Answer("no".to_owned())
    }

    fn triggers() -> Triggers {
        Triggers::new([None], 1)
    }

    #[tokio::test]
    async fn training_is_asked_while_it_runs_and_only_then() {
        let (trainings, triggers) = (Trainings::default(), triggers());
        let follow = |situation: &Situation, observed: &Observed| {
            trainings.follow(&key(), situation, observed, &triggers)
        };
        assert_eq!(follow(&Situation::default(), &observed(JOB)), None);
        assert_eq!(follow(&situation(JOB, TrainingState::Queued), &observed(JOB)), None);
        assert_eq!(follow(&running(), &Observed::default()), None);
        assert_eq!(trainings.told(&key()), None);
        let first = follow(&running(), &observed(JOB)).unwrap();
        assert!(first <= START && first > START / 2, "{first:?}");
        assert_eq!(trainings.told(&key()).unwrap().job, JOB);
        // It is not asked more often because there are more passes.
        assert!(follow(&running(), &observed(JOB)).unwrap() <= first);
        trainings.lock().get_mut(&key()).unwrap().due = Instant::now();
        let next = follow(&running(), &observed(JOB)).unwrap();
        assert!(next <= INTERVAL && next > INTERVAL / 2, "{next:?}");
        assert!(trainings.lock()[&key()].asked, "it is not asked again before it answers");
        assert_eq!(follow(&situation(JOB, TrainingState::Idle), &observed(JOB)), None);
        assert_eq!(trainings.told(&key()), None);
    }

    #[tokio::test]
    async fn next_attempt_begins_without_what_the_former_told() {
        let (trainings, triggers) = (Trainings::default(), triggers());
        trainings.follow(&key(), &running(), &observed(JOB), &triggers);
        assert!(trainings.answered(&key(), &format!("{JOB}-x"), Ok(told(90))));
        assert!(!trainings.answered(&key(), "another", Ok(told(10))));
        // Its pod does not tell any more, and the Job is not done.
        trainings.follow(&key(), &running(), &Observed::default(), &triggers);
        assert_eq!(trainings.told(&key()).unwrap().told, Some(told(90)));
        let next = situation(NEXT, TrainingState::Running { phase: TrainingPhase::Starting, held_up: None });
        trainings.follow(&key(), &next, &Observed::default(), &triggers);
        assert_eq!(trainings.told(&key()), None);
        trainings.follow(&key(), &next, &observed(NEXT), &triggers);
        assert_eq!(trainings.told(&key()), Some(Progress { job: NEXT.to_owned(), ..Progress::default() }));
    }

    #[test]
    fn silence_is_said_when_it_lasts_and_an_answer_ends_it() {
        let mut running = Running::new(JOB, "p", Instant::now());
        assert!(running.answered(Ok(told(10))));
        assert!(!running.answered(Ok(told(10))), "nothing new");
        assert!(!running.answered(Err(failure())), "once may be chance");
        assert!(running.answered(Err(failure())));
        assert_eq!(running.progress.failure.as_deref(), Some("no"));
        assert_eq!(running.progress.told, Some(told(10)), "what it told last stays");
        assert!(!running.answered(Err(failure())), "it is said once");
        assert!(running.answered(Ok(told(10))));
        assert_eq!(running.progress.failure, None);
    }

    #[test]
    fn status_that_differs_in_progress_alone_is_written_every_15_seconds() {
        let trainings = Trainings::default();
        let status = |percent: i32, phase: TrainingPhase| ModelStatus {
            training: Some(TrainingStatus {
                progress_percent: Some(percent),
                phase: Some(phase),
                ..TrainingStatus::default()
            }),
            ..ModelStatus::default()
        };
        let before = status(10, TrainingPhase::Training);
        let further = status(20, TrainingPhase::Training);
        let too_soon = |after: &ModelStatus| trainings.too_soon(&key(), Some(&before), after);
        assert_eq!(too_soon(&further), None, "nothing runs that is known");
        trainings.lock().insert(key(), Running::new(JOB, "p", Instant::now()));
        assert_eq!(too_soon(&further), None, "it was not written yet");
        trainings.written(&key());
        assert!(too_soon(&further).is_some_and(|pause| pause <= INTERVAL));
        assert_eq!(too_soon(&status(20, TrainingPhase::Publishing)), None, "the phase is another");
        trainings.lock().get_mut(&key()).unwrap().written = Instant::now().checked_sub(INTERVAL);
        assert_eq!(too_soon(&further), None, "it is time");
        trainings.forget(&key());
        assert!(trainings.lock().is_empty());
    }
}
