//! What `run` says of manifests, ports and folders that it cannot use.

use std::net::TcpListener;

use rstest::rstest;

use crate::command::{Workbench, finish, http, http_json, manifest, manifest_with, modelwright};

#[rstest]
#[case::not_yaml("spec: [", &["model.yaml"])]
#[case::not_a_mapping("just text", &["model.yaml"])]
#[case::wrong_version(
    "apiVersion: v1\nkind: Model\nmetadata: {name: m}\nspec: {source: {uri: 'https://example.com/m.onnx'}}",
    &["apiVersion", "\"v1\"", "modelwright.dev/v1alpha1"]
)]
#[case::wrong_kind(
    "apiVersion: modelwright.dev/v1alpha1\nkind: InferenceService\nmetadata: {name: m}\nspec: {}",
    &["kind", "InferenceService", "Model"]
)]
#[case::unknown_key(&manifest_with("m", "source: {ury: 'https://example.com/m.onnx'}"), &["ury", "uri"])]
#[case::out_of_range(
    &manifest_with("m", "{source: {uri: 'https://example.com/m.onnx'}, serving: {replicas: -1}}"),
    &["spec.serving.replicas", "-1"]
)]
#[case::long_name(
    &manifest("a-name-that-is-longer-than-forty-characters", "https://example.com/m.onnx"),
    &["metadata.name", "40"]
)]
#[case::unknown_scheme(&manifest("m", "ftp://example.com/m.onnx"), &["spec.source.uri", "s3"])]
#[case::bad_digest(
    &manifest_with("m", "source: {uri: 'https://example.com/m.onnx', digest: 'sha256:12'}"),
    &["spec.source.digest"]
)]
fn unusable_manifest_is_refused_with_the_field_and_what_to_write(#[case] text: &str, #[case] says: &[&str]) {
    Workbench::new().run_once(text).expect_code(64).expect_error(says);
}

#[test]
fn all_problems_of_all_documents_are_reported_at_once() {
    let bench = Workbench::new();
    let text = format!("{}---\n{}", manifest("one", "ftp://a/b"), manifest("two", "gopher://c/d"));
    bench.run_once(&text).expect_code(64).expect_error(&["ftp", "gopher"]);
}

#[test]
fn two_models_of_one_name_are_refused_because_they_would_share_an_endpoint() {
    let bench = Workbench::new();
    let one = manifest_with("m", "source: {uri: 'file:a.onnx'}");
    let other = one.replace("{name: m}", "{name: m, namespace: other}");
    bench.run_once(&format!("{one}---\n{other}")).expect_code(64).expect_error(&["\"m\"", "other"]);
}

#[test]
fn missing_manifest_is_named() {
    let bench = Workbench::new();
    let missing = bench.path("missing.yaml");
    finish(modelwright().arg("run").arg(&missing)).expect_code(66).expect_error(&["missing.yaml"]);
}

#[test]
fn cluster_only_fields_are_named_and_not_silently_dropped() {
    let bench = Workbench::new();
    bench.copy_fixture("add.onnx", "add.onnx");
    let text = manifest_with("add", "{source: {uri: 'file:add.onnx'}, serving: {replicas: 3}}");
    bench.run_once(&text).expect_code(0).expect_error(&["spec.serving.replicas", "not applied"]);
}

#[test]
fn training_fields_of_a_cluster_are_named_and_a_container_is_refused() {
    let bench = Workbench::new();
    let data = "data: {source: {uri: 'file:none.csv'}, target: a, pollInterval: 10m}";
    let fields =
        "cron: '0 3 * * *', timeZone: UTC, deadline: 2h, stallTimeout: 20m, retries: 1, queue: q, keep: 3";
    let text = manifest_with("m", &format!("{{training: {{{data}, {fields}}}}}"));
    let said = bench.run_once(&text);
    said.expect_error(&["note m: not applied on this machine: spec.training.data.pollInterval"]);
    for field in ["cron", "timeZone", "deadline", "stallTimeout", "retries", "queue", "keep"] {
        said.expect_error(&[&format!("spec.training.{field}")]);
    }
    let container = "container: {image: registry.example.com/train}";
    let text = manifest_with(
        "m",
        &format!("{{training: {{data: {{source: {{uri: 'file:none/'}}}}, {container}}}}}"),
    );
    let refused = finish(&mut bench.run_command(&text));
    refused.expect_code(64).expect_error(&["spec.training.container", "only in a cluster"]);
}

