//! One operating-system thread per session, fed from one bounded queue.
//!
//! A thread that is free takes the oldest request and whatever waits with it that fits into the run. A session on another
//! device has a second thread: while one waits for the device, the other puts the next batch together, if there is a full
//! one; a smaller one waits for the session, so that more can join it. With a queue delay, a
//! batch that is not full waits for more, but only while requests have been coming so closely that the next one is expected
//! within the time that a shared run saves: what a run costs whatever its rows.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use modelwright_protocol::Tensor;

use super::admission::GateHandle;
use super::engine::{Buffer, Engine, Engines, Job};
use super::queue::{Backlog, Taken};
use super::{Lane, Load, Pending, SubmitOptions};
use crate::batch::Rules;
use crate::error::Error;
use crate::session::Stopper;

/// The lane of module [`pooled`](self). Dropping it closes it; its threads end when the queue is empty.
#[derive(Debug)]
pub(crate) struct Pooled {
    queue: Arc<SharedQueue>,
    gate: GateHandle,
    stoppers: Vec<Stopper>,
}

impl Pooled {
    /// Starts the threads of every session: one, or two if batches are put together ahead.
    pub(crate) fn start(engines: Engines, max_queue_delay: Duration, ahead: bool) -> Result<Self, Error> {
        let Engines { gate, rules, fit, stoppers, sessions, .. } = engines;
        let patience = Patience { longest: max_queue_delay, worth: fit.unwrap_or_default().fixed };
        let queue = Arc::new(SharedQueue::new(rules, patience, sessions.len()));
        let lane = Self { queue, gate: Arc::new(gate), stoppers };
        for (index, engine) in sessions.into_iter().enumerate() {
            let engine = Arc::new(Mutex::new(engine));
            for _ in 0..if ahead { 2 } else { 1 } {
                let (queue, engine) = (Arc::clone(&lane.queue), Arc::clone(&engine));
                thread::Builder::new()
                    .name(format!("session-{index}"))
                    .spawn(move || work(&engine, &queue, ahead))
                    .map_err(|error| Error::NoThread { detail: error.to_string() })?;
            }
        }
        Ok(lane)
    }
}

impl Lane for Pooled {
    fn submit(&self, inputs: Vec<Tensor>, options: SubmitOptions) -> Result<Pending, Error> {
        let (job, pending) = Job::admit(&self.gate, inputs, options, || self.queue.sweep())?;
        self.queue.push(job);
        Ok(pending)
    }

    fn load(&self) -> Load {
        self.gate.load()
    }

    fn close(&self) {
        self.gate.close();
        self.queue.close();
    }

    fn abort(&self) {
        self.close();
        for job in self.queue.clear() {
            job.refuse(Error::Closed);
        }
        for stopper in &self.stoppers {
            stopper.stop_for_good();
        }
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.close();
    }
}

/// The life of a thread.
fn work(engine: &Mutex<Engine>, queue: &SharedQueue, ahead: bool) {
    let mut buffer = Buffer::default();
    while let Some(Taken { batch, late }) = queue.take() {
        for job in late {
            job.refuse(Error::DeadlineExceeded);
        }
        let mut unfinished = None;
        if !batch.is_empty() {
            if ahead && batch.len() > 1 {
                // The session tries again and answers if this fails.
                let _ = buffer.fill(&batch);
            }
            // Alone, a thread never waits here; with another one, this is where the batch put together ahead waits.
            let mut engine = engine.lock().unwrap_or_else(PoisonError::into_inner);
            unfinished = engine.execute(batch, &mut buffer);
        }
        queue.done(unfinished);
    }
}

/// How long a batch that is not full waits for more.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// At most so long after the oldest began to wait; zero: never.
    longest: Duration,
    /// What a shared run saves for each request but the first.
    worth: Duration,
}

impl Patience {
    /// How long to wait for the next request, given the usual time between two. `None`: it does not pay.
    fn wait(&self, waited: Duration, gap: Option<Duration>) -> Option<Duration> {
        let gap = gap?;
        let left = self.longest.checked_sub(waited).filter(|left| !left.is_zero())?;
        // Who has come alone so far would wait in vain.
        (gap <= self.worth && gap <= left).then(|| left.min(gap.saturating_mul(2)))
    }
}

/// The queue between submitting tasks and the sessions' threads.
#[derive(Debug)]
struct SharedQueue {
    rules: Rules,
    sessions: usize,
    patience: Patience,
    state: Mutex<State>,
    /// Signalled for every new item, and to all when the queue closes.
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    backlog: Backlog<Job>,
    open: bool,
    /// Whether a thread waits for a fuller batch; the others leave the queue to it.
    filling: bool,
    /// Batches that were taken and are not done.
    running: usize,
    arrivals: Arrivals,
}

/// The usual time between two requests.
#[derive(Debug, Default)]
struct Arrivals {
    last: Option<Instant>,
    gap: Option<Duration>,
}

impl Arrivals {
    fn note(&mut self, now: Instant) {
        if let Some(last) = self.last.replace(now) {
            let gap = now.saturating_duration_since(last);
            self.gap = Some(self.gap.map_or(gap, |average| average * 7 / 8 + gap / 8));
        }
    }
}

