//! `modelwright resolve`: what a source holds, or why it cannot be served.

use std::fmt::Write as _;
use std::process::ExitCode as ProcessExit;

use modelwright_api::Outcome;
use modelwright_artifact::{
    Credentials, Error, FetchRequest, PublishRequest, ResolveRequest, Resolved, Retry, SourceUri,
};

use crate::arguments::ResolveArguments;
use crate::failure::Failure;
use crate::steps::secret::Secret;
use crate::terminal::Terminal;
use crate::{environment, report, steps, support};

/// Runs it.
pub(crate) fn run(arguments: &ResolveArguments) -> ProcessExit {
    let result = steps::block_on(steps::until_terminated(resolve(arguments)));
    report::end(result, arguments.step.termination_log.as_ref())
}

async fn resolve(arguments: &ResolveArguments) -> Result<Outcome, Failure> {
    let uri = steps::uri(&arguments.uri)?;
    let credentials = environment::credentials();
    let secret = Secret::of_source(&arguments.step, &credentials);
    secret.check(&uri)?;
    let request = ResolveRequest {
        uri,
        digest: arguments.digest.as_deref().map(steps::digest).transpose()?,
        connection: steps::connection(credentials.clone(), &arguments.step, Retry::RESOLVE),
    };
    let copy = arguments.copy_to.as_deref().map(|target| Copy::prepare(arguments, target)).transpose()?;
    let known = arguments.unless_fingerprint.as_deref().map(steps::digest).transpose()?;
    let terminal = Terminal::new();
    let progress = terminal.transfers_of("resolve");
    let resolved = match known {
        Some(known) => modelwright_artifact::resolve_if_changed(&request, &known, &*progress).await,
        None => modelwright_artifact::resolve(&request, &*progress).await.map(Some),
    };
    let Some(resolved) = resolved.map_err(|error| secret.explain(error))? else {
        return Ok(Outcome {
            fingerprint: known.map(|known| known.to_string()),
            message: format!("{} looks as before", request.uri),
            ..Outcome::success("Unchanged")
        });
    };
    terminal.note(&describe(&resolved));
    support::check(&request.uri, &resolved.facts)?;
    let mut message = format!("{} is the revision {}", request.uri, resolved.digest.id());
    if let Some(copy) = copy {
        let uri = copy.publish(&request, &resolved, &secret).await?;
        let _ = write!(message, ", published as {uri}");
    }
    Ok(Outcome {
        digest: Some(resolved.digest.to_string()),
        bytes: Some(resolved.manifest.total_bytes()),
        retrievable: Some(report::retrievable(resolved.retrievable)),
        fingerprint: report::fingerprint(Some(&resolved.probe), &request.uri),
        message,
        ..report::described("Resolved", &resolved.facts)
    })
}

/// Where a resolved revision is copied to.
struct Copy<'a> {
    arguments: &'a ResolveArguments,
    prefix: SourceUri,
    credentials: Credentials,
}

impl<'a> Copy<'a> {
    /// Checks what can be checked before anything is read.
    fn prepare(arguments: &'a ResolveArguments, target: &str) -> Result<Self, Failure> {
        let (prefix, credentials) = (steps::uri(target)?, environment::copy_to_credentials());
        Secret::of_copy(arguments, &credentials).check(&prefix)?;
        Ok(Self { arguments, prefix, credentials })
    }

    /// Copies the revision by way of a temporary folder.
    async fn publish(
        self,
        source: &ResolveRequest,
        resolved: &Resolved,
        of_source: &Secret<'_>,
    ) -> Result<String, Failure> {
        // Readable by nobody else, and deleted however this ends.
        let folder = tempfile::Builder::new().prefix("modelwright-copy-").tempdir();
        let folder = folder.map_err(|source| Error::CannotWrite { path: std::env::temp_dir(), source })?;
        let progress = Terminal::new().transfers_of("copy");
        let fetch = FetchRequest { source, resolved: Some(resolved), folder: folder.path().to_owned() };
        let fetched = modelwright_artifact::fetch(&fetch, &*progress).await;
        fetched.map_err(|error| of_source.explain(error))?;
        let request = PublishRequest {
            folder: folder.path().to_owned(),
            digest: Some(resolved.digest),
            prefix: self.prefix,
            connection: steps::connection(self.credentials.clone(), &self.arguments.step, Retry::FETCH),
        };
        let published = modelwright_artifact::publish(&request, &*progress).await;
        let of_copy = Secret::of_copy(self.arguments, &self.credentials);
        Ok(published.map_err(|error| of_copy.explain(error))?.uri.to_string())
    }
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
    for input in report::tensors(&facts.inputs) {
        let _ = write!(text, "\ninput           {:?} {} {:?}", input.name, input.datatype, input.shape);
    }
    text
}
