//! One way to read and write object stores, web servers and local files.
//!
//! A [`Store`] is opened for a uri; paths are below that uri, and the empty path is the uri's own object.

mod client;
mod failure;
mod identity;
mod local;
mod objects;
mod send;
mod web;

pub use send::Sender;

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _, TryStreamExt as _};

use crate::path::printable;
use crate::progress::Transfer;
use crate::uri::Place;
use crate::{AccessRules, Connection, Error, Limits, RemoteFile, SourceUri, Transfers};

/// Reads a small document of the web, such as the keys of an issuer of tokens, under the same rules as a source: each address is
/// checked, at most three redirects are followed, none to another scheme. Nothing is tried again.
pub async fn read_document(url: &str, rules: AccessRules, at_most: usize) -> Result<Bytes, Error> {
    web::Web::of_document(url, rules)?.document(at_most).await
}

/// An opened store.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    uri: SourceUri,
    backend: Backend,
    transfers: Transfers,
}

#[derive(Clone, Debug)]
enum Backend {
    Objects(objects::Objects),
    Web(web::Web),
    Local(local::Local),
}

/// What a conditional write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// The bytes are there.
    Written,
    /// There was something; nothing was written.
    Exists,
}

impl Store {
    /// Checks the uri and the credentials; nothing is asked yet.
    pub(crate) fn open(uri: &SourceUri, connection: &Connection) -> Result<Self, Error> {
        let backend = match uri.place() {
            Place::Bucket { store, bucket, key } => {
                Backend::Objects(objects::Objects::open(*store, bucket, key, connection)?)
            }
            Place::Http(url) => Backend::Web(web::Web::open(url, uri, connection)?),
            Place::File(path) => Backend::Local(local::Local::new(path.clone())),
            Place::Volume { claim, path } => match &connection.volume {
                Some(mounted) => Backend::Local(local::Local::in_volume(mounted, path)),
                None => {
                    return Err(Error::Unsupported {
                        what: uri.to_string(),
                        problem: format!(
                            "the volume {claim} exists in a cluster only; use file: on one machine"
                        ),
                    });
                }
            },
        };
        Ok(Self { uri: uri.clone(), backend, transfers: connection.transfers })
    }

    /// The uri that the store was opened for.
    pub(crate) fn uri(&self) -> &SourceUri {
        &self.uri
    }

    /// The uri of a path below, for messages.
    pub(crate) fn describe(&self, path: &str) -> String {
        match path {
            "" => self.uri.to_string(),
            path => format!("{}/{}", self.uri.to_string().trim_end_matches('/'), printable(path)),
        }
    }

    /// What the store says of one object, or of the uri's own (empty path).
    pub(crate) async fn head(&self, path: &str) -> Result<RemoteFile, Error> {
        let what = self.describe(path);
        match &self.backend {
            Backend::Objects(objects) => objects.head(path, &what).await,
            Backend::Web(web) => web.head(path, &what).await,
            Backend::Local(local) => local.head(path).await,
        }
    }

    /// Everything below the uri, in order of paths; `None` if this kind of store cannot list.
    pub(crate) async fn list(&self, limits: &Limits) -> Result<Option<Vec<RemoteFile>>, Error> {
        let what = self.describe("");
        let mut files = match &self.backend {
            Backend::Objects(objects) => objects.list(limits.objects, &what).await?,
            Backend::Local(local) => local.list(limits.objects, &what).await?,
            Backend::Web(_) => return Ok(None),
        };
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Some(files))
    }

    /// The content from byte `from` on, in order.
    ///
    /// Where the store has ranges and says the size, several ranges are read at the same time; else the content comes
    /// as one answer, and `from` must be 0. A content that is not `file` any more ends in [`Error::SourceChanged`].
    pub(crate) fn read<'a>(&'a self, file: &'a RemoteFile, from: u64) -> BoxStream<'a, Result<Bytes, Error>> {
        let size = match (&self.backend, file.size) {
            (_, Some(size)) if file.ranges => size,
            (Backend::Web(web), _) => {
                return stream::once(web.whole(file, self.describe(&file.path))).try_flatten().boxed();
            }
            _ => {
                let what = self.describe(&file.path);
                return stream::once(async {
                    Err(Error::StoreUnreachable { what, problem: "it gives no size".into() })
                })
                .boxed();
            }
        };
        stream::iter(chunks(from..size, u64::from(self.transfers.chunk_bytes.max(1))))
            .map(move |range| self.range(file, range))
            .buffered(self.transfers.concurrency.max(1))
            .boxed()
    }

    async fn range(&self, file: &RemoteFile, range: Range<u64>) -> Result<Bytes, Error> {
        let what = self.describe(&file.path);
        match &self.backend {
            Backend::Objects(objects) => objects.range(file, range, &what).await,
            Backend::Web(web) => web.range(file, range, &what).await,
            Backend::Local(local) => local.range(file, range).await,
        }
    }

    /// The whole content of a small file.
    pub(crate) async fn read_small(&self, file: &RemoteFile, limit: usize) -> Result<Bytes, Error> {
        let too_large = |size: u64| Error::TooLarge {
            what: self.describe(&file.path),
            problem: format!("it has {size} bytes or more, over the limit of {limit}"),
        };
        if let Some(size) = file.size.filter(|size| *size > limit as u64) {
            return Err(too_large(size));
        }
        let mut content = BytesMut::new();
        let mut chunks = self.read(file, 0);
        while let Some(chunk) = chunks.try_next().await? {
            if content.len() + chunk.len() > limit {
                return Err(too_large((content.len() + chunk.len()) as u64));
            }
            content.extend_from_slice(&chunk);
        }
        Ok(content.freeze())
    }

    /// Writes a small object. With `create`, only if there is none: checked by the store where it can, else by a look
    /// before the write.
    pub(crate) async fn put(&self, path: &str, bytes: Bytes, create: bool) -> Result<Put, Error> {
        match &self.backend {
            Backend::Objects(objects) => objects.put(path, bytes, create, &self.describe(path)).await,
            Backend::Local(local) => local.put(path, bytes, create).await,
            Backend::Web(_) => Err(self.read_only()),
        }
    }

    /// Writes an object of any size; nothing is visible under its path before all of it is there.
    pub(crate) async fn upload(
        &self,
        path: &str,
        source: Source,
        size: u64,
        progress: &Transfer<'_>,
    ) -> Result<(), Error> {
        match &self.backend {
            Backend::Objects(objects) => {
                objects.upload(path, source, size, progress, &self.describe(path)).await
            }
            Backend::Local(local) => local.upload(path, source, size, progress, self.transfers).await,
            Backend::Web(_) => Err(self.read_only()),
        }
    }

    /// Deletes an object; one that is not there is fine.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), Error> {
        match &self.backend {
            Backend::Objects(objects) => objects.delete(path, &self.describe(path)).await,
            Backend::Local(local) => local.delete(path).await,
            Backend::Web(_) => Err(self.read_only()),
        }
    }

    fn read_only(&self) -> Error {
        Error::Unsupported {
            what: self.uri.to_string(),
            problem: "a web server cannot be written to; use s3, gs, az, pvc or file".into(),
        }
    }
}

