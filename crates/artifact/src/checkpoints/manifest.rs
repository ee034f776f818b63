//! The manifest of a checkpoint.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::path::printable;
use crate::store::Store;
use crate::{CONTRACT, Digest, Error, RelativePath};

/// The most bytes of a manifest.
const MAX_BYTES: usize = 16 << 20;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Document {
    contract: String,
    /// In order of paths.
    pub(super) files: Vec<Entry>,
    /// The key of what the training is made from, where whoever pushes knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inputs: Option<Digest>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) path: RelativePath,
    pub(super) sha256: Digest,
    pub(super) size: u64,
}

impl Document {
    pub(super) fn new(files: Vec<Entry>, inputs: Option<Digest>) -> Self {
        Self { contract: CONTRACT.to_owned(), files, inputs }
    }

    /// Whether it is known to be of a training from other inputs.
    pub(super) fn is_of_others(&self, inputs: Option<Digest>) -> bool {
        self.inputs.zip(inputs).is_some_and(|(there, wanted)| there != wanted)
    }

    pub(super) fn digests(&self) -> BTreeSet<Digest> {
        self.files.iter().map(|entry| entry.sha256).collect()
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        serde_json_canonicalizer::to_vec(self).map_err(|error| Error::Internal {
            detail: format!("the manifest of a checkpoint could not be written: {error}"),
        })
    }

    /// Reads a manifest; else what is wrong with it.
    pub(super) async fn read(store: &Store, path: &str) -> Result<Result<Self, String>, Error> {
        // As the store describes it now: what a listing calls an entity tag is not always what a read does.
        let read = match store.head(path).await {
            Ok(file) => store.read_small(&file, MAX_BYTES).await,
            Err(error) => Err(error),
        };
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) if is_torn(&error) => return Ok(Err(error.to_string())),
            Err(error) => return Err(error),
        };
        Ok(match serde_json::from_slice::<Self>(&bytes) {
            Ok(document) if document.contract == CONTRACT => Ok(document),
            Ok(_) => Err(format!("it is of another contract than {CONTRACT}")),
            Err(error) => Err(printable(&error.to_string())),
        })
    }
}

/// Whether an error says that a checkpoint is not whole, rather than that the store is out of reach.
pub(super) fn is_torn(error: &Error) -> bool {
    matches!(
        error,
        Error::SourceNotFound { .. }
            | Error::SourceChanged { .. }
            | Error::DigestMismatch { .. }
            | Error::TooLarge { .. }
    )
}
