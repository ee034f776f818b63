//! The data port: from a request to its answer.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use http::header::{CONNECTION, EXPECT};
use http::request::Parts;
use http::{HeaderValue, Method, Request, StatusCode, Version};
use hyper::body::Incoming;
use modelwright_protocol::Limits;
use modelwright_protocol::v2::{Live, ModelMetadata, ModelReady, Ready, ServerMetadata};
use modelwright_runtime::cpus;
use serde::Serialize;

use crate::answer::{self, Refusal, Response};
use crate::body::{Bodies, Upload};
use crate::config::ServerConfig;
use crate::infer;
use crate::memory::keeping;
use crate::metrics::Metrics;
use crate::phase::Phase;
use crate::registry::{ModelState, ReadyModel, Registry};
use crate::route::{self, Route, Target};
use crate::workers::Workers;

/// The message for a panic; what panicked is in the log.
pub(crate) const PANICKED: &str =
    "the server failed on this request; this is a bug, and the log has the details";

/// When to ask again for a model that is on its way.
const RETRY_LOADING: Duration = Duration::from_secs(1);
/// When to ask again for a model that failed to load, or of a server that ends.
const RETRY_FAILED: Duration = Duration::from_secs(10);

/// What the handlers of the data port share.
#[derive(Debug)]
pub(crate) struct Data {
    pub(crate) registry: Arc<Registry>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) phase: Phase,
    pub(crate) bodies: Bodies,
    pub(crate) workers: Workers,
    max_body_bytes: usize,
    pub(crate) limits: Limits,
    pub(crate) request_timeout: Duration,
}

/// The body of `GET /v1/models`.
#[derive(Serialize)]
struct V1Models<'a> {
    models: Vec<&'a str>,
}

impl Data {
    /// The bytes that a request to a model may have.
    pub(crate) fn max_body_bytes(&self, ready: &ReadyModel) -> usize {
        ready.max_body_bytes().unwrap_or(self.max_body_bytes)
    }

    pub(crate) fn new(
        config: &ServerConfig,
        registry: Arc<Registry>,
        metrics: Arc<Metrics>,
        phase: Phase,
    ) -> Self {
        let workers = Workers::new(cpus::available());
        Self {
            max_body_bytes: config.bounds.max_body_bytes,
            registry,
            metrics,
            phase,
            bodies: Bodies::new(&config.bounds, workers.clone()),
            workers,
            limits: config.limits,
            request_timeout: config.bounds.request_timeout,
        }
    }

