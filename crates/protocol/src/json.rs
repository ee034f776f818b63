//! A pull scanner over JSON text (RFC 8259) that hands out tokens and builds nothing.
//!
//! The caller knows what it wants at each place and asks for it; numbers are handed out as text and parsed straight
//! into the type of the tensor, which a tree of values or a detour over `f64` would not allow. Nesting is bounded, so
//! callers may recurse.

use std::borrow::Cow;

use crate::error::{Error, excerpt};
use crate::number::Scalar;
use crate::path::Path;

/// How many values are read before they are appended together.
const CHUNK: usize = 64;
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

    /// Reads elements of the array that was entered last for as long as they are plainly spelt, at most `limit`, and says
    /// how many. The next call of [`next_element`](Self::next_element) goes on after them.
    ///
    /// Nothing is refused here: whatever is not read is left to the general path, which knows the words for it.
    pub(crate) fn read_run<T: Scalar>(&mut self, values: &mut Vec<T>, limit: usize) -> usize {
        let bytes = self.text.as_bytes();
        let mut chunk = [T::default(); CHUNK];
        let (mut at, mut count, mut first) = (self.at, 0, self.opened);
        while count < limit {
            let room = CHUNK.min(limit - count);
            let mut filled = 0;
            for slot in &mut chunk[..room] {
                let Some((value, end)) = scan_element(bytes, at, first) else { break };
                (*slot, at, first) = (value, end, false);
                filled += 1;
            }
            values.extend_from_slice(&chunk[..filled]);
            count += filled;
            if filled < room {
                break;
            }
        }
        (self.at, self.opened) = (at, first);
        count
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
        self.at = white_space_end(self.text.as_bytes(), self.at);
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

/// Reads an element after the comma before it, or the `first` one, which has none before it.
#[inline]
fn scan_element<T: Scalar>(bytes: &[u8], mut at: usize, first: bool) -> Option<(T, usize)> {
    if !first {
        if bytes.get(at) != Some(&b',') {
            at = white_space_end(bytes, at);
            if bytes.get(at) != Some(&b',') {
                return None;
            }
        }
        at += 1;
    }
    if bytes.get(at).is_some_and(|&byte| byte <= b' ') {
        at = white_space_end(bytes, at);
    }
    let (value, end) = T::scan(bytes, at)?;
    let ends = match bytes.get(end)? {
        b',' => true,
        byte => matches!(byte, b']' | b' ' | b'\n' | b'\r' | b'\t'),
    };
    ends.then_some((value, end))
}

/// The first byte at or after `at` that is not white space.
#[inline]
fn white_space_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
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
mod tests;
