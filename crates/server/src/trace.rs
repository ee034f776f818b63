//! Traces of requests for [OpenTelemetry](https://opentelemetry.io): one span for a request, below the client's where its
//! headers name one (W3C Trace Context), with its time in the queue and in the model below it.
//!
//! Whether a request is traced is decided when it begins; the others cost a branch, and nothing at all where no collector is
//! configured. The span of a request is the current one of the thread while the request is polled, so that nothing in
//! between needs to know of it.
//!
//! * `config`: the environment variables.
//! * `export`: the way to the collector.

mod config;
mod export;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method, StatusCode};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanKind, Status, TraceContextExt as _, TraceId, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

pub use self::config::{TraceConfig, TraceConfigError};
use self::export::Shared;
use crate::label::Label;
use crate::outbound::{Background, Poster};
use crate::route;

/// Makes spans and sends them away.
#[derive(Debug)]
pub struct Tracer {
    spans: SdkTracer,
    propagator: TraceContextPropagator,
    shared: Arc<Shared>,
    background: Background,
}

/// What a request is part of, as its headers say.
#[derive(Debug, Clone)]
pub(crate) struct Parent(Context);

/// The span of a request that is traced.
#[derive(Debug)]
pub(crate) struct RequestSpan(Context);

impl Tracer {
    /// Starts the thread that sends spans to the collector.
    pub fn start(config: TraceConfig, poster: Arc<dyn Poster>) -> Result<Arc<Self>, std::io::Error> {
        let sampler = config.sampler.clone();
        let (queue, shared, exporter) = export::channel(config, poster);
        let background = Background::start("traces", move |ending| exporter.run(ending))?;
        let provider = SdkTracerProvider::builder().with_sampler(sampler).with_span_processor(queue).build();
        let spans = provider.tracer("modelwright");
        Ok(Arc::new(Self { spans, propagator: TraceContextPropagator::new(), shared, background }))
    }

    /// Spans by what became of them.
    pub(crate) fn outcomes(&self) -> [(&'static str, u64); 3] {
        self.shared.outcomes.counts()
    }

    /// Sends what is left, within a time.
    pub(crate) async fn finish(&self, within: Duration) {
        self.background.finish(within).await;
    }

    /// What the headers of a request say it is part of.
    pub(crate) fn parent(&self, headers: &HeaderMap) -> Parent {
        Parent(self.propagator.extract_with_context(&Context::new(), &HeaderExtractor(headers)))
    }

    /// Begins the span of a request over HTTP, if it asks for a prediction or an explanation and is to be traced.
    pub(crate) fn http(
        &self,
        label: Label,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Option<RequestSpan> {
        let route = http_route(label)?;
        self.begin(&self.parent(headers), format!("{method} {route}"), || {
            vec![
                KeyValue::new("http.request.method", method.to_string()),
                KeyValue::new("http.route", route),
                KeyValue::new("url.path", route::excerpt(path)),
            ]
        })
    }

    /// Begins the span of a prediction over gRPC, if it is to be traced.
    pub(crate) fn rpc(&self, label: Label, parent: &Parent) -> Option<RequestSpan> {
        let method = match label {
            Label::GrpcInfer => "ModelInfer",
            Label::GrpcStreamInfer => "ModelStreamInfer",
            _ => return None,
        };
        self.begin(parent, format!("inference.GRPCInferenceService/{method}"), || {
            vec![
                KeyValue::new("rpc.system", "grpc"),
                KeyValue::new("rpc.service", "inference.GRPCInferenceService"),
                KeyValue::new("rpc.method", method),
            ]
        })
    }

    fn begin(
        &self,
        parent: &Parent,
        name: String,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> Option<RequestSpan> {
        let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Server);
        let mut span = self.spans.build_with_context(builder, &parent.0);
        if !span.is_recording() {
            return None;
        }
        span.set_attributes(attributes());
        Some(RequestSpan(parent.0.with_span(span)))
    }

    /// Adds what a run of a model was to the request of this thread: who ran, and how long it waited and computed until now.
    pub(crate) fn ran(&self, model: &Ran<'_>) {
        let Some(request) = current() else { return };
        let end = SystemTime::now();
        let began = end.checked_sub(model.computed).unwrap_or(end);
        let queued = began.checked_sub(model.waited).unwrap_or(began);
        let batch = i64::try_from(model.batch_rows).unwrap_or(i64::MAX);
        request.span().set_attributes([
            KeyValue::new("modelwright.revision", model.revision.to_owned()),
            KeyValue::new("modelwright.request.rows", i64::try_from(model.rows).unwrap_or(i64::MAX)),
            KeyValue::new("modelwright.batch.rows", batch),
        ]);
        self.child(&request, "queue", queued, began, Vec::new());
        self.child(&request, "compute", began, end, vec![KeyValue::new("modelwright.batch.rows", batch)]);
    }

    /// Adds an explanation that began at a time and ends now to the request of this thread.
    pub(crate) fn explained(&self, revision: &str, took: Duration) {
        let Some(request) = current() else { return };
        let end = SystemTime::now();
        request.span().set_attribute(KeyValue::new("modelwright.revision", revision.to_owned()));
        self.child(&request, "explain", end.checked_sub(took).unwrap_or(end), end, Vec::new());
    }

    fn child(
        &self,
        request: &Context,
        name: &'static str,
        start: SystemTime,
        end: SystemTime,
        attributes: Vec<KeyValue>,
    ) {
        let builder = SpanBuilder::from_name(name).with_start_time(start).with_attributes(attributes);
        self.spans.build_with_context(builder, request).end_with_timestamp(end);
    }
}

/// A run of a model for one request.
#[derive(Debug)]
pub(crate) struct Ran<'a> {
    pub(crate) revision: &'a str,
    pub(crate) rows: u64,
    pub(crate) batch_rows: usize,
    pub(crate) waited: Duration,
    pub(crate) computed: Duration,
}

impl RequestSpan {
    /// The trace that the request is part of.
    pub(crate) fn trace_id(&self) -> TraceId {
        self.0.span().span_context().trace_id()
    }

