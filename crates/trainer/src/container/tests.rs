use std::fs;
use std::path::Path;

use modelwright_artifact::output::{OutputLimits, read_output};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

/// Real files: `make.py` beside each says how they were made.
const KERAS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/keras-normalization");
const SMALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../runtime/testdata");

fn folder(model: &str, files: &[(&str, Value)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(model, folder.path().join(MODEL_FILE)).unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content.to_string()).unwrap();
    }
    folder
}

#[expect(clippy::unwrap_in_result, reason = "the result is what is tested")]
fn checked(folder: &Path) -> Result<Checked, ContainerError> {
    let output = read_output(folder, &[EXPLAIN_FILE], &OutputLimits::default()).unwrap();
    check(folder, output.model().unwrap())
}

/// `fixed.onnx` or `add.onnx` with these files.
fn check_small(model: &str, files: &[(&str, Value)]) -> Result<Checked, ContainerError> {
    checked(folder(&format!("{SMALL}/{model}"), files).path())
}

/// Five samples for `add.onnx`, the third of whose sums is off by `error`.
fn sums(error: f64) -> Value {
    let row = |scale: f64| (0..10).map(|i| f64::from(i) * scale).collect::<Vec<_>>();
    let mut sum = row(3.0);
    sum[5] += error;
    let tensor =
        |name: &str, data: Vec<f64>| json!({"name": name, "datatype": "FP32", "shape": [5, 2], "data": data});
    json!({"inputs": [tensor("a", row(1.0)), tensor("b", row(2.0))], "outputs": [tensor("sum", sum)]})
}

#[test]
fn normalization_layer_that_keras_lost_is_refused_with_the_way_out() {
    // With and without samples: nothing else says that the file is unusable.
    for with_samples in [true, false] {
        let folder = folder(&format!("{KERAS}/model.onnx"), &[]);
        if with_samples {
            fs::copy(format!("{KERAS}/samples.json"), folder.path().join(SAMPLES_FILE)).unwrap();
        }
        let error = checked(folder.path()).unwrap_err();
        assert_eq!(error.reason(), "UnexpectedInputs");
        let message = error.to_string();
        for part in
            ["normalization_1/Sub/y:0", "normalization_1/Sqrt/x:0", "Rescaling", "KERAS_BACKEND=torch"]
        {
            assert!(message.contains(part), "{message}");
        }
    }
}

#[test]
fn model_alone_is_enough() {
    let checked = check_small("add.onnx", &[]).unwrap();
    assert_eq!((checked.measured, checked.replayed), (Measured::default(), None));
    assert!(checked.runtime.starts_with("1."), "{}", checked.runtime);
}

/// An index of `picky.onnx` must be 6 or 7.
fn indices(values: [i64; 5]) -> Value {
    let tensor = |name: &str, datatype: &str, data: Value| json!({"name": name, "datatype": datatype, "shape": [5], "data": data});
    let expected: Vec<f64> = values.iter().map(|value| if *value == 7 { 10.0 } else { 20.0 }).collect();
    json!({"inputs": [tensor("index", "INT64", json!(values))], "outputs": [tensor("y", "FP32", json!(expected))]})
}

#[test]
fn model_that_loads_and_does_not_run_is_refused_unless_samples_show_that_it_does() {
    let error = check_small("picky.onnx", &[]).unwrap_err();
    assert_eq!(error.reason(), "ModelDoesNotRun");
    let message = error.to_string();
    assert!(
        message.contains("does not run: the model cannot compute these inputs: ")
            && message.contains("samples"),
        "{message}"
    );
    let checked = check_small("picky.onnx", &[(SAMPLES_FILE, indices([7, 6, 7, 6, 7]))]).unwrap();
    assert_eq!(checked.replayed.unwrap().rows, 5);
}

#[rstest]
#[case::texts("text.onnx")]
#[case::indices("lookup.onnx")]
#[case::a_number("scalar.onnx")]
#[case::fixed_shapes("fixed.onnx")]
fn model_without_samples_is_run_on_zeros(#[case] model: &str) {
    assert_eq!(check_small(model, &[]).unwrap().replayed, None);
}

