//! The Open Inference Protocol over gRPC: its messages, and from them to tensors and back.
//!
//! Source: `kserve/open-inference-protocol`, `specification/protocol/inference_grpc.md`, and Triton's `grpc_service.proto`,
//! which has more calls and is the same on the wire. What is decided here:
//!
//! * The elements of all inputs are in `raw_input_contents`, or those of each in its `contents`; a request with both is
//!   refused. FP16 and BF16 have no typed contents.
//! * The answer is raw if the request was, or if an output has no typed contents, and typed otherwise.
//! * Elements are checked as in JSON: BOOL is 0 or 1, BYTES is UTF-8 text, an INT8 fits into eight bits. Floats may be
//!   anything, since this form can carry what JSON cannot.
//! * Unknown parameters are ignored; those with a meaning that is not honoured are refused unless their value asks for
//!   nothing. `timeout` is microseconds, as Triton has it.
//!
//! ```
//! use modelwright_protocol::grpc::inference::{ModelInferRequest, model_infer_request::InferInputTensor};
//! use modelwright_protocol::{Datatype, Limits, Signature, TensorData, TensorMetadata, grpc};
//!
//! let x = TensorMetadata { name: "x".into(), datatype: Datatype::Fp32, shape: vec![-1, 2] };
//! let signature = Signature { inputs: vec![x], outputs: vec![] };
//! let x = InferInputTensor { name: "x".into(), datatype: "FP32".into(), shape: vec![1, 2], ..Default::default() };
//! let raw = [0.5_f32.to_le_bytes(), 2_f32.to_le_bytes()].concat();
//! let request =
//!     ModelInferRequest { inputs: vec![x], raw_input_contents: vec![raw.into()], ..Default::default() };
//! let request = grpc::read_infer_request(request, &signature, &Limits::default())?;
//! assert_eq!(request.inputs[0].data(), &TensorData::Fp32(vec![0.5, 2.0]));
//! # Ok::<(), modelwright_protocol::Error>(())
//! ```

mod contents;
pub mod health;
pub mod inference;
mod memory;
mod metadata;
mod parameters;
mod raw;
mod request;
mod response;

pub use memory::decoded_bytes;
pub use metadata::{model_config, model_metadata, model_statistics, repository_model};
pub use request::{InferRequest, read_infer_request};
pub use response::{InferResponse, write_infer_response};

/// The schemas of all services as an encoded `FileDescriptorSet`, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("grpc/descriptors.bin");
