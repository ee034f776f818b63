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
