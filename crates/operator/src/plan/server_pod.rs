//! The pod that serves a revision: `fetch` brings and verifies the bytes with the store's credentials, then `serve` answers
//! without any.

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, HTTPGetAction, PodTemplateSpec, Probe, ResourceRequirements,
    TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::{
    api::resource::Quantity, apis::meta::v1::ObjectMeta, util::intstr::IntOrString,
};
use modelwright_api::{
    Model,
    conditions::{Cause, Reason},
    contract::{annotations, containers, environment, labels, names, paths, ports, probes},
    defaults::{ResolvedServing, termination_grace},
    model::SecretReference,
    serving::{ExecutionProvider, Serving},
};

use super::{
    Revision, access,
    children::serving,
    metadata::{Owner, selector, strings},
    overlay,
    pods::{self, Store},
};
use crate::settings::Settings;

/// What the pods of a Model are made from.
pub(super) struct Request<'a> {
    pub(super) model: &'a Model,
    pub(super) owner: &'a Owner<'a>,
    pub(super) settings: &'a Settings,
    pub(super) revision: &'a Revision,
    /// What the template is rendered from, as its annotation says.
    pub(super) rendered_from: &'a str,
}

/// The image of servers.
pub(super) fn image<'a>(model: &Model, settings: &'a Settings) -> Result<&'a str, Cause> {
    match serving(model).and_then(|serving| serving.execution_provider).unwrap_or_default() {
        ExecutionProvider::Cpu => Ok(&settings.images.cpu),
        ExecutionProvider::Cuda => settings.images.cuda.as_deref().ok_or_else(|| {
            Cause::new(
                Reason::CUDAImageMissing,
                "spec.serving.executionProvider is CUDA, and the operator was installed without an image for it; set \
                 cudaImage in the chart's values, or write CPU",
            )
        }),
    }
}

/// The credentials that belong to where a revision is: those of the output of a training, of the copies, or of the source.
pub(super) fn secret_of<'a>(model: &'a Model, uri: &str) -> Option<&'a SecretReference> {
    if let Some(output) = model.spec.training.as_ref().and_then(|training| training.output.as_ref()) {
        return output.credentials_secret_ref.as_ref().filter(|_| uri.starts_with(output.uri.as_str()));
    }
    let source = model.spec.source.as_ref()?;
    match &source.copy_to {
        Some(copy) if uri.starts_with(copy.uri.as_str()) => copy.credentials_secret_ref.as_ref(),
        _ => source.credentials_secret_ref.as_ref(),
    }
}

/// The template of server pods.
pub(super) fn template(request: &Request<'_>) -> Result<PodTemplateSpec, Cause> {
    let Request { model, owner, settings, revision, rendered_from } = request;
    let resolved = model.serving().map_err(|error| Cause::new(Reason::InvalidSpec, error.to_string()))?;
    let store = Store { uri: &revision.uri, secret: secret_of(model, &revision.uri) };
    let mut spec = pods::pod(model, owner, settings, store);
    let volumes = spec.volumes.get_or_insert_default();
    volumes.push(pods::empty_dir(paths::MODELS_VOLUME));
    volumes.extend(access::secrets(model).map(|secret| secret.volume()));
    // A server that is told to end answers the longest of its requests first.
    let grace = termination_grace(resolved.request_timeout).as_secs();
    spec.termination_grace_period_seconds = Some(i64::try_from(grace).unwrap_or(i64::MAX));
    // Replicas are for the loss of a node, so they would rather not share one.
    spec.topology_spread_constraints = Some(vec![TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(selector(owner.deployment_selector())),
        ..TopologySpreadConstraint::default()
    }]);
    let image = image(model, settings)?;
    spec.init_containers = Some(vec![fetch(request, store, image)]);
    spec.containers = vec![serve(request, &resolved, image)];
    let mut pod_labels = owner.pod_labels(labels::ROLE_SERVER);
    pod_labels.insert(labels::TRACK.to_owned(), labels::TRACK_STABLE.to_owned());
    pod_labels.insert(labels::REVISION.to_owned(), names::revision_id(&revision.digest).to_owned());
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(pod_labels),
            annotations: Some(strings([
                (annotations::DIGEST, revision.digest.as_str()),
                (annotations::URI, revision.uri.as_str()),
                (annotations::RENDERED_FROM, rendered_from),
            ])),
            ..ObjectMeta::default()
        }),
        spec: Some(spec),
    };
    overlay::merge(
        template,
        &[
            ("spec.podTemplate", model.spec.pod_template.as_ref()),
            ("spec.serving.podTemplate", serving(model).and_then(|serving| serving.pod_template.as_ref())),
        ],
    )
}

fn fetch(request: &Request<'_>, store: Store<'_>, image: &str) -> Container {
    let Revision { uri, digest, .. } = request.revision;
    let mut args =
        ["fetch", "--uri", uri, "--digest", digest, "--out", paths::MODELS].map(str::to_owned).to_vec();
    args.extend(mapping(request.model));
    let mut fetch = pods::container(containers::FETCH, image, request.settings, args);
    pods::reach(&mut fetch, store, request.settings, request.model);
    fetch.volume_mounts.get_or_insert_default().push(pods::mount(paths::MODELS_VOLUME, paths::MODELS, false));
    fetch.resources = Some(pods::resources_of_transfer());
    fetch
}

