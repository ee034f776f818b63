//! Several requests in one run: what may go together, how rows are put together, and whether it pays.
//!
//! A *row* is one index of the first dimension, the batch. Requests may share a run if their inputs agree in all other
//! dimensions. Rows are copied into buffers that are used again; an answer gets the slice of the outputs that its rows made.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::time::Duration;

use modelwright_protocol::{Signature, Tensor, TensorData, TensorMetadata};

/// Rows of one run where nobody says otherwise and the model can be batched. Beyond it a run gets longer with hardly a row
/// more per second: on one core a small dense network does 355,000 rows/s at 8, 415,000 at 32, 429,000 at 128.
pub const DEFAULT_MAX_BATCH_SIZE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(31);

/// How requests are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BatchingRequest {
    /// The most rows of one run; 1 turns batching off. If absent, [`DEFAULT_MAX_BATCH_SIZE`] as far as it pays.
    pub max_batch_size: Option<NonZeroUsize>,
    /// How long a batch that is not full may wait for more requests; zero waits for none. A request that nobody follows
    /// closely never waits. The pooled lane alone can wait: the inline one has no timer.
    pub max_queue_delay: Duration,
}

/// Whether requests are put together, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batching {
    /// Whether rows of several requests share a run.
    pub enabled: bool,
    /// The most rows of one run; 1 if batching is off.
    pub max_batch_size: usize,
    /// How long a batch may wait for more.
    pub max_queue_delay: Duration,
    /// Why, in one sentence.
    pub reason: String,
}

/// The time of a run as a line over its rows, `fixed + rows × per_row`, fitted to the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fit {
    /// What each row adds.
    pub per_row: Duration,
    /// What a run costs whatever its rows.
    pub fixed: Duration,
}

impl Fit {
    /// The time of a run of so many rows.
    pub fn time(&self, rows: usize) -> Duration {
        self.total(1, rows)
    }

    /// The time of several runs with so many rows between them.
    pub(crate) fn total(&self, runs: usize, rows: usize) -> Duration {
        let times = |time: Duration, count| time.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
        times(self.fixed, runs).saturating_add(times(self.per_row, rows))
    }

    /// Least squares over pairs of rows and time; neither part becomes negative. `None` without a pair.
    ///
    /// Each pair counts by its relative error: otherwise the largest batch alone would decide, and `fixed`, which is what
    /// batching saves, would be noise.
    pub(crate) fn of(times: &[(usize, Duration)]) -> Option<Self> {
        let first = times.first()?;
        if times.iter().all(|(rows, _)| rows == &first.0) {
            return Some(Self { per_row: Duration::ZERO, fixed: times.iter().map(|(_, time)| *time).min()? });
        }
        let (mut weights, mut x, mut y, mut xx, mut xy) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (rows, time) in times {
            let (rows, time) = (*rows as f64, time.as_secs_f64());
            let weight = 1.0 / time.max(1e-9).powi(2);
            weights += weight;
            x += weight * rows;
            y += weight * time;
            xx += weight * rows * rows;
            xy += weight * rows * time;
        }
        let slope = (weights * xy - x * y) / (weights * xx - x * x);
        let (slope, fixed) = if slope <= 0.0 {
            (0.0, y / weights)
        } else if y < slope * x {
            (xy / xx, 0.0)
        } else {
            (slope, (y - slope * x) / weights)
        };
        let duration = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        Some(Self { per_row: duration(slope), fixed: duration(fixed) })
    }
}

/// What a lane may do with rows, settled by the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    /// The most rows of a run that several requests share; 1: they never do.
    pub(crate) merge: usize,
    /// The most rows of a run that a larger request is cut into; absent if rows are not known to be independent.
    pub(crate) split: Option<usize>,
}

impl Rules {
    /// Every request is a run of its own.
    pub(crate) const ALONE: Self = Self { merge: 1, split: None };

    /// How many of the rows that a request has left go into its next run.
    pub(crate) fn next(&self, left: usize) -> usize {
        self.split.map_or(left, |most| left.min(most))
    }
}

/// Whether the first dimension is a batch by the signature: variable in every input and every output.
pub(crate) fn has_batch_dimension(signature: &Signature) -> bool {
    let mut all = signature.inputs.iter().chain(&signature.outputs);
    !signature.inputs.is_empty() && all.all(|tensor| tensor.shape.first() == Some(&-1))
}

/// Whether rows of the same inputs may make rows of another size, by the signature: an output has a variable dimension besides
/// the first, and no input has one that it could come from. Such rows do not fit behind each other, or are filled up for those
/// that they share a run with, and made-up inputs need not show it: the parts of split texts are as many as the longest has.
pub(crate) fn rows_may_differ_in_size(signature: &Signature) -> bool {
    let varies = |tensors: &[TensorMetadata]| {
        tensors.iter().any(|tensor| tensor.shape.iter().skip(1).any(|&size| size < 0))
    };
    varies(&signature.outputs) && !varies(&signature.inputs)
}

