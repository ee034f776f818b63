//! PyTorch on two pods: the example's image, started by `torchrun`, loses a worker and goes on.
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt as _, api::DeleteParams};
use modelwright_api::{Model, conditions::ConditionType};
use modelwright_e2e::{
    images,
    namespace::{TestNamespace, with_namespace},
    wait::{self, Seen},
};
use serde_json::json;

use super::story::{active, folder, log, predict, prepared, training, training_pods};

/// PyTorch is loaded by two pods at once, twice.
const LONG: Duration = Duration::from_mins(15);
const NAME: &str = "breast-cancer-torchrun";

/// The example's manifest. It trains long enough that the worker is lost in the midst of it, with a checkpoint in the store that is
/// not the last; and a failure that counted would end it.
fn manifest(namespace: &TestNamespace) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(folder("pytorch-training").join("cluster/two-nodes.yaml"))?;
    let replaced = [
        ("s3://models/", format!("s3://models/{}/", namespace.name)),
        ("registry.example.com/pytorch-training:1", images::pytorch_training()),
        ("epochs: 2000", "epochs: 60000\n        checkpointSeconds: 12".to_owned()),
        ("stallTimeout: 10m", "stallTimeout: 10m\n    retries: 0".to_owned()),
    ];
    replaced.iter().try_fold(text, |text, (from, to)| {
        ensure!(text.contains(from), "the example has no {from}");
        Ok(text.replace(from, to))
    })
}

/// The pod with the second rank.
async fn worker(namespace: &TestNamespace) -> anyhow::Result<String> {
    let pods = training_pods(namespace, NAME).await?;
    let index = "batch.kubernetes.io/job-completion-index";
    let worker = pods.iter().find(|pod| pod.annotations().get(index).is_some_and(|rank| rank == "1"));
    Ok(worker.context("no second pod")?.name_any())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the image of examples/pytorch-training, minutes and 4 GB: cargo xtask e2e node --examples -- torchrun"]
async fn torchrun_on_two_nodes_loses_a_worker_resumes_and_is_served() -> anyhow::Result<()> {
    with_namespace("torchrun", async |namespace| {
        let storage = prepared(&namespace).await?;
        let rows = std::fs::read_to_string(folder("breast-cancer").join("data.csv"))?;
        let data = format!("{}/examples/breast-cancer/data.csv", namespace.name);
        storage.put(&data, rows.clone().into_bytes()).await?;
        let start = Instant::now();
        namespace.apply(&manifest(&namespace)?).await?;
        let store = format!("{0}/{0}/{NAME}", namespace.name);
        wait::wait_for("a checkpoint in the store", LONG, || async {
            let listed = storage.list(&format!("{store}/runs")).await?;
            let pods = training_pods(&namespace, NAME).await?;
            let mut said = format!("{listed:?}");
            for pod in pods {
                said += &log(&namespace, &pod.name_any(), "train").await.unwrap_or_default();
            }
            Ok(Seen::or_else_saw((!listed.is_empty()).then_some(()), said))
        })
        .await?;
        eprintln!("| torchrun on two nodes, to a checkpoint | {:.0} s |", start.elapsed().as_secs_f64());
        let lost = worker(&namespace).await?;
        namespace.api::<Pod>().delete(&lost, &DeleteParams::default()).await?;

        let model = wait::object(&namespace.api::<Model>(), NAME, "Ready", LONG, |model| {
            let ready = model.holds(ConditionType::Ready);
            Seen::or_else_saw(ready.then(|| model.clone()), format!("{:?}", training(model)))
        })
        .await?;
        eprintln!(
            "| torchrun on two nodes, a worker lost, to Ready | {:.0} s |",
            start.elapsed().as_secs_f64()
        );
        assert_eq!(training(&model).attempt, Some(2));
        assert!(training(&model).metric.is_some_and(|metric| metric.starts_with("valAccuracy 0.9")));
        let mut logs = String::new();
        for pod in training_pods(&namespace, NAME).await? {
            logs += &log(&namespace, &pod.name_any(), "train").await.unwrap_or_default();
        }
        assert_eq!(logs.matches("going on after epoch").count(), 2, "both ranks: {logs}");
        let revision = active(&model)?.id;
        let listed = storage.list(&format!("{store}/revisions/{revision}")).await?;
        assert_eq!(listed.len(), 3, "model, metrics, manifest: {listed:#?}");
        assert!(storage.list(&format!("{store}/runs")).await?.is_empty(), "its checkpoints are discarded");

        // The first row is of a malignant one.
        let row = rows.lines().nth(1).and_then(|row| row.rsplit_once(',')).context("no row")?.0;
        let values = row.split(',').map(str::parse).collect::<Result<Vec<f64>, _>>()?;
        let answer = predict(&namespace, NAME, &json!(values)).await?;
        assert!(answer.as_f64().is_some_and(|probability| probability > 0.5), "{answer}");
        Ok(())
    })
    .await
}
