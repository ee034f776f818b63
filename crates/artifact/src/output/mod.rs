//! What a training by somebody else's program left in a folder, read as if an enemy had written it.
//!
//! Nothing outside the folder is opened: every component of a path is opened relative to the one above and without
//! following links. Only regular files with one name count. How many files there are, and how many bytes they have by their
//! size (a sparse file takes no space on the disk), is bounded before anything is read, and again while it is. Whatever is
//! refused is named; the content of a file never gets into a message.

mod error;
mod verdict;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use rustix::fs::{self, FileType};

pub use self::error::OutputError;
pub use self::verdict::{Objection, OutputVerdict, VERDICT_FILE};
use crate::folder::{Folder, kind_name};
use crate::inspect::{Inspected, Inspector};
use crate::onnx::OnnxFacts;
use crate::verify::open_file;
use crate::{Error, FileEntry, MANIFEST_FILE, MAX_FILES, MODEL_FILE, RelativePath};

/// Bytes of a file that are read at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// How much a training may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimits {
    /// The most bytes of all files together, by their sizes.
    pub total_bytes: u64,
    /// The most files, and the most folders.
    pub files: usize,
}

impl Default for OutputLimits {
    /// 100 GiB and as many files as a revision may have.
    fn default() -> Self {
        Self { total_bytes: 100 << 30, files: MAX_FILES }
    }
}

/// What a training left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Every file, with what it holds.
    pub files: BTreeMap<RelativePath, FileEntry>,
    /// What the ONNX files say of themselves, by name: of those that were asked for and are there.
    pub models: BTreeMap<String, OnnxFacts>,
}

impl Output {
    /// What `model.onnx` says of itself; there always is one.
    pub fn model(&self) -> Option<&OnnxFacts> {
        self.models.get(MODEL_FILE)
    }

    /// The size of a file.
    pub fn size(&self, name: &str) -> Option<u64> {
        self.files.get(name).map(|entry| entry.size)
    }
}

/// Reads and hashes every file below `folder`, which must hold `model.onnx`. The files of `models`, `model.onnx` besides,
/// are read as ONNX where they are there, and the files with weights that they name must be there, too.
///
/// Blocks: a caller on an asynchronous runtime runs it where blocking is allowed.
pub fn read_output(folder: &Path, models: &[&str], limits: &OutputLimits) -> Result<Output, OutputError> {
    let root = Folder::open(folder)?;
    let paths = paths(&root, limits)?;
    if !paths.iter().any(|path| path.as_str() == MODEL_FILE) {
        return Err(OutputError::no_model(&paths));
    }
    let mut output = Output { files: BTreeMap::new(), models: BTreeMap::new() };
    let mut left = limits.total_bytes;
    for path in paths {
        let is_model = path.as_str() == MODEL_FILE || models.contains(&path.as_str());
        let mut reading = Reading { root: &root, path: &path, limits, left };
        let Inspected { entry, facts } = reading.inspect(is_model)?;
        left = left.saturating_sub(entry.size);
        output.models.extend(facts.map(|facts| (path.to_string(), facts)));
        output.files.insert(path, entry);
    }
    for (model, facts) in &output.models {
        let missing = facts.external_data.iter().find(|name| !output.files.contains_key(name.as_str()));
        if let Some(missing) = missing {
            return Err(OutputError::weights_missing(model, missing));
        }
    }
    Ok(output)
}

/// At most `most` bytes of the regular file `name` directly in `folder`, read as [`read_output`] reads: `None` if there is
/// no such file, [`OutputError::TooLarge`] if it has more.
pub fn read_file(folder: &Path, name: &str, most: u64) -> Result<Option<Vec<u8>>, OutputError> {
    let Some((root, file)) = open(folder, name)? else { return Ok(None) };
    single_name(&file, name)?;
    let mut bytes = Vec::new();
    let read = file.take(most.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|error| Error::reading(root.path().join(name), error))?;
    if bytes.len() as u64 > most {
        return Err(OutputError::TooLarge { path: name.to_owned(), most });
    }
    Ok(Some(bytes))
}

