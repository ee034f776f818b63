//! The admin port: probes, metrics, the reports of cold start and load and, where the server allows it, loading and unloading models; on
//! a thread of its own with a runtime of its own.
//!
//! Whatever the data port is busy with, a probe is answered at once; and a probe says what Kubernetes needs to know, not
//! what a client of the protocol does. Every connection is for one request, and a new one takes the place of the oldest
//! where there are too many: nobody can keep the probes out with connections that say nothing.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use http::header::HeaderValue;
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::acceptor::Acceptor;
use crate::answer::{self, Body, Refusal, Response};
use crate::coldstart;
use crate::compress::{self, Coding};
use crate::config::Bounds;
use crate::connection::Connections;
use crate::control::{self, Control, Verb};
use crate::error::Error;
use crate::load::Loads;
use crate::metrics::Metrics;
use crate::phase::Phase;
use crate::registry::Registry;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
/// Probes and scrapers are few.
const MAX_CONNECTIONS: usize = 64;
/// How long a client may take for its request's head: probes give up after a few seconds themselves.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(5);

/// What the admin port reads.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    pub(crate) registry: Arc<Registry>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) phase: Phase,
    pub(crate) control: Arc<Control>,
    pub(crate) loads: Arc<Loads>,
    pub(crate) started: Instant,
}

/// The running admin port. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct AdminThread {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl AdminThread {
    /// Starts to answer on a bound listener.
    pub(crate) fn start(listener: StdListener, bounds: &Bounds, admin: Admin) -> Result<Self, Error> {
        let address = listener.local_addr().map_err(Error::AdminThread)?;
        let (stop, stopped) = oneshot::channel();
        let header_read_timeout = bounds.header_read_timeout.min(HEADER_READ_TIMEOUT);
        let bounds = Bounds { max_connection_age: None, header_read_timeout, ..*bounds };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::AdminThread)?;
        let thread = std::thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || {
                if let Err(error) = runtime.block_on(serve(listener, &bounds, admin, stopped)) {
                    tracing::error!(%error, "the admin port ended");
                }
            })
            .map_err(Error::AdminThread)?;
        Ok(Self { address, stop, thread })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the thread and waits for it, so that the port is free afterwards. Takes milliseconds.
    pub(crate) fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the admin thread panicked");
        }
    }
}

async fn serve(
    listener: StdListener,
    bounds: &Bounds,
    admin: Admin,
    mut stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    // One more than stay, so that there is always a place to accept the next.
    let acceptor = Acceptor::new(TcpListener::from_std(listener)?, MAX_CONNECTIONS + 1);
    let connections = Connections::brief(bounds);
    // It ends with this thread's runtime.
    tokio::spawn(Arc::clone(&admin.loads).watch());
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    let handler = move |request: Request<Incoming>| {
        let admin = admin.clone();
        async move { admin.handle(request).await.map(Body::from) }
    };
    loop {
        tokio::select! {
            // Completes when the other end is dropped.
            _ = &mut stopped => return Ok(()),
            (stream, permit) = acceptor.accept() => {
                open.retain(|connection| !connection.is_finished());
                open.push_back(connections.serve(stream, permit, &handler));
                // Answers take no time, so the oldest is one that does not ask, or does not read. A model that it asked to
                // load is loaded all the same.
                if open.len() > MAX_CONNECTIONS && let Some(oldest) = open.pop_front() {
                    oldest.abort();
                }
            }
        }
    }
}

impl Admin {
    async fn handle(self, request: Request<Incoming>) -> Response {
        let answer = match control::parse(request.uri().path()) {
            Some((model, verb)) => self.control(&model, verb, request).await,
            None => self.inform(&request),
        };
        answer.unwrap_or_else(Refusal::into_response)
    }

    async fn control(
        &self,
        model: &str,
        verb: Verb,
        request: Request<Incoming>,
    ) -> Result<Response, Refusal> {
        if request.method() != Method::POST {
            return Err(Refusal::method("POST"));
        }
        self.control.answer(model, verb, request.into_body()).await
    }

    fn inform(&self, request: &Request<Incoming>) -> Result<Response, Refusal> {
        let answer = match request.uri().path() {
            "/livez" => Ok(answer::with_type(StatusCode::OK, TEXT, "ok\n")),
            "/readyz" => Ok(self.ready()),
            "/metrics" => self.metrics(compress::accepted(request.headers())),
            "/debug/coldstart" => Ok(answer::json(&coldstart::report(&self.registry, self.started))),
            "/load" => Ok(answer::json(&self.loads.report())),
            _ => Err(Refusal::not_found(
                "there are /livez, /readyz, /metrics, /debug/coldstart, /load and POST /v2/repository/models/{model}/load and \
                 /unload here",
            )),
        };
        match answer {
            Ok(_) if request.method() != Method::GET && request.method() != Method::HEAD => {
                Err(Refusal::method("GET, HEAD"))
            }
            other => other,
        }
    }

    /// The reasons stand in the body because `kubectl describe` shows it.
    fn ready(&self) -> Response {
        let mut reasons = self.registry.why_not_ready();
        if self.phase.is_draining() {
            reasons.insert(0, "the server is shutting down".to_owned());
        }
        if reasons.is_empty() {
            return answer::with_type(StatusCode::OK, TEXT, "ok\n");
        }
        answer::with_type(StatusCode::SERVICE_UNAVAILABLE, TEXT, reasons.join("\n") + "\n")
    }

    /// Scrapers mostly ask for a packed answer, and this one is long and packs well.
    fn metrics(&self, coding: Option<Coding>) -> Result<Response, Refusal> {
        let text = self
            .metrics
            .text(&self.phase)
            .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        let response = answer::with_type(StatusCode::OK, OPEN_METRICS, text);
        Ok(compress::packed(response, coding))
    }
}
