//! The examples of the repository, each served by `modelwright run` from its manifest.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;

use crate::load::{self, Shape, Target};
use crate::peers::Setting;
use crate::process::Process;
use crate::table::Table;
use crate::wire::{self, Wire};

/// Measures an example: a request of its own, and a request for health, which is what HTTP alone costs.
pub(crate) fn run(
    setting: &Setting,
    example: &str,
    connections: &[usize],
    time: Duration,
) -> anyhow::Result<Table> {
    let folder = Path::new("examples").join(example);
    let body = fs::read(folder.join("request.json"))
        .with_context(|| format!("no {}/request.json", folder.display()))?;
    let data = setting.work.join(format!("data-{example}"));
    let cold = Example::start(setting, &folder, &data)?.start;
    let server = Example::start(setting, &folder, &data)?;
    let columns = ["request", "conn", "requests/s", "p50 ms", "p99 ms", "CPU µs", "PSS MB"];
    let mut table = Table::new(format!("{example}, {} bytes of request", body.len()), &columns);
    table.note(format!(
        "First answer {} ms after the start of the process, {} ms on data already fetched",
        cold.as_millis(),
        server.start.as_millis()
    ));
    let requests = [("live", wire::http_get("/v2/health/live")), ("infer", server.infer(&body))];
    for (name, request) in requests {
        let target = Target { address: server.address, wire: Wire::Json, request: Bytes::from(request) };
        for &connections in connections {
            let tree = server.process.tree()?;
            let shape = Shape { connections, warm_up: Duration::from_millis(500), time };
            let (seen, before, after) = load::run(&target, shape, || Ok(tree.cpu_time()))?;
            let cpu = after.saturating_sub(before).as_secs_f64() * 1e6 / seen.requests as f64;
            table.push(vec![
                name.to_owned(),
                connections.to_string(),
                format!("{:.0}", seen.per_second()),
                format!("{:.3}", seen.p50.as_secs_f64() * 1e3),
                format!("{:.3}", seen.p99.as_secs_f64() * 1e3),
                format!("{cpu:.1}"),
                format!("{:.0}", tree.memory()? as f64 / 1e6),
            ]);
        }
    }
    Ok(table)
}

/// A running example.
struct Example {
    process: Process,
    address: SocketAddr,
    path: String,
    start: Duration,
}

impl Example {
    fn start(setting: &Setting, folder: &Path, data: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(&setting.binary);
        command
            .arg("run")
            .arg(folder.join("model.yaml"))
            .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir"])
            .arg(data)
            .env("ORT_DYLIB_PATH", &setting.library);
        let log = setting.work.join("example.log");
        let begin = Instant::now();
        let mut process = Process::start(&mut command, &log)?;
        let (address, path) = loop {
            // `ready NAME URL`, once the model is.
            let url = fs::read_to_string(&log)?.lines().find_map(|line| {
                let (_, url) = line.strip_prefix("ready ")?.split_once(' ')?;
                let (address, path) = url.strip_prefix("http://")?.split_once('/')?;
                Some((address.parse().ok()?, format!("/{path}")))
            });
            match url {
                Some(url) => break url,
                None if process.has_ended()? || begin.elapsed() > Duration::from_mins(2) => {
                    bail!("{} is not ready:\n{}", folder.display(), process.log_tail())
                }
                None => sleep(Duration::from_millis(2)),
            }
        };
        let start = process.wait_ready(address, &format!("{path}/ready"), begin)?;
        Ok(Self { process, address, path, start })
    }

    fn infer(&self, body: &[u8]) -> Vec<u8> {
        let (path, length) = (&self.path, body.len());
        let head = format!(
            "POST {path}/infer HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        [head.as_bytes(), body].concat()
    }
}
