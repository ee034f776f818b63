//! `modelwright train` and `modelwright data` as pods run them: one order, one store, a new work folder for each attempt.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use modelwright_test_servers::Server;
use rstest::rstest;
use serde_json::{Value, json};

use crate::command::{Finished, Workbench, finish, http_json, modelwright};
use crate::training::{bench_with, long_training, revision, rows, training};

/// A training in a cluster, on this machine.
struct Pods {
    bench: Workbench,
    order: Value,
    server: Option<Server>,
}

impl Pods {
    fn new(data: &str, builtin: &Value) -> Self {
        let bench = bench_with(data);
        let file = |name: &str| format!("file:{}", bench.path(name).display());
        let order = json!({
            "model": "shop", "namespace": "default", "uid": "u-1", "run": "run-1", "attempt": 0,
            "training": {
                "data": {"source": {"uri": file("data.csv")}, "target": "bought"},
                "builtin": builtin,
                "output": {"uri": file("store")},
            },
        });
        Self { bench, order, server: None }
    }

    /// What [`training`] says.
    fn short(data: &str) -> Self {
        Self::new(
            data,
            &json!({"epochs": 12, "layers": [{"units": 16}], "optimizer": {"learningRate": 0.01}, "seed": 7}),
        )
    }

    /// What [`long_training`] says.
    fn long(data: &str) -> Self {
        let layers = json!([{"units": 256, "dropout": 0.1}, {"units": 64}]);
        let stopping = json!({"enabled": false});
        Self::new(
            data,
            &json!({"epochs": 300, "batchSize": 4, "layers": layers, "earlyStopping": stopping, "seed": 5}),
        )
    }

    fn store(&self, name: &str) -> PathBuf {
        self.bench.path("store/default/shop").join(name)
    }

    fn step(&self, step: &str) -> Command {
        let order = self.bench.write("order.json", self.order.to_string());
        let mut command = modelwright();
        command.arg(step).arg("--config").arg(order).arg("--allow-loopback");
        if let Some(server) = &self.server {
            command.envs(server.credentials().iter().map(|(name, value)| (format!("OUTPUT_{name}"), value)));
        }
        command
    }

    /// The next attempt in a new pod.
    fn command(&mut self) -> Command {
        let attempt = self.order["attempt"].as_u64().unwrap() + 1;
        self.order["attempt"] = json!(attempt);
        let mut command = self.step("train");
        command.args(["--progress-listen", "127.0.0.1:0", "--work-dir"]);
        command.arg(self.bench.path(&format!("work-{attempt}")));
        command
    }

    fn train(&mut self) -> Finished {
        finish(&mut self.command())
    }
}

