//! Where revisions are kept, and the memory of what was trained: the Model's folder on this machine, and the store that
//! revisions are published into.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use modelwright_api::training::Output as OutputSpec;
use modelwright_artifact::data::DataFile;
use modelwright_artifact::provenance::{self, Dependency, Run};
use modelwright_artifact::{
    AccessRules, Connection, Digest, FetchRequest, Inputs, Manifest, Progress, PublishRequest,
    ResolveRequest, Retry, SourceUri, inputs,
};
use modelwright_trainer::{NUMERICS_VERSION, network};

use super::data::Fetched;
use crate::failure::Failure;
use crate::local::folder::ModelFolder;
use crate::local::manifests::{Entry, Secrets};
use crate::local::offer::Revision;

/// How long a look at data may take: mostly there is something to serve in the meantime.
pub(super) const LOOK: Retry = Retry { timeout: Duration::from_secs(5), attempts: 3 };

/// A Model's part of a store, with `revisions/`, `provenance/` and `inputs/` below it.
#[derive(Clone, Debug)]
pub(super) struct Store {
    prefix: SourceUri,
    connection: Connection,
}

impl Store {
    /// The Model's folder on this machine.
    pub(super) fn local(folder: &ModelFolder) -> Result<Self, Failure> {
        let connection = Connection { rules: AccessRules::LOCAL, ..Connection::default() };
        Ok(Self { prefix: SourceUri::from_path(folder.path())?, connection })
    }

    /// `OUTPUT/NAMESPACE/NAME`.
    pub(super) fn output(output: &OutputSpec, entry: &Entry, secrets: &Secrets) -> Result<Self, Failure> {
        let root = output.uri.trim_end_matches('/');
        let uri = format!("{root}/{}/{}", entry.namespace(), entry.name());
        Ok(Self {
            prefix: SourceUri::parse(&uri, Some(&entry.folder))?,
            connection: Connection {
                credentials: secrets.find(&output.uri, output.credentials_secret_ref.as_ref())?,
                rules: AccessRules::LOCAL,
                retry: Retry::FETCH,
                ..Connection::default()
            },
        })
    }

    /// Publishes a revision. Returns its place.
    pub(super) async fn publish(
        &self,
        revision: &Revision,
        progress: &dyn Progress,
    ) -> Result<SourceUri, Failure> {
        let request = PublishRequest {
            folder: revision.folder.clone(),
            digest: Some(revision.digest),
            prefix: self.prefix.clone(),
            connection: self.connection.clone(),
        };
        Ok(modelwright_artifact::publish(&request, progress).await?.uri)
    }

    /// Remembers that the inputs of a revision that is kept here need not be trained again, and how it was made.
    pub(super) async fn remember(&self, manifest: &Manifest, run: Option<&Run>) -> Result<(), Failure> {
        if let Some(run) = run {
            provenance::write(&self.prefix, &self.connection, manifest, run).await?;
        }
        inputs::record(&self.prefix, &self.connection, manifest).await?;
        Ok(())
    }

    /// The revision that these inputs gave, wherever that was.
    pub(super) async fn trained_from(&self, inputs: &Inputs) -> Result<Option<Digest>, Failure> {
        let key = inputs::key(inputs, NUMERICS_VERSION)?;
        Ok(inputs::find(&self.prefix, &self.connection, &key).await?)
    }

    /// The digest of a published revision, given that or its first digits.
    pub(super) async fn find_revision(&self, name: &str) -> Result<Option<Digest>, Failure> {
        Ok(modelwright_artifact::find_revision(&self.prefix, &self.connection, name).await?)
    }

    /// Brings a published revision into the Model's folder.
    pub(super) async fn fetch(
        &self,
        digest: Digest,
        folder: &ModelFolder,
        progress: &dyn Progress,
    ) -> Result<Revision, Failure> {
        let source = ResolveRequest {
            uri: modelwright_artifact::revision_uri(&self.prefix, &digest)?,
            digest: Some(digest),
            connection: self.connection.clone(),
        };
        let incoming = folder.incoming(Some(&digest));
        let request = FetchRequest { source: &source, resolved: None, folder: incoming.clone() };
        modelwright_artifact::fetch(&request, progress).await?;
        Ok(Revision { digest, folder: folder.accept(&incoming, &digest)? })
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.prefix.fmt(f)
    }
}

/// The training that began at `started` and has just ended, for its provenance.
pub(super) fn run(started: Timestamp, fetched: &Fetched) -> Run {
    let dependency = |file: &DataFile| Dependency {
        uri: file.name.clone(),
        digest: file.sha256,
        annotations: [("bytes".to_owned(), file.size.to_string())].into(),
    };
    let others = [&fetched.validation, &fetched.test].into_iter().flatten().flatten();
    Run {
        // Unique on this machine by time and process, and elsewhere as likely as two such events at one nanosecond.
        id: format!("{}-{}", started.as_nanosecond(), std::process::id()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: started.to_string(),
        finished: Timestamp::now().to_string(),
        parameters: [("simdClass".to_owned(), network::simd_class().to_owned())].into(),
        dependencies: fetched.training.iter().chain(others).map(dependency).collect(),
    }
}
