//! How requests reach sessions.
//!
//! A lane owns the sessions of one loaded model and decides when which of them runs what. The rule that every lane keeps:
//!
//! * a session belongs to one thread and is never behind a lock;
//! * what waits is bounded, in requests and in bytes, and a request beyond the bound is refused **at once**, with an
//!   estimate of when to come back, because work that is accepted late is done late for everyone;
//! * a request whose client has gone, or whose time is over, is dropped before it is run; if it is being run, the run ends
//!   at its next operator, so that no request can keep a session that nobody waits for;
//! * a lone request never waits for company;
//! * once closed, a lane takes no more requests and answers those that it has.
//!
//! The pooled lane hands requests over a queue to one operating-system thread per session: right where a run takes long
//! compared with the hand-over (tens of microseconds), on a GPU, and with several threads per session. A lane that runs
//! short models on the thread that reads the request fits behind the same trait.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use modelwright_protocol::Tensor;
use tokio::sync::oneshot;

use crate::error::Error;
use crate::model::Outcome;
use crate::session::Stopper;

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

/// The answer to a submitted request. Dropping it gives the request up, even while it is being run.
#[derive(Debug)]
pub struct Pending {
    answer: oneshot::Receiver<Result<Outcome, Error>>,
    run: Arc<CurrentRun>,
}

impl Pending {
    /// The two ends of a request: what the lane keeps, and what the client waits for.
    fn new() -> (Reply, Self) {
        let (sender, answer) = oneshot::channel();
        let run = Arc::new(CurrentRun::default());
        (Reply { sender, run: Arc::clone(&run) }, Self { answer, run })
    }
}

impl Future for Pending {
    type Output = Result<Outcome, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(context).map(|answer| answer.unwrap_or(Err(Error::Closed)))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // In this order: a session that has not begun yet sees that nobody waits, and one that has is stopped.
        self.answer.close();
        self.run.stop();
    }
}

/// The lane's end of a request.
#[derive(Debug)]
struct Reply {
    sender: oneshot::Sender<Result<Outcome, Error>>,
    run: Arc<CurrentRun>,
}

impl Reply {
    /// Whether nobody waits any more.
    fn is_abandoned(&self) -> bool {
        self.sender.is_closed()
    }

    /// Answers whoever still waits.
    fn send(self, answer: Result<Outcome, Error>) {
        if self.sender.send(answer).is_err() {
            tracing::debug!("a client went away before its answer was ready");
        }
    }

    /// Does a run that ends early if the client goes away. `None`: it is gone already.
    fn run<T>(&self, stopper: &Stopper, run: impl FnOnce() -> T) -> Option<T> {
        self.run.begin(stopper.clone());
        let outcome = (!self.is_abandoned()).then(run);
        self.run.end();
        // After the end nobody stops this session on behalf of this request any more.
        stopper.allow();
        outcome
    }
}

/// How to stop the run that a request has come to, while it has.
#[derive(Debug, Default)]
struct CurrentRun(Mutex<Option<Stopper>>);

impl CurrentRun {
    fn begin(&self, stopper: Stopper) {
        *self.lock() = Some(stopper);
    }

    fn end(&self) {
        *self.lock() = None;
    }

    fn stop(&self) {
        if let Some(stopper) = self.lock().as_ref() {
            stopper.stop();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Stopper>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
