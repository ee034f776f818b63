use bytes::Bytes;
use rstest::rstest;

use super::*;
use crate::tensor::TensorData;

fn floats(name: &str, shape: &[i64], values: &[f32]) -> Tensor {
    Tensor::new(name, shape.to_vec(), TensorData::Fp32(values.to_vec())).unwrap()
}

fn labels(shape: &[i64], values: &[&'static str]) -> Tensor {
    let values = values.iter().map(|text| Bytes::from_static(text.as_bytes())).collect();
    Tensor::new("label", shape.to_vec(), TensorData::Bytes(values)).unwrap()
}

#[rstest]
#[case::vector(vec![floats("y", &[2], &[0.1, 2.0])], "[0.1,2.0]")]
#[case::column(vec![floats("y", &[2, 1], &[0.1, 2.0])], "[0.1,2.0]")]
#[case::matrix(vec![floats("y", &[2, 2], &[1.0, 2.0, 3.0, 4.0])], "[[1.0,2.0],[3.0,4.0]]")]
#[case::cube(vec![floats("y", &[1, 2, 2], &[1.0, 2.0, 3.0, 4.0])], "[[[1.0,2.0],[3.0,4.0]]]")]
#[case::scalar(vec![floats("y", &[], &[7.0])], "7.0")]
#[case::no_rows(vec![floats("y", &[0, 3], &[])], "[]")]
#[case::no_outputs(vec![], "[]")]
#[case::several(
    vec![labels(&[2], &["a", "b\""]), floats("p", &[2, 2], &[0.5, 0.5, 0.25, 0.75])],
    r#"[{"label":"a","p":[0.5,0.5]},{"label":"b\"","p":[0.25,0.75]}]"#
)]
#[case::without_common_rows(
    vec![labels(&[2], &["a", "b"]), floats("score", &[1, 1], &[0.5])],
    r#"{"label":["a","b"],"score":[[0.5]]}"#
)]
#[case::with_a_scalar(vec![labels(&[1], &["a"]), floats("loss", &[], &[0.5])], r#"{"label":["a"],"loss":0.5}"#)]
#[case::rows_without_elements(vec![floats("y", &[i64::MAX, 0], &[])], r#"{"y":[]}"#)]
fn outputs_take_the_form_of_their_shapes(#[case] outputs: Vec<Tensor>, #[case] expected: &str) {
    let body = String::from_utf8(write_predictions(&outputs).unwrap()).unwrap();
    assert_eq!(body, format!("{{\"predictions\":{expected}}}"));
    serde_json::from_str::<serde_json::Value>(&body).unwrap();
}

#[test]
fn outputs_that_are_not_finite_are_the_servers_error() {
    let error = write_predictions(&[floats("y", &[1], &[f32::INFINITY])]).unwrap_err();
    assert_eq!(error.status(), 500);
}
