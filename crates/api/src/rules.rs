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
    "file: works only in modelwright run, because a pod does not see your files; write a place in object storage, such \
     as s3://BUCKET/PATH, and upload them there, or use modelwright run",
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

/// What most names of objects are (RFC 1123).
const DNS_SUBDOMAIN: &str = "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')";

/// A Secret's name is a DNS subdomain.
pub const SECRET_NAME: Rule = Rule::everywhere(
    DNS_SUBDOMAIN,
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

/// A request that may wait for ever holds memory for ever.
pub const REQUEST_TIMEOUT: Rule = Rule::everywhere(
    "!self.matches('^([0-9]{1,6}(h|m|s|ms))+$') || \
     (duration(self) >= duration('1s') && duration(self) <= duration('1h'))",
    "requestTimeout must be from 1s to 1h; write for example 30s",
);

/// Shorter ages would cost more in connections than they bring in balance.
pub const MAX_CONNECTION_AGE: Rule = Rule::everywhere(
    "!self.matches('^([0-9]{1,6}(h|m|s|ms))+$') || \
     (duration(self) >= duration('1s') && duration(self) <= duration('24h'))",
    "maxConnectionAge must be from 1s to 24h; write for example 10m",
);

/// Waiting longer for company than most models run is a mistake.
pub const MAX_QUEUE_DELAY: Rule = Rule::everywhere(
    "!self.matches('^([0-9]{1,6}(h|m|s|ms))+$') || duration(self) <= duration('1s')",
    "maxQueueDelay must be at most 1s; write for example 2ms",
);

/// A thread that reads requests cannot wait for a GPU.
pub const INLINE_ON_PROCESSORS: Rule = Rule::everywhere(
    "!has(self.session) || !has(self.session.lane) || self.session.lane != 'Inline' || \
     !has(self.executionProvider) || self.executionProvider != 'CUDA'",
    "session.lane: Inline is for executionProvider: CPU; write lane: Pooled, or leave it out",
);

/// A setting without effect is a mistake.
pub const CUDA_SETTINGS: Rule = Rule::everywhere(
    "!has(self.session) || !has(self.session.cuda) || \
     (has(self.executionProvider) && self.executionProvider == 'CUDA')",
    "session.cuda is for executionProvider: CUDA; remove it, or write executionProvider: CUDA",
);

/// Without a device in the pod's limits the scheduler gives it none.
pub const CUDA_NEEDS_GPU: Rule = Rule::in_a_cluster(
    "!has(self.executionProvider) || self.executionProvider != 'CUDA' || (has(self.resources) && \
     has(self.resources.limits) && 'nvidia.com/gpu' in self.resources.limits && \
     self.resources.limits['nvidia.com/gpu'] != 0 && self.resources.limits['nvidia.com/gpu'] != '0')",
    "executionProvider: CUDA needs a GPU; write resources: {limits: {nvidia.com/gpu: 1}}, or executionProvider: CPU",
);

/// One writer decides how many pods there are.
pub const REPLICAS_OR_AUTOSCALING: Rule = Rule::everywhere(
    "!has(self.replicas) || !has(self.autoscaling)",
    "replicas and autoscaling would both decide how many pods there are; write one of them",
);

/// A share of a request needs a request. A limit is a request where none is written.
pub const AUTOSCALING_NEEDS_CPU: Rule = Rule::everywhere(
    "!has(self.autoscaling) || (has(self.autoscaling.mode) && self.autoscaling.mode == 'External') || \
     (has(self.autoscaling.metrics) && size(self.autoscaling.metrics) > 0 && !has(self.autoscaling.cpu)) || \
     (has(self.resources) && ((has(self.resources.requests) && 'cpu' in self.resources.requests) || \
     (has(self.resources.limits) && 'cpu' in self.resources.limits)))",
    "autoscaling by cpu measures the share of what is requested, and no cpu is; write resources: {requests: {cpu: 1}}, or \
     autoscaling.metrics without cpu",
);

/// What another autoscaler does is not ours to say.
pub const AUTOSCALING_EXTERNAL: Rule = Rule::everywhere(
    "!has(self.mode) || self.mode != 'External' || !(has(self.minReplicas) || has(self.maxReplicas) || has(self.cpu) || \
     has(self.metrics) || has(self.behavior))",
    "mode External leaves scaling to an autoscaler of yours, so the other fields have no effect; remove them, or write mode: \
     Managed",
);

/// A managed autoscaler needs bounds in the right order.
pub const AUTOSCALING_BOUNDS: Rule = Rule::everywhere(
    "(has(self.mode) && self.mode == 'External') || \
     (has(self.maxReplicas) && (!has(self.minReplicas) || self.minReplicas <= self.maxReplicas))",
    "autoscaling needs maxReplicas, at least as large as minReplicas; write for example minReplicas: 1, maxReplicas: 4",
);

/// An empty block looks like protection and is none.
pub const ACCESS_NOT_EMPTY: Rule = Rule::everywhere(
    "has(self.apiKeys) || has(self.jwt) || has(self.tls)",
    "access without apiKeys, jwt or tls admits everybody; write one of them, or remove access",
);

/// Limits count by client.
pub const CLIENT_LIMITS_NEED_CLIENTS: Rule = Rule::everywhere(
    "!has(self.limits) || has(self.apiKeys) || has(self.jwt)",
    "access.limits count by client, and without apiKeys or jwt no client is known; write one of these, or bound all requests \
     together with serving.limits.maxQueuedRequests",
);

/// A limit without a number limits nothing, and a burst is of a rate.
pub const CLIENT_LIMITS: Rule = Rule::everywhere(
    "(has(self.requestsPerSecond) || has(self.concurrentRequests)) && (!has(self.burst) || has(self.requestsPerSecond))",
    "limits need requestsPerSecond or concurrentRequests, and burst belongs to requestsPerSecond; write for example \
     requestsPerSecond: 50",
);

/// Keys that come without TLS are anybody's keys. One machine may have an issuer on itself, to try things out.
pub const ISSUER: Rule = Rule::everywhere(
    "self.matches('^(https://[^/?#@]+|http://(localhost|127[.]0[.]0[.]1)(:[0-9]+)?)(/[^?#]*)?$')",
    "an issuer is https://HOST, perhaps with a path, and without user, query or fragment; write what the tokens have in iss",
);

/// A pod has no issuer beside it.
pub const ISSUER_HTTPS: Rule = Rule::in_a_cluster(
    "!self.startsWith('http:')",
    "an issuer without TLS works only in modelwright run; write https://HOST",
);

/// A token for somebody else is none for this model.
pub const AUDIENCES: Rule = Rule::everywhere(
    "size(self) > 0",
    "without audiences every token of the issuer would be taken, whomever it is for; write what tokens for this model have in \
     aud",
);

/// As for the issuer; some have a query.
pub const JWKS_URI: Rule = Rule::everywhere(
    "self.matches('^(https://[^/?#@]+|http://(localhost|127[.]0[.]0[.]1)(:[0-9]+)?)(/[^#]*)?$')",
    "jwksUri is https://HOST/PATH without user or fragment; write what the issuer's discovery document has as jwks_uri, or \
     remove it",
);

/// A pod has no issuer beside it.
pub const JWKS_URI_HTTPS: Rule = Rule::in_a_cluster(
    "!self.startsWith('http:')",
    "keys without TLS work only in modelwright run; write https://HOST/PATH",
);

/// Who may come in matters only where somebody may not.
pub const NETWORK_POLICY_FROM: Rule = Rule::everywhere(
    "!has(self.from) || size(self.from) == 0 || (has(self.enabled) && self.enabled)",
    "from has no effect without a policy; write enabled: true, or remove from",
);

/// A surge is what a rolling update may have.
pub const SURGE_OF_ROLLING: Rule = Rule::everywhere(
    "!has(self.surge) || !has(self.strategy) || self.strategy == 'Rolling'",
    "surge has no effect with strategy Recreate, which ends all pods first; remove it, or write strategy: Rolling",
);

/// Shorter polls are load on a store without use: a roll-out takes longer.
pub const POLL_INTERVAL: Rule = Rule::everywhere(
    "!self.matches('^([0-9]{1,6}(h|m|s|ms))+$') || \
     (duration(self) >= duration('5m') && duration(self) <= duration('8784h'))",
    "pollInterval must be from 5m to 8784h (a year); write for example 10m, and for a change at once set the annotation \
     modelwright.dev/resolve-at",
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

/// Training pods come with a later version of the operator.
pub const TRAINING_ON_A_MACHINE: Rule = Rule::in_a_cluster(
    "!has(self.training)",
    "training works only in modelwright run in this version; train with modelwright run and training.output, and write \
     the published revision as source",
);

/// A delimiter is one character. `\t` is how a tab can be seen; the quotation mark has its own meaning in CSV.
pub const DELIMITER: Rule = Rule::everywhere(
    "self == '\\\\t' || (self.matches('^[\\t -~]$') && self != '\"')",
    "a delimiter is one ASCII character other than a quotation mark, or \\t for a tab; write for example ';'",
);

/// Parquet has columns without delimiters.
pub const DELIMITER_OF_CSV: Rule = Rule::everywhere(
    "!has(self.delimiter) || !has(self.format) || self.format == 'CSV'",
    "a delimiter belongs to CSV, and Parquet has none; remove it, or write format: CSV",
);

/// Validation rows are a part, or rows of their own.
pub const VALIDATION_ONE_OF: Rule = Rule::everywhere(
    "!has(self.source) || (!has(self.fraction) && !has(self.stratify))",
    "validation rows are a part of the training rows or rows of their own; write fraction (and stratify), or source",
);

/// What is done to a column fits its values, and where no type is written, at least one type fits all that is.
pub const COLUMN_FIELDS: Rule = Rule::everywhere(
    "(has(self.type) && self.type == 'Ignored') || \
     ((!(has(self.scale) || (has(self.impute) && self.impute in ['Mean', 'Median'])) || \
     ((!has(self.type) || self.type == 'Numeric') && !has(self.maxCategories) && \
     (!has(self.impute) || self.impute != 'Category'))) && \
     (!(has(self.maxCategories) || (has(self.impute) && self.impute == 'Category')) || \
     !has(self.type) || self.type == 'String'))",
    "a field does not fit the type of the column; Numeric has scale, and impute Mean, Median or MostFrequent; String has \
     maxCategories, and impute Category or MostFrequent; Boolean has impute MostFrequent; write the fields of one type",
);

/// What is not used needs no preparation.
pub const COLUMN_IGNORED: Rule = Rule::everywhere(
    "!has(self.type) || self.type != 'Ignored' || !(has(self.impute) || has(self.scale) || has(self.maxCategories))",
    "an Ignored column is not used, so impute, scale and maxCategories have no effect; remove them, or write another type",
);

/// Every field of an optimizer does something. Without a kind it is Adam.
pub const OPTIMIZER_FIELDS: Rule = Rule::everywhere(
    "(!has(self.momentum) || (has(self.kind) && self.kind in ['SGD', 'RMSProp'])) && \
     (!has(self.nesterov) || (has(self.kind) && self.kind == 'SGD')) && \
     (!(has(self.beta1) || has(self.beta2)) || !has(self.kind) || self.kind in ['Adam', 'AdamW']) && \
     (!has(self.rho) || (has(self.kind) && self.kind == 'RMSProp')) && \
     (!has(self.epsilon) || !has(self.kind) || self.kind != 'SGD') && \
     (!has(self.weightDecay) || (has(self.kind) && self.kind == 'AdamW'))",
    "a field does not belong to this kind of optimizer; SGD has momentum and nesterov; Adam, which is used where no kind is \
     written, has beta1, beta2 and epsilon; AdamW these and weightDecay; RMSProp has rho, epsilon and momentum; all have \
     learningRate; write the fields of one kind",
);

/// There is nothing to look ahead along without a momentum.
pub const NESTEROV_NEEDS_MOMENTUM: Rule = Rule::everywhere(
    "!has(self.nesterov) || !self.nesterov || !has(self.kind) || self.kind != 'SGD' || \
     (has(self.momentum) && self.momentum > 0.0)",
    "nesterov looks ahead along the momentum, and there is none; write for example momentum: 0.9, or remove nesterov",
);

/// Every field of a schedule does something.
pub const SCHEDULE_FIELDS: Rule = Rule::everywhere(
    "!(has(self.everyEpochs) || has(self.factor)) || (has(self.kind) && self.kind == 'Step')",
    "everyEpochs and factor belong to a Step schedule; write kind: Step, or remove them",
);

/// Weights are written where they are used.
pub const CLASS_WEIGHTS_VALUES: Rule = Rule::everywhere(
    "has(self.values) == (self.mode == 'Values') && (!has(self.values) || size(self.values) > 0)",
    "values belong to mode Values and must be written there; write mode: Values and values: {CLASS: WEIGHT}, or another \
     mode without values",
);

/// Whole batches have no size.
pub const FULL_BATCH: Rule = Rule::everywhere(
    "!has(self.fullBatch) || !self.fullBatch || !has(self.batchSize)",
    "fullBatch takes all rows in one step, so batchSize has no effect; write one of them",
);

/// What early stopping watches is measured after every epoch, which only validation rows are.
pub const MONITOR: Rule = Rule::everywhere(
    "self.matches('^val[A-Z][A-Za-z0-9]*$')",
    "early stopping watches the validation rows; write val and the name of a metric, such as valLoss or valRocAuc",
);

/// A metric says which rows it is of.
pub const REQUIREMENT_METRIC: Rule = Rule::everywhere(
    "self.matches('^(val|test)[A-Z][A-Za-z0-9]*$')",
    "a metric is of the validation or of the test rows; write val or test and its name, such as valAccuracy or testRmse",
);

/// Nothing is measured on rows that there are not.
pub const TEST_METRIC_NEEDS_TEST: Rule = Rule::everywhere(
    "has(self.data.test) || !has(self.gate) || !has(self.gate.require) || \
     !self.gate.require.exists(requirement, requirement.metric.startsWith('test'))",
    "a test metric needs test rows; write data.test.source, or require a metric of the validation rows, such as valAccuracy",
);

/// A requirement without a bound requires nothing.
pub const REQUIREMENT_BOUND: Rule = Rule::everywhere(
    "has(self.min) || has(self.max)",
    "a requirement needs a bound; write min or max, or both",
);

/// Nothing lies between bounds in the wrong order.
pub const REQUIREMENT_ORDER: Rule = Rule::everywhere(
    "!has(self.min) || !has(self.max) || self.min <= self.max",
    "no value can be at least min and at most max, because min is larger; write a min that is at most max",
);

/// The places that revisions can be published into by a training.
pub const OUTPUT_SCHEME: Rule = Rule::everywhere(
    "self.matches('^((s3|gs|az)://[^/]|file:.)')",
    "training.output.uri must be object storage; write s3://BUCKET/PATH, gs://BUCKET/PATH or az://CONTAINER/PATH, or \
     file:PATH for modelwright run",
);

/// Revisions are named by their digest or its beginning.
pub const REVISION: Rule = Rule::everywhere(
    "self.matches('^([0-9a-f]{16}|sha256:[0-9a-f]{64})$')",
    "a revision is named by its id (16 lower-case hexadecimal digits) or its digest (sha256: and 64 of them); write one \
     that status.revisions or modelwright run shows",
);

/// A volume claim is an object of a cluster. It is no rule of the CRD: only one machine refuses it.
pub const SOURCE_NOT_CLAIM: Rule = Rule {
    expression: "!self.startsWith('pvc:')",
    message: "pvc: works only in a cluster, because this machine has no volume claims; write file:PATH or a place in \
              object storage",
    only_in: Some(Scope::Machine),
};

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
pub const ALL: [Rule; 52] = [
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
    NETWORK_POLICY_FROM,
    SURGE_OF_ROLLING,
    PROGRESS_DEADLINE,
    SERVICE_ACCOUNT_NAME,
    SOURCE_OR_TRAINING,
    // The last to be read, because what it says goes for all of a training.
    TRAINING_ON_A_MACHINE,
];
