//! A real KEDA scales a Model by what its servers tell. On request only (`cargo xtask e2e keda`), because KEDA takes long to
//! compile.
mod programs;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use k8s_openapi::api::{apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler};
use kube::api::{Patch, PatchParams};
use modelwright_api::{Model, conditions::ConditionType};
use modelwright_e2e::{
    chart,
    forward::Forward,
    namespace::{TestNamespace, with_namespace},
    storage::Storage,
    wait::{self, Seen},
};
use serde_json::json;

/// KEDA and the HPA look every two seconds, servers average over 15, and pods start.
const TIMEOUT: Duration = Duration::from_mins(3);
const SECRET: &str = "s3";
/// Rows of a request, so that a few clients keep the model busy.
const ROWS: usize = 20_000;

fn example(file: &str) -> anyhow::Result<Vec<u8>> {
    let folder = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/iris-classifier");
    Ok(std::fs::read(folder.join(file))?)
}

/// A Model whose pods are left to others.
async fn serve(namespace: &TestNamespace) -> anyhow::Result<()> {
    let storage = Storage::connect(namespace.client.clone()).await?;
    storage.create_secret(&namespace.name, SECRET).await?;
    chart::install(namespace).await?;
    let uri = storage.put(&format!("{}/model.onnx", namespace.name), example("model.onnx")?).await?;
    let manifest = format!(
        "apiVersion: modelwright.dev/v1alpha1\nkind: Model\nmetadata: {{name: iris}}\nspec:\n  \
         source: {{uri: '{uri}', credentialsSecretRef: {{name: {SECRET}}}}}\n  \
         serving: {{autoscaling: {{mode: External}}}}\n"
    );
    namespace.apply(&manifest).await?;
    wait::object(&namespace.api::<Model>(), "iris", "Ready", TIMEOUT, |model| {
        let ready = model.condition(ConditionType::Ready);
        Seen::or_else_saw(model.holds(ConditionType::Ready).then_some(()), format!("{ready:?}"))
    })
    .await
}

/// As in the documentation, but quick: a pod may be busy for a hundredth of its time.
fn scaled_object(scaler: std::net::SocketAddr) -> String {
    format!(
        "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {{name: iris}}\nspec:\n  \
         scaleTargetRef: {{name: iris}}\n  minReplicaCount: 1\n  idleReplicaCount: 0\n  maxReplicaCount: 3\n  \
         pollingInterval: 2\n  cooldownPeriod: 5\n  advanced:\n    horizontalPodAutoscalerConfig:\n      \
         behavior: {{scaleDown: {{stabilizationWindowSeconds: 5}}}}\n  triggers:\n    - type: external\n      \
         metadata: {{scalerAddress: '{scaler}', metric: utilization, target: '1'}}\n"
    )
}

/// Waits until the Deployment has so many pods, all of them ready.
async fn has_pods(namespace: &TestNamespace, awaited: &str, wanted: fn(i32) -> bool) -> anyhow::Result<i32> {
    wait::object(&namespace.api::<Deployment>(), "iris", awaited, TIMEOUT, |deployment| {
        let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let ready = deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
        let done = wanted(replicas) && replicas == ready;
        Seen::or_else_saw(done.then_some(replicas), format!("{replicas} wanted, {ready} ready"))
    })
    .await
}

/// Requests of many rows, one after the other, until told to stop.
async fn keep_busy(namespace: TestNamespace, stop: Arc<AtomicBool>) -> anyhow::Result<u64> {
    let request: serde_json::Value = serde_json::from_slice(&example("request.json")?)?;
    let inputs = request["inputs"].as_array().context("the example has no inputs")?;
    let inputs: Vec<_> = inputs
        .iter()
        .map(|input| {
            let value = &input["data"][0];
            json!({"name": input["name"], "datatype": input["datatype"], "shape": [ROWS, 1], "data": vec![value; ROWS]})
        })
        .collect();
    let request = json!({"inputs": inputs}).to_string();
    let http = reqwest::Client::builder().no_proxy().build()?;
    let forward = Forward::to_service(namespace.client.clone(), &namespace.name, "iris", 80).await?;
    let mut answered = 0;
    while !stop.load(Ordering::Relaxed) {
        let answer = http.post(forward.url("/v2/models/iris/infer")).body(request.clone()).send().await?;
        anyhow::ensure!(answer.status() == 200, "{}: {}", answer.status(), answer.text().await?);
        answer.bytes().await?;
        answered += 1;
    }
    Ok(answered)
}

async fn suspend(namespace: &TestNamespace, suspend: bool) -> anyhow::Result<()> {
    let patch = json!({"spec": {"suspend": suspend}});
    namespace.api::<Model>().patch("iris", &PatchParams::default(), &Patch::Merge(&patch)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keda_follows_the_load_of_the_servers_and_leaves_a_suspended_model_alone() -> anyhow::Result<()> {
    with_namespace("keda", async |namespace| {
        serve(&namespace).await?;
        let service = format!("{}-operator-scaler", namespace.name);
        let scaler = Forward::to_service(namespace.client.clone(), &namespace.name, &service, 9092).await?;
        let _keda = programs::Keda::start(&namespace).await?;
        namespace.apply(&scaled_object(scaler.address())).await?;
        // The HPA that KEDA made of it has our metric, and gets a value for it through KEDA's own API.
        wait::object(
            &namespace.api::<HorizontalPodAutoscaler>(),
            "keda-hpa-iris",
            "a value",
            TIMEOUT,
            |autoscaler| {
                let metric = autoscaler
                    .spec
                    .as_ref()
                    .and_then(|spec| spec.metrics.as_ref()?.first()?.external.clone());
                let name = metric.map(|metric| metric.metric.name);
                let status = autoscaler.status.clone().unwrap_or_default();
                let value = status.current_metrics.and_then(|metrics| metrics.first()?.external.clone());
                let done = name.as_deref() == Some("s0-modelwright-utilization") && value.is_some();
                Seen::or_else_saw(done.then_some(()), format!("{name:?} {value:?} {:?}", status.conditions))
            },
        )
        .await?;
        has_pods(&namespace, "1 pod", |pods| pods == 1).await?;

        let stop = Arc::new(AtomicBool::new(false));
        let busy = tokio::spawn(keep_busy(namespace.clone(), Arc::clone(&stop)));
        let pods = has_pods(&namespace, "more pods under load", |pods| pods > 1).await?;
        stop.store(true, Ordering::Relaxed);
        eprintln!("| KEDA under load | {pods} pods, {} requests |", busy.await??);
        has_pods(&namespace, "1 pod again", |pods| pods == 1).await?;

        suspend(&namespace, true).await?;
        has_pods(&namespace, "no pod", |pods| pods == 0).await?;
        // KEDA may have asked just before. Then come several more of its looks.
        tokio::time::sleep(Duration::from_secs(4)).await;
        has_pods(&namespace, "no pod", |pods| pods == 0).await?;
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let deployment = namespace.api::<Deployment>().get("iris").await?;
            assert_eq!(
                deployment.spec.and_then(|spec| spec.replicas),
                Some(0),
                "somebody wakes a suspended Model"
            );
        }
        suspend(&namespace, false).await?;
        has_pods(&namespace, "1 pod again", |pods| pods == 1).await?;
        Ok(())
    })
    .await
}
