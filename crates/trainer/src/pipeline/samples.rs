//! `samples.json`: some rows with the answers they must get, so that whoever serves the model can prove that it does.

use modelwright_protocol::{Datatype, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Error, Prepared};
use crate::export::Schema;
use crate::export::scorer::tensors;
use crate::matrix::Predictions;
use crate::network::Network;
use crate::random::{Purpose, Stream};

/// The name of the file in a revision's folder.
pub const SAMPLES_FILE: &str = "samples.json";
/// How many rows are published.
const ROWS: usize = 10;
/// The version of the file.
const VERSION: &str = "1";

/// Inputs and the outputs that belong to them, as tensors of the Open Inference Protocol with nothing flattened away but their
/// shape. A number that is missing is `null`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Samples {
    /// The version of the file.
    pub version: String,
    /// One tensor for each input of the model.
    pub inputs: Vec<SampleTensor>,
    /// One tensor for each output of the model.
    pub outputs: Vec<SampleTensor>,
}

/// One tensor.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct SampleTensor {
    /// The name of the input or output.
    pub name: String,
    /// The type of its elements.
    pub datatype: Datatype,
    /// Its shape; the first dimension is the rows.
    pub shape: Vec<i64>,
    /// Its elements, row after row.
    pub data: Vec<Value>,
}

impl Samples {
    /// Some validation rows, chosen by the seed, and what the network says of them.
    pub(super) fn of(prepared: &Prepared, network: &Network<f32>) -> Result<Self, Error> {
        let mut rows: Vec<usize> = (0..prepared.validation.table.rows()).collect();
        Stream::new(prepared.spec.builtin.seed, Purpose::Samples, 0).shuffle(&mut rows);
        rows.truncate(ROWS);
        rows.sort_unstable();
        let table = prepared.validation.table.select(&rows);
        let schema = Schema::new(&prepared.preprocessing, &prepared.target);
        let inputs = tensors(&schema, &table, 0..rows.len())?;
        let encoded = prepared.validation.examples.inputs.select(&rows);
        let predictions =
            network.predict(&encoded, prepared.task(), prepared.target.center, prepared.target.spread);
        Ok(Self {
            version: VERSION.to_owned(),
            inputs: inputs.iter().map(sample).collect(),
            outputs: outputs(&predictions, &prepared.target.classes),
        })
    }

    /// The file's content.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

fn sample(tensor: &Tensor) -> SampleTensor {
    let data = match tensor.data() {
        TensorData::Fp32(values) => values.iter().map(|&value| number(value)).collect(),
        TensorData::Bool(values) => values.iter().map(|&value| Value::from(value)).collect(),
        TensorData::Bytes(values) => {
            values.iter().map(|text| Value::from(String::from_utf8_lossy(text).into_owned())).collect()
        }
        // Models of this trainer have no other inputs.
        _ => Vec::new(),
    };
    SampleTensor {
        name: tensor.name().to_owned(),
        datatype: tensor.datatype(),
        shape: tensor.shape().to_vec(),
        data,
    }
}

/// A number as JSON; `null` where it is missing. Its shortest decimal form reads back as the same `f32`.
fn number(value: f32) -> Value {
    value.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

fn outputs(predictions: &Predictions, classes: &[String]) -> Vec<SampleTensor> {
    let tensor = |name: &str, datatype, shape: &[usize], data| SampleTensor {
        name: name.to_owned(),
        datatype,
        shape: shape.iter().map(|&size| i64::try_from(size).unwrap_or(i64::MAX)).collect(),
        data,
    };
    match predictions {
        Predictions::Numbers(numbers) => {
            let data = numbers.iter().map(|&value| number(value)).collect();
            vec![tensor("prediction", Datatype::Fp32, &[numbers.len()], data)]
        }
        Predictions::Probabilities(matrix) => {
            let label = |row: usize| {
                let class = crate::evaluate::label(matrix.row(row));
                Value::from(classes.get(class).map(String::as_str).unwrap_or_default())
            };
            let labels = (0..matrix.rows()).map(label).collect();
            let data = matrix.values().iter().map(|&value| number(value)).collect();
            vec![
                tensor("label", Datatype::Bytes, &[matrix.rows()], labels),
                tensor("probabilities", Datatype::Fp32, &[matrix.rows(), matrix.columns()], data),
            ]
        }
    }
}
