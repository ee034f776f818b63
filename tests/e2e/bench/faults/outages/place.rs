//! A namespace with an operator and a Model that answers requests.
use std::{
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Service},
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use modelwright_api::{Model, conditions::ConditionType, status::ConditionStatus};
use modelwright_e2e::{
    chart, cluster,
    disruption::generator::{Generator, Shape},
    namespace::TestNamespace,
    outage::programs::Programs,
    storage::Storage,
    wait::{self, Seen},
};
use serde_json::{Value, json};

/// Until what was set going is done, on a busy machine.
pub(crate) const TIMEOUT: Duration = Duration::from_mins(10);
/// The pods that serve.
pub(crate) const REPLICAS: i32 = 2;
/// How long a look at the API server may take.
const LOOK: Duration = Duration::from_secs(5);
/// What makes this program [`knock`].
pub(crate) const KNOCK: &str = "knock";
/// What [`knock`] says where no connection can be made.
const NOBODY: &str = "nobody";
const NAME: &str = "bench-faults";
const MODEL: &str = "iris";

/// Everything that scenarios work with.
pub(crate) struct Place {
    pub(crate) client: Client,
    pub(crate) programs: Programs,
    pub(crate) load: Generator,
    namespace: TestNamespace,
}

/// A file of the example that is served.
pub(crate) fn example(file: &str) -> PathBuf {
    chart::folder().join("../../examples/iris-classifier").join(file)
}

impl Place {
    /// Installs an operator, applies a Model, and begins with the requests when it serves.
    pub(crate) async fn prepare(rate: u32) -> anyhow::Result<Self> {
        let programs = Programs::of_kubeconfig()?;
        let client = cluster::connect().await?;
        let name = NAME.to_owned();
        let namespace = TestNamespace { client: client.clone(), name: name.clone() };
        let object: Namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        Api::all(client.clone()).create(&PostParams::default(), &object).await?;
        let storage = Storage::connect(client.clone()).await?;
        let model = std::fs::read(example("model.onnx")).context("cannot read the example's model")?;
        let uri = storage.put(&format!("{NAME}/model.onnx"), model).await?;
        storage.create_secret(&name, "s3").await?;
        chart::install(&namespace).await?;
        let manifest = json!({
            "apiVersion": "modelwright.dev/v1alpha1", "kind": "Model", "metadata": {"name": MODEL},
            "spec": {
                "source": {"uri": uri, "credentialsSecretRef": {"name": "s3"}},
                "serving": {"replicas": REPLICAS},
            },
        });
        namespace.apply(&manifest.to_string()).await?;
        serving(&namespace, REPLICAS).await?;
        let request = std::fs::read(example("request.json")).context("cannot read the example's request")?;
        let shape = Shape { rate, http: 8, grpc: 4 };
        let load = Generator::start(&namespace, &storage, "load", MODEL, &request, shape).await?;
        Ok(Self { client, programs, load, namespace })
    }

    /// Asks for that many pods, as soon as the API server takes it, and waits until they serve and nothing is being changed.
    /// How long that took.
    pub(crate) async fn rescaled(&self, replicas: i32) -> anyhow::Result<Duration> {
        let start = Instant::now();
        self.ask_for(replicas).await?;
        serving(&self.namespace, replicas).await?;
        Ok(start.elapsed())
    }

    /// Waits until that many pods serve. How long that took.
    pub(crate) async fn serving(&self, replicas: i32) -> anyhow::Result<Duration> {
        let start = Instant::now();
        serving(&self.namespace, replicas).await?;
        Ok(start.elapsed())
    }

    /// Asks for that many pods, as soon as the API server takes it.
    pub(crate) async fn ask_for(&self, replicas: i32) -> anyhow::Result<()> {
        let patch = json!({"spec": {"serving": {"replicas": replicas}}});
        let models = self.namespace.api::<Model>();
        wait::wait_for("the API server to take a change", TIMEOUT, || async {
            let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
            let taken = tokio::time::timeout(LOOK, models.patch(MODEL, &params, &patch)).await;
            Ok(Seen::Done(taken.context("no answer")??))
        })
        .await
        .map(|_| ())
    }

    /// Back to what there was before a scenario.
    pub(crate) async fn as_before(&self) -> anyhow::Result<()> {
        self.rescaled(REPLICAS).await.map(|_| ())
    }

