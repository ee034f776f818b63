//! Running a model before it answers anyone: to make it fast, and to learn what it can do.
//!
//! The first run of a session allocates its memory and, on a GPU, compiles and picks kernels; it can take a hundred times
//! as long as the later ones. So every session runs on made-up inputs before it is called ready. The first session also
//! shows whether rows may be batched (module `proof`) and how long batches of 1, 2, 4, … rows take, from which the lane is
//! chosen and the queue's time estimated.
//!
//! Rows differ from each other; a model that fails on them gets zeros. It may fail on those, too, with good reason: zero is
//! not in its vocabulary, or a size of 1 is too small for its convolution. Such a model is served all the same, without
//! batching; the failure is logged and reported, and its first request pays for the warm-up.

mod inputs;
mod proof;

use std::time::{Duration, Instant};

use modelwright_protocol::Tensor;

use self::inputs::Content;
use crate::batch::{has_batch_dimension, rows_may_differ_in_size};
use crate::error::Error;
use crate::session::Session;

/// Runs of one size after the first, of which the fastest counts.
const FURTHER_RUNS: usize = 3;
/// No further run is started after this time.
const PATIENCE: Duration = Duration::from_millis(500);
/// Different rows that the proof uses.
const DIFFERENT_ROWS: u64 = 3;
/// The smallest batch that has them all.
const LEAST_ROWS: usize = 3;

/// How the warm-up went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WarmUp {
    /// How long all of it took.
    pub took: Duration,
    /// The first run, with its one-time costs.
    pub first_run: Option<Duration>,
    /// The fastest of the runs after it; absent if the first one took too long for another.
    pub steady_run: Option<Duration>,
    /// Why the model could not be warmed up, if so. It is served nevertheless.
    pub failure: Option<String>,
}

/// What the warm-up of the first session showed.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) report: WarmUp,
    /// The time of runs by their rows, in ascending order; one row alone where there is no batch dimension.
    pub(crate) times: Vec<(usize, Duration)>,
    /// The rows of the largest run that was proven to keep its rows apart, or why rows must not share a run.
    pub(crate) independent: Result<usize, String>,
}

impl Default for Measured {
    fn default() -> Self {
        Self {
            report: WarmUp::default(),
            times: Vec::new(),
            independent: Err("the model fails on made-up inputs".to_owned()),
        }
    }
}

/// Warms the first session up and measures it with up to `most_rows` rows in a run: fewer if `patient` is false and so many
/// would take long.
pub(crate) fn measure(session: &mut Session, most_rows: usize, patient: bool) -> Measured {
    let started = Instant::now();
    let mut measured = Measured::default();
    if let Err(error) = learn(session, most_rows, patient, started, &mut measured) {
        tracing::warn!(
            model = %session.path().display(),
            %error,
            "the model fails on made-up inputs; it is served without a warm-up, and its first request takes longer"
        );
        measured.report.failure = Some(error.to_string());
    }
    measured.report.took = started.elapsed();
    measured
}

fn learn(
    session: &mut Session,
    most_rows: usize,
    patient: bool,
    started: Instant,
    measured: &mut Measured,
) -> Result<(), Error> {
    let content = content(session, &mut measured.report)?;
    time(session, content, 1, started, measured)?;
    measured.report.steady_run = measured.times.first().map(|(_, time)| *time);
    let run = measured.report.steady_run.or(measured.report.first_run).unwrap_or_default();
    let in_time = PATIENCE.as_nanos() / run.as_nanos().max(1);
    let in_time = usize::try_from(in_time).unwrap_or(usize::MAX).max(LEAST_ROWS);
    let most_rows = if patient { most_rows } else { most_rows.min(in_time) };
    measured.independent = independent(session, content, most_rows);
    if has_batch_dimension(session.signature()) {
        let mut rows = 1;
        while rows < most_rows && started.elapsed() < PATIENCE {
            rows = (rows * 2).min(most_rows);
            if let Err(error) = time(session, content, rows, started, measured) {
                tracing::debug!(%error, rows, "the model fails on a larger batch");
                break;
            }
        }
    }
    Ok(())
}

/// Warms another session up as far as the first one showed that it can be: with one row and with the most.
pub(crate) fn warm_up(session: &mut Session, first: &Measured) {
    let rows = [1, first.times.last().map_or(1, |(rows, _)| *rows)];
    for rows in &rows[..if rows[1] > 1 { 2 } else { 1 }] {
        let run = made_up(session, Content::Varied, *rows).and_then(|inputs| session.run(&inputs));
        if run.is_err() {
            // The first session has reported it.
            let zeros = made_up(session, Content::Zeros, *rows).and_then(|inputs| session.run(&inputs));
            drop(zeros);
        }
    }
}

