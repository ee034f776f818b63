//! `modelwright check`: whether what a container of the user's left can be published and served. It holds no credentials,
//! since it runs the model of a stranger.

use std::process::ExitCode as ProcessExit;

use modelwright_api::Outcome;
use modelwright_artifact::output::{Objection, Output, OutputLimits, OutputVerdict, read_output};
use modelwright_artifact::{MODEL_FILE, Manifest, SourceUri};
use modelwright_trainer::container::{self, Checked, NO_NUMERICS};
use modelwright_trainer::export::EXPLAIN_FILE;
use modelwright_trainer::gate;

use super::container::fetch::about;
use super::container::{CHECKING, InputsRecord, Pod, mark};
use crate::arguments::CheckOutputArguments;
use crate::failure::Failure;
use crate::{report, steps, support};

/// Runs it.
pub(crate) fn run(arguments: &CheckOutputArguments) -> ProcessExit {
    let result = steps::block_on(steps::until_terminated(async {
        // Reading and running the model blocks; SIGTERM must still end the step.
        let (pod, limits) = (Pod::of(&arguments.ml)?, limits(arguments));
        let checked = tokio::task::spawn_blocking(move || check(&pod, &limits)).await;
        checked.map_err(|_| Failure::bug("the check panicked; its log says where"))?
    }));
    report::end(result, arguments.termination_log.as_ref())
}

fn limits(arguments: &CheckOutputArguments) -> OutputLimits {
    OutputLimits { total_bytes: arguments.max_bytes, ..OutputLimits::default() }
}

fn check(pod: &Pod, limits: &OutputLimits) -> Result<Outcome, Failure> {
    if !pod.is_first() {
        return Ok(pod.not_first());
    }
    let (folder, records) = (pod.folders.out(), pod.folders.records());
    let record = InputsRecord::read(&records)?;
    mark(&pod.folders, CHECKING)?;
    let output = read_output(&folder, &[EXPLAIN_FILE], limits)?;
    let facts = output.model().ok_or_else(|| Failure::bug("a model that is there was not read"))?;
    support::check(&SourceUri::from_path(&folder.join(MODEL_FILE))?, facts)?;
    let checked = container::check(&folder, facts)?;
    let verdict = verdict(pod, &record, &output, &checked)?;
    verdict.write(&records)?;
    let digest = verdict.manifest.digest()?;
    let message = described(&output, &checked, &verdict);
    tracing::info!(%digest, runtime = checked.runtime, "{message}");
    let outcome = Outcome {
        digest: Some(digest.to_string()),
        bytes: Some(verdict.manifest.total_bytes()),
        message,
        metrics: verdict.metrics,
        baseline: verdict.baseline,
        ..report::described("Checked", facts)
    };
    Ok(about(outcome, &record))
}

fn verdict(
    pod: &Pod,
    record: &InputsRecord,
    output: &Output,
    checked: &Checked,
) -> Result<OutputVerdict, Failure> {
    let training = &pod.order.training;
    let require = training.gate.as_ref().map(|gate| gate.require.as_slice()).unwrap_or_default();
    let measured = checked.measured.clone();
    let refusals = gate::requirements(require, &measured.metrics, training.data.test.is_some());
    let objection = |refusal: &gate::Refusal| Objection {
        reason: refusal.reason().to_owned(),
        message: refusal.to_string(),
    };
    Ok(OutputVerdict {
        manifest: Manifest::new(output.files.clone())?.with_training(
            record.inputs(),
            Some(NO_NUMERICS.to_owned()),
            None,
        )?,
        metrics: measured.metrics,
        baseline: measured.baseline,
        objections: refusals.iter().map(objection).collect(),
    })
}

fn described(output: &Output, checked: &Checked, verdict: &OutputVerdict) -> String {
    let samples = checked.replayed.map_or_else(
        || "it runs on made-up inputs, and without samples.json nobody knows whether it computes what was trained".to_owned(),
        |replayed| format!("{} samples replayed, largest difference {:.1e}", replayed.rows, replayed.largest),
    );
    let gate = match verdict.objections.first() {
        Some(objection) => format!("; the gate refuses it: {}", objection.message),
        None => String::new(),
    };
    format!("{} files, the model loads, {samples}{gate}", output.files.len())
}
