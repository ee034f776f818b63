use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{autoscaling::v2::HorizontalPodAutoscaler, core::v1::Pod};
use modelwright_api::{
    conditions::{Cause, Class, Reason},
    status::{Condition, RejectedRevision, Revision, TensorFacts},
};
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::{
    apply::Failure,
    causes::samples::{self, DIGEST, OTHER, now, server},
    plan::{self, Resolution, RolloutState, SourceState},
};

mod lifecycle;
mod training;

const JOB: &str = "bc-resolve-01234567-0";
/// A part of the message of a pod whose server does not start.
const REFUSAL: &str = "pod bc-a, container serve: opset 99; export with opset 21";

/// Everything that a report is made from.
struct World {
    model: Model,
    observed: Observed,
    situation: Situation,
    applied: Applied,
}

impl World {
    /// A Model whose wanted revision is served by two pods.
    fn serving() -> Self {
        let model = serde_json::from_value(json!({
            "apiVersion": "modelwright.dev/v1alpha1", "kind": "Model",
            "metadata": {"name": "bc", "namespace": "demo", "uid": "model-uid", "generation": 3},
            "spec": {"source": {"uri": "s3://models/bc/"}, "serving": {"replicas": 2}},
        }));
        let revision = revision(DIGEST);
        let mut world = Self {
            model: model.unwrap(),
            observed: Observed::default(),
            situation: Situation {
                resolution: Some(resolution(DIGEST)),
                wanted: Some(revision.clone()),
                rollout: RolloutState::Settled,
                deployed: Some(revision),
                replicas: Some(2),
                ..Situation::default()
            },
            applied: Applied::default(),
        };
        world.pods([server("bc-a", DIGEST, &samples::ready()), server("bc-b", DIGEST, &samples::ready())]);
        world.deployment(DIGEST);
        world
    }

    /// A Model of which nothing is there yet.
    fn new() -> Self {
        let mut world = Self::serving();
        (world.observed, world.situation) = (Observed::default(), Situation::default());
        world.situation.replicas = Some(2);
        world
    }

    /// A Model whose revision [`OTHER`] is served, while the pods of [`DIGEST`] do not start.
    fn rolling() -> Self {
        let mut world = Self::serving();
        let refused = samples::serving(&samples::crashed(
            65,
            &samples::failure("UnsupportedOpset", "opset 99; export with opset 21"),
        ));
        world.pods([
            server("bc-a", DIGEST, &refused),
            server("bc-z", OTHER, &samples::ready()),
            server("bc-y", OTHER, &samples::ready()),
        ]);
        world.situation.rollout = RolloutState::Candidate;
        world
    }

    fn pods(&mut self, pods: impl IntoIterator<Item = Pod>) {
        self.observed.pods = pods.into_iter().map(Arc::new).collect();
    }

    fn deployment(&mut self, digest: &str) {
        let pods = self.observed.pods.len();
        let ready = self.observed.pods.iter().filter(|pod| crate::causes::is_ready(pod)).count();
        let deployment = json!({
            "metadata": {"name": "bc"},
            "spec": {"replicas": 2, "selector": {}, "template": {
                "metadata": {"annotations": {"modelwright.dev/rendered-from": format!("r-{digest}")}}}},
            "status": {"replicas": pods, "readyReplicas": ready},
        });
        self.observed.deployment = Some(Arc::new(serde_json::from_value(deployment).unwrap()));
    }

    /// An autoscaler decides how many pods there are, and says this of itself.
    fn autoscaled(&mut self, conditions: &serde_json::Value) {
        self.spec(&json!({
            "source": {"uri": "s3://models/bc/"},
            "serving": {"autoscaling": {"maxReplicas": 5}, "resources": {"requests": {"cpu": 1}}},
        }));
        self.observed.autoscaler = Some(Arc::new(autoscaler("bc", conditions)));
    }

