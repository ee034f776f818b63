//! From a folder into a store, as an immutable revision.

use std::path::PathBuf;

use crate::{Connection, Digest, Error, Progress, SourceUri};

/// What to publish and where to.
#[derive(Clone, Debug)]
pub struct PublishRequest {
    /// A revision's folder: `manifest.json` and the files that it names.
    pub folder: PathBuf,
    /// The prefix below which `revisions/<id>/` is made: `s3`, `gs`, `az`, `pvc` or `file`.
    pub prefix: SourceUri,
    /// How to reach it.
    pub connection: Connection,
}

/// A published revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The revision's digest.
    pub digest: Digest,
    /// The revision's folder in the store; it can be resolved and fetched.
    pub uri: SourceUri,
    /// Bytes that were uploaded: 0 if the revision was there already.
    pub bytes_written: u64,
}

/// Copies a revision into a store.
pub async fn publish(request: &PublishRequest, progress: &dyn Progress) -> Result<Published, Error> {
    let _ = (request, progress);
    Err(Error::Internal { detail: "skeleton".into() })
}
