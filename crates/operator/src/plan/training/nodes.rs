//! Several pods that train together, as `torchrun` expects them.

use k8s_openapi::api::core::v1::{
    EnvVar, EnvVarSource, ObjectFieldSelector, PodSpec, Service, ServicePort, ServiceSpec,
};
use modelwright_api::{
    Model,
    contract::{environment, labels, names, ports},
    training::Training,
};

use super::{job::Request, view::View};
use crate::plan::{
    metadata::{Owner, strings},
    pods,
};

/// Where the pods meet.
const MASTER_PORT: u16 = 29_400;
/// Where processes meet that read `MASTER_PORT` themselves.
const PROCESS_PORT: u16 = 29_500;

/// How many pods train together, if more than one does.
pub(super) fn several(training: &Training) -> Option<i32> {
    training.container.as_ref()?.nodes.filter(|nodes| *nodes > 1)
}

/// The Service by which training pods find each other before they are ready; `None` where one trains alone.
pub(in crate::plan) fn service(model: &Model, owner: &Owner<'_>) -> Option<Service> {
    several(model.spec.training.as_ref()?)?;
    Some(Service {
        metadata: owner.child(names::train_service(owner.name)),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(strings([(labels::MODEL, owner.name), (labels::ROLE, labels::ROLE_TRAIN)])),
            ports: Some(vec![ServicePort {
                name: Some(ports::PROGRESS_NAME.to_owned()),
                port: i32::from(ports::PROGRESS),
                protocol: Some("TCP".to_owned()),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    })
}

/// Gives the pods names by which they find each other.
pub(super) fn join(view: &View<'_>, spec: &mut PodSpec) {
    if several(view.training).is_some() {
        spec.subdomain = Some(names::train_service(view.owner.name));
    }
}

/// Which of the pods this is; for every container of a pod that does not train alone.
pub(super) fn rank(training: &Training) -> Option<EnvVar> {
    several(training)?;
    Some(EnvVar {
        name: environment::NODE_RANK.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: None,
                field_path: format!("metadata.annotations['{}']", labels::POD_INDEX),
            }),
            ..EnvVarSource::default()
        }),
    })
}

/// What `torchrun` reads in the container that trains.
pub(super) fn variables(view: &View<'_>, request: &Request<'_>) -> Vec<EnvVar> {
    let Some(nodes) = several(view.training) else { return Vec::new() };
    let job = names::train_job(view.owner.name, view.trained_from, request.number);
    let address = format!("{job}-0.{}", names::train_service(view.owner.name));
    let mut all = vec![
        pods::variable("PET_NNODES", nodes.to_string()),
        pods::variable("PET_NPROC_PER_NODE", processes(view.training).to_string()),
        pods::variable("PET_MASTER_ADDR", address.clone()),
        pods::variable("PET_MASTER_PORT", MASTER_PORT.to_string()),
        pods::variable("MASTER_ADDR", address),
        pods::variable("MASTER_PORT", PROCESS_PORT.to_string()),
    ];
    all.extend(rank(view.training));
    all
}

/// One process for each accelerator of a pod, or one.
fn processes(training: &Training) -> i64 {
    let limits = training.resources.as_ref().and_then(|resources| resources.limits.as_ref());
    let devices = limits.into_iter().flatten().filter(|(name, _)| name.ends_with("/gpu"));
    let number: i64 = devices.filter_map(|(_, amount)| amount.milli().ok()).sum();
    (number / 1_000).max(1)
}
