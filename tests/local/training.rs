//! Models that are trained: from data to an answer, what is remembered between runs, the gate, and interruptions.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use modelwright_artifact::{
    AccessRules, Connection, Credentials, Digest, Inputs, NoProgress, PublishRequest, SourceUri, compose,
    publish,
};
use modelwright_test_servers::Server;
use serde_json::{Value, json};

use crate::command::{Finished, Serving, Workbench, finish, http, http_json, manifest_with};
use crate::sources::store_secret;

/// Rows that a small network learns: the class follows from two numbers and a text, and every tenth age is missing.
pub(crate) fn rows(count: u32, noise: bool) -> String {
    let mut text = "age,height,city,member,bought\n".to_owned();
    let mut state = 12_345_u32;
    let mut random = |bound: u32| {
        // A linear congruential generator (Numerical Recipes): the data is the same in every run.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % bound
    };
    for row in 0..count {
        let (age, height, city) = (18 + random(60), 150 + random(50), random(3));
        let score = age + height / 2 + if city == 0 { 40 } else { 0 };
        let bought = if noise { random(2) == 0 } else { score > 140 };
        let age = if row % 10 == 3 { String::new() } else { age.to_string() };
        let city = ["Bern", "Genf", "Chur"][city as usize];
        let answer = if bought { "yes" } else { "no" };
        writeln!(text, "{age},{height},{city},{},{answer}", random(2) == 0).unwrap();
    }
    text
}

/// A training of `data.csv` with more keys of `spec.training`, one on each line.
pub(crate) fn training(more: &[&str]) -> String {
    training_with(
        "data: {source: {uri: 'file:data.csv'}, target: bought}",
        "builtin: {epochs: 12, layers: [{units: 16}], optimizer: {learningRate: 0.01}, seed: 7}",
        more,
    )
}

pub(crate) fn training_with(data: &str, builtin: &str, more: &[&str]) -> String {
    let lines = [&[data, builtin], more].concat();
    manifest_with("shop", &format!("training:\n    {}", lines.join("\n    ")))
}

pub(crate) fn bench_with(rows: &str) -> Workbench {
    let bench = Workbench::new();
    bench.write("data.csv", rows);
    bench
}

fn version(serving: &Serving) -> String {
    http_json("GET", serving.url(), None)["versions"][0].as_str().unwrap().to_owned()
}

/// Serves the manifest until its model is ready, and returns its revision and what was said.
pub(crate) fn revision(bench: &Workbench, manifest: &str) -> (String, Finished) {
    let serving = bench.serve(manifest, 1);
    let version = version(&serving);
    (version, serving.terminate())
}

fn predict(serving: &Serving, instances: &Value) -> Value {
    let url = serving.url().replace("/v2/", "/v1/") + ":predict";
    http_json("POST", &url, Some(&json!({"instances": instances}).to_string()))["predictions"].clone()
}

#[test]
fn data_becomes_an_endpoint_that_answers_with_a_label_and_probabilities() {
    let bench = bench_with(&rows(400, false));
    let manifest = training(&["gate: {require: [{metric: valAccuracy, min: 0.9}], beat: Baseline}"]);
    let mut serving = bench.serve(&manifest, 1);
    let curl = serving.line_starting_with("curl ");
    let output = Command::new("sh").args(["-c", &curl]).output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let prediction = &answer["predictions"][0];
    assert!(["yes", "no"].contains(&prediction["label"].as_str().unwrap()), "{curl}: {answer}");
    let sum: f64 =
        prediction["probabilities"].as_object().unwrap().values().map(|value| value.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-5, "{answer}");

    // A missing number and an unknown city are answered too, and so is the sure case.
    let answers = predict(
        &serving,
        &json!([
            {"age": 77, "height": 199, "city": "Bern", "member": true},
            {"age": null, "height": 150, "city": "Zug", "member": false},
        ]),
    );
    assert_eq!(answers[0]["label"], "yes", "{answers}");
    assert_eq!(answers.as_array().unwrap().len(), 2);
    let said = serving.terminate();
    said.expect_code(0).expect_error(&[
        "numeric: age, height",
        "text: city",
        "logistic regression",
        "valAccuracy",
    ]);
}

