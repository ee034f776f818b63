//! Models that are trained, and what their pods do.
use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job;
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use modelwright_api::{
    Model, Outcome,
    contract::{annotations, labels},
    status::{TrainingPhase, TrainingStatus},
};
use modelwright_e2e::{
    cluster::program,
    namespace::TestNamespace,
    scripted_node::{ContainerScript, Exit, PodMatcher, PodScript, ScriptedNode},
    wait::{self, Seen},
};
use serde_json::json;

use super::super::story::{self, TIMEOUT, digest, words};

/// A Model that the built-in trainer trains, with these further lines of `spec.training` and of `spec`.
pub(super) fn builtin(name: &str, training: &str, spec: &str) -> String {
    manifest(
        name,
        &format!("data: {{source: {{uri: 's3://data/{name}.csv'}}, target: diagnosis}}"),
        training,
        spec,
    )
}

/// The same with a container of the user's.
pub(super) fn own(name: &str, training: &str, spec: &str) -> String {
    let data = format!(
        "data: {{source: {{uri: 's3://data/{name}/', format: Parquet, credentialsSecretRef: {{name: lake}}}}}}\n    \
         container: {{image: 'localhost/mine:1', command: [python, train.py], env: [{{name: MODE, value: quick}}], \
         parameters: {{depth: 3}}}}"
    );
    manifest(name, &data, training, spec)
}

fn manifest(name: &str, data: &str, training: &str, spec: &str) -> String {
    format!(
        "apiVersion: modelwright.dev/v1alpha1\nkind: Model\nmetadata: {{name: {name}}}\nspec:\n  training:\n    \
         {data}\n    output: {{uri: 's3://models', credentialsSecretRef: {{name: s3}}}}\n{training}{spec}"
    )
}

/// What a training says that gave this revision, or found it to be bad, with the accuracy that it has.
pub(super) fn trained(digit: char, accuracy: f64) -> Outcome {
    let metrics = |value| BTreeMap::from([("valAccuracy".to_owned(), value)]);
    Outcome {
        inputs_digest: Some(digest('1')),
        metrics: metrics(accuracy),
        baseline: metrics(0.91),
        reason: "Trained".to_owned(),
        ..story::found(digit)
    }
}

/// The training pods of a Model.
pub(super) fn training_pods(name: &str) -> PodMatcher {
    PodMatcher::any().label(labels::MODEL, name).label(labels::ROLE, labels::ROLE_TRAIN)
}

/// From now on the built-in trainer trains this revision of the Model.
pub(super) fn trains_to(node: &ScriptedNode, name: &str, digit: char) {
    training_ends(node, name, "train", &Exit::completed().message(&trained(digit, 0.97).to_line()));
}

/// From now on the user's container trains this revision.
pub(super) fn own_trains_to(node: &ScriptedNode, name: &str, digit: char) {
    node.on(
        training_pods(name),
        own_script("publish", &Exit::completed().message(&trained(digit, 0.97).to_line())),
    );
}

/// From now on this container of trainings ends so.
pub(super) fn training_ends(node: &ScriptedNode, name: &str, container: &str, exit: &Exit) {
    node.on(
        training_pods(name),
        PodScript::default().container(container, ContainerScript::exits(exit.clone())),
    );
}

/// The pod of a user's training whose container `name` ends so.
pub(super) fn own_script(name: &str, exit: &Exit) -> PodScript {
    PodScript::default().container(name, ContainerScript::exits(exit.clone()))
}

/// How a training ends whose revision the gate refused.
pub(super) fn refusal(digit: char, accuracy: f64, reason: &str, message: &str) -> Exit {
    let outcome = Outcome {
        ok: false,
        reason: reason.to_owned(),
        message: message.to_owned(),
        ..trained(digit, accuracy)
    };
    Exit::code(78).message(&outcome.to_line())
}

pub(super) fn status(model: &Model) -> TrainingStatus {
    model.status.as_ref().and_then(|status| status.training.clone()).unwrap_or_default()
}

/// Waits until `status.training` is as wanted.
pub(super) async fn training(
    namespace: &TestNamespace,
    name: &str,
    awaited: &str,
    wanted: impl Fn(&TrainingStatus) -> bool,
) -> anyhow::Result<Model> {
    wait::object(&namespace.api::<Model>(), name, format!("status.training: {awaited}"), TIMEOUT, |model| {
        let seen = format!("{} {:?}", words(model), status(model));
        Seen::or_else_saw(wanted(&status(model)).then(|| model.clone()), seen)
    })
    .await
}

pub(super) async fn phase(
    namespace: &TestNamespace,
    name: &str,
    phase: TrainingPhase,
) -> anyhow::Result<Model> {
    training(namespace, name, &format!("{phase:?}"), |status| status.phase == Some(phase)).await
}

/// Asks for another training.
pub(super) async fn retrain(namespace: &TestNamespace, name: &str, value: &str) -> anyhow::Result<()> {
    let patch = json!({"metadata": {"annotations": {annotations::RETRAIN_AT: value}}});
    namespace.api::<Model>().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    Ok(())
}

/// The Jobs of a Model with this role, by name.
pub(super) async fn jobs(namespace: &TestNamespace, name: &str, role: &str) -> anyhow::Result<Vec<Job>> {
    let jobs: Api<Job> = namespace.api();
    let selector = format!("{}={name},{}={role}", labels::MODEL, labels::ROLE);
    let mut found = jobs.list(&ListParams::default().labels(&selector)).await?.items;
    found.sort_by_key(|job| job.metadata.creation_timestamp.clone().map(|time| (time.0, job.name_any())));
    Ok(found)
}

/// Waits until a Model has this many training Jobs, and returns the newest.
pub(super) async fn training_job(namespace: &TestNamespace, name: &str, number: &str) -> anyhow::Result<Job> {
    wait::wait_for(format!("a training Job of {name} with number {number}"), TIMEOUT, || async move {
        let all = jobs(namespace, name, labels::ROLE_TRAIN).await?;
        let names: Vec<_> = all.iter().map(kube::ResourceExt::name_any).collect();
        let found = all.into_iter().find(|job| job.name_any().rsplit('-').next() == Some(number));
        Ok(Seen::or_else_saw(found, format!("{names:?}")))
    })
    .await
}

pub(super) fn annotation<'a>(job: &'a Job, key: &str) -> &'a str {
    job.annotations().get(key).map_or("", String::as_str)
}

/// The line of `kubectl get mdl -o wide` about a Model.
pub(super) async fn line_of_kubectl(namespace: &TestNamespace, name: &str) -> anyhow::Result<String> {
    let arguments = ["get", "mdl", name, "-o", "wide", "--no-headers", "-n", &namespace.name];
    let output = tokio::process::Command::from(program("kubectl")).args(arguments).output().await?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
