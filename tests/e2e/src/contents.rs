//! Everything that is in a namespace: its objects, and what its containers said.
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams, LogParams},
    discovery::{Discovery, Scope, verbs},
};

/// What a container said.
pub(crate) struct Log {
    pub(crate) pod: String,
    pub(crate) container: String,
    /// Of the container that ran before the present one.
    pub(crate) previous: bool,
    pub(crate) text: String,
}

/// All objects of the namespace, by their kind. Secrets are left out: passwords and tokens do not belong into reports.
pub(crate) async fn objects(
    client: &Client,
    namespace: &str,
) -> anyhow::Result<Vec<(ApiResource, Vec<DynamicObject>)>> {
    let mut found = Vec::new();
    let discovery = Discovery::new(client.clone()).run_aggregated().await?;
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            let listed =
                capabilities.scope == Scope::Namespaced && capabilities.supports_operation(verbs::LIST);
            if listed && resource.kind != "Secret" {
                let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
                let objects = api.list(&ListParams::default()).await?.items;
                found.push((resource, objects));
            }
        }
    }
    Ok(found)
}

/// The logs of all containers of the namespace that have one.
pub(crate) async fn logs(client: &Client, namespace: &str) -> anyhow::Result<Vec<Log>> {
    let api = Api::<Pod>::namespaced(client.clone(), namespace);
    let mut found = Vec::new();
    for pod in api.list(&ListParams::default()).await?.items {
        for container in containers(&pod) {
            for previous in [false, true] {
                let params =
                    LogParams { container: Some(container.name.clone()), previous, ..LogParams::default() };
                // A scripted node has no logs.
                if let Ok(text) = api.logs(&pod.name_any(), &params).await {
                    found.push(Log {
                        pod: pod.name_any(),
                        container: container.name.clone(),
                        previous,
                        text,
                    });
                }
            }
        }
    }
    Ok(found)
}

/// What is known of a pod's containers, the first that run included.
pub(crate) fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status
        .flat_map(|status| status.init_container_statuses.iter().chain(&status.container_statuses).flatten())
}
