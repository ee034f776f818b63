//! Training data: from any store into a folder, hashed on the way.
//!
//! [`list_data`] says what a uri holds, [`read_tail`] looks at the end of a file before anything large is moved (a
//! Parquet file describes itself there), and [`fetch_data`] copies the files. Local ones are copied too, so that what
//! is hashed is what is read afterwards, whoever writes to the source meanwhile.

mod copy;
mod digest;
mod listing;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use futures::TryStreamExt as _;

use crate::folder::Folder;
use crate::resolve::check_total;
use crate::store::blocking;
use crate::{Connection, Digest, Error, Progress, SourceUri};

pub use digest::{DataTree, data_digest, data_tree_digest};
pub use listing::{DataListing, list_data};

/// The most bytes that [`read_tail`] reads.
pub const MAX_TAIL_BYTES: u64 = 64 << 20;

/// Which data.
#[derive(Clone, Debug)]
pub struct DataRequest {
    /// A file, or a prefix with files.
    pub uri: SourceUri,
    /// How the names of a prefix's files of data end, e.g. `.csv`, in capital or small letters; others are left alone.
    /// Empty: all files are data. A file that the uri itself names is taken whatever it is called.
    pub endings: Vec<&'static str>,
    /// How to reach it.
    pub connection: Connection,
}

/// A file of data on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFile {
    /// Where the copy is.
    pub path: PathBuf,
    /// Where it came from: a uri, for messages.
    pub name: String,
    /// The sha256 of the bytes.
    pub sha256: Digest,
    /// The number of bytes.
    pub size: u64,
}

/// The last `bytes` of the listing's file `index`, or all of a shorter one.
///
/// Only they are read, unless the store has no ranges or says no size: then the whole file passes by. Over
/// [`MAX_TAIL_BYTES`] is [`Error::TooLarge`], a file that changed since it was listed [`Error::SourceChanged`].
pub async fn read_tail(listing: &DataListing, index: usize, bytes: u64) -> Result<Bytes, Error> {
    let file = listing.file(index)?;
    let what = listing.store.describe(&file.path);
    let kept = usize::try_from(bytes).ok().filter(|_| bytes <= MAX_TAIL_BYTES).ok_or_else(|| {
        let problem = format!(
            "its last {bytes} bytes would have to be held in memory, and at most {MAX_TAIL_BYTES} may be"
        );
        Error::TooLarge { what, problem }
    })?;
    let from = match file.size {
        Some(size) if file.ranges => size.saturating_sub(bytes),
        _ => 0,
    };
    let (mut tail, mut seen) = (BytesMut::new(), from);
    let mut chunks = listing.store.read(file, from);
    while let Some(chunk) = chunks.try_next().await? {
        seen = seen.saturating_add(chunk.len() as u64);
        check_total(&listing.store, &listing.limits, Some(seen))?;
        tail.extend_from_slice(&chunk);
        tail.advance(tail.len().saturating_sub(kept));
    }
    Ok(tail.freeze())
}

/// Copies every file of the listing into `folder`, in the listing's order, as `000000-name.csv`, `000001-name.csv` and
/// so on; the folder is made if it is missing.
///
/// Files are moved one after the other, and memory is bounded by [`Transfers`](crate::Transfers). A file that changed
/// since it was listed is [`Error::SourceChanged`]; a failure leaves no copies.
pub async fn fetch_data(
    listing: &DataListing,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<Vec<DataFile>, Error> {
    fetch_named(listing, folder, Names::Numbered, progress).await
}

/// As [`fetch_data`], but the copies have the paths that the files have below the listing's prefix, and a single file its
/// own name: for programs that find their data by name.
pub async fn fetch_data_tree(
    listing: &DataListing,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<Vec<DataFile>, Error> {
    fetch_named(listing, folder, Names::Paths, progress).await
}

/// What copies are called.
#[derive(Clone, Copy, Debug)]
enum Names {
    /// By their place in the listing.
    Numbered,
    /// As below the prefix.
    Paths,
}

async fn fetch_named(
    listing: &DataListing,
    folder: &Path,
    names: Names,
    progress: &dyn Progress,
) -> Result<Vec<DataFile>, Error> {
    let path = folder.to_owned();
    let folder = blocking(move || {
        let folder = Folder::make(&path)?;
        folder.lock()?;
        Ok(Arc::new(folder))
    })
    .await?;
    let mut copies = copy::Copies::new(listing, folder, names, progress);
    match copies.all().await {
        Ok(files) => Ok(files),
        Err(error) => {
            copies.discard().await;
            Err(error)
        }
    }
}
