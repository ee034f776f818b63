//! Histories of Models that are trained.

use modelwright_api::{
    status::TrainingPhase,
    training::order::{DeletionOrder, TrainingOrder},
};
use rstest::rstest;
use serde_json::{Value, json};

use super::{world::digest, *};
use crate::plan::training::{TrainingSituation, TrainingState};

/// A training with these fields beside data and output.
pub(super) fn spec(more: &Value) -> String {
    let mut training = json!({
        "data": {"source": {"uri": "s3://data/bc.csv"}, "target": "diagnosis"},
        "output": {"uri": "s3://models/", "credentialsSecretRef": {"name": "out"}},
    });
    let mut spec = json!({});
    for (key, value) in more.as_object().unwrap() {
        match key.as_str() {
            "rollout" | "suspend" | "podTemplate" | "serving" => spec[key] = value.clone(),
            "pollInterval" => training["data"][key] = value.clone(),
            _ => training[key] = value.clone(),
        }
    }
    spec["training"] = training;
    spec.to_string()
}

pub(super) fn world(more: &Value) -> World {
    World::new(&spec(more))
}

/// A Model whose first training gave `a`, which is served.
pub(super) fn trained(more: &Value) -> World {
    let mut world = world(more);
    world.converge();
    world.training_gives('a');
    world.converge();
    world.deployment_is_ready();
    world.converge();
    world.written();
    world
}

pub(super) fn situation(world: &World) -> TrainingSituation {
    world.plan().situation.training.unwrap()
}

pub(super) fn state(world: &World) -> TrainingState {
    situation(world).state
}

pub(super) fn failed(world: &World) -> Cause {
    match state(world) {
        TrainingState::Failed { cause } => cause,
        other => panic!("{other:?}"),
    }
}

/// An annotation of the one active Job.
pub(super) fn active_job(world: &World, key: &str) -> String {
    let [name] = &world.active_jobs()[..] else { panic!("{:?}", world.active_jobs()) };
    let job = world.observed.jobs.iter().find(|job| job.metadata.name.as_ref() == Some(name)).unwrap();
    job.metadata.annotations.as_ref().unwrap()[key].clone()
}

pub(super) fn retrain(world: &mut World, value: &str) {
    let annotations = world.model.metadata.annotations.get_or_insert_default();
    annotations.insert(annotations::RETRAIN_AT.into(), value.into());
}

/// Waits until the next attempt is due and makes it.
pub(super) fn next_attempt(world: &mut World) -> i64 {
    let TrainingState::Retrying { at, .. } = state(world) else { panic!("{:?}", state(world)) };
    let pause = at.duration_since(world.now).as_secs();
    world.pass_time(pause);
    world.converge();
    pause
}

#[test]
fn model_is_trained_then_deployed_and_then_nothing_is_written() {
    let mut world = world(&json!({}));
    world.converge();
    assert_eq!(active_job(&world, annotations::TRIGGER), "first");
    assert_eq!(active_job(&world, annotations::RUN), {
        let from = situation(&world).trained_from;
        format!("20260101t000000z-{}", &from[..8])
    });
    world.job_pod("train", "Running", &json!({"running": {}}));
    assert_eq!(state(&world), TrainingState::Running { phase: TrainingPhase::Training, held_up: None });
    world.training_gives('a');
    world.converge();
    world.deployment_is_ready();
    world.converge();
    assert_eq!(deployed(&world), digest('a'));
    world.written();
    world.pass_time(3 * 24 * 3600);
    world.converge();
    // The Deployment says what the Job gave, so after a day the Job may go.
    assert!(matches!(world.written().as_slice(), [only] if only.starts_with("delete bc-train-")));
    world.converge();
    assert!(world.written().is_empty());
    let newest = situation(&world).newest.unwrap();
    assert_eq!(newest.revision.uri, "s3://models/demo/bc/revisions/aaaaaaaaaaaaaaaa/");
    assert_eq!(newest.metrics["valAccuracy"].to_string(), "0.97");
}

#[test]
fn servers_fetch_from_the_output_with_its_secret() {
    let world = trained(&json!({}));
    let template = world.observed.deployment.as_ref().unwrap().spec.clone().unwrap().template;
    let fetch = &template.spec.unwrap().init_containers.unwrap()[0];
    assert!(
        fetch.args.as_ref().unwrap().contains(&"s3://models/demo/bc/revisions/aaaaaaaaaaaaaaaa/".to_owned())
    );
    let secret = fetch.env.as_ref().unwrap().iter().find_map(|env| env.value_from.clone()?.secret_key_ref);
    assert_eq!(secret.unwrap().name, "out");
}

