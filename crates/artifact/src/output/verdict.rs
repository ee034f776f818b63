//! What was found of a training's output, for whoever publishes it: every file with its sha256, and what the gate says.
//!
//! The one who checks runs the model of a stranger and holds no credentials; the one who publishes holds them and runs
//! nothing. The verdict is all that passes between them.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{OutputError, read_file};
use crate::folder::Folder;
use crate::path::printable;
use crate::{Error, MAX_MANIFEST_BYTES, Manifest};

/// The name of the file in the folder of records.
pub const VERDICT_FILE: &str = "verdict.json";
/// Its name until it is whole.
const UNFINISHED: &str = ".modelwright-verdict.partial";
/// The version of the file.
const VERSION: &str = "1";

/// A training's output that may be published.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputVerdict {
    /// The files, and what the revision was trained from.
    pub manifest: Manifest,
    /// What the training measured.
    pub metrics: BTreeMap<String, f64>,
    /// The same of something simple, where the training says so.
    pub baseline: BTreeMap<String, f64>,
    /// What the gate has against it; it is published all the same, and not served.
    pub objections: Vec<Objection>,
}

/// One reason of a gate against a revision.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Objection {
    /// In `CamelCase`.
    pub reason: String,
    /// For people.
    pub message: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Document {
    version: String,
    manifest: Value,
    #[serde(default)]
    metrics: BTreeMap<String, f64>,
    #[serde(default)]
    baseline: BTreeMap<String, f64>,
    #[serde(default)]
    objections: Vec<Objection>,
}

impl OutputVerdict {
    /// Writes it into the folder of records, whole or not at all.
    pub fn write(&self, records: &Path) -> Result<(), Error> {
        let internal = |error: serde_json::Error| Error::Internal {
            detail: format!("a verdict could not be written: {error}"),
        };
        let document = Document {
            version: VERSION.to_owned(),
            manifest: serde_json::from_slice(&self.manifest.to_bytes()?).map_err(internal)?,
            metrics: self.metrics.clone(),
            baseline: self.baseline.clone(),
            objections: self.objections.clone(),
        };
        let bytes = serde_json::to_vec(&document).map_err(internal)?;
        Folder::make(records)?.write_whole(UNFINISHED, VERDICT_FILE, &bytes)
    }

    /// Reads it; `None` if nothing was checked.
    pub fn read(records: &Path) -> Result<Option<Self>, OutputError> {
        let Some(bytes) = read_file(records, VERDICT_FILE, 2 * MAX_MANIFEST_BYTES as u64)? else {
            return Ok(None);
        };
        Ok(Some(Self::parse(&bytes)?))
    }

    fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let invalid =
            |problem: String| Error::InvalidManifest { problem: format!("{VERDICT_FILE}: {problem}") };
        let document: Document =
            serde_json::from_slice(bytes).map_err(|error| invalid(printable(&error.to_string())))?;
        if document.version != VERSION {
            return Err(invalid(format!("it is not of version {VERSION}; check with this release")));
        }
        let manifest = serde_json_canonicalizer::to_vec(&document.manifest)
            .map_err(|error| invalid(printable(&error.to_string())))?;
        Ok(Self {
            manifest: Manifest::parse(&manifest)?,
            metrics: document.metrics,
            baseline: document.baseline,
            objections: document.objections,
        })
    }
}
