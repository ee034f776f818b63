//! What the files hold, and which rows are for what.
//!
//! Files are local when they come here; whoever fetched them gives each a name to be shown. The types of columns are
//! declared or inferred from every row, never from the first few: a text in the last row of a million must not turn up
//! as an error after the others were understood as numbers. [`read`] says how.

use std::collections::BTreeMap;
use std::path::PathBuf;

use modelwright_api::training::{ColumnKind, DataFormat};

use crate::table::{Table, Values};

mod cell;
mod collect;
mod csv_files;
mod error;
pub mod estimate;
mod magic;
mod names;
mod parquet_files;
mod roles;
mod split;
#[cfg(test)]
mod tests;

pub use cell::MISSING;
pub(crate) use cell::number;
pub use error::{DataError, Place};
pub(crate) use names::{columns_nearest_first, list, quoted};
pub use split::{Split, Strata, split};

use roles::Role;

/// Files that together are one set of rows.
#[derive(Clone, Debug, PartialEq)]
pub struct FileSet {
    /// The files, in the order of their rows.
    pub files: Vec<DataFile>,
    /// How all of them are written.
    pub format: DataFormat,
    /// What separates the values of a line of CSV: one ASCII character.
    pub delimiter: char,
}

/// One file.
#[derive(Clone, Debug, PartialEq)]
pub struct DataFile {
    /// Where it is on this machine.
    pub path: PathBuf,
    /// What it is called in messages, such as `s3://bucket/train/part-0.csv`.
    pub name: String,
}

/// Reads all files, in order, into one table.
///
/// `kinds` are the declared types by column. `Ignored` columns are left out of the table; the others are inferred:
///
/// | Type | CSV | Parquet |
/// |---|---|---|
/// | `Boolean` | every value is `true` or `false`, in any case; 0 and 1 are numbers | truth values |
/// | `Numeric` | every value is a number that is finite as a 32-bit float | integers, floats, decimals; nulls only |
/// | `String` | anything else | texts, also in dictionaries |
///
/// A value is missing in CSV if it is one of [`MISSING`], quoted or not, spaces around it aside, and in Parquet if it
/// is null, NaN, or an empty text. A CSV column of missing values only counts as numbers. Numbers may have spaces
/// around them; texts keep theirs, because a served model compares them as they are. Names in a header line lose
/// theirs.
///
/// All files must have the same columns in the same order. Everything else is a [`DataError`] that names the file and,
/// where there is one, the row, the column and the value.
pub fn read(set: &FileSet, kinds: &BTreeMap<String, ColumnKind>) -> Result<Table, DataError> {
    read_in_roles(set, &|columns| roles::declared_or_inferred(columns, kinds))
}

/// Reads all files, in order, into a table with the columns of `like`, in its order and of its types. Columns that it
/// has not are ignored; those that are missing are [`DataError::ColumnsMissing`].
pub fn read_like(set: &FileSet, like: &Table) -> Result<Table, DataError> {
    let kinds = kinds_of(like);
    let table = read_in_roles(set, &|columns| roles::wanted_only(columns, &kinds, &name_of(set)))?;
    let rows = table.rows();
    let columns = like.columns().iter().filter_map(|column| table.column(&column.name).cloned());
    Ok(Table::new(columns.collect(), rows))
}

/// The types of a table's columns, by name.
pub fn kinds_of(table: &Table) -> BTreeMap<String, ColumnKind> {
    table.columns().iter().map(|column| (column.name.clone(), kind_of(&column.values))).collect()
}

/// The type of some values.
pub const fn kind_of(values: &Values) -> ColumnKind {
    match values {
        Values::Numeric(_) => ColumnKind::Numeric,
        Values::Boolean(_) => ColumnKind::Boolean,
        Values::Text(_) => ColumnKind::String,
    }
}

/// Decides from the names of a file's columns what becomes of each.
type Roles<'a> = dyn Fn(&[String]) -> Result<Vec<Role>, DataError> + 'a;

fn read_in_roles(set: &FileSet, roles: &Roles<'_>) -> Result<Table, DataError> {
    let table = match set.format {
        DataFormat::Csv => csv_files::read(set, roles)?,
        DataFormat::Parquet => parquet_files::read(set, roles)?,
    };
    if table.rows() == 0 {
        return Err(DataError::NoRows { files: name_of(set) });
    }
    Ok(table)
}

/// What to call a whole set in a message.
fn name_of(set: &FileSet) -> String {
    match set.files.as_slice() {
        [] => "a set without files".to_owned(),
        [only] => only.name.clone(),
        [first, others @ ..] => format!("{} and {} more", first.name, others.len()),
    }
}
