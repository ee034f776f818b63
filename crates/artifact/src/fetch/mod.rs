//! From a store into a folder: parallel, verified, resumable.
//!
//! Files are written under names of our own beside their targets and get their names when everything is verified;
//! `manifest.json` comes last, so a folder with a manifest is a whole revision. An interrupted fetch is continued: what
//! is there is hashed again, and the rest is asked for only if the store still has the same object.

mod download;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::folder::Folder;
use crate::inspect::Inspector;
use crate::onnx::OnnxFacts;
use crate::resolve::{
    Layout, check_covered, check_pin, check_total, external_data, facts_of, layout, manifest_of, retrievable,
    revision_files,
};
use crate::store::{Store, blocking};
use crate::verify::{manifest_in, open_file, verify_file};
use crate::{
    Digest, Error, FileEntry, Kind, MODEL_FILE, Manifest, Probe, Progress, RelativePath, RemoteFile,
    ResolveRequest, Resolved, Retrievable, SourceFile,
};
use download::{Downloads, Wanted};

/// What to fetch and where to.
#[derive(Clone, Debug)]
pub struct FetchRequest<'a> {
    /// The source, the digest that it must have (if known), and how to reach it.
    pub source: &'a ResolveRequest,
    /// What [`resolve`](crate::resolve()) said of the source. With it every file's digest is known beforehand and
    /// exactly the resolved objects are read.
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
    /// What pins the source; see [`Resolved::pin`]. The revision's digest if the source was not asked.
    pub pin: Digest,
    /// What the model says of itself.
    pub facts: OnnxFacts,
    /// Bytes that were read from the source.
    pub bytes_read: u64,
    /// Whether the folder already held the revision, so that the source was not asked.
    pub reused: bool,
    /// For how long the source's bytes can be read again; `None` if the source was not asked.
    pub retrievable: Option<Retrievable>,
    /// The source as it looked when it was read; `None` if the source was not asked.
    pub probe: Option<Probe>,
}

/// Brings a revision into `request.folder`, and verifies every byte of it.
///
/// If the digest is known and the folder holds that revision, only the folder is read. Memory is bounded by
/// [`Transfers`](crate::Transfers). Without a digest the source is taken as it is.
pub async fn fetch(request: &FetchRequest<'_>, progress: &dyn Progress) -> Result<Fetched, Error> {
    let folder = request.folder.clone();
    let folder = Arc::new(blocking(move || Folder::make(&folder)).await?);
    {
        let folder = folder.clone();
        blocking(move || folder.lock()).await?;
    }
    let expected = request.source.digest.or(request.resolved.map(|resolved| resolved.digest));
    if let Some(expected) = expected
        && let Some(reused) = reuse(folder.clone(), expected).await?
    {
        return Ok(reused);
    }
    let store = Store::open(&request.source.uri, &request.source.connection)?;
    let plan = Plan::of(request, &store).await?;
    let limits = &request.source.connection.limits;
    let mut downloads = Downloads::new(&store, folder, progress, limits, expected.is_some());
    loop {
        let error = match plan.download(request, &store, &mut downloads).await {
            Err(error @ (Error::DigestMismatch { .. } | Error::Onnx { .. } | Error::TooLarge { .. })) => {
                error
            }
            // Whatever else went wrong, what is there can be continued.
            done => return done,
        };
        let continued = downloads.continued();
        downloads.discard().await?;
        // What an earlier run had left may have been damaged, for example by a loss of power: once more, from nothing.
        if !continued {
            return Err(error);
        }
    }
}

/// The revision, if the folder already holds it. A folder that holds something else is no error; one with links is.
async fn reuse(folder: Arc<Folder>, expected: Digest) -> Result<Option<Fetched>, Error> {
    blocking(move || {
        let checked = (|| {
            let manifest = manifest_in(&folder)?;
            if !manifest.matches(&expected)? {
                return Ok(None);
            }
            for (path, entry) in manifest.files() {
                verify_file(&folder, path, entry)?;
            }
            let facts = scan(&folder)?;
            check_covered(&folder.path().display().to_string(), &facts, &manifest)?;
            let digest = manifest.digest()?;
            let pin = if expected == digest { digest } else { expected };
            Ok(Some(Fetched {
                manifest,
                digest,
                pin,
                facts,
                bytes_read: 0,
                reused: true,
                retrievable: None,
                probe: None,
            }))
        })();
        match checked {
            Err(error @ Error::UnsafeTarget { .. }) => Err(error),
            Err(_) => Ok(None),
            Ok(reused) => Ok(reused),
        }
    })
    .await
}

/// What the model of a revision's folder says of itself. Reads the whole file.
pub fn facts(folder: &Path) -> Result<OnnxFacts, Error> {
    scan(&Folder::open(folder)?)
}

