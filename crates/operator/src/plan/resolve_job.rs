//! The Job that finds out what a source holds.

use k8s_openapi::api::{
    batch::v1::{Job, JobSpec},
    core::v1::{PodTemplateSpec, ResourceRequirements},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use modelwright_api::{
    Model,
    conditions::Cause,
    contract::{annotations, containers, environment, labels, names},
    model::Source,
    serving::ExecutionProvider,
};

use super::{
    metadata::{Owner, strings},
    overlay,
    pods::{self, Store},
};
use crate::settings::Settings;

/// Longer than any model takes to be read once; a Job that hangs ends some time.
const DEADLINE_SECONDS: i64 = 6 * 60 * 60;

/// What a Job is made for.
pub(super) struct Request<'a> {
    pub(super) source: &'a Source,
    /// The identity of the question.
    pub(super) resolved_from: &'a str,
    /// Counts from 0.
    pub(super) attempt: u32,
    /// How many attempts failed by a mistake of ours.
    pub(super) bugs: u32,
    /// What the source looked like when it was last resolved: only if it looks otherwise is it read.
    pub(super) unless: Option<&'a str>,
}

/// The Job for `request`.
pub(super) fn job(
    model: &Model,
    owner: &Owner<'_>,
    settings: &Settings,
    request: &Request<'_>,
) -> Result<Job, Cause> {
    let name = names::resolve_job(owner.name, request.resolved_from, request.attempt);
    let mut metadata = owner.child(name);
    let bugs = request.bugs.to_string();
    metadata.annotations = Some(strings([
        (annotations::JOB_HASH, request.resolved_from),
        (annotations::FAILURES, bugs.as_str()),
    ]));
    metadata.labels.get_or_insert_default().insert(labels::ROLE.to_owned(), labels::ROLE_RESOLVE.to_owned());
    Ok(Job {
        metadata,
        spec: Some(JobSpec {
            // The operator owns attempts: it knows which failures are worth another.
            backoff_limit: Some(0),
            active_deadline_seconds: Some(DEADLINE_SECONDS),
            template: template(model, owner, settings, request)?,
            ..JobSpec::default()
        }),
        status: None,
    })
}

fn template(
    model: &Model,
    owner: &Owner<'_>,
    settings: &Settings,
    request: &Request<'_>,
) -> Result<PodTemplateSpec, Cause> {
    let source = request.source;
    let store = Store { uri: &source.uri, secret: source.credentials_secret_ref.as_ref() };
    let mut spec = pods::pod(model, owner, settings, store);
    spec.restart_policy = Some("Never".to_owned());
    let mut resolve =
        pods::container(containers::RESOLVE, &settings.images.cpu, settings, arguments(model, request));
    pods::reach(&mut resolve, store, settings, model);
    let copy_secret = source.copy_to.as_ref().and_then(|copy| copy.credentials_secret_ref.as_ref());
    if let Some(secret) = copy_secret {
        let args = resolve.args.get_or_insert_default();
        args.extend(["--copy-to-secret".to_owned(), secret.name.clone()]);
        resolve.env.get_or_insert_default().extend(pods::credentials(secret, environment::COPY_TO_PREFIX));
    }
    resolve.resources = Some(ResourceRequirements { ..pods::resources_of_transfer() });
    spec.containers = vec![resolve];
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(owner.pod_labels(labels::ROLE_RESOLVE)),
            ..ObjectMeta::default()
        }),
        spec: Some(spec),
    };
    overlay::merge(template, &[("spec.podTemplate", model.spec.pod_template.as_ref())])
}

fn arguments(model: &Model, request: &Request<'_>) -> Vec<String> {
    let source = request.source;
    let provider: ExecutionProvider =
        model.spec.serving.as_ref().and_then(|serving| serving.execution_provider).unwrap_or_default();
    let mut args = ["resolve", "--uri", &source.uri, "--execution-provider", provider.as_str()]
        .map(str::to_owned)
        .to_vec();
    let copy_to = source.copy_to.as_ref().map(|copy| copy.uri.as_str());
    let optional = [
        ("--digest", source.digest.as_deref()),
        ("--copy-to", copy_to),
        ("--unless-fingerprint", request.unless),
    ];
    for (flag, value) in optional {
        args.extend(value.into_iter().flat_map(|value| [flag.to_owned(), value.to_owned()]));
    }
    args
}
