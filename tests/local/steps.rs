//! The steps of `run` on their own, as pods run them: exit codes and the final JSON object.

use std::process::Command;
use std::sync::atomic::Ordering;

use rstest::rstest;
use serde_json::{Value, json};

use crate::command::{Finished, Serving, Workbench, finish, fixture, http, http_json, modelwright};
use crate::web::{Manner, Web};

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

/// `modelwright resolve` from this machine's own addresses.
pub(crate) fn resolve_from(uri: &str, options: &[&str], variables: &[(&str, &str)]) -> Finished {
    let mut command = modelwright();
    command.args(["resolve", "--allow-loopback", "--uri", uri]).args(options);
    finish(command.envs(variables.iter().copied()))
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
    assert_eq!((&outcome["inputsTotal"], &outcome["outputsTotal"]), (&json!(2), &json!(1)));
    assert_eq!(outcome["outputs"][0]["datatype"], "FP32");
    assert!(outcome["model"]["opset"].is_u64() && outcome["model"]["irVersion"].is_u64(), "{outcome}");
    assert_eq!(outcome["model"]["parametersBytes"], 0);
    assert_eq!(outcome["retrievable"], "WhileUnchanged");
}

#[test]
fn source_with_the_same_fingerprint_is_not_read_again() {
    let bench = Workbench::new();
    let content = std::fs::read(fixture("add.onnx")).unwrap();
    let file = bench.write("add.onnx", &content);
    let web = Web::start(content.clone(), Manner::Plain);
    for uri in [format!("file:{}", file.display()), web.uri("add.onnx")] {
        let first = resolve_from(&uri, &[], &[]).expect_code(0).outcome();
        let downloads = web.downloads.load(Ordering::SeqCst);
        let known = first["fingerprint"].as_str().unwrap();
        let again = resolve_from(&uri, &["--unless-fingerprint", known], &[]).expect_code(0).outcome();
        assert_eq!((&again["ok"], &again["reason"]), (&json!(true), &json!("Unchanged")));
        assert_eq!((&again["fingerprint"], &again["digest"]), (&json!(known), &Value::Null));
        assert_eq!(web.downloads.load(Ordering::SeqCst), downloads);
        let other = format!("sha256:{}", "0".repeat(64));
        let read = resolve_from(&uri, &["--unless-fingerprint", &other], &[]).expect_code(0).outcome();
        assert_eq!((&read["reason"], &read["digest"]), (&json!("Resolved"), &first["digest"]));
    }
    // One that tells nothing has no fingerprint, so it is read each time.
    let web = Web::start(content, Manner::Anonymous);
    let outcome = resolve_from(&web.uri("add.onnx"), &[], &[]).expect_code(0).outcome();
    assert_eq!(outcome["fingerprint"], Value::Null);
    resolve_from(&web.uri("add.onnx"), &["--unless-fingerprint", "sha256:0"], &[]).expect_code(64);
}

#[rstest]
#[case::page(b"<!DOCTYPE html><html><body>Sign in</body></html>".as_slice(), "HTML")]
#[case::pointer(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n".as_slice(), "git lfs pull")]
#[case::text(b"hello, I am no model and no page either".as_slice(), "text")]
#[case::json(b"{\"error\": \"no such model\"}".as_slice(), "JSON")]
#[case::xml(b"<Error><Code>AccessDenied</Code></Error>".as_slice(), "XML")]
#[case::zip(b"PK\x03\x04".as_slice(), "zip archive")]
#[case::empty(b"".as_slice(), "empty")]
fn what_is_no_model_at_all_is_said_so(#[case] content: &'static [u8], #[case] says: &str) {
    let web = Web::start(content.to_vec(), Manner::Plain);
    let outcome = resolve_from(&web.uri("model.onnx"), &[], &[]).expect_code(65).outcome();
    assert_eq!(outcome["reason"], "NotOnnx", "{outcome}");
    let message = outcome["message"].as_str().unwrap();
    assert!(message.contains(says) && message.contains(&web.uri("model.onnx")), "{message}");
}

