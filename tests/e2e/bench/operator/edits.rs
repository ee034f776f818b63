//! How long it takes from an edit of a spec until the child is changed.
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
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

/// Edits Models and sees when their Deployments were rendered anew.
pub(crate) struct Editor {
    models: Api<Model>,
    changes: BoxStream<'static, watcher::Result<Deployment>>,
    /// What each Deployment was last rendered from.
    rendered: HashMap<String, String>,
    edits: usize,
}

impl Editor {
    /// For Models of a namespace that has so many Deployments.
    pub(crate) async fn start(namespace: &TestNamespace, deployments: usize) -> anyhow::Result<Self> {
        let api: Api<Deployment> = namespace.api();
        let changes = watcher(api, watcher::Config::default()).applied_objects().boxed();
        let mut editor = Self { models: namespace.api(), changes, rendered: HashMap::new(), edits: 0 };
        while editor.rendered.len() < deployments {
            editor.note().await?;
        }
        Ok(editor)
    }

    /// The time from an edit until the Deployment is changed.
    pub(crate) async fn time(&mut self, name: &str) -> anyhow::Result<Duration> {
        let before = self.rendered.get(name).cloned();
        self.edits += 1;
        let patch = json!({"spec": {"serving": {"startupTimeout": format!("{}s", 60 + self.edits)}}});
        let start = Instant::now();
        self.models.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        while self.rendered.get(name) == before.as_ref() {
            self.note().await?;
        }
        Ok(start.elapsed())
    }

    async fn note(&mut self) -> anyhow::Result<()> {
        let deployment = self.changes.try_next().await?.context("the watch ended")?;
        let from = deployment.annotations().get(annotations::RENDERED_FROM).cloned().unwrap_or_default();
        self.rendered.insert(deployment.name_any(), from);
        Ok(())
    }
}

/// Edits Models one after the other.
pub(crate) async fn measure(namespace: &TestNamespace, size: &Size) -> anyhow::Result<()> {
    let mut editor = Editor::start(namespace, size.models).await?;
    let mut times = Vec::new();
    for edit in 0..size.edits {
        times.push(editor.time(&format!("m{}", edit * 7 % size.models)).await?);
    }
    println!(
        "| edit of a spec until its Deployment is changed, {} edits | {} |",
        times.len(),
        shares(&mut times)
    );
    Ok(())
}

/// The middle and the slow end of some times.
pub(crate) fn shares(times: &mut [Duration]) -> String {
    times.sort();
    let at = |share: usize| {
        let time = times.get(times.len() * share / 100).or(times.last());
        time.map_or(f64::NAN, |time| time.as_secs_f64() * 1_000.0)
    };
    format!("p50 {:.1} ms | p99 {:.1} ms", at(50), at(99))
}
