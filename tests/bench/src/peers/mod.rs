//! The servers that are measured: ours, and its peers, each started on the same model.

mod built;
mod furnace;
mod python;
mod triton;
mod venv;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::ValueEnum;

use crate::load::{self, Target};
use crate::process::{self, Process, free_port};
use crate::wire::{self, MODEL, Wire};

/// A server by its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub(crate) enum Kind {
    /// The server of this repository; always measured, first of all.
    #[value(skip)]
    Ours,
    /// hyper reading the body and answering a constant; always measured.
    #[value(skip)]
    Floor,
    /// hyper, `serde_json::Value`, one default session behind a lock.
    Naive,
    /// Triton 2.51 with ONNX Runtime in its process, by a backend of our own.
    Triton,
    /// Triton 2.51 with ONNX Runtime in its Python backend.
    TritonPython,
    /// furnace-server, the closest rival in Rust; needs minutes to build.
    Furnace,
    /// `MLServer` without its worker process, which makes it faster.
    Mlserver,
    /// KServe's Python server.
    Kserve,
    /// `LitServe` with batching.
    Litserve,
    /// `BentoML` with batching.
    Bentoml,
}

impl Kind {
    /// As it stands in tables.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Ours => "modelwright",
            Self::Floor => "HTTP floor",
            Self::Naive => "naive hyper + serde_json",
            Self::Triton => "Triton 2.51, ORT in process",
            Self::TritonPython => "Triton 2.51, Python backend",
            Self::Furnace => "furnace-server 0.16.2",
            Self::Mlserver => "MLServer 1.7.1, in process",
            Self::Kserve => "KServe 0.21",
            Self::Litserve => "LitServe 0.2.19, batching",
            Self::Bentoml => "BentoML 1.4.39, batching",
        }
    }

    /// Whether it is somebody else's, without which the bench goes on.
    pub(crate) fn is_peer(self) -> bool {
        !matches!(self, Self::Ours | Self::Floor)
    }

    /// Whether it understands a form of the request.
    pub(crate) fn speaks(self, wire: Wire) -> bool {
        match wire {
            Wire::Json => true,
            // The floor reads any body.
            Wire::Binary => {
                matches!(
                    self,
                    Self::Ours
                        | Self::Floor
                        | Self::Triton
                        | Self::TritonPython
                        | Self::Furnace
                        | Self::Kserve
                )
            }
            Wire::Grpc => matches!(self, Self::Ours | Self::Triton | Self::TritonPython | Self::Furnace),
        }
    }

    fn infer_path(self) -> String {
        match self {
            Self::Litserve => "/predict".to_owned(),
            Self::Bentoml => "/infer".to_owned(),
            _ => format!("/v2/models/{MODEL}/infer"),
        }
    }

    fn ready_path(self) -> String {
        match self {
            Self::Litserve => "/health".to_owned(),
            Self::Bentoml => "/readyz".to_owned(),
            _ => format!("/v2/models/{MODEL}/ready"),
        }
    }
}

/// What is the same for all servers.
pub(crate) struct Setting {
    /// `modelwright`.
    pub(crate) binary: PathBuf,
    /// More arguments for `modelwright serve`.
    pub(crate) arguments: Vec<String>,
    /// ONNX Runtime's library.
    pub(crate) library: PathBuf,
    /// Where servers may write.
    pub(crate) work: PathBuf,
}

/// A server that has answered for the first time.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) process: Process,
    /// From the start of the process to the first 200 for its model.
    pub(crate) start: Duration,
    http: SocketAddr,
    grpc: SocketAddr,
    /// Where metrics and control are; only ours has that.
    pub(crate) admin: Option<SocketAddr>,
}

/// How one server is started.
struct Launch {
    command: Command,
    http: SocketAddr,
    grpc: SocketAddr,
    admin: Option<SocketAddr>,
}

impl Server {
    /// Starts a server on a model, and waits until it is ready.
    pub(crate) fn start(kind: Kind, setting: &Setting, model: &Path) -> anyhow::Result<Self> {
        Self::start_wrapped(kind, setting, model, |command| command)
    }

    /// The same, where `wrap` may put another program before the server's.
    pub(crate) fn start_wrapped(
        kind: Kind,
        setting: &Setting,
        model: &Path,
        wrap: impl FnOnce(Command) -> Command,
    ) -> anyhow::Result<Self> {
        let start = || {
            let launch = Launch::of(kind, setting, model)?;
            let mut command = wrap(launch.command);
            command.env("ORT_DYLIB_PATH", &setting.library).env("ORT_DISABLE_TELEMETRY", "1");
            let log = setting.work.join(format!("{kind:?}.log"));
            let begin = Instant::now();
            let mut process = Process::start(&mut command, &log)?;
            let start = process.wait_ready(launch.http, &kind.ready_path(), begin)?;
            anyhow::Ok(Self {
                kind,
                process,
                start,
                http: launch.http,
                grpc: launch.grpc,
                admin: launch.admin,
            })
        };
        start().with_context(|| kind.title())
    }

