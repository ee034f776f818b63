//! From a Model's data to the revision that is to be served: trained, remembered from an earlier training, or the former one.

mod places;
pub(crate) mod record;
mod screen;

use std::sync::Arc;

use jiff::Timestamp;
use modelwright_api::contract::ExitCode;
use modelwright_api::training::resolved::ResolvedTraining;
use modelwright_api::training::{Beat, Gate};
use modelwright_artifact::provenance::Run;
use modelwright_artifact::{Digest, Inputs, Retry};
use modelwright_trainer::NUMERICS_VERSION;
use modelwright_trainer::gate::{self, Active, Verdict};
use modelwright_trainer::pipeline::metrics::{METRICS_FILE, MetricsDocument};
use modelwright_trainer::pipeline::{Prepared, REPORT_FILE};

use self::record::{Comparison, Newest, TrainingRecord};
use self::screen::Screen;
use super::folder::ModelFolder;
use super::manifests::{Entry, Secrets};
use super::offer::{Offer, Revision};
use crate::failure::Failure;
use crate::terminal::Terminal;
use crate::training::data::{Fetched, Listings, Places};
use crate::training::store::{self, Store};
use crate::training::{self, Interruption, Work, blocking};

/// A Model's training with all that is needed for it.
pub(crate) struct Trainer {
    name: String,
    settings: ResolvedTraining,
    gate: Gate,
    /// `spec.rollout.revision`.
    pinned: Option<String>,
    places: Places,
    /// The Model's folder as a store.
    kept: Store,
    output: Option<Store>,
    folder: ModelFolder,
    terminal: Terminal,
    interruption: Interruption,
}

/// The newest revision, before the gate.
struct Candidate {
    revision: Revision,
    metrics: MetricsDocument,
    newest: Newest,
    /// The rows, where they had to be read.
    rows: Option<Arc<Prepared>>,
}

impl Trainer {
    pub(crate) fn new(
        entry: &Entry,
        secrets: &Secrets,
        folder: ModelFolder,
        terminal: Terminal,
        interruption: Interruption,
    ) -> Result<Self, Failure> {
        let spec = &entry.model.spec;
        let Some(training) = &spec.training else {
            return Err(Failure::bug("a Model without a training came to be trained"));
        };
        if training.container.is_some() {
            return Err(Failure::new(
                ExitCode::InvalidConfiguration,
                "InvalidConfiguration",
                format!(
                    "spec.training.container: the Model {} is trained by a container, which runs only in a cluster; apply it \
                     there with kubectl, or write spec.training.builtin to train on this machine",
                    entry.name()
                ),
            ));
        }
        Ok(Self {
            name: entry.name().to_owned(),
            settings: training::settings(training)?,
            gate: training.gate.clone().unwrap_or_default(),
            pinned: spec.rollout.as_ref().and_then(|rollout| rollout.revision.clone()),
            places: Places::new(&training.data, |source, _| places::source(source, entry, secrets))?,
            output: training
                .output
                .as_ref()
                .map(|output| places::output(output, entry, secrets))
                .transpose()?,
            kept: places::kept(&folder)?,
            folder,
            terminal,
            interruption,
        })
    }

    /// What to serve, as far as that needs no data: the pinned revision, or the newest one where nothing has changed.
    pub(crate) async fn remembered(&self) -> Result<Option<Offer>, Failure> {
        let mut record = self.folder.training_record();
        if let Some(pin) = &self.pinned {
            let revision = self.pinned(pin).await?;
            record.active = Some(revision.digest);
            self.folder.write_training_record(&record)?;
            return Ok(Some(Offer::of(revision)));
        }
        let listings = match self.places.list(places::LOOK).await {
            Ok(listings) => listings,
            // Data out of reach says nothing against what it gave, and waiting longer would keep that from answering.
            Err(failure) => {
                let former = if failure.is_outage() { self.active(&record).await } else { None };
                return Ok(former.map(|revision| Offer { instead: Some(failure), ..Offer::of(revision) }));
            }
        };
        match self.unchanged(&listings, &record).await? {
            Some(candidate) => self.decide(candidate, record).await.map(Some),
            None => Ok(None),
        }
    }

