//! `modelwright train`: the built-in trainer as a pod runs it, from data to a published revision that a gate judged.
//!
//! It gives the revision that `modelwright run` gives for the same data and settings, and keeps its state in the store of
//! revisions, so that another pod goes on where this one is stopped. What was trained before is found by its inputs.

mod checkpoint;
mod measured;
mod observer;
pub(super) mod places;

use std::path::PathBuf;
use std::process::ExitCode as ProcessExit;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use modelwright_api::Outcome;
use modelwright_api::contract::ExitCode;
use modelwright_api::training::order::TrainingOrder;
use modelwright_api::training::progress::ProgressPhase;
use modelwright_api::training::resolved::ResolvedTraining;
use modelwright_api::training::{Beat, Gate};
use modelwright_artifact::{Class, Digest, FetchRequest, Inputs, ResolveRequest, inputs, published_file};
use modelwright_runtime::Library;
use modelwright_trainer::NUMERICS_VERSION;
use modelwright_trainer::gate::{self, Active, Verdict};
use modelwright_trainer::pipeline::Prepared;
use modelwright_trainer::pipeline::metrics::{METRICS_FILE, MetricsDocument};

use self::checkpoint::Checkpoints;
use self::observer::Watch;
use super::agent::server;
use super::agent::state::State;
use super::container::{invalid, read_order};
use crate::arguments::TrainArguments;
use crate::failure::Failure;
use crate::signals::Termination;
use crate::terminal::Terminal;
use crate::training::data::{Fetched, Listings, Places};
use crate::training::store::{self, Store};
use crate::training::{self, Interruption, Work, blocking, cannot_write};
use crate::{report, steps};

/// The most bytes of a published `metrics.json`.
const MAX_METRICS_BYTES: usize = 64 << 20;

/// Runs it.
pub(crate) fn run(arguments: &TrainArguments) -> ProcessExit {
    report::end_with(steps::block_on(train(arguments)), arguments.step.termination_log.as_ref())
}

async fn train(arguments: &TrainArguments) -> Result<(Outcome, ExitCode), Failure> {
    let mut termination = Termination::listen()?;
    let listener = server::listen(arguments.progress_listen).await?;
    let state = Arc::new(State::new(Instant::now()));
    state.set_phase(ProgressPhase::Fetching, Instant::now());
    let server = tokio::spawn(server::serve(listener, state.clone()));
    let pod = Pod::open(arguments, state)?;
    let told_to_end = async {
        termination.wait().await;
        pod.checkpoints.hurry();
        pod.interruption.request().await;
    };
    let result = tokio::select! {
        done = pod.work() => done,
        () = told_to_end => {
            let message = "told to end while nothing was trained; the next attempt begins anew, and trains nothing twice";
            Err(Failure::new(ExitCode::Preempted, "Preempted", message))
        }
    };
    server.abort();
    result
}

/// A training's pod.
struct Pod {
    order: TrainingOrder,
    settings: ResolvedTraining,
    gate: Gate,
    places: Places,
    store: Store,
    checkpoints: Checkpoints,
    folder: PathBuf,
    terminal: Terminal,
    state: Arc<State>,
    interruption: Interruption,
}

/// A revision of these inputs, in the store.
struct Candidate {
    digest: Digest,
    metrics: MetricsDocument,
    outcome: Outcome,
    /// The rows, where they had to be read.
    rows: Option<Arc<Prepared>>,
}

impl Pod {
    /// Checks all that can be checked before anything is asked of a store.
    fn open(arguments: &TrainArguments, state: Arc<State>) -> Result<Self, Failure> {
        places::refuse_secret(&arguments.step)?;
        let order = read_order(&arguments.config)?;
        if order.training.container.is_some() {
            return Err(invalid("it has a training.container, which `modelwright fetch --config` begins"));
        }
        if order.training.data.target.as_ref().is_none_or(String::is_empty) {
            return Err(invalid("training.data.target is missing; name the column to predict"));
        }
        let settings = training::settings(&order.training)?;
        // Whether a person approves is the operator's business.
        let gate = Gate { approval: None, ..order.training.gate.clone().unwrap_or_default() };
        let (places, store) =
            (places::data(&order, &arguments.step)?, places::store(&order, &arguments.step)?);
        Library::load()?;
        let folder = arguments.work_dir.clone();
        std::fs::create_dir_all(&folder).map_err(|error| cannot_write(&folder, error))?;
        let every = arguments.checkpoint_interval;
        let checkpoints = Checkpoints::new(store.clone(), &order.run, &folder, every)?;
        let (terminal, interruption) = (Terminal::new(), Interruption::default());
        Ok(Self { order, settings, gate, places, store, checkpoints, folder, terminal, state, interruption })
    }

