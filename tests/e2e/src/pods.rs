//! Pods that tests make, and what is read of pods.
use anyhow::Context as _;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

/// A pod that runs to its end once. `spec` gets what the Pod Security Standard `restricted` wants of a pod and of its containers.
///
/// # Errors
/// Fails if `spec` is not that of a pod.
pub fn restricted(name: &str, mut spec: Value) -> anyhow::Result<Pod> {
    spec["restartPolicy"] = json!("Never");
    spec["automountServiceAccountToken"] = json!(false);
    spec["securityContext"] = json!({
        "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    for containers in ["initContainers", "containers"] {
        for container in spec.get_mut(containers).and_then(Value::as_array_mut).into_iter().flatten() {
            container["securityContext"] = json!({
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
            });
        }
    }
    serde_json::from_value(
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}),
    )
    .with_context(|| format!("what pod {name} shall be"))
}

/// Whether its condition `Ready` is true.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_container_is_restricted() {
        let spec = json!({"initContainers": [{"name": "i"}], "containers": [{"name": "a"}, {"name": "b"}]});
        let spec = restricted("p", spec).unwrap().spec.unwrap();
        let containers = spec.init_containers.into_iter().flatten().chain(spec.containers);
        let contexts: Vec<_> = containers.map(|container| container.security_context.unwrap()).collect();
        assert_eq!(contexts.len(), 3);
        assert!(contexts.iter().all(|context| context.allow_privilege_escalation == Some(false)));
        assert!(restricted("p", json!({"containers": 1})).is_err());
    }
}
