//! What can go wrong, and what each failure means for whoever asked.

use std::path::PathBuf;

use crate::access::PRIVATE;
use crate::onnx::OnnxError;
use crate::path::printable;
use crate::{Digest, RelativePath};

/// What a failure means: who can act, and whether trying again can help. Each class is one exit code of the commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The request itself is wrong (exit code 64).
    InvalidConfiguration,
    /// The data or the model is bad (65).
    BadData,
    /// The input is missing or access to it is denied; it may appear later (66).
    Missing,
    /// A store or the network cannot be reached (69).
    Unreachable,
    /// A mistake in this project (70).
    Bug,
    /// The output cannot be written (73).
    CannotWrite,
    /// Something moved underneath; the same again may well succeed (75).
    TryAgain,
    /// The bytes are not those that the digest names (76).
    DigestMismatch,
    /// A rule of the contract refuses the result (78).
    Refused,
}

/// A failure to resolve, fetch, publish or verify a revision, or to fetch data.
///
/// `what` is the uri or file that the failure is about. Messages never hold response bodies, queries or credentials.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A source or target uri that cannot be used.
    #[error("{uri} is not a usable uri: {problem}")]
    InvalidUri {
        /// The uri, shortened; without userinfo.
        uri: String,
        /// What is wrong and what to write instead.
        problem: String,
    },
    /// Credentials that cannot be used.
    #[error("the credentials cannot be used: {problem}")]
    InvalidCredentials {
        /// What is wrong, by name and line; never a value.
        problem: String,
    },
    /// Text that is no digest.
    #[error("{text:?} is not a digest: {problem}")]
    InvalidDigest {
        /// The text.
        text: String,
        /// What is wrong.
        problem: String,
    },
    /// An operation that this kind of store does not offer.
    #[error("{what}: {problem}")]
    Unsupported {
        /// The uri.
        what: String,
        /// What is not offered and what to do instead.
        problem: String,
    },
    /// An address that the access rules forbid.
    #[error("{host} is refused: its address {address} is {kind}, which the access rules do not allow; {}", remedy(kind, *address))]
    AddressRefused {
        /// The host as written.
        host: String,
        /// The address it has.
        address: std::net::IpAddr,
        /// What kind of address that is.
        kind: &'static str,
    },
    /// A redirect that is not followed.
    #[error("{what}: the server redirects and that is not followed: {problem}")]
    RedirectRefused {
        /// The uri that was asked.
        what: String,
        /// Why it is not followed.
        problem: &'static str,
    },
    /// Nothing there.
    #[error("{what} does not exist")]
    SourceNotFound {
        /// The uri or file.
        what: String,
    },
    /// A source without a model.
    #[error("{what} holds no model: {problem}")]
    NoModel {
        /// The uri.
        what: String,
        /// What was looked for.
        problem: String,
    },
    /// A prefix without files of data.
    #[error("{what} holds no data: {problem}")]
    NoData {
        /// The uri.
        what: String,
        /// What was looked for, and what is there.
        problem: String,
    },
    /// The store, or the file system, does not let us read.
    #[error("access to {what} is denied: check the credentials and that they may {action}")]
    AccessDenied {
        /// The uri.
        what: String,
        /// What was tried: `read`, `list`, `write` or `delete`.
        action: &'static str,
    },
    /// A workload identity that gives no credentials.
    #[error("{what}: the workload identity gives no credentials: {problem}")]
    IdentityUnavailable {
        /// The uri.
        what: String,
        /// What was asked, what happened, and what to check.
        problem: String,
    },
    /// The store refuses the request for a reason of its own.
    #[error("{what}: the store refuses the request with HTTP status {status}")]
    StoreRefused {
        /// The uri.
        what: String,
        /// The HTTP status.
        status: u16,
    },
    /// A TLS connection that could not be made or trusted.
    #[error(
        "{what}: no trusted TLS connection: {problem}; a private authority's certificate goes into `ca.crt`"
    )]
    TlsFailed {
        /// The uri.
        what: String,
        /// What the TLS library says.
        problem: String,
    },
    /// A host name without an address.
    #[error("{what}: the host name cannot be resolved; check its spelling and the DNS of this machine")]
    NameNotResolved {
        /// The uri.
        what: String,
    },
    /// Nothing listens there.
    #[error("{what}: the connection is refused: nothing listens on that host and port")]
    ConnectionRefused {
        /// The uri.
        what: String,
    },
    /// The store does not answer, or answers with a failure of its own.
    #[error("{what}: the store cannot be reached: {problem}")]
    StoreUnreachable {
        /// The uri.
        what: String,
        /// What happened, e.g. `HTTP status 503`.
        problem: String,
    },
    /// A download that ended early.
    #[error("{what}: the download ended after {got} of {expected} bytes")]
    Truncated {
        /// The uri.
        what: String,
        /// The bytes that came.
        got: u64,
        /// The bytes that were announced.
        expected: u64,
    },
    /// A source whose bytes changed while they were read, or since they were resolved.
    #[error("{what} changed: {problem}; pin a digest, keep a copy with copyTo, or resolve again")]
    SourceChanged {
        /// The uri.
        what: String,
        /// What differs.
        problem: String,
    },
    /// Bytes that are not those that a digest names.
    #[error("{what}: expected {expected}, found {found}")]
    DigestMismatch {
        /// The file or uri.
        what: String,
        /// The digest asked for.
        expected: Digest,
        /// The digest of the bytes.
        found: Digest,
    },
    /// A prefix with several models.
    #[error("{what} holds several models ({}); name one of them in the uri", printable(&models.join(", ")))]
    AmbiguousSource {
        /// The uri.
        what: String,
        /// Up to eight of the models.
        models: Vec<String>,
    },
    /// A model that is not valid or not supported.
    #[error("{what}: {source}")]
    Onnx {
        /// The uri or file.
        what: String,
        /// What the scanner found.
        source: OnnxError,
    },
    /// Weights that the model keeps in a file that is not there.
    #[error("{what} keeps weights in {}, {problem}", printable(path))]
    MissingExternalData {
        /// The model's uri.
        what: String,
        /// The path that the model names.
        path: String,
        /// What is wrong with that and what to do, e.g. `which is not there`.
        problem: &'static str,
    },
    /// A manifest that breaks the contract.
    #[error("the manifest is refused: {problem}")]
    InvalidManifest {
        /// What is wrong.
        problem: String,
    },
    /// A path that could leave the revision.
    #[error("the path \"{path}\" is refused: {problem}")]
    UnsafePath {
        /// The path, shortened and escaped.
        path: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// More than the limits allow.
    #[error("{what} is too large: {problem}")]
    TooLarge {
        /// The uri or file.
        what: String,
        /// The size and the limit.
        problem: String,
    },
    /// A local revision folder that lacks a file.
    #[error("{} lacks {path}", folder.display())]
    FileMissing {
        /// The folder.
        folder: PathBuf,
        /// The file.
        path: RelativePath,
    },
    /// Other bytes stored under a revision's digest.
    #[error("{what} exists with other bytes than {digest} names: somebody changed a published revision")]
    RevisionCollision {
        /// The uri of the file.
        what: String,
        /// The revision's digest.
        digest: Digest,
    },
    /// Something at the place of a file that is no regular file.
    #[error("{} is {found}, not a regular file: remove it", path.display())]
    UnsafeTarget {
        /// The path.
        path: PathBuf,
        /// What is there, e.g. `a symbolic link`.
        found: &'static str,
    },
    /// A source that is no regular file.
    #[error("{} is {found}, not a regular file; name a file, or a folder that holds one", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What is there, e.g. `a named pipe`.
        found: &'static str,
    },
    /// A folder that another process writes into.
    #[error("another process writes into {}: wait for it, or choose another folder", path.display())]
    FolderInUse {
        /// The folder.
        path: PathBuf,
    },
    /// A folder or file that cannot be written or read back.
    #[error("cannot write {}: {source}", path.display())]
    CannotWrite {
        /// The path.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A local file that cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    CannotRead {
        /// The path.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A store that does not let us delete.
    #[error("{what} may not be deleted: grant the credentials the right {right}")]
    DeletionDenied {
        /// The uri.
        what: String,
        /// The right by the name that the store gives it.
        right: &'static str,
    },
    /// No space left.
    #[error("no space left to write {}: free some or choose another folder", path.display())]
    DiskFull {
        /// The path.
        path: PathBuf,
    },
    /// A mistake in this project.
    #[error("internal error: {detail}; please report it")]
    Internal {
        /// What happened.
        detail: String,
    },
}

