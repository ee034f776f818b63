//! The nodes from features to outputs.

use modelwright_api::training::{Activation, Task};

use super::error::ExportError;
use super::graph::{Attribute, Graph, Value};
use super::onnx_proto::tensor_proto::DataType;
use super::{LABEL, PREDICTION, PROBABILITIES};
use crate::features::target::Target;
use crate::network::{Dense, Network};

/// Along the columns.
const AXIS: Attribute = Attribute::Int("axis", 1);

/// The last layer's result: its tensor `[N, width]`.
#[derive(Debug)]
pub(super) struct LayerOutput {
    value: Value,
    width: usize,
}

/// The outputs of a task.
#[derive(Debug)]
pub(super) enum Outputs {
    Classes { label: Value, probabilities: Value },
    Number { prediction: Value },
}

/// Declares the outputs, so that no input and no node takes their names.
pub(super) fn declare_outputs(graph: &mut Graph, target: &Target) -> Result<Outputs, ExportError> {
    let classes = target.classes.len();
    match target.task {
        Task::Binary | Task::Multiclass => {
            if classes < 2 || (target.task == Task::Binary && classes != 2) {
                let detail = format!("{classes} classes where the task is {:?}", target.task);
                return Err(ExportError::Inconsistent { detail });
            }
            let doc = format!("The probability of each class: {}.", target.classes.join(", "));
            Ok(Outputs::Classes {
                label: graph.output(LABEL, DataType::String, None, "The likeliest class."),
                probabilities: graph.output(PROBABILITIES, DataType::Float, Some(classes), &doc),
            })
        }
        Task::Regression => {
            let doc = format!("{}, in the unit of the training data.", target.name);
            Ok(Outputs::Number { prediction: graph.output(PREDICTION, DataType::Float, None, &doc) })
        }
    }
}

/// Adds the layers.
pub(super) fn add(
    graph: &mut Graph,
    features: Value,
    width: usize,
    network: &Network,
) -> Result<LayerOutput, ExportError> {
    let mut output = LayerOutput { value: features, width };
    for (index, layer) in network.layers.iter().enumerate() {
        output = dense(graph, &output, layer, &name(network, index))?;
    }
    Ok(output)
}

fn dense(
    graph: &mut Graph,
    input: &LayerOutput,
    layer: &Dense<f32>,
    name: &str,
) -> Result<LayerOutput, ExportError> {
    let [weights, bias] = parameters(graph, input.width, layer, name)?;
    let sum = graph.node("Gemm", &[&input.value, &weights, &bias], &[], &format!("{name}/sum"));
    Ok(LayerOutput { value: activation(graph, layer.activation, sum, name), width: layer.bias.len() })
}

/// Adds the weights and biases of a layer that gets so many values.
pub(super) fn parameters(
    graph: &mut Graph,
    width: usize,
    layer: &Dense<f32>,
    name: &str,
) -> Result<[Value; 2], ExportError> {
    let (inputs, units) = (layer.weights.rows(), layer.weights.columns());
    if inputs != width || layer.bias.len() != units {
        let biases = layer.bias.len();
        let detail = format!(
            "{name} takes {inputs} values and gets {width}, and has {biases} biases for {units} units"
        );
        return Err(ExportError::Inconsistent { detail });
    }
    let weights = graph.floats(&format!("{name}/weights"), &[inputs, units], layer.weights.values())?;
    let bias = graph.floats(&format!("{name}/bias"), &[units], &layer.bias)?;
    Ok([weights, bias])
}

/// Adds what a layer does with its sums.
pub(super) fn activation(graph: &mut Graph, activation: Activation, sum: Value, name: &str) -> Value {
    match activation {
        Activation::Relu => graph.node("Relu", &[&sum], &[], &format!("{name}/relu")),
        Activation::Tanh => graph.node("Tanh", &[&sum], &[], &format!("{name}/tanh")),
        Activation::Sigmoid => graph.node("Sigmoid", &[&sum], &[], &format!("{name}/sigmoid")),
        // With the error function, not with its approximation by a hyperbolic tangent.
        Activation::Gelu => {
            graph.node("Gelu", &[&sum], &[Attribute::Text("approximate", "none")], &format!("{name}/gelu"))
        }
        Activation::Linear => sum,
    }
}

/// A layer's name in a graph.
pub(super) fn name(network: &Network, index: usize) -> String {
    if index + 1 == network.layers.len() { "output".to_owned() } else { format!("layer{}", index + 1) }
}

/// Adds what makes outputs of the last layer.
pub(super) fn add_head(
    graph: &mut Graph,
    last: &LayerOutput,
    outputs: Outputs,
    target: &Target,
) -> Result<(), ExportError> {
    let wanted = match target.task {
        Task::Binary | Task::Regression => 1,
        Task::Multiclass => target.classes.len(),
    };
    if last.width != wanted {
        let detail = format!("the last layer gives {} values where the task needs {wanted}", last.width);
        return Err(ExportError::Inconsistent { detail });
    }
    match outputs {
        Outputs::Classes { label, probabilities } => {
            if target.task == Task::Binary {
                let second = graph.node("Sigmoid", &[&last.value], &[], "output/second");
                let one = graph.floats("output/one", &[1], &[1.0])?;
                let first = graph.node("Sub", &[&one, &second], &[], "output/first");
                graph.node_into("Concat", &[&first, &second], &[AXIS], &probabilities);
            } else {
                graph.node_into("Softmax", &[&last.value], &[AXIS], &probabilities);
            }
            let flat = Attribute::Int("keepdims", 0);
            let likeliest = graph.node("ArgMax", &[&probabilities], &[AXIS, flat], "output/likeliest");
            let classes = graph.texts("output/classes", &target.classes);
            graph.node_into("Gather", &[&classes, &likeliest], &[], &label);
        }
        Outputs::Number { prediction } => number(graph, &last.value, &prediction, target)?,
    }
    Ok(())
}

/// From what the network learned to the unit of the data.
fn number(
    graph: &mut Graph,
    standardised: &str,
    prediction: &str,
    target: &Target,
) -> Result<(), ExportError> {
    let spread = graph.floats("output/spread", &[1], &[target.spread])?;
    let scaled = graph.node("Mul", &[standardised, &spread], &[], "output/scaled");
    let center = graph.floats("output/center", &[1], &[target.center])?;
    let shifted = graph.node("Add", &[&scaled, &center], &[], "output/shifted");
    let axes = graph.integers("output/columns", &[1]);
    graph.node_into("Squeeze", &[&shifted, &axes], &[], prediction);
    Ok(())
}
