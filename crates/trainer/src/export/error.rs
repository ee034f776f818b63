//! Why no ONNX file can be written.

/// Why no ONNX file can be written.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ExportError {
    /// A column is named as an output.
    #[error(
        "the column \"{column}\" cannot be an input of the model, because one of its outputs has this name; rename the column, or leave it out with the type Ignored"
    )]
    ReservedName {
        /// The column.
        column: String,
    },
    /// A column's name cannot be that of an input.
    #[error(
        "the column \"{}\" cannot be an input of the model: its name {problem}; rename the column, or leave it out with the type Ignored",
        column.escape_debug()
    )]
    UnusableName {
        /// The column.
        column: String,
        /// What is wrong with its name.
        problem: &'static str,
    },
    /// Preprocessing, network and target contradict each other.
    #[error("the trained model contradicts itself: {detail}; please report this")]
    Inconsistent {
        /// How.
        detail: String,
    },
    /// A number is infinite or not a number.
    #[error(
        "the trained model has a number that is not finite: \"{constant}\" is {value}; please report this"
    )]
    NotFinite {
        /// The constant's name in the file.
        constant: String,
        /// The number.
        value: String,
    },
}

crate::reasons::reasons! {
    ExportError:
    ReservedName => "ReservedName", BadData;
    UnusableName => "UnusableName", BadData;
    Inconsistent => "InconsistentModel", Bug;
    NotFinite => "NonFiniteModel", Bug;
}
