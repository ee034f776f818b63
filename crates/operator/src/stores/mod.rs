//! Keeps what is there of every Model in memory, by watches.
//!
//! Every kind but one is selected by our label on the server, pruned to what is read before it is kept, and found by the Model's
//! name. Autoscalers are watched whosever they are, and those of others are kept by what they scale.
//! Only changes of what is kept trigger a pass. Secrets, `ConfigMap`s, `ReplicaSet`s and Events are never watched.

use std::{collections::BTreeMap, fmt, pin::pin, sync::Arc, time::Duration};

use futures::StreamExt;
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::Job,
    core::v1::{Pod, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{WatchEvent, WatchParams},
    runtime::{WatchStreamExt, reflector::ObjectRef, watcher},
};
use modelwright_api::contract::{APPLICATION, labels, names};
use tokio::{sync::watch, task::JoinSet};
use tracing::{debug, warn};

use crate::{
    controller::Observer,
    observe::{
        Observed,
        autoscalers::{Target, is_ours},
    },
};

mod index;
mod prune;
mod triggers;

pub use index::{Feed, Index};
pub use prune::Kept;
pub use triggers::Triggers;

/// Which Model, whether or not there is one of this name.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ModelKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ModelKey {
    /// The Model of this name in this namespace.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// The key of an object that stands for a Model.
    pub fn of(object: &impl Resource) -> Self {
        Self { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
    }
}

impl fmt::Display for ModelKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

impl<K: Resource<DynamicType = ()>> From<ModelKey> for ObjectRef<K> {
    fn from(key: ModelKey) -> Self {
        ObjectRef::new(&key.name).within(&key.namespace)
    }
}

/// An object's resource version. Those of one kind can be compared as numbers (KEP 5504); what is no number cannot.
pub(crate) fn version(object: &impl Resource) -> Option<u64> {
    object.meta().resource_version.as_deref()?.parse().ok()
}

/// How a watch gets its first objects.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lists {
    /// As a stream of events: the server keeps no list in memory.
    Streamed,
    /// In pages.
    Paged,
}

impl Lists {
    /// How a watch of any of our kinds is configured.
    pub fn watch_config(self) -> watcher::Config {
        match self {
            Self::Streamed => watcher::Config::default().streaming_lists(),
            Self::Paged => watcher::Config::default(),
        }
    }

    /// Asks the server whether it streams lists. One that does not know of it at all answers as if it did, so only the mark at
    /// the list's end counts.
    pub async fn probe(client: &Client, scope: Option<&str>) -> Result<Self, kube::Error> {
        const PATIENCE: Duration = Duration::from_secs(5);
        let parameters = WatchParams::default()
            .labels(&format!("{}={APPLICATION}", labels::APP_MANAGED_BY))
            .fields("metadata.name=modelwright-probe")
            .timeout(5)
            .initial_events();
        let api: Api<Deployment> = scoped(client, scope);
        let mut events = match tokio::time::timeout(PATIENCE, api.watch(&parameters, "0")).await {
            Ok(Ok(events)) => events.boxed(),
            Ok(Err(kube::Error::Api(_))) | Err(_) => return Ok(Self::Paged),
            Ok(Err(error)) => return Err(error),
        };
        match tokio::time::timeout(PATIENCE, events.next()).await {
            Ok(Some(Ok(WatchEvent::Bookmark(mark))))
                if mark.metadata.annotations.contains_key("k8s.io/initial-events-end") =>
            {
                Ok(Self::Streamed)
            }
            _ => Ok(Self::Paged),
        }
    }
}