/// An open local file that is uploaded.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    file: Arc<File>,
    name: std::path::PathBuf,
}

impl Source {
    pub(crate) fn new(file: File, name: std::path::PathBuf) -> Self {
        Self { file: Arc::new(file), name }
    }

    /// Reads a range completely.
    pub(crate) async fn read(&self, range: Range<u64>) -> Result<Bytes, Error> {
        let Self { file, name } = self.clone();
        blocking(move || local::read_exact(&file, range).map_err(|error| Error::reading(name, error))).await
    }
}

/// Runs work on local files where it does not hold up the runtime.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| {
        Err(Error::Internal { detail: format!("a task on local files ended: {error}") })
    })
}

/// `range` in pieces of `step` bytes.
fn chunks(range: Range<u64>, step: u64) -> impl Iterator<Item = Range<u64>> + Send {
    let end = range.end;
    std::iter::successors(Some(range.start), move |start| start.checked_add(step))
        .take_while(move |start| *start < end)
        .map(move |start| start..end.min(start.saturating_add(step)))
}

/// Refuses an answer about another content than `file`'s.
fn unchanged(file: &RemoteFile, etag: Option<&str>, size: Option<u64>, what: &str) -> Result<(), Error> {
    let problem = match (&file.etag, etag, file.size, size) {
        (Some(before), Some(now), ..) if before != now => format!("its entity tag was {before} and is {now}"),
        (.., Some(before), Some(now)) if before != now => format!("it had {before} bytes and has {now}"),
        _ => return Ok(()),
    };
    Err(Error::SourceChanged { what: what.to_owned(), problem })
}

/// The content of an answer that must have `expected` bytes. Reading ends with the first byte more: a store cannot have
/// more held in memory than was asked for.
async fn collect(
    body: impl Stream<Item = Result<Bytes, Error>>,
    expected: u64,
    what: &str,
) -> Result<Bytes, Error> {
    let mut body = std::pin::pin!(body);
    let mut bytes = BytesMut::new();
    while let Some(chunk) = body.try_next().await? {
        if bytes.len() as u64 + chunk.len() as u64 > expected {
            return Err(too_long(what));
        }
        bytes.extend_from_slice(&chunk);
    }
    if bytes.len() as u64 != expected {
        return Err(Error::Truncated { what: what.to_owned(), got: bytes.len() as u64, expected });
    }
    Ok(bytes.freeze())
}

fn too_long(what: &str) -> Error {
    Error::StoreUnreachable { what: what.to_owned(), problem: "it sends more bytes than it announces".into() }
}

fn too_many(what: &str, limit: usize) -> Error {
    Error::TooLarge { what: what.to_owned(), problem: format!("it holds more than {limit} objects") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_the_range_once() {
        assert_eq!(chunks(0..10, 4).collect::<Vec<_>>(), [0..4, 4..8, 8..10]);
        assert!(chunks(5..10, 5).eq(std::iter::once(5..10)));
        assert_eq!(chunks(3..3, 5).count(), 0);
        assert_eq!(chunks(u64::MAX - 1..u64::MAX, 5).count(), 1);
    }
}
