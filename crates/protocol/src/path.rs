//! Where in a request a value stands.

use std::fmt;

use crate::error::excerpt;

/// A place in a JSON document, kept as a list on the stack so that it costs nothing until an error prints it.
///
/// Prints like `inputs[0].data[3]`; the root prints `body`.
#[derive(Clone, Copy)]
pub(crate) enum Path<'a> {
    /// The document.
    Root,
    /// A member of an object.
    Key(&'a Path<'a>, &'a str),
    /// An element of an array.
    Index(&'a Path<'a>, usize),
}

impl<'a> Path<'a> {
    /// The member `key` of this place.
    pub(crate) const fn key(&'a self, key: &'a str) -> Self {
        Self::Key(self, key)
    }

    /// The element `index` of this place.
    pub(crate) const fn index(&'a self, index: usize) -> Self {
        Self::Index(self, index)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("body"),
            Self::Key(Self::Root, key) => f.write_str(&excerpt(key)),
            Self::Key(parent, key) => write!(f, "{parent}.{}", excerpt(key)),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_prints_as_one_would_write_it() {
        let inputs = Path::Root.key("inputs");
        let first = inputs.index(0);
        let data = first.key("data");
        assert_eq!(data.index(3).index(1).to_string(), "inputs[0].data[3][1]");
        assert_eq!(Path::Root.to_string(), "body");
    }
}
