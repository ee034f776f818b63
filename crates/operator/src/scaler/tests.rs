//! An autoscaler that asks over real sockets, of a cluster that is made up.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::client::conn::http2::{SendRequest, handshake};
use prost::Message;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::{Code, Request, Status, body::Body};
use tonic_prost::ProstCodec;

use super::{
    messages::{
        GetMetricSpecResponse, GetMetricsRequest, GetMetricsResponse, IsActiveResponse, ScaledObjectRef,
    },
    *,
};
use crate::pull::PodLoad;

#[derive(Clone, Default)]
struct MadeUp {
    starting: Arc<AtomicBool>,
    models: Arc<Mutex<HashMap<ModelKey, Standing>>>,
    told: Arc<Mutex<Told>>,
}

impl Cluster for MadeUp {
    fn is_complete(&self) -> bool {
        !self.starting.load(Ordering::Relaxed)
    }

    fn standing(&self, model: &ModelKey) -> Option<Standing> {
        self.models.lock().unwrap().get(model).copied()
    }

    async fn told(&self, _: &ModelKey) -> Told {
        self.told.lock().unwrap().clone()
    }
}

impl MadeUp {
    fn stands(&self, name: &str, standing: Standing) {
        self.models.lock().unwrap().insert(ModelKey::new("demo", name), standing);
    }

    fn tell(&self, in_flight: &[f64], silent: usize) {
        let load = |in_flight: &f64| PodLoad { in_flight: *in_flight, ..PodLoad::default() };
        let failure = (silent > 0).then(|| "10.0.0.7:9090 did not answer within 2 s".to_owned());
        *self.told.lock().unwrap() = Told { loads: in_flight.iter().map(load).collect(), silent, failure };
    }
}

struct Connection(SendRequest<Body>);

impl tower::Service<http::Request<Body>> for Connection {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = futures::future::BoxFuture<'static, Result<Self::Response, hyper::Error>>;

