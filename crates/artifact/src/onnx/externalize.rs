//! Moves the weights of an ONNX file into a file of their own, so that a server can map them: sessions and processes on a
//! machine then share one copy, and a model opens in milliseconds.
//!
//! The graph stays byte for byte what it was but for the initializers of the main graph that have at least
//! [`LEAST_BYTES`] of `raw_data`, `float_data` or `double_data`: for those, it becomes `external_data` with a place in the
//! other file, at the start of a page. Everything else (subgraphs, text, numbers in other typed fields, weights that are
//! outside already) stays in place.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;

/// Smaller weights stay where they are: mapped, each takes a page at least.
pub const LEAST_BYTES: u64 = 4096;
/// Weights begin at multiples of so many bytes.
const PAGE: u64 = 4096;
/// What a tensor has beside its data is read into memory up to so many bytes.
const LARGEST_HEADER: u64 = 64 << 10;

/// `ModelProto.graph`.
const GRAPH: u64 = 7;
/// `GraphProto.initializer`.
const INITIALIZER: u64 = 5;
/// `TensorProto.data_type`, and its values for 32-bit and 64-bit numbers and for text.
const DATA_TYPE: u64 = 2;
const FLOAT: u64 = 1;
const DOUBLE: u64 = 11;
const STRING: u64 = 8;
/// `TensorProto.float_data` and `double_data`. Packed, their bytes are those of `raw_data`; of the other typed fields, whose
/// numbers have variable lengths, they are not.
const FLOAT_DATA: u64 = 4;
const DOUBLE_DATA: u64 = 10;
/// `TensorProto.raw_data`.
const RAW_DATA: u64 = 9;
/// `TensorProto.external_data`.
const EXTERNAL_DATA: u64 = 13;
/// `TensorProto.data_location`, and its value for another file.
const DATA_LOCATION: u64 = 14;
const EXTERNAL: u64 = 1;

/// What is moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Externalized {
    /// Weights that go to the other file.
    pub weights: u64,
    /// Their bytes, padding aside.
    pub bytes: u64,
}

/// How a model is divided into a graph and a file with its large weights. Nothing is written until [`write`](Self::write);
/// the same source always gives the same bytes.
///
/// Memory grows with the number of weights, not with their size. The source must have been scanned before: what is no ONNX
/// is an error of the kind [`io::ErrorKind::InvalidData`] or is copied.
#[derive(Debug)]
pub struct Externalization {
    pieces: Vec<Piece>,
    weights: Vec<Weight>,
    moved: Externalized,
}

impl Externalization {
    /// Reads the source but for its weights. They will lie beside the model in a file named `location`.
    pub fn plan(source: &mut (impl Read + Seek), location: &str) -> io::Result<Self> {
        let end = source.seek(SeekFrom::End(0))?;
        let mut plan = Plan { location, offset: 0, moved: Externalized::default(), weights: Vec::new() };
        let pieces = plan.model(source, 0..end)?;
        Ok(Self { pieces, weights: plan.weights, moved: plan.moved })
    }

    /// What will be in the other file. If nothing is, the model is a copy of the source and the other file is empty.
    pub const fn moved(&self) -> Externalized {
        self.moved
    }

    /// The bytes of both files.
    pub fn bytes(&self) -> u64 {
        let model: u64 = self.pieces.iter().map(Piece::length).sum();
        let data = self.weights.last().map_or(0, |last| last.offset + last.source.end - last.source.start);
        model + data
    }

    /// Writes the model to `model` and its large weights to `data`, from the source that was planned for.
    pub fn write(
        &self,
        source: &mut (impl Read + Seek),
        model: &mut impl Write,
        data: &mut impl Write,
    ) -> io::Result<()> {
        for piece in &self.pieces {
            match piece {
                Piece::Kept(range) => copy(source, range, model)?,
                Piece::New(bytes) => model.write_all(bytes)?,
            }
        }
        let mut written = 0;
        for weight in &self.weights {
            io::copy(&mut io::repeat(0).take(weight.offset - written), data)?;
            copy(source, &weight.source, data)?;
            written = weight.offset + weight.source.end - weight.source.start;
        }
        Ok(())
    }
}

/// A part of the new model.
#[derive(Debug)]
enum Piece {
    /// Bytes of the source.
    Kept(Range<u64>),
    /// New bytes.
    New(Vec<u8>),
}

impl Piece {
    fn length(&self) -> u64 {
        match self {
            Self::Kept(range) => range.end - range.start,
            Self::New(bytes) => bytes.len() as u64,
        }
    }
}

/// A weight that is moved.
#[derive(Debug)]
struct Weight {
    source: Range<u64>,
    /// Where it goes in the other file.
    offset: u64,
}

/// A field of a message: where it begins with its tag, its content, and the number where it is one.
#[derive(Clone, Debug)]
struct Field {
    number: u64,
    start: u64,
    content: Range<u64>,
    value: Option<u64>,
}

struct Plan<'l> {
    location: &'l str,
    /// The end of what is in the other file so far.
    offset: u64,
    moved: Externalized,
    weights: Vec<Weight>,
}

