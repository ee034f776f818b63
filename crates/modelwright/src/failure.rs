//! One way for a command to fail: an exit code of the contract, a reason for programs, and a message for people.

use modelwright_api::contract::ExitCode;
use modelwright_artifact::Class;
use modelwright_runtime::ErrorClass;

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

    /// A command line that does not parse.
    pub(crate) fn invalid_arguments(message: impl Into<String>) -> Self {
        Self::new(ExitCode::InvalidConfiguration, "InvalidArguments", message)
    }

    /// A Secret that is not there, or that holds nothing which is read.
    pub(crate) fn secret_missing(message: impl Into<String>) -> Self {
        Self::new(ExitCode::InputMissing, "SecretMissing", message)
    }

    /// A step that was told to end.
    pub(crate) fn terminated() -> Self {
        let message = "told to end before it was done; what was fetched is kept and continued the next time";
        Self::new(ExitCode::Preempted, "Terminated", message)
    }

    /// Whether it says nothing about what the source holds: the source is away or out of reach, not wrong.
    pub(crate) fn is_outage(&self) -> bool {
        matches!(self.exit, ExitCode::Unreachable | ExitCode::TryAgain | ExitCode::InputMissing)
    }
}

impl From<modelwright_artifact::Error> for Failure {
    fn from(error: modelwright_artifact::Error) -> Self {
        Self::new(exit_of(error.class()), error.reason(), error.to_string())
    }
}

impl From<modelwright_runtime::Error> for Failure {
    fn from(error: modelwright_runtime::Error) -> Self {
        Self::new(exit_of_load(error.class()), error.reason(), error.to_string())
    }
}

fn exit_of(class: Class) -> ExitCode {
    match class {
        Class::InvalidConfiguration => ExitCode::InvalidConfiguration,
        Class::BadData => ExitCode::BadData,
        Class::Missing => ExitCode::InputMissing,
        Class::Unreachable => ExitCode::Unreachable,
        Class::Bug => ExitCode::Bug,
        Class::CannotWrite => ExitCode::OutputUnwritable,
        Class::TryAgain => ExitCode::TryAgain,
        Class::DigestMismatch => ExitCode::DigestMismatch,
        Class::Refused => ExitCode::Refused,
    }
}

