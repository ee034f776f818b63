//! What the pods of trainings are made of.

use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Container, PodSpec},
};
use rstest::rstest;
use serde_json::{Value, json};

use super::{
    training::{spec, world},
    world::World,
};
use crate::plan::offline;

fn job(more: &Value) -> Job {
    let mut world = world(more);
    world.converge();
    (*world.observed.jobs[0]).clone()
}

fn pod(job: &Job) -> PodSpec {
    job.spec.clone().unwrap().template.spec.unwrap()
}

fn container<'a>(pod: &'a PodSpec, name: &str) -> &'a Container {
    let mut all = pod.init_containers.iter().flatten().chain(&pod.containers);
    all.find(|container| container.name == name).unwrap()
}

fn value(container: &Container, name: &str) -> Option<String> {
    container.env.as_ref()?.iter().find(|env| env.name == name)?.value.clone()
}

/// The Secrets that a container has keys of, each with the beginning of its variables.
fn secrets(container: &Container) -> Vec<(String, String)> {
    let mut found: Vec<_> = container
        .env
        .iter()
        .flatten()
        .filter_map(|env| {
            let secret = env.value_from.as_ref()?.secret_key_ref.as_ref()?;
            Some((secret.name.clone(), env.name.strip_suffix("AWS_REGION")?.to_owned()))
        })
        .collect();
    found.dedup();
    found
}

fn mounts(container: &Container) -> Vec<(&str, bool)> {
    let mounts = container.volume_mounts.iter().flatten();
    mounts.map(|mount| (mount.mount_path.as_str(), mount.read_only == Some(true))).collect()
}

const DATA: &str = r#"{"data": {"source": {"uri": "s3://data/a", "credentialsSecretRef": {"name": "in"}}, "target": "t",
    "validation": {"source": {"uri": "pvc://claim/v", "credentialsSecretRef": {"name": "val"}}},
    "test": {"source": {"uri": "gs://data/t", "credentialsSecretRef": {"name": "test"}}}}}"#;

fn with_data(more: &Value) -> Value {
    let mut all: Value = serde_json::from_str(DATA).unwrap();
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    all
}

#[test]
fn built_in_trainer_is_one_container_with_every_credential() {
    let job = job(&with_data(&json!({"resources": {"limits": {"cpu": 2}}, "deadline": "3h"})));
    let job_spec = job.spec.as_ref().unwrap();
    assert_eq!((job_spec.backoff_limit, job_spec.active_deadline_seconds), (Some(0), Some(3 * 3600)));
    assert_eq!(job_spec.pod_replacement_policy.as_deref(), Some("Failed"));
    assert_eq!(job_spec.ttl_seconds_after_finished, None);
    let pod = pod(&job);
    assert_eq!((pod.containers.len(), pod.init_containers.as_ref()), (1, None));
    assert_eq!(
        (pod.restart_policy.as_deref(), pod.termination_grace_period_seconds),
        (Some("Never"), Some(120))
    );
    let train = container(&pod, "train");
    assert_eq!(
        train.args.as_ref().unwrap()[..],
        [
            "train",
            "--config",
            "/etc/modelwright/order/order.json",
            "--work-dir",
            "/ml/work",
            "--progress-listen",
            ":9091"
        ]
    );
    let expected = [("in", ""), ("val", "VALIDATION_"), ("test", "TEST_"), ("out", "OUTPUT_")];
    assert_eq!(secrets(train), expected.map(|(name, prefix)| (name.to_owned(), prefix.to_owned())));
    assert!(
        mounts(train).contains(&("/mnt/validation", true)) && mounts(train).contains(&("/ml/work", false))
    );
    assert_eq!(train.resources.as_ref().unwrap().limits.as_ref().unwrap()["cpu"].0, "2");
    let rules = job_spec.pod_failure_policy.clone().unwrap().rules;
    assert!(rules.iter().all(|rule| rule.action == "FailJob") && rules[0].on_pod_conditions.is_some());
    let annotations = job_spec.template.metadata.as_ref().unwrap().annotations.as_ref().unwrap();
    assert_eq!(annotations["kubectl.kubernetes.io/default-container"], "train");
}

const OWN: &str = r#"{"container": {"image": "me/train:1", "command": ["python"], "args": ["t.py"],
    "env": [{"name": "OMP_NUM_THREADS", "value": "7"}, {"name": "MINE", "value": "1"}], "parameters": {"lr": 0.1, "seed": 5}},
    "resources": {"limits": {"cpu": "1500m", "nvidia.com/gpu": 2}}}"#;

