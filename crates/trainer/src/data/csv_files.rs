//! Rows from CSV (RFC 4180).
//!
//! The files are read twice: once to infer types from all values, once to take them. That costs the time of one more
//! pass over a local file and saves the memory of all its texts. Where every type is declared there is one pass.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};

use csv::{ErrorKind, StringRecord};
use modelwright_api::training::ColumnKind;

use super::cell::{boolean, is_missing, number};
use super::collect::{Collector, Misfit};
use super::roles::{Role, check_names, check_same};
use super::{DataError, DataFile, FileSet, Place, Roles, magic};
use crate::table::{Column, Table};

/// What separates values besides a comma, in real files.
const DELIMITERS: [char; 4] = [',', ';', '\t', '|'];

/// Reads all files of a set.
pub(super) fn read(set: &FileSet, roles: &Roles<'_>) -> Result<Table, DataError> {
    let Some(first) = set.files.first() else { return Ok(Table::default()) };
    let columns = CsvFile::open(first, set.delimiter)?.columns;
    let kinds = infer(set, &columns, &roles(&columns)?)?;
    let mut collectors: Vec<Option<Collector>> = kinds.into_iter().map(Collector::new).collect();
    let mut rows = 0;
    for_each_row(set, &columns, |row| {
        rows += 1;
        for (index, collector) in collectors.iter_mut().enumerate() {
            let Some(collector) = collector else { continue };
            let text = row.text(index);
            collector.push(text).map_err(|misfit| misfit.at(row.place(), &columns[index], text))?;
        }
        Ok(())
    })?;
    let column = |(name, collector): (&String, Option<Collector>)| {
        collector.map(|collector| Column { name: name.clone(), values: collector.finish() })
    };
    Ok(Table::new(columns.iter().zip(collectors).filter_map(column).collect(), rows))
}

/// The types of all columns, `Ignored` for those that are left out.
fn infer(set: &FileSet, columns: &[String], roles: &[Role]) -> Result<Vec<ColumnKind>, DataError> {
    let mut evidence: Vec<Evidence> = roles.iter().map(|_| Evidence::default()).collect();
    if roles.contains(&Role::Inferred) {
        for_each_row(set, columns, |row| {
            for (index, evidence) in evidence.iter_mut().enumerate() {
                if roles[index] == Role::Inferred {
                    evidence.take(row, index);
                }
            }
            Ok(())
        })?;
    }
    let kind = |((evidence, role), column): ((Evidence, &Role), &String)| match role {
        Role::LeftOut => Ok(ColumnKind::Ignored),
        Role::Declared(kind) => Ok(*kind),
        Role::Inferred => evidence.kind(column),
    };
    evidence.into_iter().zip(roles).zip(columns).map(kind).collect()
}

/// What the values of a column can be, as far as they were seen.
struct Evidence {
    any: bool,
    boolean: bool,
    numeric: bool,
    /// The first number that is not finite.
    infinite: Option<(Place, String)>,
}

impl Default for Evidence {
    fn default() -> Self {
        Self { any: false, boolean: true, numeric: true, infinite: None }
    }
}

impl Evidence {
    fn take(&mut self, row: &Row<'_>, index: usize) {
        if !(self.boolean || self.numeric) {
            return;
        }
        let text = row.text(index);
        if is_missing(text) {
            return;
        }
        self.any = true;
        self.boolean = self.boolean && boolean(text).is_some();
        let number = if self.numeric { number(text) } else { None };
        self.numeric = number.is_some();
        if number.is_some_and(f32::is_infinite) && self.infinite.is_none() {
            self.infinite = Some((row.place(), text.to_owned()));
        }
    }

    /// The type. Infinite numbers among others are a mistake, among texts they are texts.
    fn kind(self, column: &str) -> Result<ColumnKind, DataError> {
        match self {
            Self { any: true, boolean: true, .. } => Ok(ColumnKind::Boolean),
            Self { numeric: true, infinite: Some((place, value)), .. } => {
                Err(Misfit::FiniteNumber.at(place, column, &value))
            }
            Self { numeric: true, .. } => Ok(ColumnKind::Numeric),
            Self { .. } => Ok(ColumnKind::String),
        }
    }
}

/// Calls `take` for every row of every file.
fn for_each_row(
    set: &FileSet,
    columns: &[String],
    mut take: impl FnMut(&Row<'_>) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let Some(first) = set.files.first() else { return Ok(()) };
    for file in &set.files {
        let mut opened = CsvFile::open(file, set.delimiter)?;
        check_same(file, &opened.columns, first, columns)?;
        let mut record = StringRecord::new();
        let mut number = 0;
        loop {
            number += 1;
            match opened.reader.read_record(&mut record) {
                Ok(true) => take(&Row { file, record: &record, number })?,
                Ok(false) => break,
                Err(error) => return Err(opened.explain(error, number)),
            }
        }
    }
    Ok(())
}

/// One row of a file.
struct Row<'a> {
    file: &'a DataFile,
    record: &'a StringRecord,
    /// From 1.
    number: u64,
}

impl Row<'_> {
    fn text(&self, index: usize) -> &str {
        self.record.get(index).unwrap_or("")
    }

    fn place(&self) -> Place {
        let line = self.record.position().and_then(|position| beginning(self.file, position).ok());
        Place { file: self.file.name.clone(), row: self.number, line: line.map(|(_, line)| line) }
    }
}

