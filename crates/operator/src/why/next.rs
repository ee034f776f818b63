//! What to do about a cause, as commands where there are some.

use modelwright_api::{
    Model,
    conditions::{Cause, Class, Reason},
    contract::{annotations, containers, names::revision_id},
    status::Condition,
};

/// A Model's namespace and name.
pub(super) fn place(model: &Model) -> (&str, &str) {
    let metadata = &model.metadata;
    (metadata.namespace.as_deref().unwrap_or("default"), metadata.name.as_deref().unwrap_or_default())
}

/// What to do about a cause in a pod, in a container if one is given; the flag says whether it was started again.
pub(super) fn of_cause(
    model: &Model,
    cause: &Cause,
    pod: Option<&str>,
    container: Option<(&str, bool)>,
) -> Vec<String> {
    let (namespace, name) = place(model);
    let edit = |field: &str| format!("kubectl edit mdl {name} -n {namespace}  # {field}");
    let describe = || pod.map(|pod| format!("kubectl describe pod {pod} -n {namespace}"));
    let logs = || {
        let (pod, (container, previous)) = (pod?, container?);
        let previous = if previous { " --previous" } else { "" };
        Some(format!("kubectl logs {pod} -c {container} -n {namespace}{previous}"))
    };
    let resolve = |why: &str| {
        let annotation = annotations::RESOLVE_AT;
        format!(
            "kubectl annotate mdl {name} -n {namespace} --overwrite {annotation}=\"$(date -Is)\"  # {why}"
        )
    };
    if pod.is_some_and(|pod| trains(name, pod)) {
        return training(model, cause, &logs, &describe);
    }
    let known = Reason::ALL.iter().copied().find(|reason| reason.as_str() == cause.reason);
    let steps = match known {
        Some(Reason::SourceChanged) => {
            vec![Some(resolve("to accept the new bytes; or put the old ones back"))]
        }
        Some(Reason::OutOfMemory) => {
            vec![Some(edit("raise spec.serving.resources.limits.memory"))]
        }
        Some(Reason::StartupTimeout) => {
            vec![logs(), Some(edit("raise spec.serving.startupTimeout, or give it more CPU"))]
        }
        Some(Reason::QuotaExceeded) => vec![Some(format!("kubectl describe resourcequota -n {namespace}"))],
        Some(Reason::VolumeUnavailable) => vec![Some(format!("kubectl get pvc -n {namespace}")), describe()],
        Some(Reason::Unschedulable | Reason::WaitingForAccelerator) => {
            vec![
                describe(),
                Some("kubectl describe nodes  # what each has, and what is requested of it".to_owned()),
            ]
        }
        Some(Reason::ContainerFailed) => vec![logs(), describe()],
        Some(Reason::NameConflict) => {
            vec![Some(format!(
                "kubectl get deployment,service {name} -n {namespace} -o yaml  # see ownerReferences"
            ))]
        }
        Some(Reason::JobDeadlineExceeded | Reason::JobPodLost | Reason::ApplyFailed) => {
            vec![Some("# nothing: it is tried again by itself".to_owned())]
        }
        Some(_) => vec![describe()],
        None => of_command(cause, container, &logs, &resolve, &edit),
    };
    steps.into_iter().flatten().collect()
}

/// What to do where the number of pods does not follow the load.
pub(super) fn of_autoscaler(model: &Model, cause: &Cause) -> Vec<String> {
    let (namespace, name) = place(model);
    let known = Reason::ALL.iter().copied().find(|reason| reason.as_str() == cause.reason);
    match known {
        Some(Reason::AutoscalerConflict) => {
            vec![format!("kubectl get hpa -n {namespace}  # the column REFERENCE names what each scales")]
        }
        Some(Reason::MetricsAPIMissing) => {
            vec!["kubectl get apiservices | grep metrics.k8s.io  # what the cluster has".to_owned()]
        }
        Some(Reason::MetricsUnavailable) => vec![
            format!("kubectl top pods -n {namespace} -l modelwright.dev/model={name}"),
            "kubectl get apiservices | grep metrics.k8s.io".to_owned(),
        ],
        Some(Reason::RequestMissing) => {
            vec![format!(
                "kubectl edit mdl {name} -n {namespace}  # write the request in spec.serving.resources"
            )]
        }
        _ => vec![format!("kubectl describe hpa {name} -n {namespace}")],
    }
}

/// Whether a pod is that of a training.
fn trains(model: &str, pod: &str) -> bool {
    pod.strip_prefix(model).is_some_and(|rest| rest.starts_with("-train-"))
}

/// What to do about a training whose pod is gone, or that never had one.
pub(super) fn of_training_cause(model: &Model, cause: &Cause) -> Vec<String> {
    training(model, cause, &|| None, &|| None)
}

/// What to do about a revision that the gate refused.
pub(super) fn of_refusal(model: &Model) -> Vec<String> {
    let (namespace, name) = place(model);
    vec![
        "# better data, other settings in spec.training, or another gate; until then nothing changes for clients".into(),
        retrain(model, "once the data are better; a changed spec is trained by itself"),
        format!("kubectl get mdl {name} -n {namespace} -o jsonpath='{{.status.revisions.rejected}}'  # all its metrics"),
    ]
}

