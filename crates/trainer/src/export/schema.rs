//! `schema.json`: what a model takes and gives, for programs that have no ONNX reader.

use std::collections::BTreeMap;

use modelwright_api::training::{InputLayout, Task};
use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};

use crate::features::preprocessing::{Prepared, PreparedKind, Preprocessing};
use crate::features::statistics::{Welford, rounded};
use crate::features::summary::text_counts;
use crate::features::target::Target;
use crate::table::{Table, Texts, Values};

/// The name of the file beside `model.onnx`.
pub const SCHEMA_FILE: &str = "schema.json";

/// The version of this form.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Version {
    /// The only one.
    #[default]
    #[serde(rename = "1")]
    One,
}

/// What a model takes and gives.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Schema {
    /// The version of this form.
    pub version: Version,
    /// What is predicted.
    pub task: Task,
    /// The column that is predicted.
    pub target: String,
    /// The form of the inputs.
    pub layout: InputLayout,
    /// The columns, in the order of the inputs or of the features.
    pub columns: Vec<SchemaColumn>,
    /// The classes, in the order of their probabilities; empty for a regression, and absent in JSON then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
}

/// A column that a model takes.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum SchemaColumn {
    /// Numbers.
    Numeric {
        /// The column's name.
        name: String,
        /// What stands in for a missing number.
        #[serde(serialize_with = "shortest")]
        fill: f32,
        /// What is subtracted.
        #[serde(serialize_with = "shortest")]
        mean: f32,
        /// What the rest is divided by.
        #[serde(serialize_with = "shortest")]
        deviation: f32,
        /// The mean of the training rows, with `fill` where a number is missing: what a prediction is compared with when it
        /// is explained. Absent in revisions of numerics version 1.
        #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "shortest_of_some")]
        baseline: Option<f32>,
    },
    /// Truth values.
    Boolean {
        /// The column's name.
        name: String,
        /// What stands in for a missing value. A request has to give it: the model itself has no way to be told that one is
        /// missing.
        fill: bool,
        /// The more frequent value of the training rows, `false` if both are; see numbers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        baseline: Option<bool>,
    },
    /// Texts.
    String {
        /// The column's name.
        name: String,
        /// The texts that the model knows, in the order of their features.
        categories: Vec<String>,
        /// What stands in for the empty text; absent where that is a text like others.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fill: Option<String>,
        /// The most frequent text of the training rows, of several the first by its bytes; empty where that is a missing one.
        /// See numbers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        baseline: Option<String>,
    },
}

/// Why bytes are no schema, or a schema has no bytes.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SchemaError {
    /// The bytes are no schema of this version.
    #[error(
        "it is no schema of version 1: {detail}; use a revision that this release of the built-in trainer made"
    )]
    Invalid {
        /// What is wrong, and where.
        detail: String,
    },
    /// It cannot be written: a number is not finite.
    #[error("the schema cannot be written: {detail}; please report this")]
    Unwritable {
        /// Why.
        detail: String,
    },
}

crate::reasons::reasons! {
    SchemaError:
    Invalid => "InvalidSchema", BadData;
    Unwritable => "UnwritableSchema", Bug;
}

impl Schema {
    /// The schema of a model with this preprocessing and target.
    pub fn new(preprocessing: &Preprocessing, target: &Target) -> Self {
        Self {
            version: Version::One,
            task: target.task,
            target: target.name.clone(),
            layout: preprocessing.layout,
            columns: preprocessing.columns.iter().map(SchemaColumn::new).collect(),
            classes: target.classes.clone(),
        }
    }

    /// Adds the baseline of each column that the training rows have.
    #[must_use]
    pub fn with_baseline(mut self, training: &Table) -> Self {
        for column in &mut self.columns {
            if let Some(values) = training.column(column.name()).map(|column| &column.values) {
                column.set_baseline(values);
            }
        }
        self
    }

    /// Canonical JSON (RFC 8785). [`Schema::parse`] gives the same schema back.
    pub fn to_json(&self) -> Result<Vec<u8>, SchemaError> {
        serde_json_canonicalizer::to_vec(self)
            .map_err(|error| SchemaError::Unwritable { detail: error.to_string() })
    }

    /// Reads JSON. Unknown fields and other versions are refused: they would change what the model takes.
    pub fn parse(bytes: &[u8]) -> Result<Self, SchemaError> {
        serde_json::from_slice(bytes).map_err(|error| SchemaError::Invalid { detail: error.to_string() })
    }
}

