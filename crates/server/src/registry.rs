//! Which models there are and in what state.
//!
//! Readers take a snapshot behind an `Arc` and hold no lock while they run a model, so replacing a model never waits for
//! a request and no request waits for a replacement.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use modelwright_protocol::v1::View;
use modelwright_runtime::LoadedModel;

/// A model that answers.
#[derive(Debug, Clone)]
pub struct ReadyModel {
    version: String,
    model: Arc<LoadedModel>,
    fetched: Option<Duration>,
    max_body_bytes: Option<usize>,
    view: Option<Arc<View>>,
    since: Instant,
}

impl ReadyModel {
    /// A loaded model under a version: the display id of its revision, or `1` where there is none.
    pub fn new(version: impl Into<String>, model: Arc<LoadedModel>) -> Self {
        let version = version.into();
        Self { version, model, fetched: None, max_body_bytes: None, view: None, since: Instant::now() }
    }

    /// Adds how long getting the files took, for the cold-start report.
    #[must_use]
    pub const fn with_fetch_time(mut self, took: Duration) -> Self {
        self.fetched = Some(took);
        self
    }

    /// Sets the bytes of one request body, before and after inflating, in the place of
    /// [`Bounds::max_body_bytes`](crate::Bounds::max_body_bytes).
    #[must_use]
    pub const fn with_max_body_bytes(mut self, bytes: usize) -> Self {
        self.max_body_bytes = Some(bytes);
        self
    }

    /// Lets rows of V1 and `/predict` name the columns of the training data and answers its classes: for a model that was
    /// trained here, whose revision has a `schema.json`. The view must have been made with the signature of this model.
    #[must_use]
    pub fn with_view(mut self, view: View) -> Self {
        self.view = Some(Arc::new(view));
        self
    }

    /// The columns and classes of the training data, where they are known.
    pub const fn view(&self) -> Option<&Arc<View>> {
        self.view.as_ref()
    }

    /// The model's own bound on a request body, where it has one.
    pub const fn max_body_bytes(&self) -> Option<usize> {
        self.max_body_bytes
    }

    /// The version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The model.
    pub const fn model(&self) -> &Arc<LoadedModel> {
        &self.model
    }

    /// How long getting the files took, where that is known.
    pub const fn fetched(&self) -> Option<Duration> {
        self.fetched
    }

    /// When it became ready.
    pub const fn since(&self) -> Instant {
        self.since
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
}

impl ModelState {
    /// Why the model does not answer, in a few words; `None` if it does.
    pub fn why_not_ready(&self) -> Option<String> {
        match self {
            Self::Ready(_) => None,
            Self::Loading => Some("is still loading".to_owned()),
            Self::Failed { reason, message } => Some(format!("failed with {reason}: {message}")),
        }
    }
}

/// All models at a moment, by name.
pub type Models = BTreeMap<String, ModelState>;

/// The models of a server, set by whoever loads them.
#[derive(Debug, Default)]
pub struct Registry {
    models: RwLock<Arc<Models>>,
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
        self.change(|models| {
            if !matches!(models.get(&name), Some(ModelState::Ready(_))) {
                models.insert(name, ModelState::Loading);
            }
        });
    }

    /// Puts a model into service, in the place of any other of that name. Requests that the other one has are still
    /// answered by it; its memory is given back after the last.
    pub fn ready(&self, name: impl Into<String>, model: ReadyModel) {
        self.change(|models| {
            models.insert(name.into(), ModelState::Ready(model));
        });
    }

    /// Says that a model could not be loaded. A model that answers already goes on answering.
    pub fn failed(&self, name: impl Into<String>, reason: impl Into<String>, message: impl Into<String>) {
        let name = name.into();
        self.change(|models| {
            if !matches!(models.get(&name), Some(ModelState::Ready(_))) {
                let (reason, message) = (reason.into(), message.into());
                models.insert(name, ModelState::Failed { reason, message });
            }
        });
    }

    /// Takes a model out of service.
    pub fn remove(&self, name: &str) {
        self.change(|models| {
            models.remove(name);
        });
    }

    /// The state of one model.
    pub fn get(&self, name: &str) -> Option<ModelState> {
        self.snapshot().get(name).cloned()
    }

    /// All models at this moment.
    pub fn snapshot(&self) -> Arc<Models> {
        Arc::clone(&self.models.read().unwrap_or_else(PoisonError::into_inner))
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

    fn change(&self, change: impl FnOnce(&mut Models)) {
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = Models::clone(&models);
        change(&mut next);
        *models = Arc::new(next);
    }
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
    fn a_failure_can_be_followed_by_another_try() {
        let registry = Registry::new();
        registry.failed("a", "ModelRejected", "no graph");
        registry.loading("a");
        assert!(matches!(registry.get("a"), Some(ModelState::Loading)));
    }
}