    pub(crate) fn target(&self, wire: Wire) -> Target {
        match wire {
            Wire::Json | Wire::Binary => Target {
                address: self.http,
                wire,
                request: wire::http_request(&self.kind.infer_path(), wire).into(),
            },
            Wire::Grpc => Target { address: self.grpc, wire, request: wire::grpc_message() },
        }
    }

    /// Refuses a server that does not compute what the model says.
    pub(crate) fn check(&self, expected: f64) -> anyhow::Result<()> {
        if self.kind == Kind::Floor {
            return Ok(());
        }
        let check = || {
            let body = load::once(self.http, &self.target(Wire::Json).request)?;
            let number = wire::prediction(&body)?;
            ensure!((number - expected).abs() < 1e-4, "predicts {number} where the model says {expected}");
            Ok(())
        };
        check().with_context(|| format!("{}; its log:\n{}", self.kind.title(), self.process.log_tail()))
    }

    /// Metrics in Prometheus' format, where the server has them.
    pub(crate) fn metrics(&self) -> anyhow::Result<Option<String>> {
        self.admin.map(|address| load::get(address, "/metrics")).transpose()
    }
}

impl Launch {
    fn of(kind: Kind, setting: &Setting, model: &Path) -> anyhow::Result<Self> {
        match kind {
            Kind::Ours => ours(setting, model),
            Kind::Floor => builtin("floor", None),
            Kind::Naive => builtin("naive", Some(model)),
            Kind::Triton => triton::launch(triton::Backend::InProcess, setting, model),
            Kind::TritonPython => triton::launch(triton::Backend::Python, setting, model),
            Kind::Furnace => furnace::launch(model),
            Kind::Mlserver => python::mlserver(setting, model),
            Kind::Kserve => python::kserve(setting, model),
            Kind::Litserve => python::litserve(setting, model),
            Kind::Bentoml => python::bentoml(setting, model),
        }
    }

    fn new(command: Command) -> anyhow::Result<Self> {
        Ok(Self { command, http: free_port()?, grpc: free_port()?, admin: None })
    }
}

/// Installs what a peer needs, so that its start does not hold the install.
pub(crate) fn install(kind: Kind) -> anyhow::Result<()> {
    let installed = match kind {
        Kind::Ours | Kind::Floor | Kind::Naive => Ok(()),
        Kind::Triton => triton::install(triton::Backend::InProcess),
        Kind::TritonPython => triton::install(triton::Backend::Python),
        Kind::Furnace => furnace::install(),
        Kind::Mlserver => venv::MLSERVER.ensure().map(drop),
        Kind::Kserve => venv::KSERVE.ensure().map(drop),
        Kind::Litserve => venv::LITSERVE.ensure().map(drop),
        Kind::Bentoml => venv::BENTOML.ensure().map(drop),
    };
    installed.with_context(|| format!("{} cannot be installed", kind.title()))
}

/// The folder that keeps what peers are made of: `<cache>/bench`, where `<cache>` is the project's cache folder.
fn cache_folder() -> anyhow::Result<PathBuf> {
    Ok(modelwright_test_servers::cache_folder()?.join("bench"))
}

/// As the pods of a cluster do it: a fetched revision, then `serve`.
fn ours(setting: &Setting, model: &Path) -> anyhow::Result<Launch> {
    let model = model.canonicalize()?;
    let uri = format!("file://{}", model.display());
    let said = process::output(Command::new(&setting.binary).args(["resolve", "--uri", &uri]))?;
    let resolved: serde_json::Value = serde_json::from_str(&said).context("resolve said no JSON")?;
    let digest = resolved["digest"].as_str().context("resolve said no digest")?;
    let folder = setting.work.join(format!("revision-{}", digest.trim_start_matches("sha256:")));
    let mut fetch = Command::new(&setting.binary);
    process::output(fetch.args(["fetch", "--uri", &uri, "--digest", digest, "--out"]).arg(&folder))?;
    let mut launch = Launch::new(Command::new(&setting.binary))?;
    let admin = free_port()?;
    launch
        .command
        .args(["serve", "--name", MODEL, "--digest", digest, "--drain-delay", "0", "--model-dir"])
        .arg(&folder)
        .args(["--listen", &launch.http.to_string(), "--admin-listen", &admin.to_string()])
        .args(&setting.arguments);
    // gRPC is on the same port.
    launch.grpc = launch.http;
    launch.admin = Some(admin);
    Ok(launch)
}

/// A server that this program is itself.
fn builtin(name: &str, model: Option<&Path>) -> anyhow::Result<Launch> {
    let mut launch = Launch::new(Command::new(std::env::current_exe()?))?;
    launch.command.arg(name).arg(launch.http.to_string()).args(model);
    Ok(launch)
}
