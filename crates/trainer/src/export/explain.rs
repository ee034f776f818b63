//! `explain.onnx`: the gradients that integrated gradients (Sundararajan et al. 2017) are made of.
//!
//! A graph of the same inputs as `model.onnx`, whose first row is the baseline, and two more. For every row it averages the
//! gradient of the explained output over points on the straight line, of features, from the first row to it. Features are what
//! preprocessing makes of the inputs, so the categories of a text have a way between them, too.
//!
//! The first layer's sums are an affine function of the features. So they are computed once for each row and interpolated, and
//! the product with the first layer's weights on the way back is computed once, after averaging: on wide data that is nearly
//! all of the work. Only what lies between is computed for every point.
//!
//! The order of inputs and outputs is the contract, as their names may have to give way to columns:
//!
//! | Input | Shape | What |
//! |---|---|---|
//! | those of the model | `[N, …]` | rows; the first is the baseline |
//! | `points` | FP32 `[1, S]` | from 0, the first row, to 1, the row itself |
//! | `target` | FP32 `[1, K]` | what is explained: the share of each class, or 1 for the number of a regression |
//!
//! | Output | Shape | What |
//! |---|---|---|
//! | `gradients` | FP32 `[N, W]` | with respect to each feature, averaged over the points |
//! | `encoded` | FP32 `[N, W]` | the features |
//! | `explained` | FP32 `[N]` | the explained output of the row |
//!
//! The attribution of a feature is its gradient times what the row has more of it than the first row.

mod check;

use modelwright_api::training::{Activation, Task};

pub use check::{Explained, compare, run};

use super::error::ExportError;
use super::graph::{Attribute, Graph, Value};
use super::layers::{activation, name, parameters};
use super::onnx_proto::tensor_proto::DataType;
use super::{Exported, FEATURES, file, inputs};
use crate::features::preprocessing::Preprocessing;
use crate::features::target::Target;

/// The name of the file beside `model.onnx`.
pub const EXPLAIN_FILE: &str = "explain.onnx";

/// Along the columns.
const AXIS: Attribute = Attribute::Int("axis", 1);
/// Reducing a dimension leaves none.
const FLAT: Attribute = Attribute::Int("keepdims", 0);
/// The second factor of a product of matrices is transposed.
const TRANSPOSED: Attribute = Attribute::Int("transB", 1);

/// A layer's parameters in the graph.
struct Layer {
    weights: Value,
    bias: Value,
    units: usize,
    activation: Activation,
}

/// What a layer computes on the way forwards.
struct Trace {
    sums: Value,
    values: Value,
}

/// The bytes of `explain.onnx`; the module says what it takes and gives. Fails as [`model`](super::model()) does.
pub fn explain(spec: &Exported<'_>) -> Result<Vec<u8>, ExportError> {
    let (preprocessing, network) = (spec.preprocessing, spec.network);
    let free = |wanted| unused(wanted, preprocessing);
    let classes = spec.target.classes.len().max(1);
    let mut graph = Graph::default();
    let wide = Some(preprocessing.width());
    let doc = "The gradient with respect to each feature, averaged over the points.";
    let gradients = graph.output(&free("gradients"), DataType::Float, wide, doc);
    let encoded = graph.output(&free("encoded"), DataType::Float, wide, "The features.");
    let explained = graph.output(&free("explained"), DataType::Float, None, "The explained output.");
    let (features, width) = inputs::add(&mut graph, preprocessing)?;
    let doc = "From 0, the first row, to 1, the row itself.";
    let points = graph.argument(&free("points"), None, doc);
    let doc = "What is explained: the share of each class, or 1 for a number.";
    let target = graph.argument(&free("target"), Some(classes), doc);
    graph.node_into("Identity", &[&features], &[], &encoded);

    let layers = layers(&mut graph, width, spec)?;
    let Some(first) = layers.first() else {
        return Err(ExportError::Inconsistent { detail: "the network has no layers".to_owned() });
    };
    let sums = graph.node("Gemm", &[&features, &first.weights, &first.bias], &[], "row/sum");
    let row = forward(&mut graph, &layers, &sums, "row");
    let values = outputs(&mut graph, last(&row), spec.target)?;
    let chosen = graph.node("Mul", &[&values, &target], &[], "row/chosen");
    let columns = graph.integers("columns", &[1]);
    graph.node_into("ReduceSum", &[&chosen, &columns], &[FLAT], &explained);

    let (path, shape) = interpolate(&mut graph, &sums, &points, first.units);
    let path = forward(&mut graph, &layers, &path, "path");
    let mut slope = head_slope(&mut graph, last(&path), &target, spec.target)?;
    for (index, (layer, trace)) in layers.iter().zip(&path).enumerate().rev() {
        if let Some(next) = layers.get(index + 1) {
            slope = graph.node("Gemm", &[&slope, &next.weights], &[TRANSPOSED], "back/values");
        }
        if let Some(own) = derivative(&mut graph, layer.activation, trace)? {
            slope = graph.node("Mul", &[&slope, &own], &[], &format!("back/{}", name(network, index)));
        }
    }
    let apart = graph.node("Reshape", &[&slope, &shape], &[], "back/points");
    let mean = graph.node("ReduceMean", &[&apart, &columns], &[FLAT], "back/mean");
    graph.node_into("Gemm", &[&mean, &first.weights], &[TRANSPOSED], &gradients);
    Ok(file(spec, graph, &format!("Computes gradients of {}.", spec.target.name)))
}