    /// Adds the status of a call.
    pub(crate) fn code(&self, code: tonic::Code) {
        self.0.span().set_attribute(KeyValue::new("rpc.grpc.status_code", code as i64));
    }

    /// Ends it with the status that HTTP has or would have; `None`: the client went away before there was one.
    pub(crate) fn end(&self, model: Option<&str>, label: Label, status: Option<StatusCode>) {
        let span = self.0.span();
        if let Some(model) = model {
            span.set_attribute(KeyValue::new("modelwright.model", model.to_owned()));
        }
        match status {
            None => {
                span.set_attribute(KeyValue::new("error.type", "cancelled"));
                span.set_status(Status::error("the client went away"));
            }
            Some(status) => {
                if http_route(label).is_some() {
                    span.set_attribute(KeyValue::new(
                        "http.response.status_code",
                        i64::from(status.as_u16()),
                    ));
                }
                // That a client asked for something wrong is no error of the server's.
                if status.is_server_error() {
                    span.set_attribute(KeyValue::new("error.type", status.as_str().to_owned()));
                    span.set_status(Status::error(""));
                }
            }
        }
        span.end();
    }
}

/// Polls a request with its span, if it has one, as the current one of the thread.
pub(crate) async fn within<F: Future>(span: Option<&RequestSpan>, mut request: Pin<&mut F>) -> F::Output {
    poll_fn(|context| {
        let _current = span.map(|span| span.0.clone().attach());
        request.as_mut().poll(context)
    })
    .await
}

/// The request that this thread is polling, if it is traced.
fn current() -> Option<Context> {
    Context::map_current(|context| context.has_active_span().then(|| context.clone()))
}

/// The `traceparent` of what the request of this thread causes, if it is traced.
pub(crate) fn current_traceparent() -> Option<String> {
    let current = current()?;
    let span = current.span();
    let context = span.span_context();
    Some(format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags().to_u8()))
}

/// The routes over HTTP that are traced, as OpenTelemetry writes them.
const fn http_route(label: Label) -> Option<&'static str> {
    match label {
        Label::Infer => Some("/v2/models/{model}/infer"),
        Label::Explain => Some("/v2/models/{model}/explain"),
        Label::V1Predict => Some("/v1/models/{model}:predict"),
        Label::V1Explain => Some("/v1/models/{model}:explain"),
        Label::Predict => Some("/predict"),
        _ => None,
    }
}
