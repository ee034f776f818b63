//! How this machine reaches what a training reads and writes.

use std::sync::Arc;
use std::time::Duration;

use modelwright_api::training::{DataSource, Output};
use modelwright_artifact::{AccessRules, Connection, Retry, SourceUri};

use crate::failure::Failure;
use crate::local::folder::ModelFolder;
use crate::local::manifests::{Entry, Secrets};
use crate::training::data::Reached;
use crate::training::store::Store;

/// How long a look at data may take: mostly there is something to serve in the meantime.
pub(super) const LOOK: Retry = Retry { timeout: Duration::from_secs(5), attempts: 3 };

/// Where rows lie.
pub(super) fn source(source: &DataSource, entry: &Entry, secrets: &Secrets) -> Result<Reached, Failure> {
    Ok(Reached {
        uri: SourceUri::parse(&source.uri, Some(&entry.folder))?,
        connection: Connection {
            credentials: secrets.find(&source.uri, source.credentials_secret_ref.as_ref())?,
            rules: AccessRules::LOCAL,
            retry: Retry::FETCH,
            ..Connection::default()
        },
        explain: Arc::new(Failure::from),
    })
}

/// The Model's folder on this machine.
pub(super) fn kept(folder: &ModelFolder) -> Result<Store, Failure> {
    let connection = Connection { rules: AccessRules::LOCAL, ..Connection::default() };
    let uri = SourceUri::from_path(folder.path())?;
    Ok(Store::new(Reached { uri, connection, explain: Arc::new(Failure::from) }))
}

/// `OUTPUT/NAMESPACE/NAME`.
pub(super) fn output(output: &Output, entry: &Entry, secrets: &Secrets) -> Result<Store, Failure> {
    let uri = modelwright_api::training::order::store(&output.uri, entry.namespace(), entry.name());
    Ok(Store::new(Reached {
        uri: SourceUri::parse(&uri, Some(&entry.folder))?,
        connection: Connection {
            credentials: secrets.find(&output.uri, output.credentials_secret_ref.as_ref())?,
            rules: AccessRules::LOCAL,
            retry: Retry::FETCH,
            ..Connection::default()
        },
        explain: Arc::new(Failure::from),
    }))
}