/// A name that no input of the model has: this one, or this one with a number.
fn unused(wanted: &str, preprocessing: &Preprocessing) -> String {
    let is_taken =
        |name: &str| name == FEATURES || preprocessing.columns.iter().any(|column| column.name == name);
    let numbered = (2..).map(|number| format!("{wanted}#{number}"));
    std::iter::once(wanted.to_owned()).chain(numbered).find(|name| !is_taken(name)).unwrap_or_default()
}

fn layers(graph: &mut Graph, width: usize, spec: &Exported<'_>) -> Result<Vec<Layer>, ExportError> {
    let mut width = width;
    let mut layers = Vec::new();
    for (index, layer) in spec.network.layers.iter().enumerate() {
        let [weights, bias] = parameters(graph, width, layer, &name(spec.network, index))?;
        width = layer.bias.len();
        layers.push(Layer { weights, bias, units: width, activation: layer.activation });
    }
    Ok(layers)
}

/// The layers, from the sums of the first one.
fn forward(graph: &mut Graph, layers: &[Layer], first: &str, prefix: &str) -> Vec<Trace> {
    let mut traces: Vec<Trace> = Vec::with_capacity(layers.len());
    for (index, layer) in layers.iter().enumerate() {
        let name = format!("{prefix}/layer{}", index + 1);
        let sums = match traces.last() {
            Some(before) => graph.node(
                "Gemm",
                &[&before.values, &layer.weights, &layer.bias],
                &[],
                &format!("{name}/sum"),
            ),
            None => first.to_owned(),
        };
        let values = activation(graph, layer.activation, sums.clone(), &name);
        traces.push(Trace { sums, values });
    }
    traces
}

fn last(traces: &[Trace]) -> &str {
    traces.last().map_or("", |trace| &trace.values)
}

/// The first layer's sums on the way from the first row to each: `[N · S, units]`, and the shape `[N, S, units]`.
fn interpolate(graph: &mut Graph, sums: &str, points: &str, units: usize) -> (Value, Value) {
    let first = graph.integers("path/first", &[0]);
    let start = graph.node("Gather", &[sums, &first], &[Attribute::Int("axis", 0)], "path/start");
    let whole = graph.node("Sub", &[sums, &start], &[], "path/whole");
    let middle = graph.integers("path/middle", &[1]);
    let whole = graph.node("Unsqueeze", &[&whole, &middle], &[], "path/rows");
    let end = graph.integers("path/end", &[2]);
    let points = graph.node("Unsqueeze", &[points, &end], &[], "path/points");
    let parts = graph.node("Mul", &[&whole, &points], &[], "path/parts");
    let path = graph.node("Add", &[&parts, &start], &[], "path/sums");
    let shape = graph.node("Shape", &[&path], &[], "path/shape");
    let flat = graph.integers("path/flat_shape", &[-1, i64::try_from(units).unwrap_or(i64::MAX)]);
    (graph.node("Reshape", &[&path, &flat], &[], "path/flat"), shape)
}

/// What the model says: `[rows, classes]`, or `[rows, 1]`.
fn outputs(graph: &mut Graph, last: &str, target: &Target) -> Result<Value, ExportError> {
    Ok(match target.task {
        Task::Binary => {
            let (first, second) = both(graph, last, "row")?;
            graph.node("Concat", &[&first, &second], &[AXIS], "row/probabilities")
        }
        Task::Multiclass => graph.node("Softmax", &[last], &[AXIS], "row/probabilities"),
        Task::Regression => {
            let spread = graph.floats("row/spread", &[1], &[target.spread])?;
            let scaled = graph.node("Mul", &[last, &spread], &[], "row/scaled");
            let center = graph.floats("row/center", &[1], &[target.center])?;
            graph.node("Add", &[&scaled, &center], &[], "row/shifted")
        }
    })
}

