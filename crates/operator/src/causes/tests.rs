use modelwright_api::conditions::Class;
use rstest::rstest;
use serde_json::{Value, json};

use super::{samples::*, *};

/// A status as the control plane leaves it when a node is not heard of.
fn lost() -> Value {
    let mut status = ready();
    let conditions = status["conditions"].as_array_mut().unwrap();
    conditions[1] = json!({"type": "Ready", "status": "False", "lastTransitionTime": "2026-11-27T11:59:00Z"});
    conditions.push(json!({"type": "ContainersReady", "status": "True"}));
    status
}

fn worst_of(status: &Value) -> Option<PodCause> {
    worst_pod([&server("bc-a", DIGEST, status)], now())
}

/// One row for each thing that can be wrong with a pod: reason, class, container, hopeless, and a part of the message.
#[rstest]
#[case::fetch_denied(
    fetching(&crashed(66, &failure("AccessDenied", "access to s3://models/bc/ is denied: check the credentials"))),
    "AccessDenied", Class::Wait, Some("fetch"), false,
    "pod bc-a, container fetch: access to s3://models/bc/ is denied: check the credentials"
)]
#[case::source_changed(
    fetching(&crashed(76, &failure("DigestMismatch", "model.onnx: expected sha256:aa, found sha256:bb"))),
    "SourceChanged", Class::User, Some("fetch"), true,
    "expected sha256:aa, found sha256:bb; put the old bytes back, or accept the new ones with a new value of the \
     annotation modelwright.dev/resolve-at; spec.source.copyTo prevents it"
)]
#[case::serve_refuses_the_model(
    serving(&crashed(65, &failure("UnsupportedOpset", "opset 99; export with opset 21"))),
    "UnsupportedOpset", Class::User, Some("serve"), true, "container serve: opset 99; export with opset 21"
)]
#[case::outcome_cut_in_its_message(
    serving(&crashed(65, r#"{"v":1,"ok":false,"reason":"ModelRejected","message":"ONNX Runtime ref"#)),
    "ModelRejected", Class::User, Some("serve"), true, "ONNX Runtime ref"
)]
#[case::words_lost_but_not_the_code(
    serving(&crashed(65, "")), "ContainerFailed", Class::User, Some("serve"), true,
    "ended with exit code 65; see its last lines: kubectl logs bc-a -c serve --previous"
)]
#[case::out_of_memory(
    serving(&json!({"restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}})),
    "OutOfMemory", Class::User, Some("serve"), false,
    "more memory than its limit of 256Mi; raise spec.serving.resources.limits.memory"
)]
#[case::out_of_memory_again_and_again(
    serving(&json!({"restartCount": 2, "state": {"running": {"startedAt": "2026-11-27T11:59:59Z"}},
        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}})),
    "OutOfMemory", Class::User, Some("serve"), true, "limit of 256Mi"
)]
#[case::out_of_memory_without_a_limit(
    fetching(&json!({"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}})),
    "OutOfMemory", Class::User, Some("fetch"), false, "its node ran out of memory, and it has no limit"
)]
#[case::image(
    fetching(&json!({"image": "registry.example/mw:9", "state": {"waiting": {"reason": "ImagePullBackOff",
        "message": "Back-off pulling image: not found"}}})),
    "ImageUnavailable", Class::Wait, Some("fetch"), false,
    "the image registry.example/mw:9 cannot be pulled: Back-off pulling image: not found"
)]
#[case::image_never_pulled(
    serving(&json!({"state": {"waiting": {"reason": "ErrImageNeverPull"}}})),
    "ImageUnavailable", Class::Wait, Some("serve"), false, "is not on the node, and its pull policy is Never"
)]
#[case::config(
    serving(&json!({"state": {"waiting": {"reason": "CreateContainerConfigError", "message": "secret \"s3\" not found"}}})),
    "ContainerConfigError", Class::Wait, Some("serve"), false, "(CreateContainerConfigError): secret \"s3\" not found"
)]
#[case::no_such_program(
    serving(&json!({"state": {"terminated": {"exitCode": 128, "reason": "StartError", "message": "exec: no such file"}}})),
    "ContainerConfigError", Class::Wait, Some("serve"), false, "cannot start: exec: no such file"
)]
#[case::startup_probe(
    serving(&json!({"restartCount": 1, "state": {"running": {"startedAt": "2026-11-27T11:59:59Z"}},
        "lastState": {"terminated": {"exitCode": 137, "reason": "Error",
            "startedAt": "2026-11-27T11:00:00Z", "finishedAt": "2026-11-27T11:10:40Z"}}})),
    "StartupTimeout", Class::User, Some("serve"), false, "was not ready within 600 s"
)]
#[case::liveness_probe(
    serving(&json!({"restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 137, "reason": "Error",
            "startedAt": "2026-11-25T11:00:00Z", "finishedAt": "2026-11-27T11:10:40Z"}}})),
    "ContainerFailed", Class::Bug, Some("serve"), false, "was killed (exit code 137), by a liveness probe"
)]
#[case::no_node(
    unscheduled(
        "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: 3 No victims."
    ),
    "Unschedulable",
    Class::Wait,
    None,
    false,
    "pod bc-a: 0/3 nodes are available: 3 Insufficient cpu; free or add what is named"
)]
#[case::no_accelerator(
    unscheduled("0/3 nodes are available: 1 Insufficient cpu, 2 Insufficient nvidia.com/gpu."),
    "WaitingForAccelerator",
    Class::Wait,
    None,
    false,
    "pod bc-a: no node has enough nvidia.com/gpu free: 0/3"
)]
#[case::no_volume(
    unscheduled("0/3 nodes are available: persistentvolumeclaim \"models\" not found."),
    "VolumeUnavailable",
    Class::Wait,
    None,
    false,
    "persistentvolumeclaim \"models\" not found; see the claims"
)]
#[case::evicted(
    json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}),
    "Evicted", Class::Wait, None, false, "removed from its node (Evicted): The node was low on resource: memory."
)]
#[case::used_more_than_its_limit_of_storage(
    json!({"phase": "Failed", "reason": "Evicted",
        "message": "Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. "}),
    "Evicted", Class::Wait, None, false,
    "unless you raise spec.serving.resources.limits.ephemeral-storage above what the files of the model take"
)]
#[case::container_wrote_more_than_its_limit(
    json!({"phase": "Failed", "reason": "Evicted",
        "message": "Container serve exceeded its local ephemeral storage limit \"10Mi\". "}),
    "Evicted", Class::Wait, None, false, "unless you raise spec.serving.resources.limits.ephemeral-storage"
)]
#[case::volume_holds_more_than_its_limit(
    json!({"phase": "Failed", "reason": "Evicted",
        "message": "Usage of EmptyDir volume \"model\" exceeds the limit \"1Mi\". "}),
    "Evicted", Class::Wait, None, false, "unless you raise the emptyDir.sizeLimit of that volume in podTemplate"
)]
#[case::disk_of_the_node_ran_short(
    json!({"phase": "Failed", "reason": "Evicted",
        "message": "The node was low on resource: ephemeral-storage. Threshold quantity: 10Gi, available: 9Gi. "}),
    "Evicted", Class::Wait, None, false,
    "free space on the node, and write what the files of the model take as spec.serving.resources.requests.ephemeral-storage"
)]
#[case::disk_full(
    fetching(&crashed(73, &failure("DiskFull", "no space left to write /models/model.onnx"))),
    "DiskFull", Class::Wait, Some("fetch"), false,
    "no space left to write /models/model.onnx; the disk of its node is full: free space there, or let the pod go"
)]
#[case::waits_for_a_store_that_was_away_when_it_began(
    fetching(&json!({"restartCount": 1, "started": true, "state": {"running": {"startedAt": "2026-11-27T11:51:00Z"}},
        "lastState": {"terminated": {"exitCode": 69, "message": failure("ConnectionRefused", "s3://m: nothing listens")}}})),
    "ConnectionRefused", Class::Transient, Some("fetch"), false, "container fetch: s3://m: nothing listens"
)]
#[case::node_lost(lost(), "NotReady", Class::Wait, None, false, "is not heard of since 2026-11-27T11:59:00Z")]
#[case::preempted(
    json!({"phase": "Running", "conditions": [{"type": "DisruptionTarget", "status": "True",
        "reason": "PreemptionByScheduler", "message": "preempted by a higher priority"}]}),
    "Evicted", Class::Wait, None, false, "(PreemptionByScheduler): preempted by a higher priority"
)]
#[case::not_ready(
    serving(&json!({"started": true, "state": {"running": {}}})),
    "NotReady", Class::Wait, None, false, "does not answer its readiness probe since 2026-11-27T11:50:02Z"
)]
#[case::sidecar_is_not_ready(
    json!({"phase": "Running",
        "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-27T11:50:02Z"}],
        "containerStatuses": [
            {"name": "serve", "image": "i", "imageID": "", "ready": true, "started": true, "restartCount": 0, "state": {"running": {}}},
            {"name": "proxy", "image": "i", "imageID": "", "ready": false, "started": true, "restartCount": 0, "state": {"running": {}}}]}),
    "NotReady", Class::Wait, None, false, "see: kubectl logs bc-a -c proxy"
)]
#[case::refused_by_its_kubelet(
    json!({"phase": "Failed", "reason": "OutOfcpu", "message": "Pod was rejected: Node didn't have enough resource: cpu"}),
    "Evicted", Class::Wait, None, false, "removed from its node (OutOfcpu): Pod was rejected: Node didn't have enough"
)]
#[case::nothing_starts(
    json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-27T11:50:02Z"}]}),
    "NotReady", Class::Wait, None, false, "no container started since 2026-11-27T11:50:02Z"
)]
fn pod_has_one_cause(
    #[case] status: Value,
    #[case] reason: &str,
    #[case] class: Class,
    #[case] container: Option<&str>,
    #[case] hopeless: bool,
    #[case] message: &str,
) {
    let found = worst_of(&status).unwrap();
    assert!(found.cause.message.contains(message), "{}", found.cause.message);
    assert_eq!((&*found.cause.reason, found.cause.class, found.hopeless), (reason, class, hopeless));
    assert_eq!((found.container.as_deref(), found.pod.as_str()), (container, "bc-a"));
}

