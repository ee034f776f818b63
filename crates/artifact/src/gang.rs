//! Which of the pods that train together have trained to their end: an object each in `runs/<run>/gang/<attempt>/`, named by its rank.
//!
//! The first pod publishes, and what it publishes is remembered as trained from its inputs. So it waits for the others, and compares
//! what they had: what a gang left that lost one of them, or that read data while it was replaced, is nobody's result.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::store::Store;
use crate::{Connection, Digest, Error, RelativePath, RemoteFile, SourceUri};

/// The most bytes of an object.
const MAX_BYTES: usize = 4 << 10;

/// What an object says.
#[derive(Serialize, Deserialize)]
struct Arrival {
    /// The key of what the pod's training is made from. Earlier versions did not say it.
    inputs: Option<Digest>,
}

/// Says that the pod of this rank is done with an attempt at `run` below `prefix`, and the key of its inputs.
pub async fn arrive(
    prefix: &SourceUri,
    connection: &Connection,
    run: &str,
    attempt: u32,
    rank: u32,
    inputs: Digest,
) -> Result<(), Error> {
    let store = open(prefix, connection, run)?;
    let bytes = serde_json_canonicalizer::to_vec(&Arrival { inputs: Some(inputs) })
        .map_err(|error| Error::Internal { detail: format!("an arrival could not be written: {error}") })?;
    store.put(&path(attempt, rank), Bytes::from(bytes), false).await.map(drop)
}

/// The key of the inputs of a pod that is done with an attempt; `None` if it does not say.
pub async fn inputs_of(
    prefix: &SourceUri,
    connection: &Connection,
    run: &str,
    attempt: u32,
    rank: u32,
) -> Result<Option<Digest>, Error> {
    let store = open(prefix, connection, run)?;
    let bytes = store.read_small(&store.head(&path(attempt, rank)).await?, MAX_BYTES).await?;
    Ok(serde_json::from_slice(&bytes).ok().and_then(|arrival: Arrival| arrival.inputs))
}

/// The ranks that are done with an attempt.
pub async fn arrived(
    prefix: &SourceUri,
    connection: &Connection,
    run: &str,
    attempt: u32,
) -> Result<BTreeSet<u32>, Error> {
    let all = list(&open(prefix, connection, run)?, connection).await?;
    let rank = |file: &RemoteFile| {
        let (of, rank) = file.path.split_once('/')?;
        (of.parse() == Ok(attempt)).then(|| rank.parse().ok())?
    };
    Ok(all.iter().filter_map(rank).collect())
}

/// Deletes what the attempts at `run` said: the run is over.
pub async fn forget(prefix: &SourceUri, connection: &Connection, run: &str) -> Result<(), Error> {
    let store = open(prefix, connection, run)?;
    for file in list(&store, connection).await? {
        store.delete(&file.path).await?;
    }
    Ok(())
}

fn path(attempt: u32, rank: u32) -> String {
    format!("{attempt}/{rank}")
}

fn open(prefix: &SourceUri, connection: &Connection, run: &str) -> Result<Store, Error> {
    if run.contains('/') {
        return Err(Error::UnsafePath { path: run.to_owned(), problem: "the id of a run is one component" });
    }
    Store::open(&prefix.below(&format!("runs/{}/gang", RelativePath::new(run)?))?, connection)
}

async fn list(store: &Store, connection: &Connection) -> Result<Vec<RemoteFile>, Error> {
    match store.list(&connection.limits).await {
        Ok(listed) => Ok(listed.unwrap_or_default()),
        // A folder that was never made.
        Err(Error::SourceNotFound { .. }) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AccessRules;

    #[tokio::test]
    async fn pods_of_an_attempt_are_known_until_the_run_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let prefix = SourceUri::from_path(folder.path()).unwrap();
        let connection = Connection { rules: AccessRules::LOCAL, ..Connection::default() };
        let there = async |attempt| {
            arrived(&prefix, &connection, "run-1", attempt).await.unwrap().into_iter().collect::<Vec<_>>()
        };
        assert_eq!(there(0).await, [0; 0]);
        for (attempt, rank) in [(0, 1), (1, 2), (1, 1), (1, 2), (10, 3)] {
            arrive(&prefix, &connection, "run-1", attempt, rank, Digest::of(b"data")).await.unwrap();
        }
        let inputs = async |rank| inputs_of(&prefix, &connection, "run-1", 1, rank).await;
        assert_eq!(inputs(2).await.unwrap(), Some(Digest::of(b"data")));
        std::fs::write(folder.path().join("runs/run-1/gang/1/1"), "{}").unwrap();
        assert_eq!(inputs(1).await.unwrap(), None, "of an earlier version");
        assert_eq!(inputs(3).await.unwrap_err().reason(), "SourceNotFound");
        assert_eq!((there(0).await, there(1).await, there(10).await), (vec![1], vec![1, 2], vec![3]));
        forget(&prefix, &connection, "run-1").await.unwrap();
        assert_eq!((there(1).await, there(10).await), (vec![], vec![]));
        assert!(arrive(&prefix, &connection, "../run-1", 0, 1, Digest::of(b"data")).await.is_err());
    }
}
