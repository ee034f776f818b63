//! What becomes of pods that live when something changes: a rule, a deletion.
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use rstest::rstest;

use super::{
    START, agent, at, ends_after, exits_after, fails, fetch, healthy, later, pod, runs, seconds, serve, words,
};
use crate::scripted_node::script::{ContainerScript, Exit, PodMatcher};

#[test]
fn conditions_keep_their_time_while_they_keep_their_value() {
    let pod = pod("", "Always");
    let first = at(&pod, &healthy(), seconds(0)).status;
    let second = later(&pod, &serve(runs().never_ready()), &first, None, seconds(9)).status;
    let time = |status: &PodStatus, type_: &str| {
        let found = status.conditions.iter().flatten().find(|condition| condition.type_ == type_);
        found.unwrap().last_transition_time.clone().unwrap().0
    };
    assert_eq!(time(&second, "Initialized"), START);
    assert_eq!(time(&second, "Ready"), START + seconds(9));
    assert_eq!(second.start_time, first.start_time);
}

#[rstest]
#[case::fails_now(fails(3), 0, "Running serve=3")]
#[case::fails_later(exits_after(5, 3), 4, "Running serve=running+")]
#[case::fails_then(exits_after(5, 3), 5, "Running serve=3")]
#[case::loses_readiness(runs().never_ready(), 0, "Running serve=running-")]
#[case::gets_it_back(runs().ready_after(seconds(2)), 2, "Running serve=running+")]
fn a_later_rule_goes_on_from_the_present_state(
    #[case] script: ContainerScript,
    #[case] elapsed: u64,
    #[case] expected: &str,
) {
    let pod = pod("", "Always");
    let before = at(&pod, &healthy(), seconds(0)).status;
    let outlook = later(&pod, &serve(script), &before, None, seconds(elapsed));
    assert_eq!(words(&outlook.status), expected);
}

#[test]
fn a_later_rule_ends_a_crash_loop_at_the_next_restart() {
    let pod = pod("", "Always");
    let looping = at(&pod, &serve(fails(1)), seconds(2)).status;
    assert_eq!(words(&looping), "Running serve=CrashLoopBackOff(1)");
    let healed = later(&pod, &healthy(), &looping, None, seconds(60));
    assert_eq!(words(&healed.status), "Running serve=running+(2)");
    assert_eq!(healed.next, None);
    let last = healed.status.container_statuses.unwrap().remove(0).last_state.unwrap().terminated.unwrap();
    assert_eq!(last.exit_code, 1);
}

#[test]
fn what_is_over_stays_over() {
    let pod = pod("fetch", "Never");
    let failed = at(&pod, &fetch(fails(65)), seconds(0)).status;
    assert_eq!(later(&pod, &healthy(), &failed, None, seconds(60)).status, failed);
    assert!(later(&pod, &healthy(), &failed, Some(seconds(1)), seconds(60)).finished);
}

#[rstest]
#[case::at_once("", runs(), 10, 10, "Succeeded serve=0", true)]
#[case::not_yet("", ends_after(5, 143), 14, 10, "Running serve=running+", false)]
#[case::after_its_time("", ends_after(5, 143), 15, 10, "Failed serve=143", true)]
#[case::killed_after_the_grace_period("", ends_after(99, 0), 40, 10, "Failed serve=137", true)]
#[case::sidecar_ends_last("agent", ends_after(5, 0), 14, 10, "Running agent=running+ serve=running+", false)]
#[case::with_its_sidecar("agent", ends_after(5, 0), 15, 10, "Succeeded agent=0 serve=0", true)]
#[case::before_the_start(
    "",
    ContainerScript::waits("ImagePullBackOff", "no"),
    10,
    10,
    "Failed serve=137",
    true
)]
#[case::in_a_crash_loop("", fails(1), 10, 10, "Failed serve=1(1)", true)]
fn a_deleted_pod_ends(
    #[case] containers: &str,
    #[case] script: ContainerScript,
    #[case] elapsed: u64,
    #[case] deleted: u64,
    #[case] expected: &str,
    #[case] finished: bool,
) {
    let mut pod = pod(containers, "Always");
    pod.metadata.deletion_grace_period_seconds = Some(30);
    let script = serve(script);
    let outlook = later(&pod, &script, &PodStatus::default(), Some(seconds(deleted)), seconds(elapsed));
    assert_eq!((words(&outlook.status).as_str(), outlook.finished), (expected, finished));
}

#[test]
fn a_startup_probe_holds_the_next_container_back() {
    let mut pod = pod("agent check", "Always");
    let inits = pod.spec.as_mut().unwrap().init_containers.as_mut().unwrap();
    inits[0].startup_probe = Some(k8s_openapi::api::core::v1::Probe::default());
    let script = agent(runs().ready_after(seconds(3)));
    assert_eq!(
        words(&at(&pod, &script, seconds(2)).status),
        "Pending agent=running- check=PodInitializing serve=PodInitializing"
    );
    assert_eq!(words(&at(&pod, &script, seconds(3)).status), "Running agent=running+ check=0 serve=running+");
}

#[test]
fn a_pod_has_a_deadline() {
    let mut pod = pod("", "Never");
    pod.spec.as_mut().unwrap().active_deadline_seconds = Some(5);
    assert_eq!(at(&pod, &healthy(), seconds(4)).next, Some(seconds(5)));
    let status = at(&pod, &healthy(), seconds(5)).status;
    assert_eq!(
        (status.phase.as_deref(), status.reason.as_deref()),
        (Some("Failed"), Some("DeadlineExceeded"))
    );
}

#[rstest]
#[case::alone("", 5000, 4096)]
#[case::of_four("fetch agent extra", 5000, 3072)]
fn termination_messages_are_shortened(#[case] containers: &str, #[case] written: usize, #[case] kept: usize) {
    let message = "x".repeat(written - 4) + "tail";
    let script = serve(ContainerScript::exits(Exit::code(1).message(&message)));
    let statuses = at(&pod(containers, "Never"), &script, seconds(0)).status.container_statuses.unwrap();
    let serve = statuses.into_iter().find(|status| status.name == "serve").unwrap();
    let message = serve.state.unwrap().terminated.unwrap().message.unwrap();
    assert_eq!((message.len(), message.ends_with("tail")), (kept, kept == 4096));
}

#[test]
fn matchers_want_every_part() {
    let pod: Pod = serde_yaml::from_str("{metadata: {name: a-1, namespace: n, labels: {app: a}}}").unwrap();
    for (matcher, expected) in [
        (PodMatcher::any(), true),
        (PodMatcher::any().namespace("n").name_prefix("a-").label("app", "a"), true),
        (PodMatcher::any().namespace("m").name_prefix("a-"), false),
        (PodMatcher::any().name_prefix("b-"), false),
        (PodMatcher::any().label("app", "b"), false),
    ] {
        assert_eq!(matcher.matches(&pod), expected, "{matcher:?}");
    }
}

#[test]
fn misspelt_containers_are_found() {
    let script = healthy().container("serv", runs()).container("fetch", runs());
    assert_eq!(script.unknown_containers(&pod("fetch", "Always")), ["serv"]);
}
