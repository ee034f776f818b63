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
    in_flight: Sharded<Arc<Counts>>,
}

/// What has begun and not ended.
#[derive(Debug, Default)]
struct Counts {
    requests: AtomicUsize,
    /// Calls that may stay open while there is nothing to do.
    streams: AtomicUsize,
    /// Requests that came as messages of a stream.
    messages: AtomicUsize,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Request,
    Stream,
    Message,
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
pub(crate) struct InFlight {
    counts: Arc<Counts>,
    kind: Kind,
}

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
        InFlight::begin(Arc::clone(self.0.in_flight.mine()), Kind::Request)
    }

    /// Begins a request that is a message of a stream.
    pub(crate) fn begin_message(&self) -> InFlight {
        InFlight::begin(Arc::clone(self.0.in_flight.mine()), Kind::Message)
    }

    /// How many requests are worked on. A stream without one is no work.
    pub(crate) fn in_flight(&self) -> usize {
        self.sum(&[Kind::Request, Kind::Message])
    }

    /// How many requests and streams have not ended.
    pub(crate) fn unfinished(&self) -> usize {
        self.sum(&[Kind::Request, Kind::Stream])
    }

    fn sum(&self, kinds: &[Kind]) -> usize {
        let of = |counts: &Arc<Counts>| -> usize {
            kinds.iter().map(|kind| counts.of(*kind).load(Ordering::Relaxed)).sum()
        };
        self.0.in_flight.iter().map(of).sum()
    }
}

impl Counts {
    const fn of(&self, kind: Kind) -> &AtomicUsize {
        match kind {
            Kind::Request => &self.requests,
            Kind::Stream => &self.streams,
            Kind::Message => &self.messages,
        }
    }
}

impl InFlight {
    fn begin(counts: Arc<Counts>, kind: Kind) -> Self {
        counts.of(kind).fetch_add(1, Ordering::Relaxed);
        Self { counts, kind }
    }

    /// The head of the answer is made, and the rest may take for ever.
    pub(crate) fn into_stream(self) -> Self {
        Self::begin(Arc::clone(&self.counts), Kind::Stream)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.counts.of(self.kind).fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_unfinished_but_only_its_messages_are_in_flight() {
        let phase = Phase::new(1);
        let request = phase.begin_request();
        let stream = phase.begin_request().into_stream();
        assert_eq!((phase.in_flight(), phase.unfinished()), (1, 2));
        let message = phase.begin_message();
        assert_eq!((phase.in_flight(), phase.unfinished()), (2, 2));
        drop((request, message));
        assert_eq!((phase.in_flight(), phase.unfinished()), (0, 1));
        drop(stream);
        assert_eq!((phase.in_flight(), phase.unfinished()), (0, 0));
    }
}
