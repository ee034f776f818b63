//! `schema.json`: what a model takes and gives, for programs that have no ONNX reader.

use modelwright_api::contract::ExitCode;
use modelwright_api::training::{InputLayout, Task};
use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};

use crate::features::preprocessing::{Prepared, PreparedKind, Preprocessing};
use crate::features::target::Target;

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
    },
    /// Truth values.
    Boolean {
        /// The column's name.
        name: String,
        /// What stands in for a missing value. A request has to give it: the model itself has no way to be told that one is
        /// missing.
        fill: bool,
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

impl SchemaError {
    /// A `CamelCase` word for termination messages, conditions and metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "InvalidSchema",
            Self::Unwritable { .. } => "UnwritableSchema",
        }
    }

    /// How a command ends that meets it.
    pub const fn exit_code(&self) -> ExitCode {
        match self {
            Self::Invalid { .. } => ExitCode::BadData,
            Self::Unwritable { .. } => ExitCode::Bug,
        }
    }
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
            PreparedKind::Numeric { fill, mean, deviation } => Self::Numeric { name, fill, mean, deviation },
            PreparedKind::Boolean { fill } => Self::Boolean { name, fill },
            PreparedKind::Text { categories, fill } => Self::String { name, categories, fill },
        }
    }

    /// The column's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Numeric { name, .. } | Self::Boolean { name, .. } | Self::String { name, .. } => name,
        }
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
    use proptest::prelude::*;

    use super::*;

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
            SchemaColumn::Numeric { name: "age".into(), fill: 41.0, mean: 40.1, deviation: 12.3 },
            SchemaColumn::Boolean { name: "member".into(), fill: false },
            SchemaColumn::String {
                name: "city".into(),
                categories: vec!["Bern".into(), "Genf".into()],
                fill: Some("Bern".into()),
            },
            SchemaColumn::String { name: "street".into(), categories: vec![String::new()], fill: None },
        ]);
        let expected = concat!(
            r#"{"classes":["benign","malignant"],"columns":["#,
            r#"{"deviation":12.3,"fill":41,"mean":40.1,"name":"age","type":"Numeric"},"#,
            r#"{"fill":false,"name":"member","type":"Boolean"},"#,
            r#"{"categories":["Bern","Genf"],"fill":"Bern","name":"city","type":"String"},"#,
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
            schema(vec![SchemaColumn::Boolean { name: "a".into(), fill: true }]).to_json().unwrap(),
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
        let column = SchemaColumn::Numeric { name: "a".into(), fill: 0.0, mean, deviation: 1.0 };
        assert_eq!(schema(vec![column]).to_json().unwrap_err().exit_code(), ExitCode::Bug);
    }

    proptest! {
        #[test]
        fn every_single_reads_back(bits in any::<u32>()) {
            let value = f32::from_bits(bits);
            prop_assume!(value.is_finite());
            let column =
                SchemaColumn::Numeric { name: "a".into(), fill: value, mean: value, deviation: value };
            let schema = schema(vec![column]);
            prop_assert_eq!(Schema::parse(&schema.to_json().unwrap()).unwrap(), schema);
        }
    }
}
