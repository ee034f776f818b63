//! Writing elements as JSON text.

use bytes::Bytes;
use half::{bf16, f16};

use crate::error::{Error, excerpt};
use crate::tensor::{Tensor, TensorData, for_each_type};

/// An element type that JSON can carry, with exceptions that [`writable`] finds beforehand.
pub(crate) trait Write {
    /// A guess at the length of the text with its comma, to make room once.
    const LENGTH: usize;

    /// What JSON cannot carry about this value, if anything.
    fn obstacle(&self) -> Option<Obstacle> {
        None
    }

    /// Appends the value.
    fn write(&self, out: &mut Vec<u8>);
}

/// Why a value has no JSON text.
pub(crate) enum Obstacle {
    /// `NaN`, `inf` or `-inf`.
    NotFinite(f64),
    /// Bytes that are not UTF-8.
    NotText,
}

impl Write for bool {
    const LENGTH: usize = 6;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if *self { b"true" } else { b"false" });
    }
}

macro_rules! integer {
    ($($type:ty),*) => {$(
        impl Write for $type {
            const LENGTH: usize = size_of::<$type>() + 2;

            #[inline]
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(itoa::Buffer::new().format(*self).as_bytes());
            }
        }
    )*};
}
integer!(u8, u16, u32, u64, i8, i16, i32, i64);

/// Floats are the shortest decimal text that reads back as the same value of the same type: 0.1 as FP32 is `0.1`, not
/// the longer text of its double. The 16-bit types are written as the single of the same value.
macro_rules! float {
    ($type:ty, $length:literal, $wide:expr) => {
        impl Write for $type {
            const LENGTH: usize = $length;

            fn obstacle(&self) -> Option<Obstacle> {
                (!self.is_finite()).then(|| Obstacle::NotFinite(f64::from(*self)))
            }

            #[inline]
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(zmij::Buffer::new().format_finite($wide(*self)).as_bytes());
            }
        }
    };
}
float!(f32, 12, std::convert::identity);
float!(f64, 20, std::convert::identity);
float!(f16, 12, f32::from);
float!(bf16, 12, f32::from);

impl Write for Bytes {
    const LENGTH: usize = 16;

    fn obstacle(&self) -> Option<Obstacle> {
        std::str::from_utf8(self).is_err().then_some(Obstacle::NotText)
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_string(out, &String::from_utf8_lossy(self));
    }
}

/// Appends a string in quotes; escapes what RFC 8259 §7 requires and nothing else.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut written = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' | b'\\' => byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0..0x20 => b'u',
            _ => continue,
        };
        out.extend_from_slice(&text.as_bytes()[written..at]);
        out.extend_from_slice(&[b'\\', escape]);
        if escape == b'u' {
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            out.extend_from_slice(&[b'0', b'0', high, low]);
        }
        written = at + 1;
    }
    out.extend_from_slice(&text.as_bytes()[written..]);
    out.push(b'"');
}

/// Checks that every element of an output has JSON text, so that writing cannot fail half-way.
pub(crate) fn writable(tensor: &Tensor) -> Result<(), Error> {
    let found = for_each_type!(tensor.data(), values => first_obstacle(values));
    let output = || excerpt(tensor.name());
    match found {
        None => Ok(()),
        Some((index, Obstacle::NotText)) => Err(Error::OutputNotText { output: output(), index }),
        Some((index, Obstacle::NotFinite(value))) => {
            Err(Error::NonFiniteOutput { output: output(), index, value: value.to_string() })
        }
    }
}

fn first_obstacle<T: Write>(values: &[T]) -> Option<(usize, Obstacle)> {
    // Without a way out of the loop the processor looks at several values at once.
    if values.iter().fold(true, |none, value| none & value.obstacle().is_none()) {
        return None;
    }
    values.iter().enumerate().find_map(|(index, value)| Some((index, value.obstacle()?)))
}

/// A guess at the length of a tensor's text.
pub(crate) fn length_hint(data: &TensorData) -> usize {
    fn guess<T: Write>(values: &[T]) -> usize {
        values.len().saturating_mul(T::LENGTH)
    }
    for_each_type!(data, values => guess(values))
}

/// Appends all elements as one flat array.
pub(crate) fn write_flat(out: &mut Vec<u8>, data: &TensorData) {
    for_each_type!(data, values => write_array(out, values));
}

fn write_array<T: Write>(out: &mut Vec<u8>, values: &[T]) {
    out.push(b'[');
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        value.write(out);
    }
    out.push(b']');
}

/// Appends the part of `tensor` that lies at `range` of its elements, nested by the dimensions `shape`; a scalar, which
/// has none, as a bare value.
pub(crate) fn write_nested(
    out: &mut Vec<u8>,
    data: &TensorData,
    shape: &[i64],
    range: std::ops::Range<usize>,
) {
    for_each_type!(data, values => nested(out, values.get(range).unwrap_or_default(), shape));
}

fn nested<T: Write>(out: &mut Vec<u8>, values: &[T], shape: &[i64]) {
    match shape {
        // Nothing to nest, and a size beside a zero may be anything.
        [_, ..] if values.is_empty() => out.extend_from_slice(b"[]"),
        [] => values.iter().take(1).for_each(|value| value.write(out)),
        [_] => write_array(out, values),
        [size, rest @ ..] => {
            let size = usize::try_from(*size).unwrap_or(0);
            let stride = values.len().checked_div(size).unwrap_or(0);
            out.push(b'[');
            for index in 0..size {
                if index > 0 {
                    out.push(b',');
                }
                nested(out, &values[index * stride..(index + 1) * stride], rest);
            }
            out.push(b']');
        }
    }
}
