//! Containers of the user's in pods: a shell that leaves a model beside what it should not leave, or loses its node.
use std::time::Instant;

use anyhow::Context as _;
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{
    ResourceExt as _,
    api::{DeleteParams, ListParams},
};
use modelwright_api::{Model, contract::annotations, status::TrainingPhase};
use modelwright_e2e::{
    images,
    namespace::{TestNamespace, with_namespace},
    storage::Storage,
    wait::{self, Seen},
};
use rstest::rstest;
use serde_json::json;

use super::story::{TIMEOUT, active, has_reason, is_ready, log, prepared, training, training_pods, until};
use crate::serving::example;

/// What every script begins with: it "trains" by taking the model that lies beside the rows.
const TRAIN: &str = "set -e\n\
    echo \"as $(/bin/busybox id -u)\"\n\
    cat \"$ML_DATA_DIR/train/model.onnx\" > \"$ML_OUT_DIR/model.onnx\"\n\
    echo '{\"metrics\": {\"valAccuracy\": 0.96}}' > \"$ML_OUT_DIR/metrics.json\"\n\
    echo '{\"progressPercent\": 100, \"epoch\": 3}' >> \"$ML_PROGRESS_FILE\"\n";

fn manifest(
    namespace: &TestNamespace,
    script: &str,
    container: &serde_json::Value,
    more: &serde_json::Value,
) -> String {
    let mut model = json!({
        "apiVersion": "modelwright.dev/v1alpha1",
        "kind": "Model",
        "metadata": {"name": "iris"},
        "spec": {"training": {
            "data": {"source": {
                "uri": format!("s3://models/{}/lake/", namespace.name), "credentialsSecretRef": {"name": "s3"},
            }},
            "container": {"image": images::busybox(), "command": ["sh", "-c", script]},
            "output": {
                "uri": format!("s3://models/{}/out", namespace.name), "credentialsSecretRef": {"name": "s3"},
            },
        }},
    });
    for (place, additions) in [("/spec/training/container", container), ("/spec/training", more)] {
        let place = model.pointer_mut(place).and_then(serde_json::Value::as_object_mut);
        let additions = additions.as_object().cloned().unwrap_or_default();
        if let Some(place) = place {
            place.extend(additions);
        }
    }
    model.to_string()
}

async fn lake(namespace: &TestNamespace) -> anyhow::Result<Storage> {
    let storage = prepared(namespace).await?;
    for (name, bytes) in [("rows.csv", b"a,b\n1,2\n".to_vec()), ("model.onnx", example("model.onnx"))] {
        storage.put(&format!("{}/lake/{name}", namespace.name), bytes).await?;
    }
    Ok(storage)
}

#[tokio::test(flavor = "multi_thread")]
async fn image_that_expects_root_trains_without_it_and_is_served() -> anyhow::Result<()> {
    with_namespace("own", async |namespace| {
        let storage = lake(&namespace).await?;
        let start = Instant::now();
        let gate = json!({"gate": {"require": [{"metric": "valAccuracy", "min": 0.9}]}});
        namespace.apply(&manifest(&namespace, TRAIN, &json!({}), &gate)).await?;
        let model = is_ready(&namespace, "iris").await?;
        eprintln!(
            "| container of the user's, kubectl apply to Ready | {:.1} s |",
            start.elapsed().as_secs_f64()
        );
        assert_eq!(training(&model).metric.as_deref(), Some("valAccuracy 0.96"));
        let pod = training_pods(&namespace, "iris").await?.pop().context("no pod trained")?;
        assert!(log(&namespace, &pod.name_any(), "train").await?.contains("as 65532"));
        let written = serde_json::to_value(&pod)?;
        let train = &written["spec"]["initContainers"][2];
        assert_eq!(train["name"], "train");
        assert!(!train["env"].to_string().contains("secretKeyRef"), "it sees no credentials");
        let id = active(&model)?.id;
        let listed = storage.list(&format!("{0}/out/{0}/iris/revisions/{id}", namespace.name)).await?;
        assert_eq!(listed.len(), 3, "model, metrics, manifest: {listed:#?}");
        Ok(())
    })
    .await
}

