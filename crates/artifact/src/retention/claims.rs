//! What provenance says of who made which revision.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Deserialize;

use super::{MODEL_UID, RUN};
use crate::{Digest, MANIFEST_FILE};

/// One provenance about one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Claim {
    /// The provenance's file, below the prefix.
    pub(super) path: String,
    /// The Model that made the revision, if it says which.
    pub(super) uid: Option<String>,
    /// The run that made it: the name of a folder in `runs/`.
    pub(super) run: String,
    /// When that ended, if it says so.
    pub(super) finished: Option<Timestamp>,
}

/// What all provenance of a store says.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    pub(super) by_revision: BTreeMap<Digest, Vec<Claim>>,
    /// Revisions that something speaks of which cannot be understood.
    pub(super) undecided: BTreeSet<Digest>,
    /// The texts of what cannot be understood.
    unread: Vec<String>,
}

impl Claims {
    /// Takes a provenance into account.
    pub(super) fn add(&mut self, path: &str, content: &[u8]) {
        match parse(path, content) {
            Some((digest, claim)) => self.by_revision.entry(digest).or_default().push(claim),
            None => self.unread.push(String::from_utf8_lossy(content).to_lowercase()),
        }
    }

    /// Decides, when all was added, which revisions are spoken of by what cannot be understood.
    pub(super) fn complete(mut self) -> Self {
        let spoken_of = |digest: &&Digest| {
            let hex = digest.hex();
            self.unread.iter().any(|text| text.contains(&hex))
        };
        self.undecided = self.by_revision.keys().filter(spoken_of).copied().collect();
        self
    }

    /// Whether everything that is said is said of the Model with this uid.
    pub(super) fn are_all_of(&self, uid: &str) -> bool {
        self.unread.is_empty() && self.all().all(|claim| claim.uid.as_deref() == Some(uid))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Claim> {
        self.by_revision.values().flatten()
    }
}

#[derive(Deserialize)]
struct Statement {
    subject: Vec<Subject>,
    predicate: Predicate,
}

#[derive(Deserialize)]
struct Subject {
    name: String,
    digest: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Predicate {
    build_definition: BuildDefinition,
    run_details: RunDetails,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BuildDefinition {
    #[serde(default)]
    external_parameters: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct RunDetails {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    invocation_id: String,
    finished_on: String,
}

/// Reads a statement of ours about one revision.
fn parse(path: &str, content: &[u8]) -> Option<(Digest, Claim)> {
    let Statement { subject, predicate } = serde_json::from_slice(content).ok()?;
    let mut manifests = subject.iter().filter(|subject| subject.name == MANIFEST_FILE);
    let manifest = manifests.next().filter(|_| manifests.next().is_none())?;
    let digest = Digest::from_hex(manifest.digest.get("sha256")?)?;
    let parameters = &predicate.build_definition.external_parameters;
    let parameter = |key: &str| Some(parameters.get(key)?.as_str()?.to_owned());
    let Metadata { invocation_id, finished_on } = predicate.run_details.metadata;
    let claim = Claim {
        path: path.to_owned(),
        uid: parameter(MODEL_UID).filter(|uid| !uid.is_empty()),
        run: parameter(RUN).unwrap_or(invocation_id),
        finished: finished_on.parse().ok(),
    };
    Some((digest, claim))
}
