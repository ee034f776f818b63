//! The classification extension: the highest elements of an output as text.

use std::cmp::Ordering;

use bytes::Bytes;
use half::{bf16, f16};

use crate::error::{Error, excerpt};
use crate::tensor::{Tensor, TensorData};

/// An element type whose values have an order and a text.
trait Ranked: Copy {
    /// The order of values; NaN is below all others.
    fn order(&self, other: &Self) -> Ordering;

    /// Appends the value: floats as the shortest text that reads back as the same value.
    fn append(&self, out: &mut Vec<u8>);
}

macro_rules! integer {
    ($($type:ty),*) => {$(
        impl Ranked for $type {
            fn order(&self, other: &Self) -> Ordering {
                self.cmp(other)
            }

            fn append(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(itoa::Buffer::new().format(*self).as_bytes());
            }
        }
    )*};
}
integer!(u8, u16, u32, u64, i8, i16, i32, i64);

macro_rules! float {
    ($($type:ty, $wide:ty);*) => {$(
        impl Ranked for $type {
            fn order(&self, other: &Self) -> Ordering {
                self.partial_cmp(other).unwrap_or_else(|| other.is_nan().cmp(&self.is_nan()))
            }

            fn append(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(zmij::Buffer::new().format(<$wide>::from(*self)).as_bytes());
            }
        }
    )*};
}
float!(f16, f32; bf16, f32; f32, f32; f64, f64);

/// Turns an output into its `count` highest elements, each as text `value:index` or `value:index:label`, in falling order.
///
/// For a model with a batch (`batched`) the elements are ranked within each row of the first dimension and the result is
/// `[rows, n]`; else over the whole tensor, giving `[n]`; n is `count`, or the number of elements if there are fewer. Equal
/// elements come in the order of their index, NaN comes last. `labels` are by index and may be fewer, or none.
///
/// Source: Triton's classification extension. An output of BYTES or BOOL has no ranking and is refused, as it is when the
/// request is read.
pub fn classify(tensor: &Tensor, count: u32, batched: bool, labels: &[String]) -> Result<Tensor, Error> {
    let rows = if batched && !tensor.shape().is_empty() { tensor.rows() } else { 1 };
    let width = tensor.len().checked_div(rows).unwrap_or(0);
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(width);
    let mut texts = Vec::with_capacity(rows.saturating_mul(count).min(tensor.len()));
    match tensor.data() {
        TensorData::Uint8(values) => rank(values, width, count, labels, &mut texts),
        TensorData::Uint16(values) => rank(values, width, count, labels, &mut texts),
        TensorData::Uint32(values) => rank(values, width, count, labels, &mut texts),
        TensorData::Uint64(values) => rank(values, width, count, labels, &mut texts),
        TensorData::Int8(values) => rank(values, width, count, labels, &mut texts),
        TensorData::Int16(values) => rank(values, width, count, labels, &mut texts),
        TensorData::Int32(values) => rank(values, width, count, labels, &mut texts),
        TensorData::Int64(values) => rank(values, width, count, labels, &mut texts),
        TensorData::Fp16(values) => rank(values, width, count, labels, &mut texts),
        TensorData::Bf16(values) => rank(values, width, count, labels, &mut texts),
        TensorData::Fp32(values) => rank(values, width, count, labels, &mut texts),
        TensorData::Fp64(values) => rank(values, width, count, labels, &mut texts),
        TensorData::Bool(_) | TensorData::Bytes(_) => {
            return Err(Error::InvalidValue {
                path: format!("output \"{}\"", excerpt(tensor.name())),
                got: format!("a classification of {}", tensor.datatype()),
                wanted: "one of numbers, which can be ranked".to_owned(),
            });
        }
    }
    let size = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let shape = if batched { vec![size(rows), size(count)] } else { vec![size(count)] };
    Tensor::new(tensor.name(), shape, TensorData::Bytes(texts))
}

/// Appends the texts of every row.
fn rank<T: Ranked>(values: &[T], width: usize, count: usize, labels: &[String], texts: &mut Vec<Bytes>) {
    let mut order: Vec<usize> = Vec::new();
    for row in values.chunks(width.max(1)) {
        let falling = |&left: &usize, &right: &usize| row[right].order(&row[left]).then(left.cmp(&right));
        order.clear();
        order.extend(0..row.len());
        // Of a thousand classes five are wanted: the rest need no order.
        if count < order.len() {
            order.select_nth_unstable_by(count, falling);
            order.truncate(count);
        }
        order.sort_unstable_by(falling);
        texts.extend(order.iter().map(|&index| text(row[index], index, labels.get(index))));
    }
}