/// The facts of a model that is in the folder.
fn scan(folder: &Folder) -> Result<OnnxFacts, Error> {
    use std::io::Read as _;
    let path = RelativePath::new(MODEL_FILE)?;
    let place = folder.path().join(MODEL_FILE);
    let refused = |source| Error::Onnx { what: place.display().to_string(), source };
    let mut file = open_file(folder, &path)?;
    let mut inspector = Inspector::model();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(|error| Error::reading(&place, error))? {
            0 => break,
            count => inspector.push(&buffer[..count]).map_err(refused)?,
        }
    }
    facts_of(inspector.finish().map_err(refused)?)
}

/// Where everything is, as far as it is known before the model is read.
enum Plan {
    /// All files with their digests.
    Known { kind: Kind, manifest: Manifest, remotes: BTreeMap<RelativePath, RemoteFile>, probe: Probe },
    /// A model that says itself what else belongs to it.
    Described { layout: Layout, model: RemoteFile },
}

impl Plan {
    async fn of(request: &FetchRequest<'_>, store: &Store) -> Result<Self, Error> {
        if let Some(resolved) = request.resolved {
            let remotes =
                resolved.files.iter().map(|file| (file.path.clone(), file.remote.clone())).collect();
            let (kind, manifest, probe) = (resolved.kind, resolved.manifest.clone(), resolved.probe.clone());
            return Ok(Self::Known { kind, manifest, remotes, probe });
        }
        let layout = layout(store, &request.source.connection.limits).await?;
        match layout {
            Layout::Revision { ref manifest, .. } => {
                // Before anything large is read.
                check_pin(&store.describe(""), Kind::Revision, manifest, request.source.digest)?;
                check_total(store, &request.source.connection.limits, Some(manifest.total_bytes()))?;
                let remotes = revision_files(store, manifest).await?;
                let probe = layout.probe();
                Ok(Self::Known { kind: Kind::Revision, manifest: manifest.clone(), remotes, probe })
            }
            Layout::File { ref model } | Layout::Prefix { ref model, .. } => {
                let model = model.clone();
                Ok(Self::Described { layout, model })
            }
        }
    }

    async fn download(
        &self,
        request: &FetchRequest<'_>,
        store: &Store,
        downloads: &mut Downloads<'_>,
    ) -> Result<Fetched, Error> {
        let (kind, manifest, facts, probe) = match self {
            Self::Known { kind, manifest, remotes, probe } => {
                let facts = known(store, manifest, remotes, downloads).await?;
                (*kind, manifest.clone(), facts, probe.clone())
            }
            Self::Described { layout, model } => {
                let (files, facts) = described(request, store, layout, model, downloads).await?;
                (layout.kind(), manifest_of(&files)?, facts, layout.probe())
            }
        };
        let pin = check_pin(&store.describe(""), kind, &manifest, request.source.digest)?;
        downloads.keep(&manifest).await?;
        Ok(Fetched {
            digest: manifest.digest()?,
            pin,
            facts,
            bytes_read: downloads.bytes_read(),
            reused: false,
            retrievable: Some(retrievable(kind)),
            probe: Some(probe),
            manifest,
        })
    }
}

type Files = (Vec<SourceFile>, OnnxFacts);

/// Downloads files whose digests are known.
async fn known(
    store: &Store,
    manifest: &Manifest,
    remotes: &BTreeMap<RelativePath, RemoteFile>,
    downloads: &mut Downloads<'_>,
) -> Result<OnnxFacts, Error> {
    let mut facts = None;
    for (path, entry) in manifest.files() {
        let remote = remotes
            .get(path)
            .ok_or_else(|| Error::Internal { detail: format!("nothing is known of where {path} is") })?;
        let model = path.as_str() == MODEL_FILE;
        let wanted = Wanted { path: path.clone(), remote: remote.clone(), expected: Some(*entry), model };
        let inspected = downloads.download(wanted).await?;
        if model {
            let found = facts_of(inspected)?;
            check_covered(&store.describe(&remote.path), &found, manifest)?;
            facts = Some(found);
        }
    }
    facts.ok_or_else(|| Error::Internal { detail: "a revision without a model was fetched".into() })
}

/// Downloads a model, and then the external data that it names.
async fn described(
    request: &FetchRequest<'_>,
    store: &Store,
    layout: &Layout,
    model: &RemoteFile,
    downloads: &mut Downloads<'_>,
) -> Result<Files, Error> {
    let limits = &request.source.connection.limits;
    let path = RelativePath::new(MODEL_FILE)?;
    let wanted = Wanted { path: path.clone(), remote: model.clone(), expected: None, model: true };
    let inspected = downloads.download(wanted).await?;
    let mut total = inspected.entry.size;
    let mut files = vec![SourceFile { path, entry: inspected.entry, remote: model.clone() }];
    let facts = facts_of(inspected)?;
    for (path, remote) in external_data(store, layout, &facts).await? {
        total = total.saturating_add(remote.size.unwrap_or(0));
        check_total(store, limits, Some(total))?;
        let wanted = Wanted { path: path.clone(), remote: remote.clone(), expected: None, model: false };
        let entry: FileEntry = downloads.download(wanted).await?.entry;
        files.push(SourceFile { path, entry, remote });
    }
    Ok((files, facts))
}
