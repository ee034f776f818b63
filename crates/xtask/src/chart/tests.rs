use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

/// The operator's metrics, without the endings that the text format adds.
const OPERATOR_METRICS: [&str; 8] = [
    "modelwright_reconcile_duration_seconds",
    "modelwright_reconcile_errors",
    "modelwright_queue_depth",
    "modelwright_api_writes",
    "modelwright_leader",
    "modelwright_watch_restarts",
    "modelwright_models",
    "modelwright_crd_outdated",
];

fn read(path: &str) -> String {
    fs::read_to_string(crate::root().join(path)).unwrap()
}

#[test]
fn committed_chart_is_current() {
    let template = crd_template(&modelwright_api::crd::crd_yaml().unwrap()).unwrap();
    keep(&format!("{CHART}/templates/crd.yaml"), &template, COMMAND, true).unwrap();
    let chart = read("charts/modelwright/Chart.yaml");
    assert_eq!(with_version(&chart, env!("CARGO_PKG_VERSION")).unwrap(), chart);
}

#[test]
fn definition_is_kept_on_uninstall_and_literal() {
    let definition =
        format!("# Generated.\nkind: C\n{NAME}spec:\n  description: \"not {{{{ .Values.a }}}}\"\n");
    let template = crd_template(&definition).unwrap();
    assert!(template.starts_with(TEMPLATE_HEAD) && template.ends_with("{{- end }}\n"), "{template}");
    assert!(template.contains("helm.sh/resource-policy: keep"), "{template}");
    assert!(template.contains("description: \"not {{ \"{{\" }} .Values.a }}\""), "{template}");
    assert!(!template.contains("# Generated."), "{template}");
}

#[test]
fn definition_of_another_shape_is_an_error() {
    crd_template("kind: C\nmetadata:\n  name: others\n").unwrap_err();
}

#[test]
fn both_versions_are_replaced_and_nothing_else() {
    let chart =
        "apiVersion: v2\nversion: 0.0.1\n# version: no\nappVersion: 0.0.2\nkubeVersion: \">=1.33.0-0\"\n";
    let expected =
        "apiVersion: v2\nversion: 1.2.3\n# version: no\nappVersion: 1.2.3\nkubeVersion: \">=1.33.0-0\"\n";
    assert_eq!(with_version(chart, "1.2.3").unwrap(), expected);
    with_version("version: 0.0.1\n", "1.2.3").unwrap_err();
}

#[test]
fn every_value_has_a_schema_and_every_schema_a_value() {
    let schema: Value = serde_json::from_str(&read("charts/modelwright/values.schema.json")).unwrap();
    let mut described = BTreeSet::new();
    collect_described(&schema, &schema, "", &mut described);
    let mut written = BTreeSet::new();
    let mut path: Vec<(usize, String)> = Vec::new();
    for line in read("charts/modelwright/values.yaml").lines() {
        let indent = line.len() - line.trim_start().len();
        let Some((key, _)) = line.trim_start().split_once(':').filter(|(key, _)| !key.starts_with('#'))
        else {
            continue;
        };
        path.retain(|(parent, _)| *parent < indent);
        path.push((indent, key.to_owned()));
        let names: Vec<_> = path.iter().map(|(_, name)| name.as_str()).collect();
        written.insert(names.join("."));
    }
    // What a user's own keys are is not the schema's to say.
    written.retain(|name| {
        !name.starts_with("operator.resources.") && !name.starts_with("operator.nodeSelector.")
    });
    described
        .retain(|name| !name.starts_with("operator.resources.") && !name.starts_with("operator.affinity."));
    assert_eq!(written, described);
}

/// The paths of all properties; an object that takes other names than these is refused.
fn collect_described(root: &Value, schema: &Value, path: &str, names: &mut BTreeSet<String>) {
    let schema = match schema["$ref"].as_str() {
        Some(reference) => root.pointer(reference.trim_start_matches('#')).unwrap(),
        None => schema,
    };
    let Some(properties) = schema["properties"].as_object() else { return };
    assert_eq!(schema["additionalProperties"], false, "{path} takes any name");
    for (key, below) in properties {
        let name = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        collect_described(root, below, &name, names);
        names.insert(name);
    }
}

#[test]
fn dashboards_ask_for_metrics_that_exist() {
    let server = read("crates/server/src/metrics.rs");
    for board in ["operator", "models"] {
        let path = format!("charts/modelwright/dashboards/{board}.json");
        let dashboard: Value = serde_json::from_str(&read(&path)).unwrap();
        let mut metrics = BTreeSet::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().unwrap() {
                let words =
                    target["expr"].as_str().unwrap().split(|c: char| !(c.is_alphanumeric() || c == '_'));
                metrics.extend(words.filter(|word| word.starts_with("modelwright_")).map(str::to_owned));
            }
        }
        assert!(metrics.len() > 7, "{path} asks for {metrics:?} only");
        for metric in metrics {
            let name = ["_total", "_bucket", "_count"]
                .iter()
                .fold(metric.as_str(), |name, end| name.trim_end_matches(end));
            let known = OPERATOR_METRICS.contains(&name) || server.contains(&format!("\"{name}\""));
            assert!(known, "{path} asks for {metric}, which neither the operator nor the server has");
        }
    }
}
