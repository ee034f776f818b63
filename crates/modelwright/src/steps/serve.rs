//! `modelwright serve`: one fetched revision behind an endpoint, as in a pod.

use std::path::{Path, PathBuf};
use std::process::ExitCode as ProcessExit;
use std::sync::Arc;
use std::time::Duration;

use modelwright_api::Outcome;
use modelwright_api::contract::ExitCode;
use modelwright_api::defaults::drain_grace;
use modelwright_api::outcome::OutcomeRuntime;
use modelwright_artifact::{Digest, Error};
use modelwright_runtime::LoadRequest;
use modelwright_server::{
    ControlError, Drain, ModelControl, PayloadLog, ReadyModel, Registry, Server, ServerConfig,
};

use crate::arguments::ServeArguments;
use crate::failure::Failure;
use crate::signals::Termination;
use crate::terminal::Terminal;
use crate::{access, environment, outbound, payload_log, report, serving, steps, weights};

/// Runs it.
pub(crate) fn run(arguments: &ServeArguments) -> ProcessExit {
    report::end(steps::block_on(serve(arguments)), arguments.termination_log.as_ref())
}

async fn serve(arguments: &ServeArguments) -> Result<Outcome, Failure> {
    let mut termination = Termination::listen()?;
    let registry = Arc::new(Registry::new());
    registry.loading(&*arguments.name);
    let told_to_end = || Outcome {
        message: "told to end before the model was loaded".to_owned(),
        ..Outcome::success("Terminated")
    };
    let access = tokio::select! {
        access = access::open(arguments.access.config()?) => access?,
        () = termination.wait() => return Ok(told_to_end()),
    };
    let scheme = access::scheme(access.as_ref());
    let revision = Arc::new(FetchedRevision::new(arguments)?);
    let config =
        ServerConfig { access, tracer: outbound::tracer()?, ..config(arguments, Arc::clone(&revision)) };
    let bound = Server::bind(config, Arc::clone(&registry)).await?;
    let terminal = Terminal::new();
    terminal.print(&format!("admin http://{}", bound.admin_addr()));
    let url = format!("{scheme}://{}/v2/models/{}", bound.data_addr(), arguments.name);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    // The ports answer from the beginning: probes see that the process lives, clients get 503 and not a refusal.
    let server = tokio::spawn(bound.run(async move {
        // A dropped sender means that loading failed, which is a reason to stop, too.
        let _ = stopped.await;
    }));
    let runtime = tokio::select! {
        loaded = load(revision, &registry) => loaded?,
        () = termination.wait() => return Ok(told_to_end()),
    };
    terminal.print(&format!("ready {} {url}", arguments.name));
    termination.wait().await;
    tracing::info!("draining");
    let _ = stop.send(());
    server.await.map_err(|error| Failure::bug(format!("the server failed: {error}")))?;
    Ok(Outcome {
        digest: Some(arguments.digest.clone()),
        message: "told to end; requests in progress were answered".to_owned(),
        runtime: Some(runtime),
        ..Outcome::success("Terminated")
    })
}

/// Loads the model and says what computes it.
async fn load(revision: Arc<FetchedRevision>, registry: &Registry) -> Result<OutcomeRuntime, Failure> {
    let name = revision.name.clone();
    let loading = tokio::task::spawn_blocking(move || revision.load());
    let ready =
        loading.await.map_err(|error| Failure::bug(format!("loading the model failed: {error}")))??;
    let runtime = report::runtime(ready.model().report());
    registry.ready(name, ready);
    Ok(runtime)
}

/// A revision in a folder, and how it is served.
#[derive(Debug)]
struct FetchedRevision {
    name: String,
    folder: PathBuf,
    digest: Digest,
    request: LoadRequest,
    payload_log: Option<Arc<PayloadLog>>,
}

impl FetchedRevision {
    fn new(arguments: &ServeArguments) -> Result<Self, Failure> {
        Ok(Self {
            name: arguments.name.clone(),
            folder: arguments.model_dir.clone(),
            digest: steps::digest(&arguments.digest)?,
            request: serving::from_arguments(arguments),
            payload_log: payload_log::open(
                arguments.payload_log.resolved().as_ref(),
                &arguments.name,
                environment::namespace(),
                Path::new("."),
                arguments.access.rules(),
            )?,
        })
    }

    /// Verifies the revision's files, loads the model and warms it up. Blocks.
    fn load(&self) -> Result<ReadyModel, Failure> {
        let verified = modelwright_artifact::verify(&self.folder, &self.digest)
            .map_err(|error| advise(error, &self.folder))?;
        let model = weights::load(&self.request, &self.folder, &verified.manifest)?;
        tracing::info!(report = ?model.report(), "loaded");
        serving::ready(&self.folder, &self.digest, model, self.payload_log.as_ref())
    }
}

impl ModelControl for FetchedRevision {
    fn load(&self, name: &str) -> Result<ReadyModel, ControlError> {
        if name != self.name {
            let message = format!("this server was started for the model \"{}\" alone", self.name);
            return Err(ControlError::Unknown(message));
        }
        FetchedRevision::load(self).map_err(|failure| match failure.exit {
            ExitCode::Bug => ControlError::Failed(failure.message),
            _ => ControlError::Refused(failure.message),
        })
    }
}

/// A folder that lacks its files was most likely never fetched.
fn advise(error: Error, folder: &Path) -> Failure {
    let missing = matches!(error, Error::FileMissing { .. });
    let mut failure = Failure::from(error);
    if missing {
        let advice = format!("; fetch the revision first: modelwright fetch --out {}", folder.display());
        failure.message.push_str(&advice);
    }
    failure
}

fn config(arguments: &ServeArguments, revision: Arc<FetchedRevision>) -> ServerConfig {
    let mut config = ServerConfig {
        listen: arguments.listen,
        admin_listen: arguments.admin_listen,
        drain: Drain {
            delay: Duration::from_secs(arguments.drain_delay),
            grace: arguments
                .drain_grace
                .map_or_else(|| drain_grace(arguments.request_timeout), Duration::from_secs),
        },
        access_log: arguments.access_log,
        control: arguments.repository_control.then_some(revision as Arc<dyn ModelControl>),
        ..ServerConfig::default()
    };
    let age = arguments.max_connection_age;
    config.bounds.request_timeout = arguments.request_timeout;
    config.bounds.max_connection_age = (!age.is_zero()).then_some(age);
    if let Some(bytes) = arguments.max_request_bytes {
        config.bounds.max_body_bytes = serving::bytes(bytes);
        serving::admit(&mut config.bounds, bytes);
    }
    config
}
