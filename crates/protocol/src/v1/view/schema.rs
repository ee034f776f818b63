//! `schema.json`: what the trainer says of the columns and classes of a model.

use std::collections::HashSet;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::datatype::Datatype;
use crate::element::Null;
use crate::error::excerpt;
use crate::fill::dimension;
use crate::signature::TensorMetadata;
use crate::tensor::{Tensor, TensorData};

/// The version of the format that this reads.
const VERSION: &str = "1";
/// The input that has all columns in [`Layout::Features`].
const FEATURES: &str = "features";

/// Why a `schema.json` cannot be used with its model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// It is not of the format.
    #[error("schema.json: {detail}; publish the file as the training wrote it")]
    Malformed {
        /// What is wrong.
        detail: String,
    },
    /// It is of a version that this release does not know.
    #[error(
        "schema.json has version \"{version}\", and this release reads version \"1\"; serve the model with the release that trained it"
    )]
    UnknownVersion {
        /// The file's version.
        version: String,
    },
    /// It describes another model.
    #[error(
        "schema.json describes the {what} {described}, and the model has {actual}; publish both files of one training"
    )]
    Mismatch {
        /// `inputs` or `outputs`.
        what: &'static str,
        /// The first one that differs, as the schema has it; `no more` if it has fewer.
        described: String,
        /// The same as the model has it.
        actual: String,
    },
}

#[derive(Deserialize)]
struct Versioned {
    version: String,
}

