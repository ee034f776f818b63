//! The work of a scripted node: watches its pods, keeps time, and writes their status.
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet, VecDeque, hash_map::Entry},
    pin::pin,
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Pod, PodStatus},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    runtime::{WatchStreamExt, watcher},
};

use super::{
    Rules,
    address::Addresses,
    life::later,
    tracked::{Key, Tracked, key},
};

/// Requests at a time. More are no quicker: the API server works through them all.
const WRITES: usize = 64;
/// Longer than any answer takes; an API server that hangs must not hold a pod forever.
const PATIENCE: Duration = Duration::from_secs(10);
/// Until a failed write is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// What became of a write.
enum Written {
    Done(Box<PodStatus>),
    Removed,
    Gone,
    Failed,
}

pub(super) struct Agent {
    client: Client,
    node: String,
    rules: Rules,
    addresses: Addresses,
    pods: HashMap<Key, Tracked>,
    /// Pods to look at, and when. Several entries of a pod do no harm.
    times: BinaryHeap<Reverse<(Timestamp, Key)>>,
    /// Pods that wait for one of the `WRITES`.
    waiting: VecDeque<Key>,
    writes: FuturesUnordered<BoxFuture<'static, (Key, Written)>>,
    /// The pods of a list that is under way.
    listed: Vec<Pod>,
}

impl Agent {
    pub(super) fn new(client: Client, node: &str, rules: Rules) -> Self {
        Self {
            client,
            node: node.to_owned(),
            rules,
            addresses: Addresses::of_node(node),
            pods: HashMap::new(),
            times: BinaryHeap::new(),
            waiting: VecDeque::new(),
            writes: FuturesUnordered::new(),
            listed: Vec::new(),
        }
    }

    /// Works until it is dropped.
    pub(super) async fn work(mut self) {
        let config = watcher::Config::default().fields(&format!("spec.nodeName={}", self.node));
        let pods = watcher(Api::<Pod>::all(self.client.clone()), config).default_backoff();
        let mut pods = pin!(pods);
        loop {
            let next = self.times.peek().map(|Reverse((at, _))| *at);
            let due = next.map_or(Duration::MAX, |at| {
                Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default()
            });
            tokio::select! {
                // An error is followed by another try, after a pause.
                Some(event) = pods.next() => if let Ok(event) = event { self.see(event) },
                Some((key, written)) = self.writes.next() => self.note(&key, written),
                () = tokio::time::sleep(due), if next.is_some() => self.wake(),
                () = self.rules.added.notified() => self.apply_rules(),
            }
            self.write();
        }
    }

    fn see(&mut self, event: watcher::Event<Pod>) {
        match event {
            watcher::Event::Init => self.listed.clear(),
            watcher::Event::InitApply(pod) => self.listed.push(pod),
            watcher::Event::InitDone => self.replace(),
            watcher::Event::Apply(pod) => self.track(pod),
            watcher::Event::Delete(pod) => self.forget(&key(&pod)),
        }
    }

    /// The list has come to its end: what is not in it is gone.
    fn replace(&mut self) {
        let mut pods = std::mem::take(&mut self.listed);
        let keys: HashSet<_> = pods.iter().map(key).collect();
        let gone: Vec<_> = self.pods.keys().filter(|key| !keys.contains(*key)).cloned().collect();
        for key in &gone {
            self.forget(key);
        }
        // Pods that have an address keep it, so they come before those that need one.
        pods.sort_by_key(|pod| pod.status.as_ref().is_none_or(|status| status.pod_ip.is_none()));
        for pod in pods {
            self.track(pod);
        }
    }

    fn track(&mut self, pod: Pod) {
        let (key, now) = (key(&pod), Timestamp::now());
        if self.pods.get(&key).is_some_and(|known| known.pod.uid() != pod.uid()) {
            self.forget(&key);
        }
        match self.pods.entry(key.clone()) {
            Entry::Occupied(known) => known.into_mut().update(pod, &self.rules, now),
            Entry::Vacant(place) => {
                let present = pod.status.as_ref().and_then(|status| status.pod_ip.as_ref()?.parse().ok());
                let Some(ip) = self.addresses.take(present) else {
                    eprintln!("scripted node {}: no address left for pod {}", self.node, pod.name_any());
                    return;
                };
                place.insert(Tracked::new(pod, ip, self.addresses.node(), &self.rules, now));
            }
        }
        self.waiting.push_back(key);
    }

