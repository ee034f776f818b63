//! YAML text to a tree that remembers its lines, within bounds that no text can exceed.

use std::fmt;

use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Number, Value};
use serde_yaml::Spanned;

use super::problems::quoted;

/// The longest text, in bytes. An object that an API server stores is smaller.
pub(super) const MAX_TEXT_BYTES: usize = 4 << 20;
/// The most values in a text, with aliases expanded.
const MAX_NODES: usize = 50_000;
/// The deepest nesting.
const MAX_DEPTH: usize = 32;
/// The most documents.
const MAX_DOCUMENTS: usize = 1_000;
/// The most anchors, and the most aliases.
const MAX_ANCHORS: usize = 100;

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    /// Counted from 1; 0 where it is not known.
    pub(super) line: u64,
    pub(super) content: Content,
}

/// What a value holds.
#[derive(Debug)]
pub(super) enum Content {
    /// Null, a truth value, a number or a text.
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key, where it stands, and its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: u64,
    pub(super) value: Node,
}

/// Why a text is not YAML.
#[derive(Debug)]
pub(super) struct NotYaml {
    pub(super) line: Option<u64>,
    pub(super) message: String,
}

/// Reads every document that holds something.
pub(super) fn read(text: &str) -> Result<Vec<Node>, NotYaml> {
    if text.len() > MAX_TEXT_BYTES {
        let message = format!(
            "the text has {} bytes where {MAX_TEXT_BYTES} are allowed; split it into several files",
            text.len()
        );
        return Err(NotYaml { line: None, message });
    }
    let options = serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_events: 4 * MAX_NODES,
            max_nodes: MAX_NODES,
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_documents: MAX_DOCUMENTS,
            max_anchors: MAX_ANCHORS,
            max_aliases: MAX_ANCHORS,
            max_merge_keys: MAX_ANCHORS,
            max_recorded_anchor_events: MAX_NODES,
        },
        alias_limits: serde_yaml::alias_limits! {
            max_total_replayed_events: MAX_NODES,
            max_replay_stack_depth: MAX_DEPTH,
        },
        with_snippet: false,
    };
    serde_yaml::from_multiple_with_options::<Node>(text, options).map_err(|error| {
        let line = error.location().map(|location| location.line()).filter(|line| *line > 0);
        NotYaml { line, message: format!("not YAML: {}", explain(&error)) }
    })
}

