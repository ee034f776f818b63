//! The `CustomResourceDefinition` that a cluster gets, generated from the types.

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;
use serde_json::Value;

use crate::model::Model;

/// First line of the generated file.
const HEADER: &str = "# Generated from crates/api by `cargo xtask crds`. Do not edit.\n";

/// Below this every whole number is a floating-point number: 2^53.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The `CustomResourceDefinition` of Models as JSON; the same on every call.
///
/// What kube derives is used as it is, but for its writing and for `nullable`, which no field is: an absent key says the
/// same as `null`, rules need not think of it, and a key with a forgotten value is reported.
pub fn crd() -> &'static Value {
    static CRD: LazyLock<Value> = LazyLock::new(|| {
        // A CustomResourceDefinition is plain data: numbers, strings, lists and maps with string keys.
        let mut crd = serde_json::to_value(Model::crd()).unwrap_or_default();
        tidy(&mut crd);
        crd
    });
    &CRD
}

/// The `CustomResourceDefinition` as Kubernetes' own type, for a client.
pub fn typed() -> Result<CustomResourceDefinition, serde_json::Error> {
    serde_json::from_value(crd().clone())
}

/// The `CustomResourceDefinition` as YAML, ending in a newline; the content of `crds/models.modelwright.dev.yaml`.
pub fn crd_yaml() -> Result<String, serde_yaml::ser::Error> {
    Ok(format!("{HEADER}{}", serde_yaml::to_string(crd())?))
}

/// The structural schema of a whole Model object (`openAPIV3Schema`).
pub fn schema() -> &'static Value {
    &crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

/// Makes a derived definition the one that is published: no `nullable`, whole numbers written as such, and
/// descriptions without the line breaks of the source.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if object.get("nullable").is_some_and(Value::is_boolean) {
                object.remove("nullable");
            }
            if let Some(Value::String(description)) = object.get_mut("description") {
                *description = description.split_whitespace().collect::<Vec<_>>().join(" ");
            }
            object.values_mut().for_each(tidy);
        }
        Value::Array(array) => array.iter_mut().for_each(tidy),
        Value::Number(number) => {
            // Kubernetes' type holds bounds as floating-point numbers. Those that are whole are written so, as far as
            // every whole number is exact.
            let whole = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < EXACT);
            if let Some(whole) = whole.and_then(|float| format!("{float:.0}").parse::<i64>().ok()) {
                *number = whole.into();
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests;
