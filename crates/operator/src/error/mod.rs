//! Why the operator could not do something, and when that is tried again.

mod refusal;

use std::time::Duration;

use modelwright_api::conditions::Class;

pub use refusal::Refusal;
pub(crate) use refusal::{detail, is_immutable};

use crate::stores::ModelKey;

/// Why a pass, or the operator, could not go on. What keeps a single child from being written is no error but a cause in the
/// Model's status.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not do what it was asked.
    #[error("cannot {doing}: {source}")]
    Request {
        /// What it was asked, such as `write the status of Model a/b`.
        doing: String,
        /// Its answer.
        source: Box<kube::Error>,
    },
    /// A pass took too long, most of the time because the API server does not answer.
    #[error("the pass over Model {model} took longer than {limit:?}")]
    PassTimeout {
        /// Over which Model.
        model: ModelKey,
        /// How long it may take.
        limit: Duration,
    },
    /// A Model cannot be read, because its definition in the cluster allows what this version does not know.
    #[error("Model {model} cannot be read: {message}")]
    InvalidModel {
        /// Which Model.
        model: ModelKey,
        /// What is wrong.
        message: String,
    },
    /// The controller ended although nobody asked it to.
    #[error("the watches of the operator ended; it must be started again")]
    WatchesEnded,
}

/// When something is tried again.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ErrorClass {
    /// When the user changed something.
    User,
    /// After pauses that others need to act.
    Wait,
    /// After short pauses.
    Transient,
    /// At once: somebody else wrote meanwhile.
    Conflict,
    /// As what is transient: a mistake of ours.
    Bug,
}

impl ErrorClass {
    /// Every class.
    pub const ALL: [Self; 5] = [Self::User, Self::Wait, Self::Transient, Self::Conflict, Self::Bug];

    /// The word in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Wait => "Wait",
            Self::Transient => "Transient",
            Self::Conflict => "Conflict",
            Self::Bug => "Bug",
        }
    }
}

impl From<Class> for ErrorClass {
    fn from(class: Class) -> Self {
        match class {
            Class::User => Self::User,
            Class::Wait => Self::Wait,
            Class::Settled | Class::Working | Class::Transient => Self::Transient,
            Class::Bug => Self::Bug,
        }
    }
}

impl Error {
    /// When what failed is tried again.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Request { source, .. } => Refusal::of(source).class(),
            Self::PassTimeout { .. } => ErrorClass::Transient,
            Self::InvalidModel { .. } => ErrorClass::User,
            Self::WatchesEnded => ErrorClass::Bug,
        }
    }
}
