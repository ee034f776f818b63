use bytes::Bytes;
use half::{bf16, f16};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

mod binary;
mod damage;

use super::*;
use crate::error::ErrorClass;
use crate::parameters::Parameter;
use crate::signature::TensorMetadata;
use crate::tensor::TensorData;

fn metadata(name: &str, datatype: Datatype, shape: &[i64]) -> TensorMetadata {
    TensorMetadata { name: name.into(), datatype, shape: shape.to_vec() }
}

/// One float input `x` of rows of two, and the outputs `y` and `z`.
fn floats() -> Signature {
    Signature {
        inputs: vec![metadata("x", Datatype::Fp32, &[-1, 2])],
        outputs: vec![metadata("y", Datatype::Fp32, &[-1]), metadata("z", Datatype::Int64, &[-1])],
    }
}

fn one(datatype: Datatype, shape: &[i64]) -> Signature {
    Signature { inputs: vec![metadata("x", datatype, shape)], outputs: vec![] }
}

fn parse(body: &str) -> Result<InferRequest, Error> {
    parse_infer_request(body.as_bytes(), None, &floats(), &Limits::default())
}

fn positions(outputs: &[RequestedOutput]) -> Vec<usize> {
    outputs.iter().map(|output| output.index).collect()
}

fn input(data: &str) -> String {
    format!(r#"{{"inputs":[{{"name":"x","shape":[2,2],"datatype":"FP32","data":{data}}}]}}"#)
}

#[rstest]
#[case::flat(r#"{"inputs":[{"name":"x","shape":[2,2],"datatype":"FP32","data":[1,2,3,4]}]}"#)]
#[case::nested(r#"{"inputs":[{"name":"x","shape":[2,2],"datatype":"FP32","data":[[1,2],[3,4]]}]}"#)]
#[case::data_first(r#"{"inputs":[{"data":[[1,2],[3,4]],"name":"x","shape":[2,2],"datatype":"FP32"}]}"#)]
#[case::data_second(r#"{"inputs":[{"name":"x","data":[1.0,2e0,3,0.4e1],"datatype":"FP32","shape":[2,2]}]}"#)]
#[case::spaces(
    " { \"inputs\" : [ { \"name\" : \"x\" , \"shape\" : [ 2 , 2 ] , \"datatype\" : \"FP32\" , \"data\" : [ [ 1 , 2 ] ,\n [ 3 , 4 ] ] } ] } \n"
)]
#[case::unknown_keys(
    r#"{"a":{"b":[null,{"c":"\ud83d\ude00"}]},"inputs":[{"name":"x","extra":[1],"shape":[2,2],"datatype":"FP32","data":[1,2,3,4]}],"z":null}"#
)]
#[case::nulls(
    r#"{"id":null,"parameters":null,"outputs":null,"inputs":[{"name":"x","shape":[2,2],"datatype":"FP32","parameters":null,"data":[1,2,3,4]}]}"#
)]
#[case::escaped_keys(
    r#"{"\u0069nputs":[{"n\u0061me":"\u0078","shape":[2,2],"datatype":"FP32","data":[1,2,3,4]}]}"#
)]
fn the_same_tensor_in_every_spelling(#[case] body: &str) {
    let request = parse(body).unwrap();
    let expected = Tensor::new("x", vec![2, 2], TensorData::Fp32(vec![1.0, 2.0, 3.0, 4.0])).unwrap();
    assert_eq!(request.inputs, [expected]);
    assert_eq!((request.id, positions(&request.outputs)), (None, vec![0, 1]));
}

