//! The pod of a user's container. Its image sees data and no credentials; what it leaves is judged by a container that has none
//! either, and published by one that never parses it.

use k8s_openapi::api::core::v1::{
    Capabilities, Container, EnvVar, PodTemplateSpec, ResourceRequirements, SecurityContext, Volume,
    VolumeMount,
};
use modelwright_api::{
    conditions::Cause,
    contract::{annotations, containers, paths},
    training::TrainingContainer,
};

use super::{
    environment,
    job::Request,
    limits::Limits,
    nodes,
    pod::{self, Stores},
    view::View,
};
use crate::plan::pods;

/// Names of the volumes behind the folders of [`paths`].
const DATA: &str = "data";
const OUT: &str = "out";
const CHECKPOINTS: &str = "checkpoints";
const PROGRESS: &str = "progress";
const RECORDS: &str = "records";
const CONFIG: &str = "config";
/// The user's own `/tmp`: what it leaves there is not seen by containers with credentials.
const TEMPORARY: &str = "train-tmp";

/// The template, and the order that stands in it.
pub(super) fn template(
    view: &View<'_>,
    limits: &Limits,
    request: &Request<'_>,
    container: &TrainingContainer,
    order: String,
) -> Result<(PodTemplateSpec, String), Cause> {
    let parameters = parameters(container);
    let stores = Stores::all(view.training);
    let mut spec = pod::spec(view, &stores);
    nodes::join(view, &mut spec);
    let volumes = spec.volumes.get_or_insert_default();
    volumes.extend([DATA, OUT, CHECKPOINTS, PROGRESS, RECORDS, TEMPORARY].map(pods::empty_dir));
    volumes.push(config());
    spec.init_containers =
        Some(vec![fetch(view), agent(view), train(view, limits, request, container)?, check(view)]);
    spec.containers = vec![publish(view)];
    let mut template = pod::training_template(view, &order, spec);
    let annotations = template.metadata.get_or_insert_default().annotations.get_or_insert_default();
    annotations.insert(annotations::PARAMETERS.to_owned(), parameters);
    Ok((template, order))
}

/// `parameters` as JSON, `{}` without any.
pub(super) fn parameters(container: &TrainingContainer) -> String {
    container.parameters.as_ref().map_or_else(|| "{}".to_owned(), |written| written.to_value().to_string())
}

fn config() -> Volume {
    let file = paths::ML_CONFIG.rsplit('/').next().unwrap_or_default();
    pods::of_annotation(CONFIG, annotations::PARAMETERS, file)
}

/// A container of ours that is told the order.
fn ours(view: &View<'_>, name: &str, mounts: Vec<VolumeMount>) -> Container {
    let args = [name, "--config", paths::ORDER].map(str::to_owned).to_vec();
    let mut container = pods::container(name, &view.settings.images.cpu, view.settings, args);
    container.volume_mounts.get_or_insert_default().extend(mounts);
    container.env = Some(nodes::rank(view.training).into_iter().collect());
    container.resources = Some(pods::resources_of_transfer());
    container
}

fn fetch(view: &View<'_>) -> Container {
    let mounts = vec![
        pods::mount(DATA, paths::ML_DATA, false),
        pods::mount(CHECKPOINTS, paths::ML_CHECKPOINTS, false),
        pods::mount(RECORDS, paths::ML_RECORDS, false),
    ];
    let mut fetch = ours(view, containers::FETCH, mounts);
    pod::reach(view, &mut fetch, &Stores::all(view.training));
    fetch
}

/// Runs beside the container that trains, from before it to after it.
fn agent(view: &View<'_>) -> Container {
    let mounts = vec![
        pods::mount(CHECKPOINTS, paths::ML_CHECKPOINTS, false),
        pods::mount(PROGRESS, paths::ML_PROGRESS_FOLDER, false),
        pods::mount(RECORDS, paths::ML_RECORDS, false),
    ];
    let mut agent = ours(view, containers::AGENT, mounts);
    pod::reach(view, &mut agent, &Stores::of_output(view.training));
    agent.restart_policy = Some("Always".to_owned());
    agent.ports = Some(vec![pod::progress_port()]);
    agent
}

/// The user's.
fn train(
    view: &View<'_>,
    limits: &Limits,
    request: &Request<'_>,
    container: &TrainingContainer,
) -> Result<Container, Cause> {
    let words = |words: &[String]| (!words.is_empty()).then(|| words.to_vec());
    let mut env: Vec<EnvVar> =
        container.env.iter().map(|own| pods::variable(&own.name, own.value.as_str())).collect();
    let mut ours = environment::variables(view, limits, request, container)?;
    ours.extend(nodes::variables(view, request));
    // Where both say the number of threads, the user's counts.
    ours.retain(|variable| env.iter().all(|own| own.name != variable.name));
    env.extend(ours);
    Ok(Container {
        name: containers::TRAIN.to_owned(),
        image: Some(container.image.clone()),
        command: words(&container.command),
        args: words(&container.args),
        env: Some(env),
        resources: pod::resources(view.training),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            ..SecurityContext::default()
        }),
        // The end of its log tells why it failed.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(vec![
            pods::mount(DATA, paths::ML_DATA, true),
            pods::mount(OUT, paths::ML_OUT, false),
            pods::mount(CHECKPOINTS, paths::ML_CHECKPOINTS, false),
            pods::mount(PROGRESS, paths::ML_PROGRESS_FOLDER, false),
            pods::mount(CONFIG, paths::ML_CONFIG_FOLDER, true),
            pods::mount(TEMPORARY, paths::TEMPORARY, false),
        ]),
        ..Container::default()
    })
}

/// Loads what the user's container left, and so has neither credentials nor a way to a store.
fn check(view: &View<'_>) -> Container {
    let mounts = vec![
        pods::order_mount(),
        pods::mount(OUT, paths::ML_OUT, true),
        pods::mount(RECORDS, paths::ML_RECORDS, false),
    ];
    let mut check = ours(view, containers::CHECK, mounts);
    check.resources = Some(resources_of_check(view));
    if let Some(bytes) = room(view) {
        check.args.get_or_insert_default().extend(["--max-bytes".to_owned(), bytes.to_string()]);
    }
    check
}

/// How many bytes the container that trains may write, if the user bounds them. Files with holes have more, and no server needs those.
fn room(view: &View<'_>) -> Option<i64> {
    let limits = view.training.resources.as_ref()?.limits.as_ref()?;
    let milli = limits.get("ephemeral-storage")?.milli().ok()?;
    Some(milli / 1_000).filter(|bytes| *bytes > 0)
}

/// It computes with the model, which takes what training it may take, but for devices.
fn resources_of_check(view: &View<'_>) -> ResourceRequirements {
    let Some(mut resources) = pod::resources(view.training) else {
        return ResourceRequirements { limits: None, ..pods::resources_of_transfer() };
    };
    for quantities in [&mut resources.requests, &mut resources.limits].into_iter().flatten() {
        quantities.retain(|name, _| matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage"));
    }
    resources
}

fn publish(view: &View<'_>) -> Container {
    let mounts = vec![pods::mount(OUT, paths::ML_OUT, true), pods::mount(RECORDS, paths::ML_RECORDS, false)];
    let mut publish = ours(view, containers::PUBLISH, mounts);
    pod::reach(view, &mut publish, &Stores::of_output(view.training));
    publish
}