/// The first run; finds what the model can compute.
fn content(session: &mut Session, report: &mut WarmUp) -> Result<Content, Error> {
    let mut run = |content| {
        let inputs = made_up(session, content, 1)?;
        let started = Instant::now();
        session.run(&inputs)?;
        Ok(started.elapsed())
    };
    let (content, took) = match run(Content::Varied) {
        Ok(took) => (Content::Varied, took),
        Err(_) => (Content::Zeros, run(Content::Zeros)?),
    };
    report.first_run = Some(took);
    Ok(content)
}

/// Sizes of variable dimensions that are tried one after the other: of many a model each is large enough, of one with convolutions
/// perhaps only the last, which is that of common pictures.
const SIZES: [i64; 3] = [1, 32, 224];

impl Session {
    /// Runs the model once on made-up inputs, all zeros and empty texts, and where that fails on small numbers, with every variable
    /// dimension 1, and where that fails larger. Returns whether any were made: those of a very large input are not.
    ///
    /// # Errors
    ///
    /// What ONNX Runtime said of the first run, if none succeeded.
    pub fn try_out(&mut self) -> Result<bool, Error> {
        let mut first_failure = None;
        let mut made_any = false;
        let variable = |shape: &[i64]| shape.iter().skip(1).any(|size| *size < 0);
        let has_variable = self.signature().inputs.iter().any(|input| variable(&input.shape));
        let sizes = if has_variable { &SIZES[..] } else { &SIZES[..1] };
        let tries = sizes.iter().flat_map(|size| [(Content::Zeros, *size), (Content::Varied, *size)]);
        for (content, size) in tries {
            let Ok(inputs) = inputs::make_sized(self.signature(), content, &[0], size) else { continue };
            made_any = true;
            match self.run(&inputs) {
                Ok(_) => return Ok(true),
                Err(error @ Error::OutOfMemory { .. }) => return Err(error),
                Err(error) => first_failure = first_failure.or(Some(error)),
            }
        }
        first_failure.map_or(Ok(made_any), Err)
    }
}

/// How many rows were proven to be able to share a run; why they are not, if not.
fn independent(session: &mut Session, content: Content, most_rows: usize) -> Result<usize, String> {
    if !has_batch_dimension(session.signature()) {
        return Err("the first dimension is not variable in every input and output".to_owned());
    }
    if rows_may_differ_in_size(session.signature()) {
        return Err(
            "an output has a dimension besides the first that depends on what the inputs hold".to_owned()
        );
    }
    if content == Content::Zeros {
        return Err(
            "the model computes made-up inputs only if they are all zero, which proves nothing".to_owned()
        );
    }
    let failed = |error: Error| format!("a made-up batch failed: {error}");
    let mut alone = Vec::new();
    for row in 0..DIFFERENT_ROWS {
        let inputs = inputs::make(session.signature(), content, &[row]).map_err(failed)?;
        alone.push(session.run(&inputs).map_err(failed)?);
    }
    // The largest batch, too: it may have other kernels than a small one.
    let largest = most_rows.max(LEAST_ROWS);
    for rows in [2, LEAST_ROWS, largest] {
        let inputs = made_up(session, content, rows).map_err(failed)?;
        let parts = session.run_parts(&inputs, &vec![1; rows]).map_err(failed)?;
        proof::check(&parts, &alone)?;
    }
    Ok(largest)
}

/// Measures runs of so many rows.
fn time(
    session: &mut Session,
    content: Content,
    rows: usize,
    started: Instant,
    measured: &mut Measured,
) -> Result<(), Error> {
    let inputs = made_up(session, content, rows)?;
    let mut fastest = None;
    // The first run of a size takes longer than the later ones.
    for _ in 0..=FURTHER_RUNS {
        if started.elapsed() > PATIENCE {
            break;
        }
        let began = Instant::now();
        session.run(&inputs)?;
        let took = began.elapsed();
        fastest = Some(fastest.map_or(took, |fastest| took.min(fastest)));
    }
    measured.times.extend(fastest.map(|fastest| (rows, fastest)));
    Ok(())
}

/// Inputs of so many rows, the same few over and over.
fn made_up(session: &Session, content: Content, rows: usize) -> Result<Vec<Tensor>, Error> {
    let rows: Vec<u64> = (0..DIFFERENT_ROWS).cycle().take(rows).collect();
    inputs::make(session.signature(), content, &rows)
}
