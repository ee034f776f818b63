//! Local files and mounted volumes.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write as _};
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use rustix::fs::OFlags;

use super::{Put, Source, blocking};
use crate::path::{RESERVED_PREFIX, printable};
use crate::progress::Transfer;
use crate::{Error, RemoteFile, Transfers};

/// A file or folder. Symbolic links of a source are followed, as in model caches that keep files by digest; what
/// arrives in a revision's folder is never a link.
#[derive(Clone, Debug)]
pub(super) struct Local {
    root: PathBuf,
    /// The folder that no link may lead out of.
    mount: Option<PathBuf>,
}

impl Local {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, mount: None }
    }

    /// A path in a volume. Whoever writes into the volume may be somebody else than whoever runs this process, so its
    /// links reach the volume's own files only.
    pub(super) fn in_volume(mount: &Path, path: &str) -> Self {
        Self { root: mount.join(path), mount: Some(mount.to_owned()) }
    }

    fn path(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }

    /// What checks places before they are looked at.
    fn fence(&self) -> Fence {
        Fence(self.mount.clone())
    }

    pub(super) async fn head(&self, path: &str) -> Result<RemoteFile, Error> {
        let (place, path, fence) = (self.path(path), path.to_owned(), self.fence());
        blocking(move || {
            fence.check(&place)?;
            let metadata = fs::metadata(&place).map_err(|error| Error::reading(&place, error))?;
            if metadata.is_dir() {
                return Err(Error::SourceNotFound {
                    what: format!("a file {} (there is a folder of that name)", place.display()),
                });
            }
            regular(&place, &metadata)?;
            Ok(remote(path, &metadata))
        })
        .await
    }

    pub(super) async fn list(&self, limit: usize, what: &str) -> Result<Vec<RemoteFile>, Error> {
        let (root, what, fence) = (self.root.clone(), what.to_owned(), self.fence());
        blocking(move || {
            fence.check(&root)?;
            let mut files = Vec::new();
            let mut folders = vec![String::new()];
            let mut seen = 0;
            while let Some(folder) = folders.pop() {
                let place = root.join(&folder);
                for entry in fs::read_dir(&place).map_err(|error| Error::reading(&place, error))? {
                    let entry = entry.map_err(|error| Error::reading(&place, error))?;
                    seen += 1;
                    if seen > limit {
                        return Err(super::too_many(&what, limit));
                    }
                    let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
                    let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                    let kind = entry.file_type().map_err(|error| Error::reading(entry.path(), error))?;
                    if kind.is_dir() {
                        folders.push(path);
                    } else if fence.check(&entry.path()).is_ok()
                        && let Some(metadata) = fs::metadata(entry.path()).ok().filter(fs::Metadata::is_file)
                    {
                        files.push(remote(path, &metadata));
                    }
                }
            }
            Ok(files)
        })
        .await
    }

    pub(super) async fn range(&self, file: &RemoteFile, range: Range<u64>) -> Result<Bytes, Error> {
        let (place, expected, fence) = (self.path(&file.path), file.clone(), self.fence());
        blocking(move || {
            fence.check(&place)?;
            let reading = |error| Error::reading(&place, error);
            // Without waiting: to open a named pipe would block until somebody writes.
            let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
            let file =
                OpenOptions::new().read(true).custom_flags(nonblocking).open(&place).map_err(reading)?;
            let same = |file: &File| {
                let metadata = file.metadata().map_err(|error| Error::reading(&place, error))?;
                regular(&place, &metadata)?;
                let what = place.display().to_string();
                super::unchanged(&expected, Some(&etag(&metadata)), Some(metadata.len()), &what)
            };
            same(&file)?;
            let bytes = read_exact(&file, range).map_err(reading)?;
            same(&file)?;
            Ok(bytes)
        })
        .await
    }

    pub(super) async fn put(&self, path: &str, bytes: Bytes, create: bool) -> Result<Put, Error> {
        let target = self.path(path);
        blocking(move || {
            let mut unfinished = Unfinished::beside(&target)?;
            unfinished.write(&bytes)?;
            unfinished.finish(&target, create)
        })
        .await
    }

    pub(super) async fn upload(
        &self,
        path: &str,
        source: Source,
        size: u64,
        progress: &Transfer<'_>,
        transfers: Transfers,
    ) -> Result<(), Error> {
        let target = self.path(path);
        let mut unfinished = {
            let target = target.clone();
            blocking(move || Unfinished::beside(&target)).await?
        };
        for range in super::chunks(0..size, u64::from(transfers.chunk_bytes.max(1))) {
            let bytes = source.read(range).await?;
            progress.advance(bytes.len());
            unfinished = blocking(move || {
                unfinished.write(&bytes)?;
                Ok(unfinished)
            })
            .await?;
        }
        blocking(move || unfinished.finish(&target, false)).await.map(|_| ())
    }
}

