//! Which Models must be looked at because something of theirs changed.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{Stream, StreamExt, stream};
use tokio::sync::Notify;

use super::ModelKey;

/// Collects Models that something changed for and hands them out in batches: the first change of a batch waits
/// [`Triggers::COLLECT`] for others, and no more, so that many changes make one pass and never put it off for ever.
#[derive(Clone, Debug)]
pub struct Triggers {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// By namespace; under `None` if all are watched.
    scopes: HashMap<Option<String>, Scope>,
    /// Models whose pass has not begun.
    due: Mutex<HashSet<ModelKey>>,
}

#[derive(Debug, Default)]
struct Scope {
    changed: Mutex<HashSet<ModelKey>>,
    notify: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Triggers {
    /// How long the first change waits for others.
    pub const COLLECT: Duration = Duration::from_millis(150);

    /// Collects for these namespaces, each by itself; `None` for all.
    pub fn new(scopes: impl IntoIterator<Item = Option<String>>) -> Self {
        let scopes = scopes.into_iter().map(|scope| (scope, Scope::default())).collect();
        Self { inner: Arc::new(Inner { scopes, due: Mutex::default() }) }
    }

    /// Something of this Model changed.
    pub fn changed(&self, model: ModelKey) {
        let scopes = &self.inner.scopes;
        let scope = scopes.get(&None).or_else(|| scopes.get(&Some(model.namespace.clone())));
        if let Some(scope) = scope {
            self.due(model.clone());
            lock(&scope.changed).insert(model);
            scope.notify.notify_one();
        }
    }

    /// A pass over this Model will begin.
    pub fn due(&self, model: ModelKey) {
        lock(&self.inner.due).insert(model);
    }

    /// A pass over this Model begins, or there is no such Model. Returns how many still wait.
    pub fn begin(&self, model: &ModelKey) -> usize {
        let mut due = lock(&self.inner.due);
        due.remove(model);
        due.len()
    }

    /// Forgets every change so far.
    pub fn clear(&self) {
        self.inner.scopes.values().for_each(|scope| lock(&scope.changed).clear());
        lock(&self.inner.due).clear();
    }

    /// The Models of one namespace that something changed for. It never ends.
    pub fn stream(&self, scope: Option<String>) -> impl Stream<Item = ModelKey> + Send + 'static {
        let inner = Arc::clone(&self.inner);
        stream::unfold((inner, scope), |(inner, name)| async move {
            let scope = inner.scopes.get(&name)?;
            scope.notify.notified().await;
            tokio::time::sleep(Self::COLLECT).await;
            let batch = std::mem::take(&mut *lock(&scope.changed));
            Some((stream::iter(batch), (inner, name)))
        })
        .flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    fn key(name: &str) -> ModelKey {
        ModelKey::new("a", name)
    }

    #[tokio::test]
    async fn many_changes_are_one_trigger_and_the_next_change_another() {
        let triggers = Triggers::new([None]);
        let mut stream = pin!(triggers.stream(None));
        for _ in 0..100 {
            triggers.changed(key("m"));
        }
        assert_eq!(stream.next().await, Some(key("m")));
        assert_eq!(triggers.begin(&key("m")), 0);
        triggers.changed(key("n"));
        assert_eq!(stream.next().await, Some(key("n")));
    }

    #[tokio::test]
    async fn changes_that_keep_coming_do_not_put_a_pass_off() {
        let triggers = Triggers::new([None]);
        let mut stream = pin!(triggers.stream(None));
        let busy = triggers.clone();
        let changes = tokio::spawn(async move {
            loop {
                busy.changed(key("m"));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let first = tokio::time::timeout(Duration::from_secs(5), stream.next()).await;
        changes.abort();
        assert_eq!(first.unwrap(), Some(key("m")));
    }

    #[tokio::test]
    async fn a_namespace_that_is_not_watched_triggers_nothing() {
        let triggers = Triggers::new([Some("b".to_owned())]);
        triggers.changed(key("m"));
        assert_eq!(triggers.begin(&key("other")), 0);
        let mut stream = pin!(triggers.stream(Some("b".into())));
        triggers.changed(ModelKey::new("b", "m"));
        assert_eq!(stream.next().await, Some(ModelKey::new("b", "m")));
    }
}
