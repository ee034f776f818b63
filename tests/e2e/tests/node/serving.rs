//! The image in pods that were written by hand: it resolves and fetches from a store, and serves inside and outside the
//! cluster.
use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ContainerStateTerminated, Namespace, Pod},
};
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, LogParams, Patch, PatchParams},
};
use modelwright_api::{ExitCode, Outcome};
use modelwright_e2e::{
    forward::Forward,
    images,
    namespace::{TestNamespace, with_namespace},
    pods,
    storage::Storage,
    wait::{self, Seen},
};
use serde_json::{Value, json};

/// Until pods of images that are there already have run.
pub(crate) const TIMEOUT: Duration = Duration::from_mins(2);
pub(crate) const SECRET: &str = "s3";

pub(crate) fn example(file: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/iris-classifier");
    fs::read(folder.join(file)).unwrap()
}

/// Lets the namespace take only pods that keep to the strictest of Kubernetes' pod security standards.
pub(crate) async fn restrict(namespace: &TestNamespace) -> anyhow::Result<()> {
    let namespaces: Api<Namespace> = Api::all(namespace.client.clone());
    let labels = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    namespaces.patch(&namespace.name, &PatchParams::default(), &Patch::Merge(&labels)).await?;
    Ok(())
}

/// A pod that runs one command and ends. `environment` comes from the Secret, if it is there.
fn command(name: &str, image: &str, arguments: &Value, environment: &[&str]) -> anyhow::Result<Pod> {
    let environment: Vec<_> = environment
        .iter()
        .map(|key| json!({"name": key, "valueFrom": {"secretKeyRef": {"name": SECRET, "key": key, "optional": true}}}))
        .collect();
    let container = json!({
        "name": "command",
        "image": image,
        "args": arguments,
        "env": environment,
        "volumeMounts": [{"name": "model", "mountPath": "/models"}],
    });
    pods::restricted(name, json!({"containers": [container], "volumes": [{"name": "model", "emptyDir": {}}]}))
}

const STORE: [&str; 4] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL"];

/// Runs a pod to its end.
async fn ended(namespace: &TestNamespace, pod: &Pod) -> anyhow::Result<ContainerStateTerminated> {
    namespace.apply_object(pod).await?;
    wait::object(&namespace.api::<Pod>(), &pod.name_any(), "its end", TIMEOUT, |pod| {
        let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
        let state = containers.and_then(|containers| containers.first()?.state.clone());
        Seen::or_else_saw(state.as_ref().and_then(|state| state.terminated.clone()), format!("{state:?}"))
    })
    .await
}

/// Runs a command of the image under test and returns its exit code and what it says came of it.
async fn modelwright(
    namespace: &TestNamespace,
    name: &str,
    arguments: Value,
) -> anyhow::Result<(i32, Outcome)> {
    let ended = ended(namespace, &command(name, &images::modelwright(), &arguments, &STORE)?).await?;
    let message = ended.message.context("no termination message")?;
    let outcome = Outcome::read(&message).with_context(|| format!("{message:?} is no outcome"))?;
    Ok((ended.exit_code, outcome))
}

/// What a client inside the cluster gets.
pub(crate) async fn wget(
    namespace: &TestNamespace,
    name: &str,
    url: &str,
    body: &str,
) -> anyhow::Result<Value> {
    let arguments = json!([
        "wget",
        "-q",
        "-O",
        "-",
        "--header",
        "Content-Type: application/json",
        "--post-data",
        body,
        url
    ]);
    let ended = ended(namespace, &command(name, &images::busybox(), &arguments, &[])?).await?;
    let log = namespace.api::<Pod>().logs(name, &LogParams::default()).await?;
    ensure!(ended.exit_code == 0, "wget {url}: {log}");
    serde_json::from_str(&log).with_context(|| format!("{url} answered {log:?}"))
}

/// Whether a client in this namespace gets an answer.
pub(crate) async fn reaches(namespace: &TestNamespace, name: &str, url: &str) -> anyhow::Result<bool> {
    let arguments = json!(["wget", "-q", "-O", "/dev/null", url]);
    Ok(ended(namespace, &command(name, &images::busybox(), &arguments, &[])?).await?.exit_code == 0)
}

/// Compares an answer with what ONNX Runtime in Python answered: names and texts exactly, numbers to 1e-6.
pub(crate) fn assert_is_expected(answer: &Value) {
    let expected: Value = serde_json::from_slice(&example("expected.json")).unwrap();
    let outputs = |value: &Value| -> BTreeMap<String, Value> {
        let outputs = value["outputs"].as_array().unwrap_or_else(|| panic!("no outputs: {answer}"));
        outputs
            .iter()
            .map(|output| (output["name"].as_str().unwrap().to_owned(), output["data"].clone()))
            .collect()
    };
    let (answered, expected) = (outputs(answer), outputs(&expected));
    assert_eq!(answered["label"], expected["label"]);
    let numbers = |value: &Value| -> Vec<f64> { serde_json::from_value(value.clone()).unwrap() };
    let (answered, expected) = (numbers(&answered["probabilities"]), numbers(&expected["probabilities"]));
    assert_eq!(answered.len(), expected.len());
    for (answered, expected) in answered.iter().zip(&expected) {
        assert!((answered - expected).abs() < 1e-6, "{answered} is not {expected}");
    }
}

