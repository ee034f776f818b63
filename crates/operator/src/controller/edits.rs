//! Which changes of a Model are edits, and not what its status says.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, PoisonError},
};

use kube::{
    Resource,
    core::{DeserializeGuard, ObjectMeta},
};
use modelwright_api::Model;

use crate::stores::ModelKey;

/// What was last written of each Model by others than this controller.
#[derive(Debug, Default)]
pub(super) struct Edits {
    models: Mutex<HashMap<ModelKey, u64>>,
}

impl Edits {
    /// Whether somebody edited a Model that changed. A new one counts as edited.
    pub(super) fn changed(&self, key: &ModelKey, model: &DeserializeGuard<Model>) -> bool {
        self.remember(key, model).unwrap_or(true)
    }

    /// Whether somebody edited a Model that a list names. Of one that was not known, its status says whether it was looked at
    /// since: not all are urgent for a controller that has just begun.
    pub(super) fn listed(&self, key: &ModelKey, model: &DeserializeGuard<Model>) -> bool {
        self.remember(key, model).unwrap_or_else(|| {
            model.0.as_ref().is_ok_and(|model| {
                let observed = model.status.as_ref().and_then(|status| status.observed_generation);
                observed != model.metadata.generation
            })
        })
    }

    /// Keeps what is written now. Whether it differs from what was known, if anything was.
    fn remember(&self, key: &ModelKey, model: &DeserializeGuard<Model>) -> Option<bool> {
        let written = written(model.meta());
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        models.insert(key.clone(), written).map(|known| known != written)
    }

    /// The Model is gone.
    pub(super) fn forget(&self, key: &ModelKey) {
        self.models.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// The spec and the annotations, by which users ask for something, as one number. A status changes none of that.
fn written(metadata: &ObjectMeta) -> u64 {
    let mut hasher = DefaultHasher::new();
    metadata.uid.hash(&mut hasher);
    metadata.generation.hash(&mut hasher);
    metadata.deletion_timestamp.is_some().hash(&mut hasher);
    metadata.labels.hash(&mut hasher);
    metadata.annotations.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use modelwright_api::{ModelSpec, ModelStatus};

    use super::*;

    fn key() -> ModelKey {
        ModelKey::new("n", "m")
    }

    fn model(generation: i64, observed: Option<i64>) -> DeserializeGuard<Model> {
        let mut model = Model::new("m", ModelSpec::default());
        model.metadata.generation = Some(generation);
        model.status = Some(ModelStatus { observed_generation: observed, ..ModelStatus::default() });
        DeserializeGuard(Ok(model))
    }

    #[test]
    fn new_models_specs_and_annotations_are_edits_and_a_status_is_none() {
        let edits = Edits::default();
        assert!(edits.changed(&key(), &model(1, None)));
        assert!(!edits.changed(&key(), &model(1, Some(1))));
        assert!(edits.changed(&key(), &model(2, Some(1))));
        let mut annotated = model(2, Some(1));
        annotated.meta_mut().annotations = Some([("a".to_owned(), "b".to_owned())].into());
        assert!(edits.changed(&key(), &annotated));
        assert!(!edits.changed(&key(), &annotated));
        edits.forget(&key());
        assert!(edits.changed(&key(), &annotated));
    }

    #[test]
    fn a_list_names_as_edited_what_nobody_looked_at_since() {
        let edits = Edits::default();
        assert!(!edits.listed(&key(), &model(3, Some(3))));
        assert!(edits.listed(&key(), &model(4, Some(3))), "changed while the watch was away");
        assert!(!edits.listed(&key(), &model(4, Some(3))), "it is looked at already");
        let new = Edits::default();
        assert!(new.listed(&key(), &model(4, Some(3))), "changed while no controller ran");
    }
}
