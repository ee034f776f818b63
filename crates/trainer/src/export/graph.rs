//! Builds a graph node by node.

use std::collections::BTreeSet;

use super::error::ExportError;
use super::onnx_proto::attribute_proto::AttributeType;
use super::onnx_proto::tensor_proto::DataType;
use super::onnx_proto::tensor_shape_proto::Dimension;
use super::onnx_proto::tensor_shape_proto::dimension::Value as Size;
use super::onnx_proto::type_proto::{Tensor, Value as Kind};
use super::onnx_proto::{
    AttributeProto, GraphProto, NodeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
};

/// The name of the dimension of rows.
const ROWS: &str = "N";
/// The name of the dimension of points on a path.
const POINTS: &str = "S";

/// The name of a tensor in the graph.
pub(super) type Value = String;

/// A graph in the making. Nodes are added in the order in which they compute.
#[derive(Debug, Default)]
pub(super) struct Graph {
    proto: GraphProto,
    taken: BTreeSet<String>,
}

/// An additional argument of an operator.
#[derive(Clone, Copy, Debug)]
pub(super) enum Attribute {
    Int(&'static str, i64),
    Text(&'static str, &'static str),
}

impl Graph {
    /// Declares an output of exactly this name. Its first dimension is that of rows; `columns` is the second, if it has one.
    pub(super) fn output(&mut self, name: &str, kind: DataType, columns: Option<usize>, doc: &str) -> Value {
        self.taken.insert(name.to_owned());
        self.proto.output.push(value_info(name, kind, rows(columns), doc));
        name.to_owned()
    }

    /// Declares an input `[N, columns]` of exactly this name, which must be the name of nothing else. Inputs are declared
    /// before nodes are added, so that a node never takes away the name of one.
    pub(super) fn input(
        &mut self,
        name: &str,
        kind: DataType,
        columns: usize,
        doc: &str,
    ) -> Result<(), ExportError> {
        let unusable = |problem| ExportError::UnusableName { column: name.to_owned(), problem };
        if name.is_empty() {
            return Err(unusable("is empty"));
        }
        if name.contains('\0') {
            return Err(unusable("contains a NUL character"));
        }
        if self.proto.output.iter().any(|output| output.name() == name) {
            return Err(ExportError::ReservedName { column: name.to_owned() });
        }
        if !self.taken.insert(name.to_owned()) {
            return Err(unusable("is that of another column, too"));
        }
        self.proto.input.push(value_info(name, kind, rows(Some(columns)), doc));
        Ok(())
    }

    /// Declares an input `[1, columns]` of numbers that is not of rows; as many columns as a request likes if `columns` is
    /// absent. The first dimension is fixed, which tells servers that requests cannot be put below each other. The name must
    /// not be taken.
    pub(super) fn argument(&mut self, name: &str, columns: Option<usize>, doc: &str) -> Value {
        self.taken.insert(name.to_owned());
        let columns = columns.map_or_else(|| Size::DimParam(POINTS.to_owned()), size);
        self.proto.input.push(value_info(name, DataType::Float, vec![size(1), columns], doc));
        name.to_owned()
    }

    /// Adds a node whose output has this name, or one like it if the name is taken.
    pub(super) fn node(
        &mut self,
        operator: &str,
        inputs: &[&str],
        attributes: &[Attribute],
        wanted: &str,
    ) -> Value {
        let name = self.free(wanted);
        self.node_into(operator, inputs, attributes, &name);
        name
    }

    /// Adds the node that computes a declared output.
    pub(super) fn node_into(
        &mut self,
        operator: &str,
        inputs: &[&str],
        attributes: &[Attribute],
        output: &str,
    ) {
        self.proto.node.push(NodeProto {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![output.to_owned()],
            name: Some(output.to_owned()),
            op_type: Some(operator.to_owned()),
            attribute: attributes.iter().map(|attribute| attribute.to_proto()).collect(),
        });
    }

    /// Adds constant numbers; there are as many as `shape` says.
    pub(super) fn floats(
        &mut self,
        wanted: &str,
        shape: &[usize],
        values: &[f32],
    ) -> Result<Value, ExportError> {
        if let Some(value) = values.iter().find(|value| !value.is_finite()) {
            return Err(ExportError::NotFinite { constant: wanted.to_owned(), value: value.to_string() });
        }
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Ok(self.constant(wanted, shape, DataType::Float, Some(bytes), Vec::new()))
    }

    /// Adds constant whole numbers, `[values]`.
    pub(super) fn integers(&mut self, wanted: &str, values: &[i64]) -> Value {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(wanted, &[values.len()], DataType::Int64, Some(bytes), Vec::new())
    }

    /// Adds constant texts, `[values]`.
    pub(super) fn texts(&mut self, wanted: &str, values: &[String]) -> Value {
        let texts = values.iter().map(|value| value.as_bytes().to_vec()).collect();
        self.constant(wanted, &[values.len()], DataType::String, None, texts)
    }

    fn constant(
        &mut self,
        wanted: &str,
        shape: &[usize],
        kind: DataType,
        raw_data: Option<Vec<u8>>,
        string_data: Vec<Vec<u8>>,
    ) -> Value {
        let name = self.free(wanted);
        self.proto.initializer.push(TensorProto {
            dims: shape.iter().map(|&size| dimension(size)).collect(),
            data_type: Some(kind.into()),
            string_data,
            name: Some(name.clone()),
            raw_data,
        });
        name
    }

    /// A name that is not taken: this one, or this one with a number. A column may be named as another's inner tensor.
    fn free(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        let mut number = 2;
        while self.taken.contains(&name) {
            name = format!("{wanted}#{number}");
            number += 1;
        }
        self.taken.insert(name.clone());
        name
    }

    /// The graph, with its name and description.
    pub(super) fn finish(self, name: &str, doc: &str) -> GraphProto {
        GraphProto { name: Some(name.to_owned()), doc_string: Some(doc.to_owned()), ..self.proto }
    }
}

impl Attribute {
    fn to_proto(self) -> AttributeProto {
        let (name, kind, i, s) = match self {
            Self::Int(name, value) => (name, AttributeType::Int, Some(value), None),
            Self::Text(name, value) => (name, AttributeType::String, None, Some(value.as_bytes().to_vec())),
        };
        AttributeProto { name: Some(name.to_owned()), r#type: Some(kind.into()), i, s }
    }
}

fn value_info(name: &str, kind: DataType, sizes: Vec<Size>, doc: &str) -> ValueInfoProto {
    let shape =
        TensorShapeProto { dim: sizes.into_iter().map(|size| Dimension { value: Some(size) }).collect() };
    let tensor = Tensor { elem_type: Some(kind.into()), shape: Some(shape) };
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto { value: Some(Kind::TensorType(tensor)) }),
        doc_string: Some(doc.to_owned()),
    }
}

/// The sizes of rows, of one number or of so many columns.
fn rows(columns: Option<usize>) -> Vec<Size> {
    std::iter::once(Size::DimParam(ROWS.to_owned())).chain(columns.map(size)).collect()
}

fn size(size: usize) -> Size {
    Size::DimValue(dimension(size))
}

/// A size as the format holds it. What has more elements than an `i64` counts is in no memory.
fn dimension(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
