//! Who may call the models of `run`: one endpoint, so one answer for all manifests.

use modelwright_api::contract::ExitCode;
use modelwright_api::serving::Access;
use modelwright_server::{AccessConfig, ClientLimits};

use super::manifests::{Entry, Secrets};
use crate::access;
use crate::failure::Failure;

/// What all manifests say, which must be the same.
pub(super) fn config(entries: &[Entry], secrets: &Secrets) -> Result<Option<AccessConfig>, Failure> {
    let Some(first) = entries.first() else { return Ok(None) };
    if let Some(other) = entries.iter().find(|entry| written(entry) != written(first)) {
        let message = format!(
            "the Models {:?} and {:?} have different spec.serving.access, and one endpoint has one: write the same in all, or \
             run the manifests one by one",
            first.name(),
            other.name()
        );
        return Err(Failure::new(ExitCode::InvalidConfiguration, "InvalidManifest", message));
    }
    written(first).map(|access| of(access, secrets)).transpose()
}

fn written(entry: &Entry) -> Option<&Access> {
    entry.model.spec.serving.as_ref()?.access.as_ref()
}

fn of(written: &Access, secrets: &Secrets) -> Result<AccessConfig, Failure> {
    let limits = written.limits.clone().unwrap_or_default();
    let number = |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok());
    let path = |secret: Option<&str>, what| secret.map(|name| secrets.path(name, what)).transpose();
    Ok(AccessConfig {
        api_keys: path(
            written.api_keys_secret(),
            "PATH, a file with lines CLIENT=sha256:… or a folder with a file for each client",
        )?,
        jwt: written.jwt.as_ref().map(access::jwt),
        limits: ClientLimits {
            requests_per_second: number(limits.requests_per_second),
            burst: number(limits.burst),
            concurrent_requests: number(limits.concurrent_requests),
        },
        tls: path(written.tls_secret(), "FOLDER, which holds tls.crt and tls.key")?,
        ..AccessConfig::default()
    })
}
