//! `cargo xtask bench server`: measures the served examples on this machine, from outside, over loopback.
//!
//! The floor is the same server answering `GET /v2/health/live`: what HTTP alone costs. Figures of one run compare with
//! each other, not with another machine's; the CPU time per request is the one that survives a busy machine.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

/// Connections of one measurement each.
const CONCURRENCIES: [usize; 3] = [1, 8, 64];

/// Options of the bench of the server.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Seconds per measurement.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// The examples to measure: names of folders under examples/.
    #[arg(default_values = ["iris-classifier", "image-classifier"])]
    examples: Vec<String>,
}

pub(super) fn run(options: &Options) -> anyhow::Result<()> {
    let status =
        Command::new("cargo").args(["build", "--release", "--quiet", "--package", "modelwright"]).status()?;
    ensure!(status.success(), "the release build failed");
    for example in &options.examples {
        let folder = Path::new("examples").join(example);
        let request = folder.join("request.json");
        let body = fs::read(&request).with_context(|| format!("no {}", request.display()))?;
        let server = Server::start(&folder.join("model.yaml"))?;
        println!(
            "\n{example}: {} bytes of request; first answer {} ms after the start of the process, {} on data already fetched",
            body.len(),
            server.cold_start.as_millis(),
            format_args!("{} ms", warm_start(&folder, &server)?.as_millis())
        );
        let infer = post(&format!("{}/infer", server.path), &body);
        let live = b"GET /v2/health/live HTTP/1.1\r\nhost: bench\r\n\r\n".to_vec();
        println!(
            "{:<24} {:>5} {:>10} {:>9} {:>9} {:>12} {:>8}",
            "request", "conn", "requests/s", "p50 ms", "p99 ms", "CPU us/req", "PSS MB"
        );
        for (name, request) in [("live (HTTP floor)", &live), ("infer", &infer)] {
            for connections in CONCURRENCIES {
                let row = measure(&server, request, connections, Duration::from_secs(options.seconds))?;
                println!("{name:<24} {connections:>5} {row}");
            }
        }
    }
    Ok(())
}

/// A running `modelwright run` of one example.
struct Server {
    child: Child,
    address: String,
    path: String,
    data: PathBuf,
    cold_start: Duration,
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    fn start(manifest: &Path) -> anyhow::Result<Self> {
        let data = std::env::temp_dir().join(format!("modelwright-bench-{}", std::process::id()));
        Self::start_in(manifest, data)
    }

    fn start_in(manifest: &Path, data: PathBuf) -> anyhow::Result<Self> {
        let begin = Instant::now();
        let mut child = Command::new("target/release/modelwright")
            .arg("run")
            .arg(manifest)
            .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir"])
            .arg(&data)
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start target/release/modelwright")?;
        let mut stdout = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut line = String::new();
        let url = loop {
            line.clear();
            ensure!(stdout.read_line(&mut line)? > 0, "the server ended before the model was ready");
            if let Some(rest) = line.strip_prefix("ready ") {
                break rest.split_whitespace().nth(1).context("no URL in the ready line")?.to_owned();
            }
        };
        let rest = url.strip_prefix("http://").context("the URL is not http")?;
        let slash = rest.find('/').context("the URL has no path")?;
        let (address, path) = (rest[..slash].to_owned(), rest[slash..].to_owned());
        let mut connection = Connection::open(&address)?;
        connection.exchange(format!("GET {path}/ready HTTP/1.1\r\nhost: bench\r\n\r\n").as_bytes())?;
        Ok(Self { child, address, path, data, cold_start: begin.elapsed(), _stdout: stdout })
    }

