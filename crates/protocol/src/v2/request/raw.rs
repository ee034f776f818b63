//! A request without JSON: the body is the only input.
//!
//! Source: "Raw Binary Request" of Triton's binary tensor data extension. All outputs are answered as binary data.

use super::{InferRequest, outputs};
use crate::binary::decode;
use crate::datatype::Datatype;
use crate::error::Error;
use crate::limits::Limits;
use crate::parameters::Parameters;
use crate::path::Path;
use crate::signature::{Signature, TensorMetadata};
use crate::tensor::{Tensor, TensorData, element_count};

/// Reads a body that is the only input of the model.
pub(super) fn request(body: &[u8], signature: &Signature, limits: &Limits) -> Result<InferRequest, Error> {
    let [input] = signature.inputs.as_slice() else {
        return Err(refused(format!("the model takes {}", signature.input_names())));
    };
    let path = Path::Root;
    let (shape, data) = if input.datatype == Datatype::Bytes {
        // The body is one byte string, without a length before it.
        let shape: Vec<i64> = input.shape.iter().map(|&size| if size < 0 { 1 } else { size }).collect();
        if element_count(&input.name, &shape)? != 1 {
            return Err(refused(format!("{input} is more than one byte string")));
        }
        (shape, TensorData::Bytes(vec![bytes::Bytes::copy_from_slice(body)]))
    } else {
        if body.is_empty() {
            return Err(Error::EmptyBody);
        }
        let shape = infer_shape(input, body.len())?;
        input.accepts_shape(&shape)?;
        limits.check_shape(&shape, &path)?;
        let elements = element_count(&input.name, &shape)?;
        (shape, decode(input.datatype, body, elements, &path)?)
    };
    Ok(InferRequest {
        id: None,
        inputs: vec![Tensor::new(input.name.clone(), shape, data)?],
        outputs: outputs::resolve(Vec::new(), true, signature),
        timeout: None,
        parameters: Parameters::new(),
    })
}

/// The shape that so many bytes have: one dimension may be variable, or two of which the first is then taken for the batch
/// and is 1.
fn infer_shape(input: &TensorMetadata, bytes: usize) -> Result<Vec<i64>, Error> {
    let mut shape = input.shape.clone();
    if shape.iter().filter(|size| **size < 0).count() == 2 && shape[0] < 0 {
        shape[0] = 1;
    }
    let known: Vec<i64> = shape.iter().copied().filter(|size| *size >= 0).collect();
    let unit =
        element_count(&input.name, &known)?.checked_mul(input.datatype.size().unwrap_or(1)).unwrap_or(0);
    let mut variable = shape.iter_mut().filter(|size| **size < 0);
    let Some(open) = variable.next() else { return Ok(shape) };
    if variable.next().is_some() {
        return Err(refused(format!("the shape of {input} does not follow from its size")));
    }
    if unit == 0 || !bytes.is_multiple_of(unit) {
        return Err(refused(format!("{input} takes a multiple of {unit} bytes, and {bytes} came")));
    }
    *open = i64::try_from(bytes / unit).unwrap_or(i64::MAX);
    Ok(shape)
}

#[cold]
fn refused(reason: String) -> Error {
    Error::RawBody { reason }
}