impl Plan<'_> {
    fn model(&mut self, source: &mut (impl Read + Seek), range: Range<u64>) -> io::Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        for field in fields(source, range)? {
            if field.number == GRAPH && field.value.is_none() {
                let graph = self.graph(source, field.content)?;
                let length = graph.iter().map(Piece::length).sum();
                pieces.push(Piece::New(head(GRAPH, length)));
                pieces.extend(graph);
            } else {
                pieces.push(Piece::Kept(field.start..field.content.end));
            }
        }
        Ok(pieces)
    }

    fn graph(&mut self, source: &mut (impl Read + Seek), range: Range<u64>) -> io::Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        for field in fields(source, range)? {
            let moved = if field.number == INITIALIZER && field.value.is_none() {
                self.tensor(source, field.content.clone())?
            } else {
                None
            };
            pieces.push(match moved {
                Some(tensor) => Piece::New([head(INITIALIZER, tensor.len() as u64), tensor].concat()),
                None => Piece::Kept(field.start..field.content.end),
            });
        }
        Ok(pieces)
    }

    /// The tensor without its data, if that is moved.
    fn tensor(&mut self, source: &mut (impl Read + Seek), range: Range<u64>) -> io::Result<Option<Vec<u8>>> {
        let length = range.end - range.start;
        let all = fields(source, range)?;
        let datatype = all.iter().rfind(|field| field.number == DATA_TYPE).and_then(|field| field.value);
        let mut filled =
            all.iter().filter(|field| matches!(field.number, FLOAT_DATA | DOUBLE_DATA | RAW_DATA));
        let (Some(data), None) = (filled.next(), filled.next()) else { return Ok(None) };
        let as_in_memory = match data.number {
            FLOAT_DATA => datatype == Some(FLOAT),
            DOUBLE_DATA => datatype == Some(DOUBLE),
            _ => datatype != Some(STRING),
        };
        let (source_range, bytes) = (data.content.clone(), data.content.end - data.content.start);
        let outside = all.iter().any(|field| field.number == EXTERNAL_DATA);
        if bytes < LEAST_BYTES || !as_in_memory || outside || length - bytes > LARGEST_HEADER {
            return Ok(None);
        }
        let (moved, mut tensor) = (data.number, Vec::new());
        for field in all.iter().filter(|field| field.number != moved && field.number != DATA_LOCATION) {
            copy(source, &(field.start..field.content.end), &mut tensor)?;
        }
        let offset = self.offset.next_multiple_of(PAGE);
        let (place, size) = (offset.to_string(), bytes.to_string());
        for (key, value) in
            [("location", self.location), ("offset", place.as_str()), ("length", size.as_str())]
        {
            let entry = [delimited(1, key.as_bytes()), delimited(2, value.as_bytes())].concat();
            tensor.extend(delimited(EXTERNAL_DATA, &entry));
        }
        varint(DATA_LOCATION << 3, &mut tensor);
        varint(EXTERNAL, &mut tensor);
        self.offset = offset + bytes;
        self.weights.push(Weight { source: source_range, offset });
        self.moved.weights += 1;
        self.moved.bytes += bytes;
        Ok(Some(tensor))
    }
}

/// The fields of a message. Contents are passed over.
fn fields(source: &mut (impl Read + Seek), range: Range<u64>) -> io::Result<Vec<Field>> {
    let (mut at, mut fields) = (range.start, Vec::new());
    while at < range.end {
        let start = at;
        source.seek(SeekFrom::Start(at))?;
        // A tag and a length have ten bytes each at most.
        let mut bytes = Vec::with_capacity(20);
        source.by_ref().take(20.min(range.end - at)).read_to_end(&mut bytes)?;
        let mut rest = bytes.as_slice();
        let tag = read_varint(&mut rest)?;
        let (value, length) = match tag & 7 {
            0 => (Some(read_varint(&mut rest)?), 0),
            1 => (None, 8),
            2 => (None, read_varint(&mut rest)?),
            5 => (None, 4),
            _ => return Err(invalid()),
        };
        let begin = at + (bytes.len() - rest.len()) as u64;
        at = begin.checked_add(length).filter(|end| *end <= range.end).ok_or_else(invalid)?;
        fields.push(Field { number: tag >> 3, start, content: begin..at, value });
    }
    Ok(fields)
}

fn copy(source: &mut (impl Read + Seek), range: &Range<u64>, target: &mut impl Write) -> io::Result<()> {
    source.seek(SeekFrom::Start(range.start))?;
    let length = range.end - range.start;
    let copied = io::copy(&mut source.by_ref().take(length), target)?;
    if copied == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn read_varint(bytes: &mut &[u8]) -> io::Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or_else(invalid)?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if *first < 0x80 {
            return Ok(value);
        }
    }
    Err(invalid())
}

fn varint(mut value: u64, target: &mut Vec<u8>) {
    while value >= 0x80 {
        target.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    target.push(value.to_le_bytes()[0]);
}

/// Tag and length of a field of `length` bytes.
fn head(number: u64, length: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint(number << 3 | 2, &mut bytes);
    varint(length, &mut bytes);
    bytes
}

fn delimited(number: u64, content: &[u8]) -> Vec<u8> {
    [head(number, content.len() as u64), content.to_vec()].concat()
}

fn invalid() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the file is no valid ONNX model")
}

#[cfg(test)]
mod tests;