/// The rows of a request: the first dimension that all its inputs share. `None` if they do not; such a request is a run of
/// its own, and whether it makes sense is for the model to say.
pub(crate) fn rows(inputs: &[Tensor]) -> Option<usize> {
    let first = inputs.first()?.shape().first()?;
    let same = inputs.iter().all(|input| input.shape().first() == Some(first));
    same.then(|| usize::try_from(*first).ok()).flatten().filter(|rows| *rows > 0)
}

/// Whether rows of both may share a run: all but the first dimension agree. Types do, by the signature.
pub(crate) fn go_together(one: &[Tensor], other: &[Tensor]) -> bool {
    one.iter().zip(other).all(|(one, other)| one.shape().get(1..) == other.shape().get(1..))
}

/// The elements of some rows. The tensor has that many.
pub(crate) fn elements(tensor: &Tensor, rows: &Range<usize>) -> Range<usize> {
    let per_row = tensor.len() / tensor.rows().max(1);
    rows.start * per_row..rows.end * per_row
}

/// Rows of one request's inputs.
#[derive(Debug, Clone)]
pub(crate) struct Part<'r> {
    pub(crate) inputs: &'r [Tensor],
    pub(crate) rows: Range<usize>,
}

/// The inputs of a run that several requests share. Its buffers stay when it is filled again.
#[derive(Debug, Default)]
pub(crate) struct Gathered(Vec<Tensor>);

impl Gathered {
    /// Copies the rows of all parts behind each other. All parts go together.
    pub(crate) fn fill(&mut self, parts: &[Part<'_>]) -> Result<(), modelwright_protocol::Error> {
        let mut buffers = std::mem::take(&mut self.0).into_iter();
        let inputs = parts.first().map_or(0, |part| part.inputs.len());
        for index in 0..inputs {
            let pieces = parts.iter().map(|part| (&part.inputs[index], part.rows.clone()));
            self.0.push(join(buffers.next(), pieces)?);
        }
        Ok(())
    }

    /// What it was filled with last.
    pub(crate) fn inputs(&self) -> &[Tensor] {
        &self.0
    }
}

/// Puts the outputs of the runs of one request behind each other.
pub(crate) fn concatenate(mut runs: Vec<Vec<Tensor>>) -> Result<Vec<Tensor>, modelwright_protocol::Error> {
    if runs.len() <= 1 {
        return Ok(runs.pop().unwrap_or_default());
    }
    let outputs = runs[0].len();
    (0..outputs).map(|index| join(None, runs.iter().map(|run| (&run[index], 0..run[index].rows())))).collect()
}

/// Rows of several tensors behind each other, in the memory of `buffer` if its type fits. There is at least one piece.
fn join<'t>(
    buffer: Option<Tensor>,
    pieces: impl Iterator<Item = (&'t Tensor, Range<usize>)> + Clone,
) -> Result<Tensor, modelwright_protocol::Error> {
    let Some((like, _)) = pieces.clone().next() else {
        return Tensor::new("", vec![0], TensorData::Bool(vec![]));
    };
    let rows: usize = pieces.clone().map(|(_, rows)| rows.len()).sum();
    let (name, mut shape, mut data) = match buffer {
        Some(buffer) if buffer.datatype() == like.datatype() => buffer.into_parts(),
        _ => (like.name().to_owned(), Vec::new(), TensorData::with_capacity(like.datatype(), 0)),
    };
    shape.clear();
    shape.extend_from_slice(like.shape());
    if let Some(first) = shape.first_mut() {
        *first = i64::try_from(rows).unwrap_or(i64::MAX);
    }
    copy(&mut data, pieces);
    Tensor::new(name, shape, data)
}

/// Replaces what `data` holds by the rows of all pieces.
fn copy<'t>(data: &mut TensorData, pieces: impl Iterator<Item = (&'t Tensor, Range<usize>)> + Clone) {
    macro_rules! copy_each {
        ($($variant:ident)*) => {
            match data {
                $(TensorData::$variant(values) => {
                    values.clear();
                    values.reserve(pieces.clone().map(|(tensor, rows)| elements(tensor, &rows).len()).sum());
                    for (tensor, rows) in pieces {
                        if let TensorData::$variant(source) = tensor.data() {
                            values.extend_from_slice(&source[elements(tensor, &rows)]);
                        }
                    }
                })*
            }
        };
    }
    copy_each!(Bool Uint8 Uint16 Uint32 Uint64 Int8 Int16 Int32 Int64 Fp16 Bf16 Fp32 Fp64 Bytes);
}

#[cfg(test)]
mod tests;
