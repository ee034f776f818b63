//! The arguments of the pods of a training by the built-in trainer.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use modelwright_api::contract::environment;

use super::session::parse_duration;
use super::{StepArguments, parse_listen_address};

/// Train with the built-in trainer: from data to a published revision that a gate judged.
///
/// On SIGTERM the step that is being computed ends, its state goes to the store, and a later start goes on from there. The
/// Secrets are those that the order names; credentials come from the environment, for the validation and test rows and the store
/// of revisions each name prefixed with `VALIDATION_`, `TEST_` or `OUTPUT_`.
#[derive(Debug, Args)]
pub(crate) struct TrainArguments {
    /// The order of the training, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// The folder for data, checkpoints and the revision before it is published; made if it does not exist.
    #[arg(long, value_name = "DIR")]
    pub(crate) work_dir: PathBuf,
    /// Where the progress is told.
    #[arg(long, value_name = "ADDR", default_value = ":9091", value_parser = parse_listen_address)]
    pub(crate) progress_listen: SocketAddr,
    /// How often the state of the training goes to the store: what a pod loses at most that is killed without a warning.
    #[arg(long, env = environment::CHECKPOINT_INTERVAL, value_name = "DURATION", default_value = "1m", value_parser = parse_duration)]
    pub(crate) checkpoint_interval: Duration,
    #[command(flatten)]
    pub(crate) step: StepArguments,
}

/// Find out whether the data of a training changed, without reading it.
#[derive(Debug, Args)]
pub(crate) struct DataArguments {
    /// The order of the training, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// The `fingerprint` of an earlier outcome: the reason is `Unchanged` if the data still has it.
    #[arg(long, value_name = "sha256:…")]
    pub(crate) unless_fingerprint: Option<String>,
    #[command(flatten)]
    pub(crate) step: StepArguments,
}
