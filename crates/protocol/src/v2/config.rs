//! The model configuration extension: how a model is served, in the words of Triton's `config.pbtxt`.
//!
//! Source: `triton-inference-server/server`, `docs/protocol/extension_model_configuration.md`, and `model_config.proto` of
//! `triton-inference-server/common`. Only what is true of this server is written; clients take absent fields for defaults.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::metadata::PLATFORM;
use crate::datatype::Datatype;
use crate::signature::{Signature, TensorMetadata};

/// The backend of every model, in Triton's spelling.
const BACKEND: &str = "onnxruntime";

/// The body of `GET /v2/models/{name}[/versions/{version}]/config`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// The name of the model.
    pub name: String,
    /// Format and runtime; [`PLATFORM`] here.
    pub platform: String,
    /// The backend, `onnxruntime`.
    pub backend: String,
    /// The most rows of one run; 0 if the model has no batch. If not 0, the dimensions below leave out the first.
    pub max_batch_size: i64,
    /// What the model takes.
    pub input: Vec<ConfigTensor>,
    /// What the model gives.
    pub output: Vec<ConfigTensor>,
    /// The sessions that run it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instance_group: Vec<InstanceGroup>,
    /// How requests are gathered into batches; absent if they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dynamic_batching: Option<DynamicBatching>,
    /// What else there is to know, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, ConfigParameter>,
}

/// A value of [`ModelConfig::parameters`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigParameter {
    /// The value; there are only texts.
    pub string_value: String,
}

/// An input or output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigTensor {
    /// The tensor's name in the model.
    pub name: String,
    /// Its type, such as `TYPE_FP32`.
    pub data_type: String,
    /// Its dimensions, without the batch if the model has one; -1 stands for a variable one.
    pub dims: Vec<i64>,
}

/// Sessions on one kind of device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceGroup {
    /// Where they run.
    pub kind: InstanceKind,
    /// How many there are.
    pub count: u32,
    /// The numbers of the devices, for those that have one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<u32>,
}

/// Where sessions run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum InstanceKind {
    /// On processors.
    #[serde(rename = "KIND_CPU")]
    Cpu,
    /// On a graphics card.
    #[serde(rename = "KIND_GPU")]
    Gpu,
}

/// How requests are gathered into batches.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DynamicBatching {
    /// How long a request may wait for others, in microseconds.
    pub max_queue_delay_microseconds: u64,
}

impl ModelConfig {
    /// The configuration of a model with this signature. `max_batch_size` is 0 for a model that is not batched; else every
    /// input and output has the batch as its first dimension.
    pub fn new(name: impl Into<String>, signature: &Signature, max_batch_size: u32) -> Self {
        let batched = max_batch_size > 0;
        let tensors =
            |all: &[TensorMetadata]| all.iter().map(|tensor| ConfigTensor::new(tensor, batched)).collect();
        Self {
            name: name.into(),
            platform: PLATFORM.to_owned(),
            backend: BACKEND.to_owned(),
            max_batch_size: i64::from(max_batch_size),
            input: tensors(&signature.inputs),
            output: tensors(&signature.outputs),
            instance_group: Vec::new(),
            dynamic_batching: None,
            parameters: BTreeMap::new(),
        }
    }
}

impl ConfigTensor {
    fn new(tensor: &TensorMetadata, batched: bool) -> Self {
        let data_type = match tensor.datatype {
            // What the protocol calls BYTES is a string here.
            Datatype::Bytes => "TYPE_STRING".to_owned(),
            datatype => format!("TYPE_{datatype}"),
        };
        let dims = tensor.shape.get(usize::from(batched)..).unwrap_or_default().to_vec();
        Self { name: tensor.name.clone(), data_type, dims }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature() -> Signature {
        let tensor = |name: &str, datatype, shape: &[i64]| TensorMetadata {
            name: name.into(),
            datatype,
            shape: shape.to_vec(),
        };
        Signature {
            inputs: vec![tensor("x", Datatype::Fp32, &[-1, 4])],
            outputs: vec![tensor("label", Datatype::Bytes, &[-1])],
        }
    }

    #[test]
    fn a_batched_model_leaves_out_the_batch() {
        let mut config = ModelConfig::new("iris", &signature(), 8);
        config.instance_group.push(InstanceGroup { kind: InstanceKind::Cpu, count: 2, gpus: vec![] });
        config.dynamic_batching = Some(DynamicBatching::default());
        assert_eq!(
            serde_json::to_string(&config).unwrap(),
            r#"{"name":"iris","platform":"onnxruntime_onnx","backend":"onnxruntime","max_batch_size":8,"input":[{"name":"x","data_type":"TYPE_FP32","dims":[4]}],"output":[{"name":"label","data_type":"TYPE_STRING","dims":[]}],"instance_group":[{"kind":"KIND_CPU","count":2}],"dynamic_batching":{"max_queue_delay_microseconds":0}}"#
        );
    }

    #[test]
    fn a_model_without_batch_keeps_its_dimensions_and_says_no_more() {
        let config = ModelConfig::new("iris", &signature(), 0);
        assert_eq!((config.input[0].dims.as_slice(), config.max_batch_size), (&[-1, 4][..], 0));
        let json = serde_json::to_value(&config).unwrap();
        assert!(json.get("dynamic_batching").is_none() && json.get("instance_group").is_none());
    }
}
