//! What the pods of a training share, and the pod of the built-in trainer.

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, PersistentVolumeClaimVolumeSource, PodSpec, PodTemplateSpec,
    ResourceRequirements, Volume,
};
use k8s_openapi::apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta};
use modelwright_api::{
    conditions::{Cause, Reason},
    contract::{annotations, containers, environment, labels, paths, ports},
    model::SecretReference,
    training::{
        Beat, DataSource, Gate, Training, TrainingData,
        order::{MAX_ORDER_BYTES, ServedRevision, TrainingOrder},
    },
};

use super::view::View;
use crate::plan::{deployment, metadata::strings, pods};

/// Time for one checkpoint.
const GRACE_SECONDS: i64 = 120;
/// The volume of the built-in trainer's folder.
const WORK_VOLUME: &str = "work";
/// The annotation by which `kubectl logs` chooses a container.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// A place that a training reads from or writes to.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    uri: &'a str,
    secret: Option<&'a SecretReference>,
    /// What the variables with its credentials begin with.
    prefix: &'static str,
    /// Where a claim is seen, and the volume of that.
    volume: &'static str,
    path: &'static str,
}

/// The places that a container reaches.
#[derive(Clone, Debug)]
pub(super) struct Stores<'a>(Vec<Place<'a>>);

impl<'a> Stores<'a> {
    /// Where the rows are.
    pub(super) fn of_data(training: &'a Training) -> Self {
        let TrainingData { source, validation, test, .. } = &training.data;
        let validation = validation.as_ref().and_then(|validation| validation.source.as_ref());
        let places = [
            (Some(source), "", "source", paths::SOURCE),
            (validation, environment::VALIDATION_PREFIX, "validation", paths::VALIDATION),
            (test.as_ref().map(|test| &test.source), environment::TEST_PREFIX, "test", paths::TEST),
        ];
        let place = |(source, prefix, volume, path): (Option<&'a DataSource>, _, _, _)| {
            let DataSource { uri, credentials_secret_ref, .. } = source?;
            Some(Place { uri, secret: credentials_secret_ref.as_ref(), prefix, volume, path })
        };
        Self(places.into_iter().filter_map(place).collect())
    }

    /// Where revisions are published.
    pub(super) fn of_output(training: &'a Training) -> Self {
        let output = training.output.as_ref();
        Self(
            output
                .map(|output| Place {
                    uri: &output.uri,
                    secret: output.credentials_secret_ref.as_ref(),
                    prefix: environment::OUTPUT_PREFIX,
                    volume: "output",
                    path: "",
                })
                .into_iter()
                .collect(),
        )
    }

    /// Both.
    pub(super) fn all(training: &'a Training) -> Self {
        let mut all = Self::of_data(training);
        all.0.extend(Self::of_output(training).0);
        all
    }
}

/// What a training is told, as JSON.
pub(super) fn order(view: &View<'_>, run: &str, attempt: u32) -> Result<String, Cause> {
    let metadata = &view.model.metadata;
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let order = TrainingOrder {
        model: text(&metadata.name),
        namespace: text(&metadata.namespace),
        uid: text(&metadata.uid),
        training: told(view.training),
        run: run.to_owned(),
        attempt,
        retrain_at: view.retrain_at().map(str::to_owned),
        active: active(view),
    };
    serde_json::to_string(&order).map_err(|error| {
        Cause::new(Reason::InvalidSpec, format!("spec.training: cannot be written: {error}"))
    })
}

/// `spec.training` without what only the operator reads.
fn told(training: &Training) -> Training {
    let gate = training.gate.clone().map(|gate| Gate { approval: None, ..gate });
    Training {
        cron: None,
        time_zone: None,
        deadline: None,
        retries: None,
        queue: None,
        keep: None,
        resources: None,
        pod_template: None,
        gate,
        ..training.clone()
    }
}

/// The revision that is served now, for a gate that compares with it.
fn active(view: &View<'_>) -> Option<ServedRevision> {
    view.training.gate.as_ref().filter(|gate| gate.beat == Some(Beat::Active))?;
    let revisions = view.model.status.as_ref().and_then(|status| status.revisions.as_ref());
    let known =
        revisions.and_then(|revisions| revisions.active.as_ref()).filter(|known| !known.uri.is_empty());
    let known = known.map(|known| ServedRevision { digest: known.digest.clone(), uri: known.uri.clone() });
    known.or_else(|| {
        let deployed = deployment::annotated(view.observed)?.revision;
        Some(ServedRevision { digest: deployed.digest, uri: deployed.uri })
    })
}