/// The parts of the file that requests, answers and explanations depend on. Others, such as means, are in the model itself.
#[derive(Deserialize)]
pub(super) struct Schema {
    task: Task,
    layout: Layout,
    columns: Vec<Column>,
    #[serde(default)]
    pub(super) classes: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Task {
    Binary,
    Multiclass,
    Regression,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Layout {
    /// One matrix of all columns.
    Features,
    /// An input for each column.
    Columns,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Column {
    Numeric {
        name: String,
        #[serde(default)]
        baseline: Option<f32>,
    },
    Boolean {
        name: String,
        fill: bool,
        #[serde(default)]
        baseline: Option<bool>,
    },
    String {
        name: String,
        #[serde(default)]
        categories: Vec<IgnoredAny>,
        #[serde(default)]
        baseline: Option<String>,
    },
}

impl Schema {
    /// Reads a file and checks that it does not contradict itself.
    pub(super) fn read(json: &[u8]) -> Result<Self, SchemaError> {
        let malformed = |error: serde_json::Error| SchemaError::Malformed { detail: error.to_string() };
        let Versioned { version } = serde_json::from_slice(json).map_err(malformed)?;
        if version != VERSION {
            return Err(SchemaError::UnknownVersion { version: excerpt(&version) });
        }
        let schema: Self = serde_json::from_slice(json).map_err(malformed)?;
        match schema.contradiction() {
            Some(detail) => Err(SchemaError::Malformed { detail }),
            None => Ok(schema),
        }
    }

    fn contradiction(&self) -> Option<String> {
        let Self { task, layout, columns, classes } = self;
        if columns.is_empty() {
            return Some("it has no columns".to_owned());
        }
        if let Some(name) = repeated(columns.iter().map(Column::name)) {
            return Some(format!("it has the column \"{}\" twice", excerpt(name)));
        }
        if let Some(name) = repeated(classes.iter().map(String::as_str)) {
            return Some(format!("it has the class \"{}\" twice", excerpt(name)));
        }
        let is_other = |column: &&Column| !matches!(column, Column::Numeric { .. });
        if let (Layout::Features, Some(column)) = (layout, columns.iter().find(is_other)) {
            let name = excerpt(column.name());
            return Some(format!("the column \"{name}\" is not numeric, which the layout Features needs"));
        }
        let wanted = match (task, classes.len()) {
            (Task::Binary, 2) | (Task::Multiclass, 2..) | (Task::Regression, 0) => return None,
            (Task::Binary, _) => "2 classes",
            (Task::Multiclass, _) => "2 classes or more",
            (Task::Regression, _) => "none",
        };
        Some(format!("{} classes where the task {task:?} has {wanted}", classes.len()))
    }

    pub(super) const fn layout(&self) -> Layout {
        self.layout
    }

    /// The columns as if each were an input of its own, which is what they are in [`Layout::Columns`].
    pub(super) fn columns(&self) -> Vec<TensorMetadata> {
        self.columns.iter().map(|column| metadata(column.name(), column.datatype(), &[-1, 1])).collect()
    }

    /// What `null` stands for, by column.
    pub(super) fn nulls(&self) -> Vec<Null> {
        self.columns.iter().map(Column::null).collect()
    }

    /// How many features the model makes of each column.
    pub(super) fn widths(&self) -> Vec<usize> {
        let width = |column: &Column| match column {
            Column::Numeric { .. } | Column::Boolean { .. } => 1,
            Column::String { categories, .. } => categories.len(),
        };
        self.columns.iter().map(width).collect()
    }

    /// The row of the columns' baselines as the model's inputs, if every column has one.
    pub(super) fn baseline(&self) -> Option<Vec<Tensor>> {
        let tensors = match self.layout {
            Layout::Features => {
                let number = |column: &Column| match column {
                    Column::Numeric { baseline, .. } => *baseline,
                    Column::Boolean { .. } | Column::String { .. } => None,
                };
                let numbers = self.columns.iter().map(number).collect::<Option<Vec<f32>>>()?;
                vec![(FEATURES, TensorData::Fp32(numbers))]
            }
            Layout::Columns => {
                let one = |column| Some((Column::name(column), Column::baseline(column)?));
                self.columns.iter().map(one).collect::<Option<_>>()?
            }
        };
        let row = |(name, data): (&str, TensorData)| Tensor::new(name, vec![1, dimension(data.len())], data);
        tensors.into_iter().map(row).collect::<Result<_, _>>().ok()
    }

    /// The inputs of the model that this describes.
    pub(super) fn inputs(&self) -> Vec<TensorMetadata> {
        match self.layout {
            Layout::Features => {
                vec![metadata(FEATURES, Datatype::Fp32, &[-1, dimension(self.columns.len())])]
            }
            Layout::Columns => self.columns(),
        }
    }

    /// The outputs of the model that this describes.
    pub(super) fn outputs(&self) -> Vec<TensorMetadata> {
        match self.task {
            Task::Regression => vec![metadata("prediction", Datatype::Fp32, &[-1])],
            Task::Binary | Task::Multiclass => vec![
                metadata("label", Datatype::Bytes, &[-1]),
                metadata("probabilities", Datatype::Fp32, &[-1, dimension(self.classes.len())]),
            ],
        }
    }
}

impl Column {
    fn name(&self) -> &str {
        match self {
            Self::Numeric { name, .. } | Self::Boolean { name, .. } | Self::String { name, .. } => name,
        }
    }

    fn baseline(&self) -> Option<TensorData> {
        Some(match self {
            Self::Numeric { baseline, .. } => TensorData::Fp32(vec![(*baseline)?]),
            Self::Boolean { baseline, .. } => TensorData::Bool(vec![(*baseline)?]),
            Self::String { baseline, .. } => {
                TensorData::Bytes(vec![Bytes::copy_from_slice(baseline.as_ref()?.as_bytes())])
            }
        })
    }

    const fn datatype(&self) -> Datatype {
        match self {
            Self::Numeric { .. } => Datatype::Fp32,
            Self::Boolean { .. } => Datatype::Bool,
            Self::String { .. } => Datatype::Bytes,
        }
    }

    /// The model fills in NaN and the empty text itself; a truth value has no such third one.
    const fn null(&self) -> Null {
        match self {
            Self::Numeric { .. } => Null::Number,
            Self::Boolean { fill, .. } => Null::Boolean(*fill),
            Self::String { .. } => Null::Text,
        }
    }
}

fn metadata(name: &str, datatype: Datatype, shape: &[i64]) -> TensorMetadata {
    TensorMetadata { name: name.to_owned(), datatype, shape: shape.to_vec() }
}

/// The first name that stood there before.
fn repeated<'a>(mut names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = HashSet::new();
    names.find(|name| !seen.insert(*name))
}
