//! A session with what it needs to run a batch of requests and to answer them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use modelwright_protocol::Tensor;

use super::admission::{Gate, GateHandle, Place};
use super::queue::Waiting;
use super::reply::{CurrentRun, Pending, Reply};
use super::statistics::Statistics;
use super::{Priority, QueueBounds, SubmitOptions};
use crate::batch::{self, Fit, Gathered, Part, Rules};
use crate::error::Error;
use crate::model::Outcome;
use crate::run::{Run, Runs};
use crate::session::{Session, Stopper};
use crate::values;

/// A request in a lane.
#[derive(Debug)]
pub(super) struct Job {
    inputs: Vec<Tensor>,
    rows: Option<usize>,
    options: SubmitOptions,
    submitted: Instant,
    reply: Reply,
    /// What it takes of the queue's bounds; gone once it has begun to run.
    place: Option<Place>,
    progress: Progress,
}

/// What a request has got so far; more than one run where it was cut.
#[derive(Debug, Default)]
struct Progress {
    /// Rows that have been run.
    rows: usize,
    outputs: Vec<Vec<Tensor>>,
    /// How long it waited for its first run.
    waited: Option<Duration>,
    /// The time of all runs.
    ran: Duration,
    /// The rows of the largest run.
    batch_rows: usize,
    /// The runs that it tells of.
    runs: Runs,
}

impl Job {
    /// Lets a request in, or refuses it.
    pub(super) fn admit(
        gate: &GateHandle,
        inputs: Vec<Tensor>,
        options: SubmitOptions,
        sweep: impl FnOnce(),
    ) -> Result<(Self, Pending), Error> {
        let rows = batch::rows(&inputs);
        let bytes = inputs.iter().map(values::size).sum();
        let submitted = Instant::now();
        let place = gate.admit(rows.unwrap_or(1), bytes, (submitted, options.deadline), sweep)?;
        let (reply, pending) = Pending::new();
        let progress = Progress::default();
        Ok((Self { inputs, rows, options, submitted, reply, place: Some(place), progress }, pending))
    }

    /// Answers a request that is not run.
    pub(super) fn refuse(self, error: Error) {
        self.reply.send(Err(error));
    }

    fn left(&self) -> Option<usize> {
        self.rows.map(|rows| rows - self.progress.rows)
    }

    /// Takes note of a run that took so long.
    fn ran(
        &mut self,
        rows: usize,
        batch_rows: usize,
        outputs: Vec<Tensor>,
        (started, took): (Instant, Duration),
    ) {
        let waited = started.saturating_duration_since(self.submitted);
        self.progress.waited.get_or_insert(waited);
        self.progress.ran += took;
        self.progress.rows += rows;
        self.progress.batch_rows = self.progress.batch_rows.max(batch_rows);
        self.progress.outputs.push(outputs);
    }

    /// Answers a request that is done.
    fn answer(self) {
        let Progress { outputs, waited, ran, batch_rows, runs, .. } = self.progress;
        let outputs =
            batch::concatenate(outputs).map_err(|error| Error::RunFailed { detail: error.to_string() });
        let waited = waited.unwrap_or_default();
        self.reply.send(outputs.map(|outputs| Outcome { outputs, waited, ran, batch_rows, runs }));
    }
}

impl Waiting for Job {
    fn priority(&self) -> Priority {
        self.options.priority
    }

    fn rows(&self) -> Option<usize> {
        self.left()
    }

    fn goes_with(&self, other: &Self) -> bool {
        batch::go_together(&self.inputs, &other.inputs)
    }

    fn is_abandoned(&self) -> bool {
        self.reply.is_abandoned()
    }

    fn is_late(&self, now: Instant) -> bool {
        // What has had a run is finished: its time was spent already.
        self.progress.rows == 0 && self.options.deadline.is_some_and(|deadline| deadline <= now)
    }
}

/// The rows of a batch behind each other.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    gathered: Gathered,
    /// The requests that it holds the rows of.
    requests: usize,
    /// How long gathering them took.
    took: Duration,
}

impl Buffer {
    /// Gathers the rows that the requests have left, which go together.
    pub(super) fn fill(&mut self, jobs: &[Job]) -> Result<(), Error> {
        let rows = |job| -> Part<'_> {
            let job: &Job = job;
            Part { inputs: &job.inputs, rows: job.progress.rows..job.rows.unwrap_or(0) }
        };
        let started = Instant::now();
        let parts: Vec<Part<'_>> = jobs.iter().map(rows).collect();
        self.requests = 0;
        self.gathered.fill(&parts).map_err(|error| Error::RunFailed { detail: error.to_string() })?;
        self.requests = jobs.len();
        self.took = started.elapsed();
        Ok(())
    }
}

/// A session that runs batches.
#[derive(Debug)]
pub(super) struct Engine {
    index: usize,
    session: Session,
    rules: Rules,
    run: Arc<CurrentRun>,
    statistics: Arc<Statistics>,
}

/// The sessions of a lane and what they share.
#[derive(Debug)]
pub(crate) struct Engines {
    pub(super) gate: Arc<Gate>,
    pub(super) rules: Rules,
    pub(super) fit: Option<Fit>,
    pub(super) stoppers: Vec<Stopper>,
    pub(super) sessions: Vec<Engine>,
}

