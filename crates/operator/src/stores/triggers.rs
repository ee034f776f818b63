//! Which Models must be looked at because something of theirs changed, and which of them first.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{Stream, StreamExt, stream};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::ModelKey;

/// Collects Models that something changed for and hands them out in batches: the first change of a batch waits
/// [`Triggers::COLLECT`] for others, and no more, so that many changes make one pass and never put it off for ever.
///
/// Passes are made in the order in which they were asked for, except that those of edited Models do not wait for the others:
/// some places are kept for them. However many Models fail, and however slowly the API server answers their passes, what a
/// user writes is looked at next.
#[derive(Clone, Debug)]
pub struct Triggers {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// By namespace; under `None` if all are watched.
    scopes: HashMap<Option<String>, Scope>,
    asked: Mutex<Asked>,
    /// How many of the passes at the same time may be of Models that nobody edited.
    places: usize,
}

/// The passes that were asked for, of all scopes.
#[derive(Debug, Default)]
struct Asked {
    /// Models whose pass has not begun.
    due: HashSet<ModelKey>,
    /// Models that were edited since their last pass began.
    edited: HashSet<ModelKey>,
    /// Models that nobody edited and that were handed out; until their passes end they hold a place each.
    in_hand: HashSet<ModelKey>,
}

#[derive(Debug, Default)]
struct Scope {
    changed: Mutex<HashSet<ModelKey>>,
    /// Something changed.
    change: Notify,
    /// A place is free again.
    free: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A pass that begins. When it is dropped the pass has ended.
#[derive(Debug)]
pub struct Turn {
    triggers: Triggers,
    model: ModelKey,
    /// Whether it is due to an edit of the Model.
    pub edited: bool,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.triggers.leave(&self.model);
    }
}

impl Triggers {
    /// How long the first change waits for others.
    pub const COLLECT: Duration = Duration::from_millis(150);

    /// Collects for these namespaces, each by itself; `None` for all. `concurrency` passes run at once in all of them; a quarter
    /// of these, one at least, is kept for edited Models.
    pub fn new(scopes: impl IntoIterator<Item = Option<String>>, concurrency: usize) -> Self {
        let scopes = scopes.into_iter().map(|scope| (scope, Scope::default())).collect();
        let kept = (concurrency / 4).max(1);
        let places = concurrency.saturating_sub(kept).max(1);
        Self { inner: Arc::new(Inner { scopes, asked: Mutex::default(), places }) }
    }

    /// Something of this Model changed.
    pub fn changed(&self, model: ModelKey) {
        if let Some(scope) = self.scope(&model) {
            lock(&self.inner.asked).due.insert(model.clone());
            lock(&scope.changed).insert(model);
            scope.change.notify_one();
        }
    }

    /// A pass over this Model will begin, without being handed out.
    pub fn due(&self, model: ModelKey) {
        lock(&self.inner.asked).due.insert(model);
    }

    /// The Model itself was edited: its next pass, whoever asks for it, does not wait for those of others.
    pub fn edited(&self, model: &ModelKey) {
        lock(&self.inner.asked).edited.insert(model.clone());
    }

    /// A pass over this Model begins. `None` if every place for what is no edit is taken: then it is handed out again later.
    pub fn begin(&self, model: &ModelKey) -> Option<Turn> {
        let (edited, begins) = {
            let mut asked = lock(&self.inner.asked);
            let edited = asked.edited.remove(model);
            let begins = edited || asked.takes(model, self.inner.places);
            if begins {
                asked.due.remove(model);
            }
            (edited, begins)
        };
        if begins {
            return Some(Turn { triggers: self.clone(), model: model.clone(), edited });
        }
        self.changed(model.clone());
        None
    }

    /// How many Models wait for a pass.
    pub fn waiting(&self) -> usize {
        lock(&self.inner.asked).due.len()
    }

    /// There is no such Model.
    pub fn forget(&self, model: &ModelKey) {
        {
            let mut asked = lock(&self.inner.asked);
            asked.due.remove(model);
            asked.edited.remove(model);
        }
        self.leave(model);
    }

    /// Forgets every change so far.
    pub fn clear(&self) {
        self.inner.scopes.values().for_each(|scope| lock(&scope.changed).clear());
        *lock(&self.inner.asked) = Asked::default();
    }

