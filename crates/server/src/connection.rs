//! Speaking HTTP/1.1 or HTTP/2 on a connection, and ending it in order.
//!
//! A connection that has reached its age ends without losing a request: on HTTP/2 with a GOAWAY, on HTTP/1.1 with
//! `Connection: close` on its next answer, because closing an idle one could cross a request on its way. An idle one that
//! never asks again ends at the bound for idle connections.

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use http::header::CONNECTION;
use http::{HeaderValue, Request, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use self::pulse::{Pulse, Watched};
use crate::access::{MaybeTls, Tls};
use crate::answer::Outgoing;
use crate::config::Bounds;

mod pulse;

/// Requests at once on one HTTP/2 connection. A client of gRPC sends all that it has over one connection, and what is beyond
/// this waits there unseen: it should be enough to fill every queue and batch. What requests cost is bounded elsewhere, by
/// the memory of all of them together.
const MAX_STREAMS: u32 = 256;
/// What a client may send of one request before the server has read it. The protocol's 64 KiB would stop a tensor of a
/// megabyte for a round trip sixteen times.
const STREAM_WINDOW: u32 = 1 << 20;
/// The same for all requests of a connection together: it bounds what the server holds of them before anybody counts it.
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Larger than the protocol's 16 KiB, so that a tensor is fewer pieces.
const MAX_FRAME: u32 = 64 << 10;
/// The header fields that hyper takes where nobody says otherwise.
const HYPER_MAX_HEADERS: usize = 100;
/// hyper's least buffer for a head.
const LEAST_HEADER_BYTES: usize = 8192;

/// Serves connections and hands their requests to a handler.
pub(crate) struct Connections {
    builder: Arc<auto::Builder<TokioExecutor>>,
    bounds: Bounds,
    tls: Option<Tls>,
    /// True when every connection is to end; each holds a receiver for as long as it lives.
    ending: watch::Sender<bool>,
}

impl Connections {
    /// Connections that stay for many requests, of either protocol.
    pub(crate) fn new(bounds: &Bounds, tls: Option<Tls>) -> Self {
        Self::with(bounds, tls, auto::Builder::new(TokioExecutor::new()))
    }

    /// Connections for one request of HTTP/1.1 each.
    pub(crate) fn brief(bounds: &Bounds) -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
        builder.http1().keep_alive(false);
        Self::with(bounds, None, builder)
    }

    fn with(bounds: &Bounds, tls: Option<Tls>, mut builder: auto::Builder<TokioExecutor>) -> Self {
        let head = bounds.max_header_bytes.max(LEAST_HEADER_BYTES);
        // Not `pipeline_flush`: with it, hyper never sends the 400 for a head that it cannot parse. And no timeout of
        // hyper's for heads, which is a timer for each: the pulse keeps it.
        builder.http1().header_read_timeout(None).max_buf_size(head);
        // Saying what is so already makes hyper take memory for every head.
        if bounds.max_headers != HYPER_MAX_HEADERS {
            builder.http1().max_headers(bounds.max_headers);
        }
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(MAX_FRAME)
            .max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX))
            .keep_alive_interval(bounds.header_read_timeout)
            .keep_alive_timeout(bounds.header_read_timeout);
        Self { builder: Arc::new(builder), bounds: *bounds, tls, ending: watch::Sender::new(false) }
    }

    /// Serves a connection on a task of its own, which holds `place` until it ends. What comes back can end it at once.
    pub(crate) fn serve<H, F>(
        &self,
        stream: TcpStream,
        place: impl Send + 'static,
        handler: &H,
    ) -> AbortHandle
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Outgoing> + Send + 'static,
    {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        // Outside, so that it counts what the client says, and not the handshake.
        let stream = MaybeTls::new(stream, self.tls.as_ref());
        let pulse = Arc::new(Pulse::new());
        let io = TokioIo::new(Watched { stream, pulse: Arc::clone(&pulse) });
        let service = {
            let (handler, pulse) = (handler.clone(), Arc::clone(&pulse));
            service_fn(move |request: Request<Incoming>| {
                let pulse = Arc::clone(&pulse);
                let http1 = request.version() <= Version::HTTP_11;
                let response = handler(request);
                async move {
                    pulse.begin();
                    let mut response = response.await;
                    pulse.end();
                    if http1 && pulse.is_old() {
                        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                    }
                    Ok::<_, Infallible>(response)
                }
            })
        };
        let connection = self.builder.serve_connection(io, service).into_owned();
        let (bounds, ending) = (self.bounds, self.ending.subscribe());
        let task = tokio::spawn(async move {
            let (_place, ending) = (place, ending);
            let mut connection = pin!(connection);
            // The task has its own receiver as long as it lives, by which `finish` knows.
            let mut signals = signals(&pulse, bounds, ending.clone());
            loop {
                tokio::select! {
                    // The connection first: it is what there mostly is to do.
                    biased;
                    result = &mut connection => {
                        if let Err(error) = result {
                            tracing::debug!(%error, "a connection ended early");
                        }
                        return;
                    }
                    Some(signal) = signals.next() => match signal {
                        Signal::Ending => connection.as_mut().graceful_shutdown(),
                        Signal::Old => {
                            if pulse.grow_old() {
                                connection.as_mut().graceful_shutdown();
                            }
                        }
                        Signal::Stop(why) => {
                            tracing::debug!("a connection was closed: {why}");
                            return;
                        }
                    }
                }
            }
        });
        task.abort_handle()
    }

    /// Lets every connection finish the requests that it has; completes when all have.
    pub(crate) async fn finish(self) {
        self.ending.send_replace(true);
        self.ending.closed().await;
    }
}

