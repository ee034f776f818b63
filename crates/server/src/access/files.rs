//! Files that somebody else changes, as the kubelet does with those of a Secret.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use sha2::{Digest as _, Sha256};

use super::AccessError;

/// The most that is read of one file: no Secret is larger.
const MAX_BYTES: u64 = 1 << 20;
/// Where the kubelet keeps the files of a volume: a link to a folder, which it changes in one step.
const KUBELET_DATA: &str = "..data";

/// Files by name; one file has the name "".
pub(super) type Contents = BTreeMap<String, Vec<u8>>;
/// Says what is there, or, for a path where there is nothing, what should be.
type Parse<T> = fn(&Path, Option<&Contents>) -> Result<T, AccessError>;

/// What the files at a path mean, and what they meant before they were broken.
#[derive(Debug)]
pub(super) struct Files<T> {
    path: PathBuf,
    parse: Parse<T>,
    current: RwLock<Arc<T>>,
    seen: Mutex<Seen>,
}

/// What was found the last time, so that it is parsed and complained about once.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Contents(Option<[u8; 32]>),
    Unreadable(String),
}

impl<T> Files<T> {
    /// Reads a file, or all files of a folder.
    pub(super) fn open(path: PathBuf, parse: Parse<T>) -> Result<Self, AccessError> {
        let contents = read(&path)?;
        let current = parse(&path, contents.as_ref())?;
        Ok(Self {
            parse,
            current: RwLock::new(Arc::new(current)),
            seen: Mutex::new(Seen::Contents(contents.as_ref().map(digest))),
            path,
        })
    }

    pub(super) fn current(&self) -> Arc<T> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads again. What is broken or gone is logged, and what was there before stays.
    pub(super) fn reload(&self) {
        let read = read(&self.path);
        let now = match &read {
            Ok(contents) => Seen::Contents(contents.as_ref().map(digest)),
            Err(error) => Seen::Unreadable(error.to_string()),
        };
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == now {
                return;
            }
            *seen = now;
        }
        match read.and_then(|contents| (self.parse)(&self.path, contents.as_ref())) {
            Ok(parsed) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(parsed);
                tracing::info!(path = %self.path.display(), "read again");
            }
            Err(error) => tracing::error!("{error}; what was there before stays in use"),
        }
    }
}

/// The file, or the files of the folder, which may be none; `None` where there is nothing.
fn read(path: &Path) -> Result<Option<Contents>, AccessError> {
    loop {
        // So that all files are of one state of the Secret.
        let folder = state(path);
        let contents = read_state(path, &folder);
        // The kubelet removes a state that it has replaced, which so may have been read in part or as if it were empty.
        if state(path) == folder {
            return contents;
        }
    }
}

/// Where the files of a path are now.
fn state(path: &Path) -> PathBuf {
    path.join(KUBELET_DATA).canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn read_state(path: &Path, folder: &Path) -> Result<Option<Contents>, AccessError> {
    let failed = |at: &Path| {
        let path = at.to_owned();
        move |source| AccessError::Unreadable { path, source }
    };
    match std::fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => {
            return Ok(Some(Contents::from([(String::new(), read_file(path).map_err(failed(path))?)])));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path)(error)),
    }
    let mut contents = Contents::new();
    for entry in std::fs::read_dir(folder).map_err(failed(path))? {
        let entry = entry.map_err(failed(path))?;
        let (name, at) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        // Through links, which is what the kubelet makes.
        if !name.starts_with("..") && at.is_file() {
            contents.insert(name, read_file(&at).map_err(failed(&at))?);
        }
    }
    Ok(Some(contents))
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
    }
    Ok(bytes)
}

/// Of all names and bytes; what they are need not be kept, since some are private.
fn digest(contents: &Contents) -> [u8; 32] {
    let mut hash = Sha256::new();
    for (name, bytes) in contents {
        for part in [name.as_bytes(), bytes] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(path: &Path, contents: Option<&Contents>) -> Result<Vec<(String, usize)>, AccessError> {
        let missing = || AccessError::KeysMissing { path: path.to_owned() };
        let contents = contents.ok_or_else(missing)?;
        if contents.values().any(|bytes| bytes == b"broken") {
            return Err(missing());
        }
        Ok(contents.iter().map(|(name, bytes)| (name.clone(), bytes.len())).collect())
    }

    /// A state of a Secret as the kubelet writes it.
    fn publish(folder: &Path, state: &str, files: &[(&str, &str)]) {
        let data = folder.join(format!("..{state}"));
        std::fs::create_dir(&data).unwrap();
        for (name, text) in files {
            std::fs::write(data.join(name), text).unwrap();
            let link = folder.join(name);
            if !link.is_symlink() {
                std::os::unix::fs::symlink(format!("..data/{name}"), link).unwrap();
            }
        }
        std::os::unix::fs::symlink(format!("..{state}"), folder.join("..next")).unwrap();
        std::fs::rename(folder.join("..next"), folder.join("..data")).unwrap();
    }

    #[test]
    fn a_new_state_of_a_secret_is_read_and_a_broken_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        publish(folder.path(), "1", &[("a", "1"), ("b", "22")]);
        let files = Files::open(folder.path().to_owned(), sizes).unwrap();
        assert_eq!(*files.current(), [("a".to_owned(), 1), ("b".to_owned(), 2)]);
        publish(folder.path(), "2", &[("a", "333")]);
        files.reload();
        assert_eq!(*files.current(), [("a".to_owned(), 3)]);
        publish(folder.path(), "3", &[("a", "broken")]);
        files.reload();
        assert_eq!(*files.current(), [("a".to_owned(), 3)]);
        publish(folder.path(), "4", &[("a", "1")]);
        files.reload();
        assert_eq!(*files.current(), [("a".to_owned(), 1)]);
    }

    #[test]
    fn a_folder_without_files_is_read_and_one_that_is_gone_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        std::fs::create_dir(&path).unwrap();
        publish(&path, "1", &[("a", "1")]);
        let files = Files::open(path.clone(), sizes).unwrap();
        publish(&path, "2", &[]);
        files.reload();
        assert_eq!(*files.current(), []);
        publish(&path, "3", &[("a", "1")]);
        files.reload();
        std::fs::remove_dir_all(&path).unwrap();
        files.reload();
        assert_eq!(*files.current(), [("a".to_owned(), 1)]);
    }

    #[test]
    fn one_file_and_a_path_without_anything_are_read_as_well() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.env");
        assert_eq!(read(&path).unwrap(), None);
        std::fs::write(&path, "a").unwrap();
        assert_eq!(read(&path).unwrap(), Some(Contents::from([(String::new(), b"a".to_vec())])));
        std::fs::write(&path, vec![b'a'; (1 << 20) + 1]).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("larger than 1 MiB"));
    }
}
