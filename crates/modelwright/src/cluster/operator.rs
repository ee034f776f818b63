//! `modelwright operator`: waits for its turn, works, and hands over.

use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::process::ExitCode as ProcessExit;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::runtime::events::{Recorder, Reporter};
use modelwright_api::contract::ExitCode;
use modelwright_operator::clock::Clock;
use modelwright_operator::controller;
use modelwright_operator::health::{AdminThread, Health};
use modelwright_operator::lease::{self, Claim, Lost, Participant, Place};
use modelwright_operator::metrics::{Instruments, Metrics};
use modelwright_operator::scaler::Scaler;
use modelwright_operator::settings::Settings;
use modelwright_operator::{client, startup};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::cluster::OperatorArguments;
use crate::failure::Failure;
use crate::signals::Termination;

/// Who writes Events.
const REPORTER: &str = "modelwright-operator";
/// Threads for everything but the admin port: the work is waiting for the API server, and little JSON.
const WORKER_THREADS: usize = 2;
/// How long passes that run may go on after the process was told to end. A pod is killed after 30 s.
const GRACE: Duration = Duration::from_secs(10);

/// Runs it until it is told to end (0), loses the leadership (75), or cannot work (another code of the contract).
pub(crate) fn run(arguments: &OperatorArguments) -> ProcessExit {
    client::choose_cryptography();
    let exit = match runtime().and_then(|runtime| {
        let result = runtime.block_on(operate(arguments));
        // Nothing that still runs may hold up the end: whoever leads next does not wait for it.
        runtime.shutdown_background();
        result
    }) {
        Ok(()) => ExitCode::Done,
        Err(failure) => {
            tracing::error!(reason = %failure.reason, exit = failure.exit.number(), "{}", failure.message);
            failure.exit
        }
    };
    exit.number().into()
}

fn runtime() -> Result<Runtime, Failure> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(WORKER_THREADS).build();
    runtime.map_err(|error| Failure::bug(format!("cannot start the runtime's threads: {error}")))
}

async fn operate(arguments: &OperatorArguments) -> Result<(), Failure> {
    let mut termination = Termination::listen()?;
    let (metrics, health) = (Metrics::shared(), Health::new());
    let admin = AdminThread::start(arguments.admin_listen, health.clone(), Arc::clone(&metrics));
    let admin = admin.map_err(|error| cannot_listen(arguments.admin_listen, &error, "--admin-listen"))?;
    let config = client::config(arguments.kubeconfig.as_deref())
        .await
        .map_err(|error| Failure::new(ExitCode::InvalidConfiguration, "NoCluster", error.to_string()))?;
    let place = place(arguments, &config);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        identity = place.identity,
        namespace = place.namespace,
        admin = %admin.address(),
        cluster = %config.cluster_url,
        "the operator starts"
    );
    let times = arguments.lease();
    let clock = Clock::default();
    let lease_client = client::lease_client(config.clone(), Arc::clone(&metrics), &times, clock.clone())
        .map_err(|error| no_client(&error))?;
    tokio::select! {
        known = startup::version(&lease_client) => known.map_err(|error| {
            Failure::new(ExitCode::InvalidConfiguration, "KubernetesTooOld", error.to_string())
        })?,
        () = termination.wait() => return Ok(()),
    }
    // From here on it does its part: a candidate is ready, or an update of the operator could not go on.
    health.ready(true);
    let mut turn = Turn::take(arguments.leader_election, lease_client, &place, times);
    let client = client::client(config, Arc::clone(&metrics), turn.claim(), clock.clone())
        .map_err(|error| no_client(&error))?;
    // Whether it leads or not: an autoscaler must not notice which process does.
    let _scaler = scaler(arguments, &client).await?;
    tokio::select! {
        () = turn.comes() => {}
        () = termination.wait() => {
            turn.hand_over().await;
            return Ok(());
        }
    }
    let office = Office { client, clock, place, metrics, health, arguments };
    office.metrics.leads(true);
    let result = office.until_the_end(&mut turn, &mut termination).await;
    office.metrics.leads(false);
    if !matches!(&result, Err(failure) if failure.exit == ExitCode::TryAgain) {
        turn.hand_over().await;
    }
    result
}

/// Answers autoscalers, if that is wanted.
async fn scaler(arguments: &OperatorArguments, client: &Client) -> Result<Option<Scaler>, Failure> {
    let Some(listen) = arguments.scaler_listen else { return Ok(None) };
    let scaler = Scaler::start(listen, client, &arguments.options()).await;
    let scaler = scaler.map_err(|error| cannot_listen(listen, &error, "--scaler-listen"))?;
    tracing::info!(scaler = %scaler.address(), "autoscalers are answered");
    Ok(Some(scaler))
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error, option: &str) -> Failure {
    let message = format!("cannot listen on {address}: {error}; choose another {option}");
    Failure::new(ExitCode::InvalidConfiguration, "CannotListen", message)
}

