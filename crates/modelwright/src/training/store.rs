//! Where revisions are kept, and the memory of what was trained: the Model's folder on this machine, or the store that
//! revisions are published into.

use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;
use modelwright_artifact::data::DataFile;
use modelwright_artifact::provenance::{self, Dependency, Run};
use modelwright_artifact::{
    Connection, Digest, FetchRequest, Inputs, Manifest, Progress, PublishRequest, Published, ResolveRequest,
    SourceUri, inputs,
};
use modelwright_trainer::{NUMERICS_VERSION, network};

use super::data::{Explain, Fetched, Reached};
use crate::failure::Failure;

/// A Model's part of a store, with `revisions/`, `provenance/` and `inputs/` below it.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) prefix: SourceUri,
    pub(crate) connection: Connection,
    pub(crate) explain: Explain,
}

impl Store {
    pub(crate) fn new(Reached { uri, connection, explain }: Reached) -> Self {
        Self { prefix: uri, connection, explain }
    }

    fn explained<T>(&self, result: Result<T, modelwright_artifact::Error>) -> Result<T, Failure> {
        result.map_err(|error| (self.explain)(error))
    }

    /// Publishes the revision in a folder.
    pub(crate) async fn publish(
        &self,
        folder: PathBuf,
        digest: Digest,
        progress: &dyn Progress,
    ) -> Result<Published, Failure> {
        let request = PublishRequest {
            folder,
            digest: Some(digest),
            prefix: self.prefix.clone(),
            connection: self.connection.clone(),
        };
        self.explained(modelwright_artifact::publish(&request, progress).await)
    }

    /// Remembers that the inputs of a revision that is kept here need not be trained again, and how it was made.
    pub(crate) async fn remember(&self, manifest: &Manifest, run: Option<&Run>) -> Result<(), Failure> {
        if let Some(run) = run {
            self.explained(provenance::write(&self.prefix, &self.connection, manifest, run).await)?;
        }
        self.explained(inputs::record(&self.prefix, &self.connection, manifest).await.map(drop))
    }

    /// The revision that these inputs gave, wherever that was.
    pub(crate) async fn trained_from(&self, inputs: &Inputs) -> Result<Option<Digest>, Failure> {
        let key = inputs::key(inputs, NUMERICS_VERSION)?;
        self.explained(inputs::find(&self.prefix, &self.connection, &key).await)
    }

    /// The digest of a published revision, given that or its first digits.
    pub(crate) async fn find_revision(&self, name: &str) -> Result<Option<Digest>, Failure> {
        self.explained(modelwright_artifact::find_revision(&self.prefix, &self.connection, name).await)
    }

    /// Brings a published revision into a folder.
    pub(crate) async fn fetch(
        &self,
        digest: Digest,
        folder: PathBuf,
        progress: &dyn Progress,
    ) -> Result<(), Failure> {
        let source = ResolveRequest {
            uri: modelwright_artifact::revision_uri(&self.prefix, &digest)?,
            digest: Some(digest),
            connection: self.connection.clone(),
        };
        let request = FetchRequest { source: &source, resolved: None, folder };
        self.explained(modelwright_artifact::fetch(&request, progress).await.map(drop))
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.prefix.fmt(f)
    }
}

/// The training `id` that began at `started` and has just ended, for its provenance.
pub(crate) fn run(id: String, started: Timestamp, fetched: &Fetched) -> Run {
    let dependency = |file: &DataFile| Dependency {
        uri: file.name.clone(),
        digest: file.sha256,
        annotations: [("bytes".to_owned(), file.size.to_string())].into(),
    };
    let others = [&fetched.validation, &fetched.test].into_iter().flatten().flatten();
    Run {
        id,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: started.to_string(),
        finished: Timestamp::now().to_string(),
        parameters: [("simdClass".to_owned(), network::simd_class().to_owned())].into(),
        dependencies: fetched.training.iter().chain(others).map(dependency).collect(),
    }
}
