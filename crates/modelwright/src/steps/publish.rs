//! `modelwright publish`: what `check` found good becomes a revision. It holds credentials, so it runs nothing and reads
//! nothing of the training's files but their bytes, whose sha256 must be those of the verdict.

use std::process::ExitCode as ProcessExit;

use jiff::Timestamp;
use modelwright_api::Outcome;
use modelwright_api::contract::ExitCode;
use modelwright_artifact::output::OutputVerdict;
use modelwright_artifact::provenance::{self, Run};
use modelwright_artifact::{Digest, Error, inputs, publish_files};

use super::container::fetch::about;
use super::container::{InputsRecord, OutputStore, PUBLISHED, Pod, mark};
use crate::arguments::PublishArguments;
use crate::failure::Failure;
use crate::terminal::Terminal;
use crate::{report, steps};

/// Runs it.
pub(crate) fn run(arguments: &PublishArguments) -> ProcessExit {
    let result = steps::block_on(steps::until_terminated(publish(arguments)));
    report::end_with(result, arguments.step.termination_log.as_ref())
}

async fn publish(arguments: &PublishArguments) -> Result<(Outcome, ExitCode), Failure> {
    let pod = Pod::of(&arguments.ml)?;
    let (store, records) = (pod.store(&arguments.step)?, pod.folders.records());
    let record = InputsRecord::read(&records)?;
    if !pod.is_first() {
        store.arrive(&pod, record.inputs_digest).await?;
        return Ok((pod.not_first(), ExitCode::Done));
    }
    let verdict = OutputVerdict::read(&records)?.ok_or_else(|| {
        let message = "there is no verdict; run `modelwright check --config` first";
        Failure::new(ExitCode::InputMissing, "RecordMissing", message)
    })?;
    if verdict.manifest.inputs() != Some(record.inputs()) {
        return Err(Failure::bug("the verdict is about a training of other inputs"));
    }
    let digest = verdict.manifest.digest()?;
    store.wait_for_others(&pod, record.inputs_digest).await?;
    let progress = Terminal::new().transfers_of("publish");
    let out = pod.folders.out();
    let published =
        publish_files(&out, &verdict.manifest, &store.prefix, &store.connection, &*progress).await;
    let published = published.map_err(|error| changed(error, &store))?;
    remember(&pod, &store, &record, &verdict).await?;
    let outcome = Outcome {
        digest: Some(digest.to_string()),
        bytes: Some(published.bytes_written),
        metrics: verdict.metrics,
        baseline: verdict.baseline,
        ..about(Outcome::success("Trained"), &record)
    };
    let Some(objection) = verdict.objections.first() else {
        let message = format!("published {}", published.uri);
        tracing::info!(%digest, "{message}");
        return Ok((Outcome { message, ..outcome }, ExitCode::Done));
    };
    let reasons: Vec<&str> = verdict.objections.iter().map(|objection| objection.message.as_str()).collect();
    let message = refused(&digest, &reasons, &published.uri.to_string());
    Ok((Outcome { ok: false, reason: objection.reason.clone(), message, ..outcome }, ExitCode::Refused))
}

fn refused(digest: &Digest, reasons: &[&str], uri: &str) -> String {
    format!("the gate refused the revision {}: {}; it is kept in {uri}", digest.id(), reasons.join("; "))
}

/// Files that are no longer what was checked: that is no fault of a store that may go away.
fn changed(error: Error, store: &OutputStore) -> Failure {
    match error {
        Error::UnsafeTarget { .. } | Error::FileMissing { .. } | Error::DigestMismatch { .. } => {
            Failure::new(
                ExitCode::DigestMismatch,
                "DigestMismatch",
                format!("what the training left changed after it was checked: {error}"),
            )
        }
        error => store.explain(error),
    }
}

/// How the revision was made, that these inputs need not be trained again, and that nobody needs the checkpoints.
async fn remember(
    pod: &Pod,
    store: &OutputStore,
    record: &InputsRecord,
    verdict: &OutputVerdict,
) -> Result<(), Failure> {
    let (order, container) = (&pod.order, pod.container()?);
    let parameters = [("modelUid", &order.uid), ("run", &order.run), ("image", &container.image)];
    let run = Run {
        // An attempt writes its own: one that was lost after it wrote must not be in the way of the next.
        id: format!("{}-{}", order.run, order.attempt),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: record.started.clone(),
        finished: Timestamp::now().to_string(),
        parameters: parameters.map(|(name, value)| (name.to_owned(), value.clone())).into(),
        dependencies: record.files.clone(),
    };
    let (prefix, connection) = (&store.prefix, &store.connection);
    let written = async {
        provenance::write(prefix, connection, &verdict.manifest, &run).await?;
        inputs::record(prefix, connection, &verdict.manifest).await
    };
    written.await.map_err(|error| store.explain(error))?;
    // Before they are discarded: the agent must not bring out another.
    mark(&pod.folders, PUBLISHED)?;
    store.discard_checkpoints(&order.run).await;
    store.forget_others(pod).await;
    Ok(())
}
