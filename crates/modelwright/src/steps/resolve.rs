//! `modelwright resolve`: what a source holds, or why it cannot be served.

use std::fmt::Write as _;
use std::process::ExitCode as ProcessExit;

use modelwright_api::Outcome;
use modelwright_api::contract::ExitCode;
use modelwright_artifact::{FetchRequest, PublishRequest, ResolveRequest, Resolved, Retry};

use crate::arguments::ResolveArguments;
use crate::failure::Failure;
use crate::terminal::Terminal;
use crate::{environment, report, steps, support};

/// Runs it.
pub(crate) fn run(arguments: &ResolveArguments) -> ProcessExit {
    report::end(steps::block_on(resolve(arguments)), arguments.step.termination_log.as_ref())
}

async fn resolve(arguments: &ResolveArguments) -> Result<Outcome, Failure> {
    let request = ResolveRequest {
        uri: steps::uri(&arguments.uri)?,
        digest: arguments.digest.as_deref().map(steps::digest).transpose()?,
        connection: steps::connection(
            environment::credentials(),
            arguments.step.allow_loopback,
            Retry::RESOLVE,
        ),
    };
    let terminal = Terminal::new();
    let resolved = modelwright_artifact::resolve(&request, &*terminal.transfers_of("resolve")).await?;
    terminal.note(&describe(&resolved));
    support::check(&request.uri, &resolved.facts)?;
    let mut message = format!("{} is the revision {}", request.uri, resolved.digest.id());
    if let Some(target) = &arguments.copy_to {
        let uri = copy(arguments, &request, &resolved, target).await?;
        let _ = write!(message, ", published as {uri}");
    }
    Ok(Outcome {
        digest: Some(resolved.digest.to_string()),
        bytes: Some(resolved.manifest.total_bytes()),
        message,
        inputs: report::inputs(&resolved.facts),
        ..Outcome::success("Resolved")
    })
}

/// Copies the resolved revision into another store, by way of a temporary folder.
async fn copy(
    arguments: &ResolveArguments,
    source: &ResolveRequest,
    resolved: &Resolved,
    target: &str,
) -> Result<String, Failure> {
    // Readable by nobody else, and deleted however this ends.
    let folder = tempfile::Builder::new().prefix("modelwright-copy-").tempdir().map_err(|error| {
        Failure::new(
            ExitCode::OutputUnwritable,
            "CannotWrite",
            format!("cannot make a temporary folder: {error}"),
        )
    })?;
    let connection =
        steps::connection(environment::copy_to_credentials(), arguments.step.allow_loopback, Retry::FETCH);
    let request = PublishRequest {
        folder: folder.path().to_owned(),
        digest: Some(resolved.digest),
        prefix: steps::uri(target)?,
        connection,
    };
    let progress = Terminal::new().transfers_of("copy");
    let fetch = FetchRequest { source, resolved: Some(resolved), folder: folder.path().to_owned() };
    modelwright_artifact::fetch(&fetch, &*progress).await?;
    let published = modelwright_artifact::publish(&request, &*progress).await?;
    Ok(published.uri.to_string())
}

/// A short table for people.
fn describe(resolved: &Resolved) -> String {
    let facts = &resolved.facts;
    let opsets: Vec<String> = facts
        .opsets
        .iter()
        .map(|(domain, version)| {
            format!(
                "{} {version}",
                if domain.is_empty() { "ai.onnx".into() } else { domain.escape_debug().to_string() }
            )
        })
        .collect();
    let mut text = format!(
        "digest to pin   {}\nrevision        {}\nsource          {} ({:?})\nONNX            IR {}, opset {}\n\
         parameters      {} bytes",
        resolved.pin,
        resolved.digest,
        resolved.uri,
        resolved.kind,
        facts.ir_version,
        opsets.join(", "),
        facts.parameter_bytes
    );
    for input in report::inputs(facts) {
        let _ = write!(text, "\ninput           {:?} {} {:?}", input.name, input.datatype, input.shape);
    }
    text
}
