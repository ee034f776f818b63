//! What is remembered of a Model's training between two runs: `training.json` in the Model's folder.

use modelwright_artifact::Digest;
use modelwright_artifact::provenance::Run;
use serde::{Deserialize, Serialize};

/// What is remembered. It is a cache: without it the data is read again, and the store's memory of inputs says that nothing
/// has to be trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct TrainingRecord {
    /// What the newest revision was made from.
    pub(crate) newest: Option<Newest>,
    /// The revision that was served last.
    pub(crate) active: Option<Digest>,
    /// The last comparison of two revisions.
    pub(crate) comparison: Option<Comparison>,
}

/// The newest revision and how to tell that it still is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Newest {
    /// Names, sizes, etags and times of the data, which change when it does; empty if the store tells nothing of the kind.
    pub(crate) fingerprint: String,
    /// The sha256 of the settings.
    pub(crate) settings: Digest,
    /// The version of the trainer's arithmetic.
    pub(crate) numerics_version: String,
    /// The revision.
    pub(crate) revision: Digest,
    /// How it was made, if it was made here.
    #[serde(default)]
    pub(crate) run: Option<Run>,
    /// The store that it has been published into.
    #[serde(default)]
    pub(crate) published_to: Option<String>,
}

/// How a revision compared with the one that was served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Comparison {
    /// The new revision.
    pub(crate) candidate: Digest,
    /// The one that was served.
    pub(crate) active: Digest,
    /// The primary metric of the served one on the new one's validation rows, or why there is none.
    pub(crate) value: Result<f64, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_of_another_version_counts_as_what_it_has() {
        let record: TrainingRecord = serde_json::from_str(r#"{"active": null, "later": 1}"#).unwrap();
        assert_eq!(record, TrainingRecord::default());
    }
}
