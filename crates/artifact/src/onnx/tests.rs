//! Tests of the whole scanner: real files, hand-made files, broken files.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rstest::rstest;

use super::encoder::{Encoder, graph, model, tensor_value, typed_value, weight};
use super::*;

/// What the Python package `onnx` says about the files in `testdata`; `make.py` there writes both.
const FIXTURES: [(&str, &[u8]); 5] = [
    ("dense", include_bytes!("testdata/dense.onnx")),
    ("types", include_bytes!("testdata/types.onnx")),
    ("subgraphs", include_bytes!("testdata/subgraphs.onnx")),
    ("domains", include_bytes!("testdata/domains.onnx")),
    ("external", include_bytes!("testdata/external.onnx")),
];

fn scan_in_chunks(bytes: &[u8], size: usize, limits: Limits) -> Result<OnnxFacts, OnnxError> {
    let mut scanner = Scanner::new(limits);
    for chunk in bytes.chunks(size) {
        scanner.push(chunk)?;
    }
    scanner.finish()
}

fn scan_all(bytes: &[u8]) -> Result<OnnxFacts, OnnxError> {
    scan(bytes, Limits::default())
}

fn refusal(bytes: &[u8]) -> OnnxError {
    scan_all(bytes).unwrap_err()
}

#[test]
fn facts_equal_those_of_the_python_package() {
    let expected: BTreeMap<String, OnnxFacts> =
        serde_json::from_str(include_str!("testdata/expected.json")).unwrap();
    assert_eq!(expected.len(), FIXTURES.len());
    for (name, bytes) in FIXTURES {
        assert_eq!(scan_all(bytes).unwrap(), expected[name], "{name}");
    }
}

#[test]
fn chunk_size_and_known_size_change_nothing() {
    for (name, bytes) in FIXTURES {
        let whole = scan_all(bytes);
        let limits = Limits { file_bytes: Some(bytes.len() as u64), ..Limits::default() };
        for size in [1, 2, 3, 7, 64, 511, 512, 513, bytes.len()] {
            assert_eq!(scan_in_chunks(bytes, size, limits), whole, "{name} in chunks of {size}");
        }
    }
}

#[test]
fn every_truncation_is_refused_and_says_so() {
    for (name, bytes) in FIXTURES {
        for length in 0..bytes.len() {
            let error = scan_all(&bytes[..length]);
            let Err(error) = error else {
                // Cut between two fields of the model: nothing is missing that any reader could miss.
                assert!(scan_all(&bytes[..length]).unwrap().opset().is_some(), "{name} cut at {length}");
                continue;
            };
            let reason = error.reason();
            assert!(
                ["NotOnnx", "TruncatedModel", "InvalidModel"].contains(&reason),
                "{name} cut at {length}: {error}"
            );
            let limits = Limits { file_bytes: Some(length as u64), ..Limits::default() };
            assert!(scan_in_chunks(&bytes[..length], 1, limits).is_err());
        }
        // With the size that the store told, no cut goes unnoticed.
        let limits = Limits { file_bytes: Some(bytes.len() as u64), ..Limits::default() };
        for length in 0..bytes.len() {
            assert!(scan(&bytes[..length], limits).is_err(), "{name} cut at {length}");
        }
    }
}

#[test]
fn initializers_and_subgraph_values_are_no_inputs() {
    let branch = Encoder::new().message(11, &tensor_value("inner", 1, &[1])).message(5, &weight("w2", &[2]));
    let node =
        Encoder::new().bytes(4, "Loop").message(5, &Encoder::new().bytes(1, "body").message(6, &branch));
    let graph = graph()
        .message(11, &tensor_value("w", 1, &[3]))
        .message(1, &node)
        .message(5, &weight("w", &[3]))
        .message(5, &weight("w2", &[2]));
    let facts = scan_all(&model(&graph)).unwrap();
    let names: Vec<_> = facts.inputs.iter().map(|input| input.name.as_str()).collect();
    assert_eq!(names, ["x"]);
    assert_eq!(facts.parameter_bytes, (3 + 2 + 2) * 4);
    assert_eq!(facts.nodes, 1);
}

