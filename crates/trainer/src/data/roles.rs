//! What becomes of each column of a file, and whether a file has the columns that it should have.

use std::collections::BTreeMap;

use modelwright_api::training::ColumnKind;

use super::names::{columns_nearest_first, list, nearest, quoted};
use super::{DataError, DataFile};

/// What becomes of a column.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Role {
    /// It is not in the table.
    LeftOut,
    /// Its type follows from its values.
    Inferred,
    /// Its type is known.
    Declared(ColumnKind),
}

/// The roles of `columns` where `kinds` says what is declared.
pub(super) fn declared_or_inferred(
    columns: &[String],
    kinds: &BTreeMap<String, ColumnKind>,
) -> Result<Vec<Role>, DataError> {
    if let Some(name) = kinds.keys().find(|name| !columns.contains(name)) {
        return Err(unknown_column(name, columns));
    }
    Ok(columns
        .iter()
        .map(|name| match kinds.get(name) {
            Some(ColumnKind::Ignored) => Role::LeftOut,
            Some(kind) => Role::Declared(*kind),
            None => Role::Inferred,
        })
        .collect())
}

/// The roles of `columns` where `kinds` are all that is wanted.
pub(super) fn wanted_only(
    columns: &[String],
    kinds: &BTreeMap<String, ColumnKind>,
    files: &str,
) -> Result<Vec<Role>, DataError> {
    let missing: Vec<&str> =
        kinds.keys().filter(|name| !columns.contains(name)).map(String::as_str).collect();
    if let Some(first) = missing.first() {
        return Err(DataError::ColumnsMissing {
            files: files.to_owned(),
            missing: list(missing.iter().copied()),
            columns: columns_nearest_first(first, columns.iter().map(String::as_str)),
        });
    }
    let role = |name: &String| kinds.get(name).map_or(Role::LeftOut, |kind| Role::Declared(*kind));
    Ok(columns.iter().map(role).collect())
}

fn unknown_column(name: &str, columns: &[String]) -> DataError {
    let names = || columns.iter().map(String::as_str);
    DataError::UnknownColumn {
        name: name.to_owned(),
        nearest: nearest(name, names()).map(str::to_owned),
        columns: columns_nearest_first(name, names()),
    }
}

/// Refuses columns without a name, and names that occur twice.
pub(super) fn check_names(file: &DataFile, columns: &[String]) -> Result<(), DataError> {
    let mut seen = BTreeMap::new();
    for (index, name) in columns.iter().enumerate() {
        let position = index + 1;
        if name.is_empty() {
            return Err(DataError::UnnamedColumn { file: file.name.clone(), position });
        }
        if let Some(first) = seen.insert(name, position) {
            return Err(DataError::DuplicateColumn {
                file: file.name.clone(),
                name: name.clone(),
                first,
                second: position,
            });
        }
    }
    Ok(())
}

/// Refuses a file whose columns are not those of the first one.
pub(super) fn check_same(
    file: &DataFile,
    columns: &[String],
    first: &DataFile,
    wanted: &[String],
) -> Result<(), DataError> {
    let differ = |index: &usize| columns.get(*index) != wanted.get(*index);
    let Some(index) = (0..columns.len().max(wanted.len())).find(differ) else { return Ok(()) };
    let shown = |name: Option<&String>| name.map_or_else(|| "missing".to_owned(), |name| quoted(name));
    Err(DataError::ColumnsDiffer {
        file: file.name.clone(),
        first: first.name.clone(),
        difference: format!(
            "column {} is {} and not {}",
            index + 1,
            shown(columns.get(index)),
            shown(wanted.get(index))
        ),
    })
}
