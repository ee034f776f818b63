//! The files of one fetch, each under a name of our own until all are verified.

use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::folder::Folder;
use crate::inspect::{Inspected, Inspector};
use crate::path::RESERVED_PREFIX;
use crate::progress::Transfer;
use crate::resolve::check_total;
use crate::store::{Store, blocking};
use crate::stream::{Target, stream};
use crate::{Digest, Error, FileEntry, Limits, MANIFEST_FILE, Manifest, Progress, RelativePath, RemoteFile};

/// Bytes of an unfinished file that are hashed again at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// A file to download.
pub(super) struct Wanted {
    pub(super) path: RelativePath,
    pub(super) remote: RemoteFile,
    /// What it must be, if that is known.
    pub(super) expected: Option<FileEntry>,
    /// Whether it is scanned as a model.
    pub(super) model: bool,
}

/// What an unfinished file is the beginning of. It is continued only if the store still says the same.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    source: String,
    remote: RemoteFile,
    expected: Option<Digest>,
}

/// The files of one fetch.
pub(super) struct Downloads<'a> {
    store: &'a Store,
    folder: Arc<Folder>,
    progress: &'a dyn Progress,
    limits: &'a Limits,
    /// Whether the end result is compared with a digest: only then is what an earlier run left trusted to be continued.
    verified: bool,
    finished: Vec<RelativePath>,
    /// The bytes of the finished files.
    finished_bytes: u64,
    /// The file that is being downloaded, or whose download failed.
    current: Option<RelativePath>,
    continued: bool,
    bytes_read: u64,
}

impl<'a> Downloads<'a> {
    pub(super) fn new(
        store: &'a Store,
        folder: Arc<Folder>,
        progress: &'a dyn Progress,
        limits: &'a Limits,
        verified: bool,
    ) -> Self {
        Self {
            store,
            folder,
            progress,
            limits,
            verified,
            finished: Vec::new(),
            finished_bytes: 0,
            current: None,
            continued: false,
            bytes_read: 0,
        }
    }

    /// Whether any file began with what an earlier run had left.
    pub(super) fn continued(&self) -> bool {
        self.continued
    }

    /// Bytes that came from the store.
    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Downloads one file under its unfinished name, hashes it, and compares it with what is expected.
    pub(super) async fn download(&mut self, wanted: Wanted) -> Result<Inspected, Error> {
        let what = self.store.describe(&wanted.remote.path);
        let refused = |source| Error::Onnx { what: what.clone(), source };
        let transfer = Transfer::begin(self.progress, wanted.remote.size, wanted.path.as_str());
        self.current = Some(wanted.path.clone());
        let (file, inspector) = self.begin(&wanted).await?;
        let begun = inspector.size();
        self.continued |= begun > 0;
        transfer.advance(usize::try_from(begun).unwrap_or(usize::MAX));

        let place = self.folder.path().join(wanted.path.as_str());
        let mut bytes_read = 0;
        let streamed =
            stream(self.store, &wanted.remote, Target { file, place }, inspector, |length, size| {
                transfer.advance(length);
                bytes_read += length as u64;
                self.check_size(&what, &wanted, size)
            });
        let streamed = streamed.await;
        self.bytes_read += bytes_read;
        let inspector = streamed?;
        let (digest, size) = inspector.seen();
        let found = FileEntry { sha256: digest, size };
        if let Some(expected) = wanted.expected.filter(|expected| *expected != found) {
            return Err(Error::DigestMismatch { what, expected: expected.sha256, found: digest });
        }
        let inspected = inspector.finish().map_err(refused)?;
        self.finished.extend(self.current.take());
        self.finished_bytes = self.finished_bytes.saturating_add(size);
        Ok(inspected)
    }

    /// Refuses more bytes than the file has, if that is known, and more than the limits allow.
    fn check_size(&self, what: &str, wanted: &Wanted, size: u64) -> Result<(), Error> {
        match wanted.expected {
            Some(expected) if size > expected.size => Err(Error::TooLarge {
                what: what.to_owned(),
                problem: format!("it goes on after the {} bytes that its digest covers", expected.size),
            }),
            _ => check_total(self.store, self.limits, Some(self.finished_bytes.saturating_add(size))),
        }
    }