#[test]
fn revision_holds_all_its_files_and_the_report_is_self_contained() {
    let bench = bench_with(&rows(200, false));
    let (id, _) = revision(&bench, &training(&[]));
    let folder = bench.path("data/models/default/shop/revisions").join(id);
    for file in [
        "model.onnx",
        "explain.onnx",
        "metrics.json",
        "samples.json",
        "schema.json",
        "report.html",
        "manifest.json",
    ] {
        assert!(folder.join(file).is_file(), "{file}");
    }
    let report = std::fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(!report.replace("http://www.w3.org/2000/svg", "").contains("://"), "a reference to elsewhere");
    let metrics: Value =
        serde_json::from_slice(&std::fs::read(folder.join("metrics.json")).unwrap()).unwrap();
    assert!(metrics["metrics"]["valAccuracy"].as_f64().unwrap() > 0.8, "{metrics}");
}

#[test]
fn unchanged_data_is_not_trained_again_and_other_data_is() {
    let bench = bench_with(&rows(200, false));
    let (first, said) = revision(&bench, &training(&[]));
    said.expect_error(&["trained shop"]);
    let (second, said) = revision(&bench, &training(&[]));
    assert_eq!(first, second);
    assert!(!said.stderr.contains("training shop"), "{}", said.stderr);

    bench.write("data.csv", rows(201, false));
    let (third, said) = revision(&bench, &training(&[]));
    assert_ne!(first, third);
    said.expect_error(&["trained shop"]);

    // The former data comes back: its revision is known from its inputs, even without the record.
    bench.write("data.csv", rows(200, false));
    std::fs::remove_file(bench.path("data/models/default/shop/training.json")).unwrap();
    let (fourth, said) = revision(&bench, &training(&[]));
    assert_eq!(first, fourth);
    assert!(said.stderr.contains("known shop") && !said.stderr.contains("trained shop"), "{}", said.stderr);
}

#[test]
fn same_inputs_are_taken_from_the_store_on_another_machine() {
    let bench = bench_with(&rows(200, false));
    let manifest = training(&["output: {uri: 'file:store'}"]);
    let (first, said) = revision(&bench, &manifest);
    said.expect_error(&["published shop"]);
    assert!(bench.path("store/default/shop/revisions").join(&first).join("manifest.json").is_file());
    assert!(bench.path("store/default/shop/provenance").read_dir().unwrap().next().is_some());

    // Another machine: nothing of the data folder is there.
    std::fs::rename(bench.path("data"), bench.path("former")).unwrap();
    let (second, said) = revision(&bench, &manifest);
    assert_eq!(first, second);
    said.expect_error(&["known shop"]);
    assert!(!said.stderr.contains("trained shop"), "{}", said.stderr);
}

#[test]
fn rows_of_their_own_are_validated_by_and_tested_on() {
    let bench = bench_with(&rows(300, false));
    bench.write("validation.csv", rows(80, false));
    bench.write("test.csv", rows(60, true));
    let data = "data: {source: {uri: 'file:data.csv'}, target: bought, validation: {source: {uri: 'file:validation.csv'}}, \
                test: {source: {uri: 'file:test.csv'}}}";
    let gate = "gate: {require: [{metric: testAccuracy, min: 0.95}]}";
    let manifest = training_with(data, "builtin: {epochs: 12, layers: [{units: 16}]}", &[gate]);
    // The labels of the test rows are noise, so what is measured on them is refused.
    finish(&mut bench.run_command(&manifest)).expect_code(78).expect_error(&[
        "300 rows to train, 80 to validate, 60 to test",
        "testRocAuc",
        "testAccuracy",
        "at least 0.95",
    ]);
    bench.write("test.csv", "age,height,city,member\n1,2,Bern,true\n");
    finish(&mut bench.run_command(&manifest)).expect_code(65).expect_error(&["test.csv", "bought"]);
}

