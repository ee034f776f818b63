//! The threads that serve the data port.
//!
//! Each has a runtime of its own that no other thread steals from: a request is read, computed and answered without
//! waking another thread. One acceptor deals connections to the thread with the fewest, in turns where several have as
//! few; hashing by the kernel (`SO_REUSEPORT`) would leave threads idle when there are few connections.

use std::net::TcpStream as StdStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Request;
use hyper::body::Incoming;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::acceptor::Permit;
use crate::access::Tls;
use crate::answer::Outgoing;
use crate::config::Bounds;
use crate::connection::Connections;
use crate::error::Error;
use crate::ticks;

/// How many connections each thread has.
#[derive(Debug, Clone)]
pub(crate) struct OpenConnections(Arc<[Arc<AtomicUsize>]>);

/// A connection's place on its thread, and its place among all.
#[derive(Debug)]
struct Place {
    open: Arc<AtomicUsize>,
    _permit: Permit,
}

#[derive(Debug)]
enum Command {
    Serve(StdStream, Place),
    Finish,
}

/// The running threads. Dropping them ends them, with whatever they have.
#[derive(Debug)]
pub(crate) struct IoThreads {
    threads: Vec<IoThread>,
    open: OpenConnections,
    next: usize,
}

#[derive(Debug)]
struct IoThread {
    commands: UnboundedSender<Command>,
    finished: oneshot::Receiver<()>,
}

impl OpenConnections {
    pub(crate) fn new(threads: usize) -> Self {
        Self((0..threads).map(|_| Arc::default()).collect())
    }

    pub(crate) fn counts(&self) -> Vec<usize> {
        self.0.iter().map(|open| open.load(Ordering::Relaxed)).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl IoThreads {
    /// Starts a thread for each of the counts, all with this certificate. `on_start` is the first that a thread does, with its index; the handler
    /// answers the requests of all.
    pub(crate) fn start<H, F>(
        bounds: &Bounds,
        tls: Option<&Tls>,
        open: OpenConnections,
        on_start: fn(usize),
        handler: impl Fn() -> H,
    ) -> Result<Self, Error>
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Outgoing> + Send + 'static,
    {
        let start = |index| start(index, Connections::new(bounds, tls.cloned()), on_start, handler());
        let threads = (0..open.0.len()).map(start).collect::<Result<_, _>>()?;
        Ok(Self { threads, open, next: 0 })
    }

    /// Gives a connection to the thread with the fewest.
    pub(crate) fn deal(&mut self, stream: StdStream, permit: Permit) {
        let chosen = least_loaded(&self.open.counts(), self.next);
        self.next = chosen + 1;
        let open = Arc::clone(&self.open.0[chosen]);
        open.fetch_add(1, Ordering::Relaxed);
        if self.threads[chosen]
            .commands
            .send(Command::Serve(stream, Place { open, _permit: permit }))
            .is_err()
        {
            tracing::error!(thread = chosen, "an I/O thread has ended; a connection is closed");
        }
    }

    /// Lets every connection finish the requests that it has; completes when all have.
    pub(crate) fn finish(&mut self) -> impl Future<Output = ()> + use<> {
        let finished: Vec<_> = self
            .threads
            .iter_mut()
            .map(|thread| {
                // A thread that has ended has nothing to finish.
                let _ = thread.commands.send(Command::Finish);
                std::mem::replace(&mut thread.finished, oneshot::channel().1)
            })
            .collect();
        async move {
            for thread in finished {
                // An error says that the thread has ended.
                let _ = thread.await;
            }
        }
    }
}

/// The place with the fewest, and of several the first from `next` on.
fn least_loaded(loads: &[usize], next: usize) -> usize {
    let count = loads.len().max(1);
    (0..count)
        .map(|step| (next + step) % count)
        .min_by_key(|&index| loads.get(index).copied().unwrap_or(usize::MAX))
        .unwrap_or(0)
}

fn start<H, F>(
    index: usize,
    connections: Connections,
    on_start: fn(usize),
    handler: H,
) -> Result<IoThread, Error>
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Outgoing> + Send + 'static,
{
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Error::IoThread)?;
    let (commands, received) = unbounded_channel();
    let (done, finished) = oneshot::channel();
    std::thread::Builder::new()
        .name(format!("io-{index}"))
        .spawn(move || {
            on_start(index);
            run(runtime, connections, received, &handler);
            let _ = done.send(());
        })
        .map_err(Error::IoThread)?;
    Ok(IoThread { commands, finished })
}

fn run<H, F>(
    runtime: Runtime,
    connections: Connections,
    mut commands: UnboundedReceiver<Command>,
    handler: &H,
) where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Outgoing> + Send + 'static,
{
    runtime.block_on(async move {
        ticks::start();
        while let Some(command) = commands.recv().await {
            match command {
                Command::Serve(stream, place) => match TcpStream::from_std(stream) {
                    Ok(stream) => drop(connections.serve(stream, place, handler)),
                    Err(error) => tracing::warn!(%error, "cannot serve a connection"),
                },
                Command::Finish => {
                    tokio::select! {
                        () = connections.finish() => {}
                        // The other end was dropped: there is no more time.
                        _ = commands.recv() => {}
                    }
                    return;
                }
            }
        }
    });
    // Parsing that still goes on for nobody need not be waited for.
    runtime.shutdown_background();
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::in_turns(&[0, 0, 0], 0, 0)]
    #[case::from_next(&[0, 0, 0], 2, 2)]
    #[case::around(&[1, 1, 1], 3, 0)]
    #[case::fewest(&[3, 1, 2], 0, 1)]
    #[case::fewest_from_next(&[1, 2, 1], 1, 2)]
    #[case::one(&[7], 5, 0)]
    fn connections_go_to_the_thread_with_the_fewest(
        #[case] loads: &[usize],
        #[case] next: usize,
        #[case] chosen: usize,
    ) {
        assert_eq!(least_loaded(loads, next), chosen);
    }

    #[test]
    fn every_thread_says_its_index_before_it_serves() {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let handler = || |_| std::future::ready(Outgoing::new(bytes::Bytes::new().into()));
        let count = 3;
        let start = |index| {
            STARTED.fetch_add(1_usize << (8 * index), Ordering::SeqCst);
        };
        let mut threads =
            IoThreads::start(&Bounds::default(), None, OpenConnections::new(count), start, handler).unwrap();
        Builder::new_current_thread().build().unwrap().block_on(threads.finish());
        assert_eq!(STARTED.load(Ordering::SeqCst), 0x01_01_01);
    }
}
