use std::io::Write as _;
use std::path::{Path, PathBuf};

use modelwright_api::contract::ExitCode;
use modelwright_api::training::{Activation, InputLayout, Task};
use modelwright_artifact::Digest;
use modelwright_artifact::onnx::{self, OnnxFacts, Support};
use modelwright_protocol::TensorData;
use proptest::prelude::*;
use rstest::rstest;

use super::random_models::{ACTIVATIONS, RandomModel};
use super::*;
use crate::features::preprocessing::{Prepared, PreparedKind};
use crate::matrix::{Matrix, Predictions};
use crate::network::Dense;
use crate::table::{Column, Table, Texts, Values};

/// Opens what a model's files say.
fn scorer(model: &RandomModel) -> Scorer {
    let folder = tempfile::tempdir().unwrap();
    model.write(folder.path());
    Scorer::open(folder.path()).unwrap_or_else(|error| panic!("{error}"))
}

/// The predictions of ONNX Runtime, row after row.
fn predicted(model: &RandomModel) -> Vec<Vec<f32>> {
    match scorer(model).score(&model.table).unwrap() {
        Predictions::Probabilities(matrix) => {
            (0..matrix.rows()).map(|row| matrix.row(row).to_vec()).collect()
        }
        Predictions::Numbers(numbers) => numbers.iter().map(|number| vec![*number]).collect(),
    }
}

/// Compares ONNX Runtime with double precision.
fn check(model: &RandomModel) -> Result<(), TestCaseError> {
    let (got, expected) = (predicted(model), model.expected());
    prop_assert_eq!(got.len(), expected.len());
    let scale = f64::from(model.target.spread) + f64::from(model.target.center.abs());
    for (row, (got, expected)) in got.iter().zip(&expected).enumerate() {
        prop_assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(expected) {
            let apart = (f64::from(*got) - expected).abs() / scale;
            prop_assert!(apart <= 5e-6, "row {}: {} where {} is right", row, got, expected);
        }
    }
    Ok(())
}

fn facts(bytes: &[u8]) -> OnnxFacts {
    let facts = onnx::scan(bytes, onnx::Limits::default()).unwrap();
    onnx::check(&facts, &Support::ONNX_RUNTIME_1_32_CPU).unwrap();
    facts
}

#[rstest]
fn every_kind_of_model_predicts_as_double_precision_does(
    #[values(Task::Binary, Task::Multiclass, Task::Regression)] task: Task,
    #[values(InputLayout::Features, InputLayout::Columns)] layout: InputLayout,
) {
    check(&RandomModel::new(1, task, layout, &[])).unwrap();
    for activation in ACTIVATIONS {
        check(&RandomModel::new(2, task, layout, &[activation])).unwrap();
    }
}

proptest! {
    #[test]
    fn random_models_predict_as_double_precision_does(seed in any::<u64>()) {
        check(&RandomModel::any(seed))?;
    }
}

/// A network without hidden layers that adds its features.
fn sum(width: usize, bias: f32) -> Network {
    let weights = Matrix::new(width, 1, vec![1.0; width]).unwrap();
    Network { layers: vec![Dense { weights, bias: vec![bias], activation: Activation::Linear }] }
}

fn numeric(name: &str) -> Prepared {
    Prepared { name: name.to_owned(), kind: PreparedKind::Numeric { fill: 3.0, mean: 1.0, deviation: 2.0 } }
}

fn regression() -> Target {
    let name = "price".to_owned();
    Target { name, task: Task::Regression, classes: Vec::new(), center: 10.0, spread: 2.0 }
}

fn binary(first: &str, second: &str) -> Target {
    let classes = vec![first.to_owned(), second.to_owned()];
    Target { name: "kind".to_owned(), task: Task::Binary, classes, center: 0.0, spread: 1.0 }
}

fn of(columns: Vec<Prepared>, network: Network, target: Target, table: Table) -> RandomModel {
    let preprocessing = Preprocessing { layout: InputLayout::Columns, columns };
    RandomModel { preprocessing, target, network, table }
}

