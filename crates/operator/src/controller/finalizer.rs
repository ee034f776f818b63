//! `deletionPolicy: DeleteArtifacts`: the one finalizer there is, and the Job that it waits for.
//!
//! It is on Models with that policy and a store, and on no other. A Model that is deleted with it gets a Job that deletes what
//! the Model wrote, after the Jobs that could still write ended. Whatever happens to that Job, the finalizer goes in
//! [`PATIENCE`], also of a Model that cannot be read, and at once where the namespace goes, too.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::{batch::v1::Job, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use modelwright_api::{
    Model,
    contract::{finalizers, labels},
    model::DeletionPolicy,
};
use serde_json::{Value, json};
use tracing::{info, warn};

use crate::{
    causes::{JobState, has_ended, job_state},
    error::{Error, ErrorClass, Refusal, detail},
    observe::{Observed, Ownership, ownership_for},
    plan::retention::{delete_all, delete_all_name},
    report::Announcement,
    settings::Settings,
    stores::ModelKey,
};

/// How long a Model waits for its artifacts to be deleted.
pub(super) const PATIENCE: Duration = Duration::from_mins(10);
/// How much of that is left to trainings, which save a checkpoint when they are told to end.
const PATIENCE_WITH_TRAININGS: Duration = Duration::from_mins(3);
/// How often a Model is looked at that waits: what it waits for tells, so this is for what is lost.
const LOOK: Duration = Duration::from_secs(30);

/// What is to be done about a Model that is being deleted.
#[derive(Debug)]
enum Step {
    /// Nothing: the finalizer is not there, or not for us to see to.
    Nothing,
    /// End these Jobs, which could still write, and wait for their pods.
    End(Vec<String>),
    /// Make this Job.
    Make(Box<Job>),
    /// Wait for the Job.
    Wait,
    /// Take the finalizer away, and say this.
    Release(Option<Announcement>),
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Finished {
    /// Whether anything was written.
    pub(super) changed: bool,
    /// What is to be said of the Model.
    pub(super) announcement: Option<Announcement>,
    /// Why something could not be written, if so.
    pub(super) failure: Option<ErrorClass>,
    pub(super) look_again_at: Option<Timestamp>,
}

/// Whether the finalizer is to be on a Model.
fn is_wanted(model: &Model) -> bool {
    let output = model.spec.training.as_ref().and_then(|training| training.output.as_ref());
    model.spec.deletion_policy == Some(DeletionPolicy::DeleteArtifacts) && output.is_some()
}

fn has(metadata: &ObjectMeta) -> bool {
    metadata.finalizers.iter().flatten().any(|name| name == finalizers::ARTIFACTS)
}

/// Puts the finalizer on a Model or takes it away, as its spec says. Returns the Model as it is then, if it was changed.
pub(super) async fn keep(client: &Client, model: &Model, key: &ModelKey) -> Result<Option<Model>, Error> {
    let wanted = is_wanted(model);
    if wanted == has(&model.metadata) {
        return Ok(None);
    }
    set(client, model, key, wanted).await
}

/// Writes the list of finalizers. `None` if the Model is gone. The resource version keeps the list from losing what others put
/// there meanwhile.
async fn set(client: &Client, model: &Model, key: &ModelKey, there: bool) -> Result<Option<Model>, Error> {
    let patch = patch(&model.metadata, there);
    let api: Api<Model> = Api::namespaced(client.clone(), &key.namespace);
    unless_gone(api.patch(&key.name, &PatchParams::default(), &Patch::Merge(&patch)).await, key)
}

/// What was answered to a write of the list; `None` if the Model is gone.
fn unless_gone<T>(answer: Result<T, kube::Error>, key: &ModelKey) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if matches!(Refusal::of(&error), Refusal::NotFound | Refusal::NamespaceGone) => Ok(None),
        Err(source) => {
            let doing = format!("write the finalizers of Model {key}");
            Err(Error::Request { doing, source: Box::new(source) })
        }
    }
}

fn patch(metadata: &ObjectMeta, there: bool) -> Value {
    let names = metadata.finalizers.iter().flatten().map(String::as_str);
    let others = names.filter(|name| *name != finalizers::ARTIFACTS);
    let names: Vec<_> = others.chain(there.then_some(finalizers::ARTIFACTS)).collect();
    json!({"metadata": {"finalizers": names, "resourceVersion": metadata.resource_version}})
}

/// When the finalizer goes of a Model that is being deleted and that nobody can read, such as one of a newer version: what it wrote
/// is not known.
pub(super) fn unread_goes_at(metadata: &ObjectMeta) -> Option<Timestamp> {
    deadline(metadata).filter(|_| has(metadata))
}

/// Takes the finalizer away from such a Model.
pub(super) async fn release_unread(
    client: &Client,
    metadata: &ObjectMeta,
    key: &ModelKey,
) -> Result<Announcement, Error> {
    let api: Api<Model> = Api::namespaced(client.clone(), &key.namespace);
    let patch = Patch::Merge(patch(metadata, false));
    unless_gone(api.patch_metadata(&key.name, &PatchParams::default(), &patch).await, key)?;
    let note = "this version of the operator cannot read the Model, so what it wrote stays in its store; delete it by hand";
    Ok(kept(note.to_owned()))
}