/// What the parser found, in one line, without its own names for things.
fn explain(error: &serde_yaml::Error) -> String {
    match error.without_snippet() {
        serde_yaml::Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().map_or_else(String::new, quoted);
            format!("the key {key} stands here a second time; remove one of them")
        }
        serde_yaml::Error::NonFiniteFloat { value, .. } => {
            format!("{} is not a finite number; write one such as 0.5", quoted(value))
        }
        serde_yaml::Error::Budget { .. }
        | serde_yaml::Error::AliasReplayLimitExceeded { .. }
        | serde_yaml::Error::AliasReplayStackDepthExceeded { .. } => format!(
            "more than {MAX_NODES} values, {MAX_DOCUMENTS} documents, {MAX_ANCHORS} anchors or {MAX_DEPTH} levels; \
             write a simpler text"
        ),
        other => other.to_string().split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

impl Node {
    /// The value beneath this key, if this is a map that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        match &self.content {
            Content::Map(entries) => entries.iter().find(|entry| entry.key == key),
            Content::Scalar(_) | Content::List(_) => None,
        }
    }

    /// The text, if this is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(value) => value.as_str(),
            Content::List(_) | Content::Map(_) => None,
        }
    }

    /// The line of the field that a path such as `spec.source.uri` or `status.conditions[0].type` names, or of the
    /// nearest field above it that exists.
    pub(super) fn line_of(&self, path: &str) -> u64 {
        let mut line = self.line;
        let mut node = self;
        for segment in path.split(['.', '[']).filter(|segment| !segment.is_empty()) {
            let below = match &node.content {
                Content::Map(_) => node.get(segment).map(|entry| (entry.line, &entry.value)),
                Content::List(items) => segment
                    .trim_end_matches(']')
                    .parse::<usize>()
                    .ok()
                    .and_then(|index| items.get(index))
                    .map(|item| (item.line, item)),
                Content::Scalar(_) => None,
            };
            let Some(below) = below else { break };
            (line, node) = below;
        }
        line
    }

    /// The same as JSON. Keys are unique: the parser refuses others.
    pub(super) fn to_value(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(items) => items.iter().map(Self::to_value).collect(),
            Content::Map(entries) => entries
                .iter()
                .map(|entry| (entry.key.clone(), entry.value.to_value()))
                .collect::<Map<_, _>>()
                .into(),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Content>::deserialize(deserializer)?;
        Ok(Self { line: spanned.referenced.line(), content: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Content;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Content, E> {
                Ok(Content::Scalar(Value::Null))
            }

            fn visit_none<E: de::Error>(self) -> Result<Content, E> {
                Ok(Content::Scalar(Value::Null))
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Content, D::Error> {
                Content::deserialize(deserializer)
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Content, E> {
                Ok(Content::Scalar(value.into()))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Content, E> {
                Ok(Content::Scalar(value.into()))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Content, E> {
                Ok(Content::Scalar(value.into()))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Content, E> {
                let number = Number::from_f64(value).ok_or_else(|| E::custom("a number must be finite"))?;
                Ok(Content::Scalar(number.into()))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Content, E> {
                Ok(Content::Scalar(value.into()))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut access: A) -> Result<Content, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = access.next_element()? {
                    items.push(item);
                }
                Ok(Content::List(items))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut access: A) -> Result<Content, A::Error> {
                let mut entries = Vec::new();
                while let Some((key, value)) = access.next_entry::<Spanned<String>, Node>()? {
                    entries.push(Entry { line: key.referenced.line(), key: key.value, value });
                }
                Ok(Content::Map(entries))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_keys_and_items_are_kept() {
        let documents = read("# one\na:\n  b: 1\n---\n---\nc:\n- x\n- y: 2\n").unwrap();
        assert_eq!(documents.len(), 2);
        assert_eq!(documents[0].line_of("a"), 2);
        assert_eq!(documents[0].line_of("a.b"), 3);
        assert_eq!(documents[0].line_of("a.c.d"), 2);
        assert_eq!(documents[1].line_of("c[1].y"), 8);
    }

    #[test]
    fn broken_yaml_is_located() {
        let error = read("a: 1\nb: [1, 2\nc: 3\n").unwrap_err();
        assert!(error.line.is_some(), "{}", error.message);
        let error = read("a: 1\na: 2\n").unwrap_err();
        assert_eq!(error.line, Some(2), "{}", error.message);
    }

    #[test]
    fn alias_bombs_deep_and_long_texts_are_refused() {
        let level = |level: usize| {
            let below = level.checked_sub(1).map_or("x".to_owned(), |below| format!("*a{below}"));
            format!("a{level}: &a{level} [{}]", vec![below; 10].join(", "))
        };
        let bomb = (0..12).map(level).collect::<Vec<_>>().join("\n");
        assert!(read(&bomb).is_err());
        assert!(read(&"[".repeat(10_000)).is_err());
        assert!(read(&format!("{}1", "a: {".repeat(10_000))).is_err());
        assert!(read(&"- x\n".repeat(60_000)).is_err());
        assert!(read(&" ".repeat(MAX_TEXT_BYTES + 1)).is_err());
    }

    #[test]
    fn aliases_within_bounds_are_expanded() {
        let documents = read("a: &a {x: 1}\nb: *a\n").unwrap();
        assert_eq!(documents[0].to_value(), serde_json::json!({"a": {"x": 1}, "b": {"x": 1}}));
    }
}
