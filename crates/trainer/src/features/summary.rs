//! What the columns of a table hold, for people.

use std::cmp::Reverse;

use modelwright_api::training::ColumnKind;

use super::statistics::Welford;
use crate::data::kind_of;
use crate::table::{Table, Texts, Values};

/// How many of the most frequent values are named.
const TOP: usize = 3;

/// What one column holds.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnSummary {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: ColumnKind,
    /// How many values are missing.
    pub missing: usize,
    /// How many different values there are; `None` for numbers.
    pub distinct: Option<usize>,
    /// Where the numbers are; `None` for other types, and without any number.
    pub range: Option<Range>,
    /// The most frequent values with their rows, of equal ones the smallest first; empty for numbers.
    pub top: Vec<(String, usize)>,
}

/// Where numbers are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The smallest.
    pub min: f64,
    /// Their mean.
    pub mean: f64,
    /// The largest.
    pub max: f64,
}

/// What the columns of a table hold, in their order.
pub fn summary(table: &Table) -> Vec<ColumnSummary> {
    let columns = table.columns().iter();
    columns
        .map(|column| {
            let mut counts = counts(&column.values);
            counts.sort_by(|one, other| (Reverse(one.1), &one.0).cmp(&(Reverse(other.1), &other.0)));
            let distinct = (!matches!(column.values, Values::Numeric(_))).then_some(counts.len());
            counts.truncate(TOP);
            ColumnSummary {
                name: column.name.clone(),
                kind: kind_of(&column.values),
                missing: column.values.missing(),
                distinct,
                range: range(&column.values),
                top: counts,
            }
        })
        .collect()
}

fn counts(values: &Values) -> Vec<(String, usize)> {
    match values {
        Values::Numeric(_) => Vec::new(),
        Values::Boolean(truths) => {
            let of = |wanted: bool| truths.iter().filter(|truth| **truth == Some(wanted)).count();
            let counts = [("false", of(false)), ("true", of(true))];
            counts
                .into_iter()
                .filter(|(_, count)| *count > 0)
                .map(|(name, count)| (name.to_owned(), count))
                .collect()
        }
        Values::Text(texts) => {
            text_counts(texts).into_iter().map(|(text, count)| (text.to_owned(), count)).collect()
        }
    }
}

/// The texts that occur, with their rows, in the order of the dictionary.
pub(crate) fn text_counts(texts: &Texts) -> Vec<(&str, usize)> {
    let mut counts = vec![0; texts.dictionary.len()];
    for code in texts.codes.iter().flatten() {
        if let Some(count) = usize::try_from(*code).ok().and_then(|code| counts.get_mut(code)) {
            *count += 1;
        }
    }
    let texts = texts.dictionary.iter().map(String::as_str);
    texts.zip(counts).filter(|(_, count)| *count > 0).collect()
}

fn range(values: &Values) -> Option<Range> {
    let Values::Numeric(numbers) = values else { return None };
    let known = || numbers.iter().copied().filter(|number| !number.is_nan());
    let (min, max) = (known().reduce(f32::min)?, known().reduce(f32::max)?);
    Some(Range { min: min.into(), mean: Welford::of(known()).mean(), max: max.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Column;

    #[test]
    fn every_type_is_summed_up() {
        let text = Texts {
            dictionary: vec!["b".into(), "a".into(), "elsewhere".into()],
            codes: vec![Some(0), Some(1), None, None],
        };
        let columns = vec![
            Column { name: "n".into(), values: Values::Numeric(vec![1.0, f32::NAN, 4.0, 1.0]) },
            Column { name: "t".into(), values: Values::Text(text) },
            Column {
                name: "f".into(),
                values: Values::Boolean(vec![Some(true), Some(true), None, Some(false)]),
            },
            Column { name: "e".into(), values: Values::Numeric(vec![f32::NAN; 4]) },
        ];
        let summaries = summary(&Table::new(columns, 4));
        let [numbers, texts, truths, empty] = summaries.as_slice() else { panic!("four columns") };
        assert_eq!(numbers.range, Some(Range { min: 1.0, mean: 2.0, max: 4.0 }));
        assert_eq!((numbers.missing, numbers.distinct, numbers.top.len()), (1, None, 0));
        assert_eq!((texts.missing, texts.distinct), (2, Some(2)));
        assert_eq!(texts.top, [("a".to_owned(), 1), ("b".to_owned(), 1)]);
        assert_eq!((truths.kind, truths.missing, truths.distinct), (ColumnKind::Boolean, 1, Some(2)));
        assert_eq!(truths.top, [("true".to_owned(), 2), ("false".to_owned(), 1)]);
        assert_eq!((empty.missing, empty.range), (4, None));
    }
}
