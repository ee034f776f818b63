//! Models that are trained.

use modelwright_api::{
    status::{Metrics, TrainingPhase, TrainingStatus},
    training::progress::TrainingProgress,
};

use super::*;
use crate::{
    observe::Progress,
    plan::training::{Trained, TrainingSituation, TrainingState},
};

mod lifecycle;

const FIRST: &str = "bc-train-01234567-1";
const SECOND: &str = "bc-train-01234567-2";

fn spec() -> serde_json::Value {
    json!({
        "training": {
            "data": {"source": {"uri": "s3://data/bc/"}, "target": "diagnosis"},
            "output": {"uri": "s3://models/"},
            "queue": "gpus",
            "gate": {"require": [{"metric": "valAccuracy", "min": 0.9}]},
        },
        "serving": {"replicas": 2},
    })
}

fn trained(digest: &str, accuracy: f64) -> Trained {
    Trained {
        revision: revision(digest),
        metrics: Metrics::from([("valAccuracy".to_owned(), accuracy), ("valLoss".to_owned(), 0.5)]),
        baseline: Metrics::from([("valAccuracy".to_owned(), 0.63)]),
        inputs_digest: Some("sha256:inputs".to_owned()),
        ..Trained::default()
    }
}

fn refused(digest: &str) -> Trained {
    let message = "valAccuracy is 0.6100, and the gate requires at least 0.9";
    Trained {
        refused: Some(Cause::reported("RequirementNotMet", message, Class::User)),
        ..trained(digest, 0.61)
    }
}

fn running(phase: TrainingPhase) -> TrainingState {
    TrainingState::Running { phase, held_up: None }
}

impl World {
    /// A Model that is trained, of which nothing is there yet.
    fn untrained(state: TrainingState) -> Self {
        let mut world = Self::new();
        world.spec(&spec());
        world.situation.training = Some(TrainingSituation {
            trained_from: "hash".to_owned(),
            state,
            job: Some(FIRST.to_owned()),
            attempt: 1,
            started_at: Some(now()),
            ..TrainingSituation::default()
        });
        world
    }

    /// A Model whose trained revision [`DIGEST`] is served.
    fn trained(state: TrainingState) -> Self {
        let mut world = Self::serving();
        world.spec(&spec());
        let mut situation = Self::untrained(state).situation;
        world.situation.resolution = None;
        world.situation.training = situation.training.take();
        world.training().newest = Some(trained(DIGEST, 0.978));
        world
    }

    fn training(&mut self) -> &mut TrainingSituation {
        self.situation.training.as_mut().unwrap()
    }

    /// Goes on to an attempt of this Job.
    fn job(&mut self, job: &str, attempt: u32, state: TrainingState) {
        let training = self.training();
        (training.job, training.attempt, training.state) = (Some(job.to_owned()), attempt, state);
    }

    fn status(&self) -> TrainingStatus {
        self.report().status.training.unwrap()
    }

    fn condition_trained(&self) -> (ConditionStatus, String) {
        let status = self.report().status;
        let condition = condition(&status, ConditionType::Trained);
        (condition.status, condition.reason.clone())
    }
}

/// A Model in each case of a training.
pub(super) fn world(case: Case) -> World {
    use Case::{
        ApprovalNeeded, GateRefused, Retraining, RetrainingApproval, RetrainingFailed, RetrainingQueued,
        RetrainingRefused, RetrainingRetrying, TrainingFailed, TrainingFirst, TrainingQueued,
        TrainingRetrying,
    };
    let state = match case {
        TrainingFirst | Retraining => running(TrainingPhase::Training),
        TrainingQueued | RetrainingQueued => TrainingState::Queued,
        TrainingRetrying | RetrainingRetrying => {
            TrainingState::Retrying { cause: unreachable(), at: now() + SignedDuration::from_mins(5) }
        }
        TrainingFailed | RetrainingFailed => TrainingState::Failed {
            cause: Cause::reported("OneClass", "every row has the class benign", Class::User),
        },
        _ => TrainingState::Idle,
    };
    let first =
        [TrainingFirst, TrainingQueued, TrainingRetrying, TrainingFailed, GateRefused, ApprovalNeeded];
    let mut world = if first.contains(&case) { World::untrained(state) } else { World::trained(state) };
    match case {
        TrainingRetrying | RetrainingRetrying => {
            let state = world.training().state.clone();
            world.job(SECOND, 2, state);
        }
        GateRefused | RetrainingRefused => world.training().newest = Some(refused(OTHER)),
        ApprovalNeeded | RetrainingApproval => {
            world.training().newest = Some(Trained { needs_approval: true, ..trained(OTHER, 0.61) });
        }
        _ => {}
    }
    world
}

