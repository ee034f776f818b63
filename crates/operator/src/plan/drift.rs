//! Whether an object already has every field that we would write.
//!
//! Objects in the cluster have more than we write: defaults, what other controllers and people add, numbers in another
//! notation. None of that is a difference. What we wrote and no longer write is one, which [`sealed`] objects tell. Resource versions and generations say nothing here: an autoscaler's status
//! changes them all the time.

use k8s_openapi::{Metadata, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use modelwright_api::{
    Quantity,
    contract::{annotations, labels},
};
use serde::Serialize;
use serde_json::{Map, Value};

use super::identity;

/// How much of a hash is kept: it is only compared with another of the same object.
const DIGITS: usize = 16;

/// Whether `observed` has every field of `desired`, with its value.
///
/// The version label is left out: a newer operator does not rewrite what is as it would write it but for its own version.
pub(super) fn is_current<K: Serialize>(desired: &K, observed: &K) -> bool {
    let (Ok(desired), Ok(observed)) = (serde_json::to_value(desired), serde_json::to_value(observed)) else {
        return false;
    };
    first_difference(&without_version(desired), &observed).is_none()
}

/// `object` with a hash of what can be left out of it: what is left out of what is applied is taken off by the API server, and only
/// this tells that something was left out that is still there. Of the metadata that is the annotations.
pub(super) fn sealed<K: Serialize + Metadata<Ty = ObjectMeta>>(mut object: K) -> K {
    let mut written = serde_json::to_value(&object).unwrap_or_default();
    if let Value::Object(fields) = &mut written {
        fields.insert("metadata".to_owned(), serde_json::json!(object.metadata().annotations));
    }
    let mut hash = identity::sha256(&written);
    hash.truncate(DIGITS);
    let all = object.metadata_mut().annotations.get_or_insert_default();
    all.insert(annotations::APPLIED.to_owned(), hash);
    object
}

/// The path of the first field of `desired` that `observed` lacks or has otherwise.
pub(super) fn first_difference(desired: &Value, observed: &Value) -> Option<String> {
    difference(desired, observed, "")
}

fn without_version(mut object: Value) -> Value {
    if let Some(Value::Object(labels)) = object.pointer_mut("/metadata/labels") {
        labels.remove(labels::APP_VERSION);
    }
    object
}

fn difference(desired: &Value, observed: &Value, path: &str) -> Option<String> {
    match (desired, observed) {
        (Value::Object(wanted), Value::Object(found)) => of_objects(wanted, found, path),
        (Value::Array(wanted), Value::Array(found)) => of_lists(wanted, found, path),
        // The API server leaves out what is empty.
        (Value::Object(wanted), Value::Null) if wanted.is_empty() => None,
        (Value::Array(wanted), Value::Null) if wanted.is_empty() => None,
        (Value::Null, _) => None,
        _ => (!same_scalar(desired, observed)).then(|| path.trim_start_matches('.').to_owned()),
    }
}

fn of_objects(wanted: &Map<String, Value>, found: &Map<String, Value>, path: &str) -> Option<String> {
    wanted.iter().find_map(|(key, value)| {
        difference(value, found.get(key).unwrap_or(&Value::Null), &format!("{path}.{key}"))
    })
}

/// Elements of lists that have names (containers, ports, variables, volumes) are found by name, and others may have been
/// added. Other lists are equal or not.
fn of_lists(wanted: &[Value], found: &[Value], path: &str) -> Option<String> {
    let name = |value: &Value| value.get("name").and_then(Value::as_str).map(str::to_owned);
    if !wanted.is_empty() && wanted.iter().all(|element| name(element).is_some()) {
        return wanted.iter().find_map(|element| {
            let wanted_name = name(element);
            let path = format!("{path}[{}]", wanted_name.as_deref().unwrap_or_default());
            match found.iter().find(|other| name(other) == wanted_name) {
                Some(other) => difference(element, other, &path),
                None => Some(path.trim_start_matches('.').to_owned()),
            }
        });
    }
    if wanted.len() != found.len() {
        return Some(path.trim_start_matches('.').to_owned());
    }
    wanted
        .iter()
        .zip(found)
        .enumerate()
        .find_map(|(index, (wanted, found))| difference(wanted, found, &format!("{path}[{index}]")))
}

/// Equal, or the same quantity in another notation: the API server writes `1000m` as `1`.
fn same_scalar(wanted: &Value, found: &Value) -> bool {
    if wanted == found {
        return true;
    }
    let quantity = |value: &Value| match value {
        Value::String(text) => Quantity::Text(text.clone()).milli().ok(),
        Value::Number(number) => number.as_i64().and_then(|number| Quantity::Integer(number).milli().ok()),
        _ => None,
    };
    matches!((quantity(wanted), quantity(found)), (Some(wanted), Some(found)) if wanted == found)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::equal(json!({"a": 1}), json!({"a": 1}), None)]
    #[case::more(json!({"a": {"b": 1}}), json!({"a": {"b": 1, "c": 2}, "status": {}}), None)]
    #[case::other(json!({"a": {"b": 1}}), json!({"a": {"b": 2}}), Some("a.b"))]
    #[case::missing(json!({"a": {"b": 1}}), json!({}), Some("a"))]
    #[case::empty(json!({"a": {}, "b": []}), json!({}), None)]
    #[case::quantity(json!({"cpu": "1000m", "memory": "1024Mi"}), json!({"cpu": "1", "memory": "1Gi"}), None)]
    #[case::percent(json!({"maxSurge": "25%"}), json!({"maxSurge": "50%"}), Some("maxSurge"))]
    #[case::named(json!({"c": [{"name": "x", "v": 1}]}), json!({"c": [{"name": "y"}, {"name": "x", "v": 1}]}), None)]
    #[case::named_gone(json!({"c": [{"name": "x"}]}), json!({"c": [{"name": "y"}]}), Some("c[x]"))]
    #[case::plain_list(json!({"args": ["a"]}), json!({"args": ["a", "b"]}), Some("args"))]
    #[case::plain_list_order(json!({"args": ["a", "b"]}), json!({"args": ["b", "a"]}), Some("args[0]"))]
    fn only_fields_that_we_write_count(
        #[case] desired: Value,
        #[case] observed: Value,
        #[case] expected: Option<&str>,
    ) {
        assert_eq!(first_difference(&desired, &observed).as_deref(), expected);
    }

    #[test]
    fn version_of_the_operator_is_no_difference() {
        let labels =
            |version: &str| json!({"metadata": {"labels": {labels::APP_VERSION: version, "a": "b"}}});
        assert!(is_current(&labels("2"), &labels("1")));
        assert!(!is_current(&json!({"metadata": {"labels": {"a": "c"}}}), &labels("1")));
    }
}
