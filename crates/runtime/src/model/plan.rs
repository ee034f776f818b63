//! Which lane a model gets, how its rows are batched and how the processors are divided. Pure: what was measured goes in.

use std::num::NonZeroUsize;
use std::time::Duration;

use modelwright_protocol::Signature;

use super::LoadRequest;
use crate::batch::{Batching, BatchingRequest, Fit, Rules};
use crate::lane::{LaneChoice, LaneKind};
use crate::session::ExecutionProvider;
use crate::session::contents::Contents;
use crate::warmup::Measured;

/// Above this size of the model's folder in bytes, one session uses all processors; below it, every processor gets a
/// session: a small model gains nothing from several threads.
pub(super) const ONE_SESSION_ABOVE: u64 = 32 << 20;
/// Copied weights are held once per session; no more sessions than fit into so many bytes are made unasked.
const ALL_SESSIONS: u64 = 256 << 20;
/// Smaller weights are not moved unasked: what their copies take is little beside the rest of a server.
const LEAST_TO_MOVE: u64 = 1 << 20;
/// The longest run that an I/O thread does: it serves no connection meanwhile. About 5 ms is meant; models measured to be
/// faster inline take up to that, and measurements on a busy machine come out longer.
const LONGEST_INLINE_RUN: Duration = Duration::from_millis(8);
/// A batch must save this share of the time of its rows run one by one: a shared run makes the first one wait for the last.
const LEAST_GAIN: f64 = 0.1;

/// What is known of a model before anything is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'m> {
    pub(super) provider: ExecutionProvider,
    /// Bytes of the model's folder.
    pub(super) bytes: u64,
    pub(super) contents: Contents,
    pub(super) signature: &'m Signature,
    /// Threads within an operator that were asked for.
    pub(super) intra_op_threads: Option<NonZeroUsize>,
    pub(super) batching: BatchingRequest,
}

/// A lane and the reason for it.
pub(super) type Chosen = (LaneKind, String);

/// Chooses where measuring would change nothing.
pub(super) fn lane_unmeasured(choice: LaneChoice, known: &Known<'_>) -> Option<Chosen> {
    let pooled = |reason: &str| Some((LaneKind::Pooled, reason.to_owned()));
    match choice {
        LaneChoice::Inline if !known.batching.max_queue_delay.is_zero() => Some((
            LaneKind::Inline,
            "it was asked for; it has no timer, so the queue delay has no effect".to_owned(),
        )),
        LaneChoice::Inline => Some((LaneKind::Inline, "it was asked for".to_owned())),
        LaneChoice::Pooled => pooled("it was asked for"),
        LaneChoice::Auto if known.provider != ExecutionProvider::Cpu => {
            pooled("runs on another device are waited for on a thread of their own")
        }
        LaneChoice::Auto if known.intra_op_threads.is_some_and(|threads| threads.get() > 1) => {
            pooled("several threads per session were asked for")
        }
        LaneChoice::Auto if !known.batching.max_queue_delay.is_zero() => {
            pooled("a queue delay was asked for, and the inline lane has no timer")
        }
        LaneChoice::Auto if known.bytes > ONE_SESSION_ABOVE => {
            pooled("its weights are large, so that one session uses all processors")
        }
        LaneChoice::Auto if known.contents.loops => {
            pooled("it contains a loop, so that a request can make its run as long as it likes")
        }
        LaneChoice::Auto if varies_within_rows(known.signature) => pooled(
            "dimensions besides the batch vary, so that a request can make its run as long as it likes",
        ),
        LaneChoice::Auto => None,
    }
}

/// Whether inputs have variable dimensions other than the first.
fn varies_within_rows(signature: &Signature) -> bool {
    signature.inputs.iter().any(|input| input.shape.iter().skip(1).any(|&size| size < 0))
}

/// Chooses by the longest run that there can be.
pub(super) fn lane_measured(known: &Known<'_>, measured: &Measured, rules: Rules) -> Chosen {
    let pooled = |reason: String| (LaneKind::Pooled, reason);
    let Some(fit) = Fit::of(&measured.times) else {
        return pooled("its run time could not be measured".to_owned());
    };
    let unbounded =
        known.signature.inputs.iter().any(|input| input.shape.first().is_some_and(|&size| size < 0));
    let rows = match rules.split {
        Some(rows) => rows,
        None if unbounded => {
            return pooled("requests of many rows cannot be cut into short runs".to_owned());
        }
        None => 1,
    };
    let last = measured.times.last().filter(|(measured, _)| *measured == rows);
    let longest = last.map_or_else(|| fit.time(rows), |(_, time)| *time);
    let limit = LONGEST_INLINE_RUN.as_millis();
    if longest <= LONGEST_INLINE_RUN {
        (LaneKind::Inline, format!("its longest run, of {rows} row(s), took {longest:?}, at most {limit} ms"))
    } else {
        pooled(format!("its longest run, of {rows} row(s), takes {longest:?}, more than {limit} ms"))
    }
}

