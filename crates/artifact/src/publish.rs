//! From a folder into a store, as an immutable revision.
//!
//! A revision's place follows from its digest, so whoever publishes the same revision writes the same bytes to the same
//! place, and the order in which several do so does not matter. The manifest comes last: without it there is no
//! revision, whatever an interrupted upload has left; a later one completes it. Correctness does not rest on
//! conditional writes, which some stores ignore, but on reading everything back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;

use crate::folder::Folder;
use crate::inspect::Inspector;
use crate::progress::Transfer;
use crate::revisions::{revision_key, revision_uri};
use crate::store::{Put, Source, Store, blocking};
use crate::verify::{manifest_in, open_file, verify_file};
use crate::{
    Connection, Digest, Error, FileEntry, MANIFEST_FILE, MAX_MANIFEST_BYTES, Manifest, Progress,
    RelativePath, SourceUri,
};

/// How often a file is uploaded that is refused, or not there afterwards, because somebody uploads the same.
const UPLOAD_ATTEMPTS: u32 = 3;
/// How often a file is looked at that is not what it should be, before that counts.
const LOOKS: u32 = 12;
/// The first pause between two looks; the second is twice as long, and so on: 1.3 seconds in all.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

async fn pause(look: u32) {
    tokio::time::sleep(LOOK_PAUSE * look).await;
}

/// What to publish and where to.
#[derive(Clone, Debug)]
pub struct PublishRequest {
    /// A revision's folder: `manifest.json` and the files that it names.
    pub folder: PathBuf,
    /// The revision that the folder must hold, if that is known.
    pub digest: Option<Digest>,
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
    /// Bytes that were uploaded: 0 if the revision was there already, and whole.
    pub bytes_written: u64,
}

/// Copies the revision in `request.folder` into a store, verified on both sides. A folder that holds another revision
/// than `request.digest` is [`Error::DigestMismatch`]; nothing is asked of the store then.
///
/// A revision that is there with equal bytes is success, and files that it lacks are uploaded; other bytes under its digest
/// are [`Error::RevisionCollision`].
pub async fn publish(request: &PublishRequest, progress: &dyn Progress) -> Result<Published, Error> {
    let path = request.folder.clone();
    let (folder, manifest) = blocking(move || {
        let folder = Folder::open(&path)?;
        let manifest = manifest_in(&folder)?;
        Ok((Arc::new(folder), manifest))
    })
    .await?;
    let digest = manifest.digest()?;
    if let Some(expected) = request.digest.filter(|expected| *expected != digest) {
        let what = request.folder.join(MANIFEST_FILE).display().to_string();
        return Err(Error::DigestMismatch { what, expected, found: digest });
    }
    copy(folder, &manifest, (&request.prefix, &request.connection), progress).await
}

/// Publishes the files in `folder` that `manifest` names as the revision that it describes, as [`publish`] does. The
/// folder need not hold the manifest itself, and what else lies there is left alone.
///
/// A file with other bytes than the manifest says is [`Error::DigestMismatch`], and then there is no revision.
pub async fn publish_files(
    folder: &Path,
    manifest: &Manifest,
    prefix: &SourceUri,
    connection: &Connection,
    progress: &dyn Progress,
) -> Result<Published, Error> {
    let path = folder.to_owned();
    let folder = blocking(move || Folder::open(&path).map(Arc::new)).await?;
    copy(folder, manifest, (prefix, connection), progress).await
}

async fn copy(
    folder: Arc<Folder>,
    manifest: &Manifest,
    (prefix, connection): (&SourceUri, &Connection),
    progress: &dyn Progress,
) -> Result<Published, Error> {
    let digest = manifest.digest()?;
    let store = Store::open(prefix, connection)?;
    let publisher = Publisher { store: &store, folder, manifest, digest, progress };
    let bytes_written = if publisher.manifest_is_there().await? {
        publisher.check_all().await?
    } else {
        publisher.upload_all().await?
    };
    Ok(Published { digest, uri: revision_uri(prefix, &digest)?, bytes_written })
}

