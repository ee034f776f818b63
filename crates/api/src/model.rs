//! The Model resource as its user writes it.
//!
//! Nothing is ever defaulted into a spec: an absent field stays absent, and [`crate::defaults`] says what holds then.
//! The doc comments of this module are the descriptions in the CRD, so they are what `kubectl explain` prints.
#![allow(unreachable_pub, reason = "KubeSchema copies each struct, `pub` and all, into a function")]

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    conditions::ConditionType, free_form::FreeForm, rollout::Rollout, rules, serving::Serving,
    status::Condition, status::ModelStatus, training::Training,
};

/// Where a model comes from and how it is served.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "modelwright.dev",
    version = "v1alpha1",
    kind = "Model",
    plural = "models",
    singular = "model",
    shortname = "mdl",
    category = "modelwright",
    namespaced,
    status = "ModelStatus",
    derive = "PartialEq",
    doc = "A machine-learning model: where its bytes come from, how it is served, and what is running now.",
    validation = rules::NAME,
    scale(
        spec_replicas_path = ".spec.serving.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "READY",
        type_ = "string",
        description = "True when the wanted revision is available and the spec is observed.",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "REASON",
        type_ = "string",
        description = "Why the Model is ready or not, as one word.",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(
        name = "URL",
        type_ = "string",
        description = "Where the model answers.",
        json_path = ".status.url"
    ),
    printcolumn(
        name = "REVISION",
        type_ = "string",
        description = "The first 16 digits of the digest that is being served.",
        json_path = ".status.revisions.active.id"
    ),
    printcolumn(
        name = "REPLICAS",
        type_ = "integer",
        description = "How many server pods exist.",
        json_path = ".status.replicas"
    ),
    printcolumn(
        name = "DESIRED",
        type_ = "integer",
        description = "How many server pods there shall be, as the spec or an autoscaler says.",
        json_path = ".status.desiredReplicas",
        priority = 1
    ),
    printcolumn(
        name = "READYPODS",
        type_ = "integer",
        description = "How many server pods are ready.",
        json_path = ".status.readyReplicas",
        priority = 1
    ),
    printcolumn(
        name = "EP",
        type_ = "string",
        description = "The execution provider that the servers run on.",
        json_path = ".status.runtime.executionProvider"
    ),
    printcolumn(
        name = "PHASE",
        type_ = "string",
        description = "What the training is doing.",
        json_path = ".status.training.phase",
        priority = 1
    ),
    printcolumn(
        name = "METRIC",
        type_ = "string",
        description = "The deciding metric of the newest trained revision.",
        json_path = ".status.training.metric",
        priority = 1
    ),
    printcolumn(
        name = "AGE",
        type_ = "date",
        description = "Time since the Model was created.",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[x_kube(validation = rules::SOURCE_OR_TRAINING, validation = rules::DELETE_TRAINED)]
pub struct ModelSpec {
    /// Where the model's bytes come from. Exactly one of `source` and `training` is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// How the model is made from data. Exactly one of `source` and `training` is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<Training>,
    /// How a new revision may replace the one that is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// How the model is served. Absent: with every default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<Serving>,
    /// An existing ServiceAccount in the Model's namespace that every pod of the Model runs as: the way to give pods an
    /// identity of the cloud (workload identity). Absent: one of the Model's own that may do nothing and has no token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::SERVICE_ACCOUNT_NAME)]
    pub service_account_name: Option<String>,
    /// What every pod of the Model gets on top of what Modelwright writes, in the form of a pod template: labels,
    /// annotations, tolerations, node selectors, sidecars. Merged as `kubectl patch` does (strategic merge: containers,
    /// volumes and variables by name). What Modelwright needs itself cannot be changed, and is refused by its path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<FreeForm>,
    /// Serve nothing and start no new work, and keep everything else. Pods end; what was resolved or trained stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// What becomes of the revisions in the store when the Model is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
}

/// What becomes of the revisions in the store when the Model is deleted: they stay (`Retain`), or those that it trained are
/// deleted by a Job (`DeleteArtifacts`).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum DeletionPolicy {
    /// They stay.
    #[default]
    Retain,
    /// Those that the Model trained are deleted.
    DeleteArtifacts,
}

impl Model {
    /// The condition of this type in the status, if there is one.
    pub fn condition(&self, type_: ConditionType) -> Option<&Condition> {
        self.status.as_ref()?.condition(type_)
    }

    /// Whether the condition of this type is there and True.
    pub fn holds(&self, type_: ConditionType) -> bool {
        self.status.as_ref().is_some_and(|status| status.holds(type_))
    }
}

impl ModelSpec {
    /// Every Secret that the spec names, in the order of the fields.
    pub fn secret_references(&self) -> Vec<&SecretReference> {
        let source = self.source.as_ref().map(|source| {
            let copy = source.copy_to.as_ref().and_then(|copy| copy.credentials_secret_ref.as_ref());
            [source.credentials_secret_ref.as_ref(), copy]
        });
        let training = self.training.as_ref().map(Training::secret_references);
        source.into_iter().flatten().flatten().chain(training.into_iter().flatten()).collect()
    }

    /// The names of the Secrets that servers read: of `serving.access`.
    pub fn access_secrets(&self) -> impl Iterator<Item = &str> {
        let access = self.serving.as_ref().and_then(|serving| serving.access.as_ref());
        access.into_iter().flat_map(|access| [access.api_keys_secret(), access.tls_secret()]).flatten()
    }
}

/// Where a model's bytes come from.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// The model's place: one ONNX file, a prefix that holds one, or the folder of a published revision.
    /// `s3://BUCKET/PATH`, `gs://BUCKET/PATH`, `az://CONTAINER/PATH`, `https://HOST/PATH`, `http://HOST/PATH`,
    /// `pvc://CLAIM/PATH` (in a cluster), `file:PATH` (in `modelwright run`; a relative path starts at the
    /// manifest's folder). Credentials never stand in it.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(
        validation = rules::SOURCE_SCHEME,
        validation = rules::SOURCE_NOT_FILE,
        validation = rules::URI_NO_USERINFO,
        validation = rules::URI_NO_QUERY
    )]
    pub uri: String,
    /// The only bytes that are accepted, as `sha256:` and 64 hexadecimal digits. For one file it is what `sha256sum`
    /// prints; for a prefix or a revision folder it is the digest of the revision's `manifest.json`. `modelwright resolve
    /// --uri URI` prints it as `digest to pin`; the revision's digest is accepted for a file, too. Absent: whatever is found
    /// first is pinned until the spec changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 71))]
    #[x_kube(validation = rules::DIGEST)]
    pub digest: Option<String>,
    /// The Secret with the store's credentials, in the Model's namespace. In `modelwright run` it is the name given to
    /// `--secret NAME=FILE.env`. Absent: anonymous access, or the workload's own identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretReference>,
    /// How often the source is asked whether it changed: a duration of 5 minutes or more, such as `10m`. Only names, sizes
    /// and entity tags are read, and the bytes only when these changed. Absent: never; the source is read when the spec
    /// changes, and when the annotation `modelwright.dev/resolve-at` gets a new value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = rules::DURATION, validation = rules::POLL_INTERVAL)]
    pub poll_interval: Option<String>,
    /// Publish the bytes into this store under their digest and serve from there. Replacement pods then find the same
    /// bytes whatever happens to the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_to: Option<CopyTo>,
}

/// A store that revisions are published into.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CopyTo {
    /// The prefix to publish under: `s3://BUCKET/PATH`, `gs://BUCKET/PATH` or `az://CONTAINER/PATH`.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(
        validation = rules::COPY_SCHEME,
        validation = rules::URI_NO_USERINFO,
        validation = rules::URI_NO_QUERY
    )]
    pub uri: String,
    /// The Secret with this store's credentials, in the Model's namespace. They need write access.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretReference>,
}

/// A Secret in the Model's namespace.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// The Secret's name. Its known keys become environment variables of the process that reads the store; other keys
    /// are not read.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::SECRET_NAME)]
    pub name: String,
}
