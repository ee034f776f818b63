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

    /// One call. It goes to another connection only if the server has said goodbye before a byte of it was sent, or without
    /// having looked at it, as it says itself: libraries of gRPC send such a call again, too
    /// (<https://github.com/grpc/proposal/blob/master/A6-client-retries.md#transparent-retries>).
    pub(crate) async fn call(&self, message: Bytes) -> Result<(), Problem> {
        for _ in 0..GOODBYES {
            let request = request(self.address, &message)?;
            let mut sender = self.sender().await?;
            match sender.try_send_request(request).await {
                Ok(response) => {
                    let (head, body) = response.into_parts();
                    let body = body.collect().await.map_err(|error| Problem::of(&error))?;
                    if head.status != 200 {
                        return Err(Problem::new(head.status.as_u16().to_string(), "no answer of gRPC"));
                    }
                    return outcome(body.trailers().unwrap_or(&head.headers));
                }
                Err(error) if error.message().is_some() || unprocessed(error.error()) => {}
                Err(error) => return Err(Problem::of(error.error())),
            }
        }
        Err(Problem::new("reset", "one connection after the other was closed before the call was looked at"))
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

/// Whether the server said goodbye without having looked at a call, as can happen to those that cross the goodbye: of these alone
/// the error is a GOAWAY without an error (RFC 9113, 6.8).
fn unprocessed(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| {
        cause.is_go_away() && cause.is_remote() && cause.reason() == Some(h2::Reason::NO_ERROR)
    })
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

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, net::Ipv4Addr};

    use hyper::{Response, server::conn::http2, service::service_fn};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    const PREFACE: usize = 24;
    const FRAME_HEAD: usize = 9;
    const HEADERS: u8 = 1;
    /// SETTINGS that set nothing.
    const SETTINGS: [u8; FRAME_HEAD] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    /// GOAWAY with this error: no stream was looked at.
    const fn go_away(error: u8) -> [u8; FRAME_HEAD + 8] {
        [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, error]
    }

    /// Says goodbye as soon as it has a call, which it does not look at.
    async fn say_goodbye(mut stream: TcpStream, error: u8) -> std::io::Result<()> {
        stream.write_all(&SETTINGS).await?;
        stream.read_exact(&mut [0; PREFACE]).await?;
        loop {
            let mut head = [0; FRAME_HEAD];
            stream.read_exact(&mut head).await?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            stream.read_exact(&mut vec![0; usize::try_from(length).unwrap()]).await?;
            if head[3] == HEADERS {
                return stream.write_all(&go_away(error)).await;
            }
        }
    }

    /// A call to a server whose first connection ends so and whose second answers.
    async fn call_after(error: u8) -> Result<(), Problem> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (first, _) = listener.accept().await.unwrap();
            say_goodbye(first, error).await.unwrap();
            let (second, _) = listener.accept().await.unwrap();
            let answer = service_fn(async |_| {
                let answer = Response::builder().header("grpc-status", "0").body(Full::new(Bytes::new()));
                Ok::<_, Infallible>(answer.unwrap())
            });
            let _ = http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(second), answer)
                .await;
        });
        let result = Connection::new(address).call(Bytes::from_static(b"message")).await;
        server.abort();
        result
    }

    #[tokio::test]
    async fn call_that_crosses_a_goodbye_is_made_again_and_one_of_a_broken_server_is_not() {
        call_after(0).await.unwrap();
        let problem = call_after(2).await.unwrap_err();
        assert_eq!(problem.kind, "reset", "{problem:?}");
    }
}
