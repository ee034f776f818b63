//! Names and values as messages show them.

/// How many characters of a text a message shows.
const CHARACTERS: usize = 60;
/// How many names a message shows.
const NAMES: usize = 12;

/// A text in quotes, on one line and not too long.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(CHARACTERS) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", &text[..end]),
    }
}

/// Names in quotes, the first of them.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let shown: Vec<String> = names.iter().take(NAMES).map(|name| quoted(name)).collect();
    match (names.len(), names.len().saturating_sub(NAMES)) {
        (0, _) => "none".to_owned(),
        (_, 0) => shown.join(", "),
        (_, more) => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Names in quotes, those first that are nearest to the wanted one.
pub(crate) fn columns_nearest_first<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.into_iter().collect();
    names.sort_by_cached_key(|name| distance(wanted, name));
    list(names)
}

/// The name that is probably meant, if one is near enough.
pub(crate) fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, name) = names.into_iter().map(|name| (distance(wanted, name), name)).min()?;
    (distance <= (wanted.chars().count() / 3).max(1)).then_some(name)
}

/// How many characters differ, capitals and small letters being the same. The time grows with the product of the
/// lengths, so of long names only the beginnings count.
fn distance(one: &str, other: &str) -> usize {
    let beginning = |text: &str| text.trim().chars().take(CHARACTERS).collect::<String>().to_lowercase();
    strsim::damerau_levenshtein(&beginning(one), &beginning(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_names_come_first_and_long_lists_are_cut() {
        assert_eq!(columns_nearest_first("agee", ["city", "age"]), r#""age", "city""#);
        let many: Vec<String> = (0..40).map(|index| format!("c{index}")).collect();
        assert!(list(many.iter().map(String::as_str)).ends_with("\"c11\" and 28 more"));
        assert_eq!(list([]), "none");
    }

    #[test]
    fn only_a_near_name_is_proposed() {
        assert_eq!(nearest("Diagnosis", ["diagnosis", "age"]), Some("diagnosis"));
        assert_eq!(nearest("target", ["diagnosis", "age"]), None);
        assert_eq!(nearest("x", []), None);
    }

    #[test]
    fn shown_texts_are_short_single_lines() {
        assert_eq!(quoted("a\n\"b"), r#""a\n\"b""#);
        assert_eq!(quoted(&"é".repeat(500)).chars().count(), CHARACTERS + 3);
    }
}