fn texts(texts: &[Option<&str>]) -> Values {
    let dictionary: Vec<_> = texts.iter().flatten().map(|text| (*text).to_owned()).collect();
    let mut next = 0..;
    let codes = texts.iter().map(|text| text.and_then(|_| next.next())).collect();
    Values::Text(Texts { dictionary, codes })
}

#[test]
fn missing_and_unknown_values_are_treated_as_in_training() {
    let text = |name: &str, categories: &[&str], fill: Option<&str>| Prepared {
        name: name.to_owned(),
        kind: PreparedKind::Text {
            categories: categories.iter().map(|&category| category.to_owned()).collect(),
            fill: fill.map(str::to_owned),
        },
    };
    let columns = vec![
        numeric("x"),
        Prepared { name: "b".to_owned(), kind: PreparedKind::Boolean { fill: true } },
        text("filled", &["Bern", "Genf"], Some("Genf")),
        text("own", &["", "Bern"], None),
        text("none", &[], None),
    ];
    // Every feature has a digit of its own.
    let mut network = sum(6, 0.0);
    network.layers[0].weights.values_mut().copy_from_slice(&[1.0, 10.0, 100.0, 200.0, 1000.0, 2000.0]);
    let values = [
        ("x", Values::Numeric(vec![f32::NAN, 7.0, 1.0])),
        ("b", Values::Boolean(vec![None, Some(false), Some(true)])),
        ("filled", texts(&[None, Some("Bern"), Some("bern")])),
        ("own", texts(&[None, Some("Bern"), Some("unknown")])),
        ("none", texts(&[None, Some("Bern"), None])),
    ];
    let values = values.into_iter().map(|(name, values)| Column { name: name.to_owned(), values });
    let table = Table::new(values.collect(), 3);
    let model = of(columns, network, Target { center: 0.0, spread: 1.0, ..regression() }, table);
    assert_eq!(predicted(&model), [[1211.0], [2103.0], [10.0]]);
}

#[test]
fn the_label_is_the_likeliest_class_and_of_equal_ones_the_first() {
    let column = Prepared {
        name: "x".to_owned(),
        kind: PreparedKind::Numeric { fill: 0.0, mean: 0.0, deviation: 1.0 },
    };
    let values = Values::Numeric(vec![-0.5, f32::NAN, 0.5]);
    let table = Table::new(vec![Column { name: "x".to_owned(), values }], 3);
    let model = of(vec![column], sum(1, 0.0), binary("nein", "größer"), table);
    let mut scorer = scorer(&model);
    let inputs = scorer::tensors(scorer.schema(), &model.table, 0..3).unwrap();
    let outputs = scorer.run(&inputs).unwrap();
    assert_eq!((outputs[0].name(), outputs[1].name()), (LABEL, PROBABILITIES));
    let labels = ["nein", "nein", "größer"].map(|label| label.to_owned().into()).to_vec();
    assert_eq!(*outputs[0].data(), TensorData::Bytes(labels));
    let TensorData::Fp32(probabilities) = outputs[1].data() else { panic!("{outputs:?}") };
    assert_eq!(probabilities[2..4], [0.5, 0.5]);
    assert!((probabilities[4] - 0.377_540_67).abs() < 1e-6, "{probabilities:?}");
}

