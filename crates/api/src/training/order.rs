//! What the pods of a training are told: one JSON document, which the operator writes as an annotation of the pod
//! ([`annotations::ORDER`](crate::contract::annotations::ORDER)) and every command of ours finds as a file
//! ([`paths::ORDER`](crate::contract::paths::ORDER)) through the downward API. It holds no secret.

use serde::{Deserialize, Serialize};

use super::Training;

/// The most bytes of an order: an API server takes 256 KiB of annotations in all.
pub const MAX_ORDER_BYTES: usize = 200 << 10;

/// One training, as its pods need it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrainingOrder {
    /// The Model's name.
    pub model: String,
    /// The Model's namespace.
    pub namespace: String,
    /// The Model's uid, which provenance remembers: only its own revisions does a Model delete.
    pub uid: String,
    /// `spec.training`, without what only the operator reads.
    pub training: Training,
    /// The name of the run: the same for every attempt that goes on from a checkpoint of it.
    pub run: String,
    /// The number of the attempt, from 0.
    pub attempt: u32,
    /// The value of the annotation `modelwright.dev/retrain-at`. A container of the user's trains anew for another value, since
    /// what its image does may have changed; to the built-in trainer equal inputs always mean an equal result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retrain_at: Option<String>,
    /// The revision that is served now, for a gate with `beat: Active`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<ServedRevision>,
}

/// The revision that is served while another is trained.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServedRevision {
    /// Its digest, `sha256:…`.
    pub digest: String,
    /// Where its bytes are read from, with the credentials of the output.
    pub uri: String,
}

impl TrainingOrder {
    /// Where this Model's revisions, provenance, memory of inputs and checkpoints lie: `OUTPUT/NAMESPACE/NAME`.
    /// `None` without an output.
    pub fn store(&self) -> Option<String> {
        let output = self.training.output.as_ref()?;
        Some(store(&output.uri, &self.namespace, &self.model))
    }
}

/// Where a Model's revisions, provenance, memory of inputs and checkpoints lie beneath `spec.training.output.uri`.
pub fn store(output: &str, namespace: &str, model: &str) -> String {
    format!("{}/{namespace}/{model}", output.trim_end_matches('/'))
}

/// Which revisions a delete Job may delete, in the same way as a [`TrainingOrder`].
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeletionOrder {
    /// The Model's name.
    pub model: String,
    /// The Model's namespace.
    pub namespace: String,
    /// The Model's uid: what provenance does not ascribe to it stays.
    pub uid: String,
    /// `spec.training.output.uri`.
    pub output: String,
    /// How many revisions stay, the newest by their provenance; `None`: none stays, and neither do the memory of inputs,
    /// provenance and checkpoints (`deletionPolicy: DeleteArtifacts`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<u32>,
    /// Digests or ids of revisions that stay in any case: active, candidate, pinned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protected: Vec<String>,
    /// Ids of the revisions to delete, as a list-only Job found them; `None`: only list what would be deleted, or with no
    /// `keep` delete all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete: Option<Vec<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_lies_beneath_the_output_whether_or_not_that_ends_with_a_slash() {
        for output in ["s3://models/all/", "s3://models/all"] {
            assert_eq!(store(output, "demo", "bc"), "s3://models/all/demo/bc");
        }
    }
}
