//! Compares an object with a structural schema: unknown and missing keys, types, ranges, lengths, allowed values.
//!
//! The part of OpenAPI v3 that the CRD uses is small ([`KEYWORDS`]; a test keeps it so), and a general validator would
//! know neither `x-kubernetes-int-or-string` nor the line a value stands on, nor what to write instead.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{
    problems::{Path, Problem, quoted},
    suggest,
    yaml::{Content, Entry, Node},
};
use crate::quantity::Quantity;

/// Every keyword that the schema may use: those that are enforced here, and those that need no check of an object.
#[cfg(test)]
pub(crate) const KEYWORDS: [&str; 21] = [
    // Enforced here. `pattern` stands only on quantities, which are read instead.
    "type",
    "properties",
    "additionalProperties",
    "required",
    "items",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "maxItems",
    "maxProperties",
    "pattern",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    // Enforced by the rules' own evaluation.
    "x-kubernetes-validations",
    // Say something about the schema, not about an object.
    "title",
    "description",
    "format",
    "default",
];

/// Keys that other versions have, with what to know about them.
const RESERVED: [(&str, &str); 1] = [(
    "spec.training",
    "training is not available in this version; train elsewhere and name the ONNX model in spec.source",
)];

/// Walks one document.
pub(super) struct Walk<'a> {
    document: usize,
    root: &'a Value,
    path: Path,
    problems: Vec<Problem>,
}

/// Everything in which `node`, a whole document, departs from `schema`.
pub(super) fn check(schema: &Value, node: &Node, document: usize) -> Vec<Problem> {
    let mut walk = Walk { document, root: schema, path: Path::default(), problems: Vec::new() };
    walk.value(schema, node, node.line);
    walk.problems
}