#[rstest]
#[case(Datatype::Bool, "[true,false]", TensorData::Bool(vec![true, false]))]
#[case(Datatype::Uint8, "[0,255]", TensorData::Uint8(vec![0, 255]))]
#[case(Datatype::Uint16, "[0,65535]", TensorData::Uint16(vec![0, 65535]))]
#[case(Datatype::Uint32, "[0,4294967295]", TensorData::Uint32(vec![0, u32::MAX]))]
#[case(Datatype::Uint64, "[0,18446744073709551615]", TensorData::Uint64(vec![0, u64::MAX]))]
#[case(Datatype::Int8, "[-128,127]", TensorData::Int8(vec![-128, 127]))]
#[case(Datatype::Int16, "[-32768,32767]", TensorData::Int16(vec![i16::MIN, i16::MAX]))]
#[case(Datatype::Int32, "[-2147483648,2147483647]", TensorData::Int32(vec![i32::MIN, i32::MAX]))]
#[case(Datatype::Int64, "[-9223372036854775808,1]", TensorData::Int64(vec![i64::MIN, 1]))]
#[case(Datatype::Fp16, "[0.5,-65504]", TensorData::Fp16(vec![f16::from_f32(0.5), f16::MIN]))]
#[case(Datatype::Bf16, "[0.5,-2]", TensorData::Bf16(vec![bf16::from_f32(0.5), bf16::from_f32(-2.0)]))]
#[case(Datatype::Fp32, "[0.1,3.4028235e38]", TensorData::Fp32(vec![0.1, f32::MAX]))]
#[case(Datatype::Fp64, "[0.1,5e-324]", TensorData::Fp64(vec![0.1, f64::from_bits(1)]))]
#[case(Datatype::Bytes, r#"["","é\n\u00e9"]"#, TensorData::Bytes(vec![Bytes::new(), Bytes::from("é\né")]))]
fn every_datatype_is_read(#[case] datatype: Datatype, #[case] data: &str, #[case] expected: TensorData) {
    let body = format!(r#"{{"inputs":[{{"name":"x","shape":[2],"datatype":"{datatype}","data":{data}}}]}}"#);
    let request =
        parse_infer_request(body.as_bytes(), None, &one(datatype, &[-1]), &Limits::default()).unwrap();
    assert_eq!(request.inputs[0].data(), &expected);
}

#[test]
fn scalars_are_arrays_of_one() {
    let body = br#"{"inputs":[{"name":"x","shape":[],"datatype":"INT64","data":[7]}]}"#;
    let request = parse_infer_request(body, None, &one(Datatype::Int64, &[]), &Limits::default()).unwrap();
    assert_eq!(request.inputs[0].shape(), [0_i64; 0]);
}

#[test]
fn inputs_come_back_in_the_order_of_the_signature() {
    let names = ["a", "b", "c"];
    let inputs = names.iter().map(|name| metadata(name, Datatype::Int8, &[1])).collect();
    let signature = Signature { inputs, outputs: vec![] };
    let entry = |name: &str| json!({"name": name, "shape": [1], "datatype": "INT8", "data": [1]});
    let body = json!({"inputs": [entry("c"), entry("a"), entry("b")]}).to_string();
    let request = parse_infer_request(body.as_bytes(), None, &signature, &Limits::default()).unwrap();
    assert_eq!(request.inputs.iter().map(Tensor::name).collect::<Vec<_>>(), names);
}

#[test]
fn id_outputs_and_parameters_are_kept() {
    let body = r#"{"id":"é1","outputs":[{"name":"z","parameters":{"binary_data":false,"classification":0}},{"name":"y","extra":1}],
        "parameters":{"a":true,"b":-3,"c":1.5,"d":"t","e":null,"binary_data_output":false,"priority":0},
        "inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","parameters":{"content_type":"np"},"data":[1,2]}]}"#;
    let request = parse(body).unwrap();
    assert_eq!(request.id.as_deref(), Some("é1"));
    assert_eq!(positions(&request.outputs), [1, 0]);
    assert!(request.outputs.iter().all(|output| !output.binary && output.classification.is_none()));
    assert_eq!(request.timeout, None);
    assert_eq!(request.parameters["a"], Parameter::Bool(true));
    assert_eq!(request.parameters["b"], Parameter::Int(-3));
    assert_eq!(request.parameters["c"], Parameter::Float(1.5));
    assert_eq!(request.parameters["d"], Parameter::Text("t".into()));
    assert!(!request.parameters.contains_key("e"));
}

