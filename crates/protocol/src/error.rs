//! Why a request was refused or a response could not be written.

use crate::datatype::Datatype;

/// The longest piece of client text that a message repeats, in characters.
const EXCERPT: usize = 64;
/// How many names a message lists before it says how many more there are.
const NAMES: usize = 16;

/// Whose fault an [`Error`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The request is wrong: HTTP 400, gRPC `INVALID_ARGUMENT`.
    BadRequest,
    /// The model gave what the response format cannot carry: HTTP 500, gRPC `INTERNAL`.
    Internal,
}

/// Why a request was refused or a response could not be written.
///
/// Text of the client appears in the fields cut to 64 characters, so a message never grows with the request. A `path`
/// is written like `inputs[0].data[3][1]`; the empty path is the body itself and reads `body`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The body has no bytes or only white space.
    #[error("the request body is empty; send a JSON object")]
    EmptyBody,
    /// The body is not JSON.
    #[error("the request body is not valid JSON: {detail}")]
    MalformedJson {
        /// What the parser found, with line and column.
        detail: String,
    },
    /// A required key is absent.
    #[error("{path}: the required key \"{key}\" is missing")]
    MissingKey {
        /// The object that lacks it.
        path: String,
        /// The key.
        key: &'static str,
    },
    /// A key that may appear once appears again.
    #[error("{path}: the key \"{key}\" appears more than once")]
    DuplicateKey {
        /// The object that has it twice.
        path: String,
        /// The key.
        key: String,
    },
    /// A value has the wrong type or lies outside the range of its type.
    #[error("{path}: got {got}, wanted {wanted}")]
    InvalidValue {
        /// Where the value stands.
        path: String,
        /// What was found.
        got: String,
        /// What belongs there.
        wanted: String,
    },
    /// A bound of [`Limits`](crate::Limits) is exceeded.
    #[error("{path}: more than {limit} {what}; send a smaller request")]
    LimitExceeded {
        /// Where.
        path: String,
        /// What is counted, in the plural.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// The element type is none of the protocol's.
    #[error(
        "unknown datatype \"{name}\"; use one of BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, INT64, FP16, BF16, FP32, FP64, BYTES"
    )]
    UnknownDatatype {
        /// What was given.
        name: String,
    },
    /// The model has no input of this name.
    #[error("unknown input \"{name}\"; the model takes {known}")]
    UnknownInput {
        /// What was given.
        name: String,
        /// The names of the model's inputs.
        known: String,
    },
    /// An input of the model is not in the request.
    #[error("input \"{name}\" is missing; the model takes {known}")]
    MissingInput {
        /// The missing input.
        name: String,
        /// The names of the model's inputs.
        known: String,
    },
    /// An input is given twice.
    #[error("input \"{name}\" is given more than once")]
    DuplicateInput {
        /// The input.
        name: String,
    },
    /// A record has a field that is no input of the model.
    #[error("{path}: unknown field \"{name}\"; the model takes {known}")]
    UnknownField {
        /// The record.
        path: String,
        /// What was given.
        name: String,
        /// The names of the model's inputs.
        known: String,
    },
    /// A record lacks the field of an input.
    #[error("{path}: the field \"{name}\" is missing; the model takes {known}")]
    MissingField {
        /// The record.
        path: String,
        /// The missing field.
        name: String,
        /// The names of the model's inputs.
        known: String,
    },
    /// A record lacks the field of a column of a model that knows what to do with a missing value.
    #[error(
        "{path}: the field \"{name}\" is missing; write null for a missing value; the model takes {known}"
    )]
    MissingColumn {
        /// The record.
        path: String,
        /// The missing field.
        name: String,
        /// The names of the model's columns.
        known: String,
    },
    /// The model has no output of this name.
    #[error("unknown output \"{name}\"; the model gives {known}")]
    UnknownOutput {
        /// What was asked for.
        name: String,
        /// The names of the model's outputs.
        known: String,
    },
    /// An output is asked for twice.
    #[error("output \"{name}\" is asked for more than once")]
    DuplicateOutput {
        /// The output.
        name: String,
    },
    /// A dimension is below zero.
    #[error("tensor \"{tensor}\": shape {shape} has a negative dimension; send the actual sizes")]
    NegativeDimension {
        /// The tensor.
        tensor: String,
        /// Its shape, cut when long.
        shape: String,
    },
    /// The product of the dimensions does not fit into 63 bits.
    #[error("tensor \"{tensor}\": shape {shape} has more elements than can be counted")]
    ShapeOverflow {
        /// The tensor.
        tensor: String,
        /// Its shape, cut when long.
        shape: String,
    },
    /// The number of elements is not the product of the dimensions.
    #[error("tensor \"{tensor}\": shape {shape:?} needs {expected} elements, got {actual}")]
    LengthMismatch {
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<i64>,
        /// The product of the dimensions.
        expected: usize,
        /// The number of elements.
        actual: usize,
    },
    /// The element type is not the model's.
    #[error("input \"{tensor}\": datatype {got} where the model wants {wanted}")]
    DatatypeMismatch {
        /// The input.
        tensor: String,
        /// The request's type.
        got: Datatype,
        /// The model's type.
        wanted: Datatype,
    },
    /// Rank or a fixed dimension is not the model's.
    #[error("input \"{tensor}\": shape {got} where the model wants {wanted:?} (-1 is any size)")]
    ShapeMismatch {
        /// The input.
        tensor: String,
        /// The request's shape, cut when long.
        got: String,
        /// The model's shape.
        wanted: Vec<i64>,
    },
    /// There are no rows.
    #[error("input \"{tensor}\": the batch is empty; send at least one row")]
    EmptyBatch {
        /// The input.
        tensor: String,
    },
    /// The JSON would end behind the body.
    #[error(
        "Inference-Header-Content-Length: {header} bytes of JSON in a body of {body} bytes; send the length of the JSON part"
    )]
    HeaderBeyondBody {
        /// What the header says.
        header: usize,
        /// The length of the body.
        body: usize,
    },
    /// Bytes follow the last binary tensor.
    #[error(
        "{count} bytes follow the tensors; what follows the JSON must be as long as all \"binary_data_size\" together"
    )]
    TrailingBytes {
        /// How many.
        count: usize,
    },
    /// A body without JSON does not fit the model.
    #[error(
        "Inference-Header-Content-Length is 0, so the body is taken for the model's only input: {reason}; describe the inputs in JSON"
    )]
    RawBody {
        /// Why it cannot be.
        reason: String,
    },
    /// The request asks for something that this version cannot do.
    #[error("{path}: {feature} is not available in this version; {instead}")]
    Unsupported {
        /// Where it is asked for.
        path: String,
        /// What it is.
        feature: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
    /// The outputs are not those that the model's schema describes.
    #[error("the model gave {got} where its schema says {wanted}")]
    UnexpectedOutputs {
        /// Names, types and shapes of the outputs.
        got: String,
        /// What the schema says of them.
        wanted: String,
    },
    /// An output has a value that JSON cannot carry.
    #[error(
        "output \"{output}\": element {index} is {value}, which JSON cannot represent; ask for the output as binary tensor data (V2: the parameter \"binary_data\": true of the output; tritonclient: binary_data=True)"
    )]
    NonFiniteOutput {
        /// The output.
        output: String,
        /// The position of the first such element in row-major order.
        index: usize,
        /// `NaN`, `inf` or `-inf`.
        value: String,
    },
    /// A byte string of an output is not text.
    #[error(
        "output \"{output}\": element {index} is not UTF-8 text, which JSON cannot represent; ask for the output as binary tensor data (V2: the parameter \"binary_data\": true of the output; tritonclient: binary_data=True)"
    )]
    OutputNotText {
        /// The output.
        output: String,
        /// The position of the first such element in row-major order.
        index: usize,
    },
    /// A byte string of an output is longer than the binary form can say.
    #[error(
        "output \"{output}\": element {index} has more than 4294967295 bytes, which binary tensor data cannot represent"
    )]
    OutputTooLong {
        /// The output.
        output: String,
        /// The position of the first such element in row-major order.
        index: usize,
    },
}

