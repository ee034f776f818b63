//! The Model resource as the system answers. Status is a cache: all of it can be found again from the store and the
//! cluster.
#![allow(unreachable_pub, reason = "KubeSchema copies each struct, `pub` and all, into a function")]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::ExecutionProvider;

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
    /// Facts about the active revision, read from its ONNX file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelFacts>,
    /// What the servers run on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,
    /// What holds now, one entry for each type: `Ready`, `Available`, `Progressing`, `Stalled`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// The revisions a Model knows.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Revisions {
    /// The revision that is being served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<Revision>,
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
    /// When this revision became the active one (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub since: Option<String>,
}

/// Whether a revision's bytes can be read again later: `Always` where their place is content-addressed or versioned,
/// `WhileUnchanged` where somebody may overwrite them.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum Retrievable {
    /// The place is content-addressed or versioned.
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
