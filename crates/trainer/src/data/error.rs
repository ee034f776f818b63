//! What can be wrong with data.

use std::fmt;
use std::io;

use super::names::quoted;

/// A row of a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// The file's name.
    pub file: String,
    /// The row of data, counted from 1 in this file.
    pub row: u64,
    /// In CSV, the line on which it begins, counted from 1.
    pub line: Option<u64>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: row {}", self.file, self.row)?;
        self.line.map_or(Ok(()), |line| write!(f, " (line {line})"))
    }
}

/// Data that cannot be used. Lists of names are ready to be shown.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file that is not there.
    #[error("{file} does not exist")]
    NotFound {
        /// The file.
        file: String,
    },
    /// A file that the operating system does not let us read.
    #[error("{file} cannot be read: {source}")]
    Unreadable {
        /// The file.
        file: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// A file without a header line.
    #[error("{file} is empty: write a header line with the names of the columns, then the rows")]
    Empty {
        /// The file.
        file: String,
    },
    /// Files without a row.
    #[error("{files}: there is no row of data, only the names of the columns; at least one row is needed")]
    NoRows {
        /// The files.
        files: String,
    },
    /// Bytes that are no CSV.
    #[error("{file} is not CSV but {found}: {instead}")]
    NotCsv {
        /// The file.
        file: String,
        /// What it is.
        found: &'static str,
        /// What to do.
        instead: &'static str,
    },
    /// Bytes that are no Parquet, or damaged.
    #[error("{file} is not a readable Parquet file: {problem}")]
    NotParquet {
        /// The file.
        file: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// CSV in another encoding.
    #[error("{file}, line {line}: byte {byte:#04x} at offset {offset} is not UTF-8; save the file as UTF-8")]
    NotUtf8 {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u64,
        /// How many bytes of the file are before it.
        offset: u64,
        /// Its value.
        byte: u8,
    },
    /// A delimiter that is no single ASCII character.
    #[error(
        "{delimiter:?} cannot separate values: write one ASCII character, for example \",\", \";\" or \
         \"\\t\""
    )]
    InvalidDelimiter {
        /// The character.
        delimiter: char,
    },
    /// A header line that another delimiter would split.
    #[error(
        "{file}: {delimiter:?} leaves the header line in one piece, {found:?} splits it into {columns} \
         columns; write `delimiter: {}` beside `uri`",
        in_yaml(*found)
    )]
    WrongDelimiter {
        /// The file.
        file: String,
        /// The delimiter that is set.
        delimiter: char,
        /// The one that is probably meant.
        found: char,
        /// How many columns that gives.
        columns: usize,
    },
    /// A column without a name.
    #[error(
        "{file}: column {position} has no name; name it in the header line (pandas writes its index so: use \
         `to_csv(…, index=False)`)"
    )]
    UnnamedColumn {
        /// The file.
        file: String,
        /// The column, from 1.
        position: usize,
    },
    /// Two columns of one name.
    #[error(
        "{file}: columns {first} and {second} are both named {}; names must differ",
        quoted(.name)
    )]
    DuplicateColumn {
        /// The file.
        file: String,
        /// The name.
        name: String,
        /// The first of the two, from 1.
        first: usize,
        /// The other.
        second: usize,
    },
    /// A row with more or fewer values than there are columns.
    #[error("{place} has {got} values where the header line names {wanted} columns{hint}")]
    RaggedRow {
        /// The row.
        place: Place,
        /// Its values.
        got: u64,
        /// The columns.
        wanted: u64,
        /// What may be the cause, or nothing.
        hint: String,
    },
    /// Files of one set with different columns.
    #[error(
        "{file} has other columns than {first}: {difference}; all files of a set need the same columns in \
         the same order"
    )]
    ColumnsDiffer {
        /// The file.
        file: String,
        /// The first file.
        first: String,
        /// The first difference.
        difference: String,
    },
    /// A column of the manifest that the data lacks.
    #[error(
        "spec.training.builtin.columns names {}, which is not a column of the data{}; there are {columns}",
        quoted(.name), did_you_mean(.nearest.as_deref())
    )]
    UnknownColumn {
        /// The name.
        name: String,
        /// The column that is probably meant.
        nearest: Option<String>,
        /// The columns that there are.
        columns: String,
    },
    /// Columns of the training data that other data lacks.
    #[error("{files}: columns of the training data are missing: {missing}; there are {columns}")]
    ColumnsMissing {
        /// The files.
        files: String,
        /// The columns that are missing.
        missing: String,
        /// The columns that there are.
        columns: String,
    },
    /// A text in a column of numbers.
    #[error(
        "{place}: column {} is Numeric and {} is not a number{hint}",
        quoted(.column), quoted(.value)
    )]
    NotNumeric {
        /// The row.
        place: Place,
        /// The column.
        column: String,
        /// The text.
        value: String,
        /// What to write instead, or nothing.
        hint: &'static str,
    },
    /// Something else in a column of truth values.
    #[error(
        "{place}: column {} is Boolean and {} is neither true nor false",
        quoted(.column), quoted(.value)
    )]
    NotBoolean {
        /// The row.
        place: Place,
        /// The column.
        column: String,
        /// The value.
        value: String,
    },
    /// A number that 32 bits cannot hold.
    #[error(
        "{place}: column {}: {} is not finite as a 32-bit number, which ends at 3.4e38; leave the value \
         empty if it is missing, or scale the column",
        quoted(.column), quoted(.value)
    )]
    NotFinite {
        /// The row.
        place: Place,
        /// The column.
        column: String,
        /// The number.
        value: String,
    },
    /// A Parquet column of a type that cannot be learnt from.
    #[error(
        "{file}: column {} is {kind}, which cannot be learnt from; convert it to numbers, texts or truth \
         values, or write `type: Ignored` for it in spec.training.builtin.columns",
        quoted(.column)
    )]
    UnsupportedType {
        /// The file.
        file: String,
        /// The column.
        column: String,
        /// Its type in Arrow's words.
        kind: String,
    },
    /// More data than memory.
    #[error(
        "{what} needs about {needed} bytes of memory ({}) and {available} ({}) are available: give the \
         training more memory, or fewer rows or columns",
        in_mebibytes(*needed), in_mebibytes(*available)
    )]
    TooLarge {
        /// What needs the memory.
        what: String,
        /// How much.
        needed: u64,
        /// How much there is.
        available: u64,
    },
    /// Too few rows to set some of them aside.
    #[error("{problem}")]
    TooFewRows {
        /// What is too little, and what to do.
        problem: String,
    },
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!(" (did you mean {}?)", quoted(name)))
}

