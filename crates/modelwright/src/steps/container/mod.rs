//! What the steps of a training by a container of the user's share: the order, the folders of the pod, and the store.
//!
//! Only the first of the pods that train together brings anything out, when the others have trained to their end, which is all that
//! they say about the result.

pub(super) mod fetch;
mod records;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use modelwright_api::Outcome;
use modelwright_api::contract::{ExitCode, environment as variables};
use modelwright_api::training::TrainingContainer;
use modelwright_api::training::order::{MAX_ORDER_BYTES, TrainingOrder};
use modelwright_artifact::{Connection, Credentials, Digest, Error, Retry, SourceUri, checkpoints, gang};

pub(super) use self::records::InputsRecord;
use crate::arguments::{MlArguments, StepArguments};
use crate::failure::Failure;
use crate::steps::secret::Secret;
use crate::{environment, steps};

/// A record that the check has begun.
pub(super) const CHECKING: &str = "checking";
/// A record that the revision is published, so that nobody needs the checkpoints.
pub(super) const PUBLISHED: &str = "published";

/// Between two looks whether the other pods are done.
const PAUSE: Duration = Duration::from_secs(2);

/// Leaves a record that is only there or not.
pub(super) fn mark(folders: &Folders, record: &str) -> Result<(), Failure> {
    let path = folders.records().join(record);
    let written = std::fs::create_dir_all(folders.records()).and_then(|()| std::fs::write(&path, ""));
    written.map_err(|source| Error::CannotWrite { path, source }.into())
}

/// The pod of a training.
pub(super) struct Pod {
    pub(super) order: TrainingOrder,
    pub(super) folders: Folders,
    /// The place among those that train together, from 0.
    rank: u32,
}

impl Pod {
    pub(super) fn of(arguments: &MlArguments) -> Result<Self, Failure> {
        Self::open(&arguments.config, &arguments.ml_dir)
    }

    fn open(config: &Path, ml: &Path) -> Result<Self, Failure> {
        let pod = Self {
            order: read_order(config)?,
            folders: Folders(ml.to_owned()),
            rank: environment::node_rank().map_err(invalid)?,
        };
        pod.container()?;
        Ok(pod)
    }

    /// What the user's container is; an order without one is for the built-in trainer.
    pub(super) fn container(&self) -> Result<&TrainingContainer, Failure> {
        self.order.training.container.as_ref().ok_or_else(|| {
            invalid("it has no training.container; the built-in trainer is run by `modelwright train`")
        })
    }

    /// How many pods train together.
    fn size(&self) -> Result<u32, Failure> {
        Ok(self.container()?.nodes.and_then(|nodes| u32::try_from(nodes).ok()).unwrap_or(1))
    }

    /// Whether this pod brings things out.
    pub(super) const fn is_first(&self) -> bool {
        self.rank == 0
    }

    /// How a step ends that is the first pod's.
    pub(super) fn not_first(&self) -> Outcome {
        let message = format!("node {} leaves this to node 0", self.rank);
        Outcome { message, ..Outcome::success("NotFirst") }
    }

    /// Where the Model's revisions, records and checkpoints lie.
    pub(super) fn store(&self, step: &StepArguments) -> Result<OutputStore, Failure> {
        let output = self.order.training.output.as_ref();
        let (Some(output), Some(prefix)) = (output, self.order.store()) else {
            return Err(invalid("it has no training.output, so there is nowhere to publish to"));
        };
        let secret = output.credentials_secret_ref.as_ref().map(|secret| secret.name.clone());
        let reader = Reader::new(&prefix, secret, variables::OUTPUT_PREFIX, None, step)?;
        Ok(OutputStore { prefix: reader.uri.clone(), connection: reader.connection.clone(), reader })
    }
}

pub(super) fn invalid(problem: impl std::fmt::Display) -> Failure {
    let message = format!("the order of the training cannot be used: {problem}");
    Failure::new(ExitCode::InvalidConfiguration, "InvalidOrder", message)
}

/// Reads the order; the operator wrote it, so what is wrong with it is an operator of another version.
pub(super) fn read_order(path: &Path) -> Result<TrainingOrder, Failure> {
    let mut text = String::new();
    let file = std::fs::File::open(path)
        .map_err(|error| Error::CannotRead { path: path.to_owned(), source: error })?;
    let read = file.take(MAX_ORDER_BYTES as u64 + 1).read_to_string(&mut text);
    read.map_err(|error| Error::CannotRead { path: path.to_owned(), source: error })?;
    serde_json::from_str(&text).map_err(|error| {
        invalid(format!("{}: {error}; the operator and this image must be of one version", path.display()))
    })
}

/// The folders of a training below `/ml`.
#[derive(Clone, Debug)]
pub(super) struct Folders(PathBuf);

impl Folders {
    /// The rows of one set: `train`, `validation` or `test`.
    pub(super) fn data(&self, set: &str) -> PathBuf {
        self.0.join("data").join(set)
    }

