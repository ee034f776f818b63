//! A web server that keeps what it is sent, and a client for the server under test to send with.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use modelwright_server::{Poster, Posting};
use tokio::net::TcpListener;

/// A request that was received.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Answers everything with one status, and keeps what it took.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    status: Arc<AtomicU16>,
    received: Arc<Mutex<Vec<Received>>>,
    asked: Arc<AtomicU16>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            address: listener.local_addr().unwrap(),
            status: Arc::new(AtomicU16::new(200)),
            received: Arc::default(),
            asked: Arc::default(),
        };
        let shared = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = shared.clone();
                let service = service_fn(move |request| shared.clone().answer(request));
                tokio::spawn(async move {
                    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    drop(server.serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        receiver
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn answer_with(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// How often it was asked, whatever it answered.
    pub(crate) fn asked(&self) -> u16 {
        self.asked.load(Ordering::Relaxed)
    }

    /// What it took.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let status = self.status.load(Ordering::Relaxed);
        self.asked.fetch_add(1, Ordering::Relaxed);
        if status == 200 {
            let path = head.uri.path().to_owned();
            self.received.lock().unwrap().push(Received { path, headers: head.headers, body });
        }
        Ok(Response::builder().status(status).body(Full::default()).unwrap())
    }
}

/// Sends with the client of the tests.
#[derive(Debug)]
pub(crate) struct Client(pub(crate) reqwest::Client);

impl Client {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(crate::harness::client().build().unwrap()))
    }
}

impl Poster for Client {
    fn post<'a>(&'a self, url: &'a str, headers: HeaderMap, body: Bytes) -> Posting<'a> {
        Box::pin(async move {
            let sent = self.0.post(url).headers(headers).body(body).send().await;
            let answer = sent.map_err(|error| error.to_string())?;
            let status = answer.status();
            let mut response = Response::new(answer.bytes().await.map_err(|error| error.to_string())?);
            *response.status_mut() = status;
            Ok(response)
        })
    }
}
