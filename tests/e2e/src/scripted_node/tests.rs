//! What pods report, script by script.
use std::{fmt::Write, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use rstest::rstest;

use super::{
    script::{ContainerScript, Exit, PodScript},
    status::{Outlook, Situation, status},
};
use crate::report::pod_in_words;

mod changes;

const START: Timestamp = Timestamp::UNIX_EPOCH;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A pod with the init containers `fetch`, the sidecar `agent` (in this order) and the container `serve`, those of them
/// that are asked for.
fn pod(containers: &str, restart_policy: &str) -> Pod {
    let has = |name: &str| containers.contains(name);
    let init = [
        has("fetch").then_some("{name: fetch, image: 'x:1'}"),
        has("agent").then_some("{name: agent, image: 'x:1', restartPolicy: Always}"),
        has("check").then_some("{name: check, image: 'x:1'}"),
    ];
    let main = [Some("{name: serve, image: 'x:1'}"), has("extra").then_some("{name: extra, image: 'x:1'}")];
    let list = |items: &[Option<&str>]| items.iter().flatten().copied().collect::<Vec<_>>().join(", ");
    serde_yaml::from_str(&format!(
        "{{metadata: {{name: p, namespace: n, uid: u, generation: 1}}, spec: {{restartPolicy: {restart_policy}, \
         initContainers: [{}], containers: [{}]}}}}",
        list(&init),
        list(&main)
    ))
    .unwrap()
}

fn at(pod: &Pod, script: &PodScript, elapsed: Duration) -> Outlook {
    later(pod, script, &PodStatus::default(), None, elapsed)
}

fn later(
    pod: &Pod,
    script: &PodScript,
    before: &PodStatus,
    deleted: Option<Duration>,
    elapsed: Duration,
) -> Outlook {
    let situation = Situation {
        pod,
        script,
        before,
        since: START,
        deleted: deleted.map(|after| START + after),
        reported: before,
        host_ip: "239.0.0.0",
        pod_ip: "239.0.0.1",
    };
    status(&situation, elapsed)
}

/// Each container's state in a word or two: `fetch=0 serve=running+`.
fn words(status: &PodStatus) -> String {
    let all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let words: Vec<_> = all.map(|status| format!("{}={}", status.name, word(status))).collect();
    format!("{} {}", status.phase.as_deref().unwrap_or_default(), words.join(" "))
}

fn word(status: &ContainerStatus) -> String {
    let state = status.state.clone().unwrap_or_default();
    let mut word = match (state.running, state.waiting, state.terminated) {
        (Some(_), _, _) => format!("running{}", if status.ready { "+" } else { "-" }),
        (_, Some(waiting), _) => waiting.reason.unwrap(),
        (_, _, Some(ended)) => ended.exit_code.to_string(),
        _ => "?".to_owned(),
    };
    if status.restart_count > 0 {
        let _ = write!(word, "({})", status.restart_count);
    }
    word
}

fn condition<'a>(status: &'a PodStatus, type_: &str) -> (&'a str, &'a str) {
    let found = status.conditions.iter().flatten().find(|condition| condition.type_ == type_).unwrap();
    (&found.status, found.reason.as_deref().unwrap_or_default())
}

fn fails(code: i32) -> ContainerScript {
    ContainerScript::exits(Exit::code(code))
}

fn healthy() -> PodScript {
    PodScript::default()
}

fn serve(script: ContainerScript) -> PodScript {
    healthy().container("serve", script)
}

fn fetch(script: ContainerScript) -> PodScript {
    healthy().container("fetch", script)
}

fn agent(script: ContainerScript) -> PodScript {
    healthy().container("agent", script)
}

fn runs() -> ContainerScript {
    ContainerScript::runs()
}

fn completes() -> ContainerScript {
    ContainerScript::completes()
}

fn exits_after(time: u64, code: i32) -> ContainerScript {
    runs().exit_after(seconds(time), Exit::code(code))
}

fn ends_after(time: u64, code: i32) -> ContainerScript {
    runs().ends_after(seconds(time), Exit::code(code))
}

