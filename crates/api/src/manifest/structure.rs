//! Compares an object with a structural schema: unknown and missing keys, types, ranges, lengths, allowed values.
//!
//! The part of OpenAPI v3 that the CRD uses is small ([`KEYWORDS`]; a test keeps it so), and a general validator would
//! know neither `x-kubernetes-int-or-string` nor the line a value stands on, nor what to write instead.

use std::collections::HashSet;

use serde_json::{Map, Number, Value};

use super::{
    problems::{Path, Problem, quoted},
    suggest,
    yaml::{Content, Entry, Node},
};
use crate::quantity::Quantity;

/// Every keyword that the schema may use: those that are enforced here, and those that need no check of an object.
#[cfg(test)]
pub(crate) const KEYWORDS: [&str; 23] = [
    // Enforced here. `pattern` stands only on quantities, which are read instead.
    "type",
    "properties",
    "additionalProperties",
    "required",
    "items",
    "enum",
    "minimum",
    "exclusiveMinimum",
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
    // What is kept, not what is allowed: an object without `properties` admits every key here.
    "x-kubernetes-preserve-unknown-fields",
];

/// Walks one document.
pub(super) struct Walk<'a> {
    document: usize,
    /// The schema of the whole document, and the document.
    root: (&'a Value, &'a Node),
    path: Path,
    problems: Vec<Problem>,
}

/// Everything in which `node`, a whole document, departs from `schema`.
pub(super) fn check(schema: &Value, node: &Node, document: usize) -> Vec<Problem> {
    let mut walk = Walk { document, root: (schema, node), path: Path::default(), problems: Vec::new() };
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
            Some("number") => self.number(schema, node, line),
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
        let advice = if let Some(nearest) = suggest::nearest(&entry.key, known.keys().map(String::as_str)) {
            format!("write {nearest}")
        } else if let Some(place) = self.elsewhere(&entry.key) {
            format!("{} belongs under {place}", entry.key)
        } else {
            let keys: Vec<_> = known.keys().map(String::as_str).collect();
            format!("the keys here are {}", keys.join(", "))
        };
        self.report(entry.line, format!("unknown key; {advice}"));
    }

    /// Where under `spec` a key belongs. A Model comes from a source or a training, so the keys of the one that this
    /// document does not have are no help to it.
    fn elsewhere(&self, key: &str) -> Option<String> {
        let (schema, node) = self.root;
        let mut spec = schema["properties"]["spec"].clone();
        if let Some(properties) = spec["properties"].as_object_mut() {
            for (written, other) in [("source", "training"), ("training", "source")] {
                if node.get("spec").is_some_and(|spec| spec.value.get(written).is_some()) {
                    properties.remove(other);
                }
            }
        }
        suggest::elsewhere(&spec, key, "spec")
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
        let advice = range("a whole number", schema);
        match &node.content {
            Content::Scalar(Value::Number(number)) if number.is_i64() || number.is_u64() => {
                if !self.outside(schema, number, &advice, line) && !number.is_i64() {
                    self.report(line, format!("{number} is too large; {advice}"));
                }
            }
            Content::Scalar(Value::String(text)) if text.parse::<i64>().is_ok() => {
                self.report(line, format!("{} is a text; write the number without quotes", quoted(text)));
            }
            _ => self.report(line, format!("{}; {advice}", describe(node))),
        }
    }

    /// A number with or without a fraction. It is finite: the parser refuses others.
    fn number(&mut self, schema: &Value, node: &Node, line: u64) {
        let advice = range("a number", schema);
        match &node.content {
            Content::Scalar(Value::Number(number)) => {
                self.outside(schema, number, &advice, line);
            }
            Content::Scalar(Value::String(text)) if text.parse::<f64>().is_ok_and(f64::is_finite) => {
                self.report(line, format!("{} is a text; write the number without quotes", quoted(text)));
            }
            _ => self.report(line, format!("{}; {advice}", describe(node))),
        }
    }

    /// Reports a number that is outside its range; whether it is.
    fn outside(&mut self, schema: &Value, number: &Number, advice: &str, line: u64) -> bool {
        let value = number.as_f64().unwrap_or(f64::MAX);
        let exclusive = schema["exclusiveMinimum"] == true;
        let below = |least: f64| value < least || (exclusive && value <= least);
        let fault = if schema["minimum"].as_f64().is_some_and(below) {
            "small"
        } else if schema["maximum"].as_f64().is_some_and(|most| value > most) {
            "large"
        } else {
            return false;
        };
        self.report(line, format!("{number} is too {fault}; {advice}"));
        true
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

/// What to write where a number belongs.
fn range(what: &str, schema: &Value) -> String {
    match (&schema["minimum"], &schema["maximum"]) {
        (Value::Number(least), Value::Number(most)) if schema["exclusiveMinimum"] == true => {
            format!("write {what} that is more than {least} and at most {most}")
        }
        (Value::Number(least), Value::Number(most)) => format!("write {what} from {least} to {most}"),
        (Value::Number(least), _) => format!("write {what} that is at least {least}"),
        (_, Value::Number(most)) => format!("write {what} that is at most {most}"),
        _ => format!("write {what}"),
    }
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