/// Columns of every type that a table mostly has, in two files.
fn write_parquet(path: &Path, first: i64) {
    use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
    let numbers = || (first..).step_by(3).take(120);
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "size",
            Arc::new(numbers().map(|n| (n % 7 != 0).then_some((n % 50) as f64)).collect::<Float64Array>()),
        ),
        ("count", Arc::new(Int64Array::from_iter_values(numbers().map(|n| n % 11)))),
        ("new", Arc::new(numbers().map(|n| Some(n % 2 == 0)).collect::<BooleanArray>())),
        (
            "kind",
            Arc::new(StringArray::from_iter_values(numbers().map(|n| ["a", "b"][usize::from(n % 50 > 25)]))),
        ),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn folder_of_parquet_files_becomes_an_endpoint() {
    let bench = Workbench::new();
    std::fs::create_dir(bench.path("table")).unwrap();
    write_parquet(&bench.path("table/part-0.parquet"), 1);
    write_parquet(&bench.path("table/part-1.parquet"), 2);
    bench.write("table/_SUCCESS", "");
    let data = "data: {source: {uri: 'file:table/', format: Parquet}, target: kind}";
    let serving = bench.serve(&training_with(data, "builtin: {seed: 1}", &[]), 1);
    let answers = predict(
        &serving,
        &json!([{"size": 1, "count": 3, "new": true}, {"size": 49, "count": 3, "new": false}]),
    );
    assert_eq!((&answers[0]["label"], &answers[1]["label"]), (&json!("a"), &json!("b")), "{answers}");
    serving.terminate().expect_error(&[
        "192 rows to train, 48 to validate",
        "numeric: size, count",
        "boolean: new",
    ]);

    // CSV under the name of Parquet is told before it is read as a whole.
    bench.write("table/part-2.parquet", "size,count,new,kind\n1,2,true,a\n");
    let manifest = training_with(data, "builtin: {seed: 2}", &[]);
    finish(bench.run_command(&manifest).arg("--once"))
        .expect_code(1)
        .expect_error(&["part-2.parquet", "CSV"]);
}

/// Brings a file into a store, as a file of a revision, and returns its uri.
fn upload(server: &Server, content: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("data.csv"), content).unwrap();
    let inputs = Inputs { data: Digest::of(b""), spec: Digest::of(b"") };
    compose(folder.path(), inputs, None, None).unwrap();
    let credentials = server.credentials();
    let request = PublishRequest {
        folder: folder.path().to_owned(),
        digest: None,
        prefix: SourceUri::parse(&server.uri("data"), None).unwrap(),
        connection: Connection {
            credentials: Credentials::from_lookup(|name| credentials.get(name).cloned()),
            rules: AccessRules::LOCAL,
            ..Connection::default()
        },
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let published = runtime.block_on(publish(&request, &NoProgress)).unwrap();
    format!("{}data.csv", published.uri)
}

#[test]
fn data_on_s3_becomes_a_revision_on_s3_that_another_machine_takes_from_there() {
    let Some(server) = modelwright_test_servers::versitygw().unwrap() else { return };
    let bench = Workbench::new();
    let secret = store_secret(&bench, &server);
    let data = format!(
        "data: {{source: {{uri: '{}', credentialsSecretRef: {{name: store}}}}, target: bought}}",
        upload(&server, &rows(200, false))
    );
    let output =
        format!("output: {{uri: '{}', credentialsSecretRef: {{name: store}}}}", server.uri("models"));
    let manifest = training_with(&data, "builtin: {epochs: 3, layers: []}", &[&output]);
    let run = || finish(bench.run_command(&manifest).args(["--once", "--secret", &secret]));
    run().expect_code(0).expect_error(&["trained shop", "published shop", "models/default/shop/revisions/"]);
    // Another machine: nothing of the data folder is there.
    std::fs::remove_dir_all(bench.path("data")).unwrap();
    let other = run();
    other.expect_code(0).expect_error(&["known shop"]);
    assert!(!other.stderr.contains("trained shop"), "{}", other.stderr);
    // Unchanged and published: nothing but a look at the data.
    let again = run();
    assert!(!again.expect_code(0).stderr.contains("reading"), "{}", again.stderr);
    drop(server);
    // Out of reach: what was served is served.
    run().expect_code(0).expect_error(&["former revision"]);
}

#[test]
fn refused_revision_is_kept_and_the_former_one_is_served() {
    let bench = bench_with(&rows(300, false));
    let gated = training(&["gate: {require: [{metric: valAccuracy, min: 0.9}]}"]);
    let (first, _) = revision(&bench, &gated);
    bench.write("data.csv", rows(300, true));
    let (second, said) = revision(&bench, &gated);
    assert_eq!(first, second);
    said.expect_code(0).expect_error(&[
        "the gate refused the revision",
        "valAccuracy",
        "at least 0.9",
        &first,
    ]);
    assert_eq!(bench.path("data/models/default/shop/revisions").read_dir().unwrap().count(), 2);
    // What the gate wants is served, so this is a success.
    bench.run_once(&gated).expect_code(0);
}

