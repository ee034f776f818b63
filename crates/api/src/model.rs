//! The Model resource as its user writes it.
//!
//! Nothing is ever defaulted into a spec: an absent field stays absent, and [`crate::defaults`] says what holds then.
//! The doc comments of this module are the descriptions in the CRD, so they are what `kubectl explain` prints.
#![allow(unreachable_pub, reason = "KubeSchema copies each struct, `pub` and all, into a function")]

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    quantity::Quantity,
    rules,
    status::ModelStatus,
    training::{Rollout, Training},
};

/// Where a model comes from and how it is served.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "modelwright.dev",
    version = "v1alpha1",
    kind = "Model",
    plural = "models",
    singular = "model",
    shortname = "mdl",
    category = "modelwright",
    namespaced,
    status = "ModelStatus",
    derive = "PartialEq",
    doc = "A machine-learning model: where its bytes come from, how it is served, and what is running now.",
    validation = rules::NAME,
    scale(
        spec_replicas_path = ".spec.serving.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "READY",
        type_ = "string",
        description = "True when the wanted revision is available and the spec is observed.",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "REASON",
        type_ = "string",
        description = "Why the Model is ready or not, as one word.",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(
        name = "URL",
        type_ = "string",
        description = "Where the model answers.",
        json_path = ".status.url"
    ),
    printcolumn(
        name = "REVISION",
        type_ = "string",
        description = "The first 16 digits of the digest that is being served.",
        json_path = ".status.revisions.active.id"
    ),
    printcolumn(
        name = "REPLICAS",
        type_ = "integer",
        description = "How many server pods exist.",
        json_path = ".status.replicas"
    ),
    printcolumn(
        name = "EP",
        type_ = "string",
        description = "The execution provider that the servers run on.",
        json_path = ".status.runtime.executionProvider"
    ),
    printcolumn(
        name = "AGE",
        type_ = "date",
        description = "Time since the Model was created.",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[x_kube(validation = rules::SOURCE_OR_TRAINING, validation = rules::ROLLOUT_NEEDS_TRAINING, validation = rules::TRAINING_ON_A_MACHINE)]
pub struct ModelSpec {
    /// Where the model's bytes come from. Exactly one of `source` and `training` is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// How the model is made from data. Exactly one of `source` and `training` is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<Training>,
    /// How a new revision may replace the one that is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// How the model is served. Absent: with every default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<Serving>,
}

impl ModelSpec {
    /// Every Secret that the spec names, in the order of the fields.
    pub fn secret_references(&self) -> Vec<&SecretReference> {
        let source = self.source.as_ref().map(|source| {
            let copy = source.copy_to.as_ref().and_then(|copy| copy.credentials_secret_ref.as_ref());
            [source.credentials_secret_ref.as_ref(), copy]
        });
        let training = self.training.as_ref().map(Training::secret_references);
        source.into_iter().flatten().flatten().chain(training.into_iter().flatten()).collect()
    }
}

/// Where a model's bytes come from.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// The model's place: one ONNX file, a prefix that holds one, or the folder of a published revision.
    /// `s3://BUCKET/PATH`, `gs://BUCKET/PATH`, `az://CONTAINER/PATH`, `https://HOST/PATH`, `http://HOST/PATH`,
    /// `pvc://CLAIM/PATH` (in a cluster), `file:PATH` (in `modelwright run`; a relative path starts at the
    /// manifest's folder). Credentials never stand in it.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(
        validation = rules::SOURCE_SCHEME,
        validation = rules::SOURCE_NOT_FILE,
        validation = rules::URI_NO_USERINFO,
        validation = rules::URI_NO_QUERY
    )]
    pub uri: String,
    /// The only bytes that are accepted, as `sha256:` and 64 hexadecimal digits. For one file it is what `sha256sum`
    /// prints; for a prefix or a revision folder it is the digest of the revision's `manifest.json`. `modelwright resolve
    /// --uri URI` prints it as `digest to pin`; the revision's digest is accepted for a file, too. Absent: whatever is found
    /// first is pinned until the spec changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 71))]
    #[x_kube(validation = rules::DIGEST)]
    pub digest: Option<String>,
    /// The Secret with the store's credentials, in the Model's namespace. In `modelwright run` it is the name given to
    /// `--secret NAME=FILE.env`. Absent: anonymous access, or the workload's own identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretReference>,
    /// Publish the bytes into this store under their digest and serve from there. Replacement pods then find the same
    /// bytes whatever happens to the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_to: Option<CopyTo>,
}

/// A store that revisions are published into.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CopyTo {
    /// The prefix to publish under: `s3://BUCKET/PATH`, `gs://BUCKET/PATH` or `az://CONTAINER/PATH`.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(
        validation = rules::COPY_SCHEME,
        validation = rules::URI_NO_USERINFO,
        validation = rules::URI_NO_QUERY
    )]
    pub uri: String,
    /// The Secret with this store's credentials, in the Model's namespace. They need write access.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretReference>,
}

/// A Secret in the Model's namespace.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// The Secret's name. Its known keys become environment variables of the process that reads the store; other keys
    /// are not read.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::SECRET_NAME)]
    pub name: String,
}

/// How a model is served.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::CUDA_NEEDS_GPU)]
pub struct Serving {
    /// What computes: `CPU`, or `CUDA` for an NVIDIA GPU. `CUDA` that cannot be had is an error, never a silent
    /// fallback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_provider: Option<ExecutionProvider>,
    /// How many server pods run. 0 keeps the Model and serves nothing. `kubectl scale` works once it is
    /// written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: Option<i32>,
    /// What one server pod requests and may use, as in a Pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Settings of the ONNX Runtime session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,
    /// What a server accepts before it refuses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ServingLimits>,
    /// How long a server may take from its start to ready: loading, session creation and warm-up together. A
    /// duration such as `90s`, `10m` or `1h30m`, from one second to 24 hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = rules::DURATION, validation = rules::STARTUP_TIMEOUT)]
    pub startup_timeout: Option<String>,
}

/// What computes: `CPU`, or `CUDA` for an NVIDIA GPU. `CUDA` that cannot be had is an error, never a silent fallback.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum ExecutionProvider {
    /// The processor.
    #[default]
    #[serde(rename = "CPU")]
    Cpu,
    /// An NVIDIA GPU.
    #[serde(rename = "CUDA")]
    Cuda,
}

impl ExecutionProvider {
    /// The name as manifests, arguments and status write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::Cuda => "CUDA",
        }
    }
}

impl std::fmt::Display for ExecutionProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What one server pod requests and may use, as in a Pod.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What the scheduler sets aside, by resource name: `cpu`, `memory`, and others the cluster knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16))]
    pub requests: Option<BTreeMap<String, Quantity>>,
    /// What the pod may use at most, by resource name. `limits.cpu`, else `requests.cpu`, sets the number of threads.
    /// `nvidia.com/gpu` gives the pod GPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16))]
    pub limits: Option<BTreeMap<String, Quantity>>,
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

/// What a server accepts before it refuses.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServingLimits {
    /// The largest request body in bytes, counted after decompression. A larger one is answered with 413.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = 1_073_741_824))]
    pub max_request_bytes: Option<i64>,
    /// How many requests may wait in one server. One more is answered with 503 and `Retry-After` at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_queued_requests: Option<i32>,
}