#[test]
fn samples_are_replayed_and_metrics_read() {
    let metrics =
        json!({"metrics": {"valAccuracy": 0.97}, "baseline": {"valAccuracy": 0.6}, "epochs": [1, 2]});
    let checked = check_small("add.onnx", &[(SAMPLES_FILE, sums(5e-5)), (METRICS_FILE, metrics)]).unwrap();
    let replayed = checked.replayed.unwrap();
    assert!(replayed.rows == 5 && (4e-5..6e-5).contains(&replayed.largest), "{replayed:?}");
    assert!((checked.measured.metrics["valAccuracy"] - 0.97).abs() < 1e-12);
    assert!((checked.measured.baseline["valAccuracy"] - 0.6).abs() < 1e-12);
}

#[test]
fn difference_names_the_output_the_sample_and_how_much_it_is() {
    let error = check_small("add.onnx", &[(SAMPLES_FILE, sums(0.25))]).unwrap_err();
    assert_eq!(error.reason(), "SamplesDiffer");
    let message = error.to_string();
    for part in ["\"sum\"", "sample 2", "2.500e-1", "training mode"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn nested_lists_are_taken_row_by_row() {
    let mut samples = sums(0.0);
    for set in ["inputs", "outputs"] {
        for tensor in samples[set].as_array_mut().unwrap() {
            tensor["data"] = tensor["data"].as_array().unwrap().chunks(2).map(|row| json!(row)).collect();
        }
    }
    assert_eq!(check_small("add.onnx", &[(SAMPLES_FILE, samples)]).unwrap().replayed.unwrap().rows, 5);
}

#[rstest]
#[case::few("/inputs/0/shape/0", json!(4), "must be 5 to 100")]
#[case::many("/inputs/0/shape/0", json!(101), "must be 5 to 100")]
#[case::other_rows("/inputs/1/shape/0", json!(6), "\"b\" is not 5")]
#[case::elements("/outputs/0/data", json!([1, 2]), "\"sum\" has 2 elements")]
#[case::negative("/outputs/0/shape/1", json!(-1), "\"sum\" has 10 elements")]
#[case::overflow("/outputs/0/shape/1", json!(i64::MAX), "\"sum\" has 10 elements")]
#[case::text("/inputs/0/data/1", json!("hunter2"), "element 1 of \"a\" is no FP32")]
#[case::no_outputs("/outputs", json!([]), "at least one tensor")]
#[case::output("/outputs/0/name", json!("y"), "the output \"y\", and the model has \"sum\"")]
#[case::datatype("/outputs/0/datatype", json!("INT64"), "is no INT64")]
#[case::unknown_datatype("/outputs/0/datatype", json!("FLOAT32"), "not of its form at line 1")]
fn samples_of_another_form_are_refused(#[case] place: &str, #[case] value: Value, #[case] says: &str) {
    let mut samples = sums(0.5);
    *samples.pointer_mut(place).unwrap() = value;
    let error = check_small("add.onnx", &[(SAMPLES_FILE, samples)]).unwrap_err();
    assert_eq!(error.reason(), "SamplesUnusable", "{error}");
    let message = error.to_string();
    assert!(message.contains(says) && !message.contains("hunter2"), "{message}");
}

#[test]
fn inputs_of_only_one_of_model_and_samples_are_named() {
    let mut samples = sums(0.0);
    samples["inputs"].as_array_mut().unwrap().pop();
    let error = check_small("add.onnx", &[(SAMPLES_FILE, samples)]).unwrap_err();
    assert_eq!(error.reason(), "UnexpectedInputs");
    assert!(error.to_string().contains("\"b\""), "{error}");

    let mut samples = sums(0.0);
    let mut more = samples["inputs"][0].clone();
    more["name"] = json!("x");
    samples["inputs"].as_array_mut().unwrap().push(more);
    let error = check_small("add.onnx", &[(SAMPLES_FILE, samples)]).unwrap_err();
    assert_eq!(error.reason(), "SamplesUnusable");
    assert!(error.to_string().contains("the input \"x\", and the model has \"a\", \"b\""), "{error}");
}

#[rstest]
#[case(json!({"valAccuracy": 0.9}), "not of its form")]
#[case(json!({"metrics": {"valAccuracy": "0.9"}}), "\"valAccuracy\" is no finite number")]
#[case(json!({"metrics": {"valAccuracy": null}}), "\"valAccuracy\" is no finite number")]
#[case(json!({"metrics": {"": 1}}), "is no name of a metric")]
fn metrics_of_another_form_are_refused(#[case] metrics: Value, #[case] says: &str) {
    let error = check_small("add.onnx", &[(METRICS_FILE, metrics)]).unwrap_err();
    assert_eq!(error.reason(), "MetricsUnusable");
    assert!(error.to_string().contains(says), "{error}");
}

#[test]
fn too_many_metrics_and_no_json_are_refused() {
    let many: serde_json::Map<String, Value> = (0..65).map(|i| (format!("m{i}"), json!(i))).collect();
    assert!(Measured::parse(json!({"metrics": many}).to_string().as_bytes()).is_err());
    let error = Measured::parse(b"{\"metrics\": hunter2}").unwrap_err().to_string();
    assert!(error.contains("no JSON at line 1") && !error.contains("hunter2"), "{error}");
}

#[test]
fn schema_of_another_model_is_refused() {
    let schema = json!({"version": "1", "task": "Regression", "target": "y", "layout": "Features",
        "columns": [{"name": "x", "type": "Numeric"}]});
    let error = check_small("add.onnx", &[(SCHEMA_FILE, schema)]).unwrap_err();
    assert_eq!(error.reason(), "SchemaUnusable");
    assert!(error.to_string().contains("schema.json"), "{error}");
}

#[test]
fn model_that_onnx_runtime_refuses_is_refused_with_its_reason() {
    assert_eq!(check_small("custom.onnx", &[]).unwrap_err().reason(), "CustomOperator");
    let folder = folder(&format!("{SMALL}/add.onnx"), &[]);
    fs::copy(format!("{SMALL}/custom.onnx"), folder.path().join(EXPLAIN_FILE)).unwrap();
    let error = checked(folder.path()).unwrap_err();
    assert!(error.to_string().contains(EXPLAIN_FILE), "{error}");
}

#[test]
fn numbers_are_compared_as_their_type_allows() {
    use super::samples::differs;
    for (datatype, expected, got, differ) in [
        ("FP32", json!(1000.0), json!(1000.5), false),
        ("FP32", json!(1000.0), json!(1002.0), true),
        ("FP16", json!(1.0), json!(1.005), false),
        ("FP32", json!(null), json!(null), false),
        ("FP32", json!(null), json!(1), true),
        ("FP32", json!(1), json!(null), true),
        ("FP64", json!(1e300), json!(1e300), false),
        ("INT64", json!(i64::MAX), json!(i64::MAX - 1), true),
        ("INT32", json!(7), json!(8), true),
        ("BOOL", json!(true), json!(true), false),
        ("BYTES", json!("cat"), json!("dog"), true),
        ("BYTES", json!("cat"), json!("cat"), false),
    ] {
        let datatype = serde_json::from_value(json!(datatype)).unwrap();
        assert_eq!(differs(datatype, &expected, &got), differ, "{datatype} {expected} {got}");
    }
}

#[rstest]
#[case("fixed.onnx", 6)]
fn model_of_a_fixed_number_of_rows_is_run_on_so_many_at_a_time(#[case] model: &str, #[case] rows: usize) {
    let session = Session::open(&Path::new(SMALL).join(model), &SessionOptions::default()).unwrap();
    let signature = session.signature().clone();
    let input = &signature.inputs[0];
    assert!(input.shape[0] > 1, "{input}");
    let fixed = usize::try_from(input.shape[0]).unwrap();
    let tensor = |metadata: &TensorMetadata, rows: usize| {
        let width: i64 = metadata.shape[1..].iter().product();
        let mut shape = metadata.shape.clone();
        shape[0] = i64::try_from(rows).unwrap();
        let elements = rows * usize::try_from(width).unwrap();
        json!({"name": metadata.name, "datatype": metadata.datatype, "shape": shape, "data": vec![0.0; elements]})
    };
    let samples =
        |rows| json!({"inputs": [tensor(input, rows)], "outputs": [tensor(&signature.outputs[0], rows)]});
    let whole = fixed * rows.div_ceil(fixed);
    match check_small(model, &[(SAMPLES_FILE, samples(whole))]) {
        Ok(checked) => assert_eq!(checked.replayed.unwrap().rows, whole),
        // What it computes of zeros is not what is tested.
        Err(error) => assert_eq!(error.reason(), "SamplesDiffer", "{error}"),
    }
    let error = check_small(model, &[(SAMPLES_FILE, samples(whole + 1))]).unwrap_err();
    assert!(error.to_string().contains("rows at a time"), "{error}");
}
