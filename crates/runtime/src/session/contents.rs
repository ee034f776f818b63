//! What the server must know of a model's file and ONNX Runtime does not tell.
//!
//! The file is a protobuf message, `ModelProto`; its graphs are walked and the bytes of weights are passed over, so that
//! this costs the time of reading the graph whatever the weights weigh.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

/// As deep as protobuf's own readers go.
const DEEPEST: usize = 100;

/// What a model's file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Contents {
    /// Whether a graph repeats itself (`Loop`, `Scan`): how long a run takes then depends on what a request says.
    pub(crate) loops: bool,
    /// Whether weights are in files beside it.
    pub(crate) external_data: bool,
}

/// The messages that are looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    Model,
    Function,
    Graph,
    Node,
    Attribute,
    Tensor,
}

impl Message {
    /// The message in a field, by the numbers in `onnx.proto3`.
    const fn inner(self, field: u64) -> Option<Self> {
        match (self, field) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) => Some(Self::Graph),
            (Self::Model, 25) => Some(Self::Function),
            (Self::Function, 7) | (Self::Graph, 1) => Some(Self::Node),
            (Self::Graph | Self::Attribute, 5) => Some(Self::Tensor),
            (Self::Node, 5) => Some(Self::Attribute),
            _ => None,
        }
    }
}

/// `NodeProto.op_type`.
const OPERATOR: u64 = 4;
/// `TensorProto.external_data`.
const EXTERNAL_DATA: u64 = 13;

/// Reads the file. ONNX Runtime has opened it before, so it is a model and an error is one of the disk.
pub(crate) fn read(path: &Path) -> io::Result<Contents> {
    let file = File::open(path)?;
    let end = file.metadata()?.len();
    let mut walk = Walk { input: BufReader::new(file), at: 0, contents: Contents::default() };
    walk.message(Message::Model, end, 0)?;
    Ok(walk.contents)
}

struct Walk<R> {
    input: BufReader<R>,
    at: u64,
    contents: Contents,
}

impl<R: Read + Seek> Walk<R> {
    fn message(&mut self, message: Message, end: u64, depth: usize) -> io::Result<()> {
        if depth > DEEPEST {
            return Err(invalid());
        }
        while self.at < end {
            let tag = self.varint()?;
            let field = tag >> 3;
            match tag & 7 {
                0 => drop(self.varint()?),
                1 => self.skip(8)?,
                5 => self.skip(4)?,
                2 => {
                    let length = self.varint()?;
                    let until =
                        self.at.checked_add(length).filter(|until| *until <= end).ok_or_else(invalid)?;
                    match message.inner(field) {
                        Some(inner) => self.message(inner, until, depth + 1)?,
                        None if message == Message::Node && field == OPERATOR && length == 4 => {
                            self.operator()?;
                        }
                        None => {
                            self.contents.external_data |=
                                message == Message::Tensor && field == EXTERNAL_DATA;
                            self.skip(length)?;
                        }
                    }
                }
                _ => return Err(invalid()),
            }
        }
        Ok(())
    }

    /// Both operators that repeat a graph have four letters.
    fn operator(&mut self) -> io::Result<()> {
        let mut name = [0; 4];
        self.input.read_exact(&mut name)?;
        self.at += 4;
        self.contents.loops |= matches!(&name, b"Loop" | b"Scan");
        Ok(())
    }

    fn varint(&mut self) -> io::Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            self.input.read_exact(&mut byte)?;
            self.at += 1;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                return Ok(value);
            }
        }
        Err(invalid())
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        self.input.seek_relative(i64::try_from(bytes).map_err(|_| invalid())?)?;
        self.at = self.at.saturating_add(bytes);
        Ok(())
    }
}

fn invalid() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is no valid ONNX file")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("slow", true, false)]
    #[case("external", false, true)]
    #[case("add", false, false)]
    #[case("classifier", false, false)]
    fn loops_and_external_data_are_found(
        #[case] name: &str,
        #[case] loops: bool,
        #[case] external_data: bool,
    ) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(format!("{name}.onnx"));
        assert_eq!(read(&path).unwrap(), Contents { loops, external_data });
    }

    #[test]
    fn damage_is_an_error_and_no_panic() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        let whole = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/slow.onnx")).unwrap();
        for end in 0..whole.len() {
            std::fs::write(&path, &whole[..end]).unwrap();
            // A cut between two fields looks complete.
            let _ = read(&path);
        }
        for content in [b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f".as_slice(), b"\x07", &[0xff; 20]] {
            std::fs::write(&path, content).unwrap();
            assert!(read(&path).is_err());
        }
    }
}
