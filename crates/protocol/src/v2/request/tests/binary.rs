//! Binary tensors behind the JSON and the parameters that ask for something.

use std::time::Duration;

use super::*;

/// A body of JSON and bytes, with the length of the JSON.
fn body(json: &str, binary: &[u8]) -> (Vec<u8>, Option<usize>) {
    ([json.as_bytes(), binary].concat(), Some(json.len()))
}

/// Two inputs of different types.
fn pair() -> Signature {
    Signature {
        inputs: vec![metadata("x", Datatype::Fp32, &[-1, 2]), metadata("s", Datatype::Bytes, &[-1])],
        outputs: vec![metadata("y", Datatype::Fp32, &[-1]), metadata("t", Datatype::Bytes, &[-1])],
    }
}

fn read(json: &str, binary: &[u8]) -> Result<InferRequest, Error> {
    let (body, header) = body(json, binary);
    parse_infer_request(&body, header, &pair(), &Limits::default())
}

const FLOATS: [u8; 8] = [0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0];
const TEXTS: [u8; 6] = [2, 0, 0, 0, 0xff, b'a'];
const X: &str = r#"{"name":"x","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}"#;
const X_JSON: &str = r#"{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,-2]}"#;
const S: &str = r#"{"parameters":{"binary_data_size":6},"datatype":"BYTES","shape":[1],"name":"s"}"#;
const S_JSON: &str = r#"{"name":"s","shape":[1],"datatype":"BYTES","data":["a"]}"#;

