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

use crate::acceptor::Acceptor;
use crate::admin::{Admin, AdminThread};
use crate::config::{Drain, ServerConfig};
use crate::control::Control;
use crate::data::Data;
use crate::error::Error;
use crate::load::Loads;
use crate::metrics::Metrics;
use crate::observe;
use crate::phase::Phase;
use crate::registry::{ModelState, Registry};
use crate::sharded;
use crate::threads::{IoThreads, OpenConnections};

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

        let open = OpenConnections::new(config.io_threads.get());
        let metrics = Arc::new(Metrics::new(
            config.started.elapsed(),
            Arc::clone(&registry),
            open.clone(),
            config.tracer.clone(),
        ));
        let phase = Phase::new(config.io_threads.get());
        let admin = Admin {
            registry: Arc::clone(&registry),
            metrics: Arc::clone(&metrics),
            phase: phase.clone(),
            control: Arc::new(Control::new(config.control.clone(), Arc::clone(&registry))),
            loads: Arc::new(Loads::new(Arc::clone(&registry), config.started)),
            started: config.started,
        };
        let admin = AdminThread::start(admin_listener, &config.bounds, admin)?;
        let data = Arc::new(Data::new(&config, registry, metrics, phase));
        let tls = config.access.as_ref().and_then(|access| access.tls()).cloned();
        let handler = || {
            // Each thread has its own: counting its holders writes nothing that another thread reads.
            let data = Arc::new(data.for_thread());
            move |request: Request<Incoming>| {
                let data = Arc::clone(&data);
                async move { data.handle(request).await }
            }
        };
        let threads = IoThreads::start(&config.bounds, tls.as_ref(), open, on_thread_start, handler)?;
        let acceptor = Acceptor::new(listener, config.bounds.max_connections);
        Ok(BoundServer { acceptor, data_addr, admin, data, threads, drain: config.drain })
    }
}

/// What every I/O thread does first.
fn on_thread_start(index: usize) {
    sharded::enter(index);
    modelwright_runtime::lane::enter_io_thread(index);
}

async fn listen(address: SocketAddr, option: &'static str) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|error| Error::bind(address, option, error))
}

/// A server that has its ports.
pub struct BoundServer {
    acceptor: Acceptor,
    data_addr: SocketAddr,
    admin: AdminThread,
    data: Arc<Data>,
    threads: IoThreads,
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
        let Self { acceptor, data_addr: _, admin, data, mut threads, drain } = self;
        accept_until(&acceptor, &mut threads, shutdown).await;
        tracing::info!(delay = ?drain.delay, grace = ?drain.grace, "shutting down");
        data.phase.start_draining();
        accept_until(&acceptor, &mut threads, tokio::time::sleep(drain.delay)).await;
        match acceptor.close() {
            Ok(waiting) if waiting.is_empty() => {}
            Ok(waiting) => {
                for (stream, permit) in waiting {
                    threads.deal(stream, permit);
                }
                // A connection of which nothing has been read yet would be closed as an idle one.
                tokio::time::sleep(SETTLE).await;
            }
            Err(error) => tracing::warn!(%error, "cannot take the connections that wait"),
        }
        data.phase.start_ending();
        let report = finish(threads, &data, drain.grace).await;
        observe::finish(&data).await;
        // Joining blocks, for milliseconds; the runtime need not wait for it.
        if tokio::task::spawn_blocking(move || admin.stop()).await.is_err() {
            tracing::error!("the admin port did not end");
        }
        report
    }
}

/// Deals connections to the threads until a future completes.
async fn accept_until(acceptor: &Acceptor, threads: &mut IoThreads, end: impl Future<Output = ()>) {
    let mut end = std::pin::pin!(end);
    loop {
        tokio::select! {
            biased;
            () = &mut end => return,
            (stream, permit) = acceptor.accept() => match stream.into_std() {
                Ok(stream) => threads.deal(stream, permit),
                Err(error) => tracing::warn!(%error, "cannot hand a connection over"),
            }
        }
    }
}

/// Waits for the requests that there are, at most for the grace period, and gives up the rest.
async fn finish(mut threads: IoThreads, data: &Data, grace: Duration) -> DrainReport {
    let mut finishing = std::pin::pin!(threads.finish());
    if tokio::time::timeout(grace, &mut finishing).await.is_ok() {
        return DrainReport { abandoned: 0 };
    }
    let abandoned = data.phase.unfinished();
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
