//! What passes by while a file is read: its digest, its size and, for a model, its facts.

use crate::onnx::{self, OnnxError, OnnxFacts, Scanner};
use crate::{Digest, FileEntry, Hasher};

/// Sees every byte of one file, in order.
#[derive(Debug)]
pub(crate) struct Inspector {
    hasher: Hasher,
    size: u64,
    scanner: Option<Scanner>,
}

/// What an [`Inspector`] has seen.
#[derive(Clone, Debug)]
pub(crate) struct Inspected {
    pub(crate) entry: FileEntry,
    /// `None` if the file was not read as a model.
    pub(crate) facts: Option<OnnxFacts>,
}

impl Inspector {
    /// For a file of weights or anything else.
    pub(crate) fn plain() -> Self {
        Self { hasher: Hasher::new(), size: 0, scanner: None }
    }

    /// For a model.
    pub(crate) fn model() -> Self {
        Self { scanner: Some(Scanner::new(onnx::Limits::default())), ..Self::plain() }
    }

    /// Bytes seen.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The digest and number of the bytes seen so far.
    pub(crate) fn seen(&self) -> (Digest, u64) {
        (self.hasher.clone().finish(), self.size)
    }

    /// Takes the next bytes. A file that is no model is refused as soon as that is clear.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), OnnxError> {
        self.hash(bytes);
        match &mut self.scanner {
            Some(scanner) => scanner.push(bytes),
            None => Ok(()),
        }
    }

    /// Takes the next bytes of a file that is not read as a model.
    pub(crate) fn hash(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
    }

    /// The file is over.
    pub(crate) fn finish(self) -> Result<Inspected, OnnxError> {
        let facts = self.scanner.map(Scanner::finish).transpose()?;
        Ok(Inspected { entry: FileEntry { sha256: self.hasher.finish(), size: self.size }, facts })
    }
}
