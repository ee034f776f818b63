//! The examples of the repository, served all at once and called with their own requests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::command::{Serving, Workbench, http_json, modelwright, repository};

/// The folders of examples that train, or of those that serve a model that is there already, which have a request.
fn example_folders(train: bool) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(repository().join("examples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("model.yaml").exists() && path.join("request.json").exists() != train)
        .collect();
    folders.sort();
    assert!(folders.len() >= 3, "examples are missing: {folders:?}");
    folders
}

fn name(folder: &Path) -> &str {
    folder.file_name().unwrap().to_str().unwrap()
}

fn serve(bench: &Workbench, folders: &[PathBuf]) -> Serving {
    let mut command = modelwright();
    command.arg("run").args(folders.iter().map(|folder| folder.join("model.yaml")));
    command
        .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir"])
        .arg(bench.path("data"));
    Serving::start(&mut command, folders.len())
}

/// Numbers are compared with a tolerance relative to them, or to `least` if that is more: another processor adds in another
/// order.
fn assert_close(path: &str, ours: &Value, expected: &Value, least: f64) {
    match (ours, expected) {
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len(), "{path}");
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                assert_close(&format!("{path}[{i}]"), a, b, least);
            }
        }
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            assert!((a - b).abs() <= 1e-5 * b.abs().max(least), "{path}: {a} is not {b}");
        }
        _ => assert_eq!(ours, expected, "{path}"),
    }
}

/// The outputs of an answer by name, as flat data.
fn outputs(answer: &Value) -> BTreeMap<String, Value> {
    let outputs = answer["outputs"].as_array().unwrap_or_else(|| panic!("no outputs: {answer}"));
    outputs
        .iter()
        .map(|output| (output["name"].as_str().unwrap().to_owned(), output["data"].clone()))
        .collect()
}

#[test]
fn every_example_is_ready_and_answers_its_request_with_the_expected_numbers() {
    let folders = example_folders(false);
    let bench = Workbench::new();
    let serving = serve(&bench, &folders);
    let urls: BTreeMap<String, String> = serving.ready.iter().cloned().collect();
    for folder in folders {
        let name = name(&folder);
        let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap();
        let url = urls
            .get(name)
            .unwrap_or_else(|| panic!("the Model in {} is not called {name}", folder.display()));
        let answer = http_json("POST", &format!("{url}/infer"), Some(&read("request.json")));
        let expected: Value = serde_json::from_str(&read("expected.json")).unwrap();
        let (ours, expected) = (outputs(&answer), outputs(&expected));
        assert_eq!(ours.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{name}");
        for (output, data) in &ours {
            assert_close(&format!("{name}: {output}"), data, &expected[output], 1e-3);
        }
    }
    serving.terminate().expect_code(0);
}

/// Copies an example, and makes its data where it comes from a generator.
fn copy_with_data(folder: &Path, bench: &Workbench) -> PathBuf {
    let copy = bench.path(name(folder));
    std::fs::create_dir(&copy).unwrap();
    for file in ["model.yaml", "data.csv", "make.py"] {
        if folder.join(file).exists() {
            std::fs::copy(folder.join(file), copy.join(file)).unwrap();
        }
    }
    if !copy.join("data.csv").exists() {
        assert!(Command::new("python3").arg(copy.join("make.py")).status().unwrap().success());
    }
    copy
}

/// The rows of a `samples.json`, as a client would send them.
fn instances(samples: &Value) -> Vec<Value> {
    let inputs = samples["inputs"].as_array().unwrap();
    let rows = usize::try_from(inputs[0]["shape"][0].as_u64().unwrap()).unwrap();
    let data = |input: &Value| input["data"].as_array().unwrap().clone();
    match inputs.as_slice() {
        [matrix] => data(matrix).chunks(data(matrix).len() / rows).map(|row| json!(row)).collect(),
        columns => (0..rows)
            .map(|row| {
                columns
                    .iter()
                    .map(|column| (column["name"].as_str().unwrap(), data(column)[row].clone()))
                    .collect()
            })
            .collect(),
    }
}

#[test]
fn every_example_that_trains_passes_its_gate_and_answers_its_samples() {
    let bench = Workbench::new();
    let folders: Vec<PathBuf> =
        example_folders(true).iter().map(|folder| copy_with_data(folder, &bench)).collect();
    let serving = serve(&bench, &folders);
    for (name, url) in serving.ready.clone() {
        let version = http_json("GET", &url, None)["versions"][0].as_str().unwrap().to_owned();
        let folder = bench.path("data/models/default").join(&name).join("revisions").join(version);
        let samples: Value =
            serde_json::from_slice(&std::fs::read(folder.join("samples.json")).unwrap()).unwrap();
        let predict = url.replace("/v2/", "/v1/") + ":predict";
        let body = json!({"instances": instances(&samples)}).to_string();
        let answers = http_json("POST", &predict, Some(&body))["predictions"].as_array().unwrap().clone();
        let outputs = outputs(&samples);
        match (outputs.get("label"), outputs.get("probabilities")) {
            (Some(labels), Some(probabilities)) => {
                let of = |key: &str| answers.iter().map(|answer| answer[key].clone()).collect::<Vec<_>>();
                assert_eq!(&json!(of("label")), labels, "{name}");
                let schema: Value =
                    serde_json::from_slice(&std::fs::read(folder.join("schema.json")).unwrap()).unwrap();
                let classes = schema["classes"].as_array().unwrap();
                let by_class = of("probabilities");
                let flat = by_class
                    .iter()
                    .flat_map(|row| classes.iter().map(|class| row[class.as_str().unwrap()].clone()));
                assert_close(&name, &flat.collect(), probabilities, 1.0);
            }
            _ => assert_close(&name, &json!(answers), &outputs["prediction"], 1.0),
        }
    }
    serving.terminate().expect_code(0);
}
