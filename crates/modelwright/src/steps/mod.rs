//! The steps of a deployment on their own, as pods run them: each ends with an exit code of the contract and, but for
//! `crd` and `hash-key`, a final JSON object.

pub(crate) mod agent;
pub(crate) mod check;
mod container;
pub(crate) mod crd;
pub(crate) mod data;
pub(crate) mod delete;
pub(crate) mod fetch;
pub(crate) mod hash_key;
mod patience;
pub(crate) mod publish;
pub(crate) mod resolve;
mod reuse;
mod secret;
pub(crate) mod serve;
pub(crate) mod train;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use modelwright_api::contract::paths;
use modelwright_artifact::{AccessRules, Connection, Credentials, Digest, Identity, Retry, SourceUri};

use crate::arguments::StepArguments;
use crate::environment;
use crate::failure::Failure;
use crate::signals::Termination;

/// How a step reaches a store.
fn connection(credentials: Credentials, arguments: &StepArguments, retry: Retry) -> Connection {
    let rules = AccessRules {
        loopback: arguments.allow_loopback,
        private: !arguments.refuse_private,
        instance_identity: arguments.instance_identity,
    };
    Connection {
        credentials,
        // Nobody's identity is read unless it is asked for.
        identity: if rules.instance_identity { environment::identity() } else { Identity::default() },
        rules,
        retry: arguments.retry(retry),
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
pub(crate) fn block_on<T>(step: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build();
    let runtime =
        runtime.map_err(|error| Failure::bug(format!("cannot start the runtime's threads: {error}")))?;
    // A panic is a mistake of ours; whoever started the step still learns that it was one, and its place is logged.
    let result = catch_unwind(AssertUnwindSafe(|| runtime.block_on(step)))
        .unwrap_or_else(|_| Err(Failure::bug("the step panicked; its log says where")));
    // A name look-up that hangs in the resolver's thread must not keep a finished step from ending.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

/// Runs a step that ends in order when it is told to.
async fn until_terminated<T>(step: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let mut termination = Termination::listen()?;
    tokio::select! {
        done = step => done,
        () = termination.wait() => Err(Failure::terminated()),
    }
}