/// The probabilities of two classes.
fn both(graph: &mut Graph, logit: &str, prefix: &str) -> Result<(Value, Value), ExportError> {
    let second = graph.node("Sigmoid", &[logit], &[], &format!("{prefix}/second"));
    let one = graph.floats(&format!("{prefix}/one"), &[1], &[1.0])?;
    Ok((graph.node("Sub", &[&one, &second], &[], &format!("{prefix}/first")), second))
}

/// The gradient of the explained output with respect to what the last layer gives.
fn head_slope(graph: &mut Graph, last: &str, wanted: &str, target: &Target) -> Result<Value, ExportError> {
    Ok(match target.task {
        Task::Binary => {
            let (first, second) = both(graph, last, "path")?;
            let product = graph.node("Mul", &[&first, &second], &[], "path/slope");
            // The first class loses what the second gains.
            let signs = graph.floats("path/signs", &[2, 1], &[-1.0, 1.0])?;
            let sign = graph.node("MatMul", &[wanted, &signs], &[], "path/sign");
            graph.node("Mul", &[&product, &sign], &[], "back/output")
        }
        Task::Multiclass => {
            let all = graph.node("Softmax", &[last], &[AXIS], "path/probabilities");
            let chosen = graph.node("Mul", &[&all, wanted], &[], "path/chosen");
            let columns = graph.integers("path/columns", &[1]);
            let chosen = graph.node("ReduceSum", &[&chosen, &columns], &[], "path/explained");
            let excess = graph.node("Sub", &[wanted, &chosen], &[], "path/excess");
            graph.node("Mul", &[&all, &excess], &[], "back/output")
        }
        Task::Regression => {
            let spread = graph.floats("path/spread", &[1], &[target.spread])?;
            let slope = graph.node("Mul", &[wanted, &spread], &[], "path/slope");
            let shape = graph.node("Shape", &[last], &[], "path/last_shape");
            graph.node("Expand", &[&slope, &shape], &[], "back/output")
        }
    })
}

/// The derivative of a layer's activation; `None` where it is 1.
fn derivative(
    graph: &mut Graph,
    activation: Activation,
    trace: &Trace,
) -> Result<Option<Value>, ExportError> {
    let Trace { sums, values } = trace;
    let name = |part: &str| format!("slope/{part}");
    let constant = |graph: &mut Graph, part: &str, value: f32| graph.floats(&name(part), &[1], &[value]);
    Ok(Some(match activation {
        Activation::Linear => return Ok(None),
        Activation::Relu => {
            let zero = constant(graph, "zero", 0.0)?;
            let positive = graph.node("Greater", &[sums, &zero], &[], &name("positive"));
            let float = Attribute::Int("to", DataType::Float as i64);
            graph.node("Cast", &[&positive], &[float], &name("relu"))
        }
        Activation::Tanh => {
            let one = constant(graph, "one", 1.0)?;
            let square = graph.node("Mul", &[values, values], &[], &name("square"));
            graph.node("Sub", &[&one, &square], &[], &name("tanh"))
        }
        Activation::Sigmoid => {
            let one = constant(graph, "one", 1.0)?;
            let rest = graph.node("Sub", &[&one, values], &[], &name("rest"));
            graph.node("Mul", &[values, &rest], &[], &name("sigmoid"))
        }
        Activation::Gelu => gelu_slope(graph, sums)?,
    }))
}

/// Φ(z) + z φ(z), of the standard normal distribution.
fn gelu_slope(graph: &mut Graph, sums: &str) -> Result<Value, ExportError> {
    let name = |part: &str| format!("slope/{part}");
    let root = graph.floats(&name("root"), &[1], &[std::f32::consts::FRAC_1_SQRT_2])?;
    let (one, half) = (graph.floats(&name("one"), &[1], &[1.0])?, graph.floats(&name("half"), &[1], &[0.5])?);
    let scaled = graph.node("Mul", &[sums, &root], &[], &name("scaled"));
    let error = graph.node("Erf", &[&scaled], &[], &name("erf"));
    let shifted = graph.node("Add", &[&error, &one], &[], &name("shifted"));
    let normal = graph.node("Mul", &[&shifted, &half], &[], &name("normal"));
    let square = graph.node("Mul", &[&scaled, &scaled], &[], &name("square"));
    let negative = graph.node("Neg", &[&square], &[], &name("negative"));
    let power = graph.node("Exp", &[&negative], &[], &name("power"));
    // 1 / √(2π).
    let height = graph.floats(&name("height"), &[1], &[0.398_942_3])?;
    let density = graph.node("Mul", &[&power, &height], &[], &name("density"));
    let weighted = graph.node("Mul", &[sums, &density], &[], &name("weighted"));
    Ok(graph.node("Add", &[&normal, &weighted], &[], &name("gelu")))
}

#[cfg(test)]
mod tests;
