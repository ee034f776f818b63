//! Which models there are and in what state.
//!
//! Readers take a snapshot behind an `Arc` and hold no lock while they run a model, so replacing a model never waits for
//! a request and no request waits for a replacement.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::{Duration, Instant};

use modelwright_protocol::v1::View;
use modelwright_runtime::LoadedModel;
use tokio::sync::watch;

use crate::counters::ModelCounters;
use crate::explain::Explainer;
use crate::local_models::Seen;
use crate::payload_log::{PayloadLog, PayloadLogError, RevisionLog};

/// A model that answers. Cloning it copies a handle.
#[derive(Debug, Clone)]
pub struct ReadyModel(Arc<Served>);

#[derive(Debug, Clone)]
struct Served {
    version: String,
    model: Arc<LoadedModel>,
    fetched: Option<Duration>,
    max_body_bytes: Option<usize>,
    request_timeout: Option<Duration>,
    view: Option<Arc<View>>,
    explainer: Option<Arc<Explainer>>,
    payload_log: Option<Arc<RevisionLog>>,
    since: Instant,
    counters: Arc<ModelCounters>,
}

impl ReadyModel {
    /// A loaded model under a version: the display id of its revision, or `1` where there is none.
    pub fn new(version: impl Into<String>, model: Arc<LoadedModel>) -> Self {
        Self(Arc::new(Served {
            version: version.into(),
            model,
            fetched: None,
            max_body_bytes: None,
            request_timeout: None,
            view: None,
            explainer: None,
            payload_log: None,
            since: Instant::now(),
            counters: Arc::new(ModelCounters::new()),
        }))
    }

    /// Adds how long getting the files took, for the cold-start report.
    #[must_use]
    pub fn with_fetch_time(self, took: Duration) -> Self {
        self.with(|served| served.fetched = Some(took))
    }

    /// Sets the bytes of one request body, before and after inflating, in the place of
    /// [`Bounds::max_body_bytes`](crate::Bounds::max_body_bytes).
    #[must_use]
    pub fn with_max_body_bytes(self, bytes: usize) -> Self {
        self.with(|served| served.max_body_bytes = Some(bytes))
    }

    /// Sets how long a request may wait and run, in the place of
    /// [`Bounds::request_timeout`](crate::Bounds::request_timeout).
    #[must_use]
    pub fn with_request_timeout(self, timeout: Duration) -> Self {
        self.with(|served| served.request_timeout = Some(timeout))
    }

    /// Lets rows of V1 and `/predict` name the columns of the training data and answers its classes: for a model that was
    /// trained here, whose revision has a `schema.json`. The view must have been made with the signature of this model.
    #[must_use]
    pub fn with_view(self, view: View) -> Self {
        self.with(|served| served.view = Some(Arc::new(view)))
    }