    fn spec(&mut self, spec: &serde_json::Value) {
        self.model.spec = serde_json::from_value(spec.clone()).unwrap();
    }

    fn failing(&mut self, cause: Cause) {
        self.applied.failures.push(Failure { child: "Service/bc".into(), cause });
    }

    fn facts<'a>(&'a self, settings: &'a Settings, now: Timestamp) -> Facts<'a> {
        let Self { model, observed, situation, applied } = self;
        Facts { model, observed, situation, applied, settings, now }
    }

    fn report_at(&self, now: Timestamp) -> Report {
        report(&self.facts(&settings(), now))
    }

    fn report(&self) -> Report {
        self.report_at(now())
    }

    /// Reports and keeps the status, as a controller does.
    fn pass(&mut self) -> Report {
        let report = self.report();
        self.model.status = Some(report.status.clone());
        report
    }
}

fn settings() -> Settings {
    Settings::with_image("modelwright:1", "0.1.0")
}

fn revision(digest: &str) -> plan::Revision {
    plan::Revision { digest: digest.into(), uri: "s3://models/bc/".into(), retrievable: None }
}

fn resolution(digest: &str) -> Resolution {
    Resolution { resolved_from: "hash".into(), revision: revision(digest), ..Resolution::default() }
}

fn unreachable() -> Cause {
    Cause::reported("StoreUnreachable", "the store cannot be reached", Class::Transient)
}

fn retrying(poll: bool) -> SourceState {
    SourceState::Retrying { cause: unreachable(), at: now() + SignedDuration::from_mins(5), poll }
}

/// A Model in each case.
fn world(case: Case) -> World {
    let mut world = match case {
        Case::ResolvingFirst
        | Case::ResolveRetrying
        | Case::ResolveRefused
        | Case::Blocked
        | Case::NameConflict
        | Case::Waiting
        | Case::ApplyFailing
        | Case::FirstDeploy
        | Case::Failed => World::new(),
        Case::TrainingFirst
        | Case::TrainingQueued
        | Case::TrainingRetrying
        | Case::TrainingFailed
        | Case::GateRefused
        | Case::ApprovalNeeded
        | Case::Retraining
        | Case::RetrainingQueued
        | Case::RetrainingRetrying
        | Case::RetrainingFailed
        | Case::RetrainingRefused
        | Case::RetrainingApproval => return training::world(case),
        Case::Rolling | Case::FailedCandidate => World::rolling(),
        _ => World::serving(),
    };
    let situation = &mut world.situation;
    match case {
        Case::ResolvingFirst | Case::ResolvingAgain => {
            situation.source = SourceState::Resolving { job: JOB.into(), poll: false };
        }
        Case::ResolveRetrying => situation.source = retrying(false),
        Case::ResolveRefused => {
            let refusal = Cause::reported("NoModel", "s3://models/bc/ holds no model", Class::User);
            situation.source = SourceState::Refused { cause: refusal, poll: false };
        }
        Case::Blocked => {
            situation.blocked = Some(Cause::new(Reason::InvalidPodTemplate, "podTemplate.spec.x: unknown"));
        }
        Case::NameConflict => world.failing(Cause::new(Reason::NameConflict, "belongs to Helm")),
        Case::Waiting => situation.blocked = Some(Cause::new(Reason::ServiceAccountMissing, "create models")),
        Case::ApplyFailing => world.failing(Cause::new(Reason::ApplyFailed, "the API server is away")),
        Case::ApplyFailingServed => {
            world.pass();
            world.failing(Cause::new(Reason::ApplyFailed, "the API server is away"));
        }
        Case::FirstDeploy => {
            situation.deployed = Some(revision(DIGEST));
            situation.rollout = RolloutState::First;
        }
        Case::Failed => {
            situation.deployed = Some(revision(DIGEST));
            situation.rollout =
                RolloutState::Failed { cause: Cause::new(Reason::OutOfMemory, "limit of 256Mi") };
        }
        Case::FailedCandidate | Case::RolledBack => {
            let killed = Some(Cause::new(Reason::OutOfMemory, "limit of 256Mi"));
            situation.rollout = RolloutState::RolledBack {
                rejected: revision(if case == Case::RolledBack { OTHER } else { DIGEST }),
                cause: killed,
            };
        }
        Case::Rolling | Case::Serving => {}
        Case::Autoscaled | Case::AutoscalerFailing | Case::HandOver | Case::Contested => {
            autoscaled(case, &mut world);
        }
        Case::PollFailed => situation.source = retrying(true),
        Case::Pinned => {
            situation.pinned = true;
            situation.resolution = Some(resolution(OTHER));
        }
        Case::Scaling => situation.replicas = Some(5),
        Case::Unavailable => {
            let killed = samples::serving(&samples::crashed(70, &samples::failure("Bug", "a mistake")));
            world.pods([server("bc-a", DIGEST, &killed)]);
        }
        Case::SourceChanged => {
            let refused = samples::fetching(&samples::crashed(
                76,
                &samples::failure("DigestMismatch", "expected a, found b"),
            ));
            world.pods([server("bc-a", DIGEST, &samples::ready()), server("bc-b", DIGEST, &refused)]);
        }
        Case::Ending => situation.replicas = Some(0),
        Case::ScaledToZero => {
            situation.replicas = Some(0);
            world.pods([]);
        }
        Case::Suspended => {
            world.spec(&json!({"source": {"uri": "s3://models/bc/"}, "suspend": true}));
            world.pods([]);
        }
        _ => unreachable!("made by tests::training"),
    }
    world
}

