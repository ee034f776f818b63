//! How a command ends, and what that means for whoever started it.

use std::process;

/// Who must do something after a command failed, which decides whether it is run again.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Class {
    /// The user must change the spec, the data or the model: no retry until then.
    User,
    /// Something is missing that may appear later: retried with growing pauses.
    Wait,
    /// It may work the next time: retried.
    Transient,
    /// Our mistake: retried a few times, with the whole message kept.
    Bug,
    /// A gate or contract refused: the revision is kept and not rolled out.
    Gate,
    /// There was nothing to do: a success with the digest that is given.
    Reused,
    /// The machine was taken away: resumed, and the attempt does not count.
    Infra,
}

/// The exit status of every command that can run in a pod. Numbers below 128 follow BSD's `sysexits.h` where it has
/// the meaning.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum ExitCode {
    /// The command did what it was asked.
    Done = 0,
    /// The configuration or the arguments are invalid (`EX_USAGE`).
    InvalidConfiguration = 64,
    /// The data or the model is bad (`EX_DATAERR`).
    BadData = 65,
    /// An input is missing or access to it is denied (`EX_NOINPUT`).
    InputMissing = 66,
    /// A store or the network cannot be reached (`EX_UNAVAILABLE`).
    Unreachable = 69,
    /// A mistake of ours (`EX_SOFTWARE`).
    Bug = 70,
    /// The output cannot be written (`EX_CANTCREAT`).
    OutputUnwritable = 73,
    /// Try again (`EX_TEMPFAIL`).
    TryAgain = 75,
    /// The bytes have another digest than was asked for (`EX_PROTOCOL`).
    DigestMismatch = 76,
    /// A gate or contract refused the result (`EX_CONFIG`).
    Refused = 78,
    /// A revision for these inputs is already published.
    AlreadyPublished = 80,
    /// The kernel killed the process for using too much memory (128 + `SIGKILL`).
    OutOfMemory = 137,
    /// The process was told to stop and left a checkpoint (128 + `SIGTERM`).
    Preempted = 143,
}

impl ExitCode {
    /// Every code, in ascending order.
    pub const ALL: [Self; 13] = [
        Self::Done,
        Self::InvalidConfiguration,
        Self::BadData,
        Self::InputMissing,
        Self::Unreachable,
        Self::Bug,
        Self::OutputUnwritable,
        Self::TryAgain,
        Self::DigestMismatch,
        Self::Refused,
        Self::AlreadyPublished,
        Self::OutOfMemory,
        Self::Preempted,
    ];

    /// The number a shell sees.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The code with this number, if it is one of ours.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|code| i32::from(code.number()) == number)
    }

    /// Who must do something; `None` for [`Done`](Self::Done).
    pub const fn class(self) -> Option<Class> {
        match self {
            Self::Done => None,
            Self::InvalidConfiguration | Self::BadData | Self::DigestMismatch | Self::OutOfMemory => {
                Some(Class::User)
            }
            Self::InputMissing | Self::OutputUnwritable => Some(Class::Wait),
            Self::Unreachable | Self::TryAgain => Some(Class::Transient),
            Self::Bug => Some(Class::Bug),
            Self::Refused => Some(Class::Gate),
            Self::AlreadyPublished => Some(Class::Reused),
            Self::Preempted => Some(Class::Infra),
        }
    }

    /// The HTTP status with which a server answers the same condition, where it can meet it.
    pub const fn http_status(self) -> Option<u16> {
        match self {
            Self::InvalidConfiguration | Self::BadData => Some(400),
            Self::InputMissing => Some(404),
            Self::Unreachable | Self::TryAgain => Some(503),
            Self::Bug => Some(500),
            Self::Done
            | Self::OutputUnwritable
            | Self::DigestMismatch
            | Self::Refused
            | Self::AlreadyPublished
            | Self::OutOfMemory
            | Self::Preempted => None,
        }
    }

    /// What it means, as the contract's table says it.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::InvalidConfiguration => "invalid configuration",
            Self::BadData => "data or model is bad",
            Self::InputMissing => "input missing or access denied",
            Self::Unreachable => "store or network unreachable",
            Self::Bug => "our bug",
            Self::OutputUnwritable => "output cannot be written",
            Self::TryAgain => "try again",
            Self::DigestMismatch => "digest mismatch",
            Self::Refused => "gate or contract refused",
            Self::AlreadyPublished => "these inputs are already published",
            Self::OutOfMemory => "killed for memory",
            Self::Preempted => "preempted after a checkpoint",
        }
    }
}

impl From<ExitCode> for process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_found_again() {
        for code in ExitCode::ALL {
            assert_eq!(ExitCode::from_number(i32::from(code.number())), Some(code));
        }
        assert!(ExitCode::ALL.is_sorted_by_key(|code| code.number()));
        assert_eq!(ExitCode::from_number(1), None);
        assert_eq!(ExitCode::from_number(-1), None);
    }

    #[test]
    fn every_failure_has_a_class() {
        for code in ExitCode::ALL {
            assert_eq!(code.class().is_none(), code == ExitCode::Done);
        }
    }
}
