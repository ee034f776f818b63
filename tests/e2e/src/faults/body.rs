//! The answer's body on its way back, which can be cut.
use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use hyper::body::{Body, Frame, SizeHint};
use kube::client::Body as Answer;

/// A body that ends with an error, as of a broken connection, when it is cut.
pub(super) struct Cuttable {
    inner: Answer,
    cut: BoxFuture<'static, ()>,
    /// Lines that still may pass; each event of a watch is a line.
    events: Option<u64>,
}

/// Between the last event that passes and the cut: what is passed on must have left before.
const LAST_WORDS: Duration = Duration::from_millis(50);

impl Cuttable {
    /// Cut when `cut` is done, after that time, or after so many events.
    pub(super) fn new(
        inner: Answer,
        cut: impl Future<Output = ()> + Send + 'static,
        after: Option<Duration>,
        events: Option<u64>,
    ) -> Self {
        let cut = async move {
            let time = async {
                match after {
                    Some(after) => tokio::time::sleep(after).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! { () = cut => {}, () = time => {} }
        };
        Self { inner, cut: cut.boxed(), events }
    }

    /// The part of the data that may pass.
    fn admit(&mut self, data: &Bytes) -> Bytes {
        let Some(events) = &mut self.events else { return data.clone() };
        let ends = data.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(index, _)| index + 1);
        let mut end = data.len();
        for at in ends {
            *events -= 1;
            if *events == 0 {
                end = at;
                self.cut = tokio::time::sleep(LAST_WORDS).boxed();
                break;
            }
        }
        data.slice(..end)
    }
}

impl Body for Cuttable {
    type Data = Bytes;
    type Error = anyhow::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.cut.poll_unpin(context).is_ready() {
            // A future that is done must not be polled again.
            self.cut = std::future::pending().boxed();
            self.events = Some(0);
            return Poll::Ready(Some(Err(anyhow::anyhow!("cut by a fault"))));
        }
        if self.events == Some(0) {
            return Poll::Pending;
        }
        let frame = futures::ready!(Pin::new(&mut self.inner).poll_frame(context));
        Poll::Ready(match frame {
            None => None,
            Some(Err(error)) => Some(Err(error.into())),
            Some(Ok(frame)) => Some(Ok(match frame.into_data() {
                Ok(data) => Frame::data(self.admit(&data)),
                Err(other) => other,
            })),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Events may be cut off: the length is not known.
        if self.events.is_some() { SizeHint::default() } else { self.inner.size_hint() }
    }
}
