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
//!   (sequences, priority, shared memory) are refused unless their value asks for nothing.
//! * Binary tensors follow the JSON in the order of the inputs whose parameter `binary_data_size` says how long they are;
//!   the HTTP header `Inference-Header-Content-Length`, which the caller hands over, says where the JSON ends. What is left
//!   over is refused. A length of 0 stands for a body that is the only input (Triton's "raw binary request").
//! * The parameter `binary_data_output` of a request asks for outputs behind the JSON, and `binary_data` of an output, which
//!   wins. `classification` asks for the highest elements as text, and `timeout` of a request is in microseconds.
//! * `shape` may have a 0, which counts as 1 towards [`Limits::max_elements`](crate::Limits::max_elements).
//!
//! ```
//! use modelwright_protocol::{Datatype, Limits, Signature, TensorData, TensorMetadata, v2};
//!
//! let x = TensorMetadata { name: "x".into(), datatype: Datatype::Fp32, shape: vec![-1, 2] };
//! let signature = Signature { inputs: vec![x], outputs: vec![] };
//! let body = br#"{"id": "7", "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [[0.5, 2]]}]}"#;
//! let request = v2::parse_infer_request(body, None, &signature, &Limits::default())?;
//! assert_eq!(request.inputs[0].data(), &TensorData::Fp32(vec![0.5, 2.0]));
//!
//! let response = v2::InferResponse { model_name: "m", model_version: None, id: request.id.as_deref(), outputs: &[] };
//! assert_eq!(v2::write_infer_response(&response)?.bytes, br#"{"model_name":"m","id":"7","outputs":[]}"#);
//! # Ok::<(), modelwright_protocol::Error>(())
//! ```

mod classification;
pub mod config;
mod metadata;
pub mod repository;
mod request;
mod response;
pub mod statistics;

pub use crate::parameters::{Parameter, Parameters};
pub use classification::classify;
pub use metadata::{EXTENSIONS, ErrorBody, Live, ModelMetadata, ModelReady, PLATFORM, Ready, ServerMetadata};
pub use request::{InferRequest, RequestedOutput, parse_infer_request};
pub use response::{EncodedResponse, InferResponse, OutputTensor, write_infer_response};
