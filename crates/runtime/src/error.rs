//! Why a library, a model or a run was refused.

use std::path::PathBuf;
use std::time::Duration;

/// What kind of trouble an [`Error`] is, and so who can do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The installation or the options are wrong: exit code 64.
    Configuration,
    /// The model is wrong: exit code 65.
    Model,
    /// The model or the library is not there, and may come: exit code 66.
    Missing,
    /// The request is wrong: HTTP 400.
    Request,
    /// There is too much work or too little memory now; trying later may help: exit code 75, HTTP 503.
    Overloaded,
    /// The request took longer than it was given: HTTP 504.
    Deadline,
    /// The model is going away: HTTP 503.
    Closed,
    /// A run failed for a reason that the request cannot help: exit code 70, HTTP 500.
    Internal,
}

/// Why a library, a model or a run was refused.
///
/// Messages of ONNX Runtime are shortened: source files, C++ signatures and repetitions of the model's path are left out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// ONNX Runtime is nowhere to be found.
    #[error("ONNX Runtime was not found; looked for {}; {hint}", list(looked))]
    LibraryMissing {
        /// Every place that was looked at, in order.
        looked: Vec<PathBuf>,
        /// What to do.
        hint: &'static str,
    },
    /// The file is no loadable ONNX Runtime.
    #[error("{} cannot be loaded as ONNX Runtime: {detail}; install ONNX Runtime for this platform or correct ORT_DYLIB_PATH", path.display())]
    LibraryBroken {
        /// The file.
        path: PathBuf,
        /// What the dynamic loader or the library said.
        detail: String,
    },
    /// The library is older than the interface that is used.
    #[error("{} is ONNX Runtime {version}, which is too old; install {minimum} or newer", path.display())]
    LibraryTooOld {
        /// The file.
        path: PathBuf,
        /// What it says it is.
        version: String,
        /// The oldest release that works.
        minimum: &'static str,
    },
    /// The asked-for execution provider cannot be used. There is no silent fallback to the CPU.
    #[error(
        "the execution provider {provider} is not available: {detail}; use CPU, or an image and a node that have it"
    )]
    ProviderUnavailable {
        /// The provider, as manifests spell it.
        provider: &'static str,
        /// What ONNX Runtime said.
        detail: String,
    },
    /// There is no file.
    #[error("{} does not exist or cannot be read: {detail}", path.display())]
    ModelMissing {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        detail: String,
    },
    /// ONNX Runtime refuses the model for a reason that has no variant of its own.
    #[error("ONNX Runtime rejects {}: {detail}", path.display())]
    ModelRejected {
        /// The model.
        path: PathBuf,
        /// What ONNX Runtime said.
        detail: String,
    },
    /// The model names a file with weights that is not beside it.
    #[error("{} needs a file with external data that is not there: {detail}; publish it beside the model", path.display())]
    MissingExternalData {
        /// The model.
        path: PathBuf,
        /// What ONNX Runtime said, which names the file.
        detail: String,
    },
    /// The model uses an operator that ONNX Runtime does not have.
    #[error(
        "{} uses the operator {operator}, which ONNX Runtime {version} does not have; export the model without custom operators, or use a newer ONNX Runtime if the operator is a standard one",
        path.display()
    )]
    CustomOperator {
        /// The model.
        path: PathBuf,
        /// The operator with its domain.
        operator: String,
        /// The version of the library.
        version: String,
    },
    /// The model's opset or IR version is newer than the library.
    #[error("{} is newer than ONNX Runtime {version} understands: {detail}; export it with an older opset", path.display())]
    UnsupportedOpset {
        /// The model.
        path: PathBuf,
        /// What ONNX Runtime said, with the newest that it takes.
        detail: String,
        /// The version of the library.
        version: String,
    },
    /// An input or output has a type that the protocol cannot carry.
    #[error(
        "{}: the {role} \"{tensor}\" has the type {datatype}, which the Open Inference Protocol cannot carry; export the model with plain tensors (scikit-learn: `zipmap=False`)",
        path.display()
    )]
    UnsupportedType {
        /// The model.
        path: PathBuf,
        /// `input` or `output`.
        role: &'static str,
        /// Its name.
        tensor: String,
        /// ONNX's name for the type.
        datatype: String,
    },
    /// Memory ran out while loading or running.
    #[error("memory ran out: {detail}; give the server more memory, or send smaller batches")]
    OutOfMemory {
        /// What ONNX Runtime said.
        detail: String,
    },
    /// The request does not fit the model.
    #[error("{detail}")]
    InvalidInput {
        /// What does not fit, in one sentence.
        detail: String,
    },
    /// The queue is full.
    #[error("the model is overloaded: {waiting} requests with {bytes} bytes are waiting; try again in {} s", retry_after.as_secs())]
    Overloaded {
        /// Requests that wait.
        waiting: usize,
        /// The bytes of their inputs.
        bytes: usize,
        /// When the queue will have been worked off, estimated from recent runs, in whole seconds from 1 to 60.
        retry_after: Duration,
    },
    /// The time given to the request was over before its turn came.
    #[error("the request waited longer than its time limit; send fewer requests at once or raise the limit")]
    DeadlineExceeded,
    /// The model takes no more requests, or gave up those it had.
    #[error("the model is shutting down; send the request again")]
    Closed,
    /// A run failed.
    #[error("the model failed: {detail}")]
    RunFailed {
        /// What ONNX Runtime said.
        detail: String,
    },
    /// The operating system gave no thread.
    #[error("cannot start a thread for the model: {detail}")]
    NoThread {
        /// What the operating system said.
        detail: String,
    },
}

/// Gives each variant its reason and its class, and makes the list of all of them from the same lines.
macro_rules! reasons {
    ($($variant:ident => $class:ident;)*) => {
        impl Error {
            /// Every reason with its class.
            pub const REASONS: &[(&str, ErrorClass)] = &[$((stringify!($variant), ErrorClass::$class)),*];

            /// What kind of trouble it is.
            pub const fn class(&self) -> ErrorClass {
                match self {
                    $(Self::$variant { .. } => ErrorClass::$class,)*
                }
            }

            /// A `CamelCase` word for termination messages, conditions and metrics, the name of the variant.
            pub const fn reason(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => stringify!($variant),)*
                }
            }
        }
    };
}

reasons! {
    LibraryMissing => Missing;
    LibraryBroken => Configuration;
    LibraryTooOld => Configuration;
    ProviderUnavailable => Configuration;
    ModelMissing => Missing;
    ModelRejected => Model;
    MissingExternalData => Model;
    CustomOperator => Model;
    UnsupportedOpset => Model;
    UnsupportedType => Model;
    OutOfMemory => Overloaded;
    Overloaded => Overloaded;
    InvalidInput => Request;
    DeadlineExceeded => Deadline;
    Closed => Closed;
    RunFailed => Internal;
    NoThread => Internal;
}

fn list(paths: &[PathBuf]) -> String {
    if paths.is_empty() {
        return "nothing, because the folder of the executable is unknown".to_owned();
    }
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
