//! What a store remembers of trainings: which revision came of which data, specification and arithmetic.
//!
//! The record is `inputs/<key>.json` beside `revisions/`, the [`key()`] being a digest of what went in. With it a
//! training that was done before is found before it is done again. A record is a hint that is checked each time:
//! whatever is damaged, of another contract, or leads to no revision of these inputs counts as absent.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::path::printable;
use crate::revisions::published_manifest;
use crate::store::Store;
use crate::{CONTRACT, Connection, Digest, Error, Inputs, Manifest, SourceUri};

/// The most bytes of a record.
const MAX_BYTES: usize = 4 << 10;
/// How often a record is looked at that somebody else writes at this moment.
const LOOKS: u32 = 6;
/// The first pause between two looks; the second is twice as long, and so on: 0.3 seconds in all.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// The key of a training: the sha256 of the canonical JSON
/// `{"dataSha256":"<64 hex>","numericsVersion":"…","specSha256":"<64 hex>"}`.
pub fn key(inputs: &Inputs, numerics_version: &str) -> Result<Digest, Error> {
    let document = KeyDocument {
        data_sha256: inputs.data.hex(),
        spec_sha256: inputs.spec.hex(),
        numerics_version: numerics_version.to_owned(),
    };
    Ok(Digest::of(&canonical(&document)?))
}

/// The revision below `prefix` that came of the training `key`, if there is one.
pub async fn find(
    prefix: &SourceUri,
    connection: &Connection,
    key: &Digest,
) -> Result<Option<Digest>, Error> {
    let store = Store::open(prefix, connection)?;
    match look(&store, key).await? {
        Found::Revision(digest) => Ok(Some(digest)),
        Found::Nothing | Found::Unusable => Ok(None),
    }
}

/// Records that the published revision of `manifest` came of its inputs. Returns the revision that the record names:
/// another one if somebody recorded it before, as when the same training ran on another kind of processor.
///
/// The revision must be published below `prefix`, and its manifest say what it was trained from. A record that
/// [`find`] would pass over is replaced. Where a store has no conditional writes, of two who record at the same moment
/// the later wins; both name a revision of these inputs.
pub async fn record(
    prefix: &SourceUri,
    connection: &Connection,
    manifest: &Manifest,
) -> Result<Digest, Error> {
    let store = Store::open(prefix, connection)?;
    let document = Document::of(manifest)?;
    let (key, revision) = (document.key()?, manifest.digest()?);
    if published_manifest(&store, &revision).await?.is_none() {
        let what = format!("the revision {revision} below {prefix}");
        return Err(Error::SourceNotFound { what });
    }
    let bytes = Bytes::from(canonical(&document)?);
    let path = path(&key);
    for attempt in 0..LOOKS {
        match look(&store, &key).await {
            Ok(Found::Revision(digest)) => return Ok(digest),
            Ok(found) => {
                store.put(&path, bytes.clone(), matches!(found, Found::Nothing)).await?;
            }
            Err(Error::SourceChanged { .. }) => {}
            Err(error) => return Err(error),
        }
        // What counts is what is there at the next look. A store that refuses to write because somebody else does may
        // show theirs a little later.
        tokio::time::sleep(LOOK_PAUSE * attempt).await;
    }
    Err(Error::SourceChanged { what: store.describe(&path), problem: "others write it all the time".into() })
}

fn path(key: &Digest) -> String {
    format!("inputs/{}.json", key.hex())
}

enum Found {
    Nothing,
    Revision(Digest),
    /// Something that is no record of these inputs, or leads nowhere.
    Unusable,
}

async fn look(store: &Store, key: &Digest) -> Result<Found, Error> {
    let path = path(key);
    let read = match store.head(&path).await {
        Ok(file) => store.read_small(&file, MAX_BYTES).await,
        Err(error) => Err(error),
    };
    let problem = match read {
        Ok(bytes) => match Document::parse(&bytes, key) {
            Ok(document) => match document.leads_somewhere(store).await? {
                Ok(digest) => return Ok(Found::Revision(digest)),
                Err(problem) => problem,
            },
            Err(problem) => problem,
        },
        Err(Error::SourceNotFound { .. }) => return Ok(Found::Nothing),
        Err(Error::TooLarge { problem, .. }) => problem,
        Err(error) => return Err(error),
    };
    tracing::warn!("{} is passed over: {problem}", store.describe(&path));
    Ok(Found::Unusable)
}

fn canonical(document: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json_canonicalizer::to_vec(document).map_err(|error| Error::Internal {
        detail: format!("a record of inputs could not be written: {error}"),
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyDocument {
    data_sha256: String,
    spec_sha256: String,
    numerics_version: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Document {
    contract: String,
    revision: Digest,
    data_sha256: String,
    spec_sha256: String,
    numerics_version: String,
}

impl Document {
    fn of(manifest: &Manifest) -> Result<Self, Error> {
        let (Some(inputs), Some(numerics_version)) = (manifest.inputs(), manifest.numerics_version()) else {
            let problem = "it does not say what the revision was trained from".into();
            return Err(Error::InvalidManifest { problem });
        };
        Ok(Self {
            contract: CONTRACT.into(),
            revision: manifest.digest()?,
            data_sha256: inputs.data.hex(),
            spec_sha256: inputs.spec.hex(),
            numerics_version: numerics_version.to_owned(),
        })
    }

    /// Reads a record and checks that it is the one of `key`; else what is wrong with it.
    fn parse(bytes: &[u8], key: &Digest) -> Result<Self, String> {
        let document: Self = serde_json::from_slice(bytes).map_err(|error| printable(&error.to_string()))?;
        if document.contract != CONTRACT {
            return Err(format!("it is of another contract than {CONTRACT}"));
        }
        match document.key() {
            Ok(found) if found == *key => Ok(document),
            _ => Err("its inputs are not those of its name".into()),
        }
    }

    fn inputs(&self) -> Option<Inputs> {
        let digest = |hex: &str| Digest::from_hex(hex);
        Some(Inputs { data: digest(&self.data_sha256)?, spec: digest(&self.spec_sha256)? })
    }

    fn key(&self) -> Result<Digest, Error> {
        let inputs = self.inputs().ok_or_else(|| Error::InvalidDigest {
            text: printable(&format!("{} {}", self.data_sha256, self.spec_sha256)),
            problem: "two times 64 hexadecimal digits were expected".into(),
        })?;
        key(&inputs, &self.numerics_version)
    }

    /// The revision, if it is there and was trained from these inputs; else what is wrong.
    async fn leads_somewhere(&self, store: &Store) -> Result<Result<Digest, String>, Error> {
        let manifest = match published_manifest(store, &self.revision).await {
            Ok(Some(manifest)) => manifest,
            Ok(None) => return Ok(Err(format!("its revision {} is not there", self.revision))),
            Err(error @ (Error::RevisionCollision { .. } | Error::InvalidManifest { .. })) => {
                return Ok(Err(error.to_string()));
            }
            Err(error) => return Err(error),
        };
        let trained = (manifest.inputs(), manifest.numerics_version());
        Ok(if trained == (self.inputs(), Some(self.numerics_version.as_str())) {
            Ok(self.revision)
        } else {
            Err(format!("its revision {} was trained from other inputs", self.revision))
        })
    }
}

#[cfg(test)]
mod tests;
