//! The body of a call on its way in.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tonic::Status;

use super::status;
use crate::memory::Share;
use crate::ticks::Sleep;

/// What goes before each message: a flag, and the length in four bytes.
const PREFIX: usize = 5;
/// A timeout that is seen to be over so much later was not waited for: messages are not read while others are worked on.
const UNATTENDED: Duration = Duration::from_secs(1);

/// When the client is waited for with a timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    /// From the beginning on, for the only message.
    Always,
    /// From the first byte of each message on.
    WithinMessages,
}

/// A body whose bytes are counted as they come, and that comes in time.
pub(super) struct Inbound {
    body: Incoming,
    buffered: Arc<Mutex<Share>>,
    timeout: Duration,
    awaited: Awaited,
    messages: Messages,
    /// Made when there is something to wait for.
    late: Option<Late>,
}

/// A timeout and when it began.
struct Late {
    since: Instant,
    sleep: Sleep,
}

/// Where in the messages the bytes are that have come.
#[derive(Debug, Default)]
struct Messages {
    prefix: [u8; PREFIX],
    /// How much of the prefix is there.
    known: usize,
    /// How much of the message behind the prefix is still to come.
    left: usize,
}

impl Inbound {
    /// Counts the body of a request. Whoever takes bytes out of the buffer behind it takes them from the share that comes back.
    pub(super) fn wrap(
        request: Request<Incoming>,
        memory: Share,
        timeout: Duration,
        awaited: Awaited,
    ) -> (Request<Self>, Arc<Mutex<Share>>) {
        let memory = Arc::new(Mutex::new(memory));
        let (buffered, messages) = (Arc::clone(&memory), Messages::default());
        (request.map(|body| Self { body, buffered, timeout, awaited, messages, late: None }), memory)
    }

    /// Whether a message has not come in time.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        if self.awaited == Awaited::WithinMessages && !self.messages.is_within() {
            return Poll::Pending;
        }
        let timeout = self.timeout;
        loop {
            let late = self.late.get_or_insert_with(|| Late::begin(timeout));
            ready!(late.sleep.poll(context));
            // A twentieth is how exact it is.
            if self.awaited == Awaited::Always || late.since.elapsed() < timeout.mul_f32(1.05) + UNATTENDED {
                let message = format!("the message did not arrive within {} s", timeout.as_secs_f32());
                return Poll::Ready(Status::deadline_exceeded(message));
            }
            self.late = None;
        }
    }
}

impl Late {
    fn begin(timeout: Duration) -> Self {
        Self { since: Instant::now(), sleep: Sleep::new(timeout) }
    }
}

impl Messages {
    /// Goes on by what has come. Whether a message ended in it.
    fn take(&mut self, mut bytes: &[u8]) -> bool {
        let mut ended = false;
        while !bytes.is_empty() {
            if self.known < PREFIX {
                let (now, rest) = bytes.split_at(bytes.len().min(PREFIX - self.known));
                self.prefix[self.known..][..now.len()].copy_from_slice(now);
                self.known += now.len();
                bytes = rest;
                let [_, length @ ..] = self.prefix;
                self.left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
            } else {
                let now = bytes.len().min(self.left);
                self.left -= now;
                bytes = &bytes[now..];
            }
            if self.known == PREFIX && self.left == 0 {
                self.known = 0;
                ended = true;
            }
        }
        ended
    }

    /// Whether there is a part of a message.
    const fn is_within(&self) -> bool {
        self.known > 0
    }
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(error))) => {
                let status = Status::cancelled(format!("the message broke off: {error}"));
                return Poll::Ready(Some(Err(status)));
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => return self.poll_late(context).map(|status| Some(Err(status))),
        };
        if let Some(data) = frame.data_ref() {
            if self.messages.take(data) {
                self.late = None;
            }
            let mut buffered = self.buffered.lock().unwrap_or_else(PoisonError::into_inner);
            let bytes = buffered.bytes() + data.len();
            if let Err(refusal) = buffered.grow_to(bytes) {
                return Poll::Ready(Some(Err(status::overloaded(refusal))));
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_begin_with_their_first_byte_and_end_with_their_last_however_they_come() {
        // Of three bytes, none, and three of which one is missing.
        let bytes = [0, 0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 1, 2];
        for size in 1..=bytes.len() {
            let mut messages = Messages::default();
            let ended = bytes.chunks(size).filter(|piece| messages.take(piece)).count();
            assert!(ended >= 1 && messages.is_within(), "{size}");
            assert!(messages.take(&[3]) && !messages.is_within(), "{size}");
        }
        let mut messages = Messages::default();
        let within = bytes.map(|byte| (messages.take(&[byte]), messages.is_within()));
        for (index, (ended, within)) in within.into_iter().enumerate() {
            let last = [7, 12].contains(&index);
            assert_eq!((ended, within), (last, !last), "{index}");
        }
    }
}