    /// The revision that was served last, to be served while the data is read.
    pub(crate) async fn former(&self) -> Option<Revision> {
        self.active(&self.folder.training_record()).await
    }

    /// What to serve, from the data as it is now.
    pub(crate) async fn offer(&self) -> Result<Offer, Failure> {
        let mut record = self.folder.training_record();
        let candidate = self.candidate(&mut record).await;
        self.folder.discard_data();
        match candidate {
            Ok(candidate) => self.decide(candidate, record).await,
            Err(failure) if failure.exit == ExitCode::Preempted => Err(failure),
            Err(failure) => match self.active(&record).await {
                Some(revision) => Ok(Offer { instead: Some(failure), ..Offer::of(revision) }),
                None => Err(failure),
            },
        }
    }

    /// The revision that `spec.rollout.revision` names, from this machine or from the store.
    async fn pinned(&self, pin: &str) -> Result<Revision, Failure> {
        if let Some(digest) = self.kept.find_revision(pin).await? {
            return self.folder.verified(digest).await;
        }
        if let Some(output) = &self.output
            && let Some(digest) = output.find_revision(pin).await?
        {
            return self.fetch_revision(output, digest).await;
        }
        let known = self.folder.revisions();
        let known = if known.is_empty() { "none yet".to_owned() } else { known.join(", ") };
        Err(Failure::new(
            ExitCode::InputMissing,
            "RevisionNotFound",
            format!(
                "spec.rollout.revision: {pin} is no revision of {}; there are {known}: write one of them, or remove \
                 rollout to train",
                self.name
            ),
        ))
    }

    /// The revision that was served last, if it is still whole.
    async fn active(&self, record: &TrainingRecord) -> Option<Revision> {
        self.folder.verified(record.active?).await.ok()
    }

    /// Lets the gate decide, and says what it decided.
    async fn decide(&self, candidate: Candidate, mut record: TrainingRecord) -> Result<Offer, Failure> {
        gate::check(&self.gate, Some(candidate.metrics.task))?;
        let active = match self.gate.beat {
            Some(Beat::Active) => self.compare(&candidate, &mut record).await?,
            Some(Beat::Baseline) | None => Active::None,
        };
        let digest = candidate.revision.digest;
        let refusal = self.refusal(&candidate, &active, record.active);
        let Some(refusal) = refusal else {
            record.active = Some(digest);
            self.folder.write_training_record(&record)?;
            self.terminal.note(&format!(
                "revision {} {}, with its report in {}",
                self.name,
                digest.id(),
                candidate.revision.folder.join(REPORT_FILE).display()
            ));
            return Ok(Offer::of(candidate.revision));
        };
        self.folder.write_training_record(&record)?;
        // A gate lets revisions in. One that was let in before stays until another passes, even if the gate is stricter now.
        let Some(active) = self.active(&record).await else { return Err(refusal) };
        self.terminal.note(&format!(
            "note {}: {}; the revision {} is served",
            self.name,
            refusal.message,
            active.digest.id()
        ));
        Ok(Offer::of(active))
    }

    /// Why the candidate may not be served, if it may not; `served` is the revision that was served last.
    fn refusal(&self, candidate: &Candidate, active: &Active, served: Option<Digest>) -> Option<Failure> {
        let digest = candidate.revision.digest;
        match gate::judge(&self.gate, &candidate.metrics, active) {
            Verdict::Passed => None,
            // It is served already, so somebody approved it.
            Verdict::NeedsApproval if served == Some(digest) => None,
            Verdict::NeedsApproval => Some(Failure::new(
                ExitCode::Refused,
                "ApprovalRequired",
                format!(
                    "the revision {} passed the gate and waits for approval; to serve it, write spec.rollout: {{revision: \
                     \"{}\"}}",
                    digest.id(),
                    digest.id()
                ),
            )),
            Verdict::Refused(refusals) => {
                let kept = self.folder.revision(&digest);
                Some(training::refused(&digest, &refusals, &kept.display().to_string()))
            }
        }
    }