#[rstest]
#[case::ready(ready())]
#[case::no_status(json!({}))]
#[case::fetching(fetching(&json!({"state": {"running": {"startedAt": "2026-11-27T11:50:02Z"}}})))]
#[case::loading(serving(&json!({"started": false, "state": {"running": {"startedAt": "2026-11-27T11:50:02Z"}}})))]
#[case::told_to_end_and_did(serving(&crashed(0, r#"{"v":1,"ok":true,"reason":"Terminated"}"#)))]
fn pod_that_is_ready_or_young_has_no_cause(#[case] status: Value) {
    assert_eq!(worst_of(&status), None);
}

#[test]
fn container_of_the_user_is_named_with_its_exit_code_and_its_words_are_made_harmless() {
    let mut status = ready();
    status["conditions"][1]["status"] = "False".into();
    status["containerStatuses"][1]["ready"] = false.into();
    status["containerStatuses"][1]["state"] = json!({"terminated": {"exitCode": 3, "message": format!("no \u{1b}[2Jconfig\n{}", "x".repeat(9_000))}});
    let found = worst_of(&status).unwrap();
    let message = &found.cause.message;
    assert!(
        message.starts_with(
            "pod bc-a, container proxy: ended with exit code 3, and said: no \\u{1b}[2Jconfig xxx"
        )
    );
    assert!(
        message.ends_with("kubectl logs bc-a -c proxy") && message.len() <= text::MAX_MESSAGE_BYTES,
        "{message}"
    );
    assert_eq!((&*found.cause.reason, found.hopeless), ("ContainerFailed", false));
}

