//! What lies in `runs/<run>/checkpoints/`.

use std::collections::{BTreeMap, BTreeSet};

use crate::store::Store;
use crate::{Digest, Error, Limits, RemoteFile};

const FILES: &str = "files/";

pub(super) fn file_path(sha256: &Digest) -> String {
    format!("{FILES}{}", sha256.hex())
}

/// Numbers have one length, so that a listing is in their order for people too.
pub(super) fn manifest_path(number: u64) -> String {
    format!("{number:010}.json")
}

/// A listing.
pub(super) struct Place {
    /// By number, the newest last.
    pub(super) manifests: Vec<(u64, RemoteFile)>,
    /// By sha256.
    files: BTreeMap<Digest, RemoteFile>,
}

impl Place {
    pub(super) async fn list(store: &Store, limits: &Limits) -> Result<Self, Error> {
        let listed = match store.list(limits).await {
            Ok(Some(listed)) => listed,
            Ok(None) => {
                let problem = "a web server cannot keep checkpoints; use s3, gs, az, pvc or file".into();
                return Err(Error::Unsupported { what: store.describe(""), problem });
            }
            // A folder that was never made.
            Err(Error::SourceNotFound { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        let (mut manifests, mut files) = (Vec::new(), BTreeMap::new());
        for file in listed {
            if let Some(digest) = file.path.strip_prefix(FILES).and_then(Digest::from_hex) {
                files.insert(digest, file);
            } else if let Some(number) = file.path.strip_suffix(".json").and_then(|name| name.parse().ok()) {
                manifests.push((number, file));
            }
        }
        manifests.sort_by_key(|(number, _)| *number);
        Ok(Self { manifests, files })
    }

    /// The highest number; 0 if there is none.
    pub(super) fn newest(&self) -> u64 {
        self.manifests.last().map_or(0, |(number, _)| *number)
    }

    pub(super) fn holds(&self, sha256: &Digest, size: u64) -> bool {
        self.files.get(sha256).is_some_and(|file| file.size == Some(size))
    }

    /// Deletes what was listed: manifests below `number`, and then the files that are not `kept`.
    pub(super) async fn delete_older(
        &self,
        store: &Store,
        number: u64,
        kept: &BTreeSet<Digest>,
    ) -> Result<(), Error> {
        for (_, manifest) in self.manifests.iter().filter(|(older, _)| *older < number) {
            store.delete(&manifest.path).await?;
        }
        for (_, file) in self.files.iter().filter(|(digest, _)| !kept.contains(digest)) {
            store.delete(&file.path).await?;
        }
        Ok(())
    }
}
