//! What the pods of Jobs and servers share: who they run as, what they may, which store they reach and how.

use k8s_openapi::api::core::v1::{
    Capabilities, Container, DownwardAPIVolumeFile, DownwardAPIVolumeSource, EmptyDirVolumeSource, EnvVar,
    EnvVarSource, LocalObjectReference, ObjectFieldSelector, PersistentVolumeClaimVolumeSource,
    PodSecurityContext, PodSpec, ResourceRequirements, SeccompProfile, SecretKeySelector, SecurityContext,
    Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use modelwright_api::{
    Model,
    contract::{self, annotations, environment, names, paths},
    model::SecretReference,
};

use super::metadata::Owner;
use crate::settings::{Platform, PrivateAddresses, Settings};

/// Name of the volume behind [`paths::TEMPORARY`].
const TEMPORARY_VOLUME: &str = "tmp";
/// Name of the volume behind [`paths::SOURCE`].
const SOURCE_VOLUME: &str = "source";
/// Name of the volume behind [`paths::ORDER_FOLDER`].
const ORDER_VOLUME: &str = "order";

/// A place that a pod reads from or writes to, and the Secret with its credentials.
#[derive(Clone, Copy, Debug)]
pub(super) struct Store<'a> {
    pub(super) uri: &'a str,
    pub(super) secret: Option<&'a SecretReference>,
}

impl<'a> Store<'a> {
    /// The claim of a `pvc://CLAIM/PATH`.
    pub(super) fn claim(&self) -> Option<&'a str> {
        self.uri.strip_prefix("pvc://")?.split('/').next()
    }
}

/// A pod without containers, that keeps to the strictest of Kubernetes' pod security standards.
pub(super) fn pod(model: &Model, owner: &Owner<'_>, settings: &Settings, store: Store<'_>) -> PodSpec {
    let mut volumes = vec![empty_dir(TEMPORARY_VOLUME)];
    if let Some(claim) = store.claim() {
        volumes.push(Volume {
            name: SOURCE_VOLUME.to_owned(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim.to_owned(),
                read_only: Some(true),
            }),
            ..Volume::default()
        });
    }
    let pull_secrets: Vec<_> =
        settings.images.pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() }).collect();
    let account = model.spec.service_account_name.clone();
    PodSpec {
        service_account_name: Some(account.unwrap_or_else(|| names::child(owner.name))),
        // Nothing of ours asks the API server. Workload identity brings tokens of its own.
        automount_service_account_token: Some(false),
        // One variable per Service of the namespace, which nobody reads and a large namespace makes slow.
        enable_service_links: Some(false),
        security_context: Some(security_of_pod(settings.platform)),
        image_pull_secrets: (!pull_secrets.is_empty()).then_some(pull_secrets),
        volumes: Some(volumes),
        ..PodSpec::default()
    }
}

fn security_of_pod(platform: Platform) -> PodSecurityContext {
    let uid = (platform == Platform::Kubernetes).then_some(contract::UID);
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: uid,
        run_as_group: uid,
        fs_group: uid,
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..PodSecurityContext::default()
    }
}

/// A container of ours with its arguments.
pub(super) fn container(name: &str, image: &str, settings: &Settings, args: Vec<String>) -> Container {
    Container {
        name: name.to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: Some(settings.images.pull_policy.as_str().to_owned()),
        args: Some(args),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(vec![mount(TEMPORARY_VOLUME, paths::TEMPORARY, false)]),
        ..Container::default()
    }
}

/// Gives a container the way to a store: mounts, variables and arguments.
pub(super) fn reach(container: &mut Container, store: Store<'_>, settings: &Settings, model: &Model) {
    if store.claim().is_some() {
        container.volume_mounts.get_or_insert_default().push(mount(SOURCE_VOLUME, paths::SOURCE, true));
    }
    let args = container.args.get_or_insert_default();
    if let Some(secret) = store.secret {
        args.extend(["--credentials-secret".to_owned(), secret.name.clone()]);
    }
    args.extend(flags(settings, model));
    let env = container.env.get_or_insert_default();
    // So that a message about a Secret can say where it is missing.
    env.push(variable(environment::NAMESPACE, model.metadata.namespace.clone().unwrap_or_default()));
    if let Some(secret) = store.secret {
        env.extend(credentials(secret, ""));
    }
}

/// What every command that reaches a store is told of how it may.
pub(super) fn flags(settings: &Settings, model: &Model) -> impl Iterator<Item = String> + use<> {
    let refuse_private = settings.private_addresses == PrivateAddresses::Refuse;
    let identity = model.spec.service_account_name.is_some();
    let flags = [(refuse_private, "--refuse-private"), (identity, "--instance-identity")];
    flags.into_iter().filter(|(told, _)| *told).map(|(_, flag)| flag.to_owned())
}

/// Variables with what a Secret holds. Each key by itself and none of them required, so that a Secret that appears later
/// heals a pod's next start, and nothing else of the Secret gets in.
pub(super) fn credentials<'a>(
    secret: &'a SecretReference,
    prefix: &'a str,
) -> impl Iterator<Item = EnvVar> + 'a {
    contract::CREDENTIALS.into_iter().map(move |key| EnvVar {
        name: format!("{prefix}{key}"),
        value: None,
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: secret.name.clone(),
                key: key.to_owned(),
                optional: Some(true),
            }),
            ..EnvVarSource::default()
        }),
    })
}

/// What a command that only moves bytes needs: its memory is bounded whatever a model's size.
pub(super) fn resources_of_transfer() -> ResourceRequirements {
    let quantity = |name: &str, amount: &str| (name.to_owned(), Quantity(amount.to_owned()));
    ResourceRequirements {
        requests: Some([quantity("cpu", "100m"), quantity("memory", "128Mi")].into()),
        limits: Some([quantity("memory", "512Mi")].into()),
        claims: None,
    }
}

pub(super) fn mount(volume: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

/// The volume that shows a pod its order.
pub(super) fn order_volume() -> Volume {
    let file = paths::ORDER.rsplit('/').next().unwrap_or_default();
    of_annotation(ORDER_VOLUME, annotations::ORDER, file)
}

/// Where a container of ours finds the order.
pub(super) fn order_mount() -> VolumeMount {
    mount(ORDER_VOLUME, paths::ORDER_FOLDER, true)
}

/// A volume that shows an annotation of the pod as a file.
pub(super) fn of_annotation(volume: &str, annotation: &str, file: &str) -> Volume {
    Volume {
        name: volume.to_owned(),
        downward_api: Some(DownwardAPIVolumeSource {
            items: Some(vec![DownwardAPIVolumeFile {
                path: file.to_owned(),
                field_ref: Some(ObjectFieldSelector {
                    api_version: None,
                    field_path: format!("metadata.annotations['{annotation}']"),
                }),
                ..DownwardAPIVolumeFile::default()
            }]),
            default_mode: None,
        }),
        ..Volume::default()
    }
}

pub(super) fn empty_dir(name: &str) -> Volume {
    Volume { name: name.to_owned(), empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() }
}

pub(super) fn variable(name: &str, value: impl Into<String>) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.into()), value_from: None }
}
