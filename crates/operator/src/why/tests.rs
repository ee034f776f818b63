use std::sync::Arc;

use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::causes::samples::{self, DIGEST, now, server};

/// A Model with this `Ready` condition, and stalled if told so.
fn model(ready: &str, reason: &str, message: &str, stalled: &str) -> Model {
    let condition = |type_: &str, status: &str| {
        json!({"type": type_, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": "2026-11-27T11:00:00Z"})
    };
    serde_json::from_value(json!({
        "apiVersion": "modelwright.dev/v1alpha1", "kind": "Model",
        "metadata": {"name": "bc", "namespace": "demo", "uid": "model-uid", "generation": 3},
        "spec": {"source": {"uri": "s3://models/bc/"}},
        "status": {"observedGeneration": 3, "conditions": [condition("Ready", ready), condition("Stalled", stalled)],
            "source": {"resolvedFrom": "hash", "digest": DIGEST, "uri": "s3://models/bc/"}},
    }))
    .unwrap()
}

fn deployed(pods: impl IntoIterator<Item = Pod>, status: &Value) -> Observed {
    let deployment = json!({
        "metadata": {"name": "bc", "annotations": {"modelwright.dev/digest": DIGEST}},
        "spec": {"replicas": 2, "selector": {}, "template": {}}, "status": status,
    });
    Observed {
        deployment: Some(Arc::new(serde_json::from_value(deployment).unwrap())),
        service: Some(Arc::default()),
        pods: pods.into_iter().map(Arc::new).collect(),
        ..Observed::default()
    }
}

#[track_caller]
fn reads(model: &Model, observed: &Observed, expected: &str) {
    let text = render(&explain(model, observed, now()));
    assert_eq!(text, expected, "\n{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 110));
}

#[test]
fn served_model_has_nothing_to_do() {
    let model = model("True", "Serving", "revision 0011223344556677 is served", "False");
    let ready = |name| server(name, DIGEST, &samples::ready());
    reads(
        &model,
        &deployed([ready("bc-a"), ready("bc-b")], &json!({})),
        "\
✓ Model demo/bc: ready (Serving): revision 0011223344556677 is served
├─ ✓ source s3://models/bc/: holds revision 0011223344556677
├─ ✓ Deployment bc: 2 of 2 pods ready, revision 0011223344556677
└─ ✓ Service bc: http://bc.demo.svc
",
    );
}

#[test]
fn container_that_is_killed_for_memory_leads_to_its_limit() {
    let message = "the first pods of revision 0011223344556677 start; pod bc-a, container serve: killed because it used more \
                   memory than its limit of 256Mi; raise spec.serving.resources.limits.memory";
    let model = model("False", "OutOfMemory", message, "False");
    let killed =
        samples::serving(&json!({"restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}));
    reads(
        &model,
        &deployed([server("bc-a", DIGEST, &killed)], &json!({})),
        "\
… Model demo/bc: not ready (OutOfMemory): the first pods of revision 0011223344556677 start; pod bc-a,
  container serve: killed because it used more memory than its limit of 256Mi; raise
  spec.serving.resources.limits.memory
├─ ✓ source s3://models/bc/: holds revision 0011223344556677
├─ ✗ Deployment bc: 0 of 2 pods ready, revision 0011223344556677
│  └─ ✗ Pod bc-a: Running, restarted 3 times
│     └─ ✗ container serve: OutOfMemory: killed because it used more memory than its limit of 256Mi; raise
│          spec.serving.resources.limits.memory
└─ ✓ Service bc: http://bc.demo.svc
next:
  kubectl edit mdl bc -n demo  # raise spec.serving.resources.limits.memory
",
    );
}

#[test]
fn source_without_a_model_leads_to_the_job_that_read_it() {
    let model = model("False", "NoModel", "s3://models/bc/ holds no model: no *.onnx", "True");
    let line = samples::failure("NoModel", "s3://models/bc/ holds no model: no *.onnx");
    let pod =
        samples::resolve_pod("Failed", &json!({"state": {"terminated": {"exitCode": 65, "message": line}}}));
    let observed = Observed {
        jobs: vec![Arc::new(samples::resolve_job(&json!({"failed": 1})))],
        pods: vec![Arc::new(pod)],
        ..Observed::default()
    };
    reads(
        &model,
        &observed,
        "\
✗ Model demo/bc: not ready (NoModel): s3://models/bc/ holds no model: no *.onnx
├─ ✗ source s3://models/bc/: reading it failed
│  └─ ✗ Job bc-resolve-01234567-0: failed
│     └─ ✗ Pod bc-resolve-01234567-0-x: Failed
│        └─ ✗ container resolve: NoModel: s3://models/bc/ holds no model: no *.onnx
└─ … Deployment bc: not made yet; it is made once the source was read
next:
  kubectl edit mdl bc -n demo  # if the spec is wrong
  # once what lies at the source is right
  kubectl annotate mdl bc -n demo --overwrite modelwright.dev/resolve-at=\"$(date -Is)\"
",
    );
}

#[test]
fn pods_that_a_quota_denies_lead_to_the_quota() {
    let model = model("False", "QuotaExceeded", "pods are denied", "False");
    let denied = json!({"conditions": [{"type": "ReplicaFailure", "status": "True",
        "message": "pods \"bc-1\" is forbidden: exceeded quota: small, requested: cpu=4, used: cpu=1, limited: cpu=2"}]});
    reads(
        &model,
        &deployed([], &denied),
        "\
… Model demo/bc: not ready (QuotaExceeded): pods are denied
├─ ✓ source s3://models/bc/: holds revision 0011223344556677
├─ ✗ Deployment bc: 0 of 2 pods ready, revision 0011223344556677
│  └─ ✗ QuotaExceeded: Deployment bc: pods \"bc-1\" is forbidden: exceeded quota: small, requested: cpu=4, used:
│       cpu=1, limited: cpu=2
└─ ✓ Service bc: http://bc.demo.svc
next:
  kubectl describe resourcequota -n demo
",
    );
}

#[test]
fn spec_that_cannot_be_carried_out_says_what_to_edit() {
    let model =
        model("False", "InvalidPodTemplate", "spec.podTemplate.spec.tolerationz: no such field", "True");
    reads(
        &model,
        &Observed::default(),
        "\
✗ Model demo/bc: not ready (InvalidPodTemplate): spec.podTemplate.spec.tolerationz: no such field
├─ ✓ source s3://models/bc/: holds revision 0011223344556677
└─ … Deployment bc: not made yet; it is made once the source was read
next:
  kubectl edit mdl bc -n demo  # correct the field that the message names
",
    );
}

#[rstest]
#[case(json!({"suspend": true}), "is not read: spec.suspend is true", "spec.suspend is true")]
#[case(json!({"serving": {"replicas": 0}}), "holds revision 0011223344556677", "spec.serving.replicas is 0")]
fn model_that_shall_have_no_pods_is_as_it_shall_be(
    #[case] more: Value,
    #[case] source: &str,
    #[case] why: &str,
) {
    let mut model = model("True", "Suspended", "", "False");
    let mut spec = serde_json::to_value(&model.spec).unwrap();
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    model.spec = serde_json::from_value(spec).unwrap();
    if model.spec.suspend == Some(true) {
        model.status.as_mut().unwrap().source = None;
    }
    let chain = explain(&model, &Observed::default(), samples::now());
    assert!(chain.iter().all(|link| link.mark == Mark::Good), "{chain:?}");
    let tree = render(&chain);
    assert!(tree.contains(source) && tree.contains(&format!("Deployment bc: none is made: {why}")), "{tree}");
}

#[test]
fn model_that_nobody_looks_after_asks_for_the_operator() {
    let mut model = model("True", "Serving", "", "False");
    model.status = None;
    reads(
        &model,
        &Observed::default(),
        "\
… Model demo/bc: no operator has written a status yet
├─ … source s3://models/bc/: not read yet
└─ … Deployment bc: not made yet; it is made once the source was read
next:
  kubectl get pods -A -l app.kubernetes.io/name=modelwright  # is the operator running?
",
    );
}

#[rstest]
#[case(
    samples::unscheduled("0/1 nodes are available: 1 Insufficient nvidia.com/gpu."),
    "kubectl describe pod bc-a -n demo"
)]
#[case(samples::fetching(&samples::crashed(76, &samples::failure("DigestMismatch", "a, b"))), "modelwright.dev/resolve-at=")]
#[case(samples::serving(&samples::crashed(1, "")), "kubectl logs bc-a -c serve -n demo --previous")]
#[case(samples::fetching(&samples::crashed(66, &samples::failure("AccessDenied", "no"))), "# nothing more: it is tried again")]
#[case(samples::serving(&json!({"state": {"waiting": {"reason": "ErrImagePull"}}})), "kubectl describe pod bc-a -n demo")]
fn each_cause_has_a_next_step(#[case] status: Value, #[case] step: &str) {
    let model = model("False", "Deploying", "", "False");
    let text = render(&explain(&model, &deployed([server("bc-a", DIGEST, &status)], &json!({})), now()));
    assert!(text.split_once("next:").unwrap().1.contains(step), "{text}");
}

/// A Model that is trained, whose training is as given.
fn trained(ready: &str, reason: &str, message: &str, stalled: &str, training: &Value) -> Model {
    let mut model = serde_json::to_value(model(ready, reason, message, stalled)).unwrap();
    model["spec"] = json!({"training": {
        "data": {"source": {"uri": "s3://data/bc/"}, "target": "diagnosis"}, "output": {"uri": "s3://models/"},
        "queue": "gpus"}});
    model["status"]["training"] = training.clone();
    model["status"].as_object_mut().unwrap().remove("source");
    serde_json::from_value(model).unwrap()
}

/// The Job of a training, and its pod whose containers are as given.
fn attempt(phase: &str, containers: &[(&str, Value)]) -> Observed {
    let status = |(name, state): &(&str, Value)| json!({"name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state});
    let pod = json!({
        "metadata": {"name": "bc-train-01234567-2-x", "namespace": "demo",
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "controller": true,
                "name": "bc-train-01234567-2", "uid": "job-uid"}]},
        "spec": {"restartPolicy": "Never", "containers": containers.iter().map(|(name, _)| json!({"name": name,
            "resources": {"limits": {"memory": "1Gi"}}})).collect::<Vec<_>>()},
        "status": {"phase": phase, "containerStatuses": containers.iter().map(status).collect::<Vec<_>>()},
    });
    let job = json!({"metadata": {"name": "bc-train-01234567-2", "namespace": "demo", "uid": "job-uid"}});
    Observed {
        jobs: vec![
            // What was read of a former source says nothing of the training.
            Arc::new(samples::resolve_job(&json!({"failed": 1}))),
            Arc::new(serde_json::from_value(job).unwrap()),
        ],
        pods: vec![Arc::new(samples::pod(&pod))],
        ..Observed::default()
    }
}

fn failed(reason: &str, message: &str, next_at: Option<&str>) -> Value {
    json!({"phase": "Failed", "job": "bc-train-01234567-2", "attempt": 2, "reason": reason, "message": message,
        "nextAt": next_at})
}

#[test]
fn crash_of_a_users_container_leads_to_its_last_lines() {
    let model = trained(
        "False",
        "ContainerFailed",
        "attempt 2 (Job bc-train-01234567-2) failed",
        "False",
        &failed("ContainerFailed", "attempt 2 failed", Some("2026-11-27T12:05:00Z")),
    );
    let crash = json!({"terminated": {"exitCode": 1, "reason": "Error",
        "message": "  File train.py, line 7\nKeyError: 'diagnosis'"}});
    reads(
        &model,
        &attempt("Failed", &[("train", crash)]),
        "\
… Model demo/bc: not ready (ContainerFailed): attempt 2 (Job bc-train-01234567-2) failed
├─ ✗ training from s3://data/bc/: attempt 2 failed; the next one is due at 2026-11-27T12:05:00Z
│  └─ ✗ Job bc-train-01234567-2: failed
│     └─ ✗ Pod bc-train-01234567-2-x: Failed
│        └─ ✗ container train: ContainerFailed: ended with exit code 1, and said: File train.py, line 7
│             KeyError: 'diagnosis'; see its last lines: kubectl logs bc-train-01234567-2-x -c train
└─ … Deployment bc: not made yet; it is made once a training gave a revision that may be served
next:
  kubectl logs bc-train-01234567-2-x -c train -n demo
  kubectl edit mdl bc -n demo  # correct what the message names
  kubectl annotate mdl bc -n demo --overwrite modelwright.dev/retrain-at=\"$(date -Is)\"  # to try it once more
",
    );
}

#[test]
fn refusal_of_the_gate_has_both_numbers() {
    let training = json!({"phase": "Refused", "job": "bc-train-01234567-2", "attempt": 1, "revision": DIGEST,
        "metric": "valAccuracy 0.61", "baseline": {"valAccuracy": 0.63}, "reason": "RequirementNotMet",
        "message": "the gate refused revision 0011223344556677: valAccuracy is 0.6100, and the gate requires at least 0.9"});
    let model =
        trained("True", "Serving", "revision ffeeddccbbaa9988 is served; the gate …", "False", &training);
    reads(
        &model,
        &Observed::default(),
        "\
✓ Model demo/bc: ready (Serving): revision ffeeddccbbaa9988 is served; the gate …
├─ ✗ training from s3://data/bc/: gave revision 0011223344556677, valAccuracy 0.61 (the simple model beside
│    it: 0.6300)
│  └─ ✗ gate: RequirementNotMet: valAccuracy is 0.6100, and the gate requires at least 0.9
└─ … Deployment bc: not made yet; it is made once a training gave a revision that may be served
next:
  # better data, other settings in spec.training, or another gate; until then nothing changes for clients
  # once the data are better; a changed spec is trained by itself
  kubectl annotate mdl bc -n demo --overwrite modelwright.dev/retrain-at=\"$(date -Is)\"
  kubectl get mdl bc -n demo -o jsonpath='{.status.revisions.rejected}'  # all its metrics
",
    );
}

#[test]
fn running_training_says_how_far_it_is() {
    let training = json!({"phase": "Training", "job": "bc-train-01234567-2", "attempt": 2, "reason": "Training",
        "message": "Job bc-train-01234567-2 trains, attempt 2; progress cannot be read: no answer",
        "progressPercent": 45, "epoch": 12, "etaSeconds": 95, "metric": "valLoss 0.23"});
    let model = trained("False", "Training", "Job bc-train-01234567-2 trains, attempt 2", "False", &training);
    reads(
        &model,
        &attempt("Running", &[("train", json!({"running": {}}))]),
        "\
… Model demo/bc: not ready (Training): Job bc-train-01234567-2 trains, attempt 2
├─ … training from s3://data/bc/: attempt 2 is Training, 45 %, epoch 12, about 95 s left, valLoss 0.23;
│    progress cannot be read: no answer
│  └─ … Job bc-train-01234567-2: its pod is at work
└─ … Deployment bc: not made yet; it is made once a training gave a revision that may be served
",
    );
}

#[test]
fn what_the_operator_decided_stands_at_the_job_and_what_the_pod_said_beneath() {
    let said = "attempt 4 of 4 failed: the last: ended with exit code 1";
    let model = trained("False", "RetriesExhausted", said, "True", &failed("RetriesExhausted", said, None));
    let crash = json!({"terminated": {"exitCode": 1, "reason": "Error", "message": "boom"}});
    let text = render(&explain(&model, &attempt("Failed", &[("train", crash)]), now()));
    assert!(text.contains("✗ Job bc-train-01234567-2: RetriesExhausted: attempt 4 of 4 failed"), "{text}");
    assert!(
        text.contains("✗ container train: ContainerFailed: ended with exit code 1, and said: boom"),
        "{text}"
    );
    assert!(text.contains("kubectl logs bc-train-01234567-2-x -c train -n demo"), "{text}");
}

#[rstest]
#[case::memory("OutOfMemory", None, "# raise spec.training.resources.limits.memory")]
#[case::deadline("TrainingDeadlineExceeded", None, "# raise spec.training.deadline")]
#[case::stalled("TrainingStalled", Some(""), "# nothing: it is tried again by itself")]
#[case::preempted("TrainingPreempted", Some(""), "# nothing: it is tried again by itself")]
#[case::exhausted("RetriesExhausted", None, "modelwright.dev/retrain-at=")]
#[case::quota("QuotaExceeded", Some(""), "kubectl describe resourcequota -n demo")]
#[case::bad_data("OneClass", None, "# correct what the message names in spec.training")]
#[case::missing_secret(
    "SecretMissing",
    Some(""),
    "# nothing more: it is tried again by itself once it is there"
)]
fn each_end_of_a_training_has_a_next_step_after_its_pod_is_gone(
    #[case] reason: &str,
    #[case] next_at: Option<&str>,
    #[case] step: &str,
) {
    let model = trained("False", reason, "m", "False", &failed(reason, "m", next_at));
    let text = render(&explain(&model, &Observed::default(), now()));
    assert!(text.contains(&format!("✗ {reason}: m")) || text.contains(&format!("… {reason}: m")), "{text}");
    assert!(text.split_once("next:").unwrap().1.contains(step), "{text}");
}

#[rstest]
#[case(json!({"phase": "Queued", "reason": "Queued"}), "kubectl get localqueues,workloads -n demo")]
#[case(
    json!({"phase": "Succeeded", "reason": "ApprovalRequired", "revision": DIGEST}),
    r#"kubectl patch mdl bc -n demo --type merge -p '{"spec":{"rollout":{"revision":"0011223344556677"}}}'"#
)]
#[case(json!({"phase": "Starting", "reason": "QuotaExceeded", "message": "m", "job": "j"}), "kubectl describe resourcequota")]
fn training_that_waits_has_a_next_step(#[case] training: Value, #[case] step: &str) {
    let model = trained("False", "Training", "m", "False", &training);
    let text = render(&explain(&model, &Observed::default(), now()));
    assert!(text.split_once("next:").unwrap().1.contains(step), "{text}");
}

#[test]
fn wide_commands_are_broken_as_a_shell_takes_them() {
    let mut link = Link::new(0, Mark::Bad, "x", "y");
    link.next = vec![format!("kubectl logs {} -c serve -n {} --previous", "p".repeat(63), "n".repeat(40))];
    let text = render(&[link]);
    let expected = format!(
        "✗ x: y\nnext:\n  kubectl logs {} -c serve -n \\\n    {} --previous\n",
        "p".repeat(63),
        "n".repeat(40)
    );
    assert_eq!(text, expected);
}
