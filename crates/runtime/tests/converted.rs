//! Models whose weights were moved to a file of their own compute, bit for bit, what they computed before.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;

use modelwright_artifact::mapping::{self, Converted};
use modelwright_artifact::{Digest, FileEntry, MODEL_FILE, Manifest, RelativePath};
use modelwright_protocol::{Tensor, TensorData};
use modelwright_runtime::{LoadRequest, LoadedModel, Session, SessionOptions, Weights};

use self::wire::{message, number, text, varint};

#[path = "../examples/model/wire.rs"]
mod wire;

/// Types of elements by their numbers in `onnx.proto3`.
const FLOAT: u64 = 1;
const UINT8: u64 = 2;
const INT8: u64 = 3;
const INT32: u64 = 6;
const INT64: u64 = 7;
const STRING: u64 = 8;
const BOOL: u64 = 9;
const FLOAT16: u64 = 10;
const DOUBLE: u64 = 11;
/// The fields of `TensorProto` that hold numbers.
const FLOAT_DATA: u64 = 4;
const INT32_DATA: u64 = 5;
const STRING_DATA: u64 = 6;
const INT64_DATA: u64 = 7;
const RAW_DATA: u64 = 9;
const DOUBLE_DATA: u64 = 10;

#[test]
fn weights_of_every_kind_compute_the_same_from_a_file_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let copy = convert(folder.path(), &every_kind());
    // Those of 4 KiB and more in fields whose bytes are those of the numbers: see `every_kind`.
    assert_eq!(copy.moved.weights, 9);
    for prepacking in [true, false] {
        let options = SessionOptions { prepacking, ..SessionOptions::default() };
        let [before, after] = [folder.path().join(MODEL_FILE), copy.model.clone()].map(|path| {
            let mut session = Session::open(&path, &options).unwrap();
            [true, false].map(|branch| session.run(&inputs(branch)).unwrap())
        });
        assert_eq!(before[0].len(), 18);
        assert_eq!(before, after, "prepacking: {prepacking}");
        assert_ne!(before[0], before[1], "the branch of `If` has no effect");
    }
}

#[test]
fn converted_model_is_mapped_by_all_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let copy = convert(folder.path(), &every_kind());
    let request = LoadRequest {
        weights: Weights::Mapped,
        instances: NonZeroUsize::new(2),
        ..LoadRequest::new(&copy.model)
    };
    let mapped = LoadedModel::load(&request).unwrap();
    assert_eq!(mapped.report().weights, Weights::Mapped);
    let original = LoadRequest { path: folder.path().join(MODEL_FILE), ..request };
    assert_eq!(LoadedModel::load(&original).unwrap().report().weights, Weights::Copied);
}

fn convert(folder: &Path, model: &[u8]) -> Converted {
    std::fs::write(folder.join(MODEL_FILE), model).unwrap();
    let entry = FileEntry { sha256: Digest::of(model), size: model.len() as u64 };
    let manifest = Manifest::new(BTreeMap::from([(RelativePath::new(MODEL_FILE).unwrap(), entry)])).unwrap();
    let facts = modelwright_artifact::facts(folder).unwrap();
    mapping::convert(folder, &manifest, &facts).unwrap()
}

fn inputs(branch: bool) -> [Tensor; 2] {
    let x = TensorData::Fp32(vec![0.5, -1.25, 3.0, 1e-3]);
    [
        Tensor::new("x", vec![1, 4], x).unwrap(),
        Tensor::new("branch", vec![1], TensorData::Bool(vec![branch])).unwrap(),
    ]
}

/// A graph under construction.
#[derive(Default)]
struct Graph {
    nodes: Vec<u8>,
    weights: Vec<u8>,
    outputs: Vec<u8>,
}

impl Graph {
    fn weight(&mut self, name: &str, datatype: u64, dims: &[u64], data: &[u8]) {
        self.weights.extend(message(5, &tensor(name, datatype, dims, data)));
    }

    fn node(&mut self, operator: &str, inputs: &[&str], output: &str, attributes: &[u8]) {
        self.nodes.extend(message(1, &node(operator, inputs, output, attributes)));
    }

    fn output(&mut self, name: &str, datatype: u64) {
        self.outputs.extend(message(12, &value(name, datatype, None)));
    }

    /// A weight that an output repeats.
    fn repeated(&mut self, name: &str, datatype: u64, dims: &[u64], data: &[u8]) {
        self.weight(name, datatype, dims, data);
        let output = format!("{name}_out");
        self.node("Identity", &[name], &output, &[]);
        self.output(&output, datatype);
    }

    /// A product of the input and a weight.
    fn product(&mut self, input: &str, name: &str, datatype: u64, data: &[u8]) {
        self.weight(name, datatype, &[4, 1024], data);
        let output = format!("{name}_out");
        self.node("MatMul", &[input, name], &output, &[]);
        self.output(&output, datatype);
    }
}

