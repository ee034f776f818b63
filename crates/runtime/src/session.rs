//! One opened model that one thread runs at a time.

use std::fmt;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use modelwright_protocol::{Signature, Tensor};
use ort::ep;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{NoSelectedOutputs, RunOptions, SessionInputValue};
use ort::value::DynValue;

use crate::error::Error;
use crate::library::Library;
use crate::{rejection, values};

pub(crate) mod contents;
mod cuda;

/// What computes the model's operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ExecutionProvider {
    /// The processor.
    #[default]
    Cpu,
    /// An NVIDIA GPU through CUDA and cuDNN. If it cannot be had, opening the session fails. ONNX Runtime computes operators
    /// that CUDA does not have on the processor, and its interface does not tell which: a session of this provider
    /// certainly holds the GPU, but may use both.
    Cuda,
}

impl ExecutionProvider {
    /// The name as manifests spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::Cuda => "CUDA",
        }
    }
}

/// How much ONNX Runtime rewrites the graph before it runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum GraphOptimization {
    /// Not at all.
    Disabled,
    /// Constant folding and other rewrites that keep the standard operators.
    Basic,
    /// Fusions into operators of the execution provider, too.
    Extended,
    /// Everything, with changed memory layouts.
    #[default]
    All,
}

/// How cuDNN looks for the algorithm of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ConvolutionSearch {
    /// By rules, about 2 ms for every new shape.
    #[default]
    Heuristic,
    /// By trying all of them, hundreds of milliseconds for every new shape: for models whose shapes never change.
    Exhaustive,
    /// Always the same algorithm, which needs little memory.
    Default,
}

/// What a session may take and how it looks for memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceOptions {
    /// Whether memory of the processor is kept for the next run. Faster; what the largest request took stays taken. On by
    /// default.
    pub arena: bool,
    /// The most bytes of a GPU's memory that are kept for runs; no bound if absent. Memory of cuDNN's own is not counted.
    pub cuda_memory_limit: Option<usize>,
    /// How cuDNN looks for the algorithm of a convolution.
    pub convolution_search: ConvolutionSearch,
}

impl Default for ResourceOptions {
    fn default() -> Self {
        Self { arena: true, cuda_memory_limit: None, convolution_search: ConvolutionSearch::default() }
    }
}

/// How a session is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionOptions {
    /// What computes the operators.
    pub execution_provider: ExecutionProvider,
    /// Threads within one operator, the calling thread included.
    pub intra_op_threads: NonZeroUsize,
    /// Threads between independent operators; 1 runs them one after the other.
    pub inter_op_threads: NonZeroUsize,
    /// How much the graph is rewritten.
    pub graph_optimization: GraphOptimization,
    /// Whether idle threads of the pool burn processor time while they wait. Off by default: it takes time from the
    /// other sessions of a quota.
    pub spinning: bool,
    /// Whether weights are rearranged for faster kernels, which takes a copy of them for this session. Without it, weights
    /// in files beside the model are mapped: they load in milliseconds, and every session of every process on the machine
    /// shares them, but batches take up to twice as long.
    pub prepacking: bool,
    /// What the session may take.
    pub resources: ResourceOptions,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            execution_provider: ExecutionProvider::default(),
            intra_op_threads: NonZeroUsize::MIN,
            inter_op_threads: NonZeroUsize::MIN,
            graph_optimization: GraphOptimization::default(),
            spinning: false,
            prepacking: true,
            resources: ResourceOptions::default(),
        }
    }
}

/// One opened model. Running takes `&mut self`: concurrency comes from several sessions, never from a lock around one.
#[derive(Debug)]
pub struct Session {
    inner: ort::session::Session,
    signature: Arc<Signature>,
    stopper: Stopper,
    path: PathBuf,
    /// How long taking the outputs of the last run took.
    taking: Duration,
}

/// Ends a session's runs from another thread.
#[derive(Clone)]
pub(crate) struct Stopper {
    options: Arc<RunOptions<NoSelectedOutputs>>,
    for_good: Arc<AtomicBool>,
}

impl Stopper {
    fn new(options: RunOptions<NoSelectedOutputs>) -> Self {
        Self { options: Arc::new(options), for_good: Arc::default() }
    }

    /// Makes a run in progress end before its next operator, and later ones at once, until [`Stopper::allow`].
    pub(crate) fn stop(&self) {
        if let Err(error) = self.options.terminate() {
            tracing::warn!(%error, "cannot stop a run");
        }
    }

    /// As [`Stopper::stop`], and no [`Stopper::allow`] takes it back.
    pub(crate) fn stop_for_good(&self) {
        self.for_good.store(true, Ordering::SeqCst);
        self.stop();
    }

