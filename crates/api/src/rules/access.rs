//! Rules of `serving.access`: who may ask, and how often.

use super::Rule;

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
