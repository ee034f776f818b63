//! What the controller wrote and its watch has not told it yet.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use kube::ResourceExt;
use modelwright_api::Model;

use crate::stores::{ModelKey, version};

/// Models as they were answered when their status was written, until the watch shows them so or newer.
///
/// Without it a pass that follows quickly would see the former status, and write it, or announce it, a second time.
#[derive(Debug, Default)]
pub(super) struct Written {
    models: Mutex<HashMap<ModelKey, Arc<Model>>>,
    /// The newest version of each kind of child that the last pass wrote.
    children: Mutex<HashMap<ModelKey, BTreeMap<&'static str, u64>>>,
}

impl Written {
    /// The newest that is known of a Model, of which the watch shows this.
    pub(super) fn newest(&self, key: &ModelKey, watched: &Model) -> Option<Arc<Model>> {
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        let written = models.get(key)?;
        if is_older(watched, written) {
            return Some(Arc::clone(written));
        }
        models.remove(key);
        None
    }

    /// A status was written, and the server answered this.
    pub(super) fn remember(&self, key: ModelKey, mut answer: Model) {
        // Nobody reads them, and as trees they are larger than the Model.
        answer.metadata.managed_fields = None;
        self.models.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::new(answer));
    }

    /// The Model is gone.
    pub(super) fn forget(&self, key: &ModelKey) {
        self.models.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        self.take_children(key);
    }

    /// A pass wrote these children.
    pub(super) fn remember_children(&self, key: &ModelKey, written: BTreeMap<&'static str, u64>) {
        if !written.is_empty() {
            self.children.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), written);
        }
    }

    /// What the last pass wrote; only once.
    pub(super) fn take_children(&self, key: &ModelKey) -> Option<BTreeMap<&'static str, u64>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner).remove(key)
    }
}

/// Whether one state of a Model came before another. A version that cannot be compared is taken as newer, which is what a
/// controller without this memory would do.
fn is_older(watched: &Model, written: &Model) -> bool {
    watched.uid() == written.uid()
        && version(watched).zip(version(written)).is_some_and(|(watched, written)| watched < written)
}

#[cfg(test)]
mod tests {
    use modelwright_api::ModelSpec;

    use super::*;

    fn model(uid: &str, version: &str) -> Model {
        let mut model = Model::new("m", ModelSpec::default());
        model.metadata.uid = Some(uid.into());
        model.metadata.resource_version = Some(version.into());
        model
    }

    #[test]
    fn what_was_written_counts_until_the_watch_shows_it_or_newer() {
        let (written, key) = (Written::default(), ModelKey::new("n", "m"));
        written.remember(key.clone(), model("u", "10"));
        let newest = written.newest(&key, &model("u", "9")).unwrap();
        assert_eq!(newest.resource_version().as_deref(), Some("10"));
        assert!(written.newest(&key, &model("u", "10")).is_none());
        assert!(written.newest(&key, &model("u", "9")).is_none(), "it is forgotten then");
    }

    #[test]
    fn a_new_model_of_the_same_name_is_another() {
        let (written, key) = (Written::default(), ModelKey::new("n", "m"));
        written.remember(key.clone(), model("old", "10"));
        assert!(written.newest(&key, &model("new", "9")).is_none());
    }

    #[test]
    fn versions_that_are_no_numbers_are_not_compared() {
        let (written, key) = (Written::default(), ModelKey::new("n", "m"));
        written.remember(key.clone(), model("u", "b"));
        assert!(written.newest(&key, &model("u", "a")).is_none());
    }
}
