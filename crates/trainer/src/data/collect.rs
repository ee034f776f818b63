//! The values of a column while they are being read.

use std::collections::HashMap;

use modelwright_api::training::ColumnKind;

use super::cell::{boolean, is_missing, number, number_hint};
use super::{DataError, Place};
use crate::table::{Texts, Values};

/// Collects the values of one column.
pub(super) enum Collector {
    /// Numbers; NaN where one is missing.
    Numeric(Vec<f32>),
    /// Truth values.
    Boolean(Vec<Option<bool>>),
    /// Texts.
    Text(TextCollector),
}

/// Collects texts, each different one held once.
#[derive(Default)]
pub(super) struct TextCollector {
    /// The code of each text. Its order has no effect: codes count the texts.
    codes_of: HashMap<Box<str>, u32>,
    codes: Vec<Option<u32>>,
}

impl TextCollector {
    /// Adds a text; `None` and the empty one are missing values.
    pub(super) fn push(&mut self, text: Option<&str>) {
        let code = text.filter(|text| !text.is_empty()).map(|text| {
            self.codes_of.get(text).copied().unwrap_or_else(|| {
                // So many different texts fill 100 GiB before this is not exact.
                let code = u32::try_from(self.codes_of.len()).unwrap_or(u32::MAX);
                self.codes_of.insert(text.into(), code);
                code
            })
        });
        self.codes.push(code);
    }

    fn finish(self) -> Texts {
        let mut texts: Vec<(u32, Box<str>)> =
            self.codes_of.into_iter().map(|(text, code)| (code, text)).collect();
        texts.sort_unstable_by_key(|(code, _)| *code);
        let dictionary = texts.into_iter().map(|(_, text)| text.into_string()).collect();
        Texts { dictionary, codes: self.codes }
    }
}

/// What a text in a column is not.
#[derive(Clone, Copy)]
pub(super) enum Misfit {
    Number,
    TruthValue,
    FiniteNumber,
}

impl Misfit {
    /// The error that says so.
    pub(super) fn at(self, place: Place, column: &str, value: &str) -> DataError {
        let (column, value) = (column.to_owned(), value.to_owned());
        match self {
            Self::Number => {
                let hint = number_hint(&value);
                DataError::NotNumeric { place, column, value, hint }
            }
            Self::TruthValue => DataError::NotBoolean { place, column, value },
            Self::FiniteNumber => DataError::NotFinite { place, column, value },
        }
    }
}

impl Collector {
    /// For a column of this type; `None` for one that is ignored.
    pub(super) fn new(kind: ColumnKind) -> Option<Self> {
        match kind {
            ColumnKind::Numeric => Some(Self::Numeric(Vec::new())),
            ColumnKind::Boolean => Some(Self::Boolean(Vec::new())),
            ColumnKind::String => Some(Self::Text(TextCollector::default())),
            ColumnKind::Ignored => None,
        }
    }

    /// Adds a value that is written as a text.
    pub(super) fn push(&mut self, text: &str) -> Result<(), Misfit> {
        let missing = is_missing(text);
        match self {
            Self::Numeric(values) => match number(text) {
                _ if missing => values.push(f32::NAN),
                Some(number) if number.is_finite() => values.push(number),
                Some(_) => return Err(Misfit::FiniteNumber),
                None => return Err(Misfit::Number),
            },
            Self::Boolean(values) => match boolean(text) {
                None if !missing => return Err(Misfit::TruthValue),
                value => values.push(value),
            },
            Self::Text(texts) => texts.push((!missing).then_some(text)),
        }
        Ok(())
    }

    /// The values.
    pub(super) fn finish(self) -> Values {
        match self {
            Self::Numeric(values) => Values::Numeric(values),
            Self::Boolean(values) => Values::Boolean(values),
            Self::Text(texts) => Values::Text(texts.finish()),
        }
    }
}
