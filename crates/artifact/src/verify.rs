//! Whether a local folder holds exactly the revision that a digest names.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use crate::folder::Folder;
use crate::{Digest, Error, FileEntry, Hasher, MANIFEST_FILE, MAX_MANIFEST_BYTES, Manifest, RelativePath};

/// Bytes of a local file that are read at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// A verified folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The revision's files.
    pub manifest: Manifest,
    /// The revision's digest.
    pub digest: Digest,
}

/// Reads every file of the revision in `folder` and compares it with the manifest, and the manifest with `digest`
/// (the revision's, or the model's own where it is the only file).
///
/// Symbolic links and anything else that is no regular file are refused; files that the manifest does not name are
/// not looked at. Blocks: a caller on an asynchronous runtime runs it where blocking is allowed.
pub fn verify(folder: &Path, digest: &Digest) -> Result<Verified, Error> {
    let folder = Folder::open(folder)?;
    let manifest = named_manifest(&folder, digest)?;
    for (path, entry) in manifest.files() {
        verify_file(&folder, path, entry)?;
    }
    Ok(Verified { digest: manifest.digest()?, manifest })
}

/// The manifest in `folder` if `digest` names it, as for [`verify`]. What the files hold is not looked at.
pub fn read_manifest(folder: &Path, digest: &Digest) -> Result<Manifest, Error> {
    named_manifest(&Folder::open(folder)?, digest)
}

fn named_manifest(folder: &Folder, digest: &Digest) -> Result<Manifest, Error> {
    let manifest = manifest_in(folder)?;
    if manifest.matches(digest)? {
        return Ok(manifest);
    }
    let what = folder.path().join(MANIFEST_FILE).display().to_string();
    Err(Error::DigestMismatch { what, expected: *digest, found: manifest.digest()? })
}

/// The manifest of a revision's folder.
pub(crate) fn manifest_in(folder: &Folder) -> Result<Manifest, Error> {
    let path = RelativePath::new(MANIFEST_FILE)?;
    let file = folder.read(MANIFEST_FILE)?;
    let file = file.ok_or_else(|| Error::FileMissing { folder: folder.path().to_owned(), path })?;
    let mut bytes = Vec::new();
    // One byte more than allowed, so that the manifest itself says what is too long.
    let mut bounded = file.take(MAX_MANIFEST_BYTES as u64 + 1);
    bounded
        .read_to_end(&mut bytes)
        .map_err(|error| Error::reading(folder.path().join(MANIFEST_FILE), error))?;
    Manifest::parse(&bytes)
}

/// Opens a file of the revision.
pub(crate) fn open_file(folder: &Folder, path: &RelativePath) -> Result<File, Error> {
    let missing = || Error::FileMissing { folder: folder.path().to_owned(), path: path.clone() };
    let parent = folder.parent_of(path, false).map_err(|error| match error {
        Error::SourceNotFound { .. } => missing(),
        other => other,
    })?;
    parent.read(path.split().1)?.ok_or_else(missing)
}

/// Compares one file with what the manifest says of it.
pub(crate) fn verify_file(folder: &Folder, path: &RelativePath, entry: &FileEntry) -> Result<(), Error> {
    let place = || folder.path().join(path.as_str());
    let mut file = open_file(folder, path)?;
    let found = entry_of(&mut file).map_err(|error| Error::reading(place(), error))?.sha256;
    if found == entry.sha256 {
        return Ok(());
    }
    Err(Error::DigestMismatch { what: place().display().to_string(), expected: entry.sha256, found })
}

/// What a file holds from here to its end.
pub(crate) fn entry_of(file: &mut File) -> io::Result<FileEntry> {
    let (mut hasher, mut size) = (Hasher::new(), 0);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(FileEntry { sha256: hasher.finish(), size }),
            count => {
                hasher.update(&buffer[..count]);
                size += count as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use rustix::fs::{CWD, FileType, Mode};

    use super::*;
    use crate::MODEL_FILE;

    /// A folder with a revision of `model.onnx` and `data/weights.bin`.
    fn revision() -> (tempfile::TempDir, Manifest) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        let mut files = BTreeMap::new();
        for (path, bytes) in [(MODEL_FILE, b"model".as_slice()), ("data/weights.bin", b"weights")] {
            fs::write(folder.path().join(path), bytes).unwrap();
            let entry = FileEntry { sha256: Digest::of(bytes), size: bytes.len() as u64 };
            files.insert(RelativePath::new(path).unwrap(), entry);
        }
        let manifest = Manifest::new(files).unwrap();
        fs::write(folder.path().join(MANIFEST_FILE), manifest.to_bytes().unwrap()).unwrap();
        (folder, manifest)
    }

    fn refusal(folder: &Path, manifest: &Manifest) -> Error {
        verify(folder, &manifest.digest().unwrap()).unwrap_err()
    }

    #[test]
    fn whole_revision_is_verified() {
        let (folder, manifest) = revision();
        let digest = manifest.digest().unwrap();
        fs::write(folder.path().join("unrelated"), "x").unwrap();
        assert_eq!(verify(folder.path(), &digest).unwrap(), Verified { manifest, digest });
    }

    #[test]
    fn flipped_byte_is_refused_with_the_file_and_both_digests() {
        let (folder, manifest) = revision();
        fs::write(folder.path().join("data/weights.bin"), b"weightz").unwrap();
        let message = refusal(folder.path(), &manifest).to_string();
        for part in
            ["data/weights.bin", &Digest::of(b"weights").to_string(), &Digest::of(b"weightz").to_string()]
        {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn other_revision_is_refused_with_both_digests() {
        let (folder, manifest) = revision();
        let other = Digest::of(b"other");
        let message = verify(folder.path(), &other).unwrap_err().to_string();
        assert!(
            message.contains(&other.to_string()) && message.contains(&manifest.digest().unwrap().to_string())
        );
    }

    #[test]
    fn missing_file_is_named() {
        let (folder, manifest) = revision();
        fs::remove_dir_all(folder.path().join("data")).unwrap();
        assert_eq!(refusal(folder.path(), &manifest).reason(), "FileMissing");
        fs::remove_file(folder.path().join(MANIFEST_FILE)).unwrap();
        assert_eq!(refusal(folder.path(), &manifest).reason(), "FileMissing");
    }

    #[test]
    fn symbolic_link_at_a_file_or_a_folder_is_refused() {
        let (folder, manifest) = revision();
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("weights.bin"), b"weights").unwrap();
        fs::remove_dir_all(folder.path().join("data")).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join("data")).unwrap();
        assert_eq!(refusal(folder.path(), &manifest).reason(), "UnsafeTarget");

        let (folder, manifest) = revision();
        fs::rename(folder.path().join(MODEL_FILE), elsewhere.path().join(MODEL_FILE)).unwrap();
        std::os::unix::fs::symlink(elsewhere.path().join(MODEL_FILE), folder.path().join(MODEL_FILE))
            .unwrap();
        assert_eq!(refusal(folder.path(), &manifest).reason(), "UnsafeTarget");
    }

    #[test]
    fn named_pipe_is_refused_without_waiting_for_a_writer() {
        let (folder, manifest) = revision();
        let path = folder.path().join(MODEL_FILE);
        fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let error = refusal(folder.path(), &manifest);
        assert_eq!(error.reason(), "UnsafeTarget");
        assert!(error.to_string().contains("a named pipe"));
    }
}
