//! The claim of a Model to a revision that it found instead of training it anew.

use jiff::Timestamp;
use modelwright_api::training::order::TrainingOrder;
use modelwright_artifact::provenance::{self, Run};
use modelwright_artifact::retention::{MODEL_UID, RUN};
use modelwright_artifact::{Connection, Digest, Error, SourceUri};

/// Says below `prefix` that the order's Model uses a revision, which may be that of a Model in another cluster: that one keeps
/// what others claim. Once for each Model and revision, however often it is found.
pub(super) async fn claim(
    order: &TrainingOrder,
    prefix: &SourceUri,
    connection: &Connection,
    digest: &Digest,
) -> Result<(), Error> {
    let now = Timestamp::now().to_string();
    let parameters = [(MODEL_UID, &order.uid), (RUN, &order.run)];
    let run = Run {
        id: format!("reused-{}-{}", order.uid, digest.id()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: now.clone(),
        finished: now,
        parameters: parameters.map(|(name, value)| (name.to_owned(), value.clone())).into(),
        dependencies: Vec::new(),
    };
    provenance::write_reuse(prefix, connection, digest, &run).await
}
