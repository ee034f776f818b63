//! `manifest.json`: what a revision consists of, and therefore what it is.
//!
//! A manifest is canonical JSON ([RFC 8785](https://www.rfc-editor.org/rfc/rfc8785)); the sha256 of those bytes is the
//! revision's digest. It holds nothing that could differ between two makings of the same revision: no uri, no time,
//! no image. Those are in the [provenance](crate::provenance).

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::path::printable;
use crate::{Digest, Error, RelativePath};

/// The contract that this version of the project writes and reads.
pub const CONTRACT: &str = "1";
/// The name of the manifest in a revision's folder.
pub const MANIFEST_FILE: &str = "manifest.json";
/// The name of the model in a revision's folder.
pub const MODEL_FILE: &str = "model.onnx";
/// The most files that a revision may have.
pub const MAX_FILES: usize = 4096;
/// The most bytes that a manifest may have.
pub const MAX_MANIFEST_BYTES: usize = 4 << 20;
/// The largest integer that JSON carries exactly (RFC 8785 §3.2.2.3): bound of sizes and seeds.
const MAX_EXACT: u64 = (1 << 53) - 1;

/// What one file of a revision must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// The sha256 of the bytes.
    pub sha256: Digest,
    /// The number of bytes; at most 2^53 - 1.
    pub size: u64,
}

/// What a training read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inputs {
    /// The sha256 of the data.
    pub data: Digest,
    /// The sha256 of the resolved training specification.
    pub spec: Digest,
}

/// A revision's files and, if it was trained here, what it was trained from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    files: BTreeMap<RelativePath, FileEntry>,
    inputs: Option<Inputs>,
    numerics_version: Option<String>,
    seed: Option<u64>,
}

impl Manifest {
    /// A manifest of `files` alone.
    ///
    /// Refuses no files, more than [`MAX_FILES`], a file named `manifest.json`, a path that is the folder of another,
    /// and sizes over 2^53 - 1.
    pub fn new(files: BTreeMap<RelativePath, FileEntry>) -> Result<Self, Error> {
        check_files(&files)?;
        Ok(Self { files, inputs: None, numerics_version: None, seed: None })
    }

    /// Records what the revision was trained from. The seed is at most 2^53 - 1.
    pub fn with_training(
        mut self,
        inputs: Inputs,
        numerics_version: Option<String>,
        seed: Option<u64>,
    ) -> Result<Self, Error> {
        if let Some(seed) = seed.filter(|seed| *seed > MAX_EXACT) {
            return Err(invalid(format!(
                "seed {seed} is over 2^53 - 1, the largest that JSON carries exactly"
            )));
        }
        (self.inputs, self.numerics_version, self.seed) = (Some(inputs), numerics_version, seed);
        Ok(self)
    }

    /// Reads a manifest.
    ///
    /// Refuses another contract version, unknown and repeated keys, unsafe paths, and bytes that are not the canonical
    /// form: two different manifests can then never mean the same revision.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(invalid(format!("it has {} bytes, more than {MAX_MANIFEST_BYTES}", bytes.len())));
        }
        let version: ContractOnly =
            serde_json::from_slice(bytes).map_err(|error| invalid(printable(&error.to_string())))?;
        if version.contract != CONTRACT {
            return Err(invalid(format!(
                "its contract is {:?}; this version reads {CONTRACT:?}: use a newer modelwright",
                version.contract.chars().take(20).collect::<String>()
            )));
        }
        let document: Document =
            serde_json::from_slice(bytes).map_err(|error| invalid(printable(&error.to_string())))?;
        let manifest = document.into_manifest()?;
        if manifest.to_bytes()? != bytes {
            return Err(invalid(
                "it is not in the canonical form of RFC 8785, so its digest would mean nothing".into(),
            ));
        }
        Ok(manifest)
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        serde_json_canonicalizer::to_vec(&Document::from(self))
            .map_err(|error| Error::Internal { detail: format!("a manifest could not be written: {error}") })
    }

    /// The revision's digest: the sha256 of the canonical bytes.
    pub fn digest(&self) -> Result<Digest, Error> {
        Ok(Digest::of(&self.to_bytes()?))
    }

    /// The files, by path.
    pub fn files(&self) -> &BTreeMap<RelativePath, FileEntry> {
        &self.files
    }

    /// What the revision was trained from, if it was trained here.
    pub fn inputs(&self) -> Option<Inputs> {
        self.inputs
    }

    /// The version of the trainer's arithmetic, if recorded.
    pub fn numerics_version(&self) -> Option<&str> {
        self.numerics_version.as_deref()
    }

    /// The seed of the training, if recorded.
    pub fn seed(&self) -> Option<u64> {
        self.seed
    }

    /// The bytes of all files together.
    pub fn total_bytes(&self) -> u64 {
        self.files.values().fold(0, |sum, file| sum.saturating_add(file.size))
    }

    /// Whether `pin` names this revision: by its own digest or, where the model is its only file, by that file's.
    pub fn matches(&self, pin: &Digest) -> Result<bool, Error> {
        let only_model = self.files.len() == 1;
        let model = self.files.get(MODEL_FILE).filter(|_| only_model);
        Ok(model.is_some_and(|file| file.sha256 == *pin) || self.digest()? == *pin)
    }
}