#[test]
fn lost_status_trains_and_restarts_nothing() {
    let mut world = trained(&json!({"cron": "0 3 * * *"}));
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
    // And it is still trained again when it is time.
    world.pass_time(4 * 3600);
    world.converge();
    assert_eq!(active_job(&world, annotations::TRIGGER), "cron 2026-01-01T03:00:00Z");
}

#[test]
fn equal_observations_give_equal_plans() {
    let world = world(&json!({"cron": "0 3 * * *"}));
    assert_eq!(format!("{:?}", world.plan()), format!("{:?}", world.plan()));
}

#[test]
fn store_may_say_that_it_was_trained_before() {
    let mut world = world(&json!({"container": {"image": "i"}}));
    world.converge();
    let outcome = Outcome { reason: "Reused".into(), ..World::trained('a') };
    world.training_ends("fetch", 80, &outcome.to_line());
    world.converge();
    assert_eq!((deployed(&world), state(&world)), (digest('a'), TrainingState::Idle));
    assert!(situation(&world).newest.unwrap().reused);
}

#[test]
fn changed_spec_ends_what_trains_and_trains_anew() {
    let mut world = world(&json!({}));
    world.converge();
    let former = world.active_jobs();
    world.spec(&spec(&json!({"builtin": {"epochs": 5}})));
    world.pass(usize::MAX);
    assert_eq!((world.active_jobs().len(), world.observed.jobs.len()), (0, 0), "never two at once");
    world.converge();
    assert_ne!(world.active_jobs(), former);
    // What changes no result changes nothing.
    let now = world.active_jobs();
    world.spec(&spec(
        &json!({"builtin": {"epochs": 5, "threads": 2}, "retries": 9, "deadline": "2h", "keep": 3}),
    ));
    world.converge();
    assert_eq!(world.active_jobs(), now);
}

#[test]
fn former_revision_serves_while_another_is_trained() {
    let mut world = trained(&json!({}));
    retrain(&mut world, "now");
    world.converge();
    assert_eq!(active_job(&world, annotations::TRIGGER), "changed, or retrain-at now");
    assert_eq!((deployed(&world), world.plan().situation.rollout), (digest('a'), RolloutState::Settled));
    world.training_gives('b');
    world.converge();
    assert_eq!((deployed(&world), world.plan().situation.rollout), (digest('b'), RolloutState::Candidate));
}

#[test]
fn ticks_that_were_missed_count_once() {
    let mut world = trained(&json!({"cron": "0 3 * * *", "timeZone": "Europe/Berlin"}));
    assert_eq!(situation(&world).next_at, Some("2026-01-01T02:00:00Z".parse().unwrap()));
    assert_eq!(world.plan().look_again_at, situation(&world).next_at);
    world.pass_time(5 * 24 * 3600);
    world.converge();
    assert_eq!(active_job(&world, annotations::TRIGGER), "cron 2026-01-01T02:00:00Z");
    // A tick during the training counts, and not before it is done.
    world.pass_time(24 * 3600);
    world.converge();
    assert_eq!(world.active_jobs().len(), 1);
    world.training_gives('a');
    world.converge();
    assert_eq!(active_job(&world, annotations::TRIGGER), "cron 2026-01-06T02:00:00Z");
    world.training_gives('a');
    world.converge();
    assert!(world.active_jobs().is_empty());
    assert_eq!(world.written().iter().filter(|write| write.contains("deployment")).count(), 0);
}

#[rstest]
#[case(json!({"cron": "0 3 31 2 *"}), "spec.training.cron")]
#[case(json!({"cron": "0 3 * * *", "timeZone": "Mars/Olympus"}), "spec.training.timeZone")]
#[case(json!({"deadline": "soon"}), "spec.training.deadline")]
#[case(json!({"pollInterval": "soon"}), "spec.training.data.pollInterval")]
#[case(json!({"container": {"image": "i", "parameters": {"a": "x".repeat(110_000)}}}), "spec.training.container.parameters")]
fn value_that_cannot_be_used_is_named(#[case] more: Value, #[case] field: &str) {
    let blocked = world(&more).plan().situation.blocked.unwrap();
    assert_eq!(blocked.reason, "InvalidSpec");
    assert!(blocked.message.starts_with(field), "{}", blocked.message);
}

