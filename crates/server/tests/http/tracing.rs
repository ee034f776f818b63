//! Traces, as a collector gets them.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use modelwright_server::{ServerConfig, TraceConfig, Tracer};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use crate::grpc::client::{Client as GrpcClient, add};
use crate::harness::{ADD, TestServer, config, load, load_request, until};
use crate::receiver::{Client, Receiver};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A server that sends its traces there.
async fn server_with(endpoint: &str, sampler: &str, models: &[&str]) -> TestServer {
    let config = ServerConfig { tracer: Some(tracer(endpoint, sampler)), ..config() };
    TestServer::start_with(config, models).await
}

fn tracer(endpoint: &str, sampler: &str) -> std::sync::Arc<Tracer> {
    let find = |name: &str| match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(endpoint.to_owned()),
        "OTEL_EXPORTER_OTLP_HEADERS" => Some("authorization=Bearer%20token".to_owned()),
        "OTEL_EXPORTER_OTLP_TIMEOUT" => Some("1000".to_owned()),
        "OTEL_SERVICE_NAME" => Some("heart".to_owned()),
        "OTEL_TRACES_SAMPLER" => Some(sampler.to_owned()),
        _ => None,
    };
    Tracer::start(TraceConfig::from_lookup(find).unwrap().unwrap(), Client::new()).unwrap()
}

fn spans(collector: &Receiver) -> Vec<Span> {
    let messages = collector.received().into_iter().map(|received| {
        assert_eq!(received.path, "/v1/traces");
        assert_eq!(received.headers["content-type"], "application/x-protobuf");
        assert_eq!(received.headers["authorization"], "Bearer token");
        ExportTraceServiceRequest::decode(received.body).unwrap()
    });
    let resources = messages.flat_map(|message| message.resource_spans).inspect(|spans| {
        assert_eq!(text(&spans.resource.as_ref().unwrap().attributes, "service.name"), "heart");
    });
    let spans = resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans);
    // What was on its way when the server ended is sent once more.
    let mut seen = HashSet::new();
    spans.filter(|span| seen.insert(span.span_id.clone())).collect()
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.as_ref()
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    match value(attributes, key) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{key} is {other:?} in {attributes:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name} in {spans:#?}"))
}

const SERVER: i32 = 2;

#[tokio::test]
async fn request_is_a_span_below_that_of_its_client_with_its_queue_and_run_below_it() {
    let collector = Receiver::start().await;
    let server = server_with(&collector.url(""), "parentbased_always_off", &["add"]).await;
    let parent = format!("00-{TRACE}-{PARENT}-01");
    let request = server.client.post(server.url("/v2/models/add/infer?token=secret"));
    let request = request.header("traceparent", parent).header("tracestate", "vendor=1").body(ADD);
    assert_eq!(server.send(request).await.status, 200);
    // Not sampled by its client, and without one: off.
    let other = server.client.post(server.url("/v2/models/add/infer"));
    let other = other.header("traceparent", format!("00-{TRACE}-{PARENT}-00")).body(ADD);
    assert_eq!(server.send(other).await.status, 200);
    assert_eq!(server.post("/v2/models/add/infer", ADD).await.status, 200);
    server.stop().await;
    let spans = spans(&collector);
    assert_eq!(spans.len(), 3, "{spans:#?}");
    let span = named(&spans, "POST /v2/models/{model}/infer");
    assert_eq!(
        (hex(&span.trace_id), hex(&span.parent_span_id), span.kind),
        (TRACE.into(), PARENT.into(), SERVER)
    );
    assert_eq!(span.trace_state, "vendor=1");
    for (key, expected) in [
        ("http.request.method", "POST"),
        ("http.route", "/v2/models/{model}/infer"),
        ("url.path", "/v2/models/add/infer"),
        ("http.response.status_code", "200"),
        ("modelwright.model", "add"),
        ("modelwright.revision", "1"),
        ("modelwright.request.rows", "1"),
    ] {
        assert_eq!(text(&span.attributes, key), expected);
    }
    assert!(value(&span.attributes, "modelwright.batch.rows").is_some());
    let (queue, compute) = (named(&spans, "queue"), named(&spans, "compute"));
    for child in [queue, compute] {
        assert_eq!((&child.parent_span_id, hex(&child.trace_id)), (&span.span_id, TRACE.to_owned()));
        assert!(
            span.start_time_unix_nano <= child.end_time_unix_nano
                && child.end_time_unix_nano <= span.end_time_unix_nano
        );
    }
    assert_eq!(queue.end_time_unix_nano, compute.start_time_unix_nano);
    assert!(!format!("{spans:?}").contains("secret"));
}

