//! What becomes of trainings that fail.

use modelwright_api::{conditions::Class, status::TrainingPhase, training::progress::TrainingProgress};
use rstest::rstest;
use serde_json::{Value, json};

use super::{
    training::{active_job, failed, next_attempt, retrain, spec, state, world},
    *,
};
use crate::{observe::Progress, plan::training::TrainingState};

#[test]
fn retries_have_growing_pauses_and_an_end_and_go_on_in_one_run() {
    let mut world = world(&json!({"retries": 10}));
    world.converge();
    let run = active_job(&world, annotations::RUN);
    let mut pauses = Vec::new();
    for failures in 0..10 {
        assert_eq!(active_job(&world, annotations::FAILURES), failures.to_string());
        assert_eq!(active_job(&world, annotations::ATTEMPT), failures.to_string());
        assert_eq!(active_job(&world, annotations::RUN), run);
        world.training_ends("train", 70, &Outcome::failure("Bug", "ours").to_line());
        world.converge();
        pauses.push(next_attempt(&mut world));
        assert!(world.observed.jobs.len() == 1, "old attempts go");
    }
    assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300, 300, 300, 300]);
    world.training_ends("train", 70, &Outcome::failure("Bug", "ours").to_line());
    world.pass_time(24 * 3600);
    world.converge();
    let cause = failed(&world);
    assert_eq!(cause.reason, "RetriesExhausted");
    assert!(cause.message.contains("11 times") && cause.message.contains("ours"), "{}", cause.message);
    // Nothing of that is forgotten with the status, nor with time.
    world.pass_time(5 * 24 * 3600);
    world.model.status = None;
    world.converge();
    assert_eq!((failed(&world).reason.as_ref(), world.active_jobs().len()), ("RetriesExhausted", 0));
    retrain(&mut world, "again");
    world.converge();
    assert_eq!(active_job(&world, annotations::FAILURES), "0");
}

#[test]
fn interruptions_do_not_lengthen_the_pause_after_a_failure() {
    let mut world = world(&json!({"retries": 3}));
    world.converge();
    for _ in 0..6 {
        world.training_ends("train", 143, &Outcome::failure("Preempted", "told to end").to_line());
        world.converge();
        assert_eq!(next_attempt(&mut world), 10);
    }
    let mut pauses = Vec::new();
    for _ in 0..3 {
        world.training_ends("train", 137, "");
        world.converge();
        pauses.push(next_attempt(&mut world));
    }
    assert_eq!(pauses, [10, 20, 40]);
    assert_eq!(active_job(&world, annotations::FAILURES), "3");
    assert_eq!(active_job(&world, annotations::ATTEMPT), "9");
}

/// How a container ended, and what that means: the reason, whether another attempt is made, and how many failures it counts.
#[rstest]
#[case::configuration("train", 64, "InvalidData", "InvalidData", None)]
#[case::data("train", 65, "BadColumn", "BadColumn", None)]
#[case::waits("train", 66, "AccessDenied", "AccessDenied", Some("0"))]
#[case::unreachable("train", 69, "StoreUnreachable", "StoreUnreachable", Some("1"))]
#[case::bug("train", 70, "Bug", "Bug", Some("1"))]
#[case::output("train", 73, "Denied", "Denied", Some("0"))]
#[case::again("train", 75, "Later", "Later", Some("1"))]
#[case::digest("train", 76, "DigestMismatch", "DigestMismatch", None)]
#[case::refused_without_a_digest("train", 78, "ContractRefused", "ContractRefused", None)]
#[case::preempted("train", 143, "Preempted", "TrainingPreempted", Some("0"))]
fn exit_code_decides_about_the_next_attempt(
    #[case] container: &str,
    #[case] code: i32,
    #[case] said: &str,
    #[case] reason: &str,
    #[case] failures: Option<&str>,
) {
    let mut world = world(&json!({}));
    world.converge();
    world.training_ends(container, code, &Outcome::failure(said, "why").to_line());
    world.converge();
    match failures {
        None => {
            assert_eq!(failed(&world).reason, reason);
            world.pass_time(24 * 3600);
            world.converge();
            assert!(world.active_jobs().is_empty());
        }
        Some(failures) => {
            let TrainingState::Retrying { cause, .. } = state(&world) else { panic!("{:?}", state(&world)) };
            assert_eq!(cause.reason, reason);
            next_attempt(&mut world);
            assert_eq!(active_job(&world, annotations::FAILURES), failures);
        }
    }
}

