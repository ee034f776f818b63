//! From columns to the matrix that a network reads.
//!
//! [`Preprocessing::encode`] does in 32 bits exactly what the exported graph does, operation by operation.

use std::collections::BTreeMap;
use std::ops::Range;

use modelwright_api::training::{ColumnKind, ColumnSpec, InputLayout};

use super::{FeaturesError, Note};
use crate::data::kind_of;
use crate::matrix::Matrix;
use crate::table::{Column, Table, Texts, Values};

mod learn;
#[cfg(test)]
mod tests;

/// More numeric columns than this become one matrix unless something else is written.
const COLUMNS_OF_THEIR_OWN: usize = 32;

/// How each column becomes numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocessing {
    /// The form of the model's inputs.
    pub layout: InputLayout,
    /// The columns, in the order of the data.
    pub columns: Vec<Prepared>,
}

/// How one column becomes numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// Its name.
    pub name: String,
    /// What is done with its values.
    pub kind: PreparedKind,
}

/// What is done with a column's values.
#[derive(Clone, Debug, PartialEq)]
pub enum PreparedKind {
    /// A number `x`, or `fill` where it is missing, becomes `(x - mean) / deviation`.
    Numeric {
        /// What stands in for a missing value.
        fill: f32,
        /// The mean of the training rows; 0 without scaling.
        mean: f32,
        /// Their population standard deviation; 1 without scaling, and where it would be 0.
        deviation: f32,
    },
    /// A truth value, or `fill` where it is missing, becomes 0 or 1.
    Boolean {
        /// What stands in for a missing value.
        fill: bool,
    },
    /// A text becomes as many numbers as there are categories: 1 for its own and 0 for the others; only zeros for a
    /// text that is none of them.
    Text {
        /// The categories, by their bytes. The empty text is the missing value.
        categories: Vec<String>,
        /// What stands in for a missing value; `None`: the empty text.
        fill: Option<String>,
    },
}

impl Prepared {
    /// How many numbers a value becomes.
    pub fn width(&self) -> usize {
        match &self.kind {
            PreparedKind::Numeric { .. } | PreparedKind::Boolean { .. } => 1,
            PreparedKind::Text { categories, .. } => categories.len(),
        }
    }

    /// The type of its values.
    pub const fn column_kind(&self) -> ColumnKind {
        match &self.kind {
            PreparedKind::Numeric { .. } => ColumnKind::Numeric,
            PreparedKind::Boolean { .. } => ColumnKind::Boolean,
            PreparedKind::Text { .. } => ColumnKind::String,
        }
    }
}

impl Preprocessing {
    /// Learns from the training rows what to do with every column but `target`. `specs` are what is written about
    /// single columns, `layout` about the inputs.
    ///
    /// Gives as well what a person should know about the columns.
    pub fn fit(
        training: &Table,
        specs: &[ColumnSpec],
        layout: Option<InputLayout>,
        target: &str,
    ) -> Result<(Self, Vec<Note>), FeaturesError> {
        learn::check_names(training, specs, target)?;
        let specs: BTreeMap<&str, &ColumnSpec> =
            specs.iter().map(|spec| (spec.name.as_str(), spec)).collect();
        let inputs = || training.columns().iter().filter(|column| column.name != target);
        let layout = layout_of(inputs(), layout)?;
        let (mut columns, mut notes) = (Vec::new(), Vec::new());
        for column in inputs() {
            columns.push(learn::prepared(column, specs.get(column.name.as_str()).copied(), &mut notes)?);
        }
        if columns.is_empty() {
            return Err(FeaturesError::NoFeatures { target: target.to_owned() });
        }
        Ok((Self { layout, columns }, notes))
    }

    /// How many numbers a row becomes.
    pub fn width(&self) -> usize {
        self.columns.iter().map(Prepared::width).sum()
    }