/// What happens to a connection from outside.
enum Signal {
    /// It is to finish what it has.
    Ending,
    /// It has reached its age.
    Old,
    /// It is to end at once, because of this.
    Stop(&'static str),
}

/// What may happen to a connection that begins now. Each is woken by itself, so that a request, which wakes the task of its
/// connection several times, polls none of them.
fn signals(
    pulse: &Arc<Pulse>,
    bounds: Bounds,
    mut ending: watch::Receiver<bool>,
) -> FuturesUnordered<BoxFuture<'static, Signal>> {
    let pulse = Arc::clone(pulse);
    FuturesUnordered::from_iter([
        async move {
            // An error would say that nobody can tell any more; then the thread ends.
            let _ = ending.wait_for(|ending| *ending).await;
            Signal::Ending
        }
        .boxed(),
        aged(bounds.max_connection_age).map(|()| Signal::Old).boxed(),
        async move { Signal::Stop(pulse.stops(&bounds).await) }.boxed(),
    ])
}

/// Completes when a connection that begins now has reached its age.
async fn aged(most: Option<Duration>) {
    match most {
        Some(most) => tokio::time::sleep(spread(most, RandomState::new().hash_one(0))).await,
        None => std::future::pending().await,
    }
}

/// A time up to a tenth shorter or longer, so that connections that began together do not end together.
fn spread(time: Duration, random: u64) -> Duration {
    let part = (random % 2001) as f64 / 10_000.0;
    time.mul_f64(0.9 + part)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::acceptor::Acceptor;

    #[tokio::test]
    async fn connections_that_wait_when_the_listener_closes_are_served() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut clients = Vec::new();
        for _ in 0..3 {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
            clients.push(client);
        }
        let text = HeaderValue::from_static("text/plain");
        let handler = move |_| {
            let answer = crate::answer::with_type(StatusCode::OK, text.clone(), "still here");
            std::future::ready(answer.map(Into::into))
        };
        let connections = Connections::new(&Bounds::default(), None);
        let waiting = Acceptor::new(listener, 10).close().unwrap();
        assert_eq!(waiting.len(), 3);
        for (stream, permit) in waiting {
            connections.serve(TcpStream::from_std(stream).unwrap(), permit, &handler);
        }
        for mut client in clients {
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert!(answer.ends_with("still here"), "{answer}");
        }
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[test]
    fn ages_are_spread_by_a_tenth() {
        let age = Duration::from_mins(10);
        assert_eq!(spread(age, 0), Duration::from_mins(9));
        assert_eq!(spread(age, 1000), age);
        assert!(spread(age, 2000).abs_diff(Duration::from_mins(11)) < Duration::from_millis(1));
        for random in [1, 999, u64::MAX] {
            assert!((540..=660).contains(&spread(age, random).as_secs()));
        }
    }
}