#[test]
fn stricter_gate_does_not_take_a_model_out_of_service() {
    let bench = bench_with(&rows(300, true));
    let (first, said) = revision(&bench, &training(&[]));
    said.expect_error(&["report.html"]);
    let (second, said) =
        revision(&bench, &training(&["gate: {require: [{metric: valAccuracy, min: 0.99}]}"]));
    assert_eq!(first, second);
    said.expect_error(&["the gate refused the revision", "0.99", "is served"]);
}

#[test]
fn data_elsewhere_is_read_even_if_it_looks_the_same() {
    let bench = bench_with(&rows(200, false));
    let (first, _) = revision(&bench, &training(&[]));
    let other = rows(200, false).replace("yes", "may");
    assert_eq!(other.len(), rows(200, false).len());
    bench.write("other.csv", other);
    let time = std::fs::metadata(bench.path("data.csv")).unwrap().modified().unwrap();
    std::fs::File::options().write(true).open(bench.path("other.csv")).unwrap().set_modified(time).unwrap();
    let (second, _) = revision(&bench, &training(&[]).replace("data.csv", "other.csv"));
    assert_ne!(first, second);
}

#[test]
fn trained_revisions_outlive_a_source_of_the_same_name() {
    let bench = bench_with(&rows(200, false));
    for seed in 1..=4 {
        let data = "data: {source: {uri: 'file:data.csv'}, target: bought}";
        bench
            .run_once(&training_with(data, &format!("builtin: {{epochs: 1, seed: {seed}}}"), &[]))
            .expect_code(0);
    }
    bench.copy_fixture("add.onnx", "add.onnx");
    bench.run_once(&manifest_with("shop", "source: {uri: 'file:add.onnx'}")).expect_code(0);
    assert_eq!(bench.path("data/models/default/shop/revisions").read_dir().unwrap().count(), 5);
}

#[test]
fn refused_first_revision_ends_with_the_exit_code_of_the_gate() {
    let bench = bench_with(&rows(300, true));
    let gated = training(&["gate: {require: [{metric: valAccuracy, min: 0.99}]}"]);
    finish(&mut bench.run_command(&gated)).expect_code(78).expect_error(&[
        "valAccuracy",
        "0.99",
        "it is kept in",
    ]);
}

#[test]
fn candidate_must_beat_the_active_revision_on_its_own_validation_rows() {
    let bench = bench_with(&rows(300, false));
    let gate = "gate: {beat: Active}";
    let (first, _) = revision(&bench, &training(&[gate]));
    // The same rows with a network that learns nothing.
    let data = "data: {source: {uri: 'file:data.csv'}, target: bought}";
    let lazy = "builtin: {epochs: 1, optimizer: {kind: SGD, learningRate: 0.000000001}, seed: 3}";
    let (second, said) = revision(&bench, &training_with(data, lazy, &[gate]));
    assert_eq!(first, second);
    said.expect_error(&["the active revision", &first, "on the same rows"]);
    // Another target cannot be compared, and that is closed.
    let other = "data: {source: {uri: 'file:data.csv'}, target: city}";
    let (third, said) = revision(&bench, &training_with(other, lazy, &[gate]));
    assert_eq!(first, third);
    said.expect_error(&["cannot be compared", "it predicts bought"]);
}

#[test]
fn manual_approval_waits_for_a_pin_and_a_pin_goes_back() {
    let bench = bench_with(&rows(300, false));
    let manual = training(&["gate: {approval: Manual}"]);
    let waiting = finish(&mut bench.run_command(&manual));
    waiting.expect_code(78).expect_error(&["waits for approval", "spec.rollout"]);
    let id = waiting.stderr.split("{revision: \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let approved = format!("{manual}  rollout: {{revision: '{id}'}}\n");
    let (served, _) = revision(&bench, &approved);
    assert_eq!(served, id);
    // Approved once, it is served without the pin as well; other data waits again while it goes on serving.
    assert_eq!(revision(&bench, &manual).0, id);
    bench.write("data.csv", rows(310, false));
    let (served, said) = revision(&bench, &manual);
    assert_eq!(served, id);
    said.expect_error(&["waits for approval"]);
    let unknown = format!("{manual}  rollout: {{revision: '0123456789abcdef'}}\n");
    finish(&mut bench.run_command(&unknown)).expect_code(66).expect_error(&["spec.rollout.revision", &id]);
}

/// Long enough to be killed several times.
pub(crate) fn long_training() -> String {
    training_with(
        "data: {source: {uri: 'file:data.csv'}, target: bought}",
        "builtin: {epochs: 300, batchSize: 4, layers: [{units: 256, dropout: 0.1}, {units: 64}], earlyStopping: {enabled: \
         false}, seed: 5}",
        &[],
    )
}

#[test]
fn training_that_is_killed_again_and_again_ends_with_the_digest_of_an_undisturbed_one() {
    let data = rows(400, false);
    let undisturbed = revision(&bench_with(&data), &long_training()).0;
    let bench = bench_with(&data);
    let mut killed = 0;
    for round in 0..10_u64 {
        let mut child = bench
            .run_command(&long_training())
            .arg("--once")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(150 + (round * 97) % 230));
        let running = child.try_wait().unwrap().is_none();
        child.kill().unwrap();
        child.wait().unwrap();
        killed += u32::from(running);
    }
    assert!(killed > 0, "it was never interrupted");
    assert_eq!(revision(&bench, &long_training()).0, undisturbed);
}

