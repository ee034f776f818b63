//! Writes a Model's status, if it is another than the one that is there.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use modelwright_api::{
    Model, ModelStatus,
    contract::{API_VERSION, KIND, field_managers},
};
use serde::Serialize;
use serde_json::Value;

use crate::stores::ModelKey;

/// A Model with nothing but its status. The resource version keeps it from a Model that changed meanwhile, or is a new one of
/// the same name; a uid would not, because the status of custom resources is written without looking at it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OnlyStatus<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: ObjectMeta,
    status: &'a ModelStatus,
}

/// Whether a status says another thing than the one that is there. An empty list or object is none.
pub(super) fn differs(old: Option<&ModelStatus>, new: &ModelStatus) -> bool {
    let value = |status: &ModelStatus| serde_json::to_value(status).ok().and_then(without_empty);
    old.and_then(value) != value(new)
}

fn without_empty(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Array(items) if items.is_empty() => None,
        Value::Object(fields) => {
            let fields = fields.into_iter().filter_map(|(key, value)| Some((key, without_empty(value)?)));
            let fields: serde_json::Map<_, _> = fields.collect();
            (!fields.is_empty()).then_some(Value::Object(fields))
        }
        other => Some(other),
    }
}

/// Writes a status, unless the Model changed since it was read. Returns the Model as it is then.
pub(super) async fn write(
    client: &Client,
    model: &Model,
    key: &ModelKey,
    status: &ModelStatus,
) -> Result<Model, kube::Error> {
    let metadata = ObjectMeta {
        name: Some(key.name.clone()),
        resource_version: model.resource_version(),
        ..ObjectMeta::default()
    };
    let body = OnlyStatus { api_version: API_VERSION, kind: KIND, metadata, status };
    let api: Api<Model> = Api::namespaced(client.clone(), &key.namespace);
    api.patch_status(&key.name, &PatchParams::apply(field_managers::STATUS).force(), &Patch::Apply(&body))
        .await
}

#[cfg(test)]
mod tests {
    use modelwright_api::status::Revisions;

    use super::*;

    #[test]
    fn absent_and_empty_are_the_same_and_nothing_else_is() {
        let empty = ModelStatus { revisions: Some(Revisions::default()), ..ModelStatus::default() };
        assert!(!differs(None, &empty));
        assert!(!differs(Some(&ModelStatus::default()), &empty));
        assert!(!differs(Some(&empty), &ModelStatus::default()));
        let scaled = ModelStatus { replicas: Some(0), ..ModelStatus::default() };
        assert!(differs(Some(&empty), &scaled));
        assert!(differs(Some(&scaled), &ModelStatus::default()));
        assert!(!differs(Some(&scaled), &scaled));
    }
}
