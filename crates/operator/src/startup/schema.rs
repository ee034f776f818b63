//! What one schema of Models lacks that another has.

use modelwright_api::contract::{API_VERSION, KIND};
use serde_json::Value;

use super::Definition;

/// These the API server adds to every object itself.
const EVERY_OBJECTS: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// What an `OpenAPI` document of our group says of Models, compared with the schema that we know.
pub(super) fn judge(known: &Value, document: &Value) -> Definition {
    let schemas = document.pointer("/components/schemas").and_then(Value::as_object);
    let Some(served) =
        schemas.into_iter().flat_map(|schemas| schemas.values()).find(|schema| is_models(schema))
    else {
        return Definition::Missing;
    };
    let mut missing = Vec::new();
    for (name, property) in properties(known) {
        if !EVERY_OBJECTS.contains(&name.as_str()) {
            lacking(property, property_of(served, name), name, &mut missing);
        }
    }
    if missing.is_empty() { Definition::Current } else { Definition::Outdated(missing) }
}

/// Whether a schema is that of a whole Model, as the API server marks it.
fn is_models(schema: &Value) -> bool {
    let kinds = schema.get("x-kubernetes-group-version-kind").and_then(Value::as_array);
    kinds.into_iter().flatten().any(|kind| {
        let part = |name: &str| kind.get(name).and_then(Value::as_str).unwrap_or_default();
        part("kind") == KIND && format!("{}/{}", part("group"), part("version")) == API_VERSION
    })
}

/// Adds the path of everything that `known` has and `served` has not. What is missing as a whole counts once.
fn lacking(known: &Value, served: Option<&Value>, path: &str, missing: &mut Vec<String>) {
    let Some(served) = served else {
        missing.push(path.to_owned());
        return;
    };
    // Whatever stands there is kept.
    if served.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true)) {
        return;
    }
    for value in values(known)
        .filter(|value| served.get("enum").is_some() && !values(served).any(|other| other == *value))
    {
        missing.push(format!("{path}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
    }
    for (name, property) in properties(known) {
        lacking(property, property_of(served, name), &format!("{path}.{name}"), missing);
    }
    for (key, mark) in [("items", "[]"), ("additionalProperties", ".*")] {
        if let Some(inner) = known.get(key).filter(|inner| inner.is_object()) {
            lacking(inner, served.get(key), &format!("{path}{mark}"), missing);
        }
    }
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

fn property_of<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    schema.get("properties")?.get(name)
}

fn values(schema: &Value) -> impl Iterator<Item = &Value> {
    schema.get("enum").and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The document of a cluster whose definition is ours, changed.
    fn document(change: impl FnOnce(&mut Value)) -> Value {
        let mut model = modelwright_api::crd::schema().clone();
        model["x-kubernetes-group-version-kind"] =
            json!([{"group": "modelwright.dev", "kind": "Model", "version": "v1alpha1"}]);
        model["properties"]["metadata"] = json!({"allOf": [{"$ref": "#/components/schemas/ObjectMeta"}]});
        change(&mut model);
        json!({"components": {"schemas": {
            "dev.modelwright.v1alpha1.ModelList": {"properties": {}},
            "dev.modelwright.v1alpha1.Model": model,
        }}})
    }

    fn judged(change: impl FnOnce(&mut Value)) -> Definition {
        judge(modelwright_api::crd::schema(), &document(change))
    }

    fn remove(model: &mut Value, parent: &str, name: &str) {
        assert!(model.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name).is_some());
    }

    #[test]
    fn equal_definition_is_current() {
        assert_eq!(judged(|_| {}), Definition::Current);
    }

    #[test]
    fn newer_definition_is_current() {
        let change = |model: &mut Value| {
            model["properties"]["spec"]["properties"]["later"] = json!({"type": "string"});
        };
        assert_eq!(judged(change), Definition::Current);
    }

    #[test]
    fn missing_field_is_named_once_however_much_is_in_it() {
        let change = |model: &mut Value| {
            remove(model, "/properties/spec/properties", "rollout");
            remove(model, "/properties/status/properties/conditions/items/properties", "reason");
        };
        let expected = ["spec.rollout", "status.conditions[].reason"].map(str::to_owned);
        assert_eq!(judged(change), Definition::Outdated(expected.into()));
    }

    #[test]
    fn missing_value_of_an_enum_is_named() {
        let at = "/properties/spec/properties/serving/properties/executionProvider";
        let change = |model: &mut Value| {
            model.pointer_mut(at).unwrap()["enum"] = json!(["CPU"]);
        };
        let expected = vec!["spec.serving.executionProvider=CUDA".to_owned()];
        assert_eq!(judged(change), Definition::Outdated(expected));
    }

    #[test]
    fn field_that_keeps_everything_lacks_nothing() {
        let at = "/properties/spec/properties/serving";
        let change = |model: &mut Value| {
            *model.pointer_mut(at).unwrap() = json!({"x-kubernetes-preserve-unknown-fields": true});
        };
        assert_eq!(judged(change), Definition::Current);
    }

    #[test]
    fn document_without_models_in_our_version_has_no_definition() {
        let other = document(|model| model["x-kubernetes-group-version-kind"][0]["version"] = json!("v1"));
        assert_eq!(judge(modelwright_api::crd::schema(), &other), Definition::Missing);
        assert_eq!(judge(modelwright_api::crd::schema(), &json!({})), Definition::Missing);
    }
}