fn invalid(problem: String) -> Error {
    Error::InvalidManifest { problem }
}

fn check_files(files: &BTreeMap<RelativePath, FileEntry>) -> Result<(), Error> {
    if files.is_empty() {
        return Err(invalid("it names no files".into()));
    }
    if files.len() > MAX_FILES {
        return Err(invalid(format!("it names {} files, more than {MAX_FILES}", files.len())));
    }
    for (path, file) in files {
        if path.as_str() == MANIFEST_FILE {
            return Err(invalid(format!("it names {MANIFEST_FILE} itself as a file")));
        }
        if file.size > MAX_EXACT {
            return Err(invalid(format!("the size of {path}, {}, is over 2^53 - 1", file.size)));
        }
        let mut parent = path.as_str();
        while let Some((above, _)) = parent.rsplit_once('/') {
            if let Some((folder, _)) = files.get_key_value(above) {
                return Err(invalid(format!("{folder} cannot be a file and the folder of {path}")));
            }
            parent = above;
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct ContractOnly {
    contract: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    contract: String,
    files: Files,
    #[serde(skip_serializing_if = "Option::is_none")]
    inputs: Option<InputsDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trainer: Option<TrainerDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileDocument {
    sha256: String,
    size: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct InputsDocument {
    data_sha256: String,
    spec_sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct TrainerDocument {
    #[serde(skip_serializing_if = "Option::is_none")]
    numerics_version: Option<String>,
}

/// Files by path; unlike a plain map it refuses a repeated path and stops at [`MAX_FILES`].
#[derive(Serialize)]
#[serde(transparent)]
struct Files(BTreeMap<RelativePath, FileDocument>);

impl<'de> Deserialize<'de> for Files {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FilesVisitor;

        impl<'de> Visitor<'de> for FilesVisitor {
            type Value = Files;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of files by path")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Files, A::Error> {
                let mut files = BTreeMap::new();
                while let Some((path, file)) = map.next_entry::<RelativePath, FileDocument>()? {
                    if files.len() == MAX_FILES {
                        return Err(A::Error::custom(format!("more than {MAX_FILES} files")));
                    }
                    if files.contains_key(&path) {
                        return Err(A::Error::custom(format!("{path} is named twice")));
                    }
                    files.insert(path, file);
                }
                Ok(Files(files))
            }
        }

        deserializer.deserialize_map(FilesVisitor)
    }
}

impl Document {
    fn into_manifest(self) -> Result<Manifest, Error> {
        let digest = |what: &str, hex: &str| {
            Digest::from_hex(hex)
                .ok_or_else(|| invalid(format!("{what} is not 64 lower-case hexadecimal digits")))
        };
        let mut files = BTreeMap::new();
        for (path, file) in self.files.0 {
            let sha256 = digest(&format!("the sha256 of {path}"), &file.sha256)?;
            files.insert(path, FileEntry { sha256, size: file.size });
        }
        let inputs = match self.inputs {
            None => None,
            Some(inputs) => Some(Inputs {
                data: digest("inputs.dataSha256", &inputs.data_sha256)?,
                spec: digest("inputs.specSha256", &inputs.spec_sha256)?,
            }),
        };
        if self.seed.is_some_and(|seed| seed > MAX_EXACT) {
            return Err(invalid("seed is over 2^53 - 1".into()));
        }
        let numerics_version = self.trainer.and_then(|trainer| trainer.numerics_version);
        Ok(Manifest { inputs, numerics_version, seed: self.seed, ..Manifest::new(files)? })
    }
}

impl From<&Manifest> for Document {
    fn from(manifest: &Manifest) -> Self {
        let file = |file: &FileEntry| FileDocument { sha256: file.sha256.hex(), size: file.size };
        Self {
            contract: CONTRACT.into(),
            files: Files(manifest.files.iter().map(|(path, entry)| (path.clone(), file(entry))).collect()),
            inputs: manifest.inputs.map(|inputs| InputsDocument {
                data_sha256: inputs.data.hex(),
                spec_sha256: inputs.spec.hex(),
            }),
            trainer: manifest
                .numerics_version
                .clone()
                .map(|version| TrainerDocument { numerics_version: Some(version) }),
            seed: manifest.seed,
        }
    }
}

#[cfg(test)]
mod tests;
