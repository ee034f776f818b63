//! `spec.serving.access`: who may call the model, and over what.
#![allow(unreachable_pub, reason = "KubeSchema copies each struct, `pub` and all, into a function")]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{free_form::Text, rules};

/// Who may call the model, and over what. Absent: whoever reaches a server, without TLS.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::ACCESS_NOT_EMPTY, validation = rules::CLIENT_LIMITS_NEED_CLIENTS)]
pub struct Access {
    /// Keys, which clients send as `Authorization: Bearer KEY` or `X-API-Key: KEY`. With `jwt`, either is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_keys: Option<ApiKeys>,
    /// Tokens of an OIDC issuer, which clients send as `Authorization: Bearer TOKEN`, signed with RS256, ES256 or `EdDSA`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<Jwt>,
    /// What each client (an entry of the Secret of `apiKeys`, or a token's `sub`) may ask of one server pod. More is answered
    /// with 429.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ClientLimits>,
    /// Serve over TLS, and not without. Clients then use port 443 of the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// Keys of clients.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeys {
    /// Each entry is a client and holds, for each of its keys, a line `sha256:…` from `modelwright hash-key`. Changes need no
    /// restart. In `modelwright run`: `--secret NAME=PATH`.
    pub secret_ref: MountedSecret,
}

/// JSON Web Tokens of an OIDC issuer. They must be signed with RS256, ES256 or `EdDSA` (Ed25519), and have `exp`, `iss`,
/// `aud` and `sub`.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Jwt {
    /// The issuer, exactly as tokens name it in `iss`.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = rules::ISSUER, validation = rules::ISSUER_HTTPS)]
    pub issuer: String,
    /// One of these must be in a token's `aud`.
    #[schemars(length(max = 16))]
    #[x_kube(validation = rules::AUDIENCES)]
    pub audiences: Vec<Text>,
    /// Where the issuer's keys are. Absent: where its discovery document says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = rules::JWKS_URI, validation = rules::JWKS_URI_HTTPS)]
    pub jwks_uri: Option<String>,
}

/// What each client may ask of one server; with several server pods a client gets as many times as much.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::CLIENT_LIMITS)]
pub struct ClientLimits {
    /// Requests per second, on average.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_per_second: Option<i32>,
    /// Requests at once after a pause. Absent: `requestsPerSecond`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: Option<i32>,
    /// Requests that are in progress at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub concurrent_requests: Option<i32>,
}

/// Serve over TLS (1.2 or 1.3).
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// A Secret of type `kubernetes.io/tls`. A renewed certificate needs no restart. In `modelwright run`: `--secret NAME=FOLDER`.
    pub secret_ref: MountedSecret,
}

/// A Secret in the Model's namespace whose entries servers read as files.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MountedSecret {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::SECRET_NAME)]
    pub name: String,
}

impl Access {
    /// The Secret with the keys of clients.
    pub fn api_keys_secret(&self) -> Option<&str> {
        self.api_keys.as_ref().map(|keys| keys.secret_ref.name.as_str())
    }

    /// The Secret with the certificate.
    pub fn tls_secret(&self) -> Option<&str> {
        self.tls.as_ref().map(|tls| tls.secret_ref.name.as_str())
    }

    /// Whether requests must show who they are from.
    pub const fn authenticates(&self) -> bool {
        self.api_keys.is_some() || self.jwt.is_some()
    }
}
