//! Opening and measuring sessions until it is settled how a model is run.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use super::plan::{self, Chosen, Division, Known};
use super::{DEFAULT_MAX_BATCH_SIZE, LoadReport, LoadRequest, Weights, size};
use crate::batch::{Batching, BatchingRequest, Fit, Rules, has_batch_dimension};
use crate::cpus;
use crate::error::Error;
use crate::lane::{LaneChoice, LaneKind};
use crate::library::Library;
use crate::session::contents::{self, Contents};
use crate::session::{ExecutionProvider, Session, SessionOptions};
use crate::warmup::{Measured, measure, warm_up};

/// Everything that a lane is made of.
pub(super) struct Prepared {
    /// At least one.
    pub(super) sessions: Vec<Session>,
    pub(super) rules: Rules,
    pub(super) report: LoadReport,
}

/// Opens the sessions, warms them up and chooses the lane.
pub(super) fn prepare(request: &LoadRequest, library: &Library) -> Result<Prepared, Error> {
    let mut loader = Loader::new(request);
    let first = loader.first()?;
    let instances = first.division.instances;
    let mut sessions = vec![first.session];
    for _ in 1..instances.get() {
        sessions.push(loader.open(first.division.intra_op_threads, first.mapped)?);
    }
    let started = Instant::now();
    sessions[1..].iter_mut().for_each(|session| warm_up(session, &first.measured));
    let mut report = first.measured.report;
    report.took += started.elapsed();
    let (lane, lane_reason) = first.lane;
    tracing::info!(
        model = %request.path.display(),
        lane = lane.as_str(),
        reason = lane_reason,
        instances,
        max_batch_size = first.batching.max_batch_size,
        batching = first.batching.reason,
        "chose how to run the model"
    );
    let report = LoadReport {
        runtime_version: library.version().to_owned(),
        library: Duration::ZERO,
        session: loader.opening,
        warm_up: report,
        execution_provider: request.execution_provider,
        instances,
        intra_op_threads: first.division.intra_op_threads,
        lane,
        lane_reason,
        fit: Fit::of(&first.measured.times),
        batching: first.batching,
        weights: if first.mapped { Weights::Mapped } else { Weights::Copied },
    };
    Ok(Prepared { sessions, rules: first.rules, report })
}

/// The first session and what it showed.
struct First {
    session: Session,
    mapped: bool,
    measured: Measured,
    lane: Chosen,
    division: Division,
    batching: Batching,
    rules: Rules,
}

struct Loader<'r> {
    request: &'r LoadRequest,
    batching: BatchingRequest,
    bytes: u64,
    /// How the pooled lane divides the processors.
    pooled: Division,
    /// How the inline lane does.
    inline: Division,
    /// The time of opening all sessions so far.
    opening: Duration,
}

impl<'r> Loader<'r> {
    fn new(request: &'r LoadRequest) -> Self {
        let cpus = request.cpus.unwrap_or_else(cpus::available);
        let bytes = size(&request.path);
        let most = plan::most_sessions(request.execution_provider, bytes);
        Self {
            request,
            batching: request.batching.unwrap_or_default(),
            bytes,
            pooled: plan::divide(cpus, most, request.instances, request.intra_op_threads),
            inline: Division {
                instances: request.instances.or(request.io_threads).unwrap_or(cpus),
                intra_op_threads: request.intra_op_threads.unwrap_or(NonZeroUsize::MIN),
            },
            opening: Duration::ZERO,
        }
    }

    /// Opens sessions until one has been measured as it will be used.
    fn first(&mut self) -> Result<First, Error> {
        let mut opened = self.open_unmeasured()?;
        let mut measured = self.measure(&mut opened.session);
        let known = self.known(&opened);
        let rules = plan::batching(self.batching, &measured).1;
        let lane = plan::lane_unmeasured(self.request.lane, &known)
            .unwrap_or_else(|| plan::lane_measured(&known, &measured, rules));
        let (lane, mapped) = self.spare_memory(lane, &opened);
        let division = self.division(lane.0);
        if (opened.threads, opened.mapped) != (division.intra_op_threads, mapped) {
            // Two sessions would take the memory of both.
            drop(opened.session);
            opened.session = self.open(division.intra_op_threads, mapped)?;
            measured = self.measure(&mut opened.session);
        }
        let (batching, rules) = plan::batching(self.batching, &measured);
        Ok(First { session: opened.session, mapped, measured, lane, division, batching, rules })
    }

