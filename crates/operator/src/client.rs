//! The clients of the API server: bounded in time and number, counted, and closed to writes by a process that does not lead. What
//! time it is, they learn by the way.

use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Once};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{Method, Request, Response};
use kube::client::{Body, ClientBuilder};
use kube::config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tower::limit::ConcurrencyLimitLayer;
use tower::{BoxError, Layer, Service};

use crate::clock::Clock;
use crate::lease::{Claim, Settings};
use crate::metrics::Metrics;

/// Requests at once whose answers have not begun: the server's own flow control does the rest. Watches are not among them.
const MAX_REQUESTS: usize = 32;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A watch is asked to last 290 s and may be silent all that time.
const READ_TIMEOUT: Duration = Duration::from_secs(305);

/// A write that was not sent.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("nothing is written: this process is not, or no longer, the leader")]
pub struct NotLeading;

/// Chooses the process's cryptography. Before anything else that may use TLS.
pub fn choose_cryptography() {
    static CHOSEN: Once = Once::new();
    CHOSEN.call_once(|| {
        // An error says that somebody chose before, which serves as well.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    });
}

/// Where the API server is, and who we are to it: as this file says, else as `KUBECONFIG` does, else as a pod is told.
pub async fn config(kubeconfig: Option<&Path>) -> Result<Config, ConfigError> {
    let Some(path) = kubeconfig else {
        return Ok(Config::infer().await?);
    };
    let in_file = |source| ConfigError::File { path: path.to_owned(), source };
    let kubeconfig = Kubeconfig::read_from(path).map_err(in_file)?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(in_file)
}

/// It is not known where the API server is.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file that was named is of no use.
    #[error("kubeconfig {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: KubeconfigError,
    },
    /// There is neither a kubeconfig nor a pod's environment.
    #[error("no cluster to work in: run it in a pod, or name a kubeconfig with --kubeconfig ({0})")]
    Nowhere(#[from] InferConfigError),
}

/// An error with all its causes: what kube's own text leaves out is often the only part that helps.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

/// The client for everything but the Lease: it writes only as long as the claim is held.
pub fn client(
    mut config: Config,
    metrics: Arc<Metrics>,
    claim: Claim,
    clock: Clock,
) -> Result<Client, kube::Error> {
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    build(config, &Watched { metrics, claim, clock })
}

/// The client for the Lease, with connections of its own: it tries once, and gives up in time for another try.
pub fn lease_client(
    mut config: Config,
    metrics: Arc<Metrics>,
    settings: &Settings,
    clock: Clock,
) -> Result<Client, kube::Error> {
    config.connect_timeout = Some(settings.attempt);
    config.read_timeout = Some(settings.attempt);
    config.default_retry = false;
    build(config, &Watched { metrics, claim: Claim::always(), clock })
}

fn build(config: Config, watched: &Watched) -> Result<Client, kube::Error> {
    let builder = ClientBuilder::try_from(config)?;
    let limit = ConcurrencyLimitLayer::new(MAX_REQUESTS);
    Ok(builder.with_layer(&limit).with_layer(watched).build())
}

/// Around a client: counts writes, refuses those of a process that does not lead, and reads the time of each answer.
#[derive(Clone, Debug)]
struct Watched {
    metrics: Arc<Metrics>,
    claim: Claim,
    clock: Clock,
}

impl<S> Layer<S> for Watched {
    type Service = WatchedService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        WatchedService { inner, watched: self.clone() }
    }
}

#[derive(Clone, Debug)]
struct WatchedService<S> {
    inner: S,
    watched: Watched,
}

impl<S, B> Service<Request<Body>> for WatchedService<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let clock = self.watched.clock.clone();
        let listen = move |response: S::Response| {
            clock.listen(response.headers());
            response
        };
        let Some(verb) = write_verb(&request) else {
            let response = self.inner.call(request);
            return Box::pin(async move { response.await.map(listen).map_err(Into::into) });
        };
        let claim = self.watched.claim.clone();
        if !claim.held() {
            return Box::pin(async { Err(NotLeading.into()) });
        }
        self.watched.metrics.wrote(verb, kind(request.uri().path()));
        let mut response = Box::pin(self.inner.call(request));
        // kube tries some requests again, for minutes if need be; none after the claim ended.
        Box::pin(poll_fn(move |context| {
            if claim.held() {
                response.as_mut().poll(context).map_ok(&listen).map_err(Into::into)
            } else {
                Poll::Ready(Err(NotLeading.into()))
            }
        }))
    }
}

/// What a request does, if it writes.
fn write_verb<B>(request: &Request<B>) -> Option<&'static str> {
    match *request.method() {
        Method::POST => Some("create"),
        Method::PUT => Some("update"),
        Method::PATCH => {
            let kind = request.headers().get(CONTENT_TYPE).map_or(&b""[..], http::HeaderValue::as_bytes);
            Some(if kind.starts_with(b"application/apply-patch") { "apply" } else { "patch" })
        }
        Method::DELETE => Some("delete"),
        _ => None,
    }
}

/// The kind of what a path of the API is about, with its subresource: of all that the operator writes, else `Other`.
fn kind(path: &str) -> &'static str {
    let mut parts = path.trim_start_matches('/').split('/');
    // The group: `api/VERSION` for the oldest, `apis/GROUP/VERSION` for the others.
    let before_resource = match parts.next() {
        Some("api") => 1,
        Some("apis") => 2,
        _ => return "Other",
    };
    let mut parts = parts.skip(before_resource).peekable();
    let mut resource = parts.next();
    if resource == Some("namespaces") && parts.next().is_some() && parts.peek().is_some() {
        resource = parts.next();
    }
    let subresource = parts.nth(1);
    match (resource.unwrap_or_default(), subresource) {
        ("models", None) => "Model",
        ("models", Some("status")) => "Model/status",
        ("serviceaccounts", None) => "ServiceAccount",
        ("services", None) => "Service",
        ("deployments", None) => "Deployment",
        ("deployments", Some("scale")) => "Deployment/scale",
        ("horizontalpodautoscalers", None) => "HorizontalPodAutoscaler",
        ("poddisruptionbudgets", None) => "PodDisruptionBudget",
        ("networkpolicies", None) => "NetworkPolicy",
        ("jobs", None) => "Job",
        ("pods", None) => "Pod",
        ("events", None) => "Event",
        ("leases", None) => "Lease",
        _ => "Other",
    }
}

#[cfg(test)]
mod tests;
