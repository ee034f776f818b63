//! Pods and Jobs as tests need them, in the form in which an API server gives them.

use jiff::Timestamp;
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use serde_json::{Value, json};

/// The digest of the revision that most samples serve.
pub(crate) const DIGEST: &str = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
/// The digest of another.
pub(crate) const OTHER: &str = "sha256:ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";

pub(crate) fn now() -> Timestamp {
    "2026-11-27T12:00:00Z".parse().unwrap()
}

/// A server pod of the Model `bc` in `demo`, made at 11:50:00, with this status.
pub(crate) fn server(name: &str, digest: &str, status: &Value) -> Pod {
    pod(&json!({
        "metadata": {
            "name": name, "namespace": "demo", "creationTimestamp": "2026-11-27T11:50:00Z",
            "labels": {"modelwright.dev/model": "bc", "modelwright.dev/role": "server"},
            "annotations": {
                "modelwright.dev/digest": digest, "modelwright.dev/uri": "s3://models/bc/",
                "modelwright.dev/rendered-from": format!("r-{digest}"),
            },
        },
        "spec": {
            "terminationGracePeriodSeconds": 60,
            "initContainers": [{"name": "fetch", "image": "modelwright:1"}],
            "containers": [
                {
                    "name": "serve", "image": "modelwright:1", "args": ["serve", "--execution-provider", "CPU"],
                    "resources": {"limits": {"memory": "256Mi"}},
                    "startupProbe": {"periodSeconds": 2, "failureThreshold": 300},
                },
                {"name": "proxy", "image": "proxy:1"},
            ],
        },
        "status": status,
    }))
}

pub(crate) fn pod(value: &Value) -> Pod {
    serde_json::from_value(value.clone()).unwrap()
}

/// A status in which everything runs and answers.
pub(crate) fn ready() -> Value {
    let outcome = json!({
        "v": 1, "ok": true, "reason": "Fetched", "message": "1 files",
        "inputs": [{"name": "features", "datatype": "FP32", "shape": [-1, 30]}], "inputsTotal": 1,
    });
    json!({
        "phase": "Running",
        "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-27T11:50:01Z"},
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-27T11:50:07Z"},
        ],
        "initContainerStatuses": [container("fetch", &json!({
            "ready": true,
            "state": {"terminated": {"exitCode": 0, "message": outcome.to_string(),
                "startedAt": "2026-11-27T11:50:03Z", "finishedAt": "2026-11-27T11:50:05Z"}},
        }))],
        "containerStatuses": [
            container("serve", &json!({"ready": true, "started": true, "state": {"running": {}}})),
            container("proxy", &json!({"ready": true, "started": true, "state": {"running": {}}})),
        ],
    })
}

/// A status in which the container `serve` is as given and nothing else is wrong.
pub(crate) fn serving(serve: &Value) -> Value {
    let mut status = ready();
    status["conditions"][1] =
        json!({"type": "Ready", "status": "False", "lastTransitionTime": "2026-11-27T11:50:02Z"});
    status["containerStatuses"][0] = container("serve", serve);
    status
}

/// A status in which the init container `fetch` is as given and nothing after it has begun.
pub(crate) fn fetching(fetch: &Value) -> Value {
    let mut status = serving(&json!({"state": {"waiting": {"reason": "PodInitializing"}}}));
    status["phase"] = "Pending".into();
    status["initContainerStatuses"][0] = container("fetch", fetch);
    status["containerStatuses"][1] =
        container("proxy", &json!({"state": {"waiting": {"reason": "PodInitializing"}}}));
    status
}

/// A status of a pod that no node takes.
pub(crate) fn unscheduled(text: &str) -> Value {
    json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": text}]})
}

/// A container that ended, was started again and waits for its next start.
pub(crate) fn crashed(exit_code: i32, message: &str) -> Value {
    json!({
        "restartCount": 3,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}},
        "lastState": {"terminated": {"exitCode": exit_code, "reason": "Error", "message": message,
            "startedAt": "2026-11-27T11:58:00Z", "finishedAt": "2026-11-27T11:58:01Z"}},
    })
}

/// The outcome of a command that failed.
pub(crate) fn failure(reason: &str, message: &str) -> String {
    modelwright_api::Outcome::failure(reason, message).to_line()
}

fn container(name: &str, fields: &Value) -> Value {
    let mut status =
        json!({"name": name, "image": "modelwright:1", "imageID": "", "ready": false, "restartCount": 0});
    status.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    status
}

/// The Job that resolves the source of `bc`, with this status.
pub(crate) fn resolve_job(status: &Value) -> Job {
    serde_json::from_value(json!({
        "metadata": {"name": "bc-resolve-01234567-0", "namespace": "demo", "uid": "job-uid"},
        "spec": {"activeDeadlineSeconds": 3600, "template": {}},
        "status": status,
    }))
    .unwrap()
}

/// The pod of [`resolve_job`], whose container `resolve` is as given.
pub(crate) fn resolve_pod(phase: &str, resolve: &Value) -> Pod {
    pod(&json!({
        "metadata": {
            "name": "bc-resolve-01234567-0-x", "namespace": "demo", "creationTimestamp": "2026-11-27T11:50:00Z",
            "labels": {"modelwright.dev/model": "bc", "modelwright.dev/role": "resolve"},
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "controller": true,
                "name": "bc-resolve-01234567-0", "uid": "job-uid"}],
        },
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "resolve", "resources": {"limits": {"memory": "128Mi"}}}],
        },
        "status": {
            "phase": phase,
            "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-27T11:59:58Z"}],
            "containerStatuses": [container("resolve", resolve)],
        },
    }))
}
