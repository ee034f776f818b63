use bytes::Bytes;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::datatype::Datatype;
use crate::tensor::TensorData;

fn tensors(list: &[(&str, Datatype, &[i64])]) -> Vec<TensorMetadata> {
    let metadata = |&(name, datatype, shape): &(&str, Datatype, &[i64])| TensorMetadata {
        name: name.into(),
        datatype,
        shape: shape.to_vec(),
    };
    list.iter().map(metadata).collect()
}

fn classifier(classes: i64) -> Vec<TensorMetadata> {
    tensors(&[("label", Datatype::Bytes, &[-1]), ("probabilities", Datatype::Fp32, &[-1, classes])])
}

fn numeric(name: &str) -> Value {
    json!({"name": name, "type": "Numeric", "fill": 1.0, "mean": 1.0, "deviation": 2.0})
}

/// Three numbers in one matrix, two classes.
fn matrix_schema() -> Value {
    let columns = [numeric("radius"), numeric("texture"), numeric("area")];
    json!({"version": "1", "task": "Binary", "target": "diagnosis", "layout": "Features", "columns": columns,
        "classes": ["malignant", "benign"]})
}

fn matrix_signature() -> Signature {
    Signature { inputs: tensors(&[("features", Datatype::Fp32, &[-1, 3])]), outputs: classifier(2) }
}

fn matrix() -> View {
    view(&matrix_schema(), &matrix_signature()).unwrap()
}

/// A number, a truth value and a text, and a number to predict.
fn table_schema() -> Value {
    let columns = [
        numeric("age"),
        json!({"name": "member", "type": "Boolean", "fill": true}),
        json!({"name": "city", "type": "String", "categories": ["Bern", "Genf"], "fill": "Bern"}),
    ];
    json!({"version": "1", "task": "Regression", "target": "rent", "layout": "Columns", "columns": columns})
}

fn table_signature() -> Signature {
    let inputs = tensors(&[
        ("age", Datatype::Fp32, &[-1, 1]),
        ("member", Datatype::Bool, &[-1, 1]),
        ("city", Datatype::Bytes, &[-1, 1]),
    ]);
    Signature { inputs, outputs: tensors(&[("prediction", Datatype::Fp32, &[-1])]) }
}

fn table() -> View {
    view(&table_schema(), &table_signature()).unwrap()
}

fn view(schema: &Value, signature: &Signature) -> Result<View, SchemaError> {
    View::from_schema(schema.to_string().as_bytes(), signature)
}

fn parse(view: &View, body: &str) -> Result<Vec<Tensor>, Error> {
    view.parse_predict_request(body.as_bytes(), &Limits::default())
}

/// The numbers of a tensor; NaN, which equals nothing, as none.
fn numbers(tensor: &Tensor) -> Vec<Option<f32>> {
    let TensorData::Fp32(values) = tensor.data() else { panic!("{tensor:?} has no numbers") };
    values.iter().map(|value| (!value.is_nan()).then_some(*value)).collect()
}

#[rstest]
#[case::records(
    r#"{"instances":[{"radius":1,"texture":2.5,"area":3},{"area":6,"radius":null,"texture":[5]}]}"#
)]
#[case::rows(r#"{"instances":[[1,2.5,3],[null,5,6]]}"#)]
#[case::both(r#"{"instances":[{"texture":2.5,"area":3,"radius":1},[null,5,6]]}"#)]
#[case::whole_rows(r#"{"instances":[{"features":[1,2.5,3]},{"features":[null,5,6]}]}"#)]
#[case::matrix(r#"{"inputs":[[1,2.5,3],[null,5,6]]}"#)]
#[case::named_matrix(r#"{"inputs":{"features":[[1,2.5,3],[null,5,6]]}}"#)]
fn the_same_matrix_in_every_form(#[case] body: &str) {
    let tensors = parse(&matrix(), body).unwrap();
    assert_eq!((tensors.len(), tensors[0].name(), tensors[0].shape()), (1, "features", [2, 3].as_slice()));
    assert_eq!(numbers(&tensors[0]), [Some(1.0), Some(2.5), Some(3.0), None, Some(5.0), Some(6.0)]);
}