#[rstest]
#[case::disruption(
    "Pod demo/bc-x has condition DisruptionTarget matching FailJob rule at index 0",
    "TrainingPreempted",
    Some("0"),
    "checkpoint"
)]
#[case::user_crash(
    "Container train for pod demo/bc-x failed with exit code 3 matching FailJob rule at index 2",
    "ContainerFailed",
    Some("1"),
    "container train ended with exit code 3"
)]
#[case::ours(
    "Container publish for pod demo/bc-x failed with exit code 73 matching FailJob rule at index 4",
    "ContainerFailed",
    Some("0"),
    "container publish ended with exit code 73"
)]
#[case::words_lost(
    "Container publish for pod demo/bc-x failed with exit code 78 matching FailJob rule at index 4",
    "JobPodLost",
    Some("0"),
    "pod was gone"
)]
#[case::nothing("", "JobPodLost", Some("0"), "pod was gone")]
fn lost_pod_is_known_by_what_its_job_kept(
    #[case] message: &str,
    #[case] reason: &str,
    #[case] failures: Option<&str>,
    #[case] part: &str,
) {
    let mut world = world(&json!({"container": {"image": "i"}}));
    world.converge();
    world.job_is_over(false, "PodFailurePolicy", message);
    world.converge();
    let TrainingState::Retrying { cause, .. } = state(&world) else { panic!("{:?}", state(&world)) };
    assert_eq!(cause.reason, reason);
    assert!(cause.message.contains(part), "{}", cause.message);
    next_attempt(&mut world);
    assert_eq!(Some(active_job(&world, annotations::FAILURES).as_str()), failures);
}

/// Otherwise every pass would write another time into the status, and so ask for the next.
#[test]
fn next_attempt_is_due_at_the_same_time_while_the_jobs_controller_has_not_seen_the_end() {
    let mut world = world(&json!({}));
    world.converge();
    let words = Outcome::failure("ConnectionRefused", "nothing listens").to_line();
    world.job_pod("train", "Failed", &json!({"terminated": {"exitCode": 69, "message": words}}));
    let first = state(&world);
    assert!(matches!(first, TrainingState::Retrying { .. }), "{first:?}");
    world.pass_time(3);
    assert_eq!(state(&world), first);
}

#[test]
fn lost_node_does_not_count() {
    let mut world = world(&json!({"retries": 0}));
    world.converge();
    for _ in 0..3 {
        world.job_pod("train", "Failed", &json!({"terminated": {"exitCode": 137, "reason": "Error"}}));
        let pod = Arc::make_mut(world.observed.pods.last_mut().unwrap());
        pod.status.as_mut().unwrap().conditions = serde_json::from_value(json!([{"type": "DisruptionTarget", "status": "True",
            "reason": "DeletionByTaintManager", "message": "Taint manager: deleting due to NoExecute taint"}])).unwrap();
        world.job_is_over(false, "PodFailurePolicy", "");
        world.converge();
        let TrainingState::Retrying { cause, .. } = state(&world) else { panic!("{:?}", state(&world)) };
        assert_eq!(cause.reason, "TrainingPreempted");
        assert_eq!(next_attempt(&mut world), 10, "nothing is wrong that a longer pause would heal");
    }
    assert_eq!(active_job(&world, annotations::FAILURES), "0");
    assert_eq!(active_job(&world, annotations::ATTEMPT), "3");
}

/// Two pods train, and this is what is left: what the Job says of the first that ended, and whether the other one failed by itself.
#[rstest]
#[case::deleted("Container train for pod demo/bc-1-y failed with exit code 1 matching", true)]
#[case::drained("Pod demo/bc-0-x has condition DisruptionTarget matching FailJob rule at index 0", true)]
#[case::crashed("Container train for pod demo/POD failed with exit code 1 matching", false)]
fn lost_pod_of_several_does_not_count_though_the_others_fail(#[case] message: &str, #[case] is_lost: bool) {
    let mut world = world(&json!({"container": {"image": "i", "nodes": 2}}));
    world.converge();
    let words = "RuntimeError: Connection closed by peer";
    world.job_pod("train", "Failed", &json!({"terminated": {"exitCode": 1, "message": words}}));
    let pod = world.observed.pods.last().unwrap().metadata.name.clone().unwrap();
    world.job_is_over(false, "PodFailurePolicy", &message.replace("POD", &pod));
    world.converge();
    let TrainingState::Retrying { cause, .. } = state(&world) else { panic!("{:?}", state(&world)) };
    assert_eq!(
        cause.reason,
        if is_lost { "TrainingPreempted" } else { "ContainerFailed" },
        "{}",
        cause.message
    );
    next_attempt(&mut world);
    assert_eq!(active_job(&world, annotations::FAILURES), if is_lost { "0" } else { "1" });
}

