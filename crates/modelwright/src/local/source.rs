//! From a Model's source to a verified revision on disk, and nothing fetched twice.

use std::time::Duration;

use modelwright_artifact::{
    AccessRules, Class, Connection, FetchRequest, Probe, Progress, PublishRequest, ResolveRequest, Retry,
    SourceUri,
};

use super::folder::{ModelFolder, SourceRecord};
use super::manifests::{Entry, Secrets};
use super::offer::{Offer, Revision};
use crate::failure::Failure;
use crate::support;

/// How long a look at a source that was fetched before may take: there is something to serve in the meantime.
const LOOK: Retry = Retry { timeout: Duration::from_secs(2), attempts: 2 };

/// What became of a source.
#[derive(Debug)]
pub(crate) struct Resolution {
    /// What to serve.
    pub(crate) offer: Offer,
    /// Whether bytes on disk turned out to be damaged and were fetched again.
    pub(crate) repaired: bool,
    /// What is remembered of the source.
    record: SourceRecord,
}

/// A Model's source with all that is needed to read it.
pub(crate) struct Source {
    request: ResolveRequest,
    copy_to: Option<(SourceUri, Connection)>,
    folder: ModelFolder,
}

impl Source {
    pub(crate) fn new(entry: &Entry, secrets: &Secrets, folder: ModelFolder) -> Result<Self, Failure> {
        let Some(source) = &entry.model.spec.source else {
            return Err(Failure::bug("a Model without a source came to be read from one"));
        };
        let connection = |uri: &str, reference, retry| {
            let credentials = secrets.find(uri, reference)?;
            Ok::<_, Failure>(Connection {
                credentials,
                rules: AccessRules::LOCAL,
                retry,
                ..Connection::default()
            })
        };
        let request = ResolveRequest {
            uri: SourceUri::parse(&source.uri, Some(&entry.folder))?,
            digest: source.digest.as_deref().map(str::parse).transpose()?,
            connection: connection(&source.uri, source.credentials_secret_ref.as_ref(), Retry::RESOLVE)?,
        };
        let copy_to = match &source.copy_to {
            Some(target) => Some((
                SourceUri::parse(&target.uri, Some(&entry.folder))?,
                connection(&target.uri, target.credentials_secret_ref.as_ref(), Retry::FETCH)?,
            )),
            None => None,
        };
        Ok(Self { request, copy_to, folder })
    }

    /// The uri in its resolved form, as records keep it: the same relative path below another folder is another source.
    fn uri(&self) -> String {
        self.request.uri.to_string()
    }

    /// The verified revision that the source holds, or the former one where that may be served instead.
    pub(crate) async fn resolve(&self, progress: &dyn Progress) -> Result<Resolution, Failure> {
        let former = self.folder.record().filter(|record| record.uri == self.uri());
        // Whether a damaged revision had to go.
        let mut repaired = false;
        if let Some(record) = &former {
            match self.is_current(record).await {
                Ok(true) => match self.folder.verified(record.revision).await {
                    Ok(revision) => return Ok(self.resolved(revision, record.clone(), false)),
                    Err(failure) => repaired = self.discard(record, &failure)?,
                },
                Ok(false) => {}
                // Reading it would meet the same, only later.
                Err(failure) => return self.fall_back(former, failure).await,
            }
        }
        match self.fetch(progress).await {
            Ok((revision, record)) => Ok(self.resolved(revision, record, repaired)),
            Err(failure) => self.fall_back(former, failure).await,
        }
    }

    fn resolved(&self, revision: Revision, record: SourceRecord, repaired: bool) -> Resolution {
        self.folder.prune(&revision.digest);
        Resolution { offer: Offer::of(revision), repaired, record }
    }

    /// Whether the record still says what the source holds. A pinned digest that was fetched needs no look at the source.
    async fn is_current(&self, record: &SourceRecord) -> Result<bool, Failure> {
        if self.request.digest.is_some() {
            return Ok(record.pinned == self.request.digest);
        }
        let mut look = self.request.clone();
        look.connection.retry = LOOK;
        let probe = modelwright_artifact::probe(&look).await?;
        Ok(probe.is_conclusive() && record.fingerprint == fingerprint(&probe)?)
    }

    /// Deletes a revision whose bytes on disk are not what they were, and tells whether there was one.
    fn discard(&self, record: &SourceRecord, failure: &Failure) -> Result<bool, Failure> {
        let existed = self.folder.revision(&record.revision).exists();
        if existed {
            tracing::warn!(revision = %record.revision.id(), "the revision on disk is damaged: {}", failure.message);
            self.folder.delete_revision(&record.revision)?;
        }
        Ok(existed)
    }

    /// Reads the source once into a folder of its own, which becomes the revision when every byte is verified.
    async fn fetch(&self, progress: &dyn Progress) -> Result<(Revision, SourceRecord), Failure> {
        let incoming = self.folder.incoming(self.request.digest.as_ref());
        let request = FetchRequest { source: &self.request, resolved: None, folder: incoming.clone() };
        let fetched = match modelwright_artifact::fetch(&request, progress).await {
            Ok(fetched) => fetched,
            Err(error) => {
                if error.class() != Class::Unreachable {
                    // Only an interrupted download is worth continuing.
                    self.folder.discard_incoming();
                }
                return Err(error.into());
            }
        };
        support::check(&self.request.uri, &fetched.facts).inspect_err(|_| self.folder.discard_incoming())?;
        let folder = self.folder.accept(&incoming, &fetched.digest)?;
        let record = SourceRecord {
            uri: self.uri(),
            pinned: self.request.digest,
            fingerprint: fetched.probe.as_ref().map(fingerprint).transpose()?.unwrap_or_default(),
            revision: fetched.digest,
            copied_to: None,
        };
        self.folder.write_record(&record)?;
        Ok((Revision { digest: fetched.digest, folder }, record))
    }

    /// After a failure, the former revision if it is there and nothing says that it must not be served.
    async fn fall_back(&self, former: Option<SourceRecord>, failure: Failure) -> Result<Resolution, Failure> {
        // Another pinned digest is another wish: serving what it replaced would be wrong.
        let Some(record) = former.filter(|record| record.pinned == self.request.digest) else {
            return Err(failure);
        };
        match self.folder.verified(record.revision).await {
            Ok(revision) => {
                Ok(Resolution { offer: Offer { revision, instead: Some(failure) }, repaired: false, record })
            }
            Err(_) => Err(failure),
        }
    }

    /// Publishes what was resolved where `copyTo` says, unless the record says that this was done.
    pub(crate) async fn copy(&self, resolution: &Resolution, progress: &dyn Progress) -> Result<(), Failure> {
        let Resolution { offer: Offer { revision, .. }, record, .. } = resolution;
        let Some((prefix, connection)) = &self.copy_to else { return Ok(()) };
        let target = Some(prefix.to_string());
        if record.copied_to == target {
            return Ok(());
        }
        let request = PublishRequest {
            folder: revision.folder.clone(),
            digest: Some(revision.digest),
            prefix: prefix.clone(),
            connection: connection.clone(),
        };
        let published = modelwright_artifact::publish(&request, progress).await?;
        tracing::info!(uri = %published.uri, bytes = published.bytes_written, "published");
        self.folder.write_record(&SourceRecord { copied_to: target, ..record.clone() })
    }
}

/// What changes when the source does, as text.
fn fingerprint(probe: &Probe) -> Result<String, Failure> {
    serde_json::to_string(probe).map_err(|error| Failure::bug(format!("a probe does not serialise: {error}")))
}
