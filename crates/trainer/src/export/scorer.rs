//! Predictions of a revision's own files, by ONNX Runtime.

mod error;
mod tensors;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use modelwright_api::training::Task;
use modelwright_artifact::MODEL_FILE;
use modelwright_protocol::{Tensor, TensorData, TensorMetadata};
use modelwright_runtime::{Session, SessionOptions};

pub use error::ScoreError;
pub use tensors::tensors;

use super::schema::{SCHEMA_FILE, Schema};
use super::{PREDICTION, PROBABILITIES};
use crate::matrix::{Matrix, Predictions};
use crate::table::Table;

/// Rows of one run: enough that its fixed costs do not count, few enough that its tensors stay small.
const BATCH: usize = 1024;

/// A revision's model, opened on one thread of the CPU.
#[derive(Debug)]
pub struct Scorer {
    schema: Schema,
    session: Session,
}

impl Scorer {
    /// Opens `schema.json` and `model.onnx` of a revision's folder. The model must have the inputs and outputs of the schema.
    pub fn open(folder: &Path) -> Result<Self, ScoreError> {
        let path = folder.join(SCHEMA_FILE);
        let schema = read(&path)?;
        let path = folder.join(MODEL_FILE);
        let session = Session::open(&path, &SessionOptions::default())?;
        let wanted = tensors::signature(&schema);
        let found = session.signature();
        match difference(&wanted.inputs, &found.inputs)
            .or_else(|| difference(&wanted.outputs, &found.outputs))
        {
            None => Ok(Self { schema, session }),
            Some(detail) => Err(ScoreError::OtherSignature { path, detail }),
        }
    }

    /// What the model takes and gives.
    pub const fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Predicts every row. Columns are found by their names; further ones do not matter. A text that the model does not know
    /// is none of its categories.
    ///
    /// Fails with [`ScoreError::MissingColumn`] or [`ScoreError::OtherKind`] if the rows are not of the model's kind.
    pub fn score(&mut self, table: &Table) -> Result<Predictions, ScoreError> {
        // Columns are checked even if there is no row.
        tensors(&self.schema, table, 0..0)?;
        let mut values = Vec::new();
        for start in (0..table.rows()).step_by(BATCH) {
            let batch = start..table.rows().min(start + BATCH);
            let outputs = self.run(&tensors(&self.schema, table, batch.clone())?)?;
            let wanted = batch.len() * self.width();
            let numbers = outputs.into_iter().find_map(|tensor| match tensor.into_parts() {
                (name, _, TensorData::Fp32(numbers)) if name == self.output() => Some(numbers),
                _ => None,
            });
            let numbers = numbers.filter(|numbers| numbers.len() == wanted);
            values.extend(numbers.ok_or_else(|| ScoreError::OtherSignature {
                path: self.session.path().to_path_buf(),
                detail: format!("{} rows do not give {wanted} numbers of \"{}\"", batch.len(), self.output()),
            })?);
        }
        Ok(match self.schema.task {
            Task::Binary | Task::Multiclass => Predictions::Probabilities(
                // The lengths were checked batch by batch.
                Matrix::new(table.rows(), self.width(), values).unwrap_or_default(),
            ),
            Task::Regression => Predictions::Numbers(values),
        })
    }

    /// All outputs for the tensors that [`tensors()`] makes: [`LABEL`](super::LABEL) and [`PROBABILITIES`], or [`PREDICTION`].
    pub fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, ScoreError> {
        Ok(self.session.run(inputs)?)
    }

    fn output(&self) -> &'static str {
        match self.schema.task {
            Task::Binary | Task::Multiclass => PROBABILITIES,
            Task::Regression => PREDICTION,
        }
    }

    /// Numbers of the output for each row.
    fn width(&self) -> usize {
        match self.schema.task {
            Task::Binary | Task::Multiclass => self.schema.classes.len(),
            Task::Regression => 1,
        }
    }
}

fn read(path: &Path) -> Result<Schema, ScoreError> {
    let bytes = fs::read(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => ScoreError::NoSchema { path: path.to_path_buf() },
        _ => ScoreError::Unreadable { path: path.to_path_buf(), detail: error.to_string() },
    })?;
    Schema::parse(&bytes).map_err(|error| ScoreError::InvalidSchema { path: path.to_path_buf(), error })
}

/// The first tensor in which a model differs from its schema.
fn difference(wanted: &[TensorMetadata], found: &[TensorMetadata]) -> Option<String> {
    let describe = |tensor: Option<&TensorMetadata>| {
        tensor.map_or("nothing".to_owned(), |tensor| {
            format!("\"{}\" {} {:?}", tensor.name, tensor.datatype, tensor.shape)
        })
    };
    (0..wanted.len().max(found.len()))
        .map(|index| (wanted.get(index), found.get(index)))
        .find(|(wanted, found)| wanted != found)
        .map(|(wanted, found)| {
            format!("it has {} where the schema has {}", describe(found), describe(wanted))
        })
}
