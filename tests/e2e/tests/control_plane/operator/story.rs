//! Models, what their pods do, and what to wait for.
use std::time::{Duration, Instant};

use k8s_openapi::api::{apps::v1::Deployment, batch::v1::Job};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use modelwright_api::{
    Model, Outcome,
    conditions::ConditionType,
    contract::{annotations, labels},
    outcome::OutcomeTensor,
    status::{Condition, ConditionStatus},
};
use modelwright_e2e::{
    namespace::TestNamespace,
    scripted_node::{ContainerScript, Exit, PodMatcher, PodScript, ScriptedNode},
    wait::{self, Seen},
};
use serde_json::json;

/// More than anything here takes on a busy machine.
pub(super) const TIMEOUT: Duration = Duration::from_secs(90);

pub(super) fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

/// A Model with these further lines of its spec.
pub(super) fn model(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: modelwright.dev/v1alpha1\nkind: Model\nmetadata: {{name: {name}}}\n\
         spec:\n  source: {{uri: 's3://models/{name}/model.onnx'}}\n{spec}"
    )
}

/// What `resolve` says when it found this revision.
pub(super) fn found(digit: char) -> Outcome {
    let tensor =
        |name: &str| OutcomeTensor { name: name.into(), datatype: "FP32".into(), shape: vec![-1, 4] };
    Outcome {
        digest: Some(digest(digit)),
        fingerprint: Some(digest('f')),
        inputs: vec![tensor("x")],
        inputs_total: Some(1),
        ..Outcome::success("Resolved")
    }
}

/// From now on sources hold this revision.
pub(super) fn resolves_to(node: &ScriptedNode, digit: char) {
    resolve_ends(node, &Exit::completed().message(&found(digit).to_line()));
}

/// From now on resolving ends so.
pub(super) fn resolve_ends(node: &ScriptedNode, exit: &Exit) {
    node.on(
        PodMatcher::any().label(labels::ROLE, labels::ROLE_RESOLVE),
        PodScript::default().container("resolve", ContainerScript::exits(exit.clone())),
    );
}

/// How a command fails.
pub(super) fn failure(code: i32, reason: &str, message: &str) -> Exit {
    Exit::code(code).message(&Outcome::failure(reason, message).to_line())
}

/// From now on the servers of this revision do that.
pub(super) fn servers_of(node: &ScriptedNode, digit: char, script: PodScript) {
    let id: String = digit.to_string().repeat(16);
    node.on(PodMatcher::any().label(labels::ROLE, labels::ROLE_SERVER).label(labels::REVISION, &id), script);
}

pub(super) fn condition<'a>(model: &'a Model, type_: &str) -> Option<&'a Condition> {
    model.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == type_)
}

/// The conditions in words, for failures.
pub(super) fn words(model: &Model) -> String {
    let conditions = model.status.iter().flat_map(|status| &status.conditions);
    let words = conditions.map(|condition| {
        format!("{}={:?} {}: {}", condition.type_, condition.status, condition.reason, condition.message)
    });
    words.collect::<Vec<_>>().join("; ")
}

/// Waits until the Model's condition `Ready` has this reason.
pub(super) async fn reason(namespace: &TestNamespace, name: &str, reason: &str) -> anyhow::Result<Model> {
    let awaited = format!("condition Ready with reason {reason}");
    let start = Instant::now();
    let model = wait::object(&namespace.api::<Model>(), name, awaited, TIMEOUT, |model| {
        let found = condition(model, "Ready").is_some_and(|condition| condition.reason == reason);
        let observed = model.status.as_ref().and_then(|status| status.observed_generation);
        let current = observed == model.metadata.generation;
        Seen::or_else_saw((found && current).then(|| model.clone()), words(model))
    })
    .await?;
    // For the tables of the documentation.
    eprintln!("| {reason} | {:.1} s |", start.elapsed().as_secs_f64());
    Ok(model)
}

/// Waits until the Model is ready and serves this revision.
pub(super) async fn serves(namespace: &TestNamespace, name: &str, digit: char) -> anyhow::Result<Model> {
    let awaited = format!("Ready with revision {digit}");
    wait::object(&namespace.api::<Model>(), name, awaited, TIMEOUT, |model| {
        let ready = model.holds(ConditionType::Ready);
        let status = model.status.as_ref();
        let active = status.and_then(|status| status.revisions.as_ref()?.active.as_ref());
        let right = active.is_some_and(|active| active.digest == digest(digit));
        let current = status.and_then(|status| status.observed_generation) == model.metadata.generation;
        Seen::or_else_saw(
            (ready && right && current).then(|| model.clone()),
            format!("{} active {active:?}", words(model)),
        )
    })
    .await
}

/// Waits until nothing is being changed for the Model: all pods that are wanted serve, none besides.
pub(super) async fn at_rest(namespace: &TestNamespace, name: &str) -> anyhow::Result<Model> {
    wait::object(&namespace.api::<Model>(), name, "not Progressing", TIMEOUT, |model| {
        let rests = condition(model, "Progressing")
            .is_some_and(|condition| condition.status == ConditionStatus::False);
        Seen::or_else_saw(rests.then(|| model.clone()), words(model))
    })
    .await
}

/// Asks for the source to be read again.
pub(super) async fn resolve_again(namespace: &TestNamespace, name: &str, value: &str) -> anyhow::Result<()> {
    let patch = json!({"metadata": {"annotations": {annotations::RESOLVE_AT: value}}});
    namespace.api::<Model>().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    Ok(())
}

/// Changes the spec.
pub(super) async fn change(
    namespace: &TestNamespace,
    name: &str,
    spec: serde_json::Value,
) -> anyhow::Result<()> {
    let patch = json!({"spec": spec});
    namespace.api::<Model>().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    Ok(())
}

/// The Deployment, its generation, and the names of the Model's Jobs.
pub(super) async fn work(
    namespace: &TestNamespace,
    name: &str,
) -> anyhow::Result<(Deployment, Option<i64>, Vec<String>)> {
    let deployment = namespace.api::<Deployment>().get(name).await?;
    let jobs: Api<Job> = namespace.api();
    let mut names: Vec<_> = jobs
        .list(&ListParams::default().labels(&format!("{}={name}", labels::MODEL)))
        .await?
        .iter()
        .map(kube::ResourceExt::name_any)
        .collect();
    names.sort();
    let generation = deployment.metadata.generation;
    Ok((deployment, generation, names))
}
