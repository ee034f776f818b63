//! Reading `instances`: rows as records, as lists and as values of the only input.

use std::collections::HashMap;

use super::{Expected, View};
use crate::error::{Error, excerpt};
use crate::fill::Filling;
use crate::json::Scanner;
use crate::path::Path;
use crate::signature::{TensorMetadata, names};
use crate::tensor::Tensor;

/// The rows of `instances` while they are being read: one buffer per input.
pub(super) struct Rows<'a> {
    inputs: &'a [TensorMetadata],
    fillings: Vec<Filling>,
    fields: Fields<'a>,
    /// Whether the fields of a record are the columns of the only input.
    is_matrix: bool,
    /// Whether every row of every input is a single value.
    all_columns: bool,
}

/// What a record may have: a field for each input, or for each column of the view.
struct Fields<'a> {
    known: &'a [TensorMetadata],
    positions: Positions<'a>,
    /// For every field, one more than the last row that had it.
    filled: Vec<usize>,
    /// Whether `null` may be written for a value.
    nullable: bool,
}

/// Where a field stands, by its name.
enum Positions<'a> {
    /// Made for this request.
    Signature(HashMap<&'a str, usize>),
    /// Made with the view.
    View(&'a HashMap<String, usize>),
}

impl<'a> Rows<'a> {
    pub(super) fn new(expected: Expected<'a>) -> Self {
        let inputs = expected.signature.inputs.as_slice();
        Self {
            inputs,
            fillings: (0..inputs.len()).map(|index| expected.filling(index)).collect(),
            fields: Fields::new(expected),
            is_matrix: expected.view.is_some_and(View::is_matrix),
            all_columns: inputs.iter().all(|input| input.shape.iter().skip(1).all(|&size| size == 1)),
        }
    }

    pub(super) fn read(mut self, scanner: &mut Scanner<'_>, path: &Path<'_>) -> Result<Vec<Tensor>, Error> {
        if let Some(input) = self.inputs.iter().find(|input| input.shape.is_empty()) {
            let wanted = format!("\"inputs\", because the input \"{}\" has no rows", excerpt(&input.name));
            return Err(Error::InvalidValue { path: path.to_string(), got: "rows".to_owned(), wanted });
        }
        let mut count = 0;
        scanner.open_array("an array of rows", path)?;
        while scanner.next_element()? {
            self.row(scanner, count, &path.index(count))?;
            count += 1;
        }
        let tensors = self.fillings.into_iter().zip(self.inputs);
        tensors.map(|(filling, input)| filling.finish_rows(&input.name, count)).collect()
    }

    fn row(&mut self, scanner: &mut Scanner<'_>, row: usize, path: &Path<'_>) -> Result<(), Error> {
        match (scanner.peek()?, self.fillings.as_mut_slice()) {
            (b'{', _) => self.record(scanner, row, path),
            (_, [single]) => single.read(scanner, 1, path),
            (b'[', _) if self.all_columns => self.list(scanner, path),
            _ => {
                let wanted = format!("an object with the fields {}", names(self.inputs));
                Err(scanner.unexpected(&wanted, path))
            }
        }
    }

    /// Reads a row by field names.
    fn record(&mut self, scanner: &mut Scanner<'_>, row: usize, path: &Path<'_>) -> Result<(), Error> {
        // Fields mostly come in the order of the model: the next one is tried before the table.
        let (mut next, mut count) = (0, 0);
        scanner.open_object(path)?;
        while let Some(key) = scanner.next_key()? {
            let Some(index) = self.fields.position(&key, next) else {
                if self.is_matrix && count == 0 && self.inputs[0].name == key {
                    return self.whole_row(scanner, path);
                }
                return Err(self.fields.unknown(&key, path));
            };
            if std::mem::replace(&mut self.fields.filled[index], row + 1) == row + 1 {
                return Err(Error::DuplicateKey { path: path.to_string(), key: excerpt(&key) });
            }
            if self.is_matrix {
                self.fillings[0].read_cell(scanner, row, index, &path.key(&key))?;
            } else {
                self.fillings[index].read(scanner, 1, &path.key(&key))?;
            }
            next = index + 1;
            count += 1;
        }
        if count == self.fields.known.len() { Ok(()) } else { Err(self.fields.missing(row, path)) }
    }

    /// Reads the rest of a record whose first key was the matrix's own name and no column's.
    fn whole_row(&mut self, scanner: &mut Scanner<'_>, path: &Path<'_>) -> Result<(), Error> {
        let name = self.inputs[0].name.as_str();
        self.fillings[0].read(scanner, 1, &path.key(name))?;
        let Some(key) = scanner.next_key()? else { return Ok(()) };
        Err(Error::InvalidValue {
            path: path.to_string(),
            got: format!("\"{name}\" and \"{}\"", excerpt(&key)),
            wanted: format!("\"{name}\" alone, or the fields {}", names(self.fields.known)),
        })
    }

    /// Reads a row by the order of the signature.
    fn list(&mut self, scanner: &mut Scanner<'_>, path: &Path<'_>) -> Result<(), Error> {
        let wanted = self.inputs.len();
        let wrong = |got: String| Error::InvalidValue {
            path: path.to_string(),
            got,
            wanted: format!("{wanted} values, one each for {}", names(self.inputs)),
        };
        scanner.open_array("an array", path)?;
        for (index, filling) in self.fillings.iter_mut().enumerate() {
            if !scanner.next_element()? {
                return Err(wrong(format!("an array of {index}")));
            }
            filling.read(scanner, 1, &path.index(index))?;
        }
        if scanner.next_element()? { Err(wrong(format!("an array of more than {wanted}"))) } else { Ok(()) }
    }
}

impl<'a> Fields<'a> {
    fn new(expected: Expected<'a>) -> Self {
        let inputs = expected.signature.inputs.as_slice();
        let position = |(index, input): (usize, &'a TensorMetadata)| (input.name.as_str(), index);
        let (known, positions) = if let Some(view) = expected.view {
            (view.columns(), Positions::View(view.positions()))
        } else {
            (inputs, Positions::Signature(inputs.iter().enumerate().map(position).collect()))
        };
        Self { known, positions, filled: vec![0; known.len()], nullable: expected.view.is_some() }
    }

    /// Where the field `key` stands, which may well be at `next`.
    #[inline]
    fn position(&self, key: &str, next: usize) -> Option<usize> {
        if self.known.get(next).is_some_and(|field| field.name == key) {
            return Some(next);
        }
        match &self.positions {
            Positions::Signature(positions) => positions.get(key).copied(),
            Positions::View(positions) => positions.get(key).copied(),
        }
    }

    #[cold]
    fn unknown(&self, key: &str, path: &Path<'_>) -> Error {
        Error::UnknownField { path: path.to_string(), name: excerpt(key), known: names(self.known) }
    }

    /// The error for a record at `row` that lacks a field.
    #[cold]
    fn missing(&self, row: usize, path: &Path<'_>) -> Error {
        let missing = self.known.iter().zip(&self.filled).find(|(_, filled)| **filled != row + 1);
        let name = missing.map(|(field, _)| excerpt(&field.name)).unwrap_or_default();
        let (path, known) = (path.to_string(), names(self.known));
        if self.nullable {
            Error::MissingColumn { path, name, known }
        } else {
            Error::MissingField { path, name, known }
        }
    }
}
