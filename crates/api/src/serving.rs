//! `spec.serving`: how a model is served. The doc comments are the descriptions in the CRD, where a field whose type is an
//! enum shows the description of the enum.
#![allow(unreachable_pub, reason = "KubeSchema copies each struct, `pub` and all, into a function")]

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    free_form::{FreeForm, Text},
    quantity::Quantity,
    rules,
};

pub mod access;
mod payload_logging;
mod session;

pub use access::Access;
pub use payload_logging::{PayloadLogging, PayloadMode};
pub use session::{Batching, ConvolutionSearch, Cuda, GraphOptimization, Lane, Session, Weights};

/// How a model is served.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::CUDA_NEEDS_GPU,
    validation = rules::REPLICAS_OR_AUTOSCALING,
    validation = rules::AUTOSCALING_NEEDS_CPU,
    validation = rules::INLINE_ON_PROCESSORS,
    validation = rules::CUDA_SETTINGS
)]
pub struct Serving {
    /// What computes: `CPU`, or `CUDA` for an NVIDIA GPU. `CUDA` that cannot be had is an error, never a silent
    /// fallback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_provider: Option<ExecutionProvider>,
    /// How many server pods run. 0 keeps the Model and serves nothing. `kubectl scale` works once it is written. Absent, without
    /// `autoscaling`: one to begin with, and then as many as there are, so that no pod goes because a line here does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: Option<i32>,
    /// Let the number of server pods follow the load. Exactly one of `replicas` and `autoscaling` may be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// What one server pod requests and may use, as in a Pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// How requests are computed together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batching: Option<Batching>,
    /// Settings of the ONNX Runtime session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,
    /// What a server accepts before it refuses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ServingLimits>,
    /// How long a server may take from its start to ready: loading, session creation and warm-up together. A
    /// duration such as `90s`, `10m` or `1h30m`, from one second to 24 hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = rules::DURATION, validation = rules::STARTUP_TIMEOUT)]
    pub startup_timeout: Option<String>,
    /// The Services before the server pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// Who may call the model, and over what. Absent: whoever reaches a server, without TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// Send what the model is asked and answers to a sink. Absent: nothing is logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_logging: Option<PayloadLogging>,
    /// Who may reach the server pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkPolicy>,
    /// What server pods get on top of what Modelwright writes, merged after `spec.podTemplate` and in the same way. The
    /// containers are `fetch` (an init container) and `serve`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<FreeForm>,
}

/// What computes: `CPU`, or `CUDA` for an NVIDIA GPU. `CUDA` that cannot be had is an error, never a silent fallback.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum ExecutionProvider {
    /// The processor.
    #[default]
    #[serde(rename = "CPU")]
    Cpu,
    /// An NVIDIA GPU.
    #[serde(rename = "CUDA")]
    Cuda,
}

impl ExecutionProvider {
    /// The name as manifests, arguments and status write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::Cuda => "CUDA",
        }
    }
}

impl std::fmt::Display for ExecutionProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What one server pod requests and may use, as in a Pod.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What the scheduler sets aside, by resource name: `cpu`, `memory`, and others the cluster knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16))]
    pub requests: Option<BTreeMap<String, Quantity>>,
    /// What the pod may use at most, by resource name. `limits.cpu`, else `requests.cpu`, sets the number of threads.
    /// `nvidia.com/gpu` gives the pod GPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16))]
    pub limits: Option<BTreeMap<String, Quantity>>,
}

/// What a server accepts before it refuses.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServingLimits {
    /// The largest request body in bytes, counted after decompression. A larger one is answered with 413.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = 1_073_741_824))]
    pub max_request_bytes: Option<i64>,
    /// How many requests may wait in one server. One more is answered with 503 and `Retry-After` at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_queued_requests: Option<i32>,
    /// How long a request may wait and run in a server before it is answered with 504. A request may ask for less. A
    /// duration from 1s to 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = rules::DURATION, validation = rules::REQUEST_TIMEOUT)]
    pub request_timeout: Option<String>,
    /// How long a connection may last, give or take a tenth, before the server asks the client for a new one: so clients
    /// that keep their connections spread over new pods. A duration from 1s to 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = rules::DURATION, validation = rules::MAX_CONNECTION_AGE)]
    pub max_connection_age: Option<String>,
}

/// Let the number of server pods follow the load.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::AUTOSCALING_EXTERNAL, validation = rules::AUTOSCALING_BOUNDS)]
pub struct Autoscaling {
    /// Who scales.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<AutoscalingMode>,
    /// The fewest server pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: Option<i32>,
    /// The most server pods. Required in mode `Managed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: Option<i32>,
    /// How busy the servers' CPUs are kept on average, in percent of what the container `serve` requests. Absent: 70, unless
    /// `metrics` are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub cpu: Option<i32>,
    /// Further metrics, each as in `spec.metrics` of a HorizontalPodAutoscaler (autoscaling/v2), word for word.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub metrics: Vec<FreeForm>,
    /// How fast pods are added and removed, as in `spec.behavior` of a HorizontalPodAutoscaler (autoscaling/v2), word for
    /// word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behavior: Option<FreeForm>,
}

/// Who scales: a HorizontalPodAutoscaler that Modelwright makes (`Managed`), or an autoscaler of yours whose target is the
/// Deployment with the Model's name (`External`), which Modelwright then leaves alone.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum AutoscalingMode {
    /// A HorizontalPodAutoscaler of Modelwright's.
    #[default]
    Managed,
    /// An autoscaler of the user's.
    External,
}

/// The Services before the server pods.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// How the Service with the Model's name is reached, as in a Service.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "type")]
    pub type_: Option<ServiceType>,
    /// Annotations of that Service, such as those that a cloud's load balancer reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 32))]
    pub annotations: Option<BTreeMap<String, Text>>,
}

/// How a Service is reached: inside the cluster (`ClusterIP`), at a port of every node (`NodePort`), or through a load
/// balancer of the cloud (`LoadBalancer`).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum ServiceType {
    /// Inside the cluster.
    #[default]
    #[serde(rename = "ClusterIP")]
    ClusterIp,
    /// At a port of every node.
    NodePort,
    /// Through a load balancer of the cloud.
    LoadBalancer,
}

impl ServiceType {
    /// The name as a Service writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIp => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}

/// Who may reach the server pods.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::NETWORK_POLICY_FROM)]
pub struct NetworkPolicy {
    /// Whether the Model gets a NetworkPolicy. It works only where the cluster's network enforces policies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Who may send predictions, each as in `from` of a NetworkPolicy, word for word. Absent: the pods of the Model's own
    /// namespace. The operator may always reach the admin port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub from: Vec<FreeForm>,
}
