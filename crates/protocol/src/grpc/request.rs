//! From the message of a request to tensors.

use std::time::Duration;

use bytes::Bytes;

use super::inference::ModelInferRequest;
use super::inference::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use super::parameters::{self, Scope, Wanted};
use super::{contents, raw};
use crate::datatype::Datatype;
use crate::error::{Error, excerpt};
use crate::limits::Limits;
use crate::parameters::bounded;
use crate::path::Path;
use crate::signature::Signature;
use crate::tensor::{Tensor, TensorData, element_count};
use crate::v2::RequestedOutput;

/// An inference request that fits the model's signature.
#[derive(Debug, Clone, PartialEq)]
pub struct InferRequest {
    /// The client's name for the request, to be echoed; empty if it has none.
    pub id: String,
    /// One tensor for every input of the signature, in its order.
    pub inputs: Vec<Tensor>,
    /// The outputs to answer with, in the order in which they were asked for; all of them if none were named.
    pub outputs: Vec<RequestedOutput>,
    /// How long the client wants to wait, where it says so.
    pub timeout: Option<Duration>,
    /// Whether the elements came raw, and the client so expects them back.
    pub raw: bool,
}

/// Checks a request against the model's signature and the limits, and takes its elements. Every error has the class
/// [`BadRequest`](crate::ErrorClass::BadRequest).
pub fn read_infer_request(
    request: ModelInferRequest,
    signature: &Signature,
    limits: &Limits,
) -> Result<InferRequest, Error> {
    let root = Path::Root;
    bounded(&request.id, limits, &root.key("id"))?;
    let Wanted { timeout, .. } =
        parameters::read(&request.parameters, Scope::Request, &root.key("parameters"), limits)?;
    let raw = !request.raw_input_contents.is_empty();
    let inputs = read_inputs(request.inputs, &request.raw_input_contents, signature, limits)?;
    let outputs = read_outputs(&request.outputs, signature, limits)?;
    Ok(InferRequest { id: request.id, inputs, outputs, timeout, raw })
}

fn read_inputs(
    inputs: Vec<InferInputTensor>,
    raw: &[Bytes],
    signature: &Signature,
    limits: &Limits,
) -> Result<Vec<Tensor>, Error> {
    let path = Path::Root.key("inputs");
    at_most(inputs.len(), limits.max_inputs, "inputs", &path)?;
    // First, because an input in shared memory has no raw contents either.
    for (position, input) in inputs.iter().enumerate() {
        let here = path.index(position);
        parameters::read(&input.parameters, Scope::Input, &here.key("parameters"), limits)?;
    }
    if !raw.is_empty() && raw.len() != inputs.len() {
        return Err(Error::InvalidValue {
            path: "raw_input_contents".to_owned(),
            got: format!("{} entries", raw.len()),
            wanted: format!("{}, one for each of the inputs", inputs.len()),
        });
    }
    let mut tensors = vec![None; signature.inputs.len()];
    for (position, input) in inputs.into_iter().enumerate() {
        let raw = raw.get(position).map(|raw| (raw, position));
        let (index, tensor) = read_input(input, raw, signature, limits, &path.index(position))?;
        if tensors[index].is_some() {
            return Err(Error::DuplicateInput { name: excerpt(tensor.name()) });
        }
        tensors[index] = Some(tensor);
    }
    let missing = |index: usize| Error::MissingInput {
        name: excerpt(&signature.inputs[index].name),
        known: signature.input_names(),
    };
    tensors.into_iter().enumerate().map(|(index, tensor)| tensor.ok_or_else(|| missing(index))).collect()
}

/// Reads one input, with its entry in the raw contents where there are any, and says which one of the signature it is.
fn read_input(
    input: InferInputTensor,
    raw: Option<(&Bytes, usize)>,
    signature: &Signature,
    limits: &Limits,
    path: &Path<'_>,
) -> Result<(usize, Tensor), Error> {
    let index = signature.input_index(&input.name)?;
    let wanted = &signature.inputs[index];
    let datatype: Datatype = input.datatype.parse()?;
    if datatype != wanted.datatype {
        let (tensor, wanted) = (excerpt(&input.name), wanted.datatype);
        return Err(Error::DatatypeMismatch { tensor, got: datatype, wanted });
    }
    let elements = element_count(&input.name, &input.shape)?;
    wanted.accepts_shape(&input.shape)?;
    limits.check_shape(&input.shape, &path.key("shape"))?;
    let data = match (raw, input.contents) {
        (Some(_), Some(_)) => {
            return Err(Error::InvalidValue {
                path: path.key("contents").to_string(),
                got: "contents beside raw_input_contents".to_owned(),
                wanted: "one of the two for all inputs".to_owned(),
            });
        }
        (Some((raw, position)), None) => {
            raw::read(datatype, raw, elements, &Path::Root.key("raw_input_contents").index(position))?
        }
        (None, Some(contents)) => contents::read(datatype, contents, &path.key("contents"))?,
        (None, None) if elements == 0 => TensorData::with_capacity(datatype, 0),
        (None, None) => return Err(Error::MissingKey { path: path.to_string(), key: "contents" }),
    };
    Ok((index, Tensor::new(input.name, input.shape, data)?))
}

fn read_outputs(
    outputs: &[InferRequestedOutputTensor],
    signature: &Signature,
    limits: &Limits,
) -> Result<Vec<RequestedOutput>, Error> {
    if outputs.is_empty() {
        return Ok((0..signature.outputs.len()).map(|index| requested(index, None)).collect());
    }
    let path = Path::Root.key("outputs");
    at_most(outputs.len(), limits.max_outputs, "outputs", &path)?;
    // A flag per output keeps the search for duplicates linear.
    let mut asked = vec![false; signature.outputs.len()];
    let mut positions = Vec::with_capacity(outputs.len());
    for (position, output) in outputs.iter().enumerate() {
        let here = path.index(position);
        let Wanted { classification, .. } =
            parameters::read(&output.parameters, Scope::Output, &here.key("parameters"), limits)?;
        let index = signature.output_index(&output.name)?;
        if std::mem::replace(&mut asked[index], true) {
            return Err(Error::DuplicateOutput { name: excerpt(&output.name) });
        }
        positions.push(requested(index, classification));
    }
    Ok(positions)
}

/// Whether its elements are written raw is decided for the answer as a whole.
const fn requested(index: usize, classification: Option<u32>) -> RequestedOutput {
    RequestedOutput { index, binary: false, classification }
}

/// Refuses more than `limit` things.
pub(super) fn at_most(count: usize, limit: usize, what: &'static str, path: &Path<'_>) -> Result<(), Error> {
    if count <= limit {
        return Ok(());
    }
    Err(Error::LimitExceeded { path: path.to_string(), what, limit })
}

#[cfg(test)]
mod tests;
