//! The port on which progress is told: `GET /progress`, `/metrics` and `/livez` for anybody, and the callback of Kubeflow
//! Trainer by `POST` for processes of this pod.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use modelwright_api::contract::{ExitCode, probes};
use modelwright_api::training::progress;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::state::State;
use super::update;
use crate::failure::Failure;

/// Callers at the same time: the operator, a scraper, and the processes of the training.
const MAX_CONNECTIONS: usize = 64;
/// How long one of them may take in all.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most bytes of a callback.
const MAX_BODY: usize = 64 << 10;

/// Takes the port, and says which.
pub(in crate::steps) async fn listen(at: SocketAddr) -> Result<TcpListener, Failure> {
    let listener = TcpListener::bind(at).await.map_err(|error| {
        let message = format!("cannot listen on {at} (--progress-listen): {error}");
        Failure::new(ExitCode::InvalidConfiguration, "CannotListen", message)
    })?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "progress");
    }
    Ok(listener)
}

/// Answers until it is aborted.
pub(in crate::steps) async fn serve(listener: TcpListener, state: Arc<State>) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        let Ok((stream, peer)) = listener.accept().await else {
            // No descriptors, most likely; there will be again.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let state = state.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(state.clone(), peer, request));
            let connection = hyper::server::conn::http1::Builder::new()
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // A caller that is too slow is gone, and so is its place.
            let _ = timeout(PATIENCE, connection).await;
            drop(permit);
        });
    }
}

async fn answer(
    state: Arc<State>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    if method == Method::POST {
        return Ok(report(&state, peer.ip(), request).await);
    }
    if method != Method::GET {
        return Ok(plain(StatusCode::METHOD_NOT_ALLOWED, "write GET, or POST for a callback\n"));
    }
    let now = Instant::now();
    Ok(match path.as_str() {
        progress::PATH => match serde_json::to_vec(&state.progress(now)) {
            Ok(json) => response(StatusCode::OK, "application/json", json),
            Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the progress does not serialise\n"),
        },
        probes::METRICS => response(
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            state.progress(now).to_prometheus(),
        ),
        probes::LIVE => plain(StatusCode::OK, "ok\n"),
        _ => plain(StatusCode::NOT_FOUND, "there are /progress, /metrics and /livez\n"),
    })
}

/// Takes a callback, whatever its path: clients post to the URL that they are given.
async fn report(state: &State, peer: IpAddr, request: Request<Incoming>) -> Response<Full<Bytes>> {
    if !peer.to_canonical().is_loopback() {
        return plain(StatusCode::FORBIDDEN, "only processes of this pod may report\n");
    }
    let Ok(body) = Limited::new(request.into_body(), MAX_BODY).collect().await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE, "a callback has at most 64 KiB\n");
    };
    match update::callback(&body.to_bytes()) {
        Some(update) => {
            state.apply(update, Instant::now());
            response(StatusCode::OK, "application/json", "{}\n")
        }
        None => plain(StatusCode::BAD_REQUEST, "write {\"trainerStatus\": {…}} as Kubeflow Trainer has it\n"),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", text)
}

fn response(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
