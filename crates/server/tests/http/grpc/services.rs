//! The calls that inform, and reflection.

use futures::{StreamExt, stream};
use modelwright_protocol::grpc::inference::{
    DataType, ModelConfigRequest, ModelConfigResponse, ModelMetadataRequest, ModelMetadataResponse,
    ModelReadyRequest, ModelReadyResponse, RepositoryIndexRequest, RepositoryIndexResponse,
    RepositoryModelLoadRequest, RepositoryModelLoadResponse, RepositoryModelUnloadRequest,
    RepositoryModelUnloadResponse, ServerLiveRequest, ServerLiveResponse, ServerMetadataRequest,
    ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse,
};
use tonic::Code;
use tonic_reflection::pb;

use super::client::Client;
use crate::harness::TestServer;

#[tokio::test]
async fn the_server_says_whether_it_lives_and_is_ready() {
    let server = TestServer::start(&["add"]).await;
    let mut client = Client::of(&server).await;
    let live: ServerLiveResponse = client.call("ServerLive", ServerLiveRequest {}).await.unwrap();
    let ready: ServerReadyResponse = client.call("ServerReady", ServerReadyRequest {}).await.unwrap();
    assert!(live.live && ready.ready);
    server.registry.loading("late");
    let ready: ServerReadyResponse = client.call("ServerReady", ServerReadyRequest {}).await.unwrap();
    assert!(!ready.ready);
    let metadata: ServerMetadataResponse =
        client.call("ServerMetadata", ServerMetadataRequest {}).await.unwrap();
    assert_eq!(
        (metadata.name.as_str(), metadata.version.as_str()),
        ("modelwright", env!("CARGO_PKG_VERSION"))
    );
}

#[tokio::test]
async fn a_model_says_whether_it_is_ready() {
    let server = TestServer::start(&["add"]).await;
    server.registry.loading("late");
    let mut client = Client::of(&server).await;
    let mut ready = async |name: &str, version: &str| {
        let request = ModelReadyRequest { name: name.into(), version: version.into() };
        client.call::<_, ModelReadyResponse>("ModelReady", request).await.map(|answer| answer.ready)
    };
    assert!(ready("add", "").await.unwrap());
    assert!(ready("add", "1").await.unwrap());
    assert!(!ready("late", "").await.unwrap());
    assert_eq!(ready("add", "2").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(ready("nothing", "").await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn metadata_and_configuration_describe_the_model() {
    let server = TestServer::start(&["add"]).await;
    let mut client = Client::of(&server).await;
    let request = ModelMetadataRequest { name: "add".into(), version: String::new() };
    let metadata: ModelMetadataResponse = client.call("ModelMetadata", request).await.unwrap();
    assert_eq!((metadata.name.as_str(), metadata.platform.as_str()), ("add", "onnxruntime_onnx"));
    assert_eq!(metadata.versions, ["1"]);
    assert_eq!((metadata.inputs[1].name.as_str(), &metadata.inputs[1].shape[..]), ("b", &[-1, 2][..]));
    let request = ModelConfigRequest { name: "add".into(), version: "1".into() };
    let config: ModelConfigResponse = client.call("ModelConfig", request).await.unwrap();
    let config = config.config.unwrap();
    assert_eq!((config.max_batch_size, config.output[0].data_type()), (0, DataType::TypeFp32));
    assert_eq!(config.output[0].dims, [-1, 2]);
}

#[tokio::test]
async fn the_index_lists_the_models_and_nobody_changes_it() {
    let server = TestServer::start(&["add"]).await;
    server.registry.failed("bad", "ModelRejected", "no graph");
    let mut client = Client::of(&server).await;
    let mut index = async |ready| {
        let request = RepositoryIndexRequest { ready, ..Default::default() };
        let index: RepositoryIndexResponse = client.call("RepositoryIndex", request).await.unwrap();
        index.models.into_iter().map(|model| (model.name, model.state, model.reason)).collect::<Vec<_>>()
    };
    let add = ("add".to_owned(), "READY".to_owned(), String::new());
    assert_eq!(index(true).await, std::slice::from_ref(&add));
    let reason = "ModelRejected: no graph".to_owned();
    assert_eq!(index(false).await, [add, ("bad".to_owned(), "UNAVAILABLE".to_owned(), reason)]);
    let load: Result<RepositoryModelLoadResponse, _> =
        client.call("RepositoryModelLoad", RepositoryModelLoadRequest::default()).await;
    assert_eq!(load.unwrap_err().code(), Code::PermissionDenied);
    let unload: Result<RepositoryModelUnloadResponse, _> =
        client.call("RepositoryModelUnload", RepositoryModelUnloadRequest::default()).await;
    assert_eq!(unload.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn reflection_that_is_left_open_does_not_hold_up_the_end() {
    let server = TestServer::start(&[]).await;
    let mut client = Client::of(&server).await;
    let mut answers = Vec::new();
    for version in ["v1", "v1alpha"] {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        answers.push(client.bytes(&path, stream::pending()).await);
    }
    assert_eq!(server.begin_shutdown().wait().await.abandoned, 0);
}

#[tokio::test]
async fn reflection_lists_the_services_in_both_versions() {
    let server = TestServer::start(&[]).await;
    let mut client = Client::of(&server).await;
    let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let request = pb::v1::ServerReflectionRequest {
        message_request: Some(pb::v1::server_reflection_request::MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let mut answers =
        client.stream::<_, pb::v1::ServerReflectionResponse>(path, stream::iter([request])).await;
    let answer = answers.next().await.unwrap().unwrap().message_response.unwrap();
    let pb::v1::server_reflection_response::MessageResponse::ListServicesResponse(list) = answer else {
        panic!("{answer:?}");
    };
    let names: Vec<&str> = list.service.iter().map(|service| service.name.as_str()).collect();
    for name in
        ["inference.GRPCInferenceService", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"]
    {
        assert!(names.contains(&name), "{names:?}");
    }
    let path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
    let request = pb::v1alpha::ServerReflectionRequest {
        message_request: Some(pb::v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(
            "inference.ModelInferRequest".into(),
        )),
        ..Default::default()
    };
    let mut answers =
        client.stream::<_, pb::v1alpha::ServerReflectionResponse>(path, stream::iter([request])).await;
    let answer = answers.next().await.unwrap().unwrap().message_response.unwrap();
    assert!(
        matches!(answer, pb::v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(_)),
        "{answer:?}"
    );
}
