//! What is kept of an object. Everything else only costs memory, and its changes would start passes for nothing.

use std::fmt::Debug;

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec},
        batch::v1::Job,
        core::v1::{Container, ContainerStatus, Pod, PodSpec, PodStatus, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta},
};
use kube::Resource;
use modelwright_api::contract::{GROUP, annotations, field_managers, labels};
use serde::{Serialize, de::DeserializeOwned};

use crate::observe::autoscalers::{Target, is_labelled};

/// A kind of object that is watched.
pub trait Kept:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
    /// The kind's name.
    const KIND: &'static str;

    /// Whether only objects with our label are watched.
    const OURS_ALONE: bool = true;

    /// The Model that an object has to do with.
    fn model(&self) -> Option<&str> {
        self.meta().labels.as_ref()?.get(labels::MODEL).map(String::as_str)
    }

    /// Forgets what nobody reads, beside the metadata that nobody reads of any kind.
    fn forget(&mut self) {}

    /// Forgets what nobody reads.
    fn prune(&mut self) {
        prune_metadata(self.meta_mut());
        self.forget();
    }
}

/// Drift is decided by fields, so no version is kept, and an object that was written without a change stays equal.
fn prune_metadata(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    metadata.resource_version = None;
    metadata.self_link = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}

impl Kept for Deployment {
    const KIND: &'static str = "Deployment";

    /// Who set the number of pods is read: whether that was the operator.
    fn prune(&mut self) {
        let mut managers = self.metadata.managed_fields.take().unwrap_or_default();
        managers.retain(owns_replicas);
        for entry in &mut managers {
            entry.time = None;
        }
        prune_metadata(&mut self.metadata);
        self.metadata.managed_fields = Some(managers).filter(|managers| !managers.is_empty());
    }
}

/// Whether this is the entry of the operator, as the one that set the number of pods.
fn owns_replicas(entry: &ManagedFieldsEntry) -> bool {
    let replicas = || entry.fields_v1.as_ref()?.0.get("f:spec")?.get("f:replicas");
    entry.manager.as_deref() == Some(field_managers::REPLICAS) && replicas().is_some()
}

impl Kept for Job {
    const KIND: &'static str = "Job";

    /// A Job is never written again, so its pods are only kept as far as messages name them.
    fn forget(&mut self) {
        let Some(template) = self.spec.as_mut().map(|spec| &mut spec.template) else { return };
        if let Some(spec) = &mut template.spec {
            prune_pod_spec(spec);
        }
        if let Some(metadata) = &mut template.metadata {
            prune_annotations(metadata);
        }
    }
}

impl Kept for HorizontalPodAutoscaler {
    const KIND: &'static str = "HorizontalPodAutoscaler";

    /// Those of others too: two on one Deployment keep each other from working.
    const OURS_ALONE: bool = false;

    fn model(&self) -> Option<&str> {
        if is_labelled(self) {
            return self.metadata.labels.as_ref()?.get(labels::MODEL).map(String::as_str);
        }
        Target::of(self).map(Target::name)
    }

    /// Of others only what they scale. Metrics change every 15 seconds.
    fn forget(&mut self) {
        if !is_labelled(self) {
            let ObjectMeta { name, namespace, deletion_timestamp, .. } = std::mem::take(&mut self.metadata);
            self.metadata = ObjectMeta { name, namespace, deletion_timestamp, ..ObjectMeta::default() };
            let scale_target_ref = self.spec.take().unwrap_or_default().scale_target_ref;
            self.spec = Some(HorizontalPodAutoscalerSpec {
                scale_target_ref,
                ..HorizontalPodAutoscalerSpec::default()
            });
            self.status = None;
            return;
        }
        if let Some(status) = &mut self.status {
            status.current_metrics = None;
            status.last_scale_time = None;
        }
    }
}

impl Kept for Service {
    const KIND: &'static str = "Service";
}

impl Kept for PodDisruptionBudget {
    const KIND: &'static str = "PodDisruptionBudget";

    fn forget(&mut self) {
        self.status = None;
    }
}

impl Kept for NetworkPolicy {
    const KIND: &'static str = "NetworkPolicy";
}

impl Kept for ServiceAccount {
    const KIND: &'static str = "ServiceAccount";

    fn forget(&mut self) {
        self.secrets = None;
    }
}

impl Kept for Pod {
    const KIND: &'static str = "Pod";

