//! A named tensor with typed data in row-major order.

use bytes::Bytes;
use half::{bf16, f16};

use crate::datatype::Datatype;
use crate::error::{Error, excerpt};

/// The elements of a tensor, row-major, one typed buffer per element type.
///
/// Equality is that of the elements, so a tensor with a NaN is not equal to itself.
#[derive(Debug, Clone, PartialEq)]
pub enum TensorData {
    /// Elements of [`Datatype::Bool`].
    Bool(Vec<bool>),
    /// Elements of [`Datatype::Uint8`].
    Uint8(Vec<u8>),
    /// Elements of [`Datatype::Uint16`].
    Uint16(Vec<u16>),
    /// Elements of [`Datatype::Uint32`].
    Uint32(Vec<u32>),
    /// Elements of [`Datatype::Uint64`].
    Uint64(Vec<u64>),
    /// Elements of [`Datatype::Int8`].
    Int8(Vec<i8>),
    /// Elements of [`Datatype::Int16`].
    Int16(Vec<i16>),
    /// Elements of [`Datatype::Int32`].
    Int32(Vec<i32>),
    /// Elements of [`Datatype::Int64`].
    Int64(Vec<i64>),
    /// Elements of [`Datatype::Fp16`].
    Fp16(Vec<f16>),
    /// Elements of [`Datatype::Bf16`].
    Bf16(Vec<bf16>),
    /// Elements of [`Datatype::Fp32`].
    Fp32(Vec<f32>),
    /// Elements of [`Datatype::Fp64`].
    Fp64(Vec<f64>),
    /// Elements of [`Datatype::Bytes`]; text arrives as UTF-8.
    Bytes(Vec<Bytes>),
}

/// Runs the same expression on the buffer of whichever variant `$data` is.
macro_rules! for_each_type {
    ($data:expr, $values:ident => $body:expr) => {
        match $data {
            $crate::tensor::TensorData::Bool($values) => $body,
            $crate::tensor::TensorData::Uint8($values) => $body,
            $crate::tensor::TensorData::Uint16($values) => $body,
            $crate::tensor::TensorData::Uint32($values) => $body,
            $crate::tensor::TensorData::Uint64($values) => $body,
            $crate::tensor::TensorData::Int8($values) => $body,
            $crate::tensor::TensorData::Int16($values) => $body,
            $crate::tensor::TensorData::Int32($values) => $body,
            $crate::tensor::TensorData::Int64($values) => $body,
            $crate::tensor::TensorData::Fp16($values) => $body,
            $crate::tensor::TensorData::Bf16($values) => $body,
            $crate::tensor::TensorData::Fp32($values) => $body,
            $crate::tensor::TensorData::Fp64($values) => $body,
            $crate::tensor::TensorData::Bytes($values) => $body,
        }
    };
}
pub(crate) use for_each_type;

impl TensorData {
    /// An empty buffer of the given type with room for `capacity` elements.
    pub fn with_capacity(datatype: Datatype, capacity: usize) -> Self {
        match datatype {
            Datatype::Bool => Self::Bool(Vec::with_capacity(capacity)),
            Datatype::Uint8 => Self::Uint8(Vec::with_capacity(capacity)),
            Datatype::Uint16 => Self::Uint16(Vec::with_capacity(capacity)),
            Datatype::Uint32 => Self::Uint32(Vec::with_capacity(capacity)),
            Datatype::Uint64 => Self::Uint64(Vec::with_capacity(capacity)),
            Datatype::Int8 => Self::Int8(Vec::with_capacity(capacity)),
            Datatype::Int16 => Self::Int16(Vec::with_capacity(capacity)),
            Datatype::Int32 => Self::Int32(Vec::with_capacity(capacity)),
            Datatype::Int64 => Self::Int64(Vec::with_capacity(capacity)),
            Datatype::Fp16 => Self::Fp16(Vec::with_capacity(capacity)),
            Datatype::Bf16 => Self::Bf16(Vec::with_capacity(capacity)),
            Datatype::Fp32 => Self::Fp32(Vec::with_capacity(capacity)),
            Datatype::Fp64 => Self::Fp64(Vec::with_capacity(capacity)),
            Datatype::Bytes => Self::Bytes(Vec::with_capacity(capacity)),
        }
    }