#[test]
fn changed_data_is_trained_on() {
    let mut world = trained(&json!({"pollInterval": "10m"}));
    world.pass_time(600);
    world.converge();
    let [name] = &world.active_jobs()[..] else { panic!() };
    assert!(name.starts_with("bc-data-"), "{name}");
    let job = world.observed.jobs.iter().find(|job| job.metadata.name.as_ref() == Some(name)).unwrap();
    let data = &job.spec.as_ref().unwrap().template.spec.as_ref().unwrap().containers[0];
    assert_eq!(
        data.args.as_ref().unwrap()[..],
        ["data", "--config", "/etc/modelwright/order/order.json", "--unless-fingerprint", &digest('f')]
    );
    world.training_ends("data", 0, &Outcome::success("Unchanged").to_line());
    world.converge();
    assert!(world.active_jobs().is_empty());
    world.pass_time(600);
    world.converge();
    world.training_ends("data", 69, &Outcome::failure("StoreUnreachable", "away").to_line());
    world.converge();
    assert_eq!(situation(&world).look_failed.unwrap().reason, "StoreUnreachable");
    assert_eq!(state(&world), TrainingState::Idle);
    world.pass_time(600);
    world.converge();
    let changed = Outcome { fingerprint: Some(digest('9')), ..Outcome::success("Changed") };
    world.training_ends("data", 0, &changed.to_line());
    world.pass_time(1);
    world.converge();
    assert_eq!(active_job(&world, annotations::TRIGGER), "data changed");
    world.training_gives('b');
    world.converge();
    assert_eq!((deployed(&world), world.active_jobs().len()), (digest('b'), 0));
    assert_eq!(
        world
            .observed
            .jobs
            .iter()
            .filter(|job| job.metadata.name.as_ref().unwrap().contains("-data-"))
            .count(),
        1
    );
}

#[test]
fn suspended_model_begins_nothing_and_lets_a_training_end() {
    let mut world = world(&json!({"suspend": true}));
    world.converge();
    assert!(world.observed.jobs.is_empty());
    world.spec(&spec(&json!({})));
    world.converge();
    world.spec(&spec(&json!({"suspend": true})));
    world.converge();
    assert_eq!(world.active_jobs().len(), 1);
    world.training_ends("train", 69, &Outcome::failure("StoreUnreachable", "away").to_line());
    world.pass_time(3600);
    world.converge();
    assert!(world.active_jobs().is_empty());
    world.spec(&spec(&json!({})));
    world.converge();
    assert_eq!(world.active_jobs().len(), 1);
}

#[test]
fn queue_admits_a_training() {
    let mut world = world(&json!({"queue": "research"}));
    world.converge();
    let job = world.observed.jobs[0].clone();
    assert_eq!(job.metadata.labels.as_ref().unwrap()["kueue.x-k8s.io/queue-name"], "research");
    assert_eq!(job.spec.as_ref().unwrap().suspend, Some(true));
    assert_eq!(state(&world), TrainingState::Queued);
    world.pass_time(3600);
    world.converge();
    assert_eq!((state(&world), world.plan().jobs.without_pod.len()), (TrainingState::Queued, 0));
    Arc::make_mut(&mut world.observed.jobs[0]).spec.as_mut().unwrap().suspend = Some(false);
    world.job_pod("train", "Running", &json!({"running": {}}));
    assert!(matches!(state(&world), TrainingState::Running { .. }));
}

#[test]
fn refused_revision_is_not_served_and_the_former_stays() {
    let mut world = trained(&json!({}));
    retrain(&mut world, "1");
    world.converge();
    let refused = Outcome {
        ok: false,
        reason: "GateRefused".into(),
        message: "valAccuracy 0.7 < 0.9".into(),
        ..World::trained('b')
    };
    world.training_ends("train", 78, &refused.to_line());
    world.converge();
    assert_eq!((deployed(&world), state(&world)), (digest('a'), TrainingState::Idle));
    let newest = situation(&world).newest.unwrap();
    assert_eq!(
        (newest.revision.digest, newest.refused.unwrap().reason.as_ref()),
        (digest('b'), "GateRefused")
    );
    // That stays so when only the status remembers.
    world.pass_time(2 * 24 * 3600);
    world.converge();
    world.written();
    world.converge();
    assert!(world.observed.jobs.is_empty() && world.written().is_empty());
    let cause = situation(&world).newest.unwrap().refused.unwrap();
    assert_eq!((cause.reason.as_ref(), cause.message.as_str()), ("GateRefused", "valAccuracy 0.7 < 0.9"));
    // Who names it wants it all the same.
    world.spec(&spec(&json!({"rollout": {"revision": "b".repeat(16)}})));
    world.converge();
    assert_eq!(deployed(&world), digest('b'));
}

#[test]
fn revision_waits_for_approval_and_stays_approved() {
    let manual = json!({"gate": {"approval": "Manual"}});
    let mut world = world(&manual);
    world.converge();
    world.training_gives('a');
    world.converge();
    assert!(world.observed.deployment.is_none());
    assert!(situation(&world).newest.unwrap().needs_approval);
    let mut pinned = manual.clone();
    pinned["rollout"] = json!({"revision": digest('a')});
    world.spec(&spec(&pinned));
    world.converge();
    world.deployment_is_ready();
    world.converge();
    assert_eq!((deployed(&world), world.plan().situation.pinned), (digest('a'), false));
    world.spec(&spec(&manual));
    retrain(&mut world, "1");
    world.converge();
    world.training_gives('b');
    world.converge();
    assert_eq!(deployed(&world), digest('a'));
    assert!(situation(&world).newest.unwrap().needs_approval);
}