/// Where a record begins, as offset and line. The reader's own position is behind the last value of the record before,
/// and so may be before a line feed and empty lines.
fn beginning(file: &DataFile, position: &csv::Position) -> io::Result<(u64, u64)> {
    let mut opened = File::open(&file.path)?;
    opened.seek(SeekFrom::Start(position.byte()))?;
    let (mut offset, mut line) = (position.byte(), position.line());
    for byte in BufReader::new(opened).bytes() {
        match byte? {
            b'\n' => line += 1,
            b'\r' => {}
            _ => break,
        }
        offset += 1;
    }
    Ok((offset, line))
}

/// A file that is open behind its header line.
struct CsvFile<'a> {
    file: &'a DataFile,
    delimiter: char,
    columns: Vec<String>,
    reader: csv::Reader<File>,
}

impl<'a> CsvFile<'a> {
    fn open(file: &'a DataFile, delimiter: char) -> Result<Self, DataError> {
        let separator = u8::try_from(delimiter).ok().filter(u8::is_ascii);
        let separator = separator.filter(|byte| !matches!(byte, b'"' | b'\n' | b'\r'));
        let separator = separator.ok_or(DataError::InvalidDelimiter { delimiter })?;
        let unreadable = |error| DataError::from_io(&file.name, error);
        let mut opened = File::open(&file.path).map_err(unreadable)?;
        let mut first = Vec::new();
        (&mut opened).take(magic::LENGTH as u64).read_to_end(&mut first).map_err(unreadable)?;
        magic::check_csv(file, &first)?;
        opened.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        let mut builder = csv::ReaderBuilder::new();
        let reader = builder.delimiter(separator).buffer_capacity(1 << 16).from_reader(opened);
        let mut this = Self { file, delimiter, columns: Vec::new(), reader };
        this.columns = match this.reader.headers() {
            Ok(header) => header.iter().map(|name| name.trim().to_owned()).collect(),
            Err(error) => return Err(this.explain(error, 0)),
        };
        if this.columns.is_empty() {
            return Err(DataError::Empty { file: file.name.clone() });
        }
        if let (1, Some((found, columns))) = (this.columns.len(), this.better_delimiter()) {
            return Err(DataError::WrongDelimiter { file: file.name.clone(), delimiter, found, columns });
        }
        check_names(file, &this.columns)?;
        Ok(this)
    }

    /// The delimiter that would split the header line into the most columns, if more than there are, and their number.
    fn better_delimiter(&self) -> Option<(char, usize)> {
        let others = DELIMITERS.into_iter().filter(|other| *other != self.delimiter);
        let columns = |other: char| {
            let more: usize = self.columns.iter().map(|name| name.matches(other).count()).sum();
            (other, more + 1)
        };
        let best = others.map(columns).max_by_key(|(_, columns)| *columns);
        best.filter(|(_, columns)| *columns > self.columns.len())
    }

    /// What an error of the reader means. `row` is the row that it was to read.
    fn explain(&self, error: csv::Error, row: u64) -> DataError {
        let file = self.file.name.clone();
        let begin = |position: &Option<csv::Position>| {
            let position = position.as_ref()?;
            Some(beginning(self.file, position).unwrap_or((position.byte(), position.line())))
        };
        match error.into_kind() {
            ErrorKind::Io(error) => DataError::from_io(&file, error),
            ErrorKind::UnequalLengths { pos, expected_len: wanted, len: got } => {
                let line = begin(&pos).map(|(_, line)| line);
                let hint = self.ragged_hint(got, wanted);
                DataError::RaggedRow { place: Place { file, row, line }, got, wanted, hint }
            }
            ErrorKind::Utf8 { pos, .. } => {
                let (offset, line) = begin(&pos).unwrap_or((0, 1));
                self.first_bad_byte(offset, line).unwrap_or_else(|error| DataError::from_io(&file, error))
            }
            other => DataError::from_io(&file, io::Error::other(format!("{other:?}"))),
        }
    }

    fn ragged_hint(&self, got: u64, wanted: u64) -> String {
        if let Some((found, columns)) = self.better_delimiter() {
            return format!(
                "; is the delimiter {found:?}? It would split the header line into {columns} columns, {:?} splits it \
                 into {}",
                self.delimiter,
                self.columns.len()
            );
        }
        match got.cmp(&wanted) {
            std::cmp::Ordering::Greater => {
                format!("; put a value that contains {:?} into quotation marks", self.delimiter)
            }
            _ => "; look for a quotation mark that is not closed, or a line break inside a value".to_owned(),
        }
    }

    /// The first byte that is not UTF-8, from `offset` on, which is on `line`.
    fn first_bad_byte(&self, offset: u64, line: u64) -> io::Result<DataError> {
        let mut opened = File::open(&self.file.path)?;
        opened.seek(SeekFrom::Start(offset))?;
        let (mut offset, mut line, mut chunk) = (offset, line, Vec::new());
        loop {
            let before = chunk.len();
            (&mut opened).take(1 << 16).read_to_end(&mut chunk)?;
            let at_end = chunk.len() == before;
            let (valid, bad) = match std::str::from_utf8(&chunk) {
                Ok(text) => (text.len(), false),
                Err(error) => (error.valid_up_to(), error.error_len().is_some() || at_end),
            };
            line += chunk[..valid].split(|byte| *byte == b'\n').count() as u64 - 1;
            offset += valid as u64;
            if bad || at_end {
                let byte = chunk.get(valid).copied().unwrap_or_default();
                return Ok(DataError::NotUtf8 { file: self.file.name.clone(), line, offset, byte });
            }
            chunk.drain(..valid);
        }
    }
}
