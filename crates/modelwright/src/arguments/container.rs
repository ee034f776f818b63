//! The arguments of the steps of a training by a container of the user's.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::session::parse_duration;
use super::{StepArguments, parse_listen_address};

/// Where the folders of a training lie in a pod.
pub(super) const ML: &str = "/ml";

/// Which training a step is of.
#[derive(Debug, Args)]
pub(crate) struct MlArguments {
    /// The order of the training, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// The folder that the training's folders lie in: `data`, `out`, `checkpoints`, `progress` and `records`.
    #[arg(long, value_name = "DIR", default_value = ML)]
    pub(crate) ml_dir: PathBuf,
}

/// Beside a container of the user's that trains: bring its checkpoints out and tell its progress.
///
/// Ends on SIGTERM, when the newest checkpoint is out.
#[derive(Debug, Args)]
pub(crate) struct AgentArguments {
    #[command(flatten)]
    pub(crate) ml: MlArguments,
    /// Where the progress is told, and the callback of Kubeflow Trainer is taken from this pod.
    #[arg(long, value_name = "ADDR", default_value = ":9091", value_parser = parse_listen_address)]
    pub(crate) progress_listen: SocketAddr,
    /// How often the folder of checkpoints is looked at. A file that did not change between two looks is whole.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration)]
    pub(crate) interval: Duration,
    /// How long the newest checkpoint may take to be out after SIGTERM.
    #[arg(long, value_name = "DURATION", default_value = "100s", value_parser = parse_duration)]
    pub(crate) grace: Duration,
    #[command(flatten)]
    pub(crate) step: StepArguments,
}

/// Check what a container of the user's trained: load the model, replay its samples, judge its metrics.
///
/// Needs no credentials, and writes what it found to `records/verdict.json`.
#[derive(Debug, Args)]
pub(crate) struct CheckOutputArguments {
    #[command(flatten)]
    pub(crate) ml: MlArguments,
    /// The most bytes that the training may have left, in all files together.
    #[arg(long, value_name = "BYTES", default_value_t = 100 << 30, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_bytes: u64,
    /// Also write the final JSON object to this file [default: /dev/termination-log in a pod].
    #[arg(long, value_name = "FILE")]
    pub(crate) termination_log: Option<PathBuf>,
}

/// Publish what `modelwright check` found good, exactly those bytes.
#[derive(Debug, Args)]
pub(crate) struct PublishArguments {
    #[command(flatten)]
    pub(crate) ml: MlArguments,
    #[command(flatten)]
    pub(crate) step: StepArguments,
}