fn inputs(entries: &[&str]) -> String {
    format!(r#"{{"inputs":[{}]}}"#, entries.join(","))
}

#[rstest]
#[case::in_the_order_of_the_request(&inputs(&[S, X]), &[&TEXTS[..], &FLOATS].concat(), b"\xffa")]
#[case::in_the_order_of_the_model(&inputs(&[X, S]), &[&FLOATS[..], &TEXTS].concat(), b"\xffa")]
#[case::mixed(&inputs(&[X, S_JSON]), &FLOATS, b"a")]
#[case::mixed_the_other_way(&inputs(&[X_JSON, S]), &TEXTS, b"\xffa")]
#[case::no_binary_input(&inputs(&[X_JSON, S_JSON]), &[], b"a")]
fn inputs_take_their_bytes_in_order(#[case] json: &str, #[case] binary: &[u8], #[case] text: &'static [u8]) {
    let request = read(json, binary).unwrap();
    assert_eq!(request.inputs[0].data(), &TensorData::Fp32(vec![1.0, -2.0]));
    assert_eq!(request.inputs[1].data(), &TensorData::Bytes(vec![Bytes::from_static(text)]));
}

#[rstest]
#[case(&inputs(&[X, S]), &FLOATS, "inputs[1].parameters.binary_data_size: got 6, wanted at most 0, the bytes left")]
#[case(&inputs(&[X, S_JSON]), &[&FLOATS[..], &[0]].concat(), "1 bytes follow the tensors")]
#[case(&inputs(&[X_JSON, S_JSON]), &[0; 3], "3 bytes follow the tensors")]
#[case(
    &inputs(&[&X.replace('8', "7"), S_JSON]),
    &FLOATS,
    "inputs[0].parameters.binary_data_size: got 7 bytes, wanted 8 bytes (2 elements of FP32)"
)]
#[case(&inputs(&[&X.replace("8}", "-8}")]), &FLOATS, "inputs[0].parameters.binary_data_size: got -8, wanted an integer")]
#[case(
    &inputs(&[&X.replace("8}", "8.5}")]),
    &FLOATS,
    "inputs[0].parameters.binary_data_size: got 8.5, wanted an integer"
)]
#[case(
    &inputs(&[&X_JSON.replace("\"data\"", r#""parameters":{"binary_data_size":8},"data""#)]),
    &FLOATS,
    "inputs[0]: got \"data\" and the parameter \"binary_data_size\", wanted one of them"
)]
#[case(&inputs(&[&X.replace("[1,2]", "[3,2]")]), &FLOATS, "inputs[0].parameters.binary_data_size: got 8 bytes, wanted 24")]
#[case(&inputs(&[&X.replace("[1,2]", "[33554433,2]")]), &FLOATS, "inputs[0].shape: more than 67108864 elements")]
#[case(&inputs(&[&S.replace('6', "1"), X]), &[0; 9], "inputs[0].parameters.binary_data_size: got 1 bytes, wanted 1 elements")]
fn bytes_that_do_not_fit_are_refused(#[case] json: &str, #[case] binary: &[u8], #[case] expected: &str) {
    let error = read(json, binary).unwrap_err();
    assert!(error.to_string().starts_with(expected), "{error}");
    assert_eq!(error.status(), 400);
}

#[test]
fn the_header_must_lie_within_the_body() {
    let json = inputs(&[X, S]);
    let error =
        parse_infer_request(json.as_bytes(), Some(json.len() + 1), &pair(), &Limits::default()).unwrap_err();
    assert!(error.to_string().starts_with("Inference-Header-Content-Length: "), "{error}");
    let error = parse_infer_request(json.as_bytes(), None, &pair(), &Limits::default()).unwrap_err();
    assert!(error.to_string().contains("got 8, wanted at most 0"), "{error}");
    let cut = parse_infer_request(json.as_bytes(), Some(json.len() - 1), &pair(), &Limits::default());
    assert!(cut.is_err());
}

#[test]
fn an_empty_tensor_takes_no_bytes() {
    let signature = one(Datatype::Fp16, &[-1, -1]);
    let json =
        r#"{"inputs":[{"name":"x","shape":[1,0],"datatype":"FP16","parameters":{"binary_data_size":0}}]}"#;
    let request =
        parse_infer_request(json.as_bytes(), Some(json.len()), &signature, &Limits::default()).unwrap();
    assert!(request.inputs[0].is_empty());
}

#[rstest]
#[case::without_a_wish("", "", [false, false])]
#[case::of_the_request(r#""parameters":{"binary_data_output":true},"#, "", [true, true])]
#[case::of_an_output("", r#","parameters":{"binary_data":true}"#, [true, false])]
#[case::the_output_wins(r#""parameters":{"binary_data_output":true},"#, r#","parameters":{"binary_data":false}"#, [false, true])]
fn binary_outputs_are_a_choice(#[case] request: &str, #[case] output: &str, #[case] expected: [bool; 2]) {
    let start = format!(r#"{{{request}"outputs":[{{"name":"y"{output}}},{{"name":"t"}}],"#);
    let request = read(&inputs(&[X_JSON, S_JSON]).replacen('{', &start, 1), &[]).unwrap();
    assert_eq!(request.outputs.iter().map(|output| output.binary).collect::<Vec<_>>(), expected);
}

#[test]
fn all_outputs_are_binary_when_none_is_named_and_the_request_asks() {
    let json = inputs(&[X_JSON, S_JSON]).replacen('{', r#"{"parameters":{"binary_data_output":true},"#, 1);
    let outputs = read(&json, &[]).unwrap().outputs;
    assert!(outputs.len() == 2 && outputs.iter().all(|output| output.binary));
}

#[rstest]
#[case(
    r#"{"parameters":{"binary_data_output":1},"#,
    "parameters.binary_data_output: got 1, wanted true or false"
)]
#[case(
    r#"{"parameters":{"timeout":-1},"#,
    "parameters.timeout: got -1, wanted an integer that is not negative"
)]
#[case(r#"{"parameters":{"timeout":"1s"},"#, "parameters.timeout: got the string \"1s\", wanted an integer")]
#[case(
    r#"{"outputs":[{"name":"y","parameters":{"binary_data":"yes"}}],"#,
    "outputs[0].parameters.binary_data: got the string \"yes\", wanted true or false"
)]
#[case(
    r#"{"outputs":[{"name":"y","parameters":{"classification":true}}],"#,
    "outputs[0].parameters.classification: got true, wanted an integer"
)]
#[case(
    r#"{"outputs":[{"name":"t","parameters":{"classification":2}}],"#,
    "outputs[0].parameters.classification: got an output of BYTES, wanted an output of numbers"
)]
#[case(
    r#"{"outputs":[{"name":"y","parameters":{},"parameters":{}}],"#,
    "outputs[0]: the key \"parameters\" appears"
)]
fn parameters_of_the_wrong_type_are_refused(#[case] start: &str, #[case] expected: &str) {
    let error = read(&inputs(&[X_JSON, S_JSON]).replacen('{', start, 1), &[]).unwrap_err();
    assert!(error.to_string().starts_with(expected), "{error}");
    assert_eq!(error.status(), 400);
}

#[test]
fn timeout_and_classification_are_handed_on() {
    let start = r#"{"parameters":{"timeout":1500},"outputs":[{"name":"y","parameters":{"classification":3}},{"name":"t","parameters":{"classification":0}}],"#;
    let request = read(&inputs(&[X_JSON, S_JSON]).replacen('{', start, 1), &[]).unwrap();
    assert_eq!(request.timeout, Some(Duration::from_micros(1500)));
    assert_eq!(
        request.outputs.iter().map(|output| output.classification).collect::<Vec<_>>(),
        [Some(3), None]
    );
}

