//! Tensors as bytes: the form of the binary tensor extension and of gRPC's `raw_input_contents`.
//!
//! Elements are little-endian, row-major and without padding; BOOL is a byte of 0 or 1, and an element of BYTES is its
//! length as four bytes and then itself.

use bytes::Bytes;
use half::{bf16, f16};

use crate::datatype::Datatype;
use crate::error::{Error, excerpt};
use crate::path::Path;
use crate::tensor::{Tensor, TensorData, for_each_type};

/// The bytes of the length before an element of BYTES.
const PREFIX: usize = 4;

/// An element type with a form in bytes.
trait Raw: Sized {
    /// How many bytes the elements take.
    fn size(values: &[Self]) -> usize;

    /// Appends the elements.
    fn append(values: &[Self], out: &mut Vec<u8>);
}

macro_rules! fixed {
    ($($type:ty),*) => {$(
        impl Raw for $type {
            fn size(values: &[Self]) -> usize {
                size_of_val(values)
            }

            fn append(values: &[Self], out: &mut Vec<u8>) {
                const SIZE: usize = size_of::<$type>();
                let start = out.len();
                out.resize(start + size_of_val(values), 0);
                let (places, _) = out[start..].as_chunks_mut::<SIZE>();
                for (place, value) in places.iter_mut().zip(values) {
                    *place = value.to_le_bytes();
                }
            }
        }
    )*};
}
fixed!(u8, u16, u32, u64, i8, i16, i32, i64, f16, bf16, f32, f64);

impl Raw for bool {
    fn size(values: &[Self]) -> usize {
        values.len()
    }

    fn append(values: &[Self], out: &mut Vec<u8>) {
        out.extend(values.iter().map(|&value| u8::from(value)));
    }
}

impl Raw for Bytes {
    fn size(values: &[Self]) -> usize {
        values.iter().map(|value| value.len() + PREFIX).sum()
    }

    fn append(values: &[Self], out: &mut Vec<u8>) {
        for value in values {
            // `check_lengths` has refused what is longer.
            let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(value);
        }
    }
}

/// How many bytes the elements take.
pub(crate) fn size(data: &TensorData) -> usize {
    for_each_type!(data, values => Raw::size(values))
}

/// Appends the elements.
pub(crate) fn append(data: &TensorData, out: &mut Vec<u8>) {
    for_each_type!(data, values => Raw::append(values, out));
}

/// Checks that the length of every element of BYTES fits into its prefix.
pub(crate) fn check_lengths(tensor: &Tensor) -> Result<(), Error> {
    let TensorData::Bytes(values) = tensor.data() else { return Ok(()) };
    match values.iter().position(|value| u32::try_from(value.len()).is_err()) {
        None => Ok(()),
        Some(index) => Err(Error::OutputTooLong { output: excerpt(tensor.name()), index }),
    }
}

/// Reads exactly `elements` elements from exactly these bytes; `path` is where the request says how many bytes there are.
///
/// The bytes are copied once. Beside that, an element of BYTES takes 32 bytes and no allocation of its own.
pub(crate) fn decode(
    datatype: Datatype,
    bytes: &[u8],
    elements: usize,
    path: &Path<'_>,
) -> Result<TensorData, Error> {
    if let Some(size) = datatype.size()
        && elements.checked_mul(size) != Some(bytes.len())
    {
        let wanted =
            elements.checked_mul(size).map_or("more than there can be".to_owned(), |size| size.to_string());
        return Err(Error::InvalidValue {
            path: path.to_string(),
            got: format!("{} bytes", bytes.len()),
            wanted: format!("{wanted} bytes ({elements} elements of {datatype})"),
        });
    }
    Ok(match datatype {
        Datatype::Bool => TensorData::Bool(truth_values(bytes, path)?),
        Datatype::Bytes => TensorData::Bytes(byte_strings(bytes, elements, path)?),
        numbers => plain(numbers, bytes),
    })
}

/// Copies numbers, of which every pattern of bits is one; bytes beyond the last whole number are left out. Elements of the
/// other types have rules of their own, and give an empty buffer.
pub(crate) fn plain(datatype: Datatype, bytes: &[u8]) -> TensorData {
    macro_rules! numbers {
        ($type:ty) => {
            bytes.as_chunks().0.iter().map(|&chunk| <$type>::from_le_bytes(chunk)).collect()
        };
    }
    match datatype {
        Datatype::Uint8 => TensorData::Uint8(bytes.to_vec()),
        Datatype::Uint16 => TensorData::Uint16(numbers!(u16)),
        Datatype::Uint32 => TensorData::Uint32(numbers!(u32)),
        Datatype::Uint64 => TensorData::Uint64(numbers!(u64)),
        Datatype::Int8 => TensorData::Int8(numbers!(i8)),
        Datatype::Int16 => TensorData::Int16(numbers!(i16)),
        Datatype::Int32 => TensorData::Int32(numbers!(i32)),
        Datatype::Int64 => TensorData::Int64(numbers!(i64)),
        Datatype::Fp16 => TensorData::Fp16(numbers!(f16)),
        Datatype::Bf16 => TensorData::Bf16(numbers!(bf16)),
        Datatype::Fp32 => TensorData::Fp32(numbers!(f32)),
        Datatype::Fp64 => TensorData::Fp64(numbers!(f64)),
        Datatype::Bool | Datatype::Bytes => TensorData::with_capacity(datatype, 0),
    }
}

