//! From JSON to the elements of a tensor, and how far two elements are apart.

use bytes::Bytes;
use half::{bf16, f16};
use modelwright_protocol::{Datatype, TensorData};
use serde_json::Value;

/// The elements of nested lists, first to last.
pub(super) fn flatten(value: Value, into: &mut Vec<Value>) {
    match value {
        Value::Array(values) => values.into_iter().for_each(|value| flatten(value, into)),
        other => into.push(other),
    }
}

/// Elements of this type; the position of the first that is none. `null` is NaN where there is such a number.
#[expect(clippy::cast_possible_truncation, reason = "a sample is rounded to the type of its tensor")]
pub(super) fn data(datatype: Datatype, values: &[Value]) -> Result<TensorData, usize> {
    Ok(match datatype {
        Datatype::Bool => TensorData::Bool(all(values, Value::as_bool)?),
        Datatype::Uint8 => TensorData::Uint8(all(values, unsigned)?),
        Datatype::Uint16 => TensorData::Uint16(all(values, unsigned)?),
        Datatype::Uint32 => TensorData::Uint32(all(values, unsigned)?),
        Datatype::Uint64 => TensorData::Uint64(all(values, unsigned)?),
        Datatype::Int8 => TensorData::Int8(all(values, signed)?),
        Datatype::Int16 => TensorData::Int16(all(values, signed)?),
        Datatype::Int32 => TensorData::Int32(all(values, signed)?),
        Datatype::Int64 => TensorData::Int64(all(values, signed)?),
        Datatype::Fp16 => TensorData::Fp16(all(values, |value| float(value).map(f16::from_f64))?),
        Datatype::Bf16 => TensorData::Bf16(all(values, |value| float(value).map(bf16::from_f64))?),
        Datatype::Fp32 => TensorData::Fp32(all(values, |value| float(value).map(|number| number as f32))?),
        Datatype::Fp64 => TensorData::Fp64(all(values, float)?),
        Datatype::Bytes => TensorData::Bytes(all(values, |value| {
            value.as_str().map(|text| Bytes::copy_from_slice(text.as_bytes()))
        })?),
    })
}

fn all<T>(values: &[Value], read: impl Fn(&Value) -> Option<T>) -> Result<Vec<T>, usize> {
    values.iter().enumerate().map(|(position, value)| read(value).ok_or(position)).collect()
}

fn float(value: &Value) -> Option<f64> {
    if value.is_null() { Some(f64::NAN) } else { value.as_f64() }
}

fn unsigned<T: TryFrom<u64>>(value: &Value) -> Option<T> {
    T::try_from(value.as_u64()?).ok()
}

fn signed<T: TryFrom<i64>>(value: &Value) -> Option<T> {
    T::try_from(value.as_i64()?).ok()
}

/// One element, as something to compare and to show.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Element {
    Number(f64),
    Other(String),
}

impl Element {
    /// That at `position`, if there are so many.
    pub(super) fn at(data: &TensorData, position: usize) -> Option<Self> {
        macro_rules! number {
            ($values:expr) => {
                $values.get(position).map(|&value| Self::Number(f64::from(value)))
            };
        }
        match data {
            TensorData::Bool(values) => values.get(position).map(|value| Self::Other(value.to_string())),
            TensorData::Uint8(values) => number!(values),
            TensorData::Uint16(values) => number!(values),
            TensorData::Uint32(values) => number!(values),
            TensorData::Int8(values) => number!(values),
            TensorData::Int16(values) => number!(values),
            TensorData::Int32(values) => number!(values),
            TensorData::Fp16(values) => number!(values),
            TensorData::Bf16(values) => number!(values),
            TensorData::Fp32(values) => number!(values),
            TensorData::Fp64(values) => number!(values),
            // Exact as text; a double would round them.
            TensorData::Uint64(values) => values.get(position).map(|value| Self::Other(value.to_string())),
            TensorData::Int64(values) => values.get(position).map(|value| Self::Other(value.to_string())),
            TensorData::Bytes(values) => {
                values.get(position).map(|text| Self::Other(format!("{:?}", String::from_utf8_lossy(text))))
            }
        }
    }
}

/// Whether a type is compared with a tolerance.
pub(super) const fn is_rounded(datatype: Datatype) -> bool {
    matches!(datatype, Datatype::Fp16 | Datatype::Bf16 | Datatype::Fp32 | Datatype::Fp64)
}
