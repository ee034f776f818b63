//! Rules of Where models and data are read from, and where copies go.

use super::{DNS_SUBDOMAIN, Rule, Scope};

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

/// A Secret's name is a DNS subdomain.
pub const SECRET_NAME: Rule = Rule::everywhere(
    DNS_SUBDOMAIN,
    "a Secret's name holds only lower-case letters, digits, '-' and '.', and begins and ends with a letter or digit; \
     write the name that kubectl get secrets shows",
);

/// Shorter polls are load on a store without use: a roll-out takes longer.
pub const POLL_INTERVAL: Rule = Rule::everywhere(
    "!self.matches('^([0-9]{1,6}(h|m|s|ms))+$') || \
     (duration(self) >= duration('5m') && duration(self) <= duration('8784h'))",
    "pollInterval must be from 5m to 8784h (a year); write for example 10m, and for a change at once set the annotation \
     modelwright.dev/resolve-at, or of a training modelwright.dev/retrain-at",
);

/// A volume claim is an object of a cluster. It is no rule of the CRD: only one machine refuses it.
pub const SOURCE_NOT_CLAIM: Rule = Rule {
    expression: "!self.startsWith('pvc:')",
    message: "pvc: works only in a cluster, because this machine has no volume claims; write file:PATH or a place in \
              object storage",
    only_in: Some(Scope::Machine),
};
