//! `spec.serving.access`: what servers are told of who may call them. The operator never reads the Secrets: servers do, from
//! volumes, which the kubelet keeps up to date.

use k8s_openapi::api::core::v1::{SecretVolumeSource, Volume};
use modelwright_api::{
    Model,
    contract::paths,
    serving::{Access, Serving},
};

use super::children::serving;
use crate::settings::{PrivateAddresses, Settings};

/// A Secret that servers see as files.
pub(super) struct Mounted<'a> {
    pub(super) volume: &'static str,
    pub(super) path: &'static str,
    secret: &'a str,
}

impl Mounted<'_> {
    /// Optional, because without the Secret a pod would wait in silence; a server says what is missing.
    pub(super) fn volume(&self) -> Volume {
        Volume {
            name: self.volume.to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(self.secret.to_owned()),
                // For the group of the pod, as which servers run; of these files some are private keys.
                default_mode: Some(0o440),
                optional: Some(true),
                items: None,
            }),
            ..Volume::default()
        }
    }
}

fn access(model: &Model) -> Option<&Access> {
    serving(model)?.access.as_ref()
}

/// Where a Model answers inside the cluster.
pub fn service_url(model: &Model) -> Option<String> {
    let (name, namespace) = (model.metadata.name.as_deref()?, model.metadata.namespace.as_deref()?);
    let scheme = if has_tls(model) { "https" } else { "http" };
    Some(format!("{scheme}://{name}.{namespace}.svc"))
}

/// Whether servers speak TLS.
pub(super) fn has_tls(model: &Model) -> bool {
    access(model).is_some_and(|access| access.tls.is_some())
}

/// The Secrets that servers see.
pub(super) fn secrets(model: &Model) -> impl Iterator<Item = Mounted<'_>> {
    let access = access(model);
    let keys = access.and_then(Access::api_keys_secret).map(|secret| Mounted {
        volume: paths::API_KEYS_VOLUME,
        path: paths::API_KEYS,
        secret,
    });
    let tls = access.and_then(Access::tls_secret).map(|secret| Mounted {
        volume: paths::TLS_VOLUME,
        path: paths::TLS,
        secret,
    });
    keys.into_iter().chain(tls)
}

/// The options of `serve` about access.
pub(super) fn arguments(serving: &Serving, settings: &Settings) -> Vec<String> {
    let Some(access) = &serving.access else { return Vec::new() };
    let limits = access.limits.clone().unwrap_or_default();
    let number = |number: Option<i32>| number.map(|number| number.to_string());
    let path = |there: bool, path: &str| there.then(|| path.to_owned());
    let mut options = vec![
        ("--api-keys", path(access.api_keys.is_some(), paths::API_KEYS)),
        ("--client-requests-per-second", number(limits.requests_per_second)),
        ("--client-burst", number(limits.burst)),
        ("--client-concurrent-requests", number(limits.concurrent_requests)),
        ("--tls", path(access.tls.is_some(), paths::TLS)),
    ];
    if let Some(jwt) = &access.jwt {
        options.push(("--jwt-issuer", Some(jwt.issuer.clone())));
        options.extend(jwt.audiences.iter().map(|audience| ("--jwt-audience", Some(audience.0.clone()))));
        options.push(("--jwks-uri", jwt.jwks_uri.clone()));
    }
    let mut arguments: Vec<String> = options
        .into_iter()
        // One word, so that a value which begins with a dash is still one.
        .filter_map(|(flag, value)| value.map(|value| format!("{flag}={value}")))
        .collect();
    if access.jwt.is_some() && settings.private_addresses == PrivateAddresses::Refuse {
        arguments.push("--refuse-private".to_owned());
    }
    arguments
}