impl Error {
    /// Whose fault it is.
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::EmptyBody
            | Self::MalformedJson { .. }
            | Self::MissingKey { .. }
            | Self::DuplicateKey { .. }
            | Self::InvalidValue { .. }
            | Self::LimitExceeded { .. }
            | Self::UnknownDatatype { .. }
            | Self::UnknownInput { .. }
            | Self::MissingInput { .. }
            | Self::DuplicateInput { .. }
            | Self::UnknownField { .. }
            | Self::MissingField { .. }
            | Self::MissingColumn { .. }
            | Self::UnknownOutput { .. }
            | Self::DuplicateOutput { .. }
            | Self::NegativeDimension { .. }
            | Self::ShapeOverflow { .. }
            | Self::LengthMismatch { .. }
            | Self::DatatypeMismatch { .. }
            | Self::ShapeMismatch { .. }
            | Self::EmptyBatch { .. }
            | Self::HeaderBeyondBody { .. }
            | Self::TrailingBytes { .. }
            | Self::RawBody { .. }
            | Self::Unsupported { .. } => ErrorClass::BadRequest,
            Self::UnexpectedOutputs { .. }
            | Self::NonFiniteOutput { .. }
            | Self::OutputNotText { .. }
            | Self::OutputTooLong { .. } => ErrorClass::Internal,
        }
    }

    /// The HTTP status of the class: 400 or 500.
    pub const fn status(&self) -> u16 {
        match self.class() {
            ErrorClass::BadRequest => 400,
            ErrorClass::Internal => 500,
        }
    }
}