#[test]
fn an_empty_list_of_outputs_asks_for_all() {
    let body = input("[1,2,3,4]").replacen('{', r#"{"outputs":[],"#, 1);
    assert_eq!(positions(&parse(&body).unwrap().outputs), [0, 1]);
}

#[rstest]
#[case("[1,2,3]", "inputs[0].data: got an array of 3 elements, wanted an array of 4 elements")]
#[case("[1,2,3,4,5]", "inputs[0].data: got an array of more than 4 elements, wanted an array of 4 elements")]
#[case("[[1,2],[3]]", "inputs[0].data[1]: got an array of 1 element, wanted an array of 2 elements")]
#[case("[[1,2],[3,4,5]]", "inputs[0].data[1]: got an array of more than 2 elements")]
#[case("[[1,2]]", "inputs[0].data: got an array of 1 element, wanted an array of 2 elements")]
#[case("[[1,2],[3,4],[5,6]]", "inputs[0].data: got an array of more than 2 elements")]
#[case("[[1,2],3,4]", "inputs[0].data[1]: got 3, wanted an array of 2 elements")]
#[case("[1,[2],3,4]", "inputs[0].data[1]: got an array, wanted a number")]
#[case("[[[1],2],[3,4]]", "inputs[0].data[0][0]: got an array, wanted a number")]
#[case("[[1,2],[3,null]]", "inputs[0].data[1][1]: got null, wanted a number between ±3.4028235e38 (FP32)")]
#[case("[1,2,\"3\",4]", "inputs[0].data[2]: got the string \"3\", wanted a number")]
#[case("[1,2,3,true]", "inputs[0].data[3]: got true, wanted a number")]
#[case("[1,2,3,NaN]", "inputs[0].data[3]: got NaN (not JSON, and not finite), wanted a number")]
#[case("[1,2,3,Infinity]", "inputs[0].data[3]: got Infinity")]
#[case("[1,2,3,-Infinity]", "inputs[0].data[3]: got -Infinity")]
#[case("[1,2,3,1e39]", "inputs[0].data[3]: got 1e39, wanted a number between ±3.4028235e38 (FP32)")]
#[case("[1,2,3,{}]", "inputs[0].data[3]: got an object, wanted a number")]
#[case("{}", "inputs[0].data: got an object, wanted an array of 4 elements")]
#[case("5", "inputs[0].data: got 5, wanted an array of 4 elements")]
#[case("null", "inputs[0].data: got null, wanted an array of 4 elements")]
#[case("[]", "inputs[0].data: got an array of 0 elements, wanted an array of 4 elements")]
#[case("[1,2,3,4,]", "the request body is not valid JSON: a comma without a value after it at line 1 column")]
#[case("[1,2,3,04]", "the request body is not valid JSON: `04` is not a JSON value")]
fn wrong_data_is_refused_where_it_stands(#[case] data: &str, #[case] expected: &str) {
    let last = format!(r#"{{"inputs":[{{"data":{data},"name":"x","shape":[2,2],"datatype":"FP32"}}]}}"#);
    let message = parse(&input(data)).unwrap_err().to_string();
    assert!(message.starts_with(expected), "{message}");
    // With `data` in front the text is first stepped over, which only finds what is no JSON value.
    let error = parse(&last).unwrap_err();
    assert_eq!(error.class(), ErrorClass::BadRequest, "{error}");
}

#[rstest]
#[case("", "the request body is empty")]
#[case("  \n", "the request body is empty")]
#[case("[]", "body: got an array, wanted an object")]
#[case("\"x\"", "body: got the string \"x\", wanted an object")]
#[case("not json", "the request body is not valid JSON: `not` is not a JSON value at line 1 column 1")]
#[case("{}", "body: the required key \"inputs\" is missing")]
#[case(r#"{"inputs":null}"#, "inputs: got null, wanted an array of tensors")]
#[case(r#"{"inputs":{}}"#, "inputs: got an object, wanted an array of tensors")]
#[case(r#"{"inputs":[1]}"#, "inputs[0]: got 1, wanted an object")]
#[case(r#"{"inputs":[]}"#, "input \"x\" is missing; the model takes \"x\"")]
#[case(r#"{"inputs":[],"inputs":[]}"#, "input \"x\" is missing")]
#[case(r#"{"id":5,"inputs":[]}"#, "id: got 5, wanted a string")]
#[case(r#"{"id":"a","id":"b"}"#, "body: the key \"id\" appears more than once")]
#[case(
    r#"{"inputs":[{"shape":[1,2],"datatype":"FP32","data":[1,2]}]}"#,
    "inputs[0]: the required key \"name\" is missing"
)]
#[case(
    r#"{"inputs":[{"name":"x","datatype":"FP32","data":[1,2]}]}"#,
    "inputs[0]: the required key \"shape\" is missing"
)]
#[case(
    r#"{"inputs":[{"name":"x","shape":[1,2],"data":[1,2]}]}"#,
    "inputs[0]: the required key \"datatype\" is missing"
)]
#[case(
    r#"{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32"}]}"#,
    "inputs[0]: the required key \"data\" is missing"
)]
#[case(r#"{"inputs":[{"name":"x","name":"x"}]}"#, "inputs[0]: the key \"name\" appears more than once")]
#[case(r#"{"inputs":[{"data":[],"data":[]}]}"#, "inputs[0]: the key \"data\" appears more than once")]
#[case(r#"{"inputs":[{"name":7}]}"#, "inputs[0].name: got 7, wanted a string")]
#[case(
    r#"{"inputs":[{"name":"q","shape":[1,2],"datatype":"FP32","data":[1,2]}]}"#,
    "unknown input \"q\"; the model takes \"x\""
)]
#[case(
    r#"{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP64","data":[1,2]}]}"#,
    "input \"x\": datatype FP64 where the model wants FP32"
)]
#[case(
    r#"{"inputs":[{"name":"x","shape":[1,2],"datatype":"FLOAT","data":[1,2]}]}"#,
    "unknown datatype \"FLOAT\"; use one of BOOL"
)]
#[case(
    r#"{"inputs":[{"name":"x","shape":[1,2],"datatype":1,"data":[1,2]}]}"#,
    "inputs[0].datatype: got 1, wanted the name of a datatype"
)]
#[case(
    r#"{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1,2]}]}"#,
    "input \"x\": shape [2] where the model wants [-1, 2]"
)]
#[case(
    r#"{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}"#,
    "input \"x\": shape [1, 3] where the model wants [-1, 2]"
)]
#[case(
    r#"{"inputs":[{"name":"x","shape":[-1,2],"datatype":"FP32","data":[1,2]}]}"#,
    "tensor \"x\": shape [-1, 2] has a negative dimension"
)]
#[case(
    r#"{"inputs":[{"name":"x","shape":[0,2],"datatype":"FP32","data":[]}]}"#,
    "input \"x\": the batch is empty"
)]
#[case(
    r#"{"inputs":[{"name":"x","shape":[9223372036854775807,2],"datatype":"FP32","data":[]}]}"#,
    "tensor \"x\": shape [9223372036854775807, 2] has more elements than can be counted"
)]
#[case(
    r#"{"inputs":[{"name":"x","shape":[4611686018427387903,2],"datatype":"FP32","data":[]}]}"#,
    "inputs[0].shape: more than 67108864 elements in one tensor"
)]
#[case(
    r#"{"inputs":[{"name":"x","shape":[99999999999999999999,2],"datatype":"FP32","data":[]}]}"#,
    "inputs[0].shape[0]: got 99999999999999999999, wanted an integer"
)]
#[case(
    r#"{"inputs":[{"name":"x","shape":[1.5,2],"datatype":"FP32","data":[]}]}"#,
    "inputs[0].shape[0]: got 1.5, wanted an integer"
)]
#[case(
    r#"{"inputs":[{"name":"x","shape":"[1,2]","datatype":"FP32","data":[]}]}"#,
    "inputs[0].shape: got the string \"[1,2]\", wanted an array of integers"
)]
#[case(
    r#"{"inputs":[{"name":"x","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"datatype":"FP32","data":[]}]}"#,
    "inputs[0].shape: more than 16 dimensions"
)]
#[case(r#"{"outputs":[{"name":"q"}],"inputs":[]}"#, "unknown output \"q\"; the model gives \"y\", \"z\"")]
#[case(r#"{"outputs":[{"name":"y"},{"name":"y"}],"inputs":[]}"#, "output \"y\" is asked for more than once")]
#[case(r#"{"outputs":[{}],"inputs":[]}"#, "outputs[0]: the required key \"name\" is missing")]
#[case(r#"{"outputs":["y"],"inputs":[]}"#, "outputs[0]: got the string \"y\", wanted an object")]
#[case(r#"{"outputs":{},"inputs":[]}"#, "outputs: got an object, wanted an array of objects with a name")]
#[case(r#"{"parameters":[]}"#, "parameters: got an array, wanted an object")]
#[case(r#"{"parameters":{"a":[1]}}"#, "parameters.a: got an array, wanted a string, a number or a boolean")]
#[case(r#"{"parameters":{"a":1e999}}"#, "parameters.a: got 1e999, wanted a number")]
#[case(r#"{"parameters":{"a":1,"a":2}}"#, "parameters: the key \"a\" appears more than once")]
fn wrong_requests_name_the_fault(#[case] body: &str, #[case] expected: &str) {
    let error = parse(body).unwrap_err();
    assert!(error.to_string().starts_with(expected), "{error}");
    assert_eq!(error.status(), 400);
}

