//! A node that runs nothing and reports what a test says.
//!
//! It is what the tests need of a kubelet where the control plane is real and no container runs: it registers a Node
//! and keeps it Ready, the real scheduler binds pods to it, and it writes their status as a [`PodScript`] says, in the
//! words of the kubelet. What a kubelet does beside that it does not do: no probes are run (a script says when a
//! container is ready), no volumes mounted, no restart rules by exit code (`restartPolicyRules`), no resize in place, no
//! ephemeral containers, no logs and no exec.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use modelwright_e2e::scripted_node::{ContainerScript, Exit, PodMatcher, PodScript, ScriptedNode};
//! # async fn test() -> anyhow::Result<()> {
//! let client = modelwright_e2e::cluster::connect().await?;
//! let node = ScriptedNode::start(client, "node-of-this-test").await?;
//! node.on(
//!     PodMatcher::any().label("app", "shop"),
//!     PodScript::default().container("serve", ContainerScript::runs().ready_after(Duration::from_secs(2))),
//! );
//! // ... and later, for pods that live already:
//! node.on(
//!     PodMatcher::any().name_prefix("shop-0"),
//!     PodScript::default().container("serve", ContainerScript::exits(Exit::oom_killed())),
//! );
//! node.stop().await
//! # }
//! ```
//!
//! The state at a time is a pure function of the pod, its script and the time (`status`, `course`, `life`,
//! `conditions`); `agent` watches, keeps time and writes.

mod address;
mod agent;
mod conditions;
mod course;
mod life;
mod pool;
mod registration;
mod script;
mod status;
#[cfg(test)]
mod tests;
mod tracked;

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, Hash},
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::Time};
use kube::Client;
use tokio::{sync::Notify, task::JoinSet};

pub(crate) use self::pool::effective;
use self::{address::Addresses, agent::Agent};
pub use self::{
    pool::LABEL as POOL_LABEL,
    script::{ContainerScript, Exit, PodMatcher, PodScript},
};

/// A scripted node at work. Dropping it ends the work and leaves the objects, as a node that is switched off does: a
/// node of the same name takes them over.
pub struct ScriptedNode {
    client: Client,
    name: String,
    rules: Rules,
    /// End with it.
    tasks: JoinSet<()>,
}

impl ScriptedNode {
    /// A node of that name with room for thousands of pods and without further resources, open to every pod.
    pub async fn start(client: Client, name: &str) -> anyhow::Result<Self> {
        Self::builder(client, name).start().await
    }

    /// A node of that name, to be described further.
    pub fn builder(client: Client, name: &str) -> NodeBuilder {
        NodeBuilder {
            client,
            specification: NodeSpecification {
                name: name.to_owned(),
                host_ip: Addresses::of_node(name).node(),
                since: Time(Timestamp::now()),
                resources: BTreeMap::new(),
                labels: BTreeMap::new(),
                pool: None,
            },
        }
    }

    /// The name of the Node.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// From now on pods that match behave so, those that live already from the state in which they are. Of several
    /// rules that match a pod the latest holds.
    pub fn on(&self, matcher: PodMatcher, script: PodScript) {
        self.rules.add(matcher, script);
    }

    /// Ends the work and deletes the Node. Its pods should be gone before: nobody else ends them, and the pod garbage
    /// collector takes a minute.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.tasks.shutdown().await;
        Ok(registration::remove(&self.client, &self.name).await?)
    }
}

/// Describes a scripted node before it is started.
pub struct NodeBuilder {
    client: Client,
    specification: NodeSpecification,
}

impl NodeBuilder {
    /// The node has that much of a resource: `nvidia.com/gpu`, or less of `cpu`, `memory`, `pods`.
    #[must_use]
    pub fn resource(mut self, name: &str, quantity: &str) -> Self {
        self.specification.resources.insert(name.to_owned(), Quantity(quantity.to_owned()));
        self
    }

    /// The node has that label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.specification.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// The node takes only the pods of namespaces with the label [`POOL_LABEL`] of that value, and these come to no
    /// other node. So tests run side by side, and in a cluster in use no other pod comes to this node.
    #[must_use]
    pub fn pool(mut self, pool: &str) -> Self {
        self.specification.pool = Some(pool.to_owned());
        self
    }

    /// Registers the node and starts its work; returns when pods can be scheduled to it.
    pub async fn start(self) -> anyhow::Result<ScriptedNode> {
        let Self { client, specification } = self;
        if specification.pool.is_some() {
            pool::install(&client).await?;
        }
        registration::register(&client, &specification).await?;
        let rules = Rules::default();
        let agent = Agent::new(client.clone(), &specification.name, rules.clone());
        let mut tasks = JoinSet::new();
        let name = specification.name.clone();
        tasks.spawn(registration::keep_ready(client.clone(), specification));
        tasks.spawn(agent.work());
        Ok(ScriptedNode { client, name, rules, tasks })
    }
}

/// What the Node object says.
#[derive(Clone, Debug)]
struct NodeSpecification {
    name: String,
    host_ip: Ipv4Addr,
    since: Time,
    resources: BTreeMap<String, Quantity>,
    labels: BTreeMap<String, String>,
    pool: Option<String>,
}

type Rule = (PodMatcher, Arc<PodScript>);

/// The rules of a node, shared by the test that adds them and the agent that reads them.
#[derive(Clone, Debug, Default)]
struct Rules {
    list: Arc<Mutex<Vec<Rule>>>,
    added: Arc<Notify>,
}

impl Rules {
    fn add(&self, matcher: PodMatcher, script: PodScript) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).push((matcher, Arc::new(script)));
        self.added.notify_one();
    }

    /// The rule that holds for a pod: its number and script. Number 0 is the default script.
    fn of(&self, pod: &k8s_openapi::api::core::v1::Pod) -> (usize, Arc<PodScript>) {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let found = list.iter().enumerate().rev().find(|(_, (matcher, _))| matcher.matches(pod));
        found.map_or_else(|| (0, Arc::default()), |(index, (_, script))| (index + 1, script.clone()))
    }
}

/// The same number for the same value in every process.
fn hash(value: &impl Hash) -> u64 {
    std::hash::BuildHasherDefault::<std::collections::hash_map::DefaultHasher>::new().hash_one(value)
}
