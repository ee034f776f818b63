//! The Job that lists or deletes revisions.

use k8s_openapi::api::{
    batch::v1::{Job, JobSpec},
    core::v1::PodTemplateSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use modelwright_api::{
    Model,
    conditions::{Cause, Reason},
    contract::{annotations, containers, environment, labels, names, paths},
    training::order::{DeletionOrder, MAX_ORDER_BYTES},
};
use serde::Serialize;

use super::super::{
    identity,
    metadata::{Owner, strings},
    overlay,
    pods::{self, Store},
};
use crate::settings::Settings;

/// A Job that hangs ends some time.
const DEADLINE_SECONDS: i64 = 60 * 60;
/// How long a Job stays that deletes what a deleted Model wrote, for people to look at.
const KEPT_SECONDS: i32 = 60 * 60;
/// The account that every namespace has. That of the Model goes with it, perhaps before its artifacts.
const DEFAULT_ACCOUNT: &str = "default";

/// What a Job is made for.
#[derive(Serialize)]
struct Asked<'a> {
    order: &'a DeletionOrder,
    failures: u32,
}

/// The Job for `order`, after so many that failed.
pub(super) fn job(
    model: &Model,
    owner: &Owner<'_>,
    settings: &Settings,
    order: &DeletionOrder,
    failures: u32,
) -> Result<Job, Cause> {
    let hash = identity::sha256(&Asked { order, failures });
    let text = serde_json::to_string(order).unwrap_or_default();
    if text.len() > MAX_ORDER_BYTES {
        let message = format!("the order to delete revisions has more than {MAX_ORDER_BYTES} bytes");
        return Err(Cause::new(Reason::InvalidSpec, message));
    }
    let mut metadata = owner.child(names::delete_job(owner.name, &hash));
    let failures = failures.to_string();
    metadata.annotations = Some(strings([
        (annotations::JOB_HASH, hash.as_str()),
        (annotations::FAILURES, &failures),
        (annotations::ORDER, &text),
    ]));
    metadata.labels.get_or_insert_default().insert(labels::ROLE.to_owned(), labels::ROLE_DELETE.to_owned());
    Ok(Job {
        metadata,
        spec: Some(JobSpec {
            // The operator owns attempts: it knows which failures are worth another.
            backoff_limit: Some(0),
            active_deadline_seconds: Some(DEADLINE_SECONDS),
            template: template(model, owner, settings, &text)?,
            ..JobSpec::default()
        }),
        status: None,
    })
}

/// The name of the Job that deletes all that a Model wrote.
pub(crate) fn delete_all_name(model: &Model) -> Option<String> {
    let order = order_for_all(model)?;
    Some(names::delete_job(&order.model, &identity::sha256(&Asked { order: &order, failures: 0 })))
}

/// The Job that deletes all that a Model wrote, which is being deleted; `None` if it has no store.
///
/// It has no owner: the garbage collector takes what a Model owns before the Model where somebody deletes it in the foreground.
/// It is retried by itself, ends with `seconds`, and goes by itself.
pub(crate) fn delete_all(model: &Model, settings: &Settings, seconds: i64) -> Option<Result<Job, Cause>> {
    let order = order_for_all(model)?;
    let owner = Owner::of(model, &settings.version);
    Some(job(model, &owner, settings, &order, 0).map(|mut job| {
        job.metadata.owner_references = None;
        if let Some(spec) = &mut job.spec {
            spec.backoff_limit = Some(6);
            spec.active_deadline_seconds = Some(seconds.max(1));
            spec.ttl_seconds_after_finished = Some(KEPT_SECONDS);
            if let Some(pod) = &mut spec.template.spec
                && model.spec.service_account_name.is_none()
            {
                pod.service_account_name = Some(DEFAULT_ACCOUNT.to_owned());
            }
        }
        job
    }))
}

fn order_for_all(model: &Model) -> Option<DeletionOrder> {
    let owner = Owner::of(model, "");
    Some(DeletionOrder {
        model: owner.name.to_owned(),
        namespace: owner.namespace.to_owned(),
        uid: owner.uid.to_owned(),
        output: model.spec.training.as_ref()?.output.as_ref()?.uri.clone(),
        ..DeletionOrder::default()
    })
}

fn template(
    model: &Model,
    owner: &Owner<'_>,
    settings: &Settings,
    order: &str,
) -> Result<PodTemplateSpec, Cause> {
    let output = model.spec.training.as_ref().and_then(|training| training.output.as_ref());
    let secret = output.and_then(|output| output.credentials_secret_ref.as_ref());
    let store = Store { uri: "", secret: None };
    let mut spec = pods::pod(model, owner, settings, store);
    spec.restart_policy = Some("Never".to_owned());
    spec.volumes.get_or_insert_default().push(pods::order_volume());
    let args = ["delete", "--config", paths::ORDER].map(str::to_owned).to_vec();
    let mut delete = pods::container(containers::DELETE, &settings.images.cpu, settings, args);
    pods::reach(&mut delete, store, settings, model);
    if let Some(secret) = secret {
        let args = delete.args.get_or_insert_default();
        args.extend(["--credentials-secret".to_owned(), secret.name.clone()]);
        let credentials = pods::credentials(secret, environment::OUTPUT_PREFIX);
        delete.env.get_or_insert_default().extend(credentials);
    }
    delete.volume_mounts.get_or_insert_default().push(pods::order_mount());
    delete.resources = Some(pods::resources_of_transfer());
    spec.containers = vec![delete];
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(owner.pod_labels(labels::ROLE_DELETE)),
            annotations: Some(strings([(annotations::ORDER, order)])),
            ..ObjectMeta::default()
        }),
        spec: Some(spec),
    };
    overlay::merge(template, &[("spec.podTemplate", model.spec.pod_template.as_ref())])
}