fn serve(request: &Request<'_>, resolved: &ResolvedServing, image: &str) -> Container {
    let Request { model, owner, settings, revision, .. } = request;
    let mut serve = pods::container(containers::SERVE, image, settings, arguments(request, resolved));
    let mounts = serve.volume_mounts.get_or_insert_default();
    mounts.push(pods::mount(paths::MODELS_VOLUME, paths::MODELS, true));
    mounts.extend(access::secrets(model).map(|secret| pods::mount(secret.volume, secret.path, true)));
    serve.env = Some(vec![
        pods::variable(environment::MODEL, owner.name),
        pods::variable(environment::NAMESPACE, owner.namespace),
        pods::variable(environment::REVISION, revision.digest.as_str()),
        pods::variable(
            environment::CPUS,
            resolved.cpus.map_or_else(|| "1".to_owned(), |cpus| cpus.to_string()),
        ),
    ]);
    serve.ports = Some(vec![port(ports::DATA_NAME, ports::DATA), port(ports::ADMIN_NAME, ports::ADMIN)]);
    let startup = i32::try_from(resolved.startup_timeout.as_secs()).unwrap_or(i32::MAX);
    serve.startup_probe = Some(probe(probes::READY, 1, startup.max(1)));
    serve.readiness_probe = Some(probe(probes::READY, 2, 2));
    serve.liveness_probe = Some(probe(probes::LIVE, 10, 3));
    serve.resources = serving(model).and_then(|serving| serving.resources.as_ref()).map(|resources| {
        let quantities = |map: &Option<std::collections::BTreeMap<String, modelwright_api::Quantity>>| {
            map.as_ref().map(|map| {
                map.iter()
                    .map(|(name, amount)| (name.clone(), Quantity(amount.text().into_owned())))
                    .collect()
            })
        };
        ResourceRequirements {
            requests: quantities(&resources.requests),
            limits: quantities(&resources.limits),
            claims: None,
        }
    });
    serve
}

/// What decides whether `fetch` moves the model's weights to a file that `serve` maps, as far as the spec says it.
fn mapping(model: &Model) -> impl Iterator<Item = String> {
    let serving = serving(model).cloned().unwrap_or_default();
    let session = serving.session.unwrap_or_default();
    let number = |number: Option<i32>| number.map(|number| number.to_string());
    let options = [
        ("--execution-provider", serving.execution_provider.map(|provider| provider.as_str().to_owned())),
        ("--max-batch-size", number(serving.batching.and_then(|batching| batching.max_batch_size))),
        ("--instances", number(session.instances)),
        ("--weights", session.weights.map(|weights| format!("{weights:?}"))),
    ];
    options.into_iter().filter_map(|(flag, value)| Some([flag.to_owned(), value?])).flatten()
}

/// Only what the spec says is passed on: other defaults of a later version shall not restart pods.
fn arguments(request: &Request<'_>, resolved: &ResolvedServing) -> Vec<String> {
    let mut args = [
        "serve",
        "--model-dir",
        paths::MODELS,
        "--name",
        request.owner.name,
        "--digest",
        &request.revision.digest,
        "--listen",
        &format!(":{}", ports::DATA),
        "--admin-listen",
        &format!(":{}", ports::ADMIN),
        "--execution-provider",
        resolved.execution_provider.as_str(),
    ]
    .map(str::to_owned)
    .to_vec();
    if let Some(serving) = serving(request.model) {
        for (flag, value) in options(serving, resolved) {
            args.extend(value.into_iter().flat_map(|value| [flag.to_owned(), value]));
        }
        args.extend(access::arguments(serving, request.settings));
    }
    args
}

/// The options of `serve` that the spec may set, and what it sets them to.
fn options(serving: &Serving, resolved: &ResolvedServing) -> [(&'static str, Option<String>); 15] {
    let batching = serving.batching.clone().unwrap_or_default();
    let session = serving.session.clone().unwrap_or_default();
    let cuda = session.cuda.clone().unwrap_or_default();
    let limits = serving.limits.clone().unwrap_or_default();
    let number = |number: Option<i32>| number.map(|number| number.to_string());
    [
        ("--max-batch-size", number(batching.max_batch_size)),
        ("--max-queue-delay", batching.max_queue_delay),
        ("--intra-op-threads", number(session.intra_op_threads)),
        ("--inter-op-threads", number(session.inter_op_threads)),
        ("--graph-optimization", session.graph_optimization.map(|level| format!("{level:?}"))),
        ("--lane", session.lane.map(|lane| format!("{lane:?}"))),
        ("--instances", number(session.instances)),
        ("--weights", session.weights.map(|weights| format!("{weights:?}"))),
        ("--memory-arena", session.memory_arena.map(|arena| arena.to_string())),
        ("--cuda-memory-limit", resolved.session.cuda.memory_limit.map(|bytes| bytes.to_string())),
        ("--cuda-convolution-search", cuda.convolution_search.map(|search| format!("{search:?}"))),
        ("--max-request-bytes", limits.max_request_bytes.map(|bytes| bytes.to_string())),
        ("--max-queued-requests", number(limits.max_queued_requests)),
        ("--request-timeout", limits.request_timeout),
        ("--max-connection-age", limits.max_connection_age),
    ]
}

fn port(name: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(number),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn probe(path: &str, period_seconds: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(ports::ADMIN_NAME.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}
