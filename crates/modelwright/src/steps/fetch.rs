//! `modelwright fetch`: a revision into a folder, every byte verified; or the data of a training.

use std::path::Path;
use std::process::ExitCode as ProcessExit;

use modelwright_api::Outcome;
use modelwright_api::contract::ExitCode;
use modelwright_artifact::{FetchRequest, Fetched, ResolveRequest, Retry};

use crate::arguments::{FetchArguments, WeightsArguments};
use crate::failure::Failure;
use crate::steps::patience::Patience;
use crate::steps::secret::Secret;
use crate::terminal::Terminal;
use crate::{environment, report, serving, steps, weights};

/// Runs it.
pub(crate) fn run(arguments: &FetchArguments) -> ProcessExit {
    let step = &arguments.step;
    let result = steps::block_on(steps::until_terminated(async {
        match (&arguments.config, &arguments.uri, &arguments.digest, &arguments.out) {
            (Some(config), ..) => steps::container::fetch::fetch(config, &arguments.ml_dir, step).await,
            (None, Some(uri), Some(digest), Some(out)) => {
                fetch(uri, digest, out, arguments).await.map(|outcome| (outcome, ExitCode::Done))
            }
            _ => Err(Failure::invalid_arguments("fetch needs --config, or --uri, --digest and --out")),
        }
    }));
    report::end_with(result, step.termination_log.as_ref())
}

/// Moves the weights to a file that can be mapped, if they are to be, and says what became of it.
async fn prepare_weights(
    out: &Path,
    arguments: &WeightsArguments,
    fetched: &Fetched,
) -> Result<String, Failure> {
    let request = serving::to_be_loaded(out, arguments);
    let (folder, manifest, facts) = (out.to_owned(), fetched.manifest.clone(), fetched.facts.clone());
    let prepared =
        tokio::task::spawn_blocking(move || weights::prepare(&request, &folder, &manifest, &facts)).await;
    Ok(match prepared.map_err(|error| Failure::bug(format!("moving the weights failed: {error}")))? {
        Ok(None) => String::new(),
        Ok(Some(converted)) => format!("; {} bytes of weights can be mapped", converted.moved.bytes),
        Err(error) => format!("; weights will not be mapped: {error}"),
    })
}

async fn fetch(uri: &str, digest: &str, out: &Path, arguments: &FetchArguments) -> Result<Outcome, Failure> {
    let step = &arguments.step;
    let uri = steps::uri(uri)?;
    let credentials = environment::credentials();
    let secret = Secret::of_source(step, &credentials);
    secret.check(&uri)?;
    // Only a pod is started again, and shows meanwhile what the former start said.
    let patience = environment::termination_log(step.termination_log.as_ref()).map(|_| Patience::of(out));
    let source = ResolveRequest {
        uri,
        digest: Some(steps::digest(digest)?),
        connection: steps::connection(
            credentials.clone(),
            step,
            patience.as_ref().map_or(Retry::FETCH, Patience::retry),
        ),
    };
    let request = FetchRequest { source: &source, resolved: None, folder: out.to_owned() };
    let fetched = modelwright_artifact::fetch(&request, &*Terminal::new().transfers_of("fetch")).await;
    if let Some(patience) = &patience {
        patience.remember(fetched.as_ref().err());
    }
    let fetched = fetched.map_err(|error| secret.explain(error))?;
    let files = fetched.manifest.files().len();
    let mut message = if fetched.reused {
        format!("{} already holds the revision", out.display())
    } else {
        format!("{files} files of {} in {}", source.uri, out.display())
    };
    message.push_str(&prepare_weights(out, &arguments.weights, &fetched).await?);
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
