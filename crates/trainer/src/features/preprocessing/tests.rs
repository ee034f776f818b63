#![expect(clippy::float_cmp, reason = "results are exact")]

use modelwright_api::contract::ExitCode;
use modelwright_api::training::{Impute, Scale};
use proptest::prelude::*;

use super::*;
use crate::features::statistics::rounded;

fn numbers(name: &str, numbers: &[f32]) -> Column {
    Column { name: name.to_owned(), values: Values::Numeric(numbers.to_vec()) }
}

fn truths(name: &str, truths: &[Option<bool>]) -> Column {
    Column { name: name.to_owned(), values: Values::Boolean(truths.to_vec()) }
}

/// Empty texts are missing values.
fn words(name: &str, words: &[&str]) -> Column {
    let mut dictionary: Vec<String> =
        words.iter().filter(|word| !word.is_empty()).map(|word| (*word).to_owned()).collect();
    dictionary.sort();
    dictionary.dedup();
    let code = |word: &&str| {
        dictionary.iter().position(|text| text == word).map(|code| u32::try_from(code).unwrap())
    };
    let codes = words.iter().map(code).collect();
    Column { name: name.to_owned(), values: Values::Text(Texts { dictionary, codes }) }
}

fn table(columns: Vec<Column>) -> Table {
    let rows = columns[0].values.len();
    Table::new(columns, rows)
}

fn spec(name: &str) -> ColumnSpec {
    ColumnSpec { name: name.to_owned(), ..ColumnSpec::default() }
}

/// What is learnt from one column.
fn learn(column: Column, spec: ColumnSpec) -> (PreparedKind, Vec<Note>) {
    let specs = [spec];
    let (preprocessing, notes) = Preprocessing::fit(&table(vec![column]), &specs, None, "y").unwrap();
    (preprocessing.columns[0].kind.clone(), notes)
}

fn failure(columns: Vec<Column>, specs: &[ColumnSpec], layout: Option<InputLayout>) -> FeaturesError {
    Preprocessing::fit(&table(columns), specs, layout, "y").unwrap_err()
}

#[test]
fn numbers_are_filled_and_then_scaled() {
    let column = || numbers("a", &[1.0, 4.0, f32::NAN, 1.0, 10.0]);
    let fill = |impute| match learn(column(), ColumnSpec { impute, ..spec("a") }).0 {
        PreparedKind::Numeric { fill, .. } => fill,
        other => panic!("{other:?}"),
    };
    assert_eq!(fill(None), 2.5);
    assert_eq!(fill(Some(Impute::Median)), 2.5);
    assert_eq!(fill(Some(Impute::Mean)), 4.0);
    assert_eq!(fill(Some(Impute::MostFrequent)), 1.0);
    // The mean of 1, 4, 4, 1 and 10, and their deviation.
    let mean_filled = ColumnSpec { impute: Some(Impute::Mean), ..spec("a") };
    let wanted = PreparedKind::Numeric { fill: 4.0, mean: 4.0, deviation: rounded(10.8_f64.sqrt()) };
    assert_eq!(learn(column(), mean_filled).0, wanted);
    let unscaled = ColumnSpec { scale: Some(Scale::None), ..spec("a") };
    assert_eq!(learn(column(), unscaled).0, PreparedKind::Numeric { fill: 2.5, mean: 0.0, deviation: 1.0 });
}

#[test]
fn median_of_an_odd_number_is_the_middle_and_ties_take_the_smallest() {
    let fill = |values: &[f32], impute| match learn(
        numbers("a", values),
        ColumnSpec { impute: Some(impute), ..spec("a") },
    )
    .0
    {
        PreparedKind::Numeric { fill, .. } => fill,
        other => panic!("{other:?}"),
    };
    assert_eq!(fill(&[9.0, 1.0, 2.0], Impute::Median), 2.0);
    assert_eq!(fill(&[9.0, 9.0, 1.0, 1.0, 2.0], Impute::MostFrequent), 1.0);
    assert_eq!(fill(&[f32::MAX, f32::MAX], Impute::Median), f32::MAX);
}

#[test]
fn truth_values_are_filled_with_the_more_frequent() {
    let fill = |values: &[Option<bool>]| learn(truths("a", values), spec("a")).0;
    assert_eq!(fill(&[Some(true), Some(true), Some(false), None]), PreparedKind::Boolean { fill: true });
    assert_eq!(fill(&[Some(true), Some(false)]), PreparedKind::Boolean { fill: false });
}

