//! What commands read from the process environment, all in one place.

use std::path::PathBuf;

use modelwright_api::contract::{environment, paths};
use modelwright_artifact::{Credentials, Identity};

/// Set by the kubelet in every container.
const IN_A_POD: &str = "KUBERNETES_SERVICE_HOST";

/// The value of a variable that is not empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Credentials for the source.
pub(crate) fn credentials() -> Credentials {
    Credentials::from_lookup(variable)
}

/// Credentials for `--copy-to`.
pub(crate) fn copy_to_credentials() -> Credentials {
    prefixed_credentials(environment::COPY_TO_PREFIX)
}

/// Credentials for a store whose variables begin with this, such as `OUTPUT_`; with nothing, those of the source.
pub(crate) fn prefixed_credentials(prefix: &str) -> Credentials {
    Credentials::from_lookup(|name| variable(&format!("{prefix}{name}")))
}

/// The place of this pod among those that train together, from 0; 0 where there is only one.
pub(crate) fn node_rank() -> Result<u32, String> {
    match variable(environment::NODE_RANK) {
        None => Ok(0),
        Some(rank) => rank.parse().map_err(|_| {
            format!("{} is {rank:?}, not a number from 0; the operator sets it", environment::NODE_RANK)
        }),
    }
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
