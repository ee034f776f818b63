//! Where revisions are below a prefix: `revisions/<id>/`, the id being the first 16 hexadecimal digits of the digest.

use crate::store::Store;
use crate::{Connection, Digest, Error, MANIFEST_FILE, MAX_MANIFEST_BYTES, Manifest, SourceUri};

/// The path of a revision's file below the prefix.
pub(crate) fn revision_key(digest: &Digest, path: &str) -> String {
    format!("revisions/{}/{path}", digest.id())
}

/// The folder of the revision `digest` that is, or would be, [published](crate::publish()) below `prefix`. Nothing is
/// asked: whether it is there is found by [resolving](crate::resolve()) it.
///
/// ```
/// use modelwright_artifact::{Digest, SourceUri, revision_uri};
/// let prefix = SourceUri::parse("s3://models/shop/churn", None)?;
/// let uri = revision_uri(&prefix, &Digest::of(b""))?;
/// assert_eq!(uri.to_string(), "s3://models/shop/churn/revisions/e3b0c44298fc1c14/");
/// # Ok::<(), modelwright_artifact::Error>(())
/// ```
pub fn revision_uri(prefix: &SourceUri, digest: &Digest) -> Result<SourceUri, Error> {
    prefix.below(&revision_key(digest, ""))
}

/// The digest of the revision that is published below `prefix` under `name`, its digest or its id; `None` if there is none.
pub async fn find_revision(
    prefix: &SourceUri,
    connection: &Connection,
    name: &str,
) -> Result<Option<Digest>, Error> {
    let hex = name.strip_prefix("sha256:").unwrap_or(name);
    let Some(id) = hex.get(..16).filter(|_| hex.bytes().all(|byte| byte.is_ascii_hexdigit())) else {
        let problem = "write 16 hexadecimal digits, or sha256: and 64 of them".to_owned();
        return Err(Error::InvalidDigest { text: name.to_owned(), problem });
    };
    let store = Store::open(prefix, connection)?;
    let file = match store.head(&format!("revisions/{id}/{MANIFEST_FILE}")).await {
        Ok(file) => file,
        Err(Error::SourceNotFound { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let digest = Digest::of(&store.read_small(&file, MAX_MANIFEST_BYTES).await?);
    Ok(Some(digest).filter(|digest| digest.hex().starts_with(hex)))
}

/// One small file of the revision `digest`, at most `most` bytes; `None` if there is no such revision, or it has no such
/// file. Other bytes than its manifest names are [`Error::RevisionCollision`].
pub async fn published_file(
    prefix: &SourceUri,
    connection: &Connection,
    digest: &Digest,
    name: &str,
    most: usize,
) -> Result<Option<Vec<u8>>, Error> {
    let store = Store::open(prefix, connection)?;
    let Some(manifest) = published_manifest(&store, digest).await? else { return Ok(None) };
    let Some(entry) = manifest.files().get(name) else { return Ok(None) };
    let key = revision_key(digest, name);
    let bytes = store.read_small(&store.head(&key).await?, most).await?;
    if Digest::of(&bytes) == entry.sha256 {
        return Ok(Some(bytes.to_vec()));
    }
    Err(Error::RevisionCollision { what: store.describe(&key), digest: *digest })
}

/// The manifest of the revision `digest`, if it is published below the store's uri.
///
/// Other bytes in its place are [`Error::RevisionCollision`].
pub(crate) async fn published_manifest(store: &Store, digest: &Digest) -> Result<Option<Manifest>, Error> {
    let key = revision_key(digest, MANIFEST_FILE);
    let file = match store.head(&key).await {
        Ok(file) => file,
        Err(Error::SourceNotFound { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let collision = || Error::RevisionCollision { what: store.describe(&key), digest: *digest };
    match store.read_small(&file, MAX_MANIFEST_BYTES).await {
        Ok(bytes) if Digest::of(&bytes) == *digest => Manifest::parse(&bytes).map(Some),
        Ok(_) | Err(Error::TooLarge { .. }) => Err(collision()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AccessRules;

    #[tokio::test]
    async fn revision_is_found_by_its_digest_and_its_id_and_by_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (content, prefix) = (b"{}", SourceUri::from_path(folder.path()).unwrap());
        let digest = Digest::of(content);
        let revision = folder.path().join("revisions").join(digest.id());
        std::fs::create_dir_all(&revision).unwrap();
        std::fs::write(revision.join(MANIFEST_FILE), content).unwrap();
        let connection = Connection { rules: AccessRules::LOCAL, ..Connection::default() };
        let find = async |name: &str| find_revision(&prefix, &connection, name).await;
        for name in [digest.to_string(), digest.id()] {
            assert_eq!(find(&name).await.unwrap(), Some(digest), "{name}");
        }
        let other = format!("sha256:{}{}", digest.id(), "0".repeat(48));
        for name in [other.as_str(), "0123456789abcdef"] {
            assert_eq!(find(name).await.unwrap(), None, "{name}");
        }
        for name in ["abc", "../../../../../etc", ""] {
            assert_eq!(find(name).await.unwrap_err().reason(), "InvalidDigest", "{name}");
        }
    }
}
