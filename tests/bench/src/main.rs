//! The bench of the inference server: ours and its peers on the same models and requests, by turns, under the same load.
//!
//! `cargo xtask bench server` builds and runs it; `docs/performance.md` says what the columns mean. Everything happens on
//! loopback. Every server is a process of its own, also those that this program is itself, so that all are measured alike:
//! from outside.
#![forbid(unsafe_code)]

mod builtin;
mod cgroup;
mod conditions;
mod examples;
mod load;
mod machine;
mod model;
mod overload;
mod parts;
mod peers;
mod process;
mod rounds;
mod session;
mod table;
mod wire;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};

use conditions::Effort;
use model::Size;
use peers::{Kind, Server, Setting};
use table::Table;
use wire::Wire;

/// Measure the inference server beside its peers: requests per second, latency, CPU time, memory, start. What the columns mean
/// is in docs/performance.md.
#[derive(Parser)]
#[command(
    bin_name = "cargo xtask bench server",
    max_term_width = 110,
    args_conflicts_with_subcommands = true
)]
struct Arguments {
    #[command(subcommand)]
    builtin: Option<Builtin>,
    #[command(flatten)]
    options: Options,
}

// A comment for documentation here would replace the sentence above in the help.
#[derive(Args)]
struct Options {
    /// The peers to measure beside ours and the floor of HTTP. Those in Python are installed into the cache folder when
    /// they are first named, furnace and Triton's library are built there.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "naive")]
    peers: Vec<Kind>,
    /// The models to serve.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["small", "large"])]
    models: Vec<Size>,
    /// The forms of the request.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["json", "binary", "grpc"])]
    wires: Vec<Wire>,
    /// Connections, each with one request at a time.
    #[arg(long, value_delimiter = ',', default_values = ["1", "8", "64"])]
    connections: Vec<usize>,
    /// How often each measurement is made; medians are shown.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of one measurement.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// What to measure.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["alone", "rounds", "neighbour", "quota"])]
    parts: Vec<Part>,
    /// Minutes of the part `overload`.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// The examples that the part `examples` measures: names of folders under examples/.
    #[arg(long, value_delimiter = ',', value_name = "NAMES", default_values = ["iris-classifier", "image-classifier"])]
    examples: Vec<String>,
    /// A built `modelwright` to measure instead of this tree's.
    #[arg(long, value_name = "PATH", default_value = "target/release/modelwright")]
    binary: PathBuf,
    /// One more argument for `modelwright serve`; may be repeated.
    #[arg(long = "server-argument", value_name = "ARGUMENT", allow_hyphen_values = true)]
    arguments: Vec<String>,
    /// Also write the tables to this file, as Markdown.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Start, memory and threads, each server alone.
    Alone,
    /// Requests per second, latencies and CPU time, all servers by turns, and ours beside the sum of its parts.
    Rounds,
    /// What a busy neighbour does to ours and to the naive server.
    Neighbour,
    /// What a quota of one processor does to ours.
    Quota,
    /// Twice the requests that ours can answer, for minutes: what it refuses, what those wait that it takes, its memory and
    /// its probes.
    Overload,
    /// Examples of the repository, served by `modelwright run`; once, not for each model.
    Examples,
}

/// Servers that this program is itself.
#[derive(Subcommand)]
enum Builtin {
    #[command(hide = true)]
    Floor { listen: SocketAddr },
    #[command(hide = true)]
    Naive { listen: SocketAddr, model: PathBuf },
    #[command(hide = true)]
    Neighbour,
}

