//! The Model resource as the system answers. Status is a cache: all of it can be found again from the store and the
//! cluster.
#![allow(unreachable_pub, reason = "KubeSchema copies each struct, `pub` and all, into a function")]

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{conditions::ConditionType, serving::ExecutionProvider};

mod training;

pub use training::{TrainingPhase, TrainingStatus};
/// Measured numbers by name.
pub type Metrics = BTreeMap<String, f64>;

/// What was observed of a Model.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Where the model answers, for clients in the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub url: Option<String>,
    /// How many server pods there shall be, as the spec or an autoscaler says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub desired_replicas: Option<i32>,
    /// How many server pods exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub replicas: Option<i32>,
    /// How many server pods are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub ready_replicas: Option<i32>,
    /// The label selector of the server pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub selector: Option<String>,
    /// The revisions the Model knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revisions: Option<Revisions>,
    /// What the source was found to hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceStatus>,
    /// What the training is doing, or did last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingStatus>,
    /// Facts about the active revision, read from its ONNX file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelFacts>,
    /// What the servers run on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,
    /// Where the time went until the active revision's first pod was ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cold_start: Option<ColdStart>,
    /// What holds now, one entry for each type: `Ready`, `Available`, `Progressing`, `Stalled`, and `Trained` where
    /// the Model is trained.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

impl ModelStatus {
    /// The condition of this type, if there is one.
    pub fn condition(&self, type_: ConditionType) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.type_ == type_.as_str())
    }

    /// Whether the condition of this type is there and True.
    pub fn holds(&self, type_: ConditionType) -> bool {
        self.condition(type_).is_some_and(|condition| condition.status == ConditionStatus::True)
    }
}

/// The revisions a Model knows.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Revisions {
    /// The revision that is being served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<Revision>,
    /// The revision that is on its way to replace the active one, or to be the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Revision>,
    /// Revisions that were served before, the newest first. `spec.rollout.revision` takes one of them back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub former: Vec<Revision>,
    /// Revisions that did not come into service, the newest first, with why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub rejected: Vec<RejectedRevision>,
    /// Ids of the revisions in the store that `spec.training.keep` leaves no room for, and that are deleted next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 16)))]
    pub expiring: Vec<String>,
}

impl Revisions {
    /// Those that are served, or can be: the active one, the candidate, and the former ones, the newest first.
    pub fn servable(&self) -> impl Iterator<Item = &Revision> {
        self.active.iter().chain(&self.candidate).chain(&self.former)
    }
}

/// A revision that did not come into service.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RejectedRevision {
    /// The revision's digest, as `sha256:` and 64 hexadecimal digits.
    #[schemars(length(max = 71))]
    pub digest: String,
    /// Why, as one word for programs.
    #[schemars(length(max = 128))]
    pub reason: String,
    /// Why, as a sentence for people.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// What its training measured.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub metrics: Metrics,
}

/// What the source was found to hold.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// What was asked: the sha256 of the source's settings and of the annotation `modelwright.dev/resolve-at`.
    #[schemars(length(max = 64))]
    pub resolved_from: String,
    /// The digest of the revision that was found, as `sha256:` and 64 hexadecimal digits.
    #[schemars(length(max = 71))]
    pub digest: String,
    /// Where that revision's bytes are read from.
    #[schemars(length(max = 2048))]
    pub uri: String,
    /// Whether the same bytes can be read again later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retrievable: Option<Retrievable>,
    /// What the source looked like without reading it, as a sha256; the next poll compares it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub fingerprint: Option<String>,
    /// When the source was looked at last (RFC 3339); kept where `pollInterval` is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub checked_at: Option<String>,
    /// Why the last look whether the source changed failed, as one word for programs; none if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub look_failed: Option<String>,
}

/// Where the time went until a pod was ready. Times are in milliseconds.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ColdStart {
    /// The pod it was measured on.
    #[schemars(length(max = 253))]
    pub pod: String,
    /// From the pod's creation until it was scheduled. Kubernetes gives these times in whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub scheduled: Option<i64>,
    /// From then until the first container ran: images, volumes, network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub image: Option<i64>,
    /// Fetching and verifying the revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub fetch: Option<i64>,
    /// Loading ONNX Runtime and creating the session, as the server says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub session: Option<i64>,
    /// Warm-up, as the server says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub warmup: Option<i64>,
    /// From scheduled to ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub total: Option<i64>,
}

/// An immutable, content-addressed set of files.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// The first 16 hexadecimal digits of the digest, for people.
    #[schemars(length(max = 16))]
    pub id: String,
    /// The sha256 of the revision's `manifest.json`, as `sha256:` and 64 hexadecimal digits.
    #[schemars(length(max = 71))]
    pub digest: String,
    /// Where the bytes are read from.
    #[schemars(length(max = 2048))]
    pub uri: String,
    /// Whether the same bytes can be read again later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retrievable: Option<Retrievable>,
    /// What its training measured.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub metrics: Metrics,
    /// When this revision became the active one (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub since: Option<String>,
}

/// Whether a revision's bytes can be read again later: `Always` where their place is content-addressed,
/// `WhileUnchanged` where somebody may overwrite them.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum Retrievable {
    /// The place is content-addressed.
    Always,
    /// Somebody may overwrite the bytes in place; replacement pods would then refuse the new ones.
    WhileUnchanged,
}

/// Facts about a revision, read from its ONNX file.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelFacts {
    /// The file format: `ONNX`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub format: Option<String>,
    /// The version of the default operator set (`ai.onnx`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub opset: Option<i64>,
    /// The version of ONNX's intermediate representation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub ir_version: Option<i64>,
    /// The size of all parameters in bytes, external data included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub parameters_bytes: Option<i64>,
    /// The first inputs, in the graph's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub inputs: Vec<TensorFacts>,
    /// How many inputs there are in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub inputs_total: Option<i32>,
    /// The first outputs, in the graph's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub outputs: Vec<TensorFacts>,
    /// How many outputs there are in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub outputs_total: Option<i32>,
}

/// One input or output of a model.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TensorFacts {
    /// The tensor's name.
    #[schemars(length(max = 256))]
    pub name: String,
    /// The element type as the Open Inference Protocol writes it, such as `FP32`, `INT64` or `BYTES`.
    #[schemars(length(max = 16))]
    pub datatype: String,
    /// The length of each axis; -1 is an axis whose length each request chooses.
    #[schemars(length(max = 16))]
    pub shape: Vec<i64>,
}

/// What the servers run on.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Runtime {
    /// What computes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_provider: Option<ExecutionProvider>,
    /// The version of ONNX Runtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub version: Option<String>,
}

/// One aspect of a Model's state, with the fields and meanings of `metav1.Condition`.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Which aspect, in CamelCase.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 64))]
    pub type_: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// The generation of the spec that this condition speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// When the status changed last (RFC 3339).
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub last_transition_time: String,
    /// Why, as one word for programs.
    #[schemars(length(min = 1, max = 128))]
    pub reason: String,
    /// Why, as a sentence for people.
    #[schemars(length(max = 4096))]
    pub message: String,
}

/// Whether a condition holds: `True`, `False`, or `Unknown` where nobody can tell.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Nobody can tell now.
    #[default]
    Unknown,
}
