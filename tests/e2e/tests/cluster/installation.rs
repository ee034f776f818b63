//! From an empty cluster to a prediction, as the first page of the documentation says it, with the chart's defaults.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use modelwright_api::{Model, conditions::ConditionType};
use modelwright_e2e::{
    chart,
    forward::Forward,
    storage::Storage,
    wait::{self, Seen},
};
use serde_json::Value;

use crate::machine::{Cluster, alone, run};

/// Longer than all of it takes on a busy machine.
const TIMEOUT: Duration = Duration::from_mins(3);

async fn client(cluster: &Cluster) -> anyhow::Result<Client> {
    let kubeconfig = Kubeconfig::read_from(cluster.state().join("admin.kubeconfig"))?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

fn example(file: &str) -> anyhow::Result<Vec<u8>> {
    let path = chart::folder().join("../../examples/iris-classifier").join(file);
    std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::await_holding_lock, reason = "the other tests wait on threads of their own")]
async fn empty_cluster_makes_a_prediction() -> anyhow::Result<()> {
    let _alone = alone();
    let cluster = Cluster::new('i');
    cluster.up(&[])?;
    let image =
        std::env::var("MODELWRIGHT_E2E_IMAGE").context("run these tests by `cargo xtask e2e cluster`")?;
    run(&mut cluster.xtask(&["load-image", &image]))?;
    let client = client(&cluster).await?;
    let storage = Storage::connect(client.clone()).await?;
    storage.put("examples/iris-classifier/model.onnx", example("model.onnx")?).await?;

    let start = Instant::now();
    let folder = chart::folder().display().to_string();
    let said = cluster.helm(&[
        "install",
        "modelwright",
        &folder,
        "--namespace",
        "modelwright",
        "--create-namespace",
        "--wait",
        "--timeout=3m",
    ])?;
    eprintln!(
        "| helm install --wait, until the operator is available | {:.1} s |",
        start.elapsed().as_secs_f64()
    );
    assert!(said.contains("kubectl apply -f"), "the next step is missing: {said}");
    let manifest = chart::folder().join("../../examples/iris-classifier/cluster/model.yaml");
    cluster.kubectl(&["apply", "-f", &manifest.display().to_string()])?;
    let models = kube::Api::<Model>::namespaced(client.clone(), "default");
    wait::object(&models, "iris-classifier", "Ready", TIMEOUT, |model| {
        Seen::or_else_saw(model.holds(ConditionType::Ready).then_some(()), format!("{:?}", model.status))
    })
    .await?;
    let forward = Forward::to_service(client.clone(), "default", "iris-classifier", 80).await?;
    let request = reqwest::Client::new().post(forward.url("/v2/models/iris-classifier/infer"));
    let answer = request.body(example("request.json")?).send().await?;
    ensure!(answer.status() == 200, "{}", answer.status());
    let answer: Value = serde_json::from_slice(&answer.bytes().await?)?;
    let expected: Value = serde_json::from_slice(&example("expected.json")?)?;
    let label = |value: &Value| {
        let outputs = value["outputs"].as_array().cloned().unwrap_or_default();
        outputs.into_iter().find(|output| output["name"] == "label").map(|output| output["data"].clone())
    };
    assert_eq!(label(&answer), label(&expected));
    eprintln!("| from helm install to the first prediction | {:.1} s |", start.elapsed().as_secs_f64());

    println!("{}", cluster.kubectl(&["get", "mdl"])?);
    let tested = cluster.helm(&["test", "modelwright", "--namespace", "modelwright", "--timeout=3m"])?;
    assert!(tested.contains("Succeeded"), "{tested}");
    // Uninstalled, the Models stay, and what serves them.
    cluster.helm(&["uninstall", "modelwright", "--namespace", "modelwright", "--wait"])?;
    cluster.kubectl(&["get", "model", "iris-classifier"])?;
    let request = reqwest::Client::new().post(forward.url("/v2/models/iris-classifier/infer"));
    assert_eq!(request.body(example("request.json")?).send().await?.status(), 200);
    Ok(())
}
