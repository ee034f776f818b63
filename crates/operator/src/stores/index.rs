//! Objects of one kind by the Model that they belong to.

use std::{
    collections::{HashMap, HashSet},
    marker::PhantomData,
    sync::{Arc, PoisonError, RwLock},
};

use kube::{ResourceExt, runtime::watcher::Event};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::watch;

use super::{Kept, ModelKey};

/// Objects of one kind, found by the namespace and the Model that they have to do with, in the time that it takes to look at
/// the Model's own.
///
/// Objects are kept as JSON and read anew when a pass asks for them. The types of Kubernetes have a place for every field that
/// there can be, most of them empty: a pod's takes ten times the room of its text, and what belongs to one Model is read in a
/// fraction of a millisecond.
#[derive(Debug)]
pub struct Index<K> {
    namespaces: RwLock<HashMap<String, Namespace>>,
    kind: PhantomData<fn() -> K>,
    /// The newest resource version that a watch has shown.
    newest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Namespace {
    models: HashMap<String, Vec<Packed>>,
    /// Under which Model each object is, by its name: its label may have been another than it is now.
    names: HashMap<String, String>,
}

/// One object as it is kept.
#[derive(Debug, PartialEq)]
struct Packed {
    name: Box<str>,
    json: Box<[u8]>,
}

impl Packed {
    /// Equal objects have equal texts: fields are written in the order of the type, and maps in that of their keys.
    fn of(object: &impl Serialize, name: &str) -> Self {
        // An object that came as JSON can be written as such.
        let json = serde_json::to_vec(object).unwrap_or_default();
        // A copy of the right size: what a buffer grew to in doubling, an allocator need not take back.
        Self { name: name.into(), json: json.as_slice().into() }
    }

    fn unpacked<K: DeserializeOwned>(&self) -> Option<Arc<K>> {
        serde_json::from_slice(&self.json).ok().map(Arc::new)
    }
}

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self { namespaces: RwLock::default(), kind: PhantomData, newest: watch::Sender::new(0) }
    }
}

impl<K: Kept> Index<K> {
    /// The objects of one Model, in no order.
    pub fn of(&self, model: &ModelKey) -> Vec<Arc<K>> {
        self.those(model, |_| true)
    }

    /// The object of one Model with this name.
    pub fn named(&self, model: &ModelKey, name: &str) -> Option<Arc<K>> {
        self.those(model, |known| known == name).pop()
    }

    fn those(&self, model: &ModelKey, wanted: impl Fn(&str) -> bool) -> Vec<Arc<K>> {
        let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
        let objects =
            namespaces.get(&model.namespace).and_then(|namespace| namespace.models.get(&model.name));
        let objects = objects.into_iter().flatten().filter(|object| wanted(&object.name));
        objects.filter_map(Packed::unpacked).collect()
    }

    /// A watch has shown this resource version.
    pub fn saw(&self, version: u64) {
        self.newest.send_if_modified(|newest| {
            let newer = version > *newest;
            *newest = version.max(*newest);
            newer
        });
    }

