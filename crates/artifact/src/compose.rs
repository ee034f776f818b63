//! From the files that a training wrote to a revision: the manifest.

use std::collections::BTreeMap;
use std::path::Path;

use crate::folder::Folder;
use crate::verify::{entry_of, open_file};
use crate::{Digest, Error, FileEntry, Inputs, MANIFEST_FILE, MAX_FILES, Manifest, RelativePath};

/// Makes the folder a revision: all files below it, subfolders included, and the `manifest.json` that this writes.
///
/// The manifest also says what the revision was trained from, with the version of the trainer's arithmetic and the seed
/// (at most 2^53 - 1) where there are such. Every file is brought to the disk before the manifest, which appears whole or not at all and replaces an older one:
/// a folder without a manifest is not complete. Symbolic links and the like are refused, and so is a folder without
/// files. Blocks: a caller on an asynchronous runtime runs it where blocking is allowed.
pub fn compose(
    folder: &Path,
    inputs: Inputs,
    numerics_version: Option<&str>,
    seed: Option<u64>,
) -> Result<(Manifest, Digest), Error> {
    let folder = Folder::open(folder)?;
    folder.lock()?;
    // It described other files.
    folder.check_target(MANIFEST_FILE)?;
    folder.remove(MANIFEST_FILE)?;
    let mut files = BTreeMap::new();
    for path in paths(&folder)? {
        let entry = written(&folder, &path)?;
        files.insert(path, entry);
    }
    let manifest = Manifest::new(files)?.with_training(inputs, numerics_version.map(str::to_owned), seed)?;
    folder.write_manifest(&manifest)?;
    let digest = manifest.digest()?;
    Ok((manifest, digest))
}

/// The paths of all files below `folder`; one more than a revision may have is enough.
fn paths(folder: &Folder) -> Result<Vec<RelativePath>, Error> {
    let mut found = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(above) = folders.pop() {
        // The path of any file in it leads there.
        let place = folder.parent_of(&RelativePath::new(&format!("{above}{MANIFEST_FILE}"))?, false)?;
        for (name, is_folder) in place.entries()? {
            let path = RelativePath::new(&format!("{above}{name}"))?;
            if is_folder {
                folders.push(format!("{path}/"));
            } else if found.len() <= MAX_FILES {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// Brings a file to the disk, and says what it holds.
fn written(folder: &Folder, path: &RelativePath) -> Result<FileEntry, Error> {
    let place = || folder.path().join(path.as_str());
    let mut file = open_file(folder, path)?;
    file.sync_all().map_err(|error| Error::writing(place(), error))?;
    entry_of(&mut file).map_err(|error| Error::reading(place(), error))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{MODEL_FILE, verify};

    fn inputs() -> Inputs {
        Inputs { data: Digest::of(b"data"), spec: Digest::of(b"spec") }
    }

    fn composed(folder: &tempfile::TempDir) -> Result<(Manifest, Digest), Error> {
        compose(folder.path(), inputs(), Some("1"), Some(7))
    }

    fn produced() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        for (path, content) in [(MODEL_FILE, "model"), ("metrics.json", "{}"), ("a/b/weights", "w")] {
            fs::write(folder.path().join(path), content).unwrap();
        }
        folder
    }

    #[test]
    fn produced_files_become_a_revision_that_says_what_it_was_trained_from() {
        let folder = produced();
        // Left by a run that was ended while it wrote the manifest.
        fs::write(folder.path().join(".modelwright-manifest.partial"), "{").unwrap();
        let (manifest, digest) = composed(&folder).unwrap();
        assert_eq!(verify(folder.path(), &digest).unwrap().manifest, manifest);
        let paths: Vec<&str> = manifest.files().keys().map(RelativePath::as_str).collect();
        assert_eq!(paths, ["a/b/weights", "metrics.json", MODEL_FILE]);
        let found = (manifest.inputs(), manifest.numerics_version(), manifest.seed());
        assert_eq!(found, (Some(inputs()), Some("1"), Some(7)));
        assert!(!folder.path().join(".modelwright-manifest.partial").exists());
    }

    #[test]
    fn changed_file_makes_another_revision_and_the_same_files_the_same() {
        let folder = produced();
        let first = composed(&folder).unwrap();
        assert_eq!(composed(&folder).unwrap(), first);
        fs::write(folder.path().join(MODEL_FILE), "m0del").unwrap();
        assert_ne!(composed(&folder).unwrap().1, first.1);
    }

    #[test]
    fn folder_that_cannot_be_a_revision_keeps_no_manifest() {
        let folder = produced();
        composed(&folder).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", folder.path().join("a/link")).unwrap();
        let error = composed(&folder).unwrap_err();
        assert_eq!(error.reason(), "UnsafeTarget", "{error}");
        assert!(!folder.path().join(MANIFEST_FILE).exists());

        let empty = tempfile::tempdir().unwrap();
        assert_eq!(composed(&empty).unwrap_err().reason(), "InvalidManifest");
    }
}
