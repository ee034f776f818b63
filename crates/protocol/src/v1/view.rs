//! Requests and answers of a model that was trained here, in the words of its data.

mod schema;

use std::collections::HashMap;

pub use self::schema::SchemaError;
use self::schema::{Layout, Schema};
use super::request::parse_with_view;
use super::response::{write_classes, write_predictions};
use crate::element::Null;
use crate::error::Error;
use crate::limits::Limits;
use crate::signature::{Signature, TensorMetadata};
use crate::tensor::Tensor;
use crate::write::write_string;

/// How the columns and classes of the training data lie in a model's tensors.
///
/// Made once for a model, from the `schema.json` beside it, and only if the two describe the same inputs and outputs: a
/// schema of another model is refused rather than read into wrong answers.
///
/// ```
/// use modelwright_protocol::{Datatype, Limits, Signature, TensorMetadata, v1::View};
///
/// let tensor = |name: &str, shape: &[i64]| TensorMetadata { name: name.into(), datatype: Datatype::Fp32, shape: shape.into() };
/// let signature =
///     Signature { inputs: vec![tensor("features", &[-1, 2])], outputs: vec![tensor("prediction", &[-1])] };
/// let schema = br#"{"version":"1","task":"Regression","target":"rent","layout":"Features",
///     "columns":[{"name":"rooms","type":"Numeric"},{"name":"age","type":"Numeric"}]}"#;
/// let view = View::from_schema(schema, &signature)?;
/// let body = br#"{"instances": [{"age": null, "rooms": 3}]}"#;
/// let tensors = view.parse_predict_request(body, &Limits::default())?;
/// assert_eq!(tensors[0].shape(), [1, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct View {
    signature: Signature,
    layout: Layout,
    /// Every column as an input of its own.
    columns: Vec<TensorMetadata>,
    /// What `null` stands for, by column.
    nulls: Vec<Null>,
    positions: HashMap<String, usize>,
    /// The classes as keys of JSON with their colons; none for a regression.
    classes: Vec<Vec<u8>>,
    class_names: Vec<String>,
    widths: Vec<usize>,
    baseline: Option<Vec<Tensor>>,
}

impl View {
    /// Reads the `schema.json` of the model that has this signature.
    ///
    /// The model's inputs must be exactly those that the schema describes: `features` FP32 `[-1, D]` for its D columns in
    /// the layout `Features`; else an input `[-1, 1]` for each column, in the same order, FP32 for numbers, BOOL for truth
    /// values and BYTES for texts. Its outputs must be `label` BYTES `[-1]` and `probabilities` FP32 `[-1, K]` for the K
    /// classes, or `prediction` FP32 `[-1]` for a regression. The model may leave K open.
    pub fn from_schema(json: &[u8], signature: &Signature) -> Result<Self, SchemaError> {
        let schema = Schema::read(json)?;
        check("inputs", &schema.inputs(), &signature.inputs, |described, actual| actual == described)?;
        check("outputs", &schema.outputs(), &signature.outputs, |described, actual| {
            actual == described || (described > 0 && actual < 0)
        })?;
        let columns = schema.columns();
        let positions =
            columns.iter().enumerate().map(|(index, column)| (column.name.clone(), index)).collect();
        Ok(Self {
            signature: signature.clone(),
            layout: schema.layout(),
            nulls: schema.nulls(),
            columns,
            positions,
            classes: schema.classes.iter().map(|class| key(class)).collect(),
            widths: schema.widths(),
            baseline: schema.baseline(),
            class_names: schema.classes,
        })
    }

    /// Reads the body of a prediction like [`parse_predict_request`](super::parse_predict_request), and besides
    ///
    /// * the fields of a record are columns in the layout `Features`, too. A record `{"features": […]}` is read as a whole
    ///   row, unless a column has that name;
    /// * `null` in the place of a value is a missing one: NaN for a number, the empty text for a text, which the model
    ///   replaces; and for a truth value what the training chose. A field must not be left out: a misspelt column must not
    ///   look like a missing one.
    pub fn parse_predict_request(&self, body: &[u8], limits: &Limits) -> Result<Vec<Tensor>, Error> {
        parse_with_view(body, self, limits)
    }

    /// Writes `{"predictions": […]}`: for each row `{"label": …, "probabilities": {CLASS: …, …}}` with the classes in the
    /// order of the schema, or the number of a regression.
    ///
    /// Errors have the class [`Internal`](crate::ErrorClass::Internal): outputs that are not as the schema says, and
    /// values that JSON cannot carry.
    pub fn write_predictions(&self, outputs: &[Tensor]) -> Result<Vec<u8>, Error> {
        if self.classes.is_empty() {
            write_predictions(outputs, &self.signature.outputs)
        } else {
            write_classes(outputs, &self.classes)
        }
    }

    /// What the elements of a row of this output stand for, by index; empty for an output without labels.
    pub fn labels(&self, output: &str) -> &[String] {
        if output == "probabilities" { &self.class_names } else { &[] }
    }

    pub(super) const fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Whether all columns are in one input.
    pub(super) fn is_matrix(&self) -> bool {
        self.layout == Layout::Features
    }

    /// The columns, as if each were an input of its own.
    pub fn columns(&self) -> &[TensorMetadata] {
        &self.columns
    }

    /// The classes, in the order of their probabilities; none for a regression.
    pub fn classes(&self) -> &[String] {
        &self.class_names
    }

    /// How many features the model makes of each column: one, or one for each category of a text.
    pub fn widths(&self) -> &[usize] {
        &self.widths
    }

    /// A row of what is usual in the training data, as the model's inputs: means, and the most frequent of other values.
    /// `None` if the schema does not have it for every column.
    pub fn baseline(&self) -> Option<&[Tensor]> {
        self.baseline.as_deref()
    }

    pub(super) const fn positions(&self) -> &HashMap<String, usize> {
        &self.positions
    }

    /// What `null` stands for in the input at `index`; the columns of a matrix are all numbers.
    pub(super) fn null(&self, index: usize) -> Null {
        self.nulls[index]
    }
}

/// Finds the first tensor that is not as described; `fits` compares dimensions.
fn check(
    what: &'static str,
    described: &[TensorMetadata],
    actual: &[TensorMetadata],
    fits: impl Fn(i64, i64) -> bool,
) -> Result<(), SchemaError> {
    let same = |described: &TensorMetadata, actual: &TensorMetadata| {
        let mut dimensions = described.shape.iter().zip(&actual.shape);
        described.name == actual.name
            && described.datatype == actual.datatype
            && described.shape.len() == actual.shape.len()
            && dimensions.all(|(&described, &actual)| fits(described, actual))
    };
    for index in 0..described.len().max(actual.len()) {
        let pair = (described.get(index), actual.get(index));
        if !matches!(pair, (Some(described), Some(actual)) if same(described, actual)) {
            let text =
                |tensor: Option<&TensorMetadata>| tensor.map_or("no more".to_owned(), ToString::to_string);
            return Err(SchemaError::Mismatch { what, described: text(pair.0), actual: text(pair.1) });
        }
    }
    Ok(())
}

/// A class as a key of JSON with its colon.
fn key(class: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(class.len() + 3);
    write_string(&mut key, class);
    key.push(b':');
    key
}

#[cfg(test)]
mod tests;
