//! Models whose weights are mapped: the copy that `fetch` and `run` derive of a verified revision, and loading from it.
//!
//! It is an optimisation: whatever goes wrong with it, the revision's own file is served, and a warning says why.

use std::path::Path;

use modelwright_artifact::mapping::{self, Converted, NotConverted};
use modelwright_artifact::onnx::{Dimension, OnnxFacts};
use modelwright_artifact::{Digest, Manifest};
use modelwright_runtime::{Error, ErrorClass, ExecutionProvider, LoadRequest, LoadedModel, Weights};

use crate::failure::Failure;

/// Derives the copy of the verified revision in `folder` if the model is to be loaded from one, and removes it if not.
/// Gives what is there then; a failure has been logged. Blocks.
pub(crate) fn prepare(
    request: &LoadRequest,
    folder: &Path,
    manifest: &Manifest,
    facts: &OnnxFacts,
) -> Result<Option<Converted>, NotConverted> {
    let prepared = if request.prefers_external_weights(facts.parameter_bytes, batch_dimension(facts)) {
        mapping::convert(folder, manifest, facts).map(Some)
    } else {
        mapping::discard(folder).map(|()| None).map_err(NotConverted::from)
    };
    match &prepared {
        Ok(Some(converted)) => tracing::info!(
            model = %converted.model.display(),
            weights = converted.moved.weights,
            bytes = converted.moved.bytes,
            "the weights can be mapped"
        ),
        Ok(None) => {}
        Err(NotConverted::AlreadyExternal) => return Ok(None),
        Err(error) => tracing::warn!(folder = %folder.display(), "weights will not be mapped: {error}"),
    }
    prepared
}

/// As [`prepare`] and [`load`], for a revision in a folder of this process's own. Blocks.
pub(crate) fn prepare_and_load(
    request: &LoadRequest,
    folder: &Path,
    digest: &Digest,
) -> Result<LoadedModel, Failure> {
    let manifest = modelwright_artifact::read_manifest(folder, digest)?;
    // Reading the facts takes as long as reading the file: only if they can change anything.
    let bytes = std::fs::metadata(&request.path).map_or(0, |file| file.len());
    if request.prefers_external_weights(bytes, false)
        && !matches!(mapping::converted(folder, &manifest), Ok(Some(_)))
    {
        let facts = modelwright_artifact::facts(folder)?;
        // A failure has been logged, and the revision itself is loaded.
        let _ = prepare(request, folder, &manifest, &facts);
    }
    Ok(load(request, folder, &manifest)?)
}

/// Loads the verified revision in `folder`, from the copy if there is one that may be used. Blocks.
pub(crate) fn load(request: &LoadRequest, folder: &Path, manifest: &Manifest) -> Result<LoadedModel, Error> {
    let may_map = match request.weights {
        Weights::Copied => false,
        Weights::Mapped => true,
        Weights::Auto => request.execution_provider == ExecutionProvider::Cpu,
    };
    let converted = if may_map { mapping::converted(folder, manifest) } else { Ok(None) };
    match converted {
        Ok(None) => {}
        Ok(Some(Converted { model, .. })) => {
            match LoadedModel::load(&LoadRequest { path: model, ..request.clone() }) {
                Err(error) if error.class() == ErrorClass::Model => {
                    tracing::warn!("the copy with weights to map is not used: {error}");
                }
                loaded => return loaded,
            }
        }
        Err(error) => tracing::warn!("the copy with weights to map is not used: {error}"),
    }
    LoadedModel::load(request)
}

/// Whether rows can be computed together: the first dimension of every input and output varies.
fn batch_dimension(facts: &OnnxFacts) -> bool {
    let mut all = facts.inputs.iter().chain(&facts.outputs);
    !facts.inputs.is_empty() && all.all(|tensor| tensor.shape.first().map(Dimension::to_oip) == Some(-1))
}
