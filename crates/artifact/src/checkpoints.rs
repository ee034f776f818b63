//! What a training that was interrupted goes on from: the files of a folder, in `runs/<run>/checkpoints/` of a store.
//!
//! ```text
//! files/<sha256>     what files hold, once each, however many checkpoints hold it
//! <number>.json      the manifest of a checkpoint: which files it has, by path
//! ```
//!
//! The manifest comes last, so a checkpoint without one is none; older ones are deleted when a newer is complete. The
//! newest whose files are all there and hash to their names is restored, and one that is torn is passed over. One process
//! at a time pushes the checkpoints of a run; where two do, each may tear what the other pushes, and no restore takes a mixture.

mod manifest;
mod place;
mod restore;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use self::manifest::{Document, Entry};
use self::place::{Place, file_path, manifest_path};
use crate::folder::Folder;
use crate::progress::Transfer;
use crate::store::{Put, Source, Store, blocking};
use crate::verify::open_file;
use crate::{Connection, Digest, Error, Hasher, Limits, NoProgress, RelativePath, SourceUri};

pub use self::restore::{Restored, restore};

/// How often a number is taken anew that somebody else took at the same moment.
const ATTEMPTS: u32 = 5;

/// What [`push`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// The number of the newest checkpoint that is complete; 0 if there is none, since the folder is empty.
    pub number: u64,
    /// How many files the folder holds.
    pub files: usize,
    /// The bytes of all of them.
    pub bytes: u64,
    /// The bytes that had to be uploaded: 0 if the newest checkpoint is the folder as it is.
    pub bytes_written: u64,
}

/// Brings the files of `folder` out as the newest checkpoint of `run` below `prefix`, and deletes the older ones.
///
/// Files that the store has already are not uploaded again. Links, devices and the like are left out, as are names that
/// begin with `.modelwright-`. A file that is written meanwhile is [`Error::SourceChanged`]: nothing new is visible then.
/// An empty folder leaves the store as it is. `inputs` is the key of what the training is made from, where that is known.
pub async fn push(
    prefix: &SourceUri,
    connection: &Connection,
    run: &str,
    folder: &Path,
    inputs: Option<Digest>,
) -> Result<Pushed, Error> {
    let (store, limits) = (open(prefix, connection, run)?, connection.limits);
    let path = folder.to_owned();
    let local = blocking(move || read_folder(&path, &limits)).await?;
    let place = Place::list(&store, &limits).await?;
    let mut pushed = Pushed {
        number: place.newest(),
        files: local.entries.len(),
        bytes: local.entries.iter().map(|entry| entry.size).sum(),
        bytes_written: 0,
    };
    let document = Document::new(local.entries, inputs);
    if document.files.is_empty() || newest_is(&store, &place, &document).await? {
        return Ok(pushed);
    }
    let folder = Arc::new(local.folder);
    let mut sent = BTreeSet::new();
    for (entry, state) in document.files.iter().zip(local.states) {
        if !place.holds(&entry.sha256, entry.size) && sent.insert(entry.sha256) {
            send(&store, &folder, entry, state).await?;
            pushed.bytes_written += entry.size;
        }
    }
    pushed.number = write_manifest(&store, place.newest() + 1, &document).await?;
    place.delete_older(&store, pushed.number, &document.digests()).await?;
    Ok(pushed)
}

/// Deletes every checkpoint of `run` below `prefix`.
pub async fn discard(prefix: &SourceUri, connection: &Connection, run: &str) -> Result<(), Error> {
    let store = open(prefix, connection, run)?;
    Place::list(&store, &connection.limits).await?.delete_older(&store, u64::MAX, &BTreeSet::new()).await
}

/// `runs/<run>/checkpoints` below `prefix`.
fn open(prefix: &SourceUri, connection: &Connection, run: &str) -> Result<Store, Error> {
    if run.contains('/') {
        return Err(Error::UnsafePath { path: run.to_owned(), problem: "the id of a run is one component" });
    }
    Store::open(&prefix.below(&format!("runs/{}/checkpoints", RelativePath::new(run)?))?, connection)
}

/// Whether the newest checkpoint holds the same.
async fn newest_is(store: &Store, place: &Place, document: &Document) -> Result<bool, Error> {
    let Some((_, file)) = place.manifests.last() else { return Ok(false) };
    let whole = document.files.iter().all(|entry| place.holds(&entry.sha256, entry.size));
    Ok(whole && Document::read(store, &file.path).await?.is_ok_and(|there| there == *document))
}

