//! The client to compare with: it creates what the operator would create, as fast as it can, and knows nothing.
use futures::StreamExt as _;
use k8s_openapi::api::{apps::v1::Deployment, batch::v1::Job};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind, PostParams},
};
use modelwright_e2e::images;
use modelwright_operator::{plan::offline, settings::Settings};

use crate::{CONCURRENCY, Size, all, model, places::Places};

/// Creates the children of every Model and waits until all are available.
pub(crate) async fn create(places: &Places, size: &Size) -> anyhow::Result<()> {
    let children = futures::stream::iter(0..size.models).map(|index| of_one(places, index, size));
    let mut children = children.buffer_unordered(CONCURRENCY);
    while let Some(created) = children.next().await {
        created?;
    }
    let (deployments, jobs): (Api<Deployment>, Api<Job>) =
        (Api::all(places.client.clone()), Api::all(places.client.clone()));
    let available = |deployment: &Deployment| {
        let status = deployment.status.as_ref();
        status.and_then(|status| status.available_replicas).is_some_and(|available| available > 0)
    };
    let succeeded =
        |job: &Job| job.status.as_ref().and_then(|status| status.succeeded).is_some_and(|pods| pods > 0);
    let (deployments, jobs) =
        (all::are(deployments, size.models, available), all::are(jobs, size.models, succeeded));
    futures::future::try_join(deployments, jobs).await.map(|_| ())
}

async fn of_one(places: &Places, index: usize, size: &Size) -> anyhow::Result<()> {
    let namespace = places.of(index);
    let mut model = model(index, size);
    model.metadata.namespace = Some(namespace.name.clone());
    let settings = Settings::with_image(images::modelwright(), env!("CARGO_PKG_VERSION"));
    let children = offline::children(&model, &settings, jiff::Timestamp::now())
        .map_err(|cause| anyhow::anyhow!(cause.message))?;
    for mut child in children {
        // There is no Model that could own it.
        child["metadata"]["ownerReferences"] = serde_json::Value::Null;
        let object: DynamicObject = serde_json::from_value(child)?;
        let types = object.types.clone().unwrap_or_default();
        let kind = GroupVersionKind::try_from(&types)?;
        let resource = ApiResource::from_gvk(&kind);
        let api: Api<DynamicObject> =
            Api::namespaced_with(namespace.client.clone(), &namespace.name, &resource);
        api.create(&PostParams::default(), &object).await?;
    }
    Ok(())
}
