//! The calls that read nothing but the registry.

use std::borrow::Cow;

use modelwright_protocol::grpc::inference::{
    ModelConfigRequest, ModelConfigResponse, ModelMetadataRequest, ModelMetadataResponse, ModelReadyRequest,
    ModelReadyResponse, ModelStatisticsRequest, ModelStatisticsResponse, RepositoryIndexRequest,
    RepositoryIndexResponse, RepositoryModelLoadResponse, RepositoryModelUnloadResponse, ServerLiveResponse,
    ServerMetadataResponse, ServerReadyResponse,
};
use modelwright_protocol::{grpc, v2};
use tonic::{Code, Status};

use super::status;
use crate::data::Data;
use crate::documents;
use crate::registry::ReadyModel;
use crate::route::Target;

/// The extensions of the protocol that there are over gRPC.
const EXTENSIONS: [&str; 5] =
    ["classification", "model_configuration", "model_repository", "parameters", "statistics"];

/// Why nobody loads or unloads a model here.
const NO_CONTROL: &str =
    "models are not loaded and unloaded on this port; change the manifest of the model instead";

pub(super) const fn server_live() -> ServerLiveResponse {
    ServerLiveResponse { live: true }
}

pub(super) fn server_ready(data: &Data) -> ServerReadyResponse {
    ServerReadyResponse { ready: !data.phase.is_draining() && data.registry.why_not_ready().is_empty() }
}

/// An unknown model is an error, as over REST; one that does not answer yet is not.
pub(super) fn model_ready(data: &Data, asked: &ModelReadyRequest) -> Result<ModelReadyResponse, Status> {
    match model(data, &asked.name, &asked.version) {
        Ok(_) => Ok(ModelReadyResponse { ready: true }),
        Err(status) if status.code() == Code::Unavailable => Ok(ModelReadyResponse { ready: false }),
        Err(status) => Err(status),
    }
}

pub(super) fn server_metadata() -> ServerMetadataResponse {
    ServerMetadataResponse {
        name: "modelwright".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        extensions: EXTENSIONS.map(str::to_owned).to_vec(),
    }
}

pub(super) fn model_metadata(
    data: &Data,
    asked: ModelMetadataRequest,
) -> Result<ModelMetadataResponse, Status> {
    let ready = model(data, &asked.name, &asked.version)?;
    let versions = vec![ready.version().to_owned()];
    Ok(grpc::model_metadata(v2::ModelMetadata::new(asked.name, versions, ready.model().signature())))
}

pub(super) fn model_config(data: &Data, asked: &ModelConfigRequest) -> Result<ModelConfigResponse, Status> {
    let ready = model(data, &asked.name, &asked.version)?;
    let config = grpc::model_config(documents::config(&asked.name, &ready), ready.model().signature());
    Ok(ModelConfigResponse { config: Some(config) })
}

/// The statistics of one model, or without a name of all that answer.
pub(super) fn statistics(
    data: &Data,
    asked: &ModelStatisticsRequest,
) -> Result<ModelStatisticsResponse, Status> {
    let statistics = if asked.name.is_empty() {
        data.all_statistics().model_stats
    } else {
        vec![documents::statistics(&asked.name, &model(data, &asked.name, &asked.version)?)]
    };
    Ok(ModelStatisticsResponse { model_stats: statistics.into_iter().map(grpc::model_statistics).collect() })
}

pub(super) fn repository_index(data: &Data, asked: &RepositoryIndexRequest) -> RepositoryIndexResponse {
    let models = data.registry.snapshot();
    let shown = models.iter().filter(|(_, state)| !asked.ready || state.why_not_ready().is_none());
    let entries = shown.map(|(name, state)| documents::index_entry(name, state));
    RepositoryIndexResponse { models: entries.map(grpc::repository_model).collect() }
}

pub(super) fn refuse_load() -> Result<RepositoryModelLoadResponse, Status> {
    Err(Status::permission_denied(NO_CONTROL))
}

pub(super) fn refuse_unload() -> Result<RepositoryModelUnloadResponse, Status> {
    Err(Status::permission_denied(NO_CONTROL))
}

/// The model that a message names, if it answers.
fn model(data: &Data, name: &str, version: &str) -> Result<ReadyModel, Status> {
    let version = Some(version).filter(|version| !version.is_empty()).map(Cow::Borrowed);
    data.model(&Target { model: Cow::Borrowed(name), version }).map_err(status::of_refusal)
}
