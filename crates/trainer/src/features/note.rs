//! What a person should know about a column, though it can be used as it is.

use std::fmt;

use crate::data::quoted;

/// Something about a column that is worth a line of output. Every note names the column and says what can be done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Note {
    /// All its values are the same.
    Constant {
        /// The column.
        column: String,
    },
    /// A text that is different in every row, so probably a name or number of the row.
    EveryTextDifferent {
        /// The column.
        column: String,
        /// How many texts.
        count: usize,
    },
    /// More categories than get an input of their own.
    RareCategories {
        /// The column.
        column: String,
        /// How many categories there are.
        categories: usize,
        /// How many get an input.
        kept: usize,
        /// How many training rows have one of the others.
        rows: usize,
    },
    /// A text column most of whose values are numbers.
    MostlyNumbers {
        /// The column.
        column: String,
        /// How many values are numbers.
        numbers: usize,
        /// How many are not.
        others: usize,
        /// The first that is not.
        example: String,
    },
    /// A text column with values that begin or end with a space.
    OuterSpaces {
        /// The column.
        column: String,
        /// The first of them.
        example: String,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant { column } => {
                write!(f, "constant column {}: it cannot help; write `type: Ignored`", quoted(column))
            }
            Self::EveryTextDifferent { column, count } => write!(
                f,
                "text column {}: its {count} values are all different, as those of an identifier are; it \
                 cannot help with new rows; write `type: Ignored`",
                quoted(column)
            ),
            Self::RareCategories { column, categories, kept, rows } => write!(
                f,
                "text column {}: of {categories} categories the {kept} most frequent get an input; {rows} \
                 rows with others count as unknown; write `maxCategories` to change that",
                quoted(column)
            ),
            Self::MostlyNumbers { column, numbers, others, example } => write!(
                f,
                "text column {}: {numbers} of its values are numbers and {others} are not, such as {}; \
                 correct those or leave them empty, or write `type: String` if texts are meant",
                quoted(column),
                quoted(example)
            ),
            Self::OuterSpaces { column, example } => write!(
                f,
                "text column {}: values such as {} have spaces around them, which requests must then have \
                 too",
                quoted(column),
                quoted(example)
            ),
        }
    }
}