/// The size of the regular file `name` directly in `folder`, and at most its last `most` bytes: `None` if there is no such
/// file.
pub fn read_end(folder: &Path, name: &str, most: u64) -> Result<Option<(u64, Vec<u8>)>, OutputError> {
    let Some((root, mut file)) = open(folder, name)? else { return Ok(None) };
    let size = single_name(&file, name)?;
    let mut bytes = Vec::new();
    let read = file.seek(SeekFrom::Start(size.saturating_sub(most)));
    let read = read.and_then(|_| file.take(most).read_to_end(&mut bytes));
    read.map_err(|error| Error::reading(root.path().join(name), error))?;
    Ok(Some((size, bytes)))
}

/// A folder and a regular file directly in it; `None` where one of them is not there.
fn open(folder: &Path, name: &str) -> Result<Option<(Folder, File)>, OutputError> {
    let root = match Folder::open(folder) {
        Err(Error::SourceNotFound { .. }) => return Ok(None),
        opened => opened?,
    };
    let file = root.read(name).map_err(|error| OutputError::at(error, name))?;
    Ok(file.map(|file| (root, file)))
}

/// The paths of all files below the folder.
fn paths(root: &Folder, limits: &OutputLimits) -> Result<Vec<RelativePath>, OutputError> {
    let too_many = || OutputError::TooManyFiles { most: limits.files };
    let (mut found, mut seen_folders) = (Vec::new(), 0_usize);
    let mut folders = vec![String::new()];
    while let Some(above) = folders.pop() {
        // The path of any file in it leads there.
        let inside = RelativePath::new(&format!("{above}{MANIFEST_FILE}"))?;
        let place = root.parent_of(&inside, false).map_err(|error| OutputError::at(error, &above))?;
        let most = limits.files.saturating_mul(2).saturating_add(1);
        let entries = place.first_entries(most).map_err(|error| OutputError::at(error, &above))?;
        for (name, is_folder) in entries {
            let path = RelativePath::new(&format!("{above}{name}"))?;
            if is_folder {
                seen_folders += 1;
                folders.push(format!("{path}/"));
            } else if path.as_str() == MANIFEST_FILE {
                return Err(OutputError::Reserved);
            } else {
                found.push(path);
            }
            if found.len() > limits.files || seen_folders > limits.files {
                return Err(too_many());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// One file while it is read.
struct Reading<'a> {
    root: &'a Folder,
    path: &'a RelativePath,
    limits: &'a OutputLimits,
    /// Bytes that this file may have.
    left: u64,
}

impl Reading<'_> {
    fn inspect(&mut self, is_model: bool) -> Result<Inspected, OutputError> {
        let name = self.path.as_str();
        let mut file = open_file(self.root, self.path).map_err(|error| OutputError::at(error, name))?;
        if single_name(&file, name)? > self.left {
            return Err(self.too_large());
        }
        let mut inspector = if is_model { Inspector::model() } else { Inspector::plain() };
        let mut buffer = vec![0; BUFFER_BYTES];
        let not_onnx = |source| OutputError::Onnx { path: name.to_owned(), source };
        loop {
            let count =
                file.read(&mut buffer).map_err(|error| Error::reading(self.root.path().join(name), error))?;
            if count == 0 {
                return inspector.finish().map_err(not_onnx);
            }
            inspector.push(&buffer[..count]).map_err(not_onnx)?;
            // It may grow while it is read.
            if inspector.size() > self.left {
                return Err(self.too_large());
            }
        }
    }

    fn too_large(&self) -> OutputError {
        OutputError::TooLarge { path: self.path.to_string(), most: self.limits.total_bytes }
    }
}

/// The size of an open file that is regular and has no other name, which could be anybody's.
fn single_name(file: &File, name: &str) -> Result<u64, OutputError> {
    let stat = fs::fstat(file).map_err(|error| Error::reading(name, error.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(OutputError::NotRegular { path: name.to_owned(), found: kind_name(stat.st_mode) });
    }
    if stat.st_nlink > 1 {
        return Err(OutputError::HardLink { path: name.to_owned() });
    }
    Ok(u64::try_from(stat.st_size).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
