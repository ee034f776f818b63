//! How long it takes from an edit of a spec until the child is changed.
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
    runtime::{WatchStreamExt as _, watcher},
};
use modelwright_api::{Model, contract::annotations};
use modelwright_e2e::namespace::TestNamespace;
use serde_json::json;

use crate::Size;

/// Edits Models one after the other and waits each time until the Deployment's template was rendered anew.
pub(crate) async fn measure(namespace: &TestNamespace, size: &Size) -> anyhow::Result<()> {
    let (models, deployments): (Api<Model>, Api<Deployment>) = (namespace.api(), namespace.api());
    let mut changes = watcher(deployments, watcher::Config::default()).applied_objects().boxed();
    let mut rendered = HashMap::new();
    let mut times = Vec::new();
    for edit in 0..size.edits {
        let name = format!("m{}", edit * 7 % size.models);
        while rendered.len() < size.models {
            note(&mut rendered, &changes.try_next().await?.context("the watch ended")?);
        }
        let before = rendered.get(&name).cloned();
        let patch = json!({"spec": {"serving": {"startupTimeout": format!("{}s", 60 + edit)}}});
        let start = Instant::now();
        models.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        while rendered.get(&name) == before.as_ref() {
            note(&mut rendered, &changes.try_next().await?.context("the watch ended")?);
        }
        times.push(start.elapsed());
    }
    times.sort();
    let at = |share: usize| milliseconds(times.get(times.len() * share / 100).or(times.last()));
    println!(
        "| edit of a spec until its Deployment is changed, {} edits | p50 {:.1} ms | p99 {:.1} ms |",
        times.len(),
        at(50),
        at(99)
    );
    Ok(())
}

fn note(rendered: &mut HashMap<String, String>, deployment: &Deployment) {
    let from = deployment.annotations().get(annotations::RENDERED_FROM).cloned().unwrap_or_default();
    rendered.insert(deployment.name_any(), from);
}

fn milliseconds(time: Option<&Duration>) -> f64 {
    time.map_or(f64::NAN, |time| time.as_secs_f64() * 1_000.0)
}
