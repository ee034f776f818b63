//! From a folder into a store, as an immutable revision.
//!
//! A revision's place follows from its digest, so whoever publishes the same revision writes the same bytes to the same
//! place, and the order in which several do so does not matter. The manifest comes last: without it there is no
//! revision, whatever an interrupted upload has left; a later one completes it. Correctness does not rest on
//! conditional writes, which some stores ignore, but on reading everything back.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;

use crate::folder::Folder;
use crate::inspect::Inspector;
use crate::progress::Transfer;
use crate::store::{Put, Source, Store, blocking};
use crate::verify::{manifest_in, open_file, verify_file};
use crate::{
    Connection, Digest, Error, FileEntry, MANIFEST_FILE, MAX_MANIFEST_BYTES, Manifest, Progress,
    RelativePath, SourceUri,
};

/// How often a file is uploaded that the store refuses because somebody uploads the same.
const UPLOAD_ATTEMPTS: u32 = 5;
/// How often a file is looked at that is being replaced.
const LOOKS: u32 = 20;
/// The first pause between two looks; the second is twice as long, and so on.
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// What to publish and where to.
#[derive(Clone, Debug)]
pub struct PublishRequest {
    /// A revision's folder: `manifest.json` and the files that it names.
    pub folder: PathBuf,
    /// The prefix below which `revisions/<id>/` is made, `<id>` being the first 16 hexadecimal digits of the digest:
    /// `s3`, `gs`, `az`, `pvc` or `file`.
    pub prefix: SourceUri,
    /// How to reach it.
    pub connection: Connection,
}

/// A published revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The revision's digest.
    pub digest: Digest,
    /// The revision's folder in the store; it can be resolved and fetched.
    pub uri: SourceUri,
    /// Bytes that were uploaded: 0 if the revision was there already.
    pub bytes_written: u64,
}

/// Copies the revision in `request.folder` into a store, verified on both sides.
///
/// A revision that is there with equal bytes is success; other bytes under its digest are
/// [`Error::RevisionCollision`].
pub async fn publish(request: &PublishRequest, progress: &dyn Progress) -> Result<Published, Error> {
    let path = request.folder.clone();
    let (folder, manifest) = blocking(move || {
        let folder = Folder::open(&path)?;
        let manifest = manifest_in(&folder)?;
        Ok((Arc::new(folder), manifest))
    })
    .await?;
    let store = Store::open(&request.prefix, &request.connection)?;
    let digest = manifest.digest()?;
    let publisher = Publisher { store: &store, folder, manifest: &manifest, digest, progress };
    let bytes_written = if publisher.manifest_is_there().await? {
        publisher.check_all().await?;
        0
    } else {
        publisher.upload_all().await?
    };
    let text = format!("{}/{}/", request.prefix.to_string().trim_end_matches('/'), publisher.revision());
    let uri = match request.prefix.local_path() {
        Some(path) => SourceUri::parse(&format!("file:{}/{}/", path.display(), publisher.revision()), None)?,
        None => SourceUri::parse(&text, None)?,
    };
    Ok(Published { digest, uri, bytes_written })
}

struct Publisher<'a> {
    store: &'a Store,
    folder: Arc<Folder>,
    manifest: &'a Manifest,
    digest: Digest,
    progress: &'a dyn Progress,
}