    /// Measures the active revision on the candidate's validation rows, unless that is known.
    async fn compare(&self, candidate: &Candidate, record: &mut TrainingRecord) -> Result<Active, Failure> {
        let digest = candidate.revision.digest;
        let Some(active) = self.active(record).await else { return Ok(Active::None) };
        if active.digest == digest {
            return Ok(Active::Same);
        }
        let known = record
            .comparison
            .take()
            .filter(|known| known.candidate == digest && known.active == active.digest);
        let comparison = if let Some(known) = known {
            known
        } else {
            let rows = match &candidate.rows {
                Some(rows) => Arc::clone(rows),
                None => self.read().await?,
            };
            let folder = active.folder.clone();
            let value = blocking(move || Ok(rows.score_revision(&folder))).await?;
            Comparison { candidate: digest, active: active.digest, value }
        };
        let id = active.digest.id();
        let result = match comparison.value.clone() {
            Ok(value) => Active::Measured { id, value },
            Err(why) => Active::NotComparable { id, why },
        };
        record.comparison = Some(comparison);
        Ok(result)
    }

    /// The newest revision, if the data and the settings are still those that it was made from, and it has been published.
    async fn unchanged(
        &self,
        listings: &Listings,
        record: &TrainingRecord,
    ) -> Result<Option<Candidate>, Failure> {
        let (fingerprint, settings) = (listings.fingerprint()?, training::settings_digest(&self.settings)?);
        let target = self.output.as_ref().map(ToString::to_string);
        let newest = record.newest.clone().filter(|newest| {
            !fingerprint.is_empty()
                && newest.fingerprint == fingerprint
                && newest.settings == settings
                && newest.numerics_version == NUMERICS_VERSION
                && newest.published_to == target
        });
        let Some(newest) = newest else { return Ok(None) };
        let Ok(revision) = self.folder.verified(newest.revision).await else { return Ok(None) };
        let metrics = metrics_of(&revision)?;
        Ok(Some(Candidate { revision, metrics, newest, rows: None }))
    }

    /// The revision of the data as it is now: known, or trained. Published where `output` says.
    async fn candidate(&self, record: &mut TrainingRecord) -> Result<Candidate, Failure> {
        let listings = self.places.list(Retry::FETCH).await?;
        let mut candidate = self.known_or_trained(&listings).await?;
        self.folder.discard_training();
        record.newest = Some(candidate.newest.clone());
        self.folder.write_training_record(record)?;
        if let Some(output) = &self.output {
            let progress = self.terminal.transfers_of(&self.name);
            let Revision { digest, folder } = candidate.revision.clone();
            let uri = output.publish(folder, digest, &*progress).await?.uri;
            let manifest = self.folder.manifest(candidate.revision.digest).await?;
            output.remember(&manifest, candidate.newest.run.as_ref()).await?;
            self.terminal.note(&format!("published {} {uri}", self.name));
            candidate.newest.published_to = Some(output.to_string());
            record.newest = Some(candidate.newest.clone());
            self.folder.write_training_record(record)?;
        }
        Ok(candidate)
    }

