//! The models as one I/O thread sees them: looking one up writes nothing that another thread reads.
//!
//! A lock and a counted handle that all threads share are a few writes for each request, and each of them takes the cache
//! line away from the other threads, a tenth of a microsecond each time. So every thread has copies of the handles behind a
//! lock of its own. The registry takes them away with every change, so that a model that has been replaced is held by nothing but the requests
//! that it still has.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::counters::ModelCounters;
use crate::registry::{Counters, ModelState, Models, Registry};

/// What a thread has seen of the registry; nothing before it looks for the first time and after every change.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<Option<Copies>>);

#[derive(Debug)]
struct Copies {
    models: Models,
    counters: Arc<Counters>,
    most_body_bytes: usize,
}

/// A thread's way to the models.
#[derive(Debug)]
pub(crate) struct LocalModels {
    registry: Arc<Registry>,
    /// The bytes that a request to a model without a bound of its own may have.
    max_body_bytes: usize,
    seen: Arc<Seen>,
}

impl Seen {
    /// Lets go of everything; the next look sees what is then.
    pub(crate) fn forget(&self) {
        // Dropped outside of the lock: a handle may be the last one of a model, whose end takes its time.
        let forgotten = self.lock().take();
        drop(forgotten);
    }

    /// A panic under the lock leaves what was there before.
    fn lock(&self) -> MutexGuard<'_, Option<Copies>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LocalModels {
    /// Those of one more thread.
    pub(crate) fn new(registry: Arc<Registry>, max_body_bytes: usize) -> Self {
        let seen = Arc::new(Seen::default());
        registry.tell(&seen);
        Self { registry, max_body_bytes, seen }
    }

    /// The same for another thread.
    pub(crate) fn for_thread(&self) -> Self {
        Self::new(Arc::clone(&self.registry), self.max_body_bytes)
    }

    /// The state of one model.
    pub(crate) fn get(&self, name: &str) -> Option<ModelState> {
        self.look(|copies| copies.models.get(name).cloned())
    }

    /// Counts something of a model, if it is declared, and says whether it is.
    pub(crate) fn count(&self, name: &str, count: impl FnOnce(&ModelCounters)) -> bool {
        self.look(|copies| copies.counters.get(name).map(|counters| count(counters)).is_some())
    }

    /// The bytes that a request may have whose model is not known yet.
    pub(crate) fn most_body_bytes(&self) -> usize {
        self.look(|copies| copies.most_body_bytes)
    }

    fn look<T>(&self, at: impl FnOnce(&Copies) -> T) -> T {
        let mut seen = self.seen.lock();
        // A change between this reading and the end of the lock waits for the lock, and then takes the copies away.
        at(seen.get_or_insert_with(|| Copies::of(&self.registry, self.max_body_bytes)))
    }
}

impl Copies {
    fn of(registry: &Registry, max_body_bytes: usize) -> Self {
        let (models, counters) = registry.declared();
        let copy = |state: &ModelState| match state {
            ModelState::Ready(ready) => ModelState::Ready(ready.with_own_handle()),
            other => other.clone(),
        };
        let models: Models = models.iter().map(|(name, state)| (name.clone(), copy(state))).collect();
        let bounds = models.values().filter_map(|state| match state {
            ModelState::Ready(ready) => Some(ready.max_body_bytes().unwrap_or(max_body_bytes)),
            _ => None,
        });
        let most_body_bytes = bounds.max().unwrap_or(max_body_bytes);
        Self { models, counters, most_body_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_sees_every_change_and_keeps_nothing_of_what_was() {
        let registry = Arc::new(Registry::new());
        let threads = [(); 2].map(|()| LocalModels::new(Arc::clone(&registry), 7));
        let is_loading = |models: &LocalModels| matches!(models.get("a"), Some(ModelState::Loading));
        assert!(threads.iter().all(|models| models.get("a").is_none()));
        registry.loading("a");
        assert!(threads.iter().all(is_loading));
        let counters = Arc::downgrade(&registry.counters()["a"]);
        assert!(threads.iter().all(|models| models.count("a", |_| {}) && !models.count("b", |_| {})));
        registry.remove("a");
        assert!(counters.upgrade().is_none(), "a thread that does not look must not hold what is gone");
        assert!(threads.iter().all(|models| models.get("a").is_none() && models.most_body_bytes() == 7));
    }

    #[test]
    fn a_thread_that_ended_is_not_told_any_more() {
        let registry = Arc::new(Registry::new());
        drop(LocalModels::new(Arc::clone(&registry), 1));
        registry.loading("a");
        assert_eq!(registry.told(), 0);
    }
}
