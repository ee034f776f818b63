//! The standard health service.

use futures::StreamExt;
use modelwright_protocol::grpc::health::health_check_response::ServingStatus;
use modelwright_protocol::grpc::health::{HealthCheckRequest, HealthCheckResponse};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::client::Client;
use crate::harness::{TestServer, load, load_request};

async fn check(client: &mut Client, service: &str) -> Result<ServingStatus, Status> {
    let request = Request::new(HealthCheckRequest { service: service.into() });
    let answer: HealthCheckResponse = client.call_at("/grpc.health.v1.Health/Check", request).await?;
    Ok(answer.status())
}

async fn watch(client: &mut Client, service: &str) -> Streaming<HealthCheckResponse> {
    client.0.ready().await.unwrap();
    let request = Request::new(HealthCheckRequest { service: service.into() });
    let path = "/grpc.health.v1.Health/Watch".parse().unwrap();
    client.0.server_streaming(request, path, ProstCodec::new()).await.unwrap().into_inner()
}

#[tokio::test]
async fn the_server_and_each_model_have_a_health() {
    let server = TestServer::start(&["add"]).await;
    server.registry.loading("late");
    let mut client = Client::of(&server).await;
    assert_eq!(check(&mut client, "").await.unwrap(), ServingStatus::NotServing);
    assert_eq!(check(&mut client, "add").await.unwrap(), ServingStatus::Serving);
    assert_eq!(check(&mut client, "late").await.unwrap(), ServingStatus::NotServing);
    assert_eq!(check(&mut client, "nothing").await.unwrap_err().code(), Code::NotFound);
    server.registry.remove("late");
    assert_eq!(check(&mut client, "").await.unwrap(), ServingStatus::Serving);
    assert_eq!(check(&mut client, "inference.GRPCInferenceService").await.unwrap(), ServingStatus::Serving);
}

#[tokio::test]
async fn a_watcher_is_told_of_every_change_until_the_end() {
    let server = TestServer::start(&[]).await;
    let mut client = Client::of(&server).await;
    let mut watching = watch(&mut client, "add").await;
    let mut next = async || watching.next().await.unwrap().map(|answer| answer.status());
    assert_eq!(next().await.unwrap(), ServingStatus::ServiceUnknown);
    server.registry.loading("add");
    assert_eq!(next().await.unwrap(), ServingStatus::NotServing);
    // A change that is none for this service.
    server.registry.loading("other");
    server.registry.ready("add", load(&load_request("add")));
    assert_eq!(next().await.unwrap(), ServingStatus::Serving);
    let ending = server.begin_shutdown();
    assert_eq!(next().await.unwrap(), ServingStatus::NotServing);
    assert_eq!(next().await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(ending.wait().await.abandoned, 0);
}
