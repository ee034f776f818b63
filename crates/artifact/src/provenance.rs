//! Where a revision came from: an [in-toto statement](https://in-toto.io/Statement/v1) with a
//! [SLSA provenance](https://slsa.dev/provenance/v1) predicate, at `provenance/<run-id>.json` beside `revisions/`.
//!
//! Everything that may differ between two makings of one revision is here and not in the manifest. Time is passed in.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::revisions::published_manifest;
use crate::store::{Put, Store};
use crate::{Connection, Digest, Error, MANIFEST_FILE, Manifest, RelativePath, SourceUri};

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE: &str = "https://slsa.dev/provenance/v1";
const BUILD_TYPE: &str = "https://modelwright.dev/revision/v1";
const BUILDER_ID: &str = "https://modelwright.dev/modelwright";
/// The longest provenance that is read back.
const MAX_BYTES: usize = 8 << 20;

/// One run that made or copied a revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The run's id, unique below the prefix: the file's name. One component of a path.
    pub id: String,
    /// The version of the program.
    pub version: String,
    /// When it began, in RFC 3339.
    pub started: String,
    /// When it ended, in RFC 3339.
    pub finished: String,
    /// What it was told (uri, image, pod, SIMD class); never a secret.
    pub parameters: BTreeMap<String, String>,
    /// What it read.
    pub dependencies: Vec<Dependency>,
}

/// Something that a run read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// Its uri.
    pub uri: String,
    /// Its digest.
    pub digest: Digest,
    /// Its entity tags, versions and the like.
    pub annotations: BTreeMap<String, String>,
}

/// The statement, as canonical JSON: the manifest and every file of the revision are its subjects.
pub fn statement(manifest: &Manifest, run: &Run) -> Result<Vec<u8>, Error> {
    let sha256 = |digest: &Digest| json!({"sha256": digest.hex()});
    let mut subjects = vec![json!({"name": MANIFEST_FILE, "digest": sha256(&manifest.digest()?)})];
    for (path, entry) in manifest.files() {
        subjects.push(json!({"name": path.as_str(), "digest": sha256(&entry.sha256)}));
    }
    let dependency = |dependency: &Dependency| -> Value {
        json!({"uri": dependency.uri, "digest": sha256(&dependency.digest), "annotations": dependency.annotations})
    };
    let statement = json!({
        "_type": STATEMENT_TYPE,
        "subject": subjects,
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": run.parameters,
                "resolvedDependencies": run.dependencies.iter().map(dependency).collect::<Vec<_>>(),
            },
            "runDetails": {
                "builder": {"id": BUILDER_ID, "version": {"modelwright": run.version}},
                "metadata": {"invocationId": run.id, "startedOn": run.started, "finishedOn": run.finished},
            },
        },
    });
    serde_json_canonicalizer::to_vec(&statement)
        .map_err(|error| Error::Internal { detail: format!("a provenance could not be written: {error}") })
}

/// Writes the statement of `run` below `prefix`. A run's provenance is written once; the same bytes again are fine.
pub async fn write(
    prefix: &SourceUri,
    connection: &Connection,
    manifest: &Manifest,
    run: &Run,
) -> Result<(), Error> {
    let path = path(&run.id)?;
    let bytes = Bytes::from(statement(manifest, run)?);
    let store = Store::open(prefix, connection)?;
    match store.put(&path, bytes.clone(), true).await? {
        Put::Written => Ok(()),
        Put::Exists => {
            let there = store.read_small(&store.head(&path).await?, MAX_BYTES).await?;
            if there == bytes {
                return Ok(());
            }
            Err(Error::Unsupported {
                what: store.describe(&path),
                problem: "another run of this id has written its provenance; give every run an id of its own"
                    .into(),
            })
        }
    }
}

/// Writes the statement of `run`, which found the published revision `digest` instead of making it: whoever made it must not
/// delete what the Model of `run` serves. What another run of this id has written stays.
pub async fn write_reuse(
    prefix: &SourceUri,
    connection: &Connection,
    digest: &Digest,
    run: &Run,
) -> Result<(), Error> {
    let path = path(&run.id)?;
    let store = Store::open(prefix, connection)?;
    let manifest = published_manifest(&store, digest).await?.ok_or_else(|| {
        let what = format!("the revision {digest} below {prefix}");
        Error::SourceNotFound { what }
    })?;
    store.put(&path, Bytes::from(statement(&manifest, run)?), true).await.map(drop)
}

fn path(id: &str) -> Result<String, Error> {
    if id.contains('/') {
        return Err(Error::UnsafePath { path: id.to_owned(), problem: "the id of a run is one component" });
    }
    Ok(format!("provenance/{}", RelativePath::new(&format!("{id}.json"))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AccessRules, FileEntry, MODEL_FILE};

    fn manifest() -> Manifest {
        let entry = FileEntry { sha256: Digest::of(b"model"), size: 5 };
        Manifest::new(BTreeMap::from([(RelativePath::new(MODEL_FILE).unwrap(), entry)])).unwrap()
    }

    #[test]
    fn statement_names_the_manifest_and_every_file() {
        let manifest = manifest();
        let run = Run { id: "run-1".into(), started: "2026-01-02T03:04:05Z".into(), ..Run::default() };
        let statement: Value = serde_json::from_slice(&statement(&manifest, &run).unwrap()).unwrap();
        assert_eq!(statement["_type"], STATEMENT_TYPE);
        assert_eq!(statement["subject"][0]["digest"]["sha256"], manifest.digest().unwrap().hex());
        assert_eq!(statement["subject"][1]["name"], MODEL_FILE);
        assert_eq!(statement["predicate"]["runDetails"]["metadata"]["invocationId"], "run-1");
    }

    #[tokio::test]
    async fn provenance_is_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let prefix = SourceUri::from_path(folder.path()).unwrap();
        let connection = Connection { rules: AccessRules::LOCAL, ..Connection::default() };
        let mut run = Run { id: "run-1".into(), ..Run::default() };
        for _ in 0..2 {
            write(&prefix, &connection, &manifest(), &run).await.unwrap();
        }
        let written = std::fs::read(folder.path().join("provenance/run-1.json")).unwrap();
        assert_eq!(written, statement(&manifest(), &run).unwrap());
        run.version = "2".into();
        assert_eq!(write(&prefix, &connection, &manifest(), &run).await.unwrap_err().reason(), "Unsupported");
        for id in ["a/b", "..", "", "\0"] {
            run.id = format!("{id}/x");
            assert_eq!(
                write(&prefix, &connection, &manifest(), &run).await.unwrap_err().reason(),
                "UnsafePath"
            );
        }
    }
}
