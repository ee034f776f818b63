//! Why the result of a user's training cannot be served.

use modelwright_artifact::output::OutputError;
use modelwright_runtime as runtime;

use super::{ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE};
use crate::pipeline::metrics::METRICS_FILE;
use crate::pipeline::samples::SAMPLES_FILE;

/// The most names that a message lists.
const NAMED: usize = 4;
/// The most characters of a text from elsewhere in a message.
const CHARACTERS: usize = 160;

/// Why the result of a user's training cannot be served. Names in messages are shortened and made printable.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// A file beside the model that cannot be read safely.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// ONNX Runtime refuses the model.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    /// `metrics.json` is not of its form.
    #[error("{METRICS_FILE} cannot be used: {problem}; write {{\"metrics\": {{\"valAccuracy\": 0.97}}}}")]
    Metrics {
        /// What is wrong.
        problem: String,
    },
    /// `samples.json` is not of its form.
    #[error("{SAMPLES_FILE} cannot be used: {problem}; docs/training-containers.md shows its form")]
    Samples {
        /// What is wrong.
        problem: String,
    },
    /// `schema.json` does not describe the model.
    #[error("{detail}; a schema.json is optional: leave it out unless requests shall name columns")]
    SchemaUnusable {
        /// What the reader says.
        detail: String,
    },
    /// Constants of a layer became inputs.
    #[error(
        "model.onnx requires inputs that no request has: {}. Keras on TensorFlow exports a Normalization layer like that: its \
         mean and variance become inputs. Use a Rescaling layer with scale and offset instead, or export with the torch \
         backend (KERAS_BACKEND=torch)",
        list(names)
    )]
    NormalizationExported {
        /// The inputs.
        names: Vec<String>,
    },
    /// The model has inputs that the samples do not.
    #[error(
        "model.onnx requires inputs that samples.json does not have: {}; export the model without them, or write samples \
         for them",
        list(names)
    )]
    UnexpectedInputs {
        /// The inputs.
        names: Vec<String>,
    },
    /// The samples have a tensor that the model has not.
    #[error(
        "{SAMPLES_FILE} has the {role} {}, and the model has {}; write samples for this model",
        list(std::slice::from_ref(name)),
        list(known)
    )]
    UnknownTensor {
        /// `input` or `output`.
        role: &'static str,
        /// The tensor of the samples.
        name: String,
        /// Those of the model.
        known: Vec<String>,
    },
    /// A model without samples fails on inputs of zeros.
    #[error(
        "model.onnx loads and does not run: {detail}. Without {SAMPLES_FILE} it is run once on zeros, empty texts and small numbers, \
         with dimensions of 1 where they are variable; write samples with inputs that it computes if it takes no such ones"
    )]
    ModelDoesNotRun {
        /// What ONNX Runtime says, beginning with a small letter.
        detail: String,
    },
    /// The model computes something else than the training did.
    #[error(
        "model.onnx does not compute what {SAMPLES_FILE} expects: the output {} differs most in sample {sample} (from 0), {}; up to \
         {ABSOLUTE_TOLERANCE:e} + {RELATIVE_TOLERANCE:e} of the expected value would be rounding. Often it is preprocessing that was \
         not exported, or a model that was exported in training mode",
        list(std::slice::from_ref(output)),
        apart(*difference)
    )]
    SamplesDiffer {
        /// The output.
        output: String,
        /// The sample, from 0.
        sample: usize,
        /// By how much; `None` where the values are no numbers, or one of them is none.
        difference: Option<f64>,
    },
}

impl ContainerError {
    /// Every reason of its own; all of them are the user's to act on.
    pub const REASONS: &[&str] = &[
        "MetricsUnusable",
        "SamplesUnusable",
        "SchemaUnusable",
        "UnexpectedInputs",
        "ModelDoesNotRun",
        "SamplesDiffer",
    ];

    /// A `CamelCase` word for what happened.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Output(error) => error.reason(),
            Self::Runtime(error) => error.reason(),
            Self::Metrics { .. } => "MetricsUnusable",
            Self::Samples { .. } | Self::UnknownTensor { .. } => "SamplesUnusable",
            Self::SchemaUnusable { .. } => "SchemaUnusable",
            Self::NormalizationExported { .. } | Self::UnexpectedInputs { .. } => "UnexpectedInputs",
            Self::ModelDoesNotRun { .. } => "ModelDoesNotRun",
            Self::SamplesDiffer { .. } => "SamplesDiffer",
        }
    }

    pub(super) fn samples(problem: impl Into<String>) -> Self {
        Self::Samples { problem: problem.into() }
    }
}

/// A difference for a message; values themselves are the user's.
fn apart(difference: Option<f64>) -> String {
    difference.map_or_else(|| "which has another value".to_owned(), |by| format!("by {by:.3e}"))
}

/// Where a JSON document is wrong; what stands there is the user's.
pub(super) fn place(error: &serde_json::Error) -> String {
    let what = if error.is_data() { "is not of its form" } else { "is no JSON" };
    format!("it {what} at line {}, column {}", error.line(), error.column())
}

/// Names for a message.
pub(super) fn list(names: &[String]) -> String {
    let shown = names.iter().take(NAMED).map(|name| format!("\"{}\"", shortened(name)));
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if names.len() > NAMED {
        text.push_str(" and others");
    }
    text
}

/// The beginning of a text from elsewhere, printable.
pub(super) fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(CHARACTERS).flat_map(char::escape_debug).collect();
    if text.chars().nth(CHARACTERS).is_some() {
        short.push('…');
    }
    short
}