#[rstest]
#[case::records(
    r#"{"instances":[{"age":1,"member":false,"city":"Genf"},{"city":null,"member":null,"age":null}]}"#
)]
#[case::lists(r#"{"instances":[[1,false,"Genf"],[null,[null],null]]}"#)]
#[case::columns(r#"{"inputs":{"age":[1,null],"member":[[false],[null]],"city":["Genf",null]}}"#)]
fn null_is_a_missing_value_of_the_columns_type(#[case] body: &str) {
    let tensors = parse(&table(), body).unwrap();
    assert_eq!(numbers(&tensors[0]), [Some(1.0), None]);
    assert_eq!(tensors[1].data(), &TensorData::Bool(vec![false, true]));
    assert_eq!(tensors[2].data(), &TensorData::Bytes(vec![Bytes::from("Genf"), Bytes::new()]));
    assert!(tensors.iter().all(|tensor| tensor.shape() == [2, 1]), "{tensors:?}");
}

#[test]
fn a_column_with_the_matrix_name_is_the_column() {
    let mut schema = matrix_schema();
    schema["columns"][1] = numeric("features");
    let view = view(&schema, &matrix_signature()).unwrap();
    let tensors = parse(&view, r#"{"instances":[{"features":2,"radius":1,"area":3}]}"#).unwrap();
    assert_eq!(tensors[0].data(), &TensorData::Fp32(vec![1.0, 2.0, 3.0]));
    let error = parse(&view, r#"{"instances":[{"features":[1,2,3]}]}"#).unwrap_err().to_string();
    assert!(error.contains("instances[0].features: got an array of more than 1 element"), "{error}");
}

#[test]
fn a_matrix_of_one_column_takes_bare_values() {
    let mut schema = matrix_schema();
    schema["columns"] = json!([numeric("x")]);
    let inputs = tensors(&[("features", Datatype::Fp32, &[-1, 1])]);
    let view = view(&schema, &Signature { inputs, outputs: classifier(2) }).unwrap();
    let body = r#"{"instances":[1,[2],{"x":3},{"features":4},{"features":[5]},null]}"#;
    let tensors = parse(&view, body).unwrap();
    let expected = [Some(1.0), Some(2.0), Some(3.0), Some(4.0), Some(5.0), None];
    assert_eq!(numbers(&tensors[0]), expected);
}

#[rstest]
#[case(
    r#"{"instances":[[1,2,3],{"radius":1,"area":3}]}"#,
    "instances[1]: the field \"texture\" is missing; write null for a missing value; the model takes \"radius\", \
     \"texture\", \"area\""
)]
#[case(r#"{"instances":[{}]}"#, "instances[0]: the field \"radius\" is missing; write null")]
#[case(
    r#"{"instances":[{"radius":1,"textur":2,"area":3}]}"#,
    "instances[0]: unknown field \"textur\"; the model takes \"radius\", \"texture\", \"area\""
)]
#[case(
    r#"{"instances":[{"area":1,"features":[1,2,3]}]}"#,
    "instances[0]: unknown field \"features\"; the model takes"
)]
#[case(
    r#"{"instances":[{"features":[1,2,3],"area":1}]}"#,
    "instances[0]: got \"features\" and \"area\", wanted \"features\" alone, or the fields \"radius\""
)]
#[case(r#"{"instances":[{"area":1,"area":1}]}"#, "instances[0]: the key \"area\" appears more than once")]
#[case(
    r#"{"instances":[{"radius":1,"texture":"2","area":3}]}"#,
    "instances[0].texture: got the string \"2\", wanted a number"
)]
#[case(r#"{"instances":[{"area":true}]}"#, "instances[0].area: got true, wanted a number")]
#[case(r#"{"instances":[{"area":NaN}]}"#, "instances[0].area: got NaN (not JSON, and not finite), wanted")]
#[case(r#"{"instances":[{"area":nul}]}"#, "the request body is not valid JSON: `nul`")]
#[case(r#"{"instances":[{"area":[1,2]}]}"#, "instances[0].area: got an array of more than 1 element")]
#[case(r#"{"instances":[[1,"2",3]]}"#, "instances[0][1]: got the string \"2\", wanted a number")]
#[case(r#"{"instances":[[1,2]]}"#, "instances[0]: got an array of 2 elements, wanted an array of 3 elements")]
#[case(r#"{"instances":[null]}"#, "instances[0]: got null, wanted an array of 3 elements")]
#[case(r#"{"instances":[]}"#, "input \"features\": the batch is empty")]
#[case(r#"{"inputs":{"radius":[1]}}"#, "unknown input \"radius\"; the model takes \"features\"")]
fn wrong_rows_of_a_matrix_name_row_and_field(#[case] body: &str, #[case] expected: &str) {
    let error = parse(&matrix(), body).unwrap_err();
    assert!(error.to_string().starts_with(expected), "{error}");
    assert_eq!(error.status(), 400);
}