    fn poll_ready(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// As KEDA asks: every call about one trigger of one `ScaledObject`.
struct Autoscaler {
    grpc: tonic::client::Grpc<Connection>,
    scaler: Scaler,
}

impl Autoscaler {
    async fn of(cluster: MadeUp) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scaler = Scaler::serve(listener, Service::new(cluster)).unwrap();
        let stream = TcpStream::connect(scaler.address()).await.unwrap();
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let origin = format!("http://{}", scaler.address()).parse().unwrap();
        Self { grpc: tonic::client::Grpc::with_origin(Connection(sender), origin), scaler }
    }

    async fn call<M, R>(&mut self, method: &str, message: M) -> Result<R, Status>
    where
        M: Message + Send + Sync + 'static,
        R: Message + Default + Send + Sync + 'static,
    {
        self.grpc.ready().await.unwrap();
        let path = format!("/externalscaler.ExternalScaler/{method}").parse().unwrap();
        let answer = self.grpc.unary(Request::new(message), path, ProstCodec::<M, R>::new()).await;
        answer.map(tonic::Response::into_inner)
    }

    async fn value(&mut self, asked: ScaledObjectRef, metric: &str) -> Result<f64, Status> {
        let request = GetMetricsRequest { scaled_object_ref: Some(asked), metric_name: metric.to_owned() };
        let answer: GetMetricsResponse = self.call("GetMetrics", request).await?;
        let [value] = &answer.metric_values[..] else { panic!("{answer:?}") };
        assert_eq!(value.metric_name, metric);
        Ok(value.metric_value_float)
    }
}

fn asked(name: &str) -> ScaledObjectRef {
    let pair = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    ScaledObjectRef {
        name: name.to_owned(),
        namespace: "demo".to_owned(),
        scaler_metadata: [("metric", "inFlight"), ("target", "2.5")].map(pair).into(),
    }
}

const IN_FLIGHT: &str = "modelwright-in-flight";

#[tokio::test]
async fn autoscaler_learns_target_value_and_activity() {
    let cluster = MadeUp::default();
    cluster.stands("bc", Standing::Scalable);
    cluster.tell(&[3.25, 0.5], 0);
    let mut autoscaler = Autoscaler::of(cluster.clone()).await;
    let spec: GetMetricSpecResponse = autoscaler.call("GetMetricSpec", asked("bc")).await.unwrap();
    let spec = &spec.metric_specs[0];
    assert_eq!(
        (spec.metric_name.as_str(), spec.target_size, Some(spec.target_size_float)),
        (IN_FLIGHT, 3, Some(2.5))
    );
    assert_eq!(autoscaler.value(asked("bc"), IN_FLIGHT).await.ok(), Some(3.75));
    // One pod that does not answer is taken to be at its target.
    cluster.tell(&[3.25, 0.5], 1);
    assert_eq!(autoscaler.value(asked("bc"), IN_FLIGHT).await.ok(), Some(6.25));
    let active: IsActiveResponse = autoscaler.call("IsActive", asked("bc")).await.unwrap();
    assert!(active.result);
    let other: Result<IsActiveResponse, _> = autoscaler.call("StreamMetricSpec", asked("bc")).await;
    assert_eq!(other.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn value_is_an_error_where_no_pod_tells_it() {
    let cluster = MadeUp::default();
    cluster.stands("bc", Standing::Scalable);
    let mut autoscaler = Autoscaler::of(cluster.clone()).await;
    let nobody = autoscaler.value(asked("bc"), IN_FLIGHT).await.unwrap_err();
    assert_eq!(nobody.code(), Code::Unavailable);
    assert!(nobody.message().contains("no pod of it is ready"), "{nobody:?}");
    cluster.tell(&[], 2);
    let silent = autoscaler.value(asked("bc"), IN_FLIGHT).await.unwrap_err();
    assert!(silent.message().contains("did not answer"), "{silent:?}");
    // Nothing is wanted of a Model that is suspended.
    cluster.stands("bc", Standing::Suspended);
    cluster.tell(&[], 0);
    assert_eq!(autoscaler.value(asked("bc"), IN_FLIGHT).await.ok(), Some(0.0));
}

#[tokio::test]
async fn what_cannot_be_scaled_is_refused_with_what_to_write() {
    let cluster = MadeUp::default();
    cluster.stands("fixed", Standing::NotExternal);
    cluster.stands("broken", Standing::Unreadable);
    cluster.stands("bc", Standing::Scalable);
    let mut autoscaler = Autoscaler::of(cluster.clone()).await;
    for (name, code, expected) in [
        ("fixed", Code::FailedPrecondition, "mode: External"),
        ("broken", Code::FailedPrecondition, "cannot be read"),
        ("none", Code::NotFound, "there is no Model demo/none"),
    ] {
        let refusal =
            autoscaler.call::<_, GetMetricSpecResponse>("GetMetricSpec", asked(name)).await.unwrap_err();
        assert_eq!(refusal.code(), code);
        assert!(refusal.message().contains(expected), "{refusal:?}");
        assert_eq!(
            autoscaler.call::<_, IsActiveResponse>("IsActive", asked(name)).await.unwrap_err().code(),
            code
        );
        assert_eq!(autoscaler.value(asked(name), IN_FLIGHT).await.unwrap_err().code(), code);
    }
    let other = autoscaler.value(asked("bc"), "modelwright-utilization").await.unwrap_err();
    assert!(other.message().contains(IN_FLIGHT), "{other:?}");
    let nothing = GetMetricsRequest::default();
    let nothing = autoscaler.call::<_, GetMetricsResponse>("GetMetrics", nothing).await.unwrap_err();
    assert_eq!(nothing.code(), Code::InvalidArgument);
    cluster.starting.store(true, Ordering::Relaxed);
    let early = autoscaler.call::<_, IsActiveResponse>("IsActive", asked("none")).await.unwrap_err();
    assert_eq!(early.code(), Code::Unavailable);
}

#[tokio::test]
async fn stream_tells_of_changes_and_ends_with_the_model() {
    let cluster = MadeUp::default();
    cluster.stands("bc", Standing::Scalable);
    let mut autoscaler = Autoscaler::of(cluster.clone()).await;
    autoscaler.grpc.ready().await.unwrap();
    let path = "/externalscaler.ExternalScaler/StreamIsActive".parse().unwrap();
    let codec = ProstCodec::<_, IsActiveResponse>::new();
    let answer = autoscaler.grpc.server_streaming(Request::new(asked("bc")), path, codec).await;
    let mut activity = answer.unwrap().into_inner();
    assert!(activity.message().await.unwrap().unwrap().result);
    cluster.stands("bc", Standing::Suspended);
    assert!(!activity.message().await.unwrap().unwrap().result);
    cluster.models.lock().unwrap().clear();
    assert_eq!(activity.message().await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn client_that_takes_all_connections_does_not_end_the_service_of_others() {
    let cluster = MadeUp::default();
    cluster.stands("bc", Standing::Scalable);
    let mut autoscaler = Autoscaler::of(cluster).await;
    let address = autoscaler.scaler.address();
    let mut idle = Vec::new();
    for _ in 0..2 * MAX_CONNECTIONS {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    let active: IsActiveResponse = autoscaler.call("IsActive", asked("bc")).await.unwrap();
    assert!(active.result);
}

/// A word that is begun and not ended holds no place for ever either.
#[tokio::test]
async fn half_a_preface_does_not_hold_a_connection() {
    let autoscaler = Autoscaler::of(MadeUp::default()).await;
    let mut half = TcpStream::connect(autoscaler.scaler.address()).await.unwrap();
    half.write_all(&PREFACE[..3]).await.unwrap();
    // It is closed unread, which may be a reset.
    assert!(matches!(half.read(&mut [0]).await, Ok(0) | Err(_)));
    let mut other = TcpStream::connect(autoscaler.scaler.address()).await.unwrap();
    other.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(matches!(other.read(&mut [0]).await, Ok(0) | Err(_)));
}
