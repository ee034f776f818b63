//! The data port: from a request to its answer.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use http::header::{CONNECTION, EXPECT};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version};
use hyper::body::Incoming;
use modelwright_protocol::Limits;
use modelwright_protocol::v2::repository::RepositoryIndexRequest;
use modelwright_protocol::v2::statistics::Statistics;
use modelwright_protocol::v2::{self, Live, ModelMetadata, ModelReady, Ready, ServerMetadata};
use modelwright_runtime::cpus;
use serde::Serialize;

use crate::access::{Access, Admitted, Denial};
use crate::access_log::{AccessLog, Entry};
use crate::answer::{self, Body, Outgoing, Refusal, Response};
use crate::body::{Bodies, Upload};
use crate::compress;
use crate::config::ServerConfig;
use crate::documents;
use crate::explain;
use crate::grpc;
use crate::infer;
use crate::label::Label;
use crate::local_models::LocalModels;
use crate::memory::keeping;
use crate::metrics::Metrics;
use crate::phase::Phase;
use crate::registry::{ModelState, ReadyModel, Registry};
use crate::route::{self, Route, Target};
use crate::trace::{self, RequestSpan, Tracer};
use crate::workers::Workers;

/// The message for a panic; what panicked is in the log.
pub(crate) const PANICKED: &str =
    "the server failed on this request; this is a bug, and the log has the details";

/// The body of a request for the index says little.
const MAX_INDEX_BODY: usize = 4 << 10;
/// When to ask again for a model that is on its way.
const RETRY_LOADING: Duration = Duration::from_secs(1);
/// When to ask again for a model that failed to load, or of a server that ends.
const RETRY_FAILED: Duration = Duration::from_secs(10);

/// The extensions of the protocol that there are.
const EXTENSIONS: [&str; 6] = v2::EXTENSIONS;

/// What the handlers of the data port share.
#[derive(Debug)]
pub(crate) struct Data {
    pub(crate) registry: Arc<Registry>,
    /// The models of the registry as the thread sees them that this is for.
    pub(crate) models: LocalModels,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) phase: Phase,
    pub(crate) bodies: Bodies,
    pub(crate) workers: Workers,
    max_body_bytes: usize,
    access: Option<Arc<Access>>,
    pub(crate) limits: Limits,
    request_timeout: Duration,
    pub(crate) access_log: AccessLog,
    pub(crate) tracer: Option<Arc<Tracer>>,
}

/// The body of `GET /`.
#[derive(Serialize)]
struct Alive {
    status: &'static str,
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

    /// The bytes that a request may have whose model is not known yet.
    pub(crate) fn most_body_bytes(&self) -> usize {
        self.models.most_body_bytes()
    }