impl Walk<'_> {
    fn report(&mut self, line: u64, message: String) {
        self.problems.push(Problem {
            document: self.document,
            line: Some(line).filter(|line| *line > 0),
            path: self.path.to_string(),
            message,
        });
    }

    fn value(&mut self, schema: &Value, node: &Node, line: u64) {
        let quantity = schema["x-kubernetes-int-or-string"] == true;
        if !quantity && schema.get("type").is_none() {
            return;
        }
        if matches!(node.content, Content::Scalar(Value::Null)) {
            self.report(line, "has no value; write one or remove the key".to_owned());
            return;
        }
        if quantity {
            self.quantity(node, line);
            return;
        }
        match schema["type"].as_str() {
            Some("object") => self.object(schema, node, line),
            Some("array") => self.array(schema, node, line),
            Some("string") => self.string(schema, node, line),
            Some("integer") => self.integer(schema, node, line),
            Some("boolean") if !matches!(node.content, Content::Scalar(Value::Bool(_))) => {
                self.report(line, format!("{}; write true or false", describe(node)));
            }
            _ => {}
        }
    }

    fn object(&mut self, schema: &Value, node: &Node, line: u64) {
        let Content::Map(entries) = &node.content else {
            self.report(
                line,
                format!("{} where keys with values belong; write KEY: VALUE lines below it", describe(node)),
            );
            return;
        };
        let properties = schema["properties"].as_object();
        let additional = schema.get("additionalProperties").filter(|schema| schema.is_object());
        if let Some(most) = schema["maxProperties"].as_u64().filter(|most| exceeds(entries.len(), *most)) {
            self.report(
                line,
                format!("has {} keys where at most {most} are allowed; remove some", entries.len()),
            );
        }
        for entry in entries {
            self.path.push_key(&entry.key);
            match (properties.and_then(|known| known.get(&entry.key)), additional, properties) {
                (Some(below), ..) | (None, Some(below), _) => self.value(below, &entry.value, entry.line),
                (None, None, Some(known)) => self.unknown(known, entry),
                // A schema without a word about keys admits all.
                (None, None, None) => {}
            }
            self.path.pop();
        }
        for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if node.get(key).is_none() {
                self.path.push_key(key);
                self.report(line, missing(properties.and_then(|known| known.get(key))));
                self.path.pop();
            }
        }
    }

    fn unknown(&mut self, known: &Map<String, Value>, entry: &Entry) {
        let path = self.path.to_string();
        if let Some((_, message)) = RESERVED.iter().find(|(reserved, _)| *reserved == path) {
            self.report(entry.line, format!("unknown key; {message}"));
            return;
        }
        let advice = if let Some(nearest) = suggest::nearest(&entry.key, known.keys().map(String::as_str)) {
            format!("write {nearest}")
        } else if let Some(place) = suggest::elsewhere(&self.root["properties"]["spec"], &entry.key, "spec") {
            format!("{} belongs under {place}", entry.key)
        } else {
            let keys: Vec<_> = known.keys().map(String::as_str).collect();
            format!("the keys here are {}", keys.join(", "))
        };
        self.report(entry.line, format!("unknown key; {advice}"));
    }

    fn array(&mut self, schema: &Value, node: &Node, line: u64) {
        let Content::List(items) = &node.content else {
            self.report(
                line,
                format!(
                    "{} where a list belongs; write its items as lines that begin with -",
                    describe(node)
                ),
            );
            return;
        };
        if let Some(most) = schema["maxItems"].as_u64().filter(|most| exceeds(items.len(), *most)) {
            self.report(
                line,
                format!("has {} items where at most {most} are allowed; remove some", items.len()),
            );
        }
        for (index, item) in items.iter().enumerate() {
            self.path.push_index(index);
            self.value(&schema["items"], item, item.line);
            self.path.pop();
        }
        self.unique(schema, items);
    }

    /// Refuses two items of one key in a list that is a map.
    fn unique(&mut self, schema: &Value, items: &[Node]) {
        let Some(keys) = schema["x-kubernetes-list-map-keys"].as_array() else { return };
        let mut seen = HashSet::new();
        for (index, item) in items.iter().enumerate() {
            let of_item: Vec<_> =
                keys.iter().filter_map(Value::as_str).filter_map(|key| item.get(key)?.value.text()).collect();
            if of_item.len() == keys.len() && !seen.insert(of_item.clone()) {
                self.path.push_index(index);
                self.report(
                    item.line,
                    format!("{} is in the list already; remove one", quoted(&of_item.join(", "))),
                );
                self.path.pop();
            }
        }
    }

    fn string(&mut self, schema: &Value, node: &Node, line: u64) {
        let Some(text) = node.text() else {
            let advice = match &node.content {
                Content::Scalar(value) => format!("write it in quotes, \"{value}\""),
                Content::List(_) | Content::Map(_) => "write one text".to_owned(),
            };
            self.report(line, format!("{} where a text belongs; {advice}", describe(node)));
            return;
        };
        if let Some(allowed) = schema["enum"].as_array() {
            if !allowed.iter().any(|value| value == text) {
                self.report(line, not_allowed(text, allowed));
            }
            return;
        }
        let length = text.chars().count();
        if let Some(least) = schema["minLength"].as_u64().filter(|least| (length as u64) < *least) {
            let advice = if length == 0 {
                "is empty; write a value or remove the key".to_owned()
            } else {
                format!("{} is too short; write at least {least} characters", quoted(text))
            };
            self.report(line, advice);
        }
        if let Some(most) = schema["maxLength"].as_u64().filter(|most| exceeds(length, *most)) {
            self.report(
                line,
                format!("has {length} characters where at most {most} are allowed; write a shorter text"),
            );
        }
    }

    fn integer(&mut self, schema: &Value, node: &Node, line: u64) {
        let (least, most) = (schema["minimum"].as_f64(), schema["maximum"].as_f64());
        let range = match (least, most) {
            (Some(least), Some(most)) => format!("write a whole number from {least} to {most}"),
            (Some(least), None) => format!("write a whole number that is at least {least}"),
            (None, Some(most)) => format!("write a whole number that is at most {most}"),
            (None, None) => "write a whole number".to_owned(),
        };
        match &node.content {
            Content::Scalar(Value::Number(number)) if number.is_i64() || number.is_u64() => {
                let value = number.as_f64().unwrap_or(f64::MAX);
                if least.is_some_and(|least| value < least) {
                    self.report(line, format!("{number} is too small; {range}"));
                } else if most.is_some_and(|most| value > most) || !number.is_i64() {
                    self.report(line, format!("{number} is too large; {range}"));
                }
            }
            Content::Scalar(Value::String(text)) if text.parse::<i64>().is_ok() => {
                self.report(line, format!("{} is a text; write the number without quotes", quoted(text)));
            }
            _ => self.report(line, format!("{}; {range}", describe(node))),
        }
    }

    fn quantity(&mut self, node: &Node, line: u64) {
        let quantity = match &node.content {
            Content::Scalar(Value::String(text)) => Some(Quantity::Text(text.clone())),
            Content::Scalar(Value::Number(number)) => number.as_i64().map(Quantity::Integer),
            Content::Scalar(_) | Content::List(_) | Content::Map(_) => None,
        };
        let message = match quantity.map(|quantity| quantity.milli()) {
            Some(Ok(_)) => return,
            Some(Err(error)) => error.to_string(),
            None => {
                let advice = match &node.content {
                    Content::Scalar(Value::Number(number)) => format!("write it in quotes, \"{number}\""),
                    _ => "write for example 500m, 2, \"1.5\" or 4Gi".to_owned(),
                };
                format!("{} where a quantity belongs; {advice}", describe(node))
            }
        };
        self.report(line, message);
    }
}

/// Whether a count is above a bound.
fn exceeds(count: usize, most: u64) -> bool {
    u64::try_from(count).is_ok_and(|count| count > most)
}

/// What stands there, as the subject of a sentence.
fn describe(node: &Node) -> String {
    match &node.content {
        Content::Scalar(Value::String(text)) => format!("{} is a text", quoted(text)),
        Content::Scalar(Value::Bool(value)) => format!("{value} is a truth value"),
        Content::Scalar(Value::Number(number)) if number.is_f64() => {
            format!("{number} is a number with a fraction")
        }
        Content::Scalar(value) => format!("{value} is a number"),
        Content::List(_) => "is a list".to_owned(),
        Content::Map(_) => "is a group of keys".to_owned(),
    }
}

fn missing(schema: Option<&Value>) -> String {
    let description = schema.and_then(|schema| schema["description"].as_str()).unwrap_or_default();
    match description.split_once(['.', ':']).map_or(description, |(first, _)| first) {
        "" => "is required; write it".to_owned(),
        first => format!("is required; write it: {}", first.split_whitespace().collect::<Vec<_>>().join(" ")),
    }
}

fn not_allowed(text: &str, allowed: &[Value]) -> String {
    let allowed: Vec<_> = allowed.iter().filter_map(Value::as_str).collect();
    let advice = match suggest::nearest(text, allowed.iter().copied()) {
        Some(nearest) => format!("write {nearest}"),
        None => format!("write {}", allowed.join(" or ")),
    };
    format!("{} is not one of {}; {advice}", quoted(text), allowed.join(", "))
}
