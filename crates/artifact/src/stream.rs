//! A file of a store, streamed into a file of ours and hashed on the way.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use futures::TryStreamExt as _;

use crate::inspect::Inspector;
use crate::store::{Store, blocking};
use crate::{Error, RemoteFile};

/// A file that is open for writing.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) file: Arc<File>,
    /// Where it is, for messages.
    pub(crate) place: PathBuf,
}

/// Writes what `inspector` has not seen yet of the remote file into `target`, after the bytes that it has, and shows it to
/// `inspector`. Returns when all of it is on the disk: some file systems say only then that the disk is full.
///
/// `admit` is told the length of each piece, and how many bytes there are with it, before these are written: an answer may have no
/// end.
pub(crate) async fn stream(
    store: &Store,
    remote: &RemoteFile,
    target: Target,
    mut inspector: Inspector,
    mut admit: impl FnMut(usize, u64) -> Result<(), Error>,
) -> Result<Inspector, Error> {
    let mut chunks = store.read(remote, inspector.size());
    while let Some(chunk) = chunks.try_next().await? {
        admit(chunk.len(), inspector.size().saturating_add(chunk.len() as u64))?;
        let Target { file, place } = target.clone();
        let pushed;
        (inspector, pushed) = blocking(move || {
            file.write_all_at(&chunk, inspector.size()).map_err(|error| Error::writing(place, error))?;
            let pushed = inspector.push(&chunk);
            Ok((inspector, pushed))
        })
        .await?;
        pushed.map_err(|source| Error::Onnx { what: store.describe(&remote.path), source })?;
    }
    let Target { file, place } = target;
    blocking(move || file.sync_all().map_err(|error| Error::writing(place, error))).await?;
    Ok(inspector)
}
