//! Paths of files inside a revision.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::Error;

/// The longest path, in bytes.
const MAX_PATH: usize = 1024;
/// The longest component of a path, in bytes: what common file systems store.
const MAX_COMPONENT: usize = 255;
/// Where a fetch keeps unfinished files; such names cannot be a revision's.
pub(crate) const RESERVED_PREFIX: &str = ".modelwright-";

/// The path of a file inside a revision: relative, `/` between components, safe to join to any folder.
///
/// Refused: empty, absolute, `.` and `..` and empty components, backslashes, control characters, components over
/// 255 bytes, paths over 1,024 bytes, and components that begin with `.modelwright-` (used for unfinished files).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct RelativePath(String);

impl RelativePath {
    /// Checks `path`.
    pub fn new(path: &str) -> Result<Self, Error> {
        match problem(path) {
            None => Ok(Self(path.to_owned())),
            Some(problem) => Err(Error::UnsafePath { path: shortened(path), problem }),
        }
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The components, from the top.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The folders above the file (outermost first) and the file's own name.
    pub(crate) fn split(&self) -> (Vec<&str>, &str) {
        let mut folders: Vec<&str> = self.components().collect();
        let name = folders.pop().unwrap_or_default();
        (folders, name)
    }
}

fn problem(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("it is empty");
    }
    if path.len() > MAX_PATH {
        return Some("it is longer than 1024 bytes");
    }
    if path.starts_with('/') {
        return Some("it is absolute");
    }
    if path.chars().any(char::is_control) {
        return Some("it holds a control character");
    }
    if path.contains('\\') {
        return Some("it holds a backslash; components are divided by /");
    }
    path.split('/').find_map(|component| match component {
        "" => Some("a component is empty"),
        "." | ".." => Some("it steps out of the revision with . or .."),
        _ if component.len() > MAX_COMPONENT => Some("a component is longer than 255 bytes"),
        _ if component.starts_with(RESERVED_PREFIX) => {
            Some("names that begin with .modelwright- are reserved")
        }
        _ => None,
    })
}

/// At most 80 characters of hostile text, for a message; control characters escaped.
fn shortened(path: &str) -> String {
    let mut text: String = path.chars().take(80).flat_map(char::escape_debug).collect();
    if path.chars().nth(80).is_some() {
        text.push('…');
    }
    text
}

/// Text from elsewhere, for a message: what would command a terminal, or cannot be seen, is escaped.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // Harmless, and common in names.
            '\'' | '"' | '\\' => shown.push(c),
            c => shown.extend(c.escape_debug()),
        }
    }
    shown
}

impl FromStr for RelativePath {
    type Err = Error;

    fn from_str(path: &str) -> Result<Self, Error> {
        Self::new(path)
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for RelativePath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for RelativePath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for RelativePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("model.onnx")]
    #[case("weights/part 1/größe.bin")]
    #[case("..data")]
    #[case("a/...")]
    fn safe_path_is_kept_as_it_is(#[case] path: &str) {
        assert_eq!(RelativePath::new(path).unwrap().as_str(), path);
    }

    #[rstest]
    #[case("")]
    #[case("/etc/passwd")]
    #[case("..")]
    #[case("a/../../b")]
    #[case("./a")]
    #[case("a//b")]
    #[case("a/")]
    #[case("a\\b")]
    #[case("a\0b")]
    #[case("a\nb")]
    #[case(".modelwright-0.partial")]
    #[case("a/.modelwright-0.partial/b")]
    fn unsafe_path_is_refused(#[case] path: &str) {
        assert!(matches!(RelativePath::new(path), Err(Error::UnsafePath { .. })), "{path}");
    }

    #[test]
    fn lengths_are_bounded_exactly() {
        assert!(RelativePath::new(&"x".repeat(255)).is_ok());
        assert!(RelativePath::new(&"x".repeat(256)).is_err());
        let long = "xxxxxxx/".repeat(128);
        assert!(RelativePath::new(&long[..1023]).is_ok());
        assert!(RelativePath::new(&format!("{long}x")).is_err());
    }

    #[test]
    fn message_about_a_hostile_path_is_short_and_printable() {
        let message = RelativePath::new(&"\u{1b}[31m".repeat(1000)).unwrap_err().to_string();
        assert!(message.len() < 1000 && !message.contains('\u{1b}'), "{message}");
    }

    #[test]
    fn only_what_cannot_be_seen_is_escaped() {
        assert_eq!(printable("größe's \"a\\b\""), "größe's \"a\\b\"");
        assert_eq!(printable("\u{1b}[31m\u{202e}\n"), "\\u{1b}[31m\\u{202e}\\n");
    }

    proptest! {
        #[test]
        fn joined_to_a_folder_an_accepted_path_stays_inside(path in "[a-z./\\\\]{0,12}|\\PC{0,40}") {
            if let Ok(path) = RelativePath::new(&path) {
                let joined = std::path::Path::new("/base").join(path.as_str());
                prop_assert!(joined.starts_with("/base"));
                prop_assert!(joined.components().all(|c| c != std::path::Component::ParentDir));
                prop_assert_eq!(path.components().count() + 2, joined.components().count());
            }
        }
    }
}