#[test]
fn training_that_is_told_to_end_leaves_a_checkpoint_and_goes_on_from_it() {
    let data = rows(400, false);
    let undisturbed = revision(&bench_with(&data), &long_training()).0;
    let bench = bench_with(&data);
    let child = bench
        .run_command(&long_training())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let checkpoint = bench.path("data/models/default/shop/training/checkpoint");
    wait_for(&checkpoint);
    let process = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(143), "{stderr}");
    assert!(checkpoint.is_file());
    let (version, said) = revision(&bench, &long_training());
    said.expect_error(&["continued"]);
    assert_eq!(version, undisturbed);
    assert!(!checkpoint.exists());
}

fn wait_for(path: &Path) {
    for _ in 0..6_000 {
        if path.exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{} does not appear", path.display());
}

#[test]
fn output_that_cannot_be_written_keeps_the_trained_revision_for_the_next_run() {
    let bench = bench_with(&rows(200, false));
    bench.write("store", "a file where a folder belongs");
    let manifest = training(&["output: {uri: 'file:store'}"]);
    finish(&mut bench.run_command(&manifest)).expect_code(73).expect_error(&["store"]);
    std::fs::remove_file(bench.path("store")).unwrap();
    let (_, said) = revision(&bench, &manifest);
    said.expect_error(&["published shop"]);
    assert!(!said.stderr.contains("trained shop"), "{}", said.stderr);
}

#[test]
fn full_disk_at_publishing_is_said_and_nothing_is_trained_twice() {
    let bench = bench_with(&rows(200, false));
    let store = bench.path("store");
    std::fs::create_dir(&store).unwrap();
    let manifest = training(&["output: {uri: 'file:store'}"]);
    let run = bench.run_command(&manifest);
    // A mount namespace of its own, whose small disk ends with it.
    let script = "mount -t tmpfs -o size=8k tmpfs \"$1\" || exit 77; shift; exec \"$@\"";
    let mut small = Command::new("unshare");
    small.args(["--map-root-user", "--mount", "sh", "-c", script, "sh"]).arg(&store);
    small.arg(run.get_program()).args(run.get_args());
    let full = finish(&mut small);
    if full.status.code() == Some(77) || full.stderr.contains("unshare") {
        eprintln!("SKIPPED: this system lets us mount no small disk: {}", full.stderr);
        return;
    }
    full.expect_code(73).expect_error(&["store", "no space left"]);
    let (_, said) = revision(&bench, &manifest);
    assert!(!said.stderr.contains("trained shop"), "{}", said.stderr);
}

#[test]
fn bad_new_data_leaves_the_former_revision_serving() {
    let bench = bench_with(&rows(200, false));
    let (first, _) = revision(&bench, &training(&[]));
    bench.write("data.csv", "");
    let (second, said) = revision(&bench, &training(&[]));
    assert_eq!(first, second);
    said.expect_error(&["former revision", "empty"]);
    bench.run_once(&training(&[])).expect_code(1);
    // Away altogether is no statement about the data.
    std::fs::remove_file(bench.path("data.csv")).unwrap();
    bench.run_once(&training(&[])).expect_code(0).expect_error(&["former revision"]);
}

#[test]
fn request_without_a_column_is_refused_with_its_name() {
    let bench = bench_with(&rows(200, false));
    let serving = bench.serve(&training(&[]), 1);
    let url = serving.url().replace("/v2/", "/v1/") + ":predict";
    let body = json!({"instances": [{"age": 1, "height": 2, "city": "Bern"}]}).to_string();
    let (status, answer) = http("POST", &url, Some(&body));
    assert!(status == 400 && answer.contains("member"), "{status} {answer}");
}
