//! The server pods of a Model, and their processes.
use std::{collections::BTreeSet, fs, time::Duration};

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::{ResourceExt as _, api::ListParams};

use crate::{
    forward::Forward,
    namespace::TestNamespace,
    pods, processes,
    wait::{self, Seen},
};

/// Until pods have been replaced, on a busy machine.
pub(super) const TIMEOUT: Duration = Duration::from_mins(4);
const ADMIN: u16 = 9090;

/// The server pods of a Model, also those that end.
pub(super) async fn servers(namespace: &TestNamespace, model: &str) -> anyhow::Result<Vec<Pod>> {
    let labels = format!("modelwright.dev/role=server,modelwright.dev/model={model}");
    Ok(namespace.api::<Pod>().list(&ListParams::default().labels(&labels)).await?.items)
}

/// The names of pods.
pub(super) fn names(pods: &[Pod]) -> BTreeSet<String> {
    pods.iter().map(kube::ResourceExt::name_any).collect()
}

/// Waits until there are so many server pods, all ready and none of them ending or one of `former`.
pub(super) async fn at_rest(
    namespace: &TestNamespace,
    model: &str,
    count: usize,
    former: &BTreeSet<String>,
) -> anyhow::Result<Vec<Pod>> {
    wait::wait_for(format!("{count} servers that are ready, and no other"), TIMEOUT, || async {
        let pods = servers(namespace, model).await?;
        let done =
            pods.len() == count && pods.iter().all(|pod| is_ready(pod) && !former.contains(&pod.name_any()));
        let state = pods.iter().map(|pod| format!("{} ready: {}", pod.name_any(), is_ready(pod)));
        let state = state.collect::<Vec<_>>().join(", ");
        Ok(Seen::or_else_saw(done.then_some(pods), state))
    })
    .await
}

fn is_ready(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && pods::is_ready(pod)
}

/// The state of a pod's server.
fn server(pod: &Pod) -> Option<&ContainerStatus> {
    let all = pod.status.as_ref()?.container_statuses.as_ref()?;
    all.iter().find(|container| container.name == "serve")
}

/// How often a pod's server was started again.
pub(super) fn restarts(pod: &Pod) -> i32 {
    server(pod).map_or(0, |container| container.restart_count)
}

/// Waits until the pod's server was started again because of this reason, and is ready.
pub(super) async fn restarted(namespace: &TestNamespace, before: &Pod, reason: &str) -> anyhow::Result<()> {
    let count = restarts(before);
    let awaited = format!("another start of the server after {reason}");
    wait::object(&namespace.api::<Pod>(), &before.name_any(), awaited, TIMEOUT, |pod| {
        let state = server(pod);
        let last = state
            .and_then(|container| container.last_state.as_ref()?.terminated.as_ref()?.reason.clone())
            .unwrap_or_default();
        let again =
            state.is_some_and(|container| container.restart_count > count) && last == reason && is_ready(pod);
        Seen::or_else_saw(again.then_some(()), format!("{state:?}"))
    })
    .await
}

/// Kills the process of a pod's server, which must run on this machine. `None`: it runs on another.
pub(super) fn kill(pod: &Pod) -> anyhow::Result<Option<()>> {
    let id = server(pod).and_then(|container| container.container_id.as_deref()).context("no container")?;
    let (_, id) = id.split_once("://").context("the container's id has no runtime")?;
    ensure!(id.len() >= 32, "{id} is no id of a container");
    let mut killed = None;
    for number in processes::numbers()? {
        // Its cgroup has the name of the container that this test made, which no other process has.
        let cgroup = fs::read_to_string(format!("/proc/{number}/cgroup"));
        if cgroup.is_ok_and(|cgroup| cgroup.contains(id)) {
            processes::signal(number, "KILL")?;
            killed = Some(());
        }
    }
    Ok(killed)
}

/// Calls of gRPC that a pod has answered with success.
pub(super) async fn calls(namespace: &TestNamespace, pod: &str) -> anyhow::Result<u64> {
    let forward = Forward::to_pod(namespace.client.clone(), &namespace.name, pod, ADMIN).await?;
    let metrics = reqwest::get(forward.url("/metrics")).await?.text().await?;
    Ok(calls_in(&metrics))
}

fn calls_in(metrics: &str) -> u64 {
    let lines = metrics.lines().filter(|line| {
        line.starts_with("modelwright_requests_total{")
            && line.contains("route=\"grpc_infer\"")
            && line.contains("code=\"2xx\"")
    });
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_of_grpc_with_success_are_counted() {
        let metrics = "modelwright_requests_total{model=\"m\",route=\"grpc_infer\",code=\"2xx\"} 7\n\
                       modelwright_requests_total{model=\"m\",route=\"grpc_infer\",code=\"5xx\"} 1\n\
                       modelwright_requests_total{model=\"m\",route=\"infer\",code=\"2xx\"} 5\n";
        assert_eq!(calls_in(metrics), 7);
    }
}
