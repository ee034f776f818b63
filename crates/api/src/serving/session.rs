//! `spec.serving.batching` and `spec.serving.session`: how requests reach ONNX Runtime.
#![allow(unreachable_pub, reason = "KubeSchema copies each struct, `pub` and all, into a function")]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{quantity::Quantity, rules};

/// How requests are computed together. Only models whose every input and output has a variable first dimension can batch, and
/// only if a trial at start-up shows that a row's result does not depend on its company; others are run one by one.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Batching {
    /// The most rows in one run. 1 switches batching off. A request with more rows is computed in parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4096))]
    pub max_batch_size: Option<i32>,
    /// How long a request may wait for company while others are on their way, in a pooled lane. A request that is alone
    /// never waits. A duration from 0ms to 1s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = rules::DURATION, validation = rules::MAX_QUEUE_DELAY)]
    pub max_queue_delay: Option<String>,
}

/// Settings of the ONNX Runtime session.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Threads that work on one operator together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub intra_op_threads: Option<i32>,
    /// Threads that run independent operators of one graph side by side. More than 1 helps only graphs with parallel
    /// branches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub inter_op_threads: Option<i32>,
    /// How far ONNX Runtime rewrites the graph before it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graph_optimization: Option<GraphOptimization>,
    /// Which threads run the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<Lane>,
    /// Sessions that run side by side in one server, each with its own working memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub instances: Option<i32>,
    /// How sessions hold the model's weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<Weights>,
    /// Whether a session keeps the memory of a run for the next one. `false` gives it back after every run, for models whose
    /// inputs vary so much in size that the kept memory grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_arena: Option<bool>,
    /// Settings of the execution provider `CUDA`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cuda: Option<Cuda>,
}

/// How far ONNX Runtime rewrites the graph before it runs. `Disabled`: not at all. `Basic`: redundant operators are
/// removed and constants folded. `Extended`: operators are fused as well. `All`: memory layouts are changed as well.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum GraphOptimization {
    /// The graph runs as it is written.
    Disabled,
    /// Redundant operators are removed and constants folded.
    Basic,
    /// Operators are fused as well.
    Extended,
    /// Memory layouts are changed as well.
    #[default]
    All,
}

/// Which threads run the model. `Inline`: those that read the requests, one session each, without a hand-over; for models that
/// run for a few milliseconds at most, on the CPU. `Pooled`: threads of their own behind a queue. `Auto`: by the time that a run
/// takes at start-up.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum Lane {
    /// By the time that a run takes at start-up.
    #[default]
    Auto,
    /// On the threads that read the requests.
    Inline,
    /// On threads of their own.
    Pooled,
}

/// How sessions hold the model's weights. `Copied`: each in its own memory, laid out for speed. `Mapped`: all from the same
/// mapped file, which costs speed for large batches and no memory for a further session; a model that holds its weights itself
/// gets such a file beside it when it is fetched. `Auto`: mapped where a large model, or several sessions of one, run one row at
/// a time.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum Weights {
    /// By the model's size and the number of sessions.
    #[default]
    Auto,
    /// Each session has its own copy.
    Copied,
    /// All sessions read one mapped file.
    Mapped,
}

/// Settings of the execution provider `CUDA`.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cuda {
    /// The most memory of the GPU that one session's arena takes, such as `4Gi`. Absent: what it needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<Quantity>,
    /// How the fastest convolution is found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub convolution_search: Option<ConvolutionSearch>,
}

/// How cuDNN's fastest convolution is found: by rules (`Heuristic`), by trying all for every new shape (`Exhaustive`, hundreds of
/// milliseconds each), or not at all (`Default`).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum ConvolutionSearch {
    /// By rules.
    #[default]
    Heuristic,
    /// By trying all for every new shape.
    Exhaustive,
    /// Not at all.
    Default,
}