/// Which Lease, and our name in it.
fn place(arguments: &OperatorArguments, config: &kube::Config) -> Place {
    Place {
        namespace: arguments.pod_namespace.clone().unwrap_or_else(|| config.default_namespace.clone()),
        name: arguments.lease_name.clone(),
        identity: arguments.pod_name.clone().unwrap_or_else(identity),
    }
}

/// A name that no other process has: several can run on one host.
fn identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    // The standard library's hashes are keyed with random numbers of the operating system.
    format!("{}_{:016x}", host.trim(), RandomState::new().hash_one(std::process::id()))
}

fn no_client(error: &kube::Error) -> Failure {
    Failure::new(ExitCode::InvalidConfiguration, "NoCluster", format!("cannot connect to a cluster: {error}"))
}

fn lost(lost: Lost) -> Failure {
    let message =
        format!("{lost}; nothing is written any more and the process exits, so that a new one begins");
    Failure::new(ExitCode::TryAgain, "LeadershipLost", message)
}

/// This process's turn to work.
enum Turn {
    /// It is always its turn: there is no election.
    Always,
    Elected(Box<Participant>),
}

impl Turn {
    fn take(election: bool, client: Client, place: &Place, times: lease::Settings) -> Self {
        if election {
            return Self::Elected(Box::new(Participant::start(client, place.clone(), times)));
        }
        tracing::warn!("there is no leader election: this must be the only operator that runs");
        Self::Always
    }

    fn claim(&self) -> Claim {
        match self {
            Self::Always => Claim::always(),
            Self::Elected(participant) => participant.claim(),
        }
    }

    async fn comes(&mut self) {
        match self {
            Self::Always => {}
            Self::Elected(participant) => participant.elected().await,
        }
    }

    /// Completes when it is over although this process did not want that.
    async fn lost(&mut self) -> Lost {
        match self {
            Self::Always => std::future::pending().await,
            Self::Elected(participant) => participant.lost().await,
        }
    }

    async fn hand_over(self) {
        match self {
            Self::Always => {}
            Self::Elected(participant) => participant.release().await,
        }
    }
}

/// What a process that leads works with.
struct Office<'a> {
    client: Client,
    clock: Clock,
    place: Place,
    metrics: Arc<Metrics>,
    health: Health,
    arguments: &'a OperatorArguments,
}

impl Office<'_> {
    /// Works until the process is told to end, and ends as soon as it does not lead any more.
    async fn until_the_end(&self, turn: &mut Turn, termination: &mut Termination) -> Result<(), Failure> {
        let (stop, stopped) = oneshot::channel::<()>();
        let mut work = std::pin::pin!(self.work(stopped));
        tokio::select! {
            why = turn.lost() => return Err(lost(why)),
            result = &mut work => return result,
            () = termination.wait() => {}
        }
        tracing::info!("told to end: running passes finish, no new one begins");
        drop(stop);
        tokio::select! {
            why = turn.lost() => Err(lost(why)),
            result = &mut work => result,
            () = tokio::time::sleep(GRACE) => {
                tracing::warn!(seconds = GRACE.as_secs(), "passes still ran when time was up");
                Ok(())
            }
        }
    }

    /// Works until `stopped` completes.
    async fn work(&self, mut stopped: oneshot::Receiver<()>) -> Result<(), Failure> {
        self.health.ready(false);
        tokio::select! {
            _ = startup::definition(&self.client) => {}
            _ = &mut stopped => return Ok(()),
        }
        self.health.ready(true);
        let reporter =
            Reporter { controller: REPORTER.to_owned(), instance: Some(self.place.identity.clone()) };
        let recorder = Recorder::new(self.client.clone(), reporter);
        let watching =
            startup::watch_definition(self.client.clone(), recorder, self.place.clone(), &self.metrics);
        tokio::select! {
            result = self.reconcile(stopped) => result,
            () = watching => Ok(()),
        }
    }

    /// Makes the passes until `stopped` completes.
    async fn reconcile(&self, stopped: oneshot::Receiver<()>) -> Result<(), Failure> {
        let instruments = Instruments::new(Arc::clone(&self.metrics), self.health.clone());
        let settings = Arc::new(Settings {
            // Where the Lease is, the operator's pods are.
            namespace: Some(self.place.namespace.clone()),
            ..self.arguments.settings()
        });
        let stopped = async move {
            // A dropped sender means that nobody waits any more, which is a reason to stop, too.
            let _ = stopped.await;
        };
        controller::run(
            self.client.clone(),
            self.clock.clone(),
            settings,
            self.arguments.options(),
            Arc::new(instruments),
            stopped,
        )
        .await
        .map_err(|error| Failure::bug(error.to_string()))
    }
}
