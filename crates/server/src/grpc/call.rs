//! From the path of a call to its handler.

use std::future::{Ready, ready};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use http::{HeaderMap, Method, Request, StatusCode};
use hyper::body::Incoming;
use modelwright_protocol::grpc::inference::{
    RepositoryModelLoadRequest, RepositoryModelUnloadRequest, ServerLiveRequest, ServerMetadataRequest,
    ServerReadyRequest,
};
use prost::Message;
use tonic::codec::{Codec, CompressionEncoding};
use tonic::server::{Grpc, ServerStreamingService, StreamingService, UnaryService};
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstCodec;

use super::codec::{InferCodec, Received};
use super::inbound::{Awaited, Inbound};
use super::{health, infer, inform, reflection, status, timeout};
use crate::access_log::Entry;
use crate::data::Data;
use crate::label::Label;
use crate::memory::Share;
use crate::route;
use crate::trace::{Parent, RequestSpan};

/// The most that a call without tensors has to say.
const SMALL: usize = 64 << 10;

/// What comes out of a handler.
pub(super) type Answer = http::Response<tonic::body::Body>;

/// The calls that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rpc {
    ServerLive,
    ServerReady,
    ModelReady,
    ServerMetadata,
    ModelMetadata,
    ModelInfer,
    ModelStreamInfer,
    ModelConfig,
    ModelStatistics,
    RepositoryIndex,
    RepositoryModelLoad,
    RepositoryModelUnload,
    HealthCheck,
    HealthWatch,
    ReflectionV1,
    ReflectionV1Alpha,
}

impl Rpc {
    /// Reads a path. `None`: there is no such call.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        let rpc = match (service, method) {
            ("inference.GRPCInferenceService", method) => match method {
                "ModelInfer" => Self::ModelInfer,
                "ModelStreamInfer" => Self::ModelStreamInfer,
                "ServerLive" => Self::ServerLive,
                "ServerReady" => Self::ServerReady,
                "ModelReady" => Self::ModelReady,
                "ServerMetadata" => Self::ServerMetadata,
                "ModelMetadata" => Self::ModelMetadata,
                "ModelConfig" => Self::ModelConfig,
                "ModelStatistics" => Self::ModelStatistics,
                "RepositoryIndex" => Self::RepositoryIndex,
                "RepositoryModelLoad" => Self::RepositoryModelLoad,
                "RepositoryModelUnload" => Self::RepositoryModelUnload,
                _ => return None,
            },
            ("grpc.health.v1.Health", "Check") => Self::HealthCheck,
            ("grpc.health.v1.Health", "Watch") => Self::HealthWatch,
            ("grpc.reflection.v1.ServerReflection", "ServerReflectionInfo") => Self::ReflectionV1,
            ("grpc.reflection.v1alpha.ServerReflection", "ServerReflectionInfo") => Self::ReflectionV1Alpha,
            _ => return None,
        };
        Some(rpc)
    }

    /// Whether the answer may take for ever, mostly without anything to do. Everybody may watch the health, so this must not
    /// look like work.
    pub(super) const fn stays_open(self) -> bool {
        matches!(
            self,
            Self::ModelStreamInfer | Self::HealthWatch | Self::ReflectionV1 | Self::ReflectionV1Alpha
        )
    }

    /// The name in metrics.
    pub(super) const fn label(self) -> Label {
        match self {
            Self::ServerLive => Label::GrpcServerLive,
            Self::ServerReady => Label::GrpcServerReady,
            Self::ModelReady => Label::GrpcModelReady,
            Self::ServerMetadata => Label::GrpcServerMetadata,
            Self::ModelMetadata => Label::GrpcModelMetadata,
            Self::ModelInfer => Label::GrpcInfer,
            Self::ModelStreamInfer => Label::GrpcStream,
            Self::ModelConfig => Label::GrpcModelConfig,
            Self::ModelStatistics => Label::GrpcModelStatistics,
            Self::RepositoryIndex => Label::GrpcRepositoryIndex,
            Self::RepositoryModelLoad | Self::RepositoryModelUnload => Label::GrpcRepositoryControl,
            Self::HealthCheck | Self::HealthWatch => Label::GrpcHealth,
            Self::ReflectionV1 | Self::ReflectionV1Alpha => Label::GrpcReflection,
        }
    }
}

/// What a call needs while it is answered.
pub(super) struct Call {
    pub(super) data: Arc<Data>,
    /// When the client stops waiting.
    pub(super) deadline: Option<Instant>,
    /// What is held until the answer is written.
    memory: Mutex<Option<Share>>,
    /// What the call is part of, where requests are traced.
    parent: Option<Parent>,
    /// How the client packs what it sends.
    packing: Option<CompressionEncoding>,
}

