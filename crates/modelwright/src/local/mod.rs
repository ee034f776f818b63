//! `modelwright run`: the whole way from manifests to endpoints, in one process on one machine.

mod folder;
mod manifests;
mod request;
mod source;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode as ProcessExit;
use std::sync::Arc;
use std::time::{Duration, Instant};

use modelwright_api::contract::ExitCode;
use modelwright_api::defaults::ResolvedServing;
use modelwright_runtime::{Library, LoadedModel};
use modelwright_server::{Drain, ModelState, ReadyModel, Registry, Server, ServerConfig};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::arguments::RunArguments;
use crate::failure::Failure;
use crate::local::folder::{DataFolder, ModelFolder};
use crate::local::manifests::{Entry, Secrets};
use crate::local::source::{Resolution, Source};
use crate::serving;
use crate::signals::Termination;
use crate::terminal::Terminal;

/// Sample requests of more elements than this are not made: nobody wants a file of hundreds of megabytes of zeros.
const MOST_SAMPLE_ELEMENTS: u64 = 1 << 20;

/// Runs it.
pub(crate) fn run(arguments: &RunArguments) -> ProcessExit {
    let terminal = Terminal::new();
    match prepare(arguments, &terminal).and_then(|prepared| serve(arguments, &terminal, prepared)) {
        Ok(code) => code,
        Err(failure) => {
            terminal.note(&format!("error: {}", failure.message));
            failure.exit.number().into()
        }
    }
}

/// What must be right before anything is fetched or served.
struct Prepared {
    entries: Vec<Entry>,
    secrets: Secrets,
    data: DataFolder,
}

fn prepare(arguments: &RunArguments, terminal: &Terminal) -> Result<Prepared, Failure> {
    let entries = manifests::read(&arguments.files)?;
    let secrets = Secrets::read(&arguments.secrets, &entries)?;
    for entry in &entries {
        let fields = entry.not_applied();
        if !fields.is_empty() {
            terminal.note(&format!(
                "note {}: not applied on this machine: {}",
                entry.name(),
                fields.join(", ")
            ));
        }
    }
    Library::load()?;
    let root = arguments.data_dir.clone().map_or_else(DataFolder::default_root, Ok)?;
    Ok(Prepared { entries, secrets, data: DataFolder::open(&root)? })
}

fn serve(arguments: &RunArguments, terminal: &Terminal, prepared: Prepared) -> Result<ProcessExit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::bug(format!("cannot start the runtime's threads: {error}")))?;
    let code = runtime.block_on(serve_until_told(arguments, terminal, prepared));
    // Loading a model cannot be interrupted; it must not keep a process from ending that was told to.
    runtime.shutdown_background();
    code
}

async fn serve_until_told(
    arguments: &RunArguments,
    terminal: &Terminal,
    prepared: Prepared,
) -> Result<ProcessExit, Failure> {
    let mut termination = Termination::listen()?;
    let registry = Arc::new(Registry::new());
    let bound = Server::bind(server_config(arguments, &prepared.entries)?, Arc::clone(&registry)).await?;
    let address = bound.data_addr();
    terminal.print(&format!("admin http://{}", bound.admin_addr()));
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(bound.run(async move {
        // A dropped sender means that this function is gone, which is a reason to stop, too.
        let _ = stopped.await;
    }));

    // Dropping `going_on` makes every deployment give up, whatever it waits for.
    let (going_on, ended) = watch::channel(());
    let mut deployments = JoinSet::new();
    for entry in prepared.entries {
        registry.loading(entry.name());
        let folder = prepared.data.model(entry.namespace(), entry.name());
        let deployment = Deployment {
            source: Source::new(&entry, &prepared.secrets, folder.clone()),
            folder,
            entry,
            registry: Arc::clone(&registry),
            terminal: terminal.clone(),
            address,
        };
        // Hashing gigabytes is work: on a thread of its own it does not delay requests to models that serve already.
        let (runtime, mut ended) = (tokio::runtime::Handle::current(), ended.clone());
        deployments.spawn_blocking(move || {
            runtime.block_on(async {
                tokio::select! {
                    result = deployment.deploy() => result,
                    _ = ended.changed() => Ok(()),
                }
            })
        });
    }
    let interrupted = tokio::select! {
        failures = failures(&mut deployments) => {
            let nobody_serves = registry.snapshot().values().all(|state| state.why_not_ready().is_some());
            match failures.into_iter().next() {
                Some(_) if arguments.once => return Ok(ProcessExit::from(1)),
                Some(failure) if nobody_serves => return Ok(failure.exit.number().into()),
                _ if arguments.once => return Ok(ProcessExit::SUCCESS),
                _ => false,
            }
        }
        () = termination.wait() => true,
    };
    if !interrupted {
        termination.wait().await;
    }
    terminal.note("stopping: requests in flight are finished");
    drop(going_on);
    failures(&mut deployments).await;
    let _ = stop.send(());
    server.await.map_err(|error| Failure::bug(format!("the server failed: {error}")))?;
    Ok(ProcessExit::SUCCESS)
}