/// A pod that is deleted at 10:00:00, with 30 s to end, and when its container then ends with this code.
#[rstest]
#[case::by_the_deletion("10:00:01", 1, "TrainingPreempted")]
#[case::killed_at_its_end("10:00:01", 137, "TrainingPreempted")]
#[case::before_it("09:59:58", 1, "ContainerFailed")]
#[case::of_its_own_accord("10:00:01", 65, "ContainerFailed")]
fn code_of_a_deleted_pod_is_not_the_programs_failure(
    #[case] finished: &str,
    #[case] code: i32,
    #[case] reason: &str,
) {
    let mut world = world(&json!({"container": {"image": "i"}}));
    world.converge();
    let at = |time: &str| format!("2026-11-27T{time}Z");
    let ended = json!({"terminated": {"exitCode": code, "finishedAt": at(finished)}});
    world.job_pod("train", "Failed", &ended);
    let pod = Arc::make_mut(world.observed.pods.last_mut().unwrap());
    pod.metadata.deletion_timestamp = serde_json::from_value(json!(at("10:00:30"))).unwrap();
    pod.metadata.deletion_grace_period_seconds = Some(30);
    world.job_is_over(false, "PodFailurePolicy", "");
    world.converge();
    let cause = match state(&world) {
        TrainingState::Retrying { cause, .. } => cause,
        _ => failed(&world),
    };
    assert_eq!(cause.reason, reason, "{}", cause.message);
}

#[test]
fn user_container_tells_its_exit_code_and_last_line() {
    let mut world = world(&json!({"container": {"image": "i"}}));
    world.converge();
    world.training_ends(
        "train",
        3,
        "Traceback (most recent call last):\n  File \"t.py\"\nKeyError: 'diagnosis'\n",
    );
    world.converge();
    let TrainingState::Retrying { cause, .. } = state(&world) else { panic!("{:?}", state(&world)) };
    assert_eq!((cause.reason.as_ref(), cause.class), ("ContainerFailed", Class::Bug));
    assert!(cause.message.contains("exit code 3, and said: KeyError: 'diagnosis';"), "{}", cause.message);
    // What it writes is not taken for the words of a command of ours.
    next_attempt(&mut world);
    world.training_ends("train", 1, &World::trained('a').to_line());
    world.converge();
    assert!(world.observed.deployment.is_none());
}

#[test]
fn memory_names_its_limit_and_is_not_tried_again() {
    let mut world = world(&json!({"resources": {"limits": {"memory": "1Gi"}}}));
    world.converge();
    world.job_pod("train", "Failed", &json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}));
    world.job_is_over(false, "PodFailurePolicy", "");
    world.converge();
    let cause = failed(&world);
    assert_eq!(cause.reason, "OutOfMemory");
    assert!(
        cause.message.contains("limit of 1Gi; raise spec.training.resources.limits.memory"),
        "{}",
        cause.message
    );
}

#[test]
fn deadline_is_named() {
    let mut world = world(&json!({"deadline": "2h"}));
    world.converge();
    world.job_pod("train", "Failed", &json!({"terminated": {"exitCode": 143, "reason": "Error"}}));
    world.job_is_over(false, "DeadlineExceeded", "Job was active longer than specified deadline");
    world.converge();
    let cause = failed(&world);
    assert_eq!(cause.reason, "TrainingDeadlineExceeded");
    assert!(cause.message.contains("within 7200 s (spec.training.deadline)"), "{}", cause.message);
}

#[rstest]
#[case(json!({"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}), "ImageUnavailable", "not found")]
#[case(
    json!({"waiting": {"reason": "CreateContainerConfigError", "message": "container has runAsNonRoot and image will run as root"}}),
    "ContainerConfigError", "numeric USER"
)]
fn what_keeps_a_training_from_starting_is_said(
    #[case] waiting: Value,
    #[case] reason: &str,
    #[case] part: &str,
) {
    let mut world = world(&json!({"container": {"image": "i"}}));
    world.converge();
    world.job_pod("train", "Pending", &waiting);
    let TrainingState::Running { held_up: Some(cause), phase } = state(&world) else { panic!() };
    assert_eq!((cause.reason.as_ref(), phase), (reason, TrainingPhase::Fetching));
    assert!(cause.message.contains(part), "{}", cause.message);
}

#[rstest]
#[case::told_to_end("train", json!({"exitCode": 143, "reason": "Error"}), "TrainingPreempted")]
#[case::crashed("train", json!({"exitCode": 3, "message": "KeyError"}), "ContainerFailed")]
#[case::memory("train", json!({"exitCode": 137, "reason": "OOMKilled"}), "OutOfMemory")]
#[case::ours("publish", json!({"exitCode": 73, "message": Outcome::failure("AccessDenied", "no").to_line()}), "AccessDenied")]
fn no_reason_is_told_before_the_sidecar_of_what_failed_has_ended(
    #[case] container: &str,
    #[case] ended: Value,
    #[case] reason: &str,
) {
    let mut world = world(&json!({"container": {"image": "i"}}));
    world.converge();
    world.job_pod(container, "Running", &json!({"terminated": ended}));
    let TrainingState::Running { held_up, .. } = state(&world) else { panic!("{:?}", state(&world)) };
    assert_eq!(held_up, None);
    world.job_pod(container, "Failed", &json!({"terminated": ended}));
    let cause = match state(&world) {
        TrainingState::Retrying { cause, .. } | TrainingState::Failed { cause } => cause,
        other => panic!("{other:?}"),
    };
    assert_eq!(cause.reason, reason);
}

