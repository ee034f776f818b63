//! Which known word a mistyped one probably means.

use serde_json::Value;

/// The known word that is nearest to `written`, if one is near enough to be meant.
pub(super) fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer than any word we know: not worth the comparison, whose time grows with the product of the lengths.
    if written.len() > 64 {
        return None;
    }
    let written = written.to_lowercase();
    known
        .into_iter()
        .map(|word| {
            let lower = word.to_lowercase();
            let distance = if lower.starts_with(&written) && written.len() >= 3 {
                1
            } else {
                strsim::damerau_levenshtein(&written, &lower)
            };
            (distance, word)
        })
        .min()
        .filter(|(distance, word)| *distance <= (word.len() / 3).max(1))
        .map(|(_, word)| word)
}

/// Where in `schema` the key `written` belongs, as a path beneath `place`.
pub(super) fn elsewhere(schema: &Value, written: &str, place: &str) -> Option<String> {
    if let Some(items) = schema.get("items") {
        return elsewhere(items, written, &format!("{place}[]"));
    }
    let properties = schema.get("properties")?.as_object()?;
    if properties.contains_key(written) {
        return Some(place.to_owned());
    }
    properties.iter().find_map(|(key, below)| elsewhere(below, written, &format!("{place}.{key}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nearest_word_is_found_and_far_words_are_not() {
        let known = ["executionProvider", "limits", "replicas", "resources"];
        assert_eq!(nearest("replica", known), Some("replicas"));
        assert_eq!(nearest("Replicas", known), Some("replicas"));
        assert_eq!(nearest("executionprovidr", known), Some("executionProvider"));
        assert_eq!(nearest("execution", known), Some("executionProvider"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest(&"r".repeat(100_000), known), None);
    }

    #[test]
    fn key_of_another_level_is_found() {
        let schema = json!({"properties": {
            "layers": {"items": {"properties": {"units": {}}}},
            "serving": {"properties": {"replicas": {}}},
        }});
        assert_eq!(elsewhere(&schema, "replicas", "spec").as_deref(), Some("spec.serving"));
        assert_eq!(elsewhere(&schema, "units", "spec").as_deref(), Some("spec.layers[]"));
        assert_eq!(elsewhere(&schema, "colour", "spec"), None);
    }
}
