//! Whole histories of Models, in memory.

use modelwright_api::{Outcome, contract::annotations};
use rstest::rstest;
use serde_json::json;

use self::world::{World, digest, settings};
use super::*;

mod clock;
mod gang;
mod overridden;
mod scale;
mod server;
mod training;
mod training_failures;
mod training_pods;
pub(crate) mod world;

const SPEC: &str = r#"{"source": {"uri": "s3://m/x"}, "serving": {"replicas": 2}}"#;

/// A Model that serves `a` with two pods.
fn serving() -> World {
    serving_by(SPEC)
}

/// A Model of this spec that serves `a`.
fn serving_by(spec: &str) -> World {
    let mut world = World::new(spec);
    world.converge();
    world.job_finds('a');
    world.converge();
    world.deployment_is_ready();
    world.converge();
    world.written();
    world
}

fn deployed(world: &World) -> String {
    let annotations = world.observed.deployment.as_ref().unwrap().metadata.annotations.as_ref().unwrap();
    annotations[annotations::DIGEST].clone()
}

fn poke(world: &mut World, value: &str) {
    world
        .model
        .metadata
        .annotations
        .get_or_insert_default()
        .insert(annotations::RESOLVE_AT.into(), value.into());
}

#[test]
fn model_is_resolved_then_deployed_and_then_nothing_is_written() {
    let mut world = World::new(SPEC);
    world.converge();
    let first = world.written();
    assert_eq!(
        first[..4],
        ["apply service_account", "apply service", "apply headless_service", "apply disruption_budget"]
    );
    assert!(first.len() == 5 && first[4].starts_with("create bc-resolve-"), "{first:?}");
    assert!(matches!(world.plan().situation.source, SourceState::Resolving { poll: false, .. }));
    world.job_finds('a');
    world.converge();
    assert_eq!(world.written(), ["apply deployment", "replicas 2"]);
    assert_eq!(world.plan().situation.rollout, RolloutState::First);
    world.deployment_is_ready();
    world.converge();
    assert!(world.written().is_empty());
    assert_eq!(world.plan().situation.rollout, RolloutState::Settled);
    world.pass_time(3 * 24 * 3600);
    world.converge();
    // The Deployment says what the Job found, so after a day the Job may go.
    assert!(matches!(world.written().as_slice(), [only] if only.starts_with("delete bc-resolve-")));
    world.converge();
    assert!(world.written().is_empty());
}

#[test]
fn lost_status_resolves_and_restarts_nothing() {
    let mut world = serving();
    world.model.status = None;
    world.converge();
    assert!(world.written().is_empty());
    // Without the Job, too.
    world.observed.jobs.clear();
    world.observed.pods.clear();
    world.model.status = None;
    world.converge();
    assert!(world.written().is_empty());
    assert_eq!(world.plan().situation.wanted.unwrap().digest, digest('a'));
}

