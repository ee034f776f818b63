//! Watches Models and what belongs to them, and makes a pass over a Model whenever something of it changed.
//!
//! All reading is by watches ([`stores`](crate::stores)); a pass only writes, and a Model that is as it shall be costs nothing.
//! Nothing is decided before every watch has had its first list. While the API server is away the watches try again with
//! growing pauses, passes fail and are put off, and the process goes on.

use std::{convert::Infallible, future::Future, sync::Arc, time::Duration};

use futures::{
    FutureExt, Stream, StreamExt,
    future::{BoxFuture, Shared},
    stream,
};
use kube::{
    Client, ResourceExt,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt,
        controller::{self, Controller},
        reflector::{self, ObjectRef},
        watcher,
    },
};
use modelwright_api::{Model, contract::KIND};
use tokio::sync::Semaphore;
use tracing::{debug, info, warn};

mod announcer;
mod edits;
mod finalizer;
mod memory;
mod observer;
mod pass;
mod retry;
mod starts;
mod status;
mod trainings;

pub use observer::{Observer, Outcome};

use crate::{
    clock::Clock,
    error::Error,
    settings::Settings,
    stores::{Lists, ModelKey, Stores, Triggers, log_watch_error, scoped},
};
use announcer::Announcer;
use pass::{Context, reconcile};

/// A Model that cannot be read harms only itself.
type Guarded = DeserializeGuard<Model>;

/// Ends when the controller shall.
type Shutdown = Shared<BoxFuture<'static, ()>>;

/// How the controller runs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Options {
    /// The namespaces whose Models are looked after; none is all.
    pub watch_namespaces: Vec<String>,
    /// How many passes may run at once.
    pub concurrency: u16,
    /// How long one pass may take.
    pub pass_timeout: Duration,
    /// How long running passes may go on after the controller was told to stop.
    pub shutdown_grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            watch_namespaces: Vec::new(),
            concurrency: 8,
            pass_timeout: Duration::from_mins(1),
            shutdown_grace: Duration::from_secs(20),
        }
    }
}

impl Options {
    /// What to watch: each namespace, or `None` for all.
    pub(crate) fn scopes(&self) -> Vec<Option<String>> {
        if self.watch_namespaces.is_empty() {
            return vec![None];
        }
        let mut namespaces = self.watch_namespaces.clone();
        namespaces.sort();
        namespaces.dedup();
        namespaces.into_iter().map(Some).collect()
    }
}

/// Runs the controller until `shutdown` ends; then running passes may end, and no new one begins. `clock` is that of the client.
pub async fn run(
    client: Client,
    clock: Clock,
    settings: Arc<Settings>,
    options: Options,
    observer: Arc<dyn Observer>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    let shutdown: Shutdown = shutdown.boxed().shared();
    let scopes = options.scopes();
    let concurrency = options.concurrency.max(1);
    let triggers = Triggers::new(scopes.iter().cloned(), concurrency.into());
    let warm = async {
        let lists = probe(&client, scopes.first().and_then(Option::as_deref)).await;
        info!(?lists, namespaces = ?options.watch_namespaces, "watching");
        let stores = Stores::start(&client, &scopes, lists, &triggers, &observer);
        stores.ready().await;
        (lists, stores)
    };
    let (lists, stores) = tokio::select! {
        warm = warm => warm,
        () = shutdown.clone() => return Ok(()),
    };
    info!("everything has been listed once; passes begin");
    // Every Model gets a pass now anyway.
    triggers.clear();
    let context = Arc::new(Context {
        announcer: Announcer::start(client.clone()),
        client,
        clock,
        settings,
        observer,
        stores,
        triggers,
        edits: edits::Edits::default(),
        attempts: retry::Attempts::default(),
        written: memory::Written::default(),
        starts: starts::Starts::default(),
        trainings: trainings::Trainings::default(),
        unreadable: std::sync::Mutex::default(),
        slots: Semaphore::new(concurrency.into()),
        pass_timeout: options.pass_timeout,
    });
    let controllers = scopes
        .into_iter()
        .map(|scope| controller(scope, lists, concurrency, &context, shutdown.clone()).boxed());
    let passes = stream::select_all(controllers).for_each(|result| {
        after(result, &context);
        std::future::ready(())
    });
    let too_late = async {
        shutdown.clone().await;
        tokio::time::sleep(options.shutdown_grace).await;
    };
    tokio::select! {
        () = passes => {}
        () = too_late => warn!(grace = ?options.shutdown_grace, "passes still ran when time was up"),
    }
    if shutdown.peek().is_some() { Ok(()) } else { Err(Error::WatchesEnded) }
}

