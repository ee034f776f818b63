//! What a uri holds: one file, or a prefix with files.

use std::collections::HashSet;

use futures::{StreamExt as _, TryStreamExt as _};

use super::DataRequest;
use crate::path::printable;
use crate::resolve::check_total;
use crate::store::Store;
use crate::uri::Place;
use crate::{Error, Kind, Limits, Probe, RemoteFile};

/// Questions about single files that are asked at the same time.
const HEADS_AT_ONCE: usize = 16;
/// The most files that a message about a prefix without data names.
const NAMED_FILES: usize = 4;

/// Files of data, as their store describes them.
#[derive(Clone, Debug)]
pub struct DataListing {
    /// The files, sorted by path; at least one.
    pub files: Vec<RemoteFile>,
    pub(super) store: Store,
    pub(super) limits: Limits,
    kind: Kind,
}

impl DataListing {
    /// The bytes of all files together, if the store says.
    pub fn total_bytes(&self) -> Option<u64> {
        self.files.iter().try_fold(0_u64, |sum, file| Some(sum.saturating_add(file.size?)))
    }

    /// The uri of each file, for messages.
    pub fn names(&self) -> Vec<String> {
        self.files.iter().map(|file| self.store.describe(&file.path)).collect()
    }

    /// What a later listing of the same uri with the same endings is compared with: equal and
    /// [conclusive](Probe::is_conclusive) probes mean that the bytes are the same, and need not be read again.
    pub fn probe(&self) -> Probe {
        Probe { kind: self.kind, files: self.files.clone() }
    }

    pub(super) fn file(&self, index: usize) -> Result<&RemoteFile, Error> {
        self.files.get(index).ok_or_else(|| Error::Internal {
            detail: format!("file {index} of {} files of data was asked for", self.files.len()),
        })
    }
}

/// Finds out which files of data stand at `request.uri`, without reading them.
///
/// A prefix's files count if their names end as asked for. Those that writers keep for themselves do not: a component
/// of whose path begins with `.` or `_`, as in Spark's `_SUCCESS`. A prefix without files of data is
/// [`Error::NoData`], and more bytes than the limits allow are [`Error::TooLarge`].
pub async fn list_data(request: &DataRequest) -> Result<DataListing, Error> {
    let store = Store::open(&request.uri, &request.connection)?;
    let limits = request.connection.limits;
    let (kind, files) = match single(&store, request).await? {
        Some(file) => (Kind::File, vec![file]),
        None => (Kind::Prefix, below(&store, request).await?),
    };
    let listing = DataListing { files, store, limits, kind };
    check_total(&listing.store, &limits, listing.total_bytes())?;
    Ok(listing)
}

/// The uri's own object, if it is one.
async fn single(store: &Store, request: &DataRequest) -> Result<Option<RemoteFile>, Error> {
    let is_web = matches!(request.uri.place(), Place::Http(_));
    if request.uri.is_folder() {
        if is_web {
            let problem = "a web server cannot be asked for its files; name the file".into();
            return Err(Error::NoData { what: store.describe(""), problem });
        }
        return Ok(None);
    }
    match store.head("").await {
        Ok(file) => Ok(Some(file)),
        // Perhaps a prefix written without its slash.
        Err(Error::SourceNotFound { .. }) if !is_web => Ok(None),
        Err(error) => Err(error),
    }
}

async fn below(store: &Store, request: &DataRequest) -> Result<Vec<RemoteFile>, Error> {
    let what = store.describe("");
    let found = match store.list(&request.connection.limits).await {
        Ok(found) => found.unwrap_or_default(),
        Err(Error::SourceNotFound { .. }) => return Err(Error::SourceNotFound { what }),
        Err(error) => return Err(error),
    };
    // In object storage, a prefix without objects is no place at all.
    if found.is_empty() && request.uri.local_path().is_none() {
        return Err(Error::SourceNotFound { what });
    }
    let found = without_folder_markers(found);
    let data: Vec<&RemoteFile> = found.iter().filter(|file| is_data(&file.path, &request.endings)).collect();
    if data.is_empty() {
        return Err(Error::NoData { what, problem: missing(&found, &request.endings) });
    }
    // A listing says nothing of versions, and some stores write entity tags differently there.
    futures::stream::iter(data).map(|file| store.head(&file.path)).buffered(HEADS_AT_ONCE).try_collect().await
}

/// Files without the empty objects that consoles and file systems over a bucket leave for folders: `a/` is listed as `a`,
/// and there is no object of that name.
fn without_folder_markers(mut files: Vec<RemoteFile>) -> Vec<RemoteFile> {
    let folders: HashSet<String> = files.iter().flat_map(|file| folders_of(&file.path)).collect();
    files.retain(|file| file.size != Some(0) || !folders.contains(&file.path));
    files
}

/// `a` and `a/b` of `a/b/c`.
fn folders_of(path: &str) -> impl Iterator<Item = String> {
    path.match_indices('/').map(|(at, _)| path[..at].to_owned())
}

/// Whether a file of a prefix is data.
fn is_data(path: &str, endings: &[&'static str]) -> bool {
    let hidden = path.split('/').any(|component| component.starts_with(['.', '_']));
    let path = path.as_bytes();
    let ends = |ending: &&str| {
        let at = path.len().checked_sub(ending.len());
        at.is_some_and(|at| path[at..].eq_ignore_ascii_case(ending.as_bytes()))
    };
    !hidden && (endings.is_empty() || endings.iter().any(ends))
}

/// What was looked for, and what is there instead.
fn missing(found: &[RemoteFile], endings: &[&'static str]) -> String {
    let wanted = match endings {
        [] => "no file below it has a name that does not begin with . or _".to_owned(),
        endings => format!("no file below it ends in {}", endings.join(" or ")),
    };
    let names: Vec<&str> = found.iter().take(NAMED_FILES).map(|file| file.path.as_str()).collect();
    let names = printable(&names.join(", "));
    match found.len() {
        0 => format!("{wanted}; it is empty"),
        count if count <= NAMED_FILES => format!("{wanted}; there is {names}"),
        count => format!("{wanted}; there are {count} others: {names} and so on"),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("train.csv", true)]
    #[case("part/0.CSV", true)]
    #[case(".csv", false)]
    #[case("train.csv.gz", false)]
    #[case("csv", false)]
    #[case("_SUCCESS", false)]
    #[case("_temporary/0/part.csv", false)]
    #[case(".ipynb_checkpoints/train.csv", false)]
    #[case("café.csv", true)]
    #[case("é", false)]
    fn name_says_whether_a_file_is_data(#[case] path: &str, #[case] expected: bool) {
        assert_eq!(is_data(path, &[".csv"]), expected);
    }

    #[test]
    fn empty_object_in_the_place_of_a_folder_is_no_file() {
        let file = |(path, size): (&str, u64)| RemoteFile {
            path: path.to_owned(),
            size: Some(size),
            etag: None,
            version: None,
            ranges: true,
        };
        let all = [
            ("cells", 0),
            ("cells/a", 0),
            ("cells/a/1.png", 5),
            ("cells/b", 7),
            ("cells/b/2.png", 0),
            ("c", 0),
        ];
        let left = without_folder_markers(all.into_iter().map(file).collect());
        let left: Vec<&str> = left.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(left, ["cells/a/1.png", "cells/b", "cells/b/2.png", "c"]);
    }

    #[test]
    fn without_endings_everything_is_data_but_hidden_files() {
        assert!(is_data("a/train.txt", &[]) && !is_data("a/_SUCCESS", &[]));
    }
}
