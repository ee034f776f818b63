//! The steps of a training by a container of the user's, one after the other as its pod runs them: `fetch --config`, then
//! whatever trains, `check`, `publish`; and `agent` beside it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::command::{Finished, Serving, Workbench, finish, fixture, http, http_json, modelwright};

/// The pod of one training: its folders, its order and a store, all on this machine.
struct Pod {
    bench: Workbench,
    order: Value,
}

impl Pod {
    fn new() -> Self {
        let bench = Workbench::new();
        bench.write("data/rows.csv", "a,b\n1,2\n");
        bench.write("data/more/rows.csv", "a,b\n3,4\n");
        for folder in ["out", "checkpoints", "progress"] {
            fs::create_dir_all(bench.path("ml").join(folder)).unwrap();
        }
        let file = |name: &str| format!("file:{}", bench.path(name).display());
        let order = json!({
            "model": "sums", "namespace": "demo", "uid": "u-1", "run": "run-1", "attempt": 0,
            "training": {
                "data": {"source": {"uri": file("data/")}},
                "container": {"image": "registry.example.com/train:1", "parameters": {"epochs": 2}},
                "output": {"uri": file("store")},
                "gate": {"require": [{"metric": "valAccuracy", "min": 0.9}]},
            },
        });
        Self { bench, order }
    }

    fn ml(&self, name: &str) -> PathBuf {
        self.bench.path("ml").join(name)
    }

    /// The Model's part of the store.
    fn store(&self, name: &str) -> PathBuf {
        self.bench.path("store/demo/sums").join(name)
    }

    fn command(&self, step: &str) -> Command {
        let order = self.bench.write("order.json", self.order.to_string());
        let mut command = modelwright();
        command.arg(step).arg("--config").arg(order).arg("--ml-dir").arg(self.bench.path("ml"));
        command
    }

    fn run(&self, step: &str) -> Finished {
        finish(&mut self.command(step))
    }

    /// What a container of the user's leaves: a model that adds, some sums and an accuracy.
    fn train(&self, accuracy: f64) {
        fs::copy(fixture("add.onnx"), self.ml("out/model.onnx")).unwrap();
        let tensor = |name: &str, factor: i32| {
            let data: Vec<i32> = (0..10).map(|i| i * factor).collect();
            json!({"name": name, "datatype": "FP32", "shape": [5, 2], "data": data})
        };
        let samples = json!({"inputs": [tensor("a", 1), tensor("b", 2)], "outputs": [tensor("sum", 3)]});
        fs::write(self.ml("out/samples.json"), samples.to_string()).unwrap();
        let metrics = json!({"metrics": {"valAccuracy": accuracy}, "baseline": {"valAccuracy": 0.5}});
        fs::write(self.ml("out/metrics.json"), metrics.to_string()).unwrap();
    }

    /// A new pod, with the same store and nothing in its folders.
    fn next_attempt(&mut self) {
        fs::remove_dir_all(self.bench.path("ml")).unwrap();
        for folder in ["out", "checkpoints", "progress"] {
            fs::create_dir_all(self.ml(folder)).unwrap();
        }
        self.order["attempt"] = json!(self.order["attempt"].as_u64().unwrap() + 1);
    }
}

