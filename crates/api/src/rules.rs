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

/// The places that sources can be read from.
pub const SOURCE_SCHEME: Rule = Rule::everywhere(
    "self.matches('^((s3|gs|az|http|https|pvc)://[^/]|file:.)')",
    "the uri must name a place Modelwright can read; write s3://BUCKET/PATH, gs://BUCKET/PATH, az://CONTAINER/PATH, \
     https://HOST/PATH, http://HOST/PATH, pvc://CLAIM/PATH, or file:PATH for modelwright run",
);

/// A pod does not see the files of the machine where the manifest was written.
pub const SOURCE_NOT_FILE: Rule = Rule::in_a_cluster(
    "!self.startsWith('file:')",
    "file: works only in modelwright run, because a pod does not see your files; upload the model and write its place \
     in object storage, such as s3://BUCKET/PATH, or serve it with modelwright run",
);

/// The stores that revisions can be published into.
pub const COPY_SCHEME: Rule = Rule::everywhere(
    "self.matches('^(s3|gs|az)://[^/]')",
    "copyTo.uri must be object storage; write s3://BUCKET/PATH, gs://BUCKET/PATH or az://CONTAINER/PATH",
);

/// Specs are readable by everybody who may read Models, and their URIs are logged.
pub const URI_NO_USERINFO: Rule = Rule::everywhere(
    "!self.matches('^[a-z0-9]+://[^/]*@')",
    "a uri must not hold credentials; remove USER:PASSWORD@ and name a Secret in credentialsSecretRef",
);

/// Queries carry signatures, which are credentials; a fragment means nothing to a store.
pub const URI_NO_QUERY: Rule = Rule::everywhere(
    "!self.matches('[?#]')",
    "a uri must not hold '?' or '#'; remove everything from there on, and instead of a signed link name a Secret in \
     credentialsSecretRef",
);

/// The one way digests are written.
pub const DIGEST: Rule = Rule::everywhere(
    "self.matches('^sha256:[0-9a-f]{64}$')",
    "a digest is sha256: and 64 lower-case hexadecimal digits; write what modelwright resolve --uri URI prints",
);

/// A Secret's name is a DNS subdomain.
pub const SECRET_NAME: Rule = Rule::everywhere(
    "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",
    "a Secret's name holds only lower-case letters, digits, '-' and '.', and begins and ends with a letter or digit; \
     write the name that kubectl get secrets shows",
);

/// Durations have one obvious meaning.
pub const DURATION: Rule = Rule::everywhere(
    "self.matches('^([0-9]{1,6}(h|m|s|ms))+$')",
    "a duration is whole numbers with units h, m, s or ms; write for example 90s, 10m or 1h30m",
);

/// A start that takes no time or never ends is a mistake.
pub const STARTUP_TIMEOUT: Rule = Rule::everywhere(
    "!self.matches('^([0-9]{1,6}(h|m|s|ms))+$') || \
     (duration(self) >= duration('1s') && duration(self) <= duration('24h'))",
    "startupTimeout must be from 1s to 24h; write for example 10m",
);

/// Without a device in the pod's limits the scheduler gives it none.
pub const CUDA_NEEDS_GPU: Rule = Rule::in_a_cluster(
    "!has(self.executionProvider) || self.executionProvider != 'CUDA' || (has(self.resources) && \
     has(self.resources.limits) && 'nvidia.com/gpu' in self.resources.limits && \
     self.resources.limits['nvidia.com/gpu'] != 0 && self.resources.limits['nvidia.com/gpu'] != '0')",
    "executionProvider: CUDA needs a GPU; write resources: {limits: {nvidia.com/gpu: 1}}, or executionProvider: CPU",
);

/// A volume claim is an object of a cluster. It is no rule of the CRD: only one machine refuses it.
pub const SOURCE_NOT_CLAIM: Rule = Rule {
    expression: "!self.startsWith('pvc:')",
    message: "pvc: works only in a cluster, because this machine has no volume claims; write file:PATH or a place in \
              object storage",
    only_in: Some(Scope::Machine),
};

/// Every rule of the CRD.
pub const ALL: [Rule; 11] = [
    NAME,
    SOURCE_SCHEME,
    SOURCE_NOT_FILE,
    COPY_SCHEME,
    URI_NO_USERINFO,
    URI_NO_QUERY,
    DIGEST,
    SECRET_NAME,
    DURATION,
    STARTUP_TIMEOUT,
    CUDA_NEEDS_GPU,
];