    /// Waits until a watch has shown this resource version or a newer one.
    pub async fn seen(&self, version: u64) {
        // It cannot fail: the sender is in `self`.
        let _ = self.newest.subscribe().wait_for(|newest| *newest >= version).await;
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
        namespaces.values().map(|namespace| namespace.names.len()).sum()
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts an object in the place of the one with its name. Returns the Models that this changes: none if the object is
    /// the same, two if it went from one to another.
    fn put(&self, object: &K) -> Vec<ModelKey> {
        let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
        let Some(model) = object.model().map(str::to_owned) else {
            return self.remove(&namespace, &name).into_iter().collect();
        };
        let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        let entry = namespaces.entry(namespace.clone()).or_default();
        let mut changed = Vec::new();
        match entry.names.get(&name) {
            Some(former) if *former != model => {
                let former = former.clone();
                entry.take(&former, &name);
                changed.push(ModelKey::new(&namespace, &former));
            }
            _ => {}
        }
        entry.names.insert(name.clone(), model.clone());
        let objects = entry.models.entry(model.clone()).or_default();
        let packed = Packed::of(object, &name);
        match objects.iter_mut().find(|known| *known.name == *name) {
            Some(known) if *known == packed => return changed,
            Some(known) => *known = packed,
            None => objects.push(packed),
        }
        changed.push(ModelKey::new(&namespace, &model));
        changed
    }

    /// Removes an object. Returns the Model that it belonged to, if it was there.
    fn remove(&self, namespace: &str, name: &str) -> Option<ModelKey> {
        let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        let entry = namespaces.get_mut(namespace)?;
        let model = entry.names.remove(name)?;
        entry.take(&model, name);
        if entry.names.is_empty() {
            namespaces.remove(namespace);
        }
        Some(ModelKey::new(namespace, &model))
    }

    /// Removes every object that is not among these. Returns the Models that they belonged to.
    fn retain(&self, scope: Option<&str>, seen: &HashSet<(String, String)>) -> Vec<ModelKey> {
        let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
        let in_scope = |namespace: &str| scope.is_none_or(|scope| scope == namespace);
        let gone: Vec<_> = namespaces
            .iter()
            .filter(|(namespace, _)| in_scope(namespace))
            .flat_map(|(namespace, entry)| {
                entry.names.keys().map(move |name| (namespace.clone(), name.clone()))
            })
            .filter(|object| !seen.contains(object))
            .collect();
        drop(namespaces);
        gone.iter().filter_map(|(namespace, name)| self.remove(namespace, name)).collect()
    }
}

impl Namespace {
    fn take(&mut self, model: &str, name: &str) {
        if let Some(objects) = self.models.get_mut(model) {
            objects.retain(|object| &*object.name != name);
            if objects.is_empty() {
                self.models.remove(model);
            }
        }
    }
}

/// What one watch has told so far. A new list is not kept beside the old one: its objects replace theirs as they come, and
/// what it did not name is removed at its end, so a list takes no more memory than the names in it.
#[derive(Debug)]
pub struct Feed {
    /// The namespace that is watched; `None` for all.
    scope: Option<String>,
    /// What the list that is coming has named.
    seen: Option<HashSet<(String, String)>>,
    /// Whether a list has been complete.
    listed: bool,
}

impl Feed {
    /// Before the first event of a watch over this namespace, or over all.
    pub fn new(scope: Option<String>) -> Self {
        Self { scope, seen: None, listed: false }
    }

    /// Whether a list has been complete.
    pub fn listed(&self) -> bool {
        self.listed
    }