    /// Allows runs again after a stop.
    pub(crate) fn allow(&self) {
        if let Err(error) = self.options.unterminate() {
            tracing::warn!(%error, "cannot allow runs again");
        }
        // Whoever stopped for good in between must not be overruled.
        if self.for_good.load(Ordering::SeqCst) {
            self.stop();
        }
    }
}

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopper").field("for_good", &self.for_good).finish_non_exhaustive()
    }
}

impl Session {
    /// Opens the model at `path`; files with external data are looked for beside it.
    ///
    /// Loads the library if that has not been done. Memory use is about the size of the weights, or twice that while
    /// they are being repacked.
    pub fn open(path: &Path, options: &SessionOptions) -> Result<Self, Error> {
        let library = Library::load()?;
        readable(path)?;
        // ONNX Runtime's bindings panic on types that they do not know; a model must not end the process.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            builder(library, options)?
                .commit_from_file(path)
                .map_err(|error| rejection::of_model(error.code(), error.message(), path, library.version()))
        }));
        let inner = opened.unwrap_or_else(|_| {
            let detail = "its inputs or outputs have a type that is not supported".to_owned();
            Err(Error::ModelRejected { path: path.to_path_buf(), detail })
        })?;
        let signature = values::signature(inner.inputs(), inner.outputs()).map_err(|unsupported| {
            let values::Unsupported { role, tensor, datatype } = unsupported;
            Error::UnsupportedType { path: path.to_path_buf(), role, tensor, datatype }
        })?;
        let run_options =
            RunOptions::new().map_err(|error| Error::RunFailed { detail: error.to_string() })?;
        Ok(Self {
            inner,
            signature: Arc::new(signature),
            stopper: Stopper::new(run_options),
            path: path.to_path_buf(),
            taking: Duration::ZERO,
        })
    }

    /// What the model takes and gives.
    pub const fn signature(&self) -> &Arc<Signature> {
        &self.signature
    }

    /// The file that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs the model on one tensor for every input, in the order of the signature, and returns all outputs in its order.
    ///
    /// Blocks for as long as the model computes.
    pub fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Error> {
        check(&self.signature, inputs)?;
        guarded(|| self.run_checked(inputs))
    }

    fn run_checked(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Error> {
        let inputs = inputs.iter().map(values::view).collect::<Result<Vec<_>, _>>()?;
        self.read_all(&inputs)
    }

    /// As [`Session::run`], on some rows of inputs that have been checked. The rows are not copied.
    pub(crate) fn run_rows(&mut self, inputs: &[Tensor], rows: &Range<usize>) -> Result<Vec<Tensor>, Error> {
        guarded(|| {
            let inputs =
                inputs.iter().map(|input| values::view_rows(input, rows)).collect::<Result<Vec<_>, _>>()?;
            self.read_all(&inputs)
        })
    }

    /// As [`Session::run`], on inputs that have been checked, and gives the outputs in parts of so many rows, which must be
    /// all that there are.
    pub(crate) fn run_parts(
        &mut self,
        inputs: &[Tensor],
        parts: &[usize],
    ) -> Result<Vec<Vec<Tensor>>, Error> {
        guarded(|| {
            let inputs = inputs.iter().map(values::view).collect::<Result<Vec<_>, _>>()?;
            let mut all: Vec<Vec<Tensor>> =
                parts.iter().map(|_| Vec::with_capacity(self.signature.outputs.len())).collect();
            self.read_each(&inputs, |name, value| {
                for (part, tensor) in all.iter_mut().zip(values::copy_parts(name, value, parts)?) {
                    part.push(tensor);
                }
                Ok(())
            })?;
            Ok(all)
        })
    }

    fn read_all(&mut self, inputs: &[SessionInputValue<'_>]) -> Result<Vec<Tensor>, Error> {
        let mut outputs = Vec::with_capacity(self.signature.outputs.len());
        self.read_each(inputs, |name, value| {
            outputs.push(values::copy(name, value)?);
            Ok(())
        })?;
        Ok(outputs)
    }

    /// Runs and reads every output in turn.
    fn read_each(
        &mut self,
        inputs: &[SessionInputValue<'_>],
        mut read: impl FnMut(&str, &DynValue) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let outputs = self
            .inner
            .run_with_options(inputs, &self.stopper.options)
            .map_err(|error| rejection::of_run(error.code(), error.message()))?;
        let computed = Instant::now();
        let taken = outputs
            .values()
            .zip(&self.signature.outputs)
            .try_for_each(|(value, output)| read(&output.name, &value));
        self.taking = computed.elapsed();
        taken
    }

    /// How long taking the outputs of the last run took.
    pub(crate) const fn taking(&self) -> Duration {
        self.taking
    }

    pub(crate) fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }
}

/// Makes an error of a panic in ONNX Runtime's bindings.
fn guarded<T>(run: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        Err(Error::RunFailed { detail: "the binding of ONNX Runtime panicked".to_owned() })
    })
}

