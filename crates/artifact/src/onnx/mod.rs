//! Facts of ONNX files, read from a stream in bounded memory.
//!
//! ```
//! use modelwright_artifact::onnx::{Limits, OnnxError, Scanner, Support, check};
//!
//! # fn main() {
//! # let read = || -> Result<(), OnnxError> {
//! # let pieces: [&[u8]; 1] = [b"<html>"];
//! let mut scanner = Scanner::new(Limits::default());
//! for piece in pieces {
//!     scanner.push(piece)?;
//! }
//! let facts = scanner.finish()?;
//! check(&facts, &Support::ONNX_RUNTIME_1_32_CPU)?;
//! # Ok(())
//! # };
//! # assert_eq!(read().unwrap_err().reason(), "NotOnnx");
//! # }
//! ```
//!
//! The file is a protobuf message, `ModelProto`. It is never parsed as a whole: `wire` turns bytes into fields as they
//! come, `schema` knows the few fields that matter, `collector` keeps what they say. Everything else, the bytes of
//! weights above all, is passed over. These fields are read, by their numbers in `onnx.proto3` of ONNX 1.23:
//!
//! | message | fields |
//! |---|---|
//! | `ModelProto` | 1 `ir_version`, 2 `producer_name`, 3 `producer_version`, 7 `graph`, 8 `opset_import`, 14 `metadata_props`, 25 `functions` |
//! | `OperatorSetIdProto` | 1 `domain`, 2 `version` |
//! | `FunctionProto` | 1 `name`, 7 `node`, 10 `domain`, 11 `attribute_proto` |
//! | `GraphProto` | 1 `node`, 2 `name`, 5 `initializer`, 11 `input`, 12 `output`, 15 `sparse_initializer` |
//! | `NodeProto` | 4 `op_type`, 5 `attribute`, 7 `domain` |
//! | `AttributeProto` | 5 `t`, 6 `g`, 10 `tensors`, 11 `graphs`, 22 `sparse_tensor`, 23 `sparse_tensors` |
//! | `TensorProto` | 1 `dims`, 2 `data_type`, 6 `string_data`, 8 `name`, 9 `raw_data`, 13 `external_data`, 14 `data_location` |
//! | `SparseTensorProto` | 1 `values`, 2 `indices` |
//! | `ValueInfoProto` | 1 `name`, 2 `type` |
//! | `TypeProto` | 1 `tensor_type` (1 `elem_type`, 2 `shape`), 4 `sequence_type`, 5 `map_type`, 7 `opaque_type`, 8 `sparse_tensor_type`, 9 `optional_type` |
//! | `TensorShapeProto` | 1 `dim` (1 `dim_value`, 2 `dim_param`) |
//! | `StringStringEntryProto` | 1 `key`, 2 `value` |
//!
//! Training information (20) and the types of inner values (`value_info`, 13) say nothing about serving and are passed
//! over. Weights are checked no further than their size: whether a graph computes something is for ONNX Runtime to say.

mod collector;
mod error;
mod externalize;
mod facts;
mod scanner;
mod schema;
mod sniff;
mod support;
mod value;
mod weight;
mod wire;

pub use error::OnnxError;
pub use externalize::{Externalization, Externalized, LEAST_BYTES};
pub use facts::{Dimension, ElementType, OnnxFacts, TensorFact};
pub use scanner::{Limits, Scanner, scan};
pub use sniff::{Format, SNIFF_BYTES, sniff};
pub use support::{Support, check};

#[cfg(test)]
pub(crate) mod encoder;
#[cfg(test)]
mod tests;