#[test]
fn outcome_of_a_foreign_container_is_not_believed() {
    let mut status = ready();
    status["conditions"][1]["status"] = "False".into();
    status["containerStatuses"][1]["ready"] = false.into();
    status["containerStatuses"][1]["state"] =
        json!({"terminated": {"exitCode": 65, "message": failure("Serving", "all is well")}});
    let found = worst_of(&status).unwrap();
    assert_eq!(
        (&*found.cause.reason, found.cause.class, found.hopeless),
        ("ContainerFailed", Class::Bug, false)
    );
}

#[test]
fn worst_pod_counts_and_among_equals_the_first_by_name() {
    let pending = server("bc-1", DIGEST, &unscheduled("0/1 nodes are available: 1 Insufficient cpu."));
    let refused = |name| server(name, DIGEST, &serving(&crashed(65, &failure("ModelRejected", "no"))));
    let mut going = refused("bc-0");
    going.metadata.deletion_timestamp = serde_json::from_value(json!("2026-11-27T11:59:00Z")).unwrap();
    let (b, c) = (refused("bc-2"), refused("bc-3"));
    for pods in [[&pending, &c, &b, &going], [&going, &b, &c, &pending]] {
        assert_eq!(worst_pod(pods, now()).unwrap().pod, "bc-2");
    }
}

