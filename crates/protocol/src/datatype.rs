//! Element types in the spelling of the Open Inference Protocol.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, excerpt};

/// The element type of a tensor.
///
/// The names are those of the Open Inference Protocol ("Tensor Data Types"); `BF16` comes from its gRPC part and from
/// Triton, which both have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Datatype {
    /// `true` or `false`, one byte in memory.
    Bool,
    /// Unsigned 8-bit integer.
    Uint8,
    /// Unsigned 16-bit integer.
    Uint16,
    /// Unsigned 32-bit integer.
    Uint32,
    /// Unsigned 64-bit integer.
    Uint64,
    /// Signed 8-bit integer.
    Int8,
    /// Signed 16-bit integer.
    Int16,
    /// Signed 32-bit integer.
    Int32,
    /// Signed 64-bit integer.
    Int64,
    /// IEEE 754 half precision.
    Fp16,
    /// The upper half of an IEEE 754 single.
    Bf16,
    /// IEEE 754 single precision.
    Fp32,
    /// IEEE 754 double precision.
    Fp64,
    /// Byte strings of any length; text in JSON.
    Bytes,
}

impl Datatype {
    /// Every element type, in the order of the enum.
    pub const ALL: [Self; 14] = [
        Self::Bool,
        Self::Uint8,
        Self::Uint16,
        Self::Uint32,
        Self::Uint64,
        Self::Int8,
        Self::Int16,
        Self::Int32,
        Self::Int64,
        Self::Fp16,
        Self::Bf16,
        Self::Fp32,
        Self::Fp64,
        Self::Bytes,
    ];

    /// The protocol's spelling, such as `FP32`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::Uint8 => "UINT8",
            Self::Uint16 => "UINT16",
            Self::Uint32 => "UINT32",
            Self::Uint64 => "UINT64",
            Self::Int8 => "INT8",
            Self::Int16 => "INT16",
            Self::Int32 => "INT32",
            Self::Int64 => "INT64",
            Self::Fp16 => "FP16",
            Self::Bf16 => "BF16",
            Self::Fp32 => "FP32",
            Self::Fp64 => "FP64",
            Self::Bytes => "BYTES",
        }
    }

    /// Bytes per element, or `None` for [`Datatype::Bytes`], whose elements have no fixed size.
    pub const fn size(self) -> Option<usize> {
        match self {
            Self::Bool | Self::Uint8 | Self::Int8 => Some(1),
            Self::Uint16 | Self::Int16 | Self::Fp16 | Self::Bf16 => Some(2),
            Self::Uint32 | Self::Int32 | Self::Fp32 => Some(4),
            Self::Uint64 | Self::Int64 | Self::Fp64 => Some(8),
            Self::Bytes => None,
        }
    }
}

impl fmt::Display for Datatype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Datatype {
    type Err = Error;

    /// Reads the protocol's spelling; like the protocol, case matters.
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|datatype| datatype.as_str() == text)
            .ok_or_else(|| Error::UnknownDatatype { name: excerpt(text) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_reads_back_and_equals_the_serde_name() {
        for datatype in Datatype::ALL {
            assert_eq!(datatype.to_string().parse::<Datatype>().unwrap(), datatype);
            assert_eq!(serde_json::to_string(&datatype).unwrap(), format!("\"{datatype}\""));
        }
    }

    #[test]
    fn other_spellings_are_refused_with_the_known_ones() {
        for text in ["fp32", "FLOAT", "", "STRING", "FP32 "] {
            let message = text.parse::<Datatype>().unwrap_err().to_string();
            assert!(message.contains("FP32, FP64, BYTES"), "{message}");
        }
    }

    #[test]
    fn sizes_are_those_of_the_rust_types() {
        assert_eq!(Datatype::Bool.size(), Some(size_of::<bool>()));
        assert_eq!(Datatype::Fp16.size(), Some(size_of::<half::f16>()));
        assert_eq!(Datatype::Int64.size(), Some(size_of::<i64>()));
        assert_eq!(Datatype::Bytes.size(), None);
    }
}
