//! How a step ends: its final JSON object, its words for people, and its exit code.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode as ProcessExit;

use modelwright_api::Outcome;
use modelwright_api::contract::ExitCode;
use modelwright_api::outcome::OutcomeInput;
use modelwright_artifact::onnx::{Dimension, OnnxFacts};

use crate::environment;
use crate::failure::Failure;

/// Ends a step: the JSON object is the last line of standard output and, in a pod, the termination message.
pub(crate) fn end(result: Result<Outcome, Failure>, termination_log: Option<&PathBuf>) -> ProcessExit {
    let (outcome, exit) = match result {
        Ok(outcome) => (outcome, ExitCode::Done),
        Err(failure) => {
            tracing::error!(reason = %failure.reason, "{}", failure.message);
            (Outcome::failure(failure.reason, failure.message), failure.exit)
        }
    };
    let line = outcome.to_line();
    // A reader that went away is no reason to change the exit code, which is what counts.
    let _ = writeln!(std::io::stdout(), "{line}");
    if let Some(path) = environment::termination_log(termination_log)
        && let Err(error) = std::fs::write(&path, &line)
    {
        tracing::warn!(path = %path.display(), %error, "the termination message cannot be written");
    }
    exit.number().into()
}

/// The inputs of a model as an outcome lists them: variable axes are -1.
pub(crate) fn inputs(facts: &OnnxFacts) -> Vec<OutcomeInput> {
    let input = |fact: &modelwright_artifact::onnx::TensorFact| OutcomeInput {
        name: fact.name.clone(),
        datatype: fact.datatype.oip_name().to_owned(),
        shape: fact.shape.iter().map(Dimension::to_oip).collect(),
    };
    facts.inputs.iter().map(input).collect()
}
