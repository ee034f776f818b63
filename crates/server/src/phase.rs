//! Where a server is in its life.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::watch;

use crate::sharded::Sharded;

/// Shared between the ports: whether the server is about to end, and how many requests it is working on.
#[derive(Debug, Clone)]
pub(crate) struct Phase(Arc<State>);

#[derive(Debug)]
struct State {
    /// Beside `step`, so that a request need not take its lock.
    draining: AtomicBool,
    step: watch::Sender<Step>,
    /// Each has a handle count of its own beside it, so that a request touches nothing that another thread writes.
    in_flight: Sharded<Arc<AtomicUsize>>,
}

/// How far a server is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Step {
    #[default]
    Serving,
    /// Readiness is withdrawn, and everything is still answered.
    Draining,
    /// No new connections are taken; what could go on for ever is to end.
    Ending,
}

/// Counts a request for as long as it lives.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<AtomicUsize>);

impl Phase {
    /// For so many I/O threads.
    pub(crate) fn new(threads: usize) -> Self {
        let in_flight = Sharded::new(threads, Arc::default);
        Self(Arc::new(State { draining: AtomicBool::new(false), step: watch::Sender::default(), in_flight }))
    }

    pub(crate) fn start_draining(&self) {
        self.0.draining.store(true, Ordering::SeqCst);
        self.0.step.send_replace(Step::Draining);
    }

    /// Tells streams to end.
    pub(crate) fn start_ending(&self) {
        self.0.step.send_replace(Step::Ending);
    }

    /// Told of every step.
    pub(crate) fn steps(&self) -> watch::Receiver<Step> {
        self.0.step.subscribe()
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn begin_request(&self) -> InFlight {
        let counter = Arc::clone(self.0.in_flight.mine());
        counter.fetch_add(1, Ordering::Relaxed);
        InFlight(counter)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.0.in_flight.iter().map(|counter| counter.load(Ordering::Relaxed)).sum()
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
