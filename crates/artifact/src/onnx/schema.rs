//! The fields of ONNX that facts are read from; see the table in the module's documentation.

use super::wire::WireType;

/// The messages that are looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Model,
    OperatorSet,
    Function,
    Graph,
    Node,
    Attribute,
    Tensor,
    SparseTensor,
    ValueInfo,
    Type,
    TensorType,
    Shape,
    Dimension,
    Entry,
}

/// What a known field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A number.
    Number,
    /// Numbers, packed or one by one.
    Numbers,
    /// Text.
    Text,
    /// A message.
    Message(Message),
    /// Bytes whose number alone matters.
    Bytes,
    /// A type whose presence alone matters.
    Presence,
}

impl Content {
    /// Whether a field with this content may have this wire type.
    pub(super) fn allows(self, wire_type: WireType) -> bool {
        match self {
            Self::Number => wire_type == WireType::Varint,
            Self::Numbers => matches!(wire_type, WireType::Varint | WireType::Delimited),
            Self::Text | Self::Message(_) | Self::Bytes | Self::Presence => wire_type == WireType::Delimited,
        }
    }
}

/// The known fields, by what they mean for the facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    IrVersion,
    ProducerName,
    ProducerVersion,
    MainGraph,
    OpsetImport,
    ModelMetadata,
    Function,
    OpsetDomain,
    OpsetVersion,
    FunctionName,
    FunctionDomain,
    Node,
    GraphName,
    Weight,
    SparseWeight,
    Input,
    Output,
    OperatorType,
    OperatorDomain,
    Attribute,
    Subgraph,
    TensorName,
    TensorDims,
    TensorType,
    RawData,
    StringData,
    ExternalData,
    DataLocation,
    SparseValues,
    SparseIndices,
    ValueName,
    ValueType,
    Tensor,
    Sequence,
    Map,
    Opaque,
    SparseTensor,
    Optional,
    ElementType,
    Shape,
    Dimension,
    DimValue,
    DimParam,
    Key,
    Value,
}

