//! A load generator in a pod of the cluster, so that requests reach the Service as those of other pods do: at its cluster
//! IP, by the rules of every node.
//!
//! The program comes by way of the store, so that any cluster can run it with the images that there are.
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Pod, Service},
};
use kube::api::{DeleteParams, LogParams, ObjectMeta};
use modelwright_protocol::grpc::inference::{ModelInferRequest, model_infer_request::InferInputTensor};
use prost::Message as _;
use serde::Deserialize;
use serde_json::{Value, json};

use super::record::{self, Line, Window};
use crate::{
    images,
    namespace::TestNamespace,
    pods,
    storage::Storage,
    wait::{self, Seen},
};

/// Until the program runs, or what it did has been written.
const TIMEOUT: Duration = Duration::from_mins(2);
/// How long the pods of a cluster may read the program from the store.
const LINK: Duration = Duration::from_hours(1);

/// What a generator does.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Requests a second of each of the two kinds.
    pub rate: u32,
    /// Connections of HTTP/1.1 that are kept; 0: none of these requests.
    pub http: usize,
    /// Connections of gRPC; 0: no calls.
    pub grpc: usize,
}

/// A generator that runs until it is stopped, or its namespace ends.
pub struct Generator {
    namespace: TestNamespace,
    pod: String,
}

/// The time, as the generator's log has it.
pub fn now() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Generator {
    /// Starts a generator called `name` that sends `request`, in JSON of V2 with numbers of FP32, to the Model's Service;
    /// waits until it has answers of each kind.
    pub async fn start(
        namespace: &TestNamespace,
        storage: &Storage,
        name: &str,
        model: &str,
        request: &[u8],
        shape: Shape,
    ) -> anyhow::Result<Self> {
        let bodies = BTreeMap::from([
            ("request.json".to_owned(), ByteString(request.to_vec())),
            ("request.grpc".to_owned(), ByteString(grpc_request(model, request)?)),
        ]);
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let config = ConfigMap { metadata, binary_data: Some(bodies), ..ConfigMap::default() };
        namespace.apply_object(&config).await?;
        let service = namespace.api::<Service>().get(model).await?;
        let address =
            service.spec.and_then(|spec| spec.cluster_ip).context("the Service has no cluster IP")?;
        let environment = json!([
            {"name": "LOAD_RATE", "value": shape.rate.to_string()},
            {"name": "LOAD_HTTP", "value": format!("{address}:80")},
            {"name": "LOAD_PATH", "value": format!("/v2/models/{model}/infer")},
            {"name": "LOAD_HTTP_CONNECTIONS", "value": shape.http.to_string()},
            {"name": "LOAD_GRPC", "value": format!("{address}:9000")},
            {"name": "LOAD_GRPC_CONNECTIONS", "value": shape.grpc.to_string()},
        ]);
        namespace
            .apply_object(&pod(name, &link(storage, namespace).await?, &environment, Some(name))?)
            .await?;
        let generator = Self { namespace: namespace.clone(), pod: name.to_owned() };
        wait::wait_for(format!("answers to the requests of {name}"), TIMEOUT, || async {
            let lines = generator.lines().await?;
            let tick = lines
                .iter()
                .rev()
                .find_map(|line| if let Line::Tick(tick) = line { Some(tick) } else { None });
            let answered = tick.is_some_and(|tick| {
                (tick.http.ok > 0 || shape.http == 0) && (tick.grpc.ok > 0 || shape.grpc == 0)
            });
            Ok(Seen::or_else_saw(
                answered.then_some(()),
                format!("{:?}", lines.iter().rev().take(3).collect::<Vec<_>>()),
            ))
        })
        .await?;
        Ok(generator)
    }

    /// What became of the requests that were begun between two times.
    pub async fn between(&self, begin: u64, end: u64) -> anyhow::Result<Window> {
        wait::wait_for(format!("what became of the requests of {}", self.pod), TIMEOUT, || async {
            let lines = self.lines().await?;
            let last = format!("{:?}", lines.last());
            Ok(Seen::or_else_saw(Window::between(&lines, begin, end), last))
        })
        .await
    }

    /// Ends it.
    pub async fn stop(self) -> anyhow::Result<()> {
        let pods = self.namespace.api::<Pod>();
        pods.delete(&self.pod, &DeleteParams::default().grace_period(0)).await?;
        wait::gone(&pods, &self.pod, TIMEOUT).await
    }

    async fn lines(&self) -> anyhow::Result<Vec<Line>> {
        let log = self.namespace.api::<Pod>().logs(&self.pod, &LogParams::default()).await?;
        Ok(record::read(&log))
    }
}

