//! The protocol's tensors as ONNX Runtime's values, and back.

use std::ops::Range;

use bytes::Bytes;
use modelwright_protocol::{Datatype, Signature, Tensor, TensorData, TensorMetadata};
use ort::session::SessionInputValue;
use ort::value::{DynValue, Outlet, PrimitiveTensorElementType, TensorElementType, TensorRef, ValueType};

use crate::batch;
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
    view_part(tensor, tensor.shape().to_vec(), 0..tensor.len())
}

/// A view of some of the tensor's rows, as [`view`]. The tensor has that many.
pub(crate) fn view_rows<'t>(tensor: &'t Tensor, rows: &Range<usize>) -> Result<SessionInputValue<'t>, Error> {
    let mut shape = tensor.shape().to_vec();
    if let Some(first) = shape.first_mut() {
        *first = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    }
    view_part(tensor, shape, batch::elements(tensor, rows))
}

fn view_part(tensor: &Tensor, shape: Vec<i64>, part: Range<usize>) -> Result<SessionInputValue<'_>, Error> {
    let value = match tensor.data() {
        TensorData::Bool(values) => borrow(shape, &values[part]),
        TensorData::Uint8(values) => borrow(shape, &values[part]),
        TensorData::Uint16(values) => borrow(shape, &values[part]),
        TensorData::Uint32(values) => borrow(shape, &values[part]),
        TensorData::Uint64(values) => borrow(shape, &values[part]),
        TensorData::Int8(values) => borrow(shape, &values[part]),
        TensorData::Int16(values) => borrow(shape, &values[part]),
        TensorData::Int32(values) => borrow(shape, &values[part]),
        TensorData::Int64(values) => borrow(shape, &values[part]),
        TensorData::Fp16(values) => borrow(shape, &values[part]),
        TensorData::Bf16(values) => borrow(shape, &values[part]),
        TensorData::Fp32(values) => borrow(shape, &values[part]),
        TensorData::Fp64(values) => borrow(shape, &values[part]),
        TensorData::Bytes(values) => return strings(tensor.name(), shape, &values[part]),
    };
    value.map_err(|error| invalid(tensor.name(), error.message()))
}

fn borrow<T>(shape: Vec<i64>, values: &[T]) -> ort::Result<SessionInputValue<'_>>
where
    T: PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static,
{
    TensorRef::from_array_view((shape, values)).map(SessionInputValue::from)
}

/// ONNX strings are C strings in ONNX Runtime's interface: text without NUL.
fn strings(name: &str, shape: Vec<i64>, values: &[Bytes]) -> Result<SessionInputValue<'static>, Error> {
    let mut texts = Vec::with_capacity(values.len());
    for (index, value) in values.iter().enumerate() {
        match std::str::from_utf8(value) {
            Ok(text) if !text.contains('\0') => texts.push(text.to_owned()),
            Ok(_) => return Err(invalid(name, &format!("element {index} contains a NUL character"))),
            Err(_) => return Err(invalid(name, &format!("element {index} is not UTF-8 text"))),
        }
    }
    ort::value::Tensor::from_string_array((shape, texts.as_slice()))
        .map(SessionInputValue::from)
        .map_err(|error| invalid(name, error.message()))
}

fn invalid(name: &str, detail: &str) -> Error {
    Error::InvalidInput { detail: format!("input \"{name}\": {detail}") }
}

/// Copies an output out of ONNX Runtime's memory.
pub(crate) fn copy(name: &str, value: &DynValue) -> Result<Tensor, Error> {
    let (element, shape) = tensor_type(name, value)?;
    let mut copies = elements(name, element, value, std::iter::once(0..usize::MAX))?;
    let data = copies.pop().ok_or_else(|| failed(name, "it is empty"))?;
    Tensor::new(name, shape.to_vec(), data).map_err(|error| failed(name, &error.to_string()))
}

