//! One operating-system thread per session, fed from one bounded queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use modelwright_protocol::Tensor;

use super::queue::{Queue, Refused, Waiting};
use super::{Lane, Load, Pending, QueueBounds, Reply};
use crate::error::Error;
use crate::model::Outcome;
use crate::session::{Session, Stopper};
use crate::values;

/// The weight of the newest run in the average, as a power of two: 1/8.
const AVERAGE_SHIFT: u32 = 3;

/// The lane of module [`pooled`](self). Dropping it closes it; its threads end when the queue is empty.
#[derive(Debug)]
pub(crate) struct Pooled {
    queue: Arc<Queue<Job>>,
    statistics: Arc<Statistics>,
    stoppers: Vec<Stopper>,
}

#[derive(Debug)]
struct Job {
    inputs: Vec<Tensor>,
    bytes: usize,
    deadline: Option<Instant>,
    submitted: Instant,
    reply: Reply,
}

impl Waiting for Job {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn is_abandoned(&self) -> bool {
        self.reply.is_abandoned()
    }
}

#[derive(Debug, Default)]
struct Statistics {
    running: AtomicUsize,
    /// The moving average of run times in nanoseconds.
    average: AtomicU64,
}

impl Statistics {
    fn record(&self, ran: Duration) {
        let ran = u64::try_from(ran.as_nanos()).unwrap_or(u64::MAX);
        let step = |average: u64| {
            let next = if average == 0 {
                ran
            } else {
                average - (average >> AVERAGE_SHIFT) + (ran >> AVERAGE_SHIFT)
            };
            Some(next.max(1))
        };
        let updated = self.average.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        debug_assert!(updated.is_ok());
    }

    fn average(&self) -> Duration {
        Duration::from_nanos(self.average.load(Ordering::Relaxed))
    }
}

impl Pooled {
    /// Starts a thread for every session.
    pub(crate) fn start(sessions: Vec<Session>, bounds: QueueBounds) -> Result<Self, Error> {
        let queue = Arc::new(Queue::new(bounds));
        let statistics = Arc::new(Statistics::default());
        let stoppers = sessions.iter().map(Session::stopper).collect();
        let lane = Self { queue, statistics, stoppers };
        for (index, session) in sessions.into_iter().enumerate() {
            let (queue, statistics) = (Arc::clone(&lane.queue), Arc::clone(&lane.statistics));
            thread::Builder::new()
                .name(format!("session-{index}"))
                .spawn(move || work(session, &queue, &statistics))
                .map_err(|error| Error::NoThread { detail: error.to_string() })?;
        }
        Ok(lane)
    }

    /// When the queue will have been worked off.
    fn retry_after(&self, waiting: usize) -> Duration {
        let rounds = waiting.div_ceil(self.stoppers.len().max(1));
        let estimate = self.statistics.average().saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX));
        Duration::from_secs(estimate.as_secs().saturating_add(1).min(60))
    }
}

impl Lane for Pooled {
    fn submit(&self, inputs: Vec<Tensor>, deadline: Option<Instant>) -> Result<Pending, Error> {
        let (reply, pending) = Pending::new();
        let bytes = inputs.iter().map(values::size).sum();
        let job = Job { inputs, bytes, deadline, submitted: Instant::now(), reply };
        match self.queue.push(job) {
            Ok(()) => Ok(pending),
            Err(Refused::Closed) => Err(Error::Closed),
            Err(Refused::Full { waiting, bytes }) => {
                Err(Error::Overloaded { waiting, bytes, retry_after: self.retry_after(waiting) })
            }
        }
    }

    fn load(&self) -> Load {
        let (waiting, waiting_bytes) = self.queue.depth();
        let running = self.statistics.running.load(Ordering::Relaxed);
        Load { waiting, waiting_bytes, running, average_run: self.statistics.average() }
    }

    fn close(&self) {
        self.queue.close();
    }

    fn abort(&self) {
        self.queue.close();
        for job in self.queue.clear() {
            job.reply.send(Err(Error::Closed));
        }
        for stopper in &self.stoppers {
            stopper.stop_for_good();
        }
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// The life of a session's thread.
fn work(mut session: Session, queue: &Queue<Job>, statistics: &Statistics) {
    let stopper = session.stopper();
    while let Some(job) = queue.pop() {
        let started = Instant::now();
        if job.deadline.is_some_and(|deadline| deadline <= started) {
            job.reply.send(Err(Error::DeadlineExceeded));
            continue;
        }
        statistics.running.fetch_add(1, Ordering::Relaxed);
        let outputs = job.reply.run(&stopper, || session.run(&job.inputs));
        let ran = started.elapsed();
        statistics.running.fetch_sub(1, Ordering::Relaxed);
        let Some(outputs) = outputs else { continue };
        if outputs.is_ok() {
            statistics.record(ran);
        }
        let waited = started.saturating_duration_since(job.submitted);
        job.reply.send(outputs.map(|outputs| Outcome { outputs, waited, ran }));
    }
}
