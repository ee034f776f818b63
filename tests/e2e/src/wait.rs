//! Waits for what becomes of objects. A wait that fails says what was awaited, how long, and what was seen last.
use std::{
    fmt::{Debug, Display},
    time::{Duration, Instant},
};

use anyhow::bail;
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        batch::v1::{Job, JobCondition},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject},
    core::Resource,
};
use serde::{Deserialize, de::DeserializeOwned};

use crate::report;

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What a look at the cluster showed.
#[derive(Debug)]
pub enum Seen<T> {
    /// What was awaited.
    Done(T),
    /// Something else, in words for the failure message.
    NotYet(String),
}

impl<T> Seen<T> {
    /// What was awaited if it is there, or else what is there instead.
    pub fn or_else_saw(value: Option<T>, state: impl Display) -> Self {
        value.map_or_else(|| Self::NotYet(state.to_string()), Self::Done)
    }
}

/// Looks again and again until `look` shows what is awaited. An error of a look counts as a state that was seen: the
/// API server may be away for a while.
pub async fn wait_for<T, F, L>(awaited: impl Display, timeout: Duration, mut look: L) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<Seen<T>>>,
    L: FnMut() -> F,
{
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    let mut last = "nothing yet".to_owned();
    while let Some(left) = timeout.checked_sub(start.elapsed()) {
        match tokio::time::timeout(left, look()).await {
            Ok(Ok(Seen::Done(value))) => return Ok(value),
            Ok(Ok(Seen::NotYet(state))) => last = state,
            Ok(Err(error)) => last = format!("error: {error:#}"),
            Err(_) => break,
        }
        tokio::time::sleep(pause.min(timeout.saturating_sub(start.elapsed()))).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    bail!("waited {:.1} s for {awaited}; last seen: {last}", start.elapsed().as_secs_f64())
}

/// Waits until the object is as `wanted` says, which answers `None` or a state that is not it yet.
pub async fn object<K, T>(
    api: &Api<K>,
    name: &str,
    awaited: impl Display,
    timeout: Duration,
    wanted: impl Fn(&K) -> Seen<T>,
) -> anyhow::Result<T>
where
    K: Clone + Debug + DeserializeOwned,
{
    wait_for(format!("{name:?}: {awaited}"), timeout, || async {
        Ok(match api.get_opt(name).await? {
            Some(object) => wanted(&object),
            None => Seen::NotYet("no such object".to_owned()),
        })
    })
    .await
}

/// Waits until every replica of the Deployment's newest template is available and no other is left.
pub async fn deployment_available(
    api: &Api<Deployment>,
    name: &str,
    timeout: Duration,
) -> anyhow::Result<Deployment> {
    object(api, name, "a Deployment that is available and up to date", timeout, |deployment| {
        let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let status = deployment.status.clone().unwrap_or_default();
        let done = status.observed_generation == deployment.metadata.generation
            && status.updated_replicas.unwrap_or(0) == wanted
            && status.available_replicas.unwrap_or(0) == wanted
            && status.replicas.unwrap_or(0) == wanted;
        Seen::or_else_saw(
            done.then(|| deployment.clone()),
            format_args!(
                "of {wanted} replicas {} updated, {} available, {} in all; {}",
                status.updated_replicas.unwrap_or(0),
                status.available_replicas.unwrap_or(0),
                status.replicas.unwrap_or(0),
                words(status.conditions.iter().flatten().map(|condition| {
                    (&*condition.type_, &*condition.status, condition.reason.as_deref())
                })),
            ),
        )
    })
    .await
}

/// Waits until the Job is over; the condition that says how: `Complete` or `Failed`.
pub async fn job_finished(api: &Api<Job>, name: &str, timeout: Duration) -> anyhow::Result<JobCondition> {
    object(api, name, "a Job that is Complete or Failed", timeout, |job| {
        let conditions =
            job.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let over = |condition: &&JobCondition| {
            matches!(&*condition.type_, "Complete" | "Failed") && condition.status == "True"
        };
        let state = conditions
            .iter()
            .map(|condition| (&*condition.type_, &*condition.status, condition.reason.as_deref()));
        Seen::or_else_saw(conditions.iter().find(over).cloned(), words(state))
    })
    .await
}

/// Waits until the pod is in the state that `wanted` recognises; `awaited` names it.
pub async fn pod(
    api: &Api<Pod>,
    name: &str,
    awaited: impl Display,
    timeout: Duration,
    wanted: impl Fn(&Pod) -> bool,
) -> anyhow::Result<Pod> {
    object(api, name, awaited, timeout, |pod| {
        Seen::or_else_saw(wanted(pod).then(|| pod.clone()), report::pod_in_words(pod))
    })
    .await
}

/// Waits until the object's `status.conditions` has that type with that status ("True", "False", "Unknown").
pub async fn condition(
    api: &Api<DynamicObject>,
    name: &str,
    type_: &str,
    status: &str,
    timeout: Duration,
) -> anyhow::Result<Condition> {
    /// The part of an object that is looked at.
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Status {
        conditions: Vec<Condition>,
    }
    object(api, name, format_args!("condition {type_}={status}"), timeout, |object| {
        let seen = object.data.get("status").cloned().unwrap_or_default();
        let Status { conditions } = serde_json::from_value(seen).unwrap_or_default();
        let found =
            conditions.iter().find(|condition| condition.type_ == type_ && condition.status == status);
        let state = conditions
            .iter()
            .map(|condition| (&*condition.type_, &*condition.status, Some(&*condition.reason)));
        Seen::or_else_saw(found.cloned(), words(state))
    })
    .await
}

/// Waits until no object of that name is left.
pub async fn gone<K>(api: &Api<K>, name: &str, timeout: Duration) -> anyhow::Result<()>
where
    K: Clone + Debug + DeserializeOwned + Resource,
{
    wait_for(format!("{name:?} to be gone"), timeout, || async {
        Ok(match api.get_metadata_opt(name).await? {
            None => Seen::Done(()),
            Some(object) => Seen::NotYet(format!(
                "deletion asked for: {}, finalizers: {:?}",
                object.metadata.deletion_timestamp.is_some(),
                object.finalizers()
            )),
        })
    })
    .await
}

/// The dynamic resource of a kind, where there is no type.
pub fn dynamic(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&kube::core::GroupVersionKind::gvk(group, version, kind), plural)
}

fn words<'a>(conditions: impl Iterator<Item = (&'a str, &'a str, Option<&'a str>)>) -> String {
    let words: Vec<_> = conditions
        .map(|(type_, status, reason)| match reason.filter(|reason| !reason.is_empty()) {
            Some(reason) => format!("{type_}={status} ({reason})"),
            None => format!("{type_}={status}"),
        })
        .collect();
    if words.is_empty() { "no condition".to_owned() } else { words.join(", ") }
}
