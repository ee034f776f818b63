//! From a uri to a revision: what is there, what it consists of, and whether it is a model.

mod formats;
mod layout;
mod read;

use serde::{Deserialize, Serialize};

use crate::onnx::OnnxFacts;
use crate::store::Store;
use crate::{Connection, Digest, Error, FileEntry, Manifest, Progress, RelativePath, SourceUri};

pub(crate) use layout::{Layout, check_covered, check_total, external_data, layout, revision_files};
pub(crate) use read::{facts_of, manifest_of, retrievable};

/// What to resolve.
#[derive(Clone, Debug)]
pub struct ResolveRequest {
    /// A file, a prefix, or a revision's folder.
    pub uri: SourceUri,
    /// What the source must be, if that is known. For a file its sha256, as `sha256sum` prints it; for a prefix or a
    /// revision the sha256 of `manifest.json`. A file's revision digest is accepted too.
    pub digest: Option<Digest>,
    /// How to reach it.
    pub connection: Connection,
}

/// What kind of source a uri turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// One file, stored as `model.onnx`.
    File,
    /// A prefix with one model at its top, stored as `model.onnx`, and the external data that it names.
    Prefix,
    /// A folder with a manifest of the contract.
    Revision,
}

/// For how long the bytes of a revision can be read from where they were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Retrievable {
    /// Every file is an immutable revision's.
    Always,
    /// Only while nobody overwrites the source.
    WhileUnchanged,
}

/// One object or file of a source, as its store describes it without reading it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteFile {
    /// The path below the uri; empty if the uri names the file itself.
    pub path: String,
    /// The size in bytes, if the store says.
    pub size: Option<u64>,
    /// What changes with the content: an entity tag, a modification time, or both; if the store says.
    pub etag: Option<String>,
    /// The object's version, where the store keeps versions.
    pub version: Option<String>,
    /// Whether parts of the file can be asked for.
    pub ranges: bool,
}

/// What a source looks like without reading it. Equal probes of one uri mean: nothing changed since.
///
/// That is only as good as the store: a web server that gives neither an entity tag nor a modification time makes
/// every probe [inconclusive](Probe::is_conclusive).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// What kind of source it is.
    pub kind: Kind,
    /// Everything that could matter: the file, all objects below the prefix, or the revision's manifest.
    pub files: Vec<RemoteFile>,
}

impl Probe {
    /// Whether equality with another probe means that nothing changed.
    pub fn is_conclusive(&self) -> bool {
        self.files.iter().all(|file| file.etag.is_some() || file.version.is_some())
    }

    /// The sha256 of the uri and this look at it in canonical JSON (RFC 8785): a short word by which a later look is
    /// told from this one. `None` if the probe is not [conclusive](Self::is_conclusive).
    pub fn fingerprint(&self, uri: &SourceUri) -> Option<Digest> {
        #[derive(Serialize)]
        struct Look<'a> {
            uri: String,
            #[serde(flatten)]
            probe: &'a Probe,
        }
        if !self.is_conclusive() {
            return None;
        }
        // What cannot be written can be compared with nothing, which is what an inconclusive look means.
        let text = serde_json_canonicalizer::to_vec(&Look { uri: uri.to_string(), probe: self }).ok()?;
        Some(Digest::of(&text))
    }
}

/// A file of a resolved revision and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// The path in the revision.
    pub path: RelativePath,
    /// Its digest and size.
    pub entry: FileEntry,
    /// Where it was read.
    pub remote: RemoteFile,
}

/// A resolved source.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The uri.
    pub uri: SourceUri,
    /// What kind of source it is.
    pub kind: Kind,
    /// The revision's files.
    pub manifest: Manifest,
    /// The revision's digest: the sha256 of the manifest.
    pub digest: Digest,
    /// What `digest` in a manifest's `source` pins, and what `modelwright resolve` prints: for a file its own sha256,
    /// else the revision's digest.
    pub pin: Digest,
    /// Where the files are.
    pub files: Vec<SourceFile>,
    /// For how long they can be read there.
    pub retrievable: Retrievable,
    /// What the model says of itself.
    pub facts: OnnxFacts,
    /// The source as it looked when it was read.
    pub probe: Probe,
}

/// Finds out what `request.uri` is, reads it once, and says which revision it is.
///
/// Memory is bounded by [`Transfers`](crate::Transfers) and the scanner's limits, whatever the model's size.
pub async fn resolve(request: &ResolveRequest, progress: &dyn Progress) -> Result<Resolved, Error> {
    let store = Store::open(&request.uri, &request.connection)?;
    let layout = layout(&store, &request.connection.limits).await?;
    read::read(request, &store, layout, progress).await
}

/// As [`resolve()`], but `None` without reading the source if it still looks as `fingerprint` says: see
/// [`Probe::fingerprint`].
pub async fn resolve_if_changed(
    request: &ResolveRequest,
    fingerprint: &Digest,
    progress: &dyn Progress,
) -> Result<Option<Resolved>, Error> {
    let store = Store::open(&request.uri, &request.connection)?;
    let layout = layout(&store, &request.connection.limits).await?;
    if layout.probe().fingerprint(&request.uri).as_ref() == Some(fingerprint) {
        return Ok(None);
    }
    read::read(request, &store, layout, progress).await.map(Some)
}

/// Looks at a source without reading it: names, sizes, entity tags and versions.
pub async fn probe(request: &ResolveRequest) -> Result<Probe, Error> {
    let store = Store::open(&request.uri, &request.connection)?;
    Ok(layout(&store, &request.connection.limits).await?.probe())
}

/// Compares a resolved or fetched revision with the digest that was asked for.
pub(crate) fn check_pin(
    what: &str,
    kind: Kind,
    manifest: &Manifest,
    expected: Option<Digest>,
) -> Result<Digest, Error> {
    let pin = pin(kind, manifest)?;
    match expected {
        Some(expected) if expected != pin && expected != manifest.digest()? => {
            Err(Error::DigestMismatch { what: what.to_owned(), expected, found: pin })
        }
        _ => Ok(pin),
    }
}

/// The digest that pins a source of this kind.
fn pin(kind: Kind, manifest: &Manifest) -> Result<Digest, Error> {
    match (kind, manifest.files().get(crate::MODEL_FILE)) {
        (Kind::File, Some(model)) => Ok(model.sha256),
        _ => manifest.digest(),
    }
}
