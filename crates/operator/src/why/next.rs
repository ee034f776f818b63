//! What to do about a cause, as commands where there are some.

use modelwright_api::{
    Model,
    conditions::{Cause, Class, Reason},
    contract::{annotations, containers},
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
