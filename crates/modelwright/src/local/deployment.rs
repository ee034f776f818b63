//! One Model on its way to its endpoint.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use modelwright_api::contract::ExitCode;
use modelwright_api::defaults::ResolvedServing;
use modelwright_api::serving::Access;
use modelwright_artifact::Progress;
use modelwright_runtime::LoadedModel;
use modelwright_server::{ModelState, PayloadLog, ReadyModel, Registry};
use modelwright_trainer::export::Schema;
use modelwright_trainer::export::schema::SCHEMA_FILE;
use modelwright_trainer::pipeline::samples::{SAMPLES_FILE, Samples};

use super::folder::ModelFolder;
use super::manifests::{Entry, Secrets};
use super::offer::{Offer, Revision};
use super::request;
use super::source::{Resolution, Source};
use super::training::Trainer;
use crate::failure::Failure;
use crate::terminal::Terminal;
use crate::training::Interruption;
use crate::{serving, weights};

/// Sample requests of more elements than this are not made: nobody wants a file of hundreds of megabytes of zeros.
const MOST_SAMPLE_ELEMENTS: u64 = 1 << 20;

/// Where a Model's revisions come from.
pub(super) enum Origin {
    Source(Box<Source>),
    Training(Box<Trainer>),
}

impl Origin {
    pub(super) fn new(
        entry: &Entry,
        secrets: &Secrets,
        folder: &ModelFolder,
        terminal: &Terminal,
        interruption: &Interruption,
    ) -> Result<Self, Failure> {
        let folder = folder.clone();
        if entry.model.spec.training.is_none() {
            return Ok(Self::Source(Box::new(Source::new(entry, secrets, folder)?)));
        }
        let (terminal, interruption) = (terminal.clone(), interruption.clone());
        Ok(Self::Training(Box::new(Trainer::new(entry, secrets, folder, terminal, interruption)?)))
    }
}

/// One Model on its way to its endpoint.
pub(super) struct Deployment {
    pub(super) entry: Entry,
    pub(super) origin: Result<Origin, Failure>,
    pub(super) folder: ModelFolder,
    pub(super) registry: Arc<Registry>,
    pub(super) terminal: Terminal,
    pub(super) address: SocketAddr,
    /// `http` or `https`.
    pub(super) scheme: &'static str,
    /// Who logs payloads, if the manifest wants it.
    pub(super) payload_log: Option<Arc<PayloadLog>>,
}

impl Deployment {
    pub(super) async fn deploy(self) -> Result<(), Failure> {
        let result = self.try_deploy().await;
        match &result {
            Err(failure) if failure.exit == ExitCode::Preempted => {
                self.terminal.note(&format!("stopped {}: {}", self.entry.name(), failure.message));
            }
            Err(failure) if !self.is_ready() => {
                self.terminal.note(&format!("failed {}: {}", self.entry.name(), failure.message));
                self.registry.failed(self.entry.name(), &*failure.reason, &*failure.message);
            }
            _ => {}
        }
        result
    }

    fn is_ready(&self) -> bool {
        matches!(self.registry.get(self.entry.name()), Some(ModelState::Ready(_)))
    }

    async fn try_deploy(&self) -> Result<(), Failure> {
        let started = Instant::now();
        match self.origin.as_ref().map_err(Clone::clone)? {
            Origin::Source(source) => {
                let progress = self.terminal.transfers_of(self.entry.name());
                let resolution = source.resolve(&*progress).await?;
                self.serve_source(source, &resolution, started, &*progress).await
            }
            Origin::Training(trainer) => {
                let offer = match trainer.remembered().await? {
                    Some(offer) => offer,
                    None => self.train(trainer).await?,
                };
                self.put_into_service(&offer.revision, Instant::now()).await?;
                self.settle(offer)
            }
        }
    }

    /// Trains, while the former revision answers if there is one.
    async fn train(&self, trainer: &Trainer) -> Result<Offer, Failure> {
        if let Some(former) = trainer.former().await {
            self.registry.ready(self.entry.name(), self.load(&former).await?);
            self.terminal.note(&format!(
                "note {}: the revision {} answers in the meantime",
                self.entry.name(),
                former.digest.id()
            ));
        }
        trainer.offer().await
    }

    async fn serve_source(
        &self,
        source: &Source,
        resolution: &Resolution,
        started: Instant,
        progress: &dyn Progress,
    ) -> Result<(), Failure> {
        if resolution.repaired {
            self.terminal.note(&format!(
                "note {}: the revision on disk was damaged and has been fetched again",
                self.entry.name()
            ));
        }
        self.put_into_service(&resolution.offer.revision, started).await?;
        if resolution.offer.instead.is_some() {
            return self.settle(resolution.offer.clone());
        }
        source.copy(resolution, progress).await.inspect_err(|failure| {
            self.warn(failure, "the model is served, and the copy is tried again at the next start");
        })
    }

