//! What a model takes and gives, as messages.

use super::inference::model_instance_group::Kind;
use super::inference::model_metadata_response::TensorMetadata as TensorMessage;
use super::inference::repository_index_response::ModelIndex;
use super::inference::{
    DataType, InferBatchStatistics, InferStatistics, ModelConfig, ModelInput, ModelInstanceGroup,
    ModelMetadataResponse, ModelOutput, ModelStatistics, StatisticDuration,
};
use crate::datatype::Datatype;
use crate::signature::{Signature, TensorMetadata};
use crate::v2::repository::{ModelState, RepositoryModel};
use crate::v2::{ModelMetadata, config, statistics};

/// The metadata of a model.
pub fn model_metadata(metadata: ModelMetadata) -> ModelMetadataResponse {
    let tensors = |tensors: Vec<TensorMetadata>| tensors.into_iter().map(tensor).collect();
    ModelMetadataResponse {
        name: metadata.name,
        versions: metadata.versions,
        platform: metadata.platform,
        inputs: tensors(metadata.inputs),
        outputs: tensors(metadata.outputs),
    }
}

/// The configuration of a model with this signature.
pub fn model_config(config: config::ModelConfig, signature: &Signature) -> ModelConfig {
    let inputs = config.input.into_iter().zip(&signature.inputs);
    let outputs = config.output.into_iter().zip(&signature.outputs);
    let name = config.name;
    let group = |group: config::InstanceGroup| ModelInstanceGroup {
        name: name.clone(),
        count: i32::try_from(group.count).unwrap_or(i32::MAX),
        kind: match group.kind {
            config::InstanceKind::Cpu => Kind::Cpu,
            config::InstanceKind::Gpu => Kind::Gpu,
        }
        .into(),
    };
    ModelConfig {
        platform: config.platform,
        backend: config.backend,
        max_batch_size: i32::try_from(config.max_batch_size).unwrap_or(i32::MAX),
        input: inputs
            .map(|(input, known)| ModelInput {
                name: input.name,
                data_type: data_type(known.datatype).into(),
                dims: input.dims,
            })
            .collect(),
        output: outputs
            .map(|(output, known)| ModelOutput {
                name: output.name,
                data_type: data_type(known.datatype).into(),
                dims: output.dims,
            })
            .collect(),
        instance_group: config.instance_group.into_iter().map(group).collect(),
        name,
    }
}

/// What a model has done.
pub fn model_statistics(statistics: statistics::ModelStatistics) -> ModelStatistics {
    let durations = |durations: statistics::DurationStatistics| {
        Some(StatisticDuration { count: durations.count, ns: durations.ns })
    };
    let statistics::ModelStatistics { inference_stats: counted, .. } = statistics;
    ModelStatistics {
        name: statistics.name,
        version: statistics.version,
        last_inference: statistics.last_inference,
        inference_count: statistics.inference_count,
        execution_count: statistics.execution_count,
        inference_stats: Some(InferStatistics {
            success: durations(counted.success),
            fail: durations(counted.fail),
            queue: durations(counted.queue),
            compute_input: durations(counted.compute_input),
            compute_infer: durations(counted.compute_infer),
            compute_output: durations(counted.compute_output),
        }),
        batch_stats: statistics
            .batch_stats
            .into_iter()
            .map(|batch| InferBatchStatistics {
                batch_size: batch.batch_size,
                compute_input: durations(batch.compute_input),
                compute_infer: durations(batch.compute_infer),
                compute_output: durations(batch.compute_output),
            })
            .collect(),
    }
}

/// A model as the index lists it.
pub fn repository_model(model: RepositoryModel) -> ModelIndex {
    let state = match model.state {
        Some(ModelState::Ready) => "READY",
        Some(ModelState::Unavailable) => "UNAVAILABLE",
        Some(ModelState::Loading) => "LOADING",
        Some(ModelState::Unloading) => "UNLOADING",
        None => "",
    };
    ModelIndex { name: model.name, version: model.version, state: state.to_owned(), reason: model.reason }
}

fn tensor(tensor: TensorMetadata) -> TensorMessage {
    TensorMessage { name: tensor.name, datatype: tensor.datatype.as_str().to_owned(), shape: tensor.shape }
}

const fn data_type(datatype: Datatype) -> DataType {
    match datatype {
        Datatype::Bool => DataType::TypeBool,
        Datatype::Uint8 => DataType::TypeUint8,
        Datatype::Uint16 => DataType::TypeUint16,
        Datatype::Uint32 => DataType::TypeUint32,
        Datatype::Uint64 => DataType::TypeUint64,
        Datatype::Int8 => DataType::TypeInt8,
        Datatype::Int16 => DataType::TypeInt16,
        Datatype::Int32 => DataType::TypeInt32,
        Datatype::Int64 => DataType::TypeInt64,
        Datatype::Fp16 => DataType::TypeFp16,
        Datatype::Bf16 => DataType::TypeBf16,
        Datatype::Fp32 => DataType::TypeFp32,
        Datatype::Fp64 => DataType::TypeFp64,
        Datatype::Bytes => DataType::TypeString,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_types_are_tritons_spelling_of_ours() {
        for datatype in Datatype::ALL {
            let expected =
                if datatype == Datatype::Bytes { "TYPE_STRING".into() } else { format!("TYPE_{datatype}") };
            assert_eq!(data_type(datatype).as_str_name(), expected);
        }
    }

    #[test]
    fn metadata_and_configuration_say_the_same() {
        let x = TensorMetadata { name: "x".into(), datatype: Datatype::Fp32, shape: vec![-1, 4] };
        let signature = Signature { inputs: vec![x.clone()], outputs: vec![x] };
        let metadata = model_metadata(ModelMetadata::new("m", vec!["2".into()], &signature));
        assert_eq!((metadata.inputs[0].datatype.as_str(), &metadata.inputs[0].shape), ("FP32", &vec![-1, 4]));
        let config = model_config(config::ModelConfig::new("m", &signature, 0), &signature);
        assert_eq!((config.input[0].data_type(), &config.output[0].dims), (DataType::TypeFp32, &vec![-1, 4]));
        assert_eq!(config.platform, metadata.platform);
    }
}