#[test]
fn pods_that_ended_count_only_where_no_other_is_left() {
    let evicted = server("bc-0", DIGEST, &json!({"phase": "Failed", "reason": "Evicted"}));
    let young = server("bc-1", DIGEST, &json!({"phase": "Pending"}));
    assert_eq!(worst_pod([&evicted, &young], now()), None);
    assert_eq!(worst_pod([&evicted], now()).unwrap().cause.reason, "Evicted");
}

#[test]
fn eviction_is_told_until_what_replaced_the_pod_is_ready_and_not_for_long() {
    let evicted = |since: &str| {
        let status = json!({"phase": "Failed", "reason": "Evicted", "message": "EmptyDir volume \"model\"",
            "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet",
                "lastTransitionTime": since}]});
        server("bc-0", DIGEST, &status)
    };
    let (young, there) =
        (server("bc-1", DIGEST, &json!({"phase": "Pending"})), server("bc-2", DIGEST, &ready()));
    let just = evicted("2026-11-27T11:59:00Z");
    assert_eq!(worst_pod([&just, &young, &there], now()).unwrap().cause.reason, "Evicted");
    assert_eq!(worst_pod([&just, &there], now()), None);
    assert_eq!(worst_pod([&evicted("2026-11-27T11:50:00Z"), &young], now()), None);
    // What the replacement itself suffers from tells more.
    let unplaced = server("bc-1", DIGEST, &unscheduled("0/1 nodes are available."));
    assert_eq!(worst_pod([&just, &unplaced], now()).unwrap().cause.reason, "Unschedulable");
}

#[test]
fn eviction_without_a_condition_counts_from_when_the_pod_was_not_ready() {
    // What a kubelet writes of a pod that exceeded its limit of storage.
    let evicted = |said: &str| {
        let status = json!({"phase": "Failed", "reason": "Evicted", "message": said, "conditions": [
            {"type": "Ready", "status": "False", "reason": "PodFailed", "lastTransitionTime": "2026-11-27T11:59:00Z"}]});
        server("bc-0", DIGEST, &status)
    };
    let (young, there) =
        (server("bc-1", DIGEST, &json!({"phase": "Pending"})), server("bc-2", DIGEST, &ready()));
    let over = evicted("Pod ephemeral local storage usage exceeds the total limit of containers 2Mi. ");
    assert_eq!(worst_pod([&over, &young, &there], now()).unwrap().cause.reason, "Evicted");
    assert!(relapse([&over, &there], now()).unwrap().cause.message.contains("unless you raise"));
    let until = forgotten_at([&over, &there], now()).unwrap();
    assert_eq!(until.to_string(), "2026-11-27T12:04:00Z");
    assert_eq!((relapse([&over], until), forgotten_at([&over], until)), (None, None));
    // The node had too little, which says nothing of the next.
    assert_eq!(relapse([&evicted("The node was low on resource: memory.")], now()), None);
}

/// Its kubelet says nothing then that would start a pass.
#[test]
fn pod_that_takes_too_long_is_looked_at_when_it_does() {
    let scheduled =
        json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-27T11:59:00Z"});
    let starting = server("bc-0", DIGEST, &json!({"phase": "Pending", "conditions": [&scheduled]}));
    let at = slow_at([&starting], now()).unwrap();
    assert_eq!(at.to_string(), "2026-11-27T12:01:01Z");
    assert_eq!((worst_pod([&starting], now()), slow_at([&starting], at)), (None, None));
    assert_eq!(worst_pod([&starting], at).unwrap().cause.reason, "NotReady");
    let unready = json!({"type": "Ready", "status": "False", "lastTransitionTime": "2026-11-27T11:59:50Z"});
    let mut status = serving(&json!({"started": true, "state": {"running": {}}}));
    status["conditions"] = json!([&scheduled, &unready]);
    let running = server("bc-1", DIGEST, &status);
    assert_eq!(slow_at([&running, &starting], now()).unwrap().to_string(), "2026-11-27T12:00:21Z");
    assert_eq!(slow_at([&server("bc-2", DIGEST, &ready())], now()), None);
}

