//! Why a training has no result.

use std::path::PathBuf;

use modelwright_api::contract::ExitCode;

use crate::data::DataError;
use crate::evaluate::EvaluateError;
use crate::export::ExportError;
use crate::export::replay::ReplayError;
use crate::export::schema::SchemaError;
use crate::export::scorer::ScoreError;
use crate::features::FeaturesError;
use crate::report::ReportError;
use crate::training::TrainingError;

/// Why a training has no result. Each part says itself what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The files.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The columns and the target.
    #[error(transparent)]
    Features(#[from] FeaturesError),
    /// The targets of one set of rows.
    #[error("in the {of} data, {source}")]
    RowsOf {
        /// Which: `training`, `validation` or `test`.
        of: &'static str,
        /// What is wrong.
        source: FeaturesError,
    },
    /// A metric's name.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// The training itself.
    #[error(transparent)]
    Training(#[from] TrainingError),
    /// The model's file.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The schema's file.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// ONNX Runtime refuses the model's file.
    #[error(transparent)]
    Score(#[from] ScoreError),
    /// ONNX Runtime computes something else.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The report.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// A file of the revision cannot be written.
    #[error("cannot write {}: {source}; free some space or choose another data folder", path.display())]
    CannotWrite {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Something that should never happen.
    #[error("{detail}")]
    Internal {
        /// What happened.
        detail: String,
    },
}

impl Error {
    /// Why, as one word for programs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Data(error) => error.reason(),
            Self::Features(error) | Self::RowsOf { source: error, .. } => error.reason(),
            Self::Evaluate(error) => error.reason(),
            Self::Training(error) => error.reason(),
            Self::Export(error) => error.reason(),
            Self::Schema(error) => error.reason(),
            Self::Score(error) => error.reason(),
            Self::Replay(error) => error.reason(),
            Self::Report(error) => error.reason(),
            Self::CannotWrite { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                "DiskFull"
            }
            Self::CannotWrite { .. } => "CannotWrite",
            Self::Internal { .. } => "Bug",
        }
    }

    /// What it means for whoever started the training.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Data(error) => error.exit_code(),
            Self::Features(error) | Self::RowsOf { source: error, .. } => error.exit_code(),
            Self::Evaluate(error) => error.exit_code(),
            Self::Training(error) => error.exit_code(),
            Self::Export(error) => error.exit_code(),
            Self::Schema(error) => error.exit_code(),
            Self::Score(error) => error.exit_code(),
            Self::Replay(error) => error.exit_code(),
            Self::Report(error) => error.exit_code(),
            Self::CannotWrite { .. } => ExitCode::OutputUnwritable,
            Self::Internal { .. } => ExitCode::Bug,
        }
    }
}