fn server_config(arguments: &RunArguments, entries: &[Entry]) -> Result<ServerConfig, Failure> {
    let mut config = ServerConfig::default();
    for entry in entries {
        serving::admit(&mut config.bounds, serving(entry)?.max_request_bytes);
    }
    Ok(ServerConfig {
        listen: arguments.listen,
        admin_listen: arguments.admin_listen,
        // Nobody balances load over a laptop: there is nothing to wait for.
        drain: Drain { delay: Duration::ZERO, ..config.drain },
        ..config
    })
}

fn serving(entry: &Entry) -> Result<ResolvedServing, Failure> {
    entry
        .model
        .serving()
        .map_err(|error| Failure::new(ExitCode::InvalidConfiguration, "InvalidManifest", error.to_string()))
}

/// Waits for all Models and collects what went wrong, in the order in which it did.
async fn failures(deployments: &mut JoinSet<Result<(), Failure>>) -> Vec<Failure> {
    let mut failures = Vec::new();
    while let Some(done) = deployments.join_next().await {
        match done {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => failures.push(failure),
            Err(error) => failures.push(Failure::bug(error.to_string())),
        }
    }
    failures
}

/// One Model on its way to its endpoint.
struct Deployment {
    entry: Entry,
    source: Result<Source, Failure>,
    folder: ModelFolder,
    registry: Arc<Registry>,
    terminal: Terminal,
    address: SocketAddr,
}

impl Deployment {
    async fn deploy(self) -> Result<(), Failure> {
        let result = self.try_deploy().await;
        if let Err(failure) = &result
            && !self.is_ready()
        {
            self.terminal.note(&format!("failed {}: {}", self.entry.name(), failure.message));
            self.registry.failed(self.entry.name(), &*failure.reason, &*failure.message);
        }
        result
    }

    fn is_ready(&self) -> bool {
        matches!(self.registry.get(self.entry.name()), Some(ModelState::Ready(_)))
    }

    async fn try_deploy(&self) -> Result<(), Failure> {
        let source = self.source.as_ref().map_err(Clone::clone)?;
        let started = Instant::now();
        let progress = self.terminal.transfers_of(self.entry.name());
        let resolution = source.resolve(&*progress).await?;
        let fetched = started.elapsed();
        let name = self.entry.name();
        if resolution.repaired {
            self.terminal
                .note(&format!("note {name}: the revision on disk was damaged and has been fetched again"));
        }
        let serving = serving(&self.entry)?;
        let model = Arc::new(self.load(&resolution, &serving).await?);
        let ready = ReadyModel::new(resolution.revision.digest.id(), Arc::clone(&model))
            .with_fetch_time(fetched)
            .with_max_body_bytes(serving::bytes(serving.max_request_bytes));
        self.registry.ready(name, ready);
        self.announce(&model)?;
        if let Some(failure) = resolution.instead {
            let id = resolution.revision.digest.id();
            self.warn(&failure, &format!("serving the former revision {id}"));
            // A source out of reach says nothing about what it holds; one that holds something else is a failure.
            return if failure.is_outage() { Ok(()) } else { Err(failure) };
        }
        source.copy(&resolution, &*progress).await.inspect_err(|failure| {
            self.warn(failure, "the model is served, and the copy is tried again at the next start");
        })
    }

    /// Says what went wrong although the model is served.
    fn warn(&self, failure: &Failure, meanwhile: &str) {
        self.terminal.note(&format!("warning {}: {}; {meanwhile}", self.entry.name(), failure.message));
    }

    async fn load(&self, resolution: &Resolution, serving: &ResolvedServing) -> Result<LoadedModel, Failure> {
        let request = serving::from_manifest(&resolution.revision.folder, serving);
        let loading = tokio::task::spawn_blocking(move || LoadedModel::load(&request));
        match tokio::time::timeout(serving.startup_timeout, loading).await {
            Ok(Ok(loaded)) => Ok(loaded?),
            Ok(Err(error)) => Err(Failure::bug(format!("loading the model failed: {error}"))),
            Err(_) => Err(Failure::new(
                ExitCode::TryAgain,
                "StartupTimeout",
                format!(
                    "loading and warming up took longer than spec.serving.startupTimeout, {} s: write a longer one",
                    serving.startup_timeout.as_secs()
                ),
            )),
        }
    }

    /// Says that the model is ready, where, and how to call it.
    fn announce(&self, model: &LoadedModel) -> Result<(), Failure> {
        let name = self.entry.name();
        let url = format!("http://{}/v2/models/{name}", reachable(self.address));
        self.terminal.print(&format!("ready {name} {url}"));
        let infer = format!("{url}/infer");
        let Some(sample) = request::sample(model.signature(), MOST_SAMPLE_ELEMENTS) else { return Ok(()) };
        let curl = if request::is_long(&sample) {
            let file: PathBuf = self.folder.write_request(sample.as_bytes())?;
            request::curl_file(&infer, &file)
        } else {
            request::curl(&infer, &sample)
        };
        self.terminal.print(&format!("  {curl}"));
        Ok(())
    }
}

/// The address to write into a URL: one that can be connected to.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], v4.port())),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, v6.port()))
        }
        address => address,
    }
}
