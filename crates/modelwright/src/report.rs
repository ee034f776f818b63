//! How a step ends: its final JSON object, its words for people, and its exit code.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode as ProcessExit;

use modelwright_api::contract::ExitCode;
use modelwright_api::outcome::{OutcomeModel, OutcomeRuntime, OutcomeTensor};
use modelwright_api::{Outcome, status};
use modelwright_artifact::onnx::{Dimension, OnnxFacts, TensorFact};
use modelwright_artifact::{Probe, Retrievable, SourceUri};
use modelwright_runtime::{ExecutionProvider, LoadReport};

use crate::environment;
use crate::failure::Failure;

/// Ends a step: the JSON object is the last line of standard output and, in a pod, the termination message.
pub(crate) fn end(result: Result<Outcome, Failure>, termination_log: Option<&PathBuf>) -> ProcessExit {
    end_with(result.map(|outcome| (outcome, ExitCode::Done)), termination_log)
}

/// As [`end`], for a step that says more than one thing by its exit code: a gate that refused tells digest and metrics, too.
pub(crate) fn end_with(
    result: Result<(Outcome, ExitCode), Failure>,
    termination_log: Option<&PathBuf>,
) -> ProcessExit {
    let (outcome, exit) = match result {
        Ok((outcome, exit)) => {
            if exit != ExitCode::Done {
                tracing::info!(reason = %outcome.reason, "{}", outcome.message);
            }
            (outcome, exit)
        }
        Err(failure) => {
            tracing::error!(reason = %failure.reason, "{}", failure.message);
            (Outcome::failure(failure.reason, failure.message), failure.exit)
        }
    };
    let line = outcome.to_line();
    // A reader that went away is no reason to change the exit code, which is what counts.
    let _ = writeln!(std::io::stdout(), "{line}");
    log_termination(&line, termination_log);
    exit.number().into()
}

/// Ends a command whose arguments are wrong. In a pod that, too, is in its termination message: an operator and an image
/// of different versions may not understand each other.
pub(crate) fn refuse_arguments(error: &clap::Error) -> ProcessExit {
    // Nothing is left to do if even this cannot be printed.
    let _ = error.print();
    if !error.use_stderr() {
        return ExitCode::Done.number().into();
    }
    let text = error.to_string();
    let problem = text.lines().take_while(|line| !line.starts_with("Usage:")).collect::<Vec<_>>().join(" ");
    let failure = Failure::invalid_arguments(problem.trim_start_matches("error:").trim());
    // Where the outcome goes is read on its own, since the rest cannot be.
    let asked = std::env::args_os().skip_while(|word| word != "--termination-log").nth(1).map(PathBuf::from);
    log_termination(&Outcome::failure(failure.reason, failure.message).to_line(), asked.as_ref());
    failure.exit.number().into()
}

fn log_termination(line: &str, asked: Option<&PathBuf>) {
    if let Some(path) = environment::termination_log(asked)
        && let Err(error) = std::fs::write(&path, line)
    {
        tracing::warn!(path = %path.display(), %error, "the termination message cannot be written");
    }
}

/// A success that tells what the model's file says of itself.
pub(crate) fn described(reason: &str, facts: &OnnxFacts) -> Outcome {
    Outcome {
        inputs: tensors(&facts.inputs),
        model: Some(OutcomeModel {
            opset: facts.opset(),
            ir_version: Some(facts.ir_version),
            parameters_bytes: Some(facts.parameter_bytes),
        }),
        outputs: tensors(&facts.outputs),
        ..Outcome::success(reason)
    }
}

/// The inputs or outputs of a model as an outcome lists them: variable axes are -1.
pub(crate) fn tensors(facts: &[TensorFact]) -> Vec<OutcomeTensor> {
    let tensor = |fact: &TensorFact| OutcomeTensor {
        name: fact.name.clone(),
        datatype: fact.datatype.oip_name().to_owned(),
        shape: fact.shape.iter().map(Dimension::to_oip).collect(),
    };
    facts.iter().map(tensor).collect()
}

/// How long a source can be read again, as an outcome tells it.
pub(crate) fn retrievable(retrievable: Retrievable) -> status::Retrievable {
    match retrievable {
        Retrievable::Always => status::Retrievable::Always,
        Retrievable::WhileUnchanged => status::Retrievable::WhileUnchanged,
    }
}

/// What a later look at the source is compared with, where there is enough to be sure.
pub(crate) fn fingerprint(probe: Option<&Probe>, uri: &SourceUri) -> Option<String> {
    Some(probe?.fingerprint(uri)?.to_string())
}

/// What computes a model, as an outcome tells it.
pub(crate) fn runtime(report: &LoadReport) -> OutcomeRuntime {
    let execution_provider = match report.execution_provider {
        ExecutionProvider::Cpu => modelwright_api::ExecutionProvider::Cpu,
        ExecutionProvider::Cuda => modelwright_api::ExecutionProvider::Cuda,
    };
    OutcomeRuntime {
        execution_provider: Some(execution_provider),
        version: Some(report.runtime_version.clone()),
    }
}
