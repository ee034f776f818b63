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
        let last = index + 1 == network.layers.len();
        let name = if last { "output".to_owned() } else { format!("layer{}", index + 1) };
        output = dense(graph, &output, layer, &name)?;
    }
    Ok(output)
}

fn dense(
    graph: &mut Graph,
    input: &LayerOutput,
    layer: &Dense<f32>,
    name: &str,
) -> Result<LayerOutput, ExportError> {
    let (inputs, units) = (layer.weights.rows(), layer.weights.columns());
    if inputs != input.width || layer.bias.len() != units {
        let (given, biases) = (input.width, layer.bias.len());
        let detail = format!(
            "{name} takes {inputs} values and gets {given}, and has {biases} biases for {units} units"
        );
        return Err(ExportError::Inconsistent { detail });
    }
    let weights = graph.floats(&format!("{name}/weights"), &[inputs, units], layer.weights.values())?;
    let bias = graph.floats(&format!("{name}/bias"), &[units], &layer.bias)?;
    let sum = graph.node("Gemm", &[&input.value, &weights, &bias], &[], &format!("{name}/sum"));
    let value = match layer.activation {
        Activation::Relu => graph.node("Relu", &[&sum], &[], &format!("{name}/relu")),
        Activation::Tanh => graph.node("Tanh", &[&sum], &[], &format!("{name}/tanh")),
        Activation::Sigmoid => graph.node("Sigmoid", &[&sum], &[], &format!("{name}/sigmoid")),
        // With the error function, not with its approximation by a hyperbolic tangent.
        Activation::Gelu => {
            graph.node("Gelu", &[&sum], &[Attribute::Text("approximate", "none")], &format!("{name}/gelu"))
        }
        Activation::Linear => sum,
    };
    Ok(LayerOutput { value, width: units })
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
