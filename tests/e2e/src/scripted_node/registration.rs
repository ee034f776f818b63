//! The Node object and the Lease that keeps it Ready.
use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        core::v1::{Node, NodeAddress, NodeCondition, NodeSpec, NodeStatus, NodeSystemInfo, Taint},
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference, Time},
    },
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
};

use super::{NodeSpecification, pool};
use crate::{
    apply::FIELD_MANAGER,
    wait::{self, Seen},
};

/// Every how often the node is heard of. The controller manager gives up on it after 50 s (`--node-monitor-grace-period`).
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Longer than any answer takes; an API server that hangs must not end the heartbeat.
const PATIENCE: Duration = Duration::from_secs(5);
const LEASE_NAMESPACE: &str = "kube-node-lease";

/// Creates the node or takes over the one that an earlier process left, and waits until pods can be scheduled to it.
pub(super) async fn register(client: &Client, specification: &NodeSpecification) -> anyhow::Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    let name = &*specification.name;
    let params = PatchParams::apply(FIELD_MANAGER).force();
    nodes.patch(name, &params, &Patch::Apply(node(specification))).await?;
    beat(client, specification).await?;
    wait::object(&nodes, name, "a node that pods can be scheduled to", Duration::from_mins(1), |node| {
        let spec = node.spec.clone().unwrap_or_default();
        let taints = spec.taints.unwrap_or_default();
        let lifecycle: Vec<_> = taints
            .iter()
            .filter(|taint| taint.key.starts_with("node.kubernetes.io/"))
            .map(|taint| format!("{}:{}", taint.key, taint.effect))
            .collect();
        Seen::or_else_saw(lifecycle.is_empty().then_some(()), format_args!("taints {lifecycle:?}"))
    })
    .await
}

/// Keeps the node Ready for as long as it is polled.
pub(super) async fn keep_ready(client: Client, specification: NodeSpecification) {
    let mut ticks = tokio::time::interval(HEARTBEAT);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        // A heartbeat that is lost is made up for by the next: four fit into the time until the node is given up.
        if !matches!(tokio::time::timeout(PATIENCE, beat(&client, &specification)).await, Ok(Ok(()))) {
            ticks.reset_after(HEARTBEAT / 10);
        }
    }
}

/// Removes the node. Its Lease goes with it.
pub(super) async fn remove(client: &Client, name: &str) -> kube::Result<()> {
    match Api::<Node>::all(client.clone()).delete(name, &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        result => result.map(|_| ()),
    }
}

/// One heartbeat. The status is written whole each time: that also undoes what the controller manager wrote while the
/// API server was away.
async fn beat(client: &Client, specification: &NodeSpecification) -> kube::Result<()> {
    let name = &*specification.name;
    let nodes: Api<Node> = Api::all(client.clone());
    let heartbeat = Node { status: Some(status(specification)), ..Node::default() };
    let node = nodes.patch_status(name, &PatchParams::default(), &Patch::Strategic(heartbeat)).await?;
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            owner_references: Some(vec![OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Node".to_owned(),
                name: name.to_owned(),
                uid: node.metadata.uid.unwrap_or_default(),
                ..OwnerReference::default()
            }]),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(name.to_owned()),
            lease_duration_seconds: Some(40),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..LeaseSpec::default()
        }),
    };
    let leases: Api<Lease> = Api::namespaced(client.clone(), LEASE_NAMESPACE);
    leases.patch(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(lease)).await?;
    Ok(())
}

fn node(specification: &NodeSpecification) -> Node {
    let mut labels = BTreeMap::from([
        ("kubernetes.io/hostname".to_owned(), specification.name.clone()),
        ("kubernetes.io/os".to_owned(), "linux".to_owned()),
        ("kubernetes.io/arch".to_owned(), "amd64".to_owned()),
    ]);
    labels.extend(specification.labels.clone());
    let pool = specification.pool.as_ref();
    labels.extend(pool.map(|pool| (pool::LABEL.to_owned(), pool.clone())));
    let taints = pool.map(|pool| {
        vec![Taint {
            key: pool::LABEL.to_owned(),
            value: Some(pool.clone()),
            effect: "NoSchedule".to_owned(),
            time_added: None,
        }]
    });
    Node {
        metadata: ObjectMeta {
            name: Some(specification.name.clone()),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec { taints, ..NodeSpec::default() }),
        status: None,
    }
}

fn status(specification: &NodeSpecification) -> NodeStatus {
    let mut capacity = BTreeMap::from([
        ("cpu".to_owned(), Quantity("100000".to_owned())),
        ("memory".to_owned(), Quantity("1Pi".to_owned())),
        ("ephemeral-storage".to_owned(), Quantity("1Pi".to_owned())),
        ("pods".to_owned(), Quantity("20000".to_owned())),
    ]);
    capacity.extend(specification.resources.clone());
    let now = Time(Timestamp::now());
    let condition = |type_: &str, holds: bool, reason: &str| NodeCondition {
        type_: type_.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some("a scripted node of the tests says so".to_owned()),
        last_heartbeat_time: Some(now.clone()),
        last_transition_time: Some(specification.since.clone()),
    };
    NodeStatus {
        allocatable: Some(capacity.clone()),
        capacity: Some(capacity),
        addresses: Some(vec![
            NodeAddress { type_: "InternalIP".to_owned(), address: specification.host_ip.to_string() },
            NodeAddress { type_: "Hostname".to_owned(), address: specification.name.clone() },
        ]),
        conditions: Some(vec![
            condition("Ready", true, "KubeletReady"),
            condition("MemoryPressure", false, "KubeletHasSufficientMemory"),
            condition("DiskPressure", false, "KubeletHasNoDiskPressure"),
            condition("PIDPressure", false, "KubeletHasSufficientPID"),
        ]),
        node_info: Some(NodeSystemInfo {
            architecture: "amd64".to_owned(),
            operating_system: "linux".to_owned(),
            os_image: "scripted".to_owned(),
            kubelet_version: "v1.37.0-scripted".to_owned(),
            container_runtime_version: "scripted://1".to_owned(),
            ..NodeSystemInfo::default()
        }),
        ..NodeStatus::default()
    }
}
