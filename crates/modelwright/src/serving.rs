//! How a model is loaded: from a manifest's `serving`, or from the arguments of `serve`, to what the runtime takes.

use std::num::NonZeroUsize;
use std::path::Path;

use modelwright_api::defaults::{INTER_OP_THREADS, MAX_QUEUED_REQUESTS, ResolvedServing};
use modelwright_api::serving as api;
use modelwright_artifact::MODEL_FILE;
use modelwright_runtime::{ExecutionProvider, GraphOptimization, LoadRequest, QueueBounds, cpus};
use modelwright_server::Bounds;

use crate::arguments::{self, Provider, ServeArguments};

/// For `run`: the model in a revision's folder, as its manifest wants it.
pub(crate) fn from_manifest(folder: &Path, serving: &ResolvedServing) -> LoadRequest {
    LoadRequest {
        path: folder.join(MODEL_FILE),
        execution_provider: match serving.execution_provider {
            api::ExecutionProvider::Cpu => ExecutionProvider::Cpu,
            api::ExecutionProvider::Cuda => ExecutionProvider::Cuda,
        },
        instances: None,
        intra_op_threads: serving.session.intra_op_threads.and_then(NonZeroUsize::new),
        inter_op_threads: NonZeroUsize::new(serving.session.inter_op_threads),
        graph_optimization: match serving.session.graph_optimization {
            api::GraphOptimization::Disabled => GraphOptimization::Disabled,
            api::GraphOptimization::Basic => GraphOptimization::Basic,
            api::GraphOptimization::Extended => GraphOptimization::Extended,
            api::GraphOptimization::All => GraphOptimization::All,
        },
        queue: queue(serving.max_queued_requests),
        // What the manifest grants, but never more than the machine has.
        cpus: serving.cpus.map(|granted| granted.threads().min(cpus::available())),
    }
}

/// For `serve`.
pub(crate) fn from_arguments(arguments: &ServeArguments) -> LoadRequest {
    let threads = |threads: u16| NonZeroUsize::new(threads.into());
    LoadRequest {
        path: arguments.model_dir.join(MODEL_FILE),
        execution_provider: match arguments.execution_provider {
            Provider::Cpu => ExecutionProvider::Cpu,
            Provider::Cuda => ExecutionProvider::Cuda,
        },
        instances: None,
        intra_op_threads: arguments.intra_op_threads.and_then(threads),
        inter_op_threads: arguments.inter_op_threads.map_or(NonZeroUsize::new(INTER_OP_THREADS), threads),
        graph_optimization: match arguments.graph_optimization {
            arguments::GraphOptimization::Disabled => GraphOptimization::Disabled,
            arguments::GraphOptimization::Basic => GraphOptimization::Basic,
            arguments::GraphOptimization::Extended => GraphOptimization::Extended,
            arguments::GraphOptimization::All => GraphOptimization::All,
        },
        queue: queue(arguments.max_queued_requests.unwrap_or(MAX_QUEUED_REQUESTS)),
        // The runtime itself reads what the operator granted and the container's quota.
        cpus: None,
    }
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
