//! `samples.json` of a user's training: some inputs with the outputs that the training's own framework computed for them.
//!
//! The file is `{"inputs": [TENSOR, …], "outputs": [TENSOR, …]}` with tensors as the Open Inference Protocol writes them,
//! `{"name", "datatype", "shape", "data"}`; their first dimension is the samples. Lists may be nested. Outputs that the file
//! leaves out are not compared. A model whose first dimension is fixed is run on so many samples at a time.

use modelwright_protocol::{Datatype, Signature, Tensor, TensorMetadata};
use modelwright_runtime::Session;
use serde::Deserialize;
use serde_json::Value;

use super::error::{ContainerError, place, shortened};
use super::values::{Element, data, flatten, is_rounded};

/// The fewest samples.
pub const MIN_ROWS: usize = 5;
/// The most samples.
pub const MAX_ROWS: usize = 100;
/// How far a number may be from what is expected, whatever that is.
pub const ABSOLUTE_TOLERANCE: f64 = 1e-4;
/// How far it may be besides, as a part of what is expected.
pub const RELATIVE_TOLERANCE: f64 = 1e-3;
/// How many times as far numbers of 16 bits may be.
const HALF_PRECISION: f64 = 10.0;

/// Inputs with their outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct UserSamples {
    /// Some for each input of the model.
    pub inputs: Vec<UserTensor>,
    /// What the training's framework computed.
    pub outputs: Vec<UserTensor>,
    /// How many samples there are.
    rows: usize,
}

/// One tensor, its elements flat.
#[derive(Clone, Debug, PartialEq)]
pub struct UserTensor {
    /// The name of the input or output.
    pub name: String,
    datatype: Datatype,
    shape: Vec<i64>,
    data: Vec<Value>,
}

/// How near the model came to its samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Replayed {
    /// How many samples there were.
    pub rows: usize,
    /// The largest difference of two numbers.
    pub largest: f64,
}

#[derive(Deserialize)]
struct Document {
    inputs: Vec<TensorDocument>,
    outputs: Vec<TensorDocument>,
}

#[derive(Deserialize)]
struct TensorDocument {
    name: String,
    datatype: Datatype,
    shape: Vec<i64>,
    data: Value,
}

impl UserSamples {
    /// Reads the file's content.
    pub fn parse(bytes: &[u8]) -> Result<Self, ContainerError> {
        let document: Document =
            serde_json::from_slice(bytes).map_err(|error| ContainerError::samples(place(&error)))?;
        if document.inputs.is_empty() || document.outputs.is_empty() {
            return Err(ContainerError::samples("it needs at least one tensor in inputs and one in outputs"));
        }
        let rows = document.inputs[0].shape.first().copied().and_then(|rows| usize::try_from(rows).ok());
        let rows = rows.filter(|rows| (MIN_ROWS..=MAX_ROWS).contains(rows)).ok_or_else(|| {
            ContainerError::samples(format!(
                "the first dimension of its tensors, the number of samples, must be {MIN_ROWS} to {MAX_ROWS}"
            ))
        })?;
        let tensors = |documents: Vec<TensorDocument>| {
            documents.into_iter().map(|document| document.into_tensor(rows)).collect::<Result<_, _>>()
        };
        Ok(Self { inputs: tensors(document.inputs)?, outputs: tensors(document.outputs)?, rows })
    }

    /// Runs the model on the inputs, and compares its outputs with those of the file.
    pub fn replay(&self, session: &mut Session) -> Result<Replayed, ContainerError> {
        let signature = session.signature().clone();
        self.check_names(&signature)?;
        let size = self.rows_of_a_run(&signature)?;
        let mut comparison = Comparison::default();
        for first in (0..self.rows).step_by(size) {
            let inputs = self.inputs_of(&signature, first, size)?;
            let got = session.run(&inputs)?;
            for expected in &self.outputs {
                let got = got.iter().find(|tensor| tensor.name() == expected.name);
                if let Some(got) = got {
                    comparison.compare(&expected.rows(first, size)?, got, first)?;
                }
            }
        }
        match comparison.worst {
            Some(worst) if worst.ratio > 1.0 => Err(worst.into_error()),
            _ => Ok(Replayed { rows: self.rows, largest: comparison.largest }),
        }
    }

    /// Refuses tensors that the model has not.
    fn check_names(&self, signature: &Signature) -> Result<(), ContainerError> {
        let sets =
            [("input", &self.inputs, &signature.inputs), ("output", &self.outputs, &signature.outputs)];
        for (role, ours, models) in sets {
            if let Some(odd) =
                ours.iter().find(|tensor| !models.iter().any(|model| model.name == tensor.name))
            {
                let known = models.iter().map(|model| model.name.clone()).collect();
                return Err(ContainerError::UnknownTensor { role, name: odd.name.clone(), known });
            }
        }
        Ok(())
    }

    /// How many samples the model takes at once.
    fn rows_of_a_run(&self, signature: &Signature) -> Result<usize, ContainerError> {
        let fixed = signature.inputs.iter().filter_map(|input| input.shape.first()).find(|size| **size >= 0);
        let Some(size) = fixed.and_then(|size| usize::try_from(*size).ok()) else { return Ok(self.rows) };
        if size == 0 || !self.rows.is_multiple_of(size) {
            return Err(ContainerError::samples(format!(
                "the model takes exactly {size} rows at a time, which {} samples are not a multiple of",
                self.rows
            )));
        }
        Ok(size)
    }