fn in_yaml(delimiter: char) -> String {
    if delimiter == '\t' { "\"\\t\"".to_owned() } else { format!("\"{delimiter}\"") }
}

fn in_mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

crate::reasons::reasons! {
    DataError:
    NotFound => "DataNotFound", InputMissing;
    Unreadable => "DataUnreadable", InputMissing;
    Empty => "DataEmpty", BadData;
    NoRows => "NoRows", BadData;
    NotCsv => "NotCsv", BadData;
    NotParquet => "NotParquet", BadData;
    NotUtf8 => "NotUtf8", BadData;
    InvalidDelimiter => "InvalidDelimiter", InvalidConfiguration;
    WrongDelimiter => "WrongDelimiter", BadData;
    UnnamedColumn => "UnnamedColumn", BadData;
    DuplicateColumn => "DuplicateColumn", BadData;
    RaggedRow => "RaggedRow", BadData;
    ColumnsDiffer => "ColumnsDiffer", BadData;
    UnknownColumn => "UnknownColumn", InvalidConfiguration;
    ColumnsMissing => "ColumnsMissing", BadData;
    NotNumeric => "NotNumeric", BadData;
    NotBoolean => "NotBoolean", BadData;
    NotFinite => "NotFinite", BadData;
    UnsupportedType => "UnsupportedType", BadData;
    TooLarge => "DataTooLarge", BadData;
    TooFewRows => "TooFewRows", BadData;
}

impl DataError {
    /// What the operating system says about a file.
    pub(super) fn from_io(file: &str, source: io::Error) -> Self {
        let file = file.to_owned();
        if source.kind() == io::ErrorKind::NotFound {
            Self::NotFound { file }
        } else {
            Self::Unreadable { file, source }
        }
    }
}