#[rstest]
#[case(
    r#"{"instances":[{"age":1,"city":"Bern"}]}"#,
    "instances[0]: the field \"member\" is missing; write null for a missing value"
)]
#[case(
    r#"{"instances":[{"age":"1","member":true,"city":"Bern"}]}"#,
    "instances[0].age: got the string \"1\", wanted a number"
)]
#[case(
    r#"{"instances":[{"age":1,"member":0,"city":"Bern"}]}"#,
    "instances[0].member: got 0, wanted true or false"
)]
#[case(
    r#"{"instances":[{"age":1,"member":true,"city":3012}]}"#,
    "instances[0].city: got 3012, wanted a string (BYTES)"
)]
#[case(r#"{"inputs":{"age":null}}"#, "inputs.age: got null, wanted an array")]
fn wrong_rows_of_a_table_name_row_and_field(#[case] body: &str, #[case] expected: &str) {
    let error = parse(&table(), body).unwrap_err();
    assert!(error.to_string().starts_with(expected), "{error}");
    assert_eq!(error.status(), 400);
}

#[rstest]
#[case::records(
    r#"{"instances":[{"radius":1,"texture":2,"area":3},{"radius":4,"texture":5,"area":6}]}"#,
    "instances[1].radius: more than 5 elements in one tensor"
)]
#[case::rows(r#"{"instances":[[1,2,3],[4,5,6]]}"#, "instances[1][2]: more than 5 elements in one tensor")]
fn rows_beyond_the_limit_of_elements_are_refused(#[case] body: &str, #[case] expected: &str) {
    let limits = Limits { max_elements: 5, ..Limits::default() };
    let error = matrix().parse_predict_request(body.as_bytes(), &limits).unwrap_err().to_string();
    assert!(error.starts_with(expected), "{error}");
}

#[rstest]
#[case::number("/version", json!(1), "schema.json: invalid type: integer `1`, expected a string")]
#[case::later("/version", json!("2"), "schema.json has version \"2\", and this release reads version \"1\"")]
#[case::task("/task", json!("Ranking"), "schema.json: unknown variant `Ranking`")]
#[case::layout("/layout", json!("Rows"), "schema.json: unknown variant `Rows`")]
#[case::column_type("/columns/0/type", json!("Date"), "schema.json: unknown variant `Date`")]
#[case::no_columns("/columns", json!([]), "schema.json: it has no columns")]
#[case::column_twice("/columns/2/name", json!("radius"), "schema.json: it has the column \"radius\" twice")]
#[case::class_twice("/classes", json!(["a", "a"]), "schema.json: it has the class \"a\" twice")]
#[case::one_class("/classes", json!(["a"]), "schema.json: 1 classes where the task Binary has 2 classes")]
#[case::classes_of_a_number("/task", json!("Regression"), "schema.json: 2 classes where the task Regression has none")]
#[case::text_in_a_matrix(
    "/columns/1", json!({"name": "city", "type": "String", "categories": []}),
    "schema.json: the column \"city\" is not numeric, which the layout Features needs"
)]
#[case::other_width(
    "/columns", json!([numeric("a"), numeric("b")]),
    "schema.json describes the inputs \"features\" FP32 [-1, 2], and the model has \"features\" FP32 [-1, 3]; publish"
)]
#[case::other_layout(
    "/layout", json!("Columns"),
    "schema.json describes the inputs \"radius\" FP32 [-1, 1], and the model has \"features\" FP32 [-1, 3]"
)]
fn a_schema_that_is_wrong_or_of_another_model_is_refused(
    #[case] place: &str,
    #[case] value: Value,
    #[case] expected: &str,
) {
    let mut schema = matrix_schema();
    *schema.pointer_mut(place).unwrap() = value;
    let error = view(&schema, &matrix_signature()).unwrap_err().to_string();
    assert!(error.starts_with(expected), "{error}");
}

