//! Rows from Apache Parquet, batch by batch.
//!
//! A column's natural type is that of the file: numbers, truth values or texts. Where another type is declared,
//! values go through their text, as if they were written in CSV.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

use arrow_array::ArrayRef;
use arrow_array::cast::AsArray as _;
use arrow_array::types::Float32Type;
use arrow_cast::cast;
use arrow_cast::display::array_value_to_string;
use arrow_schema::{ArrowError, DataType};
use modelwright_api::training::ColumnKind;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::collect::{Collector, Misfit};
use super::names::quoted;
use super::roles::{Role, check_names, check_same};
use super::{DataError, DataFile, FileSet, Place, Roles, magic};
use crate::table::{Column, Table};

/// Rows that are decoded at once: few enough that a thousand columns take some MiB.
const BATCH_ROWS: usize = 1024;

/// Reads all files of a set.
pub(super) fn read(set: &FileSet, roles: &Roles<'_>) -> Result<Table, DataError> {
    let Some(first) = set.files.first() else { return Ok(Table::default()) };
    let opened = ParquetFile::open(first)?;
    let roles = roles(&opened.columns)?;
    let kinds = kinds(&opened, &roles)?;
    let columns = opened.columns;
    let mut collectors: Vec<Option<Collector>> = kinds.iter().map(|kind| Collector::new(*kind)).collect();
    let mut rows = 0;
    for file in &set.files {
        let opened = ParquetFile::open(file)?;
        check_same(file, &opened.columns, first, &columns)?;
        check_types(&opened, &roles, &kinds, first)?;
        rows += opened.collect(&kinds, &mut collectors)?;
    }
    let column = |(name, collector): (String, Option<Collector>)| {
        collector.map(|collector| Column { name, values: collector.finish() })
    };
    Ok(Table::new(columns.into_iter().zip(collectors).filter_map(column).collect(), rows))
}

/// What a type of the file is naturally read as; `None` if it cannot be learnt from.
fn natural(kind: &DataType) -> Option<ColumnKind> {
    match kind {
        DataType::Boolean => Some(ColumnKind::Boolean),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(ColumnKind::String),
        DataType::Dictionary(_, values) => natural(values),
        // A column of the type `Null` has only nulls.
        DataType::Null
        | DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => Some(ColumnKind::Numeric),
        kind if kind.is_integer() || kind.is_floating() => Some(ColumnKind::Numeric),
        _ => None,
    }
}

/// The types of all columns, `Ignored` for those that are left out.
fn kinds(opened: &ParquetFile<'_>, roles: &[Role]) -> Result<Vec<ColumnKind>, DataError> {
    let kind = |(index, role): (usize, &Role)| match role {
        Role::LeftOut => Ok(ColumnKind::Ignored),
        Role::Declared(kind) => opened.natural(index).map(|_| *kind),
        Role::Inferred => opened.natural(index),
    };
    roles.iter().enumerate().map(kind).collect()
}

/// Refuses a file that has another type where none is declared.
fn check_types(
    opened: &ParquetFile<'_>,
    roles: &[Role],
    kinds: &[ColumnKind],
    first: &DataFile,
) -> Result<(), DataError> {
    for (index, (role, kind)) in roles.iter().zip(kinds).enumerate() {
        if *role == Role::LeftOut {
            continue;
        }
        let found = opened.natural(index)?;
        if *role == Role::Inferred && found != *kind {
            return Err(DataError::ColumnsDiffer {
                file: opened.file.name.clone(),
                first: first.name.clone(),
                difference: format!(
                    "column {} is {found:?} and not {kind:?}",
                    quoted(&opened.columns[index])
                ),
            });
        }
    }
    Ok(())
}

/// A file whose footer has been read.
struct ParquetFile<'a> {
    file: &'a DataFile,
    columns: Vec<String>,
    types: Vec<DataType>,
    builder: ParquetRecordBatchReaderBuilder<File>,
}

impl<'a> ParquetFile<'a> {
    fn open(file: &'a DataFile) -> Result<Self, DataError> {
        let unreadable = |error| DataError::from_io(&file.name, error);
        let mut opened = File::open(&file.path).map_err(unreadable)?;
        let mut first = Vec::new();
        (&mut opened).take(magic::LENGTH as u64).read_to_end(&mut first).map_err(unreadable)?;
        magic::check_parquet(file, &first)?;
        opened.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(opened)
            .map_err(|error| damaged(file, &error.to_string()))?;
        let fields = builder.schema().fields();
        let columns: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
        let types = fields.iter().map(|field| field.data_type().clone()).collect();
        check_names(file, &columns)?;
        Ok(Self { file, columns, types, builder })
    }