/// Copies an output out of ONNX Runtime's memory in parts of so many rows, which must be all that there are.
pub(crate) fn copy_parts(name: &str, value: &DynValue, parts: &[usize]) -> Result<Vec<Tensor>, Error> {
    let (element, shape) = tensor_type(name, value)?;
    let rows: usize = parts.iter().sum();
    if shape.first().is_none_or(|&first| usize::try_from(first) != Ok(rows)) {
        let detail = format!("its shape is {shape:?} where {rows} rows went in");
        return Err(failed(name, &detail));
    }
    let per_row: usize = shape[1..].iter().map(|&size| usize::try_from(size).unwrap_or(0)).product();
    let ranges = parts.iter().scan(0, |start, rows| {
        let range = *start..*start + rows * per_row;
        *start = range.end;
        Some(range)
    });
    let copies = elements(name, element, value, ranges)?;
    let tensor = |(data, rows): (TensorData, &usize)| {
        let mut shape = shape.to_vec();
        shape[0] = i64::try_from(*rows).unwrap_or(i64::MAX);
        Tensor::new(name, shape, data).map_err(|error| failed(name, &error.to_string()))
    };
    copies.into_iter().zip(parts).map(tensor).collect()
}

fn failed(name: &str, detail: &str) -> Error {
    Error::RunFailed { detail: format!("output \"{name}\": {detail}") }
}

fn tensor_type<'v>(name: &str, value: &'v DynValue) -> Result<(TensorElementType, &'v [i64]), Error> {
    match value.dtype() {
        ValueType::Tensor { ty, shape, .. } => Ok((*ty, shape)),
        other => Err(failed(name, &format!("it is a {other}, no tensor"))),
    }
}

/// Copies ranges of an output's elements; a range that ends behind the last one ends with it.
fn elements(
    name: &str,
    element: TensorElementType,
    value: &DynValue,
    ranges: impl Iterator<Item = Range<usize>>,
) -> Result<Vec<TensorData>, Error> {
    let Some(datatype) = datatype(element) else {
        return Err(failed(name, &format!("the type {element} cannot be carried")));
    };
    let copies = match datatype {
        Datatype::Bool => owned(value, ranges, TensorData::Bool),
        Datatype::Uint8 => owned(value, ranges, TensorData::Uint8),
        Datatype::Uint16 => owned(value, ranges, TensorData::Uint16),
        Datatype::Uint32 => owned(value, ranges, TensorData::Uint32),
        Datatype::Uint64 => owned(value, ranges, TensorData::Uint64),
        Datatype::Int8 => owned(value, ranges, TensorData::Int8),
        Datatype::Int16 => owned(value, ranges, TensorData::Int16),
        Datatype::Int32 => owned(value, ranges, TensorData::Int32),
        Datatype::Int64 => owned(value, ranges, TensorData::Int64),
        Datatype::Fp16 => owned(value, ranges, TensorData::Fp16),
        Datatype::Bf16 => owned(value, ranges, TensorData::Bf16),
        Datatype::Fp32 => owned(value, ranges, TensorData::Fp32),
        Datatype::Fp64 => owned(value, ranges, TensorData::Fp64),
        Datatype::Bytes => value.try_extract_strings().map(|(_, texts)| {
            let texts: Vec<Bytes> = texts.into_iter().map(Bytes::from).collect();
            ranges.map(|range| TensorData::Bytes(part(&texts, range).to_vec())).collect()
        }),
    };
    copies.map_err(|error| failed(name, error.message()))
}

fn owned<T: PrimitiveTensorElementType + Clone>(
    value: &DynValue,
    ranges: impl Iterator<Item = Range<usize>>,
    wrap: fn(Vec<T>) -> TensorData,
) -> ort::Result<Vec<TensorData>> {
    let (_, elements) = value.try_extract_tensor::<T>()?;
    Ok(ranges.map(|range| wrap(part(elements, range).to_vec())).collect())
}

fn part<T>(elements: &[T], range: Range<usize>) -> &[T] {
    let end = range.end.min(elements.len());
    &elements[range.start.min(end)..end]
}

/// The memory of a tensor's elements in bytes.
pub(crate) fn size(tensor: &Tensor) -> usize {
    match tensor.data() {
        TensorData::Bytes(texts) => texts.iter().map(|text| text.len() + size_of::<Bytes>()).sum(),
        other => other.len() * other.datatype().size().unwrap_or(1),
    }
}
