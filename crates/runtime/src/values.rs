//! The protocol's tensors as ONNX Runtime's values, and back.

use bytes::Bytes;
use modelwright_protocol::{Datatype, Signature, Tensor, TensorData, TensorMetadata};
use ort::session::SessionInputValue;
use ort::value::{DynValue, Outlet, PrimitiveTensorElementType, TensorElementType, TensorRef, ValueType};

use crate::error::Error;

/// The datatype of the protocol for an element type of ONNX, if it has one.
const fn datatype(element: TensorElementType) -> Option<Datatype> {
    Some(match element {
        TensorElementType::Bool => Datatype::Bool,
        TensorElementType::Uint8 => Datatype::Uint8,
        TensorElementType::Uint16 => Datatype::Uint16,
        TensorElementType::Uint32 => Datatype::Uint32,
        TensorElementType::Uint64 => Datatype::Uint64,
        TensorElementType::Int8 => Datatype::Int8,
        TensorElementType::Int16 => Datatype::Int16,
        TensorElementType::Int32 => Datatype::Int32,
        TensorElementType::Int64 => Datatype::Int64,
        TensorElementType::Float16 => Datatype::Fp16,
        TensorElementType::Bfloat16 => Datatype::Bf16,
        TensorElementType::Float32 => Datatype::Fp32,
        TensorElementType::Float64 => Datatype::Fp64,
        TensorElementType::String => Datatype::Bytes,
        _ => return None,
    })
}

/// An input or output whose type the protocol does not have.
pub(crate) struct Unsupported {
    pub(crate) role: &'static str,
    pub(crate) tensor: String,
    pub(crate) datatype: String,
}

/// The signature that a session's inputs and outputs make; variable dimensions become -1.
pub(crate) fn signature(inputs: &[Outlet], outputs: &[Outlet]) -> Result<Signature, Unsupported> {
    let all = |role, outlets: &[Outlet]| {
        outlets.iter().map(|outlet| metadata(role, outlet)).collect::<Result<Vec<_>, _>>()
    };
    Ok(Signature { inputs: all("input", inputs)?, outputs: all("output", outputs)? })
}

fn metadata(role: &'static str, outlet: &Outlet) -> Result<TensorMetadata, Unsupported> {
    let known = match outlet.dtype() {
        ValueType::Tensor { ty, shape, .. } => datatype(*ty).map(|datatype| (datatype, shape)),
        _ => None,
    };
    let Some((datatype, shape)) = known else {
        let (tensor, datatype) = (outlet.name().to_owned(), outlet.dtype().to_string());
        return Err(Unsupported { role, tensor, datatype });
    };
    let shape = shape.iter().map(|&dimension| dimension.max(-1)).collect();
    Ok(TensorMetadata { name: outlet.name().to_owned(), datatype, shape })
}

/// A view of the tensor for ONNX Runtime, without a copy except for strings.
pub(crate) fn view(tensor: &Tensor) -> Result<SessionInputValue<'_>, Error> {
    let value = match tensor.data() {
        TensorData::Bool(values) => borrow(tensor, values),
        TensorData::Uint8(values) => borrow(tensor, values),
        TensorData::Uint16(values) => borrow(tensor, values),
        TensorData::Uint32(values) => borrow(tensor, values),
        TensorData::Uint64(values) => borrow(tensor, values),
        TensorData::Int8(values) => borrow(tensor, values),
        TensorData::Int16(values) => borrow(tensor, values),
        TensorData::Int32(values) => borrow(tensor, values),
        TensorData::Int64(values) => borrow(tensor, values),
        TensorData::Fp16(values) => borrow(tensor, values),
        TensorData::Bf16(values) => borrow(tensor, values),
        TensorData::Fp32(values) => borrow(tensor, values),
        TensorData::Fp64(values) => borrow(tensor, values),
        TensorData::Bytes(values) => return strings(tensor, values),
    };
    value.map_err(|error| invalid(tensor, error.message()))
}