#[test]
fn files_say_what_the_model_takes_and_gives() {
    let model = RandomModel::new(5, Task::Multiclass, InputLayout::Columns, &[Activation::Gelu]);
    let facts = facts(&super::model(&model.exported()).unwrap());
    assert_eq!((facts.ir_version, facts.opset(), facts.opsets.len()), (10, Some(21), 1));
    assert_eq!(facts.producer.as_deref(), Some("modelwright"));
    assert!(facts.operators.is_empty(), "{:?}", facts.operators);
    let schema = Schema::new(&model.preprocessing, &model.target);
    assert_eq!(Schema::parse(facts.metadata["schema"].as_bytes()).unwrap(), schema);
    let inputs = facts.inputs.iter().map(|input| (input.name.as_str(), input.datatype.oip_name()));
    let wanted = model.preprocessing.columns.iter().map(|column| {
        let datatype = match column.kind {
            PreparedKind::Numeric { .. } => "FP32",
            PreparedKind::Boolean { .. } => "BOOL",
            PreparedKind::Text { .. } => "BYTES",
        };
        (column.name.as_str(), datatype)
    });
    assert_eq!(inputs.collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
    for input in &facts.inputs {
        assert_eq!(input.shape, [onnx::Dimension::Symbolic("N".to_owned()), onnx::Dimension::Fixed(1)]);
    }
    let shape =
        |index: usize| facts.outputs[index].shape.iter().map(onnx::Dimension::to_oip).collect::<Vec<_>>();
    let classes = i64::try_from(model.target.classes.len()).unwrap();
    assert_eq!((shape(0), shape(1)), (vec![-1], vec![-1, classes]));
}

#[test]
fn a_matrix_of_features_is_one_input() {
    let model = RandomModel::new(6, Task::Regression, InputLayout::Features, &[Activation::Relu]);
    let facts = facts(&super::model(&model.exported()).unwrap());
    let columns = i64::try_from(model.preprocessing.columns.len()).unwrap();
    assert_eq!(facts.inputs.len(), 1);
    assert_eq!(facts.inputs[0].name, FEATURES);
    assert_eq!(facts.inputs[0].shape.iter().map(onnx::Dimension::to_oip).collect::<Vec<_>>(), [-1, columns]);
    assert_eq!(facts.outputs[0].name, PREDICTION);
}

#[test]
fn the_same_model_gives_the_same_bytes_in_every_release() {
    let table = Table::default();
    let city =
        PreparedKind::Text { categories: vec!["Bern".into(), "Genf".into()], fill: Some("Bern".into()) };
    let columns = vec![numeric("age"), Prepared { name: "city".to_owned(), kind: city }];
    let model = of(columns, sum(3, 0.25), binary("benign", "malignant"), table);
    let bytes = super::model(&model.exported()).unwrap();
    assert_eq!(bytes, super::model(&model.exported()).unwrap());
    // Files of published revisions have their digests; only a new NUMERICS_VERSION may change what is written.
    assert_eq!(crate::NUMERICS_VERSION, "2");
    assert_eq!(Digest::of(&bytes).hex(), "4e13ccd45218b5ef144914d021de1ec05db1343ba199a400fe651c3778635970");
}

fn refusal(names: &[&str], target: Target) -> ExportError {
    let columns: Vec<_> = names.iter().map(|name| numeric(name)).collect();
    let network = sum(columns.len(), 0.0);
    super::model(&of(columns, network, target, Table::default()).exported()).unwrap_err()
}

#[test]
fn columns_named_as_outputs_are_refused() {
    for name in [LABEL, PROBABILITIES] {
        let error = refusal(&["age", name], binary("a", "b"));
        assert_eq!((error.reason(), error.exit_code()), ("ReservedName", ExitCode::BadData));
        assert!(
            error.to_string().starts_with(&format!("the column \"{name}\" cannot be an input")),
            "{error}"
        );
    }
    assert_eq!(refusal(&[PREDICTION], regression()).reason(), "ReservedName");
}

#[test]
fn columns_named_as_outputs_of_other_tasks_are_inputs() {
    let columns = vec![numeric(LABEL), numeric(PROBABILITIES), numeric("output/shifted")];
    let value = |name: &str| Column { name: name.to_owned(), values: Values::Numeric(vec![5.0]) };
    let table = Table::new([LABEL, PROBABILITIES, "output/shifted"].map(value).to_vec(), 1);
    assert_eq!(predicted(&of(columns, sum(3, 1.0), regression(), table)), [[24.0]]);
}

#[rstest]
#[case(&[""], "is empty")]
#[case(&["a\0"], "contains a NUL character")]
#[case(&["a", "b", "a"], "is that of another column, too")]
fn names_that_no_input_can_have_are_refused(#[case] names: &[&str], #[case] expected: &str) {
    let error = refusal(names, regression());
    assert_eq!((error.reason(), error.exit_code()), ("UnusableName", ExitCode::BadData));
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn what_does_not_fit_together_is_a_bug() {
    let model = |columns: Vec<Prepared>, network, target| of(columns, network, target, Table::default());
    let mut three = binary("a", "b");
    three.classes.push("c".to_owned());
    let multiclass = Target { task: Task::Multiclass, ..three.clone() };
    let constant = PreparedKind::Numeric { fill: 0.0, mean: 0.0, deviation: 0.0 };
    let empty = PreparedKind::Text { categories: Vec::new(), fill: None };
    let column = |kind: &PreparedKind| Prepared { name: "x".to_owned(), kind: kind.clone() };
    for (model, expected) in [
        (model(vec![numeric("x")], sum(2, 0.0), regression()), "output takes 2 values and gets 1"),
        (model(vec![numeric("x")], sum(1, 0.0), three), "3 classes where the task is Binary"),
        (model(vec![numeric("x")], sum(1, 0.0), multiclass), "gives 1 values where the task needs 3"),
        (model(vec![column(&constant)], sum(1, 0.0), regression()), "a deviation of \"x\" is 0"),
        (model(vec![column(&empty)], sum(1, 0.0), regression()), "no column gives a feature"),
    ] {
        let error = super::model(&model.exported()).unwrap_err();
        assert_eq!((error.reason(), error.exit_code()), ("InconsistentModel", ExitCode::Bug));
        assert!(error.to_string().contains(expected), "{error}");
    }
    let infinite = model(vec![numeric("x")], sum(1, f32::INFINITY), regression());
    let error = super::model(&infinite.exported()).unwrap_err();
    assert_eq!(error.reason(), "NonFiniteModel");
    assert!(error.to_string().contains("\"output/bias\" is inf"), "{error}");
}

/// Writes a folder for each of some models: `model.onnx` and `expected.json`, rows with what double precision predicts for
/// them. `tests/acceptance/onnx_files.py` reads them.
#[test]
#[ignore = "writes files for tests/acceptance/onnx_files.py into MODELWRIGHT_TEST_OUT"]
fn write_models_for_the_checker() {
    let out = PathBuf::from(std::env::var_os("MODELWRIGHT_TEST_OUT").expect("MODELWRIGHT_TEST_OUT"));
    let mut number = 0;
    for task in [Task::Binary, Task::Multiclass, Task::Regression] {
        for layout in [InputLayout::Features, InputLayout::Columns] {
            for hidden in [&[][..], &ACTIVATIONS[..1], &ACTIVATIONS[1..3], &ACTIVATIONS[3..]] {
                number += 1;
                let model = RandomModel::new(number, task, layout, hidden);
                write_for_the_checker(&out.join(format!("{task:?}-{layout:?}-{number}")), &model);
            }
        }
    }
    (0..40).for_each(|seed| {
        write_for_the_checker(&out.join(format!("random-{seed}")), &RandomModel::any(seed));
    });
}

fn write_for_the_checker(folder: &Path, model: &RandomModel) {
    std::fs::create_dir_all(folder).unwrap();
    model.write(folder);
    let schema = Schema::new(&model.preprocessing, &model.target);
    let inputs = scorer::tensors(&schema, &model.table, 0..model.table.rows()).unwrap();
    let inputs: serde_json::Map<_, _> = inputs
        .iter()
        .map(|tensor| {
            let data = match tensor.data() {
                // A missing number is `null`.
                TensorData::Fp32(values) => serde_json::to_value(values).unwrap(),
                TensorData::Bool(values) => serde_json::to_value(values).unwrap(),
                TensorData::Bytes(values) => {
                    values.iter().map(|text| std::str::from_utf8(text).unwrap()).collect()
                }
                other => panic!("{other:?}"),
            };
            (tensor.name().to_owned(), serde_json::json!({ "shape": tensor.shape(), "data": data }))
        })
        .collect();
    let expected = serde_json::json!({
        "inputs": inputs,
        "expected": model.expected(),
        "classes": model.target.classes,
        "scale": model.target.spread + model.target.center.abs(),
    });
    let mut file = std::fs::File::create(folder.join("expected.json")).unwrap();
    file.write_all(expected.to_string().as_bytes()).unwrap();
}
