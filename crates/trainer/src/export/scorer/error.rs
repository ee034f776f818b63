//! Why a revision does not predict.

use std::path::PathBuf;

use modelwright_api::contract::ExitCode;
use modelwright_runtime::ErrorClass;

use crate::export::schema::SchemaError;

/// Why a revision does not predict.
///
/// Those with the reason `NotComparable` say that the revision is not one for these rows, not that something is broken.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ScoreError {
    /// The revision was not made by the built-in trainer.
    #[error(
        "{} does not exist, so this revision was not made by the built-in trainer and cannot be given rows of a table; compare with one that was",
        path.display()
    )]
    NoSchema {
        /// The file.
        path: PathBuf,
    },
    /// The schema cannot be read.
    #[error("{} cannot be read: {detail}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        detail: String,
    },
    /// The schema is none.
    #[error("{}: {error}", path.display())]
    InvalidSchema {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: SchemaError,
    },
    /// The model has other inputs or outputs than the schema beside it.
    #[error("{} does not fit {}: {detail}; use a revision whose files were not exchanged", path.display(), crate::export::schema::SCHEMA_FILE)]
    OtherSignature {
        /// The model.
        path: PathBuf,
        /// Where they differ.
        detail: String,
    },
    /// The rows lack a column.
    #[error(
        "the model needs the column \"{column}\", which the data does not have; compare with a model of the same columns"
    )]
    MissingColumn {
        /// The column.
        column: String,
    },
    /// A column has values of another kind.
    #[error(
        "the model takes the column \"{column}\" as {wanted}, and the data has it as {found}; compare with a model of the same types"
    )]
    OtherKind {
        /// The column.
        column: String,
        /// The model's kind.
        wanted: &'static str,
        /// The data's kind.
        found: &'static str,
    },
    /// ONNX Runtime refuses the model or the rows.
    #[error(transparent)]
    Runtime(#[from] modelwright_runtime::Error),
    /// The rows make no tensors.
    #[error("the rows make no tensors: {0}; please report this")]
    Tensor(#[from] modelwright_protocol::Error),
}

impl ScoreError {
    /// The reasons that only this has: one that says that a revision is not comparable is the gate's, and others come from within.
    pub const REASONS: &[(&str, ExitCode)] =
        &[("UnreadableSchema", ExitCode::InputMissing), ("OtherSignature", ExitCode::BadData)];

    /// A `CamelCase` word for termination messages, conditions and metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NoSchema { .. } | Self::MissingColumn { .. } | Self::OtherKind { .. } => "NotComparable",
            Self::Unreadable { .. } => "UnreadableSchema",
            Self::InvalidSchema { error, .. } => error.reason(),
            Self::OtherSignature { .. } => "OtherSignature",
            Self::Runtime(error) => error.reason(),
            Self::Tensor(_) => "Bug",
        }
    }

    /// How a command ends that meets it.
    pub const fn exit_code(&self) -> ExitCode {
        match self {
            Self::NoSchema { .. }
            | Self::OtherSignature { .. }
            | Self::MissingColumn { .. }
            | Self::OtherKind { .. } => ExitCode::BadData,
            Self::Unreadable { .. } => ExitCode::InputMissing,
            Self::InvalidSchema { error, .. } => error.exit_code(),
            Self::Runtime(error) => match error.class() {
                ErrorClass::Configuration => ExitCode::InvalidConfiguration,
                // The only inputs are rows of the data.
                ErrorClass::Model | ErrorClass::Request => ExitCode::BadData,
                ErrorClass::Missing => ExitCode::InputMissing,
                ErrorClass::Overloaded => ExitCode::TryAgain,
                ErrorClass::Deadline | ErrorClass::Closed | ErrorClass::Internal => ExitCode::Bug,
            },
            Self::Tensor(_) => ExitCode::Bug,
        }
    }
}
