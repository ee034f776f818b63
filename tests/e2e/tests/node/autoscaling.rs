//! Load that comes and goes: the number of pods follows it, and no request fails.
use std::{
    collections::BTreeMap,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{AttachParams, LogParams, ObjectMeta};
use modelwright_api::{Model, conditions::ConditionType};
use modelwright_e2e::{
    cluster::program,
    images,
    namespace::{TestNamespace, with_namespace},
    pods,
    wait::{self, Seen},
};
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt as _, process::Child};

use crate::{
    operator::{manifest, prepared, words},
    serving::example,
};

/// A metrics server measures every 10 seconds, and twice before it knows something of a pod.
const TIMEOUT: Duration = Duration::from_mins(4);
/// Rows of one heavy request: some milliseconds of one CPU.
const ROWS: usize = 4_000;

/// The clients: three whose requests are heavy until the file `calm` is there, and one with light ones until the file `end`
/// is. Each says how many of its requests were answered, and how many failed.
const CLIENTS: &str = r#"
ask() { # FILE-UNTIL BODY PAUSE
  answered=0 failed=0
  while [ ! -e "/tmp/$1" ]; do
    if wget -q -O /dev/null --header 'Content-Type: application/json' --post-file "/requests/$2" "$URL"
    then answered=$((answered + 1)); else failed=$((failed + 1)); fi
    sleep "$3"
  done
  echo "answered $answered failed $failed"
}
for _ in 1 2 3; do ask calm heavy 0 & done
ask end light 0.1 &
wait
"#;

/// The request of the example with its rows again and again.
fn request(rows: usize) -> String {
    let mut request: Value = serde_json::from_slice(&example("request.json")).unwrap();
    for input in request["inputs"].as_array_mut().unwrap() {
        let known = input["data"].as_array().unwrap().clone();
        input["data"] = known.iter().cycle().take(rows).cloned().collect();
        input["shape"] = json!([rows, 1]);
    }
    request.to_string()
}

async fn start_clients(namespace: &TestNamespace) -> anyhow::Result<()> {
    let data = BTreeMap::from([("heavy".to_owned(), request(ROWS)), ("light".to_owned(), request(1))]);
    let metadata = ObjectMeta { name: Some("requests".to_owned()), ..ObjectMeta::default() };
    namespace.apply_object(&ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }).await?;
    let url = format!("http://iris.{}.svc.cluster.local/v2/models/iris/infer", namespace.name);
    let spec = json!({
        "terminationGracePeriodSeconds": 0,
        "containers": [{
            "name": "clients", "image": images::busybox(), "command": ["sh", "-c", CLIENTS],
            "env": [{"name": "URL", "value": url}],
            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, {"name": "requests", "mountPath": "/requests"}],
        }],
        "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "requests", "configMap": {"name": "requests"}}],
    });
    let pod = pods::restricted("clients", spec)?;
    namespace.apply_object(&pod).await.map(|_| ())
}

/// Makes a file in the clients' pod, which they look for.
async fn tell_clients(namespace: &TestNamespace, file: &str) -> anyhow::Result<()> {
    let make = format!(": >/tmp/{file}");
    let mut process = namespace
        .api::<Pod>()
        .exec("clients", ["sh", "-c", &make], &AttachParams::default().stderr(false))
        .await?;
    // The command is over when its output is.
    if let Some(mut output) = process.stdout() {
        output.read_to_end(&mut Vec::new()).await?;
    }
    process.join().await.context("cannot tell the clients")
}

/// How many requests were answered, and how many failed.
async fn counted(namespace: &TestNamespace) -> anyhow::Result<(u64, u64)> {
    let pods = namespace.api::<Pod>();
    wait::pod(&pods, "clients", "the clients' end", TIMEOUT, |pod| {
        pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Succeeded")
    })
    .await?;
    let log = pods.logs("clients", &LogParams::default()).await?;
    let (mut answered, mut failed) = (0, 0);
    for line in log.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["answered", yes, "failed", no] => {
                answered += yes.parse::<u64>()?;
                failed += no.parse::<u64>()?;
            }
            _ => eprintln!("clients: {line}"),
        }
    }
    Ok((answered, failed))
}

/// Waits until the Model has as many ready pods as `wanted` says; how many seconds that took.
async fn pods_are(
    namespace: &TestNamespace,
    awaited: &str,
    wanted: impl Fn(i32) -> bool,
) -> anyhow::Result<f64> {
    let start = Instant::now();
    wait::object(&namespace.api::<Model>(), "iris", awaited, TIMEOUT, |model| {
        let status = model.status.clone().unwrap_or_default();
        let (desired, ready) = (status.desired_replicas.unwrap_or(0), status.ready_replicas.unwrap_or(0));
        let there = wanted(ready) && desired == ready && status.replicas == Some(ready);
        let seen = format!("{desired} wanted, {:?} there, {ready} ready; {}", status.replicas, words(model));
        Seen::or_else_saw((there && model.holds(ConditionType::Ready)).then_some(()), seen)
    })
    .await?;
    Ok(start.elapsed().as_secs_f64())
}

/// `kubectl get mdl -w` in the background.
fn watch(namespace: &TestNamespace) -> anyhow::Result<Child> {
    let mut kubectl = tokio::process::Command::from(program("kubectl"));
    kubectl.args(["get", "mdl", "-o", "wide", "--watch", "-n", &namespace.name]);
    kubectl.stdout(Stdio::piped()).kill_on_drop(true).spawn().context("cannot run kubectl")
}

#[tokio::test(flavor = "multi_thread")]
async fn autoscaler_follows_load_up_and_down_and_no_request_fails() -> anyhow::Result<()> {
    with_namespace("autoscaling", async |namespace| {
        let storage = prepared(&namespace).await?;
        let uri = storage.put(&format!("{}/model.onnx", namespace.name), example("model.onnx")).await?;
        // The autoscaler wants 40m of each pod. The light client takes up to 10m of a debug build on a slow machine, so one pod
        // is enough again once it is calm; the heavy ones take more than half a processor.
        let serving = "  serving:\n    resources: {requests: {cpu: 80m}}\n    \
                       autoscaling:\n      minReplicas: 1\n      maxReplicas: 4\n      cpu: 50\n      \
                       behavior:\n        scaleUp: {stabilizationWindowSeconds: 0}\n        \
                       scaleDown: {stabilizationWindowSeconds: 0, policies: [{type: Pods, value: 4, periodSeconds: 5}]}\n";
        namespace.apply(&manifest(&uri, serving)).await?;
        pods_are(&namespace, "one pod", |ready| ready == 1).await?;
        let mut kubectl = watch(&namespace)?;
        start_clients(&namespace).await?;
        let up = pods_are(&namespace, "4 pods", |ready| ready == 4).await?;
        eprintln!("| load begins | 4 pods are ready after {up:.0} s |");
        tell_clients(&namespace, "calm").await?;
        let down = pods_are(&namespace, "one pod again", |ready| ready == 1).await?;
        eprintln!("| load ends | one pod is left after {down:.0} s |");
        tell_clients(&namespace, "end").await?;
        let (answered, failed) = counted(&namespace).await?;
        eprintln!("| meanwhile | {answered} requests answered, {failed} failed |");

        kubectl.start_kill()?;
        let mut table = String::new();
        if let Some(mut output) = kubectl.stdout.take() {
            output.read_to_string(&mut table).await?;
        }
        eprintln!("{table}");
        assert!(answered > 0 && failed == 0, "{failed} of {answered} failed");
        Ok(())
    })
    .await
}
