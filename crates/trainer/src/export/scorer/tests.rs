use std::fs;

use modelwright_api::contract::ExitCode;
use modelwright_api::training::{Activation, InputLayout};
use rstest::rstest;
use tempfile::TempDir;

use super::*;
use crate::export::random_models::RandomModel;
use crate::table::{Column, Values};

fn model(task: Task) -> RandomModel {
    RandomModel::new(3, task, InputLayout::Columns, &[Activation::Relu])
}

fn written(model: &RandomModel) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    model.write(folder.path());
    folder
}

fn open(model: &RandomModel) -> Scorer {
    Scorer::open(written(model).path()).unwrap_or_else(|error| panic!("{error}"))
}

#[rstest]
fn many_rows_are_predicted_as_each_alone(#[values(Task::Multiclass, Task::Regression)] task: Task) {
    let model = model(task);
    let mut scorer = open(&model);
    let rows = model.table.rows();
    let many: Vec<usize> = (0..2 * BATCH + 7).map(|row| row % rows).collect();
    let predictions = scorer.score(&model.table.select(&many)).unwrap();
    for row in 0..rows {
        let alone = scorer.score(&model.table.select(&[row])).unwrap();
        for position in (row..many.len()).step_by(rows) {
            let apart = match (&predictions, &alone) {
                (Predictions::Probabilities(many), Predictions::Probabilities(one)) => {
                    assert_eq!(many.rows(), 2 * BATCH + 7);
                    let pairs = many.row(position).iter().zip(one.row(0));
                    pairs.map(|(one, other)| (one - other).abs()).fold(0.0, f32::max)
                }
                (Predictions::Numbers(many), Predictions::Numbers(one)) => {
                    (many[position] - one[0]).abs() / model.target.spread
                }
                other => panic!("{other:?}"),
            };
            assert!(apart < 1e-5, "{apart} in row {position}");
        }
    }
}

#[test]
fn no_rows_have_no_predictions() {
    let (classes, number) = (model(Task::Binary), model(Task::Regression));
    let none = open(&classes).score(&classes.table.select(&[])).unwrap();
    assert_eq!(none, Predictions::Probabilities(Matrix::zeros(0, 2)));
    let none = open(&number).score(&number.table.select(&[])).unwrap();
    assert_eq!(none, Predictions::Numbers(Vec::new()));
}

#[test]
fn columns_are_found_by_name_among_others() {
    let model = model(Task::Binary);
    let rows = model.table.rows();
    let mut columns = model.table.columns().to_vec();
    columns.push(Column { name: "other".to_owned(), values: Values::Numeric(vec![0.0; rows]) });
    columns.reverse();
    let mut scorer = open(&model);
    let expected = scorer.score(&model.table).unwrap();
    assert_eq!(scorer.score(&Table::new(columns, rows)).unwrap(), expected);
}

#[rstest]
fn rows_of_another_kind_are_refused_by_the_name_of_the_column(#[values(0, 1)] rows: usize) {
    let model = model(Task::Binary);
    let mut scorer = open(&model);
    let rows: Vec<usize> = (0..rows).collect();
    let columns = model.table.select(&rows).columns().to_vec();
    let name = &columns[0].name;

    let error = scorer.score(&Table::new(columns[1..].to_vec(), rows.len())).unwrap_err();
    assert_eq!(error, ScoreError::MissingColumn { column: name.clone() });
    assert_eq!((error.reason(), error.exit_code()), ("NotComparable", ExitCode::BadData));

    let mut other = columns.clone();
    other[0].values = match &columns[0].values {
        Values::Numeric(_) => Values::Boolean(vec![None; rows.len()]),
        _ => Values::Numeric(vec![0.0; rows.len()]),
    };
    let error = scorer.score(&Table::new(other, rows.len())).unwrap_err();
    assert!(matches!(&error, ScoreError::OtherKind { column, .. } if column == name), "{error}");
    assert_eq!(error.reason(), "NotComparable");
}

#[test]
fn a_matrix_takes_numbers_only() {
    let model = RandomModel::new(3, Task::Regression, InputLayout::Features, &[]);
    let mut scorer = open(&model);
    let mut columns = model.table.columns().to_vec();
    columns[0].values = Values::Boolean(vec![None; model.table.rows()]);
    let error = scorer.score(&Table::new(columns, model.table.rows())).unwrap_err();
    assert!(error.to_string().contains("as numbers, and the data has it as truth values"), "{error}");
}

#[test]
fn revisions_of_other_tools_are_not_comparable() {
    let folder = written(&model(Task::Binary));
    fs::remove_file(folder.path().join(SCHEMA_FILE)).unwrap();
    let error = Scorer::open(folder.path()).unwrap_err();
    assert_eq!((error.reason(), error.exit_code()), ("NotComparable", ExitCode::BadData));
}

#[test]
fn a_broken_schema_is_named_with_its_file() {
    let folder = written(&model(Task::Binary));
    fs::write(folder.path().join(SCHEMA_FILE), "{}").unwrap();
    let error = Scorer::open(folder.path()).unwrap_err();
    assert_eq!(error.reason(), "InvalidSchema");
    assert!(
        error.to_string().contains("schema.json: it is no schema of version 1: missing field"),
        "{error}"
    );
}

#[test]
fn a_missing_model_is_missing() {
    let folder = written(&model(Task::Binary));
    fs::remove_file(folder.path().join(MODEL_FILE)).unwrap();
    let error = Scorer::open(folder.path()).unwrap_err();
    assert_eq!((error.reason(), error.exit_code()), ("ModelMissing", ExitCode::InputMissing));
}

#[test]
fn a_model_beside_another_schema_is_refused() {
    let folder = written(&model(Task::Binary));
    let schema = Schema { task: Task::Regression, classes: Vec::new(), ..open(&model(Task::Binary)).schema };
    fs::write(folder.path().join(SCHEMA_FILE), schema.to_json().unwrap()).unwrap();
    let error = Scorer::open(folder.path()).unwrap_err();
    assert_eq!((error.reason(), error.exit_code()), ("OtherSignature", ExitCode::BadData));
    let expected = "it has \"label\" BYTES [-1] where the schema has \"prediction\" FP32 [-1]";
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn text_that_onnx_runtime_does_not_take_is_bad_data() {
    let model = RandomModel::any(0);
    let schema = Schema {
        columns: vec![crate::export::schema::SchemaColumn::String {
            name: "city".to_owned(),
            categories: vec!["Bern".to_owned()],
            fill: None,
            baseline: None,
        }],
        ..Schema::new(&model.preprocessing, &model.target)
    };
    let texts =
        crate::table::Texts { dictionary: vec!["a\0".to_owned()], codes: vec![Some(0), None, Some(0)] };
    let table = Table::new(vec![Column { name: "city".to_owned(), values: Values::Text(texts) }], 3);
    let inputs = tensors(&Schema { layout: InputLayout::Columns, ..schema }, &table, 1..9).unwrap();
    assert_eq!(inputs[0].shape(), [2, 1]);
    let texts = ["", "a\0"].map(|text| text.to_owned().into()).to_vec();
    assert_eq!(*inputs[0].data(), TensorData::Bytes(texts));
}