fn retrain(model: &Model, why: &str) -> String {
    let (namespace, name) = place(model);
    let annotation = annotations::RETRAIN_AT;
    format!("kubectl annotate mdl {name} -n {namespace} --overwrite {annotation}=\"$(date -Is)\"  # {why}")
}

/// What to do about a training.
fn training(
    model: &Model,
    cause: &Cause,
    logs: &dyn Fn() -> Option<String>,
    describe: &dyn Fn() -> Option<String>,
) -> Vec<String> {
    let (namespace, name) = place(model);
    let edit = |field: &str| Some(format!("kubectl edit mdl {name} -n {namespace}  # {field}"));
    let again = |why: &str| Some(retrain(model, why));
    let by_itself = || Some("# nothing: it is tried again by itself".to_owned());
    let known = Reason::ALL.iter().copied().find(|reason| reason.as_str() == cause.reason);
    let steps = match known {
        Some(Reason::Queued) => vec![Some(format!(
            "kubectl get localqueues,workloads -n {namespace}  # what the queue has, and who waits in it"
        ))],
        Some(Reason::ApprovalRequired) => vec![Some(approve(model))],
        Some(Reason::OutOfMemory) => {
            vec![edit("raise spec.training.resources.limits.memory"), again("after that")]
        }
        Some(Reason::TrainingDeadlineExceeded) => vec![
            edit("raise spec.training.deadline, or give spec.training.resources more CPU"),
            again("after that; it goes on from the last checkpoint of its run, if there is one"),
        ],
        Some(Reason::RetriesExhausted | Reason::ContainerFailed) => {
            vec![logs(), edit("correct what the message names"), again("to try it once more")]
        }
        Some(Reason::TrainingStalled) => vec![logs(), by_itself()],
        Some(Reason::TrainingPreempted | Reason::JobPodLost | Reason::Evicted | Reason::ApplyFailed) => {
            vec![by_itself()]
        }
        Some(Reason::QuotaExceeded) => vec![Some(format!("kubectl describe resourcequota -n {namespace}"))],
        Some(Reason::VolumeUnavailable) => vec![Some(format!("kubectl get pvc -n {namespace}")), describe()],
        Some(Reason::Unschedulable | Reason::WaitingForAccelerator) => vec![
            describe(),
            Some("kubectl describe nodes  # what each has, and what is requested of it".to_owned()),
        ],
        Some(_) => vec![describe()],
        None => match cause.class {
            Class::User => vec![
                logs(),
                edit("correct what the message names in spec.training"),
                again("once the data are right, if it is they"),
            ],
            Class::Wait => vec![
                edit("if the spec is wrong"),
                Some("# nothing more: it is tried again by itself once it is there".to_owned()),
            ],
            Class::Bug => vec![logs(), Some("# please report it with these lines".to_owned())],
            Class::Transient | Class::Working | Class::Settled => vec![by_itself()],
        },
    };
    steps.into_iter().flatten().collect()
}

/// How the newest revision is let into service.
fn approve(model: &Model) -> String {
    let (namespace, name) = place(model);
    let training = model.status.as_ref().and_then(|status| status.training.as_ref());
    let revision = training.and_then(|training| training.revision.as_deref()).map_or("…", revision_id);
    let patch = format!(r#"{{"spec":{{"rollout":{{"revision":"{revision}"}}}}}}"#);
    format!("kubectl patch mdl {name} -n {namespace} --type merge -p '{patch}'  # to serve it")
}

/// What to do about something that a command of ours said.
fn of_command(
    cause: &Cause,
    container: Option<(&str, bool)>,
    logs: &dyn Fn() -> Option<String>,
    resolve: &dyn Fn(&str) -> String,
    edit: &dyn Fn(&str) -> String,
) -> Vec<Option<String>> {
    let reads = container.is_none_or(|(container, _)| container == containers::RESOLVE);
    match cause.class {
        Class::User if reads => {
            vec![Some(edit("if the spec is wrong")), Some(resolve("once what lies at the source is right"))]
        }
        Class::User => vec![logs(), Some(edit("correct what the message names"))],
        Class::Wait => vec![
            Some(edit("if the spec is wrong")),
            Some("# nothing more: it is tried again by itself once it is there".to_owned()),
        ],
        Class::Bug => vec![logs(), Some("# please report it with these lines".to_owned())],
        Class::Transient | Class::Working | Class::Settled => {
            vec![Some("# nothing: it is tried again by itself".to_owned())]
        }
    }
}

/// What to do about a condition that nothing beneath the Model explains.
pub(super) fn of_condition(model: &Model, condition: &Condition) -> Vec<String> {
    let (namespace, name) = place(model);
    let known = Reason::ALL.iter().copied().find(|reason| reason.as_str() == condition.reason);
    let Some(reason) = known.filter(|reason| !reason.action().is_empty()) else { return Vec::new() };
    let edit = format!("kubectl edit mdl {name} -n {namespace}");
    let action = reason.action().replace("NAME", name).replace('`', "");
    match reason.class() {
        Class::User => vec![format!("{edit}  # {action}")],
        _ => vec![format!("# {action}")],
    }
}

/// What to do about a Job that gets no pod.
pub(super) fn of_silent_job(model: &Model, job: &str) -> Vec<String> {
    let (namespace, _) = place(model);
    vec![format!("kubectl describe job {job} -n {namespace}  # its Events say what refuses a pod")]
}