impl Local {
    /// Deletes a file, and the folders above it that it leaves empty, as a bucket has none either.
    pub(super) async fn delete(&self, path: &str) -> Result<(), Error> {
        let (root, place, fence) = (self.root.clone(), self.path(path), self.fence());
        blocking(move || {
            let Some(folder) = place.parent().filter(|folder| folder.exists()) else { return Ok(()) };
            fence.check(folder)?;
            match fs::remove_file(&place) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(Error::writing(&place, error)),
            }
            let above = place.ancestors().skip(1).take_while(|folder| folder.starts_with(&root));
            for folder in above {
                // One that is not empty stays, and so do those above it.
                if fs::remove_dir(folder).is_err() {
                    break;
                }
            }
            Ok(())
        })
        .await
    }
}

/// The folder that must hold whatever a path leads to.
struct Fence(Option<PathBuf>);

impl Fence {
    fn check(&self, place: &Path) -> Result<(), Error> {
        let Some(mount) = &self.0 else { return Ok(()) };
        let real = |path: &Path| fs::canonicalize(path).map_err(|error| Error::reading(path, error));
        if real(place)?.starts_with(real(mount)?) {
            return Ok(());
        }
        Err(Error::UnsafePath {
            path: printable(&place.display().to_string()),
            problem: "it is a symbolic link that leads out of the volume",
        })
    }
}

/// A file that gets its name when it is complete, and disappears if it never is.
struct Unfinished {
    file: File,
    path: PathBuf,
}

impl Unfinished {
    fn beside(target: &Path) -> Result<Self, Error> {
        let folder = target.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder).map_err(|error| Error::writing(folder, error))?;
        // Not by the process's id: in containers that share a volume, every process has the id 1. Each `RandomState`
        // has a key of its own, which the system's randomness begins.
        let [high, low] = [0, 1].map(|word: u8| RandomState::new().hash_one(word));
        let path = folder.join(format!("{RESERVED_PREFIX}{high:016x}{low:016x}.partial"));
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        Ok(Self { file: file.map_err(|error| Error::writing(&path, error))?, path })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(|error| Error::writing(&self.path, error))
    }

    fn finish(self, target: &Path, create: bool) -> Result<Put, Error> {
        let writing = |error| Error::writing(target, error);
        self.file.sync_all().map_err(writing)?;
        if create {
            // A hard link appears at once and never replaces; a file system without them gets a look and a rename.
            match fs::hard_link(&self.path, target) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(Put::Exists),
                Err(_) if fs::symlink_metadata(target).is_ok() => return Ok(Put::Exists),
                Err(_) => fs::rename(&self.path, target).map_err(writing)?,
            }
        } else {
            fs::rename(&self.path, target).map_err(writing)?;
        }
        let folder = target.parent().unwrap_or(Path::new("/"));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(writing)?;
        Ok(Put::Written)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Gone already if it was renamed.
        let _ = fs::remove_file(&self.path);
    }
}

/// Reads a range completely.
pub(super) fn read_exact(file: &File, range: Range<u64>) -> io::Result<Bytes> {
    let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
    let mut bytes = BytesMut::zeroed(length);
    file.read_exact_at(&mut bytes, range.start)?;
    Ok(bytes.freeze())
}

fn regular(path: &Path, metadata: &fs::Metadata) -> Result<(), Error> {
    if metadata.is_file() {
        return Ok(());
    }
    Err(Error::NotAFile { path: path.to_owned(), found: crate::folder::kind_name(metadata.mode()) })
}

fn remote(path: String, metadata: &fs::Metadata) -> RemoteFile {
    RemoteFile { path, size: Some(metadata.len()), etag: Some(etag(metadata)), version: None, ranges: true }
}

/// What changes when a file is written or replaced.
fn etag(metadata: &fs::Metadata) -> String {
    format!("{:x}-{:x}-{:x}-{:x}", metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn unfinished_files_of_other_containers_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        // Another container on the same volume has the same process id.
        let others: Vec<PathBuf> = (0..100)
            .map(|number| {
                folder.path().join(format!("{RESERVED_PREFIX}{}-{number}.partial", std::process::id()))
            })
            .collect();
        for other in &others {
            fs::write(other, "others").unwrap();
        }
        let store = Local::new(folder.path().to_owned());
        for path in ["a", "b"] {
            assert_eq!(store.put(path, Bytes::from_static(b"ours"), true).await.unwrap(), Put::Written);
        }
        assert!(others.iter().all(|other| fs::read(other).unwrap() == b"others"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), others.len() + 2);
        let names = [0; 8].map(|_| Unfinished::beside(&folder.path().join("c")).unwrap());
        let distinct: std::collections::BTreeSet<&Path> =
            names.iter().map(|unfinished| unfinished.path.as_path()).collect();
        assert_eq!(distinct.len(), names.len());
    }
}
