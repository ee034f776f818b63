//! What is trained, and where that stands.

use jiff::Timestamp;
use modelwright_api::{
    Model,
    conditions::Cause,
    status::{Metrics, TrainingPhase},
    training::order,
};

use super::{Revision, source};

mod attempt;
mod data;
mod environment;
mod job;
mod limits;
pub(super) mod nodes;
mod own;
mod past;
mod pod;
pub(super) mod view;

/// Where a trained revision of this digest is; `None` without an output.
pub(super) fn trained_at(model: &Model, digest: &str) -> Option<String> {
    let output = model.spec.training.as_ref()?.output.as_ref()?;
    let metadata = &model.metadata;
    let (namespace, name) = (metadata.namespace.as_deref()?, metadata.name.as_deref()?);
    let store = order::store(&output.uri, namespace, name);
    Some(source::published_at(&store, digest))
}

/// Where the training of a Model stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrainingSituation {
    /// What a training is made for now: the sha256 of the settings that change its result or its judgement, and of the annotation
    /// `modelwright.dev/retrain-at`. The [`JOB_HASH`](modelwright_api::contract::annotations::JOB_HASH) of its Jobs.
    pub trained_from: String,
    /// What is going on.
    pub state: TrainingState,
    /// The Job of the newest attempt, if one is known.
    pub job: Option<String>,
    /// The number of the newest attempt at this revision, from 1; 0 before the first.
    pub attempt: u32,
    /// When the newest training began.
    pub started_at: Option<Timestamp>,
    /// When the next one is due by `cron`.
    pub next_at: Option<Timestamp>,
    /// What the newest training that ended with a revision gave, be it refused by the gate.
    pub newest: Option<Trained>,
    /// What the data of that training looked like, for the next look.
    pub fingerprint: Option<String>,
    /// When the data was looked at last.
    pub checked_at: Option<Timestamp>,
    /// Whether a Job looks at the data now.
    pub looking: bool,
    /// Why the last look at the data failed, if it did.
    pub look_failed: Option<Cause>,
    /// Ids of revisions in the store that are deleted next.
    pub expiring: Vec<String>,
    /// Why revisions that are too many could not be listed or deleted, if they could not.
    pub retention_failed: Option<Cause>,
}

/// What is going on with a training.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum TrainingState {
    /// Nothing: the newest training is done, and none is due.
    #[default]
    Idle,
    /// The Job waits until its queue admits it.
    Queued,
    /// The Job is at work.
    Running {
        /// What its containers are doing.
        phase: TrainingPhase,
        /// What keeps it from starting, if anything does.
        held_up: Option<Cause>,
    },
    /// The last attempt failed, and another is made.
    Retrying {
        /// Why it failed.
        cause: Cause,
        /// When the next one is made.
        at: Timestamp,
    },
    /// No further attempt is made until the user acts.
    Failed {
        /// Why.
        cause: Cause,
    },
}

/// A revision that a training gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trained {
    /// The revision, in the output's store.
    pub revision: Revision,
    /// Whether the store had it already.
    pub reused: bool,
    /// Why the gate refused it, if it did.
    pub refused: Option<Cause>,
    /// Whether it waits for `spec.rollout.revision` to name it.
    pub needs_approval: bool,
    /// What was measured.
    pub metrics: Metrics,
    /// The same of the simple model beside it.
    pub baseline: Metrics,
    /// The sha256 of data and settings.
    pub inputs_digest: Option<String>,
}
