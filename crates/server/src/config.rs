//! What a server is told.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use modelwright_protocol::Limits;
use modelwright_runtime::cpus;

use crate::access::Access;
use crate::control::ModelControl;
use crate::trace::Tracer;

/// Where a server listens and what it lets clients do.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The data port's address; port 0 picks a free one. Default `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// The admin port's address; port 0 picks a free one. Default `127.0.0.1:9090`.
    pub admin_listen: SocketAddr,
    /// Bounds on connections, headers, bodies and time.
    pub bounds: Bounds,
    /// Bounds on what a request may contain.
    pub limits: Limits,
    /// Who may send requests to the data port, and whether over TLS. `None`: everybody, without.
    pub access: Option<Arc<Access>>,
    /// How to end.
    pub drain: Drain,
    /// Threads that read requests and write answers, each with a share of the connections. Default: one per processor that
    /// the process may use.
    pub io_threads: NonZeroUsize,
    /// The share of requests that the log mentions, from 0 (none) to 1 (all). Default 0.
    pub access_log: f64,
    /// Who makes traces of requests. Default `None`: nobody.
    pub tracer: Option<Arc<Tracer>>,
    /// Who loads models again when the admin port is asked to. Default `None`: then it refuses.
    pub control: Option<Arc<dyn ModelControl>>,
    /// When the process started, for the cold-start report. Default: when this value was made.
    pub started: Instant,
}

impl Default for ServerConfig {
    fn default() -> Self {
        let local = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        Self {
            listen: local(8080),
            admin_listen: local(9090),
            bounds: Bounds::default(),
            limits: Limits::default(),
            access: None,
            drain: Drain::default(),
            io_threads: cpus::available(),
            access_log: 0.0,
            tracer: None,
            control: None,
            started: Instant::now(),
        }
    }
}

/// Bounds on connections, headers, bodies and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of one request body, before and after inflating. Default 64 MiB. More is refused with 413.
    pub max_body_bytes: usize,
    /// Bytes that all requests may hold at once: their bodies and, by an estimate from the text, their tensors, from the
    /// first byte until the answer is written. Default 512 MiB. A request beyond it is refused with 503; a larger one is
    /// taken when nothing else is held.
    pub max_bodies_bytes: usize,
    /// Bytes of a request's head. Default 64 KiB, at least 8 KiB.
    pub max_header_bytes: usize,
    /// Header fields of a request. Default 100.
    pub max_headers: usize,
    /// Connections on the data port; further ones wait in the kernel's queue. Default 1,024.
    pub max_connections: usize,
    /// How long a client may take for a request's head, and how long an HTTP/1.1 connection may be idle. Default 75 s:
    /// proxies keep idle connections for 60 s, and one that a server closes first can lose a request.
    pub header_read_timeout: Duration,
    /// How long a client may take for a request's body. Default 60 s. More is answered with 408.
    pub body_read_timeout: Duration,
    /// How long a client may leave an answer lying without taking a byte of it. Default 60 s. Then the connection is
    /// closed.
    pub write_timeout: Duration,
    /// How long a request may wait and run, unless it asks for less. Default 60 s. More is answered with 504.
    pub request_timeout: Duration,
    /// How old a connection of the data port may get, give or take a tenth, before its client is asked to open another,
    /// which a load balancer may send to a newer server. No request is lost. Default 10 minutes; `None`: any age.
    pub max_connection_age: Option<Duration>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            max_body_bytes: 64 << 20,
            max_bodies_bytes: 512 << 20,
            max_header_bytes: 64 << 10,
            max_headers: 100,
            max_connections: 1024,
            header_read_timeout: Duration::from_secs(75),
            body_read_timeout: Duration::from_mins(1),
            write_timeout: Duration::from_mins(1),
            request_timeout: Duration::from_mins(1),
            max_connection_age: Some(Duration::from_mins(10)),
        }
    }
}

/// How a server ends after its shutdown future has completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// How long it goes on accepting with readiness withdrawn, so that load balancers look elsewhere first. Default 5 s.
    pub delay: Duration,
    /// How long requests then have to finish. Default 20 s: with the delay less than the 30 s that Kubernetes gives.
    pub grace: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self { delay: Duration::from_secs(5), grace: Duration::from_secs(20) }
    }
}
