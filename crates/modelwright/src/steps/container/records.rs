//! `inputs.json`: what `fetch` found of the data, for the steps after it.

use std::path::Path;

use modelwright_api::contract::ExitCode;
use modelwright_artifact::provenance::Dependency;
use modelwright_artifact::{Digest, Error, Inputs, output};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

const FILE: &str = "inputs.json";
/// Its name until it is whole.
const UNFINISHED: &str = "inputs.json.partial";
/// Names of all files of data.
const MAX_BYTES: u64 = 16 << 20;

/// What a training is made from.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::steps) struct InputsRecord {
    /// Of the data.
    pub(in crate::steps) data: Digest,
    /// Of the container and its settings.
    pub(in crate::steps) spec: Digest,
    /// Of both.
    pub(in crate::steps) inputs_digest: Digest,
    /// What the data looked like without reading it, where that can be compared.
    pub(in crate::steps) fingerprint: Option<String>,
    /// When the data was fetched, in RFC 3339.
    pub(in crate::steps) started: String,
    /// Every file of data.
    pub(in crate::steps) files: Vec<Dependency>,
}

impl InputsRecord {
    pub(in crate::steps) const fn inputs(&self) -> Inputs {
        Inputs { data: self.data, spec: self.spec }
    }

    pub(super) fn write(&self, records: &Path) -> Result<(), Failure> {
        let bytes = serde_json::to_vec(self)
            .map_err(|error| Failure::bug(format!("the record of inputs does not serialise: {error}")))?;
        let (unfinished, path) = (records.join(UNFINISHED), records.join(FILE));
        std::fs::create_dir_all(records)
            .and_then(|()| std::fs::write(&unfinished, bytes))
            .and_then(|()| std::fs::rename(&unfinished, &path))
            .map_err(|source| Error::CannotWrite { path, source }.into())
    }

    pub(in crate::steps) fn read(records: &Path) -> Result<Self, Failure> {
        let missing = |problem: &str| {
            let message =
                format!("{} {problem}; run `modelwright fetch --config` first", records.join(FILE).display());
            Failure::new(ExitCode::InputMissing, "RecordMissing", message)
        };
        let bytes = output::read_file(records, FILE, MAX_BYTES)?.ok_or_else(|| missing("is not there"))?;
        serde_json::from_slice(&bytes).map_err(|_| missing("is of another version"))
    }
}
