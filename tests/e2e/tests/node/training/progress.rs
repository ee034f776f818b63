//! Pods that train, and how far they are.
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use modelwright_api::{
    Model,
    conditions::ConditionType,
    contract::ports,
    training::progress::{ProgressPhase, TrainingProgress},
};
use modelwright_e2e::{
    forward::Forward,
    namespace::TestNamespace,
    wait::{self, Seen},
};

use super::story::{TIMEOUT, log, training, training_pods};

/// A training of ten seconds or more on a whole processor, whose rows the repository has; `more` are further keys of
/// `spec.training`, each on a line of its own.
pub(super) fn digits(namespace: &TestNamespace, name: &str, epochs: u32, more: &[&str]) -> String {
    let more: String = more.iter().flat_map(|line| ["    ", *line, "\n"]).collect();
    format!(
        "apiVersion: modelwright.dev/v1alpha1\nkind: Model\nmetadata: {{name: {name}}}\nspec:\n  training:\n    \
         data: {{source: {{uri: 's3://models/{0}/digits.csv', credentialsSecretRef: {{name: s3}}}}, target: digit}}\n    \
         builtin: {{epochs: {epochs}, earlyStopping: {{enabled: false}}, layers: [{{units: 128}}], seed: 7}}\n    \
         output: {{uri: 's3://models/{0}/out', credentialsSecretRef: {{name: s3}}}}\n{more}",
        namespace.name
    )
}

/// Sets variables of the trainer, as `spec.training.podTemplate`.
pub(super) fn with_variables(variables: &[(&str, &str)]) -> String {
    let variables: Vec<_> =
        variables.iter().map(|(name, value)| format!("{{name: {name}, value: '{value}'}}")).collect();
    format!("podTemplate: {{spec: {{containers: [{{name: train, env: [{}]}}]}}}}", variables.join(", "))
}

/// A pod that trains.
pub(super) struct Training<'a> {
    namespace: &'a TestNamespace,
    pub(super) pod: String,
    forward: Forward,
}

impl<'a> Training<'a> {
    /// The next pod of a Model, which is none of `known`.
    pub(super) async fn next(
        namespace: &'a TestNamespace,
        model: &str,
        known: &[String],
    ) -> anyhow::Result<Self> {
        let awaited = format!("another pod that trains {model} than {known:?}");
        let pod = wait::wait_for(awaited, TIMEOUT, || async {
            let pods = training_pods(namespace, model).await?;
            let pod = pods.into_iter().rev().find(|pod| !known.contains(&pod.name_any()));
            let seen = training(&namespace.api::<Model>().get(model).await?);
            Ok(Seen::or_else_saw(pod.map(|pod| pod.name_any()), format!("{seen:?}")))
        })
        .await?;
        let (client, port) = (namespace.client.clone(), ports::PROGRESS);
        let forward = Forward::to_pod(client, &namespace.name, &pod, port).await?;
        Ok(Self { namespace, pod, forward })
    }

    async fn progress(&self) -> anyhow::Result<TrainingProgress> {
        let answer = reqwest::get(self.forward.url("/progress")).await?;
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    }

    /// Waits until it is that far; what it says then. Fails if it ends before.
    pub(super) async fn reaches(
        &self,
        what: &str,
        wanted: impl Fn(&TrainingProgress) -> bool,
    ) -> anyhow::Result<TrainingProgress> {
        let (start, mut last) = (Instant::now(), "nothing".to_owned());
        while start.elapsed() < TIMEOUT {
            let pod = self.namespace.api::<Pod>().get(&self.pod).await?;
            match pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default() {
                "Pending" | "" => {}
                "Running" => match self.progress().await {
                    Ok(progress) if wanted(&progress) => return Ok(progress),
                    Ok(progress) => last = format!("{progress:?}"),
                    // It does not listen yet, or no longer.
                    Err(error) => last = format!("{error:#}"),
                },
                phase => {
                    let said = self.log().await.unwrap_or_default();
                    bail!("{} is {phase} before {what}; it told last: {last}\n{said}", self.pod);
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("{} does not reach {what}; it told last: {last}", self.pod)
    }

    pub(super) async fn trains(&self) -> anyhow::Result<TrainingProgress> {
        self.reaches("its training", |progress| progress.phase == ProgressPhase::Training).await
    }

    pub(super) async fn percent(&self, percent: u8) -> anyhow::Result<TrainingProgress> {
        let there = |progress: &TrainingProgress| {
            progress.phase == ProgressPhase::Training
                && progress.progress_percent.is_some_and(|done| done >= percent)
        };
        self.reaches(&format!("{percent} percent"), there).await
    }

    pub(super) async fn publishes(&self) -> anyhow::Result<TrainingProgress> {
        self.reaches("its end", |progress| progress.phase == ProgressPhase::Publishing).await
    }

    pub(super) async fn log(&self) -> anyhow::Result<String> {
        log(self.namespace, &self.pod, "train").await
    }
}

/// The log of a Model's newest pod that trained, once the Model is ready.
pub(super) async fn last_log(namespace: &TestNamespace, model: &str) -> anyhow::Result<String> {
    let ready = namespace.api::<Model>().get(model).await?.holds(ConditionType::Ready);
    ensure!(ready, "{model} is not ready");
    let pod = training_pods(namespace, model).await?.pop().context("no pod trained")?;
    log(namespace, &pod.name_any(), "train").await
}

/// The numbers of the checkpoints below a Model's part of the store.
pub(super) fn checkpoints(listed: &[String]) -> Vec<u64> {
    let number = |path: &String| {
        let (_, file) = path.split_once("/checkpoints/")?;
        file.strip_suffix(".json")?.parse().ok()
    };
    listed.iter().filter_map(number).collect()
}