#[test]
fn categories_are_the_most_frequent_texts_by_their_bytes() {
    let column = || words("a", &["b", "b", "", "", "", "a", "ä", "Z", "Z"]);
    let kept = |spec: ColumnSpec| match learn(column(), spec).0 {
        PreparedKind::Text { categories, fill } => (categories.join(" "), fill),
        other => panic!("{other:?}"),
    };
    let most = |most| ColumnSpec { max_categories: Some(most), ..spec("a") };
    assert_eq!(kept(spec("a")), (" Z a b ä".to_owned(), None));
    assert_eq!(kept(most(2)), (" Z".to_owned(), None));
    assert_eq!(kept(most(4)), (" Z a b".to_owned(), None));
    let filled = |spec| ColumnSpec { impute: Some(Impute::MostFrequent), ..spec };
    assert_eq!(kept(filled(spec("a"))), ("Z a b ä".to_owned(), Some("Z".to_owned())));
    assert_eq!(kept(filled(most(1))), ("Z".to_owned(), Some("Z".to_owned())));
    assert_eq!(kept(ColumnSpec { impute: Some(Impute::Category), ..most(1) }), (String::new(), None));
}

#[test]
fn at_most_64_categories_are_kept_unless_more_are_written() {
    let many: Vec<String> = (0..140).map(|row| format!("w{}", row / 2)).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let (kind, notes) = learn(words("a", &many), spec("a"));
    assert!(matches!(kind, PreparedKind::Text { categories, .. } if categories.len() == 64));
    assert_eq!(notes, [Note::RareCategories { column: "a".into(), categories: 70, kept: 64, rows: 12 }]);
    let (_, notes) = learn(words("a", &many), ColumnSpec { max_categories: Some(70), ..spec("a") });
    assert_eq!(notes, []);
}

#[test]
fn rows_are_encoded_as_the_graph_will() {
    let training = table(vec![
        numbers("age", &[1.0, 2.0, 4.0, f32::NAN]),
        words("y", &["p", "q", "p", "q"]),
        truths("member", &[Some(true), Some(true), None, Some(false)]),
        words("city", &["Bern", "Genf", "", "Bern"]),
    ]);
    let (preprocessing, notes) = Preprocessing::fit(&training, &[], None, "y").unwrap();
    assert_eq!((preprocessing.layout, notes), (InputLayout::Columns, vec![]));
    assert_eq!(preprocessing.feature_names(), ["age", "member", "city=", "city=Bern", "city=Genf"]);
    assert_eq!((preprocessing.width(), preprocessing.spans()), (5, vec![0..1, 1..2, 2..5]));
    // Other columns, another order and another dictionary: columns are found by name, texts by their bytes.
    let other = table(vec![
        words("city", &["Zug", "", "Genf"]),
        truths("member", &[None, Some(false), Some(true)]),
        numbers("age", &[f32::NAN, 7.5, -1.0]),
    ]);
    let PreparedKind::Numeric { fill, mean, deviation } = preprocessing.columns[0].kind else {
        panic!("age")
    };
    assert_eq!((fill, mean), (2.0, 2.25));
    let age = |number: f32| (number - mean) / deviation;
    let wanted =
        [[age(2.0), 1.0, 0.0, 0.0, 0.0], [age(7.5), 0.0, 1.0, 0.0, 0.0], [age(-1.0), 1.0, 0.0, 0.0, 1.0]];
    assert_eq!(preprocessing.encode(&other).unwrap().values(), wanted.concat());
}

#[test]
fn missing_text_is_filled_or_unknown() {
    let fill = |column: Column, impute| {
        let spec = ColumnSpec { impute, ..spec("a") };
        let (preprocessing, _) = Preprocessing::fit(&table(vec![column]), &[spec], None, "y").unwrap();
        preprocessing.encode(&table(vec![words("a", &[""])])).unwrap().values().to_vec()
    };
    let gap_free = || words("a", &["x", "y", "y"]);
    assert_eq!(fill(gap_free(), None), [0.0, 0.0]);
    assert_eq!(fill(gap_free(), Some(Impute::MostFrequent)), [0.0, 1.0]);
    assert_eq!(fill(words("a", &["x", ""]), None), [1.0, 0.0]);
}