/// Sends bodies to a pod that are larger than its memory, until `over` completes.
pub(super) async fn flood(
    namespace: &TestNamespace,
    storage: &Storage,
    address: &str,
    over: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let environment = json!([{"name": "LOAD_FLOOD", "value": address}]);
    let (name, link) = ("flood", link(storage, namespace).await?);
    namespace.apply_object(&pod(name, &link, &environment, None)?).await?;
    let outcome = over.await;
    let pods = namespace.api::<Pod>();
    pods.delete(name, &DeleteParams::default().grace_period(0)).await?;
    wait::gone(&pods, name, TIMEOUT).await?;
    outcome
}

/// A pod that runs the program, with the bodies of this ConfigMap.
fn pod(name: &str, link: &str, environment: &Value, bodies: Option<&str>) -> anyhow::Result<Pod> {
    let get = format!("wget -q -O /program/load '{link}' && busybox chmod +x /program/load");
    let bodies = bodies.map_or_else(
        || json!({"name": "load", "emptyDir": {}}),
        |name| json!({"name": "load", "configMap": {"name": name}}),
    );
    let spec = json!({
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": 0,
        // It stays where a node is not heard of for so long that Kubernetes replaces pods.
        "tolerations": [{"operator": "Exists", "effect": "NoExecute"}],
        "initContainers": [{
            "name": "program", "image": images::busybox(), "args": ["sh", "-c", get],
            "volumeMounts": [{"name": "program", "mountPath": "/program"}],
        }],
        // For its C library.
        "containers": [{
            "name": "load", "image": images::modelwright(), "command": ["/program/load"], "env": environment,
            "volumeMounts": [
                {"name": "program", "mountPath": "/program"}, {"name": "load", "mountPath": "/load"},
            ],
        }],
        "volumes": [{"name": "program", "emptyDir": {}}, bodies],
    });
    pods::restricted(name, spec)
}

/// Where pods of the namespace find the program.
async fn link(storage: &Storage, namespace: &TestNamespace) -> anyhow::Result<String> {
    let path = format!("{}/load-generator", namespace.name);
    if storage.list(&namespace.name).await?.iter().all(|present| *present != path) {
        storage.put(&path, stripped(&crate::operator::program_called("load-generator")?)?).await?;
    }
    storage.link(&path, LINK).await
}

/// The program without what only debuggers need, if that can be had: it is most of a debug build.
fn stripped(program: &Path) -> anyhow::Result<Vec<u8>> {
    let file: PathBuf = std::env::temp_dir().join(format!("load-generator-{}", std::process::id()));
    let status = Command::new("strip").arg("-o").arg(&file).arg(program).status();
    let read = if status.is_ok_and(|status| status.success()) { &file } else { program };
    let bytes = std::fs::read(read).with_context(|| format!("cannot read {}", read.display()));
    let _ = std::fs::remove_file(&file);
    bytes
}

/// A request of V2 whose inputs are numbers of FP32, as a message of gRPC.
fn grpc_request(model: &str, json: &[u8]) -> anyhow::Result<Vec<u8>> {
    #[derive(Deserialize)]
    struct Request {
        inputs: Vec<Input>,
    }
    #[derive(Deserialize)]
    struct Input {
        name: String,
        shape: Vec<i64>,
        datatype: String,
        data: Vec<f32>,
    }
    let request: Request = serde_json::from_slice(json).context("the request is none of FP32")?;
    let raw =
        |input: &Input| input.data.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into();
    let message = ModelInferRequest {
        model_name: model.to_owned(),
        raw_input_contents: request.inputs.iter().map(raw).collect(),
        inputs: request
            .inputs
            .into_iter()
            .map(|Input { name, shape, datatype, .. }| InferInputTensor {
                name,
                shape,
                datatype,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    Ok(message.encode_to_vec())
}