impl SchemaColumn {
    fn new(column: &Prepared) -> Self {
        let name = column.name.clone();
        match column.kind.clone() {
            PreparedKind::Numeric { fill, mean, deviation } => {
                Self::Numeric { name, fill, mean, deviation, baseline: None }
            }
            PreparedKind::Boolean { fill } => Self::Boolean { name, fill, baseline: None },
            PreparedKind::Text { categories, fill } => {
                Self::String { name, categories, fill, baseline: None }
            }
        }
    }

    /// Values of another type have none: there are no such training rows.
    fn set_baseline(&mut self, values: &Values) {
        match (self, values) {
            (Self::Numeric { fill, baseline, .. }, Values::Numeric(numbers)) => {
                let filled = numbers.iter().map(|number| if number.is_nan() { *fill } else { *number });
                *baseline = Some(rounded(Welford::of(filled).mean()));
            }
            (Self::Boolean { fill, baseline, .. }, Values::Boolean(truths)) => {
                let yes = truths.iter().filter(|truth| truth.unwrap_or(*fill)).count();
                *baseline = Some(yes > truths.len() - yes);
            }
            (Self::String { fill, baseline, .. }, Values::Text(texts)) => {
                *baseline = Some(most_frequent(texts, fill.as_deref().unwrap_or_default()));
            }
            (Self::Numeric { .. } | Self::Boolean { .. } | Self::String { .. }, _) => {}
        }
    }

    /// The column's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Numeric { name, .. } | Self::Boolean { name, .. } | Self::String { name, .. } => name,
        }
    }
}

/// The text of most rows, with `fill` where one is missing; of several, the first by its bytes.
fn most_frequent(texts: &Texts, fill: &str) -> String {
    let mut counts: BTreeMap<&str, usize> = text_counts(texts).into_iter().collect();
    *counts.entry(fill).or_default() += texts.codes.iter().filter(|code| code.is_none()).count();
    // The last of the largest, which is the first by its bytes.
    let most = counts.into_iter().rev().max_by_key(|(_, count)| *count);
    most.map_or_else(String::new, |(text, _)| text.to_owned())
}

#[expect(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn shortest_of_some<S: Serializer>(value: &Option<f32>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => shortest(value, serializer),
        None => serializer.serialize_none(),
    }
}

/// A single in the digits that it needs: 0.1, where widening it would give 0.10000000149011612. JSON's numbers are doubles,
/// and rounding the double of those digits to a single gives the same single back; should it ever not, the widened one is
/// written.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn shortest<S: Serializer>(value: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    if !value.is_finite() {
        // serde_json would write `null`.
        return Err(S::Error::custom(format!("{value} is no number of JSON")));
    }
    #[expect(clippy::cast_possible_truncation, reason = "a reader rounds in the same way")]
    let survives = |double: &f64| (*double as f32).to_bits() == value.to_bits();
    let double = value.to_string().parse().ok().filter(survives).unwrap_or(f64::from(*value));
    serializer.serialize_f64(double)
}

#[cfg(test)]
mod tests {
    use modelwright_api::contract::ExitCode;
    use proptest::prelude::*;

    use super::*;
    use crate::table::Column;

    fn schema(columns: Vec<SchemaColumn>) -> Schema {
        Schema {
            version: Version::One,
            task: Task::Binary,
            target: "diagnosis".to_owned(),
            layout: InputLayout::Columns,
            columns,
            classes: vec!["benign".to_owned(), "malignant".to_owned()],
        }
    }

    #[test]
    fn json_is_canonical_and_reads_back() {
        let schema = schema(vec![
            SchemaColumn::Numeric {
                name: "age".into(),
                fill: 41.0,
                mean: 40.1,
                deviation: 12.3,
                baseline: Some(40.1),
            },
            SchemaColumn::Boolean { name: "member".into(), fill: false, baseline: Some(true) },
            SchemaColumn::String {
                name: "city".into(),
                categories: vec!["Bern".into(), "Genf".into()],
                fill: Some("Bern".into()),
                baseline: Some("Genf".into()),
            },
            SchemaColumn::String {
                name: "street".into(),
                categories: vec![String::new()],
                fill: None,
                baseline: None,
            },
        ]);
        let expected = concat!(
            r#"{"classes":["benign","malignant"],"columns":["#,
            r#"{"baseline":40.1,"deviation":12.3,"fill":41,"mean":40.1,"name":"age","type":"Numeric"},"#,
            r#"{"baseline":true,"fill":false,"name":"member","type":"Boolean"},"#,
            r#"{"baseline":"Genf","categories":["Bern","Genf"],"fill":"Bern","name":"city","type":"String"},"#,
            r#"{"categories":[""],"name":"street","type":"String"}],"#,
            r#""layout":"Columns","target":"diagnosis","task":"Binary","version":"1"}"#
        );
        let bytes = schema.to_json().unwrap();
        assert_eq!(String::from_utf8(bytes.clone()).unwrap(), expected);
        assert_eq!(Schema::parse(&bytes).unwrap(), schema);
    }

