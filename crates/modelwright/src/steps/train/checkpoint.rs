//! A training's state on its way to the store, beside the training. That the store is away never ends a training.

use std::path::{Path, PathBuf};
use std::time::Duration;

use modelwright_artifact::checkpoints;
use tokio::sync::Notify;

use crate::failure::Failure;
use crate::training::cannot_write;
use crate::training::store::Store;

/// The file that the trainer writes.
const STATE: &str = "state";

/// The state of one run.
pub(super) struct Checkpoints {
    store: Store,
    run: String,
    /// Where the trainer replaces its file whenever it writes one.
    folder: PathBuf,
    /// Where a link holds fast the one that is being brought out.
    outgoing: PathBuf,
    /// How often the state is brought out.
    every: Duration,
    hurry: Notify,
}

impl Checkpoints {
    pub(super) fn new(store: Store, run: &str, work: &Path, every: Duration) -> Result<Self, Failure> {
        let (folder, outgoing) = (work.join("checkpoint"), work.join("outgoing"));
        for folder in [&folder, &outgoing] {
            std::fs::create_dir_all(folder).map_err(|error| cannot_write(folder, error))?;
        }
        Ok(Self { store, run: run.to_owned(), folder, outgoing, every, hurry: Notify::new() })
    }

    /// Where the trainer keeps its state.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.join(STATE)
    }

    /// Brings back what an earlier attempt left, and says so.
    pub(super) async fn restore(&self) -> Result<String, Failure> {
        let Store { prefix, connection, explain } = &self.store;
        let restored = checkpoints::restore(prefix, connection, &self.run, &self.folder, None).await;
        Ok(restored.map_err(|error| explain(error))?.map_or_else(String::new, |restored| {
            format!("; goes on from checkpoint {} of {} bytes", restored.number, restored.bytes)
        }))
    }

    /// Brings the state out now and then while the work goes on.
    pub(super) async fn beside<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(self.every) => {}
                () = self.hurry.notified() => {}
            }
            // A training that is done needs no state in the store, which may not answer for long; one that was told to stop brings its
            // newest out itself.
            tokio::select! {
                done = &mut work => return done,
                _ = self.push() => {}
            }
        }
    }

    /// Brings the state out without waiting for its time: the end is near.
    pub(super) fn hurry(&self) {
        self.hurry.notify_one();
    }

    /// Brings the newest state out. Returns whether it is in the store.
    pub(super) async fn push(&self) -> bool {
        let (state, outgoing) = (self.path(), self.outgoing.join(STATE));
        // The trainer puts a new file in the place of this one and never writes into it.
        let _ = std::fs::remove_file(&outgoing);
        match std::fs::hard_link(&state, &outgoing) {
            Ok(()) => {}
            // Nothing has been written yet.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return false,
            Err(error) => {
                tracing::warn!(%error, "the checkpoint stays here");
                return false;
            }
        }
        let Store { prefix, connection, explain } = &self.store;
        match checkpoints::push(prefix, connection, &self.run, &self.outgoing, None).await {
            Ok(pushed) => {
                tracing::info!(
                    number = pushed.number,
                    bytes = pushed.bytes_written,
                    "checkpoint in the store"
                );
                true
            }
            Err(error) => {
                let failure = explain(error);
                tracing::warn!(reason = %failure.reason, "the checkpoint stays here: {}", failure.message);
                false
            }
        }
    }

    /// Deletes them: the revision is published.
    pub(super) async fn discard(&self) {
        let Store { prefix, connection, .. } = &self.store;
        if let Err(error) = checkpoints::discard(prefix, connection, &self.run).await {
            tracing::warn!(reason = error.reason(), "checkpoints of the run stay in the store: {error}");
        }
    }
}
