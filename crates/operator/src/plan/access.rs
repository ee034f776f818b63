//! `spec.serving.access`: what servers are told of who may call them. The operator never reads the Secrets: servers do, from
//! volumes, which the kubelet keeps up to date.

use k8s_openapi::api::core::v1::{SecretVolumeSource, Volume};
use modelwright_api::{
    Model,
    contract::paths,
    serving::{Access, PayloadLogging, Serving},
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

/// The options of `serve` about access and the log of payloads, which ask other servers.
pub(super) fn arguments(serving: &Serving, settings: &Settings) -> Vec<String> {
    let jwt = serving.access.as_ref().is_some_and(|access| access.jwt.is_some());
    let asks = jwt || serving.payload_logging.is_some();
    let refuse = asks && settings.private_addresses == PrivateAddresses::Refuse;
    let mut arguments = serving.access.as_ref().map_or_else(Vec::new, clients);
    arguments.extend(serving.payload_logging.iter().flat_map(payload_logging));
    arguments.extend(refuse.then(|| "--refuse-private".to_owned()));
    arguments
}

fn clients(access: &Access) -> Vec<String> {
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
    words(options)
}

/// The options of `serve` about the log of payloads.
fn payload_logging(logging: &PayloadLogging) -> Vec<String> {
    let PayloadLogging { url, mode, sample_percent, redact, max_bytes } = logging;
    let mut options = vec![
        ("--payload-log-url", Some(url.clone())),
        ("--payload-log-mode", mode.map(|mode| format!("{mode:?}"))),
        ("--payload-log-sample-percent", sample_percent.map(|percent| percent.to_string())),
        ("--payload-log-max-bytes", max_bytes.map(|bytes| bytes.to_string())),
    ];
    options.extend(redact.iter().map(|name| ("--payload-log-redact", Some(name.0.clone()))));
    words(options)
}

/// One word each, so that a value which begins with a dash is still one.
fn words(options: Vec<(&str, Option<String>)>) -> Vec<String> {
    let word = |(flag, value): (&str, Option<String>)| value.map(|value| format!("{flag}={value}"));
    options.into_iter().filter_map(word).collect()
}
