use bytes::Bytes;
use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::datatype::Datatype;
use crate::signature::TensorMetadata;
use crate::tensor::TensorData;

fn signature(inputs: &[(&str, Datatype, &[i64])]) -> Signature {
    let metadata = |&(name, datatype, shape): &(&str, Datatype, &[i64])| TensorMetadata {
        name: name.into(),
        datatype,
        shape: shape.to_vec(),
    };
    Signature { inputs: inputs.iter().map(metadata).collect(), outputs: vec![] }
}

/// A table with a column per input, as exported pipelines have it.
fn table() -> Signature {
    signature(&[
        ("age", Datatype::Fp32, &[-1, 1]),
        ("city", Datatype::Bytes, &[-1, 1]),
        ("rooms", Datatype::Int64, &[-1]),
    ])
}

fn matrix() -> Signature {
    signature(&[("x", Datatype::Fp32, &[-1, 2])])
}

fn parse(signature: &Signature, body: &str) -> Result<Vec<Tensor>, Error> {
    parse_predict_request(body.as_bytes(), signature, &Limits::default())
}

#[rstest]
#[case::records(
    r#"{"instances":[{"age":1.5,"city":"Ulm","rooms":3},{"rooms":4,"age":[2],"city":["Kyōto"]}]}"#
)]
#[case::lists(r#"{"instances":[[1.5,"Ulm",3],[[2],["Kyōto"],[4]]]}"#)]
#[case::columns(r#"{"inputs":{"city":["Ulm","Kyōto"],"age":[[1.5],[2]],"rooms":[3,4]}}"#)]
#[case::alias(r#"{"input":{"city":[["Ulm"],"Kyōto"],"age":[1.5,[2]],"rooms":[[3],4]}}"#)]
#[case::named_signature(
    r#"{"signature_name":"serving_default","instances":[[1.5,"Ulm",3],[2,"Kyōto",4]],"other":{}}"#
)]
fn the_same_table_in_every_form(#[case] body: &str) {
    let cities = TensorData::Bytes(vec![Bytes::from("Ulm"), Bytes::from("Kyōto")]);
    let expected = [
        Tensor::new("age", vec![2, 1], TensorData::Fp32(vec![1.5, 2.0])).unwrap(),
        Tensor::new("city", vec![2, 1], cities).unwrap(),
        Tensor::new("rooms", vec![2], TensorData::Int64(vec![3, 4])).unwrap(),
    ];
    assert_eq!(parse(&table(), body).unwrap(), expected);
}

#[rstest]
#[case(r#"{"instances":[[1,2],[3,4]]}"#)]
#[case(r#"{"instances":[{"x":[1,2]},{"x":[3,4]}]}"#)]
#[case(r#"{"inputs":[[1,2],[3,4]]}"#)]
#[case(r#"{"input":[[1,2],[3,4]]}"#)]
#[case(r#"{"inputs":{"x":[[1,2],[3,4]]}}"#)]
fn the_same_matrix_in_every_form(#[case] body: &str) {
    let expected = Tensor::new("x", vec![2, 2], TensorData::Fp32(vec![1.0, 2.0, 3.0, 4.0])).unwrap();
    assert_eq!(parse(&matrix(), body).unwrap(), [expected]);
}

