//! How long it takes from an edit of a spec until the child is changed.
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams},
    runtime::{WatchStreamExt as _, watcher},
};
use modelwright_api::{Model, contract::annotations};
use serde_json::json;
use tokio::{sync::watch, task::JoinSet};

use crate::{Size, places::Places};

/// What each Deployment was last rendered from.
type Rendered = HashMap<String, String>;

/// How long one edit took.
pub(crate) struct Took {
    /// Until the API server answered.
    pub(crate) answered: Duration,
    /// Until the Deployment was changed.
    pub(crate) changed: Duration,
}

/// Edits Models and sees when their Deployments were rendered anew.
pub(crate) struct Editor<'a> {
    places: &'a Places,
    rendered: watch::Receiver<Rendered>,
    edits: usize,
    /// Watches; a watch that nobody reads for a while would show the past.
    _watch: JoinSet<()>,
}

impl<'a> Editor<'a> {
    /// For Models that have so many Deployments in all.
    pub(crate) async fn start(places: &'a Places, deployments: usize) -> anyhow::Result<Self> {
        let (sender, mut rendered) = watch::channel(Rendered::new());
        let mut watch = JoinSet::new();
        watch.spawn(follow(places.client.clone(), sender));
        rendered.wait_for(|rendered| rendered.len() >= deployments).await?;
        Ok(Self { places, rendered, edits: 0, _watch: watch })
    }

    /// Edits the Model of this number.
    pub(crate) async fn time(&mut self, index: usize) -> anyhow::Result<Took> {
        let name = format!("m{index}");
        let before = self.rendered.borrow().get(&name).cloned();
        self.edits += 1;
        let patch = json!({"spec": {"serving": {"startupTimeout": format!("{}s", 60 + self.edits)}}});
        let models: Api<Model> = self.places.of(index).api();
        let start = Instant::now();
        models.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        let answered = start.elapsed();
        let changed = self.rendered.wait_for(|rendered| rendered.get(&name) != before.as_ref()).await;
        changed.context("the watch ended")?;
        Ok(Took { answered, changed: start.elapsed() })
    }
}

async fn follow(client: Client, rendered: watch::Sender<Rendered>) {
    let api: Api<Deployment> = Api::all(client);
    let changes = watcher(api, watcher::Config::default()).default_backoff().applied_objects();
    let mut changes = std::pin::pin!(changes);
    while let Some(change) = changes.next().await {
        // What failed is tried again.
        let Ok(deployment) = change else { continue };
        let from = deployment.annotations().get(annotations::RENDERED_FROM).cloned().unwrap_or_default();
        rendered.send_modify(|rendered| {
            rendered.insert(deployment.name_any(), from);
        });
    }
}

/// Edits Models one after the other.
pub(crate) async fn measure(places: &Places, size: &Size) -> anyhow::Result<()> {
    let mut editor = Editor::start(places, size.models).await?;
    let mut times = Vec::new();
    for edit in 0..size.edits {
        times.push(editor.time(edit * 7 % size.models).await?.changed);
    }
    println!("| edit of a spec until its Deployment is changed, {} edits | {} |", times.len(), shares(times));
    Ok(())
}

/// The middle and the slow end of some times.
pub(crate) fn shares(times: impl IntoIterator<Item = Duration>) -> String {
    let mut times: Vec<_> = times.into_iter().collect();
    times.sort();
    let at = |share: usize| {
        let time = times.get(times.len() * share / 100).or(times.last());
        time.map_or(f64::NAN, |time| time.as_secs_f64() * 1_000.0)
    };
    format!("p50 {:.0} ms, p99 {:.0} ms", at(50), at(99))
}