#[test]
fn container_of_the_user_trains_once_and_what_it_made_is_found_again() {
    let mut pod = Pod::new();
    let fetched = pod.run("fetch").expect_code(0).outcome();
    assert_eq!((&fetched["ok"], &fetched["reason"]), (&json!(true), &json!("Fetched")));
    let inputs = fetched["inputsDigest"].as_str().unwrap();
    assert!(inputs.starts_with("sha256:") && fetched["fingerprint"].is_string(), "{fetched}");
    // Data lies under its own names.
    assert_eq!(fs::read_to_string(pod.ml("data/train/rows.csv")).unwrap(), "a,b\n1,2\n");
    assert_eq!(fs::read_to_string(pod.ml("data/train/more/rows.csv")).unwrap(), "a,b\n3,4\n");

    pod.train(0.97);
    let checked = pod.run("check").expect_code(0).outcome();
    assert_eq!(checked["reason"], "Checked");
    assert!(checked["message"].as_str().unwrap().contains("5 samples replayed"), "{checked}");
    let published = pod.run("publish").expect_code(0).outcome();
    assert_eq!((&published["ok"], &published["reason"]), (&json!(true), &json!("Trained")));
    for key in ["digest", "inputsDigest", "fingerprint", "metrics", "baseline"] {
        assert!(!published[key].is_null(), "{key}: {published}");
    }
    assert_eq!((&published["digest"], &published["inputsDigest"]), (&checked["digest"], &json!(inputs)));
    let id = &published["digest"].as_str().unwrap()["sha256:".len()..][..16];
    for file in ["manifest.json", "model.onnx", "metrics.json", "samples.json"] {
        assert!(pod.store(&format!("revisions/{id}/{file}")).is_file(), "{file}");
    }
    let provenance = fs::read_to_string(pod.store("provenance/run-1-0.json")).unwrap();
    for part in ["\"modelUid\":\"u-1\"", "\"run\":\"run-1\"", "registry.example.com/train:1", "rows.csv"] {
        assert!(provenance.contains(part), "{part}");
    }

    // Another pod, and perhaps another operator: nothing is trained again.
    pod.next_attempt();
    let again = pod.run("fetch").expect_code(80).outcome();
    assert_eq!((&again["ok"], &again["reason"]), (&json!(true), &json!("Reused")));
    for key in ["digest", "inputsDigest", "fingerprint", "metrics", "baseline"] {
        assert_eq!(again[key], published[key], "{key}");
    }
    let claim = fs::read_to_string(pod.store(&format!("provenance/reused-u-1-{id}.json"))).unwrap();
    assert!(claim.contains("\"modelUid\":\"u-1\"") && claim.contains("\"run\":\"run-1\""), "{claim}");
    // A gate that is stricter now refuses it, and says which revision.
    pod.order["training"]["gate"]["require"][0]["min"] = json!(0.99);
    let refused = pod.run("fetch").expect_code(78).outcome();
    assert_eq!((&refused["ok"], &refused["reason"]), (&json!(false), &json!("RequirementNotMet")));
    assert_eq!(refused["digest"], published["digest"]);

    // Another image, other parameters or the annotation are other inputs.
    for (place, value) in [
        ("/training/container/image", json!("registry.example.com/train:2")),
        ("/training/container/parameters/epochs", json!(3)),
    ] {
        let before = pod.order.pointer_mut(place).unwrap().take();
        *pod.order.pointer_mut(place).unwrap() = value;
        assert_ne!(pod.run("fetch").expect_code(0).outcome()["inputsDigest"], json!(inputs));
        *pod.order.pointer_mut(place).unwrap() = before;
    }
    pod.order["retrainAt"] = json!("2026-01-01");
    assert_ne!(pod.run("fetch").expect_code(0).outcome()["inputsDigest"], json!(inputs));
}

#[test]
fn revision_that_the_gate_refuses_is_published_and_not_let_in() {
    let pod = Pod::new();
    pod.run("fetch").expect_code(0);
    pod.train(0.5);
    let checked = pod.run("check").expect_code(0).outcome();
    assert!(checked["message"].as_str().unwrap().contains("the gate refuses it"), "{checked}");
    let refused = pod.run("publish").expect_code(78).outcome();
    assert_eq!((&refused["ok"], &refused["reason"]), (&json!(false), &json!("RequirementNotMet")));
    assert!(refused["message"].as_str().unwrap().contains("valAccuracy is 0.5000"), "{refused}");
    let id = &refused["digest"].as_str().unwrap()["sha256:".len()..][..16];
    assert!(pod.store(&format!("revisions/{id}/manifest.json")).is_file());
}

