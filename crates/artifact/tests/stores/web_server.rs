//! A web server that behaves exactly as a test wants, bad manners included.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
}

impl Request {
    pub(crate) fn range(&self) -> Option<Range<usize>> {
        let (first, last) = self.headers.get("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some(first.parse().unwrap()..last.parse::<usize>().unwrap() + 1)
    }
}

/// An answer, sent as it is.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// Bytes of the body after which the connection is closed.
    pub(crate) cut: usize,
    /// Whether the length of the body is announced.
    pub(crate) length: bool,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), cut: usize::MAX, length: true }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// A file as a good server gives it: HEAD, ranges, entity tags.
    pub(crate) fn file(request: &Request, content: &[u8], etag: &str) -> Self {
        let etag = format!("\"{etag}\"");
        if request.headers.get("if-match").is_some_and(|wanted| *wanted != etag) {
            return Self::new(412, "");
        }
        let reply = match request.range() {
            Some(range) if range.start >= content.len() => {
                Self::new(416, "").with("Content-Range", format!("bytes */{}", content.len()))
            }
            Some(range) => {
                let end = range.end.min(content.len());
                Self::new(206, &content[range.start..end])
                    .with("Content-Range", format!("bytes {}-{}/{}", range.start, end - 1, content.len()))
            }
            None => Self::new(200, content),
        };
        reply.with("ETag", etag).with("Accept-Ranges", "bytes")
    }
}

/// Runs until dropped.
pub(crate) struct WebServer {
    pub(crate) address: SocketAddr,
    scheme: &'static str,
    requests: Arc<Mutex<Vec<Request>>>,
    task: tokio::task::JoinHandle<()>,
}

impl WebServer {
    pub(crate) async fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(None, answer).await
    }

    /// With TLS and a certificate for `localhost`; also the authority's certificate, in PEM.
    pub(crate) async fn start_tls(
        answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> (Self, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        let server = Self::listen(Some(TlsAcceptor::from(Arc::new(config))), answer).await;
        (server, made.cert.pem())
    }

    async fn listen(
        tls: Option<TlsAcceptor>,
        answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (answer, seen) = (Arc::new(answer), requests.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, seen, tls) = (answer.clone(), seen.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, answer.as_ref(), &seen).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, answer.as_ref(), &seen).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, scheme, requests, task }
    }

    /// A url by address, or by the name `localhost` with TLS.
    pub(crate) fn url(&self, path: &str) -> String {
        match self.scheme {
            "https" => format!("https://localhost:{}{path}", self.address.port()),
            _ => format!("http://{}{path}", self.address),
        }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: &(dyn Fn(&Request) -> Reply + Send + Sync),
    seen: &Mutex<Vec<Request>>,
) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte).await {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap().split(' ');
    let (method, path) = (first.next().unwrap().to_owned(), first.next().unwrap().to_owned());
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let request = Request { method, path, headers };
    seen.lock().unwrap().push(request.clone());
    let reply = answer(&request);
    let mut out = format!("HTTP/1.1 {} Status\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        write!(out, "{name}: {value}\r\n").unwrap();
    }
    if reply.length {
        write!(out, "Content-Length: {}\r\n", reply.body.len()).unwrap();
    }
    out.push_str("\r\n");
    let mut out = out.into_bytes();
    if request.method != "HEAD" {
        out.extend(&reply.body[..reply.cut.min(reply.body.len())]);
    }
    // A client that refuses the answer closes first.
    let _ = stream.write_all(&out).await;
    let _ = stream.shutdown().await;
}