/// A kubelet says the one and the other in turn.
#[rstest]
#[case("ErrImagePull", "failed to pull image \"i:9\": not found")]
#[case(
    "ImagePullBackOff",
    "Back-off pulling image \"i:9\": ErrImagePull: failed to pull image \"i:9\": not found"
)]
fn failed_pull_is_told_by_the_same_words(#[case] reason: &str, #[case] message: &str) {
    let status =
        fetching(&json!({"image": "i:9", "state": {"waiting": {"reason": reason, "message": message}}}));
    let message = worst_of(&status).unwrap().cause.message;
    assert!(
        message.ends_with("the image i:9 cannot be pulled: failed to pull image \"i:9\": not found"),
        "{message}"
    );
}

#[test]
fn full_volume_in_memory_is_told_instead_of_the_disk() {
    let status = fetching(&crashed(73, &failure("DiskFull", "no space left to write /models/model.onnx")));
    let mut pod = server("bc-0", DIGEST, &status);
    let volume = json!({"name": "model", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}});
    pod.spec.as_mut().unwrap().volumes = Some(vec![serde_json::from_value(volume).unwrap()]);
    let message = worst_pod([&pod], now()).unwrap().cause.message;
    assert!(
        message.contains("volume model is in memory and holds 1Mi: raise its emptyDir.sizeLimit"),
        "{message}"
    );
}

#[test]
fn pod_that_cannot_end_because_its_node_is_lost_is_told_with_what_to_do() {
    let mut going = server("bc-0", DIGEST, &lost());
    going.metadata.deletion_timestamp = serde_json::from_value(json!("2026-11-27T11:59:30Z")).unwrap();
    going.spec.as_mut().unwrap().node_name = Some("n1".into());
    let there = server("bc-2", DIGEST, &ready());
    let found = worst_pod([&going, &there], now()).unwrap();
    assert!(found.cause.message.contains("node n1 does not confirm"), "{}", found.cause.message);
    assert!(found.cause.message.ends_with("kubectl get node n1"), "{}", found.cause.message);
}

#[rstest]
#[case::refused(
    crashed_job(65, &failure("NoModel", "s3://models/bc/ holds no model: no *.onnx")),
    "NoModel", Class::User, "pod bc-resolve-01234567-0-x, container resolve: s3://models/bc/ holds no model"
)]
#[case::unreachable(
    crashed_job(69, &failure("StoreUnreachable", "s3: timed out")), "StoreUnreachable", Class::Transient, "timed out"
)]
#[case::pin_is_wrong(
    crashed_job(76, &failure("DigestMismatch", "expected sha256:aa, found sha256:bb")),
    "DigestMismatch", Class::User, "expected sha256:aa, found sha256:bb"
)]
#[case::reason_is_no_word(
    crashed_job(65, &failure("<b>", "m")), "ContainerFailed", Class::User, "m"
)]
#[case::out_of_memory(
    json!({"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}),
    "OutOfMemory", Class::User, "limit of 128Mi"
)]
#[case::says_nothing(
    crashed_job(0, "hello"),
    "ContainerFailed",
    Class::Bug,
    "left no outcome; check that the image is Modelwright's"
)]
#[case::ok_in_words_but_not_in_code(
    crashed_job(70, r#"{"v":1,"ok":true,"reason":"Resolved"}"#),
    "ContainerFailed",
    Class::Bug,
    "exit code 70"
)]
fn job_that_failed_has_its_commands_cause(
    #[case] resolve: Value,
    #[case] reason: &str,
    #[case] class: Class,
    #[case] message: &str,
) {
    let pod = resolve_pod("Failed", &resolve);
    let JobState::Failed(cause) = job_state(&resolve_job(&json!({"failed": 1})), [&pod], now()) else {
        panic!("not failed")
    };
    assert!(cause.message.contains(message), "{}", cause.message);
    assert_eq!((&*cause.reason, cause.class), (reason, class));
}

