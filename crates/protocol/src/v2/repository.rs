//! The model repository extension: which models there are and whether they are ready.
//!
//! Source: `triton-inference-server/server`, `docs/protocol/extension_model_repository.md`.

use serde::{Deserialize, Serialize};

/// The body of a request `POST /v2/repository/index`; an empty body says the same as an empty object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryIndexRequest {
    /// Whether to list only models that are ready.
    #[serde(default)]
    pub ready: bool,
}

/// An entry of the answer, which is an array.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryModel {
    /// The name of the model.
    pub name: String,
    /// Its version; absent when empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Where it stands; absent if it was never loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ModelState>,
    /// Why it is not ready; absent when empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Where a model stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ModelState {
    /// It answers requests.
    Ready,
    /// It does not.
    Unavailable,
    /// It is being loaded and warmed up.
    Loading,
    /// It answers what it has taken on and takes no more.
    Unloading,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_those_of_the_extension() {
        let ready = RepositoryModel {
            name: "iris".into(),
            version: "abc".into(),
            state: Some(ModelState::Ready),
            reason: String::new(),
        };
        assert_eq!(
            serde_json::to_string(&ready).unwrap(),
            r#"{"name":"iris","version":"abc","state":"READY"}"#
        );
        let absent = RepositoryModel { version: String::new(), state: None, ..ready };
        assert_eq!(serde_json::to_string(&absent).unwrap(), r#"{"name":"iris"}"#);
        let failed = r#"{"name":"m","state":"UNAVAILABLE","reason":"no such file"}"#;
        let entry: RepositoryModel = serde_json::from_str(failed).unwrap();
        assert_eq!(serde_json::to_string(&entry).unwrap(), failed);
    }

    #[test]
    fn a_request_asks_for_all_models_unless_it_says_so() {
        let read = |text: &str| serde_json::from_str::<RepositoryIndexRequest>(text).unwrap().ready;
        assert_eq!((read("{}"), read(r#"{"ready":true,"other":1}"#)), (false, true));
    }
}
