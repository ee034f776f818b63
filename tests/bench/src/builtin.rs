//! Servers that this program is itself, as processes of their own: the floor of HTTP, a naive server, and a busy neighbour.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use ort::session::Session;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::machine::processors;
use crate::model::{FEATURES, OUTPUT};
use crate::session::{self, Threads};
use crate::wire::MODEL;

/// HTTP and nothing else: reads the body, answers the same bytes each time. It has the shape of the server that is measured:
/// a thread per processor with a runtime of its own, and one thread that deals the connections out.
pub(crate) fn floor(listen: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen)?;
    let threads: Vec<_> = (0..processors())
        .map(|_| {
            let (connections, mut incoming) = mpsc::unbounded_channel();
            let serve = move || -> anyhow::Result<()> {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                tokio::task::LocalSet::new().block_on(&runtime, async move {
                    while let Some(stream) = incoming.recv().await {
                        let stream = tokio::net::TcpStream::from_std(stream)?;
                        let connection = http1::Builder::new()
                            .pipeline_flush(true)
                            .serve_connection(TokioIo::new(stream), service_fn(constant));
                        tokio::task::spawn_local(connection);
                    }
                    Ok(())
                })
            };
            std::thread::spawn(serve);
            connections
        })
        .collect();
    for thread in threads.iter().cycle() {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        thread.send(stream).context("a thread of the floor has ended")?;
    }
    Ok(())
}

/// As long as the answer of the server that is measured.
const BODY: &[u8] = br#"{"model_name":"bench","model_version":"0123456789abcdef","outputs":[{"name":"output","datatype":"FP32","shape":[1,1],"data":[0.51234567]}]}"#;

async fn constant(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    request.into_body().collect().await?;
    Ok(answer(StatusCode::OK, Bytes::from_static(BODY)))
}

fn answer(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    response
}

/// What one writes in an afternoon: a tree of JSON values, one session with the default options behind a lock, and a thread
/// for blocking work per request.
pub(crate) fn naive(listen: SocketAddr, model: &Path) -> anyhow::Result<()> {
    let environment = session::load_library()?;
    let session = Arc::new(Mutex::new(session::open(&environment, model, Threads::Default)?));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::bind(listen).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let session = Arc::clone(&session);
            let service = service_fn(move |request| infer(request, Arc::clone(&session)));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    })
}

async fn infer(
    request: Request<Incoming>,
    session: Arc<Mutex<Session>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    if request.method() == hyper::Method::GET {
        return Ok(answer(StatusCode::OK, Bytes::from_static(b"{}")));
    }
    let body = request.into_body().collect().await?.to_bytes();
    let outcome = tokio::task::spawn_blocking(move || naive_answer(&body, &session)).await;
    Ok(match outcome {
        Ok(Ok(body)) => answer(StatusCode::OK, body.into()),
        Ok(Err(error)) => {
            answer(StatusCode::BAD_REQUEST, json!({ "error": error.to_string() }).to_string().into())
        }
        Err(_) => answer(StatusCode::INTERNAL_SERVER_ERROR, Bytes::from_static(b"{}")),
    })
}

fn naive_answer(body: &[u8], session: &Mutex<Session>) -> anyhow::Result<String> {
    let request: Value = serde_json::from_slice(body)?;
    let data = request["inputs"][0]["data"].as_array().context("no inputs[0].data")?;
    #[expect(clippy::cast_possible_truncation, reason = "the model takes FP32")]
    let row: Vec<f32> = data.iter().filter_map(Value::as_f64).map(|number| number as f32).collect();
    anyhow::ensure!(row.len() == FEATURES, "the row has {} numbers", row.len());
    let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
    let outputs = session::predict(&mut session, &row)?;
    let output = json!({ "name": OUTPUT, "datatype": "FP32", "shape": [1, 1], "data": outputs });
    Ok(json!({ "model_name": MODEL, "outputs": [output] }).to_string())
}

/// Keeps one processor busy until it is ended.
pub(crate) fn neighbour() -> ! {
    loop {
        std::hint::spin_loop();
    }
}
