//! What is wrong with a manifest, in words that say what to write instead.

use std::fmt;

/// How many problems are printed; a file with more of them is not repaired one by one.
const PRINTED: usize = 50;
/// The longest piece of a user's text that a message repeats, in characters.
const QUOTED: usize = 64;

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// Which document of the text, counted from 1; documents that hold nothing are not counted.
    pub document: usize,
    /// The line it stands on, counted from 1, where that is known.
    pub line: Option<u64>,
    /// The field, such as `spec.serving.replicas`; empty where it is the whole document.
    pub path: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// Everything that is wrong with a text; never empty.
///
/// Displayed with one problem on each line: `model.yaml:12: spec.serving.replicas: 2000 is too large; …`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problems {
    origin: String,
    problems: Vec<Problem>,
}

impl Problems {
    pub(super) fn new(origin: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|one, other| {
            (one.document, one.line, &one.path).cmp(&(other.document, other.line, &other.path))
        });
        Self { origin: origin.to_owned(), problems }
    }

    /// The name of the text, as it was given to [`parse`](super::parse).
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Every problem, in the order of the text.
    pub fn as_slice(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().take(PRINTED).enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            match problem.line {
                Some(line) => write!(f, "{}:{line}: ", self.origin)?,
                None => write!(f, "{}: document {}: ", self.origin, problem.document)?,
            }
            if !problem.path.is_empty() {
                write!(f, "{}: ", problem.path)?;
            }
            f.write_str(&problem.message)?;
        }
        match self.problems.len().checked_sub(PRINTED) {
            Some(more) if more > 0 => write!(f, "\n{}: and {more} more problems", self.origin),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Problems {}

/// A path of keys and positions that grows and shrinks while an object is walked.
#[derive(Clone, Debug, Default)]
pub(super) struct Path {
    segments: Vec<String>,
}

impl Path {
    pub(super) fn push_key(&mut self, key: &str) {
        let plain = !key.is_empty()
            && key.chars().count() <= QUOTED
            && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        self.segments.push(match (plain, self.segments.is_empty()) {
            (true, true) => key.to_owned(),
            (true, false) => format!(".{key}"),
            (false, _) => format!("[{}]", quoted(key)),
        });
    }

    pub(super) fn push_index(&mut self, index: usize) {
        self.segments.push(format!("[{index}]"));
    }

    pub(super) fn pop(&mut self) {
        self.segments.pop();
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.segments.iter().try_for_each(|segment| f.write_str(segment))
    }
}

/// A user's text in quotes, escaped, and shortened where it is long.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}