    fn forget(&mut self) {
        prune_annotations(&mut self.metadata);
        self.metadata.generate_name = None;
        if let Some(spec) = &mut self.spec {
            prune_pod_spec(spec);
        }
        if let Some(status) = &mut self.status {
            prune_pod_status(status);
        }
    }
}

/// What a pod's annotations say for others, and what they say for its own commands, which may be long.
fn prune_annotations(metadata: &mut ObjectMeta) {
    let read = |key: &str| {
        key.split_once('/').is_some_and(|(group, _)| group == GROUP)
            && ![annotations::ORDER, annotations::PARAMETERS].contains(&key)
    };
    let mut kept = metadata.annotations.take().unwrap_or_default();
    kept.retain(|key, _| read(key));
    metadata.annotations = Some(kept).filter(|kept| !kept.is_empty());
}

/// Of volumes only those in memory are told of: their limit is what a model can exceed.
fn prune_pod_spec(spec: &mut PodSpec) {
    let mut volumes = spec.volumes.take().unwrap_or_default();
    volumes.retain(|volume| {
        let folder = volume.empty_dir.as_ref();
        folder.is_some_and(|folder| folder.medium.as_deref() == Some("Memory"))
    });
    *spec = PodSpec {
        containers: spec.containers.drain(..).map(pruned_container).collect(),
        init_containers: spec
            .init_containers
            .take()
            .map(|all| all.into_iter().map(pruned_container).collect()),
        volumes: Some(volumes).filter(|volumes| !volumes.is_empty()),
        node_name: spec.node_name.take(),
        host_network: spec.host_network,
        restart_policy: spec.restart_policy.take(),
        termination_grace_period_seconds: spec.termination_grace_period_seconds,
        ..PodSpec::default()
    };
}

fn pruned_container(container: Container) -> Container {
    Container {
        name: container.name,
        image: container.image,
        args: container.args,
        resources: container.resources,
        restart_policy: container.restart_policy,
        startup_probe: container.startup_probe,
        ..Container::default()
    }
}

fn prune_pod_status(status: &mut PodStatus) {
    status.host_ips = None;
    status.pod_ips = None;
    status.qos_class = None;
    status.resource_claim_statuses = None;
    status.ephemeral_container_statuses = None;
    for condition in status.conditions.iter_mut().flatten() {
        condition.last_probe_time = None;
    }
    let all = [&mut status.container_statuses, &mut status.init_container_statuses];
    all.into_iter().flatten().flatten().for_each(prune_container_status);
}

