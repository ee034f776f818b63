//! A copy of a revision's model whose weights lie in a file of their own, so that a server can map them.
//!
//! The copy is derived on the machine that serves, after the revision was verified, and belongs to no revision: it lies in
//! the revision's folder under a name that no file of a revision can have, and the revision's digest stays that of the bytes
//! that were published.
//!
//! ```text
//! model.onnx manifest.json …       the revision
//! .modelwright-mapped/model.onnx   the graph, and small weights
//! .modelwright-mapped/weights.data the others, each at the start of a page
//! .modelwright-mapped/source       the sha256 of the model.onnx that both were derived from
//! ```
//!
//! [`convert`] makes the folder under another name and renames it when it is whole. [`converted`] trusts nothing in it: the
//! same model always gives the same bytes, so it derives them again, without writing, and compares.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};

use crate::folder::Folder;
use crate::onnx::{Externalization, Externalized, LEAST_BYTES, OnnxFacts};
use crate::verify::open_file;
use crate::{Digest, Error, MODEL_FILE, Manifest, RelativePath};

/// The folder, its name until it is whole, and its files besides the model.
const FOLDER: &str = ".modelwright-mapped";
const UNFINISHED: &str = ".modelwright-mapped.partial";
const DATA_FILE: &str = "weights.data";
const SOURCE_FILE: &str = "source";
/// What is left free on the disk: the copy saves memory, and nothing else shall fail for it.
const LEFT_FREE: u64 = 64 << 20;
/// Bytes that are read, written and compared at a time.
const BUFFER_BYTES: usize = 1 << 18;

/// Why there is no copy whose weights can be mapped.
#[derive(Debug, thiserror::Error)]
pub enum NotConverted {
    /// The model's weights can be mapped without a copy.
    #[error("its weights are in files of their own already")]
    AlreadyExternal,
    /// No weight is worth moving.
    #[error("none of its weights is a table of numbers of {LEAST_BYTES} bytes or more that can be moved")]
    NothingToMove,
    /// The copy does not fit beside the model.
    #[error("the copy takes {needed} bytes, and only {free} are free for {}", path.display())]
    NoSpace {
        /// The folder.
        path: PathBuf,
        /// The bytes of the copy, and what is left free.
        needed: u64,
        /// The bytes that are free.
        free: u64,
    },
    /// The copy is not what the model gives.
    #[error("{} is not what {MODEL_FILE} beside it gives; fetch the revision again", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// A copy whose weights can be mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// The model's file.
    pub model: PathBuf,
    /// What lies beside it.
    pub moved: Externalized,
}

/// Derives the copy for the verified revision in `folder`, unless it is there already. `facts` are those of its model.
///
/// What an earlier, interrupted run had left is removed, and so is a copy of another model; after a failure, nothing is left.
/// Blocks.
pub fn convert(folder: &Path, manifest: &Manifest, facts: &OnnxFacts) -> Result<Converted, NotConverted> {
    if !facts.external_data.is_empty() {
        discard(folder)?;
        return Err(NotConverted::AlreadyExternal);
    }
    let opened = Folder::open(folder)?;
    opened.lock()?;
    if let Ok(Some(there)) = compare(&opened, manifest) {
        opened.remove_folder(UNFINISHED)?;
        return Ok(there);
    }
    opened.remove_folder(FOLDER)?;
    make(&opened, manifest, LEFT_FREE)
}

/// The copy for the verified revision in `folder`, if there is one; every byte of it is compared with what the model gives.
/// Blocks.
pub fn converted(folder: &Path, manifest: &Manifest) -> Result<Option<Converted>, NotConverted> {
    compare(&Folder::open(folder)?, manifest)
}

/// Removes the copy from a revision's folder, and what is left of an interrupted conversion.
pub fn discard(folder: &Path) -> Result<(), Error> {
    let folder = Folder::open(folder)?;
    folder.lock()?;
    folder.remove_folder(UNFINISHED)?;
    folder.remove_folder(FOLDER)
}

/// Makes the copy, or leaves nothing.
fn make(folder: &Folder, manifest: &Manifest, left_free: u64) -> Result<Converted, NotConverted> {
    folder.remove_folder(UNFINISHED)?;
    let written = write(folder, manifest, left_free);
    if written.is_err() {
        // The first failure says more than one to clean up, which the next run tries again.
        let _ = folder.remove_folder(UNFINISHED);
    }
    written
}

