//! What `run` remembers between starts, and what it does when the source changed or broke meanwhile.

use crate::command::{Workbench, finish, fixture, http, http_json, manifest, manifest_with};

#[test]
fn pasted_curl_answers() {
    let bench = Workbench::new();
    bench.copy_fixture("add.onnx", "add.onnx");
    let mut serving = bench.serve(&manifest("add", "file:add.onnx"), 1);
    let curl = serving.line_starting_with("curl ");
    let output = std::process::Command::new("sh").args(["-c", &curl]).output().unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["model_name"], "add", "{curl}: {answer}");
}

#[test]
fn several_documents_are_served_side_by_side_and_sigterm_ends_with_0() {
    let bench = Workbench::new();
    bench.copy_fixture("add.onnx", "add.onnx");
    let text = format!("{}---\n{}", manifest("one", "file:add.onnx"), manifest("two", "file:add.onnx"));
    let serving = bench.serve(&text, 2);
    for (name, url) in &serving.ready {
        assert_eq!(http_json("GET", url, None)["name"], name.as_str());
    }
    serving.terminate().expect_code(0);
}

#[test]
fn unchanged_source_is_not_fetched_again() {
    let bench = Workbench::new();
    let source = bench.copy_fixture("add.onnx", "add.onnx");
    let text = manifest_with(
        "add",
        &format!("source: {{uri: 'file:add.onnx', digest: '{}'}}", sha256(&std::fs::read(&source).unwrap())),
    );
    bench.run_once(&text).expect_code(0);
    // With the digest pinned and the revision on disk, the source is not even needed any more.
    std::fs::remove_file(&source).unwrap();
    bench.run_once(&text).expect_code(0);
}

#[test]
fn changed_source_is_served_as_another_revision() {
    let bench = Workbench::new();
    bench.copy_fixture("add.onnx", "model.onnx");
    let text = manifest("m", "file:model.onnx");
    let version = || {
        let serving = bench.serve(&text, 1);
        http_json("GET", serving.url(), None)["versions"].clone()
    };
    let first = version();
    assert_eq!(version(), first);
    std::fs::copy(fixture("fixed.onnx"), bench.path("model.onnx")).unwrap();
    assert_ne!(version(), first);
}

#[test]
fn broken_new_bytes_leave_the_former_revision_serving_and_once_reports_it() {
    let bench = Workbench::new();
    bench.copy_fixture("add.onnx", "model.onnx");
    let text = manifest("m", "file:model.onnx");
    bench.run_once(&text).expect_code(0);
    bench.write("model.onnx", "no model at all");
    bench.run_once(&text).expect_code(1).expect_error(&["model.onnx", "ONNX"]);
    let serving = bench.serve(&text, 1);
    http_json("GET", &format!("{}/ready", serving.url()), None);
    serving.terminate().expect_code(0).expect_error(&["former revision"]);
}

#[test]
fn source_out_of_reach_leaves_the_former_revision_serving() {
    let bench = Workbench::new();
    let source = bench.copy_fixture("add.onnx", "model.onnx");
    let text = manifest("m", "file:model.onnx");
    bench.run_once(&text).expect_code(0);
    std::fs::remove_file(source).unwrap();
    let serving = bench.serve(&text, 1);
    serving.terminate().expect_code(0).expect_error(&["former revision", "model.onnx"]);
}

#[test]
fn damaged_revision_on_disk_is_fetched_again() {
    let bench = Workbench::new();
    bench.copy_fixture("add.onnx", "model.onnx");
    let text = manifest("m", "file:model.onnx");
    bench.run_once(&text).expect_code(0);
    let revisions = bench.path("data/models/default/m/revisions");
    let stored = std::fs::read_dir(revisions).unwrap().next().unwrap().unwrap().path().join("model.onnx");
    let mut bytes = std::fs::read(&stored).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&stored, bytes).unwrap();
    bench.run_once(&text).expect_code(0).expect_error(&["damaged"]);
    assert_eq!(std::fs::read(&stored).unwrap(), std::fs::read(fixture("add.onnx")).unwrap());
}

#[test]
fn digest_that_the_source_does_not_have_is_refused_with_both() {
    let bench = Workbench::new();
    let source = bench.copy_fixture("add.onnx", "add.onnx");
    let (right, wrong) = (sha256(&std::fs::read(source).unwrap()), format!("sha256:{}", "0".repeat(64)));
    let text = manifest_with("add", &format!("source: {{uri: 'file:add.onnx', digest: '{wrong}'}}"));
    bench.run_once(&text).expect_code(1).expect_error(&[&right, &wrong]);
}

#[test]
fn killed_process_leaves_a_data_folder_that_works() {
    let bench = Workbench::new();
    bench.copy_fixture("add.onnx", "model.onnx");
    let text = manifest("m", "file:model.onnx");
    bench.serve(&text, 1).kill();
    bench.run_once(&text).expect_code(0);
}

#[test]
fn failed_model_does_not_keep_the_others_from_serving() {
    let bench = Workbench::new();
    bench.copy_fixture("add.onnx", "add.onnx");
    let text = format!("{}---\n{}", manifest("bad", "file:missing.onnx"), manifest("good", "file:add.onnx"));
    let serving = bench.serve(&text, 1);
    let base = serving.url().strip_suffix("/v2/models/good").unwrap().to_owned();
    assert_eq!(http("GET", &format!("{base}/v2/models/good/ready"), None).0, 200);
    assert_eq!(http("GET", &format!("{base}/v2/models/bad/ready"), None).0, 503);
    serving.terminate().expect_error(&["bad", "missing.onnx"]);
    finish(bench.run_command(&text).arg("--once")).expect_code(1);
}

fn sha256(bytes: &[u8]) -> String {
    modelwright_artifact::Digest::of(bytes).to_string()
}