/// Deploys the server of the example and waits until it is ready.
async fn deploy(namespace: &TestNamespace, uri: &str, digest: &str) -> anyhow::Result<()> {
    let manifest = include_str!("server.yaml")
        .replace("@image@", &images::modelwright())
        .replace("@uri@", uri)
        .replace("@digest@", digest)
        .replace("@secret@", SECRET);
    namespace.apply(&manifest).await?;
    wait::deployment_available(&namespace.api::<Deployment>(), "iris", TIMEOUT).await?;
    Ok(())
}

/// The example's model in the store under a path of the test's own, and its digest as a pod resolves it.
async fn stored(namespace: &TestNamespace) -> anyhow::Result<(String, String)> {
    let storage = Storage::connect(namespace.client.clone()).await?;
    let uri = storage.put(&format!("{}/model.onnx", namespace.name), example("model.onnx")).await?;
    storage.create_secret(&namespace.name, SECRET).await?;
    let arguments = json!(["resolve", "--uri", uri, "--execution-provider", "CPU"]);
    let (code, outcome) = modelwright(namespace, "resolve", arguments).await?;
    assert_eq!((code, outcome.ok), (0, true), "{outcome:?}");
    assert_eq!(outcome.inputs_total, Some(4), "{outcome:?}");
    Ok((uri, outcome.digest.context("resolve names no digest")?))
}

#[tokio::test]
async fn model_is_fetched_from_a_bucket_and_served_inside_and_outside() -> anyhow::Result<()> {
    with_namespace("serving", async |namespace| {
        restrict(&namespace).await?;
        let (uri, digest) = stored(&namespace).await?;
        deploy(&namespace, &uri, &digest).await?;

        let request = String::from_utf8(example("request.json"))?;
        let path = "/v2/models/iris/infer";
        let url = format!("http://iris.{}.svc.cluster.local{path}", namespace.name);
        assert_is_expected(&wget(&namespace, "by-full-name", &url, &request).await?);
        assert_is_expected(
            &wget(&namespace, "by-short-name", &format!("http://iris{path}"), &request).await?,
        );

        let forward = Forward::to_service(namespace.client.clone(), &namespace.name, "iris", 80).await?;
        let answer = reqwest::Client::new().post(forward.url(path)).body(request).send().await?;
        assert_eq!(answer.status(), 200);
        assert_is_expected(&serde_json::from_slice(&answer.bytes().await?)?);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn pod_tells_what_it_fetched_and_measures() -> anyhow::Result<()> {
    with_namespace("facts", async |namespace| {
        let (uri, digest) = stored(&namespace).await?;
        deploy(&namespace, &uri, &digest).await?;
        let pods = namespace.api::<Pod>();
        let labels = ListParams::default().labels("modelwright.dev/role=server");
        let pod = pods.list(&labels).await?.into_iter().next().context("no server pod")?;
        let status = pod.status.context("no status")?;
        let ended = status
            .init_container_statuses
            .context("no init container")?
            .remove(0)
            .state
            .context("no state")?;
        let fetched =
            Outcome::read(&ended.terminated.context("fetch has not ended")?.message.unwrap_or_default());
        let fetched = fetched.context("fetch says nothing")?;
        assert_eq!(fetched.digest.as_deref(), Some(digest.as_str()), "{fetched:?}");
        let forward =
            Forward::to_pod(namespace.client.clone(), &namespace.name, &pod.metadata.name.unwrap(), 9090)
                .await?;
        let metrics = reqwest::get(forward.url("/metrics")).await?.text().await?;
        assert!(metrics.contains("modelwright_"), "{metrics}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn failures_are_readable_in_the_pod() -> anyhow::Result<()> {
    with_namespace("failures", async |namespace| {
        // Without the Secret the store cannot be reached: variables that pods do not get are no crash.
        let missing = json!(["resolve", "--uri", "s3://models/nothing", "--execution-provider", "CPU"]);
        let (code, outcome) = modelwright(&namespace, "no-secret", missing.clone()).await?;
        assert!(!outcome.ok && code != 0 && !outcome.message.is_empty(), "{code} {outcome:?}");

        let (uri, _) = stored(&namespace).await?;
        let (code, outcome) = modelwright(&namespace, "nothing-there", missing).await?;
        assert_eq!(code, ExitCode::InputMissing as i32, "{outcome:?}");

        let other = format!("sha256:{}", "0".repeat(64));
        let fetch = json!(["fetch", "--uri", uri, "--digest", other, "--out", "/models"]);
        let (code, outcome) = modelwright(&namespace, "other-bytes", fetch).await?;
        assert_eq!(code, ExitCode::DigestMismatch as i32, "{outcome:?}");
        assert!(outcome.message.contains(&other) && outcome.message.contains("found sha256:"), "{outcome:?}");
        Ok(())
    })
    .await
}
