//! The copies of a listing's files.

use std::sync::Arc;

use super::{DataFile, DataListing, Names};
use crate::folder::Folder;
use crate::inspect::Inspector;
use crate::progress::Transfer;
use crate::resolve::check_total;
use crate::store::blocking;
use crate::stream::{Target, stream};
use crate::{Error, Progress, RelativePath, RemoteFile};

/// The most bytes of a file's own name that its copy keeps.
const NAME_BYTES: usize = 100;

pub(super) struct Copies<'a> {
    listing: &'a DataListing,
    folder: Arc<Folder>,
    names: Names,
    progress: &'a dyn Progress,
    /// Paths in the folder that were written, or begun.
    begun: Vec<RelativePath>,
    /// The bytes of the finished copies.
    bytes: u64,
}

impl<'a> Copies<'a> {
    pub(super) fn new(
        listing: &'a DataListing,
        folder: Arc<Folder>,
        names: Names,
        progress: &'a dyn Progress,
    ) -> Self {
        Self { listing, folder, names, progress, begun: Vec::new(), bytes: 0 }
    }

    pub(super) async fn all(&mut self) -> Result<Vec<DataFile>, Error> {
        let listing = self.listing;
        let mut files = Vec::with_capacity(listing.files.len());
        for (index, remote) in listing.files.iter().enumerate() {
            let name = listing.store.describe(&remote.path);
            let copy = match self.names {
                Names::Paths if !remote.path.is_empty() => RelativePath::new(&remote.path)?,
                Names::Paths => RelativePath::new(&sanitised(&name))?,
                Names::Numbered => RelativePath::new(&format!("{index:06}-{}", sanitised(&name)))?,
            };
            self.begun.push(copy.clone());
            let file = self.copy(remote, copy, name).await?;
            self.bytes = self.bytes.saturating_add(file.size);
            files.push(file);
        }
        Ok(files)
    }

    /// Copies and hashes one file.
    async fn copy(&self, remote: &RemoteFile, copy: RelativePath, name: String) -> Result<DataFile, Error> {
        let (store, limits) = (&self.listing.store, &self.listing.limits);
        let transfer = Transfer::begin(self.progress, remote.size, &name);
        let path = self.folder.path().join(copy.as_str());
        let folder = self.folder.clone();
        let made = blocking(move || folder.parent_of(&copy, true)?.replace(copy.split().1));
        let target = Target { file: Arc::new(made.await?), place: path.clone() };
        let streamed = stream(store, remote, target, Inspector::plain(), |length, size| {
            transfer.advance(length);
            check_total(store, limits, Some(self.bytes.saturating_add(size)))
        });
        let inspector = streamed.await?;
        let (sha256, size) = inspector.seen();
        Ok(DataFile { path, name, sha256, size })
    }

    /// Removes what there is of the copies.
    pub(super) async fn discard(self) {
        let removed = blocking(move || {
            for copy in &self.begun {
                self.folder.parent_of(copy, false)?.remove(copy.split().1)?;
            }
            Ok(())
        });
        // The failure to report is the one before this.
        if let Err(error) = removed.await {
            tracing::warn!(reason = error.reason(), "an unfinished copy stays: {error}");
        }
    }
}

/// The end of a uri as a part of a file's name: letters, digits, `.`, `-` and `_` stay, so that the ending does.
fn sanitised(uri: &str) -> String {
    let name = uri.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or(uri);
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' };
    let name: String = name.chars().map(plain).collect();
    name[name.len().saturating_sub(NAME_BYTES)..].to_owned()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("s3://bucket/train/part-0.csv", "part-0.csv")]
    #[case("file:/data/..", "..")]
    #[case("file:/data/mes données.csv", "mes_donn_es.csv")]
    #[case("https://host/a%2f..%2fb.csv", "a_2f.._2fb.csv")]
    fn copy_is_named_like_its_source_without_anything_special(#[case] uri: &str, #[case] expected: &str) {
        assert_eq!(sanitised(uri), expected);
    }

    #[test]
    fn long_name_keeps_its_ending() {
        let name = sanitised(&format!("s3://b/{}.parquet", "x".repeat(300)));
        assert!(name.len() == NAME_BYTES && name.ends_with("x.parquet"));
    }
}
