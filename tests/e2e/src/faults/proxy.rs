//! The proxy: one request at a time through the faults to the API server and back.
use std::{
    convert::identity,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Status, StatusDetails};
use kube::{Client, client::Body};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use super::{
    body::Cuttable,
    fault::{Effect, Faults},
    record::{Outcome, Record},
    request::Request,
};

type Answer = Response<UnsyncBoxBody<Bytes, anyhow::Error>>;

/// What the requests of a proxy share.
pub(super) struct Shared {
    /// With the harness's credentials.
    pub(super) upstream: Client,
    /// Without any: for requests that bring their own.
    pub(super) anonymous: Client,
    faults: Mutex<Faults>,
    record: Mutex<Record>,
    /// Changes when every watch is to be cut.
    pub(super) cut: watch::Sender<()>,
}

impl Shared {
    pub(super) fn new(upstream: Client, anonymous: Client) -> Self {
        Self {
            upstream,
            anonymous,
            faults: Mutex::default(),
            record: Mutex::default(),
            cut: watch::Sender::new(()),
        }
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves until it is dropped, and its connections with it.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, shared.clone()));
                }
                // Out of file descriptors, for example: that passes.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// HTTP/1.1, or HTTP/2 when the client begins with it.
async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let service = hyper::service::service_fn(move |request| {
        let shared = shared.clone();
        // A request that has come is dealt with even if its client goes away, as a server would.
        let task = tokio::spawn(async move { answer(&shared, request).await });
        async move { task.await.map_err(anyhow::Error::from).and_then(identity) }
    });
    // An error is a client that went away, or a fault that cut it off.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

/// The answer, or an error that cuts the connection.
async fn answer(shared: &Shared, request: hyper::Request<Incoming>) -> anyhow::Result<Answer> {
    let at = Instant::now();
    let asked = Request::new(request.method(), request.uri());
    let effects = shared.faults().strike(&asked);
    let note = |outcome| shared.record().add(at, asked.clone(), outcome);
    let (mut lose, mut events, mut after) = (false, None, None);
    for effect in effects {
        match effect {
            Effect::Delay(delay) => tokio::time::sleep(delay).await,
            Effect::Answer { code, retry_after } => {
                note(Outcome::Injected(code));
                return failure(code, retry_after, &asked);
            }
            Effect::Refuse => {
                note(Outcome::Refused);
                bail!("refused by a fault");
            }
            Effect::LoseAnswer => lose = true,
            Effect::CutWatch { events: most, after: longest } => {
                events = least(events, most);
                after = least(after, longest);
            }
        }
    }
    // Subscribed before the request: a cut that comes while it is under way is not missed.
    let mut cut = shared.cut.subscribe();
    let response = match forward(shared, request).await {
        Ok(response) => response,
        Err(error) => {
            note(Outcome::Refused);
            return Err(error);
        }
    };
    let code = response.status().as_u16();
    if lose {
        // Everything has been said when the body is there.
        let _ = response.into_body().collect().await;
        note(Outcome::Lost(code));
        bail!("the answer is lost by a fault");
    }
    note(Outcome::Answered(code));
    let watch = asked.verb == "watch" && response.status() == StatusCode::OK;
    Ok(response.map(|body| {
        if watch {
            let cut = async move {
                // An error is the end of the proxy.
                let _ = cut.changed().await;
            };
            Cuttable::new(body, cut, after, events).boxed_unsync()
        } else {
            body.map_err(anyhow::Error::from).boxed_unsync()
        }
    }))
}

async fn forward(shared: &Shared, request: hyper::Request<Incoming>) -> anyhow::Result<Response<Body>> {
    let (mut parts, body) = request.into_parts();
    if parts.headers.contains_key(header::UPGRADE) {
        bail!("the proxy does not forward exec, attach and port-forward: ask the API server itself");
    }
    drop_hop_headers(&mut parts.headers);
    let own = parts.headers.contains_key(header::AUTHORIZATION);
    let client = if own { &shared.anonymous } else { &shared.upstream };
    let body = body.collect().await.context("the request's body broke off")?.to_bytes();
    parts.version = http::Version::HTTP_11;
    let mut response = client.send(http::Request::from_parts(parts, Body::from(body))).await?;
    drop_hop_headers(response.headers_mut());
    *response.version_mut() = http::Version::HTTP_11;
    Ok(response)
}

/// What concerns one connection is not passed on to another.
fn drop_hop_headers(headers: &mut HeaderMap) {
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::HOST, header::TE, header::TRAILER] {
        headers.remove(name);
    }
}

/// An error as Kubernetes gives it.
fn failure(code: u16, retry_after: Option<Duration>, asked: &Request) -> anyhow::Result<Answer> {
    let reason = match code {
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "Unknown",
    };
    let default = matches!(code, 429 | 503).then_some(Duration::from_secs(1));
    let seconds = retry_after.or(default).map(|time| time.as_secs());
    let status = Status {
        status: Some("Failure".to_owned()),
        code: Some(code.into()),
        reason: Some(reason.to_owned()),
        message: Some(format!("injected by a test: {asked}")),
        details: Some(StatusDetails {
            retry_after_seconds: seconds.and_then(|seconds| i32::try_from(seconds).ok()),
            ..StatusDetails::default()
        }),
        ..Status::default()
    };
    let mut answer = Response::builder().status(code).header(header::CONTENT_TYPE, "application/json");
    if let Some(seconds) = seconds {
        answer = answer.header(header::RETRY_AFTER, seconds);
    }
    let body = Full::from(serde_json::to_vec(&status)?).map_err(|never| match never {});
    Ok(answer.body(body.boxed_unsync())?)
}

fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    one.into_iter().chain(other).min()
}
