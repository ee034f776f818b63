use std::io::Cursor;

use super::super::encoder::{Encoder, graph, model, weight};
use super::super::{Limits, OnnxFacts, scan};
use super::*;

fn convert(source: &[u8]) -> (Vec<u8>, Vec<u8>, Externalized) {
    let (mut model, mut data) = (Vec::new(), Vec::new());
    let moved = externalize(&mut Cursor::new(source), "weights.data", &mut model, &mut data).unwrap();
    (model, data, moved)
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
fn text_and_ambiguous_data_stay_inside() {
    let text = Encoder::new().number(1, 1).number(2, 8).bytes(8, "t").bytes(9, vec![0; 5000]);
    let twice = bytes_weight("w", 1, 5000).bytes(9, vec![2; 5000]);
    for tensor in [text, twice] {
        let source = model(&graph().message(5, &tensor));
        assert_eq!(convert(&source).0, source);
    }
}

#[test]
fn damage_is_an_error_and_no_panic() {
    let whole = model(&graph().message(5, &bytes_weight("w", 1, 5000)));
    for end in (0..200).chain(whole.len() - 100..whole.len()) {
        let (mut model, mut data) = (Vec::new(), Vec::new());
        // A cut between two fields looks complete.
        let _ = externalize(&mut Cursor::new(&whole[..end]), "d", &mut model, &mut data);
    }
    for content in [b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f".as_slice(), b"\x07", &[0xff; 20]] {
        let converted = externalize(&mut Cursor::new(content), "d", &mut Vec::new(), &mut Vec::new());
        assert_eq!(converted.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
