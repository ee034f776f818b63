//! The admin port: probes and metrics, on a thread of its own with a runtime of its own, so that they are answered whatever
//! the rest of the process is busy with.
//!
//! Every connection is for one request, and a new one takes the place of the oldest where there are too many: nobody can
//! keep the probes out with connections that say nothing.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use modelwright_api::contract::probes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::metrics::Metrics;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
/// Probes and scrapers are few.
const MAX_CONNECTIONS: usize = 32;
/// How long a connection may last, head, answer and all.
const MAX_TIME: Duration = Duration::from_secs(10);
const MAX_HEADERS: usize = 32;
/// hyper's least buffer for a head.
const MAX_HEAD_BYTES: usize = 8_192;
/// The pause when the operating system gives no more connections.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long Models may wait without any pass ending until the process is taken for stuck. One pass has a limit far below.
const MAX_SILENCE: Duration = Duration::from_mins(5);

/// What the probes say. Clones say the same.
#[derive(Clone, Debug)]
pub struct Health {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    started: Instant,
    ready: AtomicBool,
    /// When a pass ended last, or the first Model began to wait, in milliseconds from `started`.
    progress: AtomicU64,
    waiting: AtomicUsize,
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// Of a process that is starting: alive and not ready.
    pub fn new() -> Self {
        let inner = Inner {
            started: Instant::now(),
            ready: AtomicBool::new(false),
            progress: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Whether the process does its part: a candidate that waits for its turn does; a leader does as soon as it knows what
    /// there is.
    pub fn ready(&self, ready: bool) {
        self.inner.ready.store(ready, Ordering::Relaxed);
    }

    /// A pass over a Model ended, whatever came of it.
    pub fn passed(&self) {
        self.inner.progress.store(self.milliseconds(Instant::now()), Ordering::Relaxed);
    }

    /// So many Models wait for a pass. A process in which some wait and no pass ends is stuck, and is restarted; one that has
    /// nothing to do, or does not lead, is not.
    pub fn waiting(&self, models: usize) {
        if self.inner.waiting.swap(models, Ordering::Relaxed) == 0 {
            self.passed();
        }
    }

    fn milliseconds(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.inner.started).as_millis()).unwrap_or(u64::MAX)
    }

    /// For how long nothing has gone on, if that is too long.
    fn stuck_for(&self, now: Instant) -> Option<Duration> {
        let progress = self.inner.progress.load(Ordering::Relaxed);
        let silence = Duration::from_millis(self.milliseconds(now).saturating_sub(progress));
        (self.inner.waiting.load(Ordering::Relaxed) > 0 && silence >= MAX_SILENCE).then_some(silence)
    }
}

/// The running admin port.
#[derive(Debug)]
pub struct AdminThread {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl AdminThread {
    /// Listens on an address and answers on a new thread.
    pub fn start(listen: SocketAddr, health: Health, metrics: Arc<Metrics>) -> io::Result<Self> {
        let listener = StdListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let admin = Admin { health, metrics };
        let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
            if let Err(error) = runtime.block_on(serve(listener, admin, stopped)) {
                tracing::error!(%error, "the admin port ended");
            }
        })?;
        Ok(Self { address, stop, thread })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the thread and waits for it. Takes milliseconds.
    pub fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the admin thread panicked");
        }
    }
}

#[derive(Clone, Debug)]
struct Admin {
    health: Health,
    metrics: Arc<Metrics>,
}

