//! Reads manifests: text in, Models out, or everything that is wrong with the text.
//!
//! One document is checked in three steps, and what each finds is reported together: the schema of the CRD
//! (`structure`), its rules (`cel`), and at last the types.

mod cel;
mod problems;
mod structure;
mod suggest;
#[cfg(test)]
mod tests;
mod yaml;

use std::{collections::HashMap, sync::LazyLock};

use serde_json::{Value, json};

pub use self::problems::{Problem, Problems};
#[cfg(test)]
pub(crate) use self::structure::KEYWORDS;
use self::{
    problems::quoted,
    yaml::{Node, NotYaml},
};
use crate::{
    contract::{API_VERSION, KIND},
    crd,
    model::Model,
    rules::Scope,
};

/// A manifest that uses every field a user can write, with comments: a Model from a source, and Models from trainings of
/// each task.
pub const EXAMPLE: &str = include_str!("example.yaml");

/// Reads the Models of `text` for `modelwright run`: [`parse_for`] with [`Scope::Machine`].
pub fn parse(text: &str, origin: &str) -> Result<Vec<Model>, Problems> {
    parse_for(text, origin, Scope::Machine)
}

/// Reads the Models of `text`, one or several YAML documents, checked as they are used in `scope`.
///
/// `origin` is the text's name in messages, such as a file's path. Documents that hold nothing are skipped. A Model
/// without a namespace keeps none. Texts over 4 MiB, 50,000 values or 32 levels are refused.
///
/// ```
/// let text = "
/// apiVersion: modelwright.dev/v1alpha1
/// kind: Model
/// metadata: {name: iris}
/// spec:
///   source: {uri: s3://models/iris/}
///   serving: {replica: 2}
/// ";
/// let problems = modelwright_api::parse(text, "iris.yaml").unwrap_err();
/// assert_eq!(problems.to_string(), "iris.yaml:7: spec.serving.replica: unknown key; write replicas");
/// ```
pub fn parse_for(text: &str, origin: &str, scope: Scope) -> Result<Vec<Model>, Problems> {
    read_all(text, origin, scope, false)
}

/// The Models among the documents of a manifest that `kubectl apply` takes; objects of other kinds, such as their Secrets, are
/// passed over.
pub fn parse_among(text: &str, origin: &str) -> Result<Vec<Model>, Problems> {
    read_all(text, origin, Scope::Cluster, true)
}

