//! The steps of `run` on their own, as pods run them: exit codes and the final JSON object.

use serde_json::{Value, json};

use crate::command::{Serving, Workbench, finish, http, http_json, modelwright};

/// `modelwright resolve` on a file of the workbench.
fn resolve(bench: &Workbench, file: &str) -> Value {
    let uri = format!("file:{}", bench.path(file).display());
    finish(modelwright().args(["resolve", "--uri", &uri])).expect_code(0).outcome()
}

#[test]
fn crd_prints_the_committed_file() {
    let committed =
        std::fs::read_to_string(crate::command::repository().join("crds/models.modelwright.dev.yaml"))
            .unwrap();
    assert_eq!(finish(modelwright().arg("crd")).expect_code(0).stdout, committed);
}

#[test]
fn library_does_not_report_to_its_makers() {
    let bench = Workbench::new();
    let home = bench.path("home");
    std::fs::create_dir(&home).unwrap();
    let file = bench.copy_fixture("add.onnx", "add.onnx");
    let manifest = format!(
        "apiVersion: modelwright.dev/v1alpha1\nkind: Model\nmetadata: {{name: add}}\nspec: {{source: {{uri: 'file:{}'}}}}\n",
        file.display()
    );
    // The library is named, because the cache folder is another one with another home.
    let library = crate::command::onnxruntime();
    let mut command = bench.run_command(&manifest);
    command.arg("--once").env("HOME", &home).env_remove("XDG_CACHE_HOME").env("ORT_DYLIB_PATH", library);
    finish(&mut command).expect_code(0);
    // Where reporting was on, the device's number lies there.
    assert!(!home.join(".cache/Microsoft").exists());
}

