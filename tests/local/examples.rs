//! The examples of the repository, served all at once and called with their own requests.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::command::{Serving, Workbench, http_json, modelwright, repository};

fn example_folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(repository().join("examples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("model.yaml").exists())
        .collect();
    folders.sort();
    assert!(folders.len() >= 3, "examples are missing: {folders:?}");
    folders
}

/// Numbers are compared with a relative tolerance: another processor adds in another order.
fn assert_close(path: &str, ours: &Value, expected: &Value) {
    match (ours, expected) {
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len(), "{path}");
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                assert_close(&format!("{path}[{i}]"), a, b);
            }
        }
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            assert!((a - b).abs() <= 1e-5 * b.abs().max(1e-3), "{path}: {a} is not {b}");
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
    let folders = example_folders();
    let bench = Workbench::new();
    let mut command = modelwright();
    command.arg("run").args(folders.iter().map(|folder| folder.join("model.yaml")));
    command
        .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir"])
        .arg(bench.path("data"));
    let serving = Serving::start(&mut command, folders.len());
    let urls: BTreeMap<String, String> = serving.ready.iter().cloned().collect();
    for folder in folders {
        let name = folder.file_name().unwrap().to_str().unwrap();
        let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap();
        let url = urls
            .get(name)
            .unwrap_or_else(|| panic!("the Model in {} is not called {name}", folder.display()));
        let answer = http_json("POST", &format!("{url}/infer"), Some(&read("request.json")));
        let expected: Value = serde_json::from_str(&read("expected.json")).unwrap();
        let (ours, expected) = (outputs(&answer), outputs(&expected));
        assert_eq!(ours.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{name}");
        for (output, data) in &ours {
            assert_close(&format!("{name}: {output}"), data, &expected[output]);
        }
    }
    serving.terminate().expect_code(0);
}
