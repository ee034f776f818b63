//! Rules of `training`: when and by what it is done, and what lets its result pass.

use super::{DNS_SUBDOMAIN, Rule};

/// Pods keep nothing, so what they train is published.
pub const OUTPUT_IN_A_CLUSTER: Rule = Rule::in_a_cluster(
    "has(self.output)",
    "a training in a cluster publishes its revisions into a store; write output: {uri: s3://BUCKET/PATH}",
);

/// The places that revisions can be published into by a training.
pub const OUTPUT_SCHEME: Rule = Rule::everywhere(
    "self.matches('^((s3|gs|az)://[^/]|file:.)')",
    "training.output.uri must be object storage; write s3://BUCKET/PATH, gs://BUCKET/PATH or az://CONTAINER/PATH, or \
     file:PATH for modelwright run",
);

/// A model has one trainer.
pub const BUILTIN_OR_CONTAINER: Rule = Rule::everywhere(
    "!has(self.builtin) || !has(self.container)",
    "either the built-in trainer or a container of yours trains; write one of builtin and container",
);

/// The built-in trainer predicts a column.
pub const TARGET_OF_BUILTIN: Rule = Rule::everywhere(
    "has(self.container) || has(self.data.target)",
    "the built-in trainer needs the column to predict; write data.target, or container",
);

/// A container gets files, and reads them as it likes.
pub const DATA_OF_CONTAINER: Rule = Rule::everywhere(
    "!has(self.container) || !(has(self.data.target) || has(self.data.source.delimiter) || \
     (has(self.data.validation) && !has(self.data.validation.source)))",
    "data.target, delimiter, validation.fraction and validation.stratify are read by the built-in trainer only; pass them in \
     container.parameters",
);

/// Only the built-in trainer can measure another revision on the same rows.
pub const BEAT_OF_BUILTIN: Rule = Rule::everywhere(
    "!has(self.container) || !has(self.gate) || !has(self.gate.beat)",
    "beat needs the built-in trainer, which measures both models on the same rows; write gate.require with metrics that \
     the container writes into metrics.json",
);

/// A time zone says what a clock shows.
pub const TIME_ZONE_OF_CRON: Rule = Rule::everywhere(
    "!has(self.timeZone) || has(self.cron)",
    "timeZone has no effect without cron; remove it, or write cron",
);

/// Five fields; what they may hold is checked by the operator and by `modelwright run`.
pub const CRON: Rule = Rule::everywhere(
    "self.matches('^ *([-0-9A-Za-z*,/#?]+ +){4}[-0-9A-Za-z*,/#?]+ *$')",
    "cron must have five fields: minute, hour, day of month, month, day of week; write for example 0 3 * * *",
);

/// A deadline shorter than a pod's start would end every attempt.
pub const TRAINING_DEADLINE: Rule = Rule::everywhere(
    "!self.matches('^([0-9]{1,6}(h|m|s|ms))+$') || \
     (duration(self) >= duration('1m') && duration(self) <= duration('8784h'))",
    "deadline must be from 1m to 8784h (a year); write for example 12h",
);

/// Reading data and the first epoch make no progress that could be seen.
pub const STALL_TIMEOUT: Rule = Rule::everywhere(
    "!self.matches('^([0-9]{1,6}(h|m|s|ms))+$') || \
     (duration(self) >= duration('1m') && duration(self) <= duration('168h'))",
    "stallTimeout must be from 1m to 168h; write for example 30m",
);

/// Kueue reads the queue from a label.
pub const QUEUE: Rule = Rule::everywhere(
    DNS_SUBDOMAIN,
    "a queue's name holds only lower-case letters, digits, '-' and '.', and begins and ends with a letter or digit; write \
     the name that kubectl get localqueues shows",
);

/// What Modelwright sets itself is the contract with the container.
pub const ENVIRONMENT_NAME: Rule = Rule::everywhere(
    "self.matches('^[A-Za-z_][A-Za-z0-9_]*$') && !self.matches('^(ML_|MODELWRIGHT_|PET_|SM_|AIP_|KUBEFLOW_)')",
    "a variable's name holds letters, digits and '_', and does not begin with ML_, MODELWRIGHT_, PET_, SM_, AIP_ or \
     KUBEFLOW_, which Modelwright sets itself; write another name",
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
