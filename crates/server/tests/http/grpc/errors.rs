//! What goes wrong, and with which code.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use bytes::Bytes;
use modelwright_protocol::grpc::inference::infer_parameter::ParameterChoice;
use modelwright_protocol::grpc::inference::{InferParameter, ModelInferRequest, ModelInferResponse};
use modelwright_runtime::{LoadRequest, QueueBounds};
use modelwright_server::ModelState;
use rstest::rstest;
use tonic::{Code, Request};

use super::client::{Client, add, input, singles, slow, typed_add};
use crate::harness::{ENDLESS, TestServer, config, load, load_request, until};

const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

/// A change to a request that makes it wrong.
type Change = fn(&mut ModelInferRequest);

#[rstest]
#[case(|request: &mut ModelInferRequest| request.model_name = "nothing".into(), Code::NotFound, "there is no model \"nothing\"; the server has \"add\"")]
#[case(|request: &mut ModelInferRequest| request.model_version = "9".into(), Code::NotFound, "model \"add\" has no version \"9\"")]
#[case(|request: &mut ModelInferRequest| request.inputs[0].name = "q".into(), Code::InvalidArgument, "unknown input \"q\"")]
#[case(|request: &mut ModelInferRequest| request.inputs[0].shape = vec![1, 3], Code::InvalidArgument, "input \"a\": shape [1, 3] where")]
#[case(|request: &mut ModelInferRequest| request.raw_input_contents[0] = Bytes::new(), Code::InvalidArgument, "raw_input_contents[0]: got 0 bytes")]
#[case(|request: &mut ModelInferRequest| request.inputs = typed_add().inputs, Code::InvalidArgument, "inputs[0].contents: got contents beside raw_input_contents")]
#[tokio::test]
async fn a_wrong_request_says_what_is_wrong(
    #[case] change: Change,
    #[case] code: Code,
    #[case] message: &str,
) {
    let server = TestServer::start(&["add"]).await;
    let mut request = add();
    change(&mut request);
    let status = Client::of(&server).await.infer(request).await.unwrap_err();
    assert_eq!(status.code(), code, "{status:?}");
    assert!(status.message().starts_with(message), "{status:?}");
}

#[tokio::test]
async fn a_message_over_the_bound_is_out_of_range_and_one_that_is_none_invalid() {
    let mut config = config();
    config.bounds.max_body_bytes = 1000;
    let server = TestServer::start_with(config, &["add"]).await;
    let mut client = Client::of(&server).await;
    let mut large = add();
    large.raw_input_contents[0] = Bytes::from(vec![0; 2000]);
    assert_eq!(client.infer(large).await.unwrap_err().code(), Code::OutOfRange);
    // A number where the name of the model belongs.
    let message = InferParameter { parameter_choice: Some(ParameterChoice::BoolParam(true)) };
    let answer: Result<ModelInferResponse, _> = client.call_at(INFER, Request::new(message)).await;
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
}

#[tokio::test]
async fn too_many_inputs_are_refused_before_they_are_decoded() {
    let server = TestServer::start(&["add"]).await;
    let mut client = Client::of(&server).await;
    // Two bytes each, of which three hundred are made.
    let request = ModelInferRequest { inputs: vec![input("", "", &[]); 1 << 20], ..add() };
    let status = client.infer(request).await.unwrap_err();
    let message = "inputs: more than 4096 inputs; send a smaller request";
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, message));
}

#[tokio::test]
async fn a_bound_of_a_model_is_its_own() {
    let server = TestServer::start(&["add"]).await;
    server.registry.ready("small", load(&load_request("add")).with_max_body_bytes(10));
    let mut client = Client::of(&server).await;
    let small = ModelInferRequest { model_name: "small".into(), ..add() };
    assert_eq!(client.infer(small).await.unwrap_err().code(), Code::OutOfRange);
    client.infer(add()).await.unwrap();
}

#[tokio::test]
async fn models_that_do_not_answer_are_unavailable() {
    let server = TestServer::start(&[]).await;
    server.registry.loading("add");
    server.registry.failed("bad", "ModelRejected", "no graph");
    let mut client = Client::of(&server).await;
    let status = client.infer(add()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "model \"add\" is still loading"));
    let status = client.infer(ModelInferRequest { model_name: "bad".into(), ..add() }).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
}

