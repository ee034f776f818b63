use bytes::Bytes;
use rstest::rstest;

use super::*;
use crate::datatype::Datatype;
use crate::tensor::TensorData;

fn floats(name: &str, shape: &[i64], values: &[f32]) -> Tensor {
    Tensor::new(name, shape.to_vec(), TensorData::Fp32(values.to_vec())).unwrap()
}

fn labels(shape: &[i64], values: &[&'static str]) -> Tensor {
    let values = values.iter().map(|text| Bytes::from_static(text.as_bytes())).collect();
    Tensor::new("label", shape.to_vec(), TensorData::Bytes(values)).unwrap()
}

/// The signature with these shapes, named differently because only the order counts.
fn signature(shapes: &[&[i64]]) -> Vec<TensorMetadata> {
    let metadata = |(index, shape): (usize, &&[i64])| TensorMetadata {
        name: index.to_string(),
        datatype: Datatype::Fp32,
        shape: shape.to_vec(),
    };
    shapes.iter().enumerate().map(metadata).collect()
}

fn predictions(shapes: &[&[i64]], outputs: &[Tensor]) -> String {
    let body = String::from_utf8(write_predictions(outputs, &signature(shapes)).unwrap()).unwrap();
    serde_json::from_str::<serde_json::Value>(&body).unwrap();
    body.strip_prefix("{\"predictions\":").unwrap().strip_suffix('}').unwrap().to_owned()
}

#[rstest]
#[case::vector(&[-1], &[2], &[0.1, 2.0], "[0.1,2.0]")]
#[case::vector_of_one(&[-1], &[1], &[0.1], "[0.1]")]
#[case::column(&[-1, 1], &[2, 1], &[0.1, 2.0], "[0.1,2.0]")]
#[case::column_of_one(&[-1, 1], &[1, 1], &[0.1], "[0.1]")]
#[case::deep_column(&[-1, 1, 1], &[2, 1, 1], &[0.1, 2.0], "[0.1,2.0]")]
#[case::matrix(&[-1, 2], &[2, 2], &[1.0, 2.0, 3.0, 4.0], "[[1.0,2.0],[3.0,4.0]]")]
#[case::matrix_of_one_row(&[-1, 2], &[1, 2], &[1.0, 2.0], "[[1.0,2.0]]")]
#[case::cube(&[-1, 2, 2], &[1, 2, 2], &[1.0, 2.0, 3.0, 4.0], "[[[1.0,2.0],[3.0,4.0]]]")]
#[case::no_rows(&[-1, 3], &[0, 3], &[], "[]")]
#[case::variable_rows(&[-1, -1], &[2, 2], &[1.0, 2.0, 3.0, 4.0], "[[1.0,2.0],[3.0,4.0]]")]
#[case::variable_rows_of_one(&[-1, -1], &[2, 1], &[1.0, 2.0], "[[1.0],[2.0]]")]
#[case::variable_rows_of_none(&[-1, -1], &[2, 0], &[], "[[],[]]")]
#[case::variable_cube_of_one(&[-1, -1, 1], &[1, 1, 1], &[1.0], "[[[1.0]]]")]
#[case::fixed_first(&[1, 2], &[1, 2], &[1.0, 2.0], "[[1.0,2.0]]")]
#[case::fixed_vector(&[2], &[2], &[1.0, 2.0], "[1.0,2.0]")]
#[case::fixed_column(&[2, 1], &[2, 1], &[1.0, 2.0], "[[1.0],[2.0]]")]
#[case::scalar(&[], &[], &[7.0], "7.0")]
#[case::scalar_against_the_signature(&[-1], &[], &[7.0], "7.0")]
#[case::rows_against_the_signature(&[-1], &[1, 2], &[1.0, 2.0], "[[1.0,2.0]]")]
#[case::countless_rows_without_elements(&[-1, -1], &[i64::MAX, 0], &[], "[]")]
fn the_signature_gives_one_output_its_form(
    #[case] wanted: &[i64],
    #[case] shape: &[i64],
    #[case] values: &[f32],
    #[case] expected: &str,
) {
    assert_eq!(predictions(&[wanted], &[floats("y", shape, values)]), expected);
}

#[rstest]
#[case::rows(
    &[-1, 2], floats("p", &[2, 2], &[0.5, 0.5, 0.25, 0.75]),
    r#"[{"label":"a","p":[0.5,0.5]},{"label":"b\"","p":[0.25,0.75]}]"#
)]
#[case::a_column_among_rows(
    &[-1, 1], floats("p", &[2, 1], &[0.5, 0.25]),
    r#"[{"label":"a","p":0.5},{"label":"b\"","p":0.25}]"#
)]
#[case::variable_rows_of_one(
    &[-1, -1], floats("p", &[2, 1], &[0.5, 0.25]),
    r#"[{"label":"a","p":[0.5]},{"label":"b\"","p":[0.25]}]"#
)]
#[case::rows_without_elements(
    &[-1, -1], floats("p", &[2, 0], &[]),
    r#"[{"label":"a","p":[]},{"label":"b\"","p":[]}]"#
)]
#[case::a_fixed_first_dimension_that_agrees(
    &[2], floats("p", &[2], &[0.5, 0.25]),
    r#"{"label":["a","b\""],"p":[0.5,0.25]}"#
)]
#[case::different_rows(&[-1, 1], floats("p", &[1, 1], &[0.5]), r#"{"label":["a","b\""],"p":[[0.5]]}"#)]
#[case::a_scalar(&[], floats("p", &[], &[0.5]), r#"{"label":["a","b\""],"p":0.5}"#)]
fn the_signature_gives_several_outputs_their_form(
    #[case] wanted: &[i64],
    #[case] second: Tensor,
    #[case] expected: &str,
) {
    assert_eq!(predictions(&[&[-1], wanted], &[labels(&[2], &["a", "b\""]), second]), expected);
}

#[test]
fn outputs_that_the_signature_does_not_describe_are_written_whole() {
    let outputs = [floats("y", &[2], &[1.0, 2.0]), floats("z", &[2], &[3.0, 4.0])];
    assert_eq!(predictions(&[&[-1]], &outputs), r#"{"y":[1.0,2.0],"z":[3.0,4.0]}"#);
}

#[test]
fn without_outputs_there_are_no_rows() {
    assert_eq!(predictions(&[], &[]), "[]");
}

#[test]
fn outputs_that_are_not_finite_are_the_servers_error() {
    let error = write_predictions(&[floats("y", &[1], &[f32::INFINITY])], &signature(&[&[-1]])).unwrap_err();
    assert_eq!(error.status(), 500);
}