impl Call {
    pub(super) fn new(data: &Arc<Data>, headers: &HeaderMap, parent: Option<Parent>) -> Result<Self, Status> {
        let timeout = headers.get("grpc-timeout").map(timeout::parse).transpose()?;
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        // Clients offer gzip unasked; packing for them would cost more than it saves. One that packs itself wants it.
        let packing = headers.get("grpc-encoding").and_then(|encoding| match encoding.as_bytes() {
            b"gzip" => Some(CompressionEncoding::Gzip),
            b"deflate" => Some(CompressionEncoding::Deflate),
            _ => None,
        });
        Ok(Self { data: Arc::clone(data), deadline, memory: Mutex::new(None), parent, packing })
    }

    /// Holds memory until the answer is written.
    pub(super) fn hold(&self, memory: Share) {
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = Some(memory);
    }

    pub(super) fn into_memory(self) -> Option<Share> {
        self.memory.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers the call.
    pub(super) async fn dispatch(
        &self,
        rpc: Option<Rpc>,
        count: &Count,
        request: Request<Incoming>,
    ) -> Answer {
        let Some(rpc) = rpc else {
            let path = route::excerpt(request.uri().path());
            return Status::unimplemented(format!(
                "there is no call {path} here; reflection lists those there are"
            ))
            .into_http();
        };
        let data = &self.data;
        match rpc {
            Rpc::ModelInfer => self.infer(count, request).await,
            Rpc::ModelStreamInfer => self.stream_infer(request).await,
            Rpc::ServerLive => self.unary(request, |_: ServerLiveRequest| Ok(inform::server_live())).await,
            Rpc::ServerReady => {
                self.unary(request, |_: ServerReadyRequest| Ok(inform::server_ready(data))).await
            }
            Rpc::ModelReady => self.unary(request, |asked| inform::model_ready(data, &asked)).await,
            Rpc::ServerMetadata => {
                self.unary(request, |_: ServerMetadataRequest| Ok(inform::server_metadata())).await
            }
            Rpc::ModelMetadata => self.unary(request, |asked| inform::model_metadata(data, asked)).await,
            Rpc::ModelConfig => self.unary(request, |asked| inform::model_config(data, &asked)).await,
            Rpc::ModelStatistics => self.unary(request, |asked| inform::statistics(data, &asked)).await,
            Rpc::RepositoryIndex => {
                self.unary(request, |asked| Ok(inform::repository_index(data, &asked))).await
            }
            Rpc::RepositoryModelLoad => {
                self.unary(request, |_: RepositoryModelLoadRequest| inform::refuse_load()).await
            }
            Rpc::RepositoryModelUnload => {
                self.unary(request, |_: RepositoryModelUnloadRequest| inform::refuse_unload()).await
            }
            Rpc::HealthCheck => self.unary(request, |asked| health::check(data, &asked)).await,
            Rpc::HealthWatch => self.watch(request).await,
            Rpc::ReflectionV1 => reflection::v1(data, request).await,
            Rpc::ReflectionV1Alpha => reflection::v1alpha(data, request).await,
        }
    }

    /// A call that asks and gets little, at once.
    async fn unary<M, R>(&self, request: Request<Incoming>, answer: impl Fn(M) -> Result<R, Status>) -> Answer
    where
        M: Message + Default + Send + 'static,
        R: Message + Send + 'static,
    {
        let handler =
            |request: tonic::Request<M>| ready(answer(request.into_inner()).map(tonic::Response::new));
        let (request, _) = self.inbound(request, Awaited::Always);
        self.grpc(ProstCodec::<R, M>::new(), SMALL).unary(Handler(handler), request).await
    }

    async fn infer(&self, count: &Count, request: Request<Incoming>) -> Answer {
        let limit = self.data.most_body_bytes();
        let (request, memory) = self.inbound(request, Awaited::Always);
        let handler = |request: tonic::Request<Received>| async move {
            let received = request.into_inner();
            let (message, memory) = infer::infer(&self.data, received, self.deadline, count).await?;
            self.hold(memory);
            Ok(tonic::Response::new(message))
        };
        self.grpc(InferCodec::new(memory, self.data.limits), limit).unary(Handler(handler), request).await
    }

    async fn stream_infer(&self, request: Request<Incoming>) -> Answer {
        let limit = self.data.most_body_bytes();
        // Between two messages any time may pass; the connection's pings tell whether the client is there.
        let (request, memory) = self.inbound(request, Awaited::WithinMessages);
        let handler = |request: tonic::Request<Streaming<Received>>| {
            let stream = infer::stream(
                Arc::clone(&self.data),
                request.into_inner(),
                self.deadline,
                self.parent.clone(),
            );
            ready(Ok(tonic::Response::new(stream)))
        };
        self.grpc(InferCodec::new(memory, self.data.limits), limit).streaming(Handler(handler), request).await
    }

    async fn watch(&self, request: Request<Incoming>) -> Answer {
        let handler = |request: tonic::Request<_>| {
            let stream = health::watch(Arc::clone(&self.data), request.into_inner());
            ready(Ok(tonic::Response::new(stream)))
        };
        let (request, _) = self.inbound(request, Awaited::Always);
        self.grpc(ProstCodec::new(), SMALL).server_streaming(Handler(handler), request).await
    }

    fn inbound(&self, request: Request<Incoming>, awaited: Awaited) -> (Request<Inbound>, Arc<Mutex<Share>>) {
        Inbound::wrap(request, self.data.bodies.share(), self.data.bodies.read_timeout(), awaited)
    }

    fn grpc<C: Codec>(&self, codec: C, limit: usize) -> Grpc<C> {
        let grpc = Grpc::new(codec)
            .max_decoding_message_size(limit)
            .max_encoding_message_size(usize::MAX)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Deflate);
        match self.packing {
            Some(encoding) => grpc.send_compressed(encoding),
            None => grpc,
        }
    }
}

