//! Writing the body of a successful inference.

use crate::binary::{append, check_lengths, size};
use crate::error::Error;
use crate::tensor::Tensor;
use crate::write::{length_hint, writable, write_flat, write_string};

/// What an inference answers with.
#[derive(Debug, Clone, Copy)]
pub struct InferResponse<'a> {
    /// The model that answered.
    pub model_name: &'a str,
    /// Its version, where it has one.
    pub model_version: Option<&'a str>,
    /// The client's name for the request.
    pub id: Option<&'a str>,
    /// The outputs, in the order in which they were asked for.
    pub outputs: &'a [OutputTensor],
}

/// An output and its form.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputTensor {
    /// The output.
    pub tensor: Tensor,
    /// Whether its elements go behind the JSON as binary data.
    pub binary: bool,
}

/// The body of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedResponse {
    /// JSON, and the binary tensors behind it.
    pub bytes: Vec<u8>,
    /// The length of the JSON if binary tensors follow it, for the header `Inference-Header-Content-Length`; the content
    /// type is then `application/octet-stream`. `None` if everything is JSON.
    pub json_length: Option<usize>,
}

/// Writes the body of a response: absent keys are left out, `data` is flat.
///
/// Floats are the shortest text that reads back as the same value of the output's type. An output in JSON with a value that
/// it cannot carry (not finite, or bytes that are not text) is an error of the class
/// [`Internal`](crate::ErrorClass::Internal).
pub fn write_infer_response(response: &InferResponse<'_>) -> Result<EncodedResponse, Error> {
    let mut length = 256;
    for OutputTensor { tensor, binary } in response.outputs {
        length += 128 + tensor.name().len();
        if *binary {
            check_lengths(tensor)?;
            length += size(tensor.data());
        } else {
            writable(tensor)?;
            length += length_hint(tensor.data());
        }
    }
    let mut out = Vec::with_capacity(length);
    write_json(&mut out, response);
    let mut binary = response.outputs.iter().filter(|output| output.binary).peekable();
    let json_length = binary.peek().is_some().then_some(out.len());
    binary.for_each(|output| append(output.tensor.data(), &mut out));
    Ok(EncodedResponse { bytes: out, json_length })
}

fn write_json(out: &mut Vec<u8>, response: &InferResponse<'_>) {
    out.extend_from_slice(b"{\"model_name\":");
    write_string(out, response.model_name);
    if let Some(version) = response.model_version {
        out.extend_from_slice(b",\"model_version\":");
        write_string(out, version);
    }
    if let Some(id) = response.id {
        out.extend_from_slice(b",\"id\":");
        write_string(out, id);
    }
    out.extend_from_slice(b",\"outputs\":[");
    for (index, output) in response.outputs.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_output(out, output);
    }
    out.extend_from_slice(b"]}");
}

fn write_output(out: &mut Vec<u8>, output: &OutputTensor) {
    let tensor = &output.tensor;
    out.extend_from_slice(b"{\"name\":");
    write_string(out, tensor.name());
    out.extend_from_slice(b",\"shape\":[");
    for (index, &dimension) in tensor.shape().iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(itoa::Buffer::new().format(dimension).as_bytes());
    }
    out.extend_from_slice(b"],\"datatype\":\"");
    out.extend_from_slice(tensor.datatype().as_str().as_bytes());
    if output.binary {
        out.extend_from_slice(b"\",\"parameters\":{\"binary_data_size\":");
        out.extend_from_slice(itoa::Buffer::new().format(size(tensor.data())).as_bytes());
        out.push(b'}');
    } else {
        out.extend_from_slice(b"\",\"data\":");
        write_flat(out, tensor.data());
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests;