async fn write_manifest(store: &Store, first: u64, document: &Document) -> Result<u64, Error> {
    let bytes = Bytes::from(document.to_bytes()?);
    for number in (first..).take(ATTEMPTS as usize) {
        if store.put(&manifest_path(number), bytes.clone(), true).await? == Put::Written {
            return Ok(number);
        }
    }
    let problem = "others push checkpoints of this run all the time".into();
    Err(Error::SourceChanged { what: store.describe(""), problem })
}

/// Uploads a file that must still be as it was when it was hashed.
async fn send(store: &Store, folder: &Arc<Folder>, entry: &Entry, state: State) -> Result<(), Error> {
    let (folder, path) = (folder.clone(), entry.path.clone());
    let place = folder.path().join(path.as_str());
    let file = blocking(move || open_file(&folder, &path)).await?;
    state.check(&file, &place)?;
    let source = Source::new(file.try_clone().map_err(|error| Error::reading(&place, error))?, place.clone());
    let key = file_path(&entry.sha256);
    let transfer = Transfer::begin(&NoProgress, Some(entry.size), entry.path.as_str());
    store.upload(&key, source, entry.size, &transfer).await?;
    if let Err(error) = state.check(&file, &place) {
        // Under the digest of other bytes it would be taken for them.
        store.delete(&key).await?;
        return Err(error);
    }
    Ok(())
}

/// The files of a folder, in order of paths.
struct LocalFiles {
    folder: Folder,
    entries: Vec<Entry>,
    /// How each was when it was hashed.
    states: Vec<State>,
}

/// What changes when a file is written or replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
struct State {
    file: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl State {
    fn of(file: &File, place: &Path) -> Result<Self, Error> {
        let metadata = file.metadata().map_err(|error| Error::reading(place, error))?;
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Ok(Self { file: metadata.ino(), bytes: metadata.len(), modified })
    }

    fn check(self, file: &File, place: &Path) -> Result<(), Error> {
        if Self::of(file, place)? == self {
            return Ok(());
        }
        let problem = "it was written while it was read".into();
        Err(Error::SourceChanged { what: place.display().to_string(), problem })
    }
}

fn read_folder(path: &Path, limits: &Limits) -> Result<LocalFiles, Error> {
    let folder = Folder::open(path)?;
    let mut paths = Vec::new();
    collect(&folder, "", limits.objects, &mut paths)?;
    paths.sort();
    let (mut entries, mut states, mut total) = (Vec::new(), Vec::new(), 0_u64);
    for path in paths {
        let (entry, state) = hash(&folder, path)?;
        total = total.saturating_add(entry.size);
        if total > limits.total_bytes {
            let problem = format!("its files have more than {} bytes", limits.total_bytes);
            return Err(Error::TooLarge { what: folder.path().display().to_string(), problem });
        }
        entries.push(entry);
        states.push(state);
    }
    Ok(LocalFiles { folder, entries, states })
}

fn collect(folder: &Folder, above: &str, limit: usize, paths: &mut Vec<RelativePath>) -> Result<(), Error> {
    for (name, is_folder) in folder.plain_entries()? {
        let path = if above.is_empty() { name.clone() } else { format!("{above}/{name}") };
        if is_folder {
            collect(&folder.enter(&name, false)?, &path, limit, paths)?;
        } else if paths.len() < limit {
            paths.push(RelativePath::new(&path)?);
        } else {
            let problem = format!("it holds more than {limit} files");
            return Err(Error::TooLarge { what: folder.path().display().to_string(), problem });
        }
    }
    Ok(())
}

fn hash(folder: &Folder, path: RelativePath) -> Result<(Entry, State), Error> {
    let place = folder.path().join(path.as_str());
    let mut file = open_file(folder, &path)?;
    let state = State::of(&file, &place)?;
    let (mut hasher, mut size) = (Hasher::new(), 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(|error| Error::reading(&place, error))? {
            0 => break,
            count => {
                hasher.update(&buffer[..count]);
                size += count as u64;
            }
        }
    }
    state.check(&file, &place)?;
    Ok((Entry { path, sha256: hasher.finish(), size }, state))
}

#[cfg(test)]
mod tests;
