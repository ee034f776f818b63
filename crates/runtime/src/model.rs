//! A model that is loaded, warmed up and ready to answer.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use modelwright_protocol::{Signature, Tensor};

use crate::batch::{Batching, BatchingRequest, DEFAULT_MAX_BATCH_SIZE, Fit};
use crate::error::Error;
use crate::lane::inline::Inline;
use crate::lane::pooled::Pooled;
use crate::lane::{Engines, Lane, LaneChoice, LaneKind, Load, Pending, QueueBounds, SubmitOptions};
use crate::library::Library;
use crate::run::Runs;
use crate::session::{self, ExecutionProvider, GraphOptimization, ResourceOptions};
use crate::warmup::WarmUp;

mod load;
mod plan;

pub use plan::Weights;

/// What to load and how to run it. `None` means: decide by the model's size, its measured run time and the processors.
#[derive(Debug, Clone, Default)]
pub struct LoadRequest {
    /// The ONNX file. External data is looked for beside it.
    pub path: PathBuf,
    /// What computes the operators.
    pub execution_provider: ExecutionProvider,
    /// Sessions that run side by side. In the inline lane, I/O threads share them if there are fewer than those.
    pub instances: Option<NonZeroUsize>,
    /// Threads within one operator, per session.
    pub intra_op_threads: Option<NonZeroUsize>,
    /// Threads between independent operators, per session; 1 if absent.
    pub inter_op_threads: Option<NonZeroUsize>,
    /// How much the graph is rewritten.
    pub graph_optimization: GraphOptimization,
    /// Memory, and how cuDNN searches.
    pub resources: ResourceOptions,
    /// How much may wait.
    pub queue: QueueBounds,
    /// The processors to divide among the sessions; [`cpus::available`](crate::cpus::available) if absent.
    pub cpus: Option<NonZeroUsize>,
    /// How requests reach the sessions.
    pub lane: LaneChoice,
    /// Threads that call [`enter_io_thread`](crate::lane::enter_io_thread): the sessions of an inline lane. As many as
    /// processors if absent.
    pub io_threads: Option<NonZeroUsize>,
    /// How requests share runs. If absent: without delay, in batches of up to [`DEFAULT_MAX_BATCH_SIZE`] rows where that is
    /// proven to be right and pays.
    pub batching: Option<BatchingRequest>,
    /// Whether weights are mapped or copied.
    pub weights: Weights,
}

impl LoadRequest {
    /// Everything by default but the file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), ..Self::default() }
    }

    /// Whether the weights of a model that holds so many bytes of them in its own file should be moved to a file beside it
    /// before it is loaded, so that they can be mapped. `batch_dimension`: whether the first dimension of every input and
    /// output varies.
    pub fn prefers_external_weights(&self, bytes: u64, batch_dimension: bool) -> bool {
        let one_row =
            self.batching.is_some_and(|batching| batching.max_batch_size == Some(NonZeroUsize::MIN));
        plan::worth_moving(self, bytes, batch_dimension && !one_row)
    }
}

/// What loading did and how long it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadReport {
    /// The version of ONNX Runtime.
    pub runtime_version: String,
    /// Loading the library; nearly zero when another model had loaded it.
    pub library: Duration,
    /// Creating all sessions.
    pub session: Duration,
    /// The warm-up of the first session; `took` is that of all.
    pub warm_up: WarmUp,
    /// What computes the operators; [`ExecutionProvider::Cuda`] says how far that can be known.
    pub execution_provider: ExecutionProvider,
    /// Sessions that run side by side.
    pub instances: NonZeroUsize,
    /// Threads within one operator, per session.
    pub intra_op_threads: NonZeroUsize,
    /// How requests reach the sessions.
    pub lane: LaneKind,
    /// Why, in one sentence.
    pub lane_reason: String,
    /// How long runs take, where it could be measured.
    pub fit: Option<Fit>,
    /// How requests share runs.
    pub batching: Batching,
    /// [`Weights::Mapped`] or [`Weights::Copied`].
    pub weights: Weights,
}

