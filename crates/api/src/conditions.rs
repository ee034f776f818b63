//! The words in which a Model's status speaks: the types of conditions, and every reason with what it means and what to do.
//!
//! The page `docs/status.md` is generated from here. Conditions follow kstatus: `Stalled` is True when nothing more happens
//! until the user acts, `Progressing` while something is on its way, and `Ready` sums up.

use std::borrow::Cow;

mod reason;
pub use reason::{Class, Reason};

/// The types of a Model's conditions. All are always present, but for `Trained`, which only a Model with a training has.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ConditionType {
    /// The Model is as its spec says: the wanted revision is served, or nothing where the spec asks for that.
    Ready,
    /// At least one ready pod serves a verified revision, be it the wanted one or a former one.
    Available,
    /// A newer revision or spec is on its way.
    Progressing,
    /// Nothing more happens until the user acts.
    Stalled,
    /// The training that the spec asks for has given a revision, and its gate let it pass.
    Trained,
}

impl ConditionType {
    /// Every type, in the order in which status lists them.
    pub const ALL: [Self; 5] =
        [Self::Ready, Self::Available, Self::Progressing, Self::Stalled, Self::Trained];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Available => "Available",
            Self::Progressing => "Progressing",
            Self::Stalled => "Stalled",
            Self::Trained => "Trained",
        }
    }

    /// What it means, for the documentation.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ready => {
                "the Model is as its spec says: the wanted revision is served, or nothing where the spec asks for that"
            }
            Self::Available => {
                "at least one ready pod serves a verified revision, be it the wanted one or a former one"
            }
            Self::Progressing => "a revision or a change of the spec is on its way",
            Self::Stalled => "nothing more happens until somebody acts; the message says what to do",
            Self::Trained => {
                "the training that the spec asks for has given a revision, and its gate let it pass; only where there is a \
                 training"
            }
        }
    }
}

/// Why something is as it is: one word for programs and a sentence for people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cause {
    /// One `CamelCase` word: a [`Reason`], or one that a command in a pod reported.
    pub reason: Cow<'static, str>,
    /// A sentence with the root cause and, where somebody must act, the next step.
    pub message: String,
    /// Who must do something.
    pub class: Class,
}

impl Cause {
    /// A cause that the operator found itself.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason: Cow::Borrowed(reason.as_str()), message: message.into(), class: reason.class() }
    }

    /// A cause that a command in a pod reported. A word that is none is replaced, because pods' words are not ours.
    pub fn reported(reason: &str, message: impl Into<String>, class: Class) -> Self {
        let word = reason.starts_with(|c: char| c.is_ascii_uppercase())
            && reason.len() <= 64
            && reason.chars().all(|c| c.is_ascii_alphanumeric());
        let reason = if word {
            Cow::Owned(reason.to_owned())
        } else {
            Cow::Borrowed(Reason::ContainerFailed.as_str())
        };
        Self { reason, message: message.into(), class }
    }
}
