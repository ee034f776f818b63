//! What the tests of trainings share.
use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{ListParams, LogParams, Patch, PatchParams},
};
use modelwright_api::{
    Model,
    conditions::ConditionType,
    contract::annotations,
    status::{Revision, TrainingStatus},
};
use modelwright_e2e::{
    chart,
    forward::Forward,
    namespace::TestNamespace,
    storage::Storage,
    wait::{self, Seen},
};
use serde_json::{Value, json};

use crate::serving::{SECRET, restrict};

/// Longer than a training of these takes on a busy machine.
pub(super) const TIMEOUT: Duration = Duration::from_mins(5);

/// A namespace that takes only restricted pods, with the chart installed, and a store with its Secret.
pub(super) async fn prepared(namespace: &TestNamespace) -> anyhow::Result<Storage> {
    restrict(namespace).await?;
    let storage = Storage::connect(namespace.client.clone()).await?;
    storage.create_secret(&namespace.name, SECRET).await?;
    chart::install(namespace).await?;
    Ok(storage)
}

pub(super) fn folder(example: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(example)
}

/// The manifest of an example for a cluster, with its store's places below a folder of this namespace's.
pub(super) fn manifest(namespace: &TestNamespace, example: &str) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(folder(example).join("cluster/model.yaml"))?;
    // The Secret is there already.
    let (_, model) = text.split_once("---\n").context("the example has no Secret")?;
    Ok(model.replace("s3://models/", &format!("s3://models/{}/", namespace.name)))
}

pub(super) fn training(model: &Model) -> TrainingStatus {
    model.status.as_ref().and_then(|status| status.training.clone()).unwrap_or_default()
}

pub(super) fn active(model: &Model) -> anyhow::Result<Revision> {
    let revisions = model.status.as_ref().and_then(|status| status.revisions.clone());
    revisions.and_then(|revisions| revisions.active).context("no revision is active")
}

fn words(model: &Model) -> String {
    let ready = model.condition(ConditionType::Ready);
    let said = ready.map(|ready| format!("Ready={:?} {}: {}", ready.status, ready.reason, ready.message));
    format!("{said:?} {:?}", training(model))
}

pub(super) async fn until(
    namespace: &TestNamespace,
    name: &str,
    awaited: &str,
    wanted: impl Fn(&Model) -> bool,
) -> anyhow::Result<Model> {
    wait::object(&namespace.api::<Model>(), name, awaited, TIMEOUT, |model| {
        let observed = model.status.as_ref().and_then(|status| status.observed_generation);
        let current = observed == model.metadata.generation && wanted(model);
        Seen::or_else_saw(current.then(|| model.clone()), words(model))
    })
    .await
}

pub(super) async fn is_ready(namespace: &TestNamespace, name: &str) -> anyhow::Result<Model> {
    until(namespace, name, "Ready", |model| model.holds(ConditionType::Ready)).await
}

pub(super) async fn has_reason(namespace: &TestNamespace, name: &str, reason: &str) -> anyhow::Result<Model> {
    until(namespace, name, &format!("reason {reason}"), |model| {
        model.condition(ConditionType::Ready).is_some_and(|ready| ready.reason == reason)
    })
    .await
}

pub(super) async fn retrain(namespace: &TestNamespace, name: &str, value: &str) -> anyhow::Result<()> {
    let patch = json!({"metadata": {"annotations": {annotations::RETRAIN_AT: value}}});
    namespace.api::<Model>().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    Ok(())
}

/// What the endpoint answers to one record.
pub(super) async fn predict(namespace: &TestNamespace, name: &str, record: &Value) -> anyhow::Result<Value> {
    let forward = Forward::to_service(namespace.client.clone(), &namespace.name, name, 80).await?;
    let body = json!({"instances": [record]}).to_string();
    let url = forward.url(&format!("/v1/models/{name}:predict"));
    let answer = reqwest::Client::new().post(url).body(body).send().await?;
    ensure!(answer.status() == 200, "{}", answer.status());
    let answer: Value = serde_json::from_slice(&answer.bytes().await?)?;
    Ok(answer["predictions"][0].clone())
}

/// The pods that train, the newest last.
pub(super) async fn training_pods(namespace: &TestNamespace, name: &str) -> anyhow::Result<Vec<Pod>> {
    let pods: Api<Pod> = namespace.api();
    let selector = format!("modelwright.dev/role=train,modelwright.dev/model={name}");
    let mut found = pods.list(&ListParams::default().labels(&selector)).await?.items;
    found.sort_by_key(|pod| pod.metadata.creation_timestamp.clone().map(|time| time.0));
    Ok(found)
}

pub(super) async fn log(namespace: &TestNamespace, pod: &str, container: &str) -> anyhow::Result<String> {
    let params = LogParams { container: Some(container.to_owned()), ..LogParams::default() };
    Ok(namespace.api::<Pod>().logs(pod, &params).await?)
}
