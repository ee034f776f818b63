//! From data to the files of a revision: read, split, prepare, train, measure, export, replay.
//!
//! [`prepare`] reads the rows and decides everything that follows from them; [`Prepared::train`] makes the files. Nothing here
//! waits for a network: files are on this machine already, and the caller publishes.

mod artifacts;
mod error;
mod measure;
pub mod metrics;
mod page;
mod prepared;
pub mod samples;

use modelwright_api::training::resolved::ResolvedTraining;
use modelwright_artifact::Digest;

pub use self::artifacts::{Made, REPORT_FILE};
pub use self::error::Error;
pub use self::prepared::{Prepared, prepare};
use crate::data::FileSet;
use crate::evaluate::parse_monitor;
use crate::training;

/// What to train from.
#[derive(Clone, Debug)]
pub struct Request {
    /// The rows to learn from, and to validate by unless there are others for that.
    pub training: FileSet,
    /// The rows to validate by.
    pub validation: Option<FileSet>,
    /// The rows to measure once.
    pub test: Option<FileSet>,
    /// How to train.
    pub spec: ResolvedTraining,
    /// Bytes of memory that the rows may take.
    pub memory: u64,
}

/// Refuses settings that no data can make right: an unknown metric to monitor, or a loss that does not fit the task that is
/// written beside it.
pub fn check(spec: &ResolvedTraining) -> Result<(), Error> {
    if let Some(stopping) = &spec.builtin.early_stopping {
        parse_monitor(&stopping.monitor, spec.builtin.task)?;
    }
    if let (Some(task), Some(loss)) = (spec.builtin.task, spec.builtin.loss) {
        training::check_loss(task, loss)?;
    }
    Ok(())
}

/// The sha256 of the canonical JSON of all settings that change the result.
pub fn settings_digest(spec: &ResolvedTraining) -> Result<Digest, Error> {
    let bytes = serde_json_canonicalizer::to_vec(spec)
        .map_err(|error| Error::Internal { detail: format!("the settings do not serialise: {error}") })?;
    Ok(Digest::of(&bytes))
}

#[cfg(test)]
mod tests;