#[test]
fn resolve_reports_digest_size_and_signature() {
    let bench = Workbench::new();
    let file = bench.copy_fixture("add.onnx", "add.onnx");
    let outcome = resolve(&bench, "add.onnx");
    assert_eq!(outcome["v"], 1);
    assert_eq!(outcome["ok"], true);
    assert!(outcome["digest"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(outcome["bytes"], std::fs::metadata(file).unwrap().len());
    assert_eq!(outcome["inputsTotal"], 2);
}

#[test]
fn resolve_writes_its_outcome_to_the_termination_log_too() {
    let bench = Workbench::new();
    bench.write("model.onnx", "no model");
    let log = bench.path("termination-log");
    let uri = format!("file:{}", bench.path("model.onnx").display());
    let finished = finish(modelwright().args(["resolve", "--uri", &uri, "--termination-log"]).arg(&log));
    let outcome = finished.expect_code(65).outcome();
    assert_eq!(outcome["ok"], false);
    let logged: Value = serde_json::from_slice(&std::fs::read(log).unwrap()).unwrap();
    assert_eq!(logged, outcome);
    assert!(outcome.to_string().len() <= 1024);
}

#[test]
fn resolve_of_a_missing_file_waits_and_of_a_wrong_uri_does_not() {
    let bench = Workbench::new();
    let missing = format!("file:{}", bench.path("missing.onnx").display());
    finish(modelwright().args(["resolve", "--uri", &missing])).expect_code(66);
    finish(modelwright().args(["resolve", "--uri", "ftp://a/b"])).expect_code(64);
}

#[test]
fn loopback_is_refused_unless_allowed() {
    let uri = "http://127.0.0.1:9/model.onnx";
    finish(modelwright().args(["resolve", "--uri", uri]))
        .expect_code(64)
        .expect_error(&["127.0.0.1", "loopback"]);
    finish(modelwright().args(["resolve", "--uri", uri, "--allow-loopback"])).expect_code(69);
}

#[test]
fn fetched_revision_is_served_and_drained() {
    let bench = Workbench::new();
    bench.copy_fixture("add.onnx", "add.onnx");
    let digest = resolve(&bench, "add.onnx")["digest"].as_str().unwrap().to_owned();
    let uri = format!("file:{}", bench.path("add.onnx").display());
    let fetch = || {
        let mut command = modelwright();
        command.args(["fetch", "--uri", &uri, "--digest", &digest, "--out"]).arg(bench.path("out"));
        finish(&mut command)
    };
    assert_eq!(fetch().expect_code(0).outcome()["digest"], digest.as_str());
    fetch().expect_code(0);
    let mut serve = modelwright();
    serve.arg("serve").arg("--model-dir").arg(bench.path("out")).args(["--name", "add", "--digest", &digest]);
    serve.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--drain-delay", "0"]);
    let serving = Serving::start(&mut serve, 1);
    let request = json!({"inputs": [
        {"name": "a", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.5]},
        {"name": "b", "shape": [1, 2], "datatype": "FP32", "data": [1.0, -1.0]},
    ]});
    let answer = http_json("POST", &format!("{}/infer", serving.url()), Some(&request.to_string()));
    assert_eq!(answer["outputs"][0]["data"], json!([2.0, 1.5]));
    serving.terminate().expect_code(0);
}

#[test]
fn fetch_refuses_other_bytes_with_both_digests() {
    let bench = Workbench::new();
    let file = bench.copy_fixture("add.onnx", "add.onnx");
    let right = modelwright_artifact::Digest::of(&std::fs::read(file).unwrap()).to_string();
    let wrong = format!("sha256:{}", "0".repeat(64));
    let uri = format!("file:{}", bench.path("add.onnx").display());
    let mut command = modelwright();
    command.args(["fetch", "--uri", &uri, "--digest", &wrong, "--out"]).arg(bench.path("out"));
    let finished = finish(&mut command);
    assert_eq!(finished.expect_code(76).outcome()["reason"], "DigestMismatch");
    finished.expect_error(&[&right, &wrong]);
}

#[test]
fn serve_refuses_a_folder_with_other_bytes() {
    let bench = Workbench::new();
    bench.copy_fixture("add.onnx", "out/model.onnx");
    let wrong = format!("sha256:{}", "0".repeat(64));
    let mut command = modelwright();
    command
        .arg("serve")
        .arg("--model-dir")
        .arg(bench.path("out"))
        .args(["--name", "add", "--digest", &wrong]);
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    finish(&mut command).expect_code(66).expect_error(&["manifest.json", "modelwright fetch"]);
}

#[test]
fn missing_library_names_the_command_that_gets_it() {
    let bench = Workbench::new();
    let mut command = bench.run_command(&crate::command::manifest("add", "file:add.onnx"));
    command
        .env_remove("ORT_DYLIB_PATH")
        .env("HOME", bench.path("home"))
        .env("XDG_CACHE_HOME", bench.path("cache"));
    bench.copy_fixture("add.onnx", "add.onnx");
    finish(command.arg("--once"))
        .expect_code(66)
        .expect_error(&["cargo xtask onnxruntime", "ORT_DYLIB_PATH"]);
}

#[test]
fn library_that_the_environment_names_and_that_is_missing_is_named_back() {
    let bench = Workbench::new();
    bench.copy_fixture("add.onnx", "add.onnx");
    let mut command = bench.run_command(&crate::command::manifest("add", "file:add.onnx"));
    command.env("ORT_DYLIB_PATH", bench.path("nowhere.so"));
    finish(command.arg("--once")).expect_code(66).expect_error(&["nowhere.so", "unset ORT_DYLIB_PATH"]);
}

#[test]
fn file_that_is_no_library_is_named() {
    let bench = Workbench::new();
    let mut command = bench.run_command(&crate::command::manifest("add", "file:add.onnx"));
    bench.copy_fixture("add.onnx", "add.onnx");
    let library = bench.write("libonnxruntime.so", "text");
    command.env("ORT_DYLIB_PATH", &library);
    finish(command.arg("--once")).expect_code(64).expect_error(&[library.to_str().unwrap()]);
}

#[test]
fn admin_port_answers_health_and_metrics() {
    let bench = Workbench::new();
    bench.copy_fixture("add.onnx", "add.onnx");
    let mut serving = bench.serve(&crate::command::manifest("add", "file:add.onnx"), 1);
    let line = serving.line_starting_with("admin ");
    let admin = line.split_whitespace().nth(1).unwrap();
    for path in ["livez", "readyz"] {
        assert_eq!(http("GET", &format!("{admin}/{path}"), None).0, 200, "{path}");
    }
    let (status, metrics) = http("GET", &format!("{admin}/metrics"), None);
    assert_eq!(status, 200);
    assert!(metrics.contains("model=\"add\""), "{metrics}");
}
