//! The Job that trains: posted once, with one attempt, whose failures the operator judges itself.

use k8s_openapi::api::{
    batch::v1::{
        Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement,
        PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
    },
    core::v1::PodTemplateSpec,
};
use modelwright_api::{
    conditions::Cause,
    contract::{annotations, containers, labels, names},
};

use super::{limits::Limits, nodes, own, pod, view::View};
use crate::plan::{metadata::strings, overlay};

/// Which attempt a Job is made for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    /// The number in its name.
    pub(super) number: u32,
    /// The run, and the number of the attempt at it, from 0.
    pub(super) run: &'a str,
    pub(super) attempt: u32,
    /// How many attempts at the run failed in a way that counts.
    pub(super) failures: u32,
    pub(super) trigger: &'a str,
    /// Makes a Job that never starts and only keeps why no further attempt is made.
    pub(super) given_up: Option<&'a str>,
}

/// A Job of this Model, with what every one has.
pub(super) fn job(view: &View<'_>, name: String, role: &str, template: PodTemplateSpec) -> Job {
    let mut metadata = view.owner.child(name);
    metadata.annotations = Some(strings([(annotations::JOB_HASH, view.trained_from)]));
    metadata.labels.get_or_insert_default().insert(labels::ROLE.to_owned(), role.to_owned());
    Job {
        metadata,
        spec: Some(JobSpec {
            // The operator owns attempts: it knows which failures are worth another.
            backoff_limit: Some(0),
            template,
            ..JobSpec::default()
        }),
        status: None,
    }
}

/// The Job for one attempt.
pub(super) fn train(view: &View<'_>, limits: &Limits, request: &Request<'_>) -> Result<Job, Cause> {
    let template = template(view, limits, request)?;
    let name = names::train_job(view.owner.name, view.trained_from, request.number);
    let policy = failure_policy(&template);
    let mut job = job(view, name, labels::ROLE_TRAIN, template);
    let (attempt, failures) = (request.attempt.to_string(), request.failures.to_string());
    job.metadata.annotations.get_or_insert_default().extend(strings([
        (annotations::RUN, request.run),
        (annotations::ATTEMPT, attempt.as_str()),
        (annotations::FAILURES, failures.as_str()),
        (annotations::TRIGGER, request.trigger),
    ]));
    let spec = job.spec.get_or_insert_default();
    spec.active_deadline_seconds = Some(i64::try_from(limits.deadline.as_secs()).unwrap_or(i64::MAX));
    spec.pod_failure_policy = Some(policy);
    // Two pods that write the same checkpoints would harm each other.
    spec.pod_replacement_policy = Some("Failed".to_owned());
    if let Some(nodes) = nodes::several(view.training) {
        spec.completion_mode = Some("Indexed".to_owned());
        spec.completions = Some(nodes);
        spec.parallelism = Some(nodes);
    }
    if let Some(queue) = &view.training.queue {
        // Whoever admits it lets it go; the operator never writes it again.
        spec.suspend = Some(true);
        job.metadata.labels.get_or_insert_default().insert(labels::QUEUE.to_owned(), queue.clone());
    }
    if let Some(why) = request.given_up {
        job.spec.get_or_insert_default().suspend = Some(true);
        job.metadata.labels.get_or_insert_default().remove(labels::QUEUE);
        job.metadata
            .annotations
            .get_or_insert_default()
            .insert(annotations::GIVEN_UP.to_owned(), why.to_owned());
    }
    Ok(job)
}

fn template(view: &View<'_>, limits: &Limits, request: &Request<'_>) -> Result<PodTemplateSpec, Cause> {
    let order = pod::order(view, request.run, request.attempt)?;
    let (template, order) = match &view.training.container {
        Some(container) => own::template(view, limits, request, container, order)?,
        None => (pod::builtin(view, &order), order),
    };
    pod::check_size(&template, &order)?;
    overlay::merge(
        template,
        &[
            ("spec.podTemplate", view.model.spec.pod_template.as_ref()),
            ("spec.training.podTemplate", view.training.pod_template.as_ref()),
        ],
    )
}

/// Fails the Job at the first failure of any kind, so that its condition keeps what failed when the pod is gone: that the node was
/// taken away first, then the container and its exit code.
fn failure_policy(template: &PodTemplateSpec) -> PodFailurePolicy {
    let fail = "FailJob".to_owned();
    let disrupted = PodFailurePolicyRule {
        action: fail.clone(),
        on_exit_codes: None,
        on_pod_conditions: Some(vec![PodFailurePolicyOnPodConditionsPattern {
            type_: "DisruptionTarget".to_owned(),
            status: Some("True".to_owned()),
        }]),
    };
    let spec = template.spec.iter();
    let all = spec.flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
    let judged = [containers::FETCH, containers::TRAIN, containers::CHECK, containers::PUBLISH];
    let ended = all.filter(|container| judged.contains(&container.name.as_str())).map(|container| {
        PodFailurePolicyRule {
            action: fail.clone(),
            on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
                container_name: Some(container.name.clone()),
                operator: "NotIn".to_owned(),
                values: vec![0],
            }),
            on_pod_conditions: None,
        }
    });
    PodFailurePolicy { rules: std::iter::once(disrupted).chain(ended).collect() }
}