    /// Opens the unfinished file, continued if it can be, and what has seen its content so far.
    async fn begin(&self, wanted: &Wanted) -> Result<(Arc<File>, Inspector), Error> {
        let state = State {
            source: self.store.uri().to_string(),
            remote: wanted.remote.clone(),
            expected: wanted.expected.map(|expected| expected.sha256),
        };
        let identified = wanted.remote.etag.is_some() || wanted.remote.version.is_some();
        let continues = self.verified && wanted.remote.ranges && (identified || wanted.expected.is_some());
        let (folder, path, model) = (self.folder.clone(), wanted.path.clone(), wanted.model);
        blocking(move || {
            let names = Names::of(&path);
            let parent = folder.parent_of(&path, true)?;
            parent.check_target(path.split().1)?;
            let file = parent.write(&names.content)?;
            let inspector = if model { Inspector::model() } else { Inspector::plain() };
            if continues && read_state(&parent, &names.state)?.as_ref() == Some(&state) {
                let again = parent.write(&names.content)?;
                if let Some(inspector) = hash_again(again, inspector, state.remote.size) {
                    return Ok((Arc::new(file), inspector));
                }
            }
            let text =
                serde_json::to_vec(&state).map_err(|error| Error::Internal { detail: error.to_string() })?;
            // The content goes before the state that vouches for it.
            file.set_len(0).map_err(|error| Error::writing(parent.path().join(&names.content), error))?;
            parent.write_whole(&names.unfinished_state, &names.state, &text)?;
            let inspector = if model { Inspector::model() } else { Inspector::plain() };
            Ok((Arc::new(file), inspector))
        })
        .await
    }

    /// Everything is verified: files get their names, the manifest last.
    pub(super) async fn keep(&mut self, manifest: &Manifest) -> Result<(), Error> {
        let (folder, manifest) = (self.folder.clone(), manifest.clone());
        let finished = std::mem::take(&mut self.finished);
        blocking(move || {
            // A manifest that names other bytes than those that now come must not stand beside them.
            folder.check_target(MANIFEST_FILE)?;
            folder.remove(MANIFEST_FILE)?;
            for path in &finished {
                let names = Names::of(path);
                let parent = folder.parent_of(path, false)?;
                parent.rename(&names.content, path.split().1)?;
                parent.remove(&names.state)?;
            }
            folder.write_manifest(&manifest)
        })
        .await
    }

    /// Forgets everything that was downloaded, now and earlier.
    pub(super) async fn discard(&mut self) -> Result<(), Error> {
        let folder = self.folder.clone();
        let mut paths = std::mem::take(&mut self.finished);
        paths.extend(self.current.take());
        self.continued = false;
        self.finished_bytes = 0;
        blocking(move || {
            for path in paths {
                let names = Names::of(&path);
                let parent = folder.parent_of(&path, false)?;
                parent.remove(&names.state)?;
                parent.remove(&names.content)?;
            }
            Ok(())
        })
        .await
    }
}

/// The names that a file has while it is unfinished: of one length however long its own name is.
struct Names {
    content: String,
    state: String,
    unfinished_state: String,
}

impl Names {
    fn of(path: &RelativePath) -> Self {
        let id = Digest::of(path.as_str().as_bytes()).id();
        Self {
            content: format!("{RESERVED_PREFIX}{id}.partial"),
            state: format!("{RESERVED_PREFIX}{id}.json"),
            unfinished_state: format!("{RESERVED_PREFIX}{id}.json.partial"),
        }
    }
}

/// What an earlier run recorded; anything unreadable counts as nothing.
fn read_state(parent: &Folder, name: &str) -> Result<Option<State>, Error> {
    let Some(file) = parent.read(name)? else { return Ok(None) };
    let mut text = Vec::new();
    let read = file.take(1 << 16).read_to_end(&mut text);
    Ok(read.ok().and_then(|_| serde_json::from_slice(&text).ok()))
}

/// Shows the content so far to `inspector`; `None` if it cannot be the beginning of the file.
fn hash_again(mut file: File, mut inspector: Inspector, size: Option<u64>) -> Option<Inspector> {
    let length = file.metadata().ok()?.len();
    if size.is_some_and(|size| length > size) {
        return None;
    }
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer).ok()? {
            0 => return Some(inspector),
            count => inspector.push(&buffer[..count]).ok()?,
        }
    }
}
