//! Blobs of an image: bytes by their SHA-256, hashed while they are written.

use std::{
    fmt::{self, Write as _},
    fs::File,
    io::{self, BufWriter, Seek as _, Write},
    path::Path,
};

use flate2::{Compression as Level, GzBuilder};
use sha2::{Digest as _, Sha256};

use super::layer::Layer;

/// A SHA-256, displayed as `sha256:…`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Digest(String);

impl Digest {
    /// The digest without `sha256:`, which is also the name of the blob's file.
    pub(crate) fn hexadecimal(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "sha256:{}", self.0)
    }
}

/// How layers are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Compression {
    /// As they are: a node on the same machine loads them fastest.
    #[default]
    None,
    /// As registries keep them.
    Gzip,
}

impl Compression {
    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::None => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
        }
    }
}

/// Bytes that wait to be put into the archive.
pub(super) struct Blob {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) content: BlobContent,
}

pub(super) enum BlobContent {
    Bytes(Vec<u8>),
    /// A file without a name, at its start.
    File(File),
}

impl Blob {
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Self {
        let digest = Digest(modelwright_test_servers::sha256(&bytes));
        Self { digest, size: bytes.len() as u64, content: BlobContent::Bytes(bytes) }
    }
}

/// A layer as it is stored.
pub(super) struct LayerBlob {
    pub(super) blob: Blob,
    /// The digest before compression, by which the configuration names the layer.
    pub(super) diff_id: Digest,
}

impl LayerBlob {
    /// Writes a layer to a temporary file in `folder`.
    pub(super) fn write(layer: &Layer, compression: Compression, folder: &Path) -> anyhow::Result<Self> {
        let stored = Hashing::new(BufWriter::new(tempfile::tempfile_in(folder)?));
        let (stored, diff_id) = match compression {
            Compression::None => {
                let mut stored = stored;
                layer.write_tar(&mut stored)?;
                (stored, None)
            }
            Compression::Gzip => {
                // Neither a time nor a file name goes into the header.
                let gzip = GzBuilder::new().mtime(0).write(stored, Level::default());
                let mut plain = Hashing::new(gzip);
                layer.write_tar(&mut plain)?;
                let (gzip, diff_id, _) = plain.finish();
                (gzip.finish()?, Some(diff_id))
            }
        };
        let (buffer, digest, size) = stored.finish();
        let mut file = buffer.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        let diff_id = diff_id.unwrap_or_else(|| digest.clone());
        Ok(Self { blob: Blob { digest, size, content: BlobContent::File(file) }, diff_id })
    }
}

/// Hashes and counts what goes through.
struct Hashing<W> {
    to: W,
    hash: Sha256,
    size: u64,
}

impl<W> Hashing<W> {
    fn new(to: W) -> Self {
        Self { to, hash: Sha256::new(), size: 0 }
    }

    fn finish(self) -> (W, Digest, u64) {
        let hexadecimal = self.hash.finalize().iter().fold(String::new(), |mut text, byte| {
            // Writing to a `String` cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        });
        (self.to, Digest(hexadecimal), self.size)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
