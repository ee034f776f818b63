use bytes::Bytes;
use modelwright_protocol::{Datatype, TensorMetadata};
use rstest::rstest;

use super::*;

fn floats(shape: &[i64], values: &[f32]) -> Tensor {
    Tensor::new("x", shape.to_vec(), TensorData::Fp32(values.to_vec())).unwrap()
}

fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

#[rstest]
#[case(&[(1, 8), (8, 22), (32, 77)], 2.0..2.5, 5.0..7.0)]
// Noise must make neither part negative.
#[case(&[(1, 10), (2, 9), (4, 8)], 0.0..0.001, 8.0..10.0)]
#[case(&[(1, 1), (2, 4), (4, 16)], 1.0..4.0, 0.0..0.001)]
#[case(&[(1, 50)], 0.0..0.001, 50.0..50.1)]
fn run_times_are_fitted_by_a_line(
    #[case] times: &[(usize, u64)],
    #[case] per_row: Range<f64>,
    #[case] fixed: Range<f64>,
) {
    let times: Vec<_> = times.iter().map(|&(rows, time)| (rows, micros(time))).collect();
    let fit = Fit::of(&times).unwrap();
    let in_micros = |time: Duration| time.as_secs_f64() * 1e6;
    assert!(per_row.contains(&in_micros(fit.per_row)) && fixed.contains(&in_micros(fit.fixed)), "{fit:?}");
}

#[test]
fn nothing_measured_is_no_fit() {
    assert_eq!(Fit::of(&[]), None);
    let fit = Fit { per_row: micros(2), fixed: micros(5) };
    assert_eq!((fit.time(10), fit.total(3, 10)), (micros(25), micros(35)));
    assert_eq!(fit.total(usize::MAX, usize::MAX), fit.total(u32::MAX as usize, u32::MAX as usize));
}

fn signature(inputs: &[&[i64]], outputs: &[&[i64]]) -> Signature {
    let tensor =
        |shape: &&[i64]| TensorMetadata { name: "x".into(), datatype: Datatype::Fp32, shape: shape.to_vec() };
    Signature { inputs: inputs.iter().map(tensor).collect(), outputs: outputs.iter().map(tensor).collect() }
}

#[test]
fn rows_may_differ_in_size_where_only_the_outputs_vary_within_them() {
    // Texts that are split.
    assert!(rows_may_differ_in_size(&signature(&[&[-1]], &[&[-1, -1], &[-1]])));
    assert!(rows_may_differ_in_size(&signature(&[&[-1, 4]], &[&[-1, 3, -1]])));
    assert!(!rows_may_differ_in_size(&signature(&[&[-1, -1]], &[&[-1, -1]])));
    assert!(!rows_may_differ_in_size(&signature(&[&[-1, 4], &[-1]], &[&[-1, 3]])));
    assert!(!rows_may_differ_in_size(&signature(&[&[-1]], &[&[-1]])));
}

#[test]
fn a_batch_dimension_is_variable_everywhere() {
    assert!(has_batch_dimension(&signature(&[&[-1, 4], &[-1]], &[&[-1, -1]])));
    for (inputs, outputs) in [
        ([[-1_i64, 4].as_slice(), &[1, 4]], [-1_i64].as_slice()),
        ([&[-1, 4], &[]], &[-1]),
        ([&[-1, 4], &[-1]], &[]),
        ([&[-1, 4], &[-1]], &[4, -1]),
    ] {
        assert!(!has_batch_dimension(&signature(&inputs, &[outputs])), "{inputs:?} {outputs:?}");
    }
    assert!(!has_batch_dimension(&signature(&[], &[&[-1]])));
}

#[test]
fn rows_are_what_all_inputs_share() {
    let two = floats(&[2, 1], &[1.0, 2.0]);
    assert_eq!(rows(&[two.clone(), floats(&[2], &[0.0; 2])]), Some(2));
    assert_eq!(rows(&[two.clone(), floats(&[1, 1], &[0.0])]), None);
    assert_eq!(rows(&[two, floats(&[], &[0.0])]), None);
    assert_eq!(rows(&[]), None);
    assert!(go_together(&[floats(&[2, 1], &[0.0; 2])], &[floats(&[1, 1], &[0.0])]));
    assert!(!go_together(&[floats(&[1, 2], &[0.0; 2])], &[floats(&[1, 1], &[0.0])]));
}

#[test]
fn parts_stand_behind_each_other_and_the_buffer_is_used_again() {
    let (one, other) = ([floats(&[3, 2], &[1., 2., 3., 4., 5., 6.])], [floats(&[1, 2], &[7., 8.])]);
    let mut gathered = Gathered::default();
    let parts = [Part { inputs: &one, rows: 1..3 }, Part { inputs: &other, rows: 0..1 }];
    gathered.fill(&parts).unwrap();
    assert_eq!(gathered.inputs(), [floats(&[3, 2], &[3., 4., 5., 6., 7., 8.])]);
    let TensorData::Fp32(before) = gathered.0[0].data() else { panic!("another type") };
    let before = before.as_ptr();
    gathered.fill(&parts[1..]).unwrap();
    assert_eq!(gathered.inputs(), [floats(&[1, 2], &[7., 8.])]);
    let TensorData::Fp32(after) = gathered.0[0].data() else { panic!("another type") };
    assert_eq!(after.as_ptr(), before);
}

#[test]
fn texts_are_gathered_too() {
    let text = |texts: &[&'static str]| {
        let data = texts.iter().map(|text| Bytes::from_static(text.as_bytes())).collect();
        [Tensor::new("x", vec![texts.len().try_into().unwrap()], TensorData::Bytes(data)).unwrap()]
    };
    let (one, other) = (text(&["a", "b"]), text(&["c"]));
    let mut gathered = Gathered::default();
    let parts = [Part { inputs: &one, rows: 0..2 }, Part { inputs: &other, rows: 0..1 }];
    gathered.fill(&parts).unwrap();
    assert_eq!(gathered.inputs(), text(&["a", "b", "c"]));
}

#[test]
fn outputs_of_several_runs_become_one() {
    let runs = vec![vec![floats(&[2, 1], &[1., 2.])], vec![floats(&[1, 1], &[3.])]];
    assert_eq!(concatenate(runs).unwrap(), [floats(&[3, 1], &[1., 2., 3.])]);
    assert_eq!(concatenate(vec![]).unwrap(), []);
}