impl SharedQueue {
    fn new(rules: Rules, patience: Patience, sessions: usize) -> Self {
        let state = State {
            backlog: Backlog::new(),
            open: true,
            filling: false,
            running: 0,
            arrivals: Arrivals::default(),
        };
        Self { rules, sessions, patience, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn push(&self, job: Job) {
        let mut state = self.lock();
        // After the end there may be no thread left to take it: dropping it is the answer.
        if !state.open {
            drop(state);
            job.refuse(Error::Closed);
            return;
        }
        if !self.patience.longest.is_zero() {
            state.arrivals.note(Instant::now());
        }
        state.backlog.push(job);
        let filling = state.filling;
        drop(state);
        // Which thread wakes is not ours to choose, and the one that fills a batch must.
        if filling { self.changed.notify_all() } else { self.changed.notify_one() }
    }

    /// What was taken is done, but for a request that needs another run; closed or not, it is answered.
    fn done(&self, unfinished: Option<Job>) {
        let mut state = self.lock();
        state.running -= 1;
        if let Some(job) = unfinished {
            state.backlog.push_front(job);
        }
        self.pass_on(&state);
    }

    /// Takes what is to be run next, blocking until there is something. `None` once the queue is closed and empty.
    fn take(&self) -> Option<Taken<Job>> {
        let mut state = self.lock();
        loop {
            let ready = state.backlog.ready_rows(self.rules);
            let full = ready >= self.rules.merge;
            let free = !state.filling && state.running < self.sessions;
            if ready > 0 && (full || free) {
                if !full {
                    state.filling = true;
                    state = self.fill(state);
                    state.filling = false;
                }
                let taken = state.backlog.take(self.rules, Instant::now());
                state.running += 1;
                self.pass_on(&state);
                return Some(taken);
            }
            if !state.open && ready == 0 {
                return None;
            }
            // Nobody waits for what is left then, and it would count as waiting until the next request comes.
            let swept = if ready == 0 { state.backlog.sweep() } else { Vec::new() };
            if !swept.is_empty() {
                // Dropped outside of the lock.
                drop(state);
                drop(swept);
                state = self.lock();
                continue;
            }
            state = self.wait(state, None);
        }
    }

    /// Wakes those who left the queue to another thread, and after the end all, so that they see it.
    fn pass_on(&self, state: &State) {
        if !state.open {
            self.changed.notify_all();
        } else if !state.backlog.is_empty() {
            self.changed.notify_one();
        }
    }

    /// Waits for more while that pays.
    fn fill<'s>(&'s self, mut state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        let began = Instant::now();
        while state.open && state.backlog.ready_rows(self.rules) < self.rules.merge {
            let before = state.arrivals.last;
            let Some(time) = self.patience.wait(began.elapsed(), state.arrivals.gap) else { break };
            state = self.wait(state, Some(time));
            if state.arrivals.last == before {
                break;
            }
        }
        state
    }

    fn wait<'s>(&'s self, state: MutexGuard<'s, State>, most: Option<Duration>) -> MutexGuard<'s, State> {
        match most {
            Some(most) => self.changed.wait_timeout(state, most).unwrap_or_else(PoisonError::into_inner).0,
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
        }
    }

    fn close(&self) {
        self.lock().open = false;
        self.changed.notify_all();
    }

    fn clear(&self) -> impl Iterator<Item = Job> + use<> {
        self.lock().backlog.clear()
    }

    fn sweep(&self) {
        // Dropped outside of the lock.
        let swept = self.lock().backlog.sweep();
        drop(swept);
    }

    /// Nothing under the lock leaves a half-made state behind when it panics.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[rstest]
    // longest, worth, waited, gap → wait
    #[case(0, 10, 0, Some(1), None)]
    #[case(10, 5, 0, None, None)]
    #[case(10, 5, 0, Some(2), Some(4))]
    #[case(10, 5, 9, Some(1), Some(1))]
    #[case(10, 5, 9, Some(2), None)]
    #[case(10, 5, 0, Some(6), None)]
    #[case(10, 5, 10, Some(1), None)]
    fn waiting_pays_only_when_the_next_one_is_near(
        #[case] longest: u64,
        #[case] worth: u64,
        #[case] waited: u64,
        #[case] gap: Option<u64>,
        #[case] expected: Option<u64>,
    ) {
        let patience = Patience { longest: ms(longest), worth: ms(worth) };
        assert_eq!(patience.wait(ms(waited), gap.map(ms)), expected.map(ms));
    }

    #[test]
    fn a_request_after_a_silence_is_a_lone_one() {
        let (mut arrivals, start) = (Arrivals::default(), Instant::now());
        for turn in 0..100 {
            arrivals.note(start + turn * ms(1));
        }
        assert!(arrivals.gap.is_some_and(|gap| gap <= ms(1)));
        arrivals.note(start + ms(10_000));
        assert!(arrivals.gap.is_some_and(|gap| gap > ms(1000)), "{arrivals:?}");
    }
}
