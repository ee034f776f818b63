//! A pull scanner over JSON text (RFC 8259) that hands out tokens and builds nothing.
//!
//! The caller knows what it wants at each place and asks for it; numbers are handed out as text and parsed straight
//! into the type of the tensor, which a tree of values or a detour over `f64` would not allow. Nesting is bounded, so
//! callers may recurse.

use std::borrow::Cow;

use crate::error::{Error, excerpt};
use crate::path::Path;

/// The deepest nesting that recursion may follow whatever the limits say.
const HARD_DEPTH: usize = 128;

/// A position in JSON text.
#[derive(Clone)]
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    max_depth: usize,
    /// Whether an array or object was just opened, so that no comma precedes the next member.
    opened: bool,
}

impl<'a> Scanner<'a> {
    /// Starts at the beginning of a body.
    pub(crate) fn new(body: &'a [u8], max_depth: usize) -> Result<Self, Error> {
        let text = std::str::from_utf8(body).map_err(|error| Error::MalformedJson {
            detail: format!("byte {} is not UTF-8", error.valid_up_to() + 1),
        })?;
        let mut scanner = Self { text, at: 0, depth: 0, max_depth: max_depth.min(HARD_DEPTH), opened: false };
        scanner.skip_white_space();
        if scanner.at == text.len() { Err(Error::EmptyBody) } else { Ok(scanner) }
    }

    /// The first byte of the next token.
    #[inline]
    pub(crate) fn peek(&mut self) -> Result<u8, Error> {
        self.skip_white_space();
        self.text.as_bytes().get(self.at).copied().ok_or_else(|| self.truncated())
    }

    /// How many bytes are left.
    pub(crate) const fn remaining(&self) -> usize {
        self.text.len() - self.at
    }

    /// Whether the value here is an array that begins with an array.
    pub(crate) fn is_nested_array(&self) -> bool {
        let mut ahead = self.clone();
        ahead.peek().is_ok_and(|byte| byte == b'[') && {
            ahead.at += 1;
            ahead.peek().is_ok_and(|byte| byte == b'[')
        }
    }

    /// Enters an object.
    pub(crate) fn open_object(&mut self, path: &Path<'_>) -> Result<(), Error> {
        self.open(b'{', "an object", path)
    }

    /// Enters an array; `wanted` describes it for the error when something else stands here.
    pub(crate) fn open_array(&mut self, wanted: &str, path: &Path<'_>) -> Result<(), Error> {
        self.open(b'[', wanted, path)
    }

    fn open(&mut self, bracket: u8, wanted: &str, path: &Path<'_>) -> Result<(), Error> {
        if self.peek()? != bracket {
            return Err(self.unexpected(wanted, path));
        }
        if self.depth == self.max_depth {
            let path = path.to_string();
            return Err(Error::LimitExceeded { path, what: "levels of nesting", limit: self.max_depth });
        }
        self.at += 1;
        self.depth += 1;
        self.opened = true;
        Ok(())
    }

    /// Moves to the next element of the array that was entered last, or leaves it and says no.
    #[inline]
    pub(crate) fn next_element(&mut self) -> Result<bool, Error> {
        self.next_member(b']', "`,` or `]`")
    }

