//! Servers one at a time: how fast they start, what memory they take, and what a busy neighbour or a quota does to them.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;

use crate::cgroup::Quota;
use crate::load;
use crate::machine::processors;
use crate::peers::{Kind, Server, Setting};
use crate::process::Process;
use crate::rounds::{Sample, measure, median};
use crate::table::Table;
use crate::wire::Wire;

/// Connections where servers are loaded.
const CONNECTIONS: usize = 64;

/// How often and how long.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    pub(crate) time: Duration,
}

/// Time from the start of the process to the first 200, memory and threads; each server alone on the machine, so that nobody
/// shares the pages of its libraries.
pub(crate) fn alone(
    setting: &Setting,
    model: (&str, &Path),
    kinds: &[Kind],
    effort: Effort,
) -> anyhow::Result<Table> {
    let columns = ["server", "first 200, ms", "PSS MB", "PSS MB under load", "threads"];
    let mut table = Table::new(format!("Start and memory, {} model", model.0), &columns);
    for &kind in kinds {
        let mut measured = Vec::new();
        for round in 1..=effort.rounds {
            eprintln!("{} alone, round {round} of {}", kind.title(), effort.rounds);
            match one_alone(setting, model.1, kind) {
                Ok(values) => measured.push(values),
                Err(error) if kind.is_peer() => eprintln!("FAILED: {error:#}"),
                Err(error) => return Err(error),
            }
        }
        // The middle one by its start.
        measured.sort_by(|a, b| a[0].total_cmp(&b[0]));
        let Some(middle) = measured.get(measured.len() / 2) else { continue };
        let cells = middle.iter().map(|value| format!("{value:.0}"));
        table.push(std::iter::once(kind.title().to_owned()).chain(cells).collect());
    }
    Ok(table)
}

fn one_alone(setting: &Setting, model: &Path, kind: Kind) -> anyhow::Result<[f64; 4]> {
    const MEGABYTE: f64 = 1e6;
    let server = Server::start(kind, setting, model)?;
    let fresh = server.process.tree()?.memory()? as f64;
    measure(&server, Wire::Json, CONNECTIONS, Duration::from_secs(1))?;
    let tree = server.process.tree()?;
    let loaded = tree.memory()? as f64;
    Ok([server.start.as_secs_f64() * 1e3, fresh / MEGABYTE, loaded / MEGABYTE, tree.threads() as f64])
}

/// Requests per second and CPU time with a neighbour that keeps one processor busy, beside those without.
pub(crate) fn neighbour(
    setting: &Setting,
    model: (&str, &Path),
    kinds: &[Kind],
    effort: Effort,
) -> anyhow::Result<Table> {
    let columns =
        ["server", "requests/s", "with neighbour", "share", "CPU µs", "with neighbour", "times", "strangers"];
    let title = format!("A busy neighbour on one of {} processors, {} model, JSON", processors(), model.0);
    let mut table = Table::new(title, &columns);
    for &kind in kinds {
        let server = Server::start(kind, setting, model.1)?;
        let (mut quiet, mut busy) = (Vec::new(), Vec::new());
        for round in 1..=effort.rounds {
            eprintln!("{} with a neighbour, round {round} of {}", kind.title(), effort.rounds);
            quiet.push(measure(&server, Wire::Json, CONNECTIONS, effort.time)?);
            let mut program = Command::new(std::env::current_exe()?);
            let neighbour = Process::start(program.arg("neighbour"), &setting.work.join("neighbour.log"))?;
            busy.push(measure(&server, Wire::Json, CONNECTIONS, effort.time)?);
            drop(neighbour);
        }
        let rate = |samples: &[Sample]| median(samples, |sample| sample.seen.per_second());
        let cpu = |samples: &[Sample]| median(samples, |sample| sample.cpu);
        table.push(vec![
            kind.title().to_owned(),
            format!("{:.0}", rate(&quiet)),
            format!("{:.0}", rate(&busy)),
            format!("{:.0} %", 100.0 * rate(&busy) / rate(&quiet)),
            format!("{:.1}", cpu(&quiet)),
            format!("{:.1}", cpu(&busy)),
            format!("{:.2}", cpu(&busy) / cpu(&quiet)),
            format!("{:.2}", median(&quiet, |sample| sample.strangers)),
        ]);
    }
    table.note("The load needs a processor, too: it shares what is left with the server. Strangers are those without the neighbour");
    Ok(table)
}

