//! The newest checkpoint that is whole, from a store into a folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::manifest::{Document, Entry, is_torn};
use super::open;
use super::place::{Place, file_path};
use crate::folder::Folder;
use crate::inspect::Inspector;
use crate::path::RESERVED_PREFIX;
use crate::store::{Store, blocking};
use crate::stream::{Target, stream};
use crate::{Connection, Digest, Error, SourceUri};

/// A checkpoint that was restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Its number.
    pub number: u64,
    /// How many files it has.
    pub files: usize,
    /// The bytes of all of them.
    pub bytes: u64,
}

/// Brings the newest whole checkpoint of `run` below `prefix` into `into`, which is made if it is missing; `None` if there
/// is none. Files appear under their names when all of them are there and have the right sha256. Checkpoints that say that they
/// are of other `inputs` are passed over: what was learnt of other data must not count as learnt of these.
///
/// A store that cannot be reached is an error: it says nothing of what it holds.
pub async fn restore(
    prefix: &SourceUri,
    connection: &Connection,
    run: &str,
    into: &Path,
    inputs: Option<Digest>,
) -> Result<Option<Restored>, Error> {
    let store = open(prefix, connection, run)?;
    let place = Place::list(&store, &connection.limits).await?;
    for (number, file) in place.manifests.iter().rev() {
        let what = store.describe(&file.path);
        let problem = match Document::read(&store, &file.path).await? {
            Ok(document) if document.is_of_others(inputs) => {
                "it is of a training from other inputs".to_owned()
            }
            Ok(document) => match bring(&store, &place, &document, into).await {
                Ok(()) => {
                    let bytes = document.files.iter().map(|entry| entry.size).sum();
                    return Ok(Some(Restored { number: *number, files: document.files.len(), bytes }));
                }
                Err(error) if is_torn(&error) => error.to_string(),
                Err(error) => return Err(error),
            },
            Err(problem) => problem,
        };
        tracing::warn!("the checkpoint {what} is passed over: {problem}");
    }
    Ok(None)
}

async fn bring(store: &Store, place: &Place, document: &Document, into: &Path) -> Result<(), Error> {
    let path = into.to_owned();
    let folder = Arc::new(blocking(move || Folder::make(&path)).await?);
    let mut staged = Staged(Vec::new());
    for (index, entry) in document.files.iter().enumerate() {
        // Before anything is moved: one that is cut is seen by its size.
        if !place.holds(&entry.sha256, entry.size) {
            return Err(Error::SourceNotFound { what: store.describe(&file_path(&entry.sha256)) });
        }
        let name = format!("{RESERVED_PREFIX}restore-{index:06}.partial");
        staged.0.push(into.join(&name));
        download(store, entry, folder.clone(), name).await?;
    }
    let (targets, into) = (document.files.clone(), into.to_owned());
    blocking(move || {
        for (from, entry) in staged.0.iter().zip(&targets) {
            let to = into.join(entry.path.as_str());
            let writing = |error| Error::writing(&to, error);
            std::fs::create_dir_all(to.parent().unwrap_or(&into)).map_err(writing)?;
            std::fs::rename(from, &to).map_err(writing)?;
        }
        Ok(())
    })
    .await
}

async fn download(store: &Store, entry: &Entry, folder: Arc<Folder>, name: String) -> Result<(), Error> {
    let remote = store.head(&file_path(&entry.sha256)).await?;
    let what = store.describe(&remote.path);
    let place = folder.path().join(&name);
    let target = Target { file: Arc::new(blocking(move || folder.replace(&name)).await?), place };
    let expected = entry.size;
    let admit = |_, size| {
        if size <= expected {
            return Ok(());
        }
        let problem = format!("it goes on after the {expected} bytes of the checkpoint's file");
        Err(Error::TooLarge { what: store.describe(&remote.path), problem })
    };
    let inspector = stream(store, &remote, target, Inspector::plain(), admit).await?;
    let (found, size) = inspector.seen();
    if (found, size) == (entry.sha256, entry.size) {
        Ok(())
    } else {
        Err(Error::DigestMismatch { what, expected: entry.sha256, found })
    }
}

/// Files that have not got their names; what is left of them goes.
struct Staged(Vec<PathBuf>);

impl Drop for Staged {
    fn drop(&mut self) {
        for path in &self.0 {
            // Those that have their names are not here any more.
            let _ = std::fs::remove_file(path);
        }
    }
}