/// A model with a weight of every kind. "Moved" is said of those that go to the other file.
fn every_kind() -> Vec<u8> {
    let mut graph = Graph::default();
    let number = |index: u16| (f32::from(index) - 2000.0) / 777.0;
    let floats: Vec<u8> = (0..4096).flat_map(|index| number(index).to_le_bytes()).collect();
    let doubles: Vec<u8> = (0..4096).flat_map(|index| f64::from(number(index)).to_le_bytes()).collect();
    let raw = |bytes: &[u8]| message(RAW_DATA, bytes);
    let odd: Vec<u8> = (0..=255).cycle().take(4097).collect();
    // Moved: numbers of both sizes, raw and in typed fields.
    graph.product("x", "raw_floats", FLOAT, &raw(&floats));
    graph.product("x", "typed_floats", FLOAT, &message(FLOAT_DATA, &floats));
    graph.node("Cast", &["x"], "wide", &integer_attribute("to", DOUBLE));
    graph.product("wide", "raw_doubles", DOUBLE, &raw(&doubles));
    graph.product("wide", "typed_doubles", DOUBLE, &message(DOUBLE_DATA, &doubles));
    // Moved: others, some of lengths that are no multiple of anything, so that padding stands before the next one.
    graph.repeated("bytes", UINT8, &[4097], &raw(&odd));
    graph.repeated("signed_bytes", INT8, &[17, 241], &raw(&odd));
    let halves: Vec<u8> = (0..3000_u16).flat_map(|index| (0x3c00 + index).to_le_bytes()).collect();
    graph.repeated("halves", FLOAT16, &[3000], &raw(&halves));
    let flags: Vec<u8> = (0..5000_u16).map(|index| u8::from(index % 3 == 0)).collect();
    graph.repeated("flags", BOOL, &[5000], &raw(&flags));
    // Moved, and read when the graph is opened: the shape of an output is taken from it.
    let shapes: Vec<u8> = (0..600_i64).flat_map(|index| (index % 4 + 1).to_le_bytes()).collect();
    graph.weight("shapes", INT64, &[600], &raw(&shapes));
    graph.weight("chosen", INT64, &[2], &raw(&[1_i64, 1].map(i64::to_le_bytes).concat()));
    graph.node("Gather", &["shapes", "chosen"], "shape", &[]);
    graph.node("Reshape", &["x", "shape"], "square", &[]);
    graph.output("square", FLOAT);
    // Not moved: numbers of variable length, however many; text; small ones; scalars.
    let varints: Vec<u8> = (0..5000_u64).flat_map(varint).collect();
    graph.repeated("typed_longs", INT64, &[5000], &message(INT64_DATA, &varints));
    graph.repeated("typed_integers", INT32, &[5000], &message(INT32_DATA, &varints));
    graph.repeated("typed_halves", FLOAT16, &[5000], &message(INT32_DATA, &varints));
    let texts: Vec<u8> = (0..500).flat_map(|index| text(STRING_DATA, &format!("word {index}"))).collect();
    graph.repeated("texts", STRING, &[500], &texts);
    graph.repeated("small", FLOAT, &[4], &raw(&floats[..16]));
    graph.repeated("empty", FLOAT, &[0], &[]);
    graph.repeated("scalar", FLOAT, &[], &raw(&2.5_f32.to_le_bytes()));
    // Not moved: what is in attributes and subgraphs.
    let constant = message(5, &[tensor("", FLOAT, &[1024], &raw(&floats[4096..8192])), Vec::new()].concat());
    graph.node("Constant", &[], "constant", &attribute("value", 4, &constant));
    graph.output("constant", FLOAT);
    let branches: Vec<u8> = [("then_branch", &floats[..8192]), ("else_branch", &floats[8192..])]
        .into_iter()
        .flat_map(|(name, data)| attribute(name, 5, &message(6, &branch(name, &raw(data)))))
        .collect();
    graph.node("If", &["branch"], "of_branch", &branches);
    graph.output("of_branch", FLOAT);
    model(&graph)
}

fn model(graph: &Graph) -> Vec<u8> {
    let inputs =
        [message(11, &value("x", FLOAT, Some(&[1, 4]))), message(11, &value("branch", BOOL, Some(&[1])))];
    let graph = [&text(2, "every kind"), &graph.nodes, &graph.weights, &inputs.concat(), &graph.outputs]
        .map(Vec::as_slice)
        .concat();
    let opset = message(8, &[text(1, ""), number(2, 17)].concat());
    [number(1, 8), message(7, &graph), opset].concat()
}

/// A subgraph with a weight of its own that is its output.
fn branch(name: &str, data: &[u8]) -> Vec<u8> {
    let (weight, output) = (format!("{name}_weight"), format!("{name}_out"));
    [
        text(2, name),
        message(1, &node("Identity", &[&weight], &output, &[])),
        message(5, &tensor(&weight, FLOAT, &[2048], data)),
        message(12, &value(&output, FLOAT, None)),
    ]
    .concat()
}

fn tensor(name: &str, datatype: u64, dims: &[u64], data: &[u8]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|&dim| number(1, dim)).collect();
    [dims, number(2, datatype), data.to_vec(), text(8, name)].concat()
}

fn node(operator: &str, inputs: &[&str], output: &str, attributes: &[u8]) -> Vec<u8> {
    let inputs: Vec<u8> = inputs.iter().flat_map(|input| text(1, input)).collect();
    [inputs, text(2, output), text(4, operator), attributes.to_vec()].concat()
}

/// An attribute of a node, by the number of its type.
fn attribute(name: &str, kind: u64, content: &[u8]) -> Vec<u8> {
    message(5, &[text(1, name), content.to_vec(), number(20, kind)].concat())
}

fn integer_attribute(name: &str, value: u64) -> Vec<u8> {
    attribute(name, 2, &number(3, value))
}

/// An input, or an output of any shape.
fn value(name: &str, datatype: u64, dims: Option<&[u64]>) -> Vec<u8> {
    let shape = dims.map_or_else(Vec::new, |dims| {
        message(2, &dims.iter().flat_map(|&dim| message(1, &number(1, dim))).collect::<Vec<_>>())
    });
    let tensor = [number(1, datatype), shape].concat();
    [text(1, name), message(2, &message(1, &tensor))].concat()
}