fn truth_values(bytes: &[u8], path: &Path<'_>) -> Result<Vec<bool>, Error> {
    if let Some((index, byte)) = bytes.iter().enumerate().find(|(_, byte)| **byte > 1) {
        return Err(Error::InvalidValue {
            path: path.to_string(),
            got: format!("{byte} as element {index}"),
            wanted: "bytes of 0 or 1 (BOOL)".to_owned(),
        });
    }
    Ok(bytes.iter().map(|&byte| byte == 1).collect())
}

/// Reads byte strings as parts of one copy.
fn byte_strings(bytes: &[u8], elements: usize, path: &Path<'_>) -> Result<Vec<Bytes>, Error> {
    let wrong = |got: String| Error::InvalidValue {
        path: path.to_string(),
        got,
        wanted: format!(
            "{elements} elements of BYTES, each a length of 4 bytes (little-endian) and as many bytes"
        ),
    };
    if elements > bytes.len() / PREFIX {
        return Err(wrong(format!("{} bytes", bytes.len())));
    }
    let all = Bytes::copy_from_slice(bytes);
    let mut values = Vec::with_capacity(elements);
    let mut at = 0;
    while let Some((prefix, rest)) = bytes[at..].split_first_chunk() {
        if values.len() == elements {
            break;
        }
        let length = usize::try_from(u32::from_le_bytes(*prefix)).unwrap_or(usize::MAX);
        if length > rest.len() {
            let index = values.len();
            return Err(wrong(format!(
                "a length of {length} for element {index}, with {} bytes left",
                rest.len()
            )));
        }
        let start = at + PREFIX;
        at = start + length;
        values.push(all.slice(start..at));
    }
    if values.len() < elements || at < bytes.len() {
        return Err(wrong(format!("{} elements, with {} bytes left", values.len(), bytes.len() - at)));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn read(datatype: Datatype, bytes: &[u8], elements: usize) -> Result<TensorData, Error> {
        decode(datatype, bytes, elements, &Path::Root)
    }

    fn written(data: &TensorData) -> Vec<u8> {
        let mut out = vec![7];
        append(data, &mut out);
        assert_eq!(out.len() - 1, size(data));
        out.split_off(1)
    }

    #[test]
    fn elements_are_little_endian_without_padding() {
        assert_eq!(written(&TensorData::Int16(vec![1, -2])), [1, 0, 0xfe, 0xff]);
        assert_eq!(written(&TensorData::Fp32(vec![1.0])), [0, 0, 0x80, 0x3f]);
        assert_eq!(written(&TensorData::Bool(vec![true, false])), [1, 0]);
        let texts = TensorData::Bytes(vec![Bytes::from_static(b"ab"), Bytes::new()]);
        assert_eq!(written(&texts), [2, 0, 0, 0, b'a', b'b', 0, 0, 0, 0]);
    }

    #[rstest]
    #[case(Datatype::Fp32, &[0; 7], 2, "body: got 7 bytes, wanted 8 bytes (2 elements of FP32)")]
    #[case(Datatype::Fp64, &[], usize::MAX, "body: got 0 bytes, wanted more than there can be bytes")]
    #[case(Datatype::Bool, &[0, 1, 2], 3, "body: got 2 as element 2, wanted bytes of 0 or 1 (BOOL)")]
    #[case(Datatype::Bytes, &[0; 3], 1, "body: got 3 bytes, wanted 1 elements of BYTES, each a length of 4 bytes")]
    #[case(Datatype::Bytes, &[0; 5], 1, "body: got 1 elements, with 1 bytes left")]
    #[case(Datatype::Bytes, &[1, 0, 0, 0, 9, 0, 0, 0], 2, "body: got 1 elements, with 3 bytes left")]
    #[case(Datatype::Bytes, &[0xff; 8], 1, "body: got a length of 4294967295 for element 0, with 4 bytes left")]
    #[case(Datatype::Bytes, &[], usize::MAX, "body: got 0 bytes")]
    fn what_does_not_fit_is_refused(
        #[case] datatype: Datatype,
        #[case] bytes: &[u8],
        #[case] elements: usize,
        #[case] expected: &str,
    ) {
        let message = read(datatype, bytes, elements).unwrap_err().to_string();
        assert!(message.starts_with(expected), "{message}");
    }

    proptest! {
            #[test]
            fn every_pattern_of_bits_survives(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
                for datatype in Datatype::ALL {
                    let Some(size) = datatype.size() else { continue };
                    let elements = bytes.len() / size;
                    let mut bytes = bytes[..elements * size].to_vec();
                    if datatype == Datatype::Bool {
                        for byte in &mut bytes {
    *byte &= 1;
    }
                    }
                    let data = read(datatype, &bytes, elements).unwrap();
                    prop_assert_eq!((data.datatype(), data.len()), (datatype, elements));
                    prop_assert_eq!(written(&data), bytes);
                }
            }

            #[test]
            fn byte_strings_survive(texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..10)) {
                let data = TensorData::Bytes(texts.into_iter().map(Bytes::from).collect());
                prop_assert_eq!(read(Datatype::Bytes, &written(&data), data.len()).unwrap(), data);
            }

            #[test]
            fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(0_u8..4, 0..64), elements in 0_usize..20) {
                for datatype in Datatype::ALL {
                    let _ = read(datatype, &bytes, elements);
                }
            }
        }
}
