//! The options of `serve` that say how the model is computed: those of `spec.serving.batching` and `spec.serving.session`.

use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use modelwright_api::defaults::{INTER_OP_THREADS, ResolvedBatching, ResolvedCuda, ResolvedSession};
use modelwright_api::duration;
use modelwright_api::serving::{ConvolutionSearch, ExecutionProvider, GraphOptimization, Lane, Weights};
use serde::de::DeserializeOwned;

/// How the model is computed.
#[derive(Debug, Args)]
pub(crate) struct SessionArguments {
    /// What computes the model. Asking for CUDA without having it is an error, never a silent fallback.
    #[arg(long, default_value = "CPU", value_parser = word::<ExecutionProvider>(&["CPU", "CUDA"]))]
    pub(crate) execution_provider: ExecutionProvider,
    /// The most rows in one run; 1 switches batching off. Left out: 32 where a trial at start-up shows that it pays.
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u16).range(1..=4096))]
    max_batch_size: Option<u16>,
    /// How long a request may wait for company while others are on their way, such as `2ms`.
    #[arg(long, value_name = "DURATION", default_value = "0ms", value_parser = parse_duration)]
    max_queue_delay: Duration,
    /// Threads that one operator of the graph may use.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    intra_op_threads: Option<u16>,
    /// Operators of the graph that may run at the same time.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    inter_op_threads: Option<u16>,
    /// How far ONNX Runtime rewrites the graph before it runs it.
    #[arg(long, default_value = "All",
        value_parser = word::<GraphOptimization>(&["Disabled", "Basic", "Extended", "All"]))]
    graph_optimization: GraphOptimization,
    /// Which threads run the model: those that read the requests, or others behind a queue.
    #[arg(long, default_value = "Auto", value_parser = word::<Lane>(&["Auto", "Inline", "Pooled"]))]
    lane: Lane,
    /// Sessions that run side by side.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    instances: Option<u16>,
    /// Whether each session copies the weights or all read one mapped file.
    #[arg(long, default_value = "Auto", value_parser = word::<Weights>(&["Auto", "Copied", "Mapped"]))]
    weights: Weights,
    /// Whether a session keeps the memory of a run for the next one.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    memory_arena: bool,
    /// The most bytes of a GPU's memory that a session keeps.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    cuda_memory_limit: Option<u64>,
    /// How cuDNN looks for the fastest convolution.
    #[arg(long, default_value = "Heuristic",
        value_parser = word::<ConvolutionSearch>(&["Heuristic", "Exhaustive", "Default"]))]
    cuda_convolution_search: ConvolutionSearch,
}

/// What decides whether a fetched model's weights are moved to a file of their own, so that sessions can map them: the options
/// that `serve` will be given.
#[derive(Debug, Args)]
pub(crate) struct WeightsArguments {
    /// Whether the sessions of `serve` will copy the weights or read one mapped file, which is written beside the fetched
    /// files. `Auto`: where that costs no speed.
    #[arg(long, default_value = "Auto", value_parser = word::<Weights>(&["Auto", "Copied", "Mapped"]))]
    pub(crate) weights: Weights,
    /// What will compute the model; only the CPU maps weights unasked.
    #[arg(long, default_value = "CPU", value_parser = word::<ExecutionProvider>(&["CPU", "CUDA"]))]
    pub(crate) execution_provider: ExecutionProvider,
    /// The most rows in one run; weights of models that compute several rows at once are not mapped unasked.
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) max_batch_size: Option<u16>,
    /// Sessions that will run side by side.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) instances: Option<u16>,
}

impl SessionArguments {
    pub(crate) fn batching(&self) -> ResolvedBatching {
        ResolvedBatching {
            max_batch_size: self.max_batch_size.map(usize::from),
            max_queue_delay: self.max_queue_delay,
        }
    }

    pub(crate) fn session(&self) -> ResolvedSession {
        ResolvedSession {
            intra_op_threads: self.intra_op_threads.map(usize::from),
            inter_op_threads: self.inter_op_threads.map_or(INTER_OP_THREADS, usize::from),
            graph_optimization: self.graph_optimization,
            lane: self.lane,
            instances: self.instances.map(usize::from),
            weights: self.weights,
            memory_arena: self.memory_arena,
            cuda: ResolvedCuda {
                memory_limit: self.cuda_memory_limit,
                convolution_search: self.cuda_convolution_search,
            },
        }
    }
}

/// Reads a word of a manifest.
pub(crate) fn word<T>(words: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(words).try_map(|word| serde_json::from_value(serde_json::Value::String(word)))
}

/// Reads a duration of a manifest.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| error.to_string())
}
