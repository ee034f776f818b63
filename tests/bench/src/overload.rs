//! Twice as many requests as the server can answer, for minutes: whether it refuses the rest at once, keeps its promises to
//! those that it takes, answers its probes, and takes no more memory.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::load::{self, Offered, Pace};
use crate::peers::{Kind, Server, Setting};
use crate::rounds::measure;
use crate::table::Table;
use crate::wire::Wire;

/// Connections of the closed loop that finds out what the server can answer.
const CLOSED: usize = 64;
/// Connections of the open loop: more than wait in the server's queue (256), so that the queue decides and not the load.
const OPEN: usize = 768;
/// How long half of what the server can answer is asked for.
const HALF_LOAD: Duration = Duration::from_secs(10);
/// How often the probes ask.
const PROBE: Duration = Duration::from_millis(100);

/// What the probes saw.
#[derive(Default)]
struct Probed {
    answers: usize,
    failures: usize,
    longest: Duration,
}

/// Offers half of the sustainable rate, and then twice as much as is sustainable for `time`.
pub(crate) fn run(
    setting: &Setting,
    model: (&str, &Path),
    effort: Duration,
    time: Duration,
) -> anyhow::Result<Table> {
    let title = format!(
        "Twice the sustainable rate for {:.0} min, {} model, JSON, at most {OPEN} requests at once",
        time.as_secs_f64() / 60.0,
        model.0
    );
    let columns = [
        "rate",
        "due/s",
        "200/s",
        "503/s",
        "other",
        "held back/s",
        "p50 ms of 200",
        "p99 ms of 200",
        "probes",
        "failed",
        "longest ms",
    ];
    let mut table = Table::new(title, &columns);
    let server = Server::start(Kind::Ours, setting, model.1)?;
    let sustainable = measure(&server, Wire::Json, CLOSED, effort)?.seen.per_second();
    let mut p99 = Vec::new();
    let mut memory = Vec::new();
    for (name, share, time) in [("half", 0.5, HALF_LOAD), ("twice", 2.0, time)] {
        eprintln!("{name} of {sustainable:.0} requests/s for {} s", time.as_secs());
        let pace = Pace { per_second: share * sustainable, time, connections: OPEN };
        let (offered, probed, seen) = watched(&server, pace)?;
        p99.push(offered.accepted.percentile(99).as_secs_f64());
        table.push(row(name, pace, &offered, &probed));
        if let Some(message) = offered.first_failure {
            table.note(format!("At {name} the sustainable rate, the first other answer was: {message}"));
        }
        memory = seen;
    }
    table.note(format!(
        "Sustainable with {CLOSED} connections: {sustainable:.0} requests/s. The p99 of those that were accepted is {:.1} times that at half the rate",
        p99[1] / p99[0]
    ));
    let megabytes: Vec<String> = memory.iter().map(|bytes| format!("{:.0}", *bytes as f64 / 1e6)).collect();
    table.note(format!(
        "PSS at the start, the middle and the end of the overload: {} MB; the load runs on the same processors",
        megabytes.join(", ")
    ));
    Ok(table)
}

/// Offers requests beside probes, and reads the server's memory at the start, in the middle and at the end.
fn watched(server: &Server, pace: Pace) -> anyhow::Result<(Offered, Probed, Vec<u64>)> {
    let tree = server.process.tree()?;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| server.admin.map(|admin| probe(admin, &over)).unwrap_or_default());
        let memory = scope.spawn(|| {
            let begin = Instant::now();
            let at = [0.05, 0.5, 0.95].map(|share| {
                sleep(pace.time.mul_f64(share).saturating_sub(begin.elapsed()));
                tree.memory()
            });
            at.into_iter().collect::<anyhow::Result<Vec<_>>>()
        });
        let offered = load::offer(&server.target(Wire::Json), pace);
        over.store(true, Ordering::Relaxed);
        let ended = |_| anyhow::anyhow!("a thread that watches panicked");
        let (probed, memory) = (asking.join().map_err(ended)?, memory.join().map_err(ended)??);
        Ok((offered?, probed, memory))
    })
}

/// Asks both probes of the admin port again and again.
fn probe(admin: SocketAddr, over: &AtomicBool) -> Probed {
    let mut probed = Probed::default();
    while !over.load(Ordering::Relaxed) {
        for path in ["/livez", "/readyz"] {
            let asked = Instant::now();
            match load::get(admin, path) {
                Ok(_) => probed.answers += 1,
                Err(_) => probed.failures += 1,
            }
            probed.longest = probed.longest.max(asked.elapsed());
        }
        sleep(PROBE);
    }
    probed
}

fn row(name: &str, pace: Pace, offered: &Offered, probed: &Probed) -> Vec<String> {
    let per_second = |count: f64| format!("{:.0}", count / offered.elapsed.as_secs_f64());
    let milliseconds = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e3);
    vec![
        name.to_owned(),
        format!("{:.0}", pace.per_second),
        per_second(offered.accepted.count() as f64),
        per_second(offered.refused as f64),
        offered.failed.to_string(),
        per_second(offered.held_back as f64),
        milliseconds(offered.accepted.percentile(50)),
        milliseconds(offered.accepted.percentile(99)),
        probed.answers.to_string(),
        probed.failures.to_string(),
        milliseconds(probed.longest),
    ]
}
