use modelwright_api::contract::ExitCode;
use rstest::rstest;

use super::*;
use crate::table::Texts;

fn number_column(numbers: &[f32]) -> Column {
    Column { name: "y".to_owned(), values: Values::Numeric(numbers.to_vec()) }
}

fn truth_column(truths: &[Option<bool>]) -> Column {
    Column { name: "y".to_owned(), values: Values::Boolean(truths.to_vec()) }
}

/// Empty texts are missing values.
fn text_column(words: &[&str]) -> Column {
    let mut texts = Texts::default();
    for word in words {
        let known = texts.dictionary.iter().position(|text| text == word);
        let code = (!word.is_empty()).then(|| {
            known.unwrap_or_else(|| {
                texts.dictionary.push((*word).to_owned());
                texts.dictionary.len() - 1
            })
        });
        texts.codes.push(code.map(|code| u32::try_from(code).unwrap()));
    }
    Column { name: "y".to_owned(), values: Values::Text(texts) }
}

fn fit(column: &Column) -> (Task, Vec<String>) {
    let target = Target::fit(column, None).unwrap();
    (target.task, target.classes)
}

/// The failure to understand a target: reason, exit code and message.
fn failure(column: &Column, task: Option<Task>) -> (&'static str, ExitCode, String) {
    let error = Target::fit(column, task).unwrap_err();
    (error.reason(), error.exit_code(), error.to_string())
}

#[test]
fn task_follows_from_the_values() {
    assert_eq!(
        fit(&truth_column(&[Some(true), None, Some(false)])),
        (Task::Binary, vec!["false".into(), "true".into()])
    );
    assert_eq!(
        fit(&number_column(&[2.5, -1.0, f32::NAN, 2.5])),
        (Task::Binary, vec!["-1".into(), "2.5".into()])
    );
    assert_eq!(fit(&text_column(&["b", "", "a"])), (Task::Binary, vec!["a".into(), "b".into()]));
    assert_eq!(fit(&text_column(&["b", "C", "a"])).1, ["C", "a", "b"]);
    assert_eq!(fit(&text_column(&["b", "C", "a"])).0, Task::Multiclass);
    assert_eq!(fit(&number_column(&[0.1, 0.2, 0.3])), (Task::Regression, vec![]));
}

#[rstest]
#[case(3, 15, 1.0, Task::Multiclass)]
#[case(3, 14, 1.0, Task::Regression)]
#[case(20, 100, 1.0, Task::Multiclass)]
#[case(21, 1000, 1.0, Task::Regression)]
#[case(3, 15, 0.5, Task::Regression)]
fn whole_numbers_are_classes_if_they_are_few_and_frequent(
    #[case] different: usize,
    #[case] rows: usize,
    #[case] step: f32,
    #[case] task: Task,
) {
    let numbers: Vec<f32> = (0..rows).map(|row| (row % different) as f32 * step).collect();
    assert_eq!(fit(&number_column(&numbers)).0, task);
}

#[test]
fn classes_that_are_numbers_are_sorted_as_numbers() {
    assert_eq!(fit(&text_column(&["10", "9", "1.0", "1"])).1, ["1", "1.0", "9", "10"]);
    assert_eq!(fit(&text_column(&["10", "9", "x"])).1, ["10", "9", "x"]);
    let numbers = Target::fit(&number_column(&[10.0, 0.1, -0.0, 0.0, 9.0]), Some(Task::Multiclass)).unwrap();
    assert_eq!(numbers.classes, ["0", "0.1", "9", "10"]);
}

#[test]
fn classes_are_encoded_by_their_positions() {
    let classes = |column: &Column| match Target::fit(column, None).unwrap().encode(column).unwrap() {
        Targets::Classes { indices, count } => (indices, count),
        Targets::Numbers(numbers) => panic!("{numbers:?}"),
    };
    assert_eq!(classes(&text_column(&["b", "a", "b"])), (vec![1, 0, 1], 2));
    assert_eq!(classes(&truth_column(&[Some(true), Some(false)])), (vec![1, 0], 2));
    assert_eq!(classes(&number_column(&[7.0, 0.0, -0.0])), (vec![1, 0, 0], 2));
}