    /// User and system time of the process so far.
    fn cpu_time(&self) -> anyhow::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The command in brackets may hold blanks; utime and stime are fields 14 and 15 (proc_pid_stat(5)).
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: u64 = fields
            .get(11..13)
            .context("short /proc/PID/stat")?
            .iter()
            .filter_map(|f| f.parse::<u64>().ok())
            .sum();
        // USER_HZ is 100 on every Linux that Rust runs on.
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Proportional set size in MB: the memory that this process is accountable for.
    fn memory(&self) -> anyhow::Result<u64> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        let line = rollup.lines().find(|line| line.starts_with("Pss:")).context("no Pss in smaps_rollup")?;
        let kilobytes: u64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
        Ok(kilobytes / 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The bench is over; what cannot be ended or deleted is no reason to fail.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.data);
    }
}

/// Starts the example again on a copy of the running server's data, and tells how long that took.
fn warm_start(folder: &Path, server: &Server) -> anyhow::Result<Duration> {
    let copy = server.data.with_extension("warm");
    let status = Command::new("cp").arg("-a").arg(&server.data).arg(&copy).status()?;
    ensure!(status.success(), "cannot copy {}", server.data.display());
    Ok(Server::start_in(&folder.join("model.yaml"), copy)?.cold_start)
}

fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A keep-alive HTTP/1.1 connection.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    fn open(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { stream, buffer: Vec::with_capacity(64 << 10) })
    }

    /// Sends a request and reads the whole answer, which must be 200 and say its length.
    fn exchange(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(request)?;
        self.buffer.clear();
        let mut chunk = vec![0; 64 << 10];
        let end = loop {
            let read = self.stream.read(&mut chunk)?;
            ensure!(read > 0, "the server closed the connection");
            self.buffer.extend_from_slice(&chunk[..read]);
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let head = std::str::from_utf8(&self.buffer[..end])?.to_ascii_lowercase();
        if !head.starts_with("http/1.1 200") {
            bail!("the server answered {}", String::from_utf8_lossy(&self.buffer));
        }
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .context("no content-length")?;
        let length: usize = length.trim().parse()?;
        while self.buffer.len() < end + length {
            let read = self.stream.read(&mut chunk)?;
            ensure!(read > 0, "the server closed the connection inside an answer");
            self.buffer.extend_from_slice(&chunk[..read]);
        }
        Ok(())
    }
}

/// Runs closed loops on `connections` connections, and renders requests per second, latencies, CPU and memory.
fn measure(server: &Server, request: &[u8], connections: usize, time: Duration) -> anyhow::Result<String> {
    let (cpu, begin) = (server.cpu_time()?, Instant::now());
    let mut latencies = std::thread::scope(|scope| {
        let loops: Vec<_> =
            (0..connections).map(|_| scope.spawn(|| closed_loop(&server.address, request, time))).collect();
        let mut all = Vec::new();
        for each in loops {
            all.extend(each.join().map_err(|_| anyhow::anyhow!("a load thread panicked"))??);
        }
        anyhow::Ok(all)
    })?;
    let (elapsed, cpu) = (begin.elapsed(), server.cpu_time()?.saturating_sub(cpu));
    ensure!(!latencies.is_empty(), "no request finished");
    latencies.sort_unstable();
    let percentile = |p: usize| latencies[(latencies.len() - 1) * p / 100].as_secs_f64() * 1e3;
    let count = latencies.len() as f64;
    let mut row = String::new();
    write!(
        row,
        "{:>10.0} {:>9.3} {:>9.3} {:>12.1} {:>8}",
        count / elapsed.as_secs_f64(),
        percentile(50),
        percentile(99),
        cpu.as_secs_f64() * 1e6 / count,
        server.memory()?
    )?;
    Ok(row)
}

fn closed_loop(address: &str, request: &[u8], time: Duration) -> anyhow::Result<Vec<Duration>> {
    let mut connection = Connection::open(address)?;
    connection.exchange(request)?;
    let mut latencies = Vec::new();
    let begin = Instant::now();
    while begin.elapsed() < time {
        let sent = Instant::now();
        connection.exchange(request)?;
        latencies.push(sent.elapsed());
    }
    Ok(latencies)
}