    /// Reads the data, and trains unless some machine has trained the same before.
    async fn known_or_trained(&self, listings: &Listings) -> Result<Candidate, Failure> {
        let (fingerprint, settings) = (listings.fingerprint()?, training::settings_digest(&self.settings)?);
        let fetched = self.fetch(listings).await?;
        let inputs = Inputs { data: fetched.digest, spec: settings };
        let (revision, run, rows) = if let Some(revision) = self.known(&inputs).await? {
            self.terminal.note(&format!(
                "known {}: these inputs were trained before, as revision {}",
                self.name,
                revision.digest.id()
            ));
            (revision, None, None)
        } else {
            let rows = training::prepare(listings, &fetched, &self.settings).await?;
            let (revision, run) = self.train(Arc::clone(&rows), inputs, &fetched).await?;
            (revision, Some(run), Some(rows))
        };
        let newest = Newest {
            fingerprint,
            settings,
            numerics_version: NUMERICS_VERSION.to_owned(),
            revision: revision.digest,
            run,
            published_to: None,
        };
        Ok(Candidate { metrics: metrics_of(&revision)?, revision, newest, rows })
    }

    /// The revision that these inputs gave, from this machine's memory or from the store's.
    async fn known(&self, inputs: &Inputs) -> Result<Option<Revision>, Failure> {
        if let Some(digest) = self.kept.trained_from(inputs).await?
            && let Ok(revision) = self.folder.verified(digest).await
        {
            return Ok(Some(revision));
        }
        let Some(output) = &self.output else { return Ok(None) };
        let Some(digest) = output.trained_from(inputs).await? else { return Ok(None) };
        let revision = self.fetch_revision(output, digest).await?;
        self.kept.remember(&self.folder.manifest(digest).await?, None).await?;
        Ok(Some(revision))
    }

    /// Brings a published revision into the Model's folder.
    async fn fetch_revision(&self, output: &Store, digest: Digest) -> Result<Revision, Failure> {
        let incoming = self.folder.incoming(Some(&digest));
        let progress = self.terminal.transfers_of(&self.name);
        output.fetch(digest, incoming.clone(), &*progress).await?;
        Ok(Revision { digest, folder: self.folder.accept(&incoming, &digest)? })
    }

    /// Copies the data to this machine, if it can fit into memory.
    async fn fetch(&self, listings: &Listings) -> Result<Fetched, Failure> {
        listings.check_size().await?;
        let progress = self.terminal.transfers_of(&self.name);
        listings.fetch(&self.folder.training_folder().join("data"), &*progress).await
    }

    /// The rows as they are now.
    async fn read(&self) -> Result<Arc<Prepared>, Failure> {
        let listings = self.places.list(Retry::FETCH).await?;
        let fetched = self.fetch(&listings).await?;
        let rows = training::prepare(&listings, &fetched, &self.settings).await;
        self.folder.discard_data();
        rows
    }

    /// Trains, and keeps the result as a revision.
    async fn train(
        &self,
        rows: Arc<Prepared>,
        inputs: Inputs,
        fetched: &Fetched,
    ) -> Result<(Revision, Run), Failure> {
        let started = Timestamp::now();
        let incoming = self.folder.training_folder().join("revision");
        let mut screen = Screen::new(&self.terminal, &self.name);
        screen.describe(&rows);
        let work = Work {
            rows,
            inputs,
            seed: self.settings.builtin.seed,
            gate: self.gate.clone(),
            checkpoint: self.folder.training_folder().join("checkpoint"),
            folder: incoming.clone(),
            interruption: self.interruption.clone(),
            observer: screen,
        };
        let (manifest, digest) = work.run(Screen::finish).await?;
        let folder = self.folder.accept(&incoming, &digest)?;
        // Unique on this machine by time and process, and elsewhere as likely as two such events at one nanosecond.
        let id = format!("{}-{}", started.as_nanosecond(), std::process::id());
        let run = store::run(id, started, fetched);
        self.kept.remember(&manifest, Some(&run)).await?;
        Ok((Revision { digest, folder }, run))
    }
}

/// What was measured of a revision.
fn metrics_of(revision: &Revision) -> Result<MetricsDocument, Failure> {
    let path = revision.folder.join(METRICS_FILE);
    let bytes = std::fs::read(&path).map_err(|error| {
        Failure::new(ExitCode::BadData, "MetricsMissing", format!("cannot read {}: {error}", path.display()))
    })?;
    training::metrics_of(&bytes)
}
