//! The steps of a deployment on their own, as pods run them: each ends with an exit code of the contract and, but for
//! `crd`, a final JSON object.

pub(crate) mod crd;
pub(crate) mod fetch;
pub(crate) mod resolve;
pub(crate) mod serve;

use std::time::Duration;

use modelwright_api::contract::paths;
use modelwright_artifact::{AccessRules, Connection, Credentials, Digest, Retry, SourceUri};

use crate::failure::Failure;

/// How a step reaches a store.
fn connection(credentials: Credentials, allow_loopback: bool, retry: Retry) -> Connection {
    Connection {
        credentials,
        rules: AccessRules { loopback: allow_loopback, ..AccessRules::CLUSTER },
        retry,
        volume: Some(paths::SOURCE.into()),
        ..Connection::default()
    }
}

/// Reads a uri; a relative `file:` path is relative to the current folder.
fn uri(text: &str) -> Result<SourceUri, Failure> {
    let here = std::env::current_dir().ok();
    Ok(SourceUri::parse(text, here.as_deref())?)
}

fn digest(text: &str) -> Result<Digest, Failure> {
    Ok(text.parse::<Digest>()?)
}

/// Runs a step on a small asynchronous runtime: its work is waiting for a store, and hashing.
fn block_on<T>(step: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build();
    let runtime =
        runtime.map_err(|error| Failure::bug(format!("cannot start the runtime's threads: {error}")))?;
    let result = runtime.block_on(step);
    // A name look-up that hangs in the resolver's thread must not keep a finished step from ending.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}
