//! The `parameters` objects of requests, inputs and outputs, and which of them mean something here.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::element::Element;
use crate::error::{Error, excerpt};
use crate::json::Scanner;
use crate::limits::Limits;
use crate::path::Path;

/// The parameters of a request by name.
pub type Parameters = BTreeMap<String, Parameter>;

/// The value of a parameter; the protocol has no others.
#[derive(Debug, Clone, PartialEq)]
pub enum Parameter {
    /// `true` or `false`.
    Bool(bool),
    /// A number without fraction and exponent that fits into 64 bits.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
}

impl Parameter {
    /// Whether the value asks for nothing: `false`, 0 or the empty text.
    fn is_neutral(&self) -> bool {
        match self {
            Self::Bool(value) => !value,
            Self::Int(value) => *value == 0,
            Self::Float(value) => *value == 0.0,
            Self::Text(value) => value.is_empty(),
        }
    }
}

/// The entries of one object as it was read: nearly always one, whose key is a piece of the request. A map of owned keys
/// took a twelfth of a small request with a binary tensor.
#[derive(Default)]
pub(crate) struct Entries<'a>(Vec<(Cow<'a, str>, Parameter)>);

impl Entries<'_> {
    /// The value under a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Parameter> {
        // No longer than `Limits::max_parameters`.
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The same by name, to be kept.
    pub(crate) fn into_map(self) -> Parameters {
        self.0.into_iter().map(|(name, value)| (name.into_owned(), value)).collect()
    }
}

/// What a `parameters` object belongs to.
#[derive(Clone, Copy)]
pub(crate) enum Scope {
    Request,
    Input,
    Output,
}

/// Reads a `parameters` object. `null` counts as absent, for the object and for a value, because some clients write
/// every optional key.
pub(crate) fn read_parameters<'a>(
    scanner: &mut Scanner<'a>,
    scope: Scope,
    path: &Path<'_>,
    limits: &Limits,
) -> Result<Entries<'a>, Error> {
    let mut parameters = Entries::default();
    if scanner.take_null()? {
        return Ok(parameters);
    }
    scanner.open_object(path)?;
    while let Some(key) = scanner.next_key()? {
        let here = path.key(&key);
        bounded(&key, limits, path)?;
        if scanner.take_null()? {
            continue;
        }
        let value = read_value(scanner, &here, limits)?;
        if !value.is_neutral() {
            refuse_reserved(scope, &key, &here)?;
        }
        if parameters.0.len() == limits.max_parameters {
            let (path, limit) = (path.to_string(), limits.max_parameters);
            return Err(Error::LimitExceeded { path, what: "parameters", limit });
        }
        if parameters.get(&key).is_some() {
            return Err(Error::DuplicateKey { path: path.to_string(), key: excerpt(&key) });
        }
        parameters.0.push((key, value));
    }
    Ok(parameters)
}

/// Refuses text that is kept and longer than the bound.
pub(crate) fn bounded(text: &str, limits: &Limits, path: &Path<'_>) -> Result<(), Error> {
    if text.len() <= limits.max_text {
        return Ok(());
    }
    Err(Error::LimitExceeded { path: path.to_string(), what: "bytes of text", limit: limits.max_text })
}

fn read_value(scanner: &mut Scanner<'_>, path: &Path<'_>, limits: &Limits) -> Result<Parameter, Error> {
    const WANTED: &str = "a string, a number or a boolean";
    match scanner.peek()? {
        b'"' => {
            let text = scanner.string(WANTED, path)?;
            bounded(&text, limits, path)?;
            Ok(Parameter::Text(text.into_owned()))
        }
        b't' | b'f' => Ok(Parameter::Bool(scanner.boolean(WANTED, path)?)),
        _ => {
            let mut ahead = scanner.clone();
            let token = ahead.number(WANTED, path)?;
            if let Ok(value) = token.parse() {
                *scanner = ahead;
                return Ok(Parameter::Int(value));
            }
            f64::read(scanner, path).map(Parameter::Float)
        }
    }
}

/// The parameter `key` as a count, `None` if it is absent; `path` is the place of the object.
pub(crate) fn count(parameters: &Entries<'_>, key: &str, path: &Path<'_>) -> Result<Option<u64>, Error> {
    match parameters.get(key) {
        None => Ok(None),
        Some(&Parameter::Int(value)) if value >= 0 => Ok(u64::try_from(value).ok()),
        Some(other) => Err(wrong(other, "an integer that is not negative", key, path)),
    }
}

/// The parameter `key` as a truth value, `None` if it is absent; `path` is the place of the object.
pub(crate) fn flag(parameters: &Entries<'_>, key: &str, path: &Path<'_>) -> Result<Option<bool>, Error> {
    match parameters.get(key) {
        None => Ok(None),
        Some(&Parameter::Bool(value)) => Ok(Some(value)),
        Some(other) => Err(wrong(other, "true or false", key, path)),
    }
}

#[cold]
fn wrong(value: &Parameter, wanted: &str, key: &str, path: &Path<'_>) -> Error {
    let got = match value {
        Parameter::Bool(value) => value.to_string(),
        Parameter::Int(value) => value.to_string(),
        Parameter::Float(value) => value.to_string(),
        Parameter::Text(text) => format!("the string \"{}\"", excerpt(text)),
    };
    Error::InvalidValue { path: path.key(key).to_string(), got: excerpt(&got), wanted: wanted.to_owned() }
}

/// Refuses a parameter to which the protocol or its extensions give a meaning that this version does not honour.
///
/// Source: Triton's extensions for parameters (`sequence_*`, `priority`) and shared memory. Ignoring them would answer with
/// something else than was asked for. Other names are free for applications and have no effect, as the protocol has it.
fn refuse_reserved(scope: Scope, key: &str, path: &Path<'_>) -> Result<(), Error> {
    let (feature, instead) = match (scope, key) {
        (
            Scope::Input | Scope::Output,
            "shared_memory_region" | "shared_memory_offset" | "shared_memory_byte_size",
        ) => ("the shared memory extension", "send the elements as JSON in `data`, or as binary tensor data"),
        (Scope::Request, "sequence_id" | "sequence_start" | "sequence_end") => {
            ("sequence batching", "leave it out; every request is on its own")
        }
        (Scope::Request, "priority") => ("request priority", "leave it out or set it to 0"),
        _ => return Ok(()),
    };
    Err(Error::Unsupported { path: path.to_string(), feature, instead })
}
