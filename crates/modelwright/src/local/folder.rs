//! The data folder of `run`: one process at a time, one folder per Model, and what is remembered of its source.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use modelwright_api::contract::ExitCode;
use modelwright_artifact::{Digest, Manifest};
use serde::{Deserialize, Serialize};

use super::offer::Revision;
use super::training::record::TrainingRecord;
use crate::failure::Failure;

/// How many revisions of a Model stay on disk besides the one that is served: enough to go back, without filling the
/// disk of someone who edits a local file all day.
const FORMER_REVISIONS_KEPT: usize = 2;

/// The file that says what is remembered of a Model's training.
const TRAINING_RECORD: &str = "training.json";

/// The root of everything that `run` keeps. Locked as long as it lives.
#[derive(Debug)]
pub(crate) struct DataFolder {
    root: PathBuf,
    /// Held, never read: the operating system releases the lock when the process ends, however it ends.
    lock: File,
}

impl Drop for DataFolder {
    /// Closing the file is not enough: a child process that is just being started holds a copy until it runs its own
    /// program, and with it the lock.
    fn drop(&mut self) {
        // Closing comes next anyway.
        let _ = self.lock.unlock();
    }
}

impl DataFolder {
    /// `$XDG_DATA_HOME/modelwright`, else `~/.local/share/modelwright`, as the XDG Base Directory Specification says.
    pub(crate) fn default_root() -> Result<PathBuf, Failure> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        set("XDG_DATA_HOME")
            .or_else(|| set("HOME").map(|home| home.join(".local/share")))
            .map(|base| base.join("modelwright"))
            .ok_or_else(|| {
                Failure::new(
                    ExitCode::InvalidConfiguration,
                    "NoDataFolder",
                    "neither XDG_DATA_HOME nor HOME is set, so there is no default data folder: pass --data-dir DIR",
                )
            })
    }

    /// Creates the folder if need be, checks that it is writable, and locks it.
    pub(crate) fn open(root: &Path) -> Result<Self, Failure> {
        fs::create_dir_all(root).map_err(|error| cannot_write(root, &error))?;
        let root = root.canonicalize().map_err(|error| cannot_write(root, &error))?;
        let path = root.join("lock");
        let mut lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| cannot_write(&path, &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(&root, &mut lock)),
            Err(TryLockError::Error(error)) => return Err(cannot_write(&path, &error)),
        }
        let write_process_id = |lock: &mut File| -> io::Result<()> {
            lock.set_len(0)?;
            lock.rewind()?;
            write!(lock, "{}", std::process::id())
        };
        write_process_id(&mut lock).map_err(|error| cannot_write(&path, &error))?;
        Ok(Self { root, lock })
    }

    /// The folder of one Model. Nothing is created yet.
    pub(crate) fn model(&self, namespace: &str, name: &str) -> ModelFolder {
        ModelFolder { path: self.root.join("models").join(namespace).join(name) }
    }
}

fn in_use(root: &Path, lock: &mut File) -> Failure {
    let mut holder = String::new();
    // Only for the message; a holder that is just writing its number leaves it out.
    let _ = lock.take(20).read_to_string(&mut holder);
    let by = if holder.is_empty() { String::new() } else { format!(" by process {holder}") };
    Failure::new(
        ExitCode::TryAgain,
        "DataFolderInUse",
        format!(
            "the data folder {} is in use{by}: stop that `modelwright run`, or pass another folder with --data-dir",
            root.display()
        ),
    )
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    let (reason, advice) = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ("DiskFull", "free some space"),
        _ => ("CannotWrite", "make it writable"),
    };
    Failure::new(
        ExitCode::OutputUnwritable,
        reason,
        format!(
            "cannot write {}: {error}: {advice}, or pass another data folder with --data-dir",
            path.display()
        ),
    )
}

/// What a source looked like when it was last resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SourceRecord {
    /// The source's uri, as in the manifest.
    pub(crate) uri: String,
    /// The digest that the manifest pinned then.
    pub(crate) pinned: Option<Digest>,
    /// Names, sizes, etags and times that change when the source does.
    pub(crate) fingerprint: String,
    /// The revision that it resolved to.
    pub(crate) revision: Digest,
    /// The `copyTo` prefix below which that revision has been published.
    #[serde(default)]
    pub(crate) copied_to: Option<String>,
}

/// The folder of one Model.
#[derive(Clone, Debug)]
pub(crate) struct ModelFolder {
    path: PathBuf,
}

