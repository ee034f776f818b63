//! A Model whose pods change while it is sent requests.
use std::time::{Duration, Instant};

use kube::ResourceExt as _;
use modelwright_api::{Model, conditions::ConditionType};

use super::{
    Row,
    generator::{self, Generator, Shape},
    pods::{self, TIMEOUT},
};
use crate::{
    chart,
    namespace::TestNamespace,
    storage::Storage,
    wait::{self, Seen},
};

/// How long requests go on after an event, to see that it is over.
const AFTER: Duration = Duration::from_secs(1);
const MODEL: &str = "iris";
const SECRET: &str = "s3";

/// A Model with `autoscaling.mode: External`, so that the number of its pods is the test's.
pub struct Stage {
    /// Where it is.
    pub namespace: TestNamespace,
    /// Where its source is.
    pub storage: Storage,
    /// Its name.
    pub model: String,
    /// Its source: a path in the store.
    pub path: String,
    /// A request to it in JSON of V2, with numbers of FP32.
    pub request: Vec<u8>,
}

impl Stage {
    /// An operator of the namespace's own and a Model of these bytes with so many pods, all ready.
    pub async fn prepare(
        namespace: &TestNamespace,
        onnx: Vec<u8>,
        request: Vec<u8>,
        replicas: usize,
    ) -> anyhow::Result<Self> {
        let storage = Storage::connect(namespace.client.clone()).await?;
        storage.create_secret(&namespace.name, SECRET).await?;
        chart::install(namespace).await?;
        let path = format!("{}/model.onnx", namespace.name);
        let uri = storage.put(&path, onnx).await?;
        // Little enough memory that requests can exhaust it.
        let manifest = format!(
            "apiVersion: modelwright.dev/v1alpha1\nkind: Model\nmetadata: {{name: {MODEL}}}\nspec:\n  \
             source: {{uri: '{uri}', credentialsSecretRef: {{name: {SECRET}}}}}\n  serving:\n    \
             autoscaling: {{mode: External}}\n    limits: {{requestTimeout: 30s}}\n    \
             resources: {{limits: {{memory: 192Mi}}}}\n"
        );
        namespace.apply(&manifest).await?;
        let stage = Self { namespace: namespace.clone(), storage, model: MODEL.to_owned(), path, request };
        wait::object(&namespace.api::<Model>(), MODEL, "Ready", TIMEOUT, |model: &Model| {
            let ready = model.condition(ConditionType::Ready);
            Seen::or_else_saw(model.holds(ConditionType::Ready).then_some(()), format!("{ready:?}"))
        })
        .await?;
        stage.scale(replicas).await?;
        Ok(stage)
    }

    /// Starts requests to the Model, by a generator of that name.
    pub async fn load(&self, name: &str, shape: Shape) -> anyhow::Result<Generator> {
        Generator::start(&self.namespace, &self.storage, name, &self.model, &self.request, shape).await
    }

    /// Counts the requests around an event.
    pub async fn during<T>(
        &self,
        event: &str,
        load: &Generator,
        happens: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<(Row, T)> {
        let (begin, start) = (generator::now(), Instant::now());
        let outcome = Box::pin(happens).await?;
        let settled = start.elapsed();
        tokio::time::sleep(AFTER).await;
        let window = load.between(begin, generator::now()).await?;
        let last_failure = Duration::from_millis(window.last_failure_after(begin));
        let failing = Duration::from_millis(window.failing());
        let row = Row { event: event.to_owned(), window, settled, last_failure, failing };
        eprintln!("{row}");
        for failure in row.window.failures.iter().take(5) {
            eprintln!("  {} ms: {failure:?}", failure.begun.saturating_sub(begin));
        }
        Ok((row, outcome))
    }

    /// Waits until each of `replicas` servers has answered further calls of gRPC; how many each.
    pub async fn spread(&self, replicas: usize) -> anyhow::Result<Vec<u64>> {
        let servers = pods::at_rest(&self.namespace, &self.model, replicas, &pods::names(&[])).await?;
        let calls = || async {
            let mut calls = Vec::new();
            for pod in &servers {
                calls.push(pods::calls(&self.namespace, &pod.name_any()).await?);
            }
            anyhow::Ok(calls)
        };
        let before = calls().await?;
        wait::wait_for(format!("calls to each of {replicas} servers"), TIMEOUT, || async {
            let further: Vec<_> =
                calls().await?.iter().zip(&before).map(|(now, before)| now.saturating_sub(*before)).collect();
            let (all, seen) = (further.iter().all(|calls| *calls > 0), format!("{further:?}"));
            Ok(Seen::or_else_saw(all.then_some(further), seen))
        })
        .await
    }
}
