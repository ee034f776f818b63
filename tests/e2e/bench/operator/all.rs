//! Waits for thousands of objects.
use std::{collections::HashSet, fmt::Debug};

use anyhow::Context as _;
use futures::TryStreamExt as _;
use kube::{
    Api, Resource, ResourceExt as _,
    runtime::{WatchStreamExt as _, watcher},
};
use serde::de::DeserializeOwned;

use crate::TIMEOUT;

/// Waits until so many objects are as `wanted` says. It watches: to list thousands again and again would be most of the load.
pub(crate) async fn are<K>(api: Api<K>, expected: usize, wanted: impl Fn(&K) -> bool) -> anyhow::Result<()>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut done = HashSet::new();
    let mut changes = std::pin::pin!(watcher(api, watcher::Config::default()).applied_objects());
    let all = async {
        while done.len() < expected {
            let object = changes.try_next().await?.context("the watch ended")?;
            if wanted(&object) {
                done.insert(object.name_any());
            } else {
                done.remove(&object.name_any());
            }
        }
        anyhow::Ok(())
    };
    let ended = tokio::time::timeout(TIMEOUT, all).await;
    ended.with_context(|| format!("after {TIMEOUT:?} {} of {expected} are done", done.len()))?
}