/// Whether and how far rows are batched.
pub(super) fn batching(asked: BatchingRequest, measured: &Measured) -> (Batching, Rules) {
    let off = |reason: String, split: Option<usize>| {
        let batching =
            Batching { enabled: false, max_batch_size: 1, max_queue_delay: Duration::ZERO, reason };
        (batching, Rules { split, ..Rules::ALONE })
    };
    let proven = match &measured.independent {
        Ok(proven) => *proven,
        Err(reason) => return off(reason.clone(), None),
    };
    let on = |rows: usize, reason: String| {
        let max_queue_delay = asked.max_queue_delay;
        let batching = Batching { enabled: true, max_batch_size: rows, max_queue_delay, reason };
        (batching, Rules { merge: rows, split: Some(rows) })
    };
    match asked.max_batch_size.map(NonZeroUsize::get) {
        Some(1) => off("it was turned off".to_owned(), Some(proven)),
        Some(rows) => {
            on(rows, format!("it was asked for, and the rows of a batch of {proven} were independent"))
        }
        None => match gain(measured) {
            Some(gain) if gain < LEAST_GAIN => {
                let percent = gain.max(0.0) * 100.0;
                off(format!("a batch saves {percent:.0} % of the time of its rows"), Some(proven))
            }
            Some(gain) => {
                let percent = gain * 100.0;
                on(
                    proven,
                    format!(
                        "its rows are independent, and a batch of {proven} saves {percent:.0} % of their time"
                    ),
                )
            }
            None => off("its runs are too long for batches to be measured".to_owned(), Some(proven)),
        },
    }
}

/// The share of the time of rows run one by one that the largest measured batch saves.
fn gain(measured: &Measured) -> Option<f64> {
    let ((one, alone), (rows, together)) = (measured.times.first()?, measured.times.last()?);
    (*one == 1 && *rows > 1)
        .then(|| 1.0 - together.as_secs_f64() / (alone.as_secs_f64() * *rows as f64).max(1e-9))
}

/// Whether weights are mapped from their files rather than copied into every session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Weights {
    /// Mapped where that saves memory and costs no speed: several sessions or more than 32 MiB, in external files, and no
    /// batches, which prepacked weights compute up to twice as fast; or where the sessions of an inline lane would
    /// otherwise take too much memory.
    #[default]
    Auto,
    /// Mapped: weights are in external files, load in milliseconds and are shared by all processes of the machine. Those of
    /// a model that holds them itself are copied, and a warning says so.
    Mapped,
    /// Copied, and rearranged for the fastest kernels.
    Copied,
}

impl Weights {
    /// The word of metrics and documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Mapped => "mapped",
            Self::Copied => "copied",
        }
    }
}

/// Whether to map weights that can be mapped. `batched`: whether batches are possible at all.
pub(super) fn mapped(
    asked: Weights,
    provider: ExecutionProvider,
    sessions: NonZeroUsize,
    bytes: u64,
    batched: bool,
) -> bool {
    match asked {
        Weights::Mapped => true,
        Weights::Copied => false,
        Weights::Auto => {
            provider == ExecutionProvider::Cpu
                && !batched
                && (sessions.get() > 1 || bytes > ONE_SESSION_ABOVE)
        }
    }
}

/// Whether weights that a model holds itself are worth moving to a file of their own, so that they can be mapped. The
/// sessions are those that were asked for: how many a server makes by itself is known where it runs.
pub(super) fn worth_moving(request: &LoadRequest, bytes: u64, batched: bool) -> bool {
    let sessions = request.instances.unwrap_or(NonZeroUsize::MIN);
    let large = request.weights == Weights::Mapped || bytes >= LEAST_TO_MOVE;
    large && mapped(request.weights, request.execution_provider, sessions, bytes, batched)
}

/// Whether so many copies of the weights are more than is taken unasked.
pub(super) fn too_many_copies(sessions: NonZeroUsize, bytes: u64) -> bool {
    bytes.saturating_mul(sessions.get() as u64) > ALL_SESSIONS
}

/// How the processors are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Division {
    pub(super) instances: NonZeroUsize,
    pub(super) intra_op_threads: NonZeroUsize,
}

/// How many sessions of a model of so many bytes are worth their memory.
pub(super) fn most_sessions(provider: ExecutionProvider, bytes: u64) -> NonZeroUsize {
    if provider != ExecutionProvider::Cpu || bytes > ONE_SESSION_ABOVE {
        return NonZeroUsize::MIN;
    }
    let fit = usize::try_from(ALL_SESSIONS / bytes.max(1)).unwrap_or(usize::MAX);
    NonZeroUsize::new(fit).unwrap_or(NonZeroUsize::MIN)
}

/// Sessions × threads is at most the processors, unless the request says otherwise.
pub(super) fn divide(
    cpus: NonZeroUsize,
    most: NonZeroUsize,
    instances: Option<NonZeroUsize>,
    intra_op_threads: Option<NonZeroUsize>,
) -> Division {
    let share =
        |parts: NonZeroUsize| NonZeroUsize::new(cpus.get() / parts.get()).unwrap_or(NonZeroUsize::MIN);
    let instances = instances.unwrap_or_else(|| intra_op_threads.map_or(cpus, share).min(most));
    let intra_op_threads = intra_op_threads.unwrap_or_else(|| share(instances));
    Division { instances, intra_op_threads }
}

#[cfg(test)]
mod tests;