fn own(more: &Value) -> Job {
    let mut all = with_data(&serde_json::from_str(OWN).unwrap());
    for (key, value) in more.as_object().unwrap() {
        match key.as_str() {
            "nodes" => all["container"][key] = value.clone(),
            _ => all[key] = value.clone(),
        }
    }
    job(&all)
}

#[rstest]
#[case(json!({"resources": {"limits": {"ephemeral-storage": "20Gi"}}}), &["--max-bytes", "21474836480"])]
#[case(json!({}), &[])]
fn bound_of_what_is_left_is_that_of_the_disk(#[case] more: Value, #[case] expected: &[&str]) {
    let pod = pod(&own(&more));
    let args = container(&pod, "check").args.clone().unwrap();
    assert_eq!(args[3..], *expected, "{args:?}");
}

#[test]
fn users_container_stands_between_ours_and_sees_no_credentials() {
    let pod = pod(&own(&json!({})));
    let names: Vec<_> =
        pod.init_containers.iter().flatten().map(|container| container.name.as_str()).collect();
    assert_eq!((names, pod.containers.len()), (vec!["fetch", "agent", "train", "check"], 1));
    assert_eq!(container(&pod, "agent").restart_policy.as_deref(), Some("Always"));
    for (name, number) in [("fetch", 4), ("agent", 1), ("train", 0), ("check", 0), ("publish", 1)] {
        let own = container(&pod, name);
        assert_eq!(secrets(own).len(), number, "{name}");
        let told = mounts(own).iter().any(|(path, _)| *path == "/etc/modelwright/order");
        assert_eq!(told, name != "train", "{name}");
    }
    let train = container(&pod, "train");
    assert_eq!(train.image.as_deref(), Some("me/train:1"));
    assert_eq!(
        mounts(train),
        [
            ("/ml/data", true),
            ("/ml/out", false),
            ("/ml/checkpoints", false),
            ("/ml/progress", false),
            ("/ml/config", true),
            ("/tmp", false)
        ]
    );
    // What it leaves in its /tmp is not seen by others.
    let volume = |name: &str| {
        let own = container(&pod, name).volume_mounts.clone().unwrap();
        own.into_iter().find(|mount| mount.mount_path == "/tmp").unwrap().name
    };
    assert!(volume("train") != volume("check") && volume("check") == volume("publish"));
    assert_eq!(train.termination_message_policy.as_deref(), Some("FallbackToLogsOnError"));
    // Devices are for training alone.
    let limits = container(&pod, "check").resources.clone().unwrap().limits.unwrap();
    assert_eq!(limits.keys().collect::<Vec<_>>(), ["cpu"]);
}