fn condition(status: &ModelStatus, type_: ConditionType) -> &Condition {
    status.conditions.iter().find(|condition| condition.type_ == type_.as_str()).unwrap()
}

/// A Model in a case of autoscaling.
fn autoscaled(case: Case, world: &mut World) {
    let conditions = if case == Case::AutoscalerFailing {
        json!([{
            "type": "ScalingActive", "status": "False", "reason": "FailedGetContainerResourceMetric",
            "message": "the server could not find the requested resource (get pods.metrics.k8s.io)",
        }])
    } else {
        json!([])
    };
    world.autoscaled(&conditions);
    match case {
        Case::HandOver => world.model.spec.serving.as_mut().unwrap().autoscaling = None,
        Case::Contested => {
            world.observed.other_autoscalers = vec![Arc::new(autoscaler("theirs", &json!([])))];
        }
        _ => world.situation.replicas = None,
    }
}

fn autoscaler(name: &str, conditions: &serde_json::Value) -> HorizontalPodAutoscaler {
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "bc"});
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "demo"},
        "spec": {"minReplicas": 1, "maxReplicas": 5, "scaleTargetRef": target},
        "status": {"desiredReplicas": 2, "conditions": conditions},
    }))
    .unwrap()
}

/// The reasons of a report's Events, with a `!` where something is wrong.
fn events(report: &Report) -> Vec<String> {
    let word = |event: &Announcement| format!("{}{}", if event.warning { "!" } else { "" }, event.reason);
    report.announcements.iter().map(word).collect()
}

#[test]
fn every_case_is_told_apart() {
    for case in Case::ALL {
        let world = world(*case);
        let settings = settings();
        let facts = world.facts(&settings, now());
        let servers = Servers::of(&world.model, &world.observed);
        assert_eq!(standing::standing(&facts, &servers).case, *case);
    }
}

