//! An API server that fails when a test says so.
//!
//! [`FaultyApi`] is a proxy in front of the real API server: programs under test talk to it over plain HTTP on the
//! loopback device (HTTP/1.1, or HTTP/2 with prior knowledge). Requests without credentials go on with those of the
//! harness; a request with an `Authorization` header goes on with that and nothing else, so the rights of a service
//! account are those it really has. Answers are passed on as they come, so watches flow. Exec, attach and port-forward
//! are not passed on.
//!
//! ```no_run
//! # use modelwright_e2e::{cluster, faults::{Fault, FaultyApi, Requests}};
//! # async fn test() -> anyhow::Result<()> {
//! let api = FaultyApi::start(cluster::config().await?).await?;
//! let operator = api.client()?; // or api.kubeconfig(None) for a process
//! // Whatever the moment at which the operator dies, the next one finishes its work:
//! for write in 1.. {
//!     let fault = api.inject(Fault::refused().on(Requests::writes()).from_nth(write));
//!     // ... run the operator against `operator` until it gives up, then ...
//!     if fault.remove() == 0 {
//!         break; // it got through with fewer writes
//!     }
//!     // ... run it again and look at the result.
//! }
//! # Ok(())
//! # }
//! ```

mod body;
mod fault;
mod proxy;
mod record;
mod request;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use kube::{
    Client, Config,
    config::{AuthInfo, KubeConfigOptions, Kubeconfig},
};
use tokio::{net::TcpListener, task::JoinSet};

use self::proxy::Shared;
pub use self::{
    fault::Fault,
    record::{Outcome, Write},
    request::{Request, Requests},
};

/// How long the proxy tries to get its port back.
const REBIND: Duration = Duration::from_secs(10);

/// A proxy in front of the API server. Dropping it ends it.
pub struct FaultyApi {
    shared: Arc<Shared>,
    address: SocketAddr,
    /// Empty while it is stopped.
    server: JoinSet<()>,
}

impl FaultyApi {
    /// Starts a proxy to the API server of `upstream` on a free port of the loopback device.
    pub async fn start(mut upstream: Config) -> anyhow::Result<Self> {
        // The client under test is to see every refusal of the API server, and to decide on its own.
        upstream.default_retry = false;
        let mut anonymous = upstream.clone();
        anonymous.auth_info = AuthInfo::default();
        let shared = Arc::new(Shared::new(Client::try_from(upstream)?, Client::try_from(anonymous)?));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mut server = JoinSet::new();
        server.spawn(proxy::serve(listener, shared.clone()));
        Ok(Self { shared, address, server })
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A configuration for clients in this process. Without a token they act with the harness's rights.
    pub async fn config(&self, token: Option<&str>) -> anyhow::Result<Config> {
        let kubeconfig = Kubeconfig::from_yaml(&self.kubeconfig(token))?;
        Ok(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)
    }

    /// A client in this process with the harness's rights.
    pub fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::try_from(Config::new(self.url().parse()?))?)
    }

    /// The text of a kubeconfig file for other processes. Without a token they act with the harness's rights.
    pub fn kubeconfig(&self, token: Option<&str>) -> String {
        let user = token.map_or_else(|| "{}".to_owned(), |token| format!("{{token: {token:?}}}"));
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: faulty\n\
             clusters: [{{name: faulty, cluster: {{server: {:?}}}}}]\n\
             users: [{{name: faulty, user: {user}}}]\n\
             contexts: [{{name: faulty, context: {{cluster: faulty, user: faulty}}}}]\n",
            self.url()
        )
    }

    /// From now on that goes wrong, until it is removed.
    pub fn inject(&self, fault: Fault) -> Injected {
        let id = self.shared.faults().add(fault);
        Injected { shared: self.shared.clone(), id }
    }

    /// Removes every fault.
    pub fn clear(&self) {
        self.shared.faults().clear();
    }

    /// Cuts every watch that is open.
    pub fn cut_watches(&self) {
        self.shared.cut.send_replace(());
    }

    /// Cuts every connection and refuses new ones, like an API server that has died.
    pub async fn stop(&mut self) {
        self.server.shutdown().await;
    }

    /// Comes back after [`Self::stop`], at the same address.
    pub async fn resume(&mut self) -> anyhow::Result<()> {
        if !self.server.is_empty() {
            return Ok(());
        }
        let start = Instant::now();
        let listener = loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => break listener,
                // Another program may have got the port for a connection of its own.
                Err(_) if start.elapsed() < REBIND => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(error) => return Err(error).context(format!("cannot listen on {} again", self.address)),
            }
        };
        self.server.spawn(proxy::serve(listener, self.shared.clone()));
        Ok(())
    }

    /// Requests since the start or the last [`Self::forget`], by verb and resource. One is counted when its answer
    /// begins.
    pub fn counts(&self) -> BTreeMap<(String, String), u64> {
        self.shared.record().counts.clone()
    }

    /// How many of these requests there were, by verb and resource.
    pub fn count(&self, verb: &str, resource: &str) -> u64 {
        self.counts().get(&(verb.to_owned(), resource.to_owned())).copied().unwrap_or(0)
    }

    /// The writes since the start or the last [`Self::forget`], in the order in which their answers began.
    pub fn writes(&self) -> Vec<Write> {
        self.shared.record().writes.clone()
    }

    /// Counts and writes begin anew.
    pub fn forget(&self) {
        *self.shared.record() = record::Record::default();
    }
}

/// A fault that was injected. It stays when this is dropped.
pub struct Injected {
    shared: Arc<Shared>,
    id: u64,
}

impl Injected {
    /// How often it has struck.
    pub fn hits(&self) -> u64 {
        self.shared.faults().hits(self.id)
    }

    /// Ends it; how often it has struck.
    pub fn remove(self) -> u64 {
        self.shared.faults().remove(self.id)
    }
}