/// An API server takes a bounded size of annotations.
pub(super) fn check_size(template: &PodTemplateSpec, order: &str) -> Result<(), Cause> {
    let all = template.metadata.as_ref().and_then(|metadata| metadata.annotations.as_ref());
    let parameters = all.and_then(|all| all.get(annotations::PARAMETERS)).map_or(0, String::len);
    let bytes = order.len() + parameters;
    if bytes <= MAX_ORDER_BYTES {
        return Ok(());
    }
    let field = if parameters > 2 { "spec.training.container.parameters" } else { "spec.training" };
    Err(Cause::new(
        Reason::InvalidSpec,
        format!(
            "{field}: takes {bytes} bytes in a pod, of which a cluster takes {MAX_ORDER_BYTES}; put large settings into a file \
             beside the data, or into the image"
        ),
    ))
}

/// A pod without containers, with the volumes of these places and of the order.
pub(super) fn spec(view: &View<'_>, stores: &Stores<'_>) -> PodSpec {
    let store = pods::Store { uri: "", secret: None };
    let mut spec = pods::pod(view.model, view.owner, view.settings, store);
    spec.restart_policy = Some("Never".to_owned());
    spec.termination_grace_period_seconds = Some(GRACE_SECONDS);
    let volumes = spec.volumes.get_or_insert_default();
    volumes.extend(stores.0.iter().filter_map(claim));
    volumes.push(pods::order_volume());
    spec
}

fn claim(place: &Place<'_>) -> Option<Volume> {
    let claim = pods::Store { uri: place.uri, secret: None }.claim()?.to_owned();
    Some(Volume {
        name: place.volume.to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: claim,
            read_only: Some(true),
        }),
        ..Volume::default()
    })
}

/// Gives a container of ours the order and the way to these places.
pub(super) fn reach(view: &View<'_>, container: &mut Container, stores: &Stores<'_>) {
    let mounts = container.volume_mounts.get_or_insert_default();
    mounts.push(pods::order_mount());
    let claims = stores.0.iter().filter(|place| claim(place).is_some());
    mounts.extend(claims.map(|place| pods::mount(place.volume, place.path, true)));
    container.args.get_or_insert_default().extend(pods::flags(view.settings, view.model));
    let env = container.env.get_or_insert_default();
    env.push(pods::variable(environment::NAMESPACE, view.owner.namespace));
    for place in &stores.0 {
        env.extend(place.secret.into_iter().flat_map(|secret| pods::credentials(secret, place.prefix)));
    }
}

/// The template of pods with this role and order.
pub(super) fn template(view: &View<'_>, role: &str, order: &str, spec: PodSpec) -> PodTemplateSpec {
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(view.owner.pod_labels(role)),
            annotations: Some(strings([(annotations::ORDER, order)])),
            ..ObjectMeta::default()
        }),
        spec: Some(spec),
    }
}

/// The same of training pods, whose container `train` is what people ask for.
pub(super) fn training_template(view: &View<'_>, order: &str, spec: PodSpec) -> PodTemplateSpec {
    let mut template = template(view, labels::ROLE_TRAIN, order, spec);
    let annotations = template.metadata.get_or_insert_default().annotations.get_or_insert_default();
    annotations.insert(DEFAULT_CONTAINER.to_owned(), containers::TRAIN.to_owned());
    template
}

/// The pod of the built-in trainer: one container does everything.
pub(super) fn builtin(view: &View<'_>, order: &str) -> PodTemplateSpec {
    let stores = Stores::all(view.training);
    let listen = format!(":{}", ports::PROGRESS);
    let args = ["train", "--config", paths::ORDER, "--work-dir", paths::WORK, "--progress-listen", &listen];
    let mut train = pods::container(
        containers::TRAIN,
        &view.settings.images.cpu,
        view.settings,
        args.map(str::to_owned).to_vec(),
    );
    reach(view, &mut train, &stores);
    train.volume_mounts.get_or_insert_default().push(pods::mount(WORK_VOLUME, paths::WORK, false));
    train.ports = Some(vec![progress_port()]);
    train.resources = resources(view.training);
    let mut spec = spec(view, &stores);
    spec.volumes.get_or_insert_default().push(pods::empty_dir(WORK_VOLUME));
    spec.containers = vec![train];
    training_template(view, order, spec)
}

pub(super) fn progress_port() -> ContainerPort {
    ContainerPort {
        name: Some(ports::PROGRESS_NAME.to_owned()),
        container_port: i32::from(ports::PROGRESS),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

/// `spec.training.resources`.
pub(super) fn resources(training: &Training) -> Option<ResourceRequirements> {
    let resources = training.resources.as_ref()?;
    let quantities = |map: &Option<std::collections::BTreeMap<String, modelwright_api::Quantity>>| {
        map.as_ref().map(|map| {
            map.iter().map(|(name, amount)| (name.clone(), Quantity(amount.text().into_owned()))).collect()
        })
    };
    Some(ResourceRequirements {
        requests: quantities(&resources.requests),
        limits: quantities(&resources.limits),
        claims: None,
    })
}