#[test]
fn pod_that_its_node_gives_up_is_preempted_before_and_after_its_end() {
    let mut world = world(&json!({"container": {"image": "i"}}));
    world.converge();
    for (phase, train) in [
        ("Running", json!({"running": {}})),
        ("Running", json!({"terminated": {"exitCode": 143, "reason": "Error"}})),
        ("Failed", json!({"terminated": {"exitCode": 143, "reason": "Error"}})),
    ] {
        world.job_pod("train", phase, &train);
        let pod = Arc::make_mut(world.observed.pods.last_mut().unwrap());
        pod.status.as_mut().unwrap().conditions = serde_json::from_value(json!([{"type": "DisruptionTarget",
            "status": "True", "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting"}]))
        .unwrap();
        let (TrainingState::Running { held_up: Some(cause), .. } | TrainingState::Retrying { cause, .. }) =
            state(&world)
        else {
            panic!("{:?}", state(&world))
        };
        assert_eq!(cause.reason, "TrainingPreempted", "{phase} {train}");
    }
}

fn stalls(world: &mut World, seconds: u64) {
    world.job_pod("train", "Running", &json!({"running": {}}));
    let told: TrainingProgress =
        serde_json::from_value(json!({"phase": "Training", "stalledSeconds": seconds})).unwrap();
    let job = world.active_jobs().remove(0);
    world.observed.progress = Some(Progress { job, told: Some(told), failure: None });
}

#[test]
fn training_without_progress_is_ended_and_counts() {
    let mut world = world(&json!({"stallTimeout": "10m", "retries": 1}));
    world.converge();
    let first = world.active_jobs();
    stalls(&mut world, 600);
    world.converge();
    assert_eq!(world.active_jobs(), first);
    stalls(&mut world, 601);
    world.converge();
    let TrainingState::Retrying { cause, .. } = state(&world) else { panic!("{:?}", state(&world)) };
    assert_eq!(cause.reason, "TrainingStalled");
    next_attempt(&mut world);
    assert_ne!(world.active_jobs(), first);
    assert_eq!(active_job(&world, annotations::FAILURES), "1");
    assert_eq!(active_job(&world, annotations::ATTEMPT), "1");
    stalls(&mut world, 700);
    world.converge();
    let cause = failed(&world);
    assert_eq!(cause.reason, "RetriesExhausted");
    assert!(cause.message.contains("no progress for 700 s"), "{}", cause.message);
    // The Job that stands for the end never starts, and remembers without the status.
    let job = world.observed.jobs[0].clone();
    assert_eq!((world.observed.jobs.len(), job.spec.as_ref().unwrap().suspend), (1, Some(true)));
    world.model.status = None;
    world.pass_time(5 * 24 * 3600);
    world.converge();
    assert_eq!(failed(&world).reason, "RetriesExhausted");
    // More attempts are allowed later.
    world.spec(&spec(&json!({"stallTimeout": "10m", "retries": 2})));
    world.pass_time(600);
    world.converge();
    assert!(!world.observed.jobs.iter().any(|job| job.metadata.name.as_ref().unwrap().ends_with("-2")));
}

/// Two that bring out the state of one run would tear each other's checkpoints.
#[test]
fn attempt_after_a_stall_waits_for_the_pod_of_the_one_before() {
    let mut world = world(&json!({"stallTimeout": "10m", "retries": 3}));
    world.converge();
    stalls(&mut world, 601);
    // The memory of the failure is there before what it says is deleted.
    world.pass(1);
    let names = |world: &World| -> Vec<_> {
        world.observed.jobs.iter().map(|job| job.metadata.name.clone().unwrap()).collect()
    };
    assert_eq!(names(&world).len(), 2);
    let mut pod = world.observed.pods.last().unwrap().clone();
    world.converge();
    assert_eq!(names(&world).len(), 1, "{:?}", names(&world));
    let ended = world.now.checked_add(jiff::SignedDuration::from_secs(120)).unwrap();
    Arc::make_mut(&mut pod).metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(ended));
    world.observed.pods.push(pod);
    next_attempt(&mut world);
    assert!(world.plan().look_again_at.is_some_and(|at| at > world.now));
    assert_eq!(names(&world).len(), 1, "the pod has not ended");
    // A node that nobody reaches never says that it has.
    world.pass_time(200);
    world.converge();
    assert_eq!(active_job(&world, annotations::ATTEMPT), "1");
}
