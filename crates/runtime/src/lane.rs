//! How requests reach sessions.
//!
//! A lane owns the sessions of one loaded model and decides when which of them runs what. The rule that every lane keeps:
//!
//! * a session belongs to one thread and is never behind a lock;
//! * what waits is bounded, in requests and in bytes, and a request beyond the bound is refused **at once**, with an
//!   estimate of when to come back, because work that is accepted late is done late for everyone;
//! * a request whose client has gone, or whose time is over, is dropped before it is run, not after;
//! * a lone request never waits for company;
//! * once closed, a lane takes no more requests and answers those that it has.
//!
//! [`pooled`] hands requests over a queue to one operating-system thread per session: right where a run takes long
//! compared with the hand-over (tens of microseconds), on a GPU, and with several threads per session. A lane that runs
//! short models on the thread that reads the request fits behind the same trait.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use modelwright_protocol::Tensor;
use tokio::sync::oneshot;

use crate::error::Error;
use crate::model::Outcome;

pub(crate) mod pooled;
mod queue;

/// How much may wait for a session. What is being run does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueBounds {
    /// Requests. Default 256.
    pub requests: usize,
    /// Bytes of input tensors. Default 256 MiB. A single larger request is taken when nothing else waits.
    pub bytes: usize,
}

impl Default for QueueBounds {
    fn default() -> Self {
        Self { requests: 256, bytes: 256 << 20 }
    }
}

/// What a lane is doing at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Requests that wait.
    pub waiting: usize,
    /// Bytes of their input tensors.
    pub waiting_bytes: usize,
    /// Requests that are being run.
    pub running: usize,
    /// The recent average time of a run; zero before the first.
    pub average_run: Duration,
}

/// The seam between a model and the ways to run it.
pub(crate) trait Lane: fmt::Debug + Send + Sync {
    /// Takes a request, or refuses it at once. Inputs have been checked against the signature.
    fn submit(&self, inputs: Vec<Tensor>, deadline: Option<Instant>) -> Result<Pending, Error>;

    /// What the lane is doing.
    fn load(&self) -> Load;

    /// Takes no more requests; answers those it has.
    fn close(&self);

    /// Closes, answers what waits with [`Error::Closed`], and ends runs in progress at their next operator.
    fn abort(&self);
}

/// The answer to a submitted request. Dropping it gives the request up.
#[derive(Debug)]
pub struct Pending(oneshot::Receiver<Result<Outcome, Error>>);

impl Future for Pending {
    type Output = Result<Outcome, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(Error::Closed)))
    }
}
