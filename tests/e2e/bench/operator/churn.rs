//! Churn: for minutes specs are edited, Models are deleted and made anew, and some fail all the time.
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use modelwright_api::{ExitCode, Model, Outcome, contract::labels};
use modelwright_e2e::{
    namespace::TestNamespace,
    operator::Operator,
    scripted_node::{ContainerScript, Exit, PodMatcher, PodScript, ScriptedNode},
    wait,
};
use serde_json::json;

use crate::{
    Size, TIMEOUT,
    edits::{self, Editor},
    process::{self, Process},
};

/// From one edit to the next.
const PAUSE: Duration = Duration::from_millis(200);
/// After so many edits one Model goes and comes again.
const EDITS_A_DELETION: usize = 10;
/// One Model in so many fails, beside those that serve.
const SERVING_A_FAILURE: usize = 20;

/// What a minute, or what is left of the time, was like.
#[derive(Default)]
struct Minute {
    times: Vec<Duration>,
    deletions: usize,
    deepest: f64,
}

/// Keeps the operator busy for the time that `size` says, and prints a row for each minute.
pub(crate) async fn run(
    namespace: &TestNamespace,
    node: &ScriptedNode,
    operator: &Operator,
    size: &Size,
) -> anyhow::Result<()> {
    let failing = (size.models / SERVING_A_FAILURE).max(1);
    fail(namespace, node, failing).await?;
    let mut editor = Editor::start(namespace, size.models).await?;
    println!("\n{} Models, {failing} more whose source fails\n", size.models);
    println!("| minute | edits | | | deleted and made anew | memory | CPU | longest queue | writes |");
    println!("|---|---|---|---|---|---|---|---|---|");
    let (start, mut minutes, mut edit) = (Instant::now(), 0_u32, 0_usize);
    while start.elapsed() < size.churn {
        minutes += 1;
        let end = (Duration::from_mins(1) * minutes).min(size.churn);
        let (before, written) = (Process::of(operator.pid())?, process::writes(operator).await?);
        let (began, mut minute) = (Instant::now(), Minute::default());
        while start.elapsed() < end {
            edit += 1;
            if edit.is_multiple_of(EDITS_A_DELETION) {
                again(namespace, edit * 11 % size.models, size).await?;
                minute.deletions += 1;
            }
            // Not one that is being made anew.
            minute.times.push(editor.time(&format!("m{}", edit * 7 % size.models)).await?);
            minute.deepest = minute.deepest.max(depth(operator).await?);
            tokio::time::sleep(PAUSE).await;
        }
        let after = Process::of(operator.pid())?;
        println!(
            "| {minutes} | {} | {} | {} | {:.1} MiB | {:.0} % | {} | {:.0} |",
            minute.times.len(),
            edits::shares(&mut minute.times),
            minute.deletions,
            after.resident_mib,
            (after.cpu_seconds - before.cpu_seconds) / began.elapsed().as_secs_f64() * 100.0,
            minute.deepest,
            crate::total(&process::writes(operator).await?) - crate::total(&written)
        );
    }
    Ok(())
}

/// Models whose source cannot be reached, whatever is tried.
async fn fail(namespace: &TestNamespace, node: &ScriptedNode, count: usize) -> anyhow::Result<()> {
    let models: Api<Model> = namespace.api();
    let message = Outcome::failure("ConnectionRefused", "the store takes no connections").to_line();
    for index in 0..count {
        let name = format!("f{index}");
        let exit = Exit::code(ExitCode::Unreachable.number().into()).message(&message);
        node.on(
            PodMatcher::any().label(labels::ROLE, labels::ROLE_RESOLVE).label(labels::MODEL, &name),
            PodScript::default().container("resolve", ContainerScript::exits(exit)),
        );
        let spec = json!({"source": {"uri": format!("s3://models/{name}/model.onnx")}});
        models.create(&PostParams::default(), &Model::new(&name, serde_json::from_value(spec)?)).await?;
    }
    Ok(())
}

/// Deletes a Model with all that it has, and makes it again.
async fn again(namespace: &TestNamespace, index: usize, size: &Size) -> anyhow::Result<()> {
    let models: Api<Model> = namespace.api();
    let name = format!("m{index}");
    models.delete(&name, &DeleteParams::foreground()).await?;
    wait::gone(&models, &name, TIMEOUT).await?;
    models.create(&PostParams::default(), &crate::model(index, size)).await?;
    let deployments: Api<Deployment> = namespace.api();
    wait::deployment_available(&deployments, &name, TIMEOUT).await?;
    Ok(())
}

/// Models that wait for a pass.
async fn depth(operator: &Operator) -> anyhow::Result<f64> {
    let text = process::metrics(operator).await?;
    let line = text.lines().find_map(|line| line.strip_prefix("modelwright_queue_depth "));
    Ok(line.map(str::parse).transpose()?.unwrap_or_default())
}
