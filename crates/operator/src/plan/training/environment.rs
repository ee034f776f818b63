//! What a user's container is told by its environment: `ML_*`, and the same under the names that scripts for SageMaker, Vertex AI
//! and Kubeflow read.

use k8s_openapi::api::core::v1::EnvVar;
use modelwright_api::{
    conditions::{Cause, Reason},
    contract::{paths, ports},
    training::TrainingContainer,
};

use super::{job::Request, limits::Limits, own, view::View};
use crate::plan::{attempts, pods};

pub(super) fn variables(
    view: &View<'_>,
    limits: &Limits,
    request: &Request<'_>,
    container: &TrainingContainer,
) -> Result<Vec<EnvVar>, Cause> {
    let folder = |name: &str| format!("{}/{name}", paths::ML_DATA);
    let data = &view.training.data;
    let deadline = attempts::later(view.now, limits.deadline).as_second().to_string();
    // The agent takes reports at any path, and leaves a token that reporters insist on.
    let reports_to = format!("http://127.0.0.1:{}/", ports::PROGRESS);
    let token = format!("{}/token", paths::ML_PROGRESS_FOLDER);
    let threads = threads(view)?;
    let mut all: Vec<(&str, String)> = vec![
        ("ML_DATA_DIR", paths::ML_DATA.to_owned()),
        ("ML_CONFIG", paths::ML_CONFIG.to_owned()),
        ("ML_OUT_DIR", paths::ML_OUT.to_owned()),
        ("ML_CHECKPOINT_DIR", paths::ML_CHECKPOINTS.to_owned()),
        ("ML_PROGRESS_FILE", paths::ML_PROGRESS.to_owned()),
        ("ML_ATTEMPT", request.attempt.to_string()),
        ("ML_RUN_ID", request.run.to_owned()),
        ("ML_DEADLINE", deadline),
        ("SM_MODEL_DIR", paths::ML_OUT.to_owned()),
        ("SM_CHANNEL_TRAINING", folder("train")),
        ("SM_HPS", own::parameters(container)),
        ("AIP_MODEL_DIR", paths::ML_OUT.to_owned()),
        ("AIP_CHECKPOINT_DIR", paths::ML_CHECKPOINTS.to_owned()),
        ("KUBEFLOW_TRAINER_SERVER_URL", reports_to),
        ("KUBEFLOW_TRAINER_SERVER_TOKEN", token),
        ("OMP_NUM_THREADS", threads.clone()),
        ("MKL_NUM_THREADS", threads.clone()),
        ("OPENBLAS_NUM_THREADS", threads),
    ];
    if data.validation.as_ref().is_some_and(|validation| validation.source.is_some()) {
        all.push(("SM_CHANNEL_VALIDATION", folder("validation")));
    }
    if data.test.is_some() {
        all.push(("SM_CHANNEL_TEST", folder("test")));
    }
    let seed = container.parameters.as_ref().and_then(|parameters| parameters.0.get("seed"));
    if let Some(seed) = seed.filter(|seed| seed.is_u64() || seed.is_i64()) {
        all.push(("ML_SEED", seed.to_string()));
    }
    Ok(all.into_iter().map(|(name, value)| pods::variable(name, value)).collect())
}

/// `limits.cpu`, else `requests.cpu`, in whole threads, else 1: libraries would else start one for each CPU of the node.
fn threads(view: &View<'_>) -> Result<String, Cause> {
    let Some(resources) = &view.training.resources else { return Ok("1".to_owned()) };
    let cpu = |map: &Option<std::collections::BTreeMap<String, modelwright_api::Quantity>>, path: &str| {
        let Some(quantity) = map.as_ref().and_then(|map| map.get("cpu")) else { return Ok(None) };
        let milli =
            quantity.milli().map_err(|error| Cause::new(Reason::InvalidSpec, format!("{path}: {error}")))?;
        Ok(Some(milli).filter(|milli| *milli > 0))
    };
    let limit = cpu(&resources.limits, "spec.training.resources.limits.cpu")?;
    let milli = match limit {
        Some(limit) => Some(limit),
        None => cpu(&resources.requests, "spec.training.resources.requests.cpu")?,
    };
    // Rounded up: a thread that waits for its share costs less than one that is not there.
    Ok(milli.map_or(1, |milli| milli.saturating_add(999) / 1_000).to_string())
}
