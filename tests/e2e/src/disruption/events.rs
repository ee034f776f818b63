//! What happens to the pods of a Model, each to its end.
use anyhow::Context as _;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, ResourceExt as _,
    api::{EvictParams, Patch, PatchParams},
};
use modelwright_api::{Model, conditions::ConditionType, contract::annotations};
use serde_json::{Value, json};

use super::{
    Stage, generator,
    pods::{self, TIMEOUT},
};
use crate::wait::{self, Seen};

impl Stage {
    async fn patch_model(&self, patch: &Value) -> anyhow::Result<()> {
        let models: Api<Model> = self.namespace.api();
        models.patch(&self.model, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Waits until every pod is another one than now and ready, after `change`.
    async fn replaced(&self, change: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
        let former = pods::servers(&self.namespace, &self.model).await?;
        Box::pin(change).await?;
        pods::at_rest(&self.namespace, &self.model, former.len(), &pods::names(&former)).await?;
        let ready = |model: &Model| {
            let observed = model.status.as_ref().and_then(|status| status.observed_generation);
            observed == model.metadata.generation && model.holds(ConditionType::Ready)
        };
        wait::object(&self.namespace.api::<Model>(), &self.model, "Ready", TIMEOUT, |model: &Model| {
            Seen::or_else_saw(
                ready(model).then_some(()),
                format!("{:?}", model.condition(ConditionType::Ready)),
            )
        })
        .await
    }

    /// The source has other bytes, and the Model looks.
    pub async fn new_revision(&self, bytes: Vec<u8>) -> anyhow::Result<()> {
        self.replaced(async {
            self.storage.put(&self.path, bytes).await?;
            let when = generator::now().to_string();
            self.patch_model(&json!({"metadata": {"annotations": {annotations::RESOLVE_AT: when}}})).await
        })
        .await
    }

    /// The spec changes so that pods do, here the age that connections may reach.
    pub async fn new_template(&self, max_connection_age: &str) -> anyhow::Result<()> {
        let change = json!({"spec": {"serving": {"limits": {"maxConnectionAge": max_connection_age}}}});
        self.replaced(self.patch_model(&change)).await
    }

    /// What `kubectl rollout restart` does.
    pub async fn rollout_restart(&self) -> anyhow::Result<()> {
        let when = generator::now().to_string();
        let patch = json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": when}}}}});
        self.replaced(async {
            let deployments: Api<Deployment> = self.namespace.api();
            let parameters =
                PatchParams { field_manager: Some("kubectl-rollout".to_owned()), ..PatchParams::default() };
            deployments.patch(&self.model, &parameters, &Patch::Strategic(&patch)).await?;
            Ok(())
        })
        .await
    }

    /// What `kubectl drain` does to the Model: every pod is evicted as soon as its budget allows it. With one node the
    /// pods that replace them come to the same.
    pub async fn evict_all(&self) -> anyhow::Result<()> {
        let evictions = async {
            for pod in pods::servers(&self.namespace, &self.model).await? {
                self.evict(&pod.name_any()).await?;
            }
            Ok(())
        };
        self.replaced(Box::pin(evictions)).await
    }

    async fn evict(&self, pod: &str) -> anyhow::Result<()> {
        let pods: Api<Pod> = self.namespace.api();
        wait::wait_for(format!("the eviction of {pod}"), TIMEOUT, || async {
            match pods.evict(pod, &EvictParams::default()).await {
                Ok(_) => Ok(Seen::Done(())),
                Err(kube::Error::Api(status)) if status.code == 429 => {
                    Ok(Seen::NotYet(status.message.clone()))
                }
                Err(error) => Err(error.into()),
            }
        })
        .await
    }

    /// The number of pods changes as an autoscaler changes it: by the scale of the Deployment.
    pub async fn scale(&self, replicas: usize) -> anyhow::Result<()> {
        let deployments: Api<Deployment> = self.namespace.api();
        let patch = json!({"spec": {"replicas": replicas}});
        deployments.patch_scale(&self.model, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        pods::at_rest(&self.namespace, &self.model, replicas, &pods::names(&[])).await?;
        Ok(())
    }

    /// The process of one server is killed. False: it runs on another machine, out of reach.
    pub async fn kill_one(&self) -> anyhow::Result<bool> {
        let pod = self.one().await?;
        if pods::kill(&pod)?.is_none() {
            return Ok(false);
        }
        pods::restarted(&self.namespace, &pod, "Error").await?;
        Ok(true)
    }

    /// One server is killed for memory, because of requests that are larger than what it has.
    pub async fn exhaust_one(&self) -> anyhow::Result<()> {
        let pod = self.one().await?;
        let address = pod
            .status
            .as_ref()
            .and_then(|status| status.pod_ip.as_deref())
            .context("the pod has no address")?;
        let killed = pods::restarted(&self.namespace, &pod, "OOMKilled");
        generator::flood(&self.namespace, &self.storage, &format!("{address}:8080"), killed).await
    }

    /// The one with the most to lose: the connections of a server that was killed are at the others.
    async fn one(&self) -> anyhow::Result<Pod> {
        let servers = pods::servers(&self.namespace, &self.model).await?;
        servers.into_iter().min_by_key(pods::restarts).context("there is no server")
    }
}