fn crashed_job(exit_code: i32, message: &str) -> Value {
    json!({"state": {"terminated": {"exitCode": exit_code, "message": message}}})
}

#[test]
fn job_succeeds_by_exit_code_and_outcome_even_before_its_controller_knows() {
    let line = Outcome { digest: Some(DIGEST.into()), ..Outcome::success("Resolved") }.to_line();
    let mut pod = resolve_pod("Running", &crashed_job(0, &line));
    pod.metadata.deletion_timestamp = serde_json::from_value(json!("2026-11-27T11:59:00Z")).unwrap();
    let JobState::Succeeded(outcome) = job_state(&resolve_job(&json!({"active": 1})), [&pod], now()) else {
        panic!("not succeeded")
    };
    assert_eq!(outcome.digest.as_deref(), Some(DIGEST));
}

#[test]
fn job_without_a_pod_waits_for_one() {
    let others = server("bc-a", DIGEST, &ready());
    assert_eq!(job_state(&resolve_job(&json!({})), [&others], now()), JobState::WithoutPod);
    assert_eq!(job_state(&resolve_job(&json!({"active": 1})), [], now()), JobState::Active(None));
}

#[test]
fn active_job_says_what_keeps_it_from_starting() {
    let mut pod = resolve_pod("Pending", &json!({"state": {"waiting": {"reason": "ErrImagePull"}}}));
    let job = resolve_job(&json!({"active": 1}));
    let JobState::Active(Some(found)) = job_state(&job, [&pod], now()) else { panic!("no cause") };
    assert_eq!(found.cause.reason, "ImageUnavailable");
    // Without an owner the label tells whose it is.
    pod.metadata.owner_references = None;
    assert_eq!(job_state(&job, [&pod], now()), JobState::Active(None));
    pod.metadata.labels.as_mut().unwrap().insert("job-name".into(), "bc-resolve-01234567-0".into());
    assert!(matches!(job_state(&job, [&pod], now()), JobState::Active(Some(_))));
}

#[rstest]
#[case(json!({"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}), "JobDeadlineExceeded", "within 3600 s")]
#[case(json!({"type": "Complete", "status": "True"}), "JobPodLost", "its pod was gone before it was read; it is tried again")]
#[case(
    json!({"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "limit"}),
    "JobPodLost", "(limit)"
)]
fn job_that_ended_without_words_is_tried_again(
    #[case] condition: Value,
    #[case] reason: &str,
    #[case] message: &str,
) {
    let JobState::Failed(cause) = job_state(&resolve_job(&json!({"conditions": [condition]})), [], now())
    else {
        panic!("not failed")
    };
    assert_eq!((&*cause.reason, cause.class), (reason, Class::Transient));
    assert!(cause.message.contains(message), "{}", cause.message);
}

#[test]
fn evicted_pod_of_a_job_fails_it_for_now() {
    let pod = resolve_pod("Failed", &json!({}));
    let mut pod = pod;
    pod.status.as_mut().unwrap().reason = Some("Evicted".into());
    let JobState::Failed(cause) = job_state(&resolve_job(&json!({})), [&pod], now()) else {
        panic!("not failed")
    };
    assert_eq!((&*cause.reason, cause.class), ("Evicted", Class::Wait));
}

#[test]
fn killed_sidecar_does_not_hide_what_the_container_beside_it_said() {
    let ended = |name: &str, code: i32| {
        json!({"name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": code, "reason": "Error"}}})
    };
    let pod = pod(&json!({
        "metadata": {"name": "bc-train"},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "publish"}],
            "initContainers": [{"name": "agent", "restartPolicy": "Always"}, {"name": "train"}]},
        "status": {"phase": "Failed", "initContainerStatuses": [ended("agent", 137), ended("train", 3)]},
    }));
    let found = pod::cause(&pod, now()).unwrap();
    assert_eq!(found.container.as_deref(), Some("train"), "{found:?}");
}