    /// What each of them is called: `age`, or `city=Bern` for a category.
    pub fn feature_names(&self) -> Vec<String> {
        let names = |column: &Prepared| match &column.kind {
            PreparedKind::Numeric { .. } | PreparedKind::Boolean { .. } => vec![column.name.clone()],
            PreparedKind::Text { categories, .. } => {
                categories.iter().map(|category| format!("{}={category}", column.name)).collect()
            }
        };
        self.columns.iter().flat_map(names).collect()
    }

    /// Which of them come from each column.
    pub fn spans(&self) -> Vec<Range<usize>> {
        let mut start = 0;
        let span = |column: &Prepared| {
            let end = start + column.width();
            std::mem::replace(&mut start, end)..end
        };
        self.columns.iter().map(span).collect()
    }

    /// The numbers of every row: `[rows, width]`. Columns are found by name and must have the type that they had in
    /// training.
    pub fn encode(&self, table: &Table) -> Result<Matrix, FeaturesError> {
        let mut matrix = Matrix::zeros(table.rows(), self.width());
        for (prepared, span) in self.columns.iter().zip(self.spans()) {
            let other =
                || FeaturesError::OtherTable { name: prepared.name.clone(), kind: prepared.column_kind() };
            let column = table.column(&prepared.name).ok_or_else(other)?;
            match (&prepared.kind, &column.values) {
                (PreparedKind::Numeric { fill, mean, deviation }, Values::Numeric(numbers)) => {
                    for (row, number) in numbers.iter().enumerate() {
                        let number = if number.is_nan() { fill } else { number };
                        matrix.row_mut(row)[span.start] = (number - mean) / deviation;
                    }
                }
                (PreparedKind::Boolean { fill }, Values::Boolean(truths)) => {
                    for (row, truth) in truths.iter().enumerate() {
                        matrix.row_mut(row)[span.start] = f32::from(u8::from(truth.unwrap_or(*fill)));
                    }
                }
                (PreparedKind::Text { categories, fill }, Values::Text(texts)) => {
                    one_hot(texts, categories, fill.as_deref(), |row, category| {
                        matrix.row_mut(row)[span.start + category] = 1.0;
                    });
                }
                (
                    PreparedKind::Numeric { .. } | PreparedKind::Boolean { .. } | PreparedKind::Text { .. },
                    Values::Numeric(_) | Values::Boolean(_) | Values::Text(_),
                ) => return Err(other()),
            }
        }
        Ok(matrix)
    }
}

/// Calls `set` with each row whose text is a category, and that category's position.
fn one_hot(texts: &Texts, categories: &[String], fill: Option<&str>, mut set: impl FnMut(usize, usize)) {
    let position = |text: &str| categories.binary_search_by(|category| category.as_str().cmp(text)).ok();
    let positions: Vec<Option<usize>> = texts.dictionary.iter().map(|text| position(text)).collect();
    let missing = position(fill.unwrap_or(""));
    for (row, code) in texts.codes.iter().enumerate() {
        let category = match code {
            None => missing,
            Some(code) => usize::try_from(*code).ok().and_then(|code| positions.get(code).copied().flatten()),
        };
        if let Some(category) = category {
            set(row, category);
        }
    }
}

/// The layout that is written, if the columns allow it, or that follows from the columns.
fn layout_of<'a>(
    columns: impl Iterator<Item = &'a Column> + Clone,
    written: Option<InputLayout>,
) -> Result<InputLayout, FeaturesError> {
    let other = columns.clone().find(|column| kind_of(&column.values) != ColumnKind::Numeric);
    match (written, other) {
        (Some(InputLayout::Features), Some(column)) => Err(FeaturesError::FeaturesNotNumeric {
            name: column.name.clone(),
            kind: kind_of(&column.values),
        }),
        (Some(layout), _) => Ok(layout),
        (None, None) if columns.count() > COLUMNS_OF_THEIR_OWN => Ok(InputLayout::Features),
        (None, _) => Ok(InputLayout::Columns),
    }
}
