//! One way for a command to fail: an exit code of the contract, a reason for programs, and a message for people.

use modelwright_api::contract::ExitCode;
use modelwright_artifact::Class;

/// Why a command, or one Model of `run`, failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: ExitCode,
    /// In `CamelCase`, as in conditions and Events.
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(exit: ExitCode, reason: &str, message: impl Into<String>) -> Self {
        Self { exit, reason: reason.to_owned(), message: message.into() }
    }

    /// What should never happen.
    pub(crate) fn bug(message: impl Into<String>) -> Self {
        Self::new(ExitCode::Bug, "Bug", message)
    }

    /// Whether it says nothing about what the source holds: the source is away or out of reach, not wrong.
    pub(crate) fn is_outage(&self) -> bool {
        matches!(self.exit, ExitCode::Unreachable | ExitCode::TryAgain | ExitCode::InputMissing)
    }
}

impl From<modelwright_artifact::Error> for Failure {
    fn from(error: modelwright_artifact::Error) -> Self {
        let exit = match error.class() {
            Class::InvalidConfiguration => ExitCode::InvalidConfiguration,
            Class::BadData => ExitCode::BadData,
            Class::Missing => ExitCode::InputMissing,
            Class::Unreachable => ExitCode::Unreachable,
            Class::Bug => ExitCode::Bug,
            Class::CannotWrite => ExitCode::OutputUnwritable,
            Class::TryAgain => ExitCode::TryAgain,
            Class::DigestMismatch => ExitCode::DigestMismatch,
            Class::Refused => ExitCode::Refused,
        };
        Self::new(exit, error.reason(), error.to_string())
    }
}

impl From<modelwright_runtime::Error> for Failure {
    fn from(error: modelwright_runtime::Error) -> Self {
        use modelwright_runtime::{Error, ErrorClass};
        let exit = match error.class() {
            // A library that is not there may be installed later; one that is wrong may not be retried.
            ErrorClass::Configuration if matches!(error, Error::LibraryMissing { .. }) => {
                ExitCode::InputMissing
            }
            ErrorClass::Configuration => ExitCode::InvalidConfiguration,
            ErrorClass::Model => ExitCode::BadData,
            ErrorClass::Missing => ExitCode::InputMissing,
            ErrorClass::Overloaded => ExitCode::TryAgain,
            ErrorClass::Request | ErrorClass::Deadline | ErrorClass::Closed | ErrorClass::Internal => {
                ExitCode::Bug
            }
        };
        Self::new(exit, error.reason(), error.to_string())
    }
}

impl From<modelwright_trainer::pipeline::Error> for Failure {
    fn from(error: modelwright_trainer::pipeline::Error) -> Self {
        Self::new(error.exit_code(), error.reason(), error.to_string())
    }
}

impl From<modelwright_trainer::evaluate::EvaluateError> for Failure {
    fn from(error: modelwright_trainer::evaluate::EvaluateError) -> Self {
        modelwright_trainer::pipeline::Error::from(error).into()
    }
}

impl From<modelwright_trainer::data::DataError> for Failure {
    fn from(error: modelwright_trainer::data::DataError) -> Self {
        modelwright_trainer::pipeline::Error::from(error).into()
    }
}

impl From<modelwright_server::Error> for Failure {
    fn from(error: modelwright_server::Error) -> Self {
        use modelwright_server::Error;
        let (exit, reason) = match &error {
            Error::AddressInUse { .. } => (ExitCode::InvalidConfiguration, "AddressInUse"),
            Error::Bind { .. } => (ExitCode::InvalidConfiguration, "CannotListen"),
            Error::AdminThread(_) => (ExitCode::Bug, "Bug"),
        };
        Self::new(exit, reason, error.to_string())
    }
}