    #[test]
    fn a_regression_has_no_classes() {
        let schema = Schema { task: Task::Regression, classes: Vec::new(), ..schema(Vec::new()) };
        let bytes = schema.to_json().unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("classes"));
        assert_eq!(Schema::parse(&bytes).unwrap(), schema);
    }

    #[test]
    fn other_versions_and_unknown_fields_are_refused() {
        let text = String::from_utf8(
            schema(vec![SchemaColumn::Boolean { name: "a".into(), fill: true, baseline: None }])
                .to_json()
                .unwrap(),
        )
        .unwrap();
        for (from, to) in [
            (r#""version":"1""#, r#""version":"2""#),
            (r#""version":"1""#, r#""version":"1","more":1"#),
            (r#""type":"Boolean""#, r#""type":"Boolean","mean":1"#),
            (r#""type":"Boolean""#, r#""type":"Date""#),
        ] {
            let error = Schema::parse(text.replace(from, to).as_bytes()).unwrap_err();
            assert_eq!((error.reason(), error.exit_code()), ("InvalidSchema", ExitCode::BadData), "{to}");
        }
    }

    #[test]
    fn numbers_that_json_has_not_are_not_written() {
        let mean = f32::INFINITY;
        let column =
            SchemaColumn::Numeric { name: "a".into(), fill: 0.0, mean, deviation: 1.0, baseline: None };
        assert_eq!(schema(vec![column]).to_json().unwrap_err().exit_code(), ExitCode::Bug);
    }

    #[test]
    fn baselines_are_means_and_what_is_most_frequent() {
        let column = |name: &str, values| Column { name: name.to_owned(), values };
        let texts = |codes: &[Option<u32>]| {
            Values::Text(Texts { dictionary: vec!["b".into(), "a".into()], codes: codes.to_vec() })
        };
        let table = Table::new(
            vec![
                column("age", Values::Numeric(vec![1.0, f32::NAN, 3.0, 4.0])),
                column("member", Values::Boolean(vec![Some(false), None, None, Some(true)])),
                column("city", texts(&[Some(0), Some(1), None, None])),
                column("even", texts(&[Some(0), Some(1), Some(0), Some(1)])),
            ],
            4,
        );
        let text = |name: &str| SchemaColumn::String {
            name: name.into(),
            categories: vec!["a".into(), "b".into()],
            fill: None,
            baseline: None,
        };
        let schema = schema(vec![
            SchemaColumn::Numeric {
                name: "age".into(),
                fill: 8.0,
                mean: 0.0,
                deviation: 1.0,
                baseline: None,
            },
            SchemaColumn::Boolean { name: "member".into(), fill: true, baseline: None },
            text("city"),
            text("even"),
        ]);
        let json = String::from_utf8(schema.with_baseline(&table).to_json().unwrap()).unwrap();
        for (name, baseline) in [("age", "4"), ("member", "true"), ("city", "\"\""), ("even", "\"a\"")] {
            let columns: serde_json::Value = serde_json::from_str(&json).unwrap();
            let mut columns = columns["columns"].as_array().unwrap().iter();
            let found = columns.find(|column| column["name"] == name).unwrap();
            assert_eq!(found["baseline"].to_string().trim_end_matches(".0"), baseline, "{name}");
        }
    }

    proptest! {
        #[test]
        fn every_single_reads_back(bits in any::<u32>()) {
            let value = f32::from_bits(bits);
            prop_assume!(value.is_finite());
            let (name, baseline) = ("a".into(), Some(value));
            let column = SchemaColumn::Numeric { name, fill: value, mean: value, deviation: value, baseline };
            let schema = schema(vec![column]);
            prop_assert_eq!(Schema::parse(&schema.to_json().unwrap()).unwrap(), schema);
        }
    }
}