    /// How long a request to a model may wait and run.
    pub(crate) fn request_timeout(&self, ready: &ReadyModel) -> Duration {
        ready.request_timeout().unwrap_or(self.request_timeout)
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
            access: config.access.clone(),
            models: LocalModels::new(Arc::clone(&registry), config.bounds.max_body_bytes),
            registry,
            metrics,
            phase,
            bodies: Bodies::new(&config.bounds, workers.clone()),
            workers,
            limits: config.limits,
            request_timeout: config.bounds.request_timeout,
            access_log: AccessLog::new(config.access_log),
            tracer: config.tracer.clone(),
        }
    }

    /// The same for one thread, which shares with the others only what all of them must see.
    pub(crate) fn for_thread(&self) -> Self {
        Self {
            registry: Arc::clone(&self.registry),
            models: self.models.for_thread(),
            metrics: Arc::clone(&self.metrics),
            phase: self.phase.clone(),
            bodies: self.bodies.for_thread(),
            workers: self.workers.clone(),
            max_body_bytes: self.max_body_bytes,
            access: self.access.clone(),
            limits: self.limits,
            request_timeout: self.request_timeout,
            access_log: self.access_log,
            tracer: self.tracer.clone(),
        }
    }

    /// Answers a request, whatever happens.
    pub(crate) async fn handle(self: &Arc<Self>, request: Request<Incoming>) -> Outgoing {
        // What is boxed here and below is large and rarer than an inference by REST, whose future would have its size, too,
        // and is moved several times before it is first polled.
        if grpc::is_call(request.headers()) {
            return Box::pin(grpc::answer(self, request)).await;
        }
        let in_flight = self.phase.begin_request();
        let (head, body) = request.into_parts();
        let mut upload = Upload::new(body);
        let route = Route::parse(head.uri.path());
        let mut count = Count::new(self, route.as_ref(), &head);
        let mut admitted = Admitted::default();
        let answer = async {
            let answer = async {
                admitted = self.admit(head.uri.path(), &head.headers).await?;
                self.answer(route.as_ref(), &head, &mut upload).await
            };
            let answer = answer.await;
            let response = answer.unwrap_or_else(Refusal::into_response);
            compress::answer(&self.workers, &head.headers, response).await
        };
        let answered = {
            let answer = pin!(answer);
            AssertUnwindSafe(trace::within(count.span.as_ref(), answer)).catch_unwind().await
        };
        let mut response = answered
            .unwrap_or_else(|_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, PANICKED).into_response());
        count.status = Some(response.status());
        (count.received, count.sent) = (upload.received(), response.body().len());
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
        response.map(|body| Body::from(keeping(body, (in_flight, admitted))))
    }

    /// Decides whether a client may go on, before anything else is looked at.
    pub(crate) async fn admit(&self, path: &str, headers: &HeaderMap) -> Result<Admitted, Denial> {
        match &self.access {
            None => Ok(Admitted::default()),
            Some(access) => access.admit(path, headers).await,
        }
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
            return self.post(route, head, upload).await;
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
                extensions: EXTENSIONS.map(str::to_owned).to_vec(),
            })),
            Route::Alive => Ok(answer::json(&Alive { status: "alive" })),
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
            Route::ModelConfig(target) => {
                Ok(answer::json(&documents::config(&target.model, &self.model(target)?)))
            }
            Route::ModelStatistics(target) => {
                let stats = documents::statistics(&target.model, &self.model(target)?);
                Ok(answer::json(&Statistics { model_stats: vec![stats] }))
            }
            Route::Statistics => Ok(answer::json(&self.all_statistics())),
            Route::V1Models => {
                let models = self.registry.snapshot();
                Ok(answer::json(&V1Models { models: models.keys().map(String::as_str).collect() }))
            }
            Route::RepositoryIndex
            | Route::RepositoryControl(_)
            | Route::Infer(_)
            | Route::Explain(_)
            | Route::V1Predict(_)
            | Route::V1Explain(_)
            | Route::Predict => Err(Refusal::method("POST")),
        }
    }

    /// The routes that take a body.
    async fn post(&self, route: &Route<'_>, head: &Parts, body: &mut Upload) -> Result<Response, Refusal> {
        match route {
            Route::Infer(target) => {
                let ready = self.model(target)?;
                infer::v2_infer(self, &target.model, ready, &head.headers, body).await
            }
            Route::Explain(target) => {
                let ready = self.model(target)?;
                Box::pin(explain::v2_explain(self, &target.model, ready, &head.headers, body)).await
            }
            Route::V1Explain(target) => {
                let ready = self.model(target)?;
                Box::pin(explain::v1_explain(self, &target.model, ready, &head.headers, body)).await
            }
            Route::V1Predict(target) => {
                let ready = self.model(target)?;
                infer::v1_predict(self, ready, &head.headers, body).await
            }
            Route::RepositoryIndex => self.index(head, body).await,
            Route::RepositoryControl(_) => {
                let message = "models are not loaded and unloaded here; ask the admin port of a server that was started with \
                               --repository-control";
                Err(Refusal::new(StatusCode::FORBIDDEN, message))
            }
            _ => {
                let name = self.only_model()?;
                let ready = self.model(&Target { model: name.as_str().into(), version: None })?;
                infer::v1_predict(self, ready, &head.headers, body).await
            }
        }
    }

    /// `POST /v2/repository/index`: the models that there are, or those that answer.
    async fn index(&self, head: &Parts, body: &mut Upload) -> Result<Response, Refusal> {
        let body = self.bodies.read(&head.headers, body, MAX_INDEX_BODY).await?;
        let wanted: RepositoryIndexRequest = if body.bytes.trim_ascii().is_empty() {
            RepositoryIndexRequest::default()
        } else {
            serde_json::from_slice(&body.bytes).map_err(|error| {
                Refusal::bad_request(format!("the body is not {{}} or {{\"ready\": true}}: {error}"))
            })?
        };
        let models = self.registry.snapshot();
        let shown = models.iter().filter(|(_, state)| !wanted.ready || state.why_not_ready().is_none());
        let entries: Vec<_> = shown.map(|(name, state)| documents::index_entry(name, state)).collect();
        Ok(answer::json(&entries))
    }

    /// Those of the models that answer: others have no version to count for.
    pub(crate) fn all_statistics(&self) -> Statistics {
        let models = self.registry.snapshot();
        let ready = models.iter().filter_map(|(name, state)| match state {
            ModelState::Ready(ready) => Some(documents::statistics(name, ready)),
            _ => None,
        });
        Statistics { model_stats: ready.collect() }
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
    pub(crate) fn model(&self, target: &Target<'_>) -> Result<ReadyModel, Refusal> {
        let name = target.model.as_ref();
        let Some(state) = self.models.get(name) else {
            let models = self.registry.snapshot();
            let known = list(models.keys());
            let message = format!("there is no model \"{}\"; the server has {known}", route::excerpt(name));
            return Err(Refusal::not_found(message));
        };
        let ready = match state {
            ModelState::Ready(ready) => ready,
            ModelState::Loading => return Err(not_ready(name, &state, RETRY_LOADING)),
            ModelState::Failed { .. } | ModelState::Unloaded => {
                return Err(not_ready(name, &state, RETRY_FAILED));
            }
        };
        match &target.version {
            Some(version) if version != ready.version() => {
                let (asked, served) = (route::excerpt(version), ready.version());
                let message =
                    format!("model \"{name}\" has no version \"{asked}\"; it serves version \"{served}\"");
                Err(Refusal::not_found(message))
            }
            _ => Ok(ready),
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

/// Counts and logs a request when it has its status, or when it is dropped without one because its client has gone.
struct Count<'a> {
    data: &'a Data,
    method: &'a Method,
    model: Option<&'a str>,
    label: Label,
    started: Instant,
    status: Option<StatusCode>,
    received: usize,
    sent: usize,
    span: Option<RequestSpan>,
}

impl<'a> Count<'a> {
    fn new(data: &'a Data, route: Option<&'a Route<'_>>, head: &'a Parts) -> Self {
        let (model, label) = (route.and_then(Route::model), route.map_or(Label::None, Route::label));
        let tracer = data.tracer.as_ref();
        let span = tracer.and_then(|tracer| tracer.http(label, &head.method, head.uri.path(), &head.headers));
        let (method, started) = (&head.method, Instant::now());
        Self { data, method, model, label, started, status: None, received: 0, sent: 0, span }
    }
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        let models = &self.data.models;
        let known = self.data.metrics.answered(models, self.model, self.label, self.status, took);
        let model = self.model.filter(|_| known);
        if let Some(span) = &self.span {
            span.end(model, self.label, self.status);
        }
        self.data.access_log.request(&Entry {
            method: self.method,
            label: self.label,
            model,
            trace: self.span.as_ref(),
            status: self.status,
            took,
            received: self.received,
            sent: self.sent,
        });
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
