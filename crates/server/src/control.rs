//! Loading models again and taking them out of service, asked for on the admin port.
//!
//! A load happens beside the model that answers, on a thread of its own, and replaces it when it is warmed up; requests
//! that the former one has are still answered by it. A load that fails changes nothing for a model that answers.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use modelwright_protocol::v2::ModelReady;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};

use crate::answer::{self, Refusal, Response};
use crate::data::PANICKED;
use crate::registry::{ModelState, ReadyModel, Registry};
use crate::route::excerpt;

/// The body of a control request says little.
const MAX_BODY: usize = 64 << 10;
/// How long it may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// Who knows where a model comes from and how it is loaded.
pub trait ModelControl: fmt::Debug + Send + Sync + 'static {
    /// Loads a model again, from where it came, and warms it up.
    ///
    /// Blocks; it is called on a thread of its own, one call at a time, while the model's former load goes on answering.
    fn load(&self, name: &str) -> Result<ReadyModel, ControlError>;
}

/// Why a model could not be loaded again.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody knows how to load a model of this name: 404.
    #[error("{0}")]
    Unknown(String),
    /// The model's files are missing or refused: 400.
    #[error("{0}")]
    Refused(String),
    /// Anything else: 500.
    #[error("{0}")]
    Failed(String),
}

/// What to do with a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Load,
    Unload,
}

impl Verb {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "load" => Some(Self::Load),
            "unload" => Some(Self::Unload),
            _ => None,
        }
    }
}

/// Reads the path `/v2/repository/models/{model}/{load,unload}`.
pub(crate) fn parse(path: &str) -> Option<(String, Verb)> {
    let (model, verb) = path.strip_prefix("/v2/repository/models/")?.split_once('/')?;
    let model = percent_decode_str(model).decode_utf8().ok().filter(|name| !name.is_empty())?;
    Some((model.into_owned(), Verb::parse(verb)?))
}

/// The body of a control request. Unknown keys are ignored, as everywhere in the protocol; parameters are not.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    parameters: std::collections::BTreeMap<String, &'a RawValue>,
}

/// What answers control requests.
#[derive(Debug)]
pub(crate) struct Control {
    loader: Option<Arc<dyn ModelControl>>,
    registry: Arc<Registry>,
    /// One change at a time.
    turn: Arc<Mutex<()>>,
}

impl Control {
    pub(crate) fn new(loader: Option<Arc<dyn ModelControl>>, registry: Arc<Registry>) -> Self {
        Self { loader, registry, turn: Arc::default() }
    }

    /// Does what a request wants and answers when it is done.
    pub(crate) async fn answer(&self, model: &str, verb: Verb, body: Incoming) -> Result<Response, Refusal> {
        let Some(loader) = &self.loader else {
            let message = "models of this server are not loaded and unloaded by requests; start it with --repository-control";
            return Err(Refusal::new(StatusCode::FORBIDDEN, message));
        };
        check_body(verb, body).await?;
        // Changes wait for each other, but do not wait in vain for a client that has left.
        let turn = Arc::clone(&self.turn).lock_owned().await;
        match self.registry.get(model) {
            None => {
                return Err(Refusal::not_found(format!("there is no model \"{}\"", excerpt(model))));
            }
            Some(ModelState::Loading) => {
                let message = format!("model \"{model}\" is still loading");
                return Err(Refusal::unavailable(message, Duration::from_secs(1)));
            }
            Some(_) => {}
        }
        match verb {
            Verb::Load => {
                load(model.to_owned(), Arc::clone(loader), Arc::clone(&self.registry), turn).await?;
            }
            Verb::Unload => {
                self.registry.unload(model);
                tracing::info!(model, "unloaded");
            }
        }
        Ok(answer::json(&ModelReady { name: model.to_owned(), ready: verb == Verb::Load }))
    }
}

/// Loads on a thread of its own, which goes on even if the client leaves; its turn ends with it. The thread has the
/// process's usual priority: the threads that compute the model inherit from it, and an unprivileged process cannot raise
/// theirs again.
async fn load(
    model: String,
    loader: Arc<dyn ModelControl>,
    registry: Arc<Registry>,
    turn: OwnedMutexGuard<()>,
) -> Result<(), Refusal> {
    let (answer, answered) = oneshot::channel();
    let work = move || {
        let result = replace(&model, loader.as_ref(), &registry);
        drop(turn);
        // A client that has left learns nothing.
        let _ = answer.send(result);
    };
    let failed = |error: std::io::Error| {
        let message = format!("cannot start a thread to load the model: {error}");
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    };
    std::thread::Builder::new().name("load".to_owned()).spawn(work).map_err(failed)?;
    let panicked = |_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, PANICKED);
    answered.await.map_err(panicked)?
}

fn replace(model: &str, loader: &dyn ModelControl, registry: &Registry) -> Result<(), Refusal> {
    // Neither these marks nor a failure concern a model that answers.
    registry.loading(model);
    let result = catch_unwind(AssertUnwindSafe(|| loader.load(model)))
        .unwrap_or_else(|_| Err(ControlError::Failed(PANICKED.to_owned())));
    match result {
        Ok(ready) => {
            tracing::info!(model, version = ready.version(), "loaded again");
            registry.ready(model, ready);
            Ok(())
        }
        Err(error) => {
            tracing::warn!(model, %error, "could not be loaded again");
            registry.failed(model, "LoadFailed", error.to_string());
            let status = match error {
                ControlError::Unknown(_) => StatusCode::NOT_FOUND,
                ControlError::Refused(_) => StatusCode::BAD_REQUEST,
                ControlError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            Err(Refusal::new(status, error.to_string()))
        }
    }
}

/// Refuses parameters that would mean something elsewhere. `unload_dependents` means nothing here, because no model depends
/// on another; clients always send it.
async fn check_body(verb: Verb, body: Incoming) -> Result<(), Refusal> {
    let read = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await;
    let bytes = match read {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) => return Err(Refusal::bad_request(format!("the body cannot be read: {error}"))),
        Err(_) => return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")),
    };
    if bytes.trim_ascii().is_empty() {
        return Ok(());
    }
    let body: Body<'_> = serde_json::from_slice(&bytes)
        .map_err(|error| Refusal::bad_request(format!("the body is not a JSON object: {error}")))?;
    let refused = body.parameters.keys().find(|name| verb == Verb::Load || *name != "unload_dependents");
    match refused {
        Some(name) => {
            let message = format!(
                "parameters.{}: a model is loaded as the server was started; leave the parameter out",
                excerpt(name)
            );
            Err(Refusal::bad_request(message))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("/v2/repository/models/m/load", Some(("m", Verb::Load)))]
    #[case("/v2/repository/models/%6d/unload", Some(("m", Verb::Unload)))]
    #[case("/v2/repository/models//load", None)]
    #[case("/v2/repository/models/m", None)]
    #[case("/v2/repository/models/m/load/x", None)]
    #[case("/v2/repository/index", None)]
    #[case("/metrics", None)]
    fn control_paths(#[case] path: &str, #[case] expected: Option<(&str, Verb)>) {
        assert_eq!(parse(path), expected.map(|(model, verb)| (model.to_owned(), verb)));
    }
}