/// The API of one kind in one namespace, or in all.
pub(crate) fn scoped<K>(client: &Client, scope: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    match scope {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// What is there of every Model. The watches end when this is dropped.
#[derive(Debug)]
pub struct Stores {
    service_accounts: Arc<Index<ServiceAccount>>,
    services: Arc<Index<Service>>,
    disruption_budgets: Arc<Index<PodDisruptionBudget>>,
    network_policies: Arc<Index<NetworkPolicy>>,
    deployments: Arc<Index<Deployment>>,
    autoscalers: Arc<Index<HorizontalPodAutoscaler>>,
    jobs: Arc<Index<Job>>,
    pods: Arc<Index<Pod>>,
    /// How many watches have not had their first list.
    cold: watch::Receiver<usize>,
    _watches: JoinSet<()>,
}

/// What every watch needs.
struct Watches<'a> {
    client: &'a Client,
    scopes: &'a [Option<String>],
    lists: Lists,
    triggers: &'a Triggers,
    observer: &'a Arc<dyn Observer>,
    cold: watch::Sender<usize>,
    tasks: JoinSet<()>,
}

impl Stores {
    /// Begins to watch these namespaces; `None` is all of them.
    pub fn start(
        client: &Client,
        scopes: &[Option<String>],
        lists: Lists,
        triggers: &Triggers,
        observer: &Arc<dyn Observer>,
    ) -> Self {
        let (sender, cold) = watch::channel(0);
        let tasks = JoinSet::new();
        let mut watches = Watches { client, scopes, lists, triggers, observer, cold: sender, tasks };
        Self {
            service_accounts: watches.start(),
            services: watches.start(),
            disruption_budgets: watches.start(),
            network_policies: watches.start(),
            deployments: watches.start(),
            autoscalers: watches.start(),
            jobs: watches.start(),
            pods: watches.start(),
            cold,
            _watches: watches.tasks,
        }
    }

    /// Waits until every kind has been listed once. Nothing can be decided before: what is missing may only not be known yet.
    pub async fn ready(&self) {
        let mut cold = self.cold.clone();
        // The sender lives in the watches, which end only with `self`.
        if cold.wait_for(|cold| *cold == 0).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the watches show what was written, by kind; for a moment only, because a watch may be broken.
    ///
    /// Without it a pass that follows quickly would write the same again.
    pub async fn show(&self, written: &BTreeMap<&'static str, u64>) {
        const PATIENCE: Duration = Duration::from_millis(500);
        let all = async {
            for (kind, version) in written {
                match *kind {
                    ServiceAccount::KIND => self.service_accounts.seen(*version).await,
                    Service::KIND => self.services.seen(*version).await,
                    PodDisruptionBudget::KIND => self.disruption_budgets.seen(*version).await,
                    NetworkPolicy::KIND => self.network_policies.seen(*version).await,
                    Deployment::KIND => self.deployments.seen(*version).await,
                    HorizontalPodAutoscaler::KIND => self.autoscalers.seen(*version).await,
                    Job::KIND => self.jobs.seen(*version).await,
                    _ => {}
                }
            }
        };
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            debug!(?written, "the watches do not show yet what was written");
        }
    }

    /// What is there of one Model, in the time that it takes to look at the Model's own objects.
    pub fn observed(&self, namespace: &str, model: &str) -> Observed {
        let key = ModelKey::new(namespace, model);
        let (child, headless) = (names::child(model), names::headless_service(model));
        let (mut own, mut others): (Vec<_>, Vec<_>) =
            self.autoscalers.of(&key).into_iter().partition(|known| is_ours(known, &child));
        others.retain(|other| Target::of(other).is_some_and(|target| target.name() == child));
        others.sort_by_key(|other| other.metadata.name.clone());
        Observed {
            service_account: self.service_accounts.named(&key, &child),
            service: self.services.named(&key, &child),
            headless_service: self.services.named(&key, &headless),
            disruption_budget: self.disruption_budgets.named(&key, &child),
            network_policy: self.network_policies.named(&key, &child),
            train_service: self.services.named(&key, &names::train_service(model)),
            deployment: self.deployments.named(&key, &child),
            autoscaler: own.pop(),
            other_autoscalers: others,
            jobs: self.jobs.of(&key),
            pods: self.pods.of(&key),
            // No watch tells it: the controller adds what it was told.
            progress: None,
        }
    }
}

impl Watches<'_> {
    fn start<K: Kept>(&mut self) -> Arc<Index<K>> {
        let index = Arc::new(Index::default());
        for scope in self.scopes {
            self.cold.send_modify(|cold| *cold += 1);
            let watch = Watch {
                index: Arc::clone(&index),
                feed: Feed::new(scope.clone()),
                triggers: self.triggers.clone(),
                observer: Arc::clone(self.observer),
                cold: self.cold.clone(),
            };
            self.tasks.spawn(watch.run(scoped(self.client, scope.as_deref()), self.lists));
        }
        index
    }
}

/// One kind in one namespace, or in all.
struct Watch<K> {
    index: Arc<Index<K>>,
    feed: Feed,
    triggers: Triggers,
    observer: Arc<dyn Observer>,
    cold: watch::Sender<usize>,
}

impl<K: Kept> Watch<K> {
    async fn run(mut self, api: Api<K>, lists: Lists) {
        let selector = format!("{}={APPLICATION}", labels::APP_MANAGED_BY);
        let config = lists.watch_config();
        let config = if K::OURS_ALONE { config.labels(&selector) } else { config };
        let events = watcher(api, config).default_backoff();
        let mut events = pin!(events);
        let mut failing = false;
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    failing = false;
                    self.take(event);
                }
                Err(error) => {
                    self.observer.watch_failed(K::KIND);
                    log_watch_error(K::KIND, &error, std::mem::replace(&mut failing, true));
                }
            }
        }
    }

    fn take(&mut self, event: watcher::Event<K>) {
        let cold = !self.feed.listed();
        let mut seen = None;
        let event = event.modify(|object| {
            seen = version(object);
            object.prune();
        });
        let changed = self.feed.take(&self.index, event);
        if let Some(version) = seen {
            self.index.saw(version);
        }
        if cold && self.feed.listed() {
            self.cold.send_modify(|cold| *cold -= 1);
        }
        for model in changed {
            self.triggers.changed(model);
        }
    }
}

/// Says that a watch failed; loudly only once for each outage.
pub(crate) fn log_watch_error(kind: &str, error: &watcher::Error, again: bool) {
    if again {
        debug!(kind, %error, "watch failed again");
    } else {
        warn!(kind, %error, "watch failed; it is tried again until it works");
    }
}