#[rstest]
#[case(Case::ResolvingFirst, "Resolving", "Job bc-resolve-01234567-0 reads s3://models/bc/")]
#[case(
    Case::ResolvingAgain,
    "Resolving",
    "reads s3://models/bc/; revision 0011223344556677 is served meanwhile"
)]
#[case(Case::ResolveRetrying, "StoreUnreachable", "cannot be reached; tried again at 2026-11-27T12:05:00Z")]
#[case(Case::ResolveRefused, "NoModel", "s3://models/bc/ holds no model")]
#[case(Case::TrainingFirst, "Training", "Job bc-train-01234567-1 trains")]
#[case(Case::TrainingQueued, "Queued", "Job bc-train-01234567-1 waits until its queue gpus admits it")]
#[case(
    Case::TrainingRetrying,
    "StoreUnreachable",
    "attempt 2 (Job bc-train-01234567-2) failed: the store cannot be reached; tried again at 2026-11-27T12:05:00Z"
)]
#[case(Case::TrainingFailed, "OneClass", "Job bc-train-01234567-1: every row has the class benign")]
#[case(
    Case::GateRefused,
    "RequirementNotMet",
    "the gate refused revision ffeeddccbbaa9988: valAccuracy is 0.6100, and the gate requires at least 0.9"
)]
#[case(
    Case::ApprovalNeeded,
    "ApprovalRequired",
    "revision ffeeddccbbaa9988, valAccuracy 0.61, passed the gate and waits for approval: write it as spec.rollout.revision"
)]
#[case(Case::Retraining, "Serving", "revision 0011223344556677 is served; Job bc-train-01234567-1 trains")]
#[case(Case::RetrainingQueued, "Serving", "is served; Job bc-train-01234567-1 waits until its queue gpus")]
#[case(
    Case::RetrainingRetrying,
    "Serving",
    "is served; attempt 2 (Job bc-train-01234567-2) failed: the store"
)]
#[case(Case::RetrainingFailed, "Serving", "is served; Job bc-train-01234567-1: every row has the class")]
#[case(
    Case::RetrainingRefused,
    "Serving",
    "revision 0011223344556677 is served; the gate refused revision ffeeddccbbaa9988: valAccuracy is 0.6100"
)]
#[case(
    Case::RetrainingApproval,
    "ApprovalRequired",
    "revision 0011223344556677 is served; revision ffeeddccbbaa9988, valAccuracy 0.61, passed the gate and waits"
)]
#[case(Case::Blocked, "InvalidPodTemplate", "podTemplate.spec.x: unknown")]
#[case(Case::NameConflict, "NameConflict", "Service/bc: belongs to Helm")]
#[case(Case::Waiting, "ServiceAccountMissing", "create models")]
#[case(Case::ApplyFailing, "ApplyFailed", "Service/bc: the API server is away")]
#[case(
    Case::ApplyFailingServed,
    "Serving",
    "revision 0011223344556677 is served; Service/bc: the API server is away"
)]
#[case(Case::FirstDeploy, "Deploying", "the first pods of revision 0011223344556677 start")]
#[case(Case::Failed, "OutOfMemory", "limit of 256Mi")]
#[case(Case::Rolling, "UnsupportedOpset", "revision 0011223344556677 replaces revision ffeeddccbbaa9988; ")]
#[case(Case::Rolling, "UnsupportedOpset", REFUSAL)]
#[case(
    Case::FailedCandidate,
    "RollingBack",
    "revision 0011223344556677 did not become ready: limit of 256Mi; the former"
)]
#[case(
    Case::RolledBack,
    "RolledBack",
    "revision ffeeddccbbaa9988 did not become ready: limit of 256Mi; revision 0011223344556677 is served as before"
)]
#[case(Case::Serving, "Serving", "revision 0011223344556677 is served")]
#[case(
    Case::Autoscaled,
    "Serving",
    "revision 0011223344556677 is served, by 2 pods as its autoscaler wants, of 1 to 5"
)]
#[case(
    Case::AutoscalerFailing,
    "MetricsAPIMissing",
    "is served; HorizontalPodAutoscaler/bc does not act: nothing in the cluster serves metrics.k8s.io; install metrics-server"
)]
#[case(Case::HandOver, "Serving", "HorizontalPodAutoscaler/bc goes away before the number of pods is set")]
#[case(
    Case::Contested,
    "AutoscalerConflict",
    "HorizontalPodAutoscaler/theirs and HorizontalPodAutoscaler/bc of this Model scale the same pods"
)]
#[case(
    Case::PollFailed,
    "Serving",
    "is served; looking whether the source changed failed, and is tried again at 2026-11-27T12:05:00Z: the store cannot be reached"
)]
#[case(Case::Pinned, "Pinned", "as spec.rollout.revision says; the source holds ffeeddccbbaa9988")]
#[case(Case::Scaling, "Serving", "is served, and pods are added, removed or replaced")]
#[case(
    Case::Unavailable,
    "Bug",
    "no pod of revision 0011223344556677 is ready; pod bc-a, container serve: a mistake"
)]
#[case(
    Case::SourceChanged,
    "SourceChanged",
    "pod bc-b, container fetch: the source's bytes changed: expected a, found b; put"
)]
#[case(Case::Ending, "Scaling", "spec.serving.replicas is 0: nothing is served, and the last pods end")]
#[case(Case::ScaledToZero, "ScaledToZero", "spec.serving.replicas is 0: nothing is served")]
#[case(Case::Suspended, "Suspended", "spec.suspend is true: nothing is served")]
fn conditions_follow_the_truth_table(#[case] case: Case, #[case] reason: &str, #[case] message: &str) {
    let mut world = world(case);
    let first = world.pass();
    let a_pod = world.observed.pods.iter().any(|pod| crate::causes::is_ready(pod));
    let row = case.row();
    for (type_, holds) in
        ConditionType::ALL.into_iter().zip([row.ready, row.available, row.progressing, row.stalled])
    {
        let condition = condition(&first.status, type_);
        assert_eq!(
            condition.status == ConditionStatus::True,
            holds.is(a_pod),
            "{case:?} {type_:?}: {condition:?}"
        );
        assert_eq!(condition.observed_generation, Some(3));
    }
    let ready = condition(&first.status, ConditionType::Ready);
    assert_eq!(ready.reason, reason);
    assert!(ready.message.contains(message), "{}", ready.message);
    for minutes in 0..1_000 {
        let again = world.report_at(now() + SignedDuration::from_mins(minutes));
        assert_eq!(again, Report { status: first.status.clone(), announcements: Vec::new() }, "{case:?}");
    }
}