    fn with(mut self, change: impl FnOnce(&mut Served)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// Lets integrated gradients explain predictions, by the `explain.onnx` of the same revision. It is loaded when it is
    /// first asked for. The model needs a view, too.
    #[must_use]
    pub fn with_explain_model(self, path: impl Into<PathBuf>) -> Self {
        self.with(|served| served.explainer = Some(Arc::new(Explainer::new(path.into()))))
    }

    /// Lets a log have payloads. It must come after the [view](Self::with_view), whose columns it may hide. Names to be hidden that
    /// the model does not have are an error.
    pub fn with_payload_log(self, log: Arc<PayloadLog>) -> Result<Self, PayloadLogError> {
        let log = log.of_revision(self.model().signature(), self.view().map(Arc::as_ref))?;
        Ok(self.with(|served| served.payload_log = Some(Arc::new(log))))
    }

    /// The same behind a handle whose holders are counted apart from those of this one.
    pub(crate) fn with_own_handle(&self) -> Self {
        Self(Arc::new(Served::clone(&self.0)))
    }

    /// Who logs payloads, if anybody does.
    pub(crate) fn payload_log(&self) -> Option<&RevisionLog> {
        self.0.payload_log.as_deref()
    }

    /// What computes gradients, where the revision has it.
    pub(crate) fn explainer(&self) -> Option<&Arc<Explainer>> {
        self.0.explainer.as_ref()
    }

    /// The columns and classes of the training data, where they are known.
    pub fn view(&self) -> Option<&Arc<View>> {
        self.0.view.as_ref()
    }

    /// The model's own bound on a request body, where it has one.
    pub fn max_body_bytes(&self) -> Option<usize> {
        self.0.max_body_bytes
    }

    /// The model's own bound on the time of a request, where it has one.
    pub fn request_timeout(&self) -> Option<Duration> {
        self.0.request_timeout
    }

    /// The version.
    pub fn version(&self) -> &str {
        &self.0.version
    }

    /// The model.
    pub fn model(&self) -> &Arc<LoadedModel> {
        &self.0.model
    }

    /// How long getting the files took, where that is known.
    pub fn fetched(&self) -> Option<Duration> {
        self.0.fetched
    }

    /// When it became ready.
    pub fn since(&self) -> Instant {
        self.0.since
    }

    /// What is counted of the model of this name, whatever its version.
    pub(crate) fn counters(&self) -> &ModelCounters {
        &self.0.counters
    }
}

/// What a model is doing.
#[derive(Debug, Clone)]
pub enum ModelState {
    /// It is being fetched, loaded or warmed up.
    Loading,
    /// It answers.
    Ready(ReadyModel),
    /// It will not become ready without a change.
    Failed {
        /// A `CamelCase` word.
        reason: String,
        /// What happened and what to do.
        message: String,
    },
    /// It was taken out of service until somebody loads it again.
    Unloaded,
}

impl ModelState {
    /// Why the model does not answer, in a few words; `None` if it does.
    pub fn why_not_ready(&self) -> Option<String> {
        match self {
            Self::Ready(_) => None,
            Self::Loading => Some("is still loading".to_owned()),
            Self::Unloaded => Some("was unloaded; load it again on the admin port".to_owned()),
            Self::Failed { reason, message } => Some(format!("failed with {reason}: {message}")),
        }
    }
}

/// All models at a moment, by name.
pub type Models = BTreeMap<String, ModelState>;

/// The models of a server, set by whoever loads them.
#[derive(Debug, Default)]
pub struct Registry {
    declared: RwLock<Declared>,
    changes: watch::Sender<()>,
    /// What threads have seen, and must forget with every change.
    seen: Mutex<Vec<Weak<Seen>>>,
}

/// The counters of all models, by name.
pub(crate) type Counters = BTreeMap<String, Arc<ModelCounters>>;

/// Both maps have the same names.
#[derive(Debug, Default)]
struct Declared {
    models: Arc<Models>,
    counters: Arc<Counters>,
}

impl Declared {
    /// Those that the name has had so far, or else those that its model brings.
    fn counters_for(&self, name: &str, state: &ModelState) -> Arc<ModelCounters> {
        let known = self.counters.get(name).cloned();
        known.unwrap_or_else(|| match state {
            ModelState::Ready(ready) => Arc::clone(&ready.0.counters),
            _ => new_counters(),
        })
    }
}

impl Registry {
    /// A registry without models; a server with none is not ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares a model that is on its way. A model that answers already goes on answering: its successor replaces it with
    /// [`Registry::ready`].
    pub fn loading(&self, name: impl Into<String>) {
        let name = name.into();
        self.change(|models, _| {
            if !matches!(models.get(&name), Some(ModelState::Ready(_))) {
                models.insert(name, ModelState::Loading);
            }
        });
    }

    /// Puts a model into service, in the place of any other of that name. Requests that the other one has are still
    /// answered by it; its memory is given back after the last.
    pub fn ready(&self, name: impl Into<String>, model: ReadyModel) {
        let name = name.into();
        self.change(|models, counters| {
            let counters = counters.get(&name).cloned().unwrap_or_else(new_counters);
            models.insert(name, ModelState::Ready(model.with(|served| served.counters = counters)));
        });
    }

    /// Takes a model that answers out of service until it is [`Registry::ready`] again; requests that it has are still
    /// answered. Says whether it answered.
    pub fn unload(&self, name: &str) -> bool {
        self.change(|models, _| match models.get_mut(name) {
            Some(state @ ModelState::Ready(_)) => {
                *state = ModelState::Unloaded;
                true
            }
            _ => false,
        })
    }

