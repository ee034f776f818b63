//! HTTP/1.1, as much of it as a load needs.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Answer;

/// A keep-alive connection that sends the same request again and again.
pub(super) struct Connection {
    stream: TcpStream,
    request: Bytes,
    buffer: Vec<u8>,
    ends: bool,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, request: Bytes) -> Self {
        Self { stream, request, buffer: vec![0; 16 << 10], ends: false }
    }

    /// Whether the server said that it takes no further request on this connection.
    pub(super) fn ends(&self) -> bool {
        self.ends
    }

    /// Sends the request and reads the whole answer.
    pub(super) async fn exchange(&mut self) -> io::Result<Answer> {
        self.stream.write_all(&self.request).await?;
        let mut filled = 0;
        let head = loop {
            filled += self.read(filled).await?;
            if let Some(head) = Head::find(&self.buffer[..filled])? {
                break head;
            }
        };
        self.ends = head.close;
        let total = head.length + head.body;
        while filled < total {
            filled += self.read(filled).await?;
        }
        if head.success {
            return Ok(Answer::Success);
        }
        let (status, body) =
            (self.buffer.split(|&byte| byte == b'\r').next(), &self.buffer[head.length..total]);
        let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
        let message = format!("{}: {}", text(status.unwrap_or_default()), text(body));
        Ok(Answer::Failure { overloaded: message.starts_with("HTTP/1.1 503 "), message })
    }

    async fn read(&mut self, filled: usize) -> io::Result<usize> {
        if filled == self.buffer.len() {
            self.buffer.resize(2 * filled, 0);
        }
        let read = self.stream.read(&mut self.buffer[filled..]).await?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
        }
        Ok(read)
    }
}

/// What the head of an answer says.
#[derive(Debug, PartialEq)]
struct Head {
    /// Bytes of the head.
    length: usize,
    /// Bytes of the body.
    body: usize,
    success: bool,
    /// Nothing more comes on this connection.
    close: bool,
}

impl Head {
    /// Nothing if the head has not arrived yet.
    fn find(bytes: &[u8]) -> io::Result<Option<Self>> {
        const END: &[u8] = b"\r\n\r\n";
        let Some(end) = bytes.windows(END.len()).position(|window| window == END) else {
            return Ok(None);
        };
        let lines = || bytes[..end].split(|&byte| byte == b'\n');
        let value = |name: &[u8]| {
            let is_it =
                |line: &&[u8]| line.len() > name.len() && line[..name.len()].eq_ignore_ascii_case(name);
            lines().find(is_it).map(|line| line[name.len()..].trim_ascii())
        };
        let body = value(b"content-length:")
            .and_then(|length| std::str::from_utf8(length).ok()?.parse().ok())
            .ok_or_else(|| io::Error::other("an answer without content-length; this load reads no other"))?;
        let close = value(b"connection:").is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
        Ok(Some(Self { length: end + END.len(), body, success: bytes.starts_with(b"HTTP/1.1 200 "), close }))
    }
}

/// Sends one request, blocking, and returns the body of the answer.
pub(super) fn once(address: SocketAddr, request: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(request)?;
    let (mut answer, mut chunk) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let read = stream.read(&mut chunk)?;
        ensure!(read > 0, "the server closed the connection");
        answer.extend_from_slice(&chunk[..read]);
        let Some(head) = Head::find(&answer)? else { continue };
        if answer.len() < head.length + head.body {
            continue;
        }
        if !head.success {
            bail!("the answer was {}", String::from_utf8_lossy(&answer));
        }
        return Ok(answer.split_off(head.length));
    }
}

/// Gets a text, blocking.
pub(crate) fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let body = once(address, &crate::wire::http_get(path)).with_context(|| format!("GET {address}{path}"))?;
    Ok(String::from_utf8(body)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_is_found_once_it_is_whole() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\ndate: x\r\n\r\n{";
        assert_eq!(
            Head::find(answer).unwrap(),
            Some(Head { length: answer.len() - 1, body: 12, success: true, close: false })
        );
        assert_eq!(Head::find(&answer[..20]).unwrap(), None);
    }

    #[test]
    fn last_answer_of_a_connection_is_known() {
        let head = Head::find(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nConnection: close\r\n\r\n").unwrap();
        assert!(head.unwrap().close);
    }

    #[test]
    fn other_status_is_no_success_and_an_unknown_length_is_refused() {
        let head = Head::find(b"HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n").unwrap().unwrap();
        assert!(!head.success);
        assert!(Head::find(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }
}
