//! The nodes from inputs to features.

use modelwright_api::training::InputLayout;

use super::FEATURES;
use super::error::ExportError;
use super::graph::{Attribute, Graph, Value};
use super::onnx_proto::tensor_proto::DataType;
use crate::features::preprocessing::{Prepared, PreparedKind, Preprocessing};

/// What `Cast` makes numbers of.
const TO_FLOAT: Attribute = Attribute::Int("to", DataType::Float as i64);

/// The numbers of numeric columns, one for each.
#[derive(Debug, Default)]
struct Scaling {
    fill: Vec<f32>,
    mean: Vec<f32>,
    deviation: Vec<f32>,
}

/// Adds the inputs and what prepares them. Returns the features, FP32 `[N, width]`, and their width.
pub(super) fn add(graph: &mut Graph, preprocessing: &Preprocessing) -> Result<(Value, usize), ExportError> {
    let (features, width) = match preprocessing.layout {
        InputLayout::Features => matrix(graph, &preprocessing.columns)?,
        InputLayout::Columns => columns(graph, &preprocessing.columns)?,
    };
    if width == 0 {
        let detail = "no column gives a feature".to_owned();
        return Err(ExportError::Inconsistent { detail });
    }
    Ok((features, width))
}

/// One matrix of all columns, prepared at once.
fn matrix(graph: &mut Graph, columns: &[Prepared]) -> Result<(Value, usize), ExportError> {
    let mut scaling = Scaling::default();
    for column in columns {
        let PreparedKind::Numeric { fill, mean, deviation } = column.kind else {
            let detail =
                format!("the column \"{}\" is in a matrix of numbers and is not numeric", column.name);
            return Err(ExportError::Inconsistent { detail });
        };
        scaling.push(fill, mean, deviation);
    }
    let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
    let doc = format!("NaN where a number is missing. Columns: {}.", names.join(", "));
    graph.input(FEATURES, DataType::Float, columns.len(), &doc)?;
    Ok((numbers(graph, FEATURES, &scaling)?, columns.len()))
}

/// An input for each column, prepared one by one and put beside each other.
fn columns(graph: &mut Graph, columns: &[Prepared]) -> Result<(Value, usize), ExportError> {
    for column in columns {
        let (kind, doc) = match &column.kind {
            PreparedKind::Numeric { .. } => (DataType::Float, "A number; NaN where it is missing."),
            PreparedKind::Boolean { .. } => (DataType::Bool, "true or false."),
            PreparedKind::Text { .. } => (DataType::String, "A text; empty where it is missing."),
        };
        graph.input(&column.name, kind, 1, doc)?;
    }
    let mut parts = Vec::new();
    let mut width = 0;
    for Prepared { name, kind } in columns {
        match kind {
            PreparedKind::Numeric { fill, mean, deviation } => {
                let mut scaling = Scaling::default();
                scaling.push(*fill, *mean, *deviation);
                parts.push(numbers(graph, name, &scaling)?);
                width += 1;
            }
            PreparedKind::Boolean { .. } => {
                parts.push(graph.node("Cast", &[name], &[TO_FLOAT], &format!("{name}/number")));
                width += 1;
            }
            // No text of the training rows is known, so the column says nothing. It stays an input.
            PreparedKind::Text { categories, .. } if categories.is_empty() => {}
            PreparedKind::Text { categories, fill } => {
                parts.push(one_hot(graph, name, categories, fill.as_ref()));
                width += categories.len();
            }
        }
    }
    let parts: Vec<_> = parts.iter().map(String::as_str).collect();
    Ok((graph.node("Concat", &parts, &[Attribute::Int("axis", 1)], FEATURES), width))
}

/// (x - mean) / deviation, with the fill for x where it is NaN.
fn numbers(graph: &mut Graph, input: &str, scaling: &Scaling) -> Result<Value, ExportError> {
    let Scaling { fill, mean, deviation } = scaling;
    let shape = [fill.len()];
    if deviation.contains(&0.0) {
        let detail = format!("a deviation of \"{input}\" is 0");
        return Err(ExportError::Inconsistent { detail });
    }
    let fill = graph.floats(&format!("{input}/fill"), &shape, fill)?;
    let missing = graph.node("IsNaN", &[input], &[], &format!("{input}/missing"));
    let filled = graph.node("Where", &[&missing, &fill, input], &[], &format!("{input}/filled"));
    if scaling.is_none() {
        return Ok(filled);
    }
    let mean = graph.floats(&format!("{input}/mean"), &shape, mean)?;
    let centred = graph.node("Sub", &[&filled, &mean], &[], &format!("{input}/centred"));
    let deviation = graph.floats(&format!("{input}/deviation"), &shape, deviation)?;
    Ok(graph.node("Div", &[&centred, &deviation], &[], &format!("{input}/scaled")))
}

/// One feature for each category: 1 if the text, or what stands in for it, is that category.
fn one_hot(graph: &mut Graph, input: &str, categories: &[String], fill: Option<&String>) -> Value {
    let filled = match fill {
        Some(fill) => {
            let empty = graph.texts(&format!("{input}/empty"), &[String::new()]);
            let fill = graph.texts(&format!("{input}/fill"), std::slice::from_ref(fill));
            let missing = graph.node("Equal", &[input, &empty], &[], &format!("{input}/missing"));
            graph.node("Where", &[&missing, &fill, input], &[], &format!("{input}/filled"))
        }
        None => input.to_owned(),
    };
    let categories = graph.texts(&format!("{input}/categories"), categories);
    let matches = graph.node("Equal", &[&filled, &categories], &[], &format!("{input}/matches"));
    graph.node("Cast", &[&matches], &[TO_FLOAT], &format!("{input}/one_hot"))
}

impl Scaling {
    fn push(&mut self, fill: f32, mean: f32, deviation: f32) {
        self.fill.push(fill);
        self.mean.push(mean);
        self.deviation.push(deviation);
    }

    /// Whether numbers stay as they are.
    fn is_none(&self) -> bool {
        self.mean.iter().all(|mean| *mean == 0.0)
            && self.deviation.iter().all(|deviation| deviation.to_bits() == 1_f32.to_bits())
    }
}