    /// What `kubectl get mdl` and the condition `Ready` say.
    pub(crate) async fn seen(&self) -> String {
        let models = self.namespace.api::<Model>();
        match tokio::time::timeout(LOOK, models.get(MODEL)).await {
            Ok(Ok(model)) => words(&model),
            Ok(Err(error)) => format!("kubectl: {error}"),
            Err(_) => "kubectl: no answer".to_owned(),
        }
    }

    /// Waits until the condition `Ready` says that; what it says.
    pub(crate) async fn says(&self, part: &str) -> anyhow::Result<String> {
        let models = self.namespace.api::<Model>();
        wait::object(&models, MODEL, format!("{part:?} in condition Ready"), TIMEOUT, |model| {
            let words = words(model);
            Seen::or_else_saw(words.contains(part).then(|| words.clone()), &words)
        })
        .await
    }

    /// Changes the number of pods of a Deployment, and waits until there are so many.
    pub(crate) async fn scale(&self, namespace: &str, name: &str, replicas: i32) -> anyhow::Result<()> {
        let deployments = Api::<Deployment>::namespaced(self.client.clone(), namespace);
        merge(&deployments, name, &json!({"spec": {"replicas": replicas}})).await?;
        wait::deployment_available(&deployments, name, TIMEOUT).await.map(|_| ())
    }

    /// Waits until nobody answers at a Service: the rules of a node are as its objects say only a moment later.
    pub(crate) async fn until_away(&self, namespace: &str, service: &str) -> anyhow::Result<()> {
        let spec = Api::<Service>::namespaced(self.client.clone(), namespace).get(service).await?.spec;
        let spec = spec.context("the Service has no spec")?;
        let ports = spec.ports.unwrap_or_default();
        let port = ports.iter().find(|port| port.protocol.as_deref() == Some("TCP"));
        let (host, port) = spec.cluster_ip.zip(port).context("the Service has no port at a cluster IP")?;
        let (this, address) = (std::env::current_exe()?, format!("{host}:{}", port.port));
        wait::wait_for(format!("nobody to answer at {address}"), TIMEOUT, || async {
            let told = self.programs.within_network(&this)?.args([KNOCK, &address]).output()?;
            let told = String::from_utf8_lossy(&told.stdout);
            Ok(Seen::or_else_saw((told.trim() == NOBODY).then_some(()), told))
        })
        .await
    }

    /// The operator's Deployment: its namespace and its name.
    pub(crate) fn operator(&self) -> (&str, String) {
        (&self.namespace.name, format!("{}-operator", self.namespace.name))
    }

    /// Ends the requests and deletes the namespace.
    pub(crate) async fn remove(self) -> anyhow::Result<()> {
        let Self { client, programs: _, load, namespace } = self;
        load.stop().await?;
        Api::<Namespace>::all(client).delete(&namespace.name, &DeleteParams::default()).await?;
        Ok(())
    }
}

/// Says whether a connection to the address can be made from the network in which this process is.
pub(crate) fn knock(address: &str) -> anyhow::Result<()> {
    let address: SocketAddr = address.parse()?;
    match TcpStream::connect_timeout(&address, Duration::from_secs(1)) {
        Ok(_) => println!("somebody"),
        Err(_) => println!("{NOBODY}"),
    }
    Ok(())
}

/// Changes an object.
pub(crate) async fn merge<K>(api: &Api<K>, name: &str, patch: &Value) -> anyhow::Result<()>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

/// Waits until that many pods serve and nothing is being changed.
async fn serving(namespace: &TestNamespace, replicas: i32) -> anyhow::Result<()> {
    let awaited = format!("{replicas} pods that serve");
    wait::object(&namespace.api::<Model>(), MODEL, awaited, TIMEOUT, |model| {
        let status = model.status.clone().unwrap_or_default();
        let current = status.observed_generation == model.metadata.generation;
        let all = status.ready_replicas == Some(replicas) && status.replicas == Some(replicas);
        let rests = model
            .condition(ConditionType::Progressing)
            .is_some_and(|condition| condition.status == ConditionStatus::False);
        let done = current && all && rests && model.holds(ConditionType::Ready);
        Seen::or_else_saw(done.then_some(()), words(model))
    })
    .await
}

fn words(model: &Model) -> String {
    model.condition(ConditionType::Ready).map_or_else(
        || "no condition".to_owned(),
        |ready| format!("READY {:?}, REASON {}: {}", ready.status, ready.reason, ready.message),
    )
}
