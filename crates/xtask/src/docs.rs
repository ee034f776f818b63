//! Writes the reference of the manifest from the schema, so that it says what the code does.

use modelwright_api::{
    Scope, crd, defaults, manifest,
    rules::{self, Rule},
};
use serde_json::{Map, Value};

use crate::crds::keep;

/// Where the reference stands.
const MANIFEST: &str = "docs/manifest.md";

/// What stands before the tables.
const INTRODUCTION: &str = "\
# The manifest

<!-- Generated from crates/api by `cargo xtask docs`. Do not edit. -->

A **Model** says where a model comes from and how it is served. It comes from `source`, a model in ONNX form, or from
`training`, data to learn from; exactly one of the two is written. Only what a training learns has a gate and a rollout:
each training makes a new revision, and `gate` and `rollout` decide whether and when it is served.

`modelwright run` serves a Model on one machine; the same file is what `kubectl apply -f` will take once the operator exists.
A file may hold several Models, separated by `---`. Unknown keys are errors.

Nothing is ever written into your manifest: a field that you leave out stays out, and the column *Default* says what holds
then. `kubectl explain model.spec --recursive` prints the same fields and descriptions.
";

/// Writes `docs/manifest.md`, or with `check` fails if it would change.
pub(crate) fn generate(check: bool) -> anyhow::Result<()> {
    keep(MANIFEST, &manifest_reference(), "cargo xtask docs", check)
}

/// The whole page.
fn manifest_reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    page += "\n## Example\n\nA Model from a source and three from trainings. Together they use every field, each with values that \
             fit together:\n\n```yaml\n";
    page += manifest::EXAMPLE;
    page += "```\n\n## What you write\n";
    let properties = &crd::schema()["properties"];
    page += "\n`metadata` is that of every Kubernetes object; `name` is required.\n";
    tables(&mut page, &mut Vec::new(), "spec", &properties["spec"]);
    page += "\n## What is refused\n\n";
    page += "Besides types, ranges and allowed values, these rules hold. The message is what you get.\n\n";
    page += "| Where | Message | Holds |\n|---|---|---|\n";
    let mut places = Places::new();
    refusals(&mut places, "", crd::schema());
    for (rule, places) in places {
        row(&mut page, &[&places.join(", "), rule.message, scope(rule.only_in)]);
    }
    page += "\n## What the system answers\n\n";
    page += "`status` is written by the operator; in a manifest it has no effect.\n";
    tables(&mut page, &mut Vec::new(), "status", &properties["status"]);
    page
}

/// One table for an object, then one for each object beneath it. An object with the same fields as one in `seen` gets a
/// reference to it.
fn tables<'a>(
    page: &mut String,
    seen: &mut Vec<(String, &'a Map<String, Value>)>,
    path: &str,
    schema: &'a Value,
) {
    let Some(properties) = schema["properties"].as_object() else { return };
    page.extend(["\n### `", path, "`\n\n", text(schema, "description"), "\n\n"]);
    if let Some((same, _)) = seen.iter().find(|(_, known)| *known == properties) {
        page.extend(["The fields are those of `", same, "`.\n"]);
        return;
    }
    seen.push((path.to_owned(), properties));
    *page += "| Field | Type | Default | Bounds | Description |\n|---|---|---|---|---|\n";
    for (key, field) in properties {
        let below = format!("{path}.{key}");
        let required =
            schema["required"].as_array().is_some_and(|required| required.iter().any(|name| name == key));
        let default = match defaults::describe(&below) {
            _ if required => "required".to_owned(),
            Some(default) => format!("`{default}`"),
            None => "—".to_owned(),
        };
        row(page, &[&format!("`{key}`"), &kind(field), &default, &bounds(field), text(field, "description")]);
    }
    for (key, field) in properties {
        tables(page, seen, &format!("{path}.{key}"), field);
        tables(page, seen, &format!("{path}.{key}[]"), &field["items"]);
    }
}

/// A field's type in a user's words.
fn kind(schema: &Value) -> String {
    if schema["x-kubernetes-int-or-string"] == true {
        return "quantity".to_owned();
    }
    match text(schema, "type") {
        "array" => format!("list of {}", kind(&schema["items"])),
        "object" if schema.get("additionalProperties").is_some() => {
            format!("map of {}", kind(&schema["additionalProperties"]))
        }
        "object" => "object".to_owned(),
        "string" if schema.get("enum").is_some() => "one of".to_owned(),
        "string" if schema["format"] == "date-time" => "time".to_owned(),
        other => other.to_owned(),
    }
}