/// Gives each variant its reason and its class, and makes the list of all of them from the same lines.
macro_rules! reasons {
    ($($variant:ident => $reason:literal, $class:ident;)*) => {
        impl Error {
            /// Every reason of this crate's own with its class; those of [`OnnxError`] are
            /// [its own](OnnxError::REASONS).
            pub const REASONS: &[(&str, Class)] = &[$(($reason, Class::$class)),*];

            /// The reason in `CamelCase`, stable: for conditions, the final JSON of commands, and metrics. One of
            /// [`REASONS`](Self::REASONS) or of [`OnnxError::REASONS`].
            pub fn reason(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $reason,)*
                    Self::Onnx { source, .. } => source.reason(),
                }
            }

            /// Who can act on the failure.
            pub fn class(&self) -> Class {
                match self {
                    $(Self::$variant { .. } => Class::$class,)*
                    Self::Onnx { source: OnnxError::CannotRead { .. }, .. } => Class::Missing,
                    Self::Onnx { .. } => Class::BadData,
                }
            }
        }
    };
}

reasons! {
    InvalidUri => "InvalidUri", InvalidConfiguration;
    InvalidCredentials => "InvalidCredentials", InvalidConfiguration;
    InvalidDigest => "InvalidDigest", InvalidConfiguration;
    Unsupported => "Unsupported", InvalidConfiguration;
    AddressRefused => "AddressRefused", InvalidConfiguration;
    RedirectRefused => "RedirectRefused", InvalidConfiguration;
    AmbiguousSource => "AmbiguousSource", BadData;
    MissingExternalData => "MissingExternalData", BadData;
    InvalidManifest => "InvalidManifest", BadData;
    UnsafePath => "UnsafePath", BadData;
    NotAFile => "NotAFile", BadData;
    TooLarge => "TooLarge", BadData;
    SourceNotFound => "SourceNotFound", Missing;
    NoModel => "NoModel", Missing;
    NoData => "NoData", Missing;
    AccessDenied => "AccessDenied", Missing;
    IdentityUnavailable => "IdentityUnavailable", Missing;
    StoreRefused => "StoreRefused", Missing;
    FileMissing => "FileMissing", Missing;
    CannotRead => "CannotRead", Missing;
    TlsFailed => "TlsFailed", Unreachable;
    NameNotResolved => "NameNotResolved", Unreachable;
    ConnectionRefused => "ConnectionRefused", Unreachable;
    StoreUnreachable => "StoreUnreachable", Unreachable;
    Truncated => "Truncated", Unreachable;
    Internal => "Bug", Bug;
    UnsafeTarget => "UnsafeTarget", CannotWrite;
    FolderInUse => "FolderInUse", CannotWrite;
    CannotWrite => "CannotWrite", CannotWrite;
    DiskFull => "DiskFull", CannotWrite;
    DeletionDenied => "DeletionDenied", CannotWrite;
    SourceChanged => "SourceChanged", TryAgain;
    DigestMismatch => "DigestMismatch", DigestMismatch;
    RevisionCollision => "RevisionCollision", Refused;
}