#[test]
fn file_that_is_exchanged_after_the_check_is_not_published() {
    let pod = Pod::new();
    pod.run("fetch").expect_code(0);
    pod.train(0.97);
    pod.run("check").expect_code(0);
    fs::copy(fixture("text.onnx"), pod.ml("out/model.onnx")).unwrap();
    let outcome = pod.run("publish").expect_code(76).outcome();
    assert_eq!(outcome["reason"], "DigestMismatch");
    assert!(outcome["message"].as_str().unwrap().contains("changed after it was checked"), "{outcome}");

    fs::remove_file(pod.ml("out/model.onnx")).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", pod.ml("out/model.onnx")).unwrap();
    pod.run("publish").expect_code(76);
    assert!(!pod.store("inputs").exists());
}

#[test]
fn result_that_cannot_be_served_is_refused_with_what_is_wrong() {
    let pod = Pod::new();
    // Nothing was fetched, nothing was trained.
    assert_eq!(pod.run("check").expect_code(66).outcome()["reason"], "RecordMissing");
    pod.run("fetch").expect_code(0);
    assert_eq!(pod.run("publish").expect_code(66).outcome()["reason"], "RecordMissing");
    let outcome = pod.run("check").expect_code(65).outcome();
    assert_eq!(outcome["reason"], "NoModelWritten");

    pod.train(0.97);
    std::os::unix::fs::symlink("/proc/self/environ", pod.ml("out/leak.txt")).unwrap();
    let outcome = pod.run("check").expect_code(65).outcome();
    assert_eq!(outcome["reason"], "UnsafeOutput");
    fs::remove_file(pod.ml("out/leak.txt")).unwrap();

    let keras = crate::command::repository().join("crates/trainer/testdata/keras-normalization");
    for file in ["model.onnx", "samples.json"] {
        fs::copy(keras.join(file), pod.ml("out").join(file)).unwrap();
    }
    let outcome = pod.run("check").expect_code(65).outcome();
    assert_eq!(outcome["reason"], "UnexpectedInputs");
    assert!(outcome["message"].as_str().unwrap().contains("Rescaling"), "{outcome}");
    assert!(!pod.ml("records/verdict.json").exists());
}

#[test]
fn order_that_is_for_the_built_in_trainer_or_damaged_is_refused() {
    let mut pod = Pod::new();
    pod.order["training"].as_object_mut().unwrap().remove("container");
    for step in ["fetch", "check", "publish"] {
        let outcome = pod.run(step).expect_code(64).outcome();
        assert_eq!(outcome["reason"], "InvalidOrder", "{step}");
    }
    pod.order = json!("x");
    assert_eq!(pod.run("check").expect_code(64).outcome()["reason"], "InvalidOrder");
}

#[test]
fn nodes_after_the_first_leave_the_result_to_it() {
    let pod = Pod::new();
    let outcome = finish(pod.command("fetch").env("PET_NODE_RANK", "1")).expect_code(0).outcome();
    assert_eq!(outcome["reason"], "Fetched");
    assert!(pod.ml("data/train/rows.csv").is_file());
    for step in ["check", "publish"] {
        let outcome = finish(pod.command(step).env("PET_NODE_RANK", "1")).expect_code(0).outcome();
        assert_eq!((&outcome["ok"], &outcome["reason"]), (&json!(true), &json!("NotFirst")));
    }
    finish(pod.command("check").env("PET_NODE_RANK", "first")).expect_code(64);
}

#[test]
fn first_node_publishes_when_every_node_has_trained_to_its_end() {
    let mut pod = Pod::new();
    pod.order["training"]["container"]["nodes"] = json!(3);
    pod.run("fetch").expect_code(0);
    pod.train(0.97);
    pod.run("check").expect_code(0);
    let arrives = |pod: &Pod, rank: &str| {
        let outcome = finish(pod.command("publish").env("PET_NODE_RANK", rank)).expect_code(0).outcome();
        assert_eq!(outcome["reason"], "NotFirst");
    };
    // What was there in an attempt before counts for nothing.
    arrives(&pod, "1");
    arrives(&pod, "2");
    pod.order["attempt"] = json!(1);
    arrives(&pod, "1");
    let mut first = pod.command("publish").spawn().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert!(first.try_wait().unwrap().is_none(), "it waits for the third");
    assert!(!pod.store("revisions").exists() && !pod.store("inputs").exists());
    arrives(&pod, "2");
    assert!(first.wait().unwrap().success());
    assert!(pod.store("revisions").exists() && pod.store("inputs").exists());
    assert!(!pod.store("runs/run-1/gang/1/1").exists(), "what they said is deleted");
}

