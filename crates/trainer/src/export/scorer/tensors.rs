//! Rows of a table as the inputs of a model.

use std::ops::Range;

use modelwright_api::training::{InputLayout, Task};
use modelwright_protocol::{Datatype, Signature, Tensor, TensorData, TensorMetadata};

use super::ScoreError;
use crate::export::schema::{Schema, SchemaColumn};
use crate::export::{FEATURES, LABEL, PREDICTION, PROBABILITIES};
use crate::table::{Table, Values};

/// The inputs and outputs of a model with this schema.
pub(super) fn signature(schema: &Schema) -> Signature {
    let tensor = |name: &str, datatype, shape: &[i64]| TensorMetadata {
        name: name.to_owned(),
        datatype,
        shape: shape.to_vec(),
    };
    let inputs = match schema.layout {
        InputLayout::Features => vec![tensor(FEATURES, Datatype::Fp32, &[-1, size(schema.columns.len())])],
        InputLayout::Columns => {
            let input = |column: &SchemaColumn| tensor(column.name(), datatype(column), &[-1, 1]);
            schema.columns.iter().map(input).collect()
        }
    };
    let outputs = match schema.task {
        Task::Binary | Task::Multiclass => vec![
            tensor(LABEL, Datatype::Bytes, &[-1]),
            tensor(PROBABILITIES, Datatype::Fp32, &[-1, size(schema.classes.len())]),
        ],
        Task::Regression => vec![tensor(PREDICTION, Datatype::Fp32, &[-1])],
    };
    Signature { inputs, outputs }
}

const fn datatype(column: &SchemaColumn) -> Datatype {
    match column {
        SchemaColumn::Numeric { .. } => Datatype::Fp32,
        SchemaColumn::Boolean { .. } => Datatype::Bool,
        SchemaColumn::String { .. } => Datatype::Bytes,
    }
}

/// The inputs of a model for some rows, in the model's order: one for each column, or one matrix. Missing numbers are NaN,
/// missing texts empty, and missing truth values what the schema has for them.
///
/// Rows beyond the last are left out. Fails with [`ScoreError::MissingColumn`] or [`ScoreError::OtherKind`] if the table is
/// not of the model's kind.
pub fn tensors(schema: &Schema, table: &Table, rows: Range<usize>) -> Result<Vec<Tensor>, ScoreError> {
    let rows = rows.start.min(table.rows())..rows.end.min(table.rows());
    match schema.layout {
        InputLayout::Features => Ok(vec![matrix(schema, table, rows)?]),
        InputLayout::Columns => {
            schema.columns.iter().map(|column| single(column, table, rows.clone())).collect()
        }
    }
}

fn single(column: &SchemaColumn, table: &Table, rows: Range<usize>) -> Result<Tensor, ScoreError> {
    let shape = vec![size(rows.len()), 1];
    let data = match (column, find(column, table)?) {
        (SchemaColumn::Numeric { .. }, Values::Numeric(values)) => TensorData::Fp32(values[rows].to_vec()),
        (SchemaColumn::Boolean { fill, .. }, Values::Boolean(values)) => {
            TensorData::Bool(values[rows].iter().map(|value| value.unwrap_or(*fill)).collect())
        }
        (SchemaColumn::String { .. }, Values::Text(texts)) => {
            TensorData::Bytes(rows.map(|row| texts.get(row).unwrap_or_default().to_owned().into()).collect())
        }
        (_, found) => return Err(other_kind(column, found)),
    };
    Ok(Tensor::new(column.name(), shape, data)?)
}

fn matrix(schema: &Schema, table: &Table, rows: Range<usize>) -> Result<Tensor, ScoreError> {
    let mut columns = Vec::with_capacity(schema.columns.len());
    for column in &schema.columns {
        match find(column, table)? {
            Values::Numeric(values) => columns.push(values),
            found => return Err(other_kind(column, found)),
        }
    }
    let shape = vec![size(rows.len()), size(columns.len())];
    let columns = &columns;
    let values = rows.flat_map(|row| columns.iter().map(move |column| column[row])).collect();
    Ok(Tensor::new(FEATURES, shape, TensorData::Fp32(values))?)
}

fn find<'t>(column: &SchemaColumn, table: &'t Table) -> Result<&'t Values, ScoreError> {
    match table.column(column.name()) {
        Some(found) => Ok(&found.values),
        None => Err(ScoreError::MissingColumn { column: column.name().to_owned() }),
    }
}

fn other_kind(column: &SchemaColumn, found: &Values) -> ScoreError {
    let wanted = match column {
        SchemaColumn::Numeric { .. } => "numbers",
        SchemaColumn::Boolean { .. } => "truth values",
        SchemaColumn::String { .. } => "texts",
    };
    let found = match found {
        Values::Numeric(_) => "numbers",
        Values::Boolean(_) => "truth values",
        Values::Text(_) => "texts",
    };
    ScoreError::OtherKind { column: column.name().to_owned(), wanted, found }
}

/// A size as the protocol holds it. What has more elements than an `i64` counts is in no memory.
fn size(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