impl ModelFolder {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What is remembered of a training; a damaged record counts as absent.
    pub(crate) fn training_record(&self) -> TrainingRecord {
        let record = fs::read(self.path.join(TRAINING_RECORD));
        record.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// Remembers a training. The former record stays until the new one is complete.
    pub(crate) fn write_training_record(&self, record: &TrainingRecord) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(record)
            .map_err(|error| Failure::bug(format!("the record of a training does not serialise: {error}")))?;
        self.write(TRAINING_RECORD, &text).map(drop)
    }

    /// Where a training keeps its data, its checkpoint and what it makes.
    pub(crate) fn training_folder(&self) -> PathBuf {
        self.path.join("training")
    }

    /// Deletes what a training that ended had left there. Best effort: it only takes space.
    pub(crate) fn discard_training(&self) {
        discard(&self.training_folder());
    }

    /// Deletes the copies of a training's data.
    pub(crate) fn discard_data(&self) {
        discard(&self.training_folder().join("data"));
    }

    /// The ids of the revisions that are kept, in order.
    pub(crate) fn revisions(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path.join("revisions")) else { return Vec::new() };
        let mut ids: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        ids.sort();
        ids
    }

    /// A revision of this folder, every byte of it verified.
    pub(crate) async fn verified(&self, digest: Digest) -> Result<Revision, Failure> {
        self.manifest(digest).await?;
        Ok(Revision { digest, folder: self.revision(&digest) })
    }

    /// The manifest of a revision of this folder, every byte of it verified.
    pub(crate) async fn manifest(&self, digest: Digest) -> Result<Manifest, Failure> {
        let folder = self.revision(&digest);
        // Hashing is work, not waiting.
        let verified =
            tokio::task::spawn_blocking(move || modelwright_artifact::verify(&folder, &digest)).await;
        let verified =
            verified.map_err(|error| Failure::bug(format!("verifying a revision failed: {error}")))??;
        Ok(verified.manifest)
    }

    pub(crate) fn revision(&self, digest: &Digest) -> PathBuf {
        self.path.join("revisions").join(digest.id())
    }

    /// What was recorded, if anything readable was: a record is a cache, and a damaged one counts as absent.
    pub(crate) fn record(&self) -> Option<SourceRecord> {
        let bytes = fs::read(self.path.join("source.json")).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Records what the source looked like. The former record stays until the new one is complete.
    pub(crate) fn write_record(&self, record: &SourceRecord) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(record)
            .map_err(|error| Failure::bug(format!("the record of a source does not serialise: {error}")))?;
        self.write("source.json", &text).map(drop)
    }

    /// Writes a request to try and returns its path.
    pub(crate) fn write_request(&self, body: &[u8]) -> Result<PathBuf, Failure> {
        self.write("request.json", body)
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<PathBuf, Failure> {
        fs::create_dir_all(&self.path).map_err(|error| cannot_write(&self.path, &error))?;
        let path = self.path.join(name);
        let temporary = self.path.join(format!(".{name}.new"));
        fs::write(&temporary, content).map_err(|error| cannot_write(&temporary, &error))?;
        fs::rename(&temporary, &path).map_err(|error| cannot_write(&path, &error))?;
        Ok(path)
    }

    /// Where a revision is put together. An interrupted download is continued only where a pinned digest says that it is of
    /// the same bytes, so each pin has a place of its own, and what has none starts afresh.
    pub(crate) fn incoming(&self, pinned: Option<&Digest>) -> PathBuf {
        let incoming = self.path.join("incoming");
        if let Some(digest) = pinned {
            return incoming.join(digest.id());
        }
        self.discard_incoming();
        incoming.join("unpinned")
    }

    /// Deletes everything that was put together in vain. Best effort: it only takes space.
    pub(crate) fn discard_incoming(&self) {
        discard(&self.path.join("incoming"));
    }

    /// Makes what was put together the revision with this digest, and returns its folder.
    pub(crate) fn accept(&self, incoming: &Path, digest: &Digest) -> Result<PathBuf, Failure> {
        let folder = self.revision(digest);
        self.delete_revision(digest)?;
        if let Some(parent) = folder.parent() {
            fs::create_dir_all(parent).map_err(|error| cannot_write(parent, &error))?;
        }
        fs::rename(incoming, &folder).map_err(|error| cannot_write(&folder, &error))?;
        self.discard_incoming();
        Ok(folder)
    }

    /// Deletes a revision that turned out to be damaged, so that it is fetched again.
    pub(crate) fn delete_revision(&self, digest: &Digest) -> Result<(), Failure> {
        let path = self.revision(digest);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(cannot_write(&path, &error)),
            _ => Ok(()),
        }
    }

    /// Deletes all but the active revision and the newest few others. Best effort: what cannot be deleted stays.
    ///
    /// What was trained is kept: a Model of this name may have learnt before, and training takes longer than fetching.
    pub(crate) fn prune(&self, active: &Digest) {
        if self.path.join(TRAINING_RECORD).exists() {
            return;
        }
        let Ok(entries) = fs::read_dir(self.path.join("revisions")) else { return };
        let mut former: Vec<_> = entries
            .flatten()
            .filter(|entry| entry.file_name().to_str() != Some(active.id().as_str()))
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        former.sort_by(|a, b| b.cmp(a));
        for (_, path) in former.into_iter().skip(FORMER_REVISIONS_KEPT) {
            if let Err(error) = fs::remove_dir_all(&path) {
                tracing::debug!(path = %path.display(), %error, "a former revision could not be deleted");
            }
        }
    }
}