/// What limits a field's values.
fn bounds(schema: &Value) -> String {
    if let Some(values) = schema["enum"].as_array() {
        return values
            .iter()
            .filter_map(Value::as_str)
            .map(|value| format!("`{value}`"))
            .collect::<Vec<_>>()
            .join(", ");
    }
    let most = |key: &str, of: &str| schema[key].as_u64().map(|most| format!("at most {most} {of}"));
    let keys = || {
        let keys = most("maxProperties", "keys")?;
        Some(match range(&schema["additionalProperties"]) {
            Some(range) => format!("{keys}, each value {range}"),
            None => keys,
        })
    };
    range(schema)
        .or_else(|| most("maxLength", "characters"))
        .or_else(|| most("maxItems", "items"))
        .or_else(keys)
        .unwrap_or_else(|| "—".to_owned())
}

/// The range of a number.
fn range(schema: &Value) -> Option<String> {
    match (&schema["minimum"], &schema["maximum"]) {
        (Value::Number(least), Value::Number(most)) if schema["exclusiveMinimum"] == true => {
            Some(format!("more than {least}, at most {most}"))
        }
        (Value::Number(least), Value::Number(most)) => Some(format!("{least} to {most}")),
        (Value::Number(least), _) => Some(format!("at least {least}")),
        (_, Value::Number(most)) => Some(format!("at most {most}")),
        _ => None,
    }
}

/// Each rule with every place where it holds, in the order of the first of them.
type Places = Vec<(Rule, Vec<String>)>;

/// Finds the rules of a schema and of those beneath it.
fn refusals(places: &mut Places, path: &str, schema: &Value) {
    let place = if path.is_empty() { "the whole object".to_owned() } else { format!("`{path}`") };
    let mut add = |rule: Rule| match places.iter_mut().find(|(known, _)| *known == rule) {
        Some((_, of_rule)) => of_rule.push(place.clone()),
        None => places.push((rule, vec![place.clone()])),
    };
    for validation in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let Some(rule) =
            rules::ALL.iter().find(|known| Some(known.expression) == validation["rule"].as_str())
        else {
            continue;
        };
        add(*rule);
        if *rule == rules::SOURCE_SCHEME {
            add(rules::SOURCE_NOT_CLAIM);
        }
    }
    let none = Map::new();
    for (key, below) in schema["properties"].as_object().unwrap_or(&none) {
        let below_path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        refusals(places, &below_path, below);
        refusals(places, &format!("{below_path}[]"), &below["items"]);
    }
}

/// Where a rule holds.
fn scope(only_in: Option<Scope>) -> &'static str {
    match only_in {
        None => "everywhere",
        Some(Scope::Cluster) => "in a cluster",
        Some(Scope::Machine) => "in `modelwright run`",
    }
}

fn text<'a>(schema: &'a Value, key: &str) -> &'a str {
    schema[key].as_str().unwrap_or_default()
}

/// One row of a Markdown table.
fn row(page: &mut String, cells: &[&str]) {
    for cell in cells {
        page.extend(["| ", &cell.replace('|', "\\|"), " "]);
    }
    *page += "|\n";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_reference_is_current() {
        generate(true).unwrap();
    }

    #[test]
    fn every_field_and_every_rule_is_in_the_reference() {
        let page = manifest_reference();
        for line in [
            "| `uri` | string | required | at most 2048 characters |",
            "| `executionProvider` | one of | `CPU` | `CPU`, `CUDA` |",
            "| `replicas` | integer | `1` | 0 to 1000 |",
            "| `limits` | map of quantity | — | at most 16 keys, each value at least 0 |",
            "### `status.model.inputs[]`",
            "The fields are those of `status.model.inputs[]`.",
            "| `fraction` | number | `0.2` | more than 0, at most 0.9 |",
            "| `learningRate` | number | `0.001; 0.01 for SGD` | more than 0, at most 1000 |",
            "| `seed` | integer | `0` | 0 to 9007199254740991 |",
            "| `beta1` | number | `0.9` | 0 to 0.9999999 |",
            "| `values` | map of number | — | at most 1000 keys, each value more than 1e-6, at most 1000000 |",
            "| `units` | integer | required | 1 to 65536 |",
            "| `spec.training.gate.require[]` | a requirement needs a bound;",
            "| `spec.source.uri`, `spec.training.data.source.uri`, ",
        ] {
            assert!(page.contains(line), "{line}");
        }
        for rule in rules::ALL {
            assert!(page.contains(rule.message), "{}", rule.message);
        }
    }
}
