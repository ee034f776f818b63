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

    /// Whether the former revision may be served although this happened: the source is out of reach, which says
    /// nothing about what it holds.
    pub(crate) fn is_outage(&self) -> bool {
        matches!(self.exit, ExitCode::Unavailable | ExitCode::TryAgain)
    }
}