#[test]
fn fetch_that_is_told_to_end_says_so_and_is_continued() {
    let bench = Workbench::new();
    let content = std::fs::read(fixture("add.onnx")).unwrap();
    let digest = modelwright_artifact::Digest::of(&content).to_string();
    let web = Web::start(content.clone(), Manner::Stalled);
    let log = bench.path("log");
    let mut command = modelwright();
    command.args(["fetch", "--allow-loopback", "--uri", &web.uri("m.onnx"), "--digest", &digest]);
    command.arg("--out").arg(bench.path("out")).arg("--termination-log").arg(&log);
    let running = Serving::start(&mut command, 0);
    while web.downloads.load(Ordering::SeqCst) == 0 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let outcome = running.terminate().expect_code(143).outcome();
    assert_eq!((&outcome["ok"], &outcome["reason"]), (&json!(false), &json!("Terminated")));
    assert_eq!(serde_json::from_slice::<Value>(&std::fs::read(log).unwrap()).unwrap(), outcome);

    let web = Web::start(content, Manner::Plain);
    let mut command = modelwright();
    command.args(["fetch", "--allow-loopback", "--uri", &web.uri("m.onnx"), "--digest", &digest]);
    let outcome = finish(command.arg("--out").arg(bench.path("out"))).expect_code(0).outcome();
    assert_eq!((&outcome["reason"], &outcome["retrievable"]), (&json!("Fetched"), &json!("WhileUnchanged")));
    let probed = resolve_from(&web.uri("m.onnx"), &[], &[]).outcome();
    assert_eq!((&outcome["fingerprint"], &outcome["model"]), (&probed["fingerprint"], &probed["model"]));
}