/// Cuts client text to what a message may repeat, with control characters escaped so that a log line stays a line.
pub(crate) fn excerpt(text: &str) -> String {
    let mut characters = text.chars();
    let mut cut = String::with_capacity(text.len().min(EXCERPT));
    for character in characters.by_ref().take(EXCERPT) {
        if character.is_control() {
            cut.extend(character.escape_default());
        } else {
            cut.push(character);
        }
    }
    if characters.next().is_some() {
        cut.push('…');
    }
    cut
}

/// Names in quotes, the first sixteen of them.
pub(crate) fn name_list<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let total = names.len();
    if total == 0 {
        return "none".to_owned();
    }
    let list = names.take(NAMES).map(|name| format!("\"{}\"", excerpt(name))).collect::<Vec<_>>().join(", ");
    if total > NAMES { format!("{list} and {} more", total - NAMES) } else { list }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_short_single_lines() {
        assert_eq!(excerpt("abc"), "abc");
        assert_eq!(excerpt("a\nb"), "a\\nb");
        let cut = excerpt(&"é".repeat(1000));
        assert_eq!(cut.chars().count(), EXCERPT + 1);
        assert!(cut.ends_with('…'));
    }

    #[test]
    fn long_lists_of_names_say_how_many_more() {
        let names: Vec<String> = (0..40).map(|index| format!("f{index}")).collect();
        let list = name_list(names.iter().map(String::as_str));
        assert!(list.starts_with("\"f0\", \"f1\"") && list.ends_with("\"f15\" and 24 more"), "{list}");
        assert_eq!(name_list(std::iter::empty::<&str>().collect::<Vec<_>>().into_iter()), "none");
    }

    #[test]
    fn only_outputs_are_the_servers_fault() {
        assert_eq!(Error::EmptyBody.status(), 400);
        assert_eq!(Error::OutputNotText { output: "y".into(), index: 0 }.status(), 500);
    }
}
