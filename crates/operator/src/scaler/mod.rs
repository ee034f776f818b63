//! An external scaler for KEDA: tells by gRPC how busy the pods of a Model are, so that their number can follow it.
//!
//! The processor says little of a model that computes on a GPU or waits for a batch to fill. What does is in the servers
//! themselves: requests in flight, the share of time that sessions run, and how long requests wait for one. KEDA asks for it through
//! the interface of its external scalers; no aggregated API of ours is needed.
//!
//! | Module | What | I/O |
//! |---|---|---|
//! | `trigger` | what is asked for, read and checked; the sum over pods | none |
//! | `known` | which Models and pods there are | watches |
//! | `loads` | what pods tell | one GET each, as [`pull`](crate::pull) does |
//! | `service` | the calls | none of its own |
//!
//! Every process answers, whether it leads or not: nothing is written. Whoever reaches the port can learn how busy a Model is
//! in the namespaces that are watched, and nothing else; who that is, a network policy says.

use std::{io, net::SocketAddr, time::Duration};

use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use kube::Client;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

mod known;
mod loads;
pub mod messages;
mod service;
#[cfg(test)]
mod tests;
mod trigger;

use crate::{controller::Options, stores::ModelKey};
use known::{Known, Standing};
use loads::{Loads, Told};
use service::{Cluster, Service};

/// Autoscalers are few, and each has one connection for all of its calls.
const MAX_CONNECTIONS: usize = 64;
const MAX_CALLS: u32 = 128;
const MAX_HEADER_BYTES: u32 = 16 << 10;
/// A connection whose other end went without a word ends after this silence and a moment.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long a new connection may take to say that it speaks HTTP/2: before that it cannot be asked whether the other end is there.
const FIRST_BYTES: Duration = Duration::from_secs(5);
/// What every connection of HTTP/2 begins with (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The pause until a preface is looked at again of which a part is there.
const PEEK_PAUSE: Duration = Duration::from_millis(20);
/// The pause when the operating system gives no more connections.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The running scaler. Dropping it ends it.
#[derive(Debug)]
pub struct Scaler {
    address: SocketAddr,
    _task: JoinSet<()>,
}

impl Scaler {
    /// Listens on an address, and watches the namespaces of these options.
    pub async fn start(listen: SocketAddr, client: &Client, options: &Options) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let live = Live { known: Known::start(client, &options.scopes()), loads: Loads::default() };
        Self::serve(listener, Service::new(live))
    }

    fn serve<C: Cluster>(listener: TcpListener, service: Service<C>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let mut task = JoinSet::new();
        task.spawn(accept(listener, service));
        Ok(Self { address, _task: task })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

/// What there is in a cluster.
#[derive(Debug)]
struct Live {
    known: Known,
    loads: Loads,
}

impl Cluster for Live {
    fn is_complete(&self) -> bool {
        self.known.is_complete()
    }

    fn standing(&self, model: &ModelKey) -> Option<Standing> {
        self.known.standing(model)
    }

    async fn told(&self, model: &ModelKey) -> Told {
        self.loads.of(model, || self.known.pods(model)).await
    }
}

async fn accept<C: Cluster>(listener: TcpListener, service: Service<C>) {
    let mut connections = JoinSet::new();
    loop {
        // With all places taken, the next waits for one.
        while connections.len() >= MAX_CONNECTIONS {
            connections.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                while connections.try_join_next().is_some() {}
                connections.spawn(connection(stream, service.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection on the scaler's port");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether the other end says all of the preface in time. What answers calls would wait for the rest without end.
async fn speaks(stream: &TcpStream) -> bool {
    let said = async {
        let mut said = [0; PREFACE.len()];
        loop {
            let count = stream.peek(&mut said).await.unwrap_or(0);
            match said.get(..count) {
                Some(all) if all == PREFACE => return true,
                Some(part) if !part.is_empty() && PREFACE.starts_with(part) => {
                    tokio::time::sleep(PEEK_PAUSE).await;
                }
                _ => return false,
            }
        }
    };
    tokio::time::timeout(FIRST_BYTES, said).await.unwrap_or(false)
}

async fn connection<C: Cluster>(stream: TcpStream, service: Service<C>) {
    if !speaks(&stream).await {
        return;
    }
    // What is sent is small and waited for.
    let _ = stream.set_nodelay(true);
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .max_concurrent_streams(MAX_CALLS)
        .max_header_list_size(MAX_HEADER_BYTES)
        .serve_connection(
            TokioIo::new(stream),
            service_fn(move |request: http::Request<Incoming>| service.clone().answer(request)),
        );
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to the scaler's port ended early");
    }
}