/// A `train` under way, and where it tells its progress.
struct Running {
    child: std::process::Child,
    stderr: BufReader<std::process::ChildStderr>,
    said: String,
    url: String,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("address=") {
            assert!(stderr.read_line(&mut said).unwrap() > 0, "it ended: {said}");
        }
        let address = said.split("address=").nth(1).unwrap().split_whitespace().next().unwrap();
        let url = format!("http://{address}");
        Self { child, stderr, said, url }
    }

    /// Waits until so many epochs are done; what the port says then.
    fn reach_epoch(&mut self, epoch: u64) -> Value {
        loop {
            assert!(self.child.try_wait().unwrap().is_none(), "it ended: {}", self.said);
            let progress = http_json("GET", &format!("{}/progress", self.url), None);
            if progress["epoch"].as_u64().is_some_and(|done| done >= epoch) {
                return progress;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Waits until it is in this phase.
    fn reach_phase(&mut self, phase: &str) {
        while http_json("GET", &format!("{}/progress", self.url), None)["phase"] != phase {
            assert!(self.child.try_wait().unwrap().is_none(), "it ended: {}", self.said);
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Waits until it ends by itself.
    fn end(mut self) -> Finished {
        self.stderr.read_to_string(&mut self.said).unwrap();
        let output = self.child.wait_with_output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        Finished { status: output.status, stdout, stderr: self.said }
    }

    fn terminate(self) -> Finished {
        let process = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        self.end()
    }
}

#[test]
fn pod_trains_once_and_gives_the_revision_that_run_gives() {
    let data = rows(400, false);
    let (id, _) = revision(&bench_with(&data), &training(&[]));
    let mut pods = Pods::short(&data);
    pods.order["training"]["gate"] =
        json!({"require": [{"metric": "valAccuracy", "min": 0.9}], "beat": "Baseline"});
    let look = finish(&mut pods.step("data")).expect_code(0).outcome();
    let first = pods.train().expect_code(0).outcome();
    assert_eq!((&first["ok"], &first["reason"]), (&json!(true), &json!("Trained")));
    assert_eq!(first["fingerprint"], look["fingerprint"]);
    assert!(first["digest"].as_str().unwrap()["sha256:".len()..].starts_with(&id), "{first}");
    assert!(first["metrics"]["valAccuracy"].as_f64() >= Some(0.9), "{first}");
    assert!(first["baseline"]["valAccuracy"].is_f64(), "{first}");
    for file in ["manifest.json", "model.onnx", "metrics.json", "report.html"] {
        assert!(pods.store(&format!("revisions/{id}/{file}")).is_file(), "{file}");
    }
    let provenance = std::fs::read_to_string(pods.store("provenance/run-1-1.json")).unwrap();
    for part in ["\"modelUid\":\"u-1\"", "\"run\":\"run-1\"", "simdClass", "data.csv"] {
        assert!(provenance.contains(part), "{part}");
    }
    assert!(!pods.store("runs/run-1/checkpoints").exists(), "checkpoints are gone");

    // As if the pod had been lost before it deleted them.
    let left = pods.store("runs/run-1/checkpoints");
    std::fs::create_dir_all(&left).unwrap();
    std::fs::write(left.join("0000000001.json"), "{}").unwrap();
    let again = pods.train();
    let outcome = again.expect_code(0).outcome();
    assert_eq!((&outcome["ok"], &outcome["reason"]), (&json!(true), &json!("Reused")));
    assert!(!left.join("0000000001.json").exists(), "checkpoints are gone");
    assert!(pods.store(&format!("provenance/reused-u-1-{id}.json")).is_file());
    for key in ["digest", "inputsDigest", "fingerprint", "metrics", "baseline"] {
        assert!(!outcome[key].is_null() && outcome[key] == first[key], "{key}: {outcome}");
    }
    assert!(!again.stderr.contains("trained in"), "{}", again.stderr);
}

/// Tells a long training to end, and looks what comes of it.
fn goes_on_in_another_pod(pods: &mut Pods, undisturbed: &str) {
    for round in 1..=2 {
        let mut running = Running::start(&mut pods.command());
        let progress = running.reach_epoch(3 * round);
        assert_eq!(progress["phase"], "Training", "{progress}");
        let ended = running.terminate();
        let outcome = ended.expect_code(143).outcome();
        assert_eq!((&outcome["ok"], &outcome["reason"]), (&json!(false), &json!("Preempted")));
        assert!(outcome["message"].as_str().unwrap().contains("goes on from there"), "{outcome}");
    }
    let ended = pods.train();
    let outcome = ended.expect_code(0).outcome();
    ended.expect_error(&["goes on from checkpoint", "continued after epoch"]);
    assert_eq!(outcome["reason"], "Trained");
    assert!(outcome["digest"].as_str().unwrap().contains(undisturbed), "{undisturbed}: {outcome}");
}

#[test]
fn pod_that_is_told_to_end_goes_on_elsewhere_and_ends_with_the_digest_of_an_undisturbed_run() {
    let data = rows(400, false);
    let undisturbed = revision(&bench_with(&data), &long_training()).0;
    let mut pods = Pods::long(&data);
    goes_on_in_another_pod(&mut pods, &undisturbed);
    assert!(!pods.store("runs/run-1/checkpoints").exists(), "checkpoints are gone");

    let Some(server) = modelwright_test_servers::versitygw().unwrap() else { return };
    let mut pods = Pods::long(&data);
    pods.order["training"]["output"] =
        json!({"uri": server.uri("models"), "credentialsSecretRef": {"name": "store"}});
    pods.server = Some(server);
    goes_on_in_another_pod(&mut pods, &undisturbed);
}

#[test]
fn training_that_is_done_does_not_wait_for_a_store_that_takes_no_checkpoint() {
    let Some(server) = modelwright_test_servers::versitygw().unwrap() else { return };
    let mut pods = Pods::long(&rows(400, false));
    pods.order["training"]["output"] =
        json!({"uri": server.uri("models"), "credentialsSecretRef": {"name": "store"}});
    pods.server = Some(server);
    let mut command = pods.command();
    // Long enough that nothing ends because it was tried for too long.
    command.env("MODELWRIGHT_CHECKPOINT_INTERVAL", "100ms").env("MODELWRIGHT_STORE_RETRY", "1h");
    let mut running = Running::start(&mut command);
    running.reach_epoch(2);
    pods.server.as_mut().unwrap().pause().unwrap();
    running.reach_phase("Publishing");
    pods.server.as_mut().unwrap().resume().unwrap();
    let outcome = running.end().expect_code(0).outcome();
    assert_eq!(outcome["reason"], "Trained");
}

#[test]
fn progress_is_told_as_json_and_as_metrics() {
    let mut pods = Pods::long(&rows(400, false));
    let mut running = Running::start(&mut pods.command());
    let progress = running.reach_epoch(2);
    assert!(
        progress["metrics"]["valLoss"].is_f64() && progress["metrics"]["valAccuracy"].is_f64(),
        "{progress}"
    );
    assert!(progress["updatedAt"].is_string() && progress["progressPercent"].is_u64(), "{progress}");
    let (status, metrics) = crate::command::http("GET", &format!("{}/metrics", running.url), None);
    assert!(status == 200 && metrics.contains("\nmodel_training_epoch "), "{metrics}");
    assert_eq!(crate::command::http("GET", &format!("{}/livez", running.url), None).0, 200);
    running.terminate().expect_code(143);
}

#[test]
fn refused_revision_is_kept_and_told_with_its_numbers() {
    let mut pods = Pods::short(&rows(300, true));
    pods.order["training"]["gate"] = json!({"require": [{"metric": "valAccuracy", "min": 0.99}]});
    for _ in 0..2 {
        let outcome = pods.train().expect_code(78).outcome();
        assert_eq!((&outcome["ok"], &outcome["reason"]), (&json!(false), &json!("RequirementNotMet")));
        for key in ["digest", "inputsDigest", "fingerprint", "metrics", "baseline"] {
            assert!(!outcome[key].is_null(), "{key}: {outcome}");
        }
        let message = outcome["message"].as_str().unwrap();
        assert!(message.contains("valAccuracy") && message.contains("0.99"), "{message}");
    }
    // Whether a person approves is not decided here.
    pods.order["training"]["gate"] = json!({"approval": "Manual"});
    assert_eq!(pods.train().expect_code(0).outcome()["reason"], "Reused");
}

#[test]
fn poisoned_data_loses_against_the_active_revision_and_what_is_lost_cannot_be_compared() {
    let mut pods = Pods::short(&rows(400, false));
    let active = pods.train().expect_code(0).outcome()["digest"].as_str().unwrap().to_owned();
    let id = active["sha256:".len()..][..16].to_owned();
    let uri = format!("file:{}/", pods.store(&format!("revisions/{id}")).display());
    pods.order["training"]["gate"] = json!({"beat": "Active"});
    pods.order["active"] = json!({"digest": active, "uri": uri});
    pods.order["run"] = json!("run-2");
    // It need not beat itself.
    assert_eq!(pods.train().expect_code(0).outcome()["reason"], "Reused");

    // The answers are exchanged in the training rows alone; the validation rows are of their own.
    let poisoned = rows(400, false).replace(",yes", ",maybe").replace(",no", ",yes").replace(",maybe", ",no");
    pods.bench.write("data.csv", poisoned);
    pods.bench.write("validation.csv", rows(200, false));
    let validation = format!("file:{}", pods.bench.path("validation.csv").display());
    pods.order["training"]["data"]["validation"] = json!({"source": {"uri": validation}});
    for _ in 0..2 {
        let outcome = pods.train().expect_code(78).outcome();
        assert_eq!(outcome["reason"], "WorseThanActive", "{outcome}");
        assert_ne!(outcome["digest"].as_str().unwrap(), active);
        assert!(outcome["message"].as_str().unwrap().contains(&id), "{outcome}");
    }
    std::fs::remove_dir_all(pods.store(&format!("revisions/{id}"))).unwrap();
    let outcome = pods.train().expect_code(78).outcome();
    assert_eq!(outcome["reason"], "NotComparable", "{outcome}");
}

#[rstest]
#[case::no_order("/model", json!(null), 64, "InvalidOrder")]
#[case::no_target("/training/data/target", json!(null), 64, "InvalidOrder")]
#[case::no_output("/training/output", json!(null), 64, "InvalidOrder")]
#[case::unknown_metric("/training/gate", json!({"require": [{"metric": "valNonsense", "min": 1}]}), 64, "UnknownMetric")]
#[case::container("/training/container", json!({"image": "i"}), 64, "InvalidOrder")]
#[case::missing_data("/training/data/source/uri", json!("file:/nowhere/data.csv"), 66, "SourceNotFound")]
#[case::missing_secret("/training/output", json!({"uri": "s3://b/m", "credentialsSecretRef": {"name": "s"}}), 66, "SecretMissing")]
#[case::unwritable("/training/output/uri", json!("file:/proc/nowhere"), 73, "CannotWrite")]
fn what_cannot_be_used_is_named_with_its_exit_code(
    #[case] field: &str,
    #[case] value: Value,
    #[case] code: i32,
    #[case] reason: &str,
) {
    let mut pods = Pods::short(&rows(60, false));
    let (parent, key) = field.rsplit_once('/').unwrap();
    let parent = pods.order.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if value.is_null() {
        parent.remove(key);
    } else {
        parent.insert(key.to_owned(), value);
    }
    let outcome = pods.train().expect_code(code).outcome();
    assert_eq!((&outcome["ok"], &outcome["reason"]), (&json!(false), &json!(reason)), "{outcome}");
}

#[test]
fn bad_data_and_an_unwritable_work_folder_are_told_apart() {
    let mut pods = Pods::short("");
    assert_eq!(pods.train().expect_code(65).outcome()["ok"], false);
    let mut pods = Pods::short(&rows(60, false));
    pods.bench.write("work-1", "a file where a folder belongs");
    assert_eq!(pods.train().expect_code(73).outcome()["reason"], "CannotWrite");
    let mut command = pods.command();
    let outcome = finish(command.args(["--credentials-secret", "s"])).expect_code(64).outcome();
    assert_eq!(outcome["reason"], "InvalidArguments");
}

#[rstest]
#[case::builtin(false)]
#[case::container(true)]
fn look_at_the_data_says_whether_it_changed(#[case] container: bool) {
    let mut pods = Pods::short(&rows(60, false));
    if container {
        let training = pods.order["training"].as_object_mut().unwrap();
        training.remove("builtin");
        training.insert("container".to_owned(), json!({"image": "registry.example.com/train:1"}));
    }
    let first = finish(&mut pods.step("data")).expect_code(0).outcome();
    assert_eq!((&first["ok"], &first["reason"]), (&json!(true), &json!("Changed")));
    let known = first["fingerprint"].as_str().unwrap();
    let look = || finish(pods.step("data").args(["--unless-fingerprint", known])).expect_code(0).outcome();
    assert_eq!((look()["reason"].clone(), look()["fingerprint"].clone()), (json!("Unchanged"), json!(known)));
    pods.bench.write("data.csv", rows(61, false));
    let changed = look();
    assert_eq!(changed["reason"], "Changed");
    assert_ne!(changed["fingerprint"].as_str().unwrap(), known);
    std::fs::remove_file(pods.bench.path("data.csv")).unwrap();
    assert_eq!(finish(&mut pods.step("data")).expect_code(66).outcome()["reason"], "SourceNotFound");
}
