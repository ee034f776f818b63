use std::path::Path;

use serde_json::{Map, Value};

use super::*;
use crate::{manifest, rules};

/// Calls `visit` with every schema beneath this one, and its path.
fn each_schema(schema: &Value, path: &str, visit: &mut impl FnMut(&str, &Map<String, Value>)) {
    let Some(object) = schema.as_object() else { return };
    visit(path, object);
    for (key, below) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
        each_schema(below, &format!("{path}.{key}"), visit);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(below) = object.get(key) {
            each_schema(below, &format!("{path}.*"), visit);
        }
    }
}

#[test]
fn committed_file_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds/models.modelwright.dev.yaml");
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == crd_yaml().unwrap(), "{} is stale: run `cargo xtask crds`", path.display());
    // What an API server keeps, and what `kubectl apply` copies into an annotation of at most 256 KiB, is JSON.
    let json = serde_json::to_string(crd()).unwrap();
    assert!(json.len() < 100_000, "{} bytes", json.len());
}

#[test]
fn definition_is_complete_for_kubernetes() {
    let definition = typed().unwrap();
    assert_eq!(definition.metadata.name.as_deref(), Some("models.modelwright.dev"));
    assert_eq!(definition.spec.names.short_names, Some(vec!["mdl".to_owned()]));
    let version = &definition.spec.versions[0];
    let columns: Vec<_> =
        version.additional_printer_columns.iter().flatten().map(|column| column.name.as_str()).collect();
    assert_eq!(
        columns,
        [
            "READY",
            "REASON",
            "URL",
            "REVISION",
            "REPLICAS",
            "DESIRED",
            "READYPODS",
            "EP",
            "PHASE",
            "METRIC",
            "AGE"
        ]
    );
    let scale = version.subresources.as_ref().unwrap().scale.as_ref().unwrap();
    assert_eq!(scale.spec_replicas_path, ".spec.serving.replicas");
    assert_eq!(scale.status_replicas_path, ".status.replicas");
    assert_eq!(scale.label_selector_path.as_deref(), Some(".status.selector"));
}

#[test]
fn every_string_list_and_map_is_bounded_and_described() {
    each_schema(schema(), "", &mut |path, schema| {
        let bound = match schema.get("type").and_then(Value::as_str) {
            Some("string") if schema.contains_key("enum") => None,
            // No type: a quantity, which may be a string.
            Some("string") | None => Some("maxLength"),
            Some("array") => Some("maxItems"),
            Some("object") if schema.contains_key("additionalProperties") => Some("maxProperties"),
            Some(_) => None,
        };
        if let Some(bound) = bound {
            assert!(schema.contains_key(bound), "{path} has no {bound}");
        }
        if !path.ends_with('*') {
            assert!(schema.contains_key("description"), "{path} has no description");
        }
    });
}

#[test]
fn schema_is_structural_and_uses_only_what_is_enforced_here() {
    each_schema(schema(), "", &mut |path, schema| {
        assert!(
            schema.contains_key("type") || schema.contains_key("x-kubernetes-int-or-string"),
            "{path} has no type"
        );
        for key in schema.keys() {
            assert!(
                manifest::KEYWORDS.contains(&key.as_str()),
                "{path} uses {key}, which nothing here enforces"
            );
        }
        let unsigned =
            schema.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint"));
        assert!(!unsigned, "{path} is unsigned, which Kubernetes does not know");
        assert!(
            !schema.contains_key("default"),
            "{path} has a default, which would be written into the spec"
        );
        if let Some(values) = schema.get("enum") {
            for value in values.as_array().unwrap() {
                assert!(
                    value.as_str().unwrap().starts_with(|c: char| c.is_ascii_uppercase()),
                    "{path}: {value}"
                );
            }
        }
    });
}

/// An API server cuts the fraction off a bound before it compares a whole number with it.
#[test]
fn bounds_hold_for_whole_numbers_in_an_api_server() {
    each_schema(schema(), "", &mut |path, schema| {
        if let Some(least) = schema.get("minimum").and_then(Value::as_f64) {
            let exclusive = schema.get("exclusiveMinimum") == Some(&Value::Bool(true));
            assert!(least.fract() == 0.0 || (exclusive && (0.0..1.0).contains(&least)), "{path}: {least}");
            assert!(!exclusive || schema.contains_key("maximum"), "{path} has half a range");
        }
        if let Some(most) = schema.get("maximum").and_then(Value::as_f64) {
            assert!(most.fract() == 0.0 || most > 0.0, "{path}: {most}");
        }
    });
}

#[test]
fn bounds_are_written_as_in_the_types() {
    let builtin =
        &schema()["properties"]["spec"]["properties"]["training"]["properties"]["builtin"]["properties"];
    let optimizer = &builtin["optimizer"]["properties"];
    assert_eq!(optimizer["epsilon"]["minimum"].to_string(), "1e-16");
    assert_eq!(optimizer["beta1"]["maximum"].to_string(), "0.9999999");
    assert_eq!(optimizer["learningRate"]["maximum"].to_string(), "1000");
    assert_eq!(builtin["seed"]["maximum"].to_string(), "9007199254740991");
    assert_eq!(
        builtin["classWeights"]["properties"]["values"]["additionalProperties"]["minimum"].to_string(),
        "1e-6"
    );
}

#[test]
fn columns_are_merged_by_name() {
    let builtin = &schema()["properties"]["spec"]["properties"]["training"]["properties"]["builtin"];
    let columns = &builtin["properties"]["columns"];
    assert_eq!(columns["x-kubernetes-list-type"], "map");
    assert_eq!(columns["x-kubernetes-list-map-keys"], serde_json::json!(["name"]));
}

#[test]
fn conditions_are_merged_by_type() {
    let conditions = &schema()["properties"]["status"]["properties"]["conditions"];
    assert_eq!(conditions["x-kubernetes-list-type"], "map");
    assert_eq!(conditions["x-kubernetes-list-map-keys"], serde_json::json!(["type"]));
}

#[test]
fn rules_of_the_definition_are_the_listed_ones_on_one_line() {
    let mut found = Vec::new();
    each_schema(schema(), "", &mut |_, schema| {
        for rule in schema.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
            let rule = rules::ALL
                .iter()
                .find(|known| known.to_json() == *rule)
                .unwrap_or_else(|| panic!("{rule} is not in rules::ALL"));
            found.push(rule.expression);
        }
    });
    for rule in rules::ALL {
        assert!(found.contains(&rule.expression), "{} is in no schema", rule.expression);
        // Both bounds are the API server's.
        assert!(!rule.message.contains('\n') && rule.message.len() <= 2_048);
    }
}
