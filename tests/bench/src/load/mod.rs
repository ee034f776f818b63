//! The load: closed loops on keep-alive connections, all on one thread, as cheap as the system calls allow.
//!
//! The load shares the processors with the server that it measures. So requests are bytes that are made once, answers are
//! read just far enough to find their end and status, and there is no HTTP library between.

mod grpc;
mod http;
mod open;

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

pub(crate) use http::get;
pub(crate) use open::{Offered, Pace, offer};

use crate::wire::Wire;

/// What is sent, and to whom.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) wire: Wire,
    /// For HTTP/1.1 the whole request, for gRPC the framed message.
    pub(crate) request: bytes::Bytes,
}

/// For how long, on how many connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) connections: usize,
    /// Not counted: connections are made, caches and batchers settle.
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
}

/// What one run of the load saw.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Requests that were answered in the time that counts.
    pub(crate) requests: usize,
    /// Answers other than 200, and connections that broke, at any time of the run.
    pub(crate) errors: usize,
    pub(crate) elapsed: Duration,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Seen {
    pub(crate) fn per_second(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }
}

/// Runs the load. `sample` is called when the counted time begins and when it ends.
pub(crate) fn run<S>(
    target: &Target,
    shape: Shape,
    mut sample: impl FnMut() -> anyhow::Result<S>,
) -> anyhow::Result<(Seen, S, S)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let state = Rc::new(State::default());
    let local = LocalSet::new();
    let measured = local.block_on(&runtime, async {
        let loops: Vec<_> = (0..shape.connections)
            .map(|_| tokio::task::spawn_local(closed_loop(target.clone(), Rc::clone(&state))))
            .collect();
        tokio::time::sleep(shape.warm_up).await;
        let before = sample()?;
        let begin = Instant::now();
        state.phase.set(Phase::Counted);
        tokio::time::sleep(shape.time).await;
        state.phase.set(Phase::Over);
        let elapsed = begin.elapsed();
        let after = sample()?;
        let mut latencies = Vec::new();
        for each in loops {
            // An answer that takes longer than this is no answer.
            match tokio::time::timeout(Duration::from_secs(10), each).await {
                Ok(seen) => latencies.extend(seen?),
                Err(_) => state.error("no answer for 10 seconds".to_owned()),
            }
        }
        anyhow::Ok((latencies, elapsed, before, after))
    });
    let (mut latencies, elapsed, before, after) = measured?;
    let first_error = state.first_error.take();
    ensure!(
        !latencies.is_empty(),
        "no request was answered with success in {elapsed:?}: {}",
        first_error.as_deref().unwrap_or("there was no answer at all")
    );
    latencies.sort_unstable();
    let seen = Seen {
        requests: latencies.len(),
        errors: state.errors.get(),
        elapsed,
        p50: percentile(&latencies, 50),
        p99: percentile(&latencies, 99),
    };
    Ok((seen, before, after))
}

/// Where the value is that `percent` of all are not above; 0 for none.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(rank).copied().unwrap_or_default()
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Phase {
    #[default]
    WarmUp,
    Counted,
    Over,
}

/// What the loops of one run share.
#[derive(Default)]
struct State {
    phase: Cell<Phase>,
    errors: Cell<usize>,
    first_error: Cell<Option<String>>,
}

impl State {
    fn error(&self, message: String) {
        if self.errors.replace(self.errors.get() + 1) == 0 {
            self.first_error.set(Some(message));
        }
    }
}

/// One request after the other until the time is over; the latencies of those that counted.
async fn closed_loop(target: Target, state: Rc<State>) -> Vec<Duration> {
    let mut latencies = Vec::with_capacity(1 << 16);
    while state.phase.get() != Phase::Over {
        if let Err(error) = one_connection(&target, &state, &mut latencies).await {
            state.error(error.to_string());
            // Not in a tight loop against a server that is gone.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    latencies
}

async fn one_connection(target: &Target, state: &State, latencies: &mut Vec<Duration>) -> io::Result<()> {
    let mut connection = Connection::open(target).await?;
    while state.phase.get() != Phase::Over {
        let sent = Instant::now();
        let answer = connection.exchange().await?;
        match (answer, state.phase.get()) {
            (Answer::Success, Phase::Counted) => latencies.push(sent.elapsed()),
            (Answer::Success, _) => {}
            (Answer::Failure { message, .. }, _) => state.error(message),
        }
        if connection.ends() {
            break;
        }
    }
    Ok(())
}

/// What the server said.
enum Answer {
    Success,
    Failure {
        /// 503: it was refused to be tried again.
        overloaded: bool,
        message: String,
    },
}

enum Connection {
    Http(http::Connection),
    Grpc(grpc::Connection),
}

impl Connection {
    async fn open(target: &Target) -> io::Result<Self> {
        let stream = TcpStream::connect(target.address).await?;
        stream.set_nodelay(true)?;
        Ok(match target.wire {
            Wire::Json | Wire::Binary => Self::Http(http::Connection::new(stream, target.request.clone())),
            Wire::Grpc => Self::Grpc(grpc::Connection::open(stream, target.request.clone()).await?),
        })
    }

    async fn exchange(&mut self) -> io::Result<Answer> {
        match self {
            Self::Http(connection) => connection.exchange().await,
            Self::Grpc(connection) => connection.exchange().await,
        }
    }
}

impl Connection {
    /// Whether another request needs another connection. Of gRPC a connection that ends is one that breaks.
    fn ends(&self) -> bool {
        match self {
            Self::Http(connection) => connection.ends(),
            Self::Grpc(_) => false,
        }
    }
}

/// Sends one request on a connection of its own; the body of the answer, which must be 200.
pub(crate) fn once(address: SocketAddr, request: &[u8]) -> anyhow::Result<Vec<u8>> {
    http::once(address, request).with_context(|| format!("a request to {address}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let seconds = |numbers: &[u64]| numbers.iter().copied().map(Duration::from_secs).collect::<Vec<_>>();
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(percentile(&seconds(&hundred), 50), Duration::from_secs(50));
        assert_eq!(percentile(&seconds(&hundred), 99), Duration::from_secs(99));
        assert_eq!(percentile(&seconds(&[7]), 99), Duration::from_secs(7));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}