#[test]
fn request_larger_than_the_manifest_allows_is_refused() {
    let bench = Workbench::new();
    bench.copy_fixture("add.onnx", "add.onnx");
    let spec = "{source: {uri: 'file:add.onnx'}, serving: {limits: {maxRequestBytes: 1024}}}";
    let serving = bench.serve(&manifest_with("add", spec), 1);
    let (status, body) = http("POST", &format!("{}/infer", serving.url()), Some(&" ".repeat(1025)));
    assert_eq!((status, body.contains("1024")), (413, true), "{body}");
}

#[test]
fn port_in_use_is_named_with_the_way_out() {
    let bench = Workbench::new();
    bench.copy_fixture("add.onnx", "add.onnx");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = modelwright();
    command.arg("run").arg(bench.write("model.yaml", manifest("add", "file:add.onnx")));
    command
        .args(["--listen", &address, "--admin-listen", "127.0.0.1:0", "--data-dir"])
        .arg(bench.path("data"));
    finish(&mut command).expect_code(64).expect_error(&[&address, "--listen"]);
}

#[test]
fn data_folder_that_cannot_be_written_is_named() {
    let bench = Workbench::new();
    bench.copy_fixture("add.onnx", "add.onnx");
    bench.write("data", "a file where the folder should be");
    bench.run_once(&manifest("add", "file:add.onnx")).expect_code(73).expect_error(&["data", "--data-dir"]);
}

#[test]
fn second_run_on_one_data_folder_is_refused_while_the_first_serves_on() {
    let bench = Workbench::new();
    bench.copy_fixture("add.onnx", "add.onnx");
    let text = manifest("add", "file:add.onnx");
    let serving = bench.serve(&text, 1);
    bench.run_once(&text).expect_code(75).expect_error(&["in use", "--data-dir"]);
    http_json("GET", &format!("{}/ready", serving.url()), None);
}

#[test]
fn secret_without_a_file_or_environment_says_both_ways() {
    let bench = Workbench::new();
    let text = manifest_with("m", "source: {uri: 's3://bucket/m.onnx', credentialsSecretRef: {name: s3}}");
    bench.run_once(&text).expect_code(1).expect_error(&["s3", "--secret s3=FILE.env", "AWS_ACCESS_KEY_ID"]);
}

#[test]
fn secret_that_no_model_names_is_a_mistake() {
    let bench = Workbench::new();
    bench.copy_fixture("add.onnx", "add.onnx");
    let secret = bench.write("s3.env", "AWS_REGION=eu-west-1\n");
    let mut command = bench.run_command(&manifest("add", "file:add.onnx"));
    command.arg("--once").arg("--secret").arg(format!("typo={}", secret.display()));
    finish(&mut command).expect_code(64).expect_error(&["typo"]);
}

#[test]
fn secret_file_with_an_unknown_name_or_no_value_is_refused_without_showing_values() {
    let bench = Workbench::new();
    let secret = bench.write("s3.env", "AWS_ACCESS_KEY_ID=id\nAWS_SECRET_KEY=hunter2\n");
    let text = manifest_with("m", "source: {uri: 's3://bucket/m.onnx', credentialsSecretRef: {name: s3}}");
    let mut command = bench.run_command(&text);
    command.arg("--once").arg("--secret").arg(format!("s3={}", secret.display()));
    let finished = finish(&mut command);
    finished.expect_code(64).expect_error(&["AWS_SECRET_KEY", "2"]);
    assert!(!finished.stderr.contains("hunter2"), "{}", finished.stderr);
}