#[rstest]
#[case(Case::TrainingFirst, ConditionStatus::False, "Training")]
#[case(Case::TrainingQueued, ConditionStatus::False, "Queued")]
#[case(Case::TrainingRetrying, ConditionStatus::False, "StoreUnreachable")]
#[case(Case::TrainingFailed, ConditionStatus::False, "OneClass")]
#[case(Case::GateRefused, ConditionStatus::False, "RequirementNotMet")]
#[case(Case::ApprovalNeeded, ConditionStatus::True, "ApprovalRequired")]
#[case(Case::Retraining, ConditionStatus::False, "Training")]
#[case(Case::RetrainingFailed, ConditionStatus::False, "OneClass")]
#[case(Case::RetrainingRefused, ConditionStatus::False, "RequirementNotMet")]
#[case(Case::RetrainingApproval, ConditionStatus::True, "ApprovalRequired")]
fn trained_holds_when_the_newest_training_gave_what_the_gate_let_pass(
    #[case] case: Case,
    #[case] status: ConditionStatus,
    #[case] reason: &str,
) {
    assert_eq!(world(case).condition_trained(), (status, reason.to_owned()));
}

#[test]
fn trained_is_said_of_trained_models_alone() {
    let served = World::trained(TrainingState::Idle);
    assert_eq!(served.condition_trained(), (ConditionStatus::True, "Trained".to_owned()));
    let mut world = World::serving();
    world.model.status = Some(served.report().status);
    let status = world.report().status;
    assert!(status.condition(ConditionType::Trained).is_none() && status.training.is_none());
}

#[rstest]
#[case(TrainingState::Queued, Some(TrainingPhase::Queued), "Queued")]
#[case(running(TrainingPhase::Starting), Some(TrainingPhase::Starting), "Training")]
#[case(running(TrainingPhase::Checking), Some(TrainingPhase::Checking), "Training")]
#[case(TrainingState::Idle, Some(TrainingPhase::Succeeded), "Trained")]
fn phase_is_that_of_the_containers(
    #[case] state: TrainingState,
    #[case] phase: Option<TrainingPhase>,
    #[case] reason: &str,
) {
    let status = World::trained(state).status();
    assert_eq!((status.phase, status.reason.as_deref()), (phase, Some(reason)));
}

#[test]
fn trained_revision_is_described() {
    let mut world = World::trained(TrainingState::Idle);
    let training = world.training();
    training.next_at = Some(now() + SignedDuration::from_hours(1));
    training.fingerprint = Some("sha256:data".to_owned());
    training.checked_at = Some(now());
    let status = world.status();
    assert_eq!(status.trained_from.as_deref(), Some("hash"));
    assert_eq!((status.job.as_deref(), status.attempt), (Some(FIRST), Some(1)));
    assert_eq!(status.started_at.as_deref(), Some("2026-11-27T12:00:00Z"));
    assert_eq!(status.next_at.as_deref(), Some("2026-11-27T13:00:00Z"));
    assert_eq!(status.metric.as_deref(), Some("valAccuracy 0.978"));
    assert_eq!((status.metrics["valLoss"], status.baseline["valAccuracy"]), (0.5, 0.63));
    assert_eq!(status.inputs_digest.as_deref(), Some("sha256:inputs"));
    assert_eq!((status.revision.as_deref(), status.passed), (Some(DIGEST), Some(true)));
    assert_eq!((status.fingerprint.as_deref(), status.checked_at), (Some("sha256:data"), None));
    assert_eq!(
        status.message.as_deref(),
        Some("the training gave revision 0011223344556677, valAccuracy 0.978")
    );
    let revisions = world.report().status.revisions.unwrap();
    assert_eq!(revisions.active.unwrap().metrics.get("valAccuracy"), Some(&0.978));
}

#[test]
fn time_of_the_last_look_is_kept_only_where_the_data_are_polled() {
    let mut world = World::trained(TrainingState::Idle);
    world.training().checked_at = Some(now());
    let mut spec = spec();
    spec["training"]["data"]["pollInterval"] = "10m".into();
    world.spec(&spec);
    assert_eq!(world.status().checked_at, Some(now().to_string()));
}

#[test]
fn failed_look_at_the_data_changes_nothing_but_the_message() {
    let mut world = World::trained(TrainingState::Idle);
    world.training().look_failed = Some(unreachable());
    let status = world.report().status;
    let ready = condition(&status, ConditionType::Ready);
    assert_eq!((ready.status, ready.reason.as_str()), (ConditionStatus::True, "Serving"));
    let said = "looking whether the data changed failed, and is tried again: the store cannot be reached";
    assert!(ready.message.ends_with(said), "{}", ready.message);
    assert_eq!(world.condition_trained(), (ConditionStatus::True, "Trained".to_owned()));
}

fn told(percent: u8) -> Progress {
    let told: TrainingProgress = serde_json::from_value(json!({
        "phase": "Training", "progressPercent": percent, "epoch": 12, "etaSeconds": 95,
        "metrics": {"valAccuracy": 0.5}, "stalledSeconds": 0,
    }))
    .unwrap();
    Progress { job: FIRST.to_owned(), told: Some(told), failure: None }
}