async fn serve(listener: StdListener, admin: Admin, mut stopped: oneshot::Receiver<()>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            // Completes when the other end is dropped.
            _ = &mut stopped => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                open.retain(|connection| !connection.is_finished());
                open.push_back(tokio::spawn(connection(stream, admin.clone())).abort_handle());
                // Answers take no time, so the oldest is one that does not ask, or does not read.
                if open.len() > MAX_CONNECTIONS
                    && let Some(oldest) = open.pop_front()
                {
                    oldest.abort();
                }
            }
            Err(error) => {
                // Mostly too many open files, which ends by itself; a tight loop would not help.
                tracing::warn!(%error, "cannot accept a connection on the admin port");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, admin: Admin) {
    let service = service_fn(move |request: Request<Incoming>| {
        std::future::ready(Ok::<_, Infallible>(admin.answer(request.method(), request.uri().path())))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(MAX_TIME)
        .keep_alive(false)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(MAX_TIME, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection to the admin port ended early"),
        Err(_) => tracing::debug!("a connection to the admin port took too long"),
    }
}

type Answer = Response<Full<Bytes>>;

impl Admin {
    fn answer(&self, method: &Method, path: &str) -> Answer {
        let answer = match path {
            probes::LIVE => self.live(),
            probes::READY => self.ready(),
            probes::METRICS => self.metrics(),
            _ => text(StatusCode::NOT_FOUND, "there are /livez, /readyz and /metrics here\n"),
        };
        if answer.status() != StatusCode::NOT_FOUND && method != Method::GET && method != Method::HEAD {
            let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "use GET or HEAD\n");
            refusal.headers_mut().insert(http::header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        answer
    }

    fn live(&self) -> Answer {
        match self.health.stuck_for(Instant::now()) {
            None => text(StatusCode::OK, "ok\n"),
            Some(silence) => {
                let message = format!("Models wait, and no pass has ended for {} s\n", silence.as_secs());
                text(StatusCode::SERVICE_UNAVAILABLE, message)
            }
        }
    }

    fn ready(&self) -> Answer {
        if self.health.inner.ready.load(Ordering::Relaxed) {
            text(StatusCode::OK, "ok\n")
        } else {
            text(StatusCode::SERVICE_UNAVAILABLE, "starting, or waiting for the API server\n")
        }
    }

    fn metrics(&self) -> Answer {
        match self.metrics.text() {
            Ok(metrics) => with_type(StatusCode::OK, OPEN_METRICS, metrics),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    with_type(status, TEXT, body)
}

fn with_type(status: StatusCode, kind: HeaderValue, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream as StdStream;

    use super::*;

    fn start() -> (AdminThread, Health) {
        let health = Health::new();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        (AdminThread::start(address, health.clone(), Metrics::shared()).unwrap(), health)
    }

    fn ask(admin: &AdminThread, request: &str) -> String {
        let mut stream = StdStream::connect(admin.address()).unwrap();
        stream.write_all(format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn probes_and_metrics_are_answered() {
        let (admin, health) = start();
        assert!(ask(&admin, "GET /livez").starts_with("HTTP/1.1 200"));
        assert!(ask(&admin, "GET /readyz").starts_with("HTTP/1.1 503"));
        health.ready(true);
        assert!(ask(&admin, "GET /readyz").starts_with("HTTP/1.1 200"));
        assert!(ask(&admin, "GET /metrics").contains("modelwright_leader 0"));
        assert!(ask(&admin, "POST /metrics").starts_with("HTTP/1.1 405"));
        assert!(ask(&admin, "GET /").contains("/livez, /readyz and /metrics"));
        admin.stop();
    }

    #[test]
    fn silent_connections_do_not_keep_probes_out() {
        let (admin, _) = start();
        let silent: Vec<_> =
            (0..MAX_CONNECTIONS * 2).map(|_| StdStream::connect(admin.address()).unwrap()).collect();
        assert!(ask(&admin, "GET /livez").starts_with("HTTP/1.1 200"));
        drop(silent);
        admin.stop();
    }

    #[test]
    fn only_a_process_in_which_models_wait_and_no_pass_ends_is_stuck() {
        let health = Health::new();
        let later = Instant::now() + 2 * MAX_SILENCE;
        assert_eq!(health.stuck_for(later), None);
        health.waiting(3);
        assert_eq!(health.stuck_for(Instant::now()), None);
        assert!(health.stuck_for(later).is_some());
        health.waiting(0);
        assert_eq!(health.stuck_for(later), None);
    }

    #[test]
    fn ended_pass_and_first_waiting_model_begin_the_time_anew() {
        let health = Health::new();
        let started = health.inner.started;
        std::thread::sleep(Duration::from_millis(20));
        health.waiting(1);
        assert_eq!(health.stuck_for(started + MAX_SILENCE), None);
        std::thread::sleep(Duration::from_millis(20));
        health.waiting(2);
        let after_the_first = started + MAX_SILENCE + Duration::from_millis(35);
        health.passed();
        assert_eq!(health.stuck_for(after_the_first), None);
        assert!(health.stuck_for(started + 2 * MAX_SILENCE).is_some());
    }
}