#[rstest]
#[case(&[-1], &[2])]
#[case(&[-1, 1], &[2, 1])]
#[case(&[-1, 1, 1], &[2, 1, 1])]
#[case(&[2, 1], &[2, 1])]
fn bare_values_are_rows_of_one(#[case] wanted: &[i64], #[case] shape: &[i64]) {
    let tensors = parse(&signature(&[("x", Datatype::Int8, wanted)]), r#"{"instances":[1,2]}"#).unwrap();
    assert_eq!(tensors, [Tensor::new("x", shape.to_vec(), TensorData::Int8(vec![1, 2])).unwrap()]);
}

#[test]
fn whole_tensors_may_differ_in_their_first_dimension_and_be_scalars() {
    let signature = signature(&[("x", Datatype::Fp32, &[-1, -1]), ("threshold", Datatype::Fp32, &[])]);
    let tensors = parse(&signature, r#"{"inputs":{"x":[[1,2,3],[4,5,6]],"threshold":0.5}}"#).unwrap();
    assert_eq!(tensors[0].shape(), [2, 3]);
    assert_eq!(tensors[1].shape(), [0_i64; 0]);
}

#[rstest]
#[case(
    r#"{"instances":[{"age":1,"city":"a","rooms":1},{"age":null,"city":"a","rooms":1}]}"#,
    "instances[1].age: got null, wanted a number between ±3.4028235e38 (FP32)"
)]
#[case(
    r#"{"instances":[{"age":"1","city":"a","rooms":1}]}"#,
    "instances[0].age: got the string \"1\", wanted a number"
)]
#[case(
    r#"{"instances":[{"age":1,"city":7,"rooms":1}]}"#,
    "instances[0].city: got 7, wanted a string (BYTES)"
)]
#[case(
    r#"{"instances":[{"age":1,"city":"a","rooms":1.5}]}"#,
    "instances[0].rooms: got 1.5, wanted an integer"
)]
#[case(
    r#"{"instances":[{"age":1,"city":"a","rooms":1},{"age":1,"rooms":1}]}"#,
    "instances[1]: the field \"city\" is missing; the model takes \"age\", \"city\", \"rooms\""
)]
#[case(r#"{"instances":[{}]}"#, "instances[0]: the field \"age\" is missing")]
#[case(
    r#"{"instances":[{"agee":1,"city":"a","rooms":1}]}"#,
    "instances[0]: unknown field \"agee\"; the model takes \"age\", \"city\", \"rooms\""
)]
#[case(r#"{"instances":[{"age":1,"age":2}]}"#, "instances[0]: the key \"age\" appears more than once")]
#[case(
    r#"{"instances":[{"age":[1,2],"city":"a","rooms":1}]}"#,
    "instances[0].age: got an array of more than 1 element, wanted an array of 1 element"
)]
#[case(
    r#"{"instances":[{"age":[],"city":"a","rooms":1}]}"#,
    "instances[0].age: got an array of 0 elements, wanted an array of 1 element"
)]
#[case(
    r#"{"instances":[{"age":1,"city":"a","rooms":[]}]}"#,
    "instances[0].rooms: got an empty array, wanted an integer"
)]
#[case(
    r#"{"instances":[[1,"a"]]}"#,
    "instances[0]: got an array of 2, wanted 3 values, one each for \"age\", \"city\", \"rooms\""
)]
#[case(r#"{"instances":[[1,"a",1,1]]}"#, "instances[0]: got an array of more than 3, wanted 3 values")]
#[case(r#"{"instances":[[1,null,1]]}"#, "instances[0][1]: got null, wanted a string")]
#[case(
    r#"{"instances":[5]}"#,
    "instances[0]: got 5, wanted an object with the fields \"age\", \"city\", \"rooms\""
)]
#[case(r#"{"instances":[]}"#, "input \"age\": the batch is empty")]
#[case(r#"{"instances":{}}"#, "instances: got an object, wanted an array of rows")]
#[case(r#"{"inputs":{"age":[1],"city":["a"]}}"#, "input \"rooms\" is missing; the model takes")]
#[case(r#"{"inputs":{"age":[1],"q":["a"]}}"#, "unknown input \"q\"; the model takes")]
#[case(r#"{"inputs":{"age":[1],"age":[1]}}"#, "input \"age\" is given more than once")]
#[case(
    r#"{"inputs":{"age":[[1],[2,3]],"city":[],"rooms":[]}}"#,
    "inputs.age[1]: got an array of more than 1 element"
)]
#[case(
    r#"{"inputs":[[1]]}"#,
    "inputs: got an array, wanted an object with the inputs \"age\", \"city\", \"rooms\""
)]
#[case(r#"{"inputs":{},"instances":[]}"#, "input \"age\" is missing")]
#[case("{}", "body: got an object with none of these keys, wanted exactly one of \"instances\"")]
#[case("[]", "body: got an array, wanted an object")]
#[case("", "the request body is empty")]
#[case(r#"{"instances":["#, "the request body is not valid JSON: the text ends in the middle of a value")]
#[case(r#"{"signature_name":"other"}"#, "signature_name: a choice of signatures is not available")]
#[case(
    r#"{"instances":[[1,"a",NaN]]}"#,
    "instances[0][2]: got NaN (not JSON, and not finite), wanted an integer"
)]
fn wrong_tables_name_row_and_field(#[case] body: &str, #[case] expected: &str) {
    let error = parse(&table(), body).unwrap_err();
    assert!(error.to_string().starts_with(expected), "{error}");
    assert_eq!(error.status(), 400);
}

