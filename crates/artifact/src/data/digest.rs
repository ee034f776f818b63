//! What data a training read, as one digest.

use std::path::Path;

use serde::Serialize;

use super::DataFile;
use crate::{Digest, Error};

/// The digest of the data that a training reads: the sha256 of the canonical JSON
/// `{"test":["<64 hex>", …],"training":[…],"validation":[…]}`, with the sha256 of each file in order, and without the
/// sets that are not given.
///
/// Neither uris nor names are a part of it: the same bytes in the same order are the same data wherever they lie.
pub fn data_digest(
    training: &[DataFile],
    validation: Option<&[DataFile]>,
    test: Option<&[DataFile]>,
) -> Result<Digest, Error> {
    let digests = |files: &[DataFile]| files.iter().map(|file| file.sha256.hex()).collect();
    let sets =
        Sets { training: digests(training), validation: validation.map(digests), test: test.map(digests) };
    sets.digest()
}

/// A set of files that a program finds by name: the files, and the folder that they were copied into.
pub type DataTree<'a> = (&'a [DataFile], &'a Path);

/// As [`data_digest`], of data that a program finds by name: the name of a folder may be the class of its files. In the place of
/// a file's sha256 stands `{"path":"a/b.csv","sha256":"<64 hex>"}`, with its path below the set's folder.
pub fn data_tree_digest(
    training: DataTree<'_>,
    validation: Option<DataTree<'_>>,
    test: Option<DataTree<'_>>,
) -> Result<Digest, Error> {
    let sets = Sets {
        training: named(training)?,
        validation: validation.map(named).transpose()?,
        test: test.map(named).transpose()?,
    };
    sets.digest()
}

fn named((files, folder): DataTree<'_>) -> Result<Vec<Named>, Error> {
    let named = |file: &DataFile| {
        let path = file.path.strip_prefix(folder).ok().and_then(Path::to_str).ok_or_else(|| {
            let detail = format!("{} is not below {}", file.path.display(), folder.display());
            Error::Internal { detail }
        })?;
        Ok(Named { path: path.to_owned(), sha256: file.sha256.hex() })
    };
    files.iter().map(named).collect()
}

#[derive(Serialize)]
struct Named {
    path: String,
    sha256: String,
}

#[derive(Serialize)]
struct Sets<T> {
    training: Vec<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    validation: Option<Vec<T>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    test: Option<Vec<T>>,
}

impl<T: Serialize> Sets<T> {
    fn digest(&self) -> Result<Digest, Error> {
        let canonical = serde_json_canonicalizer::to_vec(self).map_err(|error| Error::Internal {
            detail: format!("digests of data could not be written: {error}"),
        })?;
        Ok(Digest::of(&canonical))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, content: &str) -> DataFile {
        let (sha256, size) = (Digest::of(content.as_bytes()), content.len() as u64);
        DataFile { path: name.into(), name: name.into(), sha256, size }
    }

    #[test]
    fn digest_is_that_of_the_documented_json() {
        let digest = data_digest(&[file("a", "1"), file("b", "2")], None, Some(&[file("c", "3")])).unwrap();
        let hex = |content: &str| Digest::of(content.as_bytes()).hex();
        let json = format!(r#"{{"test":["{}"],"training":["{}","{}"]}}"#, hex("3"), hex("1"), hex("2"));
        assert_eq!(digest, Digest::of(json.as_bytes()));
    }

    #[test]
    fn names_do_not_count_and_order_and_sets_do() {
        let of = |training: &[DataFile]| data_digest(training, None, None).unwrap();
        let (one, two) = (file("a", "1"), file("b", "2"));
        let data = of(&[one.clone(), two.clone()]);
        assert_eq!(data, of(&[file("x", "1"), file("y", "2")]));
        assert_ne!(data, of(&[two.clone(), one.clone()]));
        assert_ne!(data, data_digest(&[one], Some(&[two]), None).unwrap());
    }

    #[test]
    fn names_of_files_and_folders_count_for_programs_that_find_data_by_name() {
        let tree = |folder: &'static str, paths: [&str; 2]| {
            let files = paths.map(|path| file(&format!("{folder}/{path}"), path.rsplit('/').next().unwrap()));
            data_tree_digest((&files, Path::new(folder)), None, None).unwrap()
        };
        let hex = |content: &str| Digest::of(content.as_bytes()).hex();
        let json = format!(
            r#"{{"training":[{{"path":"cat/1","sha256":"{}"}},{{"path":"dog/2","sha256":"{}"}}]}}"#,
            hex("1"),
            hex("2")
        );
        let data = tree("/ml/train", ["cat/1", "dog/2"]);
        assert_eq!(data, Digest::of(json.as_bytes()));
        assert_eq!(data, tree("/elsewhere", ["cat/1", "dog/2"]));
        assert_ne!(data, tree("/ml/train", ["dog/1", "cat/2"]));
        assert!(data_tree_digest((&[file("/ml/x", "1")], Path::new("/ml/train")), None, None).is_err());
    }
}
