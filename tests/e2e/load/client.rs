//! What both kinds of clients do: connect, and name what went wrong.
use std::{error::Error, io, net::SocketAddr, time::Duration};

use tokio::net::TcpStream;

/// A Service without an endpoint may refuse, or say nothing.
const CONNECT: Duration = Duration::from_secs(3);
/// How often a request may find that the connection that it was to take has said goodbye, before a byte of it was sent.
pub(crate) const GOODBYES: usize = 3;

/// Why a request failed.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) kind: String,
    pub(crate) detail: String,
}

impl Problem {
    pub(crate) fn new(kind: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { kind: kind.into(), detail: detail.into() }
    }

    pub(crate) fn timeout() -> Self {
        Self::new("timeout", "no answer came in time")
    }

    /// Of a connection that was made and broke.
    pub(crate) fn of(error: &hyper::Error) -> Self {
        let mut detail = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            detail.push_str(": ");
            detail.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::new("reset", detail)
    }
}

/// Opens a connection.
pub(crate) async fn connect(address: SocketAddr) -> Result<TcpStream, Problem> {
    match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => {
            // Without it requests wait for each other; where it cannot be had they do.
            let _ = stream.set_nodelay(true);
            Ok(stream)
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Err(Problem::new("refused", error.to_string()))
        }
        Ok(Err(error)) => Err(Problem::new("unreachable", error.to_string())),
        Err(_) => Err(Problem::new("unreachable", "the connection could not be made in time")),
    }
}
