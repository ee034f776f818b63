//! What must be true of the cluster before the operator works: its version, and its definition of Models.
//!
//! An operator may be newer than the definition in the cluster, because `helm upgrade` does not change what is in a chart's
//! `crds/`, or somebody pinned it. The API server then drops fields that it does not know, silently. So what it serves is
//! compared with what this operator knows. The right to read definitions is not needed for that: the `OpenAPI` document of a
//! group is open to everybody who is authenticated.

mod schema;

use std::time::Duration;

use http::Request;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder};
use modelwright_api::contract::API_VERSION;

use crate::client::with_causes;
use crate::lease::Place;
use crate::metrics::Metrics;

/// The oldest minor version of Kubernetes 1 that is supported.
const OLDEST_MINOR: u32 = 33;
/// The pause after a question that the API server did not answer, or answered with something to wait for.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// How often it is said again what is waited for.
const SAY_AGAIN: Duration = Duration::from_mins(1);
/// How often the definition is compared.
const COMPARE_AGAIN: Duration = Duration::from_hours(1);
/// How many missing paths are named; one is enough to act.
const NAMED_PATHS: usize = 3;
const NEXT_STEP: &str =
    "run `helm upgrade`, or `kubectl apply --server-side -f crds/` with the files of this version";

/// The cluster is too old.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "Kubernetes {found} is not supported: the oldest version is 1.{OLDEST_MINOR}; upgrade the cluster, or use an older operator"
)]
pub struct TooOld {
    found: String,
}

/// What the API server says of Models.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Definition {
    /// It knows everything that this operator knows.
    Current,
    /// It lacks these, as paths.
    Outdated(Vec<String>),
    /// It has no definition of Models in our version.
    Missing,
}

/// Waits until the API server says which version it is, for ever if need be, and refuses one that is too old.
pub async fn version(client: &Client) -> Result<(), TooOld> {
    let mut waiting = Waiting::default();
    loop {
        match client.apiserver_version().await {
            Ok(info) => return judge_version(&info.major, &info.minor, &info.git_version),
            Err(error) => {
                waiting.say(&format!("the API server does not say its version: {}", with_causes(&error)));
            }
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// Providers append to the minor version (`33+`), and some leave it empty.
fn judge_version(major: &str, minor: &str, version: &str) -> Result<(), TooOld> {
    let number = |text: &str| {
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().ok()
    };
    let Some((major, minor)) = number(major).zip(number(minor)) else {
        tracing::warn!(version, "cannot tell which version of Kubernetes this is");
        return Ok(());
    };
    if (major, minor) < (1, OLDEST_MINOR) { Err(TooOld { found: version.to_owned() }) } else { Ok(()) }
}

/// Waits until the API server has a definition of Models, for ever if need be.
pub async fn definition(client: &Client) -> Definition {
    let mut waiting = Waiting::default();
    loop {
        match compare(client).await {
            Ok(Definition::Missing) => waiting.say(&format!(
                "this cluster has no CustomResourceDefinition of Models ({API_VERSION}) yet; {NEXT_STEP}"
            )),
            Ok(found) => return found,
            Err(error) => {
                waiting.say(&format!("the definition of Models cannot be read: {}", with_causes(&error)));
            }
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// Compares the definition that the API server has with ours, once.
pub async fn compare(client: &Client) -> Result<Definition, kube::Error> {
    // The index first: for a group that it does not have, the API server's answer is empty.
    let index = get(client, "/openapi/v3").await?;
    if index["paths"].get(format!("apis/{API_VERSION}")).is_none() {
        return Ok(Definition::Missing);
    }
    let document = get(client, &format!("/openapi/v3/apis/{API_VERSION}")).await?;
    Ok(schema::judge(modelwright_api::crd::schema(), &document))
}

async fn get(client: &Client, path: &str) -> Result<serde_json::Value, kube::Error> {
    let request = Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?;
    client.request(request).await
}

/// Compares once an hour, for ever: says in the log, in a metric, and in an Event of the Lease if the definition is outdated.
pub async fn watch_definition(client: Client, recorder: Recorder, place: Place, metrics: &Metrics) {
    loop {
        match compare(&client).await {
            Ok(Definition::Current) => metrics.crd_outdated(false),
            Ok(Definition::Missing) => {
                tracing::error!("the CustomResourceDefinition of Models is gone; {NEXT_STEP}");
            }
            Ok(Definition::Outdated(missing)) => {
                metrics.crd_outdated(true);
                let message = outdated(&missing);
                tracing::error!(reason = "CRDOutdated", "{message}");
                announce(&recorder, &place, message).await;
            }
            Err(error) => {
                tracing::warn!(error = with_causes(&error), "the definition of Models cannot be read");
            }
        }
        tokio::time::sleep(COMPARE_AGAIN).await;
    }
}

/// What is said of an outdated definition.
fn outdated(missing: &[String]) -> String {
    let named = missing.iter().take(NAMED_PATHS).cloned().collect::<Vec<_>>().join(", ");
    let more = match missing.len().saturating_sub(NAMED_PATHS) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "the CustomResourceDefinition of Models is older than this operator: it lacks {named}{more}, which the API server therefore drops or refuses; {NEXT_STEP}"
    )
}

async fn announce(recorder: &Recorder, place: &Place, note: String) {
    let event = Event {
        type_: EventType::Warning,
        reason: "CRDOutdated".to_owned(),
        note: Some(note),
        action: "Compare".to_owned(),
        secondary: None,
    };
    let lease = ObjectReference {
        api_version: Some("coordination.k8s.io/v1".to_owned()),
        kind: Some("Lease".to_owned()),
        name: Some(place.name.clone()),
        namespace: Some(place.namespace.clone()),
        ..ObjectReference::default()
    };
    if let Err(error) = recorder.publish(&event, &lease).await {
        tracing::warn!(%error, "the Event CRDOutdated cannot be written");
    }
}

/// Says what is waited for: at once, when it changes, and every minute.
#[derive(Debug, Default)]
struct Waiting {
    said: Option<(String, tokio::time::Instant)>,
}

impl Waiting {
    fn say(&mut self, message: &str) {
        let known = self.said.as_ref().is_some_and(|(said, at)| said == message && at.elapsed() < SAY_AGAIN);
        if !known {
            tracing::warn!("waiting: {message}");
            self.said = Some((message.to_owned(), tokio::time::Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("1", "33", true)]
    #[case("1", "33+", true)]
    #[case("1", "40", true)]
    #[case("2", "0", true)]
    #[case("1", "32", false)]
    #[case("1", "9+", false)]
    #[case("", "", true)]
    fn versions_before_the_oldest_are_refused(
        #[case] major: &str,
        #[case] minor: &str,
        #[case] supported: bool,
    ) {
        let judged = judge_version(major, minor, "v1.x");
        assert_eq!(judged.is_ok(), supported);
        if let Err(error) = judged {
            assert!(
                error.to_string().contains("Kubernetes v1.x is not supported: the oldest version is 1.33")
            );
        }
    }

    #[test]
    fn message_about_an_outdated_definition_names_paths_and_the_next_step() {
        let missing: Vec<_> = (1..=5).map(|number| format!("spec.field{number}")).collect();
        let message = outdated(&missing);
        assert!(message.contains("it lacks spec.field1, spec.field2, spec.field3 and 2 more"), "{message}");
        assert!(message.contains("helm upgrade") && message.contains("kubectl apply --server-side"));
        assert!(!outdated(&missing[..1]).contains("more"));
        // The longest note of an Event is 1,024 characters.
        assert!(message.len() < 600);
    }
}