/// Reads every document, or with `among` those that are Models.
fn read_all(text: &str, origin: &str, scope: Scope, among: bool) -> Result<Vec<Model>, Problems> {
    let failure = |problems| Problems::new(origin, problems);
    let documents = yaml::read(text).map_err(|NotYaml { line, message }| {
        failure(vec![Problem { document: 1, line, path: String::new(), message }])
    })?;
    if documents.is_empty() {
        let message = format!("holds no document; write a {KIND} of apiVersion {API_VERSION}");
        return Err(failure(vec![Problem { document: 1, line: None, path: String::new(), message }]));
    }
    let rules = cel::Rules::of(scope);
    let mut models = Vec::with_capacity(documents.len());
    let mut problems = Vec::new();
    let mut seen = HashMap::new();
    for (index, node) in documents.into_iter().enumerate() {
        let document = index + 1;
        if among && is_of_another_kind(&node) {
            continue;
        }
        let name_line = node.line_of("metadata.name");
        match read_document(&node, document, &rules) {
            Ok(model) => {
                let name = (model.metadata.namespace.clone(), model.metadata.name.clone());
                let first = *seen.entry(name).or_insert(document);
                if first == document {
                    models.push(model);
                } else {
                    problems.push(duplicate(&model, first, document, name_line));
                }
            }
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(models) } else { Err(failure(problems)) }
}

/// Whether a document is a Kubernetes object, and no Model.
fn is_of_another_kind(node: &Node) -> bool {
    let text = |key: &str| node.get(key).and_then(|entry| entry.value.text()).map(str::to_owned);
    text("apiVersion").is_some() && text("kind").is_some_and(|kind| kind != KIND)
}

/// Reads one document.
fn read_document(node: &Node, document: usize, rules: &cel::Rules) -> Result<Model, Vec<Problem>> {
    if let Some(problem) = other_kind(node, document) {
        return Err(vec![problem]);
    }
    let mut problems = structure::check(&OBJECT_SCHEMA, node, document);
    let line = Some(node.line).filter(|line| *line > 0);
    let object = node.to_value();
    problems.extend(rules.check(&object, node, document, !problems.is_empty()));
    problems.extend(namespace(&object, node, document));
    if !problems.is_empty() {
        return Err(problems);
    }
    // What passed the schema fits the types; should the two ever differ, the message is serde's.
    let model: Model = serde_json::from_value(object)
        .map_err(|error| vec![Problem { document, line, path: String::new(), message: error.to_string() }])?;
    schedule(&model, node, document).map_or(Ok(model), |problem| Err(vec![problem]))
}

/// Checks what no rule of a CRD can: that the times of `cron` exist, and that its time zone does.
fn schedule(model: &Model, node: &Node, document: usize) -> Option<Problem> {
    let error = model.spec.training.as_ref()?.schedule().err()?;
    let line = Some(node.line_of(error.path)).filter(|line| *line > 0);
    Some(Problem { document, line, path: error.path.to_owned(), message: error.message })
}

/// Says so if this is not a Model at all, for then nothing else about it is worth saying.
fn other_kind(node: &Node, document: usize) -> Option<Problem> {
    let problem = |line: u64, path: &str, message| {
        Some(Problem { document, line: Some(line).filter(|line| *line > 0), path: path.to_owned(), message })
    };
    if !matches!(node.content, yaml::Content::Map(_)) {
        let message = format!(
            "the document is not a mapping; write a {KIND}, beginning with apiVersion: {API_VERSION}"
        );
        return problem(node.line, "", message);
    }
    [("apiVersion", API_VERSION), ("kind", KIND)].into_iter().find_map(|(key, wanted)| match node.get(key) {
        None => problem(node.line, key, format!("is required; write {key}: {wanted}")),
        Some(entry) if entry.value.text() == Some(wanted) => None,
        Some(entry) => {
            let written = entry.value.text().map_or_else(|| "this".to_owned(), quoted);
            problem(
                entry.line,
                key,
                format!("{written} is not {wanted}; only Models are read here, write {key}: {wanted}"),
            )
        }
    })
}

/// Checks the namespace, which is a DNS-1123 label. No rule of a CRD can: of `metadata` it sees the name only, and an API
/// server knows which namespaces there are. On one machine a namespace becomes a folder, so it must not be a path.
fn namespace(object: &Value, node: &Node, document: usize) -> Option<Problem> {
    let namespace = object.pointer("/metadata/namespace")?.as_str()?;
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let edges = !namespace.starts_with('-') && !namespace.ends_with('-');
    if edges && namespace.chars().all(inner) {
        return None;
    }
    let path = "metadata.namespace";
    let message = format!(
        "{} is no namespace, which holds only lower-case letters, digits and '-', and begins and ends with a letter or \
         digit; write a namespace such as default",
        quoted(namespace)
    );
    Some(Problem {
        document,
        line: Some(node.line_of(path)).filter(|line| *line > 0),
        path: path.to_owned(),
        message,
    })
}

fn duplicate(model: &Model, first: usize, document: usize, line: u64) -> Problem {
    let name = model.metadata.name.as_deref().unwrap_or_default();
    Problem {
        document,
        line: Some(line).filter(|line| *line > 0),
        path: "metadata.name".to_owned(),
        message: format!("{} is already the name of document {first}; write another name", quoted(name)),
    }
}

/// The CRD's schema, with `metadata` as the API server knows it: a CRD says only that it is an object.
static OBJECT_SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let mut schema = crd::schema().clone();
    let text = json!({"type": "string", "maxLength": 253});
    let texts = |length: u32| json!({"type": "object", "additionalProperties": {"type": "string", "maxLength": length}});
    let number = json!({"type": "integer", "minimum": 0});
    let metadata = json!({
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 253, "description": "The Model's name."},
            "namespace": {"type": "string", "minLength": 1, "maxLength": 63},
            "labels": texts(63),
            "annotations": texts(262_144),
            // What a cluster adds, as it stands in the output of `kubectl get -o yaml`.
            "generateName": &text,
            "uid": &text,
            "resourceVersion": &text,
            "selfLink": &text,
            // Older kubectl writes null here.
            "creationTimestamp": {},
            "deletionTimestamp": {},
            "deletionGracePeriodSeconds": number,
            "generation": number,
            "finalizers": {"type": "array", "items": &text},
            "ownerReferences": {"type": "array", "items": {"type": "object"}},
            "managedFields": {"type": "array", "items": {"type": "object"}},
        },
    });
    schema["properties"]["metadata"] = metadata;
    schema["properties"]["apiVersion"] = text.clone();
    schema["properties"]["kind"] = text;
    schema["required"] = json!(["apiVersion", "kind", "metadata", "spec"]);
    schema
});
