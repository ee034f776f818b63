//! How requests reach sessions.
//!
//! A lane owns the sessions of one loaded model and decides when which of them runs what. The rule that every lane keeps:
//!
//! * a session is run by one thread at a time, and nobody waits for its lock but a batch that was put together ahead;
//! * what waits is bounded, in requests, rows and bytes, and a request beyond the bound is refused **at once**, with an
//!   estimate of when to come back, because work that is accepted late is done late for everyone; so is one whose deadline
//!   would be over, by the measured times, when its turn comes;
//! * a request whose client has gone, or whose time is over, is dropped before it is run; if all clients of a run go while
//!   it runs on another thread, it ends at its next operator, so that no request can keep a session that nobody waits for;
//! * requests that wait share a run where the model allows it (module [`batch`](crate::batch)), the oldest first; a request
//!   with more rows than one run takes is cut, and others may have a turn between its parts;
//! * one request that fails never makes another fail: a shared run that fails is done again, one by one;
//! * a lone request never waits for company;
//! * a request of low priority is taken when no other waits, but at the latest after eight runs of others;
//! * once closed, a lane takes no more requests and answers those that it has.
//!
//! There are two of them:
//!
//! * *inline*: a session per I/O thread, run by the very task scheduler that reads and answers requests. No request goes to
//!   another thread, and whatever arrives in one round of the scheduler shares a run: no timer and no waking. An I/O thread
//!   answers nobody while it runs the model, so this is for runs of a few milliseconds; a client that leaves meanwhile is
//!   noticed after the run, for it is that very thread that would notice.
//! * *pooled*: an operating-system thread per session, fed from one queue. Right where a run takes long compared with the
//!   hand-over (tens of microseconds), on a GPU, and with several threads per session.

use std::cell::Cell;
use std::fmt;
use std::time::{Duration, Instant};

use modelwright_protocol::Tensor;

use crate::error::Error;

mod admission;
mod engine;
pub(crate) mod inline;
pub(crate) mod pooled;
mod queue;
mod reply;
mod statistics;

pub(crate) use engine::Engines;
pub use reply::Pending;

/// How much may wait for a session. What is being run does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueBounds {
    /// Requests. Default 256.
    pub requests: usize,
    /// Rows of all of them. Default 65,536. A single larger request is taken when nothing else waits.
    pub rows: usize,
    /// Bytes of input tensors. Default 256 MiB. A single larger request is taken when nothing else waits.
    pub bytes: usize,
}

impl Default for QueueBounds {
    fn default() -> Self {
        Self { requests: 256, rows: 1 << 16, bytes: 256 << 20 }
    }
}

/// Which lane is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LaneChoice {
    /// By what the warm-up measures.
    #[default]
    Auto,
    /// [`LaneKind::Inline`].
    Inline,
    /// [`LaneKind::Pooled`].
    Pooled,
}

/// The lanes that there are; the module says what they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LaneKind {
    /// Runs on the I/O threads.
    Inline,
    /// Runs on a thread per session.
    Pooled,
}

impl LaneKind {
    /// The name as metrics and metadata spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::Pooled => "pooled",
        }
    }
}

/// Who goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Priority {
    /// In the order of arrival.
    #[default]
    Normal,
    /// When no normal request waits, but at the latest after eight runs of those: for work that makes many rows of one
    /// request, such as explanations.
    Low,
}

impl Priority {
    /// The word of metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }
}

/// How a request is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SubmitOptions {
    /// When its answer is of no use any more.
    pub deadline: Option<Instant>,
    /// Who goes first.
    pub priority: Priority,
}

/// What a lane is doing at a moment, and what it has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Requests that wait.
    pub waiting: usize,
    /// Bytes of their input tensors.
    pub waiting_bytes: usize,
    /// Their rows; a request without a batch dimension counts as one.
    pub waiting_rows: usize,
    /// Requests that are being run.
    pub running: usize,
    /// The recent average time of a run; zero before the first.
    pub average_run: Duration,
    /// The time that all sessions together have spent running, the runs in progress included. It never decreases: its growth
    /// divided by `capacity` and the time between two looks is the share of the sessions that is used.
    pub busy: Duration,
    /// Sessions, which is how many runs there can be at once.
    pub capacity: usize,
    /// Runs that were done, failed ones included.
    pub executions: u64,
    /// Rows in them.
    pub rows: u64,
}

/// The seam between a model and the ways to run it.
pub(crate) trait Lane: fmt::Debug + Send + Sync {
    /// Takes a request, or refuses it at once. Inputs have been checked against the signature.
    fn submit(&self, inputs: Vec<Tensor>, options: SubmitOptions) -> Result<Pending, Error>;

    /// What the lane is doing.
    fn load(&self) -> Load;

    /// Takes no more requests; answers those it has.
    fn close(&self);

    /// Closes, answers what waits with [`Error::Closed`], and ends runs in progress at their next operator.
    fn abort(&self);
}

thread_local! {
    static IO_THREAD: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Says that the calling thread is the I/O thread of this index, counted from 0: inline lanes then run what it submits on
/// it, with the session of that index. Call it once on each thread that drives a current-thread runtime.
pub fn enter_io_thread(index: usize) {
    IO_THREAD.set(Some(index));
}

/// The index of the calling thread, if it is an I/O thread.
fn io_thread() -> Option<usize> {
    IO_THREAD.get()
}
