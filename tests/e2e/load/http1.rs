//! A client of HTTP/1.1 that keeps its connection.
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;

use crate::client::{GOODBYES, Problem, connect};

/// What is asked, and whom.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
    pub(crate) body: Bytes,
}

/// A connection with one request at a time; made when it is needed, and again when the server has ended it.
#[derive(Default)]
pub(crate) struct Connection(Option<SendRequest<Full<Bytes>>>);

impl Connection {
    /// One request. It goes to another connection only if the server has closed this one before a byte of it was sent.
    pub(crate) async fn exchange(&mut self, target: &Target) -> Result<(), Problem> {
        let mut request = Some(request(target)?);
        for _ in 0..GOODBYES {
            let mut sender = self.sender(target.address).await?;
            let Some(message) = request.take() else { break };
            match sender.try_send_request(message).await {
                Ok(response) => {
                    let status = response.status();
                    let body = response.into_body().collect().await.map_err(|error| Problem::of(&error))?;
                    self.0 = Some(sender);
                    return if status == 200 {
                        Ok(())
                    } else {
                        Err(Problem::new(
                            status.as_u16().to_string(),
                            String::from_utf8_lossy(&body.to_bytes()),
                        ))
                    };
                }
                Err(mut error) => match error.take_message() {
                    Some(message) => request = Some(message),
                    None => return Err(Problem::of(error.error())),
                },
            }
        }
        Err(Problem::new("reset", "one connection after the other was closed before anything was sent"))
    }

    /// The connection, if the server has not closed it, or else another one.
    async fn sender(&mut self, address: SocketAddr) -> Result<SendRequest<Full<Bytes>>, Problem> {
        if let Some(mut sender) = self.0.take()
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        open(address).await
    }
}

async fn open(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>, Problem> {
    let (mut sender, connection) =
        handshake(TokioIo::new(connect(address).await?)).await.map_err(|error| Problem::of(&error))?;
    tokio::spawn(connection);
    sender.ready().await.map_err(|error| Problem::of(&error))?;
    Ok(sender)
}

fn request(target: &Target) -> Result<Request<Full<Bytes>>, Problem> {
    Request::post(&*target.path)
        .header(header::HOST, target.address.to_string())
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(target.body.clone()))
        .map_err(|error| Problem::new("invalid", error.to_string()))
}
