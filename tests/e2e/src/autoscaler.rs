//! Asks an operator how busy Models are, as KEDA does.
use std::{
    net::SocketAddr,
    task::{Context, Poll},
};

use anyhow::Context as _;
use futures::future::BoxFuture;
use hyper::{
    body::Incoming,
    client::conn::http2::{SendRequest, handshake},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use modelwright_operator::scaler::messages::{
    GetMetricSpecResponse, GetMetricsRequest, GetMetricsResponse, IsActiveResponse, MetricSpec,
    ScaledObjectRef,
};
use prost::Message;
use tokio::net::TcpStream;
use tonic::{Request, Status, body::Body, client::Grpc, codegen::Service};
use tonic_prost::ProstCodec;

/// A client with one connection.
pub struct Autoscaler(Grpc<Connection>);

/// One trigger of a `ScaledObject` with the name of a Model.
pub fn trigger(namespace: &str, model: &str, metric: &str, target: &str) -> ScaledObjectRef {
    let pair = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    ScaledObjectRef {
        name: model.to_owned(),
        namespace: namespace.to_owned(),
        scaler_metadata: [("metric", metric), ("target", target)].map(pair).into(),
    }
}

impl Autoscaler {
    /// Connects to the port of an operator for autoscalers.
    pub async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("no scaler at {address}"))?;
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self(Grpc::with_origin(Connection(sender), format!("http://{address}").parse()?)))
    }

    /// Whether there shall be pods.
    pub async fn is_active(&mut self, trigger: &ScaledObjectRef) -> Result<bool, Status> {
        self.call("IsActive", trigger.clone()).await.map(|answer: IsActiveResponse| answer.result)
    }

    /// The metric's name, and what each pod shall have of it.
    pub async fn metric(&mut self, trigger: &ScaledObjectRef) -> Result<MetricSpec, Status> {
        let mut answer: GetMetricSpecResponse = self.call("GetMetricSpec", trigger.clone()).await?;
        answer.metric_specs.pop().ok_or_else(|| Status::internal("no metric"))
    }

    /// What all pods together have of it.
    pub async fn value(&mut self, trigger: &ScaledObjectRef) -> Result<f64, Status> {
        let metric_name = self.metric(trigger).await?.metric_name;
        let request = GetMetricsRequest { scaled_object_ref: Some(trigger.clone()), metric_name };
        let answer: GetMetricsResponse = self.call("GetMetrics", request).await?;
        answer
            .metric_values
            .first()
            .map(|value| value.metric_value_float)
            .ok_or_else(|| Status::internal("no value"))
    }

    async fn call<M, R>(&mut self, method: &str, message: M) -> Result<R, Status>
    where
        M: Message + Send + Sync + 'static,
        R: Message + Default + Send + Sync + 'static,
    {
        self.0.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let path = format!("/externalscaler.ExternalScaler/{method}");
        let path = path.parse().map_err(|_| Status::internal("no path"))?;
        let answer = self.0.unary(Request::new(message), path, ProstCodec::<M, R>::new()).await;
        answer.map(tonic::Response::into_inner)
    }
}

struct Connection(SendRequest<Body>);

impl Service<http::Request<Body>> for Connection {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, Result<Self::Response, hyper::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