/// Checks that there is one fitting tensor for every input, in the order of the signature.
pub(crate) fn check(signature: &Signature, inputs: &[Tensor]) -> Result<(), Error> {
    let wanted = signature.inputs.len();
    if inputs.len() != wanted {
        let detail = format!("the model takes {wanted} inputs, got {}", inputs.len());
        return Err(Error::InvalidInput { detail });
    }
    for (tensor, input) in inputs.iter().zip(&signature.inputs) {
        if tensor.name() != input.name {
            let detail = format!("input \"{}\" stands where \"{}\" belongs", tensor.name(), input.name);
            return Err(Error::InvalidInput { detail });
        }
        input.accepts(tensor).map_err(|error| Error::InvalidInput { detail: error.to_string() })?;
    }
    Ok(())
}

/// ONNX Runtime's own message for an unreadable file does not say why. The type is checked before opening because
/// opening a pipe waits for a writer.
fn readable(path: &Path) -> Result<(), Error> {
    let missing = |detail: String| Error::ModelMissing { path: path.to_path_buf(), detail };
    let metadata = std::fs::metadata(path).map_err(|error| missing(error.to_string()))?;
    if !metadata.is_file() {
        return Err(missing("it is no regular file".to_owned()));
    }
    std::fs::File::open(path).map(drop).map_err(|error| missing(error.to_string()))
}

fn builder(library: &Library, options: &SessionOptions) -> Result<SessionBuilder, Error> {
    let internal = |error: ort::Error| Error::RunFailed { detail: error.to_string() };
    let level = match options.graph_optimization {
        GraphOptimization::Disabled => GraphOptimizationLevel::Disable,
        GraphOptimization::Basic => GraphOptimizationLevel::Level1,
        GraphOptimization::Extended => GraphOptimizationLevel::Level2,
        GraphOptimization::All => GraphOptimizationLevel::All,
    };
    let builder = ort::session::Session::builder(library.environment())
        .and_then(|builder| Ok(builder.with_intra_threads(options.intra_op_threads.get())?))
        .and_then(|builder| Ok(builder.with_inter_threads(options.inter_op_threads.get())?))
        .and_then(|builder| Ok(builder.with_parallel_execution(options.inter_op_threads.get() > 1)?))
        .and_then(|builder| Ok(builder.with_intra_op_spinning(options.spinning)?))
        .and_then(|builder| Ok(builder.with_inter_op_spinning(options.spinning)?))
        .and_then(|builder| Ok(builder.with_optimization_level(level)?))
        // ONNX Runtime keeps a memory plan for every combination of input shapes that it has seen, and forgets none: with
        // variable dimensions, clients would make it grow without bound. Which dimensions vary is known only once the
        // session is open, and for fixed ones the arena gives memory nearly as fast.
        .and_then(|builder| Ok(builder.with_memory_pattern(false)?))
        .and_then(|builder| Ok(builder.with_prepacking(options.prepacking)?))
        .map_err(internal)?;
    let processor = ep::CPU::default().with_arena_allocator(options.resources.arena).build();
    match options.execution_provider {
        ExecutionProvider::Cpu => {
            builder.with_execution_providers([processor]).map_err(|error| internal(error.into()))
        }
        ExecutionProvider::Cuda => {
            let provider = cuda_provider(&options.resources).build().error_on_failure();
            builder.with_execution_providers([provider, processor]).map_err(|error| {
                Error::ProviderUnavailable {
                    provider: ExecutionProvider::Cuda.as_str(),
                    detail: cuda::why_not(library.path(), error.message()),
                }
            })
        }
    }
}

fn cuda_provider(resources: &ResourceOptions) -> ep::CUDA {
    let search = match resources.convolution_search {
        // The exhaustive search, ONNX Runtime's default, costs hundreds of milliseconds for every new shape.
        ConvolutionSearch::Heuristic => ep::cuda::ConvAlgorithmSearch::Heuristic,
        ConvolutionSearch::Exhaustive => ep::cuda::ConvAlgorithmSearch::Exhaustive,
        ConvolutionSearch::Default => ep::cuda::ConvAlgorithmSearch::Default,
    };
    let provider = ep::CUDA::default().with_conv_algorithm_search(search);
    match resources.cuda_memory_limit {
        Some(bytes) => provider.with_memory_limit(bytes),
        None => provider,
    }
}

#[cfg(test)]
mod tests;
