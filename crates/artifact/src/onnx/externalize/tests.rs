use std::io::Cursor;

use super::super::encoder::{Encoder, graph, model, weight};
use super::super::{Limits, OnnxFacts, scan};
use super::*;

fn convert(source: &[u8]) -> (Vec<u8>, Vec<u8>, Externalized) {
    try_convert(source, "weights.data").unwrap()
}

fn try_convert(source: &[u8], location: &str) -> io::Result<(Vec<u8>, Vec<u8>, Externalized)> {
    let (mut source, mut model, mut data) = (Cursor::new(source), Vec::new(), Vec::new());
    let plan = Externalization::plan(&mut source, location)?;
    plan.write(&mut source, &mut model, &mut data)?;
    assert_eq!(plan.bytes(), (model.len() + data.len()) as u64);
    Ok((model, data, plan.moved()))
}

fn facts(model: &[u8]) -> OnnxFacts {
    scan(model, Limits::default()).unwrap()
}

/// `TensorProto` of 8-bit integers that are all `value`.
fn bytes_weight(name: &str, value: u8, count: usize) -> Encoder {
    let size = i64::try_from(count).unwrap();
    Encoder::new().number(1, size).number(2, 2).bytes(9, vec![value; count]).bytes(8, name)
}

#[test]
fn large_weights_move_to_pages_of_the_other_file_and_the_rest_stays() {
    let source = model(
        &graph()
            .message(5, &bytes_weight("first", 1, 5000))
            .message(5, &weight("small", &[4]))
            .message(5, &bytes_weight("second", 2, 4096)),
    );
    let (converted, data, moved) = convert(&source);
    assert_eq!(moved, Externalized { weights: 2, bytes: 9096 });
    assert_eq!(data.len(), 8192 + 4096);
    assert!(data[..5000].iter().all(|byte| *byte == 1) && data[5000..8192].iter().all(|byte| *byte == 0));
    assert!(data[8192..].iter().all(|byte| *byte == 2));
    let (before, after) = (facts(&source), facts(&converted));
    assert_eq!(after.external_data.iter().map(String::as_str).collect::<Vec<_>>(), ["weights.data"]);
    assert_eq!(after.parameter_bytes, before.parameter_bytes);
    assert_eq!(OnnxFacts { external_data: before.external_data.clone(), ..after }, before);
}

#[test]
fn a_model_without_large_weights_is_copied() {
    for source in [model(&graph()), model(&graph().message(5, &weight("w", &[10])))] {
        let (converted, data, moved) = convert(&source);
        assert_eq!((converted, data, moved), (source, vec![], Externalized::default()));
    }
}

#[test]
fn what_is_outside_already_stays_there() {
    let (converted, _, _) = convert(&model(&graph().message(5, &bytes_weight("w", 1, 5000))));
    let (again, data, moved) = convert(&converted);
    assert_eq!((again, data, moved), (converted, vec![], Externalized::default()));
}

#[test]
fn packed_numbers_of_fixed_length_are_moved_as_they_are() {
    for (field, datatype, length) in [(4, 1, 4), (10, 11, 8)] {
        let numbers: Vec<u8> = (0..=255).cycle().take(8192).collect();
        let count = 8192 / length;
        let tensor =
            Encoder::new().number(1, count).number(2, datatype).bytes(field, &*numbers).bytes(8, "w");
        let source = model(&graph().message(5, &tensor));
        let (converted, data, moved) = convert(&source);
        assert_eq!((data, moved), (numbers, Externalized { weights: 1, bytes: 8192 }));
        assert_eq!(facts(&converted).parameter_bytes, 8192);
    }
}

#[test]
fn text_and_ambiguous_data_stay_inside() {
    let text = Encoder::new().number(1, 1).number(2, 8).bytes(8, "t").bytes(9, vec![0; 5000]);
    let twice = bytes_weight("w", 1, 5000).bytes(9, vec![2; 5000]);
    // Complex numbers share the field of 32-bit ones.
    let complex = Encoder::new().number(1, 1024).number(2, 14).bytes(4, vec![0; 8192]).bytes(8, "c");
    let whole_numbers = Encoder::new().number(1, 8192).number(2, 7).bytes(7, vec![1; 8192]).bytes(8, "i");
    for tensor in [text, twice, complex, whole_numbers] {
        let source = model(&graph().message(5, &tensor));
        assert_eq!(convert(&source).0, source);
    }
}

#[test]
fn damage_is_an_error_and_no_panic() {
    let whole = model(&graph().message(5, &bytes_weight("w", 1, 5000)));
    for end in (0..200).chain(whole.len() - 100..whole.len()) {
        // A cut between two fields looks complete.
        let _ = try_convert(&whole[..end], "d");
    }
    for content in [b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f".as_slice(), b"\x07", &[0xff; 20]] {
        assert_eq!(try_convert(content, "d").unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
