//! The chart, the operator and its pods on a real node: from a bucket to an answer, and what is said when it cannot be.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use modelwright_api::{Model, conditions::ConditionType, contract::annotations, status::Condition};
use modelwright_e2e::{
    chart,
    forward::Forward,
    namespace::{TestNamespace, with_namespace},
    storage::{SECRET_KEY, Storage},
    wait::{self, Seen},
};
use rstest::rstest;
use serde_json::json;

use crate::serving::{SECRET, TIMEOUT, assert_is_expected, example, restrict, wget};

fn ready(model: &Model) -> Option<&Condition> {
    model.condition(ConditionType::Ready)
}

pub(crate) fn words(model: &Model) -> String {
    ready(model).map_or_else(
        || "no condition".to_owned(),
        |ready| format!("Ready={:?} {}: {}", ready.status, ready.reason, ready.message),
    )
}

async fn until(
    namespace: &TestNamespace,
    awaited: &str,
    wanted: impl Fn(&Model) -> bool,
) -> anyhow::Result<Model> {
    wait::object(&namespace.api::<Model>(), "iris", awaited, TIMEOUT, |model| {
        let observed = model.status.as_ref().and_then(|status| status.observed_generation);
        let current = observed == model.metadata.generation && wanted(model);
        Seen::or_else_saw(current.then(|| model.clone()), words(model))
    })
    .await
}

pub(crate) async fn is_ready(namespace: &TestNamespace) -> anyhow::Result<Model> {
    until(namespace, "Ready", |model| model.holds(ConditionType::Ready)).await
}

pub(crate) async fn has_reason(namespace: &TestNamespace, reason: &str) -> anyhow::Result<Model> {
    let start = Instant::now();
    let model = until(namespace, &format!("reason {reason}"), |model| {
        ready(model).is_some_and(|ready| ready.reason == reason)
    })
    .await?;
    // For the tables of the documentation.
    eprintln!("| {reason} | {:.1} s |", start.elapsed().as_secs_f64());
    Ok(model)
}

pub(crate) fn manifest(uri: &str, more: &str) -> String {
    format!(
        "apiVersion: modelwright.dev/v1alpha1\nkind: Model\nmetadata: {{name: iris}}\nspec:\n  \
         source: {{uri: '{uri}', credentialsSecretRef: {{name: {SECRET}}}}}\n{more}"
    )
}

/// A namespace that takes only restricted pods, with the chart installed, and a store with its Secret.
pub(crate) async fn prepared(namespace: &TestNamespace) -> anyhow::Result<Storage> {
    restrict(namespace).await?;
    let storage = Storage::connect(namespace.client.clone()).await?;
    storage.create_secret(&namespace.name, SECRET).await?;
    chart::install(namespace).await?;
    Ok(storage)
}

pub(crate) async fn answers(namespace: &TestNamespace) -> anyhow::Result<()> {
    let forward = Forward::to_service(namespace.client.clone(), &namespace.name, "iris", 80).await?;
    let request = example("request.json");
    let answer =
        reqwest::Client::new().post(forward.url("/v2/models/iris/infer")).body(request).send().await?;
    ensure!(answer.status() == 200, "{}", answer.status());
    assert_is_expected(&serde_json::from_slice(&answer.bytes().await?)?);
    Ok(())
}

async fn again(namespace: &TestNamespace, value: &str) -> anyhow::Result<()> {
    let patch = json!({"metadata": {"annotations": {annotations::RESOLVE_AT: value}}});
    namespace.api::<Model>().patch("iris", &PatchParams::default(), &Patch::Merge(&patch)).await?;
    Ok(())
}

/// From when the pod was scheduled until it was ready, in seconds as Kubernetes counts them.
fn start_of(pod: &Pod) -> Option<i64> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let at = |type_: &str| {
        let condition = conditions.iter().find(|condition| condition.type_ == type_)?;
        Some(condition.last_transition_time.as_ref()?.0.as_second())
    };
    Some(at("Ready")? - at("PodScheduled")?)
}

