//! Accepting connections and speaking HTTP/1.1 or HTTP/2 on them.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::Request;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

use crate::answer::Response;
use crate::config::Bounds;

/// The client's first bytes on HTTP/2; until they are there, or something else is, the protocol is open.
const PREFACE: usize = 24;
/// Requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 32;
/// How long to wait when the operating system gives no more connections.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// hyper's least buffer for a head.
const LEAST_HEADER_BYTES: usize = 8192;

/// Accepts connections and hands their requests to a handler.
pub(crate) struct Connections {
    builder: Arc<auto::Builder<TokioExecutor>>,
    permits: Arc<Semaphore>,
    bounds: Bounds,
    graceful: GracefulShutdown,
}

impl Connections {
    /// Connections that stay for many requests, of either protocol.
    pub(crate) fn new(bounds: &Bounds) -> Self {
        Self::with(bounds, auto::Builder::new(TokioExecutor::new()))
    }

    /// Connections for one request of HTTP/1.1 each.
    pub(crate) fn brief(bounds: &Bounds) -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
        builder.http1().keep_alive(false);
        Self::with(bounds, builder)
    }

    fn with(bounds: &Bounds, mut builder: auto::Builder<TokioExecutor>) -> Self {
        let head = bounds.max_header_bytes.max(LEAST_HEADER_BYTES);
        // Not `pipeline_flush`: with it, hyper never sends the 400 for a head that it cannot parse.
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(bounds.header_read_timeout)
            .max_headers(bounds.max_headers)
            .max_buf_size(head);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX))
            .keep_alive_interval(bounds.header_read_timeout)
            .keep_alive_timeout(bounds.header_read_timeout);
        Self {
            builder: Arc::new(builder),
            permits: Arc::new(Semaphore::new(bounds.max_connections.clamp(1, Semaphore::MAX_PERMITS))),
            bounds: *bounds,
            graceful: GracefulShutdown::new(),
        }
    }

    /// Accepts one connection and serves it on a task of its own. At the bound on connections, further ones wait in the
    /// kernel's queue.
    ///
    /// Cancelling it between two connections loses none. What comes back can end the connection.
    pub(crate) async fn accept<H, F>(&self, listener: &TcpListener, handler: &H) -> Option<AbortHandle>
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else { return None };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Mostly too many open files, which ends by itself; a tight loop would not help.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                return None;
            }
        };
        Some(self.serve(stream, permit, handler))
    }

    /// Accepts the connections that wait already, closes the listener, and says how many there were. They were promised to
    /// their clients by the kernel, and closing the listener would reset them. Asks the kernel itself: tokio only knows
    /// what it heard last.
    pub(crate) fn accept_waiting<H, F>(&self, listener: TcpListener, handler: &H) -> io::Result<usize>
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        let listener = listener.into_std()?;
        let mut count = 0;
        while let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned()
            && let Ok((stream, _)) = listener.accept()
        {
            stream.set_nonblocking(true)?;
            self.serve(TcpStream::from_std(stream)?, permit, handler);
            count += 1;
        }
        Ok(count)
    }

    fn serve<H, F>(&self, stream: TcpStream, permit: OwnedSemaphorePermit, handler: &H) -> AbortHandle
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let (pulse, bounds) = (Arc::new(Pulse::new()), self.bounds);
        let io = TokioIo::new(Watched { stream, pulse: Arc::clone(&pulse) });
        let handler = handler.clone();
        let service = service_fn(move |request| {
            let response = handler(request);
            async move { Ok::<_, Infallible>(response.await.map(Full::new)) }
        });
        let connection = self.builder.serve_connection(io, service).into_owned();
        let connection = self.graceful.watch(connection);
        let task = tokio::spawn(async move {
            let _permit = permit;
            tokio::select! {
                result = pin!(connection) => {
                    if let Err(error) = result {
                        tracing::debug!(%error, "a connection ended early");
                    }
                }
                why = pulse.stops(&bounds) => tracing::debug!("a connection was closed: {why}"),
            }
        });
        task.abort_handle()
    }

    /// Lets every connection finish the requests that it has; completes when all have.
    pub(crate) async fn finish(self) {
        self.graceful.shutdown().await;
    }
}

/// What a client has done on its connection, as far as hyper has no timeout of its own for it.
#[derive(Debug)]
struct Pulse {
    start: Instant,
    /// Bytes that came.
    heard: AtomicUsize,
    /// Since when no byte could be written, in milliseconds from the start plus one; 0: writing goes well.
    stalled: AtomicU64,
}

impl Pulse {
    fn new() -> Self {
        Self { start: Instant::now(), heard: AtomicUsize::new(0), stalled: AtomicU64::new(0) }
    }

    /// Completes with the reason if the client does not even say which protocol it speaks (before that, hyper has no
    /// timeouts), or leaves an answer lying.
    async fn stops(&self, bounds: &Bounds) -> &'static str {
        tokio::time::sleep(bounds.header_read_timeout).await;
        if self.heard.load(Ordering::Relaxed) < PREFACE {
            return "it said nothing";
        }
        loop {
            if self.stalled_for() >= bounds.write_timeout {
                return "nobody read the answer";
            }
            tokio::time::sleep(bounds.write_timeout.div_f32(4.0)).await;
        }
    }

    fn stalled_for(&self) -> Duration {
        match self.stalled.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => Duration::from_millis(self.milliseconds().saturating_sub(since)),
        }
    }

    fn wrote(&self, result: &Poll<io::Result<usize>>) {
        if result.is_ready() {
            self.stalled.store(0, Ordering::Relaxed);
        } else if self.stalled.load(Ordering::Relaxed) == 0 {
            self.stalled.store(self.milliseconds(), Ordering::Relaxed);
        }
    }

    fn milliseconds(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

/// A stream that keeps a pulse.
struct Watched {
    stream: TcpStream,
    pulse: Arc<Pulse>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.pulse.heard.fetch_add(buffer.filled().len() - before, Ordering::Relaxed);
        result
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.pulse.wrote(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.pulse.wrote(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, StatusCode};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

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
        let handler =
            move |_| std::future::ready(crate::answer::with_type(StatusCode::OK, text.clone(), "still here"));
        let connections = Connections::new(&Bounds::default());
        assert_eq!(connections.accept_waiting(listener, &handler).unwrap(), 3);
        for mut client in clients {
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert!(answer.ends_with("still here"), "{answer}");
        }
        assert!(TcpStream::connect(address).await.is_err());
    }
}
