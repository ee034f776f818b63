//! Server-side apply, as the tests' own field manager.
use std::fmt::Debug;

use anyhow::Context;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
    core::NamespaceResourceScope,
    discovery::{self, Scope},
};
use serde::{Serialize, de::DeserializeOwned};

/// The field manager of everything that the harness writes.
pub const FIELD_MANAGER: &str = "modelwright-e2e";

/// Applies a typed object of the namespace.
pub async fn object<K>(client: &Client, namespace: &str, object: &K) -> anyhow::Result<K>
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Serialize,
    K::DynamicType: Default,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let name = object.meta().name.as_deref().context("an object to apply needs metadata.name")?;
    Ok(api.patch(name, &params(), &Patch::Apply(object)).await?)
}

/// Applies every document of a YAML text, in its order. Kinds are looked up at the API server; objects of namespaced
/// kinds come into `namespace` unless they name their own.
pub async fn yaml(
    client: &Client,
    namespace: Option<&str>,
    text: &str,
) -> anyhow::Result<Vec<DynamicObject>> {
    yaml_as(client, namespace, text, FIELD_MANAGER).await
}

/// The same as another field manager.
pub async fn yaml_as(
    client: &Client,
    namespace: Option<&str>,
    text: &str,
    manager: &str,
) -> anyhow::Result<Vec<DynamicObject>> {
    let documents: Vec<Option<serde_json::Value>> =
        serde_yaml::from_multiple(text).context("the text to apply is no YAML")?;
    let mut applied = Vec::new();
    for document in documents.into_iter().flatten() {
        let object: DynamicObject =
            serde_json::from_value(document).context("a document to apply is no Kubernetes object")?;
        applied.push(dynamic(client, namespace, &object, manager).await?);
    }
    Ok(applied)
}

async fn dynamic(
    client: &Client,
    namespace: Option<&str>,
    object: &DynamicObject,
    manager: &str,
) -> anyhow::Result<DynamicObject> {
    let types = object.types.as_ref().context("a document to apply lacks apiVersion or kind")?;
    let name = object.metadata.name.as_deref().context("a document to apply lacks metadata.name")?;
    let kind = kube::core::GroupVersionKind::try_from(types)?;
    let (resource, capabilities) = discovery::pinned_kind(client, &kind)
        .await
        .with_context(|| format!("the API server does not serve {} {}", types.api_version, types.kind))?;
    let api: Api<DynamicObject> = match capabilities.scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespaced => {
            let namespace = object.namespace().or_else(|| namespace.map(str::to_owned));
            let namespace = namespace.with_context(|| format!("{} {name} needs a namespace", types.kind))?;
            Api::namespaced_with(client.clone(), &namespace, &resource)
        }
    };
    let params = PatchParams::apply(manager).force();
    let applied = api.patch(name, &params, &Patch::Apply(object)).await;
    applied.with_context(|| format!("cannot apply {} {name}", types.kind))
}

fn params() -> PatchParams {
    PatchParams::apply(FIELD_MANAGER).force()
}