/// The meaning, content and schema name of field `number` of `message`, or `None` if it adds no fact.
pub(super) const fn known(message: Message, number: u32) -> Option<(Field, Content, &'static str)> {
    use Content::{Bytes, Number, Numbers, Presence, Text};
    use Message as M;
    const fn message_of(message: Message) -> Content {
        Content::Message(message)
    }
    Some(match (message, number) {
        (M::Model, 1) => (Field::IrVersion, Number, "ModelProto.ir_version"),
        (M::Model, 2) => (Field::ProducerName, Text, "ModelProto.producer_name"),
        (M::Model, 3) => (Field::ProducerVersion, Text, "ModelProto.producer_version"),
        (M::Model, 7) => (Field::MainGraph, message_of(M::Graph), "ModelProto.graph"),
        (M::Model, 8) => (Field::OpsetImport, message_of(M::OperatorSet), "ModelProto.opset_import"),
        (M::Model, 14) => (Field::ModelMetadata, message_of(M::Entry), "ModelProto.metadata_props"),
        (M::Model, 25) => (Field::Function, message_of(M::Function), "ModelProto.functions"),
        (M::OperatorSet, 1) => (Field::OpsetDomain, Text, "OperatorSetIdProto.domain"),
        (M::OperatorSet, 2) => (Field::OpsetVersion, Number, "OperatorSetIdProto.version"),
        (M::Function, 1) => (Field::FunctionName, Text, "FunctionProto.name"),
        (M::Function, 7) => (Field::Node, message_of(M::Node), "FunctionProto.node"),
        (M::Function, 10) => (Field::FunctionDomain, Text, "FunctionProto.domain"),
        (M::Function, 11) => (Field::Attribute, message_of(M::Attribute), "FunctionProto.attribute_proto"),
        (M::Graph, 1) => (Field::Node, message_of(M::Node), "GraphProto.node"),
        (M::Graph, 2) => (Field::GraphName, Text, "GraphProto.name"),
        (M::Graph, 5) => (Field::Weight, message_of(M::Tensor), "GraphProto.initializer"),
        (M::Graph, 11) => (Field::Input, message_of(M::ValueInfo), "GraphProto.input"),
        (M::Graph, 12) => (Field::Output, message_of(M::ValueInfo), "GraphProto.output"),
        (M::Graph, 15) => (Field::SparseWeight, message_of(M::SparseTensor), "GraphProto.sparse_initializer"),
        (M::Node, 4) => (Field::OperatorType, Text, "NodeProto.op_type"),
        (M::Node, 5) => (Field::Attribute, message_of(M::Attribute), "NodeProto.attribute"),
        (M::Node, 7) => (Field::OperatorDomain, Text, "NodeProto.domain"),
        (M::Attribute, 5) => (Field::Weight, message_of(M::Tensor), "AttributeProto.t"),
        (M::Attribute, 6) => (Field::Subgraph, message_of(M::Graph), "AttributeProto.g"),
        (M::Attribute, 10) => (Field::Weight, message_of(M::Tensor), "AttributeProto.tensors"),
        (M::Attribute, 11) => (Field::Subgraph, message_of(M::Graph), "AttributeProto.graphs"),
        (M::Attribute, 22) => {
            (Field::SparseWeight, message_of(M::SparseTensor), "AttributeProto.sparse_tensor")
        }
        (M::Attribute, 23) => {
            (Field::SparseWeight, message_of(M::SparseTensor), "AttributeProto.sparse_tensors")
        }
        (M::Tensor, 1) => (Field::TensorDims, Numbers, "TensorProto.dims"),
        (M::Tensor, 2) => (Field::TensorType, Number, "TensorProto.data_type"),
        (M::Tensor, 6) => (Field::StringData, Bytes, "TensorProto.string_data"),
        (M::Tensor, 8) => (Field::TensorName, Text, "TensorProto.name"),
        (M::Tensor, 9) => (Field::RawData, Bytes, "TensorProto.raw_data"),
        (M::Tensor, 13) => (Field::ExternalData, message_of(M::Entry), "TensorProto.external_data"),
        (M::Tensor, 14) => (Field::DataLocation, Number, "TensorProto.data_location"),
        (M::SparseTensor, 1) => (Field::SparseValues, message_of(M::Tensor), "SparseTensorProto.values"),
        (M::SparseTensor, 2) => (Field::SparseIndices, message_of(M::Tensor), "SparseTensorProto.indices"),
        (M::ValueInfo, 1) => (Field::ValueName, Text, "ValueInfoProto.name"),
        (M::ValueInfo, 2) => (Field::ValueType, message_of(M::Type), "ValueInfoProto.type"),
        (M::Type, 1) => (Field::Tensor, message_of(M::TensorType), "TypeProto.tensor_type"),
        (M::Type, 4) => (Field::Sequence, Presence, "TypeProto.sequence_type"),
        (M::Type, 5) => (Field::Map, Presence, "TypeProto.map_type"),
        (M::Type, 7) => (Field::Opaque, Presence, "TypeProto.opaque_type"),
        (M::Type, 8) => (Field::SparseTensor, Presence, "TypeProto.sparse_tensor_type"),
        (M::Type, 9) => (Field::Optional, Presence, "TypeProto.optional_type"),
        (M::TensorType, 1) => (Field::ElementType, Number, "TypeProto.Tensor.elem_type"),
        (M::TensorType, 2) => (Field::Shape, message_of(M::Shape), "TypeProto.Tensor.shape"),
        (M::Shape, 1) => (Field::Dimension, message_of(M::Dimension), "TensorShapeProto.dim"),
        (M::Dimension, 1) => (Field::DimValue, Number, "TensorShapeProto.Dimension.dim_value"),
        (M::Dimension, 2) => (Field::DimParam, Text, "TensorShapeProto.Dimension.dim_param"),
        (M::Entry, 1) => (Field::Key, Text, "StringStringEntryProto.key"),
        (M::Entry, 2) => (Field::Value, Text, "StringStringEntryProto.value"),
        _ => return None,
    })
}
