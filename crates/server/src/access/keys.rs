//! Keys of clients, of which only hashes are known.
//!
//! A key that is shown is hashed with SHA-256, and the hash is looked up in a map. The time of the look-up depends on the hash
//! and not on the key: whoever measures it learns at most something of a SHA-256 value that cannot be steered towards another,
//! so nothing has to be compared in constant time. One round of SHA-256 is enough because keys are long and random, unlike
//! passwords; `modelwright hash-key` makes such and refuses short ones.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::AccessError;
use super::files::{Contents, Files};

const PREFIX: &str = "sha256:";

/// Clients by the hashes of their keys.
pub(super) struct KeyTable(HashMap<[u8; 32], Arc<str>>);

impl std::fmt::Debug for KeyTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyTable({} keys)", self.0.len())
    }
}

impl KeyTable {
    /// Whose key this is.
    pub(super) fn client(&self, key: &str) -> Option<Arc<str>> {
        let hash: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        self.0.get(&hash).map(Arc::clone)
    }
}

/// Reads the keys at the start, when there must be some: a server that nobody can use is a mistake. Later they may all be
/// taken away, so that nobody gets in any more.
pub(super) fn open(path: PathBuf) -> Result<Files<KeyTable>, AccessError> {
    let files = Files::open(path.clone(), parse)?;
    if files.current().0.is_empty() {
        return Err(AccessError::KeysMissing { path });
    }
    Ok(files)
}

/// Reads a folder of one file for each client, or one file with lines `CLIENT=sha256:…`. Empty lines and such that begin with
/// `#` say nothing.
fn parse(path: &Path, contents: Option<&Contents>) -> Result<KeyTable, AccessError> {
    let contents = contents.ok_or_else(|| AccessError::KeysMissing { path: path.to_owned() })?;
    let mut table = HashMap::new();
    for (name, bytes) in contents {
        let file = if name.is_empty() { path.to_owned() } else { path.join(name) };
        let text = String::from_utf8_lossy(bytes);
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let refuse =
                |problem: String| AccessError::InvalidKeys { file: file.clone(), line: index + 1, problem };
            let (client, hash) = if name.is_empty() {
                line.split_once('=').ok_or_else(|| refuse("write CLIENT=sha256:…".to_owned()))?
            } else {
                (name.as_str(), line)
            };
            let hash = hash_of(hash).ok_or_else(|| {
                refuse(
                    "it is no hash of a key; write sha256: and 64 lower-case hexadecimal digits, as modelwright hash-key \
                     prints them"
                        .to_owned(),
                )
            })?;
            // The kind is part of the name: a token may be of somebody called like a key.
            let client: Arc<str> = format!("key:{client}").into();
            if let Some(other) = table.insert(hash, Arc::clone(&client))
                && other != client
            {
                let other = other.trim_start_matches("key:");
                return Err(refuse(format!(
                    "the client {other} has the same key; make another with modelwright hash-key"
                )));
            }
        }
    }
    if table.is_empty() {
        tracing::warn!(path = %path.display(), "there are no keys of clients any more; nobody gets in with one");
    }
    Ok(KeyTable(table))
}

fn hash_of(text: &str) -> Option<[u8; 32]> {
    let digits = text.trim().strip_prefix(PREFIX)?.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// Of `abc` (FIPS 180-2, appendix B.1) and of nothing.
    const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const NOTHING: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn table(files: &[(&str, &str)]) -> Result<KeyTable, AccessError> {
        let contents =
            files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
        parse(Path::new("/keys"), Some(&contents))
    }

    #[test]
    fn a_key_belongs_to_the_client_whose_entry_has_its_hash() {
        let table = table(&[
            ("shop", &format!("# since May\n\n{NOTHING}\n{ABC}\n")),
            ("lab", &ABC.replace('b', "0")),
        ])
        .unwrap();
        assert_eq!(table.client("abc").as_deref(), Some("key:shop"));
        assert_eq!(table.client("abd"), None);
        assert_eq!(table.client(ABC), None, "a hash is no key");
    }

    #[test]
    fn one_file_names_clients_itself() {
        let table = table(&[("", &format!("shop={ABC}\nlab = {NOTHING}\n"))]);
        assert_eq!(table.unwrap().client("abc").as_deref(), Some("key:shop"));
    }

    #[test]
    fn taking_the_last_key_away_locks_everybody_out_and_none_at_the_start_is_a_mistake() {
        let folder = tempfile::tempdir().unwrap();
        let (path, shop) = (folder.path().join("keys"), folder.path().join("keys/shop"));
        let says = "there are no keys of clients in ";
        assert!(open(path.clone()).unwrap_err().to_string().starts_with(says));
        std::fs::create_dir(&path).unwrap();
        assert!(open(path.clone()).unwrap_err().to_string().starts_with(says));
        std::fs::write(&shop, "# none\n").unwrap();
        assert!(open(path.clone()).unwrap_err().to_string().starts_with(says));
        std::fs::write(&shop, ABC).unwrap();
        let files = open(path.clone()).unwrap();
        std::fs::remove_file(&shop).unwrap();
        files.reload();
        assert_eq!(files.current().client("abc"), None);
        std::fs::write(&shop, ABC).unwrap();
        files.reload();
        assert_eq!(files.current().client("abc").as_deref(), Some("key:shop"));
        std::fs::remove_dir_all(&path).unwrap();
        files.reload();
        assert!(files.current().client("abc").is_some(), "a path that is gone is no order to lock out");
    }

    #[rstest]
    #[case(&[("shop", "\nmy-secret-key")], "/keys/shop: line 2: it is no hash of a key")]
    #[case(&[("shop", "sha256:ab")], "/keys/shop: line 1: it is no hash")]
    #[case(&[("", "my-secret-key")], "/keys: line 1: write CLIENT=sha256:…")]
    #[case(&[("a", ABC), ("b", ABC)], "/keys/b: line 1: the client a has the same key")]
    fn what_is_no_table_is_refused_without_showing_keys(#[case] files: &[(&str, &str)], #[case] says: &str) {
        let error = table(files).unwrap_err().to_string();
        assert!(error.contains(says) && !error.contains("my-secret-key"), "{error}");
    }
}