    /// Takes one event in. Returns the Models that it changes something for.
    pub fn take<K>(&mut self, index: &Index<K>, event: Event<K>) -> Vec<ModelKey>
    where
        K: Kept,
    {
        match event {
            Event::Init => {
                self.seen = Some(HashSet::new());
                Vec::new()
            }
            Event::InitApply(object) => {
                if let Some(seen) = &mut self.seen {
                    seen.insert((object.namespace().unwrap_or_default(), object.name_any()));
                }
                index.put(&object)
            }
            Event::InitDone => {
                self.listed = true;
                match self.seen.take() {
                    Some(seen) => index.retain(self.scope.as_deref(), &seen),
                    None => Vec::new(),
                }
            }
            Event::Apply(object) => index.put(&object),
            Event::Delete(object) => index
                .remove(&object.namespace().unwrap_or_default(), &object.name_any())
                .into_iter()
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use modelwright_api::contract::labels;

    use super::*;

    fn service(namespace: &str, name: &str, model: &str, ip: &str) -> Service {
        let mut service = Service::default();
        service.metadata.name = Some(name.into());
        service.metadata.namespace = Some(namespace.into());
        service.metadata.labels = Some([(labels::MODEL.to_owned(), model.to_owned())].into());
        service.spec.get_or_insert_default().cluster_ip = Some(ip.into());
        service
    }

    fn key(namespace: &str, name: &str) -> ModelKey {
        ModelKey::new(namespace, name)
    }

    fn names(index: &Index<Service>, namespace: &str, model: &str) -> Vec<String> {
        let mut names: Vec<_> = index.of(&key(namespace, model)).iter().map(|o| o.name_any()).collect();
        names.sort();
        names
    }

    #[test]
    fn only_changes_trigger() {
        let (index, mut feed) = (Index::default(), Feed::new(None));
        assert_eq!(feed.take(&index, Event::Apply(service("a", "x", "m", "1"))), [key("a", "m")]);
        assert_eq!(feed.take(&index, Event::Apply(service("a", "x", "m", "1"))), []);
        assert_eq!(feed.take(&index, Event::Apply(service("a", "x", "m", "2"))), [key("a", "m")]);
        assert_eq!(names(&index, "a", "m"), ["x"]);
        assert_eq!(names(&index, "b", "m"), [""; 0]);
        assert_eq!(feed.take(&index, Event::Delete(service("a", "x", "m", "2"))), [key("a", "m")]);
        assert_eq!(feed.take(&index, Event::Delete(service("a", "x", "m", "2"))), []);
        assert!(index.is_empty());
    }

    #[test]
    fn an_object_with_another_label_changes_both_models() {
        let (index, mut feed) = (Index::default(), Feed::new(None));
        feed.take(&index, Event::Apply(service("a", "x", "m", "1")));
        let changed = feed.take(&index, Event::Apply(service("a", "x", "n", "1")));
        assert_eq!(changed, [key("a", "m"), key("a", "n")]);
        assert_eq!((names(&index, "a", "m").len(), names(&index, "a", "n").len()), (0, 1));
        let mut unlabelled = service("a", "x", "n", "1");
        unlabelled.metadata.labels = None;
        assert_eq!(feed.take(&index, Event::Apply(unlabelled)), [key("a", "n")]);
        assert!(index.is_empty());
    }

    #[test]
    fn a_new_list_triggers_for_what_differs_and_removes_what_it_does_not_name() {
        let (index, mut feed) = (Index::default(), Feed::new(None));
        assert!(feed.take(&index, Event::Init).is_empty());
        for (name, model) in [("x", "same"), ("y", "changed"), ("z", "gone")] {
            feed.take(&index, Event::InitApply(service("a", name, model, "1")));
        }
        assert!(!feed.listed());
        assert_eq!(feed.take(&index, Event::InitDone), []);
        assert!(feed.listed());

        feed.take(&index, Event::Init);
        assert_eq!(feed.take(&index, Event::InitApply(service("a", "x", "same", "1"))), []);
        let changed = feed.take(&index, Event::InitApply(service("a", "y", "changed", "2")));
        assert_eq!(changed, [key("a", "changed")]);
        assert_eq!(names(&index, "a", "gone"), ["z"], "nothing is missing while a list is coming");
        assert_eq!(feed.take(&index, Event::InitDone), [key("a", "gone")]);
        assert_eq!(index.len(), 2);
    }

    #[tokio::test]
    async fn what_was_written_is_waited_for_until_a_watch_shows_it() {
        let index = Index::<Service>::default();
        index.saw(7);
        index.saw(3);
        index.seen(7).await;
        let late = tokio::time::timeout(std::time::Duration::from_millis(20), index.seen(8)).await;
        assert!(late.is_err());
    }

    #[test]
    fn a_list_that_breaks_off_removes_nothing() {
        let (index, mut feed) = (Index::default(), Feed::new(None));
        feed.take(&index, Event::Apply(service("a", "x", "m", "1")));
        feed.take(&index, Event::Init);
        feed.take(&index, Event::Init);
        feed.take(&index, Event::InitApply(service("a", "x", "m", "1")));
        assert_eq!(feed.take(&index, Event::InitDone), []);
        assert_eq!(names(&index, "a", "m"), ["x"]);
    }

    #[test]
    fn the_list_of_one_namespace_leaves_the_others_alone() {
        let index = Index::default();
        let (mut a, mut b) = (Feed::new(Some("a".into())), Feed::new(Some("b".into())));
        a.take(&index, Event::Apply(service("a", "x", "m", "1")));
        b.take(&index, Event::Apply(service("b", "x", "m", "1")));
        a.take(&index, Event::Init);
        assert_eq!(a.take(&index, Event::InitDone), [key("a", "m")]);
        assert_eq!((names(&index, "a", "m").len(), names(&index, "b", "m").len()), (0, 1));
    }
}
