//! A client of gRPC: many calls at a time on one connection.
use std::net::SocketAddr;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::Mutex;

use crate::client::{GOODBYES, Problem, connect};

const PATH: &str = "/inference.GRPCInferenceService/ModelInfer";

/// A connection; made when it is needed, and again when the server has said goodbye. Calls that are under way then end on
/// the former.
pub(crate) struct Connection {
    address: SocketAddr,
    sender: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl Connection {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, sender: Mutex::new(None) }
    }

    /// One call. It goes to another connection only if the server has said goodbye before a byte of it was sent.
    pub(crate) async fn call(&self, message: Bytes) -> Result<(), Problem> {
        let mut request = Some(request(self.address, &message)?);
        for _ in 0..GOODBYES {
            let mut sender = self.sender().await?;
            let Some(message) = request.take() else { break };
            match sender.try_send_request(message).await {
                Ok(response) => {
                    let (head, body) = response.into_parts();
                    let body = body.collect().await.map_err(|error| Problem::of(&error))?;
                    if head.status != 200 {
                        return Err(Problem::new(head.status.as_u16().to_string(), "no answer of gRPC"));
                    }
                    return outcome(body.trailers().unwrap_or(&head.headers));
                }
                Err(mut error) => match error.take_message() {
                    Some(message) => request = Some(message),
                    None => return Err(Problem::of(error.error())),
                },
            }
        }
        Err(Problem::new("reset", "one connection after the other was closed before anything was sent"))
    }

    /// The connection that takes calls now. Several calls that find it closed open one together.
    async fn sender(&self) -> Result<SendRequest<Full<Bytes>>, Problem> {
        let mut present = self.sender.lock().await;
        if let Some(sender) = present.as_mut()
            && sender.ready().await.is_ok()
        {
            return Ok(sender.clone());
        }
        *present = None;
        let stream = TokioIo::new(connect(self.address).await?);
        let (mut sender, connection) =
            handshake(TokioExecutor::new(), stream).await.map_err(|error| Problem::of(&error))?;
        tokio::spawn(connection);
        sender.ready().await.map_err(|error| Problem::of(&error))?;
        Ok(present.insert(sender).clone())
    }
}

fn request(address: SocketAddr, message: &Bytes) -> Result<Request<Full<Bytes>>, Problem> {
    let mut body = BytesMut::with_capacity(message.len() + 5);
    body.put_u8(0);
    body.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    body.extend_from_slice(message);
    Request::post(format!("http://{address}{PATH}"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(Full::new(body.freeze()))
        .map_err(|error| Problem::new("invalid", error.to_string()))
}

/// What the trailers say.
fn outcome(trailers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| trailers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match text("grpc-status") {
        "0" => Ok(()),
        "" => Err(Problem::new("reset", "the answer has no status")),
        status => Err(Problem::new(format!("grpc-{status}"), text("grpc-message"))),
    }
}