    /// What the training leaves.
    pub(super) fn out(&self) -> PathBuf {
        self.0.join("out")
    }

    /// Its state.
    pub(super) fn checkpoints(&self) -> PathBuf {
        self.0.join("checkpoints")
    }

    /// The folder of `progress.jsonl`.
    pub(super) fn progress(&self) -> PathBuf {
        self.0.join("progress")
    }

    /// What our own steps tell each other.
    pub(super) fn records(&self) -> PathBuf {
        self.0.join("records")
    }
}

/// A place with the credentials for it.
pub(super) struct Reader {
    pub(super) uri: SourceUri,
    pub(super) connection: Connection,
    credentials: Credentials,
    secret: Option<String>,
    identity: bool,
}

impl Reader {
    pub(super) fn new(
        uri: &str,
        secret: Option<String>,
        prefix: &str,
        volume: Option<&str>,
        step: &StepArguments,
    ) -> Result<Self, Failure> {
        let uri = steps::uri(uri)?;
        let credentials = environment::prefixed_credentials(prefix);
        let mut connection = steps::connection(credentials.clone(), step, Retry::FETCH);
        connection.volume = volume.map(PathBuf::from);
        let reader = Self { uri, connection, credentials, secret, identity: step.instance_identity };
        reader.of_secret().check(&reader.uri)?;
        Ok(reader)
    }

    fn of_secret(&self) -> Secret<'_> {
        Secret::named(self.secret.as_deref(), self.identity, &self.credentials)
    }

    /// The failure with the name of the Secret, where that is what to look at.
    pub(super) fn explain(&self, error: Error) -> Failure {
        self.of_secret().explain(error)
    }
}

/// The Model's part of the store.
pub(super) struct OutputStore {
    pub(super) prefix: SourceUri,
    pub(super) connection: Connection,
    reader: Reader,
}

impl OutputStore {
    /// Deletes the checkpoints of a run, which nobody needs once its revision is published. That some stay is no failure.
    pub(super) async fn discard_checkpoints(&self, run: &str) {
        if let Err(error) = checkpoints::discard(&self.prefix, &self.connection, run).await {
            tracing::warn!(reason = error.reason(), "checkpoints of the run stay in the store: {error}");
        }
    }

    /// Says that this pod, which is not the first, has trained to its end, and from what.
    pub(super) async fn arrive(&self, pod: &Pod, inputs: Digest) -> Result<(), Failure> {
        let (run, attempt) = (&pod.order.run, pod.order.attempt);
        let said = gang::arrive(&self.prefix, &self.connection, run, attempt, pod.rank, inputs).await;
        said.map_err(|error| self.explain(error))
    }

    /// Waits until every other pod that trained with this one has trained to its end. One that is lost ends the Job, and so this.
    /// Pods that had other `inputs`, because data was replaced while they fetched it, fail the attempt.
    pub(super) async fn wait_for_others(&self, pod: &Pod, inputs: Digest) -> Result<(), Failure> {
        let (run, attempt) = (&pod.order.run, pod.order.attempt);
        let mut missing: Vec<u32> = (1..pod.size()?).collect();
        while !missing.is_empty() {
            let arrived = gang::arrived(&self.prefix, &self.connection, run, attempt).await;
            let arrived = arrived.map_err(|error| self.explain(error))?;
            missing.retain(|rank| !arrived.contains(rank));
            if !missing.is_empty() {
                tracing::info!(nodes = ?missing, "waiting for other nodes to end");
                tokio::time::sleep(PAUSE).await;
            }
        }
        self.compare_inputs(pod, inputs).await
    }

    async fn compare_inputs(&self, pod: &Pod, inputs: Digest) -> Result<(), Failure> {
        let (run, attempt) = (&pod.order.run, pod.order.attempt);
        let mut others = Vec::new();
        for rank in 1..pod.size()? {
            let theirs = gang::inputs_of(&self.prefix, &self.connection, run, attempt, rank).await;
            if theirs.map_err(|error| self.explain(error))?.is_some_and(|theirs| theirs != inputs) {
                others.push(rank.to_string());
            }
        }
        if others.is_empty() {
            return Ok(());
        }
        let message = format!(
            "the data changed while the nodes fetched it: that of node 0 is not that of node {}; the next attempt fetches it anew",
            others.join(", ")
        );
        Err(Failure::new(ExitCode::TryAgain, "DataDiffers", message))
    }

    /// Deletes what the other pods said; a failure costs nothing but a few bytes.
    pub(super) async fn forget_others(&self, pod: &Pod) {
        if pod.size().is_ok_and(|size| size > 1)
            && let Err(error) = gang::forget(&self.prefix, &self.connection, &pod.order.run).await
        {
            tracing::warn!(
                reason = error.reason(),
                "what the nodes of the run said stays in the store: {error}"
            );
        }
    }

    pub(super) fn explain(&self, error: Error) -> Failure {
        self.reader.explain(error)
    }
}