    /// Opens the first session as it will probably be used.
    fn open_unmeasured(&mut self) -> Result<Opened, Error> {
        let Division { instances, intra_op_threads: threads } = self.probable_division();
        // Mapping takes milliseconds, and the file's signature decides whether it is right.
        let mut mapped = self.request.weights != Weights::Copied
            && self.request.execution_provider == ExecutionProvider::Cpu;
        let mut session = self.open(threads, mapped)?;
        let contents = self.contents();
        if self.request.weights == Weights::Mapped && !contents.external_data {
            tracing::warn!(
                model = %self.request.path.display(),
                "the model holds its weights itself, so they cannot be mapped and every session copies them"
            );
        }
        let batched = has_batch_dimension(session.signature())
            && self.batching.max_batch_size != Some(NonZeroUsize::MIN);
        let provider = self.request.execution_provider;
        let wanted = contents.external_data
            && plan::mapped(self.request.weights, provider, instances, self.bytes, batched);
        if mapped != wanted {
            drop(session);
            mapped = wanted;
            session = self.open(threads, mapped)?;
        }
        Ok(Opened { session, threads, mapped, contents })
    }

    fn probable_division(&self) -> Division {
        let pooled = match self.request.lane {
            LaneChoice::Inline => false,
            LaneChoice::Pooled => true,
            LaneChoice::Auto => {
                self.request.execution_provider != ExecutionProvider::Cpu
                    || self.request.intra_op_threads.is_some_and(|threads| threads.get() > 1)
                    || self.bytes > plan::ONE_SESSION_ABOVE
            }
        };
        self.division(if pooled { LaneKind::Pooled } else { LaneKind::Inline })
    }

    const fn division(&self, lane: LaneKind) -> Division {
        match lane {
            LaneKind::Inline => self.inline,
            LaneKind::Pooled => self.pooled,
        }
    }

    /// Maps the weights or changes the lane if sessions for all I/O threads, which nobody asked for, would take too much.
    fn spare_memory(&self, lane: Chosen, opened: &Opened) -> (Chosen, bool) {
        let unasked = self.request.lane == LaneChoice::Auto && self.request.instances.is_none();
        let too_many = unasked
            && lane.0 == LaneKind::Inline
            && !opened.mapped
            && plan::too_many_copies(self.inline.instances, self.bytes);
        if !too_many {
            return (lane, opened.mapped);
        }
        if opened.contents.external_data && self.request.weights == Weights::Auto {
            return (lane, true);
        }
        let reason = "a copy of its weights for every I/O thread would take too much memory".to_owned();
        ((LaneKind::Pooled, reason), false)
    }

    fn known<'o>(&self, opened: &'o Opened) -> Known<'o> {
        Known {
            provider: self.request.execution_provider,
            bytes: self.bytes,
            contents: opened.contents,
            signature: opened.session.signature(),
            intra_op_threads: self.request.intra_op_threads,
            batching: self.batching,
        }
    }

    fn measure(&self, session: &mut Session) -> Measured {
        let asked = self.batching.max_batch_size;
        measure(session, asked.unwrap_or(DEFAULT_MAX_BATCH_SIZE).get(), asked.is_some())
    }

    fn open(&mut self, intra_op_threads: NonZeroUsize, mapped: bool) -> Result<Session, Error> {
        let started = Instant::now();
        let options = SessionOptions {
            execution_provider: self.request.execution_provider,
            intra_op_threads,
            inter_op_threads: self.request.inter_op_threads.unwrap_or(NonZeroUsize::MIN),
            graph_optimization: self.request.graph_optimization,
            spinning: false,
            prepacking: !mapped,
            resources: self.request.resources.clone(),
        };
        let session = Session::open(&self.request.path, &options)?;
        self.opening += started.elapsed();
        Ok(session)
    }

    /// ONNX Runtime has opened the file, so it can be read; if it cannot any more, the worst is supposed.
    fn contents(&self) -> Contents {
        contents::read(&self.request.path).unwrap_or_else(|error| {
            tracing::warn!(model = %self.request.path.display(), %error, "the model cannot be read again");
            Contents { loops: true, external_data: false }
        })
    }
}

/// A session that has not been measured yet, and how it was opened.
struct Opened {
    session: Session,
    threads: NonZeroUsize,
    mapped: bool,
    contents: Contents,
}
