//! Writing the body of a successful inference.

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
    pub outputs: &'a [Tensor],
}

/// Writes the body of a response: absent keys are left out, `data` is flat.
///
/// Floats are the shortest text that reads back as the same value of the output's type. An output with a value that JSON
/// cannot carry (not finite, or bytes that are not text) is an error of the class
/// [`Internal`](crate::ErrorClass::Internal).
pub fn write_infer_response(response: &InferResponse<'_>) -> Result<Vec<u8>, Error> {
    response.outputs.iter().try_for_each(writable)?;
    let length: usize = response.outputs.iter().map(|output| length_hint(output.data()) + 128).sum();
    let mut out = Vec::with_capacity(length + 256);
    out.extend_from_slice(b"{\"model_name\":");
    write_string(&mut out, response.model_name);
    if let Some(version) = response.model_version {
        out.extend_from_slice(b",\"model_version\":");
        write_string(&mut out, version);
    }
    if let Some(id) = response.id {
        out.extend_from_slice(b",\"id\":");
        write_string(&mut out, id);
    }
    out.extend_from_slice(b",\"outputs\":[");
    for (index, output) in response.outputs.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_output(&mut out, output);
    }
    out.extend_from_slice(b"]}");
    Ok(out)
}

fn write_output(out: &mut Vec<u8>, output: &Tensor) {
    out.extend_from_slice(b"{\"name\":");
    write_string(out, output.name());
    out.extend_from_slice(b",\"shape\":[");
    for (index, &dimension) in output.shape().iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(itoa::Buffer::new().format(dimension).as_bytes());
    }
    out.extend_from_slice(b"],\"datatype\":\"");
    out.extend_from_slice(output.datatype().as_str().as_bytes());
    out.extend_from_slice(b"\",\"data\":");
    write_flat(out, output.data());
    out.push(b'}');
}

#[cfg(test)]
mod tests;