#[test]
fn newer_operator_restarts_nothing_and_its_image_comes_with_the_next_change() {
    let mut world = serving();
    world.settings = settings("2");
    world.converge();
    assert!(world.written().is_empty());
    world.spec(r#"{"source": {"uri": "s3://m/x"}, "serving": {"replicas": 3}}"#);
    world.converge();
    assert_eq!(world.written(), ["replicas 3"]);
    world.spec(r#"{"source": {"uri": "s3://m/x"}, "serving": {"replicas": 3, "startupTimeout": "2m"}}"#);
    world.converge();
    assert_eq!(world.written(), ["apply deployment"]);
    let template = world.templates.last().unwrap().spec.clone().unwrap();
    assert_eq!(template.containers[0].image.as_deref(), Some("modelwright:2"));
}

#[test]
fn images_are_rolled_out_at_once_where_that_is_asked_for() {
    let mut world = serving();
    world.settings = Settings { image_rollout: crate::settings::ImageRollout::Immediately, ..settings("2") };
    world.converge();
    assert_eq!(world.written(), ["apply deployment"]);
    assert_eq!(world.plan().situation.rollout, RolloutState::Candidate);
}

#[test]
fn new_strategy_is_written_without_a_new_template_by_any_operator() {
    let mut world = serving();
    world.settings = settings("2");
    world.spec(r#"{"source": {"uri": "s3://m/x"}, "serving": {"replicas": 2}, "rollout": {"surge": "One"}}"#);
    world.converge();
    assert_eq!((world.written(), world.templates.len()), (vec!["apply deployment".to_owned()], 1));
}

#[test]
fn changed_source_is_resolved_before_pods_change() {
    let mut world = serving();
    world.spec(r#"{"source": {"uri": "s3://m/y"}, "serving": {"replicas": 2}}"#);
    world.converge();
    assert_eq!(world.written().len(), 2, "the old Job goes and a new one comes");
    assert_eq!((deployed(&world), world.active_jobs().len()), (digest('a'), 1));
    world.job_finds('b');
    world.converge();
    assert_eq!((deployed(&world), world.plan().situation.rollout), (digest('b'), RolloutState::Candidate));
    world.deployment_is_ready();
    world.converge();
    assert_eq!(world.plan().situation.rollout, RolloutState::Settled);
}

#[test]
fn failed_candidate_goes_back_to_the_active_revision_and_is_not_tried_again() {
    let mut world = serving();
    poke(&mut world, "1");
    world.converge();
    world.job_finds('b');
    world.converge();
    world.deployment_says("False", "ProgressDeadlineExceeded", 0);
    let plan = world.plan();
    assert!(matches!(&plan.deployment, DeploymentChange::Restore(_)), "{:?}", plan.deployment);
    world.converge();
    assert_eq!(deployed(&world), digest('a'));
    world.deployment_is_ready();
    world.converge();
    world.written();
    world.pass_time(3600);
    world.converge();
    assert!(world.written().is_empty());
    let RolloutState::RolledBack { rejected, .. } = world.plan().situation.rollout else { panic!() };
    assert_eq!(rejected.digest, digest('b'));
    // What was rejected is remembered without the status.
    world.model.status = None;
    world.converge();
    assert!(!world.written().contains(&"apply deployment".to_owned()));
    // Another spec is another try.
    world.spec(r#"{"source": {"uri": "s3://m/x"}, "serving": {"replicas": 2, "startupTimeout": "20m"}}"#);
    world.converge();
    assert_eq!((deployed(&world), world.plan().situation.rollout), (digest('b'), RolloutState::Candidate));
}

#[test]
fn revision_that_comes_back_has_not_served_while_the_former_pods_are_there() {
    let mut world = serving();
    poke(&mut world, "1");
    world.converge();
    world.job_finds('b');
    world.converge();
    // The ReplicaSet of the new template was there already: the condition still speaks of the former one, whose two pods are
    // the only ones.
    world.deployment_says("True", "NewReplicaSetAvailable", 2);
    world.change_deployment(|deployment| deployment.status.as_mut().unwrap().updated_replicas = Some(0));
    assert_eq!(world.plan().situation.rollout, RolloutState::Candidate);
    world.deployment_says("False", "ProgressDeadlineExceeded", 0);
    world.converge();
    assert_eq!(deployed(&world), digest('a'));
}

#[test]
fn failed_setting_goes_back_although_the_revision_is_the_same() {
    let mut world = serving();
    world.spec(
        r#"{"source": {"uri": "s3://m/x"}, "serving": {"replicas": 2, "session": {"intraOpThreads": 9}}}"#,
    );
    world.converge();
    world.deployment_says("False", "ProgressDeadlineExceeded", 0);
    world.converge();
    let present = world.observed.deployment.as_ref().unwrap().spec.as_ref().unwrap().template.clone();
    assert_eq!(present, world.templates[0]);
    // Why is said for as long as it holds, by whatever process.
    world.deployment_is_ready();
    world.model.status = None;
    world.converge();
    let RolloutState::RolledBack { cause: Some(cause), .. } = world.plan().situation.rollout else {
        panic!()
    };
    assert_eq!(cause.reason, "ProgressDeadlineExceeded");
    assert!(cause.message.starts_with("no further pod became ready within"), "{}", cause.message);
}

#[test]
fn first_deployment_that_fails_has_nothing_to_go_back_to() {
    let mut world = World::new(SPEC);
    world.converge();
    world.job_finds('a');
    world.converge();
    world.deployment_says("False", "ProgressDeadlineExceeded", 0);
    world.written();
    world.converge();
    assert!(world.written().is_empty());
    let RolloutState::Failed { cause } = world.plan().situation.rollout else { panic!() };
    assert_eq!(cause.reason, "ProgressDeadlineExceeded");
}

#[test]
fn scaled_to_zero_and_back_is_no_candidate() {
    let mut world = serving();
    for replicas in [0, 2] {
        world.spec(&format!(r#"{{"source": {{"uri": "s3://m/x"}}, "serving": {{"replicas": {replicas}}}}}"#));
        world.converge();
        assert_eq!(world.written(), [format!("replicas {replicas}")]);
    }
    // No node takes the pods for a long time.
    world.deployment_says("False", "ProgressDeadlineExceeded", 0);
    world.converge();
    assert!(world.written().is_empty());
    assert_eq!(world.plan().situation.rollout, RolloutState::Settled);
}

#[test]
fn suspended_model_starts_nothing_and_ends_pods() {
    let mut world = World::new(r#"{"source": {"uri": "s3://m/x"}, "suspend": true}"#);
    world.converge();
    assert!(world.written().iter().all(|write| !write.contains("resolve") && !write.contains("deployment")));
    let mut world = serving();
    world.spec(r#"{"source": {"uri": "s3://m/x"}, "serving": {"replicas": 2}, "suspend": true}"#);
    world.converge();
    assert_eq!(world.written(), ["replicas 0"]);
}

#[test]
fn pinned_revision_is_put_back_and_the_newest_waits() {
    let mut world = serving();
    poke(&mut world, "1");
    world.converge();
    world.job_finds('b');
    world.converge();
    world.deployment_is_ready();
    world.converge();
    let pin = digest('a');
    world.spec(&format!(
        r#"{{"source": {{"uri": "s3://m/x"}}, "serving": {{"replicas": 2}}, "rollout": {{"revision": "{pin}"}}}}"#
    ));
    world.converge();
    world.deployment_is_ready();
    world.converge();
    let situation = world.plan().situation;
    assert_eq!((deployed(&world), situation.pinned), (digest('a'), true));
    assert_eq!(situation.resolution.unwrap().revision.digest, digest('b'));
    // The newest is not forgotten with the status: its Job stays, however old it is.
    world.pass_time(3 * 24 * 3600);
    world.model.status = None;
    world.converge();
    assert_eq!(world.plan().situation.resolution.unwrap().revision.digest, digest('b'));
}

#[test]
fn changed_child_is_repaired_and_an_additional_field_stays() {
    let mut world = serving();
    let service = Arc::make_mut(world.observed.service.as_mut().unwrap());
    service.metadata.annotations.get_or_insert_default().insert("of".to_owned(), "another".to_owned());
    service.spec.as_mut().unwrap().cluster_ip = Some("10.0.0.7".into());
    world.converge();
    assert!(world.written().is_empty());
    Arc::make_mut(world.observed.service.as_mut().unwrap()).spec.as_mut().unwrap().ports = None;
    world.change_deployment(|deployment| {
        deployment.spec.as_mut().unwrap().template.spec.as_mut().unwrap().containers[0].image =
            Some("x".into());
    });
    world.converge();
    assert_eq!(world.written(), ["apply service", "apply deployment"]);
}

#[rstest]
#[case::annotation(r#""service": {"annotations": {"a": "b"}}"#, "apply service")]
#[case::peer(
    r#""networkPolicy": {"enabled": true, "from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"a": "b"}}}]}"#,
    "apply network_policy"
)]
fn what_is_no_longer_written_is_taken_off(#[case] serving: &str, #[case] expected: &str) {
    let spec = |serving: &str| format!(r#"{{"source": {{"uri": "s3://m/x"}}, "serving": {{{serving}}}}}"#);
    let mut world = serving_by(&spec(serving));
    let less = serving
        .replace(r#"{"annotations": {"a": "b"}}"#, "{}")
        .replace(r#", "podSelector": {"matchLabels": {"a": "b"}}"#, "");
    world.spec(&spec(&less));
    world.converge();
    assert_eq!(world.written(), [expected]);
}

/// Until the new pods serve, the former may have to be made again.
#[test]
fn account_of_the_pods_that_serve_stays_until_others_do() {
    let mut world = serving();
    let with_account = |account: &str| {
        format!(
            r#"{{"source": {{"uri": "s3://m/x"}}, "serving": {{"replicas": 2}}, "serviceAccountName": "{account}"}}"#
        )
    };
    world.spec(&with_account("typo"));
    world.converge();
    assert_eq!(world.written(), ["apply deployment"]);
    world.deployment_says("False", "ProgressDeadlineExceeded", 0);
    world.converge();
    world.deployment_is_ready();
    world.converge();
    assert!(!world.written().contains(&"delete service_account".to_owned()));
    world.spec(&with_account("right"));
    world.converge();
    world.deployment_is_ready();
    world.converge();
    assert_eq!(world.written(), ["apply deployment", "delete service_account", "apply deployment"]);
}

/// The condition stays until the Deployment's controller has seen the new template.
#[test]
fn deadline_of_the_former_template_says_nothing_of_a_new_one() {
    let mut world = serving();
    let with_threads = |threads: u8| {
        format!(
            r#"{{"source": {{"uri": "s3://m/x"}}, "serving": {{"replicas": 2, "session": {{"intraOpThreads": {threads}}}}}}}"#
        )
    };
    world.spec(&with_threads(2));
    world.converge();
    world.deployment_says("False", "ProgressDeadlineExceeded", 0);
    world.spec(&with_threads(3));
    world.converge();
    assert_eq!(world.plan().situation.rollout, RolloutState::Candidate);
}

#[test]
fn foreign_child_is_refused_and_nothing_is_written() {
    let mut world = serving();
    let service = Arc::make_mut(world.observed.service.as_mut().unwrap());
    service.metadata.owner_references.as_mut().unwrap()[0].uid = "other".into();
    world.converge();
    let blocked = world.plan().situation.blocked.unwrap();
    assert_eq!(blocked.reason, "WaitingForDeletion");
    let service = Arc::make_mut(world.observed.service.as_mut().unwrap());
    service.metadata.owner_references.as_mut().unwrap()[0].kind = "Shop".into();
    world.converge();
    let blocked = world.plan().situation.blocked.unwrap();
    assert!(blocked.reason == "NameConflict" && blocked.message.contains("Service/bc"), "{blocked:?}");
    assert!(world.written().is_empty());
}

#[test]
fn invalid_overlay_keeps_what_serves() {
    let mut world = serving();
    world.spec(r#"{"source": {"uri": "s3://m/x"}, "serving": {"replicas": 2}, "podTemplate": {"spec": {"toleration": [{"key": "x"}]}}}"#);
    world.converge();
    let situation = world.plan().situation;
    assert_eq!(situation.blocked.unwrap().reason, "InvalidPodTemplate");
    assert_eq!((world.written().len(), situation.rollout), (0, RolloutState::Settled));
}

#[test]
fn transient_failures_are_tried_again_with_growing_pauses_and_a_users_are_not() {
    let mut world = World::new(SPEC);
    let mut pauses = Vec::new();
    for _ in 0..7 {
        world.converge();
        world.job_ends(66, &Outcome::failure("AccessDenied", "access to s3://m/x is denied"));
        world.converge();
        let plan = world.plan();
        let SourceState::Retrying { cause, at, poll: false } = plan.situation.source else {
            panic!("{plan:?}")
        };
        assert_eq!((cause.reason.as_ref(), plan.look_again_at), ("AccessDenied", Some(at)));
        pauses.push(at.duration_since(world.now).as_secs());
        world.pass_time(pauses[pauses.len() - 1] - 1);
        world.converge();
        assert!(world.active_jobs().is_empty());
        world.pass_time(1);
        assert!(world.observed.jobs.len() <= 2, "old attempts go");
    }
    assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300]);
    world.converge();
    world.job_ends(65, &Outcome::failure("NotOnnx", "it is a picture"));
    world.pass_time(24 * 3600);
    world.converge();
    assert!(matches!(world.plan().situation.source, SourceState::Refused { poll: false, .. }));
    assert!(world.active_jobs().is_empty());
    // Another value of the annotation asks again.
    poke(&mut world, "now");
    world.converge();
    assert_eq!(world.active_jobs().len(), 1);
}

/// Otherwise every pass would write another time into the status, and so ask for the next.
#[rstest]
#[case::failed(69, Outcome::failure("ConnectionRefused", "nothing listens"), true)]
#[case::failed_without_a_time(69, Outcome::failure("ConnectionRefused", "nothing listens"), false)]
#[case::found(0, Outcome { digest: Some(digest('a')), ..Outcome::success("Resolved") }, true)]
#[case::found_without_a_time(0, Outcome { digest: Some(digest('a')), ..Outcome::success("Resolved") }, false)]
fn end_that_a_jobs_controller_has_not_seen_is_always_the_same_time(
    #[case] code: i32,
    #[case] outcome: Outcome,
    #[case] with_time: bool,
) {
    let mut world = World::new(SPEC);
    world.converge();
    world.pass_time(4);
    let mut terminated = json!({"exitCode": code, "message": outcome.to_line()});
    if with_time {
        terminated["finishedAt"] = json!(world.now.to_string());
    }
    let phase = if code == 0 { "Succeeded" } else { "Failed" };
    world.job_pod("resolve", phase, &json!({"terminated": terminated}));
    let found = |world: &World| {
        let situation = world.plan().situation;
        (situation.source, situation.resolution)
    };
    let first = found(&world);
    assert!(!matches!(first.0, SourceState::Resolving { .. }), "{first:?}");
    world.pass_time(3);
    assert_eq!(found(&world), first);
}

#[test]
fn poll_looks_first_and_rolls_out_what_changed() {
    let mut world = World::new(r#"{"source": {"uri": "s3://m/x", "pollInterval": "10m"}}"#);
    world.converge();
    world.job_finds('a');
    world.converge();
    world.deployment_is_ready();
    world.converge();
    world.written();
    world.pass_time(599);
    world.converge();
    assert!(world.written().is_empty());
    world.pass_time(1);
    world.converge();
    let job = world.observed.jobs.iter().find(|job| job.status.is_none()).unwrap();
    let args = job.spec.as_ref().unwrap().template.spec.as_ref().unwrap().containers[0].args.clone().unwrap();
    let flag = args.iter().position(|arg| arg == "--unless-fingerprint").unwrap();
    assert_eq!(args[flag + 1], digest('f'));
    world.job_ends(0, &Outcome { fingerprint: Some(digest('f')), ..Outcome::success("Unchanged") });
    world.converge();
    assert_eq!(deployed(&world), digest('a'));
    world.pass_time(600);
    world.converge();
    world.job_ends(69, &Outcome::failure("StoreUnreachable", "away"));
    world.converge();
    let situation = world.plan().situation;
    assert!(matches!(situation.source, SourceState::Retrying { poll: true, .. }), "{situation:?}");
    assert_eq!(situation.rollout, RolloutState::Settled);
    world.pass_time(600);
    world.converge();
    world.job_finds('b');
    world.converge();
    assert_eq!(deployed(&world), digest('b'));
}

#[test]
fn published_revision_with_its_digest_needs_no_job() {
    let digest = digest('a');
    let mut world = World::new(&format!(
        r#"{{"source": {{"uri": "s3://m/revisions/aaaaaaaaaaaaaaaa/", "digest": "{digest}"}}}}"#
    ));
    world.converge();
    assert_eq!(world.written()[4..], ["apply deployment"]);
    assert_eq!(deployed(&world), digest);
}

/// The operator dies after each write in turn, and starts again from what is there.
#[test]
fn death_at_any_write_converges_to_the_same_and_never_has_two_jobs() {
    let story = |most: &mut dyn FnMut() -> usize| {
        let mut world = World::new(SPEC);
        let mut settle = |world: &mut World| {
            for _ in 0..60 {
                let most = most();
                let count = world.pass(most);
                assert!(world.active_jobs().len() <= 1, "{:?}", world.active_jobs());
                if count == 0 {
                    return;
                }
            }
            panic!("no end of writing");
        };
        settle(&mut world);
        world.job_finds('a');
        settle(&mut world);
        world.deployment_is_ready();
        settle(&mut world);
        world.spec(r#"{"source": {"uri": "s3://m/y"}, "serving": {"replicas": 3}}"#);
        settle(&mut world);
        world.job_finds('b');
        settle(&mut world);
        world.deployment_says("False", "ProgressDeadlineExceeded", 0);
        settle(&mut world);
        world.deployment_is_ready();
        settle(&mut world);
        world
    };
    let undisturbed = story(&mut || usize::MAX);
    for dies_after in 0..4 {
        // Every pass dies after that many writes, but each third lives, so that there is an end.
        let mut pass = 0;
        let disturbed = story(&mut || {
            pass += 1;
            if pass % 3 == 0 { usize::MAX } else { dies_after }
        });
        let state = |world: &World| {
            (
                world.observed.deployment.clone(),
                world.observed.service.clone(),
                world.observed.jobs.iter().map(|job| job.metadata.name.clone()).collect::<Vec<_>>(),
            )
        };
        assert_eq!(state(&disturbed), state(&undisturbed), "dies after {dies_after}");
    }
}