struct Publisher<'a> {
    store: &'a Store,
    folder: Arc<Folder>,
    manifest: &'a Manifest,
    digest: Digest,
    progress: &'a dyn Progress,
}

impl Publisher<'_> {
    fn key(&self, path: &str) -> String {
        revision_key(&self.digest, path)
    }

    fn collision(&self, key: &str) -> Error {
        Error::RevisionCollision { what: self.store.describe(key), digest: self.digest }
    }

    /// Whether the revision is published. A manifest of other bytes is a collision.
    async fn manifest_is_there(&self) -> Result<bool, Error> {
        for look in 1.. {
            match self.manifest_is_there_now().await {
                Err(Error::SourceChanged { .. } | Error::RevisionCollision { .. }) if look < LOOKS => {
                    pause(look).await;
                }
                done => return done,
            }
        }
        Ok(false)
    }

    async fn manifest_is_there_now(&self) -> Result<bool, Error> {
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

    /// Reads back every file of a published revision. One that is not there is uploaded: somebody deleted it, and what a
    /// revision needs cannot be had from elsewhere.
    async fn check_all(&self) -> Result<u64, Error> {
        let (mut written, mut whole) = (0, true);
        for (path, entry) in self.manifest.files() {
            let key = self.key(path.as_str());
            if self.holds(&key, entry).await? {
                continue;
            }
            match self.store.head(&key).await {
                Err(Error::SourceNotFound { .. }) => {}
                Err(error) => return Err(error),
                Ok(_) => return Err(self.collision(&key)),
            }
            let source = self.source(path, *entry).await?;
            written += self.upload(&key, source, path, entry).await?;
            whole = false;
        }
        // Where the revision is being deleted, the manifest went first, and files that were seen went after it.
        if !whole && !self.manifest_is_there().await? {
            written += self.upload_all().await?;
        }
        Ok(written)
    }

    async fn upload_all(&self) -> Result<u64, Error> {
        let mut written = 0;
        for (path, entry) in self.manifest.files() {
            let key = self.key(path.as_str());
            let source = self.source(path, *entry).await?;
            written += self.upload(&key, source, path, entry).await?;
        }
        Ok(written + self.upload_manifest().await?)
    }

    /// Writes the manifest, and waits until it is there: a store may refuse a conditional write because somebody else's
    /// is under way (S3 answers 409 then), before that one is visible. A store that does not honour conditions, or
    /// somebody who was faster, makes no difference: what counts is what is there in the end.
    async fn upload_manifest(&self) -> Result<u64, Error> {
        let key = self.key(MANIFEST_FILE);
        let bytes = Bytes::from(self.manifest.to_bytes()?);
        for _ in 0..UPLOAD_ATTEMPTS {
            let put = self.store.put(&key, bytes.clone(), true).await?;
            for look in 1..LOOKS {
                if self.manifest_is_there().await? {
                    return Ok(if put == Put::Written { bytes.len() as u64 } else { 0 });
                }
                pause(look).await;
            }
        }
        Err(self.collision(&key))
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
        match self.holds_now(key, entry).await {
            Ok(true) => return Ok(0),
            Ok(false) | Err(Error::SourceChanged { .. } | Error::SourceNotFound { .. }) => {}
            Err(error) => return Err(error),
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
                (false, None) if attempt == UPLOAD_ATTEMPTS => return Err(self.collision(key)),
                (false, Some(error)) if attempt == UPLOAD_ATTEMPTS => return Err(error),
                (false, _) => {}
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

    /// Whether the store holds exactly these bytes, at once or soon: somebody who publishes the same may be replacing
    /// them, and not every store does that in one step.
    async fn holds(&self, key: &str, entry: &FileEntry) -> Result<bool, Error> {
        for look in 1..LOOKS {
            match self.holds_now(key, entry).await {
                Ok(true) => return Ok(true),
                Ok(false) | Err(Error::SourceChanged { .. } | Error::SourceNotFound { .. }) => {
                    pause(look).await;
                }
                Err(error) => return Err(error),
            }
        }
        self.holds_now(key, entry).await
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