    /// Loads a revision that was got since `started`, and lets it answer.
    async fn put_into_service(&self, revision: &Revision, started: Instant) -> Result<(), Failure> {
        let fetched = started.elapsed();
        let ready = self.load(revision).await?.with_fetch_time(fetched);
        let model = Arc::clone(ready.model());
        self.registry.ready(self.entry.name(), ready);
        self.announce(&model, revision)
    }

    /// Says why the former revision is served, if it is.
    fn settle(&self, offer: Offer) -> Result<(), Failure> {
        let Some(failure) = offer.instead else { return Ok(()) };
        let id = offer.revision.digest.id();
        self.warn(&failure, &format!("serving the former revision {id}"));
        // A source out of reach says nothing about what it holds; one that holds something else is a failure.
        if failure.is_outage() { Ok(()) } else { Err(failure) }
    }

    /// Says what went wrong although the model is served.
    fn warn(&self, failure: &Failure, meanwhile: &str) {
        self.terminal.note(&format!("warning {}: {}; {meanwhile}", self.entry.name(), failure.message));
    }

    /// Loads a revision and warms it up.
    async fn load(&self, revision: &Revision) -> Result<ReadyModel, Failure> {
        let serving = super::serving(&self.entry)?;
        let request = serving::from_manifest(&revision.folder, &serving);
        let Revision { folder, digest } = revision.clone();
        let loading =
            tokio::task::spawn_blocking(move || weights::prepare_and_load(&request, &folder, &digest));
        let model = match tokio::time::timeout(serving.startup_timeout, loading).await {
            Ok(Ok(loaded)) => loaded?,
            Ok(Err(error)) => return Err(Failure::bug(format!("loading the model failed: {error}"))),
            Err(_) => return Err(timed_out(&serving)),
        };
        Ok(serving::ready(&revision.folder, &revision.digest, model, self.payload_log.as_ref())?
            .with_max_body_bytes(serving::bytes(serving.max_request_bytes))
            .with_request_timeout(serving.request_timeout))
    }

    /// What a request to try needs besides: a key or token of the reader's, and no proof of a name that a certificate has and
    /// this machine has not.
    fn credentials(&self) -> String {
        let serving = self.entry.model.spec.serving.as_ref();
        let access = serving.and_then(|serving| serving.access.as_ref());
        let authenticates = access.is_some_and(Access::authenticates);
        let insecure = if self.scheme == "https" { "--insecure " } else { "" };
        let key = if authenticates { "-H \"Authorization: Bearer $KEY\" " } else { "" };
        format!("{insecure}{key}")
    }

    /// Says that the model is ready, where, and how to call it.
    fn announce(&self, model: &LoadedModel, revision: &Revision) -> Result<(), Failure> {
        let name = self.entry.name();
        let endpoint = format!("{}://{}", self.scheme, reachable(self.address));
        let url = format!("{endpoint}/v2/models/{name}");
        self.terminal.print(&format!("ready {name} {url}"));
        let request = match sample_record(&revision.folder) {
            Some(record) => Some((format!("{endpoint}/v1/models/{name}:predict"), record)),
            None => request::sample(model.signature(), MOST_SAMPLE_ELEMENTS)
                .map(|sample| (format!("{url}/infer"), sample)),
        };
        let Some((url, body)) = request else { return Ok(()) };
        let curl = if request::is_long(&body) {
            let file: PathBuf = self.folder.write_request(body.as_bytes())?;
            request::curl_file(&self.credentials(), &url, &file)
        } else {
            request::curl(&self.credentials(), &url, &body)
        };
        self.terminal.print(&format!("  {curl}"));
        Ok(())
    }
}

fn timed_out(serving: &ResolvedServing) -> Failure {
    Failure::new(
        ExitCode::TryAgain,
        "StartupTimeout",
        format!(
            "loading and warming up took longer than spec.serving.startupTimeout, {} s: write a longer one",
            serving.startup_timeout.as_secs()
        ),
    )
}

/// A request with real values, for a model that was trained here.
fn sample_record(folder: &Path) -> Option<String> {
    let samples = Samples::parse(&std::fs::read(folder.join(SAMPLES_FILE)).ok()?).ok()?;
    let schema = Schema::parse(&std::fs::read(folder.join(SCHEMA_FILE)).ok()?).ok()?;
    request::first_record(&samples, &schema)
}

/// The address to write into a URL: one that can be connected to.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], v4.port())),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, v6.port()))
        }
        address => address,
    }
}
