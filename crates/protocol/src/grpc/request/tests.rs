use std::collections::HashMap;

use rstest::rstest;

use super::super::inference::infer_parameter::ParameterChoice;
use super::super::inference::{InferParameter, InferTensorContents};
use super::*;
use crate::signature::TensorMetadata;

fn signature() -> Signature {
    let tensor = |name: &str, datatype, shape: &[i64]| TensorMetadata {
        name: name.into(),
        datatype,
        shape: shape.to_vec(),
    };
    Signature {
        inputs: vec![tensor("x", Datatype::Fp32, &[-1, 2]), tensor("n", Datatype::Int8, &[1])],
        outputs: vec![tensor("y", Datatype::Fp32, &[-1]), tensor("z", Datatype::Fp32, &[-1])],
    }
}

fn input(name: &str, datatype: &str, shape: &[i64]) -> InferInputTensor {
    InferInputTensor {
        name: name.into(),
        datatype: datatype.into(),
        shape: shape.to_vec(),
        ..Default::default()
    }
}

/// Inputs in another order than the model's.
fn raw() -> ModelInferRequest {
    ModelInferRequest {
        id: "7".into(),
        inputs: vec![input("n", "INT8", &[1]), input("x", "FP32", &[1, 2])],
        raw_input_contents: vec![
            Bytes::from_static(&[254]),
            [1_f32.to_le_bytes(), 2_f32.to_le_bytes()].concat().into(),
        ],
        ..Default::default()
    }
}

fn typed() -> ModelInferRequest {
    let mut request = raw();
    request.raw_input_contents.clear();
    request.inputs[0].contents = Some(InferTensorContents { int_contents: vec![-2], ..Default::default() });
    request.inputs[1].contents =
        Some(InferTensorContents { fp32_contents: vec![1.0, 2.0], ..Default::default() });
    request
}

fn output(name: &str) -> InferRequestedOutputTensor {
    InferRequestedOutputTensor { name: name.into(), parameters: HashMap::new() }
}

fn read(request: ModelInferRequest) -> Result<InferRequest, Error> {
    read_infer_request(request, &signature(), &Limits::default())
}

#[test]
fn both_forms_give_the_same_tensors_in_the_order_of_the_model() {
    let (raw, typed) = (read(raw()).unwrap(), read(typed()).unwrap());
    assert_eq!(raw.inputs, typed.inputs);
    assert_eq!(raw.inputs[0].data(), &TensorData::Fp32(vec![1.0, 2.0]));
    assert_eq!(raw.inputs[1].data(), &TensorData::Int8(vec![-2]));
    assert_eq!((raw.raw, typed.raw), (true, false));
    assert_eq!((raw.id.as_str(), positions(&raw)), ("7", vec![0, 1]));
}

fn positions(request: &InferRequest) -> Vec<usize> {
    request.outputs.iter().map(|output| output.index).collect()
}

#[test]
fn outputs_and_the_timeout_are_as_asked_for() {
    let mut request = raw();
    request.outputs = vec![output("z")];
    let value = InferParameter { parameter_choice: Some(ParameterChoice::Int64Param(2000)) };
    request.parameters.insert("timeout".into(), value);
    let request = read(request).unwrap();
    assert_eq!((positions(&request), request.timeout), (vec![1], Some(Duration::from_millis(2))));
}

/// A change to a request that makes it wrong.
type Change = fn(&mut ModelInferRequest);

#[rstest]
#[case::unknown_input(|request: &mut ModelInferRequest| request.inputs[0].name = "q".into(), "unknown input \"q\"; the model takes \"x\", \"n\"")]
#[case::missing_input(|request: &mut ModelInferRequest| { request.inputs.pop(); request.raw_input_contents.pop(); }, "input \"x\" is missing")]
#[case::twice(|request: &mut ModelInferRequest| { request.inputs[1] = request.inputs[0].clone(); request.raw_input_contents[1] = request.raw_input_contents[0].clone(); }, "input \"n\" is given more than once")]
#[case::datatype(|request: &mut ModelInferRequest| request.inputs[1].datatype = "FP64".into(), "input \"x\": datatype FP64 where the model wants FP32")]
#[case::no_datatype(|request: &mut ModelInferRequest| request.inputs[1].datatype = "float".into(), "unknown datatype \"float\"")]
#[case::shape(|request: &mut ModelInferRequest| request.inputs[1].shape = vec![1, 3], "input \"x\": shape [1, 3] where the model wants [-1, 2]")]
#[case::negative(|request: &mut ModelInferRequest| request.inputs[1].shape = vec![-1, 2], "tensor \"x\": shape [-1, 2] has a negative dimension")]
#[case::overflow(|request: &mut ModelInferRequest| request.inputs[1].shape = vec![i64::MAX, 2], "tensor \"x\": shape [9223372036854775807, 2] has more elements")]
#[case::no_rows(|request: &mut ModelInferRequest| request.inputs[1].shape = vec![0, 2], "input \"x\": the batch is empty")]
#[case::elements(|request: &mut ModelInferRequest| request.inputs[1].shape = vec![1 << 40, 2], "inputs[1].shape: more than 67108864 elements")]
#[case::raw_length(|request: &mut ModelInferRequest| request.inputs[1].shape = vec![2, 2], "raw_input_contents[1]: got 8 bytes, wanted 4 elements of FP32")]
#[case::raw_count(|request: &mut ModelInferRequest| { request.raw_input_contents.pop(); }, "raw_input_contents: got 1 entries, wanted 2, one for each")]
#[case::mixed(|request: &mut ModelInferRequest| request.inputs[1].contents = Some(InferTensorContents::default()), "inputs[1].contents: got contents beside raw_input_contents")]
#[case::nothing(|request: &mut ModelInferRequest| request.raw_input_contents.clear(), "inputs[0]: the required key \"contents\" is missing")]
#[case::typed_length(|request: &mut ModelInferRequest| { *request = typed(); request.inputs[1].shape = vec![2, 2]; }, "tensor \"x\": shape [2, 2] needs 4 elements, got 2")]
#[case::output(|request: &mut ModelInferRequest| request.outputs = vec![output("q")], "unknown output \"q\"; the model gives \"y\", \"z\"")]
#[case::output_twice(|request: &mut ModelInferRequest| request.outputs = vec![output("y"), output("y")], "output \"y\" is asked for more than once")]
#[case::id(|request: &mut ModelInferRequest| request.id = "x".repeat(8193), "id: more than 8192 bytes of text")]
fn what_does_not_fit_is_refused_as_in_json(#[case] change: Change, #[case] expected: &str) {
    let mut request = raw();
    change(&mut request);
    let error = read(request).unwrap_err();
    assert!(error.to_string().starts_with(expected), "{error}");
    assert_eq!(error.status(), 400);
}

#[test]
fn an_input_without_elements_needs_no_contents() {
    let signature = Signature {
        inputs: vec![TensorMetadata { name: "x".into(), datatype: Datatype::Fp16, shape: vec![1, -1] }],
        outputs: vec![],
    };
    let request = ModelInferRequest { inputs: vec![input("x", "FP16", &[1, 0])], ..Default::default() };
    let request = read_infer_request(request, &signature, &Limits::default()).unwrap();
    assert!(request.inputs[0].is_empty());
}
