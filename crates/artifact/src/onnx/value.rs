//! One input or output of the model, while it is read.

use super::facts::onnx_name;
use super::{Dimension, ElementType, OnnxError, TensorFact};

/// What kind of value a type stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// No type is given.
    #[default]
    Untyped,
    Tensor,
    Sequence,
    Map,
    Opaque,
    SparseTensor,
    Optional,
}

/// A `ValueInfoProto`.
#[derive(Debug, Default)]
pub(super) struct Value {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// `TensorProto.DataType`.
    pub(super) element_type: i64,
    /// The dimensions; `None` if not even their number is known.
    pub(super) shape: Option<Vec<Dimension>>,
}

impl Value {
    /// The fact, or why no request can carry the value. `role` is `input` or `output`.
    pub(super) fn into_fact(self, role: &'static str) -> Result<TensorFact, OnnxError> {
        let (found, advice) = match self.kind {
            Kind::Tensor => match ElementType::from_onnx(self.element_type) {
                Some(datatype) => {
                    let unranked = self.shape.is_none();
                    let shape = self.shape.unwrap_or_default();
                    return Ok(TensorFact { name: self.name, datatype, shape, unranked });
                }
                None => (
                    format!("a tensor {}", onnx_name(self.element_type)),
                    "add a Cast to FLOAT or another type of the Open Inference Protocol to the graph",
                ),
            },
            Kind::Sequence | Kind::Map => (
                format!("a {}", if self.kind == Kind::Map { "map" } else { "sequence" }),
                "export the model with tensors only (skl2onnx: options={'zipmap': False})",
            ),
            Kind::Optional => ("optional".to_owned(), "export the model with required tensors only"),
            Kind::SparseTensor => ("a sparse tensor".to_owned(), "export the model with dense tensors only"),
            Kind::Opaque => ("of an opaque type".to_owned(), "export the model with tensors only"),
            Kind::Untyped => (
                "of no declared type".to_owned(),
                "run onnx.shape_inference.infer_shapes and save the model again",
            ),
        };
        Err(OnnxError::UnsupportedType { role, name: self.name, found, advice })
    }
}
