//! What a client has done on its connection, and what becomes of one that does nothing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::access::MaybeTls;
use crate::config::Bounds;

/// The client's first bytes on HTTP/2; until they are there, or something else is, the protocol is open.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a client has done on its connection. hyper has no timeouts for it, or such that cost more.
#[derive(Debug)]
pub(super) struct Pulse {
    start: Instant,
    /// Bytes that came.
    heard: AtomicUsize,
    /// The first of them are not those of HTTP/2.
    http1: AtomicBool,
    /// The connection has reached its age.
    old: AtomicBool,
    /// A request of HTTP/1.1 is being answered.
    busy: AtomicBool,
    /// Heads that were read to their end, and writes.
    moves: AtomicUsize,
    /// Since when no byte could be written, in milliseconds from the start plus one; 0: writing goes well.
    stalled: AtomicU64,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            heard: AtomicUsize::new(0),
            http1: AtomicBool::new(false),
            old: AtomicBool::new(false),
            busy: AtomicBool::new(false),
            moves: AtomicUsize::new(0),
            stalled: AtomicU64::new(0),
        }
    }

    /// Completes with the reason if the client does not even say which protocol it speaks, does not bring the next request
    /// of HTTP/1.1, or leaves an answer lying.
    ///
    /// It looks now and then, so that requests need no timers: a connection may live a few parts longer than the bounds
    /// say, and never less.
    pub(super) async fn stops(&self, bounds: &Bounds) -> &'static str {
        let mut quiet = Quiet { moves: 0, since: Instant::now() };
        tokio::time::sleep(bounds.header_read_timeout).await;
        if self.heard.load(Ordering::Relaxed) < PREFACE.len() {
            return "it said nothing";
        }
        let pause = bounds.header_read_timeout.div_f32(16.0).min(bounds.write_timeout.div_f32(4.0));
        loop {
            if self.stalled_for() >= bounds.write_timeout {
                return "nobody read the answer";
            }
            if self.http1.load(Ordering::Relaxed)
                && self.quiet_for(&mut quiet, Instant::now()) >= bounds.header_read_timeout
            {
                return "no request came";
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// How long, until now, there has certainly been nothing but, at most, a part of a head.
    fn quiet_for(&self, quiet: &mut Quiet, now: Instant) -> Duration {
        let moves = self.moves.load(Ordering::Relaxed);
        if self.busy.load(Ordering::Relaxed) || moves != quiet.moves {
            *quiet = Quiet { moves, since: now };
        }
        now.saturating_duration_since(quiet.since)
    }

    /// A request begins to be answered.
    pub(super) fn begin(&self) {
        self.busy.store(true, Ordering::Relaxed);
        self.moves.fetch_add(1, Ordering::Relaxed);
    }

    /// Its answer is there, and is still to be written.
    pub(super) fn end(&self) {
        self.busy.store(false, Ordering::Relaxed);
    }

    fn read(&self, bytes: &[u8]) {
        let before = self.heard.fetch_add(bytes.len(), Ordering::Relaxed);
        let expected = PREFACE.get(before..).unwrap_or_default();
        if expected.iter().zip(bytes).any(|(expected, byte)| expected != byte) {
            self.http1.store(true, Ordering::Relaxed);
        }
    }

    /// The connection has reached its age. Says whether the client can be told at once, which takes HTTP/2.
    pub(super) fn grow_old(&self) -> bool {
        self.old.store(true, Ordering::Relaxed);
        self.heard.load(Ordering::Relaxed) >= PREFACE.len() && !self.http1.load(Ordering::Relaxed)
    }

    pub(super) fn is_old(&self) -> bool {
        self.old.load(Ordering::Relaxed)
    }

    fn stalled_for(&self) -> Duration {
        match self.stalled.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => Duration::from_millis(self.milliseconds().saturating_sub(since)),
        }
    }

    fn wrote<T>(&self, result: &Poll<io::Result<T>>) {
        if result.is_ready() {
            self.stalled.store(0, Ordering::Relaxed);
        } else if self.stalled.load(Ordering::Relaxed) == 0 {
            self.stalled.store(self.milliseconds(), Ordering::Relaxed);
        }
    }

    /// Not for a flush: hyper flushes, with nothing to write, after every piece of a head.
    fn moved(&self, written: &Poll<io::Result<usize>>) {
        if written.is_ready() {
            self.moves.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn milliseconds(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

/// Since when nothing was seen to move.
struct Quiet {
    moves: usize,
    since: Instant,
}

/// A stream that keeps a pulse.
pub(super) struct Watched {
    pub(super) stream: MaybeTls<TcpStream>,
    pub(super) pulse: Arc<Pulse>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.pulse.read(&buffer.filled()[before..]);
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
        self.pulse.moved(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.pulse.wrote(&result);
        self.pulse.moved(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(context);
        // What is encrypted waits here for the client to read.
        self.pulse.wrote(&result);
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http2_is_told_by_its_first_bytes_however_they_come() {
        let old = |pieces: &[&[u8]]| {
            let pulse = Pulse::new();
            for piece in pieces {
                pulse.read(piece);
            }
            pulse.grow_old()
        };
        assert!(old(&[PREFACE, b"more"]) && old(&[&PREFACE[..3], &PREFACE[3..]]));
        assert!(!old(&[b"POST /v2/models/add/infer HTTP/1.1"]) && !old(&[&PREFACE[..23]]) && !old(&[]));
    }

    #[test]
    fn a_connection_is_quiet_from_when_nothing_was_seen_to_move() {
        let (pulse, start) = (Pulse::new(), Instant::now());
        let mut quiet = Quiet { moves: 0, since: start };
        let mut quiet_at =
            |seconds| pulse.quiet_for(&mut quiet, start + Duration::from_secs(seconds)).as_secs();
        assert_eq!(quiet_at(5), 5);
        // A piece of a head is no move: who sends one byte now and then is as quiet as who sends none.
        pulse.read(b"POST /v2/");
        assert_eq!(quiet_at(7), 7);
        pulse.begin();
        assert_eq!(quiet_at(9), 0);
        assert_eq!(quiet_at(60), 0, "a request is being answered, however long that takes");
        pulse.end();
        assert_eq!(quiet_at(63), 3);
        pulse.moved(&Poll::Ready(Ok(10)));
        assert_eq!(quiet_at(64), 0, "a piece of the answer has left");
        pulse.moved(&Poll::Pending);
        assert_eq!(quiet_at(70), 6);
    }
}
