//! Writes the reference of the manifest from the schema, so that it says what the code does.

use modelwright_api::{Scope, crd, defaults, manifest, rules};
use serde_json::{Map, Value};

use crate::crds::keep;

/// Where the reference stands.
const MANIFEST: &str = "docs/manifest.md";

/// What stands before the tables.
const INTRODUCTION: &str = "\
# The manifest

<!-- Generated from crates/api by `cargo xtask docs`. Do not edit. -->

A **Model** says where a model comes from and how it is served. `modelwright run` serves it on one machine; the
same file is what `kubectl apply -f` will take once the operator exists. A file may hold several Models, separated by `---`. Unknown keys are errors.

Nothing is ever written into your manifest: a field that you leave out stays out, and the column *Default* says what holds
then. `kubectl explain model.spec --recursive` prints the same reference.
";

/// Writes `docs/manifest.md`, or with `check` fails if it would change.
pub(crate) fn generate(check: bool) -> anyhow::Result<()> {
    keep(MANIFEST, &manifest_reference(), "cargo xtask docs", check)
}

/// The whole page.
fn manifest_reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    page += "\n## Example\n\nEvery field, with values that fit together:\n\n```yaml\n";
    page += manifest::EXAMPLE;
    page += "```\n\n## What you write\n";
    let properties = &crd::schema()["properties"];
    page += "\n`metadata` is that of every Kubernetes object; `name` is required.\n";
    tables(&mut page, "spec", &properties["spec"]);
    page += "\n## What is refused\n\n";
    page += "Besides types, ranges and allowed values, these rules hold. The message is what you get.\n\n";
    page += "| Where | Message | Holds |\n|---|---|---|\n";
    refusals(&mut page, "", crd::schema());
    row(
        &mut page,
        &["`spec.source.uri`", rules::SOURCE_NOT_CLAIM.message, scope(rules::SOURCE_NOT_CLAIM.only_in)],
    );
    page += "\n## What the system answers\n\n";
    page += "`status` is written by the operator; in a manifest it has no effect.\n";
    tables(&mut page, "status", &properties["status"]);
    page
}

/// One table for an object, then one for each object beneath it.
fn tables(page: &mut String, path: &str, schema: &Value) {
    let Some(properties) = schema["properties"].as_object() else { return };
    page.extend(["\n### `", path, "`\n\n", text(schema, "description"), "\n\n"]);
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
        tables(page, &format!("{path}.{key}"), field);
        tables(page, &format!("{path}.{key}[]"), &field["items"]);
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
    let number = |key: &str| schema[key].as_i64();
    let range = match (number("minimum"), number("maximum")) {
        (Some(least), Some(most)) => Some(format!("{least} to {most}")),
        (Some(least), None) => Some(format!("at least {least}")),
        (None, Some(most)) => Some(format!("at most {most}")),
        (None, None) => None,
    };
    let most = |key: &str, of: &str| number(key).map(|most| format!("at most {most} {of}"));
    range
        .or_else(|| most("maxLength", "characters"))
        .or_else(|| most("maxItems", "items"))
        .or_else(|| most("maxProperties", "keys"))
        .unwrap_or_else(|| "—".to_owned())
}

/// One row for each rule of a schema and of those beneath it.
fn refusals(page: &mut String, path: &str, schema: &Value) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let place = if path.is_empty() { "the whole object".to_owned() } else { format!("`{path}`") };
        let known = rules::ALL.iter().find(|known| Some(known.expression) == rule["rule"].as_str());
        row(page, &[&place, text(rule, "message"), scope(known.and_then(|known| known.only_in))]);
    }
    let none = Map::new();
    for (key, below) in schema["properties"].as_object().unwrap_or(&none) {
        let below_path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        refusals(page, &below_path, below);
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
            "| `limits` | map of quantity | — | at most 16 keys |",
            "### `status.model.inputs[]`",
        ] {
            assert!(page.contains(line), "{line}");
        }
        for rule in rules::ALL {
            assert!(page.contains(rule.message), "{}", rule.message);
        }
    }
}
