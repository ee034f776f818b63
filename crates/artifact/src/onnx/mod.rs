//! Facts of ONNX files, read from a stream in bounded memory.

mod collector;
mod error;
mod facts;
mod scanner;
mod schema;
mod sniff;
mod support;
mod value;
mod weight;
mod wire;

pub use error::OnnxError;
pub use facts::{Dimension, ElementType, OnnxFacts, TensorFact};
pub use scanner::{Limits, Scanner, scan};
pub use sniff::{Format, SNIFF_BYTES, sniff};
pub use support::{Support, check};

#[cfg(test)]
mod encoder;
#[cfg(test)]
mod tests;
