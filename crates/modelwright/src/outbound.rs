//! What the server sends on its own account, with the HTTP client and the rules for addresses that stores have.

use std::path::Path;
use std::sync::Arc;

use modelwright_api::contract::ExitCode;
use modelwright_artifact::{AccessRules, Sender};
use modelwright_server::{Poster, Posting, TraceConfig, Tracer};

use crate::environment;
use crate::failure::Failure;

/// Sends bodies to web servers.
#[derive(Debug)]
pub(crate) struct Web(Sender);

impl Web {
    /// `certificates` is a file with further authorities.
    pub(crate) fn open(rules: AccessRules, certificates: Option<&Path>) -> Result<Self, Failure> {
        let pem = certificates.map(|path| {
            std::fs::read_to_string(path).map_err(|error| {
                let message = format!("cannot read the certificates {}: {error}", path.display());
                Failure::new(ExitCode::InputMissing, "CertificatesUnreadable", message)
            })
        });
        Ok(Self(Sender::new(rules, pem.transpose()?.as_deref())?))
    }

    /// Whether this could be sent to at all.
    pub(crate) fn check(&self, url: &str) -> Result<(), String> {
        self.0.check(url).map(drop).map_err(|error| error.to_string())
    }
}

impl Poster for Web {
    fn post<'a>(&'a self, url: &'a str, headers: hyper::HeaderMap, body: hyper::body::Bytes) -> Posting<'a> {
        Box::pin(async move { self.0.post(url, headers, body).await.map_err(|error| error.to_string()) })
    }
}

/// Starts to trace requests if the environment names a collector. It was named by whoever runs this process, so it may be on this
/// machine: in a pod, that is a collector beside the server.
pub(crate) fn tracer() -> Result<Option<Arc<Tracer>>, Failure> {
    let config = TraceConfig::from_lookup(environment::variable)
        .map_err(|error| Failure::new(ExitCode::InvalidConfiguration, "InvalidTracing", error.to_string()))?;
    let Some(config) = config else { return Ok(None) };
    let web = Web::open(AccessRules::LOCAL, config.certificate.as_deref())?;
    web.check(&config.endpoint).map_err(|problem| {
        let message = format!("the collector of traces cannot be used: {problem}");
        Failure::new(ExitCode::InvalidConfiguration, "InvalidTracing", message)
    })?;
    let started = Tracer::start(config, Arc::new(web));
    started
        .map(Some)
        .map_err(|error| Failure::bug(format!("the thread for traces cannot be started: {error}")))
}