#[test]
fn packed_dimensions_and_unknown_fields_are_read() {
    let packed = Encoder::new().raw_varint(3).raw_varint(200);
    let tensor = Encoder::new().bytes(1, &packed.0).number(2, 7).bytes(9, vec![0; 4800]).bytes(8, "w");
    let future = Encoder::new().bytes(900, "?").number(901, 5).tag(902, 5).0;
    let mut graph = graph().message(5, &tensor).bytes(999, future);
    graph = graph.tag(998, 1);
    graph.0.extend([0; 8]);
    assert_eq!(scan_all(&model(&graph)).unwrap().parameter_bytes, 4800);
}

#[test]
fn dimension_that_varies_is_minus_one_in_the_protocol() {
    let facts = scan_all(&model(&graph())).unwrap();
    let shape: Vec<_> = facts.inputs[0].shape.iter().map(Dimension::to_oip).collect();
    assert_eq!(shape, [-1, 4]);
    assert_eq!(facts.inputs[0].datatype.oip_name(), "FP32");
}

#[rstest]
#[case(b"", "it is empty")]
#[case(b"hello world, this is a model", "begins with text")]
#[case("größe größe größe größe größe".as_bytes(), "begins with text")]
#[case(b"\x00\x01\x02\x03", "no ONNX field")]
#[case(b"\x08", "no graph")]
#[case(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "no ONNX field")]
#[case(b"\x08\x04\x12\x05\x0a\x03abc", "no graph")]
fn other_bytes_are_no_onnx(#[case] bytes: &[u8], #[case] part: &str) {
    for size in [1, 100] {
        let error = scan_in_chunks(bytes, size, Limits::default()).unwrap_err();
        assert_eq!(error.reason(), "NotOnnx", "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[rstest]
#[case(b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "NotOnnx", "HTML")]
#[case(
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    "NotOnnx",
    "git lfs pull"
)]
#[case(b"<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code></Error>", "NotOnnx", "XML")]
#[case(b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0", "NotOnnx", "unpack")]
#[case(b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c", "UnsupportedFormat", "skl2onnx")]
#[case(b"\x89HDF\r\n\x1a\n", "UnsupportedFormat", "Keras")]
fn other_formats_are_named_with_the_way_out(#[case] bytes: &[u8], #[case] reason: &str, #[case] part: &str) {
    for size in [1, 1000] {
        let error = scan_in_chunks(bytes, size, Limits::default()).unwrap_err();
        assert_eq!(error.reason(), reason);
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn gigabyte_length_in_a_small_file_is_a_truncation_and_buffers_nothing() {
    let mut bytes = Encoder::new().number(1, 10).bytes(2, "test").tag(7, 2).raw_varint(1 << 30).0;
    bytes.resize(1024, 0x0a);
    let error = scan(&bytes[..], Limits { file_bytes: Some(1024), ..Limits::default() }).unwrap_err();
    assert_eq!(error.reason(), "TruncatedModel");
    assert!(
        error.to_string().contains("after 1024 bytes") && error.to_string().contains("1073741"),
        "{error}"
    );

    let mut bytes = Encoder::new().number(1, 10).bytes(2, "test").tag(6, 2).raw_varint(1 << 30).0;
    bytes.resize(1024, 0);
    let mut scanner = Scanner::new(Limits::default());
    scanner.push(&bytes).unwrap();
    assert!(scanner.peak_buffered_bytes() < 4096);
    assert_eq!(scanner.finish().unwrap_err().reason(), "TruncatedModel");
}

#[test]
fn more_than_protobuf_can_hold_is_told_to_use_external_data() {
    let bytes = Encoder::new().number(1, 10).tag(7, 2).raw_varint(3 << 30).0;
    let error = refusal(&bytes);
    assert_eq!(error.reason(), "ModelTooLarge");
    assert!(error.to_string().contains("save_as_external_data"), "{error}");
}

#[rstest]
// The name of a value is longer than the value.
#[case(model(&Encoder::new().message(11, &Encoder::new().tag(1, 2).raw_varint(99))), "has 99 bytes")]
// The version of an operator set as text.
#[case(Encoder::new().number(1, 10).message(8, &Encoder::new().bytes(2, "x")).0, "OperatorSetIdProto.version")]
// The graph as a number.
#[case(Encoder::new().number(1, 10).bytes(2, "t").number(7, 1).0, "ModelProto.graph has")]
// A group, which protobuf has given up.
#[case(model(&graph().tag(1, 3)), "wire type 3")]
#[case(model(&graph().tag(0, 0)), "0 is no field number")]
// A number that ends behind its message.
#[case(model(&Encoder::new().bytes(11, [0x08 | 2, 1, b'x', 0x80])), "runs over the end")]
#[case(model(&graph().message(5, &Encoder::new().number(1, -1).number(2, 1).bytes(8, "w"))), "impossible")]
#[case(model(&graph().message(5, &Encoder::new().number(1, i64::MAX).number(1, 9).number(2, 1))), "impossible")]
#[case(model(&graph().message(5, &Encoder::new().number(1, 3).number(2, 1).bytes(9, [0; 8]).bytes(8, "w"))), "\"w\" has 8 bytes")]
#[case(model(&graph().message(11, &Encoder::new().bytes(1, [0xff, 0xfe]))), "not UTF-8")]
#[case(Encoder::new().number(1, 10).bytes(2, "t").message(7, &graph()).0, "imports no operator set")]
fn damaged_model_is_refused_with_the_place(#[case] bytes: Vec<u8>, #[case] part: &str) {
    let whole = refusal(&bytes);
    assert!(["InvalidModel", "TruncatedModel", "NotOnnx"].contains(&whole.reason()), "{whole}");
    assert!(whole.to_string().contains(part), "{whole}");
    assert_eq!(scan_in_chunks(&bytes, 1, Limits::default()).unwrap_err(), whole);
}

#[test]
fn number_of_more_than_ten_bytes_is_refused() {
    let mut bytes = Encoder::new().number(1, 10).bytes(2, "t").tag(5, 0).0;
    bytes.extend([0x80; 10]);
    bytes.push(1);
    let error = refusal(&bytes);
    assert_eq!(error.reason(), "InvalidModel");
    assert!(error.to_string().contains("longer than 64 bits"), "{error}");
}

#[rstest]
#[case(Encoder::new().bytes(4, ""), "a sequence", "zipmap")]
#[case(Encoder::new().bytes(5, ""), "a map", "zipmap")]
#[case(Encoder::new().bytes(9, ""), "optional", "required")]
#[case(Encoder::new().bytes(8, ""), "a sparse tensor", "dense")]
#[case(Encoder::new().bytes(7, ""), "opaque", "tensors only")]
#[case(Encoder::new(), "no declared type", "infer_shapes")]
#[case(Encoder::new().message(1, &Encoder::new().number(1, 14)), "COMPLEX64", "Cast")]
#[case(Encoder::new().message(1, &Encoder::new().number(1, 22)), "INT4", "Cast")]
fn output_that_answers_cannot_carry_is_refused(
    #[case] kind: Encoder,
    #[case] found: &str,
    #[case] advice: &str,
) {
    let error = refusal(&model(&graph().message(12, &typed_value("probabilities", &kind))));
    assert_eq!(error.reason(), "UnsupportedType");
    let message = error.to_string();
    assert!(message.contains("output \"probabilities\"") && message.contains(found), "{message}");
    assert!(message.contains(advice), "{message}");
}

fn external(entries: &[(&str, &str)]) -> Vec<u8> {
    let tensor = entries
        .iter()
        .fold(Encoder::new().number(1, 4).number(2, 1).bytes(8, "w"), |tensor, (key, value)| {
            tensor.message(13, &Encoder::new().bytes(1, key).bytes(2, value))
        });
    model(&graph().message(5, &tensor.number(14, 1)))
}

#[rstest]
#[case("../secret")]
#[case("/etc/passwd")]
#[case("a/../../b")]
#[case("C:\\weights")]
#[case("")]
#[case("a\0b")]
#[case("*/_ORT_MEM_ADDR_/*")]
fn external_data_outside_of_the_folder_is_refused(#[case] location: &str) {
    let error = refusal(&external(&[("location", location), ("offset", "0")]));
    assert_eq!(error.reason(), "UnsafeExternalDataPath", "{error}");
}

#[test]
fn external_data_without_a_place_is_refused_and_counts_otherwise() {
    let error = refusal(&external(&[("offset", "0")]));
    assert_eq!(error.reason(), "MissingExternalData");
    let facts = scan_all(&external(&[("location", "model.onnx_data"), ("length", "16")])).unwrap();
    assert_eq!(facts.parameter_bytes, 16);
    assert!(facts.external_data.contains("model.onnx_data"));
}

fn entry(key: &str, value: &str) -> Encoder {
    Encoder::new().bytes(1, key).bytes(2, value)
}

#[rstest]
#[case::only_the_low_32_bits_count(&[(1 << 32) + 1])]
#[case::unknown_value_after_it_does_not_count(&[1, 5])]
#[case::negative_high_bits(&[(-1_i64 << 32) + 1])]
fn weight_that_protobuf_takes_for_external_is_external(#[case] locations: &[i64]) {
    let tensor = Encoder::new().number(1, 4).number(2, 1).bytes(8, "w");
    let tensor = locations.iter().fold(tensor, |tensor, location| tensor.number(14, *location));
    // Without a file it is refused, so it was taken for external.
    assert_eq!(refusal(&model(&graph().message(5, &tensor))).reason(), "MissingExternalData");
    let tensor = tensor.message(13, &entry("location", "w.bin"));
    let facts = scan_all(&model(&graph().message(5, &tensor))).unwrap();
    assert!(facts.external_data.contains("w.bin"));
}

#[test]
fn every_file_that_a_weight_names_counts() {
    let tensor = Encoder::new().number(1, 4).number(2, 1).bytes(8, "w").number(14, 1);
    let tensor = tensor.message(13, &entry("location", "a.bin")).message(13, &entry("location", "./b.bin"));
    let facts = scan_all(&model(&graph().message(5, &tensor))).unwrap();
    assert_eq!(facts.external_data.iter().collect::<Vec<_>>(), ["a.bin", "b.bin"]);
    // An attribute's tensor that comes in two parts, which protobuf's readers put together.
    let (first, second) =
        (Encoder::new().number(14, 1).message(13, &entry("location", "a.bin")), entry("location", "b.bin"));
    let attribute = Encoder::new().bytes(1, "value").message(5, &first);
    let attribute = attribute.message(5, &Encoder::new().message(13, &second));
    let node = Encoder::new().bytes(4, "Constant").message(5, &attribute);
    let facts = scan_all(&model(&graph().message(1, &node))).unwrap();
    assert_eq!(facts.external_data.iter().collect::<Vec<_>>(), ["a.bin", "b.bin"]);
}

#[test]
fn names_of_a_hostile_model_cannot_command_a_terminal() {
    let hostile = "\u{1b}[2J\u{202e}".to_owned();
    let errors = [
        OnnxError::UnsupportedOpset { domain: hostile.clone(), found: 9, oldest: 1, newest: 2 },
        OnnxError::CustomOperator { domain: hostile.clone(), operators: vec![hostile.repeat(1000)] },
        OnnxError::MissingExternalData { tensor: hostile.clone() },
        OnnxError::UnsupportedType {
            role: "input",
            name: hostile,
            found: "a map".into(),
            advice: "export it again",
        },
    ];
    for error in errors {
        let message = error.to_string();
        assert!(message.contains("[2J"), "{message:?}");
        assert!(!message.contains(['\u{1b}', '\u{202e}']) && message.len() < 2000, "{message:?}");
    }
}

/// `levels` subgraphs inside each other.
fn nested(levels: usize) -> Vec<u8> {
    let innermost = Encoder::new();
    let body = (0..levels).fold(innermost, |inner, _| {
        Encoder::new()
            .message(1, &Encoder::new().bytes(4, "If").message(5, &Encoder::new().message(6, &inner)))
    });
    model(&Encoder(graph().0.into_iter().chain(body.0).collect()))
}

#[test]
fn nesting_is_bounded() {
    assert_eq!(scan_all(&nested(20)).unwrap().nodes, 20);
    assert_eq!(refusal(&nested(60)).reason(), "ModelTooComplex");
    assert_eq!(refusal(&nested(5000)).reason(), "ModelTooComplex");
}

#[test]
fn names_are_bounded_and_descriptions_are_cut() {
    let long = "ä".repeat(5000);
    let error = refusal(&model(&graph().message(11, &tensor_value(&long, 1, &[1]))));
    assert_eq!(error.reason(), "ModelTooComplex", "{error}");
    let bytes = Encoder(model(&graph())).bytes(3, &long).0;
    let version = scan_all(&bytes).unwrap().producer_version.unwrap();
    assert_eq!(version.len(), 4096);
    assert!(long.starts_with(&version));
}

#[test]
fn memory_stays_within_the_limit_however_many_parts_there_are() {
    let limits = Limits { retained_bytes: 64 << 10, ..Limits::default() };
    let many =
        (0..5000).fold(graph(), |graph, i| graph.message(12, &tensor_value(&format!("output {i}"), 1, &[1])));
    let bytes = model(&many);
    let mut scanner = Scanner::new(limits);
    assert_eq!(scanner.push(&bytes).unwrap_err().reason(), "ModelTooComplex");
    assert_eq!(scanner.push(&bytes).unwrap_err().reason(), "ModelTooComplex");
    assert!(scanner.peak_buffered_bytes() < 80 << 10, "{}", scanner.peak_buffered_bytes());
}

#[test]
fn weights_are_never_buffered() {
    let bytes = model(&graph().message(5, &weight("w", &[1 << 20])));
    let mut scanner = Scanner::new(Limits::default());
    scanner.push(&bytes).unwrap();
    assert!(scanner.peak_buffered_bytes() < 4096, "{}", scanner.peak_buffered_bytes());
    assert_eq!(scanner.finish().unwrap().parameter_bytes, 4 << 20);
}

#[test]
fn metadata_is_kept_up_to_its_limit() {
    let bytes = (0..200).fold(Encoder(model(&graph())), |model, i| {
        model.message(14, &Encoder::new().bytes(1, format!("key{i}")).bytes(2, "value"))
    });
    assert_eq!(scan_all(&bytes.0).unwrap().metadata.len(), 64);
}

#[test]
fn file_longer_than_announced_is_refused() {
    let bytes = model(&graph());
    let limits = Limits { file_bytes: Some(bytes.len() as u64), ..Limits::default() };
    let longer = [&bytes[..], &[0x10, 0]].concat();
    assert_eq!(scan(&longer[..], limits).unwrap_err().reason(), "InvalidModel");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), size in 1_usize..600) {
        prop_assert_eq!(scan_all(&bytes), scan_in_chunks(&bytes, size, Limits::default()));
    }

    #[test]
    fn damaged_models_never_panic_and_read_the_same_in_any_chunks(
        fixture in 0..FIXTURES.len(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<proptest::sample::Index>(),
        size in 1_usize..700,
    ) {
        let mut bytes = FIXTURES[fixture].1.to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        prop_assert_eq!(scan_all(&bytes), scan_in_chunks(&bytes, size, Limits::default()));
        bytes.truncate(cut.index(bytes.len()));
        let limits = Limits { file_bytes: Some(bytes.len() as u64), ..Limits::default() };
        prop_assert_eq!(scan(&bytes[..], limits), scan_in_chunks(&bytes, size, limits));
    }
}