#[test]
fn progress_of_the_running_training_is_shown_in_its_own_fields() {
    let mut world = World::trained(running(TrainingPhase::Training));
    let before = world.pass();
    world.observed.progress = Some(told(45));
    let report = world.pass();
    let status = report.status.training.clone().unwrap();
    assert_eq!((status.progress_percent, status.epoch, status.eta_seconds), (Some(45), Some(12), Some(95)));
    assert_eq!(status.metric.as_deref(), Some("valAccuracy 0.5"));
    assert_eq!(status.revision.as_deref(), Some(DIGEST), "the former revision stays named");
    assert_eq!(report.status.conditions, before.status.conditions);
    assert_eq!(status.message, before.status.training.unwrap().message);
    assert!(report.announcements.is_empty());
    world.observed.progress = Some(told(200));
    assert_eq!(world.status().progress_percent, Some(100));
}

#[test]
fn numbers_of_a_trained_revision_outlive_the_progress_of_the_next_training() {
    let mut world = World::trained(TrainingState::Idle);
    world.pass();
    world.job(FIRST, 1, running(TrainingPhase::Training));
    world.observed.progress = Some(told(45));
    let status = world.pass().status;
    // The Job is gone, and the plan knows of its revision only what the status says.
    world.training().newest.as_mut().unwrap().metrics = status.training.unwrap().metrics;
    world.observed.progress = None;
    world.training().state = TrainingState::Failed { cause: unreachable() };
    let status = world.pass().status;
    assert_eq!(status.training.unwrap().metric.as_deref(), Some("valAccuracy 0.978"));
    assert_eq!(status.revisions.unwrap().active.unwrap().metrics.get("valAccuracy"), Some(&0.978));
}

#[test]
fn progress_of_another_job_or_of_a_training_that_ended_is_not_shown() {
    let mut world = World::trained(running(TrainingPhase::Training));
    world.observed.progress = Some(Progress { job: SECOND.to_owned(), ..told(45) });
    assert_eq!(world.status().progress_percent, None);
    world.observed.progress = Some(told(45));
    world.training().state = TrainingState::Idle;
    let status = world.status();
    assert_eq!((status.progress_percent, status.metric.as_deref()), (None, Some("valAccuracy 0.978")));
}

#[test]
fn unreachable_progress_is_said_in_the_message_of_the_training_alone() {
    let mut world = World::untrained(running(TrainingPhase::Training));
    let before = world.pass();
    let failure = Some("10.1.2.3:9091 did not answer within 2 s".to_owned());
    world.observed.progress = Some(Progress { failure, ..told(45) });
    let report = world.pass();
    let status = report.status.training.clone().unwrap();
    assert_eq!(
        status.message.as_deref(),
        Some(
            "Job bc-train-01234567-1 trains; progress cannot be read: 10.1.2.3:9091 did not answer within 2 s"
        )
    );
    assert_eq!(status.progress_percent, Some(45), "what was told last stays");
    assert_eq!(report.status.conditions, before.status.conditions);
    assert!(report.announcements.is_empty());
}

#[test]
fn what_keeps_the_pod_from_starting_is_the_reason() {
    let cause = Cause::new(Reason::Unschedulable, "no node has 64 CPUs");
    let held_up = Some(cause.clone());
    let mut world = World::untrained(TrainingState::Running { phase: TrainingPhase::Starting, held_up });
    let status = world.report().status;
    let ready = condition(&status, ConditionType::Ready);
    assert_eq!(ready.reason, "Unschedulable");
    assert_eq!(ready.message, "Job bc-train-01234567-1 trains; no node has 64 CPUs");
    assert_eq!(condition(&status, ConditionType::Progressing).reason, "Training");
    let denial = Cause::new(Reason::QuotaExceeded, "pods: used 10, limited 10");
    world.applied.denials.insert(FIRST.into(), denial);
    let status = world.status();
    assert_eq!(
        (status.phase, status.reason.as_deref()),
        (Some(TrainingPhase::Starting), Some("QuotaExceeded"))
    );
}

#[test]
fn preempted_attempt_is_no_failure_of_anybody() {
    let mut world = World::untrained(running(TrainingPhase::Training));
    world.pass();
    let cause = Cause::new(Reason::TrainingPreempted, "pod bc-x: removed from node-1");
    world.training().state = TrainingState::Retrying { cause, at: now() };
    let report = world.pass();
    assert_eq!(events(&report), ["TrainingPreempted"]);
    let status = report.status.training.unwrap();
    assert!(
        status.message.unwrap().starts_with("attempt 1 (Job bc-train-01234567-1) was interrupted: pod bc-x")
    );
    assert_eq!(status.next_at, Some(now().to_string()));
}
