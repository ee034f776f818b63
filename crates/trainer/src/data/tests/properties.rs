//! What is written as CSV is read as the same table.

use proptest::prelude::*;

use super::super::*;
use super::files;
use crate::table::{Column, Texts};

/// Text that no number, truth value or missing value is written as.
fn word() -> impl Strategy<Value = String> {
    "[xyz][ -~äß\n\r]{0,8}"
}

fn column(rows: usize) -> impl Strategy<Value = Values> {
    let numbers =
        prop::collection::vec(prop::option::of(any::<f32>().prop_filter("finite", |x| x.is_finite())), rows);
    let truths = prop::collection::vec(prop::option::of(any::<bool>()), rows);
    let words = prop::collection::vec(prop::option::of(word()), rows);
    prop_oneof![
        numbers.prop_map(|numbers| {
            Values::Numeric(numbers.into_iter().map(|number| number.unwrap_or(f32::NAN)).collect())
        }),
        truths.prop_map(Values::Boolean),
        words.prop_map(|words| Values::Text(dictionary(words))),
    ]
}

fn dictionary(words: Vec<Option<String>>) -> Texts {
    let mut texts = Texts::default();
    for word in words {
        let code = word.map(|word| {
            let known = texts.dictionary.iter().position(|text| *text == word);
            known.unwrap_or_else(|| {
                texts.dictionary.push(word);
                texts.dictionary.len() - 1
            })
        });
        texts.codes.push(code.map(|code| u32::try_from(code).unwrap()));
    }
    texts
}

fn cell(values: &Values, row: usize, missing: &str) -> String {
    let text = match values {
        Values::Numeric(numbers) => (!numbers[row].is_nan()).then(|| numbers[row].to_string()),
        Values::Boolean(truths) => truths[row].map(|truth| truth.to_string()),
        Values::Text(texts) => texts.get(row).map(str::to_owned),
    };
    text.unwrap_or_else(|| missing.to_owned())
}

fn bits(values: &Values) -> Values {
    // NaN is unequal to itself; as a number that no test generates it can be compared.
    match values {
        Values::Numeric(numbers) => {
            Values::Numeric(numbers.iter().map(|x| if x.is_nan() { f32::INFINITY } else { *x }).collect())
        }
        other => other.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn tables_survive_csv(
        columns in (1_usize..20).prop_flat_map(|rows| prop::collection::vec(column(rows), 1..5)),
        missing in prop::sample::select(MISSING.to_vec()),
        cut in 0_usize..20,
    ) {
        let rows = columns[0].len();
        let cut = cut.min(rows);
        let part = |range: std::ops::Range<usize>| {
            let mut writer = ::csv::Writer::from_writer(Vec::new());
            // A last column keeps rows of one missing value from being empty lines.
            let header = (0..columns.len()).map(|column| format!("c{column}")).chain(["end".to_owned()]);
            writer.write_record(header).unwrap();
            for row in range {
                let cells = columns.iter().map(|values| cell(values, row, missing));
                writer.write_record(cells.chain(["0".to_owned()])).unwrap();
            }
            writer.into_inner().unwrap()
        };
        let (first, second) = (part(0..cut), part(cut..rows));
        let fixture = files(DataFormat::Csv, &[&first, &second]);
        let table = read(&fixture.set, &BTreeMap::new()).unwrap();
        prop_assert_eq!(table.rows(), rows);
        for (index, values) in columns.iter().enumerate() {
            if values.missing() < rows {
                let name = format!("c{index}");
                let read = Column { name: name.clone(), values: bits(&table.column(&name).unwrap().values) };
                prop_assert_eq!(read, Column { name, values: bits(values) });
            }
        }
    }
}