#[test]
fn pods_that_will_be_removed_once_more_are_told_while_they_answer() {
    let mut world = World::serving();
    let over = |name| {
        let status = json!({"phase": "Failed", "reason": "Evicted",
            "message": "Pod ephemeral local storage usage exceeds the total limit of containers 2Mi. ",
            "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": "2026-11-27T11:59:00Z"}]});
        server(name, DIGEST, &status)
    };
    let mut pods = world.observed.pods.clone();
    pods.push(Arc::new(over("bc-c")));
    world.observed.pods = pods;
    let ready = |report: &Report| condition(&report.status, ConditionType::Ready).clone();
    let told = ready(&world.report());
    assert_eq!((told.status, &*told.reason), (ConditionStatus::True, "Serving"));
    assert!(told.message.contains("; pod bc-c: removed from its node (Evicted)"), "{}", told.message);
    assert!(told.message.contains("unless you raise spec.serving.resources.limits"), "{}", told.message);
    let later = ready(&world.report_at(now() + SignedDuration::from_mins(5)));
    assert_eq!(later.message, "revision 0011223344556677 is served");
    // Those of another template had other limits.
    let mut other = over("bc-c");
    let annotations = other.metadata.annotations.get_or_insert_default();
    annotations.insert("modelwright.dev/rendered-from".to_owned(), "r-other".to_owned());
    world.pods([server("bc-a", DIGEST, &samples::ready()), server("bc-b", DIGEST, &samples::ready()), other]);
    assert_eq!(ready(&world.report()).message, "revision 0011223344556677 is served");
}
