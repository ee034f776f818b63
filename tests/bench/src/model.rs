//! The models that are served: networks of dense layers with weights from a fixed stream, written as ONNX.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use clap::ValueEnum;
use prost::Message as _;

/// Features of a row.
pub(crate) const FEATURES: usize = 1000;
/// The name of the input: FP32 `[batch, 1000]`. Some peers take no other names than these two.
pub(crate) const INPUT: &str = "input";
/// The name of the output: FP32 `[batch, 1]`.
pub(crate) const OUTPUT: &str = "output";

/// A model by its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Size {
    /// 1000 → 128 relu → 1 sigmoid, 513 KB: the text of a request costs more than the run.
    Small,
    /// 1000 → 2048 relu → 2048 relu → 1 sigmoid, 25 MB: batching is what counts.
    Large,
    /// 1000 → 5000 relu → 4800 relu → 1 sigmoid, 116 MB: what sessions share of their weights is what counts.
    Huge,
}

impl Size {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Large => "large",
            Self::Huge => "huge",
        }
    }

    fn units(self) -> &'static [usize] {
        match self {
            Self::Small => &[FEATURES, 128, 1],
            Self::Large => &[FEATURES, 2048, 2048, 1],
            Self::Huge => &[FEATURES, 5000, 4800, 1],
        }
    }

    /// Writes the model; the same bytes each time.
    pub(crate) fn write(self, file: &Path) -> anyhow::Result<()> {
        fs::write(file, encode(self.units())).with_context(|| format!("cannot write {}", file.display()))
    }
}

/// Numbers that look random, from -1 to 1: Knuth's generator, the upper half of its 64 bits.
struct Stream(u64);

impl Stream {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // The upper 24 bits are exact in an f32.
        let upper = u16::try_from(self.0 >> 48).unwrap_or_default();
        f32::from(upper) / 32_768.0 - 1.0
    }
}

fn encode(units: &[usize]) -> Vec<u8> {
    let mut stream = Stream(7);
    let (mut nodes, mut weights) = (Vec::new(), Vec::new());
    let mut last = INPUT.to_owned();
    for (layer, pair) in units.windows(2).enumerate() {
        let (inputs, outputs) = (pair[0], pair[1]);
        let scale = (3.0 / inputs as f64).sqrt();
        let name = |what: &str| format!("layer{layer}/{what}");
        #[expect(clippy::cast_possible_truncation, reason = "a scale below 1 needs no more digits")]
        let mut tensor = |what: &str, dims: Vec<i64>, count: usize| TensorProto {
            dims,
            data_type: FLOAT,
            name: name(what),
            raw_data: (0..count).flat_map(|_| (stream.next() * scale as f32).to_le_bytes()).collect(),
        };
        weights.push(tensor("weight", vec![dimension(inputs), dimension(outputs)], inputs * outputs));
        weights.push(tensor("bias", vec![dimension(outputs)], outputs));
        nodes.push(node("Gemm", vec![last, name("weight"), name("bias")], name("dense")));
        let is_last = layer + 2 == units.len();
        last = if is_last { OUTPUT.to_owned() } else { name("relu") };
        let activation = if is_last { "Sigmoid" } else { "Relu" };
        nodes.push(node(activation, vec![name("dense")], last.clone()));
    }
    let graph = GraphProto {
        node: nodes,
        name: "bench".to_owned(),
        initializer: weights,
        input: vec![value(INPUT, FEATURES)],
        output: vec![value(OUTPUT, 1)],
    };
    // Old enough for the oldest ONNX Runtime among the peers.
    let opset = OperatorSetIdProto { domain: String::new(), version: 13 };
    ModelProto {
        ir_version: 7,
        producer_name: "modelwright-bench".to_owned(),
        graph: Some(graph),
        opset_import: vec![opset],
    }
    .encode_to_vec()
}

fn dimension(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

fn node(operator: &str, input: Vec<String>, output: String) -> NodeProto {
    NodeProto { input, name: output.clone(), output: vec![output], op_type: operator.to_owned() }
}

fn value(name: &str, width: usize) -> ValueInfoProto {
    let dim = vec![
        Dimension { dim_value: None, dim_param: Some("batch".to_owned()) },
        Dimension { dim_value: Some(dimension(width)), dim_param: None },
    ];
    let tensor = TypeTensor { elem_type: FLOAT, shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name: name.to_owned(), r#type: Some(TypeProto { tensor_type: Some(tensor) }) }
}

/// `TensorProto.DataType.FLOAT`.
const FLOAT: i32 = 1;

// The fields of onnx.proto3 that are used here, with their numbers there.

#[derive(Clone, PartialEq, prost::Message)]
struct ModelProto {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(string, tag = "2")]
    producer_name: String,
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSetIdProto>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct OperatorSetIdProto {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfoProto>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    op_type: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ValueInfoProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    r#type: Option<TypeProto>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TypeProto {
    #[prost(message, optional, tag = "1")]
    tensor_type: Option<TypeTensor>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TypeTensor {
    #[prost(int32, tag = "1")]
    elem_type: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<TensorShapeProto>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TensorShapeProto {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Dimension {
    #[prost(int64, optional, tag = "1")]
    dim_value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    dim_param: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_model_has_the_size_of_its_weights_and_is_the_same_each_time() {
        let bytes = encode(Size::Small.units());
        assert_eq!(bytes, encode(Size::Small.units()));
        let weights = 4 * (FEATURES * 128 + 128 + 128 + 1);
        assert!((weights..weights + 1000).contains(&bytes.len()), "{}", bytes.len());
    }

    #[test]
    fn weights_are_centred_and_spread() {
        let mut stream = Stream(7);
        let values: Vec<f64> = (0..10_000).map(|_| f64::from(stream.next())).collect();
        let mean = values.iter().sum::<f64>() / 1e4;
        let variance = values.iter().map(|value| value * value).sum::<f64>() / 1e4;
        assert!(mean.abs() < 0.02 && (variance - 1.0 / 3.0).abs() < 0.02, "{mean} {variance}");
    }
}