/// Our server in a cgroup with the quota of one processor: its threads, how often it is throttled, and reloads under load.
pub(crate) fn quota(setting: &Setting, model: (&str, &Path), effort: Effort) -> anyhow::Result<Table> {
    let columns = ["load", "requests/s", "p50 ms", "p99 ms", "errors", "threads", "throttled ms/s"];
    let mut table = Table::new(format!("A quota of one processor, {} model, JSON", model.0), &columns);
    let quota = match Quota::of_processors(1) {
        Ok(quota) => quota,
        Err(error) => {
            table.note(format!(
                "Not measured: this machine gives the bench no cgroup with a quota ({error:#})"
            ));
            return Ok(table);
        }
    };
    let server = Server::start_wrapped(Kind::Ours, setting, model.1, |command| quota.enter(&command))?;
    for connections in [1, 8, CONNECTIONS] {
        let before = quota.throttled()?;
        let sample = measure(&server, Wire::Json, connections, effort.time)?;
        let throttled = quota.throttled()?.saturating_sub(before);
        table.push(quota_row(format!("{connections} conn"), &sample, throttled, &server)?);
    }
    let before = quota.throttled()?;
    match with_reloads(&server, effort.time)? {
        Some((sample, reloads)) => {
            let throttled = quota.throttled()?.saturating_sub(before);
            table.push(quota_row(format!("8 conn, {reloads} reloads"), &sample, throttled, &server)?);
        }
        None => table.note(
            "No reloads: the server does not control its repository (`--server-argument=--repository-control`)",
        ),
    }
    // The folder of a cgroup can be removed once nobody is in it.
    drop(server);
    Ok(table)
}

fn quota_row(
    name: String,
    sample: &Sample,
    throttled: Duration,
    server: &Server,
) -> anyhow::Result<Vec<String>> {
    let milliseconds = |time: Duration| format!("{:.3}", time.as_secs_f64() * 1e3);
    Ok(vec![
        name,
        format!("{:.0}", sample.seen.per_second()),
        milliseconds(sample.seen.p50),
        milliseconds(sample.seen.p99),
        sample.seen.errors.to_string(),
        server.process.tree()?.threads().to_string(),
        format!("{:.0}", throttled.as_secs_f64() * 1e3 / sample.seen.elapsed.as_secs_f64()),
    ])
}

/// Loads the server while its model is loaded anew again and again; nothing if the server does not do that.
fn with_reloads(server: &Server, time: Duration) -> anyhow::Result<Option<(Sample, usize)>> {
    if server.reload().is_err() {
        return Ok(None);
    }
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reloads = scope.spawn(|| {
            let mut count = 0;
            while !over.load(Ordering::Relaxed) {
                server.reload()?;
                count += 1;
            }
            anyhow::Ok(count)
        });
        let sample = measure(server, Wire::Json, 8, time);
        over.store(true, Ordering::Relaxed);
        let reloads = reloads.join().map_err(|_| anyhow::anyhow!("the thread that reloads panicked"))?;
        Ok(Some((sample?, reloads.context("a reload failed")?)))
    })
}

impl Server {
    /// Has the model loaded anew, and waits for it.
    fn reload(&self) -> anyhow::Result<()> {
        let admin = self.admin.context("no admin port")?;
        let path = format!("/v2/repository/models/{}/load", crate::wire::MODEL);
        let head = format!("POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 0\r\n\r\n");
        load::once(admin, head.as_bytes()).map(drop)
    }
}
