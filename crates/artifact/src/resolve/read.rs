//! Reads a source once, from the store into the scanner and the hash; nothing is kept.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;

use super::layout::{Layout, check_covered, check_total, external_data, revision_files};
use super::{Kind, RemoteFile, ResolveRequest, Resolved, Retrievable, SourceFile, check_pin};
use crate::inspect::{Inspected, Inspector};
use crate::onnx::OnnxFacts;
use crate::progress::Transfer;
use crate::store::{Store, blocking};
use crate::{Error, FileEntry, Limits, MODEL_FILE, Manifest, Progress, RelativePath};

pub(super) async fn read(
    request: &ResolveRequest,
    store: &Store,
    layout: Layout,
    progress: &dyn Progress,
) -> Result<Resolved, Error> {
    let reader = Reader { store, limits: &request.connection.limits, progress };
    let (manifest, files, facts) = match &layout {
        Layout::Revision { manifest, .. } => {
            // Before anything large is read.
            check_pin(&store.describe(""), Kind::Revision, manifest, request.digest)?;
            reader.revision(manifest).await?
        }
        Layout::File { model } | Layout::Prefix { model, .. } => reader.described(&layout, model).await?,
    };
    let pin = check_pin(&store.describe(""), layout.kind(), &manifest, request.digest)?;
    Ok(Resolved {
        uri: request.uri.clone(),
        kind: layout.kind(),
        digest: manifest.digest()?,
        pin,
        retrievable: retrievable(layout.kind()),
        files,
        manifest,
        facts,
        probe: layout.probe(),
    })
}

/// For how long files of this kind of source can be read again.
pub(crate) fn retrievable(kind: Kind) -> Retrievable {
    // An object's version does not help whoever is given a uri and a digest: they read the newest.
    if kind == Kind::Revision { Retrievable::Always } else { Retrievable::WhileUnchanged }
}

/// The facts of a file that was inspected as a model.
pub(crate) fn facts_of(inspected: Inspected) -> Result<OnnxFacts, Error> {
    inspected.facts.ok_or_else(|| Error::Internal { detail: "a model was read without being scanned".into() })
}

/// The manifest of files by path.
pub(crate) fn manifest_of(files: &[SourceFile]) -> Result<Manifest, Error> {
    let entries: BTreeMap<RelativePath, FileEntry> =
        files.iter().map(|file| (file.path.clone(), file.entry)).collect();
    Manifest::new(entries)
}

struct Reader<'a> {
    store: &'a Store,
    limits: &'a Limits,
    progress: &'a dyn Progress,
}

type Read = (Manifest, Vec<SourceFile>, OnnxFacts);

impl Reader<'_> {
    /// A revision names its files; the model is read for its facts, and so that a damaged one is found here.
    async fn revision(&self, manifest: &Manifest) -> Result<Read, Error> {
        check_total(self.store, self.limits, Some(manifest.total_bytes()))?;
        let remotes = revision_files(self.store, manifest).await?;
        let mut facts = None;
        let mut files = Vec::with_capacity(remotes.len());
        for ((path, remote), entry) in remotes.into_iter().zip(manifest.files().values()) {
            if path.as_str() == MODEL_FILE {
                let read = self.inspect(&remote, Inspector::model(), 0).await?;
                if read.entry != *entry {
                    let what = self.store.describe(path.as_str());
                    return Err(Error::DigestMismatch {
                        what,
                        expected: entry.sha256,
                        found: read.entry.sha256,
                    });
                }
                let found = facts_of(read)?;
                check_covered(&self.store.describe(path.as_str()), &found, manifest)?;
                facts = Some(found);
            }
            files.push(SourceFile { path, entry: *entry, remote });
        }
        let facts =
            facts.ok_or_else(|| Error::Internal { detail: "a revision without a model was read".into() })?;
        Ok((manifest.clone(), files, facts))
    }

    /// A file or prefix is what its bytes say.
    async fn described(&self, layout: &Layout, model: &RemoteFile) -> Result<Read, Error> {
        let read = self.inspect(model, Inspector::model(), 0).await?;
        let mut total = read.entry.size;
        let path = RelativePath::new(MODEL_FILE)?;
        let mut files = vec![SourceFile { path, entry: read.entry, remote: model.clone() }];
        let facts = facts_of(read)?;
        for (path, remote) in external_data(self.store, layout, &facts).await? {
            check_total(self.store, self.limits, Some(total.saturating_add(remote.size.unwrap_or(0))))?;
            let entry = self.inspect(&remote, Inspector::plain(), total).await?.entry;
            total = total.saturating_add(entry.size);
            files.push(SourceFile { path, entry, remote });
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok((manifest_of(&files)?, files, facts))
    }

    /// Reads one file; `before` are the bytes of those that were read already.
    async fn inspect(
        &self,
        remote: &RemoteFile,
        mut inspector: Inspector,
        before: u64,
    ) -> Result<Inspected, Error> {
        let what = self.store.describe(&remote.path);
        let refused = |source| Error::Onnx { what: what.clone(), source };
        let transfer = Transfer::begin(self.progress, remote.size, &what);
        let mut chunks = self.store.read(remote, 0);
        while let Some(chunk) = chunks.try_next().await? {
            transfer.advance(chunk.len());
            let total = before.saturating_add(inspector.size()).saturating_add(chunk.len() as u64);
            check_total(self.store, self.limits, Some(total))?;
            let pushed;
            (inspector, pushed) = blocking(move || {
                let pushed = inspector.push(&chunk);
                Ok((inspector, pushed))
            })
            .await?;
            pushed.map_err(refused)?;
        }
        inspector.finish().map_err(refused)
    }
}
