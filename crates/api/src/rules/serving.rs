//! Rules of `serving`, but for who may ask.

use super::Rule;

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

/// Where payloads can go. What stands in a spec can be read by everybody who may read Models, so it holds no credentials.
pub const PAYLOAD_URL: Rule = Rule::everywhere(
    "self.matches('^(https?://[^/?#@]+(/[^?#]*)?|file:.+|stdout:)$')",
    "payloadLogging.url is https://HOST/PATH or http://HOST/PATH without user, query or fragment, or file:PATH or stdout: for \
     modelwright run; put a gateway that knows the credentials before a sink that needs some",
);

/// A file in a pod goes with the pod.
pub const PAYLOAD_URL_HTTP: Rule = Rule::in_a_cluster(
    "!self.startsWith('file:') && !self.startsWith('stdout:')",
    "file: and stdout: work only in modelwright run; write https://HOST/PATH or http://HOST/PATH",
);

/// Who may come in matters only where somebody may not.
pub const NETWORK_POLICY_FROM: Rule = Rule::everywhere(
    "!has(self.from) || size(self.from) == 0 || (has(self.enabled) && self.enabled)",
    "from has no effect without a policy; write enabled: true, or remove from",
);
