//! The two ends of a request: the client's and the lane's; and the run that they come to.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::error::Error;
use crate::model::Outcome;
use crate::session::Stopper;

/// The answer to a submitted request. Dropping it gives the request up, even while it is being run.
#[derive(Debug)]
pub struct Pending {
    answer: oneshot::Receiver<Result<Outcome, Error>>,
    place: Arc<Place>,
}

impl Pending {
    /// The two ends of a request: what the lane keeps, and what the client waits for.
    pub(super) fn new() -> (Reply, Self) {
        let (sender, answer) = oneshot::channel();
        let place = Arc::new(Place::default());
        (Reply { sender, place: Arc::clone(&place) }, Self { answer, place })
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
        self.answer.close();
        self.place.leave();
    }
}

/// The lane's end of a request. Dropping it answers with [`Error::Closed`].
#[derive(Debug)]
pub(super) struct Reply {
    sender: oneshot::Sender<Result<Outcome, Error>>,
    place: Arc<Place>,
}

impl Reply {
    /// Whether nobody waits any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.sender.is_closed()
    }

    /// Answers whoever still waits.
    pub(super) fn send(self, answer: Result<Outcome, Error>) {
        if self.sender.send(answer).is_err() {
            tracing::debug!("a client went away before its answer was ready");
        }
    }

    /// Enters a run, which goes on while anybody that entered waits for it. `false`: nobody waits for this request.
    pub(super) fn begin(&self, run: &Arc<CurrentRun>) -> bool {
        let mut state = self.place.lock();
        if matches!(*state, State::Left) {
            return false;
        }
        run.waiting.fetch_add(1, Ordering::SeqCst);
        *state = State::Running(Arc::clone(run));
        true
    }

    /// Leaves the run: what the client does from now on does not concern it.
    pub(super) fn end(&self) {
        let mut state = self.place.lock();
        if let State::Running(run) = &*state {
            run.waiting.fetch_sub(1, Ordering::SeqCst);
            *state = State::Waiting;
        }
    }
}

/// Where a request is.
#[derive(Debug, Default)]
struct Place(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Waiting,
    Running(Arc<CurrentRun>),
    /// Its client has gone.
    Left,
}

impl Place {
    fn leave(&self) {
        // Under the lock, so that the run cannot have ended before it is stopped and another one have begun.
        let mut state = self.lock();
        if let State::Running(run) = &*state {
            run.leave();
        }
        *state = State::Left;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The run of a session at a moment, and who waits for it. It is used again for the session's next run.
#[derive(Debug)]
pub(super) struct CurrentRun {
    /// Requests that wait for it, and one more while it is put together.
    waiting: AtomicUsize,
    stopped: AtomicBool,
    stopper: Stopper,
}

impl CurrentRun {
    pub(super) fn new(stopper: Stopper) -> Arc<Self> {
        Arc::new(Self { waiting: AtomicUsize::new(0), stopped: AtomicBool::new(false), stopper })
    }

    /// Requests may now enter; it is not stopped before [`CurrentRun::start`].
    pub(super) fn open(&self) {
        self.waiting.store(1, Ordering::SeqCst);
    }

    /// No more requests enter. From now on, the last one that leaves stops it.
    pub(super) fn start(&self) {
        self.leave();
    }

    /// All requests have left it in an orderly way: the session may run again.
    pub(super) fn finish(&self) {
        if self.stopped.swap(false, Ordering::SeqCst) {
            self.stopper.allow();
        }
    }

    fn leave(&self) {
        if self.waiting.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.stopped.store(true, Ordering::SeqCst);
            self.stopper.stop();
        }
    }
}