/// What a request got.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// All outputs, in the order of the signature.
    pub outputs: Vec<Tensor>,
    /// How long the request waited for a session.
    pub waited: Duration,
    /// How long the run took; of a request that was cut, all its runs.
    pub ran: Duration,
    /// The rows of the run that it shared; of a request that was cut, those of its largest run. 1 for models and requests
    /// without a batch dimension.
    pub batch_rows: usize,
    /// The runs that this request tells of: those that it was alone in, and one that it shared if no other request in it
    /// tells. Over all requests, each run is told once.
    pub runs: Runs,
}

/// A model that is loaded and warmed up. Shared freely; dropping the last handle lets its threads finish and end.
#[derive(Debug)]
pub struct LoadedModel {
    signature: Arc<Signature>,
    report: LoadReport,
    lane: Box<dyn Lane>,
}

impl LoadedModel {
    /// Loads the library if needed, opens the sessions and warms them up.
    ///
    /// Blocks for as long as that takes, which can be minutes for large models: call it on a thread of its own
    /// (`tokio::task::spawn_blocking`).
    pub fn load(request: &LoadRequest) -> Result<Self, Error> {
        let started = Instant::now();
        let library = Library::load()?;
        let loaded = started.elapsed();
        let load::Prepared { sessions, rules, mut report } = load::prepare(request, library)?;
        report.library = loaded;
        let signature = Arc::clone(sessions[0].signature());
        let engines = Engines::new(sessions, rules, report.fit, request.queue);
        let lane: Box<dyn Lane> = match report.lane {
            LaneKind::Inline => Box::new(Inline::new(engines)),
            LaneKind::Pooled => Box::new({
                let ahead = report.execution_provider == ExecutionProvider::Cuda;
                Pooled::start(engines, report.batching.max_queue_delay, ahead)?
            }),
        };
        Ok(Self { signature, report, lane })
    }

    /// What the model takes and gives.
    pub const fn signature(&self) -> &Arc<Signature> {
        &self.signature
    }

    /// What loading did and how long it took.
    pub const fn report(&self) -> &LoadReport {
        &self.report
    }

    /// Takes a request with one tensor for every input, in the order of the signature, or refuses it at once: because
    /// the inputs do not fit, or with [`Error::Overloaded`]. A request that has not begun to run at its deadline is
    /// answered with [`Error::DeadlineExceeded`].
    ///
    /// In the inline lane, the calling thread's runtime runs the model, if it has one; without one, this call does.
    pub fn submit(&self, inputs: Vec<Tensor>, deadline: Option<Instant>) -> Result<Pending, Error> {
        self.submit_with(inputs, SubmitOptions { deadline, ..SubmitOptions::default() })
    }

    /// As [`LoadedModel::submit`], with a priority.
    pub fn submit_with(&self, inputs: Vec<Tensor>, options: SubmitOptions) -> Result<Pending, Error> {
        session::check(&self.signature, &inputs)?;
        self.lane.submit(inputs, options)
    }

    /// Submits a request without deadline and waits for all outputs.
    pub async fn infer(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, Error> {
        Ok(self.submit(inputs, None)?.await?.outputs)
    }

    /// What the model is doing at the moment.
    pub fn load_now(&self) -> Load {
        self.lane.load()
    }

    /// Takes no more requests; those that it has are answered.
    pub fn close(&self) {
        self.lane.close();
    }

    /// Gives up: what waits is answered with [`Error::Closed`], runs in progress end at their next operator.
    pub fn abort(&self) {
        self.lane.abort();
    }
}

/// The bytes of the model's file and of the files beside it, which hold its external data; 0 if they cannot be read.
fn size(path: &Path) -> u64 {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .filter(std::fs::Metadata::is_file)
        .map(|file| file.len())
        .sum()
}

#[cfg(test)]
mod tests;