    /// The Models of one namespace that something changed for, edited ones at once and the others in their order as places are
    /// free. It never ends.
    pub fn stream(&self, scope: Option<String>) -> impl Stream<Item = ModelKey> + Send + 'static {
        stream::unfold(Queue::of(self.clone(), scope), |mut queue| async move {
            let batch = queue.next().await?;
            Some((stream::iter(batch), queue))
        })
        .flatten()
    }

    fn scope(&self, model: &ModelKey) -> Option<&Scope> {
        let scopes = &self.inner.scopes;
        scopes.get(&None).or_else(|| scopes.get(&Some(model.namespace.clone())))
    }

    /// Gives the place of a Model back.
    fn leave(&self, model: &ModelKey) {
        if lock(&self.inner.asked).in_hand.remove(model) {
            self.inner.scopes.values().for_each(|scope| scope.free.notify_one());
        }
    }
}

impl Asked {
    /// Takes a place, unless the Model has one or all are taken; whether it has one then.
    fn takes(&mut self, model: &ModelKey, places: usize) -> bool {
        if self.in_hand.contains(model) {
            return true;
        }
        let free = self.in_hand.len() < places;
        free && self.in_hand.insert(model.clone())
    }
}

/// What one namespace's stream holds back.
#[derive(Debug)]
struct Queue {
    triggers: Triggers,
    scope: Option<String>,
    /// In the order in which they were collected, each once.
    waiting: VecDeque<ModelKey>,
    known: HashSet<ModelKey>,
    /// They wait for no place.
    edited: Vec<ModelKey>,
    /// When the changes since the first one are collected.
    collect_at: Option<Instant>,
}

impl Queue {
    fn of(triggers: Triggers, scope: Option<String>) -> Self {
        let (waiting, known) = (VecDeque::new(), HashSet::new());
        Self { triggers, scope, waiting, known, edited: Vec::new(), collect_at: None }
    }

    /// The next Models to hand out; `None` if the namespace is not watched.
    async fn next(&mut self) -> Option<Vec<ModelKey>> {
        let inner = Arc::clone(&self.triggers.inner);
        let scope = inner.scopes.get(&self.scope)?;
        loop {
            let batch = self.released();
            if !batch.is_empty() {
                return Some(batch);
            }
            let collect_at = self.collect_at;
            tokio::select! {
                () = scope.change.notified(), if collect_at.is_none() => {
                    self.collect_at = Some(Instant::now() + Triggers::COLLECT);
                }
                () = sleep_until(collect_at.unwrap_or_else(Instant::now)), if collect_at.is_some() => {
                    self.collect_at = None;
                    self.collect();
                }
                () = scope.free.notified() => {}
            }
        }
    }

    fn collect(&mut self) {
        let Some(scope) = self.triggers.inner.scopes.get(&self.scope) else { return };
        let batch = std::mem::take(&mut *lock(&scope.changed));
        let asked = lock(&self.triggers.inner.asked);
        for model in batch {
            if asked.edited.contains(&model) {
                self.edited.push(model);
            } else if self.known.insert(model.clone()) {
                self.waiting.push_back(model);
            }
        }
    }