    /// Moves to the value of the next key of the object that was entered last, or leaves it.
    pub(crate) fn next_key(&mut self) -> Result<Option<Cow<'a, str>>, Error> {
        if !self.next_member(b'}', "`,` or `}`")? {
            return Ok(None);
        }
        if self.peek()? != b'"' {
            return Err(self.malformed("expected a key in quotes"));
        }
        let key = self.text_token()?;
        if self.peek()? != b':' {
            return Err(self.malformed("expected `:` after the key"));
        }
        self.at += 1;
        Ok(Some(key))
    }

    #[inline]
    fn next_member(&mut self, close: u8, expected: &str) -> Result<bool, Error> {
        let first = std::mem::replace(&mut self.opened, false);
        match self.peek()? {
            byte if byte == close => {
                self.at += 1;
                self.depth = self.depth.saturating_sub(1);
                Ok(false)
            }
            _ if first => Ok(true),
            b',' => {
                self.at += 1;
                if self.peek()? == close {
                    return Err(self.malformed("a comma without a value after it"));
                }
                Ok(true)
            }
            _ => Err(self.malformed(&format!("expected {expected}"))),
        }
    }

    /// The text of a number; `wanted` describes it for the error when something else stands here.
    #[inline]
    pub(crate) fn number(&mut self, wanted: &str, path: &Path<'_>) -> Result<&'a str, Error> {
        let first = self.peek()?;
        if first != b'-' && !first.is_ascii_digit() {
            return Err(self.unexpected(wanted, path));
        }
        let bytes = self.text.as_bytes();
        let start = self.at;
        match number_end(bytes, start) {
            Some(end) if bytes.get(end).is_none_or(|&byte| ends_token(byte)) => {
                self.at = end;
                Ok(&self.text[start..end])
            }
            _ => Err(self.unexpected(wanted, path)),
        }
    }

    /// A string with its escapes resolved; `wanted` describes it for the error when something else stands here.
    pub(crate) fn string(&mut self, wanted: &str, path: &Path<'_>) -> Result<Cow<'a, str>, Error> {
        if self.peek()? == b'"' { self.text_token() } else { Err(self.unexpected(wanted, path)) }
    }

    /// `true` or `false`; `wanted` describes it for the error when something else stands here.
    pub(crate) fn boolean(&mut self, wanted: &str, path: &Path<'_>) -> Result<bool, Error> {
        self.skip_white_space();
        match self.word() {
            "true" => {
                self.at += 4;
                Ok(true)
            }
            "false" => {
                self.at += 5;
                Ok(false)
            }
            _ => Err(self.unexpected(wanted, path)),
        }
    }

    /// Steps over `null` if it stands here.
    pub(crate) fn take_null(&mut self) -> Result<bool, Error> {
        let is_null = self.peek()? == b'n' && self.word() == "null";
        if is_null {
            self.at += 4;
        }
        Ok(is_null)
    }

    /// Checks and steps over a value of any kind and gives its text.
    pub(crate) fn skip(&mut self, path: &Path<'_>) -> Result<&'a str, Error> {
        let first = self.peek()?;
        let start = self.at;
        match first {
            b'{' => {
                self.open_object(path)?;
                while self.next_key()?.is_some() {
                    self.skip(path)?;
                }
            }
            b'[' => {
                self.open_array("an array", path)?;
                while self.next_element()? {
                    self.skip(path)?;
                }
            }
            b'"' => {
                self.string_end()?;
            }
            b't' | b'f' => {
                self.boolean("a JSON value", path)?;
            }
            b'n' if self.take_null()? => {}
            _ => {
                self.number("a JSON value", path)?;
            }
        }
        Ok(&self.text[start..self.at])
    }

    /// Checks that nothing follows the document.
    pub(crate) fn end(&mut self) -> Result<(), Error> {
        self.skip_white_space();
        if self.at == self.text.len() {
            return Ok(());
        }
        Err(self.malformed("something follows the end of the JSON document"))
    }

    /// The error for a value that is not what belongs at `path`: names what stands here.
    ///
    /// What is no JSON value at all is malformed, except the literals that Python and JavaScript write for non-finite
    /// numbers: those are named with their place.
    #[cold]
    pub(crate) fn unexpected(&self, wanted: &str, path: &Path<'_>) -> Error {
        let rest = &self.text[self.at..];
        let got = match rest.as_bytes().first() {
            None => return self.truncated(),
            Some(b'{') => "an object".to_owned(),
            Some(b'[') => "an array".to_owned(),
            Some(b'"') => {
                let mut ahead = self.clone();
                match ahead.text_token() {
                    Ok(text) => format!("the string \"{}\"", excerpt(&text)),
                    Err(error) => return error,
                }
            }
            Some(_) => match self.word() {
                word @ ("true" | "false" | "null") => word.to_owned(),
                word @ ("NaN" | "-NaN" | "Infinity" | "-Infinity" | "nan" | "inf" | "-inf") => {
                    format!("{word} (not JSON, and not finite)")
                }
                word if number_end(word.as_bytes(), 0) == Some(word.len()) => excerpt(word),
                "" => return self.malformed("expected a value"),
                word => return self.malformed(&format!("`{}` is not a JSON value", excerpt(word))),
            },
        };
        Error::InvalidValue { path: path.to_string(), got, wanted: wanted.to_owned() }
    }

    /// The error for text that is not JSON, with the line and column of the next token.
    #[cold]
    fn malformed(&self, what: &str) -> Error {
        let before = &self.text[..self.at];
        let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        Error::MalformedJson { detail: format!("{what} at line {line} column {column}") }
    }

    #[cold]
    fn truncated(&self) -> Error {
        Error::MalformedJson {
            detail: format!("the text ends in the middle of a value, after {} bytes", self.text.len()),
        }
    }

    #[inline]
    fn skip_white_space(&mut self) {
        let bytes = self.text.as_bytes();
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(self.at) {
            self.at += 1;
        }
    }

    /// The run of characters up to the next delimiter, bounded for messages by whoever prints it.
    fn word(&self) -> &'a str {
        let rest = &self.text[self.at..];
        let length = rest.bytes().position(ends_token).unwrap_or(rest.len());
        &rest[..length]
    }

    /// Reads the string that stands here.
    fn text_token(&mut self) -> Result<Cow<'a, str>, Error> {
        let start = self.at;
        let escaped = self.string_end()?;
        let token = &self.text[start..self.at];
        if !escaped {
            return Ok(Cow::Borrowed(&token[1..token.len() - 1]));
        }
        serde_json::from_str::<String>(token).map(Cow::Owned).map_err(|_| {
            self.at = start;
            self.malformed("a string has an invalid escape (an unpaired surrogate?)")
        })
    }

    /// Steps over the string that stands here and says whether it has escapes.
    fn string_end(&mut self) -> Result<bool, Error> {
        let bytes = self.text.as_bytes();
        let mut escaped = false;
        let mut at = self.at + 1;
        loop {
            match bytes.get(at) {
                None => return Err(self.truncated()),
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    at = match escape_end(bytes, at) {
                        Some(end) => end,
                        None if at + 6 > bytes.len() => return Err(self.truncated()),
                        None => return Err(self.malformed("a string has an invalid escape")),
                    };
                }
                Some(0..0x20) => {
                    return Err(self.malformed("a string has a control character that is not escaped"));
                }
                Some(_) => at += 1,
            }
        }
    }
}

