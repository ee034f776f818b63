//! Taking connections from a listener, no more than so many at once.

use std::io;
use std::net::TcpStream as StdStream;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long to wait when the operating system gives no more connections.
const PAUSE: Duration = Duration::from_millis(100);

/// A listener that takes a connection only when there is a place for it. At the bound, further ones wait in the kernel's
/// queue.
#[derive(Debug)]
pub(crate) struct Acceptor {
    listener: TcpListener,
    permits: Arc<Semaphore>,
}

/// A connection's place, given back when it is dropped.
pub(crate) type Permit = OwnedSemaphorePermit;

impl Acceptor {
    pub(crate) fn new(listener: TcpListener, max_connections: usize) -> Self {
        let permits = Arc::new(Semaphore::new(max_connections.clamp(1, Semaphore::MAX_PERMITS)));
        Self { listener, permits }
    }

    /// The next connection. Cancelling it between two connections loses none.
    pub(crate) async fn accept(&self) -> (TcpStream, Permit) {
        loop {
            // The semaphore is never closed.
            let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
                return std::future::pending().await;
            };
            match self.listener.accept().await {
                Ok((stream, _)) => return (stream, permit),
                Err(error) => {
                    // Mostly too many open files, which ends by itself; a tight loop would not help.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Closes the listener and takes the connections that wait already. They were promised to their clients by the kernel,
    /// and closing the listener would reset them. Asks the kernel itself: tokio only knows what it heard last.
    pub(crate) fn close(self) -> io::Result<Vec<(StdStream, Permit)>> {
        let listener = self.listener.into_std()?;
        let mut waiting = Vec::new();
        while let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned()
            && let Ok((stream, _)) = listener.accept()
        {
            stream.set_nonblocking(true)?;
            waiting.push((stream, permit));
        }
        Ok(waiting)
    }
}