    /// The type of the elements.
    pub const fn datatype(&self) -> Datatype {
        match self {
            Self::Bool(_) => Datatype::Bool,
            Self::Uint8(_) => Datatype::Uint8,
            Self::Uint16(_) => Datatype::Uint16,
            Self::Uint32(_) => Datatype::Uint32,
            Self::Uint64(_) => Datatype::Uint64,
            Self::Int8(_) => Datatype::Int8,
            Self::Int16(_) => Datatype::Int16,
            Self::Int32(_) => Datatype::Int32,
            Self::Int64(_) => Datatype::Int64,
            Self::Fp16(_) => Datatype::Fp16,
            Self::Bf16(_) => Datatype::Bf16,
            Self::Fp32(_) => Datatype::Fp32,
            Self::Fp64(_) => Datatype::Fp64,
            Self::Bytes(_) => Datatype::Bytes,
        }
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        for_each_type!(self, values => values.len())
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A named tensor whose shape and number of elements agree.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    name: String,
    shape: Vec<i64>,
    data: TensorData,
}

impl Tensor {
    /// Builds a tensor after checking that no dimension is negative and that their product, computed without
    /// overflow, is the number of elements. An empty shape is a scalar with one element.
    pub fn new(name: impl Into<String>, shape: Vec<i64>, data: TensorData) -> Result<Self, Error> {
        let name = name.into();
        let expected = element_count(&name, &shape)?;
        if expected != data.len() {
            return Err(Error::LengthMismatch {
                tensor: excerpt(&name),
                shape,
                expected,
                actual: data.len(),
            });
        }
        Ok(Self { name, shape, data })
    }

    /// The name in the model's signature.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The dimensions, none negative; empty for a scalar.
    pub fn shape(&self) -> &[i64] {
        &self.shape
    }

    /// The elements in row-major order.
    pub const fn data(&self) -> &TensorData {
        &self.data
    }

    /// Takes the tensor apart into name, shape and elements without copying.
    pub fn into_parts(self) -> (String, Vec<i64>, TensorData) {
        (self.name, self.shape, self.data)
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether there are no elements, that is, whether a dimension is 0.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// The type of the elements.
    pub const fn datatype(&self) -> Datatype {
        self.data.datatype()
    }

    /// The size of the first dimension, which is the batch for models that have one; 1 for a scalar.
    pub fn rows(&self) -> usize {
        self.shape.first().map_or(1, |&dimension| usize::try_from(dimension).unwrap_or(0))
    }
}

/// The number of elements of a shape; `tensor` only names it in the error.
///
/// A shape with a zero has no elements whatever the other dimensions are, as in ONNX Runtime.
pub fn element_count(tensor: &str, shape: &[i64]) -> Result<usize, Error> {
    let overflow = || Error::ShapeOverflow { tensor: excerpt(tensor), shape: excerpt(&format!("{shape:?}")) };
    if shape.iter().any(|&dimension| dimension < 0) {
        return Err(Error::NegativeDimension {
            tensor: excerpt(tensor),
            shape: excerpt(&format!("{shape:?}")),
        });
    }
    if shape.contains(&0) {
        return Ok(0);
    }
    let count = shape
        .iter()
        .try_fold(1_i64, |product, &dimension| product.checked_mul(dimension))
        .ok_or_else(overflow)?;
    usize::try_from(count).map_err(|_| overflow())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shape_and_length_must_agree() {
        let tensor = Tensor::new("x", vec![2, 3], TensorData::Fp32(vec![0.0; 6])).unwrap();
        assert_eq!((tensor.rows(), tensor.len(), tensor.datatype()), (2, 6, Datatype::Fp32));
        let error = Tensor::new("x", vec![2, 3], TensorData::Fp32(vec![0.0; 5])).unwrap_err();
        assert_eq!(
            error,
            Error::LengthMismatch { tensor: "x".into(), shape: vec![2, 3], expected: 6, actual: 5 }
        );
    }

    #[test]
    fn scalars_and_empty_tensors_are_tensors() {
        assert_eq!(Tensor::new("x", vec![], TensorData::Int64(vec![1])).unwrap().rows(), 1);
        let empty = Tensor::new("x", vec![0, i64::MAX, i64::MAX], TensorData::Int64(vec![])).unwrap();
        assert!(empty.is_empty());
        assert_eq!(empty.rows(), 0);
    }

    #[test]
    fn negative_and_overflowing_shapes_are_refused() {
        let negative = Tensor::new("x", vec![-1, 0], TensorData::Bool(vec![])).unwrap_err();
        assert!(matches!(negative, Error::NegativeDimension { .. }), "{negative}");
        let huge = Tensor::new("x", vec![i64::MAX, 2], TensorData::Bool(vec![])).unwrap_err();
        assert!(matches!(huge, Error::ShapeOverflow { .. }), "{huge}");
    }

    #[test]
    fn buffers_are_made_of_the_type_asked_for() {
        for datatype in Datatype::ALL {
            let data = TensorData::with_capacity(datatype, 4);
            assert_eq!(data.datatype(), datatype);
            assert!(data.is_empty());
        }
    }
}
