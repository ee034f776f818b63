//! The load of a Model's pods: asked all at once, and not asked again for a moment.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use k8s_openapi::api::core::v1::Pod;
use tracing::debug;

use crate::{
    pull::{self, PodLoad, Puller},
    stores::ModelKey,
};

/// Pods that are asked at once, of all Models together.
const MAX_REQUESTS: usize = 64;
/// How long all pods of a Model have to answer. An autoscaler waits a few seconds longer.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long an answer counts: one look of an autoscaler asks for the value, for the activity, and once for each of its triggers.
const FRESH: Duration = Duration::from_secs(1);
/// How long the last answer of a Model is kept that nobody asks for any more.
const KEPT: Duration = Duration::from_mins(5);

/// What the pods of a Model told.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Told {
    /// Of each pod that answered.
    pub(super) loads: Vec<PodLoad>,
    /// How many did not, and what became of one of them.
    pub(super) silent: usize,
    pub(super) failure: Option<String>,
}

/// The newest answers by Model.
#[derive(Debug)]
pub(super) struct Loads {
    puller: Puller,
    newest: Mutex<HashMap<ModelKey, Slot>>,
}

/// What one Model's pods told last. Who asks while somebody else does waits for that answer.
type Slot = Arc<tokio::sync::Mutex<Option<(Instant, Told)>>>;

impl Default for Loads {
    fn default() -> Self {
        Self { puller: Puller::with_requests(MAX_REQUESTS), newest: Mutex::default() }
    }
}

impl Loads {
    /// What the pods of a Model tell, or told within the last second. The caller found the pods in the Model's namespace.
    pub(super) async fn of(&self, model: &ModelKey, pods: impl FnOnce() -> Vec<Arc<Pod>>) -> Told {
        let slot = self.slot(model);
        let mut newest = slot.lock().await;
        if let Some((at, told)) = &*newest
            && at.elapsed() < FRESH
        {
            return told.clone();
        }
        let told = self.ask(&model.name, &pods()).await;
        *newest = Some((Instant::now(), told.clone()));
        told
    }

    fn slot(&self, model: &ModelKey) -> Slot {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = newest.get(model) {
            return Arc::clone(slot);
        }
        // One that is locked is in use.
        newest.retain(|_, slot| {
            slot.try_lock().map_or(true, |told| told.as_ref().is_some_and(|(at, _)| at.elapsed() < KEPT))
        });
        Arc::clone(newest.entry(model.clone()).or_default())
    }

    async fn ask(&self, model: &str, pods: &[Arc<Pod>]) -> Told {
        // Pods that start have no load, and those that end will not take more.
        let serving = pods.iter().filter(|pod| pull::address(model, pod).is_ok());
        let mut answers: FuturesUnordered<_> = serving.map(|pod| self.puller.load(model, pod)).collect();
        let (asked, mut told) = (answers.len(), Told::default());
        let all = async {
            while let Some(answer) = answers.next().await {
                match answer {
                    Ok(load) => told.loads.push(load),
                    Err(error) => told.failure = Some(error.to_string()),
                }
            }
        };
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            told.failure = Some(format!("not all pods answered within {} s", PATIENCE.as_secs()));
        }
        told.silent = asked - told.loads.len();
        if let Some(failure) = &told.failure {
            debug!(model, silent = told.silent, asked, %failure, "pods do not tell their load");
        }
        told
    }
}