    /// What can be handed out now.
    fn released(&mut self) -> Vec<ModelKey> {
        let mut released = std::mem::take(&mut self.edited);
        let mut asked = lock(&self.triggers.inner.asked);
        while let Some(next) = self.waiting.front()
            && asked.takes(next, self.triggers.inner.places)
        {
            self.known.remove(next);
            released.extend(self.waiting.pop_front());
        }
        released
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::FutureExt as _;

    use super::*;

    fn key(name: &str) -> ModelKey {
        ModelKey::new("a", name)
    }

    /// Eight passes at once, six of them of Models that nobody edited.
    fn triggers(scope: Option<&str>) -> Triggers {
        Triggers::new([scope.map(str::to_owned)], 8)
    }

    /// The same with so many Models that something changed for, and their queue.
    fn changed(count: usize) -> (Triggers, Queue) {
        let triggers = triggers(None);
        let queue = Queue::of(triggers.clone(), None);
        for index in 0..count {
            triggers.changed(key(&format!("m{index}")));
        }
        (triggers, queue)
    }

    /// What is handed out once the changes so far have been collected.
    fn handed_out(queue: &mut Queue) -> Vec<ModelKey> {
        queue.collect();
        queue.released()
    }

    #[test]
    fn many_changes_are_one_trigger_and_the_next_change_another() {
        let (triggers, mut queue) = changed(0);
        for _ in 0..100 {
            triggers.changed(key("m"));
        }
        assert_eq!(handed_out(&mut queue), [key("m")]);
        assert_eq!(triggers.waiting(), 1);
        drop(triggers.begin(&key("m")));
        assert_eq!(triggers.waiting(), 0);
        triggers.changed(key("n"));
        assert_eq!(handed_out(&mut queue), [key("n")]);
    }

    #[tokio::test]
    async fn changes_that_keep_coming_do_not_put_a_pass_off() {
        let triggers = triggers(None);
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

    #[test]
    fn a_namespace_that_is_not_watched_triggers_nothing() {
        let triggers = triggers(Some("b"));
        triggers.changed(key("m"));
        assert_eq!(triggers.waiting(), 0);
        let mut queue = Queue::of(triggers.clone(), Some("b".into()));
        triggers.changed(ModelKey::new("b", "m"));
        assert_eq!(handed_out(&mut queue), [ModelKey::new("b", "m")]);
    }

    #[tokio::test]
    async fn a_place_that_is_free_again_hands_out_the_next() {
        let triggers = Triggers::new([None], 1);
        let mut stream = pin!(triggers.stream(None));
        triggers.changed(key("m"));
        triggers.changed(key("n"));
        let first = stream.next().await.unwrap();
        let turn = triggers.begin(&first).unwrap();
        assert!(stream.next().now_or_never().is_none(), "the only place is taken");
        drop(turn);
        let second = tokio::time::timeout(Duration::from_secs(5), stream.next()).await.unwrap();
        assert!(second.is_some_and(|second| second != first));
    }

    #[test]
    fn edited_models_do_not_wait_for_the_places_of_others() {
        let (triggers, mut queue) = changed(20);
        let first = handed_out(&mut queue);
        assert_eq!(first.len(), 6, "a quarter of the places stays free");
        let turns: Vec<_> = first.iter().map(|model| triggers.begin(model).unwrap()).collect();
        assert!(turns.iter().all(|turn| !turn.edited));

        // One that waits is edited, and so is one that does not.
        let waits = (0..20).map(|index| key(&format!("m{index}"))).find(|model| !first.contains(model));
        let waits = waits.unwrap();
        triggers.edited(&waits);
        assert!(triggers.begin(&waits).is_some_and(|turn| turn.edited));
        triggers.edited(&key("new"));
        triggers.changed(key("new"));
        assert_eq!(handed_out(&mut queue), [key("new")], "also if something else asks for the pass");
        assert!(triggers.begin(&key("new")).is_some_and(|turn| turn.edited));

        // The places come back one by one, and all get their turn.
        let mut rest = Vec::new();
        drop(turns);
        while let next @ [_, ..] = &handed_out(&mut queue)[..] {
            assert!(next.len() <= 6);
            for model in next {
                assert!(triggers.begin(model).is_some());
            }
            rest.extend(next.iter().cloned());
        }
        assert_eq!(rest.len(), 14);
        assert_eq!(triggers.waiting(), 0);
    }

    #[test]
    fn a_pass_that_nothing_handed_out_waits_for_a_place_as_well() {
        let (triggers, mut queue) = changed(0);
        let mut turns: Vec<_> =
            (0..6).map(|index| triggers.begin(&key(&format!("m{index}"))).unwrap()).collect();
        // Its time has come, as a pause that ends says.
        assert!(triggers.begin(&key("timed")).is_none());
        assert_eq!(handed_out(&mut queue), []);
        assert_eq!(triggers.waiting(), 1);
        turns.pop();
        assert_eq!(handed_out(&mut queue), [key("timed")]);
        assert!(triggers.begin(&key("timed")).is_some());
    }

    #[test]
    fn a_model_that_is_gone_holds_no_place() {
        let (triggers, mut queue) = changed(7);
        let first = handed_out(&mut queue);
        triggers.forget(&first[0]);
        assert_eq!(handed_out(&mut queue).len(), 1);
    }

    #[test]
    fn with_one_place_nobody_waits_for_ever() {
        let triggers = Triggers::new([None], 1);
        let turn = triggers.begin(&key("m"));
        assert!(turn.is_some());
        triggers.edited(&key("n"));
        assert!(triggers.begin(&key("n")).is_some());
    }
}
