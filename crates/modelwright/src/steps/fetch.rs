//! `modelwright fetch`: a revision into a folder, every byte verified.

use std::process::ExitCode as ProcessExit;

use modelwright_api::Outcome;
use modelwright_artifact::{FetchRequest, ResolveRequest, Retry};

use crate::arguments::FetchArguments;
use crate::failure::Failure;
use crate::steps::secret::Secret;
use crate::terminal::Terminal;
use crate::{environment, report, steps};

/// Runs it.
pub(crate) fn run(arguments: &FetchArguments) -> ProcessExit {
    let result = steps::block_on(steps::until_terminated(fetch(arguments)));
    report::end(result, arguments.step.termination_log.as_ref())
}

async fn fetch(arguments: &FetchArguments) -> Result<Outcome, Failure> {
    let uri = steps::uri(&arguments.uri)?;
    let credentials = environment::credentials();
    let secret = Secret::of_source(&arguments.step, &credentials);
    secret.check(&uri)?;
    let source = ResolveRequest {
        uri,
        digest: Some(steps::digest(&arguments.digest)?),
        connection: steps::connection(credentials.clone(), &arguments.step, Retry::FETCH),
    };
    let request = FetchRequest { source: &source, resolved: None, folder: arguments.out.clone() };
    let fetched = modelwright_artifact::fetch(&request, &*Terminal::new().transfers_of("fetch")).await;
    let fetched = fetched.map_err(|error| secret.explain(error))?;
    let files = fetched.manifest.files().len();
    let message = if fetched.reused {
        format!("{} already holds the revision", arguments.out.display())
    } else {
        format!("{files} files of {} in {}", source.uri, arguments.out.display())
    };
    tracing::info!(digest = %fetched.digest, bytes = fetched.bytes_read, "{message}");
    Ok(Outcome {
        digest: Some(fetched.digest.to_string()),
        bytes: Some(fetched.bytes_read),
        retrievable: fetched.retrievable.map(report::retrievable),
        fingerprint: report::fingerprint(fetched.probe.as_ref(), &source.uri),
        message,
        ..report::described(if fetched.reused { "AlreadyFetched" } else { "Fetched" }, &fetched.facts)
    })
}
