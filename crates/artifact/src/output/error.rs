//! Why what a training left is refused.

use crate::onnx::OnnxError;
use crate::path::printable;
use crate::{Error, MANIFEST_FILE, MODEL_FILE, RelativePath};

/// The most names that a message lists.
const NAMED_FILES: usize = 6;
/// The most characters of a name in a message.
const NAME_CHARACTERS: usize = 80;

/// Why what a training left is refused. Names in messages are shortened and made printable.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// There is no `model.onnx`.
    #[error("the training left no {MODEL_FILE} in ML_OUT_DIR: {found}; write the model there in ONNX format")]
    NoModel {
        /// What there is instead.
        found: String,
    },
    /// Something that is neither a folder nor a regular file.
    #[error(
        "{} in ML_OUT_DIR is {found}; leave only regular files there, and copy what a link leads to",
        name(path)
    )]
    NotRegular {
        /// The path.
        path: String,
        /// What it is, e.g. `a symbolic link`.
        found: &'static str,
    },
    /// A file that has another name, too.
    #[error(
        "{} in ML_OUT_DIR is a hard link: the file has another name elsewhere; copy it instead of linking it",
        name(path)
    )]
    HardLink {
        /// The path.
        path: String,
    },
    /// A file that cannot be read by the user that checks it.
    #[error(
        "{} in ML_OUT_DIR cannot be read by the user 65532, which checks it; write files that everybody may read (`umask 022`)",
        name(path)
    )]
    Unreadable {
        /// The path.
        path: String,
    },
    /// More files or folders than are allowed.
    #[error("ML_OUT_DIR holds more than {most} files or folders; leave there only what the model needs")]
    TooManyFiles {
        /// The limit.
        most: usize,
    },
    /// More bytes than are allowed.
    #[error(
        "{} makes ML_OUT_DIR too large: at most {most} bytes are read, counted by the sizes of files; leave there only what \
         the model needs",
        name(path)
    )]
    TooLarge {
        /// The file that passed the limit.
        path: String,
        /// The limit.
        most: u64,
    },
    /// The name of the list that a revision is described by.
    #[error(
        "ML_OUT_DIR holds {MANIFEST_FILE}, which is the name of a revision's own list of files; give it another name"
    )]
    Reserved,
    /// A file of weights that a model names and that is not there.
    #[error(
        "{} keeps weights in {}, which is not in ML_OUT_DIR; write the file there, or save the weights in the model",
        name(model),
        name(path)
    )]
    WeightsMissing {
        /// The model.
        model: String,
        /// The path that it names.
        path: String,
    },
    /// A model that is not valid or not supported.
    #[error("{}: {source}", name(path))]
    Onnx {
        /// The file.
        path: String,
        /// What the scanner found.
        source: OnnxError,
    },
    /// A path that no revision can have, or a folder that cannot be read.
    #[error(transparent)]
    Other(#[from] Error),
}

impl OutputError {
    /// Every reason of its own; all of them are the user's to act on. Those of [`OnnxError`] and [`Error`] come besides.
    pub const REASONS: &[&str] = &["NoModelWritten", "UnsafeOutput", "OutputUnreadable", "OutputTooLarge"];

    /// The reason in `CamelCase`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoModel { .. } => "NoModelWritten",
            Self::NotRegular { .. } | Self::HardLink { .. } | Self::Reserved => "UnsafeOutput",
            Self::Unreadable { .. } => "OutputUnreadable",
            Self::TooManyFiles { .. } | Self::TooLarge { .. } => "OutputTooLarge",
            Self::WeightsMissing { .. } => "MissingExternalData",
            Self::Onnx { source, .. } => source.reason(),
            Self::Other(error) => error.reason(),
        }
    }

    /// The failure to open or list something below the folder.
    pub(super) fn at(error: Error, path: &str) -> Self {
        let below = |place: std::path::PathBuf| {
            let found = place.file_name().map(|name| name.to_string_lossy().into_owned());
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            match found {
                Some(found) if folder.is_empty() => found,
                Some(found) => format!("{folder}/{found}"),
                None => path.to_owned(),
            }
        };
        match error {
            Error::UnsafeTarget { path, found } => Self::NotRegular { path: below(path), found },
            Error::AccessDenied { .. } => Self::Unreadable { path: path.to_owned() },
            other => Self::Other(other),
        }
    }

    pub(super) fn weights_missing(model: &str, path: &str) -> Self {
        Self::WeightsMissing { model: model.to_owned(), path: path.to_owned() }
    }

    pub(super) fn no_model(paths: &[RelativePath]) -> Self {
        let listed: Vec<String> = paths.iter().take(NAMED_FILES).map(|path| name(path.as_str())).collect();
        let found = match paths.len() {
            0 => "it is empty".to_owned(),
            count if count > NAMED_FILES => {
                format!("there are {count} other files: {} and so on", listed.join(", "))
            }
            _ => format!("there is {}", listed.join(", ")),
        };
        Self::NoModel { found }
    }
}

/// A name for a message.
fn name(path: &str) -> String {
    let mut short: String = path.chars().take(NAME_CHARACTERS).collect();
    if path.chars().nth(NAME_CHARACTERS).is_some() {
        short.push('…');
    }
    printable(&short)
}
