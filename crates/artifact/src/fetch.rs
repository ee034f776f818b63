//! From a store into a folder: parallel, verified, resumable.

use std::path::PathBuf;

use crate::onnx::OnnxFacts;
use crate::{Digest, Error, Kind, Manifest, Probe, Progress, ResolveRequest, Resolved, Retrievable};

/// What to fetch and where to.
#[derive(Clone, Debug)]
pub struct FetchRequest<'a> {
    /// The source, the digest that it must have (if known), and how to reach it.
    pub source: &'a ResolveRequest,
    /// What [`resolve`](crate::resolve()) said of the source. With it every file's digest is known beforehand, so an
    /// interrupted fetch of a file or prefix can be continued, and exactly the resolved objects are read.
    pub resolved: Option<&'a Resolved>,
    /// The folder that becomes the revision: `manifest.json` and the files that it names. Made if missing.
    pub folder: PathBuf,
}

/// A fetched revision.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The revision's files.
    pub manifest: Manifest,
    /// The revision's digest.
    pub digest: Digest,
    /// What pins the source; see [`Resolved::pin`].
    pub pin: Digest,
    /// What kind of source it is.
    pub kind: Kind,
    /// What the model says of itself.
    pub facts: OnnxFacts,
    /// Bytes that came over the network or from the source's disk.
    pub bytes_read: u64,
    /// Whether the folder already held the revision, so that nothing was read.
    pub reused: bool,
    /// For how long the source's bytes can be read again; `None` if the source was not asked.
    pub retrievable: Option<Retrievable>,
    /// The source as it looked when it was read; `None` if the source was not asked.
    pub probe: Option<Probe>,
}

/// Brings a revision into `request.folder`.
pub async fn fetch(request: &FetchRequest<'_>, progress: &dyn Progress) -> Result<Fetched, Error> {
    let _ = (request, progress);
    Err(Error::Internal { detail: "skeleton".into() })
}