#[test]
fn pin_holds_an_older_revision_while_trainings_go_on() {
    let mut world = trained(&json!({"cron": "0 3 * * *"}));
    world.spec(&spec(&json!({"cron": "0 3 * * *", "rollout": {"revision": digest('a')}})));
    world.pass_time(4 * 3600);
    world.converge();
    world.training_gives('b');
    world.converge();
    let situation = world.plan().situation;
    assert_eq!((deployed(&world), situation.pinned), (digest('a'), true));
    assert_eq!(situation.resolution.unwrap().revision.digest, digest('b'));
    world.spec(&spec(&json!({"cron": "0 3 * * *"})));
    world.converge();
    assert_eq!(deployed(&world), digest('b'));
}

#[test]
fn gate_that_compares_is_told_what_is_served() {
    let mut world = trained(&json!({"gate": {"beat": "Active"}}));
    retrain(&mut world, "1");
    world.converge();
    let job = world.observed.jobs.iter().find(|job| job.status.is_none()).unwrap();
    let annotations = job.spec.as_ref().unwrap().template.metadata.clone().unwrap().annotations.unwrap();
    let order: TrainingOrder = serde_json::from_str(&annotations[annotations::ORDER]).unwrap();
    assert_eq!(order.active.unwrap().digest, digest('a'));
    assert_eq!((order.retrain_at.as_deref(), order.attempt), (Some("1"), 0));
    assert_eq!(order.training.output.unwrap().uri, "s3://models/");
}

#[test]
fn jobs_of_the_former_origin_go() {
    let mut world = world(&json!({}));
    world.converge();
    world.spec(SPEC);
    world.converge();
    let names = |world: &World| {
        let names = world.observed.jobs.iter().map(|job| job.metadata.name.clone().unwrap());
        names.map(|name| name.split('-').nth(1).unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&world), ["resolve"]);
    world.spec(&spec(&json!({})));
    world.converge();
    assert_eq!(names(&world), ["train"]);
}

/// The operator dies after each write in turn, and starts again from what is there.
#[test]
fn death_at_any_write_never_has_two_jobs_and_ends_in_the_same() {
    let story = |most: &mut dyn FnMut() -> usize| {
        let mut world = world(&json!({}));
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
        world.training_ends("train", 69, &Outcome::failure("StoreUnreachable", "away").to_line());
        settle(&mut world);
        world.pass_time(10);
        settle(&mut world);
        world.training_gives('a');
        settle(&mut world);
        world.deployment_is_ready();
        settle(&mut world);
        world.spec(&spec(&json!({"builtin": {"epochs": 7}})));
        settle(&mut world);
        world.training_gives('b');
        settle(&mut world);
        world.deployment_is_ready();
        settle(&mut world);
        world
    };
    let undisturbed = story(&mut || usize::MAX);
    for dies_after in 0..4 {
        let mut pass = 0;
        let disturbed = story(&mut || {
            pass += 1;
            if pass % 3 == 0 { usize::MAX } else { dies_after }
        });
        let names = |world: &World| {
            world.observed.jobs.iter().map(|job| job.metadata.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&disturbed), names(&undisturbed), "dies after {dies_after}");
        assert_eq!(disturbed.observed.deployment, undisturbed.observed.deployment);
    }
}

#[test]
fn revisions_that_are_too_many_are_listed_when_the_new_one_serves_and_never_with_it() {
    let mut world = trained(&json!({"keep": 1}));
    let order = |world: &World| -> DeletionOrder {
        serde_json::from_str(&active_job(world, annotations::ORDER)).unwrap()
    };
    let first = order(&world);
    assert_eq!((first.keep, first.protected, first.delete), (Some(1), vec![digest('a')], None));
    retrain(&mut world, "again");
    world.converge();
    let all = world.active_jobs();
    assert!(all.iter().any(|name| name.starts_with("bc-train-")), "the list is in nobody's way: {all:?}");
}

/// A time that every pass writes anew would be a write that starts the next pass.
#[rstest]
#[case::first(json!({"pollInterval": "10m"}), false)]
#[case::queued(json!({"pollInterval": "10m", "queue": "research"}), false)]
#[case::never_trained(json!({"pollInterval": "10m", "suspend": true}), false)]
#[case::trained_again(json!({"pollInterval": "10m"}), true)]
fn training_that_is_looked_after_says_the_same_each_time(#[case] more: Value, #[case] again: bool) {
    let mut world = if again { trained(&more) } else { world(&more) };
    if again {
        retrain(&mut world, "1");
    }
    world.converge();
    let known = situation(&world);
    world.pass_time(1);
    assert_eq!(situation(&world), known);
}
