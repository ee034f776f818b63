//! Weights that are moved to a file of their own when a model is fetched, and mapped from it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::command::{Finished, Serving, Workbench, finish, http_json, manifest_with, modelwright};
use crate::steps::ended;

/// Where the copy lies in a revision's folder.
const COPY: &str = ".modelwright-mapped";

fn fetch(bench: &Workbench, options: &[&str]) -> (Finished, String) {
    let file = bench.copy_fixture("table.onnx", "table.onnx");
    let digest = modelwright_artifact::Digest::of(&fs::read(&file).unwrap()).to_string();
    let mut command = modelwright();
    command.args(["fetch", "--uri", &format!("file:{}", file.display()), "--digest", &digest, "--out"]);
    (finish(command.arg(bench.path("out")).args(options)), digest)
}

fn serve(bench: &Workbench, digest: &str, weights: &str) -> Command {
    let mut command = modelwright();
    command.arg("serve").arg("--model-dir").arg(bench.path("out")).args(["--name", "m", "--digest", digest]);
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--drain-delay", "0"]);
    command.args(["--weights", weights, "--termination-log"]).arg(bench.path("log"));
    command
}

/// How the model's sessions hold its weights, after it has answered what it always does.
fn weights_of(serving: &Serving) -> String {
    let request =
        json!({"inputs": [{"name": "index", "shape": [3], "datatype": "INT64", "data": [0, 7, 2047]}]});
    let answer = http_json("POST", &format!("{}/infer", serving.url()), Some(&request.to_string()));
    assert_eq!(answer["outputs"][0]["data"], json!([0.0, 14.0, 4094.0]));
    held(serving)
}

/// How the model's sessions hold its weights, by its configuration.
fn held(serving: &Serving) -> String {
    let config = http_json("GET", &format!("{}/config", serving.url()), None);
    let weights = &config["parameters"]["weights"]["string_value"];
    weights.as_str().unwrap_or_else(|| panic!("{config}")).to_owned()
}

#[test]
fn fetched_weights_are_mapped_under_the_digest_of_the_original() {
    let bench = Workbench::new();
    let (fetched, digest) = fetch(&bench, &["--weights", "Mapped"]);
    let outcome = fetched.expect_code(0).outcome();
    assert!(
        outcome["message"].as_str().unwrap().ends_with("8192 bytes of weights can be mapped"),
        "{outcome}"
    );
    assert!(bench.path("out").join(COPY).is_dir());
    let serving = Serving::start(&mut serve(&bench, &digest, "Mapped"), 1);
    assert_eq!(weights_of(&serving), "mapped");
    serving.terminate().expect_code(0);
    // The original is verified as ever.
    let model = bench.path("out/model.onnx");
    let mut content = fs::read(&model).unwrap();
    *content.last_mut().unwrap() ^= 1;
    fs::write(model, content).unwrap();
    assert_eq!(ended(&bench, &mut serve(&bench, &digest, "Mapped"), 76)["reason"], "DigestMismatch");
}

#[test]
fn small_model_is_not_copied_unasked_and_a_copy_that_is_not_wanted_any_more_goes() {
    let bench = Workbench::new();
    for (options, there) in [(&["--weights", "Mapped"][..], true), (&[], false)] {
        fetch(&bench, options).0.expect_code(0);
        assert_eq!(bench.path("out").join(COPY).exists(), there);
    }
}

#[test]
fn copy_that_was_tampered_with_is_not_served() {
    let bench = Workbench::new();
    let (_, digest) = fetch(&bench, &["--weights", "Mapped"]);
    let data = bench.path("out").join(COPY).join("weights.data");
    let mut content = fs::read(&data).unwrap();
    content[30] ^= 1;
    fs::write(data, content).unwrap();
    let serving = Serving::start(&mut serve(&bench, &digest, "Mapped"), 1);
    assert_eq!(weights_of(&serving), "copied");
    serving.terminate().expect_code(0).expect_error(&["weights.data", "is not used"]);
    // The next fetch mends it.
    fetch(&bench, &["--weights", "Mapped"]).0.expect_code(0);
    assert_eq!(weights_of(&Serving::start(&mut serve(&bench, &digest, "Mapped"), 1)), "mapped");
}

#[test]
fn conversion_that_fails_is_said_and_the_original_is_served() {
    let bench = Workbench::new();
    // A model that is served all the same: its weights are too small.
    let file = bench.copy_fixture("dense.onnx", "dense.onnx");
    let digest = modelwright_artifact::Digest::of(&fs::read(&file).unwrap()).to_string();
    let mut command = modelwright();
    command.args(["fetch", "--uri", &format!("file:{}", file.display()), "--digest", &digest, "--out"]);
    let fetched = finish(command.arg(bench.path("out")).args(["--weights", "Mapped"]));
    let message = fetched.expect_code(0).outcome()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("weights will not be mapped: none of its weights"), "{message}");
    let serving = Serving::start(&mut serve(&bench, &digest, "Mapped"), 1);
    assert_eq!(held(&serving), "copied");
    serving.terminate().expect_code(0).expect_error(&["the model holds its weights itself"]);
}

#[test]
fn run_moves_weights_in_its_own_folder_and_uses_them_again() {
    let bench = Workbench::new();
    bench.copy_fixture("table.onnx", "table.onnx");
    let spec = "source: {uri: 'file:table.onnx'}\n  serving: {session: {weights: Mapped}}";
    let manifest = manifest_with("table", spec);
    let copies = || copies(&bench.path("data/models"));
    let mut first = None;
    for _ in 0..2 {
        let serving = bench.serve(&manifest, 1);
        assert_eq!(weights_of(&serving), "mapped");
        serving.terminate().expect_code(0);
        let [copy] = copies().try_into().unwrap();
        let made = fs::metadata(copy).unwrap().modified().unwrap();
        assert_eq!(*first.get_or_insert(made), made);
    }
}

/// The copies below a folder.
fn copies(folder: &Path) -> Vec<PathBuf> {
    let inside =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    inside.flat_map(|path| if path.ends_with(COPY) { vec![path] } else { copies(&path) }).collect()
}