fn prune_container_status(status: &mut ContainerStatus) {
    status.allocated_resources = None;
    status.allocated_resources_status = None;
    status.resources = None;
    status.user = None;
    status.volume_mounts = None;
    status.container_id = None;
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pruned<K: Kept + serde::Serialize>(object: Value) -> Value {
        let mut object: K = serde_json::from_value(object).unwrap();
        object.prune();
        serde_json::to_value(object).unwrap()
    }

    #[test]
    fn a_pod_keeps_what_causes_and_reports_read() {
        let pod = pruned::<Pod>(json!({
            "metadata": {
                "name": "p", "namespace": "n", "uid": "u", "resourceVersion": "7", "generateName": "p-",
                "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"a": "b"},
                "annotations": {"modelwright.dev/digest": "d", "other.dev/digest": "x", "modelwright.dev/order": "{}"},
                "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "k", "uid": "o"}],
                "managedFields": [{"manager": "m"}],
            },
            "spec": {
                "nodeName": "node", "volumes": [
                    {"name": "v"}, {"name": "tmp", "emptyDir": {}},
                    {"name": "model", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
                ], "serviceAccountName": "s",
                "containers": [{
                    "name": "serve", "image": "i", "env": [{"name": "A", "value": "B"}],
                    "resources": {"limits": {"memory": "1Gi"}},
                }],
                "initContainers": [{"name": "fetch", "image": "i", "restartPolicy": "Always", "command": ["c"]}],
            },
            "status": {
                "phase": "Running", "podIP": "192.0.2.1", "podIPs": [{"ip": "192.0.2.1"}], "qosClass": "Burstable",
                "conditions": [{"type": "Ready", "status": "True", "lastProbeTime": "2026-01-01T00:00:00Z"}],
                "containerStatuses": [{
                    "name": "serve", "image": "i", "imageID": "x", "ready": true, "restartCount": 1,
                    "containerID": "c", "lastState": {"terminated": {"exitCode": 1, "message": "m"}},
                }],
            },
        }));
        let expected = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "p", "namespace": "n", "uid": "u",
                "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"a": "b"},
                "annotations": {"modelwright.dev/digest": "d"},
                "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "k", "uid": "o"}],
            },
            "spec": {
                "nodeName": "node",
                "volumes": [{"name": "model", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}],
                "containers": [{"name": "serve", "image": "i", "resources": {"limits": {"memory": "1Gi"}}}],
                "initContainers": [{"name": "fetch", "image": "i", "restartPolicy": "Always"}],
            },
            "status": {
                "phase": "Running", "podIP": "192.0.2.1",
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{
                    "name": "serve", "image": "i", "imageID": "x", "ready": true, "restartCount": 1,
                    "lastState": {"terminated": {"exitCode": 1, "message": "m"}},
                }],
            },
        });
        assert_eq!(pod, expected);
    }

    /// What keeps the operator from asking a node in the place of a pod.
    #[test]
    fn a_pod_with_its_nodes_address_is_still_known_as_such() {
        let pod = json!({
            "metadata": {"name": "p"},
            "spec": {"hostNetwork": true, "containers": []},
            "status": {"podIP": "192.0.2.1", "hostIP": "192.0.2.1"},
        });
        let kept = pruned::<Pod>(pod);
        assert_eq!(kept["spec"]["hostNetwork"], true);
        assert_eq!(kept["status"]["hostIP"], "192.0.2.1");
    }

    #[test]
    fn an_autoscalers_new_metrics_change_nothing() {
        let autoscaler = |value: i32| {
            pruned::<HorizontalPodAutoscaler>(json!({
                "metadata": {
                    "name": "h", "resourceVersion": value.to_string(),
                    "labels": {"app.kubernetes.io/managed-by": "modelwright"},
                },
                "spec": {"maxReplicas": 2, "scaleTargetRef": {"kind": "Deployment", "name": "d"}},
                "status": {
                    "desiredReplicas": 1,
                    "currentMetrics": [{
                        "type": "Resource",
                        "resource": {"name": "cpu", "current": {"averageUtilization": value}},
                    }],
                },
            }))
        };
        assert_eq!(autoscaler(1), autoscaler(2));
        assert_eq!(autoscaler(1)["status"]["desiredReplicas"], 1);
    }

    #[test]
    fn of_anothers_autoscaler_only_its_target_is_kept() {
        let autoscaler = pruned::<HorizontalPodAutoscaler>(json!({
            "metadata": {"name": "h", "namespace": "n", "annotations": {"a": "b"}, "labels": {"c": "d"}},
            "spec": {
                "maxReplicas": 2, "metrics": [{"type": "Resource"}],
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "bc"},
            },
            "status": {"desiredReplicas": 1},
        }));
        let expected = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "h", "namespace": "n"},
            "spec": {
                "maxReplicas": 0,
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "bc"},
            },
        });
        assert_eq!(autoscaler, expected);
        let autoscaler: HorizontalPodAutoscaler = serde_json::from_value(autoscaler).unwrap();
        assert_eq!(autoscaler.model(), Some("bc"));
    }

    #[test]
    fn a_deployment_keeps_whether_the_operator_set_its_number_of_pods() {
        let managers = |all: Value| {
            pruned::<Deployment>(json!({
                "metadata": {"name": "d", "managedFields": all}, "spec": {"selector": {}, "template": {}},
            }))["metadata"]["managedFields"]
                .clone()
        };
        let entry = |manager: &str, fields: Value| {
            json!({
                "manager": manager, "operation": "Apply", "time": "2026-01-01T00:00:00Z", "fieldsV1": fields,
            })
        };
        let replicas = json!({"f:spec": {"f:replicas": {}}});
        let template = entry("modelwright-template", json!({"f:spec": {"f:template": {}}}));
        let kept = managers(json!([template, entry("modelwright-replicas", replicas.clone())]));
        assert_eq!(kept[0]["manager"], "modelwright-replicas");
        assert_eq!((kept.as_array().map(Vec::len), &kept[0]["time"]), (Some(1), &Value::Null));
        assert_eq!(managers(json!([template, entry("keda", replicas)])), Value::Null);
    }

    #[test]
    fn a_deployment_keeps_its_spec_for_the_comparison() {
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "d", "annotations": {"any.dev/a": "b"}, "generation": 2},
            "spec": {
                "selector": {}, "template": {"spec": {"containers": [{"name": "serve", "env": [{"name": "A"}]}]}},
            },
            "status": {"observedGeneration": 2},
        });
        assert_eq!(pruned::<Deployment>(deployment.clone()), deployment);
    }
}
