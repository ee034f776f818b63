//! What is wrong with data and settings of a training is said with its place and the exit code of the contract.

use std::fmt::Write as _;

use rstest::rstest;

use crate::command::{Workbench, finish};
use crate::training::{bench_with, training, training_with};

#[rstest]
#[case::empty("", 65, &["data.csv", "empty"])]
#[case::header_only("age,bought\n", 65, &["data.csv", "no row"])]
#[case::ragged("age,bought\n1,yes\n2\n3,no\n", 65, &["data.csv", "3"])]
#[case::wrong_delimiter("age;bought\n1;yes\n2;no\n", 65, &["delimiter"])]
#[case::not_utf8("age,bought\n1,\u{0}yes\n", 65, &["UTF-8"])]
#[case::target_absent("age,sold\n1,yes\n2,no\n3,yes\n4,no\n", 64, &["bought", "age", "sold"])]
#[case::one_class("age,bought\n1,yes\n2,yes\n3,yes\n4,yes\n", 65, &["bought", "yes"])]
#[case::too_few_rows("age,bought\n1,yes\n2,no\n", 65, &["rows"])]
#[case::all_missing("age,city,bought\n1,,yes\n2,,no\n3,,yes\n4,,no\n5,,yes\n6,,no\n", 65, &["city", "Ignored"])]
fn bad_data_is_said_with_the_place_and_the_exit_code(
    #[case] data: &str,
    #[case] code: i32,
    #[case] parts: &[&str],
) {
    let bench = Workbench::new();
    // A byte that no UTF-8 text has stands in for the one that a string of Rust can hold.
    let bytes: Vec<u8> = data.bytes().map(|byte| if byte == 0 { 0xff } else { byte }).collect();
    bench.write("data.csv", bytes);
    finish(&mut bench.run_command(&training(&[]))).expect_code(code).expect_error(parts);
}

#[test]
fn column_that_cannot_be_an_input_is_named_before_anything_is_trained() {
    let bench = bench_with("age,label,bought\n1,2,yes\n2,1,no\n3,2,yes\n4,1,no\n");
    let refused = finish(&mut bench.run_command(&training(&[])));
    refused.expect_code(65).expect_error(&["label", "rename"]);
    assert!(!refused.stderr.contains("training shop"), "{}", refused.stderr);
}

#[test]
fn class_that_training_never_saw_is_named_with_its_rows() {
    let bench = bench_with("age,bought\n1,yes\n2,no\n3,yes\n4,no\n");
    bench.write("test.csv", "age,bought\n1,yes\n2,maybe\n");
    let data =
        "data: {source: {uri: 'file:data.csv'}, target: bought, test: {source: {uri: 'file:test.csv'}}}";
    finish(&mut bench.run_command(&training_with(data, "builtin: {}", &[]))).expect_code(65).expect_error(&[
        "in the test data",
        "row 2",
        "maybe",
    ]);
}

#[test]
fn missing_data_is_an_input_that_may_appear_later() {
    let bench = Workbench::new();
    finish(&mut bench.run_command(&training(&[]))).expect_code(66).expect_error(&["data.csv"]);
}

#[test]
fn text_in_a_numeric_column_is_named_with_row_column_and_value() {
    let bench = bench_with("age,bought\n1,yes\n2,no\nold,yes\n4,no\n");
    let manifest = training_with(
        "data: {source: {uri: 'file:data.csv'}, target: bought}",
        "builtin: {columns: [{name: age, type: Numeric}]}",
        &[],
    );
    finish(&mut bench.run_command(&manifest)).expect_code(65).expect_error(&["age", "old", "3"]);
}

#[test]
fn infinite_target_is_named() {
    let bench = bench_with("age,price\n1,10.5\n2,inf\n3,7.25\n4,8.125\n");
    let manifest = training_with(
        "data: {source: {uri: 'file:data.csv'}, target: price}",
        "builtin: {task: Regression, columns: [{name: price, type: Numeric}]}",
        &[],
    );
    finish(&mut bench.run_command(&manifest)).expect_code(65).expect_error(&["price", "inf"]);
}

#[test]
fn loss_that_explodes_is_named_with_step_and_learning_rate() {
    let bench = Workbench::new();
    let mut data = "x,y\n".to_owned();
    (0..100).for_each(|row| writeln!(data, "{row}.5,{}.25", row * row).unwrap());
    bench.write("data.csv", data);
    let manifest = training_with(
        "data: {source: {uri: 'file:data.csv'}, target: 'y'}",
        "builtin: {optimizer: {kind: SGD, learningRate: 1000}, layers: [{units: 64}, {units: 64}]}",
        &[],
    );
    finish(&mut bench.run_command(&manifest)).expect_code(65).expect_error(&[
        "learning rate",
        "1000",
        "step",
    ]);
}

#[test]
fn unknown_metric_of_a_gate_is_refused_with_the_nearest_before_anything_is_read() {
    let bench = Workbench::new();
    let manifest = training(&["gate: {require: [{metric: valAcuracy, min: 0.9}]}"]);
    finish(&mut bench.run_command(&manifest)).expect_code(64).expect_error(&["valAcuracy", "valAccuracy"]);
}

#[test]
fn data_larger_than_memory_is_refused_before_it_is_read() {
    let bench = Workbench::new();
    let file = std::fs::File::create(bench.path("data.csv")).unwrap();
    // A hole: it takes no space on the disk.
    file.set_len(1 << 39).unwrap();
    finish(&mut bench.run_command(&training(&[])))
        .expect_code(65)
        .expect_error(&["data.csv", "memory", "bytes"]);
    assert!(!bench.path("data/models/default/shop/training/data/training").exists());
}