#[test]
fn users_container_is_told_where_everything_is() {
    let pod = pod(&own(&json!({"deadline": "1h"})));
    let train = container(&pod, "train");
    for (name, expected) in [
        ("ML_DATA_DIR", "/ml/data"),
        ("ML_CONFIG", "/ml/config/training.json"),
        ("ML_OUT_DIR", "/ml/out"),
        ("ML_CHECKPOINT_DIR", "/ml/checkpoints"),
        ("ML_PROGRESS_FILE", "/ml/progress/progress.jsonl"),
        ("ML_SEED", "5"),
        ("ML_ATTEMPT", "0"),
        // 2026-01-01T01:00:00Z.
        ("ML_DEADLINE", "1767229200"),
        ("SM_MODEL_DIR", "/ml/out"),
        ("SM_CHANNEL_TRAINING", "/ml/data/train"),
        ("SM_CHANNEL_VALIDATION", "/ml/data/validation"),
        ("SM_CHANNEL_TEST", "/ml/data/test"),
        ("SM_HPS", r#"{"lr":0.1,"seed":5}"#),
        ("AIP_MODEL_DIR", "/ml/out"),
        ("AIP_CHECKPOINT_DIR", "/ml/checkpoints"),
        ("KUBEFLOW_TRAINER_SERVER_URL", "http://127.0.0.1:9091/"),
        ("KUBEFLOW_TRAINER_SERVER_TOKEN", "/ml/progress/token"),
        ("OMP_NUM_THREADS", "7"),
        ("MKL_NUM_THREADS", "2"),
        ("OPENBLAS_NUM_THREADS", "2"),
        ("MINE", "1"),
    ] {
        assert_eq!(value(train, name).as_deref(), Some(expected), "{name}");
    }
    assert!(value(train, "ML_RUN_ID").unwrap().starts_with("20260101t000000z-"));
    assert_eq!(value(train, "PET_NNODES"), None);
}

#[test]
fn several_pods_find_each_other() {
    let mut world = world(&with_data(&json!({"container": {"image": "i", "nodes": 3},
        "resources": {"limits": {"nvidia.com/gpu": 2}}})));
    world.converge();
    let service = world.observed.train_service.clone().unwrap().spec.clone().unwrap();
    assert_eq!(
        (service.cluster_ip.as_deref(), service.publish_not_ready_addresses),
        (Some("None"), Some(true))
    );
    let job = (*world.observed.jobs[0]).clone();
    let name = job.metadata.name.clone().unwrap();
    let job_spec = job.spec.as_ref().unwrap();
    assert_eq!(
        (job_spec.completion_mode.as_deref(), job_spec.completions, job_spec.parallelism),
        (Some("Indexed"), Some(3), Some(3))
    );
    let pod = pod(&job);
    assert_eq!(pod.subdomain.as_deref(), Some("bc-train"));
    let train = container(&pod, "train");
    for (key, expected) in [
        ("PET_NNODES", "3"),
        ("PET_NPROC_PER_NODE", "2"),
        ("PET_MASTER_ADDR", format!("{name}-0.bc-train").as_str()),
        ("PET_MASTER_PORT", "29400"),
        ("MASTER_PORT", "29500"),
    ] {
        assert_eq!(value(train, key).as_deref(), Some(expected), "{key}");
    }
    for name in ["fetch", "agent", "train", "check", "publish"] {
        let rank =
            container(&pod, name).env.iter().flatten().find(|env| env.name == "PET_NODE_RANK").unwrap();
        let field = rank.value_from.clone().unwrap().field_ref.unwrap().field_path;
        assert_eq!(field, "metadata.annotations['batch.kubernetes.io/job-completion-index']", "{name}");
    }
    // The Service stays when one pod trains alone again.
    world.spec(&spec(&json!({"container": {"image": "i"}})));
    world.converge();
    assert!(world.observed.train_service.is_some());
}

#[test]
fn overlays_reach_training_pods_and_change_nothing_that_is_needed() {
    let overlaid = own(&json!({
        "podTemplate": {"spec": {"nodeSelector": {"a": "b"}, "containers": [{"name": "serve", "image": "x"}]}},
    }));
    assert_eq!(pod(&overlaid).node_selector.unwrap()["a"], "b");
    let blocked = |more: Value| {
        let mut all: Value = serde_json::from_str(OWN).unwrap();
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let plan = world(&all).plan();
        let cause = plan.situation.blocked.unwrap();
        assert_eq!(cause.reason, "InvalidPodTemplate");
        cause.message
    };
    let init = |container: Value| json!({"podTemplate": {"spec": {"initContainers": [container]}}});
    assert!(blocked(init(json!({"name": "train", "args": ["x"]}))).contains("args[0]"));
    assert!(
        blocked(init(json!({"name": "fetch", "envFrom": [{"secretRef": {"name": "s"}}]})))
            .contains("envFrom")
    );
    // A user's own container may get values from Secrets.
    let secret = init(
        json!({"name": "train", "env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}),
    );
    let mut all: Value = serde_json::from_str(OWN).unwrap();
    all.as_object_mut().unwrap().extend(secret.as_object().unwrap().clone());
    let pod = pod(&job(&all));
    assert!(container(&pod, "train").env.as_ref().unwrap().iter().any(|env| env.name == "TOKEN"));
}

#[test]
fn offline_plan_shows_the_training_job_and_the_deployment() {
    let world = World::new(&spec(&json!({"container": {"image": "i", "nodes": 2}})));
    let children = offline::children(&world.model, &world.settings, world.now).unwrap();
    let kinds: Vec<_> = children.iter().map(|child| child["kind"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        ["ServiceAccount", "Service", "Service", "PodDisruptionBudget", "Service", "Job", "Deployment"]
    );
    assert!(children[5]["metadata"]["name"].as_str().unwrap().starts_with("bc-train-"));
}