    fn natural(&self, index: usize) -> Result<ColumnKind, DataError> {
        natural(&self.types[index]).ok_or_else(|| DataError::UnsupportedType {
            file: self.file.name.clone(),
            column: self.columns[index].clone(),
            kind: self.types[index].to_string(),
        })
    }

    /// Reads the columns that are not `Ignored`, and gives the number of rows.
    fn collect(self, kinds: &[ColumnKind], collectors: &mut [Option<Collector>]) -> Result<usize, DataError> {
        let Self { file, columns, types, builder } = self;
        let wanted: Vec<usize> =
            (0..columns.len()).filter(|index| kinds[*index] != ColumnKind::Ignored).collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), wanted.iter().copied());
        let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build();
        let reader: ParquetRecordBatchReader = reader.map_err(|error| damaged(file, &error.to_string()))?;
        let mut rows = 0;
        for batch in reader {
            let batch = batch.map_err(|error| damaged(file, &error.to_string()))?;
            for (array, &index) in batch.columns().iter().zip(&wanted) {
                let Some(collector) = &mut collectors[index] else { continue };
                let source = Source { file, column: &columns[index], kind: &types[index], rows_before: rows };
                source.push(array, collector)?;
            }
            rows += batch.num_rows();
        }
        Ok(rows)
    }
}

fn damaged(file: &DataFile, problem: &str) -> DataError {
    let problem = format!("{problem}; it may be damaged or incomplete: write it again");
    DataError::NotParquet { file: file.name.clone(), problem }
}

/// Where the values of an array come from.
struct Source<'a> {
    file: &'a DataFile,
    column: &'a str,
    kind: &'a DataType,
    rows_before: usize,
}

impl Source<'_> {
    fn push(&self, array: &ArrayRef, collector: &mut Collector) -> Result<(), DataError> {
        let broken = |error: ArrowError| damaged(self.file, &error.to_string());
        match (natural(self.kind), &mut *collector) {
            (Some(ColumnKind::Numeric), Collector::Numeric(values)) => {
                let numbers = cast(array, &DataType::Float32).map_err(broken)?;
                let before = values.len();
                values.extend(
                    numbers.as_primitive::<Float32Type>().iter().map(|value| value.unwrap_or(f32::NAN)),
                );
                match values[before..].iter().position(|value| value.is_infinite()) {
                    None => Ok(()),
                    Some(row) => {
                        let value = array_value_to_string(array, row).map_err(broken)?;
                        Err(Misfit::FiniteNumber.at(self.place(row), self.column, &value))
                    }
                }
            }
            (Some(ColumnKind::Boolean), Collector::Boolean(values)) => {
                let truths = cast(array, &DataType::Boolean).map_err(broken)?;
                values.extend(truths.as_boolean().iter());
                Ok(())
            }
            (Some(ColumnKind::String), Collector::Text(texts)) => {
                let words = cast(array, &DataType::LargeUtf8).map_err(broken)?;
                words.as_string::<i64>().iter().for_each(|word| texts.push(word));
                Ok(())
            }
            _ => self.push_as_text(array, collector),
        }
    }

    /// Numbers are written as short as possible: a column of whole numbers with gaps, which pandas writes as floats,
    /// gives the texts `7` and not `7.0`.
    fn push_as_text(&self, array: &ArrayRef, collector: &mut Collector) -> Result<(), DataError> {
        let broken = |error: ArrowError| damaged(self.file, &error.to_string());
        let words = cast(array, &DataType::LargeUtf8).map_err(broken)?;
        let floating = self.kind.is_floating();
        for (row, word) in words.as_string::<i64>().iter().enumerate() {
            let word = word.unwrap_or("");
            let word = if floating { word.strip_suffix(".0").unwrap_or(word) } else { word };
            collector.push(word).map_err(|misfit| misfit.at(self.place(row), self.column, word))?;
        }
        Ok(())
    }

    fn place(&self, row: usize) -> Place {
        Place { file: self.file.name.clone(), row: (self.rows_before + row + 1) as u64, line: None }
    }
}