#[test]
fn regression_is_scaled_by_its_training_rows_and_keeps_its_unit() {
    let column = number_column(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
    let target = Target::fit(&column, None).unwrap();
    assert_eq!((target.center, target.spread), (0.0, 1.0));
    let numbers = target.encode(&column).unwrap();
    assert_eq!(numbers, Targets::Numbers(vec![2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]));
    let scaled = target.clone().with_scale(&numbers);
    assert_eq!((scaled.center, scaled.spread), (5.0, 2.0));
    let constant = target.with_scale(&numbers.select(&[1, 2]));
    assert_eq!((constant.center, constant.spread), (4.0, 1.0));
    let classes = Target::fit(&text_column(&["a", "b"]), None).unwrap();
    assert_eq!(classes.clone().with_scale(&Targets::Classes { indices: vec![0], count: 2 }), classes);
}

#[test]
fn rows_without_a_target_are_found_and_refused() {
    assert_eq!(Target::known_rows(&text_column(&["a", "", "b"])), [0, 2]);
    assert_eq!(Target::known_rows(&number_column(&[f32::NAN, 1.0])), [1]);
    assert_eq!(Target::known_rows(&truth_column(&[None, Some(true)])), [1]);
    let column = text_column(&["a", "", "b"]);
    let error = Target::fit(&column, None).unwrap().encode(&column).unwrap_err();
    assert_eq!((error.reason(), error.exit_code()), ("TargetValueMissing", ExitCode::BadData));
    assert!(error.to_string().starts_with("row 2 has no value of the target \"y\""), "{error}");
    assert_eq!(failure(&number_column(&[f32::NAN]), None).0, "TargetAllMissing");
}

#[test]
fn target_without_a_choice_is_refused() {
    let (reason, code, message) = failure(&text_column(&["a", "a", ""]), None);
    assert_eq!((reason, code), ("OneClass", ExitCode::BadData));
    assert!(message.starts_with("the target \"y\" is \"a\" in every row"), "{message}");
    assert_eq!(failure(&truth_column(&[Some(true)]), None).0, "OneClass");
    assert_eq!(failure(&number_column(&[3.0, 3.0]), Some(Task::Binary)).0, "OneClass");
    let (reason, code, message) = failure(&number_column(&[3.0, 3.0]), None);
    assert_eq!((reason, code), ("TargetConstant", ExitCode::BadData));
    assert!(message.starts_with("the target \"y\" is 3 in every row"), "{message}");
}

#[rstest]
#[case::inferred(&[100_000_000.0, 100_000_016.0], None)]
#[case::as_told(&[1.0, 2.0, -16_777_216.0], Some(Task::Multiclass))]
#[case::all_read_as_one(&[100_000_000.0, 100_000_000.0], None)]
fn classes_that_were_not_read_exactly_are_refused(#[case] numbers: &[f32], #[case] task: Option<Task>) {
    let (reason, code, message) = failure(&number_column(numbers), task);
    assert_eq!((reason, code), ("ClassNotExact", ExitCode::InvalidConfiguration));
    assert!(
        message.contains("\"y\" has the class") && message.contains("`type: String` for this column"),
        "{message}"
    );
}

#[test]
fn large_numbers_are_exact_below_their_bound_amounts_and_texts() {
    assert_eq!(fit(&number_column(&[16_777_215.0, 2.0])).1, ["2", "16777215"]);
    assert_eq!(fit(&number_column(&[1e8, 2e8, 3e8])).0, Task::Regression);
    let amounts = Target::fit(&number_column(&[1e8, 2e8]), Some(Task::Regression)).unwrap();
    assert_eq!(amounts.task, Task::Regression);
    assert_eq!(fit(&text_column(&["100000017", "100000001"])).1, ["100000001", "100000017"]);
}

#[test]
fn task_that_does_not_fit_is_refused() {
    let (reason, code, message) = failure(&text_column(&["a", "b"]), Some(Task::Regression));
    assert_eq!((reason, code), ("TargetNotNumeric", ExitCode::InvalidConfiguration));
    assert!(message.contains("has text values"), "{message}");
    assert_eq!(
        failure(&truth_column(&[Some(true), Some(false)]), Some(Task::Regression)).0,
        "TargetNotNumeric"
    );
    let (reason, code, message) = failure(&text_column(&["c", "a", "b"]), Some(Task::Binary));
    assert_eq!((reason, code), ("NotBinary", ExitCode::InvalidConfiguration));
    assert!(message.contains("has 3: \"a\", \"b\", \"c\"; write `task: Multiclass`"), "{message}");
    assert_eq!(
        Target::fit(&text_column(&["a", "b"]), Some(Task::Multiclass)).unwrap().task,
        Task::Multiclass
    );
}

#[test]
fn more_than_a_thousand_classes_are_refused() {
    let words = |count: usize| (0..count).map(|row| format!("w{row}")).collect::<Vec<_>>();
    let column = |words: &[String]| text_column(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(Target::fit(&column(&words(1000)), None).unwrap().classes.len(), 1000);
    let (reason, code, message) = failure(&column(&words(1001)), None);
    assert_eq!((reason, code), ("TooManyClasses", ExitCode::BadData));
    assert!(message.contains("has 1001 classes and 1000 are possible"), "{message}");
}

#[test]
fn class_that_training_never_saw_is_named() {
    let target = Target::fit(&text_column(&["a", "b"]), None).unwrap();
    let error = target.encode(&text_column(&["a", "new"])).unwrap_err();
    assert_eq!((error.reason(), error.exit_code()), ("UnknownClass", ExitCode::BadData));
    assert!(error.to_string().starts_with("row 2: \"new\" is not a class of the target \"y\""), "{error}");
    let target = Target::fit(&number_column(&[0.0, 1.0]), None).unwrap();
    assert_eq!(target.encode(&number_column(&[0.0, 2.0])).unwrap_err().reason(), "UnknownClass");
    // A dictionary that has more than the rows do no harm.
    let words = text_column(&["a", "b", "new"]);
    let known = Column { name: words.name.clone(), values: words.values.select(&[0, 1]) };
    assert_eq!(target_of(&known).classes, ["a", "b"]);
    assert!(target_of(&known).encode(&known).is_ok());
}

fn target_of(column: &Column) -> Target {
    Target::fit(column, None).unwrap()
}

#[test]
fn absent_target_names_the_columns_nearest_first() {
    let table =
        Table::new(vec![number_column(&[]), Column { name: "Diagnosis".into(), ..number_column(&[]) }], 0);
    let error = find(&table, "diagnosys").unwrap_err();
    assert_eq!((error.reason(), error.exit_code()), ("TargetMissing", ExitCode::InvalidConfiguration));
    assert!(error.to_string().ends_with("there are \"Diagnosis\", \"y\""), "{error}");
    assert_eq!(find(&table, "y").unwrap().name, "y");
}