impl Engines {
    pub(crate) fn new(sessions: Vec<Session>, rules: Rules, fit: Option<Fit>, bounds: QueueBounds) -> Self {
        let statistics = Arc::new(Statistics::new(sessions.len(), fit));
        let engine = |(index, session): (usize, Session)| Engine {
            index,
            run: CurrentRun::new(session.stopper()),
            session,
            rules,
            statistics: Arc::clone(&statistics),
        };
        Self {
            gate: Gate::new(bounds, rules, Arc::clone(&statistics)),
            rules,
            fit,
            stoppers: sessions.iter().map(Session::stopper).collect(),
            sessions: sessions.into_iter().enumerate().map(engine).collect(),
        }
    }
}

impl Engine {
    /// Runs what was taken from a queue and answers it. Gives back a request that needs another run. `buffer` may have been
    /// filled with these requests.
    pub(super) fn execute(&mut self, mut jobs: Vec<Job>, buffer: &mut Buffer) -> Option<Job> {
        let taken = jobs.len();
        self.run.open();
        let places = jobs.iter_mut().filter_map(|job| job.place.take());
        drop(places.reduce(|mut all, place| {
            all.join(place);
            all
        }));
        jobs.retain(|job| job.reply.begin(&self.run));
        if jobs.len() < taken {
            // It may hold rows of those who left.
            buffer.requests = 0;
        }
        if jobs.is_empty() {
            // Nobody may stop a session that does not run.
            return None;
        }
        self.run.start();
        let unfinished = if jobs.len() == 1 {
            jobs.pop().and_then(|job| self.alone(job))
        } else {
            self.together(jobs, buffer)
        };
        self.run.finish();
        unfinished
    }

    /// Runs one request, or the next part of it, where its rows lie.
    fn alone(&mut self, mut job: Job) -> Option<Job> {
        let left = job.left();
        let rows = left.map_or(1, |left| self.rules.next(left));
        let whole = job.progress.rows == 0 && left.is_none_or(|left| left == rows);
        let started = self.begin(1);
        let outputs = if whole {
            self.session.run(&job.inputs)
        } else {
            let part = job.progress.rows..job.progress.rows + rows;
            self.session.run_rows(&job.inputs, &part)
        };
        let took = started.elapsed();
        self.end(1, rows, took, outputs.is_ok());
        job.reply.end();
        match outputs {
            Ok(outputs) => {
                job.progress.runs.push(self.told(rows, Duration::ZERO, took));
                job.ran(rows, rows, outputs, (started, took));
            }
            Err(error) => {
                job.refuse(error);
                return None;
            }
        }
        if job.left().is_some_and(|left| left > 0) {
            return Some(job);
        }
        job.answer();
        None
    }

    /// Runs several requests at once; one by one if that fails, so that nobody pays for another's inputs.
    fn together(&mut self, mut jobs: Vec<Job>, buffer: &mut Buffer) -> Option<Job> {
        let parts: Vec<usize> = jobs.iter().map(|job| job.left().unwrap_or(0)).collect();
        let rows = parts.iter().sum();
        let started = self.begin(jobs.len());
        let outputs = self.run_together(&jobs, &parts, buffer);
        let took = started.elapsed();
        self.end(jobs.len(), rows, took, outputs.is_ok());
        match outputs {
            Ok((run, outputs)) => {
                // Whoever went away tells nobody.
                let teller = jobs.iter().position(|job| !job.reply.is_abandoned()).unwrap_or(0);
                jobs[teller].progress.runs.push(run);
                for ((job, outputs), part) in jobs.iter_mut().zip(outputs).zip(&parts) {
                    job.reply.end();
                    job.ran(*part, rows, outputs, (started, took));
                }
                jobs.into_iter().for_each(Job::answer);
            }
            // All clients went away, or the model was given up.
            Err(Error::Closed) => {
                for job in jobs {
                    job.reply.end();
                    job.refuse(Error::Closed);
                }
            }
            Err(error) => {
                tracing::debug!(%error, requests = jobs.len(), "a shared run failed; its requests are run one by one");
                for job in jobs {
                    // Each fits into one run.
                    let unfinished = self.alone(job);
                    debug_assert!(unfinished.is_none());
                }
            }
        }
        None
    }

    fn run_together(
        &mut self,
        jobs: &[Job],
        parts: &[usize],
        buffer: &mut Buffer,
    ) -> Result<(Run, Vec<Vec<Tensor>>), Error> {
        if buffer.requests != jobs.len() {
            buffer.fill(jobs)?;
        }
        buffer.requests = 0;
        let started = Instant::now();
        let outputs = self.session.run_parts(buffer.gathered.inputs(), parts)?;
        Ok((self.told(parts.iter().sum(), buffer.took, started.elapsed()), outputs))
    }

    /// The last run, which took so long after gathering.
    fn told(&self, rows: usize, gathering: Duration, took: Duration) -> Run {
        let taking = self.session.taking();
        Run { rows, gathering, computing: took.saturating_sub(taking), taking }
    }

    fn begin(&self, requests: usize) -> Instant {
        let started = Instant::now();
        self.statistics.begin(self.index, requests, started);
        started
    }

    fn end(&self, requests: usize, rows: usize, took: Duration, succeeded: bool) {
        self.statistics.end(self.index, requests, rows, took, succeeded);
    }
}