fn write(folder: &Folder, manifest: &Manifest, left_free: u64) -> Result<Converted, NotConverted> {
    let (mut source, plan) = plan(folder)?;
    let moved = plan.moved();
    if moved.weights == 0 {
        return Err(NotConverted::NothingToMove);
    }
    let (needed, free) = (plan.bytes().saturating_add(left_free), folder.free_bytes()?);
    if needed > free {
        return Err(NotConverted::NoSpace { path: folder.path().to_owned(), needed, free });
    }
    let inside = folder.enter(UNFINISHED, true)?;
    let file = |name: &str| inside.write(name).map(|file| BufWriter::with_capacity(BUFFER_BYTES, file));
    let (mut model, mut data, mut record) = (file(MODEL_FILE)?, file(DATA_FILE)?, file(SOURCE_FILE)?);
    // Nothing waits for the disk: what a loss of power leaves is compared before it is used.
    plan.write(&mut source, &mut model, &mut data)
        .and_then(|()| write!(record, "{}", model_digest(manifest)?))
        .and_then(|()| [model, data, record].iter_mut().try_for_each(Write::flush))
        .map_err(|error| Error::writing(inside.path(), error))?;
    folder.rename_folder(UNFINISHED, FOLDER)?;
    Ok(Converted { model: folder.path().join(FOLDER).join(MODEL_FILE), moved })
}

fn compare(folder: &Folder, manifest: &Manifest) -> Result<Option<Converted>, NotConverted> {
    let inside = match folder.enter(FOLDER, false) {
        Err(Error::SourceNotFound { .. }) => return Ok(None),
        inside => inside?,
    };
    let reading = |error| Error::reading(folder.path(), error);
    if recorded(&inside)? != Some(model_digest(manifest).map_err(reading)?) {
        return Ok(None);
    }
    let (mut source, plan) = plan(folder)?;
    let (mut model, mut data) = (Comparison::of(&inside, MODEL_FILE)?, Comparison::of(&inside, DATA_FILE)?);
    let compared = plan.write(&mut source, &mut model, &mut data);
    for file in [&mut model, &mut data] {
        if file.differs || (compared.is_ok() && !file.is_at_end().map_err(reading)?) {
            return Err(NotConverted::Changed { path: file.path.clone() });
        }
    }
    compared.map_err(reading)?;
    Ok(Some(Converted { model: model.path, moved: plan.moved() }))
}

/// The model of the folder, and how it is divided.
fn plan(folder: &Folder) -> Result<(File, Externalization), Error> {
    let mut source = open_file(folder, &RelativePath::new(MODEL_FILE)?)?;
    let plan = Externalization::plan(&mut source, DATA_FILE)
        .map_err(|error| Error::reading(folder.path().join(MODEL_FILE), error))?;
    Ok((source, plan))
}

/// The digest of the model that a copy was derived from, by its record.
fn recorded(inside: &Folder) -> Result<Option<Digest>, Error> {
    let Some(record) = inside.read(SOURCE_FILE)? else { return Ok(None) };
    let mut text = String::new();
    // What is longer or no text is no digest either.
    let read = record.take(128).read_to_string(&mut text);
    Ok(read.ok().and_then(|_| text.parse().ok()))
}

/// The sha256 of the revision's model.
fn model_digest(manifest: &Manifest) -> io::Result<Digest> {
    let entry = manifest.files().get(MODEL_FILE);
    entry.map(|entry| entry.sha256).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Compares what is written to it with what a file holds, and fails where they differ.
struct Comparison {
    file: BufReader<File>,
    path: PathBuf,
    differs: bool,
}

impl Comparison {
    fn of(folder: &Folder, name: &str) -> Result<Self, NotConverted> {
        let path = folder.path().join(name);
        let Some(file) = folder.read(name)? else { return Err(NotConverted::Changed { path }) };
        Ok(Self { file: BufReader::with_capacity(BUFFER_BYTES, file), path, differs: false })
    }

    fn is_at_end(&mut self) -> io::Result<bool> {
        self.file.fill_buf().map(<[u8]>::is_empty)
    }
}

impl Write for Comparison {
    fn write(&mut self, expected: &[u8]) -> io::Result<usize> {
        let found = self.file.fill_buf()?;
        let length = found.len().min(expected.len());
        if !expected.is_empty() && (length == 0 || found[..length] != expected[..length]) {
            self.differs = true;
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.file.consume(length);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