impl Publisher<'_> {
    fn revision(&self) -> String {
        format!("revisions/{}", self.digest.id())
    }

    fn key(&self, path: &str) -> String {
        format!("{}/{path}", self.revision())
    }

    fn collision(&self, key: &str) -> Error {
        Error::RevisionCollision { what: self.store.describe(key), digest: self.digest }
    }

    /// Whether the revision is published. A manifest of other bytes is a collision.
    async fn manifest_is_there(&self) -> Result<bool, Error> {
        let key = self.key(MANIFEST_FILE);
        let file = match self.store.head(&key).await {
            Ok(file) => file,
            Err(Error::SourceNotFound { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        match self.store.read_small(&file, MAX_MANIFEST_BYTES).await {
            Ok(bytes) if bytes == self.manifest.to_bytes()? => Ok(true),
            Ok(_) | Err(Error::TooLarge { .. }) => Err(self.collision(&key)),
            Err(error) => Err(error),
        }
    }

    /// Reads back every file of a published revision.
    async fn check_all(&self) -> Result<(), Error> {
        for (path, entry) in self.manifest.files() {
            let key = self.key(path.as_str());
            if !self.holds(&key, entry).await? {
                return Err(self.collision(&key));
            }
        }
        Ok(())
    }

    async fn upload_all(&self) -> Result<u64, Error> {
        let mut written = 0;
        for (path, entry) in self.manifest.files() {
            let key = self.key(path.as_str());
            let source = self.source(path, *entry).await?;
            written += self.upload(&key, source, path, entry).await?;
        }
        let bytes = Bytes::from(self.manifest.to_bytes()?);
        let size = bytes.len() as u64;
        if self.store.put(&self.key(MANIFEST_FILE), bytes, true).await? == Put::Written {
            written += size;
        }
        // Somebody may have been faster, or the store may not honour conditions: what counts is what is there now.
        if self.manifest_is_there().await? {
            Ok(written)
        } else {
            Err(self.collision(&self.key(MANIFEST_FILE)))
        }
    }

    /// Uploads one file unless it is there, and reads it back.
    ///
    /// Two publishers of one file can make a store refuse one of them: Azure forgets the blocks of the second when the
    /// first commits the same blob. What counts is what is there afterwards.
    async fn upload(
        &self,
        key: &str,
        source: Source,
        path: &RelativePath,
        entry: &FileEntry,
    ) -> Result<u64, Error> {
        // Left by an interrupted upload, or by somebody who publishes the same at this moment.
        if self.holds(key, entry).await? {
            return Ok(0);
        }
        for attempt in 1.. {
            let sent = {
                let transfer = Transfer::begin(self.progress, Some(entry.size), path.as_str());
                self.store.upload(key, source.clone(), entry.size, &transfer).await
            };
            let failure = match sent {
                Ok(()) => None,
                Err(
                    error @ (Error::StoreRefused { .. }
                    | Error::SourceNotFound { .. }
                    | Error::SourceChanged { .. }),
                ) => Some(error),
                Err(error) => return Err(error),
            };
            match (self.holds(key, entry).await?, failure) {
                (true, _) => break,
                (false, None) => return Err(self.collision(key)),
                (false, Some(error)) if attempt == UPLOAD_ATTEMPTS => return Err(error),
                (false, Some(_)) => {}
            }
        }
        Ok(entry.size)
    }

    /// The local file, verified.
    async fn source(&self, path: &RelativePath, entry: FileEntry) -> Result<Source, Error> {
        let (folder, path) = (self.folder.clone(), path.clone());
        blocking(move || {
            verify_file(&folder, &path, &entry)?;
            let file = open_file(&folder, &path)?;
            Ok(Source::new(file, folder.path().join(path.as_str())))
        })
        .await
    }

    /// Whether the store holds exactly these bytes.
    async fn holds(&self, key: &str, entry: &FileEntry) -> Result<bool, Error> {
        for attempt in 1.. {
            match self.holds_now(key, entry).await {
                // Replaced between the look and the read, by somebody who publishes the same: look again.
                Err(Error::SourceChanged { .. } | Error::SourceNotFound { .. }) if attempt < LOOKS => {
                    tokio::time::sleep(LOOK_PAUSE * attempt).await;
                }
                done => return done,
            }
        }
        Ok(false)
    }

    async fn holds_now(&self, key: &str, entry: &FileEntry) -> Result<bool, Error> {
        let file = match self.store.head(key).await {
            Ok(file) if file.size.is_some_and(|size| size != entry.size) => return Ok(false),
            Ok(file) => file,
            Err(Error::SourceNotFound { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let mut inspector = Inspector::plain();
        let mut chunks = self.store.read(&file, 0);
        while let Some(chunk) = chunks.try_next().await? {
            inspector = blocking(move || {
                inspector.hash(&chunk);
                Ok(inspector)
            })
            .await?;
        }
        Ok(inspector.seen() == (entry.sha256, entry.size))
    }
}
