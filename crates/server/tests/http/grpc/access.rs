//! Who may make calls: the same as over HTTP, with the codes of gRPC.

use modelwright_protocol::grpc::inference::{
    ModelInferRequest, ModelInferResponse, ServerLiveRequest, ServerLiveResponse, ServerMetadataRequest,
    ServerMetadataResponse,
};
use modelwright_server::{AccessConfig, ClientLimits};
use tonic::{Code, Request, Status};

use super::client::{Client, add};
use crate::access::{keys, start, with_keys};

async fn infer(client: &mut Client, name: &'static str, value: &str) -> Result<ModelInferResponse, Status> {
    let mut request: Request<ModelInferRequest> = Request::new(add());
    request.metadata_mut().insert(name, value.parse().unwrap());
    client.call_at("/inference.GRPCInferenceService/ModelInfer", request).await
}

#[tokio::test]
async fn calls_need_a_key_and_are_limited_by_client() {
    let folder = keys(&["shop", "lab"]);
    let limits = ClientLimits { requests_per_second: Some(1), burst: Some(1), ..ClientLimits::default() };
    let server = start(AccessConfig { limits, ..with_keys(folder.path()) }, &["add"]).await;
    let mut client = Client::of(&server).await;

    let status = client.infer(add()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(status.message().starts_with("this server answers known clients only"), "{status:?}");
    let status = infer(&mut client, "x-api-key", "shop").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "the key is not known"));
    let hidden: Result<ServerMetadataResponse, _> =
        client.call("ServerMetadata", ServerMetadataRequest {}).await;
    assert_eq!(hidden.unwrap_err().code(), Code::Unauthenticated);

    infer(&mut client, "authorization", "Bearer shop-key").await.unwrap();
    let status = infer(&mut client, "x-api-key", "shop-key").await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.metadata().contains_key("grpc-retry-pushback-ms"), "{status:?}");
    // As over HTTP: 401 three times, and 429.
    let metrics = server.admin("/metrics").await.body;
    for (route, count) in [("grpc_infer", 3), ("grpc_server_metadata", 1)] {
        let line = format!("route=\"{route}\",code=\"4xx\"}} {count}\n");
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
    infer(&mut client, "x-api-key", "lab-key").await.unwrap();
    let live: ServerLiveResponse = client.call("ServerLive", ServerLiveRequest {}).await.unwrap();
    assert!(live.live);
    server.stop().await;
}