    /// Says that a model could not be loaded. A model that answers already goes on answering.
    pub fn failed(&self, name: impl Into<String>, reason: impl Into<String>, message: impl Into<String>) {
        let name = name.into();
        self.change(|models, _| {
            if !matches!(models.get(&name), Some(ModelState::Ready(_))) {
                let (reason, message) = (reason.into(), message.into());
                models.insert(name, ModelState::Failed { reason, message });
            }
        });
    }

    /// Forgets a model.
    pub fn remove(&self, name: &str) {
        self.change(|models, _| {
            models.remove(name);
        });
    }

    /// The state of one model.
    pub fn get(&self, name: &str) -> Option<ModelState> {
        self.read().models.get(name).cloned()
    }

    /// All models at this moment.
    pub fn snapshot(&self) -> Arc<Models> {
        Arc::clone(&self.read().models)
    }

    /// All models at this moment, and the counters of all.
    pub(crate) fn declared(&self) -> (Arc<Models>, Arc<Counters>) {
        let declared = self.read();
        (Arc::clone(&declared.models), Arc::clone(&declared.counters))
    }

    /// Has a thread forget what it has seen with every change from now on, for as long as the thread is there.
    pub(crate) fn tell(&self, seen: &Arc<Seen>) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(seen));
    }

    /// How many threads are told.
    #[cfg(test)]
    pub(crate) fn told(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The counters of all models.
    pub(crate) fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.read().counters)
    }

    /// Why not every model answers: one line for each that does not, or that there is none. Empty if all do.
    pub fn why_not_ready(&self) -> Vec<String> {
        let models = self.snapshot();
        if models.is_empty() {
            return vec!["no model has been declared".to_owned()];
        }
        models
            .iter()
            .filter_map(|(name, state)| state.why_not_ready().map(|why| format!("model \"{name}\" {why}")))
            .collect()
    }

    /// Told of every change.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Models, &Counters) -> T) -> T {
        let mut declared = self.write();
        let mut models = Models::clone(&declared.models);
        let changed = change(&mut models, &declared.counters);
        let counters =
            models.iter().map(|(name, state)| (name.clone(), declared.counters_for(name, state))).collect();
        let next = Declared { models: Arc::new(models), counters: Arc::new(counters) };
        let former = std::mem::replace(&mut *declared, next);
        drop(declared);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|seen| seen.strong_count() > 0);
        let told: Vec<_> = seen.iter().filter_map(Weak::upgrade).collect();
        drop(seen);
        // Neither this nor what was declared before goes under a lock: it may be the last handle of a model, whose end takes
        // its time.
        for seen in &told {
            seen.forget();
        }
        drop(former);
        self.changes.send_replace(());
        changed
    }

    /// Nothing that can panic runs under the lock but clones, so a poisoned one still holds a consistent state.
    fn read(&self) -> RwLockReadGuard<'_, Declared> {
        self.declared.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Declared> {
        self.declared.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn new_counters() -> Arc<ModelCounters> {
    Arc::new(ModelCounters::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_ready_when_every_model_is() {
        let registry = Registry::new();
        assert_eq!(registry.why_not_ready(), ["no model has been declared"]);
        registry.loading("a");
        registry.failed("b", "ModelRejected", "no graph");
        assert_eq!(
            registry.why_not_ready(),
            ["model \"a\" is still loading", "model \"b\" failed with ModelRejected: no graph"]
        );
        registry.remove("a");
        registry.remove("b");
        assert_eq!(registry.snapshot().len(), 0);
    }

    #[test]
    fn counters_stay_with_the_name_while_it_is_declared() {
        let registry = Registry::new();
        registry.loading("a");
        let counters = registry.counters()["a"].clone();
        registry.failed("a", "ModelRejected", "no graph");
        registry.loading("b");
        assert!(Arc::ptr_eq(&counters, &registry.counters()["a"]));
        assert!(!registry.unload("a"), "it did not answer");
        registry.remove("a");
        assert!(registry.counters().get("a").is_none());
    }

    #[test]
    fn a_failure_can_be_followed_by_another_try() {
        let registry = Registry::new();
        registry.failed("a", "ModelRejected", "no graph");
        registry.loading("a");
        assert!(matches!(registry.get("a"), Some(ModelState::Loading)));
    }
}
