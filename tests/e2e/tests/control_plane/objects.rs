//! Objects that several tests create.
use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

/// More than anything here takes on a busy machine.
pub(crate) const TIMEOUT: Duration = Duration::from_mins(1);

/// A Deployment with the pods' label `app`, and a Service for it.
pub(crate) fn deployment(name: &str, replicas: u32, version: &str) -> String {
    format!(
        r"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  progressDeadlineSeconds: 3
  strategy: {{rollingUpdate: {{maxUnavailable: 0, maxSurge: 1}}}}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}, version: '{version}'}}}}
    spec:
      containers:
      - {{name: serve, image: 'nothing:{version}', ports: [{{containerPort: 8080}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{selector: {{app: {name}}}, ports: [{{port: 80, targetPort: 8080}}]}}
"
    )
}

/// A pod with the init container `fetch` and the container `serve`.
pub(crate) fn pod(name: &str, restart_policy: &str) -> String {
    format!(
        r"
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  restartPolicy: {restart_policy}
  initContainers: [{{name: fetch, image: 'nothing:1'}}]
  containers: [{{name: serve, image: 'nothing:1'}}]
"
    )
}

pub(crate) fn container<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    status
        .init_container_statuses
        .iter()
        .chain(&status.container_statuses)
        .flatten()
        .find(|container| container.name == name)
}

pub(crate) fn waiting_reason<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    container(pod, name)?.state.as_ref()?.waiting.as_ref()?.reason.as_deref()
}

pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

pub(crate) fn condition(pod: &Pod, type_: &str) -> Option<bool> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == type_).map(|condition| condition.status == "True")
}
