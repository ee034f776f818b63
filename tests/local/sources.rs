//! Sources that are no ONNX model, or none that can be served, and models from object storage.

use modelwright_test_servers::Server;
use rstest::rstest;

use crate::command::{Workbench, finish, manifest, manifest_with, modelwright};

#[rstest]
#[case("model.pkl", b"\x80\x04\x95".as_slice(), "skl2onnx")]
#[case("model.pt", b"PK\x03\x04".as_slice(), "torch.onnx")]
#[case("model.h5", b"\x89HDF\r\n\x1a\n".as_slice(), "model.export")]
#[case("model.safetensors", b"\x08\0\0\0\0\0\0\0{}      ".as_slice(), "safetensors")]
#[case("saved_model.pb", b"\x08\x01\x12\x04".as_slice(), "tf2onnx")]
fn other_formats_are_refused_with_their_converter(
    #[case] name: &str,
    #[case] content: &[u8],
    #[case] converter: &str,
) {
    let bench = Workbench::new();
    bench.write(name, content);
    bench.run_once(&manifest("m", &format!("file:{name}"))).expect_code(1).expect_error(&[name, converter]);
}

#[rstest]
#[case::text("hello, I am no model".into(), &["ONNX"])]
#[case::git_lfs("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n".into(), &["LFS"])]
#[case::empty(Vec::new(), &["empty"])]
#[case::gigabyte_in_a_kilobyte(
    [b"\x08\x0a\x12\x80\x80\x80\x80\x04".as_slice(), &[b'x'; 1000]].concat(),
    &["1073741832"]
)]
fn files_that_are_no_model_are_refused(#[case] content: Vec<u8>, #[case] says: &[&str]) {
    let bench = Workbench::new();
    bench.write("model.onnx", content);
    bench
        .run_once(&manifest("m", "file:model.onnx"))
        .expect_code(1)
        .expect_error(&["model.onnx"])
        .expect_error(says);
}

#[rstest]
#[case("opset.onnx", &["opset"])]
#[case("ir.onnx", &["IR"])]
#[case("custom.onnx", &["operator"])]
fn models_that_onnx_runtime_cannot_run_are_refused_before_they_are_loaded(
    #[case] name: &str,
    #[case] says: &[&str],
) {
    let bench = Workbench::new();
    bench.copy_fixture(name, "model.onnx");
    bench.run_once(&manifest("m", "file:model.onnx")).expect_code(1).expect_error(says);
}

#[test]
fn external_data_beside_the_model_is_part_of_the_revision_and_missing_it_is_named() {
    let bench = Workbench::new();
    bench.copy_fixture("external.onnx", "model/external.onnx");
    let text = manifest("m", "file:model/");
    bench.run_once(&text).expect_code(1).expect_error(&["external.onnx.data"]);
    bench.copy_fixture("external.onnx.data", "model/external.onnx.data");
    bench.run_once(&text).expect_code(0);
}

#[test]
fn folder_with_two_models_is_ambiguous() {
    let bench = Workbench::new();
    bench.copy_fixture("add.onnx", "model/a.onnx");
    bench.copy_fixture("add.onnx", "model/b.onnx");
    bench.run_once(&manifest("m", "file:model/")).expect_code(1).expect_error(&["a.onnx", "b.onnx"]);
}

#[test]
fn pipe_in_place_of_a_file_is_refused_and_does_not_hang() {
    let bench = Workbench::new();
    let pipe = bench.path("model.onnx");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .unwrap();
    bench.run_once(&manifest("m", "file:model.onnx")).expect_code(1).expect_error(&["model.onnx"]);
}

/// The value of `--secret` for a server's credentials under the name `store`.
pub(crate) fn store_secret(bench: &Workbench, server: &Server) -> String {
    let lines: Vec<String> =
        server.credentials().iter().map(|(name, value)| format!("{name}='{value}'")).collect();
    format!("store={}", bench.write("store.env", lines.join("\n")).display())
}

/// Publishes a model into a store and serves it from there, with credentials from the environment and from a file.
fn publishes_to_and_serves_from(server: anyhow::Result<Option<Server>>) {
    let Some(server) = server.unwrap() else { return };
    let bench = Workbench::new();
    let model = format!("file:{}", bench.copy_fixture("add.onnx", "add.onnx").display());
    let mut resolve = modelwright();
    resolve.args(["resolve", "--allow-loopback", "--uri", &model, "--copy-to", &server.uri("models/add")]);
    resolve.envs(server.credentials().iter().map(|(name, value)| (format!("COPY_TO_{name}"), value)));
    let outcome = finish(&mut resolve).expect_code(0).outcome();
    let digest = outcome["digest"].as_str().unwrap();
    let uri = outcome["message"].as_str().unwrap().rsplit(' ').next().unwrap().to_owned();
    assert!(uri.starts_with(&server.uri("models/add/")), "{outcome}");

    let secret = store_secret(&bench, &server);
    let spec = format!("source: {{uri: '{uri}', digest: '{digest}', credentialsSecretRef: {{name: store}}}}");
    let run = || finish(bench.run_command(&manifest_with("m", &spec)).args(["--once", "--secret", &secret]));
    run().expect_code(0);
    drop(server);
    run().expect_code(0);
}

#[test]
fn revision_on_s3_is_served_and_then_needs_the_store_no_more() {
    publishes_to_and_serves_from(modelwright_test_servers::versitygw());
}

#[test]
fn revision_on_s3_without_conditional_writes_is_served() {
    publishes_to_and_serves_from(modelwright_test_servers::s3rver());
}

#[test]
fn revision_on_google_cloud_storage_is_served() {
    publishes_to_and_serves_from(modelwright_test_servers::fake_gcs());
}

#[test]
fn copy_is_published_once_and_a_store_out_of_reach_does_not_keep_a_model_from_serving() {
    let Some(server) = modelwright_test_servers::versitygw().unwrap() else { return };
    let bench = Workbench::new();
    bench.copy_fixture("add.onnx", "add.onnx");
    let secret = store_secret(&bench, &server);
    let store = server.uri("");
    let spec = |prefix: &str| {
        format!(
            "source: {{uri: 'file:add.onnx', copyTo: {{uri: '{}', credentialsSecretRef: {{name: store}}}}}}",
            format_args!("{store}{prefix}")
        )
    };
    let (copied, elsewhere) = (manifest_with("m", &spec("copies")), manifest_with("m", &spec("elsewhere")));
    let run = |text: &str| finish(bench.run_command(text).args(["--once", "--secret", &secret]));
    run(&copied).expect_code(0);
    drop(server);
    // What was published needs the store no more; what was not is said, and the model is served all the same.
    let again = run(&copied);
    assert!(!again.expect_code(0).stderr.contains("warning"), "{}", again.stderr);
    run(&elsewhere).expect_code(1).expect_error(&["warning m", "tried again"]);
}