#[test]
fn arguments_that_do_not_parse_are_an_outcome_too() {
    let bench = Workbench::new();
    let log = bench.path("log");
    let mut command = modelwright();
    command.args(["fetch", "--uri", "s3://b/m", "--new-option"]).arg("--termination-log").arg(&log);
    finish(&mut command).expect_code(64).expect_error(&["--new-option", "Usage"]);
    let logged: Value = serde_json::from_slice(&std::fs::read(log).unwrap()).unwrap();
    assert_eq!((&logged["ok"], &logged["reason"]), (&json!(false), &json!("InvalidArguments")));
    let message = logged["message"].as_str().unwrap();
    assert!(message.contains("--new-option") && !message.contains("Usage"), "{message}");
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
    let outcome = serving.terminate().expect_code(0).outcome();
    assert_eq!((&outcome["ok"], &outcome["reason"]), (&json!(true), &json!("Terminated")));
    assert_eq!(
        (&outcome["digest"], &outcome["runtime"]["executionProvider"]),
        (&json!(digest), &json!("CPU"))
    );
    assert!(outcome["runtime"]["version"].as_str().unwrap().starts_with("1."), "{outcome}");
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
fn a_served_revision_is_loaded_again_and_taken_out_of_service_on_request() {
    let bench = Workbench::new();
    let mut command = serve_fetched(&bench, "add.onnx");
    let arguments =
        ["--repository-control", "--drain-delay", "0", "--max-connection-age", "0s", "--access-log", "1"];
    let mut serving = Serving::start(command.args(arguments), 1);
    let line = serving.line_starting_with("admin ");
    let admin = line.split_whitespace().nth(1).unwrap().to_owned();
    let control = |verb: &str| http("POST", &format!("{admin}/v2/repository/models/m/{verb}"), Some("{}"));
    let ready = || http("GET", &format!("{}/ready", serving.url()), None).0;
    assert_eq!((control("load").0, ready()), (200, 200));
    assert_eq!((control("unload").0, ready()), (200, 503));
    assert_eq!((control("load").0, ready()), (200, 200));
    // Files that were changed are refused, and the model that is loaded goes on answering.
    std::fs::write(bench.path("out/model.onnx"), "changed").unwrap();
    let (status, message) = control("load");
    assert!(status == 400 && message.contains("model.onnx"), "{status} {message}");
    assert_eq!(ready(), 200);
    serving.terminate().expect_code(0);
}

/// As a pod template turns it on, which must leave a pod's arguments alone.
#[test]
fn a_variable_turns_the_log_of_requests_on() {
    let bench = Workbench::new();
    let mut command = serve_fetched(&bench, "add.onnx");
    let serving = Serving::start(command.env("MODELWRIGHT_ACCESS_LOG", "1").args(["--drain-delay", "0"]), 1);
    assert_eq!(http("GET", &format!("{}/ready", serving.url()), None).0, 200);
    serving.terminate().expect_code(0).expect_error(&["route=\"model_ready\"", "status=200"]);

    let mut command = serve_fetched(&Workbench::new(), "add.onnx");
    let refused = finish(command.env("MODELWRIGHT_ACCESS_LOG", "2"));
    refused.expect_code(64).expect_error(&["--access-log", "write off, or a number from 0 to 1"]);
}

/// A fetched revision of one of the repository's small models, and `serve` for it.
pub(crate) fn serve_fetched(bench: &Workbench, name: &str) -> Command {
    let file = bench.copy_fixture(name, name);
    let digest = modelwright_artifact::Digest::of(&std::fs::read(&file).unwrap()).to_string();
    let uri = format!("file:{}", file.display());
    let mut fetch = modelwright();
    fetch.args(["fetch", "--uri", &uri, "--digest", &digest, "--out"]).arg(bench.path("out"));
    finish(&mut fetch).expect_code(0);
    serve_from(bench, &digest)
}

/// `serve` for the folder `out`, with its outcome in `log`.
fn serve_from(bench: &Workbench, digest: &str) -> Command {
    let mut command = modelwright();
    command.arg("serve").arg("--model-dir").arg(bench.path("out")).args(["--name", "m", "--digest", digest]);
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--termination-log"]);
    command.arg(bench.path("log"));
    command
}

/// The reason in the termination log after `serve` ended with this code.
pub(crate) fn ended(bench: &Workbench, command: &mut Command, code: i32) -> Value {
    let outcome = finish(command).expect_code(code).outcome();
    let logged: Value = serde_json::from_slice(&std::fs::read(bench.path("log")).unwrap()).unwrap();
    assert_eq!((&logged, &logged["ok"]), (&outcome, &json!(false)));
    outcome
}

#[test]
fn serve_refuses_another_digest_with_both() {
    let bench = Workbench::new();
    serve_fetched(&bench, "add.onnx");
    let wrong = format!("sha256:{}", "0".repeat(64));
    let outcome = ended(&bench, &mut serve_from(&bench, &wrong), 76);
    assert_eq!(outcome["reason"], "DigestMismatch");
    let message = outcome["message"].as_str().unwrap();
    let manifest = std::fs::read(bench.path("out/manifest.json")).unwrap();
    let right = modelwright_artifact::Digest::of(&manifest).to_string();
    assert!(message.contains(&wrong) && message.contains(&right), "{message}");
}

#[test]
fn serve_refuses_files_that_were_changed() {
    let bench = Workbench::new();
    let mut command = serve_fetched(&bench, "add.onnx");
    let path = bench.path("out/model.onnx");
    let mut content = std::fs::read(&path).unwrap();
    *content.last_mut().unwrap() ^= 1;
    std::fs::write(path, content).unwrap();
    let outcome = ended(&bench, &mut command, 76);
    assert_eq!(outcome["reason"], "DigestMismatch");
    assert!(outcome["message"].as_str().unwrap().contains("model.onnx"), "{outcome}");
}

#[rstest]
#[case("opset.onnx", "UnsupportedOpset")]
#[case("ir.onnx", "UnsupportedOpset")]
#[case("custom.onnx", "CustomOperator")]
fn serve_says_why_a_model_cannot_be_loaded(#[case] name: &str, #[case] reason: &str) {
    let bench = Workbench::new();
    let mut command = serve_fetched(&bench, name);
    assert_eq!(ended(&bench, &mut command, 65)["reason"], reason);
}

#[test]
fn serve_without_the_cuda_that_it_was_asked_for_says_so() {
    let bench = Workbench::new();
    let mut command = serve_fetched(&bench, "add.onnx");
    // The library of the tests is the one for CPUs.
    let outcome = ended(&bench, command.args(["--execution-provider", "CUDA"]), 64);
    assert_eq!(outcome["reason"], "ProviderUnavailable");
    assert!(outcome["message"].as_str().unwrap().contains("CUDA"), "{outcome}");
}

#[test]
fn serve_without_a_fetched_folder_names_the_step_before() {
    let bench = Workbench::new();
    bench.copy_fixture("add.onnx", "out/model.onnx");
    let wrong = format!("sha256:{}", "0".repeat(64));
    let outcome = ended(&bench, &mut serve_from(&bench, &wrong), 66);
    assert_eq!(outcome["reason"], "FileMissing");
    let message = outcome["message"].as_str().unwrap();
    assert!(message.contains("manifest.json") && message.contains("modelwright fetch"), "{message}");
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
