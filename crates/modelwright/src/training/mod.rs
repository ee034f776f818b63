//! What the trainings of `run` and of the pods share, so that both give the same revision: where data lies and what it holds,
//! the settings, the training itself, the store of revisions, and what a gate says.

pub(crate) mod data;
mod interruption;
pub(crate) mod store;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use modelwright_api::contract::ExitCode;
use modelwright_api::training::resolved::ResolvedTraining;
use modelwright_api::training::{Gate, Training};
use modelwright_artifact::{Digest, Inputs, Manifest};
use modelwright_runtime::cpus;
use modelwright_trainer::gate::{self, Refusal};
use modelwright_trainer::pipeline::metrics::MetricsDocument;
use modelwright_trainer::pipeline::{self, Made, Prepared};
use modelwright_trainer::training::{CheckpointPlace, Observer};
use modelwright_trainer::{NUMERICS_VERSION, network};

use self::data::{Fetched, Listings};
pub(crate) use self::interruption::Interruption;
use crate::failure::Failure;

/// The settings of a training, after everything is checked that needs no data.
pub(crate) fn settings(training: &Training) -> Result<ResolvedTraining, Failure> {
    let gate = training.gate.clone().unwrap_or_default();
    gate::check(&gate, training.builtin.as_ref().and_then(|builtin| builtin.task))?;
    let mut settings = training.resolved();
    // More threads than processors only wait for each other.
    settings.builtin.threads = settings.builtin.threads.min(cpus::available().get());
    pipeline::check(&settings)?;
    Ok(settings)
}

/// The sha256 of everything in the settings that changes the result.
pub(crate) fn settings_digest(settings: &ResolvedTraining) -> Result<Digest, Failure> {
    pipeline::settings_digest(settings)
        .map_err(|error| Failure::bug(format!("the settings do not serialise: {error}")))
}

/// The rows, read and understood.
pub(crate) async fn prepare(
    listings: &Listings,
    fetched: &Fetched,
    settings: &ResolvedTraining,
) -> Result<Arc<Prepared>, Failure> {
    let request = listings.request(fetched, settings.clone());
    Ok(Arc::new(blocking(move || Ok(pipeline::prepare(&request)?)).await?))
}

/// One training that is about to begin.
pub(crate) struct Work<O> {
    pub(crate) rows: Arc<Prepared>,
    pub(crate) inputs: Inputs,
    pub(crate) seed: u64,
    /// What the metrics must fit before hours are spent.
    pub(crate) gate: Gate,
    /// Where the state is kept.
    pub(crate) checkpoint: PathBuf,
    /// What becomes the revision.
    pub(crate) folder: PathBuf,
    pub(crate) interruption: Interruption,
    pub(crate) observer: O,
}

impl<O: Observer + Send + 'static> Work<O> {
    /// Trains, and composes the revision. The `finish` shows what came of it.
    pub(crate) async fn run(
        self,
        finish: impl FnOnce(&mut O, &Made) + Send + 'static,
    ) -> Result<(Manifest, Digest), Failure> {
        let Self { rows, inputs, seed, gate, checkpoint, folder, interruption, mut observer } = self;
        gate::check(&gate, Some(rows.task()))?;
        let checkpoint = CheckpointPlace { path: checkpoint, identity: identity(&inputs)? };
        let composed = folder.clone();
        // Set before the work is begun, so that whoever asks to stop waits for it.
        let busy = interruption.begin();
        blocking(move || {
            let made = rows.train(&folder, Some(checkpoint), interruption.flag(), &mut observer)?;
            drop(busy);
            finish(&mut observer, &made);
            Ok(())
        })
        .await?;
        blocking(move || {
            Ok(modelwright_artifact::compose(&composed, inputs, Some(NUMERICS_VERSION), Some(seed))?)
        })
        .await
    }
}

/// What a checkpoint must be of to be continued.
fn identity(inputs: &Inputs) -> Result<String, Failure> {
    Ok(format!("{} {}", modelwright_artifact::inputs::key(inputs, NUMERICS_VERSION)?, network::simd_class()))
}

/// Reads what was measured of a revision.
pub(crate) fn metrics_of(bytes: &[u8]) -> Result<MetricsDocument, Failure> {
    MetricsDocument::parse(bytes)
        .map_err(|error| Failure::new(ExitCode::BadData, "MetricsUnusable", error.to_string()))
}

/// The failure of a revision that a gate refused and that is kept somewhere.
pub(crate) fn refused(digest: &Digest, refusals: &[Refusal], kept: &str) -> Failure {
    let reasons: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    let reason = refusals.first().map_or("GateRefused", Refusal::reason);
    let message = format!(
        "the gate refused the revision {}: {}; it is kept in {kept}",
        digest.id(),
        reasons.join("; ")
    );
    Failure::new(ExitCode::Refused, reason, message)
}

/// A folder of the training that cannot be made or written.
pub(crate) fn cannot_write(path: &Path, source: std::io::Error) -> Failure {
    modelwright_artifact::Error::CannotWrite { path: path.to_owned(), source }.into()
}

/// Runs work that keeps a processor busy on a thread of its own.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Failure::bug(format!("the training failed: {error}")))?
}
