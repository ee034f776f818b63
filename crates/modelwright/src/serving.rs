//! How a model is loaded: from a manifest's `serving`, or from the arguments of `serve`, to what the runtime takes.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use modelwright_api::contract::ExitCode;
use modelwright_api::defaults::{MAX_QUEUED_REQUESTS, ResolvedBatching, ResolvedServing, ResolvedSession};
use modelwright_api::serving as api;
use modelwright_artifact::{Digest, MODEL_FILE};
use modelwright_protocol::v1::View;
use modelwright_runtime::{
    BatchingRequest, ConvolutionSearch, ExecutionProvider, GraphOptimization, LaneChoice, LoadRequest,
    LoadedModel, QueueBounds, ResourceOptions, Weights, cpus,
};
use modelwright_server::{Bounds, PayloadLog, ReadyModel};
use modelwright_trainer::export::EXPLAIN_FILE;
use modelwright_trainer::export::schema::SCHEMA_FILE;

use crate::arguments::{ServeArguments, WeightsArguments};
use crate::failure::Failure;

/// For `run`: the model in a revision's folder, as its manifest wants it.
pub(crate) fn from_manifest(folder: &Path, serving: &ResolvedServing) -> LoadRequest {
    LoadRequest {
        execution_provider: execution_provider(serving.execution_provider),
        queue: queue(serving.max_queued_requests),
        // What the manifest grants, but never more than the machine has.
        cpus: serving.cpus.map(|granted| granted.threads().min(cpus::available())),
        ..request(folder, &serving.session, serving.batching)
    }
}

/// For `serve`.
pub(crate) fn from_arguments(arguments: &ServeArguments) -> LoadRequest {
    let options = &arguments.session;
    LoadRequest {
        execution_provider: execution_provider(options.execution_provider),
        queue: queue(arguments.max_queued_requests.unwrap_or(MAX_QUEUED_REQUESTS)),
        // The runtime itself reads what the operator granted and the container's quota.
        cpus: None,
        ..request(&arguments.model_dir, &options.session(), options.batching())
    }
}

/// For `fetch`: what decides whether the model's weights are moved to a file of their own.
pub(crate) fn to_be_loaded(folder: &Path, options: &WeightsArguments) -> LoadRequest {
    LoadRequest {
        execution_provider: execution_provider(options.execution_provider),
        instances: options.instances.map(usize::from).and_then(NonZeroUsize::new),
        weights: weights(options.weights),
        batching: Some(BatchingRequest {
            max_batch_size: options.max_batch_size.map(usize::from).and_then(NonZeroUsize::new),
            ..BatchingRequest::default()
        }),
        ..LoadRequest::new(folder.join(MODEL_FILE))
    }
}

fn request(folder: &Path, session: &ResolvedSession, batching: ResolvedBatching) -> LoadRequest {
    let memory_limit = session.cuda.memory_limit.map(bytes);
    LoadRequest {
        instances: session.instances.and_then(NonZeroUsize::new),
        intra_op_threads: session.intra_op_threads.and_then(NonZeroUsize::new),
        inter_op_threads: NonZeroUsize::new(session.inter_op_threads),
        graph_optimization: match session.graph_optimization {
            api::GraphOptimization::Disabled => GraphOptimization::Disabled,
            api::GraphOptimization::Basic => GraphOptimization::Basic,
            api::GraphOptimization::Extended => GraphOptimization::Extended,
            api::GraphOptimization::All => GraphOptimization::All,
        },
        lane: match session.lane {
            api::Lane::Auto => LaneChoice::Auto,
            api::Lane::Inline => LaneChoice::Inline,
            api::Lane::Pooled => LaneChoice::Pooled,
        },
        weights: weights(session.weights),
        resources: ResourceOptions {
            arena: session.memory_arena,
            cuda_memory_limit: memory_limit,
            convolution_search: match session.cuda.convolution_search {
                api::ConvolutionSearch::Heuristic => ConvolutionSearch::Heuristic,
                api::ConvolutionSearch::Exhaustive => ConvolutionSearch::Exhaustive,
                api::ConvolutionSearch::Default => ConvolutionSearch::Default,
            },
        },
        batching: Some(BatchingRequest {
            max_batch_size: batching.max_batch_size.and_then(NonZeroUsize::new),
            max_queue_delay: batching.max_queue_delay,
        }),
        // As many as the server has, whatever the manifest grants this model.
        io_threads: Some(cpus::available()),
        ..LoadRequest::new(folder.join(MODEL_FILE))
    }
}

const fn weights(weights: api::Weights) -> Weights {
    match weights {
        api::Weights::Auto => Weights::Auto,
        api::Weights::Copied => Weights::Copied,
        api::Weights::Mapped => Weights::Mapped,
    }
}

const fn execution_provider(provider: api::ExecutionProvider) -> ExecutionProvider {
    match provider {
        api::ExecutionProvider::Cpu => ExecutionProvider::Cpu,
        api::ExecutionProvider::Cuda => ExecutionProvider::Cuda,
    }
}

/// A loaded model with what its revision's folder holds beside it: the columns and classes of a model that was trained here, and
/// what explains its predictions.
pub(crate) fn ready(
    folder: &Path,
    digest: &Digest,
    model: LoadedModel,
    log: Option<&Arc<PayloadLog>>,
) -> Result<ReadyModel, Failure> {
    let view = view(folder, &model)?;
    let mut ready = ReadyModel::new(digest.id(), Arc::new(model));
    if let Some(view) = view {
        let explain = folder.join(EXPLAIN_FILE);
        ready = ready.with_view(view);
        // Revisions of earlier releases have none.
        ready = if explain.is_file() { ready.with_explain_model(explain) } else { ready };
    }
    Ok(match log {
        Some(log) => ready.with_payload_log(Arc::clone(log))?,
        None => ready,
    })
}

/// The columns and classes of a model that was trained here; `None` for any other.
fn view(folder: &Path, model: &LoadedModel) -> Result<Option<View>, Failure> {
    let Ok(schema) = std::fs::read(folder.join(SCHEMA_FILE)) else { return Ok(None) };
    View::from_schema(&schema, model.signature()).map(Some).map_err(|error| {
        let message = format!("{}: {error}", folder.join(SCHEMA_FILE).display());
        Failure::new(ExitCode::BadData, "SchemaUnusable", message)
    })
}

/// A number of bytes of a manifest or argument as one of memory.
pub(crate) fn bytes(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Makes room for bodies of this size, so that the text of one fits beside small ones. With its tensors a request may be
/// larger; the server takes such a one when it holds nothing else.
pub(crate) fn admit(bounds: &mut Bounds, max_request_bytes: u64) {
    bounds.max_bodies_bytes = bounds.max_bodies_bytes.max(bytes(max_request_bytes));
}

fn queue(requests: u32) -> QueueBounds {
    QueueBounds { requests: usize::try_from(requests).unwrap_or(usize::MAX), ..QueueBounds::default() }
}
