//! `modelwright run`: the whole way from manifests to endpoints, in one process on one machine.

mod access;
mod deployment;
mod folder;
mod manifests;
mod offer;
mod request;
mod source;
mod training;

use std::process::ExitCode as ProcessExit;
use std::sync::Arc;
use std::time::Duration;

use modelwright_api::contract::ExitCode;
use modelwright_api::defaults::ResolvedServing;
use modelwright_artifact::AccessRules;
use modelwright_runtime::Library;
use modelwright_server::{Drain, PayloadLog, Registry, Server, ServerConfig};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::arguments::RunArguments;
use crate::failure::Failure;
use crate::local::deployment::{Deployment, Origin};
use crate::local::folder::DataFolder;
use crate::local::manifests::{Entry, Secrets};
use crate::serving;
use crate::signals::Termination;
use crate::terminal::Terminal;
use crate::training::Interruption;

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
    let access = crate::access::open(access::config(&prepared.entries, &prepared.secrets)?).await?;
    let scheme = crate::access::scheme(access.as_ref());
    let tracer = crate::outbound::tracer()?;
    let config = ServerConfig { access, tracer, ..server_config(arguments, &prepared.entries)? };
    let bound = Server::bind(config, Arc::clone(&registry)).await?;
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
        let interruption = Interruption::default();
        let payload_log = payload_log(&entry)?;
        let deployment = Deployment {
            origin: Origin::new(&entry, &prepared.secrets, &folder, terminal, &interruption),
            folder,
            entry,
            registry: Arc::clone(&registry),
            terminal: terminal.clone(),
            address,
            scheme,
            payload_log,
        };
        // Hashing gigabytes is work: on a thread of its own it does not delay requests to models that serve already.
        let (runtime, mut ended) = (tokio::runtime::Handle::current(), ended.clone());
        deployments.spawn_blocking(move || {
            runtime.block_on(async {
                let told_to_end = async {
                    let _ = ended.changed().await;
                    interruption.request().await;
                };
                tokio::select! {
                    result = deployment.deploy() => result,
                    () = told_to_end => Ok(()),
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
    let failures = failures(&mut deployments).await;
    let _ = stop.send(());
    server.await.map_err(|error| Failure::bug(format!("the server failed: {error}")))?;
    let preempted = failures.iter().any(|failure| failure.exit == ExitCode::Preempted);
    Ok(if preempted { ExitCode::Preempted.number().into() } else { ProcessExit::SUCCESS })
}

fn server_config(arguments: &RunArguments, entries: &[Entry]) -> Result<ServerConfig, Failure> {
    let mut config = ServerConfig::default();
    for entry in entries {
        let serving = serving(entry)?;
        serving::admit(&mut config.bounds, serving.max_request_bytes);
        // One port serves all Models, so the shortest of their ages holds.
        let age = Some(serving.max_connection_age);
        config.bounds.max_connection_age = config.bounds.max_connection_age.min(age);
    }
    Ok(ServerConfig {
        listen: arguments.listen,
        admin_listen: arguments.admin_listen,
        // Nobody balances load over a laptop: there is nothing to wait for.
        drain: Drain { delay: Duration::ZERO, ..config.drain },
        ..config
    })
}

/// The log of payloads that a manifest wants.
fn payload_log(entry: &Entry) -> Result<Option<Arc<PayloadLog>>, Failure> {
    let (wanted, namespace) = (serving(entry)?.payload_logging, Some(entry.namespace().to_owned()));
    crate::payload_log::open(wanted.as_ref(), entry.name(), namespace, &entry.folder, AccessRules::LOCAL)
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