    fn forget(&mut self, key: &Key) {
        if let Some(gone) = self.pods.remove(key) {
            self.addresses.give_back(gone.ip);
        }
    }

    fn wake(&mut self) {
        let now = Timestamp::now();
        while let Some(Reverse((at, _))) = self.times.peek()
            && *at <= now
        {
            self.waiting.extend(self.times.pop().map(|Reverse((_, key))| key));
        }
    }

    fn apply_rules(&mut self) {
        let now = Timestamp::now();
        for (key, pod) in &mut self.pods {
            pod.apply(&self.rules, now);
            self.waiting.push_back(key.clone());
        }
    }

    /// Starts the writes of the pods that wait, as many as may be under way.
    fn write(&mut self) {
        while self.writes.len() < WRITES
            && let Some(key) = self.waiting.pop_front()
        {
            let Some(pod) = self.pods.get_mut(&key).filter(|pod| !pod.writing && !pod.removed) else {
                continue;
            };
            let outlook = pod.outlook(Timestamp::now());
            if let Some(next) = outlook.next {
                self.times.push(Reverse((later(pod.since(), next), key.clone())));
            }
            let uid = pod.pod.uid();
            let api = Api::<Pod>::namespaced(self.client.clone(), &key.0);
            if outlook.status != pod.reported {
                pod.writing = true;
                self.writes.push(report(api, key, uid, outlook.status).boxed());
            } else if outlook.finished {
                pod.writing = true;
                self.writes.push(remove(api, key, uid).boxed());
            }
        }
    }

    fn note(&mut self, key: &Key, written: Written) {
        let Some(pod) = self.pods.get_mut(key) else { return };
        pod.writing = false;
        match written {
            Written::Done(status) => {
                pod.reported = *status;
                self.waiting.push_back(key.clone());
            }
            Written::Removed => pod.removed = true,
            // The watch tells.
            Written::Gone => {}
            Written::Failed => self.times.push(Reverse((later(Timestamp::now(), PAUSE), key.clone()))),
        }
    }
}

/// Writes a status. Conditions of others stay: the list is merged by type.
async fn report(api: Api<Pod>, key: Key, uid: Option<String>, status: PodStatus) -> (Key, Written) {
    let patch = Pod {
        // A pod of another uid answers with a conflict.
        metadata: ObjectMeta { uid, ..ObjectMeta::default() },
        spec: None,
        status: Some(status.clone()),
    };
    let (params, patch) = (PatchParams::default(), Patch::Strategic(&patch));
    let answer = tokio::time::timeout(PATIENCE, api.patch_status(&key.1, &params, &patch)).await;
    let written = outcome(answer, || Written::Done(Box::new(status)));
    (key, written)
}

/// Removes the object of a pod whose containers have ended, as a kubelet does.
async fn remove(api: Api<Pod>, key: Key, uid: Option<String>) -> (Key, Written) {
    let preconditions = Some(Preconditions { uid, resource_version: None });
    let params = DeleteParams { grace_period_seconds: Some(0), preconditions, ..DeleteParams::default() };
    let answer = tokio::time::timeout(PATIENCE, api.delete(&key.1, &params)).await;
    let written = outcome(answer, || Written::Removed);
    (key, written)
}

fn outcome<T>(
    answer: Result<kube::Result<T>, tokio::time::error::Elapsed>,
    done: impl FnOnce() -> Written,
) -> Written {
    match answer {
        Ok(Ok(_)) => done(),
        Ok(Err(kube::Error::Api(status))) if status.is_not_found() => Written::Gone,
        Ok(Err(kube::Error::Api(status))) if status.is_invalid() => {
            eprintln!("scripted node: the API server refuses a pod status: {}", status.message);
            Written::Failed
        }
        Ok(Err(_)) | Err(_) => Written::Failed,
    }
}
