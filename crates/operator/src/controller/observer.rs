//! What metrics are made from.

use std::{fmt::Debug, time::Duration};

use modelwright_api::ModelStatus;

use crate::{error::ErrorClass, stores::ModelKey};

/// Is told what the controller does. Every method has a body that does nothing. Writes are not told of: the client knows them.
pub trait Observer: Debug + Send + Sync {
    /// A pass over a Model ended.
    fn passed(&self, outcome: Outcome, took: Duration) {
        let _ = (outcome, took);
    }

    /// Something failed and will be tried again as its class says: a pass, or one child in it.
    fn failed(&self, class: ErrorClass) {
        let _ = class;
    }

    /// The watch of this kind failed and is begun again.
    fn watch_failed(&self, kind: &'static str) {
        let _ = kind;
    }

    /// So many Models wait for a pass.
    fn waiting(&self, models: usize) {
        let _ = models;
    }

    /// This is a Model's status now; `None` if the Model is gone.
    fn reported(&self, model: &ModelKey, status: Option<&ModelStatus>) {
        let _ = (model, status);
    }
}

/// Nobody wants to know.
impl Observer for () {}

/// What came of a pass over a Model.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Outcome {
    /// All was as it shall be.
    Unchanged,
    /// Something was written.
    Changed,
    /// Something could not be written, or the Model could not be read.
    Failed,
}