#[test]
fn nodes_that_had_other_data_than_the_first_publish_nothing_until_all_have_the_same() {
    let mut pod = Pod::new();
    pod.order["training"]["container"]["nodes"] = json!(2);
    let second = |pod: &Pod| {
        for step in ["fetch", "publish"] {
            finish(pod.command(step).env("PET_NODE_RANK", "1")).expect_code(0);
        }
    };
    second(&pod);
    pod.bench.write("data/rows.csv", "a,b\n5,6\n");
    pod.run("fetch").expect_code(0);
    pod.train(0.97);
    pod.run("check").expect_code(0);
    let outcome = pod.run("publish").expect_code(75).outcome();
    assert_eq!(outcome["reason"], "DataDiffers");
    assert!(outcome["message"].as_str().unwrap().contains("that of node 1"), "{outcome}");
    assert!(!pod.store("revisions").exists());

    pod.next_attempt();
    second(&pod);
    pod.run("fetch").expect_code(0);
    pod.train(0.97);
    pod.run("check").expect_code(0);
    pod.run("publish").expect_code(0);
}

#[test]
fn folders_that_are_renamed_are_other_inputs_and_their_checkpoint_is_not_gone_on_from() {
    let mut pod = Pod::new();
    let before = pod.run("fetch").expect_code(0).outcome()["inputsDigest"].clone();
    let (agent, _) = agent(&pod);
    fs::write(pod.ml("checkpoints/state"), "learnt").unwrap();
    until(|| pod.store("runs/run-1/checkpoints/0000000001.json").exists());
    agent.terminate().expect_code(0);

    pod.next_attempt();
    fs::rename(pod.bench.path("data/more"), pod.bench.path("data/other")).unwrap();
    assert_ne!(pod.run("fetch").expect_code(0).outcome()["inputsDigest"], before);
    assert!(!pod.ml("checkpoints/state").exists());
    fs::rename(pod.bench.path("data/other"), pod.bench.path("data/more")).unwrap();
    pod.next_attempt();
    assert_eq!(pod.run("fetch").expect_code(0).outcome()["inputsDigest"], before);
    assert!(pod.ml("checkpoints/state").exists());
}

/// A free port of this machine.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// `agent` with short pauses, and where it tells its progress.
fn agent(pod: &Pod) -> (Serving, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = pod.command("agent");
    command.args(["--progress-listen", &address, "--interval", "1s", "--grace", "30s"]);
    let serving = Serving::start(&mut command, 0);
    let url = format!("http://{address}");
    until(|| std::net::TcpStream::connect(&address).is_ok());
    (serving, url)
}