#[rstest]
#[case::healthy("", "Always", healthy(), 0, "Running serve=running+")]
#[case::all_at_once("fetch agent", "Always", healthy(), 0, "Running fetch=0 agent=running+ serve=running+")]
#[case::not_started(
    "fetch",
    "Always",
    healthy().stays_pending(),
    9,
    "Pending fetch=PodInitializing serve=PodInitializing"
)]
#[case::sandbox_takes_time(
    "",
    "Always",
    healthy().starts_after(seconds(2)),
    1,
    "Pending serve=ContainerCreating"
)]
#[case::sandbox_is_there("", "Always", healthy().starts_after(seconds(2)), 2, "Running serve=running+")]
#[case::init_takes_time(
    "fetch",
    "Always",
    fetch(exits_after(3, 0)),
    2,
    "Pending fetch=running- serve=PodInitializing"
)]
#[case::init_is_done("fetch", "Always", fetch(exits_after(3, 0)), 3, "Running fetch=0 serve=running+")]
#[case::init_fails_for_good("fetch", "Never", fetch(fails(65)), 1, "Failed fetch=65 serve=PodInitializing")]
#[case::init_is_tried_again("fetch", "Always", fetch(fails(1)), 0, "Pending fetch=1 serve=PodInitializing")]
#[case::init_in_crash_loop(
    "fetch",
    "OnFailure",
    fetch(fails(1)),
    2,
    "Pending fetch=CrashLoopBackOff(1) serve=PodInitializing"
)]
#[case::init_succeeds_at_last(
    "fetch",
    "Always",
    fetch(fails(1).then(completes())),
    1,
    "Running fetch=0(1) serve=running+"
)]
#[case::sidecar_waits_for_its_turn(
    "fetch agent",
    "Always",
    fetch(runs()),
    1,
    "Pending fetch=running- agent=PodInitializing serve=PodInitializing"
)]
#[case::sidecar_delays_the_next(
    "agent check",
    "Always",
    agent(runs().start_after(seconds(2))),
    1,
    "Pending agent=PodInitializing check=PodInitializing serve=PodInitializing"
)]
#[case::sidecar_is_restarted_in_a_job(
    "agent",
    "Never",
    agent(fails(1).then(runs())),
    1,
    "Running agent=running+(1) serve=running+"
)]
#[case::job_done("agent", "Never", serve(completes()), 0, "Succeeded agent=0 serve=0")]
#[case::job_waits_for_the_sidecar(
    "agent",
    "Never",
    serve(completes()).container("agent", ends_after(5, 143)),
    4,
    "Running agent=running+ serve=0"
)]
#[case::job_done_after_the_sidecar(
    "agent",
    "Never",
    serve(completes()).container("agent", ends_after(5, 143)),
    5,
    "Succeeded agent=143 serve=0"
)]
#[case::job_failed("", "Never", serve(fails(65)), 0, "Failed serve=65")]
#[case::one_of_two_failed("extra", "Never", serve(fails(65)), 0, "Running extra=running+ serve=65")]
#[case::on_failure_succeeds("", "OnFailure", serve(fails(1).then(completes())), 1, "Succeeded serve=0(1)")]
#[case::on_failure_fails("", "OnFailure", serve(fails(1)), 0, "Running serve=1")]
#[case::always_restarts_success("", "Always", serve(completes()), 2, "Running serve=CrashLoopBackOff(1)")]
#[case::out_of_memory(
    "",
    "Always",
    serve(runs().exit_after(seconds(2), Exit::oom_killed())),
    2,
    "Running serve=137"
)]
#[case::crash_loop_first_restart("", "Always", serve(fails(1)), 1, "Running serve=CrashLoopBackOff(1)")]
#[case::crash_loop_second_restart("", "Always", serve(fails(1)), 11, "Running serve=CrashLoopBackOff(2)")]
#[case::crash_loop_doubles("", "Always", serve(fails(1)), 30, "Running serve=CrashLoopBackOff(2)")]
#[case::crash_loop_third_restart("", "Always", serve(fails(1)), 31, "Running serve=CrashLoopBackOff(3)")]
#[case::crash_loop_of_a_quick_test(
    "",
    "Always",
    serve(fails(1)).back_off(Duration::from_millis(10)),
    1,
    "Running serve=CrashLoopBackOff(8)"
)]
#[case::image_is_missing(
    "",
    "Always",
    serve(ContainerScript::waits("ImagePullBackOff", "no")),
    9,
    "Pending serve=ImagePullBackOff"
)]
#[case::image_comes(
    "",
    "Always",
    serve(runs().waiting("ErrImagePull", "no").start_after(seconds(3))),
    3,
    "Running serve=running+"
)]
#[case::never_ready("", "Always", serve(runs().never_ready()), 99, "Running serve=running-")]
#[case::not_ready_yet("", "Always", serve(runs().ready_after(seconds(5))), 4, "Running serve=running-")]
#[case::ready_at_last("", "Always", serve(runs().ready_after(seconds(5))), 5, "Running serve=running+")]
#[case::evicted("", "Always", healthy().evicted_after(seconds(5), "low on memory"), 5, "Failed serve=137")]
fn containers_do_what_the_script_says(
    #[case] containers: &str,
    #[case] restart_policy: &str,
    #[case] script: PodScript,
    #[case] elapsed: u64,
    #[case] expected: &str,
) {
    let outlook = at(&pod(containers, restart_policy), &script, seconds(elapsed));
    assert_eq!(
        words(&outlook.status),
        expected,
        "{}",
        pod_in_words(&Pod { status: Some(outlook.status.clone()), ..Pod::default() })
    );
}