    /// Answers a request, whatever happens.
    pub(crate) async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Response {
        let in_flight = self.phase.begin_request();
        let (head, body) = request.into_parts();
        let mut upload = Upload::new(body);
        let path = head.uri.path();
        let route = Route::parse(path);
        let mut count = Count::new(&self, route.as_ref());
        let answer = self.answer(route.as_ref(), &head, &mut upload);
        let mut response = match AssertUnwindSafe(answer).catch_unwind().await {
            Ok(Ok(response)) => response,
            Ok(Err(refusal)) => refusal.into_response(),
            Err(_) => Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, PANICKED).into_response(),
        };
        count.status = Some(response.status());
        let refused_early = !response.status().is_success() && upload.is_unread();
        if head.version > Version::HTTP_11 {
            // HTTP/2 has its own way to say goodbye and forbids this header.
            response.headers_mut().remove(CONNECTION);
        } else if refused_early || self.phase.is_draining() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        // A client that asked whether to send its body sends none; reading would tell it to.
        if refused_early && !head.headers.contains_key(EXPECT) {
            tokio::spawn(upload.discard(self.max_body_bytes));
        }
        // The request is there until its answer has left.
        response.map(|body| keeping(body, in_flight))
    }

    async fn answer(
        &self,
        route: Option<&Route<'_>>,
        head: &Parts,
        upload: &mut Upload,
    ) -> Result<Response, Refusal> {
        let route = route.ok_or_else(|| Refusal::not_found(route::no_such_path(head.uri.path())))?;
        if route.takes_post() {
            if head.method != Method::POST {
                return Err(Refusal::method("POST"));
            }
            return self.infer(route, head, upload).await;
        }
        if head.method != Method::GET && head.method != Method::HEAD {
            return Err(Refusal::method("GET, HEAD"));
        }
        self.inform(route)
    }

    /// The routes that read nothing but the registry. hyper leaves the body out for HEAD.
    fn inform(&self, route: &Route<'_>) -> Result<Response, Refusal> {
        match route {
            Route::ServerMetadata => Ok(answer::json(&ServerMetadata {
                name: "modelwright".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                extensions: Vec::new(),
            })),
            Route::Live => Ok(answer::json(&Live { live: true })),
            Route::Ready => self.ready(),
            Route::ModelMetadata(target) => {
                let ready = self.model(target)?;
                let versions = vec![ready.version().to_owned()];
                let signature = ready.model().signature();
                Ok(answer::json(&ModelMetadata::new(target.model.as_ref(), versions, signature)))
            }
            Route::ModelReady(target) | Route::V1Model(target) => {
                self.model(target)?;
                Ok(answer::json(&ModelReady { name: target.model.to_string(), ready: true }))
            }
            Route::V1Models => {
                let models = self.registry.snapshot();
                Ok(answer::json(&V1Models { models: models.keys().map(String::as_str).collect() }))
            }
            Route::Infer(_) | Route::V1Predict(_) | Route::Predict => Err(Refusal::method("POST")),
        }
    }

    async fn infer(&self, route: &Route<'_>, head: &Parts, body: &mut Upload) -> Result<Response, Refusal> {
        match route {
            Route::Infer(target) => {
                let ready = self.model(target)?;
                infer::v2_infer(self, &target.model, ready, &head.headers, body).await
            }
            Route::V1Predict(target) => {
                let ready = self.model(target)?;
                infer::v1_predict(self, &target.model, ready, &head.headers, body).await
            }
            _ => {
                let name = self.only_model()?;
                let ready = self.model(&Target { model: name.as_str().into(), version: None })?;
                infer::v1_predict(self, &name, ready, &head.headers, body).await
            }
        }
    }

    fn ready(&self) -> Result<Response, Refusal> {
        if self.phase.is_draining() {
            return Err(Refusal::unavailable("the server is shutting down", RETRY_FAILED));
        }
        let missing = self.registry.why_not_ready();
        if missing.is_empty() {
            return Ok(answer::json(&Ready { ready: true }));
        }
        Err(Refusal::unavailable(missing.join("; "), RETRY_LOADING))
    }

    /// The model that a path names, if it answers.
    fn model(&self, target: &Target<'_>) -> Result<ReadyModel, Refusal> {
        let models = self.registry.snapshot();
        let name = target.model.as_ref();
        let state = models.get(name).ok_or_else(|| {
            let known = list(models.keys());
            Refusal::not_found(format!(
                "there is no model \"{}\"; the server has {known}",
                route::excerpt(name)
            ))
        })?;
        let ready = match state {
            ModelState::Ready(ready) => ready,
            ModelState::Loading => return Err(not_ready(name, state, RETRY_LOADING)),
            ModelState::Failed { .. } => return Err(not_ready(name, state, RETRY_FAILED)),
        };
        match &target.version {
            Some(version) if version != ready.version() => {
                let (asked, served) = (route::excerpt(version), ready.version());
                let message =
                    format!("model \"{name}\" has no version \"{asked}\"; it serves version \"{served}\"");
                Err(Refusal::not_found(message))
            }
            _ => Ok(ready.clone()),
        }
    }

    /// The model that `/predict` means.
    fn only_model(&self) -> Result<String, Refusal> {
        let models = self.registry.snapshot();
        let mut names = models.keys();
        match (names.next(), names.next()) {
            (Some(name), None) => Ok(name.clone()),
            (None, _) => Err(Refusal::not_found("the server has no model")),
            (Some(_), Some(_)) => {
                let known = list(models.keys());
                let message = format!(
                    "/predict needs a server with one model, and this one has {known}; use /v1/models/{{model}}:predict"
                );
                Err(Refusal::not_found(message))
            }
        }
    }
}

/// Counts a request when it has its status, or when it is dropped without one because its client has gone.
struct Count<'a> {
    data: &'a Data,
    model: Option<&'a str>,
    route: &'static str,
    started: Instant,
    status: Option<StatusCode>,
}

impl<'a> Count<'a> {
    fn new(data: &'a Data, route: Option<&'a Route<'_>>) -> Self {
        let (model, label) = (route.and_then(Route::model), route.map_or("none", Route::label));
        Self { data, model, route: label, started: Instant::now(), status: None }
    }
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        let known = self.model.filter(|model| self.data.registry.snapshot().contains_key(*model));
        self.data.metrics.answered(known, self.route, self.status, self.started.elapsed());
    }
}

fn not_ready(name: &str, state: &ModelState, retry_after: Duration) -> Refusal {
    let why = state.why_not_ready().unwrap_or_default();
    Refusal::unavailable(format!("model \"{name}\" {why}"), retry_after)
}

/// The first names, and how many more there are.
fn list<'a>(names: impl ExactSizeIterator<Item = &'a String>) -> String {
    const MOST: usize = 16;
    let total = names.len();
    if total == 0 {
        return "none".to_owned();
    }
    let shown = names.take(MOST).map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    if total > MOST { format!("{shown} and {} more", total - MOST) } else { shown }
}
