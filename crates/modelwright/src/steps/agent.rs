//! `modelwright agent`: beside a container of the user's that trains. It brings checkpoints out, tells how far the training
//! is, and stays past SIGTERM until the newest checkpoint is out.
//!
//! What it reads is written by a stranger while it reads it, and it holds the store's credentials: it follows no links, and
//! everything is bounded. A training is never stopped because something here fails.

mod checkpoints;
pub(super) mod server;
pub(super) mod state;
pub(super) mod update;

use std::process::ExitCode as ProcessExit;
use std::sync::Arc;
use std::time::{Duration, Instant};

use modelwright_api::Outcome;
use modelwright_api::contract::ExitCode;
use modelwright_api::training::progress::ProgressPhase;
use modelwright_artifact::output::{self, VERDICT_FILE};
use tokio::time::{sleep, timeout};

use self::checkpoints::Watcher;
use self::state::State;
use super::container::{CHECKING, Folders, InputsRecord, PUBLISHED, Pod};
use crate::arguments::AgentArguments;
use crate::failure::Failure;
use crate::signals::Termination;
use crate::{report, steps};

/// The file of progress in its folder.
const PROGRESS_FILE: &str = "progress.jsonl";
/// The most bytes of its end that are looked at.
const PROGRESS_BYTES: u64 = 64 << 10;
/// What the callback of Kubeflow Trainer reads before it reports: without a token it says nothing at all.
const TOKEN_FILE: &str = "token";
/// The looks after SIGTERM during which a training may still begin to write its last checkpoint.
const QUIET_LOOKS: u32 = 3;

/// Runs it.
pub(crate) fn run(arguments: &AgentArguments) -> ProcessExit {
    report::end(steps::block_on(agent(arguments)), arguments.step.termination_log.as_ref())
}

async fn agent(arguments: &AgentArguments) -> Result<Outcome, Failure> {
    let mut termination = Termination::listen()?;
    let pod = Pod::of(&arguments.ml)?;
    let listener = server::listen(arguments.progress_listen).await?;
    let state = Arc::new(State::new(Instant::now()));
    let server = tokio::spawn(server::serve(listener, state.clone()));
    write_token(&pod.folders);
    let result = if pod.is_first() {
        watch(arguments, &pod, &state, &mut termination).await
    } else {
        // Its processes may report to it, too; ending now would only have it started again.
        termination.wait().await;
        Ok(pod.not_first())
    };
    server.abort();
    result
}

/// The callback asks for a token; that it comes from this pod is what counts, so there is nothing secret in it.
fn write_token(folders: &Folders) {
    let folder = folders.progress();
    if folder.is_dir()
        && let Err(error) = std::fs::write(folder.join(TOKEN_FILE), "of-this-pod\n")
    {
        tracing::warn!(%error, "callbacks of Kubeflow Trainer will not report");
    }
}

async fn watch(
    arguments: &AgentArguments,
    pod: &Pod,
    state: &Arc<State>,
    termination: &mut Termination,
) -> Result<Outcome, Failure> {
    let (store, run, folder) = (pod.store(&arguments.step)?, &pod.order.run, pod.folders.checkpoints());
    // Only a step of another version leaves none, or none that can be read.
    let inputs = InputsRecord::read(&pod.folders.records()).ok().map(|record| record.inputs_digest);
    let mut look = Look {
        state: state.clone(),
        folders: pod.folders.clone(),
        watcher: Watcher::new(store, run, folder, inputs),
        progress: None,
    };
    loop {
        look.take().await;
        tokio::select! {
            () = sleep(arguments.interval) => {}
            () = termination.wait() => break,
        }
    }
    match timeout(arguments.grace, look.finish(arguments.interval)).await {
        Ok(()) => {
            let message = format!("{} checkpoints were brought out", look.watcher.pushed);
            Ok(Outcome { message, ..Outcome::success("Terminated") })
        }
        Err(_) => Err(Failure::new(
            ExitCode::Preempted,
            "CheckpointLeftBehind",
            format!("the newest checkpoint was not out {} s after SIGTERM", arguments.grace.as_secs()),
        )),
    }
}

/// What is looked at again and again.
struct Look {
    state: Arc<State>,
    folders: Folders,
    watcher: Watcher,
    /// The end of the file of progress, as it was.
    progress: Option<(u64, Vec<u8>)>,
}

impl Look {
    async fn take(&mut self) {
        self.state.set_phase(self.phase(), Instant::now());
        self.read_progress();
        if self.is_published() {
            self.watcher.retire().await;
        } else if self.watcher.look().await {
            self.state.moved(Instant::now());
        }
    }

    /// Until the newest checkpoint is out, and the training had time to begin another.
    async fn finish(&mut self, interval: Duration) {
        let mut quiet = 0;
        self.watcher.hurry();
        while quiet < QUIET_LOOKS && !self.is_published() {
            sleep(interval).await;
            self.take().await;
            quiet = if self.watcher.is_out() { quiet + 1 } else { 0 };
        }
        self.watcher.retire_if(self.is_published()).await;
    }

    fn is_published(&self) -> bool {
        self.folders.records().join(PUBLISHED).exists()
    }

    /// What the steps after the training have left says what is going on.
    fn phase(&self) -> ProgressPhase {
        let records = self.folders.records();
        if records.join(VERDICT_FILE).exists() {
            ProgressPhase::Publishing
        } else if records.join(CHECKING).exists() {
            ProgressPhase::Checking
        } else {
            ProgressPhase::Training
        }
    }

    fn read_progress(&mut self) {
        match output::read_end(&self.folders.progress(), PROGRESS_FILE, PROGRESS_BYTES) {
            Ok(Some(end)) if self.progress.as_ref() != Some(&end) => {
                if let Some(update) = update::last_line(&end.1) {
                    self.state.apply(update, Instant::now());
                }
                self.progress = Some(end);
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(reason = error.reason(), "progress is passed over: {error}"),
        }
    }
}
