//! The rules that the schema alone cannot say, as CEL expressions with the sentence that a user gets.
//!
//! They go into the CRD, where the API server evaluates them, and [`crate::manifest`] evaluates the same expressions
//! for `modelwright run`, so both answer with the same words. A rule that only makes sense in a cluster carries
//! [`Scope::Cluster`]: the API server always refuses what it refuses, one machine does not
//! evaluate it.
//!
//! The API server bounds the cost of a rule by the longest value that the schema admits, which is why every string has
//! a `maxLength`. Its name for the same limits: `x-kubernetes-validations`.

use kube::core::Rule as CelRule;
use serde_json::{Value, json};

mod access;
mod builtin;
mod serving;
mod source;
mod training;

pub use self::access::*;
pub use self::builtin::*;
pub use self::serving::*;
pub use self::source::*;
pub use self::training::*;

/// Where a manifest is going to be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// A Kubernetes cluster: exactly what its API server accepts.
    Cluster,
    /// One machine, through `modelwright run`: `file:` is a source, `pvc:` is not, and a GPU need not be requested.
    Machine,
}

/// One rule: an expression over `self` that must be true, and what a user is told when it is not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rule {
    /// The CEL expression.
    pub expression: &'static str,
    /// What is wrong and what to write instead; one line.
    pub message: &'static str,
    /// `None`: holds everywhere. `Some`: holds only there.
    pub only_in: Option<Scope>,
}

impl Rule {
    const fn everywhere(expression: &'static str, message: &'static str) -> Self {
        Self { expression, message, only_in: None }
    }

    const fn in_a_cluster(expression: &'static str, message: &'static str) -> Self {
        Self { expression, message, only_in: Some(Scope::Cluster) }
    }

    /// The rule as an entry of `x-kubernetes-validations`.
    pub(crate) fn to_json(self) -> Value {
        json!({ "rule": self.expression, "message": self.message })
    }
}

impl From<Rule> for CelRule {
    fn from(rule: Rule) -> Self {
        CelRule::new(rule.expression).message(rule.message)
    }
}

/// Names of children are made from the Model's name, and a Service's name must be a DNS-1035 label.
pub const NAME: Rule = Rule::everywhere(
    "self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')",
    "metadata.name must be at most 40 characters, begin with a lower-case letter, end with a letter or digit and hold \
     only lower-case letters, digits and '-'; write a name such as breast-cancer",
);

/// What most names of objects are (RFC 1123).
const DNS_SUBDOMAIN: &str = "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')";

/// Durations have one obvious meaning.
pub const DURATION: Rule = Rule::everywhere(
    "self.matches('^([0-9]{1,6}(h|m|s|ms))+$')",
    "a duration is whole numbers with units h, m, s or ms; write for example 90s, 10m or 1h30m",
);

/// A surge is what a rolling update may have.
pub const SURGE_OF_ROLLING: Rule = Rule::everywhere(
    "!has(self.surge) || !has(self.strategy) || self.strategy == 'Rolling'",
    "surge has no effect with strategy Recreate, which ends all pods first; remove it, or write strategy: Rolling",
);

/// A deadline shorter than a pod's start would undo every roll-out.
pub const PROGRESS_DEADLINE: Rule = Rule::everywhere(
    "!self.matches('^([0-9]{1,6}(h|m|s|ms))+$') || \
     (duration(self) >= duration('10s') && duration(self) <= duration('24h'))",
    "progressDeadline must be from 10s to 24h; write for example 10m",
);

/// A ServiceAccount's name is a DNS subdomain.
pub const SERVICE_ACCOUNT_NAME: Rule = Rule::everywhere(
    DNS_SUBDOMAIN,
    "a ServiceAccount's name holds only lower-case letters, digits, '-' and '.', and begins and ends with a letter or digit; \
     write the name that kubectl get serviceaccounts shows",
);

/// A model comes from one place.
pub const SOURCE_OR_TRAINING: Rule = Rule::everywhere(
    "has(self.source) != has(self.training)",
    "a Model comes from one place; write exactly one of source (an ONNX model) and training (data to learn from)",
);

