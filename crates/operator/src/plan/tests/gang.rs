//! Histories of pods that train together.

use modelwright_api::{contract::labels, status::TrainingPhase};
use rstest::rstest;
use serde_json::{Value, json};

use super::{
    training::{active_job, next_attempt, state, world},
    world::digest,
    *,
};
use crate::plan::training::TrainingState;

const RUNS: &str = r#"{"running": {}}"#;

/// A training by two pods whose Job is there.
fn gang() -> World {
    let mut world = world(&json!({"container": {"image": "i", "nodes": 2}, "retries": 3}));
    world.converge();
    world
}

/// The pod of this rank: its container is as given.
fn pod(world: &mut World, rank: usize, container: &str, phase: &str, state: &Value) {
    let others: Vec<_> = world.observed.pods.drain(..).collect();
    world.job_pod(container, phase, state);
    let mut made = world.observed.pods.remove(0);
    let metadata = &mut Arc::make_mut(&mut made).metadata;
    let name = format!("{}-{rank}", metadata.name.take().unwrap());
    metadata.labels.get_or_insert_default().insert(labels::POD_INDEX.into(), rank.to_string());
    metadata.name = Some(name.clone());
    world.observed.pods = others;
    world.observed.pods.retain(|other| other.metadata.name.as_ref() != Some(&name));
    world.observed.pods.push(made);
}

fn first_publishes(world: &mut World) {
    let said = json!({"terminated": {"exitCode": 0, "message": World::trained('a').to_line()}});
    pod(world, 0, "publish", "Succeeded", &said);
}

fn not_first() -> Value {
    let said = Outcome { digest: Some(digest('b')), ..Outcome::success("NotFirst") };
    json!({"terminated": {"exitCode": 0, "message": said.to_line()}})
}

#[rstest]
#[case::by_its_pods(false)]
#[case::by_its_job(true)]
fn gang_is_trained_when_every_pod_ended_well(#[case] by_job: bool) {
    let mut world = gang();
    pod(&mut world, 1, "train", "Running", &serde_json::from_str(RUNS).unwrap());
    first_publishes(&mut world);
    world.converge();
    let publishing = TrainingState::Running { phase: TrainingPhase::Publishing, held_up: None };
    assert_eq!((state(&world), world.observed.deployment.is_none()), (publishing, true));
    if by_job {
        world.observed.pods.retain(|pod| pod.metadata.name.as_ref().unwrap().ends_with("-0"));
        world.job_is_over(true, "", "");
    } else {
        pod(&mut world, 1, "publish", "Succeeded", &not_first());
    }
    world.converge();
    assert_eq!(deployed(&world), digest('a'));
}

#[test]
fn gang_that_lost_a_pod_is_not_trained_although_the_first_published() {
    let mut world = gang();
    first_publishes(&mut world);
    pod(&mut world, 1, "train", "Failed", &json!({"terminated": {"exitCode": 137, "reason": "Error"}}));
    world.job_is_over(false, "PodFailurePolicy", "");
    world.converge();
    let TrainingState::Retrying { cause, .. } = state(&world) else { panic!("{:?}", state(&world)) };
    assert_eq!(cause.reason, "ContainerFailed");
    assert!(world.observed.deployment.is_none());
    next_attempt(&mut world);
    assert_eq!(active_job(&world, annotations::ATTEMPT), "1");
}

#[rstest]
#[case::refused("publish", 78, false, "WorseThanActive")]
#[case::there_already("fetch", 80, true, "Reused")]
fn first_pod_says_for_all_that_nothing_more_is_to_come(
    #[case] container: &str,
    #[case] code: i32,
    #[case] ok: bool,
    #[case] reason: &str,
) {
    let mut world = gang();
    pod(&mut world, 1, "train", "Failed", &json!({"terminated": {"exitCode": 143}}));
    let said = Outcome { ok, reason: reason.into(), ..World::trained('a') };
    pod(
        &mut world,
        0,
        container,
        "Failed",
        &json!({"terminated": {"exitCode": code, "message": said.to_line()}}),
    );
    world.job_is_over(false, "PodFailurePolicy", "");
    world.converge();
    assert_eq!((state(&world), world.observed.deployment.is_some()), (TrainingState::Idle, ok));
}
