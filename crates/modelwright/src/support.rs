//! Whether ONNX Runtime can run a model, decided from the model's header in the moment that it is read.

use modelwright_artifact::onnx::{self, OnnxFacts, Support};
use modelwright_artifact::{Error, SourceUri};

use crate::failure::Failure;

/// Refuses a model that needs a newer ONNX Runtime or operators that it does not have.
///
/// One list of operators serves both execution providers: what CUDA has no kernel for, ONNX Runtime computes on the CPU.
pub(crate) fn check(uri: &SourceUri, facts: &OnnxFacts) -> Result<(), Failure> {
    Ok(onnx::check(facts, &Support::ONNX_RUNTIME_1_32_CPU)
        .map_err(|source| Error::Onnx { what: uri.to_string(), source })?)
}