#[rstest]
#[case::one_variable_dimension(&[-1, 2], &[2, 2])]
#[case::a_batch_and_a_variable_dimension(&[-1, -1], &[1, 4])]
#[case::fixed(&[4], &[4])]
#[case::variable_at_the_end(&[2, -1], &[2, 2])]
fn a_body_without_json_is_the_only_input(#[case] wanted: &[i64], #[case] shape: &[i64]) {
    let mut signature = one(Datatype::Fp32, wanted);
    signature.outputs = pair().outputs;
    let request = parse_infer_request(&[0; 16], Some(0), &signature, &Limits::default()).unwrap();
    assert_eq!((request.inputs[0].shape(), request.inputs[0].name()), (shape, "x"));
    assert!(request.outputs.len() == 2 && request.outputs.iter().all(|output| output.binary));
}

#[test]
fn a_body_without_json_may_be_one_byte_string() {
    let read = |shape: &[i64]| {
        parse_infer_request(b"abc", Some(0), &one(Datatype::Bytes, shape), &Limits::default())
    };
    let request = read(&[-1, 1]).unwrap();
    assert_eq!(request.inputs[0].data(), &TensorData::Bytes(vec![Bytes::from_static(b"abc")]));
    assert_eq!(request.inputs[0].shape(), [1, 1]);
    assert!(read(&[2]).unwrap_err().to_string().contains("is more than one byte string"));
}

#[rstest]
#[case(pair(), 16, "the model takes \"x\", \"s\"")]
#[case(one(Datatype::Fp32, &[-1, 3]), 16, "takes a multiple of 12 bytes, and 16 came")]
#[case(one(Datatype::Fp32, &[-1, -1, -1]), 16, "does not follow from its size")]
#[case(one(Datatype::Fp32, &[-1, 0]), 16, "takes a multiple of 0 bytes")]
#[case(one(Datatype::Fp32, &[5]), 16, "got 16 bytes, wanted 20 bytes")]
#[case(one(Datatype::Fp32, &[-1]), 0, "the request body is empty")]
fn a_body_without_json_that_does_not_fit_is_refused(
    #[case] signature: Signature,
    #[case] bytes: usize,
    #[case] expected: &str,
) {
    let error = parse_infer_request(&vec![0; bytes], Some(0), &signature, &Limits::default()).unwrap_err();
    assert!(error.to_string().contains(expected), "{error}");
    assert_eq!(error.status(), 400);
}

proptest! {
    #[test]
    fn what_a_response_holds_reads_as_a_request(
        bytes in prop::collection::vec(any::<u8>(), 8..64),
        texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 1..5),
    ) {
        use crate::v2::{InferResponse, OutputTensor, write_infer_response};
        let data = Datatype::ALL.map(|datatype| match datatype.size() {
            Some(size) => {
                let elements = bytes.len() / size;
                let mut bytes = bytes[..elements * size].to_vec();
                if datatype == Datatype::Bool {
                    for byte in &mut bytes {
*byte &= 1;
}
                }
                decode(datatype, &bytes, elements, &Path::Root).unwrap()
            }
            None => TensorData::Bytes(texts.iter().cloned().map(Bytes::from).collect()),
        });
        let outputs = data.map(|data| {
            let (name, length) = (data.datatype().to_string(), i64::try_from(data.len()).unwrap());
            OutputTensor { tensor: Tensor::new(name, vec![length], data).unwrap(), binary: true }
        });
        let signature = Signature {
            inputs: Datatype::ALL.map(|datatype| metadata(datatype.as_str(), datatype, &[-1])).to_vec(),
            outputs: vec![],
        };
        let write = |outputs: &[OutputTensor]| {
            let response = InferResponse { model_name: "m", model_version: None, id: None, outputs };
            write_infer_response(&response).unwrap()
        };
        let written = write(&outputs);
        let length = written.json_length.unwrap();
        let json = String::from_utf8(written.bytes[..length].to_vec()).unwrap().replace("\"outputs\"", "\"inputs\"");
        let (body, header) = body(&json, &written.bytes[length..]);
        let request = parse_infer_request(&body, header, &signature, &Limits::default()).unwrap();
        // A NaN is not equal to itself, its bytes are.
        let again = request.inputs.into_iter().map(|tensor| OutputTensor { tensor, binary: true }).collect::<Vec<_>>();
        prop_assert_eq!(write(&again), written);
    }
}