#[test]
fn other_tables_are_refused() {
    let (preprocessing, _) =
        Preprocessing::fit(&table(vec![numbers("a", &[1.0, 2.0])]), &[], None, "y").unwrap();
    for other in [numbers("b", &[1.0]), words("a", &["1"])] {
        let error = preprocessing.encode(&table(vec![other])).unwrap_err();
        assert_eq!((error.reason(), error.exit_code()), ("OtherTable", ExitCode::Bug));
    }
}

#[test]
fn layout_follows_from_the_columns_unless_it_is_written() {
    let many =
        |count: usize| (0..count).map(|index| numbers(&format!("c{index}"), &[1.0, 2.0])).collect::<Vec<_>>();
    let layout = |columns, written| Preprocessing::fit(&table(columns), &[], written, "y").unwrap().0.layout;
    assert_eq!(layout(many(32), None), InputLayout::Columns);
    assert_eq!(layout(many(33), None), InputLayout::Features);
    assert_eq!(layout(many(33), Some(InputLayout::Columns)), InputLayout::Columns);
    assert_eq!(layout(many(1), Some(InputLayout::Features)), InputLayout::Features);
    let mixed = || [many(40), vec![words("t", &["a", "b"])]].concat();
    assert_eq!(layout(mixed(), None), InputLayout::Columns);
    // The target does not count.
    assert_eq!(layout([many(33), vec![words("y", &["a", "b"])]].concat(), None), InputLayout::Features);
    let error = failure(mixed(), &[], Some(InputLayout::Features));
    assert_eq!((error.reason(), error.exit_code()), ("FeaturesNotNumeric", ExitCode::InvalidConfiguration));
    assert!(error.to_string().contains("column \"t\" is String; write `inputs: Columns`"), "{error}");
}

#[test]
fn columns_without_values_are_refused() {
    let error = failure(vec![numbers("a", &[1.0, 2.0]), numbers("b", &[f32::NAN; 2])], &[], None);
    assert_eq!((error.reason(), error.exit_code()), ("ColumnAllMissing", ExitCode::BadData));
    let message = error.to_string();
    assert!(
        message.starts_with("column \"b\" has no value") && message.contains("`type: Ignored`"),
        "{message}"
    );
    assert_eq!(failure(vec![words("a", &["", ""])], &[], None).reason(), "ColumnAllMissing");
    assert_eq!(failure(vec![truths("a", &[None])], &[], None).reason(), "ColumnAllMissing");
    let error = failure(vec![words("y", &["p", "q"])], &[], None);
    assert_eq!((error.reason(), error.exit_code()), ("NoFeatures", ExitCode::BadData));
}

#[test]
fn settings_must_fit_the_column() {
    let columns = || {
        vec![
            numbers("n", &[1.0, 2.0]),
            words("t", &["a", "b"]),
            truths("b", &[Some(true), Some(false)]),
            words("y", &["p", "q"]),
        ]
    };
    let impute = |name, impute| ColumnSpec { impute: Some(impute), ..spec(name) };
    let scale = |name| ColumnSpec { scale: Some(Scale::Standard), ..spec(name) };
    let most = |name| ColumnSpec { max_categories: Some(3), ..spec(name) };
    let unfit = [
        (
            impute("n", Impute::Category),
            "`impute: Category` does not fit column \"n\", which is Numeric; write Median",
        ),
        (
            impute("t", Impute::Mean),
            "`impute: Mean` does not fit column \"t\", which is String; write MostFrequent",
        ),
        (impute("b", Impute::Category), "does not fit column \"b\", which is Boolean"),
        (scale("t"), "`scale: Standard` does not fit"),
        (scale("b"), "`scale: Standard` does not fit"),
        (most("n"), "`maxCategories: 3` does not fit"),
    ];
    for (spec, message) in unfit {
        let error = failure(columns(), &[spec], None);
        assert_eq!((error.reason(), error.exit_code()), ("SettingUnfit", ExitCode::InvalidConfiguration));
        assert!(error.to_string().contains(message), "{error}");
    }
    for (spec, setting) in
        [(impute("y", Impute::Mean), "impute"), (scale("y"), "scale"), (most("y"), "maxCategories")]
    {
        let error = failure(columns(), &[spec], None);
        assert_eq!((error.reason(), error.exit_code()), ("SettingOfTarget", ExitCode::InvalidConfiguration));
        assert!(error.to_string().contains(&format!("has no `{setting}`")), "{error}");
    }
    let error = failure(columns(), &[impute("m", Impute::Mean)], None);
    assert_eq!((error.reason(), error.exit_code()), ("UnknownColumn", ExitCode::InvalidConfiguration));
    assert!(
        error.to_string().contains("names \"m\"") && error.to_string().contains("there are \"n\""),
        "{error}"
    );
    let fine = [
        ColumnSpec { kind: Some(ColumnKind::Ignored), ..spec("left out by the reader") },
        ColumnSpec { kind: Some(ColumnKind::String), ..spec("y") },
        impute("b", Impute::MostFrequent),
    ];
    assert!(Preprocessing::fit(&table(columns()), &fine, None, "y").is_ok());
}