#[tokio::test(flavor = "multi_thread")]
async fn model_in_a_bucket_becomes_an_endpoint() -> anyhow::Result<()> {
    with_namespace("install", async |namespace| {
        let storage = prepared(&namespace).await?;
        let uri = storage.put(&format!("{}/model.onnx", namespace.name), example("model.onnx")).await?;
        let start = Instant::now();
        namespace.apply(&manifest(&uri, "  serving: {replicas: 2}\n")).await?;
        let model = is_ready(&namespace).await?;
        eprintln!("| from kubectl apply to Ready | {:.1} s |", start.elapsed().as_secs_f64());
        answers(&namespace).await?;
        let request = String::from_utf8(example("request.json"))?;
        let url = format!("http://iris.{}.svc.cluster.local/v2/models/iris/infer", namespace.name);
        assert_is_expected(&wget(&namespace, "client", &url, &request).await?);

        let status = model.status.as_ref().context("no status")?;
        assert_eq!(status.model.as_ref().and_then(|facts| facts.inputs_total), Some(4), "{status:?}");
        let servers = ListParams::default().labels("modelwright.dev/role=server");
        let pods = namespace.api::<Pod>().list(&servers).await?;
        let slowest = pods.iter().filter_map(start_of).max().context("no ready pod")?;
        eprintln!("| from pod scheduled to Ready, the slowest of {} | {slowest} s |", pods.items.len());
        let model = until(&namespace, "what the server told of its start", |model| {
            model
                .status
                .as_ref()
                .and_then(|status| status.cold_start.as_ref())
                .is_some_and(|start| start.session.is_some())
        })
        .await?;
        let status = model.status.unwrap_or_default();
        assert!(status.runtime.and_then(|runtime| runtime.version).is_some());
        eprintln!("| cold start | {:?} |", status.cold_start);

        let said =
            chart::helm(&["test", "modelwright", "--namespace", &namespace.name, "--timeout=3m"]).await?;
        assert!(said.contains("Succeeded"), "{said}");
        Ok(())
    })
    .await
}

