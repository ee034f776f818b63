//! How long `fetch` in a server pod asks a store that cannot be reached.
//!
//! What is wrong is told only when a container ends, so the first start gives up soon. The kubelet starts it again at once, and the
//! pod goes on to say why the former start ended; so the next start waits long, and notices within seconds when the store is
//! back. If every start gave up soon, the pauses of the kubelet between them would grow to 5 minutes.

use std::fs;
use std::path::{Path, PathBuf};

use modelwright_artifact::{Class, Error, Retry};

/// In the folder that is fetched into, which outlives a container. The name is of those that no file of a revision has.
const MARK: &str = ".modelwright-unreachable";

/// Whether an earlier start of this container could not reach the store.
#[derive(Debug)]
pub(super) struct Patience {
    mark: PathBuf,
    was_unreachable: bool,
}

impl Patience {
    /// What the folder says of earlier starts.
    pub(super) fn of(folder: &Path) -> Self {
        let mark = folder.join(MARK);
        let was_unreachable = mark.exists();
        Self { mark, was_unreachable }
    }

    /// How long requests are tried again.
    pub(super) fn retry(&self) -> Retry {
        if self.was_unreachable { Retry::NEXT_FETCH } else { Retry::FIRST_FETCH }
    }

    /// Leaves word for the next start. Without it the next one only gives up sooner.
    pub(super) fn remember(&self, failure: Option<&Error>) {
        let unreachable = failure.is_some_and(|error| error.class() == Class::Unreachable);
        let done = match (unreachable, self.was_unreachable) {
            (true, false) => fs::write(&self.mark, b""),
            (false, true) => fs::remove_file(&self.mark),
            _ => Ok(()),
        };
        if let Err(error) = done {
            tracing::debug!("{}: {error}", self.mark.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_start_gives_up_soon_and_the_next_waits_until_the_store_is_back() {
        let folder = tempfile::tempdir().unwrap();
        let start = || Patience::of(folder.path());
        assert_eq!(start().retry(), Retry::FIRST_FETCH);
        start().remember(Some(&Error::ConnectionRefused { what: "s3://m/a".into() }));
        assert_eq!(start().retry(), Retry::NEXT_FETCH);
        start().remember(Some(&Error::NameNotResolved { what: "s3://m/a".into() }));
        assert_eq!(start().retry(), Retry::NEXT_FETCH);
        // What somebody must do something about is said soon again.
        start().remember(Some(&Error::SourceNotFound { what: "s3://m/a".into() }));
        assert_eq!(start().retry(), Retry::FIRST_FETCH);
        start().remember(None);
        assert_eq!(start().retry(), Retry::FIRST_FETCH);
    }
}