#[test]
fn a_repeated_input_is_refused() {
    let entry = r#"{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}"#;
    let error = parse(&format!(r#"{{"inputs":[{entry},{entry}]}}"#)).unwrap_err();
    assert_eq!(error.to_string(), "input \"x\" is given more than once");
}

#[rstest]
#[case(r#"{"parameters":{"priority":1}}"#, "parameters.priority: request priority")]
#[case(r#"{"parameters":{"sequence_id":7}}"#, "parameters.sequence_id: sequence batching")]
#[case(
    r#"{"inputs":[{"name":"x","parameters":{"shared_memory_region":"r"}}]}"#,
    "inputs[0].parameters.shared_memory_region: the shared memory extension"
)]
fn extensions_that_are_not_there_are_never_ignored(#[case] body: &str, #[case] expected: &str) {
    let error = parse(body).unwrap_err();
    assert!(error.to_string().starts_with(expected), "{error}");
    assert!(matches!(error, Error::Unsupported { .. }));
}

#[rstest]
#[case::allocated_by_its_first_dimension("[10000000000,0]")]
#[case::just_beyond("[67108865,0]")]
#[case::only_as_a_product("[8193,0,8192]")]
#[case::beyond_counting("[9223372036854775807,0,9223372036854775807]")]
fn a_zero_dimension_lifts_no_bound(#[case] shape: &str) {
    let signature = one(Datatype::Fp32, &vec![-1; shape.split(',').count()]);
    let body = format!(r#"{{"inputs":[{{"name":"x","shape":{shape},"datatype":"FP32","data":[]}}]}}"#);
    let error = parse_infer_request(body.as_bytes(), None, &signature, &Limits::default()).unwrap_err();
    let expected =
        "inputs[0].shape: more than 67108864 elements in one tensor, where a dimension of 0 counts as 1";
    assert!(error.to_string().starts_with(expected), "{error}");
    assert_eq!(error.status(), 400);
}

#[test]
fn a_zero_dimension_within_the_bound_is_accepted() {
    let body = br#"{"inputs":[{"name":"x","shape":[67108864,0],"datatype":"FP32","data":[]}]}"#;
    let request =
        parse_infer_request(body, None, &one(Datatype::Fp32, &[-1, -1]), &Limits::default()).unwrap();
    assert!(request.inputs[0].is_empty());
}

#[test]
fn every_truncation_of_a_body_is_refused() {
    let body =
        r#"{"id":"a","inputs":[{"name":"x","shape":[2,2],"datatype":"FP32","data":[[1,2.5],[3,-4e1]]}]}"#;
    parse(body).unwrap();
    for length in 0..body.len() {
        let error = parse(&body[..length]).unwrap_err();
        let expected = matches!(error, Error::EmptyBody | Error::MalformedJson { .. });
        // A cut within a number leaves a shorter number, and the array around it is what ends.
        assert!(expected, "{length}: {error}");
    }
    for tail in ["x", "{}", "]", ",", "\0"] {
        let error = parse(&format!("{body}{tail}")).unwrap_err();
        assert!(matches!(error, Error::MalformedJson { .. }), "{error}");
    }
}

#[rstest]
#[case("[".repeat(100_000))]
#[case(r#"{"a":"#.repeat(100_000))]
#[case(format!(r#"{{"x":{}"#, "[".repeat(100_000)))]
#[case(format!(r#"{{"inputs":[{{"data":{}"#, "[".repeat(100_000)))]
#[case(input(&"[".repeat(100_000)))]
#[case(format!(r#"{{"inputs":{}"#, "[{\"inputs\":".repeat(100_000)))]
fn depth_bombs_are_refused(#[case] body: String) {
    for max_depth in [32, usize::MAX] {
        let limits = Limits { max_depth, ..Limits::default() };
        let error = parse_infer_request(body.as_bytes(), None, &floats(), &limits).unwrap_err();
        assert_eq!(error.status(), 400);
        assert!(error.to_string().len() < 300, "{error}");
    }
}

#[rstest]
#[case(Limits { max_elements: 3, ..Limits::default() }, "inputs[0].shape: more than 3 elements in one tensor")]
#[case(Limits { max_inputs: 0, ..Limits::default() }, "inputs: more than 0 inputs")]
#[case(Limits { max_outputs: 1, ..Limits::default() }, "outputs: more than 1 outputs")]
#[case(Limits { max_rank: 1, ..Limits::default() }, "inputs[0].shape: more than 1 dimensions")]
#[case(Limits { max_parameters: 1, ..Limits::default() }, "parameters: more than 1 parameters")]
#[case(Limits { max_text: 3, ..Limits::default() }, "id: more than 3 bytes of text")]
#[case(Limits { max_depth: 4, ..Limits::default() }, "inputs[0].data[0]: more than 4 levels of nesting")]
fn every_limit_is_kept(#[case] limits: Limits, #[case] expected: &str) {
    let body = r#"{"id":"abcd","parameters":{"p":1,"q":2},
        "inputs":[{"name":"x","shape":[2,2],"datatype":"FP32","data":[[1,2],[3,4]]}],
        "outputs":[{"name":"y"},{"name":"z"}]}"#;
    parse_infer_request(body.as_bytes(), None, &floats(), &Limits::default()).unwrap();
    let error = parse_infer_request(body.as_bytes(), None, &floats(), &limits).unwrap_err();
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn a_declared_shape_takes_no_memory_beyond_the_body() {
    // 2²⁶ elements are within the limits, but the body holds none of them.
    let body = r#"{"inputs":[{"name":"x","shape":[33554432,2],"datatype":"FP32","data":[1]}]}"#;
    let mut scanner = Scanner::new(body.as_bytes(), 32).unwrap();
    let mut filling = Filling::exact(Datatype::Fp32, vec![1 << 26], 1 << 26);
    scanner.skip(&Path::Root).unwrap();
    filling.reserve(1 << 26, &scanner);
    let TensorData::Fp32(values) = filling.into_data() else { panic!("FP32 was asked for") };
    assert!(values.capacity() <= body.len());
    assert!(parse(body).unwrap_err().to_string().contains("wanted an array of 67108864 elements"));
}

#[test]
fn messages_do_not_grow_with_the_request() {
    let long = "x".repeat(100_000);
    for body in [
        format!(r#"{{"inputs":[{{"name":"{long}","shape":[1,2],"datatype":"FP32","data":[1,2]}}]}}"#),
        format!(r#"{{"inputs":[{{"name":"x","shape":[1,2],"datatype":"{long}","data":[1,2]}}]}}"#),
        format!(r#"{{"inputs":[{{"name":"x","shape":[1,2],"datatype":"FP32","data":["{long}",2]}}]}}"#),
        format!(r#"{{"outputs":[{{"name":"{long}"}}]}}"#),
        format!(r#"{{"parameters":{{"{long}":[]}}}}"#),
        format!(r#"{{"inputs":{long}}}"#),
        format!(r#"{{"{long}":nul}}"#),
    ] {
        let message = parse(&body).unwrap_err().to_string();
        assert!(message.len() < 400, "{message}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_infer_request(&body, None, &floats(), &Limits::default());
    }

    #[test]
    fn a_damaged_request_never_panics(at in 0_usize..96, byte in any::<u8>(), cut in 0_usize..96) {
        let mut body = input("[[1,2.5],[3,-4e1]]").into_bytes();
        let at = at % body.len();
        body[at] = byte;
        body.truncate(body.len() - cut % body.len());
        let _ = parse_infer_request(&body, None, &floats(), &Limits::default());
    }

    #[test]
    fn nested_equals_flat(rows in 1_usize..5, columns in 1_usize..5, depth in 1_usize..3, seed in any::<u32>()) {
        let shape = [rows, columns, depth];
        let value = |index: usize| f64::from(seed) / (index as f64 + 3.0);
        let flat: Vec<f64> = (0..rows * columns * depth).map(value).collect();
        let nested: Vec<Vec<Vec<f64>>> = flat
            .chunks(columns * depth)
            .map(|row| row.chunks(depth).map(<[f64]>::to_vec).collect())
            .collect();
        let signature = one(Datatype::Fp64, &[-1, -1, -1]);
        let read = |data: serde_json::Value| {
            let entry = json!({"name": "x", "shape": shape, "datatype": "FP64", "data": data});
            let body = json!({"inputs": [entry]}).to_string();
            parse_infer_request(body.as_bytes(), None, &signature, &Limits::default()).unwrap().inputs
        };
        prop_assert_eq!(read(json!(flat)), read(json!(nested)));
    }

    #[test]
    fn arrays_read_as_serde_json_reads_their_elements(
        texts in prop::collection::vec(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?|-?[0-9]{1,3}|-?0\.[0-9]{6,9}", 1..80),
        comma in "[ \n]{0,2},[ \t]{0,2}",
    ) {
        fn theirs<T: serde::de::DeserializeOwned>(texts: &[String], finite: impl Fn(&T) -> bool) -> Option<Vec<T>> {
            let texts = texts.iter().map(|text| serde_json::from_str(text).ok().filter(&finite));
            texts.collect()
        }
        let length = texts.len();
        let ours = |datatype: Datatype| {
            let data = texts.join(&comma);
            let body = format!(r#"{{"inputs":[{{"name":"x","shape":[{length}],"datatype":"{datatype}","data":[{data}]}}]}}"#);
            let request = parse_infer_request(body.as_bytes(), None, &one(datatype, &[-1]), &Limits::default());
            // The bits are compared as bytes.
            request.ok().map(|request| {
                let mut bytes = Vec::new();
                crate::binary::append(request.inputs[0].data(), &mut bytes);
                bytes
            })
        };
        let singles = theirs::<f32>(&texts, |value| value.is_finite());
        prop_assert_eq!(ours(Datatype::Fp32), singles.map(|all| all.into_iter().flat_map(f32::to_le_bytes).collect()));
        let doubles = theirs::<f64>(&texts, |value| value.is_finite());
        prop_assert_eq!(ours(Datatype::Fp64), doubles.clone().map(|all| all.into_iter().flat_map(f64::to_le_bytes).collect()));
        let halves = doubles.map(|all| all.into_iter().map(f16::from_f64).collect::<Vec<_>>());
        let halves = halves.filter(|all| all.iter().all(|value| value.is_finite()));
        prop_assert_eq!(ours(Datatype::Fp16), halves.map(|all| all.into_iter().flat_map(f16::to_le_bytes).collect()));
        // serde_json takes `-0` for a float.
        if !texts.iter().any(|text| text == "-0") {
            let wide = theirs::<i64>(&texts, |_| true);
            prop_assert_eq!(ours(Datatype::Int64), wide.map(|all| all.into_iter().flat_map(i64::to_le_bytes).collect()));
            let narrow = theirs::<u8>(&texts, |_| true);
            prop_assert_eq!(ours(Datatype::Uint8), narrow);
        }
    }

    #[test]
    fn arrays_of_integers_read_as_serde_json_reads_them(
        small in prop::collection::vec(any::<i8>(), 1..150),
        wide in prop::collection::vec(any::<u64>(), 1..150),
    ) {
        let read = |datatype: Datatype, values: serde_json::Value| {
            let shape = values.as_array().map_or(0, Vec::len);
            let entry = json!({"name": "x", "shape": [shape], "datatype": datatype.as_str(), "data": values});
            let body = json!({"inputs": [entry]}).to_string();
            let request = parse_infer_request(body.as_bytes(), None, &one(datatype, &[-1]), &Limits::default());
            request.unwrap().inputs.remove(0).into_parts().2
        };
        prop_assert_eq!(read(Datatype::Int8, json!(small)), TensorData::Int8(small));
        prop_assert_eq!(read(Datatype::Uint64, json!(wide)), TensorData::Uint64(wide));
    }
}
