//! From tensors to the message of a response.

use super::inference::ModelInferResponse;
use super::inference::model_infer_response::InferOutputTensor;
use super::{contents, raw};
use crate::tensor::Tensor;

/// What an inference answers with.
#[derive(Debug, Clone, PartialEq)]
pub struct InferResponse {
    /// The model that answered.
    pub model_name: String,
    /// Its version; empty where it has none.
    pub model_version: String,
    /// The client's name for the request.
    pub id: String,
    /// The outputs, in the order in which they were asked for.
    pub outputs: Vec<Tensor>,
}

/// Makes the message of a response: with the elements in `raw_output_contents` if the client wants that or an output has no
/// other form, and else in the typed contents. Takes the buffers of the outputs without copying them.
pub fn write_infer_response(response: InferResponse, raw: bool) -> ModelInferResponse {
    let InferResponse { model_name, model_version, id, outputs } = response;
    let raw = raw || outputs.iter().any(|output| !contents::has_field(output.datatype()));
    let mut message = ModelInferResponse { model_name, model_version, id, ..ModelInferResponse::default() };
    message.outputs.reserve_exact(outputs.len());
    for output in outputs {
        let datatype = output.datatype().as_str().to_owned();
        let (name, shape, data) = output.into_parts();
        let contents = if raw {
            message.raw_output_contents.push(raw::write(data));
            None
        } else {
            Some(contents::write(data))
        };
        message.outputs.push(InferOutputTensor { name, datatype, shape, contents, ..Default::default() });
    }
    message
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;
    use crate::tensor::TensorData;

    fn response(data: TensorData) -> InferResponse {
        let ids = Tensor::new("ids", vec![1], TensorData::Int64(vec![7])).unwrap();
        let y = Tensor::new("y", vec![1, 2], data).unwrap();
        InferResponse {
            model_name: "m".into(),
            model_version: "3".into(),
            id: "a".into(),
            outputs: vec![y, ids],
        }
    }

    #[test]
    fn elements_come_back_in_the_form_of_the_request() {
        let typed = write_infer_response(response(TensorData::Fp32(vec![1.0, 2.0])), false);
        assert!(typed.raw_output_contents.is_empty());
        assert_eq!(typed.outputs[0].contents.as_ref().unwrap().fp32_contents, [1.0, 2.0]);
        assert_eq!(typed.outputs[1].contents.as_ref().unwrap().int64_contents, [7]);
        let raw = write_infer_response(response(TensorData::Fp32(vec![1.0, 2.0])), true);
        assert!(raw.outputs.iter().all(|output| output.contents.is_none()));
        assert_eq!(raw.raw_output_contents[0], [1_f32.to_le_bytes(), 2_f32.to_le_bytes()].concat());
        assert_eq!(
            (raw.outputs[0].datatype.as_str(), raw.outputs[0].shape.as_slice()),
            ("FP32", &[1, 2][..])
        );
        assert_eq!((raw.model_name.as_str(), raw.model_version.as_str(), raw.id.as_str()), ("m", "3", "a"));
    }

    #[test]
    fn an_output_without_typed_contents_makes_the_answer_raw() {
        let message = write_infer_response(response(TensorData::Fp16(vec![f16::ONE, f16::ZERO])), false);
        assert_eq!(message.raw_output_contents.len(), 2);
    }
}
