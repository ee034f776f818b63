//! How a training's pod reaches what it reads and writes.

use std::sync::Arc;

use modelwright_api::contract::{environment, paths};
use modelwright_api::training::DataSource;
use modelwright_api::training::order::TrainingOrder;

use crate::arguments::StepArguments;
use crate::failure::Failure;
use crate::steps::container::{Reader, invalid};
use crate::training::data::{Places, Reached, Rows};
use crate::training::store::Store;

/// Refuses a Secret by option: the order names one for each place.
pub(in crate::steps) fn refuse_secret(step: &StepArguments) -> Result<(), Failure> {
    match &step.credentials_secret {
        None => Ok(()),
        Some(name) => Err(Failure::invalid_arguments(format!(
            "--credentials-secret {name} is for fetch and resolve; here the order of the training names the Secrets"
        ))),
    }
}

/// Where the order's rows lie.
pub(in crate::steps) fn data(order: &TrainingOrder, step: &StepArguments) -> Result<Places, Failure> {
    Places::new(&order.training.data, |source, rows| source_of(source, rows, step))
}

fn source_of(source: &DataSource, rows: Rows, step: &StepArguments) -> Result<Reached, Failure> {
    let (prefix, volume) = match rows {
        Rows::Training => ("", paths::SOURCE),
        Rows::Validation => (environment::VALIDATION_PREFIX, paths::VALIDATION),
        Rows::Test => (environment::TEST_PREFIX, paths::TEST),
    };
    let secret = source.credentials_secret_ref.as_ref().map(|secret| secret.name.clone());
    reached(&source.uri, secret, prefix, Some(volume), step)
}

/// The Model's part of the store of revisions.
pub(super) fn store(order: &TrainingOrder, step: &StepArguments) -> Result<Store, Failure> {
    let (Some(output), Some(prefix)) = (&order.training.output, order.store()) else {
        return Err(invalid("it has no training.output, so there is nowhere to publish to"));
    };
    let secret = output.credentials_secret_ref.as_ref().map(|secret| secret.name.clone());
    reached(&prefix, secret, environment::OUTPUT_PREFIX, None, step).map(Store::new)
}

fn reached(
    uri: &str,
    secret: Option<String>,
    prefix: &str,
    volume: Option<&str>,
    step: &StepArguments,
) -> Result<Reached, Failure> {
    let reader = Reader::new(uri, secret, prefix, volume, step)?;
    let (uri, connection) = (reader.uri.clone(), reader.connection.clone());
    Ok(Reached { uri, connection, explain: Arc::new(move |error| reader.explain(error)) })
}