    fn phase(&self, phase: ProgressPhase) {
        self.state.set_phase(phase, Instant::now());
    }

    async fn work(&self) -> Result<(Outcome, ExitCode), Failure> {
        let listings = self.places.list(self.store.connection.retry).await?;
        listings.check_size().await?;
        let progress = self.terminal.transfers_of("data");
        let fetched = listings.fetch(&self.folder.join("data"), &*progress).await?;
        let inputs = Inputs { data: fetched.digest, spec: training::settings_digest(&self.settings)? };
        let candidate = match self.store.trained_from(&inputs).await? {
            Some(digest) => self.reused(digest).await?,
            None => self.trained(&listings, &fetched, inputs).await?,
        };
        self.phase(ProgressPhase::Checking);
        let refusal = self.judge(&candidate, &listings, &fetched).await?;
        let outcome = Outcome {
            digest: Some(candidate.digest.to_string()),
            fingerprint: listings.fingerprint_digest().map(|digest| digest.to_string()),
            inputs_digest: Some(inputs::key(&inputs, NUMERICS_VERSION)?.to_string()),
            metrics: measured::of_model(&candidate.metrics, &self.gate),
            baseline: measured::of_baseline(&candidate.metrics, &self.gate),
            ..candidate.outcome
        };
        Ok(match refusal {
            None => (outcome, ExitCode::Done),
            Some(Failure { exit, reason, message }) => {
                (Outcome { ok: false, reason, message, ..outcome }, exit)
            }
        })
    }

    /// These inputs gave a revision before.
    async fn reused(&self, digest: Digest) -> Result<Candidate, Failure> {
        let Store { prefix, connection, explain } = &self.store;
        let file = published_file(prefix, connection, &digest, METRICS_FILE, MAX_METRICS_BYTES);
        let bytes = file.await.map_err(|error| explain(error))?.ok_or_else(|| {
            let message = format!("the revision {digest} below {prefix} has no {METRICS_FILE}");
            Failure::new(ExitCode::BadData, "MetricsMissing", message)
        })?;
        let claimed = steps::reuse::claim(&self.order, prefix, connection, &digest).await;
        claimed.map_err(|error| explain(error))?;
        // Left where the attempt that published was lost before it was done.
        self.checkpoints.discard().await;
        let message = format!("these inputs were trained before, as revision {}", digest.id());
        tracing::info!(%digest, "{message}");
        let outcome = Outcome { message, ..Outcome::success("Reused") };
        Ok(Candidate { digest, metrics: training::metrics_of(&bytes)?, outcome, rows: None })
    }