fn main() -> ExitCode {
    let Arguments { builtin, options } = Arguments::parse();
    let outcome = match builtin {
        Some(Builtin::Floor { listen }) => builtin::floor(listen),
        Some(Builtin::Naive { listen, model }) => builtin::naive(listen, &model),
        Some(Builtin::Neighbour) => builtin::neighbour(),
        None => bench(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(options: &Options) -> anyhow::Result<()> {
    ensure!(options.rounds > 0 && options.seconds > 0, "--rounds and --seconds must be 1 or more");
    ensure!(options.minutes > 0, "--minutes must be 1 or more");
    ensure!(options.connections.iter().all(|&count| count > 0), "--connections must be 1 or more");
    let environment = session::load_library()?;
    let work = tempfile::Builder::new().prefix("modelwright-bench-").tempdir()?;
    clean_up_when_told_to_end(work.path().to_owned())?;
    let setting = Setting {
        binary: options.binary.canonicalize().with_context(|| format!("no {}", options.binary.display()))?,
        arguments: options.arguments.clone(),
        library: std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from).unwrap_or_default(),
        work: work.path().to_owned(),
    };
    let mut peers = options.peers.clone();
    peers.retain(|&kind| {
        let installed = peers::install(kind);
        if let Err(error) = &installed {
            eprintln!("FAILED: {error:#}");
        }
        installed.is_ok()
    });
    let kinds: Vec<Kind> = [Kind::Ours, Kind::Floor].into_iter().chain(peers).collect();
    let machine = machine::description();
    println!("{machine}");
    let mut report = Report { markdown: format!("{machine}.\n"), file: options.markdown.clone() };
    let of_models = options.parts.iter().any(|&part| part != Part::Examples);
    for &size in options.models.iter().filter(|_| of_models) {
        let file = work.path().join(format!("{}.onnx", size.name()));
        size.write(&file)?;
        measure_model(options, &setting, &kinds, (size.name(), &file), &environment, &mut report)?;
    }
    for example in options.examples.iter().filter(|_| options.parts.contains(&Part::Examples)) {
        let time = Duration::from_secs(options.seconds);
        report.add(&examples::run(&setting, example, &options.connections, time)?)?;
    }
    Ok(())
}

fn measure_model(
    options: &Options,
    setting: &Setting,
    kinds: &[Kind],
    model: (&str, &Path),
    environment: &ort::environment::Environment,
    report: &mut Report,
) -> anyhow::Result<()> {
    let effort = Effort { rounds: options.rounds, time: Duration::from_secs(options.seconds) };
    for part in &options.parts {
        match part {
            Part::Alone => report.add(&conditions::alone(setting, model, kinds, effort)?)?,
            Part::Rounds => {
                let servers = start_all(setting, model.1, kinds, environment)?;
                let plan = rounds::Plan {
                    wires: &options.wires,
                    connections: &options.connections,
                    rounds: options.rounds,
                    time: effort.time,
                };
                for table in rounds::run(&plan, model, &servers, environment)? {
                    report.add(&table)?;
                }
            }
            Part::Neighbour => {
                let compared: Vec<Kind> =
                    kinds.iter().copied().filter(|kind| matches!(kind, Kind::Ours | Kind::Naive)).collect();
                report.add(&conditions::neighbour(setting, model, &compared, effort)?)?;
            }
            Part::Quota => report.add(&conditions::quota(setting, model, effort)?)?,
            Part::Overload => {
                let time = Duration::from_secs(60 * options.minutes);
                report.add(&overload::run(setting, model, effort.time, time)?)?;
            }
            Part::Examples => {}
        }
    }
    Ok(())
}

/// Starts all servers. A peer that does not start, or computes something else than the model, is left out and named.
fn start_all(
    setting: &Setting,
    model: &Path,
    kinds: &[Kind],
    environment: &ort::environment::Environment,
) -> anyhow::Result<Vec<Server>> {
    let expected = parts::expected(environment, model)?;
    let mut servers = Vec::new();
    for &kind in kinds {
        let started = Server::start(kind, setting, model).and_then(|server| {
            server.check(expected)?;
            Ok(server)
        });
        match started {
            Ok(server) => servers.push(server),
            Err(error) if kind.is_peer() => eprintln!("FAILED: {error:#}"),
            Err(error) => return Err(error),
        }
    }
    Ok(servers)
}

/// The tables: printed as they come, and written to a file each time, so that an interrupted bench leaves what it has.
struct Report {
    markdown: String,
    file: Option<PathBuf>,
}

impl Report {
    fn add(&mut self, table: &Table) -> anyhow::Result<()> {
        println!("{table}");
        write!(self.markdown, "\n{}", table.markdown())?;
        let Some(file) = &self.file else { return Ok(()) };
        std::fs::write(file, &self.markdown).with_context(|| format!("cannot write {}", file.display()))
    }
}

/// Who ends the bench means its servers, too, and wants nothing to be left.
fn clean_up_when_told_to_end(work: PathBuf) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut terminate = {
        let _inside = runtime.enter();
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        });
        process::end_all();
        cgroup::remove_own();
        // What cannot be deleted is in the folder for temporary files.
        let _ = std::fs::remove_dir_all(work);
        std::process::exit(130);
    });
    Ok(())
}
