//! Whether the model of a user's own training can be served: it loads in ONNX Runtime, takes and gives what its schema says,
//! and computes what its samples say.
//!
//! Exporters write files without an error that no server can use, and nothing but trying tells. All that is read here was
//! written by somebody else's program: sizes are bounded by the caller, and messages name tensors, never contents.

mod error;
mod measured;
mod samples;
mod values;

use std::path::Path;

use modelwright_artifact::onnx::OnnxFacts;
use modelwright_artifact::{MODEL_FILE, output};
use modelwright_protocol::v1::View;
use modelwright_protocol::{Signature, TensorMetadata};
use modelwright_runtime::{Error, Library, Session, SessionOptions};

pub use self::error::ContainerError;
pub use self::measured::Measured;
pub use self::samples::{ABSOLUTE_TOLERANCE, MAX_ROWS, MIN_ROWS, RELATIVE_TOLERANCE, Replayed, UserSamples};
use crate::export::EXPLAIN_FILE;
use crate::export::schema::SCHEMA_FILE;
use crate::pipeline::metrics::METRICS_FILE;
use crate::pipeline::samples::SAMPLES_FILE;

/// What stands in a manifest for the version of the trainer's arithmetic, which a user's container has not.
pub const NO_NUMERICS: &str = "none";
/// The most bytes of `metrics.json` and `schema.json`.
const MAX_DOCUMENT_BYTES: u64 = 4 << 20;
/// The most bytes of `samples.json`.
const MAX_SAMPLES_BYTES: u64 = 16 << 20;
/// What an exporter of TensorFlow models calls itself.
const TF2ONNX: &str = "tf2onnx";

/// What was found of a model that can be served.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The version of ONNX Runtime.
    pub runtime: String,
    /// What the training measured.
    pub measured: Measured,
    /// How near the model came to its samples, where there are any.
    pub replayed: Option<Replayed>,
}

/// Checks the model in `folder`, whose files were read already; `facts` is what `model.onnx` says of itself.
///
/// Blocks for as long as the model takes to load and to run.
pub fn check(folder: &Path, facts: &OnnxFacts) -> Result<Checked, ContainerError> {
    let measured = match output::read_file(folder, METRICS_FILE, MAX_DOCUMENT_BYTES)? {
        Some(bytes) => Measured::parse(&bytes)?,
        None => Measured::default(),
    };
    let samples = match output::read_file(folder, SAMPLES_FILE, MAX_SAMPLES_BYTES)? {
        Some(bytes) => Some(UserSamples::parse(&bytes)?),
        None => None,
    };
    let mut session = Session::open(&folder.join(MODEL_FILE), &SessionOptions::default())?;
    let signature = session.signature().clone();
    check_inputs(&signature, facts.producer.as_deref(), samples.as_ref())?;
    if let Some(schema) = output::read_file(folder, SCHEMA_FILE, MAX_DOCUMENT_BYTES)? {
        View::from_schema(&schema, &signature).map_err(|error| ContainerError::SchemaUnusable {
            detail: error::shortened(&error.to_string()),
        })?;
    }
    let replayed = if let Some(samples) = &samples {
        Some(samples.replay(&mut session)?)
    } else {
        try_out(&mut session)?;
        None
    };
    drop(session);
    if folder.join(EXPLAIN_FILE).is_file() {
        Session::open(&folder.join(EXPLAIN_FILE), &SessionOptions::default())?;
    }
    Ok(Checked { runtime: Library::load()?.version().to_owned(), measured, replayed })
}

/// Whether the model computes anything at all, where no samples show it: some files load and fail in every run.
fn try_out(session: &mut Session) -> Result<(), ContainerError> {
    match session.try_out() {
        Ok(_) => Ok(()),
        Err(error @ (Error::RunFailed { .. } | Error::InvalidInput { .. })) => {
            Err(ContainerError::ModelDoesNotRun { detail: error::shortened(&error.to_string()) })
        }
        Err(other) => Err(other.into()),
    }
}

/// Refuses inputs that no request would have: those that the samples do not know, and what Keras on TensorFlow makes of a
/// `Normalization` layer. Its mean and variance become inputs, named like nodes of the graph, and the export says nothing.
fn check_inputs(
    signature: &Signature,
    producer: Option<&str>,
    samples: Option<&UserSamples>,
) -> Result<(), ContainerError> {
    let keras = producer == Some(TF2ONNX);
    let is_node = |input: &&TensorMetadata| {
        let index = input.name.rsplit_once(':').map(|(_, index)| index);
        keras
            && input.name.contains('/')
            && index.is_some_and(|index| index.bytes().all(|b| b.is_ascii_digit()))
    };
    let unknown = |input: &&TensorMetadata| {
        samples.is_some_and(|samples| !samples.inputs.iter().any(|sample| sample.name == input.name))
    };
    let names = |odd: &dyn Fn(&&TensorMetadata) -> bool| -> Vec<String> {
        signature.inputs.iter().filter(|input| odd(input)).map(|input| input.name.clone()).collect()
    };
    let nodes = names(&is_node);
    if !nodes.is_empty() && nodes.len() < signature.inputs.len() {
        return Err(ContainerError::NormalizationExported { names: nodes });
    }
    let unexpected = names(&unknown);
    if unexpected.is_empty() { Ok(()) } else { Err(ContainerError::UnexpectedInputs { names: unexpected }) }
}

#[cfg(test)]
mod tests;
