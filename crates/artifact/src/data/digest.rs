//! What data a training read, as one digest.

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
    let canonical = serde_json_canonicalizer::to_vec(&sets).map_err(|error| Error::Internal {
        detail: format!("digests of data could not be written: {error}"),
    })?;
    Ok(Digest::of(&canonical))
}

#[derive(Serialize)]
struct Sets {
    training: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    validation: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    test: Option<Vec<String>>,
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
}
