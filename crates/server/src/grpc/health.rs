//! `grpc.health.v1.Health`, from the registry and the server's phase.
//!
//! The services are the server as a whole (the empty name or that of the inference service), which serves when every model
//! answers, and each model by its name. Nothing serves while the server shuts down.

use std::sync::Arc;

use futures::{Stream, stream};
use modelwright_protocol::grpc::health::health_check_response::ServingStatus;
use modelwright_protocol::grpc::health::{HealthCheckRequest, HealthCheckResponse};
use tokio::sync::watch;
use tonic::Status;

use crate::data::Data;
use crate::phase::Step;
use crate::route;

const INFERENCE: &str = "inference.GRPCInferenceService";

/// How a service is now.
pub(super) fn check(data: &Data, asked: &HealthCheckRequest) -> Result<HealthCheckResponse, Status> {
    let status = status(data, &asked.service);
    if status == ServingStatus::ServiceUnknown {
        let name = route::excerpt(&asked.service);
        let message = format!("there is no service or model \"{name}\"; an empty name asks for the server");
        return Err(Status::not_found(message));
    }
    Ok(HealthCheckResponse { status: status.into() })
}

/// How a service is now and after every change, until the server ends.
pub(super) fn watch(
    data: Arc<Data>,
    asked: HealthCheckRequest,
) -> impl Stream<Item = Result<HealthCheckResponse, Status>> + Send + 'static {
    let (models, steps) = (data.registry.changes(), data.phase.steps());
    let watcher = Watcher { data, service: asked.service, told: None, models, steps };
    stream::unfold(watcher, |mut watcher| async move {
        let next = watcher.next().await;
        Some((next, watcher))
    })
}

struct Watcher {
    data: Arc<Data>,
    service: String,
    told: Option<ServingStatus>,
    models: watch::Receiver<()>,
    steps: watch::Receiver<Step>,
}

impl Watcher {
    async fn next(&mut self) -> Result<HealthCheckResponse, Status> {
        loop {
            self.models.mark_unchanged();
            let step = *self.steps.borrow_and_update();
            let status = status(&self.data, &self.service);
            if self.told != Some(status) {
                self.told = Some(status);
                return Ok(HealthCheckResponse { status: status.into() });
            }
            if step == Step::Ending {
                return Err(Status::unavailable("the server is shutting down"));
            }
            // An error would say that there is no registry any more, which this stream keeps alive.
            tokio::select! {
                _ = self.models.changed() => {}
                _ = self.steps.changed() => {}
            }
        }
    }
}

fn status(data: &Data, service: &str) -> ServingStatus {
    let answers = match service {
        "" | INFERENCE => data.registry.why_not_ready().is_empty(),
        model => match data.registry.snapshot().get(model) {
            Some(state) => state.why_not_ready().is_none(),
            None => return ServingStatus::ServiceUnknown,
        },
    };
    if answers && !data.phase.is_draining() { ServingStatus::Serving } else { ServingStatus::NotServing }
}
