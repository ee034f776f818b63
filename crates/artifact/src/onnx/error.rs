//! Why an ONNX file is refused.

use super::sniff::Format;

/// Why a file is refused. Every message says what was found and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// A file of another kind, known by its first bytes.
    #[error("the file is {}, not ONNX; {}", .0.name(), .0.advice())]
    OtherFormat(Format),
    /// A file that is no ONNX.
    #[error("the file is no ONNX model: {problem}; export the model to ONNX, or check what was uploaded")]
    NotOnnx {
        /// What speaks against it; never the file's own bytes.
        problem: &'static str,
    },
    /// A file that ends before its content does.
    #[error(
        "the file is cut off: it ends after {bytes} bytes, its content needs at least {needed}; upload or export it again"
    )]
    TruncatedModel {
        /// Bytes of the file.
        bytes: u64,
        /// Bytes that the lengths inside it add up to.
        needed: u64,
    },
    /// A file that starts like ONNX and then breaks the format.
    #[error("the ONNX file is damaged at byte {offset}: {problem}; upload or export it again")]
    InvalidModel {
        /// Where, from the start of the file.
        offset: u64,
        /// What is wrong.
        problem: String,
    },
    /// More of something than any real model has.
    #[error("the model has {what}, more than is read of any model; simplify it before exporting it")]
    ModelTooComplex {
        /// What there is too much of, with the limit.
        what: String,
    },
    /// More bytes in one file than protobuf can hold.
    #[error(
        "the model needs {bytes} bytes in one file where protobuf ends at 2 GiB; save its weights as external data \
         (`onnx.save_model(..., save_as_external_data=True)`)"
    )]
    ModelTooLarge {
        /// Bytes that a message inside the file announces.
        bytes: u64,
    },
    /// A version of the file format that the runtime does not read.
    #[error(
        "the file has IR version {found}, ONNX Runtime reads {oldest} to {newest}; {}",
        advice_on_version(*found, *newest, "export it with an older `onnx` package, or set `model.ir_version` before saving")
    )]
    UnsupportedIr {
        /// The file's version.
        found: i64,
        /// The oldest version that is read.
        oldest: i64,
        /// The newest version that is read.
        newest: i64,
    },
    /// A version of an operator set that the runtime does not have.
    #[error(
        "the model needs version {found} of the operator set {}, ONNX Runtime has {oldest} to {newest}; {}",
        shown(domain), advice_on_version(*found, *newest, "export it with a lower opset version (for example `opset_version=20`)")
    )]
    UnsupportedOpset {
        /// The operator set, `ai.onnx` for the standard one.
        domain: String,
        /// The version that the model imports.
        found: i64,
        /// The oldest version that the runtime has.
        oldest: i64,
        /// The newest version that the runtime has.
        newest: i64,
    },
    /// Operators that the runtime does not have.
    #[error(
        "the model uses {} of the domain \"{}\", which ONNX Runtime does not have; export it with standard \
         operators only (custom operator libraries are not loaded)",
        operators.iter().map(|operator| shown(operator)).collect::<Vec<_>>().join(", "), shown(domain)
    )]
    CustomOperator {
        /// The operators' domain.
        domain: String,
        /// Up to eight of the operators.
        operators: Vec<String>,
    },
    /// A weight that is said to be in another file, without saying in which.
    #[error(
        "the weight {tensor:?} is kept outside of the file, but the model does not name where; save the model again with \
         `onnx.save_model`"
    )]
    MissingExternalData {
        /// The weight's name.
        tensor: String,
    },
    /// A path of external data that is not beneath the model's folder.
    #[error(
        "the model keeps weights in {location:?}: {problem}; external data must lie beside the model, under a relative path"
    )]
    UnsafeExternalDataPath {
        /// The path as the model writes it, shortened.
        location: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An input or output that no inference protocol can carry.
    #[error("the {role} {name:?} is {found}, which requests and answers cannot carry; {advice}")]
    UnsupportedType {
        /// `input` or `output`.
        role: &'static str,
        /// Its name.
        name: String,
        /// Its type.
        found: String,
        /// What to do.
        advice: &'static str,
    },
    /// The file could not be read.
    #[error("the file cannot be read: {problem}")]
    CannotRead {
        /// What the system says.
        problem: String,
    },
}

/// The reason for a file of no model at all.
const NOT_ONNX: &str = "NotOnnx";
/// The reason for a model of another format.
const UNSUPPORTED_FORMAT: &str = "UnsupportedFormat";

/// Gives each variant its reason, and makes the list of all of them from the same lines.
macro_rules! reasons {
    ($($variant:ident => $reason:expr;)*) => {
        impl OnnxError {
            /// Every reason.
            pub const REASONS: &[&str] = &[UNSUPPORTED_FORMAT, $($reason),*];

            /// The reason in `CamelCase`, stable; one of [`REASONS`](Self::REASONS).
            pub const fn reason(&self) -> &'static str {
                match self {
                    // A page or a pointer file is not a model of another format: nothing can convert it.
                    Self::OtherFormat(format) => match format.converter() {
                        Some(_) => UNSUPPORTED_FORMAT,
                        None => NOT_ONNX,
                    },
                    $(Self::$variant { .. } => $reason,)*
                }
            }
        }
    };
}

reasons! {
    NotOnnx => NOT_ONNX;
    TruncatedModel => "TruncatedModel";
    InvalidModel => "InvalidModel";
    ModelTooComplex => "ModelTooComplex";
    ModelTooLarge => "ModelTooLarge";
    UnsupportedIr => "UnsupportedIr";
    UnsupportedOpset => "UnsupportedOpset";
    CustomOperator => "CustomOperator";
    MissingExternalData => "MissingExternalData";
    UnsafeExternalDataPath => "UnsafeExternalDataPath";
    UnsupportedType => "UnsupportedType";
    CannotRead => "CannotRead";
}

/// A name from a model, for a message: at most 80 characters, none of which a terminal obeys.
fn shown(name: &str) -> String {
    let mut text: String = name.chars().take(80).flat_map(char::escape_debug).collect();
    if name.chars().nth(80).is_some() {
        text.push('…');
    }
    text
}

/// Too new and too old ask for different things.
fn advice_on_version(found: i64, newest: i64, lower: &'static str) -> &'static str {
    if found > newest { lower } else { "export the model again with a current exporter" }
}