/// Whether a number or literal ends before this byte.
const fn ends_token(byte: u8) -> bool {
    matches!(byte, b',' | b']' | b'}' | b':' | b' ' | b'\n' | b'\r' | b'\t' | b'"' | b'[' | b'{')
}

/// The end of the escape sequence that begins at `at`.
fn escape_end(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at + 1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 2),
        b'u' => bytes.get(at + 2..at + 6)?.iter().all(u8::is_ascii_hexdigit).then_some(at + 6),
        _ => None,
    }
}

/// The end of the number (RFC 8259 §6) that begins at `at`, or `None` if none does.
#[inline]
fn number_end(bytes: &[u8], at: usize) -> Option<usize> {
    let start = at + usize::from(bytes.get(at) == Some(&b'-'));
    let mut end = if bytes.get(start) == Some(&b'0') { start + 1 } else { digits_end(bytes, start)? };
    if bytes.get(end) == Some(&b'.') {
        end = digits_end(bytes, end + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(end) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        end = digits_end(bytes, end + 1 + sign)?;
    }
    Some(end)
}

/// The end of one or more digits that begin at `at`.
#[inline]
fn digits_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let length = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    (length > 0).then_some(at + length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn check(text: &[u8]) -> Result<(), Error> {
        let mut scanner = Scanner::new(text, 32)?;
        scanner.skip(&Path::Root)?;
        scanner.end()
    }

    #[rstest]
    #[case("")]
    #[case(" \n\t")]
    fn nothing_is_an_empty_body(#[case] text: &str) {
        assert_eq!(check(text.as_bytes()), Err(Error::EmptyBody));
    }

    #[rstest]
    #[case("[1,]", "a comma without a value after it at line 1 column 4")]
    #[case("[1 2]", "expected `,` or `]` at line 1 column 4")]
    #[case("{\"a\" 1}", "expected `:` after the key")]
    #[case("{a:1}", "expected a key in quotes")]
    #[case("[1]\n x", "something follows the end of the JSON document at line 2 column 2")]
    #[case("[01]", "`01` is not a JSON value")]
    #[case("[1.]", "`1.` is not a JSON value")]
    #[case("[.5]", "`.5` is not a JSON value")]
    #[case("[+1]", "`+1` is not a JSON value")]
    #[case("[1e]", "`1e` is not a JSON value")]
    #[case("[truefalse]", "`truefalse` is not a JSON value")]
    #[case("[,1]", "expected a value")]
    #[case("[1", "the text ends in the middle of a value, after 2 bytes")]
    #[case("[\"ab", "the text ends in the middle of a value")]
    #[case("[\"a\\", "the text ends in the middle of a value")]
    #[case("[\"a\\x....\"]", "a string has an invalid escape")]
    #[case("[\"a\nb\"]", "a string has a control character")]
    fn malformed_text_names_fault_and_position(#[case] text: &str, #[case] expected: &str) {
        let message = check(text.as_bytes()).unwrap_err().to_string();
        assert!(
            message.starts_with("the request body is not valid JSON") && message.contains(expected),
            "{message}"
        );
    }

    #[test]
    fn nesting_is_bounded_whatever_the_limit_says() {
        let bomb = "[".repeat(100_000);
        for limit in [32, usize::MAX] {
            let mut scanner = Scanner::new(bomb.as_bytes(), limit).unwrap();
            let error = scanner.skip(&Path::Root).unwrap_err();
            assert!(matches!(error, Error::LimitExceeded { what: "levels of nesting", .. }), "{error}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused() {
        assert!(check(b"[\"\xff\"]").unwrap_err().to_string().contains("byte 3 is not UTF-8"));
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json_on_what_is_json(text in r#"[\[\]{}:,"\\0-9eE+.a-z \n-]{0,24}"#) {
            let ours = check(text.as_bytes()).is_ok();
            // Lone surrogates and numbers out of range are read later, so they are left to the tests of the values.
            let theirs = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
            prop_assert_eq!(ours, theirs, "{}", text);
        }

        #[test]
        fn agrees_with_serde_json_on_numbers(text in r"-?[0-9]{0,4}(\.[0-9]{0,3})?([eE][+-]?[0-9]{0,3})?") {
            let ours = check(text.as_bytes()).is_ok();
            prop_assert_eq!(ours, serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok(), "{}", text);
        }

        #[test]
        fn strings_read_as_serde_json_reads_them(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            let mut scanner = Scanner::new(json.as_bytes(), 4).unwrap();
            prop_assert_eq!(scanner.string("a string", &Path::Root).unwrap(), text);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = check(&bytes);
        }
    }
}
