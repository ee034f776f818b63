//! What a command in a pod said of a model, as a status holds it.

use modelwright_api::{
    Outcome,
    outcome::OutcomeTensor,
    status::{ModelFacts, TensorFacts},
};

use crate::causes::text;

/// The most inputs, and the most outputs, of a status.
const MOST_TENSORS: usize = 32;
/// The most axes of one.
const MOST_AXES: usize = 16;

/// The facts in an outcome, if it holds any. Names are a pod's words: bounded, and without control characters.
pub(crate) fn of(outcome: &Outcome) -> Option<ModelFacts> {
    let model = outcome.model.as_ref();
    if outcome.inputs.is_empty() && model.is_none() {
        return None;
    }
    let total = |total: Option<u32>, listed: &[OutcomeTensor]| {
        let total = total.or_else(|| u32::try_from(listed.len()).ok().filter(|listed| *listed > 0));
        total.and_then(|total| i32::try_from(total).ok())
    };
    Some(ModelFacts {
        format: Some("ONNX".to_owned()),
        opset: model.and_then(|model| model.opset),
        ir_version: model.and_then(|model| model.ir_version),
        parameters_bytes: model.and_then(|model| model.parameters_bytes?.try_into().ok()),
        inputs: tensors(&outcome.inputs),
        inputs_total: total(outcome.inputs_total, &outcome.inputs),
        outputs: tensors(&outcome.outputs),
        outputs_total: total(outcome.outputs_total, &outcome.outputs),
    })
}

fn tensors(listed: &[OutcomeTensor]) -> Vec<TensorFacts> {
    let tensor = |tensor: &OutcomeTensor| TensorFacts {
        name: text::one_line(&tensor.name, 256),
        datatype: text::one_line(&tensor.datatype, 16),
        shape: tensor.shape.iter().copied().take(MOST_AXES).collect(),
    };
    listed.iter().take(MOST_TENSORS).map(tensor).collect()
}