fn borrow<'t, T>(tensor: &'t Tensor, values: &'t [T]) -> ort::Result<SessionInputValue<'t>>
where
    T: PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static,
{
    TensorRef::from_array_view((tensor.shape().to_vec(), values)).map(SessionInputValue::from)
}

/// ONNX strings are C strings in ONNX Runtime's interface: text without NUL.
fn strings(tensor: &Tensor, values: &[Bytes]) -> Result<SessionInputValue<'static>, Error> {
    let mut texts = Vec::with_capacity(values.len());
    for (index, value) in values.iter().enumerate() {
        match std::str::from_utf8(value) {
            Ok(text) if !text.contains('\0') => texts.push(text.to_owned()),
            Ok(_) => return Err(invalid(tensor, &format!("element {index} contains a NUL character"))),
            Err(_) => return Err(invalid(tensor, &format!("element {index} is not UTF-8 text"))),
        }
    }
    ort::value::Tensor::from_string_array((tensor.shape().to_vec(), texts.as_slice()))
        .map(SessionInputValue::from)
        .map_err(|error| invalid(tensor, error.message()))
}

fn invalid(tensor: &Tensor, detail: &str) -> Error {
    Error::InvalidInput { detail: format!("input \"{}\": {detail}", tensor.name()) }
}

/// Copies an output out of ONNX Runtime's memory.
pub(crate) fn copy(name: &str, value: &DynValue) -> Result<Tensor, Error> {
    let failed = |detail: String| Error::RunFailed { detail: format!("output \"{name}\": {detail}") };
    let ValueType::Tensor { ty, shape, .. } = value.dtype() else {
        return Err(failed(format!("it is a {}, no tensor", value.dtype())));
    };
    let data = elements(*ty, value).map_err(|error| failed(error.message().to_owned()))?;
    let data = data.ok_or_else(|| failed(format!("the type {ty} cannot be carried")))?;
    Tensor::new(name, shape.to_vec(), data).map_err(|error| failed(error.to_string()))
}

fn elements(element: TensorElementType, value: &DynValue) -> ort::Result<Option<TensorData>> {
    let Some(datatype) = datatype(element) else { return Ok(None) };
    let data = match datatype {
        Datatype::Bool => TensorData::Bool(owned(value)?),
        Datatype::Uint8 => TensorData::Uint8(owned(value)?),
        Datatype::Uint16 => TensorData::Uint16(owned(value)?),
        Datatype::Uint32 => TensorData::Uint32(owned(value)?),
        Datatype::Uint64 => TensorData::Uint64(owned(value)?),
        Datatype::Int8 => TensorData::Int8(owned(value)?),
        Datatype::Int16 => TensorData::Int16(owned(value)?),
        Datatype::Int32 => TensorData::Int32(owned(value)?),
        Datatype::Int64 => TensorData::Int64(owned(value)?),
        Datatype::Fp16 => TensorData::Fp16(owned(value)?),
        Datatype::Bf16 => TensorData::Bf16(owned(value)?),
        Datatype::Fp32 => TensorData::Fp32(owned(value)?),
        Datatype::Fp64 => TensorData::Fp64(owned(value)?),
        Datatype::Bytes => {
            let (_, texts) = value.try_extract_strings()?;
            TensorData::Bytes(texts.into_iter().map(Bytes::from).collect())
        }
    };
    Ok(Some(data))
}

fn owned<T: PrimitiveTensorElementType + Clone>(value: &DynValue) -> ort::Result<Vec<T>> {
    value.try_extract_tensor::<T>().map(|(_, elements)| elements.to_vec())
}

/// The memory of a tensor's elements in bytes.
pub(crate) fn size(tensor: &Tensor) -> usize {
    match tensor.data() {
        TensorData::Bytes(texts) => texts.iter().map(|text| text.len() + size_of::<Bytes>()).sum(),
        other => other.len() * other.datatype().size().unwrap_or(1),
    }
}
