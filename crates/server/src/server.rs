//! Binding the ports, running, and ending in order.
//!
//! The end, after the shutdown future has completed: readiness is withdrawn at once while everything is still answered
//! (`Drain::delay`), because load balancers go on sending for as long as it takes them to notice; then no new connection
//! is taken and those there are finish their requests (`Drain::grace`); what is left then is given up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use tokio::net::TcpListener;

use crate::admin::{Admin, AdminThread};
use crate::config::{Drain, ServerConfig};
use crate::connection::Connections;
use crate::data::Data;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::phase::Phase;
use crate::registry::{ModelState, Registry};

/// How long the last connections have to bring the request that their clients have sent.
const SETTLE: Duration = Duration::from_millis(100);
/// How long answers to requests that were given up may take to be written.
const GOODBYE: Duration = Duration::from_millis(500);

/// The way to a [`BoundServer`].
#[derive(Debug)]
pub struct Server;

impl Server {
    /// Takes both ports and starts to answer on the admin port, so that probes see models load. The data port accepts
    /// connections from now on and answers them from [`BoundServer::run`] on.
    ///
    /// The models of the registry may come and go at any time.
    pub async fn bind(config: ServerConfig, registry: Arc<Registry>) -> Result<BoundServer, Error> {
        let listener = listen(config.listen, "--listen").await?;
        let data_addr =
            listener.local_addr().map_err(|error| Error::bind(config.listen, "--listen", error))?;
        let admin_error = |error| Error::bind(config.admin_listen, "--admin-listen", error);
        let admin_listener =
            listen(config.admin_listen, "--admin-listen").await?.into_std().map_err(admin_error)?;

        let metrics = Arc::new(Metrics::new(config.started.elapsed()));
        let phase = Phase::default();
        let admin = Admin {
            registry: Arc::clone(&registry),
            metrics: Arc::clone(&metrics),
            phase: phase.clone(),
            started: config.started,
        };
        let admin = AdminThread::start(admin_listener, &config.bounds, admin)?;
        let data = Arc::new(Data::new(&config, registry, metrics, phase));
        let connections = Connections::new(&config.bounds);
        Ok(BoundServer { listener, data_addr, admin, data, connections, drain: config.drain })
    }
}

async fn listen(address: SocketAddr, option: &'static str) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|error| Error::bind(address, option, error))
}

/// A server that has its ports.
pub struct BoundServer {
    listener: TcpListener,
    data_addr: SocketAddr,
    admin: AdminThread,
    data: Arc<Data>,
    connections: Connections,
    drain: Drain,
}

impl std::fmt::Debug for BoundServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BoundServer")
            .field("data_addr", &self.data_addr)
            .field("admin_addr", &self.admin.address())
            .finish_non_exhaustive()
    }
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainReport {
    /// Requests that were not answered, or whose answers had not left, within the grace period and were given up.
    pub abandoned: usize,
}

impl BoundServer {
    /// Where the data port listens, with the actual port.
    pub const fn data_addr(&self) -> SocketAddr {
        self.data_addr
    }

    /// Where the admin port listens, with the actual port.
    pub const fn admin_addr(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Serves until `shutdown` completes, then ends as the module's documentation says. Both ports are free afterwards.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> DrainReport {
        let Self { listener, data_addr: _, admin, data, connections, drain } = self;
        let handler = {
            let data = Arc::clone(&data);
            move |request: Request<Incoming>| Arc::clone(&data).handle(request)
        };
        accept_until(&connections, &listener, &handler, shutdown).await;
        tracing::info!(delay = ?drain.delay, grace = ?drain.grace, "shutting down");
        data.phase.start_draining();
        accept_until(&connections, &listener, &handler, tokio::time::sleep(drain.delay)).await;
        match connections.accept_waiting(listener, &handler) {
            Ok(0) => {}
            // A connection of which nothing has been read yet would be closed as an idle one.
            Ok(_) => tokio::time::sleep(SETTLE).await,
            Err(error) => tracing::warn!(%error, "cannot take the connections that wait"),
        }
        let report = finish(connections, &data, drain.grace).await;
        // Joining blocks, for milliseconds; the runtime need not wait for it.
        if tokio::task::spawn_blocking(move || admin.stop()).await.is_err() {
            tracing::error!("the admin port did not end");
        }
        report
    }
}

/// Accepts connections until a future completes.
async fn accept_until<H, F>(
    connections: &Connections,
    listener: &TcpListener,
    handler: &H,
    end: impl Future<Output = ()>,
) where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = crate::answer::Response> + Send + 'static,
{
    let mut end = std::pin::pin!(end);
    loop {
        tokio::select! {
            biased;
            () = &mut end => return,
            _ = connections.accept(listener, handler) => {}
        }
    }
}

/// Waits for the requests that there are, at most for the grace period, and gives up the rest.
async fn finish(connections: Connections, data: &Data, grace: Duration) -> DrainReport {
    let mut finishing = std::pin::pin!(connections.finish());
    if tokio::time::timeout(grace, &mut finishing).await.is_ok() {
        return DrainReport { abandoned: 0 };
    }
    let abandoned = data.phase.in_flight();
    tracing::warn!(abandoned, "the grace period is over; giving up the requests that are left");
    for state in data.registry.snapshot().values() {
        if let ModelState::Ready(ready) = state {
            ready.model().abort();
        }
    }
    // Given-up requests get their 503, if their clients still read.
    if tokio::time::timeout(GOODBYE, finishing).await.is_err() {
        tracing::debug!("connections were still open at the end");
    }
    DrainReport { abandoned }
}
