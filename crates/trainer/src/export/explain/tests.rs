use modelwright_api::training::InputLayout;
use modelwright_artifact::Digest;
use modelwright_artifact::onnx::{self, Dimension, Support};
use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::export::random_models::{ACTIVATIONS, RandomModel};
use crate::export::replay::{ReplayError, Replayed};
use crate::export::scorer::tensors;
use crate::export::{Schema, model};
use crate::network::Network;

/// Runs a model's explanation for all its rows and compares it with what `network` is.
#[expect(clippy::unwrap_in_result, reason = "the result is what is tested")]
fn check(model: &RandomModel, network: &Network) -> Result<f64, ReplayError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(EXPLAIN_FILE);
    std::fs::write(&path, explain(&model.exported()).unwrap()).unwrap();
    let schema = Schema::new(&model.preprocessing, &model.target);
    let inputs = tensors(&schema, &model.table, 0..model.table.rows()).unwrap();
    let explained = run(&path, &inputs, &model.target).unwrap_or_else(|error| panic!("{error}"));
    compare(&explained, &Replayed { network, target: &model.target, inputs: &model.features() })
}

#[rstest]
fn every_kind_of_model_has_the_gradients_of_double_precision(
    #[values(Task::Binary, Task::Multiclass, Task::Regression)] task: Task,
    #[values(InputLayout::Features, InputLayout::Columns)] layout: InputLayout,
) {
    for hidden in [&[][..], &ACTIVATIONS[..1], &ACTIVATIONS[1..2], &ACTIVATIONS[2..3], &ACTIVATIONS[3..]] {
        let model = RandomModel::new(4, task, layout, hidden);
        check(&model, &model.network).unwrap_or_else(|error| panic!("{hidden:?}: {error}"));
    }
}

proptest! {
    #[test]
    fn random_models_have_the_gradients_of_double_precision(seed in any::<u64>()) {
        let model = RandomModel::any(seed);
        let checked = check(&model, &model.network);
        prop_assert!(checked.is_ok(), "{}", checked.unwrap_err());
    }
}

#[rstest]
fn another_network_is_noticed(#[values(Task::Binary, Task::Multiclass, Task::Regression)] task: Task) {
    let model = RandomModel::new(9, task, InputLayout::Columns, &[Activation::Tanh]);
    let mut network = model.network.clone();
    network.layers[0].weights.values_mut()[0] += 0.01;
    let error = check(&model, &network).unwrap_err();
    assert!(matches!(error, ReplayError::ExplanationDiffers { .. }), "{error}");
}

#[test]
fn files_take_what_the_model_takes_and_two_arguments_that_no_batch_has() {
    let random = RandomModel::new(5, Task::Multiclass, InputLayout::Columns, &[Activation::Gelu]);
    let read = |bytes: Vec<u8>| {
        let facts = onnx::scan(bytes.as_slice(), onnx::Limits::default()).unwrap();
        onnx::check(&facts, &Support::ONNX_RUNTIME_1_32_CPU).unwrap();
        facts
    };
    let (own, facts) = (read(model(&random.exported()).unwrap()), read(explain(&random.exported()).unwrap()));
    let (rows, arguments) = facts.inputs.split_at(own.inputs.len());
    assert_eq!(rows, own.inputs);
    assert_eq!(arguments[0].shape, [Dimension::Fixed(1), Dimension::Symbolic("S".to_owned())]);
    assert_eq!(arguments[1].shape[0], Dimension::Fixed(1));
    let names: Vec<_> = facts.outputs.iter().map(|output| output.name.as_str()).collect();
    assert_eq!(names, ["gradients", "encoded", "explained"]);
}

#[test]
fn columns_keep_their_names_and_the_arguments_give_way() {
    let mut random = RandomModel::new(6, Task::Regression, InputLayout::Columns, &[Activation::Relu]);
    let taken = ["points", "target", "gradients", "explained", "row/sum", "path/second"];
    let renamed = random.preprocessing.columns.len().min(taken.len());
    assert!(renamed >= 3, "the seed has too few columns");
    for (column, name) in random.preprocessing.columns.iter_mut().zip(taken) {
        let at = random.table.columns().iter().position(|other| other.name == column.name).unwrap();
        let (mut columns, rows) = (random.table.columns().to_vec(), random.table.rows());
        columns[at].name = name.to_owned();
        random.table = crate::table::Table::new(columns, rows);
        column.name = name.to_owned();
    }
    check(&random, &random.network).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn the_same_model_gives_the_same_bytes_in_every_release() {
    let random = RandomModel::new(7, Task::Binary, InputLayout::Columns, &[Activation::Relu]);
    let bytes = explain(&random.exported()).unwrap();
    assert_eq!(crate::NUMERICS_VERSION, "2");
    assert_eq!(Digest::of(&bytes).hex(), "5d92f6fbebf5ef9e4ce2b029bfff04f806ef858365a20df6208cc07ca6f80288");
}
