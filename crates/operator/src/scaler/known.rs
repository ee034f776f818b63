//! Which Models there are, and the pods that serve them: by watches of the scaler's own, which a process that does not lead has,
//! too.

use std::{
    collections::{HashMap, HashSet},
    pin::pin,
    sync::{Arc, PoisonError, RwLock},
};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use modelwright_api::{
    Model,
    contract::{APPLICATION, KIND, labels},
    serving::AutoscalingMode,
};
use tokio::{sync::watch, task::JoinSet};

use crate::stores::{Feed, Index, Kept, ModelKey, log_watch_error, scoped};

/// What a scaler must know of a Model.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    /// Its number of pods is an autoscaler's to write.
    Scalable,
    /// The same, but it shall not serve now.
    Suspended,
    /// Its number of pods is written by the operator, or by the operator's own autoscaler.
    NotExternal,
    /// It cannot be read.
    Unreadable,
}

impl Standing {
    fn of(model: &DeserializeGuard<Model>) -> Self {
        let Ok(model) = &model.0 else { return Self::Unreadable };
        let external =
            model.autoscaling().is_some_and(|autoscaling| autoscaling.mode == AutoscalingMode::External);
        match (external, model.spec.suspend) {
            (false, _) => Self::NotExternal,
            (true, Some(true)) => Self::Suspended,
            (true, _) => Self::Scalable,
        }
    }
}

/// What is there. The watches end when this is dropped.
#[derive(Debug)]
pub(super) struct Known {
    models: Arc<RwLock<HashMap<ModelKey, Standing>>>,
    pods: Arc<Index<Pod>>,
    /// How many watches have not had their first list.
    cold: watch::Receiver<usize>,
    _watches: JoinSet<()>,
}

impl Known {
    /// Begins to watch these namespaces; `None` is all of them.
    pub(super) fn start(client: &Client, scopes: &[Option<String>]) -> Self {
        let (sender, cold) = watch::channel(2 * scopes.len());
        let (models, pods, mut watches) = (Arc::default(), Arc::default(), JoinSet::new());
        for scope in scopes {
            let cold = sender.clone();
            let census = Census { models: Arc::clone(&models), scope: scope.clone(), seen: None };
            watches.spawn(watch_models(scoped(client, scope.as_deref()), census, cold.clone()));
            let feed = Feed::new(scope.clone());
            watches.spawn(watch_pods(scoped(client, scope.as_deref()), Arc::clone(&pods), feed, cold));
        }
        Self { models, pods, cold, _watches: watches }
    }

    /// Whether everything has been listed once. What is missing before may only not be known yet.
    pub(super) fn is_complete(&self) -> bool {
        *self.cold.borrow() == 0
    }

    /// How a Model stands, if there is one.
    pub(super) fn standing(&self, model: &ModelKey) -> Option<Standing> {
        self.models.read().unwrap_or_else(PoisonError::into_inner).get(model).copied()
    }

    /// The pods that serve a Model, or will.
    pub(super) fn pods(&self, model: &ModelKey) -> Vec<Arc<Pod>> {
        self.pods.of(model)
    }
}

/// The Models that one watch tells of.
struct Census {
    models: Arc<RwLock<HashMap<ModelKey, Standing>>>,
    scope: Option<String>,
    /// What the list that is coming has named.
    seen: Option<HashSet<ModelKey>>,
}

impl Census {
    /// Takes one event in, and says whether it ended a list.
    fn take(&mut self, event: Event<DeserializeGuard<Model>>) -> bool {
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Init => self.seen = Some(HashSet::new()),
            Event::InitApply(model) => {
                self.seen.get_or_insert_default().insert(ModelKey::of(&model));
                models.insert(ModelKey::of(&model), Standing::of(&model));
            }
            Event::InitDone => {
                let seen = self.seen.take().unwrap_or_default();
                let in_scope =
                    |key: &ModelKey| self.scope.as_ref().is_none_or(|scope| *scope == key.namespace);
                models.retain(|key, _| seen.contains(key) || !in_scope(key));
                return true;
            }
            Event::Apply(model) => {
                models.insert(ModelKey::of(&model), Standing::of(&model));
            }
            Event::Delete(model) => {
                models.remove(&ModelKey::of(&model));
            }
        }
        false
    }
}