#[rstest]
#[case(
    r#"{"instances":[[1,2],[3]]}"#,
    "instances[1]: got an array of 1 element, wanted an array of 2 elements"
)]
#[case(r#"{"instances":[1,2]}"#, "instances[0]: got 1, wanted an array of 2 elements")]
#[case(r#"{"instances":[[1,[2]]]}"#, "instances[0][1]: got an array, wanted a number")]
#[case(r#"{"inputs":[1,2]}"#, "inputs[0]: got 1, wanted an array of 2 elements")]
#[case(r#"{"inputs":[]}"#, "input \"x\": the batch is empty")]
#[case(
    r#"{"instances":[[1,2]],"inputs":[[1,2]]}"#,
    "body: got \"instances\" and \"inputs\", wanted exactly one of"
)]
#[case(r#"{"instances":[[1,2]]} x"#, "the request body is not valid JSON: something follows the end")]
fn wrong_matrices_name_the_place(#[case] body: &str, #[case] expected: &str) {
    let error = parse(&matrix(), body).unwrap_err();
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn rows_need_inputs_with_rows() {
    let signature = signature(&[("x", Datatype::Fp32, &[-1]), ("threshold", Datatype::Fp32, &[])]);
    let error = parse(&signature, r#"{"instances":[{"x":1,"threshold":1}]}"#).unwrap_err().to_string();
    assert!(error.contains("wanted \"inputs\", because the input \"threshold\" has no rows"), "{error}");
}

#[test]
fn a_fixed_batch_takes_exactly_as_many_rows() {
    let signature = signature(&[("x", Datatype::Fp32, &[1, 2])]);
    parse(&signature, r#"{"instances":[[1,2]]}"#).unwrap();
    let error = parse(&signature, r#"{"instances":[[1,2],[3,4]]}"#).unwrap_err().to_string();
    assert!(error.starts_with("input \"x\": shape [2, 2] where the model wants [1, 2]"), "{error}");
}

#[test]
fn a_model_without_inputs_takes_empty_records() {
    assert_eq!(parse(&signature(&[]), r#"{"instances":[{}]}"#).unwrap(), []);
    let error = parse(&signature(&[]), r#"{"instances":[{"x":1}]}"#).unwrap_err().to_string();
    assert!(error.contains("the model takes none"), "{error}");
}

#[test]
fn depth_bombs_are_refused() {
    for start in ["", "{\"instances\":", "{\"inputs\":", "{\"other\":"] {
        let body = format!("{start}{}", "[".repeat(100_000));
        assert_eq!(parse(&matrix(), &body).unwrap_err().status(), 400);
    }
}

#[rstest]
#[case::rows(r#"{"instances":[[],[],[],[]]}"#, "instances.x: more than 3 elements")]
#[case::whole(r#"{"inputs":[[],[],[],[]]}"#, "inputs.x: more than 3 elements")]
fn empty_rows_count_towards_the_limit(#[case] body: &str, #[case] expected: &str) {
    let limits = Limits { max_elements: 3, ..Limits::default() };
    let signature = signature(&[("x", Datatype::Fp32, &[-1, -1])]);
    let error = parse_predict_request(body.as_bytes(), &signature, &limits).unwrap_err();
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn rows_beyond_the_limit_of_elements_are_refused() {
    let limits = Limits { max_elements: 3, ..Limits::default() };
    let error = parse_predict_request(br#"{"instances":[[1,2],[3,4]]}"#, &matrix(), &limits).unwrap_err();
    assert_eq!(
        error.to_string(),
        "instances[1][1]: more than 3 elements in one tensor; send a smaller request"
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_predict_request(&body, &table(), &Limits::default());
    }

    #[test]
    fn arbitrary_json_never_panics(body in r#"\{"(instances|inputs)":[\[\]{}:,"a-e0-9 ]{0,40}\}"#) {
        let _ = parse(&table(), &body);
        let _ = parse(&matrix(), &body);
    }

    #[test]
    fn records_equal_columns(ages in prop::collection::vec(-1e6_f32..1e6, 1..20)) {
        let record = |age: &f32| serde_json::json!({"city": "c", "rooms": 1, "age": age});
        let records: Vec<_> = ages.iter().map(record).collect();
        let count = ages.len();
        let columns = serde_json::json!({"age": ages, "city": vec!["c"; count], "rooms": vec![1; count]});
        let by_record = parse(&table(), &serde_json::json!({"instances": records}).to_string()).unwrap();
        let by_column = parse(&table(), &serde_json::json!({"inputs": columns}).to_string()).unwrap();
        prop_assert_eq!(by_record, by_column);
    }
}
