//! Evaluates the rules of the CRD here, with the engine that kube brings, so that one machine answers like a cluster.

use kube::core::cel::{CompiledSchema, ErrorKind, Validator, compile_schema};
use serde_json::{Number, Value};

use super::{problems::Problem, yaml::Node};
use crate::{
    crd,
    rules::{self, Rule, Scope},
};

/// The keyword under which a schema carries its rules.
const VALIDATIONS: &str = "x-kubernetes-validations";

/// Bytes of a value that a message shows.
const MOST_SHOWN: usize = 100;

/// The rules that hold in one scope, compiled.
pub(super) struct Rules {
    compiled: CompiledSchema,
    validator: Validator,
}

impl Rules {
    /// Compiles the rules of the CRD that hold in `scope`.
    pub(super) fn of(scope: Scope) -> Self {
        let mut schema = crd::schema().clone();
        retain(&mut schema, scope);
        Self { compiled: compile_schema(&schema), validator: Validator::new() }
    }

    /// The rules that `object` breaks. `node` is the same object with its lines. Where the object already departs from
    /// the schema (`departs`), a rule that stumbles over that says nothing new.
    pub(super) fn check(&self, object: &Value, node: &Node, document: usize, departs: bool) -> Vec<Problem> {
        let mut typed = object.clone();
        as_stored(crd::schema(), &mut typed);
        let Err(errors) = self.validator.validate_compiled(&self.compiled, &typed, None) else {
            return Vec::new();
        };
        errors
            .into_iter()
            .filter(|error| error.kind == ErrorKind::ValidationFailure || !departs)
            .map(|error| {
                // Rules about metadata stand at the root, because a CRD says nothing else about metadata.
                let root = error.rule == rules::NAME.expression;
                let path = if root { "metadata.name" } else { &error.field_path };
                let line = node.line_of(path);
                let value = shown(object, path).map_or_else(String::new, |value| format!("{value:?}: "));
                Problem {
                    document,
                    line: Some(line).filter(|line| *line > 0),
                    path: error.field_path,
                    message: value + &error.message,
                }
            })
            .collect()
    }
}

/// The text that broke a rule, if it is short enough to show and cannot hold a credential, as uris with a user or a query
/// can.
fn shown<'a>(object: &'a Value, path: &str) -> Option<&'a str> {
    let text = object.pointer(&format!("/{}", path.replace(['.', '['], "/").replace(']', "")))?.as_str()?;
    (text.len() <= MOST_SHOWN && !text.contains(['@', '?', '#'])).then_some(text)
}

/// Makes of an object what an API server evaluates rules on: keys without a value are gone, and every value whose type is
/// `number` is a floating-point one, so that `1` and `1.0` are compared alike.
fn as_stored(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.retain(|_, below| !below.is_null());
            for (key, below) in object {
                let schema = schema["properties"].get(key).unwrap_or(&schema["additionalProperties"]);
                as_stored(schema, below);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| as_stored(&schema["items"], item)),
        Value::Number(number) if schema["type"] == "number" => {
            if let Some(float) = number.as_f64().and_then(Number::from_f64) {
                *number = float;
            }
        }
        Value::Number(_) | Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// Drops the rules that do not hold in `scope`, and adds those that only a machine has.
fn retain(schema: &mut Value, scope: Scope) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Array(rules)) = object.get_mut(VALIDATIONS) {
                for (anchor, beside) in &rules::BESIDE {
                    if holds(beside, scope) && rules.contains(&anchor.to_json()) {
                        rules.push(beside.to_json());
                    }
                }
                rules.retain(|rule| {
                    let expression = rule["rule"].as_str();
                    rules::ALL
                        .iter()
                        .find(|known| Some(known.expression) == expression)
                        .is_none_or(|known| holds(known, scope))
                });
            }
            object.values_mut().for_each(|below| retain(below, scope));
        }
        Value::Array(array) => array.iter_mut().for_each(|below| retain(below, scope)),
        _ => {}
    }
}

fn holds(rule: &Rule, scope: Scope) -> bool {
    rule.only_in.is_none_or(|only| only == scope)
}
