//! Load on a Service from inside a cluster, as clients make it that keep their connections: an open loop, so that a slow
//! answer delays no other request, and nothing is sent twice.
//!
//! The environment says what is sent: `LOAD_RATE` requests a second, over `LOAD_HTTP_CONNECTIONS` connections of HTTP/1.1
//! to `LOAD_HTTP` (with `LOAD_PATH` and `/load/request.json`), and as many over `LOAD_GRPC_CONNECTIONS` of gRPC to
//! `LOAD_GRPC` (with `/load/request.grpc`). The log says what becomes of it. With `LOAD_FLOOD` it does something else: it
//! sends bodies to that address that are larger than a server has memory for.
mod client;
mod flood;
mod grpc;
mod http1;

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use bytes::Bytes;
use modelwright_e2e::disruption::record::{Counts, Failure, Line, Protocol, Tick};
use tokio::time::{MissedTickBehavior, interval};

use client::Problem;

const TICK: Duration = Duration::from_millis(200);
/// A client that gets no answer for so long gives up.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Calls of gRPC without an answer, beyond which none is begun: what a slow machine cannot do is not asked of it.
const MOST_OPEN: u64 = 64;

type Log = Rc<RefCell<Tick>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    if let Ok(address) = std::env::var("LOAD_FLOOD") {
        return flood::run(address.parse()?).await;
    }
    let log = Log::default();
    let tasks = tokio::task::LocalSet::new();
    tasks.spawn_local(generate(Protocol::Http, log.clone()));
    tasks.spawn_local(generate(Protocol::Grpc, log.clone()));
    tasks
        .run_until(async {
            let mut ticks = interval(TICK);
            loop {
                ticks.tick().await;
                log.borrow_mut().at = now();
                let tick = *log.borrow();
                say(&Line::Tick(tick));
            }
        })
        .await
}

/// One of the two loops. What is wrong with it ends the program: a test shall not wait for requests that nobody sends.
async fn generate(protocol: Protocol, log: Log) {
    let outcome = match protocol {
        Protocol::Http => http(log).await,
        Protocol::Grpc => grpc(log).await,
    };
    if let Err(error) = outcome {
        eprintln!("{protocol:?}: {error:#}");
        std::process::exit(1);
    }
}

async fn http(log: Log) -> anyhow::Result<()> {
    let count: usize = variable("LOAD_HTTP_CONNECTIONS")?;
    let target = Rc::new(http1::Target {
        address: variable("LOAD_HTTP")?,
        path: variable("LOAD_PATH")?,
        body: body("request.json")?,
    });
    // Those that nobody uses now; the one that waited longest is next, so that all are used.
    let idle = Rc::new(RefCell::new(
        (0..count).map(|_| http1::Connection::default()).collect::<std::collections::VecDeque<_>>(),
    ));
    let send = {
        let log = log.clone();
        move || {
            let connection = idle.borrow_mut().pop_front();
            let Some(mut connection) = connection else { return false };
            let (target, idle, log) = (target.clone(), idle.clone(), log.clone());
            tokio::task::spawn_local(async move {
                counted(Protocol::Http, &log, connection.exchange(&target)).await;
                idle.borrow_mut().push_back(connection);
            });
            true
        }
    };
    open_loop(Protocol::Http, count, &log, send).await
}

async fn grpc(log: Log) -> anyhow::Result<()> {
    let count: usize = variable("LOAD_GRPC_CONNECTIONS")?;
    let address: SocketAddr = variable("LOAD_GRPC")?;
    let message = body("request.grpc")?;
    let connections: Vec<_> = (0..count).map(|_| Rc::new(grpc::Connection::new(address))).collect();
    let turn = Cell::new(0);
    let send = {
        let log = log.clone();
        move || {
            if log.borrow().grpc.sent - log.borrow().grpc.ok - log.borrow().grpc.failed >= MOST_OPEN {
                return false;
            }
            let connection = connections[turn.replace(turn.get() + 1) % connections.len()].clone();
            let (message, log) = (message.clone(), log.clone());
            tokio::task::spawn_local(async move {
                counted(Protocol::Grpc, &log, connection.call(message)).await;
            });
            true
        }
    };
    open_loop(Protocol::Grpc, count, &log, send).await
}

/// Calls `send` so many times a second; where it says false, nothing could be sent.
async fn open_loop(
    protocol: Protocol,
    connections: usize,
    log: &Log,
    send: impl Fn() -> bool,
) -> anyhow::Result<()> {
    let rate: f64 = variable("LOAD_RATE")?;
    if connections == 0 {
        return Ok(());
    }
    let mut turns = interval(Duration::from_secs_f64(1.0 / rate));
    turns.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        turns.tick().await;
        if !send() {
            counts(&mut log.borrow_mut(), protocol).withheld += 1;
        }
    }
}

/// Counts a request and what becomes of it.
async fn counted(protocol: Protocol, log: &Log, request: impl Future<Output = Result<(), Problem>>) {
    let begun = now();
    counts(&mut log.borrow_mut(), protocol).sent += 1;
    let outcome = tokio::time::timeout(TIMEOUT, request).await.unwrap_or_else(|_| Err(Problem::timeout()));
    match outcome {
        Ok(()) => counts(&mut log.borrow_mut(), protocol).ok += 1,
        Err(Problem { kind, detail }) => {
            counts(&mut log.borrow_mut(), protocol).failed += 1;
            say(&Line::Failure(Failure { protocol, begun, ended: now(), kind, detail }));
        }
    }
}

fn counts(tick: &mut Tick, protocol: Protocol) -> &mut Counts {
    match protocol {
        Protocol::Http => &mut tick.http,
        Protocol::Grpc => &mut tick.grpc,
    }
}

fn say(line: &Line) {
    match serde_json::to_string(line) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("{error}"),
    }
}

fn body(file: &str) -> anyhow::Result<Bytes> {
    Ok(std::fs::read(format!("/load/{file}")).with_context(|| format!("cannot read {file}"))?.into())
}

fn variable<T: FromStr>(name: &str) -> anyhow::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text = std::env::var(name).with_context(|| format!("{name} is not set"))?;
    text.parse().with_context(|| format!("{name}={text} cannot be read"))
}

fn now() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