impl Error {
    /// A failure to write `path`: [`DiskFull`](Self::DiskFull) if that is what the system says.
    pub(crate) fn writing(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        use std::io::ErrorKind;
        let path = path.into();
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::DiskFull { path },
            _ => Self::CannotWrite { path, source },
        }
    }

    /// A failure to read `path`.
    pub(crate) fn reading(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        use std::io::ErrorKind;
        let path = path.into();
        match source.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => {
                Self::SourceNotFound { what: path.display().to_string() }
            }
            ErrorKind::PermissionDenied => {
                Self::AccessDenied { what: path.display().to_string(), action: "read" }
            }
            _ => Self::CannotRead { path, source },
        }
    }
}

/// What to do about an address that is refused.
fn remedy(kind: &str, address: std::net::IpAddr) -> &'static str {
    if address.to_canonical().is_loopback() {
        "use an address that other machines can reach, or give the step --allow-loopback where this one is meant"
    } else if kind == PRIVATE {
        "use a public address, or have whoever runs the operator allow private ones"
    } else {
        "use another address"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_address_comes_with_a_way_out() {
        let message = |address: &str, kind| {
            let (host, address) = ("h".to_owned(), address.parse().unwrap());
            Error::AddressRefused { host, address, kind }.to_string()
        };
        for loopback in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(message(loopback, "forbidden").contains("--allow-loopback"));
        }
        assert!(message("169.254.169.254", "forbidden").ends_with("use another address"));
        assert!(message("10.0.0.1", PRIVATE).contains("whoever runs the operator"));
    }

    #[test]
    fn file_that_may_not_be_read_is_a_denial_and_not_a_missing_file() {
        let denied = Error::reading("/models/model.onnx", std::io::Error::from_raw_os_error(13));
        assert_eq!((denied.reason(), denied.class()), ("AccessDenied", Class::Missing));
        assert!(denied.to_string().contains("/models/model.onnx"), "{denied}");
    }

    #[test]
    fn full_disk_has_its_own_reason() {
        let full = Error::writing("/data/model.onnx", std::io::Error::from_raw_os_error(28));
        assert_eq!((full.reason(), full.class()), ("DiskFull", Class::CannotWrite));
        let denied = Error::writing("/data/model.onnx", std::io::Error::from_raw_os_error(13));
        assert_eq!((denied.reason(), denied.class()), ("CannotWrite", Class::CannotWrite));
    }

    #[test]
    fn mismatch_names_the_file_and_both_digests() {
        let (expected, found) = (Digest::of(b"a"), Digest::of(b"b"));
        let message = Error::DigestMismatch { what: "model.onnx".into(), expected, found }.to_string();
        for part in ["model.onnx", &expected.to_string(), &found.to_string()] {
            assert!(message.contains(part), "{message}");
        }
    }
}
