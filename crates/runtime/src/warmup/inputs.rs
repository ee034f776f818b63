//! Made-up inputs: rows that differ, always the same ones, and zeros for models that do not take those.

use bytes::Bytes;
use half::{bf16, f16};
use modelwright_protocol::tensor::element_count;
use modelwright_protocol::{Datatype, Signature, Tensor, TensorData, TensorMetadata};

use crate::error::Error;

/// The most elements of a made-up input (256 MiB of FP32), as many as a request may have; a larger one is not made.
const MOST_ELEMENTS: usize = 1 << 26;

/// What made-up inputs are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Numbers in [0, 1), 0 or 1 for integers, of which most texts, categories and indices have at least two; text is `a` or
    /// `b`.
    Varied,
    /// Zeros, `false`, empty text.
    Zeros,
}

/// One tensor for every input with these rows, each row known by its number; other variable dimensions are 1. If the first
/// dimension is fixed, there is one row, number `rows[0]`, of that size.
pub(super) fn make(signature: &Signature, content: Content, rows: &[u64]) -> Result<Vec<Tensor>, Error> {
    make_sized(signature, content, rows, 1)
}

/// The same with other variable dimensions of this size.
pub(super) fn make_sized(
    signature: &Signature,
    content: Content,
    rows: &[u64],
    size: i64,
) -> Result<Vec<Tensor>, Error> {
    let one = |(index, input): (usize, &TensorMetadata)| input_of(input, index as u64, content, rows, size);
    signature.inputs.iter().enumerate().map(one).collect()
}

fn input_of(
    input: &TensorMetadata,
    index: u64,
    content: Content,
    rows: &[u64],
    size: i64,
) -> Result<Tensor, Error> {
    let mut shape: Vec<i64> = input.shape.iter().map(|&known| if known < 0 { size } else { known }).collect();
    if let (Some(-1), Some(first)) = (input.shape.first(), shape.first_mut()) {
        *first = 1;
    }
    let invalid = |detail: String| Error::InvalidInput { detail };
    let count = |shape: &[i64]| element_count(&input.name, shape).map_err(|error| invalid(error.to_string()));
    let per_row = count(&shape)?;
    let rows = match (input.shape.first(), shape.first_mut()) {
        (Some(-1), Some(first)) => {
            *first = i64::try_from(rows.len()).unwrap_or(i64::MAX);
            rows
        }
        _ => &rows[..rows.len().min(1)],
    };
    let all = count(&shape)?;
    if all > MOST_ELEMENTS {
        return Err(invalid(format!("input \"{}\" is too large to be made up: {all} elements", input.name)));
    }
    let seeds = || rows.iter().flat_map(move |&row| (0..per_row as u64).map(move |at| (row, at)));
    let fractions = || {
        seeds().map(move |(row, at)| match content {
            Content::Varied => fraction(index, row, at),
            Content::Zeros => 0.0,
        })
    };
    Tensor::new(input.name.clone(), shape, data(input.datatype, fractions(), content))
        .map_err(|error| invalid(error.to_string()))
}

fn data(datatype: Datatype, fractions: impl Iterator<Item = f32>, content: Content) -> TensorData {
    macro_rules! bits {
        ($type:ty) => {
            fractions.map(|fraction| <$type>::from(fraction >= 0.5)).collect()
        };
    }
    match datatype {
        Datatype::Bool => TensorData::Bool(bits!(bool)),
        Datatype::Uint8 => TensorData::Uint8(bits!(u8)),
        Datatype::Uint16 => TensorData::Uint16(bits!(u16)),
        Datatype::Uint32 => TensorData::Uint32(bits!(u32)),
        Datatype::Uint64 => TensorData::Uint64(bits!(u64)),
        Datatype::Int8 => TensorData::Int8(bits!(i8)),
        Datatype::Int16 => TensorData::Int16(bits!(i16)),
        Datatype::Int32 => TensorData::Int32(bits!(i32)),
        Datatype::Int64 => TensorData::Int64(bits!(i64)),
        Datatype::Fp16 => TensorData::Fp16(fractions.map(f16::from_f32).collect()),
        Datatype::Bf16 => TensorData::Bf16(fractions.map(bf16::from_f32).collect()),
        Datatype::Fp32 => TensorData::Fp32(fractions.collect()),
        Datatype::Fp64 => TensorData::Fp64(fractions.map(f64::from).collect()),
        Datatype::Bytes => {
            let text = |fraction| match content {
                Content::Zeros => Bytes::new(),
                Content::Varied if fraction < 0.5 => Bytes::from_static(b"a"),
                Content::Varied => Bytes::from_static(b"b"),
            };
            TensorData::Bytes(fractions.map(text).collect())
        }
    }
}

/// A number in [0, 1) that depends on all three: the finaliser of `SplitMix64` over them.
fn fraction(input: u64, row: u64, at: u64) -> f32 {
    let mut mixed = (at << 20 ^ row << 8 ^ input).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    // Seven bits: every type of floating point holds them exactly.
    (mixed >> 57) as f32 / 128.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(datatype: Datatype, shape: &[i64]) -> Signature {
        let input = TensorMetadata { name: "x".into(), datatype, shape: shape.to_vec() };
        Signature { inputs: vec![input], outputs: vec![] }
    }

    #[test]
    fn every_type_is_made_with_rows_that_differ_and_stay_the_same() {
        for datatype in Datatype::ALL {
            let signature = signature(datatype, &[-1, 64, -1]);
            let make = |rows: &[u64]| make(&signature, Content::Varied, rows).unwrap().remove(0);
            let (both, first, second) = (make(&[0, 1]), make(&[0]), make(&[1]));
            signature.accepts(&both).unwrap();
            assert_eq!((both.shape(), first.shape()), ([2, 64, 1].as_slice(), [1, 64, 1].as_slice()));
            assert_ne!(first, second, "{datatype}");
            assert_eq!(crate::batch::concatenate(vec![vec![first], vec![second]]).unwrap(), [both]);
        }
    }

    #[test]
    fn variable_dimensions_but_the_first_have_the_size_that_is_asked_for() {
        let made =
            make_sized(&signature(Datatype::Fp32, &[-1, 3, -1, -1]), Content::Zeros, &[0, 1], 8).unwrap();
        assert_eq!(made[0].shape(), [2, 3, 8, 8]);
    }

    #[test]
    fn a_fixed_first_dimension_is_no_row() {
        let made = make(&signature(Datatype::Fp32, &[2, 3]), Content::Varied, &[0, 1, 2]).unwrap();
        assert_eq!(made[0].shape(), [2, 3]);
        assert_eq!(make(&signature(Datatype::Fp32, &[]), Content::Zeros, &[0]).unwrap()[0].len(), 1);
    }

    #[test]
    fn zeros_are_zeros() {
        let made = make(&signature(Datatype::Int8, &[-1, 3]), Content::Zeros, &[5]).unwrap();
        assert_eq!(made[0].data(), &TensorData::Int8(vec![0; 3]));
        let made = make(&signature(Datatype::Bytes, &[1]), Content::Zeros, &[5]).unwrap();
        assert_eq!(made[0].data(), &TensorData::Bytes(vec![Bytes::new()]));
    }

    #[test]
    fn an_input_that_would_not_fit_into_memory_is_not_made() {
        let error = make(&signature(Datatype::Int8, &[1 << 40]), Content::Varied, &[0]).unwrap_err();
        assert!(error.to_string().contains("too large"));
    }
}