#[test]
fn the_next_change_is_told_and_is_one() {
    let script = healthy()
        .container("fetch", exits_after(2, 0))
        .container("serve", runs().ready_after(seconds(3)).exit_after(seconds(7), Exit::code(1)));
    let pod = pod("fetch", "Never");
    let mut times = vec![Duration::ZERO];
    let mut seen = vec![];
    while let Some(time) = times.last().copied() {
        let outlook = at(&pod, &script, time);
        seen.push(words(&outlook.status));
        match outlook.next {
            Some(next) => times.push(next),
            None => break,
        }
    }
    assert_eq!(times, [0, 2, 5, 9].map(seconds));
    assert_eq!(
        seen,
        [
            "Pending fetch=running- serve=PodInitializing",
            "Running fetch=0 serve=running-",
            "Running fetch=0 serve=running+",
            "Failed fetch=0 serve=1"
        ]
    );
}

#[rstest]
#[case("", healthy(), "Sandbox=True Initialized=True Ready=True ContainersReady=True")]
#[case(
    "fetch",
    fetch(runs()),
    "Sandbox=True Initialized=False/ContainersNotInitialized \
     Ready=False/ContainersNotReady ContainersReady=False/ContainersNotReady"
)]
#[case(
    "",
    serve(completes()),
    "Sandbox=False Initialized=True/PodCompleted Ready=False/PodCompleted ContainersReady=False/PodCompleted"
)]
#[case(
    "",
    serve(fails(1)),
    "Sandbox=False Initialized=True Ready=False/PodFailed ContainersReady=False/PodFailed"
)]
#[case(
    "",
    healthy().evicted_after(Duration::ZERO, "low"),
    "Sandbox=False Initialized=True Ready=False/PodFailed ContainersReady=False/PodFailed \
     DisruptionTarget=True/TerminationByKubelet"
)]
#[case(
    "",
    healthy().evicted_after(Duration::ZERO, "Pod ephemeral local storage usage exceeds the total limit of containers 2Mi. "),
    "Sandbox=False Initialized=True Ready=False/PodFailed ContainersReady=False/PodFailed"
)]
fn conditions_are_those_of_a_kubelet(
    #[case] containers: &str,
    #[case] script: PodScript,
    #[case] expected: &str,
) {
    let status = at(&pod(containers, "Never"), &script, seconds(0)).status;
    let words: Vec<_> = status
        .conditions
        .iter()
        .flatten()
        .map(|condition| {
            let reason = condition.reason.as_ref().map_or_else(String::new, |reason| format!("/{reason}"));
            let type_ = condition.type_.replace("PodReadyToStartContainers", "Sandbox");
            format!("{type_}={}{reason}", condition.status)
        })
        .collect();
    assert_eq!(words.join(" "), expected);
}

#[test]
fn readiness_gates_hold_the_pod_back() {
    let mut pod = pod("", "Always");
    pod.spec.as_mut().unwrap().readiness_gates =
        Some(serde_yaml::from_str("[{conditionType: gate}]").unwrap());
    assert_eq!(
        condition(&at(&pod, &healthy(), seconds(0)).status, "Ready"),
        ("False", "ReadinessGatesNotReady")
    );
    pod.status = Some(serde_yaml::from_str("{conditions: [{type: gate, status: 'True'}]}").unwrap());
    assert_eq!(condition(&at(&pod, &healthy(), seconds(0)).status, "Ready"), ("True", ""));
}
