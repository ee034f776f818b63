//! The wire protocols of the inference server as pure functions: bytes in, tensors out, and back.
//!
//! Nothing here does I/O, waits, or knows HTTP. A front end hands a request body to [`v2`] or [`v1`], or a message of gRPC
//! to [`grpc`], gets [`Tensor`]s in the order of the model's [`Signature`], runs the model, and hands the results back to be
//! written. Numbers go from the text, eight digits at a time, straight into the typed buffer that the runtime takes, and
//! binary tensors are copied there once; no tree of JSON values is built for tensor data.
//!
//! Hostile input is the normal case: nesting, sizes and counts are bounded by [`Limits`], every refusal is an
//! [`Error`] that names the place (`inputs[0].data[3][1]`), what was found and what was wanted, and no message echoes
//! more than a short excerpt of what the client sent.
#![forbid(unsafe_code)]

mod binary;
pub mod datatype;
mod element;
pub mod error;
mod fill;
pub mod grpc;
mod json;
pub mod limits;
mod number;
mod parameters;
mod path;
pub mod signature;
pub mod tensor;
pub mod v1;
pub mod v2;
mod write;

pub use datatype::Datatype;
pub use error::{Error, ErrorClass};
pub use limits::Limits;
pub use signature::{Signature, TensorMetadata};
pub use tensor::{Tensor, TensorData};
