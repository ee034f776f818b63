//! Which of the pods that train together have trained to their end: an object each in `runs/<run>/gang/<attempt>/`, named by its rank.
//!
//! The first pod publishes, and what it publishes is remembered as trained. So it waits for the others: what a gang left that lost one
//! of them is nobody's result.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::store::Store;
use crate::{Connection, Error, RelativePath, RemoteFile, SourceUri};

/// What an object says: it only has to be there.
const CONTENT: &[u8] = b"{}";

/// Says that the pod of this rank is done with an attempt at `run` below `prefix`.
pub async fn arrive(
    prefix: &SourceUri,
    connection: &Connection,
    run: &str,
    attempt: u32,
    rank: u32,
) -> Result<(), Error> {
    let store = open(prefix, connection, run)?;
    store.put(&format!("{attempt}/{rank}"), Bytes::from_static(CONTENT), false).await.map(drop)
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
            arrive(&prefix, &connection, "run-1", attempt, rank).await.unwrap();
        }
        assert_eq!((there(0).await, there(1).await, there(10).await), (vec![1], vec![1, 2], vec![3]));
        forget(&prefix, &connection, "run-1").await.unwrap();
        assert_eq!((there(1).await, there(10).await), (vec![], vec![]));
        assert!(arrive(&prefix, &connection, "../run-1", 0, 1).await.is_err());
    }
}