#[test]
fn columns_that_cannot_help_are_noted_and_kept() {
    let note = |column: Column| {
        let (_, notes) = learn(column, spec("a"));
        notes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    let constant = "constant column \"a\": it cannot help; write `type: Ignored`";
    assert_eq!(note(numbers("a", &[5.0, f32::NAN, 5.0])), constant);
    assert_eq!(note(truths("a", &[Some(true), None])), constant);
    assert_eq!(note(words("a", &["x", "x"])), constant);
    assert_eq!(
        note(words("a", &["x", ""])),
        "text column \"a\": its 1 values are all different, as those of an identifier \
                                              are; it cannot help with new rows; write `type: Ignored`"
    );
    assert!(note(words("a", &["x", "y", "z", ""])).contains("its 3 values are all different"));
    assert_eq!(note(words("a", &["x", "y", "y"])), "");
}

#[test]
fn texts_that_look_wrong_are_noted() {
    let column = || words("a", &["1", "2", "2", "oops", ""]);
    let (_, notes) = learn(column(), spec("a"));
    let wanted = Note::MostlyNumbers { column: "a".into(), numbers: 3, others: 1, example: "oops".into() };
    assert_eq!(notes, std::slice::from_ref(&wanted));
    assert!(
        wanted.to_string().contains("3 of its values are numbers and 1 are not, such as \"oops\""),
        "{wanted}"
    );
    let meant = ColumnSpec { kind: Some(ColumnKind::String), ..spec("a") };
    assert_eq!(learn(column(), meant).1, []);
    let (_, notes) = learn(words("a", &[" x", " x", "y"]), spec("a"));
    assert_eq!(notes, [Note::OuterSpaces { column: "a".into(), example: " x".into() }]);
}

proptest! {
    #[test]
    fn scaled_training_rows_have_mean_0_and_deviation_1(
        values in prop::collection::vec(prop::option::of(-1e6_f32..1e6), 2..200),
    ) {
        let values: Vec<f32> = values.into_iter().map(|value| value.unwrap_or(f32::NAN)).collect();
        prop_assume!(values.iter().any(|value| !value.is_nan()));
        let table = table(vec![numbers("a", &values)]);
        let (preprocessing, _) = Preprocessing::fit(&table, &[], None, "y").unwrap();
        // Numbers that 32 bits hardly tell apart cannot be scaled exactly.
        prop_assume!(matches!(preprocessing.columns[0].kind, PreparedKind::Numeric { deviation, .. } if deviation > 1.0));
        let encoded = preprocessing.encode(&table).unwrap();
        let count = encoded.rows() as f64;
        let mean = encoded.values().iter().map(|value| f64::from(*value)).sum::<f64>() / count;
        let square = encoded.values().iter().map(|value| f64::from(*value).powi(2)).sum::<f64>() / count;
        prop_assert!(mean.abs() < 0.1, "{}", mean);
        prop_assert!((square - 1.0).abs() < 0.1, "{}", square);
    }

    #[test]
    fn every_encoded_row_has_at_most_one_category(
        training in prop::collection::vec("[a-e]?", 1..40),
        rows in prop::collection::vec("[a-g]?", 1..40),
        most in 1..6_i32,
    ) {
        prop_assume!(training.iter().any(|text| !text.is_empty()));
        let column = |texts: &[String]| {
            table(vec![words("a", &texts.iter().map(String::as_str).collect::<Vec<_>>())])
        };
        let spec = ColumnSpec { max_categories: Some(most), ..spec("a") };
        let (preprocessing, _) = Preprocessing::fit(&column(&training), &[spec], None, "y").unwrap();
        let names = preprocessing.feature_names();
        let encoded = preprocessing.encode(&column(&rows)).unwrap();
        for (row, text) in rows.iter().enumerate() {
            let name = format!("a={text}");
            let wanted: Vec<f32> = names.iter().map(|known| f32::from(u8::from(*known == name))).collect();
            prop_assert_eq!(encoded.row(row), wanted);
        }
    }
}
