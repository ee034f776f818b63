//! Why a Job has no pod. Only Events say it: a pod that quota or admission refuses never exists.

use jiff::Timestamp;
use k8s_openapi::api::{batch::v1::Job, core::v1::Event};
use kube::{ResourceExt, api::ListParams};
use modelwright_api::conditions::{Cause, Reason};

use super::writer::Writer;

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
    let says = |text: &str| message.contains(text);
    let said = message.strip_prefix("Error creating: ").unwrap_or(message);
    let message = format!("Job/{job} cannot make its pod: {said}");
    let reason = if says("exceeded quota") {
        Reason::QuotaExceeded
    } else if says("error looking up service account") {
        Reason::ServiceAccountMissing
    } else if says("forbidden") || says("denied") || says("violates PodSecurity") {
        Reason::AdmissionDenied
    } else if says("is invalid") {
        Reason::InvalidPodTemplate
    } else {
        Reason::ApplyFailed
    };
    Cause::new(reason, message)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case(
        "Error creating: pods \"j-x\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1",
        Reason::QuotaExceeded
    )]
    #[case(
        "Error creating: pods \"j-x\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot != true",
        Reason::AdmissionDenied
    )]
    #[case("Error creating: admission webhook \"w\" denied the request: no", Reason::AdmissionDenied)]
    #[case(
        "Error creating: pods \"j-x\" is forbidden: error looking up service account n/s: serviceaccount \"s\" not found",
        Reason::ServiceAccountMissing
    )]
    #[case(
        "Error creating: Pod \"j-x\" is invalid: spec.containers: Required value",
        Reason::InvalidPodTemplate
    )]
    #[case("Error creating: Timeout", Reason::ApplyFailed)]
    fn denials_are_told_apart(#[case] message: &str, #[case] expected: Reason) {
        let cause = denial("j", message);
        assert_eq!(cause.reason, expected.as_str());
        assert!(!cause.message.contains("Error creating"), "{}", cause.message);
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
