//! The small bodies: metadata, health and errors.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::signature::{Signature, TensorMetadata};

/// The platform string of every model: ONNX on ONNX Runtime, in Triton's spelling, which clients compare with.
pub const PLATFORM: &str = "onnxruntime_onnx";

/// The extensions of the protocol that this crate reads and writes, in the spelling of [`ServerMetadata::extensions`]. A
/// server names those that it also serves.
pub const EXTENSIONS: [&str; 6] = [
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "parameters",
    "statistics",
];

/// The body of `GET /v2`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerMetadata {
    /// The name of the server.
    pub name: String,
    /// The version of the server.
    pub version: String,
    /// The protocol extensions that it has.
    pub extensions: Vec<String>,
}

/// The body of `GET /v2/models/{name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelMetadata {
    /// The name of the model.
    pub name: String,
    /// The versions that are served; absent when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<String>,
    /// Format and runtime; [`PLATFORM`] here.
    pub platform: String,
    /// What the model takes.
    pub inputs: Vec<TensorMetadata>,
    /// What the model gives.
    pub outputs: Vec<TensorMetadata>,
}

impl ModelMetadata {
    /// The metadata of a model of this name, versions and signature.
    pub fn new(name: impl Into<String>, versions: Vec<String>, signature: &Signature) -> Self {
        Self {
            name: name.into(),
            versions,
            platform: PLATFORM.to_owned(),
            inputs: signature.inputs.clone(),
            outputs: signature.outputs.clone(),
        }
    }
}

/// The body of `GET /v2/health/live`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// Whether the server answers at all.
    pub live: bool,
}

/// The body of `GET /v2/health/ready`.
///
/// The protocol's text shows `live` here, which its schema and its implementations take for a slip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Whether every model of the server is ready.
    pub ready: bool,
}

/// The body of `GET /v2/models/{name}/ready`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelReady {
    /// The name of the model.
    pub name: String,
    /// Whether it is ready.
    pub ready: bool,
}

/// The body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: String,
}

impl From<&Error> for ErrorBody {
    fn from(error: &Error) -> Self {
        Self { error: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datatype::Datatype;

    #[test]
    fn bodies_are_those_of_the_protocol() {
        let input = TensorMetadata { name: "x".into(), datatype: Datatype::Fp32, shape: vec![-1, 4] };
        let signature = Signature { inputs: vec![input.clone()], outputs: vec![] };
        let json = serde_json::to_string(&ModelMetadata::new("iris", vec![], &signature)).unwrap();
        assert_eq!(
            json,
            r#"{"name":"iris","platform":"onnxruntime_onnx","inputs":[{"name":"x","datatype":"FP32","shape":[-1,4]}],"outputs":[]}"#
        );
        let versioned = ModelMetadata::new("iris", vec!["abc".into()], &signature);
        assert!(serde_json::to_string(&versioned).unwrap().contains(r#""versions":["abc"]"#));
        let server = ServerMetadata { name: "s".into(), version: "1".into(), extensions: vec![] };
        assert_eq!(serde_json::to_string(&server).unwrap(), r#"{"name":"s","version":"1","extensions":[]}"#);
        assert_eq!(serde_json::to_string(&Live { live: true }).unwrap(), r#"{"live":true}"#);
        assert_eq!(serde_json::to_string(&Ready { ready: false }).unwrap(), r#"{"ready":false}"#);
        let ready = ModelReady { name: "iris".into(), ready: true };
        assert_eq!(serde_json::to_string(&ready).unwrap(), r#"{"name":"iris","ready":true}"#);
        let error = ErrorBody::from(&Error::EmptyBody);
        assert!(serde_json::to_string(&error).unwrap().starts_with(r#"{"error":"the request body is empty"#));
    }
}
