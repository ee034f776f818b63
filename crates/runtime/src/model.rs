//! A model that is loaded, warmed up and ready to answer.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use modelwright_protocol::{Signature, Tensor};

use crate::cpus;
use crate::error::Error;
use crate::lane::pooled::Pooled;
use crate::lane::{Lane, Load, Pending, QueueBounds};
use crate::library::Library;
use crate::session::{self, ExecutionProvider, GraphOptimization, Session, SessionOptions};
use crate::warmup::{WarmUp, warm_up};

/// Above this size of the model's folder in bytes, one session uses all processors; below it, every processor gets a
/// session: a small model gains nothing from several threads.
const ONE_SESSION_ABOVE: u64 = 32 << 20;
/// Weights are held once per session; no more sessions than fit into so many bytes are made unasked.
const ALL_SESSIONS: u64 = 256 << 20;

/// What to load and how to run it. `None` means: decide by the model's size and the processors.
#[derive(Debug, Clone, Default)]
pub struct LoadRequest {
    /// The ONNX file. External data is looked for beside it.
    pub path: PathBuf,
    /// What computes the operators.
    pub execution_provider: ExecutionProvider,
    /// Sessions that run side by side, each with a copy of the weights.
    pub instances: Option<NonZeroUsize>,
    /// Threads within one operator, per session.
    pub intra_op_threads: Option<NonZeroUsize>,
    /// Threads between independent operators, per session; 1 if absent.
    pub inter_op_threads: Option<NonZeroUsize>,
    /// How much the graph is rewritten.
    pub graph_optimization: GraphOptimization,
    /// How much may wait.
    pub queue: QueueBounds,
    /// The processors to divide among the sessions; [`cpus::available`] if absent.
    pub cpus: Option<NonZeroUsize>,
}

impl LoadRequest {
    /// Everything by default but the file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), ..Self::default() }
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
    /// What computes the operators.
    pub execution_provider: ExecutionProvider,
    /// Sessions that run side by side.
    pub instances: NonZeroUsize,
    /// Threads within one operator, per session.
    pub intra_op_threads: NonZeroUsize,
}

/// What a request got.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// All outputs, in the order of the signature.
    pub outputs: Vec<Tensor>,
    /// How long the request waited for a session.
    pub waited: Duration,
    /// How long the run took.
    pub ran: Duration,
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
        let plan = plan(request);

        let started = Instant::now();
        let options = SessionOptions {
            execution_provider: request.execution_provider,
            intra_op_threads: plan.intra_op_threads,
            inter_op_threads: request.inter_op_threads.unwrap_or(NonZeroUsize::MIN),
            graph_optimization: request.graph_optimization,
            spinning: false,
        };
        let mut sessions = Vec::with_capacity(plan.instances.get());
        for _ in 0..plan.instances.get() {
            sessions.push(Session::open(&request.path, &options)?);
        }
        let opened = started.elapsed();

        let started = Instant::now();
        let mut reports: Vec<WarmUp> = sessions.iter_mut().map(warm_up).collect();
        let warm_up = WarmUp { took: started.elapsed(), ..reports.swap_remove(0) };

        let report = LoadReport {
            runtime_version: library.version().to_owned(),
            library: loaded,
            session: opened,
            warm_up,
            execution_provider: request.execution_provider,
            instances: plan.instances,
            intra_op_threads: plan.intra_op_threads,
        };
        let signature = Arc::clone(sessions[0].signature());
        let lane = Box::new(Pooled::start(sessions, request.queue)?);
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
    pub fn submit(&self, inputs: Vec<Tensor>, deadline: Option<Instant>) -> Result<Pending, Error> {
        session::check(&self.signature, &inputs)?;
        self.lane.submit(inputs, deadline)
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

/// How the processors are divided.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    instances: NonZeroUsize,
    intra_op_threads: NonZeroUsize,
}

fn plan(request: &LoadRequest) -> Plan {
    let cpus = request.cpus.unwrap_or_else(cpus::available);
    let most = match request.execution_provider {
        ExecutionProvider::Cpu => most_sessions(size(&request.path)),
        ExecutionProvider::Cuda => NonZeroUsize::MIN,
    };
    divide(cpus, most, request.instances, request.intra_op_threads)
}

/// How many sessions of a model of so many bytes are worth their memory.
fn most_sessions(bytes: u64) -> NonZeroUsize {
    if bytes > ONE_SESSION_ABOVE {
        return NonZeroUsize::MIN;
    }
    let fit = usize::try_from(ALL_SESSIONS / bytes.max(1)).unwrap_or(usize::MAX);
    NonZeroUsize::new(fit).unwrap_or(NonZeroUsize::MIN)
}

/// Sessions × threads is at most the processors, unless the request says otherwise.
fn divide(
    cpus: NonZeroUsize,
    most: NonZeroUsize,
    instances: Option<NonZeroUsize>,
    intra_op_threads: Option<NonZeroUsize>,
) -> Plan {
    let share =
        |parts: NonZeroUsize| NonZeroUsize::new(cpus.get() / parts.get()).unwrap_or(NonZeroUsize::MIN);
    let instances = instances.unwrap_or_else(|| intra_op_threads.map_or(cpus, share).min(most));
    let intra_op_threads = intra_op_threads.unwrap_or_else(|| share(instances));
    Plan { instances, intra_op_threads }
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