fn text<T: Ranked>(value: T, index: usize, label: Option<&String>) -> Bytes {
    let mut text = Vec::with_capacity(24);
    value.append(&mut text);
    text.push(b':');
    text.extend_from_slice(itoa::Buffer::new().format(index).as_bytes());
    if let Some(label) = label {
        text.push(b':');
        text.extend_from_slice(label.as_bytes());
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn texts(tensor: &Tensor) -> Vec<String> {
        let TensorData::Bytes(texts) = tensor.data() else { panic!("BYTES was expected") };
        texts.iter().map(|text| String::from_utf8(text.to_vec()).unwrap()).collect()
    }

    #[test]
    fn the_highest_elements_come_first_with_index_and_label() {
        let output = Tensor::new("y", vec![4], TensorData::Fp32(vec![1.1, 3.3, 0.5, 2.4])).unwrap();
        let top = classify(&output, 2, false, &[]).unwrap();
        assert_eq!((top.name(), top.shape()), ("y", &[2][..]));
        assert_eq!(texts(&top), ["3.3:1", "2.4:3"]);
        let labels = ["a".to_owned(), "b".to_owned()];
        assert_eq!(
            texts(&classify(&output, 9, false, &labels).unwrap()),
            ["3.3:1:b", "2.4:3", "1.1:0:a", "0.5:2"]
        );
    }

    #[test]
    fn rows_of_a_batch_are_ranked_by_themselves() {
        let output = Tensor::new("y", vec![2, 1, 2], TensorData::Int8(vec![1, 2, 9, -9])).unwrap();
        let top = classify(&output, 1, true, &[]).unwrap();
        assert_eq!((top.shape(), texts(&top)), (&[2, 1][..], vec!["2:1".to_owned(), "9:0".to_owned()]));
        let one_each = Tensor::new("y", vec![2], TensorData::Fp64(vec![0.1, 1e300])).unwrap();
        assert_eq!(texts(&classify(&one_each, 3, true, &[]).unwrap()), ["0.1:0", "1e+300:0"]);
    }

    #[test]
    fn equal_elements_keep_their_order_and_nan_is_last() {
        let values = vec![f32::NAN, 1.0, f32::INFINITY, 1.0, f32::NEG_INFINITY];
        let output = Tensor::new("y", vec![5], TensorData::Fp32(values)).unwrap();
        let expected = ["inf:2", "1.0:1", "1.0:3", "-inf:4", "NaN:0"];
        assert_eq!(texts(&classify(&output, 5, false, &[]).unwrap()), expected);
    }

    #[rstest]
    #[case(TensorData::Bytes(vec![Bytes::new()]))]
    #[case(TensorData::Bool(vec![true]))]
    fn what_cannot_be_ranked_is_refused(#[case] data: TensorData) {
        let error = classify(&Tensor::new("y", vec![1], data).unwrap(), 1, true, &[]).unwrap_err();
        assert!(error.to_string().contains("which can be ranked"), "{error}");
    }

    #[test]
    fn nothing_has_no_classes() {
        let empty = Tensor::new("y", vec![0, 3], TensorData::Fp32(vec![])).unwrap();
        assert_eq!(classify(&empty, 2, true, &[]).unwrap().shape(), [0, 0]);
        let scalar = Tensor::new("y", vec![], TensorData::Fp32(vec![2.0])).unwrap();
        assert_eq!(texts(&classify(&scalar, 2, true, &[]).unwrap()), ["2.0:0"]);
    }

    proptest! {
        #[test]
        fn a_part_is_the_beginning_of_the_whole(values in prop::collection::vec(any::<i16>(), 1..40), count in 1_u32..40) {
            let output = Tensor::new("y", vec![i64::try_from(values.len()).unwrap()], TensorData::Int16(values)).unwrap();
            let whole = texts(&classify(&output, u32::MAX, false, &[]).unwrap());
            let part = texts(&classify(&output, count, false, &[]).unwrap());
            prop_assert!(whole.starts_with(&part));
            prop_assert_eq!(part.len(), whole.len().min(count as usize));
        }
    }
}