#[tokio::test]
async fn failures_of_the_server_are_errors_and_other_routes_are_not_traced() {
    let collector = Receiver::start().await;
    let server = server_with(&collector.url(""), "always_on", &["add"]).await;
    server.registry.loading("soon");
    assert_eq!(server.post("/v2/models/soon/infer", ADD).await.status, 503);
    assert_eq!(server.post("/v1/models/add:predict", "{}").await.status, 400);
    assert_eq!(server.get("/v2/models/add").await.status, 200);
    assert_eq!(server.post("/v2/models/made-up/infer", ADD).await.status, 404);
    server.stop().await;
    let spans = spans(&collector);
    let mut found: Vec<_> = spans
        .iter()
        .map(|span| (text(&span.attributes, "http.response.status_code"), span.status.as_ref().unwrap().code))
        .collect();
    found.sort();
    assert_eq!(found, [("400".to_owned(), 0), ("404".to_owned(), 0), ("503".to_owned(), 2)]);
    assert_eq!(
        text(&named(&spans, "POST /v1/models/{model}:predict").attributes, "modelwright.model"),
        "add"
    );
}

#[tokio::test]
async fn calls_of_grpc_are_traced() {
    let collector = Receiver::start().await;
    let server = server_with(&collector.url(""), "always_on", &["add"]).await;
    let mut client = GrpcClient::of(&server).await;
    let mut request = tonic::Request::new(add());
    let parent = format!("00-{TRACE}-{PARENT}-01");
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    let path = "/inference.GRPCInferenceService/ModelInfer";
    let answer: modelwright_protocol::grpc::inference::ModelInferResponse =
        client.call_at(path, request).await.unwrap();
    assert_eq!(answer.id, "7");
    let unknown =
        modelwright_protocol::grpc::inference::ModelInferRequest { model_name: "x".into(), ..add() };
    assert_eq!(client.infer(unknown).await.unwrap_err().code(), tonic::Code::NotFound);
    drop(client);
    server.stop().await;
    let spans = spans(&collector);
    let calls: Vec<_> =
        spans.iter().filter(|span| span.name == "inference.GRPCInferenceService/ModelInfer").collect();
    assert_eq!((calls.len(), spans.len()), (2, 4), "{spans:#?}");
    let good = calls.iter().find(|span| hex(&span.trace_id) == TRACE).unwrap();
    assert_eq!((hex(&good.parent_span_id), good.kind), (PARENT.to_owned(), SERVER));
    assert_eq!(text(&good.attributes, "rpc.system"), "grpc");
    assert_eq!(text(&good.attributes, "rpc.grpc.status_code"), "0");
    assert_eq!(text(&good.attributes, "modelwright.revision"), "1");
    let bad = calls.iter().find(|span| hex(&span.trace_id) != TRACE).unwrap();
    assert_eq!(text(&bad.attributes, "rpc.grpc.status_code"), "5");
}

#[tokio::test]
async fn collector_that_is_down_neither_slows_nor_fails_requests() {
    // Nobody listens there, and nothing answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    for endpoint in ["http://127.0.0.1:1", &silent] {
        let server = server_with(endpoint, "always_on", &["add"]).await;
        let started = Instant::now();
        for _ in 0..50 {
            assert_eq!(server.post("/v2/models/add/infer", ADD).await.status, 200);
        }
        assert!(started.elapsed() < Duration::from_secs(20));
        let stopping = Instant::now();
        server.stop().await;
        assert!(stopping.elapsed() < Duration::from_secs(20));
    }
}

#[tokio::test]
async fn a_refused_batch_is_tried_again_and_counted() {
    let collector = Receiver::start().await;
    collector.answer_with(503);
    let server = server_with(&collector.url(""), "always_on", &["add"]).await;
    assert_eq!(server.post("/v2/models/add/infer", ADD).await.status, 200);
    until(async || collector.asked() > 0).await;
    collector.answer_with(200);
    let sent = "modelwright_trace_spans_total{outcome=\"sent\"} 3";
    until(async || server.admin("/metrics").await.body.contains(sent)).await;
    assert_eq!(spans(&collector).len(), 3);
    collector.answer_with(400);
    assert_eq!(server.post("/v2/models/add/infer", ADD).await.status, 200);
    let failed = "modelwright_trace_spans_total{outcome=\"failed\"} 3";
    until(async || server.admin("/metrics").await.body.contains(failed)).await;
}

#[tokio::test]
async fn explanations_are_traced() {
    let collector = Receiver::start().await;
    let server = server_with(&collector.url(""), "always_on", &[]).await;
    server.registry.ready("classifier", load(&load_request("classifier")));
    let answer =
        server.post("/v1/models/classifier:explain", r#"{"instances":[[1,2]],"baseline":[[0,0]]}"#).await;
    server.stop().await;
    let spans = spans(&collector);
    let span = named(&spans, "POST /v1/models/{model}:explain");
    assert_eq!(text(&span.attributes, "http.response.status_code"), answer.status.to_string());
    if answer.status == 200 {
        assert_eq!(named(&spans, "explain").parent_span_id, span.span_id);
    }
}
