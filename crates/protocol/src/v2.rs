//! The Open Inference Protocol, version 2, over REST: JSON bodies of requests, responses and metadata.
//!
//! Source: `kserve/open-inference-protocol`, `specification/protocol/inference_rest.md`. Where the document leaves a
//! choice, or its implementations differ, the strict reading is taken: what does not fit the model is refused and never
//! coerced. What is decided here:
//!
//! * `data` is flat, or nested exactly as `shape` says; a scalar is `[value]`.
//! * BOOL takes `true` and `false` only; integers are digits without fraction or exponent; FP16 and BF16 are numbers.
//! * `null` for `id`, `parameters` and `outputs` counts as absent; an empty `outputs` asks for all.
//! * Unknown keys and unknown parameters are ignored; parameters with a meaning that this version does not honour
//!   (binary tensors, classification, sequences, priority, timeout) are refused unless their value asks for nothing.

mod metadata;
mod request;
mod response;

pub use crate::parameters::{Parameter, Parameters};
pub use metadata::{ErrorBody, Live, ModelMetadata, ModelReady, PLATFORM, Ready, ServerMetadata};
pub use request::{InferRequest, parse_infer_request};
pub use response::{InferResponse, write_infer_response};