/// What a container leaves or does, and what is said of it.
#[rstest]
#[case::no_model("echo done", "NoModelWritten", "model.onnx")]
#[case::no_onnx("echo hello > $ML_OUT_DIR/model.onnx", "NotOnnx", "model.onnx")]
#[case::link(
    "cat $ML_DATA_DIR/train/model.onnx > $ML_OUT_DIR/model.onnx; /bin/busybox ln -s /etc/passwd $ML_OUT_DIR/labels",
    "UnsafeOutput",
    "labels"
)]
#[case::crash(
    "echo 'ValueError: no column price' >&2; exit 3",
    "RetriesExhausted",
    "ValueError: no column price"
)]
#[case::data("echo 'rows.csv is empty' >&2; exit 65", "ContainerFailed", "rows.csv is empty")]
#[tokio::test(flavor = "multi_thread")]
async fn bad_end_of_a_users_container_is_named(
    #[case] script: &'static str,
    #[case] reason: &'static str,
    #[case] part: &'static str,
) -> anyhow::Result<()> {
    with_namespace("own-bad", async |namespace| {
        lake(&namespace).await?;
        namespace.apply(&manifest(&namespace, script, &json!({}), &json!({"retries": 0}))).await?;
        let model = until(&namespace, "iris", "a failed training", |model| {
            training(model).phase == Some(TrainingPhase::Failed)
        })
        .await?;
        let known = training(&model);
        let said = known.message.unwrap_or_default();
        assert_eq!(known.reason.as_deref(), Some(reason), "{said}");
        assert!(said.contains(part), "{said}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn image_that_is_missing_is_named() -> anyhow::Result<()> {
    with_namespace("own-image", async |namespace| {
        lake(&namespace).await?;
        let image = json!({"image": "localhost/nobody-built-this:1", "command": []});
        namespace.apply(&manifest(&namespace, "", &image, &json!({}))).await?;
        let model = has_reason(&namespace, "iris", "ImageUnavailable").await?;
        let said = training(&model).message.unwrap_or_default();
        assert!(said.contains("localhost/nobody-built-this:1"), "{said}");
        Ok(())
    })
    .await
}

/// The second of two finds the first by its name; the first leaves a checkpoint and waits. The gang after that goes on from it.
const GANG: &str = "set -e\n\
    if [ $PET_NODE_RANK = 1 ]; then\n\
      until nslookup \"$PET_MASTER_ADDR.NAMESPACE.svc.cluster.local\" >/dev/null; do sleep 1; done\n\
      echo \"found the first of $PET_NNODES\"\n\
      if [ $ML_ATTEMPT = 0 ]; then sleep 600; fi\n\
      exit 0\n\
    fi\n\
    if [ $ML_ATTEMPT = 0 ]; then echo step-5 > $ML_CHECKPOINT_DIR/step-5; sleep 600; fi\n\
    echo \"goes on from $(cat $ML_CHECKPOINT_DIR/step-5)\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn gang_that_loses_a_worker_goes_on_from_its_checkpoint() -> anyhow::Result<()> {
    with_namespace("gang", async |namespace| {
        let storage = lake(&namespace).await?;
        // Of a script that sleeps nobody expects a handler of SIGTERM; the grace of a pod would only be waited for.
        let script = format!(
            "trap 'exit 143' TERM\n{}{TRAIN}",
            GANG.replace("sleep 600", "sleep 600 & wait").replace("NAMESPACE", &namespace.name)
        );
        namespace.apply(&manifest(&namespace, &script, &json!({"nodes": 2}), &json!({"retries": 0}))).await?;
        let runs = format!("{0}/out/{0}/iris/runs", namespace.name);
        wait::wait_for("a checkpoint in the store", TIMEOUT, || async {
            let listed = storage.list(&runs).await?;
            Ok(Seen::or_else_saw((!listed.is_empty()).then_some(()), format!("{listed:?}")))
        })
        .await?;
        let pods = training_pods(&namespace, "iris").await?;
        let of_rank = |rank: &str| {
            let index = "batch.kubernetes.io/job-completion-index";
            pods.iter().find(|pod| pod.annotations().get(index).is_some_and(|found| found == rank))
        };
        let lost = of_rank("1").context("no second pod")?.name_any();
        wait::wait_for("the second to have found the first", TIMEOUT, || async {
            let said = log(&namespace, &lost, "train").await.unwrap_or_default();
            Ok(Seen::or_else_saw(said.contains("found the first of 2").then_some(()), said))
        })
        .await?;
        namespace.api::<Pod>().delete(&lost, &DeleteParams::default()).await?;
        let model: Model = is_ready(&namespace, "iris").await?;
        assert_eq!(training(&model).attempt, Some(2));
        let jobs = namespace.api::<Job>().list(&ListParams::default()).await?.items;
        let job = jobs.iter().find(|job| Some(job.name_any()) == training(&model).job).context("no Job")?;
        assert_eq!(job.annotations().get(annotations::FAILURES).map(String::as_str), Some("0"));
        let first = training_pods(&namespace, "iris").await?;
        let mut logs = String::new();
        for pod in &first {
            logs += &log(&namespace, &pod.name_any(), "train").await.unwrap_or_default();
        }
        assert!(logs.contains("goes on from step-5"), "{logs}");
        assert!(storage.list(&runs).await?.is_empty(), "its checkpoints are discarded");
        Ok(())
    })
    .await
}