/// Deletes a folder that is not needed any more. What cannot be deleted only takes space.
fn discard(path: &Path) {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::debug!(path = %path.display(), %error, "a folder could not be deleted");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(byte: u8) -> Digest {
        format!("sha256:{}", format!("{byte:02x}").repeat(32)).parse().unwrap()
    }

    #[test]
    fn second_process_on_one_folder_is_refused_with_the_first_ones_number() {
        let root = tempfile::tempdir().unwrap();
        let first = DataFolder::open(root.path()).unwrap();
        let failure = DataFolder::open(root.path()).unwrap_err();
        assert_eq!(failure.reason, "DataFolderInUse");
        assert!(failure.message.contains(&std::process::id().to_string()), "{}", failure.message);
        drop(first);
        DataFolder::open(root.path()).unwrap();
    }

    #[test]
    fn folder_is_free_as_soon_as_its_owner_drops_it_even_if_a_child_process_still_has_the_file() {
        let root = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(root.path()).unwrap();
        // As after a fork: another descriptor of the same open file.
        let _of_a_child = folder.lock.try_clone().unwrap();
        drop(folder);
        DataFolder::open(root.path()).unwrap();
    }

    #[test]
    fn folder_below_a_file_is_refused_with_its_path() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        let failure = DataFolder::open(&file.join("data")).unwrap_err();
        assert_eq!((failure.exit, failure.reason.as_str()), (ExitCode::OutputUnwritable, "CannotWrite"));
        assert!(failure.message.contains(file.to_str().unwrap()), "{}", failure.message);
    }

    #[test]
    fn record_survives_and_a_damaged_one_counts_as_absent() {
        let root = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(root.path()).unwrap().model("default", "iris");
        assert_eq!(folder.record(), None);
        let record = SourceRecord {
            uri: "file:model.onnx".to_owned(),
            pinned: None,
            fingerprint: "f".to_owned(),
            revision: digest(1),
            copied_to: None,
        };
        folder.write_record(&record).unwrap();
        assert_eq!(folder.record(), Some(record));
        fs::write(folder.path.join("source.json"), "{\"uri\":").unwrap();
        assert_eq!(folder.record(), None);
    }

    #[test]
    fn only_downloads_of_a_pinned_digest_are_kept_to_be_continued() {
        let root = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(root.path()).unwrap().model("default", "iris");
        let pinned = folder.incoming(Some(&digest(1)));
        fs::create_dir_all(&pinned).unwrap();
        assert!(folder.incoming(Some(&digest(1))).exists());
        assert!(!folder.incoming(None).exists());
        assert!(!pinned.exists());
    }

    #[test]
    fn accepted_revision_takes_the_place_of_a_damaged_one_and_ends_all_downloads() {
        let root = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(root.path()).unwrap().model("default", "iris");
        let (incoming, other) = (folder.incoming(Some(&digest(1))), folder.incoming(Some(&digest(2))));
        for path in [&incoming, &other, &folder.revision(&digest(3))] {
            fs::create_dir_all(path).unwrap();
        }
        fs::write(incoming.join("model.onnx"), "new").unwrap();
        let revision = folder.accept(&incoming, &digest(3)).unwrap();
        assert_eq!(fs::read(revision.join("model.onnx")).unwrap(), b"new");
        assert!(!other.exists());
    }

    #[test]
    fn pruning_keeps_the_active_revision_and_the_two_newest_others() {
        let root = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(root.path()).unwrap().model("default", "iris");
        for byte in 1..=5 {
            let path = folder.revision(&digest(byte));
            fs::create_dir_all(&path).unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000 + u64::from(byte));
            File::open(&path).unwrap().set_modified(time).unwrap();
        }
        folder.prune(&digest(1));
        let left: Vec<bool> = (1..=5).map(|byte| folder.revision(&digest(byte)).exists()).collect();
        assert_eq!(left, [true, false, false, true, true]);
    }
}