    /// Trains and publishes.
    async fn trained(
        &self,
        listings: &Listings,
        fetched: &Fetched,
        inputs: Inputs,
    ) -> Result<Candidate, Failure> {
        let started = Timestamp::now();
        let rows = training::prepare(listings, fetched, &self.settings).await?;
        let restored = self.checkpoints.restore().await?;
        tracing::info!("{}{restored}", rows.describe());
        rows.notes().iter().for_each(|note| tracing::info!("note: {note}"));
        self.phase(ProgressPhase::Training);
        let folder = self.folder.join("revision");
        let work = Work {
            rows: Arc::clone(&rows),
            inputs,
            seed: self.settings.builtin.seed,
            gate: self.gate.clone(),
            checkpoint: self.checkpoints.path(),
            folder: folder.clone(),
            interruption: self.interruption.clone(),
            observer: Watch::new(Arc::clone(&self.state), rows.task()),
        };
        // Until the end: a training that was told to stop has something to bring out, and one that is done to publish.
        let _busy = self.interruption.begin();
        let trained = self.checkpoints.beside(work.run(Watch::finish)).await;
        let (manifest, digest) = match trained {
            Err(failure) if failure.exit == ExitCode::Preempted => return Err(self.preempted(failure).await),
            other => other?,
        };
        self.phase(ProgressPhase::Publishing);
        let metrics = std::fs::read(folder.join(METRICS_FILE));
        let metrics = training::metrics_of(&metrics.map_err(|error| cannot_write(&folder, error))?)?;
        let progress = self.terminal.transfers_of("publish");
        let published = self.store.publish(folder, digest, &*progress).await?;
        // An attempt writes its own: one that was lost after it wrote must not be in the way of the next.
        let id = format!("{}-{}", self.order.run, self.order.attempt);
        let mut run = store::run(id, started, fetched);
        let of_order = [("modelUid", &self.order.uid), ("run", &self.order.run)];
        run.parameters.extend(of_order.map(|(name, value)| (name.to_owned(), value.clone())));
        self.store.remember(&manifest, Some(&run)).await?;
        self.checkpoints.discard().await;
        let message = format!("published {}", published.uri);
        tracing::info!(%digest, "{message}");
        let outcome =
            Outcome { bytes: Some(published.bytes_written), message, ..Outcome::success("Trained") };
        Ok(Candidate { digest, metrics, outcome, rows: Some(rows) })
    }

    /// A training that was told to stop and has written its state.
    async fn preempted(&self, failure: Failure) -> Failure {
        let kept = if self.checkpoints.push().await {
            "its state is in the store, and the next attempt goes on from there"
        } else {
            "its state could not be brought into the store: the next attempt goes on from an earlier one, or anew"
        };
        Failure::new(ExitCode::Preempted, "Preempted", format!("{}; {kept}", failure.message))
    }

    /// Why the gate does not let the revision pass, if it does not.
    async fn judge(
        &self,
        candidate: &Candidate,
        listings: &Listings,
        fetched: &Fetched,
    ) -> Result<Option<Failure>, Failure> {
        gate::check(&self.gate, Some(candidate.metrics.task))?;
        let active = match self.gate.beat {
            Some(Beat::Active) => self.compare(candidate, listings, fetched).await?,
            Some(Beat::Baseline) | None => Active::None,
        };
        Ok(match gate::judge(&self.gate, &candidate.metrics, &active) {
            Verdict::Passed | Verdict::NeedsApproval => None,
            Verdict::Refused(refusals) => {
                let kept = modelwright_artifact::revision_uri(&self.store.prefix, &candidate.digest)?;
                Some(training::refused(&candidate.digest, &refusals, &kept.to_string()))
            }
        })
    }

    /// Measures the active revision on the candidate's validation rows.
    async fn compare(
        &self,
        candidate: &Candidate,
        listings: &Listings,
        fetched: &Fetched,
    ) -> Result<Active, Failure> {
        let Some(active) = &self.order.active else { return Ok(Active::None) };
        let digest = steps::digest(&active.digest)?;
        if digest == candidate.digest {
            return Ok(Active::Same);
        }
        let (id, folder) = (digest.id(), self.folder.join("active"));
        let source = ResolveRequest {
            uri: steps::uri(&active.uri)?,
            digest: Some(digest),
            connection: self.store.connection.clone(),
        };
        let request = FetchRequest { source: &source, resolved: None, folder: folder.clone() };
        if let Err(error) =
            modelwright_artifact::fetch(&request, &*self.terminal.transfers_of("active")).await
        {
            // What is gone or is something else stays so; a gate fails closed.
            let lost = error.reason() == "SourceNotFound"
                || matches!(error.class(), Class::BadData | Class::DigestMismatch);
            return if lost {
                Ok(Active::NotComparable { id, why: error.to_string() })
            } else {
                Err((self.store.explain)(error))
            };
        }
        let rows = match &candidate.rows {
            Some(rows) => Arc::clone(rows),
            None => training::prepare(listings, fetched, &self.settings).await?,
        };
        Ok(match blocking(move || Ok(rows.score_revision(&folder))).await? {
            Ok(value) => Active::Measured { id, value },
            Err(why) => Active::NotComparable { id, why },
        })
    }
}