/// Of a model that cannot be loaded; what only requests can meet would be a mistake of ours.
fn exit_of_load(class: ErrorClass) -> ExitCode {
    match class {
        ErrorClass::Configuration => ExitCode::InvalidConfiguration,
        ErrorClass::Model => ExitCode::BadData,
        ErrorClass::Missing => ExitCode::InputMissing,
        ErrorClass::Overloaded => ExitCode::TryAgain,
        ErrorClass::Request | ErrorClass::Deadline | ErrorClass::Closed | ErrorClass::Internal => {
            ExitCode::Bug
        }
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

impl From<modelwright_artifact::output::OutputError> for Failure {
    fn from(error: modelwright_artifact::output::OutputError) -> Self {
        use modelwright_artifact::output::OutputError;
        let (reason, message) = (error.reason(), error.to_string());
        match error {
            OutputError::Other(error) => error.into(),
            _ => Self::new(ExitCode::BadData, reason, message),
        }
    }
}

impl From<modelwright_trainer::container::ContainerError> for Failure {
    fn from(error: modelwright_trainer::container::ContainerError) -> Self {
        use modelwright_trainer::container::ContainerError;
        let (reason, message) = (error.reason(), error.to_string());
        match error {
            ContainerError::Output(error) => error.into(),
            ContainerError::Runtime(error) => error.into(),
            _ => Self::new(ExitCode::BadData, reason, message),
        }
    }
}

impl From<modelwright_server::AccessError> for Failure {
    fn from(error: modelwright_server::AccessError) -> Self {
        use modelwright_server::AccessError as Error;
        let message = error.to_string();
        let (exit, reason) = match error {
            Error::KeysMissing { .. } | Error::CertificateMissing { .. } => {
                return Self::secret_missing(message);
            }
            Error::InvalidKeys { .. } => (ExitCode::InvalidConfiguration, "ApiKeysInvalid"),
            Error::InvalidCertificate { .. } => (ExitCode::InvalidConfiguration, "CertificateInvalid"),
            Error::Unreadable { .. } => (ExitCode::InputMissing, "CannotRead"),
            Error::IssuerMismatch { .. } => (ExitCode::InvalidConfiguration, "IssuerMismatch"),
            Error::IssuerUnreachable { .. } => (ExitCode::Unreachable, "IssuerUnreachable"),
            Error::Thread(_) => (ExitCode::Bug, "Bug"),
        };
        Self::new(exit, reason, message)
    }
}

impl From<modelwright_server::Error> for Failure {
    fn from(error: modelwright_server::Error) -> Self {
        use modelwright_server::Error;
        let (exit, reason) = match &error {
            Error::AddressInUse { .. } => (ExitCode::InvalidConfiguration, "AddressInUse"),
            Error::Bind { .. } => (ExitCode::InvalidConfiguration, "CannotListen"),
            Error::AdminThread(_) | Error::IoThread(_) => (ExitCode::Bug, "Bug"),
        };
        Self::new(exit, reason, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use modelwright_artifact::onnx::OnnxError;
    use modelwright_server::AccessError;

    use super::*;

    /// What only other commands and requests meet.
    const ELSEWHERE: [&str; 5] = ["NoData", "Overloaded", "InvalidInput", "DeadlineExceeded", "Closed"];

    /// Every reason that `resolve`, `fetch` and `serve` can end with, and its exit code.
    fn reasons() -> BTreeMap<String, u8> {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 80));
        let own = [
            Failure::bug(""),
            Failure::invalid_arguments(""),
            Failure::secret_missing(""),
            Failure::terminated(),
            modelwright_server::Error::AddressInUse { address, option: "--listen" }.into(),
            modelwright_server::Error::Bind {
                address,
                option: "--listen",
                source: std::io::ErrorKind::Other.into(),
            }
            .into(),
            AccessError::InvalidKeys { file: "k".into(), line: 1, problem: String::new() }.into(),
            AccessError::InvalidCertificate { path: "t".into(), problem: String::new() }.into(),
            AccessError::IssuerMismatch { issuer: String::new(), says: String::new() }.into(),
            AccessError::IssuerUnreachable { issuer: String::new(), problem: String::new() }.into(),
            Failure::new(ExitCode::InvalidConfiguration, "InvalidOrder", ""),
            Failure::new(ExitCode::InputMissing, "RecordMissing", ""),
            Failure::new(ExitCode::TryAgain, "DataDiffers", ""),
            Failure::new(ExitCode::Refused, "RequirementNotMet", ""),
            Failure::new(ExitCode::Refused, "WorseThanBaseline", ""),
            Failure::new(ExitCode::Refused, "WorseThanActive", ""),
            Failure::new(ExitCode::Refused, "NotComparable", ""),
            Failure::new(ExitCode::Preempted, "Preempted", ""),
            Failure::new(ExitCode::Preempted, "CheckpointLeftBehind", ""),
        ];
        let bad = |name: &&str| Failure::new(ExitCode::BadData, name, "");
        let of_output = modelwright_artifact::output::OutputError::REASONS.iter().map(bad);
        let of_container = modelwright_trainer::container::ContainerError::REASONS.iter().map(bad);
        let mut all: Vec<(String, u8)> = own
            .into_iter()
            .chain(of_output)
            .chain(of_container)
            .map(|failure| (failure.reason, failure.exit.number()))
            .collect();
        let artifact =
            modelwright_artifact::Error::REASONS.iter().map(|(name, class)| (name, exit_of(*class)));
        let onnx = OnnxError::REASONS.iter().map(|name| {
            // The one reason of a scan that the source's own failures have, too.
            (name, if *name == "CannotRead" { ExitCode::InputMissing } else { ExitCode::BadData })
        });
        let runtime =
            modelwright_runtime::Error::REASONS.iter().map(|(name, class)| (name, exit_of_load(*class)));
        all.extend(
            artifact.chain(onnx).chain(runtime).map(|(name, exit)| ((*name).to_owned(), exit.number())),
        );
        let mut unique = BTreeMap::new();
        for (reason, exit) in all {
            let before = unique.insert(reason.clone(), exit);
            assert!(before.is_none_or(|before| before == exit), "{reason} means two things");
        }
        unique.retain(|reason, _| !ELSEWHERE.contains(&reason.as_str()));
        unique
    }

    #[test]
    fn reasons_and_exit_codes_are_the_documents() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/contract.md");
        let document = std::fs::read_to_string(path).unwrap();
        let rows = document.lines().skip_while(|line| !line.starts_with("| Reason |")).skip(2);
        let mut documented = BTreeMap::new();
        for row in rows.take_while(|line| line.starts_with('|')) {
            let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
            assert!(cells.len() == 4 && cells.iter().all(|cell| !cell.is_empty()), "{row}");
            let exit: u8 = cells[1].parse().unwrap();
            assert_eq!(documented.insert(cells[0].trim_matches('`').to_owned(), exit), None, "{row}");
        }
        assert_eq!(documented, reasons());
    }

    #[test]
    fn reasons_fit_conditions() {
        for reason in reasons().into_keys() {
            let camel = reason.starts_with(|c: char| c.is_ascii_uppercase())
                && reason.chars().all(|c| c.is_ascii_alphanumeric());
            assert!(camel && reason.len() <= 64, "{reason}");
        }
    }

    #[test]
    fn document_names_every_variable_of_an_identity() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/contract.md");
        let document = std::fs::read_to_string(path).unwrap();
        for name in modelwright_artifact::IDENTITY_NAMES {
            assert!(document.contains(&format!("`{name}`")), "{name}");
        }
    }
}
