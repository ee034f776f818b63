//! Why access cannot be decided.

use std::io;
use std::path::PathBuf;

/// Why access cannot be decided: at the start a reason not to serve, later a line in the log.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// There are no keys.
    #[error(
        "there are no keys of clients in {}; create the Secret of serving.access.apiKeys with an entry CLIENT=sha256:… for \
         each client, as modelwright hash-key prints it", path.display()
    )]
    KeysMissing {
        /// Where they should be.
        path: PathBuf,
    },
    /// A line is no hash. What it holds is not shown, because it may be a key.
    #[error("{}: line {line}: {problem}", file.display())]
    InvalidKeys {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong and what to write.
        problem: String,
    },
    /// There is no certificate.
    #[error(
        "{} has no {name}; create the Secret of serving.access.tls with: kubectl create secret tls NAME --cert=FILE \
         --key=FILE", path.display()
    )]
    CertificateMissing {
        /// The folder.
        path: PathBuf,
        /// The file that is missing.
        name: &'static str,
    },
    /// A certificate or its key cannot be used.
    #[error("{}: {problem}", path.display())]
    InvalidCertificate {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The issuer's keys cannot be had.
    #[error("the keys of the issuer {issuer} cannot be had: {problem}")]
    IssuerUnreachable {
        /// As configured.
        issuer: String,
        /// What is wrong.
        problem: String,
    },
    /// Discovery is about another issuer.
    #[error(
        "the discovery document of {issuer} is that of another issuer, {says:?}; write the issuer exactly as it names itself"
    )]
    IssuerMismatch {
        /// As configured.
        issuer: String,
        /// As the document says.
        says: String,
    },
    /// The thread that watches could not be started.
    #[error("cannot start the thread that watches keys and certificates: {0}")]
    Thread(#[source] io::Error),
}