#[tokio::test]
async fn a_value_that_the_model_cannot_compute_is_the_clients_fault() {
    let server = TestServer::start(&["picky"]).await;
    let request = ModelInferRequest {
        model_name: "picky".into(),
        inputs: vec![input("index", "INT64", &[1])],
        raw_input_contents: vec![Bytes::from_static(&[0; 8])],
        ..Default::default()
    };
    let status = Client::of(&server).await.infer(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
}

#[tokio::test]
async fn the_clients_deadline_is_kept() {
    let server = TestServer::start(&["slow"]).await;
    let mut client = Client::of(&server).await;
    let mut parameter = slow(ENDLESS);
    let timeout = InferParameter { parameter_choice: Some(ParameterChoice::Int64Param(50_000)) };
    parameter.parameters.insert("timeout".into(), timeout);
    let mut header = Request::new(slow(ENDLESS));
    header.metadata_mut().insert("grpc-timeout", "50m".parse().unwrap());
    for request in [Request::new(parameter), header] {
        let started = Instant::now();
        let answer: Result<ModelInferResponse, _> = client.call_at(INFER, request).await;
        assert_eq!(answer.unwrap_err().code(), Code::DeadlineExceeded);
        assert!(started.elapsed() >= Duration::from_millis(50));
    }
    let mut wrong = Request::new(add());
    wrong.metadata_mut().insert("grpc-timeout", "soon".parse().unwrap());
    let answer: Result<ModelInferResponse, _> = client.call_at(INFER, wrong).await;
    assert_eq!(answer.unwrap_err().code(), Code::InvalidArgument);
    abort(&server);
}

#[tokio::test]
async fn overload_is_resource_exhausted_with_a_time_to_come_back() {
    let server = TestServer::start(&[]).await;
    let queue = QueueBounds { requests: 1, ..QueueBounds::default() };
    let instances = NonZeroUsize::new(1);
    server.registry.ready("slow", load(&LoadRequest { queue, instances, ..load_request("slow") }));
    let client = Client::of(&server).await;
    let endless = |mut client: Client| tokio::spawn(async move { client.infer(slow(ENDLESS)).await });
    let running = endless(client.clone());
    until(async || server.load_of("slow").running == 1).await;
    let waiting = endless(client.clone());
    until(async || server.load_of("slow").waiting == 1).await;
    let status = client.clone().infer(slow(1)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(status.metadata().get("grpc-retry-pushback-ms").is_some(), "{status:?}");
    abort(&server);
    for given_up in [running, waiting] {
        assert_eq!(given_up.await.unwrap().unwrap_err().code(), Code::Unavailable);
    }
}

#[tokio::test]
async fn memory_is_bounded_over_all_calls() {
    let mut config = config();
    config.bounds.max_bodies_bytes = 100_000;
    let server = TestServer::start_with(config, &["add", "slow"]).await;
    let mut client = Client::of(&server).await;
    let mut busy = client.clone();
    let mut request = slow(ENDLESS);
    // Memory that is held while the model computes.
    request.id = "x".repeat(8000);
    let running = tokio::spawn(async move { busy.infer(request).await });
    until(async || server.load_of("slow").running == 1).await;
    let mut large = add();
    for (input, raw) in large.inputs.iter_mut().zip(&mut large.raw_input_contents) {
        input.shape = vec![10_000, 2];
        *raw = singles(&vec![0.0; 20_000]);
    }
    let status = client.infer(large.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    abort(&server);
    running.await.unwrap().unwrap_err();
    client.infer(large).await.unwrap();
}

#[tokio::test]
async fn calls_that_do_not_exist_are_unimplemented() {
    let server = TestServer::start(&["add"]).await;
    let mut client = Client::of(&server).await;
    let status = client.call::<_, ModelInferResponse>("SystemSharedMemoryStatus", add()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(status.message().contains("SystemSharedMemoryStatus"), "{status:?}");
}

#[tokio::test]
async fn what_is_no_grpc_is_refused_in_http() {
    let server = TestServer::start(&["add"]).await;
    let post =
        |kind: &'static str| server.client.post(server.url(INFER)).header("content-type", kind).body("x");
    let answer = server.send(post("application/grpc")).await;
    assert_eq!(answer.status, 400);
    assert!(answer.error().contains("HTTP/2"), "{answer:?}");
    let client = crate::harness::client().http2_prior_knowledge().build().unwrap();
    let web = client.post(server.url(INFER)).header("content-type", "application/grpc-web").body("x");
    assert_eq!(server.send(web).await.status, 415);
    let get = client.get(server.url(INFER)).header("content-type", "application/grpc");
    assert_eq!(server.send(get).await.status, 405);
}

fn abort(server: &TestServer) {
    if let Some(ModelState::Ready(ready)) = server.registry.get("slow") {
        ready.model().abort();
    }
}
