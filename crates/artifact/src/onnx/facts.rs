//! What an ONNX file says about itself.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// The facts of one ONNX file, read without loading it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OnnxFacts {
    /// Version of the file format (`ir_version`).
    pub ir_version: i64,
    /// Version of each operator set that the model imports, by domain. The standard domain is `""`, however the file
    /// spells it (`""` or `ai.onnx`).
    pub opsets: BTreeMap<String, i64>,
    /// Name of the tool that wrote the file.
    pub producer: Option<String>,
    /// Version of that tool.
    pub producer_version: Option<String>,
    /// Name of the main graph.
    pub graph_name: Option<String>,
    /// What a request must give, in the file's order. Inputs that are initializers too have a value already and are
    /// not among them.
    pub inputs: Vec<TensorFact>,
    /// What an answer holds, in the file's order.
    pub outputs: Vec<TensorFact>,
    /// Number of operators, those of subgraphs and local functions included.
    pub nodes: u64,
    /// Bytes of the weights: initializers and the tensors of attributes (some tools write weights as `Constant`
    /// nodes), in this file and in external files, with their dimensions multiplied out.
    pub parameter_bytes: u64,
    /// Files beside this one that hold weights: relative paths, without the `./` that some exporters write, none of
    /// which leaves the model's folder.
    pub external_data: BTreeSet<String>,
    /// Operators of domains other than `ai.onnx` and `ai.onnx.ml`, by domain. Functions that the model itself defines
    /// are not among them.
    pub operators: BTreeMap<String, BTreeSet<String>>,
    /// Key and value of the file's `metadata_props`: at most [`Limits::metadata_entries`](super::Limits), values cut
    /// at [`Limits::text_bytes`](super::Limits).
    pub metadata: BTreeMap<String, String>,
}

impl OnnxFacts {
    /// The version of the standard operator set, `ai.onnx`, if the model imports it.
    pub fn opset(&self) -> Option<i64> {
        self.opsets.get("").copied()
    }
}

/// One input or output of the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TensorFact {
    /// The name that requests use.
    pub name: String,
    /// Type of the elements.
    pub datatype: ElementType,
    /// The dimensions; empty for a scalar.
    pub shape: Vec<Dimension>,
    /// The model leaves even the number of dimensions open; `shape` is empty then.
    pub unranked: bool,
}

/// One dimension of a shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Dimension {
    /// Always this many elements.
    Fixed(i64),
    /// Any number; dimensions of the same name are equal within a request.
    Symbolic(String),
    /// Any number.
    Unknown,
}

impl Dimension {
    /// The number that the Open Inference Protocol shows: the size, or -1 if it varies.
    pub const fn to_oip(&self) -> i64 {
        match self {
            Self::Fixed(size) => *size,
            Self::Symbolic(_) | Self::Unknown => -1,
        }
    }
}

/// Element types that the Open Inference Protocol can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ElementType {
    /// `true` or `false`.
    Bool,
    /// Unsigned 8-bit integer.
    Uint8,
    /// Unsigned 16-bit integer.
    Uint16,
    /// Unsigned 32-bit integer.
    Uint32,
    /// Unsigned 64-bit integer.
    Uint64,
    /// Signed 8-bit integer.
    Int8,
    /// Signed 16-bit integer.
    Int16,
    /// Signed 32-bit integer.
    Int32,
    /// Signed 64-bit integer.
    Int64,
    /// IEEE 754 half precision.
    Fp16,
    /// The upper half of an IEEE 754 single.
    Bf16,
    /// IEEE 754 single precision.
    Fp32,
    /// IEEE 754 double precision.
    Fp64,
    /// Text, or bytes of any length.
    Bytes,
}

impl ElementType {
    /// The type with this number in `TensorProto.DataType`, or `None` if the protocol cannot carry it.
    pub const fn from_onnx(number: i64) -> Option<Self> {
        Some(match number {
            1 => Self::Fp32,
            2 => Self::Uint8,
            3 => Self::Int8,
            4 => Self::Uint16,
            5 => Self::Int16,
            6 => Self::Int32,
            7 => Self::Int64,
            8 => Self::Bytes,
            9 => Self::Bool,
            10 => Self::Fp16,
            11 => Self::Fp64,
            12 => Self::Uint32,
            13 => Self::Uint64,
            16 => Self::Bf16,
            _ => return None,
        })
    }

    /// The protocol's spelling, such as `FP32`.
    pub const fn oip_name(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::Uint8 => "UINT8",
            Self::Uint16 => "UINT16",
            Self::Uint32 => "UINT32",
            Self::Uint64 => "UINT64",
            Self::Int8 => "INT8",
            Self::Int16 => "INT16",
            Self::Int32 => "INT32",
            Self::Int64 => "INT64",
            Self::Fp16 => "FP16",
            Self::Bf16 => "BF16",
            Self::Fp32 => "FP32",
            Self::Fp64 => "FP64",
            Self::Bytes => "BYTES",
        }
    }
}

/// Bits of one element of `TensorProto.DataType`; `None` for text and for types that packing rules are not fixed for.
pub(super) const fn bits(number: i64) -> Option<u64> {
    Some(match number {
        25 | 26 => 2,
        21..=23 => 4,
        2 | 3 | 9 | 17..=20 | 24 => 8,
        4 | 5 | 10 | 16 => 16,
        1 | 6 | 12 => 32,
        7 | 11 | 13 | 14 => 64,
        15 => 128,
        _ => return None,
    })
}

/// ONNX's own name of a type that [`ElementType`] has not.
pub(super) const fn onnx_name(number: i64) -> &'static str {
    match number {
        0 => "of no declared element type",
        14 => "COMPLEX64",
        15 => "COMPLEX128",
        17 => "FLOAT8E4M3FN",
        18 => "FLOAT8E4M3FNUZ",
        19 => "FLOAT8E5M2",
        20 => "FLOAT8E5M2FNUZ",
        21 => "UINT4",
        22 => "INT4",
        23 => "FLOAT4E2M1",
        24 => "FLOAT8E8M0",
        25 => "UINT2",
        26 => "INT2",
        27 => "FLOAT6E2M3",
        28 => "FLOAT6E3M2",
        _ => "of an unknown element type",
    }
}