    fn inputs_of(
        &self,
        signature: &Signature,
        first: usize,
        size: usize,
    ) -> Result<Vec<Tensor>, ContainerError> {
        let tensor = |input: &TensorMetadata| {
            let missing = || ContainerError::UnexpectedInputs { names: vec![input.name.clone()] };
            let tensor = self.inputs.iter().find(|tensor| tensor.name == input.name).ok_or_else(missing)?;
            let tensor = tensor.rows(first, size)?;
            input.accepts(&tensor).map_err(|error| ContainerError::samples(error.to_string()))?;
            Ok(tensor)
        };
        signature.inputs.iter().map(tensor).collect()
    }
}

impl TensorDocument {
    fn into_tensor(self, rows: usize) -> Result<UserTensor, ContainerError> {
        let name = shortened(&self.name);
        if self.shape.first().and_then(|first| usize::try_from(*first).ok()) != Some(rows) {
            return Err(ContainerError::samples(format!(
                "the first dimension of \"{name}\" is not {rows}, the number of samples"
            )));
        }
        let mut data = Vec::new();
        flatten(self.data, &mut data);
        let elements = self.shape.iter().try_fold(1_i64, |product, size| product.checked_mul(*size));
        let elements = elements.and_then(|elements| usize::try_from(elements).ok());
        if self.shape.iter().any(|size| *size < 0) || elements != Some(data.len()) {
            return Err(ContainerError::samples(format!(
                "\"{name}\" has {} elements, which is not what its shape has",
                data.len()
            )));
        }
        Ok(UserTensor { name: self.name, datatype: self.datatype, shape: self.shape, data })
    }
}

impl UserTensor {
    /// Some of the samples as a tensor.
    fn rows(&self, first: usize, size: usize) -> Result<Tensor, ContainerError> {
        let rows = self.shape.first().and_then(|rows| usize::try_from(*rows).ok()).unwrap_or(1).max(1);
        let width = self.data.len() / rows;
        let values = self.data.get(first * width..(first + size) * width).unwrap_or_default();
        let name = shortened(&self.name);
        let data = data(self.datatype, values).map_err(|position| {
            ContainerError::samples(format!(
                "element {} of \"{name}\" is no {}",
                first * width + position,
                self.datatype
            ))
        })?;
        let mut shape = self.shape.clone();
        if let (Some(rows), Ok(size)) = (shape.first_mut(), i64::try_from(size)) {
            *rows = size;
        }
        Tensor::new(self.name.clone(), shape, data)
            .map_err(|error| ContainerError::samples(error.to_string()))
    }
}

/// What differs most so far.
#[derive(Default)]
struct Comparison {
    largest: f64,
    worst: Option<Difference>,
}

struct Difference {
    /// In tolerances.
    ratio: f64,
    output: String,
    sample: usize,
    /// As a number, where it is one.
    apart: Option<f64>,
}

impl Comparison {
    fn compare(&mut self, expected: &Tensor, got: &Tensor, first: usize) -> Result<(), ContainerError> {
        if got.datatype() != expected.datatype() || got.shape() != expected.shape() {
            return Err(ContainerError::samples(format!(
                "it expects {} {:?} of the output \"{}\", and the model gives {} {:?}",
                expected.datatype(),
                expected.shape(),
                shortened(expected.name()),
                got.datatype(),
                got.shape()
            )));
        }
        let width = expected.len().checked_div(expected.rows()).unwrap_or(1).max(1);
        for position in 0..expected.len() {
            let elements = (Element::at(expected.data(), position), Element::at(got.data(), position));
            let (Some(wanted), Some(got)) = elements else { continue };
            let (difference, ratio) = apart(&wanted, &got, expected.datatype());
            self.largest = self.largest.max(difference.unwrap_or(0.0));
            if self.worst.as_ref().is_none_or(|worst| ratio > worst.ratio) {
                self.worst = Some(Difference {
                    ratio,
                    output: expected.name().to_owned(),
                    sample: first + position / width,
                    apart: difference,
                });
            }
        }
        Ok(())
    }
}

/// How far two elements are apart: as a number, and in tolerances. NaN is equal to itself only.
fn apart(expected: &Element, got: &Element, datatype: Datatype) -> (Option<f64>, f64) {
    match (expected, got) {
        (Element::Number(expected), Element::Number(got)) => {
            let difference = (expected - got).abs();
            let halves = matches!(datatype, Datatype::Fp16 | Datatype::Bf16);
            let tolerance = ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE * expected.abs();
            let tolerance = if halves { HALF_PRECISION * tolerance } else { tolerance };
            // Infinities are equal, and their difference is no number.
            if expected.is_nan() && got.is_nan() || expected.total_cmp(got).is_eq() {
                (None, 0.0)
            } else if difference.is_nan() {
                (None, f64::INFINITY)
            } else if is_rounded(datatype) {
                (Some(difference), difference / tolerance)
            } else {
                (Some(difference), if difference > 0.0 { f64::INFINITY } else { 0.0 })
            }
        }
        (expected, got) => (None, if expected == got { 0.0 } else { f64::INFINITY }),
    }
}

impl Difference {
    fn into_error(self) -> ContainerError {
        let Self { output, sample, apart, ratio: _ } = self;
        ContainerError::SamplesDiffer { output, sample, difference: apart }
    }
}

#[cfg(test)]
pub(super) fn differs(datatype: Datatype, expected: &Value, got: &Value) -> bool {
    let element =
        |value: &Value| Element::at(&data(datatype, std::slice::from_ref(value)).unwrap(), 0).unwrap();
    apart(&element(expected), &element(got), datatype).1 > 1.0
}
