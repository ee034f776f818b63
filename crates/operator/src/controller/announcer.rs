//! Events of Models: best effort, few at a time, and never in the way of a pass.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use modelwright_api::contract::{API_VERSION, KIND};
use tokio::{sync::mpsc, task::JoinSet};
use tracing::debug;

use crate::{report::Announcement, stores::ModelKey};

/// More than this wait for nobody: they are dropped.
const MOST_WAITING: usize = 256;
const AT_ONCE: usize = 2;
const PATIENCE: Duration = Duration::from_secs(5);
/// The API server takes no longer note.
const MAX_NOTE_BYTES: usize = 1_024;
/// Who reports.
const REPORTER: &str = "modelwright-operator";

/// Sends Events in the background until it is dropped.
#[derive(Debug)]
pub(super) struct Announcer {
    queue: mpsc::Sender<(ObjectReference, Event)>,
    _task: JoinSet<()>,
}

impl Announcer {
    pub(super) fn start(client: Client) -> Self {
        // One recorder for all: it remembers what it said, and counts up instead of saying it again.
        let recorder = Arc::new(Recorder::new(client, Reporter::from(REPORTER)));
        let (queue, waiting) = mpsc::channel(MOST_WAITING);
        let waiting = stream::unfold(waiting, |mut waiting| async { Some((waiting.recv().await?, waiting)) });
        let mut task = JoinSet::new();
        task.spawn(waiting.for_each_concurrent(AT_ONCE, move |(reference, event)| {
            let recorder = Arc::clone(&recorder);
            async move { publish(&recorder, &reference, &event).await }
        }));
        Self { queue, _task: task }
    }

    /// Says something of a Model, if there is room for it.
    pub(super) fn announce(&self, model: &ModelKey, uid: Option<String>, announcement: &Announcement) {
        let event = Event {
            type_: if announcement.warning { EventType::Warning } else { EventType::Normal },
            reason: announcement.reason.clone(),
            note: Some(cut(&announcement.note)),
            action: announcement.action.to_owned(),
            secondary: None,
        };
        // No resource version: with one, no two Events would be about the same object.
        let reference = ObjectReference {
            api_version: Some(API_VERSION.to_owned()),
            kind: Some(KIND.to_owned()),
            name: Some(model.name.clone()),
            namespace: Some(model.namespace.clone()),
            uid,
            ..ObjectReference::default()
        };
        if self.queue.try_send((reference, event)).is_err() {
            debug!(%model, reason = announcement.reason, "too many Events wait; this one is dropped");
        }
    }
}

async fn publish(recorder: &Recorder, reference: &ObjectReference, event: &Event) {
    let name = reference.name.as_deref().unwrap_or_default();
    match tokio::time::timeout(PATIENCE, recorder.publish(event, reference)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(name, reason = event.reason, %error, "an Event was not taken"),
        Err(_) => debug!(name, reason = event.reason, "an Event was not taken in time"),
    }
}

fn cut(note: &str) -> String {
    note[..note.floor_char_boundary(MAX_NOTE_BYTES)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&format!("{}é", "a".repeat(1_023))).len(), 1_023);
    }
}
