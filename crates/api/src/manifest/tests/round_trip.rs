//! What is read and written again is the same.

use std::{collections::HashSet, path::Path};

use super::*;

/// Every key path of an object.
fn keys(value: &Value, path: &str, into: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (key, below) in object {
                into.push(format!("{path}.{key}"));
                keys(below, &format!("{path}.{key}"), into);
            }
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, item)| keys(item, &format!("{path}[{n}]"), into));
        }
        _ => {}
    }
}

/// Reads a text, writes it and reads it again; nothing may be lost and nothing may become null.
fn assert_round_trip(text: &str, origin: &str) {
    let models = parse(text, origin).unwrap_or_else(|problems| panic!("{problems}"));
    let documents = yaml::read(text).unwrap();
    assert_eq!(models.len(), documents.len());
    for (model, document) in models.iter().zip(documents) {
        let (mut written, mut read) = (Vec::new(), Vec::new());
        let value = serde_json::to_value(model).unwrap();
        keys(&value, "", &mut written);
        keys(&document.to_value(), "", &mut read);
        written.sort();
        read.sort();
        assert_eq!(written, read, "{origin}");
        assert!(!value.to_string().contains("null"), "{value}");
        let again = parse(&serde_yaml::to_string(model).unwrap(), origin).unwrap();
        assert_eq!(&again[0], model);
    }
}

#[test]
fn every_field_survives_a_round_trip() {
    assert_round_trip(EXAMPLE, "example.yaml");
    let mut known = Vec::new();
    collect(&crd::schema()["properties"]["spec"], "/spec", &mut known);
    let mut used = Vec::new();
    for document in yaml::read(EXAMPLE).unwrap() {
        keys(&document.to_value()["spec"], ".spec", &mut used);
    }
    let used: HashSet<_> = used.iter().map(|path| pointer_to_first(path)).collect();
    for path in known {
        assert!(used.contains(&path), "the example does not use {path}");
    }
}

/// A path as a JSON pointer, with the first item in the place of every item of a list.
fn pointer_to_first(path: &str) -> String {
    let segment = |segment: &str| if segment.ends_with(']') { "0".to_owned() } else { segment.to_owned() };
    path.split(['.', '[']).map(segment).collect::<Vec<_>>().join("/")
}

#[test]
fn every_example_is_accepted_and_survives_a_round_trip() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    for folder in std::fs::read_dir(examples).into_iter().flatten() {
        let path = folder.unwrap().path().join("model.yaml");
        if let Ok(text) = std::fs::read_to_string(&path) {
            assert_round_trip(&text, &path.display().to_string());
        }
    }
}

#[test]
fn model_of_only_what_is_required_has_no_nulls() {
    let models = parse(&named("bc"), "m.yaml").unwrap();
    assert_eq!(
        serde_json::to_value(&models[0]).unwrap(),
        json!({
            "apiVersion": "modelwright.dev/v1alpha1",
            "kind": "Model",
            "metadata": {"name": "bc"},
            "spec": {"source": {"uri": "s3://models/bc/"}},
        })
    );
}