async fn watch_models(api: Api<DeserializeGuard<Model>>, mut census: Census, cold: watch::Sender<usize>) {
    let (mut events, mut listed, mut failing) =
        (pin!(watcher(api, watcher::Config::default()).default_backoff()), false, false);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                failing = false;
                if census.take(event) && !std::mem::replace(&mut listed, true) {
                    cold.send_modify(|cold| *cold -= 1);
                }
            }
            Err(error) => log_watch_error(KIND, &error, std::mem::replace(&mut failing, true)),
        }
    }
}

async fn watch_pods(api: Api<Pod>, pods: Arc<Index<Pod>>, mut feed: Feed, cold: watch::Sender<usize>) {
    let selector =
        format!("{}={APPLICATION},{}={}", labels::APP_MANAGED_BY, labels::ROLE, labels::ROLE_SERVER);
    let mut events = pin!(watcher(api, watcher::Config::default().labels(&selector)).default_backoff());
    let mut failing = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                failing = false;
                let listed = feed.listed();
                feed.take(&pods, event.modify(prune));
                if !listed && feed.listed() {
                    cold.send_modify(|cold| *cold -= 1);
                }
            }
            Err(error) => log_watch_error(Pod::KIND, &error, std::mem::replace(&mut failing, true)),
        }
    }
}

/// Only a pod's address and its readiness are read here.
fn prune(pod: &mut Pod) {
    pod.prune();
    pod.metadata.annotations = None;
    if let Some(spec) = &mut pod.spec {
        spec.containers = Vec::new();
        spec.init_containers = None;
    }
    if let Some(status) = &mut pod.status {
        status.container_statuses = None;
        status.init_container_statuses = None;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn model(namespace: &str, name: &str, spec: &Value) -> DeserializeGuard<Model> {
        let model = json!({
            "apiVersion": "modelwright.dev/v1alpha1", "kind": "Model",
            "metadata": {"namespace": namespace, "name": name}, "spec": spec,
        });
        serde_json::from_value(model).unwrap()
    }

    fn external() -> Value {
        json!({"source": {"uri": "s3://m/x"}, "serving": {"autoscaling": {"mode": "External"}}})
    }

    #[test]
    fn standing_follows_the_spec() {
        let standing = |spec: &Value| Standing::of(&model("a", "m", spec));
        assert_eq!(standing(&external()), Standing::Scalable);
        let mut suspended = external();
        suspended["suspend"] = true.into();
        assert_eq!(standing(&suspended), Standing::Suspended);
        assert_eq!(standing(&json!({"source": {"uri": "s3://m/x"}, "suspend": true})), Standing::NotExternal);
        let managed = json!({"source": {"uri": "s3://m/x"}, "serving": {"autoscaling": {"maxReplicas": 3}}});
        assert_eq!(standing(&managed), Standing::NotExternal);
        assert_eq!(standing(&json!({"source": 7})), Standing::Unreadable);
    }

    #[test]
    fn list_of_one_namespace_removes_what_it_does_not_name_and_leaves_the_others() {
        let models = Arc::default();
        let census = |scope: &str, names: &[&str]| {
            let mut census =
                Census { models: Arc::clone(&models), scope: Some(scope.to_owned()), seen: None };
            assert!(!census.take(Event::Init));
            for name in names {
                assert!(!census.take(Event::InitApply(model(scope, name, &external()))));
            }
            assert!(census.take(Event::InitDone));
            census
        };
        census("a", &["x", "y"]);
        census("b", &["x"]);
        let mut again = census("a", &["y"]);
        again.take(Event::Delete(model("a", "z", &external())));
        again.take(Event::Apply(model("a", "w", &external())));
        let mut known: Vec<_> = models.read().unwrap().keys().map(ToString::to_string).collect();
        known.sort();
        assert_eq!(known, ["a/w", "a/y", "b/x"]);
    }
}
