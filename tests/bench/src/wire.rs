//! One request with one row, in each form of the wire. Every server gets the same bytes.

use anyhow::{Context as _, ensure};
use bytes::{BufMut as _, Bytes, BytesMut};
use clap::ValueEnum;
use prost::Message as _;
use serde_json::Value;

use crate::model::{FEATURES, INPUT, OUTPUT};

/// The model's name on every server.
pub(crate) const MODEL: &str = "bench";

/// A form of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wire {
    /// V2 JSON, numbers with six decimals.
    Json,
    /// V2 with the binary tensor extension.
    Binary,
    /// `ModelInfer` with raw contents.
    Grpc,
}

impl Wire {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Binary => "binary",
            Self::Grpc => "gRPC",
        }
    }
}

/// The row: numbers of six decimals from 0 to 1.
pub(crate) fn row() -> Vec<f32> {
    (0..FEATURES).map(|index| text(index).parse().unwrap_or_default()).collect()
}

fn text(index: usize) -> String {
    // 7919 is prime, so that no two numbers are alike and their digits are mixed.
    format!("0.{:06}", (index * 7919 * 131 + 123_457) % 1_000_000)
}

fn raw_row() -> impl Iterator<Item = u8> {
    row().into_iter().flat_map(f32::to_le_bytes)
}

/// The body of the JSON request, 9.1 KB.
pub(crate) fn json_body() -> Vec<u8> {
    let numbers: Vec<String> = (0..FEATURES).map(text).collect();
    format!(
        r#"{{"inputs":[{{"name":"{INPUT}","shape":[1,{FEATURES}],"datatype":"FP32","data":[{}]}}]}}"#,
        numbers.join(",")
    )
    .into_bytes()
}

/// The body of the binary request and the length of its JSON head.
pub(crate) fn binary_body() -> (Vec<u8>, usize) {
    let head = format!(
        r#"{{"inputs":[{{"name":"{INPUT}","shape":[1,{FEATURES}],"datatype":"FP32","parameters":{{"binary_data_size":{}}}}}],"outputs":[{{"name":"{OUTPUT}","parameters":{{"binary_data":true}}}}]}}"#,
        4 * FEATURES
    );
    let length = head.len();
    (head.into_bytes().into_iter().chain(raw_row()).collect(), length)
}

/// A whole HTTP/1.1 request.
pub(crate) fn http_request(path: &str, wire: Wire) -> Vec<u8> {
    let (body, headers) = match wire {
        Wire::Binary => {
            let (body, length) = binary_body();
            (
                body,
                format!(
                    "content-type: application/octet-stream\r\ninference-header-content-length: {length}\r\n"
                ),
            )
        }
        Wire::Json | Wire::Grpc => (json_body(), "content-type: application/json\r\n".to_owned()),
    };
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{headers}content-length: {length}\r\n\r\n");
    [head.into_bytes(), body].concat()
}

/// A `GET` without a body.
pub(crate) fn http_get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").into_bytes()
}

/// A `ModelInferRequest` in gRPC's framing: a byte for "not compressed", the length, the message.
pub(crate) fn grpc_message() -> Bytes {
    let request = ModelInferRequest {
        model_name: MODEL.to_owned(),
        inputs: vec![InferInputTensor {
            name: INPUT.to_owned(),
            datatype: "FP32".to_owned(),
            shape: vec![1, i64::try_from(FEATURES).unwrap_or(i64::MAX)],
        }],
        raw_input_contents: vec![raw_row().collect()],
    };
    let message = request.encode_to_vec();
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(&message);
    framed.freeze()
}

// The fields of open_inference_grpc.proto that are used here, with their numbers there.

#[derive(Clone, PartialEq, prost::Message)]
struct ModelInferRequest {
    #[prost(string, tag = "1")]
    model_name: String,
    #[prost(message, repeated, tag = "5")]
    inputs: Vec<InferInputTensor>,
    #[prost(bytes = "vec", repeated, tag = "7")]
    raw_input_contents: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct InferInputTensor {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    datatype: String,
    #[prost(int64, repeated, tag = "3")]
    shape: Vec<i64>,
}

/// The prediction in the body of an answer to the JSON request.
pub(crate) fn prediction(body: &[u8]) -> anyhow::Result<f64> {
    let answer: Value = serde_json::from_slice(body)
        .with_context(|| format!("the answer is not JSON: {}", String::from_utf8_lossy(body)))?;
    // BentoML answers with the list of outputs alone.
    let outputs = if answer.is_array() { &answer } else { &answer["outputs"] };
    let mut value = &outputs[0]["data"];
    // Some nest the data.
    while value.is_array() {
        value = &value[0];
    }
    let number = value.as_f64().with_context(|| format!("no outputs[0].data in {answer}"))?;
    ensure!((0.0..=1.0).contains(&number), "the model ends in a sigmoid, and the answer is {number}");
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_body_says_the_row_with_six_decimals() {
        let body: Value = serde_json::from_slice(&json_body()).unwrap();
        let data = body["inputs"][0]["data"].as_array().unwrap();
        #[expect(clippy::cast_possible_truncation)]
        let numbers: Vec<f32> = data.iter().map(|number| number.as_f64().unwrap() as f32).collect();
        assert_eq!(numbers, row());
        assert!((9_000..9_200).contains(&json_body().len()), "{}", json_body().len());
    }

    #[test]
    fn binary_body_is_its_head_and_four_bytes_per_number() {
        let (body, head) = binary_body();
        assert_eq!(body.len(), head + 4 * FEATURES);
        assert!(serde_json::from_slice::<Value>(&body[..head]).is_ok());
    }

    #[test]
    fn prediction_is_found_nested_and_flat() {
        for body in [r#"{"outputs":[{"data":[0.5]}]}"#, r#"{"outputs":[{"data":[[0.5]]}]}"#] {
            assert!((prediction(body.as_bytes()).unwrap() - 0.5).abs() < 1e-12);
        }
        assert!(prediction(b"{}").is_err());
    }
}
