//! What stands at a uri: a file, a prefix with a model, or a revision.

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _};

use super::formats::refuse_name;
use super::{Kind, Probe, RemoteFile};
use crate::onnx::OnnxFacts;
use crate::store::Store;
use crate::{Error, Limits, MANIFEST_FILE, MAX_MANIFEST_BYTES, MODEL_FILE, Manifest, RelativePath};

/// Questions about single files that are asked at the same time.
const HEADS_AT_ONCE: usize = 8;
/// The most models that a message about an ambiguous prefix names.
const NAMED_MODELS: usize = 8;

/// What stands at a uri, before any model is read.
#[derive(Clone, Debug)]
pub(crate) enum Layout {
    /// The uri's own object.
    File {
        /// It.
        model: RemoteFile,
    },
    /// A prefix without a manifest.
    Prefix {
        /// The one `*.onnx` at its top.
        model: RemoteFile,
        /// Everything below.
        listing: Vec<RemoteFile>,
    },
    /// A revision's folder.
    Revision {
        /// Its manifest.
        manifest: Manifest,
        /// The manifest's own object.
        file: RemoteFile,
    },
}

impl Layout {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::File { .. } => Kind::File,
            Self::Prefix { .. } => Kind::Prefix,
            Self::Revision { .. } => Kind::Revision,
        }
    }

    /// What a later look is compared with.
    pub(crate) fn probe(&self) -> Probe {
        let files = match self {
            Self::File { model } => vec![model.clone()],
            Self::Prefix { listing, .. } => listing.clone(),
            Self::Revision { file, .. } => vec![file.clone()],
        };
        Probe { kind: self.kind(), files }
    }
}

/// Finds out what stands at the store's uri.
pub(crate) async fn layout(store: &Store, limits: &Limits) -> Result<Layout, Error> {
    if !store.uri().is_folder() {
        match store.head("").await {
            Ok(model) => {
                refuse_name(&store.describe(""), &store.uri().to_string())?;
                check_total(store, limits, model.size)?;
                return Ok(Layout::File { model });
            }
            // Perhaps a prefix written without its slash; a web server has no prefixes.
            Err(Error::SourceNotFound { what }) => match store.list(limits).await {
                Ok(Some(listing)) if listing.is_empty() => return Err(empty(store, what)),
                Ok(Some(_)) => {}
                Ok(None) | Err(Error::SourceNotFound { .. }) => return Err(Error::SourceNotFound { what }),
                Err(error) => return Err(error),
            },
            Err(error) => return Err(error),
        }
    }
    if let Some(revision) = revision(store).await? {
        return Ok(revision);
    }
    let Some(listing) = store.list(limits).await? else {
        return Err(Error::NoModel {
            what: store.describe(""),
            problem: format!(
                "there is no {MANIFEST_FILE}, and a web server cannot be asked for its files; name the .onnx file"
            ),
        });
    };
    prefix(store, limits, listing).await
}

