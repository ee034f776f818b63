//! Turns the fields that the wire reader finds into facts.

use std::io::Read;

use super::collector::Collector;
use super::schema::{Message, known};
use super::sniff::{SNIFF_BYTES, sniff};
use super::wire::Reader;
use super::{OnnxError, OnnxFacts};

/// Bounds of a scan. What a model has beyond them is an error, but for descriptive text, which is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file, if they are known beforehand: lengths that go beyond are then refused at once.
    pub file_bytes: Option<u64>,
    /// Longest name, path, or value of metadata, in bytes.
    pub text_bytes: usize,
    /// Most entries of metadata that are kept.
    pub metadata_entries: usize,
    /// Most bytes that names, shapes and operators may take in memory.
    pub retained_bytes: usize,
    /// Most messages inside each other. Protobuf's own readers stop at 100.
    pub nesting: usize,
}

impl Default for Limits {
    /// No known size, 4 KiB of text, 64 entries, 16 MiB in memory, 100 messages inside each other.
    fn default() -> Self {
        Self {
            file_bytes: None,
            text_bytes: 4096,
            metadata_entries: 64,
            retained_bytes: 16 << 20,
            nesting: 100,
        }
    }
}

/// Reads the facts of one ONNX file from its bytes as they come, in pieces of any size.
///
/// Weights are passed over, never kept. Memory is bounded by [`Limits::retained_bytes`] and a few times
/// [`Limits::text_bytes`].
#[derive(Debug)]
pub struct Scanner {
    /// The first bytes, until there are enough to tell other formats by.
    head: Vec<u8>,
    started: bool,
    reader: Reader,
    collector: Collector,
    failure: Option<OnnxError>,
}

impl Scanner {
    /// A scanner at the start of a file.
    pub fn new(limits: Limits) -> Self {
        Self {
            head: Vec::with_capacity(SNIFF_BYTES),
            started: false,
            reader: Reader::new(limits.file_bytes),
            collector: Collector::new(limits),
            failure: None,
        }
    }

    /// Reads the next bytes.
    ///
    /// Fails as soon as the file cannot be a model that is served; every later call gives the same error.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), OnnxError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if !self.started {
            let (head, rest) = bytes.split_at(bytes.len().min(SNIFF_BYTES - self.head.len()));
            self.head.extend_from_slice(head);
            if self.head.len() < SNIFF_BYTES {
                return Ok(());
            }
            self.start()?;
            bytes = rest;
        }
        self.read(bytes)
    }

    /// Ends the file and gives its facts.
    pub fn finish(mut self) -> Result<OnnxFacts, OnnxError> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        if !self.started {
            self.start()?;
        }
        let ended = self.reader.finish();
        ended.map_err(|error| self.judge(error))?;
        if !self.collector.is_model() {
            return Err(self.not_onnx());
        }
        self.collector.finish(self.reader.offset())
    }

    /// The most bytes that were ever held at once, read buffers of the caller aside.
    pub fn peak_buffered_bytes(&self) -> usize {
        self.head.capacity() + self.collector.peak_bytes()
    }

    /// Decides on the first bytes and reads them.
    fn start(&mut self) -> Result<(), OnnxError> {
        self.started = true;
        if let Some(format) = sniff(&self.head) {
            let failure = OnnxError::OtherFormat(format);
            self.failure = Some(failure.clone());
            return Err(failure);
        }
        let head = std::mem::take(&mut self.head);
        let read = self.reader.push(&head, &mut self.collector);
        self.head = head;
        self.settle(read)
    }

    fn read(&mut self, bytes: &[u8]) -> Result<(), OnnxError> {
        let read = self.reader.push(bytes, &mut self.collector);
        self.settle(read)
    }

    fn settle(&mut self, read: Result<(), OnnxError>) -> Result<(), OnnxError> {
        read.map_err(|error| {
            let failure = self.judge(error);
            self.failure = Some(failure.clone());
            failure
        })
    }

    /// A broken file that has nothing of ONNX is not a broken ONNX file.
    fn judge(&self, error: OnnxError) -> OnnxError {
        match error {
            OnnxError::InvalidModel { .. }
            | OnnxError::TruncatedModel { .. }
            | OnnxError::ModelTooLarge { .. }
            | OnnxError::ModelTooComplex { .. }
                if !self.collector.is_recognised() =>
            {
                self.not_onnx()
            }
            other => other,
        }
    }

    /// Says the kind of what is there, never the bytes: they may be anybody's, a secret of another service included.
    fn not_onnx(&self) -> OnnxError {
        let start = &self.head[..self.head.len().min(24)];
        let text = match std::str::from_utf8(start) {
            Ok(text) => Some(text),
            // Cut inside of a character.
            Err(error) if error.error_len().is_none() => {
                std::str::from_utf8(&start[..error.valid_up_to()]).ok()
            }
            Err(_) => None,
        };
        let is_text = |text: &str| !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'));
        let problem = match start {
            [] => "it is empty",
            _ if text.is_some_and(is_text) => "it begins with text",
            [first, ..] if known(Message::Model, u32::from(first >> 3)).is_none() => {
                "it begins with a byte that is no ONNX field"
            }
            _ => "it begins like ONNX and has no graph",
        };
        OnnxError::NotOnnx { problem }
    }
}

/// Reads the facts of the ONNX file that `reader` gives.
pub fn scan(mut reader: impl Read, limits: Limits) -> Result<OnnxFacts, OnnxError> {
    let mut scanner = Scanner::new(limits);
    let mut buffer = vec![0; 64 << 10];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return scanner.finish(),
            Ok(count) => scanner.push(&buffer[..count])?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(OnnxError::CannotRead { problem: error.to_string() }),
        }
    }
}
