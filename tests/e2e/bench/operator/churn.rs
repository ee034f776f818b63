//! Churn: for minutes specs are edited, Models are deleted and made anew, and some fail all the time.
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use modelwright_api::{ExitCode, Model, Outcome, contract::labels};
use modelwright_e2e::{
    operator::Operator,
    scripted_node::{ContainerScript, Exit, PodMatcher, PodScript},
    wait,
};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::{
    Size, TIMEOUT,
    edits::{self, Editor, Took},
    places::Places,
    process::{self, Process},
};

/// From one edit to the next.
const PAUSE: Duration = Duration::from_millis(200);
/// After so many edits one Model goes and comes again, unless another still does.
const EDITS_A_DELETION: usize = 10;
/// One Model in so many fails, beside those that serve.
const SERVING_A_FAILURE: usize = 20;

/// What a minute, or what is left of the time, was like.
#[derive(Default)]
struct Minute {
    edits: Vec<Took>,
    deletions: usize,
    deepest: f64,
}

impl Minute {
    fn row(&self) -> String {
        let answered = edits::shares(self.edits.iter().map(|took| took.answered));
        let changed = edits::shares(self.edits.iter().map(|took| took.changed));
        format!("{} | {answered} | {changed} | {}", self.edits.len(), self.deletions)
    }
}

/// A Model that goes and comes again.
struct Deletion {
    index: usize,
    task: JoinHandle<anyhow::Result<()>>,
}

/// Keeps the operator busy for the time that `size` says, and prints a row for each minute.
pub(crate) async fn run(places: &Places, operator: &Operator, size: &Size) -> anyhow::Result<()> {
    let failing = (size.models / SERVING_A_FAILURE).max(1);
    fail(places, failing).await?;
    let mut editor = Editor::start(places, size.models).await?;
    println!("\n{} Models, {failing} more whose source fails\n", size.models);
    println!(
        "| minute | edits | the API server answers | the Deployment is changed | deleted and made anew | memory | CPU \
         | longest queue | writes |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let (start, mut minutes, mut edit, mut deletion) = (Instant::now(), 0_u32, 0_usize, None);
    while start.elapsed() < size.churn {
        minutes += 1;
        let end = (Duration::from_mins(1) * minutes).min(size.churn);
        let (before, written) = (Process::of(operator.pid())?, process::writes(operator).await?);
        let (began, mut minute) = (Instant::now(), Minute::default());
        while start.elapsed() < end {
            edit += 1;
            minute.deletions += usize::from(ended(&mut deletion).await?);
            if edit.is_multiple_of(EDITS_A_DELETION) && deletion.is_none() {
                deletion = Some(begin(places, edit * 11 % size.models, size));
            }
            let index = edit * 7 % size.models;
            // Not one that is being made anew.
            if deletion.as_ref().is_none_or(|deletion| deletion.index != index) {
                minute.edits.push(editor.time(index).await?);
            }
            minute.deepest = minute.deepest.max(depth(operator).await?);
            tokio::time::sleep(PAUSE).await;
        }
        let after = Process::of(operator.pid())?;
        println!(
            "| {minutes} | {} | {:.1} MiB | {:.0} % | {} | {:.0} |",
            minute.row(),
            after.resident_mib,
            (after.cpu_seconds - before.cpu_seconds) / began.elapsed().as_secs_f64() * 100.0,
            minute.deepest,
            crate::total(&process::writes(operator).await?) - crate::total(&written)
        );
    }
    match deletion {
        Some(deletion) => deletion.task.await?,
        None => Ok(()),
    }
}

/// Whether a Model that was deleted serves again; then there is no deletion any more.
async fn ended(deletion: &mut Option<Deletion>) -> anyhow::Result<bool> {
    let Some(ended) = deletion.take_if(|deletion| deletion.task.is_finished()) else { return Ok(false) };
    ended.task.await??;
    Ok(true)
}

/// Models whose source cannot be reached, whatever is tried.
async fn fail(places: &Places, count: usize) -> anyhow::Result<()> {
    let message = Outcome::failure("ConnectionRefused", "the store takes no connections").to_line();
    for index in 0..count {
        let name = format!("f{index}");
        let exit = Exit::code(ExitCode::Unreachable.number().into()).message(&message);
        places.node.on(
            PodMatcher::any().label(labels::ROLE, labels::ROLE_RESOLVE).label(labels::MODEL, &name),
            PodScript::default().container("resolve", ContainerScript::exits(exit)),
        );
        let spec = json!({"source": {"uri": format!("s3://models/{name}/model.onnx")}});
        let models: Api<Model> = places.of(index).api();
        models.create(&PostParams::default(), &Model::new(&name, serde_json::from_value(spec)?)).await?;
    }
    Ok(())
}

/// Deletes a Model with all that it has, and makes it again.
fn begin(places: &Places, index: usize, size: &Size) -> Deletion {
    let (namespace, name, model) = (places.of(index), format!("m{index}"), crate::model(index, size));
    let task = tokio::spawn(async move {
        let models: Api<Model> = namespace.api();
        models.delete(&name, &DeleteParams::foreground()).await?;
        wait::gone(&models, &name, TIMEOUT).await?;
        models.create(&PostParams::default(), &model).await?;
        let deployments: Api<Deployment> = namespace.api();
        wait::deployment_available(&deployments, &name, TIMEOUT).await?;
        Ok(())
    });
    Deletion { index, task }
}

/// Models that wait for a pass.
async fn depth(operator: &Operator) -> anyhow::Result<f64> {
    let text = process::metrics(operator).await?;
    let line = text.lines().find_map(|line| line.strip_prefix("modelwright_queue_depth "));
    Ok(line.map(str::parse).transpose()?.unwrap_or_default())
}