/// Only what was trained here is Modelwright's to delete.
pub const DELETE_TRAINED: Rule = Rule::everywhere(
    "!has(self.deletionPolicy) || self.deletionPolicy == 'Retain' || has(self.training)",
    "DeleteArtifacts deletes what this Model trained, and a source is not deleted; write deletionPolicy: Retain",
);

/// Revisions are named by their digest or its beginning.
pub const REVISION: Rule = Rule::everywhere(
    "self.matches('^([0-9a-f]{16}|sha256:[0-9a-f]{64})$')",
    "a revision is named by its id (16 lower-case hexadecimal digits) or its digest (sha256: and 64 of them); write one \
     that status.revisions or modelwright run shows",
);

/// Where there is one machine and no history, the digest says which bytes of a source are served. It is no rule of the
/// CRD: only one machine refuses it.
pub const PIN_NEEDS_TRAINING: Rule = Rule {
    expression: "!has(self.rollout) || !has(self.rollout.revision) || has(self.training)",
    message: "rollout.revision works in modelwright run with training only; for a source write source.digest to choose the \
              bytes",
    only_in: Some(Scope::Machine),
};

/// The rules that only one machine evaluates: each stands beside a rule of the CRD, in every place where that stands.
pub const BESIDE: [(Rule, Rule); 2] =
    [(SOURCE_SCHEME, SOURCE_NOT_CLAIM), (SOURCE_OR_TRAINING, PIN_NEEDS_TRAINING)];

/// Every rule of the CRD, in the order of the fields.
pub const ALL: [Rule; 65] = [
    NAME,
    SOURCE_SCHEME,
    SOURCE_NOT_FILE,
    COPY_SCHEME,
    URI_NO_USERINFO,
    URI_NO_QUERY,
    DIGEST,
    POLL_INTERVAL,
    SECRET_NAME,
    DELIMITER,
    DELIMITER_OF_CSV,
    VALIDATION_ONE_OF,
    COLUMN_FIELDS,
    COLUMN_IGNORED,
    OPTIMIZER_FIELDS,
    NESTEROV_NEEDS_MOMENTUM,
    SCHEDULE_FIELDS,
    FULL_BATCH,
    MONITOR,
    CLASS_WEIGHTS_VALUES,
    OUTPUT_SCHEME,
    REQUIREMENT_METRIC,
    REQUIREMENT_BOUND,
    REQUIREMENT_ORDER,
    TEST_METRIC_NEEDS_TEST,
    REVISION,
    DURATION,
    STARTUP_TIMEOUT,
    REQUEST_TIMEOUT,
    MAX_CONNECTION_AGE,
    MAX_QUEUE_DELAY,
    INLINE_ON_PROCESSORS,
    CUDA_SETTINGS,
    CUDA_NEEDS_GPU,
    REPLICAS_OR_AUTOSCALING,
    AUTOSCALING_NEEDS_CPU,
    AUTOSCALING_EXTERNAL,
    AUTOSCALING_BOUNDS,
    ACCESS_NOT_EMPTY,
    CLIENT_LIMITS_NEED_CLIENTS,
    ISSUER,
    ISSUER_HTTPS,
    AUDIENCES,
    JWKS_URI,
    JWKS_URI_HTTPS,
    CLIENT_LIMITS,
    PAYLOAD_URL,
    PAYLOAD_URL_HTTP,
    NETWORK_POLICY_FROM,
    SURGE_OF_ROLLING,
    PROGRESS_DEADLINE,
    SERVICE_ACCOUNT_NAME,
    SOURCE_OR_TRAINING,
    OUTPUT_IN_A_CLUSTER,
    BUILTIN_OR_CONTAINER,
    TARGET_OF_BUILTIN,
    DATA_OF_CONTAINER,
    BEAT_OF_BUILTIN,
    TIME_ZONE_OF_CRON,
    CRON,
    TRAINING_DEADLINE,
    STALL_TIMEOUT,
    QUEUE,
    ENVIRONMENT_NAME,
    DELETE_TRAINED,
];
