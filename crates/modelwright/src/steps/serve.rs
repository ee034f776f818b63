//! `modelwright serve`: one fetched revision behind an endpoint, as in a pod.

use std::path::Path;
use std::process::ExitCode as ProcessExit;
use std::sync::Arc;
use std::time::Duration;

use modelwright_api::Outcome;
use modelwright_api::outcome::OutcomeRuntime;
use modelwright_artifact::Error;
use modelwright_runtime::LoadedModel;
use modelwright_server::{Drain, ReadyModel, Registry, Server, ServerConfig};

use crate::arguments::ServeArguments;
use crate::failure::Failure;
use crate::signals::Termination;
use crate::terminal::Terminal;
use crate::{report, serving, steps};

/// Runs it.
pub(crate) fn run(arguments: &ServeArguments) -> ProcessExit {
    report::end(steps::block_on(serve(arguments)), arguments.termination_log.as_ref())
}

async fn serve(arguments: &ServeArguments) -> Result<Outcome, Failure> {
    let mut termination = Termination::listen()?;
    let registry = Arc::new(Registry::new());
    registry.loading(&*arguments.name);
    let bound = Server::bind(config(arguments), Arc::clone(&registry)).await?;
    let terminal = Terminal::new();
    terminal.print(&format!("admin http://{}", bound.admin_addr()));
    let url = format!("http://{}/v2/models/{}", bound.data_addr(), arguments.name);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    // The ports answer from the beginning: probes see that the process lives, clients get 503 and not a refusal.
    let server = tokio::spawn(bound.run(async move {
        // A dropped sender means that loading failed, which is a reason to stop, too.
        let _ = stopped.await;
    }));
    let runtime = tokio::select! {
        loaded = load(arguments, &registry) => loaded?,
        () = termination.wait() => {
            let message = "told to end before the model was loaded".to_owned();
            return Ok(Outcome { message, ..Outcome::success("Terminated") });
        }
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

/// Verifies and loads the model, and says what computes it.
async fn load(arguments: &ServeArguments, registry: &Registry) -> Result<OutcomeRuntime, Failure> {
    let digest = steps::digest(&arguments.digest)?;
    let (folder, request) = (arguments.model_dir.clone(), serving::from_arguments(arguments));
    let loading = tokio::task::spawn_blocking(move || {
        modelwright_artifact::verify(&folder, &digest).map_err(|error| advise(error, &folder))?;
        LoadedModel::load(&request).map_err(Failure::from)
    });
    let model =
        loading.await.map_err(|error| Failure::bug(format!("loading the model failed: {error}")))??;
    tracing::info!(report = ?model.report(), "loaded");
    let runtime = report::runtime(model.report());
    registry.ready(&*arguments.name, ReadyModel::new(digest.id(), Arc::new(model)));
    Ok(runtime)
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

fn config(arguments: &ServeArguments) -> ServerConfig {
    let mut config = ServerConfig {
        listen: arguments.listen,
        admin_listen: arguments.admin_listen,
        drain: Drain {
            delay: Duration::from_secs(arguments.drain_delay),
            grace: Duration::from_secs(arguments.drain_grace),
        },
        ..ServerConfig::default()
    };
    if let Some(bytes) = arguments.max_request_bytes {
        config.bounds.max_body_bytes = serving::bytes(bytes);
        serving::admit(&mut config.bounds, bytes);
    }
    config
}