async fn revision(store: &Store) -> Result<Option<Layout>, Error> {
    let file = match store.head(MANIFEST_FILE).await {
        Ok(file) => file,
        Err(Error::SourceNotFound { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let bytes = store.read_small(&file, MAX_MANIFEST_BYTES).await?;
    // Other tools have files of this name too; only one with a contract is ours, and must then be right.
    let is_ours = serde_json::from_slice::<BTreeMap<String, serde_json::Value>>(&bytes)
        .is_ok_and(|keys| keys.contains_key("contract"));
    if !is_ours {
        return Ok(None);
    }
    let manifest = Manifest::parse(&bytes)?;
    if !manifest.files().contains_key(MODEL_FILE) {
        return Err(Error::NoModel {
            what: store.describe(""),
            problem: format!("its manifest does not name {MODEL_FILE}"),
        });
    }
    Ok(Some(Layout::Revision { manifest, file }))
}

/// A place without a file: in object storage that is no place at all, on a disk it is an empty folder.
fn empty(store: &Store, what: String) -> Error {
    if store.uri().local_path().is_some() {
        Error::NoModel { what: store.describe(""), problem: "the folder is empty".into() }
    } else {
        Error::SourceNotFound { what }
    }
}

async fn prefix(store: &Store, limits: &Limits, listing: Vec<RemoteFile>) -> Result<Layout, Error> {
    let what = store.describe("");
    if listing.is_empty() {
        return Err(empty(store, what));
    }
    let top = || listing.iter().filter(|file| !file.path.contains('/'));
    let is_model = |file: &&RemoteFile| {
        file.path.rsplit_once('.').is_some_and(|(_, extension)| extension.eq_ignore_ascii_case("onnx"))
    };
    let models: Vec<&RemoteFile> = top().filter(is_model).collect();
    match models.as_slice() {
        [model] => {
            // A listing says nothing of versions, and some stores write entity tags differently there.
            let model = store.head(&model.path).await?;
            check_total(store, limits, model.size)?;
            Ok(Layout::Prefix { model, listing })
        }
        [] => {
            for file in top().chain(&listing) {
                refuse_name(&store.describe(&file.path), &file.path)?;
            }
            Err(Error::NoModel { what, problem: "there is no *.onnx file directly below it".into() })
        }
        models => Err(Error::AmbiguousSource {
            what,
            models: models.iter().take(NAMED_MODELS).map(|model| model.path.clone()).collect(),
        }),
    }
}

/// The files besides the model that belong to a source without a manifest: the external data that the model names.
pub(crate) async fn external_data(
    store: &Store,
    layout: &Layout,
    facts: &OnnxFacts,
) -> Result<Vec<(RelativePath, RemoteFile)>, Error> {
    let mut files = Vec::new();
    let (model, listing) = match layout {
        Layout::Revision { .. } => return Ok(files),
        Layout::File { model } => (model, [].as_slice()),
        Layout::Prefix { model, listing } => (model, listing.as_slice()),
    };
    let what = store.describe(&model.path);
    for location in &facts.external_data {
        let path = RelativePath::new(location)?;
        if path.as_str() == MODEL_FILE || path.as_str() == MANIFEST_FILE {
            return Err(Error::Unsupported {
                what,
                problem: format!(
                    "it keeps weights in {path}, a name that a revision needs itself; save it with another"
                ),
            });
        }
        if !listing.iter().any(|file| file.path == path.as_str()) {
            let problem = if layout.kind() == Kind::File {
                "which is not there; give the prefix that holds both instead of the file"
            } else {
                "which is not there"
            };
            return Err(Error::MissingExternalData { what, path: path.to_string(), problem });
        }
        let file = store.head(path.as_str()).await?;
        files.push((path, file));
    }
    Ok(files)
}

/// Refuses a revision whose model keeps weights in files that its manifest does not name: whatever lies there would be
/// loaded, and no digest would cover it.
pub(crate) fn check_covered(what: &str, facts: &OnnxFacts, manifest: &Manifest) -> Result<(), Error> {
    match facts.external_data.iter().find(|path| !manifest.files().contains_key(path.as_str())) {
        None => Ok(()),
        Some(path) => Err(Error::MissingExternalData {
            what: what.to_owned(),
            path: path.clone(),
            problem: "which its manifest does not name, so no digest covers it; make the revision again from the \
                      prefix that holds both",
        }),
    }
}

/// Where the files of a revision are, as their store describes them.
pub(crate) async fn revision_files(
    store: &Store,
    manifest: &Manifest,
) -> Result<BTreeMap<RelativePath, RemoteFile>, Error> {
    let digest = manifest.digest()?;
    futures::stream::iter(manifest.files())
        .map(|(path, entry)| async move {
            let file = store.head(path.as_str()).await?;
            match file.size {
                Some(size) if size != entry.size => {
                    Err(Error::RevisionCollision { what: store.describe(path.as_str()), digest })
                }
                _ => Ok((path.clone(), file)),
            }
        })
        .buffered(HEADS_AT_ONCE)
        .try_collect()
        .await
}

/// Refuses a source of more bytes than the limits allow.
pub(crate) fn check_total(store: &Store, limits: &Limits, bytes: Option<u64>) -> Result<(), Error> {
    match bytes {
        Some(bytes) if bytes > limits.total_bytes => Err(Error::TooLarge {
            what: store.describe(""),
            problem: format!("it has {bytes} bytes, more than the {} that are allowed", limits.total_bytes),
        }),
        _ => Ok(()),
    }
}
