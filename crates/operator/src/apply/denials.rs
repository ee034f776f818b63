//! Why a Job has no pod. Only Events say it: a pod that quota or admission refuses never exists.

use jiff::Timestamp;
use k8s_openapi::api::{batch::v1::Job, core::v1::Event};
use kube::{ResourceExt, api::ListParams};
use modelwright_api::conditions::Cause;

use super::writer::Writer;
use crate::causes::refused_creation;

impl Writer<'_> {
    /// Asks for the Events of one Job. That there is none, or that they cannot be read, says nothing.
    pub(super) async fn denial(&mut self, job: &Job) {
        const MAX_EVENTS: u32 = 50;
        let (name, Some(uid)) = (job.name_any(), job.uid()) else { return };
        let selector = format!("involvedObject.uid={uid},reason=FailedCreate");
        let params = ListParams::default().fields(&selector).limit(MAX_EVENTS);
        match self.api::<Event>().list(&params).await {
            Ok(events) => {
                if let Some(message) = newest(&events.items) {
                    self.applied.denials.insert(name.clone(), denial(&name, message));
                }
            }
            Err(error) => {
                tracing::debug!(model = %self.key, job = name, %error, "cannot read the Job's Events");
            }
        }
    }
}

fn newest(events: &[Event]) -> Option<&str> {
    let newest = events.iter().max_by_key(|event| last_seen(event))?;
    newest.message.as_deref()
}

fn last_seen(event: &Event) -> Option<Timestamp> {
    let series =
        event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    let first = event.event_time.as_ref().map(|time| time.0);
    series.into_iter().chain(last).chain(first).max()
}

/// What a Job's `FailedCreate` means.
fn denial(job: &str, message: &str) -> Cause {
    let said = message.strip_prefix("Error creating: ").unwrap_or(message);
    Cause::new(refused_creation(said), format!("Job/{job} cannot make its pod: {said}"))
}

#[cfg(test)]
mod tests {
    use modelwright_api::conditions::Reason;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_denial_names_the_job_and_what_was_said() {
        let cause = denial("j", "Error creating: pods \"j-x\" is forbidden: exceeded quota: q");
        assert_eq!(cause.reason, Reason::QuotaExceeded.as_str());
        assert_eq!(cause.message, "Job/j cannot make its pod: pods \"j-x\" is forbidden: exceeded quota: q");
    }

    #[test]
    fn the_newest_event_counts() {
        let event = |message: &str, seen: &str| -> Event {
            serde_json::from_value(json!({
                "metadata": {}, "involvedObject": {}, "message": message, "lastTimestamp": seen,
            }))
            .unwrap()
        };
        let events = [event("old", "2026-01-01T00:00:00Z"), event("new", "2026-01-01T00:01:00Z")];
        assert_eq!(newest(&events), Some("new"));
        assert_eq!(newest(&[]), None);
    }
}
