//! Measures the codec on one request of 1,000 floats in the spellings that clients send, beside `serde_json` into a typed
//! struct: `cargo run --release -p modelwright-protocol --example codec`.
//!
//! Prints µs per body, the fastest of many rounds, which is what a shared machine disturbs least.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use modelwright_protocol::{Datatype, Limits, Signature, Tensor, TensorData, TensorMetadata, v2};
use serde::{Deserialize, Serialize};

const FLOATS: usize = 1000;

/// What a server with derived types would read.
#[derive(Deserialize)]
struct Body<T> {
    inputs: Vec<Input<T>>,
}

#[derive(Deserialize)]
struct Input<T> {
    data: Vec<T>,
}

/// What a server with derived types would write.
#[derive(Serialize)]
struct Output<'a> {
    name: &'a str,
    shape: &'a [i64],
    datatype: &'a str,
    data: &'a [f32],
}

fn main() {
    println!("{:36} {:>8} {:>10} {:>12}", "1000 floats", "bytes", "here, µs", "serde, µs");
    let doubles: Vec<f64> = (0..FLOATS).map(random).collect();
    read("FP32, 6 decimals", "FP32", &doubles, |value| format!("{value:.6}"));
    #[expect(clippy::cast_possible_truncation, reason = "singles are what is measured")]
    let singles: Vec<f32> = doubles.iter().map(|&value| value as f32).collect();
    let signed: Vec<f64> = doubles.iter().map(|value| value * 2.0 - 1.0).collect();
    read("FP32, 6 decimals, signed", "FP32", &signed, |value| format!("{value:.6}"));
    read("FP32, shortest", "FP32", &doubles, |value| {
        #[expect(clippy::cast_possible_truncation, reason = "singles are what is measured")]
        let single = value as f32;
        single.to_string()
    });
    read("FP32, Python's doubles", "FP32", &doubles, |value| value.to_string());
    read("FP64, Python's doubles", "FP64", &doubles, |value| value.to_string());
    read("INT64, 5 digits", "INT64", &doubles, |value| format!("{:.0}", value * 1e5));
    read_binary(&singles);
    write(&singles);
}

/// A reproducible number between 0 and 1.
fn random(index: usize) -> f64 {
    let mut bits = (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((bits ^ (bits >> 31)) >> 11) as f64 / f64::from(1 << 26) / f64::from(1 << 27)
}

fn signature(datatype: Datatype) -> Signature {
    Signature {
        inputs: vec![TensorMetadata { name: "x".into(), datatype, shape: vec![-1, 1000] }],
        outputs: vec![],
    }
}

fn read(what: &str, datatype: &str, values: &[f64], text: impl Fn(f64) -> String) {
    let mut data = String::new();
    for (index, &value) in values.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(data, "{comma}{}", text(value));
    }
    let body =
        format!(r#"{{"inputs":[{{"name":"x","shape":[1,1000],"datatype":"{datatype}","data":[{data}]}}]}}"#);
    let signature = signature(datatype.parse().unwrap_or(Datatype::Fp32));
    let ours = fastest(|| {
        black_box(
            v2::parse_infer_request(black_box(body.as_bytes()), None, &signature, &Limits::default()).is_ok(),
        )
    });
    let theirs = fastest(|| {
        match datatype {
            "FP32" => black_box(
                serde_json::from_str::<Body<f32>>(black_box(&body)).map(|body| body.inputs[0].data.len()),
            ),
            "FP64" => black_box(
                serde_json::from_str::<Body<f64>>(black_box(&body)).map(|body| body.inputs[0].data.len()),
            ),
            _ => black_box(
                serde_json::from_str::<Body<i64>>(black_box(&body)).map(|body| body.inputs[0].data.len()),
            ),
        }
        .is_ok()
    });
    print(what, body.len(), ours, Some(theirs));
}

fn read_binary(values: &[f32]) {
    let json = r#"{"inputs":[{"name":"x","shape":[1,1000],"datatype":"FP32","parameters":{"binary_data_size":4000}}]}"#;
    let mut body = json.as_bytes().to_vec();
    body.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    let signature = signature(Datatype::Fp32);
    let ours = fastest(|| {
        let header = Some(json.len());
        black_box(v2::parse_infer_request(black_box(&body), header, &signature, &Limits::default()).is_ok())
    });
    print("FP32, binary", body.len(), ours, None);
}

fn write(values: &[f32]) {
    let Ok(tensor) = Tensor::new("y", vec![1, 1000], TensorData::Fp32(values.to_vec())) else { return };
    for (what, binary) in [("writing FP32", false), ("writing FP32, binary", true)] {
        let outputs = [v2::OutputTensor { tensor: tensor.clone(), binary }];
        let response =
            v2::InferResponse { model_name: "m", model_version: None, id: None, outputs: &outputs };
        let length = v2::write_infer_response(&response).map_or(0, |written| written.bytes.len());
        let ours = fastest(|| black_box(v2::write_infer_response(black_box(&response)).is_ok()));
        let theirs = fastest(|| {
            let output = Output { name: "y", shape: &[1, 1000], datatype: "FP32", data: black_box(values) };
            black_box(serde_json::to_vec(&output).is_ok())
        });
        print(what, length, ours, (!binary).then_some(theirs));
    }
}

/// The fastest of many short rounds.
fn fastest(mut call: impl FnMut() -> bool) -> Duration {
    const CALLS: u32 = 20;
    let round = |call: &mut dyn FnMut() -> bool| {
        let start = Instant::now();
        for _ in 0..CALLS {
            assert!(call(), "the body was refused");
        }
        start.elapsed() / CALLS
    };
    (0..2000).map(|_| round(&mut call)).min().unwrap_or_default()
}

fn print(what: &str, bytes: usize, ours: Duration, theirs: Option<Duration>) {
    let micros = |duration: Duration| format!("{:.2}", duration.as_secs_f64() * 1e6);
    println!("{what:36} {bytes:>8} {:>10} {:>12}", micros(ours), theirs.map(micros).unwrap_or_default());
}