/// Finds out how lists are to be had, however long the API server is away.
async fn probe(client: &Client, scope: Option<&str>) -> Lists {
    const LONGEST: Duration = Duration::from_secs(30);
    let mut pause = Duration::from_millis(500);
    loop {
        match Lists::probe(client, scope).await {
            Ok(lists) => return lists,
            Err(error) => warn!(%error, "the API server cannot be reached; trying again"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
    }
}

type PassResult =
    Result<(ObjectRef<Guarded>, controller::Action), controller::Error<Infallible, watcher::Error>>;

/// The passes over the Models of one namespace, or of all.
fn controller(
    scope: Option<String>,
    lists: Lists,
    concurrency: u16,
    context: &Arc<Context>,
    shutdown: Shutdown,
) -> impl Stream<Item = PassResult> + Send + use<> {
    let (reader, writer) = reflector::store::<Guarded>();
    let api = scoped::<Guarded>(&context.client, scope.as_deref());
    let events = watcher(api, lists.watch_config()).default_backoff().modify(prune).reflect(writer);
    let models = models(events, Arc::clone(context));
    // Changes are collected by the triggers, which unlike the controller's own debounce never put a pass off for ever.
    let config = controller::Config::default().concurrency(concurrency);
    let triggers = context.triggers.stream(scope).map(ObjectRef::<Guarded>::from);
    Controller::for_stream(models, reader)
        .with_config(config)
        .reconcile_on(triggers)
        .graceful_shutdown_on(shutdown)
        .run(reconcile, |_, error: &Infallible, _| match *error {}, Arc::clone(context))
}

fn prune(model: &mut Guarded) {
    model.managed_fields_mut().clear();
    model.annotations_mut().remove("kubectl.kubernetes.io/last-applied-configuration");
}

/// The Models that a list names. The store knows them only once the list has ended: whoever looks before finds what was there
/// before the list.
#[derive(Debug, Default)]
struct List(Vec<ModelKey>);

impl List {
    /// The Models that can be looked at from now on.
    fn told(&mut self, event: &watcher::Event<Guarded>) -> Vec<ModelKey> {
        match event {
            watcher::Event::Init => self.0.clear(),
            watcher::Event::InitApply(model) => self.0.push(ModelKey::of(model)),
            watcher::Event::InitDone => return std::mem::take(&mut self.0),
            watcher::Event::Apply(_) | watcher::Event::Delete(_) => {}
        }
        Vec::new()
    }
}

/// The Models that were edited, as a watch tells; of all other changes only the triggers hear, which hand them out in their turn.
/// Its failures stay here: they would hold up all other triggers.
fn models(
    events: impl Stream<Item = watcher::Result<watcher::Event<Guarded>>> + Send + 'static,
    context: Arc<Context>,
) -> impl Stream<Item = watcher::Result<Guarded>> + Send + 'static {
    let mut failing = false;
    let mut list = List::default();
    events.filter_map(move |event| {
        let model = match event {
            Ok(watcher::Event::Apply(model)) => {
                failing = false;
                let key = ModelKey::of(&model);
                if context.edits.changed(&key, &model) {
                    context.triggers.edited(&key);
                    context.triggers.due(key);
                    Some(Ok(model))
                } else {
                    // Its status, most often ours.
                    context.triggers.changed(key);
                    None
                }
            }
            Ok(watcher::Event::Delete(model)) => {
                context.forget(&ModelKey::of(&model));
                None
            }
            Ok(event) => {
                failing = false;
                if let watcher::Event::InitApply(model) = &event {
                    let key = ModelKey::of(model);
                    if context.edits.listed(&key, model) {
                        context.triggers.edited(&key);
                    }
                }
                list.told(&event).into_iter().for_each(|key| context.triggers.changed(key));
                None
            }
            Err(error) => {
                context.observer.watch_failed(KIND);
                log_watch_error(KIND, &error, std::mem::replace(&mut failing, true));
                None
            }
        };
        std::future::ready(model)
    })
}

/// What there is to do after a pass: nothing, unless its Model was gone.
fn after(result: PassResult, context: &Context) {
    match result {
        Ok(_) => {}
        Err(controller::Error::ObjectNotFound(model)) => {
            context.forget(&ModelKey::new(model.namespace.as_deref().unwrap_or_default(), &model.name));
        }
        Err(error) => debug!(%error, "the controller's queue failed"),
    }
}

#[cfg(test)]
mod tests {
    use modelwright_api::model::ModelSpec;

    use super::*;

    #[test]
    fn what_a_list_names_is_looked_at_when_it_has_ended() {
        let model = |name: &str| {
            let mut model = Model::new(name, ModelSpec::default());
            model.metadata.namespace = Some("a".to_owned());
            watcher::Event::InitApply(DeserializeGuard(Ok(model)))
        };
        let mut list = List::default();
        // A list that broke off is begun anew.
        for name in ["x", "", "y", "z"] {
            let event = if name.is_empty() { watcher::Event::Init } else { model(name) };
            assert_eq!(list.told(&event), []);
        }
        let named = ["y", "z"].map(|name| ModelKey::new("a", name));
        assert_eq!(list.told(&watcher::Event::InitDone), named);
        assert_eq!(list.told(&watcher::Event::InitDone), []);
    }

    #[test]
    fn namespaces_are_watched_once_each_and_none_is_all() {
        let scopes = |names: &[&str]| {
            let watch_namespaces = names.iter().map(|name| (*name).to_owned()).collect();
            Options { watch_namespaces, ..Options::default() }.scopes()
        };
        assert_eq!(scopes(&[]), [None]);
        assert_eq!(scopes(&["b", "a", "b"]), [Some("a".to_owned()), Some("b".to_owned())]);
    }
}
