//! Watches the folder of checkpoints, and brings it out when nothing in it changed between two looks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use modelwright_artifact::checkpoints::{self, Pushed};
use modelwright_artifact::{Class, Digest, Error};
use tokio::task::JoinHandle;

use crate::steps::container::OutputStore;

/// The most files that are looked at; what is brought out has a bound of its own.
const MAX_FILES: usize = 100_000;

/// The pause after a push that failed, which doubles with every one that follows.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// How a file was: a file that is written changes its size or its time, one that is renamed into place its number.
type Stand = (u64, Option<std::time::SystemTime>, u64);
/// Every file of a folder.
type Snapshot = BTreeMap<PathBuf, Stand>;

/// The watch over a folder.
pub(super) struct Watcher {
    store: Arc<OutputStore>,
    run: String,
    folder: PathBuf,
    /// The key of what the training is made from.
    inputs: Option<Digest>,
    last: Snapshot,
    /// What is known to be in the store.
    out: Snapshot,
    pushing: Option<(Snapshot, JoinHandle<Result<Pushed, Error>>)>,
    pause: Pause,
    /// How many checkpoints were brought out.
    pub(super) pushed: u64,
}

impl Watcher {
    pub(super) fn new(store: OutputStore, run: &str, folder: PathBuf, inputs: Option<Digest>) -> Self {
        Self {
            store: Arc::new(store),
            run: run.to_owned(),
            last: Snapshot::new(),
            // What was restored is brought out once more, which writes nothing: the store has every byte of it.
            out: Snapshot::new(),
            folder,
            inputs,
            pushing: None,
            pause: Pause::default(),
            pushed: 0,
        }
    }

    /// Looks once; whether something moved.
    pub(super) async fn look(&mut self) -> bool {
        let finished = self.collect(false).await;
        let now = snapshot(&self.folder);
        let changed = now != self.last;
        self.last = now;
        if changed {
            self.pause.end();
        }
        if !changed && !self.is_out() && self.pushing.is_none() && self.pause.is_over(Instant::now()) {
            let (store, run, folder) = (self.store.clone(), self.run.clone(), self.folder.clone());
            let inputs = self.inputs;
            let push = async move {
                checkpoints::push(&store.prefix, &store.connection, &run, &folder, inputs).await
            };
            self.pushing = Some((self.last.clone(), tokio::spawn(push)));
        }
        changed || finished
    }

    /// The end is near: from now on nothing is worth a pause.
    pub(super) fn hurry(&mut self) {
        self.pause = Pause::Never;
    }

    /// Whether the store has the folder as it is.
    pub(super) fn is_out(&self) -> bool {
        self.pushing.is_none() && (self.last.is_empty() || self.last == self.out)
    }

    /// Takes the result of a push that has ended; waits for it if so asked.
    async fn collect(&mut self, wait: bool) -> bool {
        let ended = |(_, push): &mut (Snapshot, JoinHandle<_>)| wait || push.is_finished();
        let Some((snapshot, push)) = self.pushing.take_if(ended) else { return false };
        match push.await {
            Ok(Ok(pushed)) => {
                if pushed.bytes_written > 0 {
                    tracing::info!(
                        number = pushed.number,
                        bytes = pushed.bytes_written,
                        "a checkpoint is out"
                    );
                    self.pushed += 1;
                }
                self.out = snapshot;
                self.pause.end();
                true
            }
            // A file was written meanwhile; the next look sees it.
            Ok(Err(error)) if error.class() == Class::TryAgain => false,
            Ok(Err(error)) => {
                self.pause.lengthen(Instant::now());
                let failure = self.store.explain(error);
                tracing::warn!(reason = failure.reason, "a checkpoint is not out: {}", failure.message);
                false
            }
            Err(error) => {
                self.pause.lengthen(Instant::now());
                tracing::warn!(%error, "a checkpoint is not out");
                false
            }
        }
    }

    /// The revision is published: nobody needs the checkpoints, and one that is on its way must not stay.
    pub(super) async fn retire(&mut self) {
        if self.pushing.is_some() {
            self.collect(true).await;
            self.store.discard_checkpoints(&self.run).await;
        }
    }

    pub(super) async fn retire_if(&mut self, published: bool) {
        if published {
            self.retire().await;
        }
    }
}

/// How long nothing is pushed after failures: each push reads and hashes the whole folder.
#[derive(Debug, PartialEq, Eq)]
enum Pause {
    /// From a failure on, until a time.
    After { length: Duration, until: Option<Instant> },
    /// Not even after failures.
    Never,
}

impl Default for Pause {
    fn default() -> Self {
        Self::After { length: FIRST_PAUSE, until: None }
    }
}

impl Pause {
    fn lengthen(&mut self, now: Instant) {
        if let Self::After { length, until } = self {
            *until = now.checked_add(*length);
            *length = (*length * 2).min(LONGEST_PAUSE);
        }
    }

    /// Something else than before is to be pushed, or something was.
    fn end(&mut self) {
        if *self != Self::Never {
            *self = Self::default();
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        match self {
            Self::After { until, .. } => until.is_none_or(|until| until <= now),
            Self::Never => true,
        }
    }
}

/// Every regular file below the folder; links are not followed, and what cannot be read is not there.
fn snapshot(folder: &Path) -> Snapshot {
    let (mut found, mut folders) = (Snapshot::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            // Of the entry itself, not of what a link leads to.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if metadata.is_file() {
                let number = std::os::unix::fs::MetadataExt::ino(&metadata);
                found.insert(entry.path(), (metadata.len(), metadata.modified().ok(), number));
            }
            if found.len() + folders.len() > MAX_FILES {
                return found;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn snapshot_changes_with_what_is_written_or_renamed_and_follows_no_link() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("step-1")).unwrap();
        fs::write(path("step-1/weights"), "1").unwrap();
        std::os::unix::fs::symlink("/", path("root")).unwrap();
        let first = snapshot(folder.path());
        assert_eq!(first.keys().collect::<Vec<_>>(), [&path("step-1/weights")]);
        assert_eq!(snapshot(folder.path()), first);
        fs::write(path("new"), "1").unwrap();
        fs::rename(path("new"), path("step-1/weights")).unwrap();
        assert_ne!(snapshot(folder.path()), first);
        assert!(snapshot(&path("nothing")).is_empty());
    }

    #[test]
    fn pause_doubles_with_every_failure_until_something_changes_or_the_end_is_near() {
        let (mut pause, now) = (Pause::default(), Instant::now());
        let seconds = |seconds| now + Duration::from_secs(seconds);
        assert!(pause.is_over(now));
        for length in [5, 10, 20, 40, 80, 160, 300, 300] {
            pause.lengthen(now);
            assert!(!pause.is_over(seconds(length - 1)) && pause.is_over(seconds(length)), "{length}");
        }
        pause.end();
        assert_eq!(pause, Pause::default());
        pause.lengthen(now);
        pause = Pause::Never;
        pause.lengthen(now);
        pause.end();
        assert!(pause.is_over(now));
    }
}
