//! What commands read from the process environment, all in one place.

use std::path::PathBuf;

use modelwright_api::contract::{environment, paths};
use modelwright_artifact::{Credentials, Identity};

/// Set by the kubelet in every container.
const IN_A_POD: &str = "KUBERNETES_SERVICE_HOST";
/// Before the name of a credential for `--copy-to`, so that source and target can have different ones.
const COPY_TO: &str = "COPY_TO_";

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Credentials for the source.
pub(crate) fn credentials() -> Credentials {
    Credentials::from_lookup(variable)
}

/// Credentials for `--copy-to`.
pub(crate) fn copy_to_credentials() -> Credentials {
    Credentials::from_lookup(|name| variable(&format!("{COPY_TO}{name}")))
}

/// The identity that the cloud gives this pod.
pub(crate) fn identity() -> Identity {
    Identity::from_lookup(variable)
}

/// The namespace of the Model that this pod works for.
pub(crate) fn namespace() -> Option<String> {
    variable(environment::NAMESPACE)
}

/// Where the final JSON object goes besides standard output.
pub(crate) fn termination_log(asked: Option<&PathBuf>) -> Option<PathBuf> {
    asked.cloned().or_else(|| variable(IN_A_POD).map(|_| PathBuf::from(paths::TERMINATION_LOG)))
}

/// What is logged, if something else than usual.
pub(crate) fn log() -> Option<String> {
    variable(environment::LOG)
}
