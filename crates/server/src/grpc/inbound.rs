//! The body of a call on its way in.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tonic::Status;

use super::status;
use crate::memory::Share;
use crate::ticks::Sleep;

/// A body whose bytes are counted as they come, and that comes in time.
pub(super) struct Inbound {
    body: Incoming,
    buffered: Arc<Mutex<Share>>,
    timeout: Option<Duration>,
    /// Made when there is something to wait for.
    late: Option<Sleep>,
}

impl Inbound {
    /// Counts the body of a request. Whoever takes bytes out of the buffer behind it takes them from the share that comes back.
    /// Without a timeout it may take any time.
    pub(super) fn wrap(
        request: Request<Incoming>,
        memory: Share,
        timeout: Option<Duration>,
    ) -> (Request<Self>, Arc<Mutex<Share>>) {
        let memory = Arc::new(Mutex::new(memory));
        let buffered = Arc::clone(&memory);
        (request.map(|body| Self { body, buffered, timeout, late: None }), memory)
    }

    /// Whether the body has not come in time.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        let Some(timeout) = self.timeout else { return Poll::Pending };
        ready!(self.late.get_or_insert_with(|| Sleep::new(timeout)).poll(context));
        let message = format!("the message did not arrive within {} s", timeout.as_secs_f32());
        Poll::Ready(Status::deadline_exceeded(message))
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