/// Waits until something is so.
#[track_caller]
fn until(mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(2);
    while !so() {
        assert!(Instant::now() < deadline, "it never came");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn agent_tells_progress_and_brings_checkpoints_out_even_the_last_one() {
    let mut pod = Pod::new();
    pod.run("fetch").expect_code(0);
    let (agent, url) = agent(&pod);
    assert_eq!(http_json("GET", &format!("{url}/progress"), None)["phase"], "Training");
    assert_eq!(http("GET", &format!("{url}/livez"), None).0, 200);
    // Without a token the clients of Kubeflow Trainer report nothing.
    assert!(pod.ml("progress/token").is_file());

    let lines = "{\"epoch\": 1}\n{\"epoch\": 4, \"progressPercent\": 40, \"metrics\": {\"valLoss\": 0.5}}\nnonsense\n{\"epoch\": 9";
    fs::write(pod.ml("progress/progress.jsonl"), lines).unwrap();
    until(|| http_json("GET", &format!("{url}/progress"), None)["epoch"] == 4);
    let progress = http_json("GET", &format!("{url}/progress"), None);
    assert_eq!((&progress["progressPercent"], &progress["metrics"]["valLoss"]), (&json!(40), &json!(0.5)));
    let callback = json!({"trainerStatus": {"progressPercentage": 60, "estimatedRemainingSeconds": 5,
        "metrics": [{"name": "loss", "value": "0.25"}], "lastUpdatedTime": "2026-01-02T03:04:05Z"}});
    assert_eq!(http("POST", &format!("{url}/progress"), Some(&callback.to_string())).0, 200);
    let progress = http_json("GET", &format!("{url}/progress"), None);
    assert_eq!((&progress["progressPercent"], &progress["epoch"]), (&json!(60), &json!(4)));
    assert!(http("GET", &format!("{url}/metrics"), None).1.contains("model_training_progress 0.6"));
    assert_eq!(http("POST", &format!("{url}/progress"), Some("{}")).0, 400);
    assert_eq!(http("POST", &format!("{url}/progress"), Some(&"x".repeat(70 << 10))).0, 413);
    assert_eq!(http("GET", &format!("{url}/nothing"), None).0, 404);

    let checkpoints = pod.store("runs/run-1/checkpoints");
    fs::write(pod.ml("checkpoints/state"), "one").unwrap();
    until(|| checkpoints.exists());
    // The pod is told to end, and the training writes its last one only now.
    let last = pod.ml("checkpoints/state");
    let late = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        fs::write(last, "last").unwrap();
    });
    let ended = agent.terminate();
    late.join().unwrap();
    let outcome = ended.expect_code(0).outcome();
    assert_eq!((&outcome["ok"], &outcome["reason"]), (&json!(true), &json!("Terminated")));

    // The next attempt of the run goes on from it.
    pod.next_attempt();
    let outcome = pod.run("fetch").expect_code(0).outcome();
    assert!(outcome["message"].as_str().unwrap().contains("checkpoint"), "{outcome}");
    assert_eq!(fs::read_to_string(pod.ml("checkpoints/state")).unwrap(), "last");

    // What is published needs no checkpoints.
    pod.train(0.97);
    pod.run("check").expect_code(0);
    pod.run("publish").expect_code(0);
    pod.next_attempt();
    pod.order["retrainAt"] = json!("again");
    pod.run("fetch").expect_code(0);
    assert!(!pod.ml("checkpoints/state").exists());
}

#[test]
fn agent_reads_nothing_through_links() {
    let pod = Pod::new();
    pod.run("fetch").expect_code(0);
    let secret = pod.bench.write("secret", "{\"epoch\": 666}\n");
    std::os::unix::fs::symlink(&secret, pod.ml("progress/progress.jsonl")).unwrap();
    std::os::unix::fs::symlink(&secret, pod.ml("checkpoints/link")).unwrap();
    fs::write(pod.ml("checkpoints/state"), "one").unwrap();
    let (agent, url) = agent(&pod);
    until(|| pod.store("runs/run-1/checkpoints").exists());
    assert!(http_json("GET", &format!("{url}/progress"), None)["epoch"].is_null());
    agent.terminate().expect_code(0);
    let stored = fs::read_dir(pod.store("runs/run-1/checkpoints")).unwrap().flatten();
    for entry in stored.filter(|entry| entry.path().is_file()) {
        assert!(!fs::read_to_string(entry.path()).unwrap_or_default().contains("666"));
    }
}

#[test]
fn agent_of_another_node_idles_until_it_is_told_to_end() {
    let pod = Pod::new();
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = pod.command("agent");
    command.args(["--progress-listen", &address]).env("PET_NODE_RANK", "2");
    let agent = Serving::start(&mut command, 0);
    until(|| std::net::TcpStream::connect(&address).is_ok());
    assert_eq!(agent.terminate().expect_code(0).outcome()["reason"], "NotFirst");
}
