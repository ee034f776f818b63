//! A session per I/O thread, run on it.
//!
//! `submit` puts the request into the queue of the thread's slot. If nobody works that queue off, it starts a task on the
//! runtime that it is called from: the task yields once, so that the scheduler first reads every request that has arrived,
//! and then runs what is there as batches, yielding after each so that answers go out and connections are served in
//! between. When the queue is empty the task ends: there is neither a timer nor an idle thread.
//!
//! If the runtime ends before the task does, a thread takes over what waits and ends with it; if there is no thread to be
//! had, what waits is answered with [`Error::Closed`]. Outside of an I/O thread slots take turns; outside of a runtime
//! `submit` itself works the queue off.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use modelwright_protocol::Tensor;
use tokio::runtime::Handle;

use super::admission::{Gate, GateHandle};
use super::engine::{Buffer, Engine, Engines, Job};
use super::queue::Backlog;
use super::{Lane, Load, Pending, SubmitOptions, io_thread};
use crate::batch::Rules;
use crate::error::Error;
use crate::session::Stopper;

/// The lane of module [`inline`](self). What it has when it is dropped is answered by the tasks that are running.
#[derive(Debug)]
pub(crate) struct Inline(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    gate: Arc<Gate>,
    rules: Rules,
    stoppers: Vec<Stopper>,
    slots: Box<[Slot]>,
    /// The slot that the next request from elsewhere gets.
    turn: AtomicUsize,
}

#[derive(Debug)]
struct Slot {
    /// A handle of the slot's own.
    gate: GateHandle,
    queue: Mutex<SlotQueue>,
    /// Locked by the one task that works the queue off, so nobody ever waits for it.
    engine: Mutex<(Engine, Buffer)>,
}

#[derive(Debug)]
struct SlotQueue {
    backlog: Backlog<Job>,
    /// Whether somebody works it off.
    attended: bool,
}

impl Inline {
    /// Makes a slot of every session.
    pub(crate) fn new(engines: Engines) -> Self {
        let Engines { gate, rules, stoppers, sessions, .. } = engines;
        let slot = |engine| Slot {
            gate: Arc::new(Arc::clone(&gate)),
            queue: Mutex::new(SlotQueue { backlog: Backlog::new(), attended: false }),
            engine: Mutex::new((engine, Buffer::default())),
        };
        let slots = sessions.into_iter().map(slot).collect();
        Self(Arc::new(Shared { gate, rules, stoppers, slots, turn: AtomicUsize::new(0) }))
    }

    fn slot(&self) -> usize {
        let index = io_thread().unwrap_or_else(|| self.0.turn.fetch_add(1, Ordering::Relaxed));
        index % self.0.slots.len().max(1)
    }
}

impl Lane for Inline {
    fn submit(&self, inputs: Vec<Tensor>, options: SubmitOptions) -> Result<Pending, Error> {
        let slot = self.slot();
        let gate = &self.0.slots[slot].gate;
        let (job, pending) = Job::admit(gate, inputs, options, || self.0.sweep())?;
        let mut queue = lock(&self.0.slots[slot].queue);
        queue.backlog.push(job);
        let attended = std::mem::replace(&mut queue.attended, true);
        // Before anything that may drop an attendant, which locks it.
        drop(queue);
        if !attended {
            let attendant = Attendant { shared: Arc::clone(&self.0), slot, done: false };
            match Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn(attendant.work_off())),
                Err(_) => attendant.work_off_now(),
            }
        }
        Ok(pending)
    }

    fn load(&self) -> Load {
        self.0.gate.load()
    }

    fn close(&self) {
        self.0.gate.close();
    }

    fn abort(&self) {
        self.close();
        for slot in &self.0.slots {
            let waiting = lock(&slot.queue).backlog.clear();
            waiting.for_each(|job| job.refuse(Error::Closed));
        }
        for stopper in &self.0.stoppers {
            stopper.stop_for_good();
        }
    }
}

impl Shared {
    fn sweep(&self) {
        for slot in &self.slots {
            // Dropped outside of the lock.
            let swept = lock(&slot.queue).backlog.sweep();
            drop(swept);
        }
    }
}

/// Works the queue of a slot off; each slot has at most one.
struct Attendant {
    shared: Arc<Shared>,
    slot: usize,
    done: bool,
}

impl Attendant {
    async fn work_off(mut self) {
        while !self.done {
            tokio::task::yield_now().await;
            self.step();
        }
    }

    fn work_off_now(mut self) {
        while !self.done {
            self.step();
        }
    }

    /// Runs one batch. Done when nothing is left.
    fn step(&mut self) {
        let slot = &self.shared.slots[self.slot];
        let taken = lock(&slot.queue).backlog.take(self.shared.rules, Instant::now());
        for job in taken.late {
            job.refuse(Error::DeadlineExceeded);
        }
        let mut unfinished = None;
        if !taken.batch.is_empty() {
            let (engine, buffer) = &mut *lock(&slot.engine);
            unfinished = engine.execute(taken.batch, buffer);
        }
        let mut queue = lock(&slot.queue);
        if let Some(job) = unfinished {
            queue.backlog.push_front(job);
        }
        if queue.backlog.is_empty() {
            queue.attended = false;
            self.done = true;
        }
    }
}

impl Drop for Attendant {
    /// The runtime ends before the queue is empty. Others may wait in it, whose runtimes go on: a thread takes over for them.
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let (shared, slot) = (Arc::clone(&self.shared), self.slot);
        let take_over = move || Self { shared, slot, done: false }.work_off_now();
        if thread::Builder::new().name(format!("session-{slot}")).spawn(take_over).is_err() {
            let mut queue = lock(&self.shared.slots[slot].queue);
            queue.attended = false;
            let waiting = queue.backlog.clear();
            drop(queue);
            // Dropping a request answers it.
            drop(waiting);
        }
    }
}

/// Nothing under these locks leaves a half-made state behind when it panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