#[rstest]
#[case::other_type("age", Datatype::Fp64, &[-1, 1], "\"age\" FP64 [-1, 1]")]
#[case::other_name("Age", Datatype::Fp32, &[-1, 1], "\"Age\" FP32 [-1, 1]")]
#[case::other_rank("age", Datatype::Fp32, &[-1], "\"age\" FP32 [-1]")]
#[case::other_order("city", Datatype::Bytes, &[-1, 1], "\"city\" BYTES [-1, 1]")]
#[case::fixed_batch("age", Datatype::Fp32, &[1, 1], "\"age\" FP32 [1, 1]")]
fn inputs_must_be_the_columns(
    #[case] name: &str,
    #[case] datatype: Datatype,
    #[case] shape: &[i64],
    #[case] actual: &str,
) {
    let mut signature = table_signature();
    signature.inputs[0] = tensors(&[(name, datatype, shape)]).remove(0);
    let error = view(&table_schema(), &signature).unwrap_err().to_string();
    let expected = format!("the inputs \"age\" FP32 [-1, 1], and the model has {actual}");
    assert!(error.contains(&expected), "{error}");
}

#[test]
fn inputs_and_outputs_must_be_as_many() {
    let mut signature = table_signature();
    signature.inputs.truncate(2);
    let error = view(&table_schema(), &signature).unwrap_err().to_string();
    assert!(error.contains("the inputs \"city\" BYTES [-1, 1], and the model has no more;"), "{error}");
    let mut signature = table_signature();
    signature.outputs.extend(classifier(2));
    let error = view(&table_schema(), &signature).unwrap_err().to_string();
    assert!(error.contains("the outputs no more, and the model has \"label\" BYTES [-1];"), "{error}");
}

#[test]
fn probabilities_must_be_of_the_classes() {
    let with = |classes| Signature { outputs: classifier(classes), ..matrix_signature() };
    let error = view(&matrix_schema(), &with(3)).unwrap_err().to_string();
    assert!(error.contains("the outputs \"probabilities\" FP32 [-1, 2], and the model has"), "{error}");
    view(&matrix_schema(), &with(-1)).unwrap();
}

fn classified(labels: &[&'static str], shape: &[i64], probabilities: &[f32]) -> [Tensor; 2] {
    let texts: Vec<_> = labels.iter().map(|text| Bytes::from_static(text.as_bytes())).collect();
    let rows = i64::try_from(texts.len()).unwrap();
    [
        Tensor::new("label", vec![rows], TensorData::Bytes(texts)).unwrap(),
        Tensor::new("probabilities", shape.to_vec(), TensorData::Fp32(probabilities.to_vec())).unwrap(),
    ]
}

#[test]
fn classes_are_written_by_name_in_the_order_of_the_schema() {
    let outputs = classified(&["benign", "malignant"], &[2, 2], &[0.25, 0.75, 0.98, 0.02]);
    let body = String::from_utf8(matrix().write_predictions(&outputs).unwrap()).unwrap();
    assert_eq!(
        body,
        r#"{"predictions":[{"label":"benign","probabilities":{"malignant":0.25,"benign":0.75}},{"label":"malignant","probabilities":{"malignant":0.98,"benign":0.02}}]}"#
    );
}

#[test]
fn names_of_classes_are_escaped_and_may_be_many() {
    let classes: Vec<String> = (0..2000).map(|class| format!("\"{class}\"\n")).collect();
    let mut schema = matrix_schema();
    (schema["task"], schema["classes"]) = (json!("Multiclass"), json!(classes));
    let view = view(&schema, &Signature { outputs: classifier(2000), ..matrix_signature() }).unwrap();
    let body = view.write_predictions(&classified(&["\"7\"\n"], &[1, 2000], &[0.0005; 2000])).unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["predictions"][0]["label"], "\"7\"\n");
    let probabilities = body["predictions"][0]["probabilities"].as_object().unwrap();
    assert_eq!((probabilities.len(), &probabilities["\"1999\"\n"]), (2000, &json!(0.0005)));
}

