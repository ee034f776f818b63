//! What servers tell of their own start, for `status.coldStart` and `status.runtime`. Best effort: a pod that does not answer
//! is not asked again, and nothing waits for it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use modelwright_api::ModelStatus;
use tracing::debug;

use crate::{
    observe::Observed,
    pull::{ColdStart, Puller},
    report::with_server_times,
    stores::{ModelKey, Triggers},
};

/// What came of asking one pod of each Model.
#[derive(Clone, Debug, Default)]
pub(super) struct Starts {
    puller: Puller,
    told: Arc<Mutex<HashMap<ModelKey, Told>>>,
}

/// What came of asking a pod.
#[derive(Debug)]
struct Told {
    pod: String,
    /// `None` while it is being asked, and if it did not answer.
    answer: Option<ColdStart>,
}

impl Starts {
    /// Adds to a status what the pod that it measured says itself, and asks that pod if nobody did.
    pub(super) fn complete(
        &self,
        key: &ModelKey,
        status: &mut ModelStatus,
        observed: &Observed,
        triggers: &Triggers,
    ) {
        let Some(start) = status.cold_start.as_ref().filter(|start| start.session.is_none()) else { return };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match told.get(key).filter(|told| told.pod == start.pod) {
            Some(Told { answer: Some(answer), .. }) => {
                let [session, warmup] = [answer.session, answer.warm_up].map(milliseconds);
                status.cold_start =
                    with_server_times(start, &start.pod, session, warmup).or(status.cold_start.take());
                if let Some(runtime) = &mut status.runtime
                    && runtime
                        .execution_provider
                        .is_some_and(|provider| provider.as_str() == answer.execution_provider)
                {
                    runtime.version = Some(answer.runtime_version.clone());
                }
            }
            Some(Told { answer: None, .. }) => {}
            None => {
                told.insert(key.clone(), Told { pod: start.pod.clone(), answer: None });
                self.ask(key.clone(), start.pod.clone(), observed, triggers.clone());
            }
        }
    }

    fn ask(&self, key: ModelKey, name: String, observed: &Observed, triggers: Triggers) {
        let pod = observed.pods.iter().find(|pod| pod.metadata.name.as_ref() == Some(&name));
        let Some(pod) = pod.cloned() else { return };
        let (told, puller) = (Arc::clone(&self.told), self.puller.clone());
        tokio::spawn(async move {
            match puller.cold_start(&key.name, &pod).await {
                Ok(answer) => {
                    let entry = Told { pod: name, answer: Some(answer) };
                    told.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), entry);
                    triggers.changed(key);
                }
                Err(error) => debug!(model = %key, %error, "a server did not tell of its start"),
            }
        });
    }

    /// A Model is gone.
    pub(super) fn forget(&self, key: &ModelKey) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

fn milliseconds(duration: Duration) -> Option<i64> {
    i64::try_from(duration.as_millis()).ok()
}
