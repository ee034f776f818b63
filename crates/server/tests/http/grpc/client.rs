//! tonic's client on one connection of hyper, and the messages that tests send.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::StreamExt;
use http::uri::PathAndQuery;
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use modelwright_protocol::grpc::inference::model_infer_request::InferInputTensor;
use modelwright_protocol::grpc::inference::{InferTensorContents, ModelInferRequest, ModelInferResponse};
use prost::Message;
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::harness::TestServer;

const INFERENCE: &str = "/inference.GRPCInferenceService/";

#[derive(Clone)]
pub(crate) struct Connection(SendRequest<Body>);

impl Service<http::Request<Body>> for Connection {
    type Response = http::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// A client with one connection. Clones share it.
#[derive(Clone)]
pub(crate) struct Client(pub(crate) tonic::client::Grpc<Connection>, SocketAddr, Connection);

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let origin = format!("http://{address}").parse().unwrap();
        let connection = Connection(sender);
        let grpc = tonic::client::Grpc::with_origin(connection.clone(), origin);
        Self(grpc.max_decoding_message_size(usize::MAX), address, connection)
    }

    pub(crate) async fn of(server: &TestServer) -> Self {
        Self::connect(server.data).await
    }

    /// One call of the inference service.
    pub(crate) async fn call<M, R>(&mut self, method: &str, message: M) -> Result<R, Status>
    where
        M: Message + Send + Sync + 'static,
        R: Message + Default + Send + Sync + 'static,
    {
        self.call_at(&format!("{INFERENCE}{method}"), Request::new(message)).await
    }

    pub(crate) async fn call_at<M, R>(&mut self, path: &str, request: Request<M>) -> Result<R, Status>
    where
        M: Message + Send + Sync + 'static,
        R: Message + Default + Send + Sync + 'static,
    {
        self.0.ready().await.unwrap();
        let codec = ProstCodec::<M, R>::new();
        self.0.unary(request, path.parse().unwrap(), codec).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn infer(&mut self, request: ModelInferRequest) -> Result<ModelInferResponse, Status> {
        self.call("ModelInfer", request).await
    }

    /// A call whose bytes are what they are; the answer's body with its status behind it.
    pub(crate) async fn bytes(
        &mut self,
        path: &str,
        pieces: impl futures::Stream<Item = Bytes> + Send + 'static,
    ) -> http::Response<hyper::body::Incoming> {
        let pieces = pieces.map(|piece| Ok::<_, Status>(Frame::data(piece)));
        let request = http::Request::post(format!("http://{}{path}", self.1))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Body::new(StreamBody::new(pieces)))
            .unwrap();
        self.2.call(request).await.unwrap()
    }

    /// Many messages in, many out.
    pub(crate) async fn stream<M, R>(
        &mut self,
        path: &str,
        messages: impl futures::Stream<Item = M> + Send + 'static,
    ) -> Streaming<R>
    where
        M: Message + Send + Sync + 'static,
        R: Message + Default + Send + Sync + 'static,
    {
        self.0.ready().await.unwrap();
        let path: PathAndQuery = path.parse().unwrap();
        let answer = self.0.streaming(Request::new(messages), path, ProstCodec::<M, R>::new()).await;
        answer.unwrap().into_inner()
    }
}

pub(crate) fn input(name: &str, datatype: &str, shape: &[i64]) -> InferInputTensor {
    InferInputTensor {
        name: name.into(),
        datatype: datatype.into(),
        shape: shape.to_vec(),
        ..Default::default()
    }
}

/// Bytes of singles.
pub(crate) fn singles(values: &[f32]) -> Bytes {
    values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into()
}

/// A raw request to the model `add`: [1, 2] + [10, 20.5].
pub(crate) fn add() -> ModelInferRequest {
    ModelInferRequest {
        model_name: "add".into(),
        id: "7".into(),
        inputs: vec![input("a", "FP32", &[1, 2]), input("b", "FP32", &[1, 2])],
        raw_input_contents: vec![singles(&[1.0, 2.0]), singles(&[10.0, 20.5])],
        ..Default::default()
    }
}

/// The same with typed contents.
pub(crate) fn typed_add() -> ModelInferRequest {
    let mut request = add();
    request.raw_input_contents.clear();
    for (input, values) in request.inputs.iter_mut().zip([[1.0, 2.0], [10.0, 20.5]]) {
        input.contents = Some(InferTensorContents { fp32_contents: values.to_vec(), ..Default::default() });
    }
    request
}

/// A request to the model `slow` that takes so many turns of a quarter of a millisecond.
pub(crate) fn slow(turns: i64) -> ModelInferRequest {
    ModelInferRequest {
        model_name: "slow".into(),
        inputs: vec![input("times", "INT64", &[1]), input("x", "FP32", &[1, 1])],
        raw_input_contents: vec![turns.to_le_bytes().to_vec().into(), singles(&[1.0])],
        ..Default::default()
    }
}
