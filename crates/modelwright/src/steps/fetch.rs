//! `modelwright fetch`: a revision into a folder, every byte verified.

use std::process::ExitCode as ProcessExit;

use modelwright_api::Outcome;
use modelwright_artifact::{FetchRequest, ResolveRequest, Retry};

use crate::arguments::FetchArguments;
use crate::failure::Failure;
use crate::terminal::Terminal;
use crate::{environment, report, steps};

/// Runs it.
pub(crate) fn run(arguments: &FetchArguments) -> ProcessExit {
    report::end(steps::block_on(fetch(arguments)), arguments.step.termination_log.as_ref())
}

async fn fetch(arguments: &FetchArguments) -> Result<Outcome, Failure> {
    let source = ResolveRequest {
        uri: steps::uri(&arguments.uri)?,
        digest: Some(steps::digest(&arguments.digest)?),
        connection: steps::connection(
            environment::credentials(),
            arguments.step.allow_loopback,
            Retry::FETCH,
        ),
    };
    let request = FetchRequest { source: &source, resolved: None, folder: arguments.out.clone() };
    let fetched = modelwright_artifact::fetch(&request, &*Terminal::new().transfers_of("fetch")).await?;
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
        message,
        inputs: report::inputs(&fetched.facts),
        ..Outcome::success(if fetched.reused { "AlreadyFetched" } else { "Fetched" })
    })
}