/// What is wrong with the source, and what the Model says.
#[rstest]
#[case::text(Some(b"hello, this is no model".as_slice()), "NotOnnx")]
#[case::empty(Some(b"".as_slice()), "NotOnnx")]
#[case::missing(None, "SourceNotFound")]
#[tokio::test(flavor = "multi_thread")]
async fn bad_bytes_are_named(
    #[case] bytes: Option<&'static [u8]>,
    #[case] reason: &str,
) -> anyhow::Result<()> {
    with_namespace("bad", async |namespace| {
        let storage = prepared(&namespace).await?;
        let path = format!("{}/model.onnx", namespace.name);
        let uri = match bytes {
            Some(bytes) => storage.put(&path, bytes.to_vec()).await?,
            None => format!("s3://models/{path}"),
        };
        namespace.apply(&manifest(&uri, "")).await?;
        let model = has_reason(&namespace, reason).await?;
        assert!(words(&model).contains(&uri), "{}", words(&model));
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_key_is_a_denial_and_an_unreachable_store_is_named() -> anyhow::Result<()> {
    with_namespace("denied", async |namespace| {
        let storage = prepared(&namespace).await?;
        let uri = storage.put(&format!("{}/model.onnx", namespace.name), example("model.onnx")).await?;
        let secrets: Api<Secret> = namespace.api();
        let change = async |key: &str, value: &str| {
            let patch = json!({"stringData": {key: value}});
            secrets.patch(SECRET, &PatchParams::default(), &Patch::Merge(&patch)).await
        };
        change("AWS_SECRET_ACCESS_KEY", "wrong").await?;
        namespace.apply(&manifest(&uri, "")).await?;
        let model = has_reason(&namespace, "AccessDenied").await?;
        assert!(words(&model).contains(SECRET), "{}", words(&model));
        change("AWS_SECRET_ACCESS_KEY", SECRET_KEY).await?;
        change("AWS_ENDPOINT_URL", "http://nobody.s3:7070").await?;
        again(&namespace, "1").await?;
        has_reason(&namespace, "NameNotResolved").await?;
        change("AWS_ENDPOINT_URL", "http://s3.s3:7070").await?;
        again(&namespace, "2").await?;
        is_ready(&namespace).await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_secret_is_named_and_heals_when_it_is_there() -> anyhow::Result<()> {
    with_namespace("secret", async |namespace| {
        let storage = prepared(&namespace).await?;
        let uri = storage.put(&format!("{}/model.onnx", namespace.name), example("model.onnx")).await?;
        namespace.api::<Secret>().delete(SECRET, &DeleteParams::default()).await?;
        namespace.apply(&manifest(&uri, "")).await?;
        let model = has_reason(&namespace, "SecretMissing").await?;
        assert!(words(&model).contains(SECRET), "{}", words(&model));
        storage.create_secret(&namespace.name, SECRET).await?;
        let start = Instant::now();
        is_ready(&namespace).await?;
        eprintln!("| Secret created | healed in {:.1} s |", start.elapsed().as_secs_f64());
        Ok(())
    })
    .await
}

/// Requests one after the other until told to stop; how many, and how many failed.
pub(crate) fn load(
    namespace: &TestNamespace,
) -> (Arc<AtomicBool>, tokio::task::JoinHandle<anyhow::Result<(u64, u64)>>) {
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, client, name) = (stop.clone(), namespace.client.clone(), namespace.name.clone());
    let task = tokio::spawn(async move {
        let forward = Forward::to_service(client, &name, "iris", 80).await?;
        let (sent, failed) = (AtomicU64::new(0), AtomicU64::new(0));
        let http = reqwest::Client::builder().timeout(Duration::from_mins(1)).build()?;
        while !stopped.load(Ordering::Relaxed) {
            let request = http.post(forward.url("/v2/models/iris/infer")).body(example("request.json"));
            sent.fetch_add(1, Ordering::Relaxed);
            if !request.send().await.is_ok_and(|answer| answer.status() == 200) {
                failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok((sent.into_inner(), failed.into_inner()))
    });
    (stop, task)
}

#[tokio::test(flavor = "multi_thread")]
async fn corrupt_model_is_refused_while_the_former_answers_every_request() -> anyhow::Result<()> {
    with_namespace("corrupt", async |namespace| {
        let storage = prepared(&namespace).await?;
        let path = format!("{}/model.onnx", namespace.name);
        let uri = storage.put(&path, example("model.onnx")).await?;
        namespace.apply(&manifest(&uri, "")).await?;
        let first = is_ready(&namespace).await?;
        let (stop, requests) = load(&namespace);
        let mut corrupt = example("model.onnx");
        corrupt.truncate(corrupt.len() / 2);
        storage.put(&path, corrupt).await?;
        again(&namespace, "1").await?;
        let model =
            until(&namespace, "a refusal of the corrupt model", |model| model.holds(ConditionType::Stalled))
                .await?;
        eprintln!("| corrupt model | {} |", words(&model));
        let active = |model: &Model| {
            model
                .status
                .as_ref()
                .and_then(|status| status.revisions.as_ref()?.active.clone())
                .map(|active| active.digest)
        };
        assert_eq!(active(&model), active(&first));
        stop.store(true, Ordering::Relaxed);
        let (sent, failed) = requests.await??;
        eprintln!("| meanwhile | {sent} requests, {failed} failed |");
        assert!(sent > 0 && failed == 0, "{failed} of {sent}");
        // The running pod goes on, and a new one says what is wrong.
        let more = json!({"spec": {"serving": {"replicas": 2}}});
        namespace.api::<Model>().patch("iris", &PatchParams::default(), &Patch::Merge(&more)).await?;
        answers(&namespace).await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_bytes_are_said_when_scaled_up_and_copies_are_safe_from_that() -> anyhow::Result<()> {
    with_namespace("bytes", async |namespace| {
        let storage = prepared(&namespace).await?;
        let path = format!("{}/model.onnx", namespace.name);
        let uri = storage.put(&path, example("model.onnx")).await?;
        namespace.apply(&manifest(&uri, "")).await?;
        is_ready(&namespace).await?;
        storage.put(&path, b"other bytes".to_vec()).await?;
        let models = namespace.api::<Model>();
        let replicas = |count: i32| json!({"spec": {"serving": {"replicas": count}}});
        models.patch("iris", &PatchParams::default(), &Patch::Merge(&replicas(2))).await?;
        let model = has_reason(&namespace, "SourceChanged").await?;
        assert!(words(&model).contains("copyTo"), "{}", words(&model));
        answers(&namespace).await?;

        // With a copy of the right bytes another pod finds them whatever becomes of the source.
        storage.put(&path, example("model.onnx")).await?;
        let copy = json!({"spec": {"source": {"copyTo": {
            "uri": format!("s3://models/{}/copies", namespace.name), "credentialsSecretRef": {"name": SECRET},
        }}}});
        models.patch("iris", &PatchParams::default(), &Patch::Merge(&copy)).await?;
        is_ready(&namespace).await?;
        storage.put(&path, b"other bytes".to_vec()).await?;
        models.patch("iris", &PatchParams::default(), &Patch::Merge(&replicas(3))).await?;
        until(&namespace, "3 ready replicas", |model| {
            model.status.as_ref().and_then(|status| status.ready_replicas) == Some(3)
        })
        .await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_is_killed_for_memory_is_told_its_limit() -> anyhow::Result<()> {
    with_namespace("memory", async |namespace| {
        let storage = prepared(&namespace).await?;
        let uri = storage.put(&format!("{}/model.onnx", namespace.name), example("model.onnx")).await?;
        namespace.apply(&manifest(&uri, "  serving: {resources: {limits: {memory: 12Mi}}}\n")).await?;
        let model = has_reason(&namespace, "OutOfMemory").await?;
        assert!(words(&model).contains("12Mi"), "{}", words(&model));
        Ok(())
    })
    .await
}
