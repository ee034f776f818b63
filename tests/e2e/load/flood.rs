//! Bodies that are larger than a server has memory for.
use std::net::SocketAddr;

use tokio::{io::AsyncWriteExt as _, net::TcpStream};

/// A little less than what a server takes where nobody says otherwise.
const BODY: usize = 60 << 20;
/// Bodies at the same time.
const BODIES: usize = 4;

/// Sends them until the server is gone.
pub(crate) async fn run(address: SocketAddr) -> anyhow::Result<()> {
    let bodies = futures::future::join_all((0..BODIES).map(|_| send(address))).await;
    for body in bodies {
        if let Err(error) = body {
            // What is hoped for.
            eprintln!("the connection broke: {error}");
        }
    }
    Ok(())
}

async fn send(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let head = format!(
        "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {BODY}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let spaces = vec![b' '; 1 << 20];
    // All but the last piece, so that the server goes on waiting for the rest, and holds what it has.
    for _ in 1..BODY / spaces.len() {
        stream.write_all(&spaces).await?;
    }
    let mut answer = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await.map(|_| ())
}