/// Does what is next for a Model that is being deleted.
pub(super) async fn finish(
    client: &Client,
    model: &Model,
    key: &ModelKey,
    observed: &Observed,
    settings: &Settings,
    now: Timestamp,
) -> Result<Finished, Error> {
    let look_again_at = now.checked_add(LOOK).ok().into_iter().chain(deadline(&model.metadata)).min();
    let waits = Finished { look_again_at, ..Finished::default() };
    match step(model, observed, settings, now) {
        Step::Nothing => Ok(Finished::default()),
        Step::Wait => Ok(waits),
        Step::End(jobs) => {
            let changed = !jobs.is_empty();
            end(client, key, &jobs).await?;
            Ok(Finished { changed, ..waits })
        }
        Step::Make(job) => {
            let api: Api<Job> = Api::namespaced(client.clone(), &key.namespace);
            match api.create(&PostParams::default(), &job).await {
                Ok(_) => Ok(Finished { changed: true, ..waits }),
                Err(error) => match Refusal::of(&error) {
                    // The stores do not know it yet.
                    Refusal::AlreadyExists => Ok(waits),
                    Refusal::NamespaceGone => release(client, model, key, None).await,
                    refusal => {
                        warn!(model = %key, said = detail(&error), "the Job that deletes artifacts is refused");
                        Ok(Finished { failure: Some(refusal.class()), ..waits })
                    }
                },
            }
        }
        Step::Release(announcement) => release(client, model, key, announcement).await,
    }
}

async fn release(
    client: &Client,
    model: &Model,
    key: &ModelKey,
    announcement: Option<Announcement>,
) -> Result<Finished, Error> {
    set(client, model, key, false).await?;
    info!(model = %key, "the Model may go");
    Ok(Finished { changed: true, announcement, ..Finished::default() })
}

async fn end(client: &Client, key: &ModelKey, jobs: &[String]) -> Result<(), Error> {
    let api: Api<Job> = Api::namespaced(client.clone(), &key.namespace);
    for name in jobs {
        match api.delete(name, &DeleteParams::background()).await {
            Ok(_) => {}
            Err(error) if Refusal::of(&error) == Refusal::NotFound => {}
            Err(source) => {
                return Err(Error::Request {
                    doing: format!("delete Job {name} of Model {key}"),
                    source: Box::new(source),
                });
            }
        }
    }
    Ok(())
}

fn deadline(metadata: &ObjectMeta) -> Option<Timestamp> {
    let deleted = metadata.deletion_timestamp.as_ref()?.0;
    deleted.checked_add(PATIENCE).ok()
}

/// What is next. Pure.
fn step(model: &Model, observed: &Observed, settings: &Settings, now: Timestamp) -> Step {
    let Some(deleted) = model.metadata.deletion_timestamp.as_ref().filter(|_| has(&model.metadata)) else {
        return Step::Nothing;
    };
    let (true, Some(name)) = (is_wanted(model), delete_all_name(model)) else { return Step::Release(None) };
    let waited = Duration::try_from(now.duration_since(deleted.0)).unwrap_or_default();
    let left = PATIENCE.saturating_sub(waited);
    if let Some(job) = observed.jobs.iter().find(|job| job.metadata.name.as_deref() == Some(&*name)) {
        let state = job_state(job, observed.pods.iter().map(AsRef::as_ref), now);
        return match state {
            JobState::Succeeded(outcome) => Step::Release(Some(Announcement {
                warning: false,
                reason: "ArtifactsDeleted".to_owned(),
                action: "Delete",
                note: outcome.message,
            })),
            JobState::Failed(cause) if has_failed(job) || left.is_zero() => {
                Step::Release(Some(left_behind(model, &cause.message)))
            }
            JobState::Active(Some(suffers)) if left.is_zero() => {
                Step::Release(Some(left_behind(model, &suffers.cause.message)))
            }
            _ if left.is_zero() => Step::Release(Some(left_behind(model, "its Job did not end in time"))),
            _ => Step::Wait,
        };
    }
    if left.is_zero() {
        return Step::Release(Some(left_behind(model, "no Job could be made in time")));
    }
    let jobs: Vec<String> = observed
        .jobs
        .iter()
        .filter(|job| ownership_for(model, &job.metadata) == Ownership::Ours)
        .filter(|job| job.metadata.deletion_timestamp.is_none())
        .filter_map(|job| job.metadata.name.clone())
        .collect();
    let writes = observed.pods.iter().any(|pod| may_write(pod));
    if !jobs.is_empty() || (writes && waited < PATIENCE_WITH_TRAININGS) {
        return Step::End(jobs);
    }
    let seconds = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
    match delete_all(model, settings, seconds) {
        Some(Ok(job)) => Step::Make(Box::new(job)),
        Some(Err(cause)) => Step::Release(Some(left_behind(model, &cause.message))),
        None => Step::Release(None),
    }
}

/// Whether a pod may still write into the store.
fn may_write(pod: &Pod) -> bool {
    let role = pod.metadata.labels.as_ref().and_then(|all| all.get(labels::ROLE)).map(String::as_str);
    matches!(role, Some(labels::ROLE_TRAIN | labels::ROLE_DELETE)) && !has_ended(pod)
}

/// Whether the Job's own controller gave it up.
fn has_failed(job: &Job) -> bool {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Failed" && condition.status == "True")
}

fn left_behind(model: &Model, why: &str) -> Announcement {
    let output = model.spec.training.as_ref().and_then(|training| training.output.as_ref());
    let place = output.map_or_else(String::new, |output| {
        let namespace = model.metadata.namespace.as_deref().unwrap_or_default();
        modelwright_api::training::order::store(&output.uri, namespace, &model.name_any())
    });
    kept(format!(
        "what the Model wrote below {place} was not all deleted and stays; delete it by hand: {why}"
    ))
}

fn kept(note: String) -> Announcement {
    Announcement { warning: true, reason: "ArtifactsKept".to_owned(), action: "Delete", note }
}

#[cfg(test)]
mod tests;
