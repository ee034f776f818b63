//! A namespace per test.
use std::{
    any::Any,
    collections::BTreeMap,
    fmt::Debug,
    panic::{self, AssertUnwindSafe},
    pin::Pin,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::FutureExt;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, ObjectMeta, PostParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    apply, cluster, leaks, report,
    scripted_node::{self, POOL_LABEL, ScriptedNode},
    wait::{self, Seen},
};

/// Until the pods of a deleted namespace must be gone.
const CLEANUP: Duration = Duration::from_mins(2);

/// A namespace that only one test uses.
#[derive(Clone)]
pub struct TestNamespace {
    /// A client with an administrator's rights.
    pub client: Client,
    /// The namespace's name, which is unique.
    pub name: String,
}

impl TestNamespace {
    /// The objects of that kind in this namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// Applies the documents of a YAML text to this namespace.
    pub async fn apply(&self, yaml: &str) -> anyhow::Result<Vec<DynamicObject>> {
        apply::yaml(&self.client, Some(&self.name), yaml).await
    }

    /// Applies a typed object to this namespace.
    pub async fn apply_object<K>(&self, object: &K) -> anyhow::Result<K>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Serialize,
        K::DynamicType: Default,
    {
        apply::object(&self.client, &self.name, object).await
    }
}

/// Runs a test in a namespace of its own, which is deleted afterwards. A test that shows the secret of the tests' store
/// anywhere in the namespace fails. When the test fails or panics, what went on in
/// the namespace is told on standard error, and in full in the folder that `MODELWRIGHT_E2E_LOGS` names.
///
/// ```no_run
/// # use modelwright_e2e::namespace::{TestNamespace, with_namespace};
/// # async fn run() -> anyhow::Result<()> {
/// with_namespace("config", async |namespace: TestNamespace| {
///     namespace.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: one}}").await?;
///     Ok(())
/// })
/// .await
/// # }
/// ```
pub async fn with_namespace(
    name: &str,
    test: impl AsyncFnOnce(TestNamespace) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let namespace = create(cluster::connect().await?, unique(name), BTreeMap::new()).await?;
    let outcome = watched(&namespace, Box::pin(test(namespace.clone()))).await;
    outcome.with(delete(&namespace).await)
}

/// Runs a test like [`with_namespace`], with a scripted node of its own: the namespace's pods come to this node, and no
/// others do.
pub async fn with_scripted_node(
    name: &str,
    test: impl AsyncFnOnce(TestNamespace, &ScriptedNode) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (client, name) = (cluster::connect().await?, unique(name));
    let node = ScriptedNode::builder(client.clone(), &name).pool(&name).start().await?;
    let labels = BTreeMap::from([(POOL_LABEL.to_owned(), name.clone())]);
    let namespace = create(client, name, labels).await?;
    scripted_node::effective(&namespace.client, &namespace.name, &namespace.name).await?;
    let outcome = watched(&namespace, Box::pin(test(namespace.clone(), &node))).await;
    let deleted = delete(&namespace).await;
    // The node ends the pods of the namespace, so it goes after them.
    let ended = pods_gone(&namespace).await;
    let stopped = node.stop().await;
    outcome.with(deleted.and(ended).and(stopped))
}

/// How a test ended.
enum Outcome {
    Returned(anyhow::Result<()>),
    Panicked(Box<dyn Any + Send>),
}

impl Outcome {
    /// The test's own failure comes before that of the cleanup. A panic goes on.
    fn with(self, cleanup: anyhow::Result<()>) -> anyhow::Result<()> {
        match self {
            Self::Returned(result) => result.and(cleanup),
            Self::Panicked(payload) => panic::resume_unwind(payload),
        }
    }
}

/// What a test does is on the heap: of a long one it is larger than what fits on a thread's stack several times.
async fn watched(
    namespace: &TestNamespace,
    test: Pin<Box<impl Future<Output = anyhow::Result<()>>>>,
) -> Outcome {
    let test = async {
        test.await?;
        leaks::none(&namespace.client, &namespace.name).await
    };
    let outcome = match AssertUnwindSafe(test).catch_unwind().await {
        Ok(result) => Outcome::Returned(result),
        Err(payload) => Outcome::Panicked(payload),
    };
    if !matches!(outcome, Outcome::Returned(Ok(()))) {
        report::print(&namespace.client, &namespace.name).await;
    }
    outcome
}

async fn create(
    client: Client,
    name: String,
    labels: BTreeMap<String, String>,
) -> anyhow::Result<TestNamespace> {
    let namespace = Namespace {
        metadata: ObjectMeta { name: Some(name.clone()), labels: Some(labels), ..ObjectMeta::default() },
        ..Namespace::default()
    };
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
    Ok(TestNamespace { client, name })
}

/// Deletes the namespace. What is in it goes on its own: the namespace controller waits 5 s before it begins, and no
/// test needs to wait with it.
async fn delete(namespace: &TestNamespace) -> anyhow::Result<()> {
    let namespaces: Api<Namespace> = Api::all(namespace.client.clone());
    namespaces.delete(&namespace.name, &DeleteParams::default()).await?;
    // From now on nothing new comes into the namespace: a pod that is deleted is not replaced.
    let pods = namespace.api::<Pod>();
    pods.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
    Ok(())
}

async fn pods_gone(namespace: &TestNamespace) -> anyhow::Result<()> {
    let pods = namespace.api::<Pod>();
    let awaited = format!("the pods of {} to be gone", namespace.name);
    wait::wait_for(awaited, CLEANUP, || async {
        let left = pods.list_metadata(&ListParams::default().limit(5)).await?.items;
        let names: Vec<_> = left.iter().map(ResourceExt::name_any).collect();
        Ok(Seen::or_else_saw(left.is_empty().then_some(()), names.join(", ")))
    })
    .await
}

/// Names do not meet within a process, and hardly those of two that run at the same time.
fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() % (1 << 20);
    let process = std::process::id() % (1 << 16);
    format!("e2e-{name}-{time:05x}{process:04x}{}", COUNT.fetch_add(1, Ordering::Relaxed))
}
