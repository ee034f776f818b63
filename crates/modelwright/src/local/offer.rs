//! What a Model has to serve, wherever it comes from.

use std::path::PathBuf;

use modelwright_artifact::Digest;

use crate::failure::Failure;

/// A revision that is on disk and verified.
#[derive(Clone, Debug)]
pub(crate) struct Revision {
    pub(crate) digest: Digest,
    pub(crate) folder: PathBuf,
}

/// What is to be served.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) revision: Revision,
    /// Why this is not what the Model asks for, if it is not: the former revision is served in its place.
    pub(crate) instead: Option<Failure>,
}

impl Offer {
    /// What the Model asks for.
    pub(crate) fn of(revision: Revision) -> Self {
        Self { revision, instead: None }
    }
}