#[test]
fn a_regression_is_a_number_for_each_row() {
    let output = Tensor::new("prediction", vec![1], TensorData::Fp32(vec![152.1])).unwrap();
    assert_eq!(table().write_predictions(&[output]).unwrap(), br#"{"predictions":[152.1]}"#);
}

#[rstest]
#[case::other_classes(classified(&["a"], &[1, 3], &[0.0; 3]), "[1, 3] where its schema says \"label\" BYTES [N]")]
#[case::other_rows(classified(&["a"], &[2, 2], &[0.0; 4]), "the model gave \"label\" BYTES [1], \"probabilities\"")]
#[case::not_finite(classified(&["a"], &[1, 2], &[f32::NAN, 0.0]), "output \"probabilities\": element 0 is NaN")]
fn outputs_against_the_schema_are_the_servers_error(#[case] outputs: [Tensor; 2], #[case] expected: &str) {
    let error = matrix().write_predictions(&outputs).unwrap_err();
    assert!(error.to_string().contains(expected), "{error}");
    assert_eq!(error.status(), 500);
}

/// A value of a cell, or a missing one.
fn cell() -> impl Strategy<Value = Option<f32>> {
    prop::option::weighted(0.8, -1e6_f32..1e6)
}

proptest! {
    #[test]
    fn records_in_any_order_equal_rows(
        rows in prop::collection::vec(prop::collection::vec(cell(), 3), 1..20),
        order in Just(vec![0, 1, 2]).prop_shuffle(),
    ) {
        let names = ["radius", "texture", "area"];
        let record = |row: &Vec<Option<f32>>| {
            let fields: Vec<_> = order.iter().map(|&at| format!("\"{}\":{}", names[at], json!(row[at]))).collect();
            format!("{{{}}}", fields.join(","))
        };
        let records: Vec<_> = rows.iter().map(record).collect();
        let by_name = parse(&matrix(), &format!("{{\"instances\":[{}]}}", records.join(","))).unwrap();
        let by_position = parse(&matrix(), &json!({"instances": rows}).to_string()).unwrap();
        prop_assert_eq!(by_name[0].shape(), by_position[0].shape());
        prop_assert_eq!(numbers(&by_name[0]), numbers(&by_position[0]));
        prop_assert_eq!(numbers(&by_name[0]), rows.concat());
    }

    #[test]
    fn without_null_a_table_is_read_as_without_a_view(
        rows in prop::collection::vec((-1e6_f32..1e6, any::<bool>(), "[a-zé\"]{0,6}"), 1..20),
    ) {
        let record = |(age, member, city): &(f32, bool, String)| json!({"age": age, "member": member, "city": city});
        let body = json!({"instances": rows.iter().map(record).collect::<Vec<_>>()}).to_string();
        let plain = super::super::parse_predict_request(body.as_bytes(), &table_signature(), &Limits::default());
        prop_assert_eq!(parse(&table(), &body).unwrap(), plain.unwrap());
    }

    #[test]
    fn arbitrary_json_never_panics(
        body in r#"\{"instances":\[(\{("(radius|texture|area|features)":(1|null|\[|\]|,|\{|\}){1,3},?){0,4}\}?,?){0,3}\]\}"#,
    ) {
        let _ = parse(&matrix(), &body);
        let _ = parse(&table(), &body);
    }

    #[test]
    fn arbitrary_schemas_never_panic(json in prop::collection::vec(any::<u8>(), 0..100)) {
        prop_assert!(View::from_schema(&json, &matrix_signature()).is_err());
    }
}