/// A function as tonic wants to call it.
struct Handler<F>(F);

impl<F, A, M, R> UnaryService<M> for Handler<F>
where
    F: FnMut(tonic::Request<M>) -> A,
    A: Future<Output = Result<tonic::Response<R>, Status>>,
{
    type Response = R;
    type Future = A;

    fn call(&mut self, request: tonic::Request<M>) -> A {
        (self.0)(request)
    }
}

impl<F, M, R, S> ServerStreamingService<M> for Handler<F>
where
    F: FnMut(tonic::Request<M>) -> Ready<Result<tonic::Response<S>, Status>>,
    S: futures::Stream<Item = Result<R, Status>>,
{
    type Response = R;
    type ResponseStream = S;
    type Future = Ready<Result<tonic::Response<S>, Status>>;

    fn call(&mut self, request: tonic::Request<M>) -> Self::Future {
        (self.0)(request)
    }
}

impl<F, M, R, S> StreamingService<M> for Handler<F>
where
    F: FnMut(tonic::Request<Streaming<M>>) -> Ready<Result<tonic::Response<S>, Status>>,
    S: futures::Stream<Item = Result<R, Status>>,
{
    type Response = R;
    type ResponseStream = S;
    type Future = Ready<Result<tonic::Response<S>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<M>>) -> Self::Future {
        (self.0)(request)
    }
}

/// Counts a call when it has its status, or when it is dropped without one because its client has gone.
pub(super) struct Count {
    data: Arc<Data>,
    label: Label,
    started: Instant,
    /// The model that the message names.
    pub(super) model: OnceLock<String>,
    /// Bytes of the messages with tensors.
    pub(super) received: AtomicUsize,
    pub(super) sent: AtomicUsize,
    pub(super) status: Option<StatusCode>,
    pub(super) span: Option<RequestSpan>,
}

impl Count {
    pub(super) fn new(data: Arc<Data>, label: Label, parent: Option<&Parent>) -> Self {
        let span = parent.zip(data.tracer.as_ref()).and_then(|(parent, tracer)| tracer.rpc(label, parent));
        Self {
            span,
            data,
            label,
            started: Instant::now(),
            model: OnceLock::new(),
            received: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
            status: None,
        }
    }

    /// Keeps how the call ended.
    pub(super) fn ended(&mut self, code: Code) {
        self.status = Some(status::as_http(code));
        if let Some(span) = &self.span {
            span.code(code);
        }
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        let model = self.model.get().map(String::as_str);
        let took = self.started.elapsed();
        let known = self.data.metrics.answered(&self.data.models, model, self.label, self.status, took);
        let model = model.filter(|_| known);
        if let Some(span) = &self.span {
            span.end(model, self.label, self.status);
        }
        self.data.access_log.request(&Entry {
            method: &Method::POST,
            label: self.label,
            model,
            trace: self.span.as_ref(),
            status: self.status,
            took,
            received: self.received.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
        });
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("/inference.GRPCInferenceService/ModelInfer", Some(Rpc::ModelInfer))]
    #[case("/grpc.health.v1.Health/Check", Some(Rpc::HealthCheck))]
    #[case("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Some(Rpc::ReflectionV1))]
    #[case("/inference.GRPCInferenceService/CudaSharedMemoryStatus", None)]
    #[case("/inference.GRPCInferenceService/modelinfer", None)]
    #[case("/inference.GRPCInferenceService", None)]
    #[case("/inference.GRPCInferenceService/ModelInfer/", None)]
    #[case("inference.GRPCInferenceService/ModelInfer", None)]
    #[case("/", None)]
    fn paths_are_service_and_method(#[case] path: &str, #[case] rpc: Option<Rpc>) {
        assert_eq!(Rpc::parse(path), rpc);
    }
}
