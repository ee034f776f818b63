//! Tensors as they were at a moment, and as the JSON of the Open Inference Protocol.

use std::io::{self, Write};

use bytes::Bytes;
use modelwright_protocol::{Tensor, TensorData};
use serde::Serialize;

use super::redaction::{Hidden, Redaction};

/// The least text of an element: a digit and a comma.
const ELEMENT: usize = 2;

/// Tensors of a request or an answer, without what is hidden.
#[derive(Debug)]
pub(super) struct Payload(Vec<Kept>);

#[derive(Debug)]
struct Kept {
    name: String,
    datatype: &'static str,
    shape: Vec<i64>,
    values: Values,
}

#[derive(Debug)]
enum Values {
    There(TensorData, Hidden),
    Redacted,
    TooLarge,
}

impl Payload {
    /// Copies what is to be logged. Where the text would certainly be larger than the bound, and of what is hidden, nothing is
    /// copied.
    pub(super) fn copy(tensors: &[Tensor], redaction: &Redaction, max_bytes: usize) -> Self {
        let hidden: Vec<Hidden> = tensors.iter().map(|tensor| redaction.hides(tensor)).collect();
        let shown = tensors.iter().zip(&hidden).filter(|(_, hidden)| **hidden != Hidden::All);
        let fits =
            shown.map(|(tensor, _)| least_text(tensor.data())).fold(0, usize::saturating_add) <= max_bytes;
        let kept = tensors.iter().zip(hidden).map(|(tensor, hidden)| Kept {
            name: tensor.name().to_owned(),
            datatype: tensor.datatype().as_str(),
            shape: tensor.shape().to_vec(),
            values: match hidden {
                Hidden::All => Values::Redacted,
                hidden if fits => Values::There(copy(tensor.data()), hidden),
                _ => Values::TooLarge,
            },
        });
        Self(kept.collect())
    }

    /// About how many bytes it holds.
    pub(super) fn bytes(&self) -> usize {
        let one = |kept: &Kept| {
            let values = match &kept.values {
                Values::There(values, _) => held(values),
                Values::Redacted | Values::TooLarge => 0,
            };
            size_of::<Kept>() + kept.name.len() + kept.shape.len() * size_of::<i64>() + values
        };
        self.0.iter().map(one).sum()
    }

    /// A list of tensors; without any elements if their text would be longer than `max_bytes`.
    pub(super) fn to_json(&self, max_bytes: usize) -> Vec<u8> {
        let mut out = Bounded { text: Vec::new(), max_bytes };
        if self.write(&mut out, true).is_ok() {
            return out.text;
        }
        let mut out = Bounded { text: Vec::new(), max_bytes: usize::MAX };
        // Into memory without a bound nothing fails.
        drop(self.write(&mut out, false));
        out.text
    }

    fn write(&self, out: &mut Bounded, elements: bool) -> io::Result<()> {
        for (index, kept) in self.0.iter().enumerate() {
            out.write_all(if index == 0 { b"[" } else { b"," })?;
            out.write_all(b"{\"name\":")?;
            serde_json::to_writer(&mut *out, &kept.name)?;
            write!(out, ",\"datatype\":\"{}\",\"shape\":", kept.datatype)?;
            serde_json::to_writer(&mut *out, &kept.shape)?;
            match &kept.values {
                Values::Redacted => out.write_all(b",\"parameters\":{\"redacted\":true}")?,
                Values::There(values, hidden) if elements => {
                    if let Hidden::Columns { names, .. } = hidden {
                        out.write_all(b",\"parameters\":{\"redacted\":")?;
                        serde_json::to_writer(&mut *out, &names.join(","))?;
                        out.write_all(b"}")?;
                    }
                    out.write_all(b",\"data\":")?;
                    write_data(out, values, hidden)?;
                }
                Values::There(..) | Values::TooLarge => {
                    out.write_all(b",\"parameters\":{\"omitted\":\"maxBytes\"}")?;
                }
            }
            out.write_all(b"}")?;
        }
        out.write_all(if self.0.is_empty() { b"[]" } else { b"]" })
    }
}

/// Text that may not become longer than a bound.
struct Bounded {
    text: Vec<u8>,
    max_bytes: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.text.len() + bytes.len() > self.max_bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The least bytes of JSON that the elements make.
fn least_text(data: &TensorData) -> usize {
    match data {
        TensorData::Bytes(values) => values.iter().map(|value| value.len() + ELEMENT).sum(),
        data => data.len().saturating_mul(ELEMENT),
    }
}

/// The bytes that the elements take.
fn held(data: &TensorData) -> usize {
    match data {
        TensorData::Bytes(values) => values.iter().map(|value| value.len() + size_of::<Bytes>()).sum(),
        TensorData::Bool(_) | TensorData::Uint8(_) | TensorData::Int8(_) => data.len(),
        TensorData::Uint16(_) | TensorData::Int16(_) | TensorData::Fp16(_) | TensorData::Bf16(_) => {
            data.len() * 2
        }
        TensorData::Uint32(_) | TensorData::Int32(_) | TensorData::Fp32(_) => data.len() * 4,
        TensorData::Uint64(_) | TensorData::Int64(_) | TensorData::Fp64(_) => data.len() * 8,
    }
}

/// Elements of BYTES may be parts of a large body, which must not stay for their sake.
fn copy(data: &TensorData) -> TensorData {
    match data {
        TensorData::Bytes(values) => {
            TensorData::Bytes(values.iter().map(|value| Bytes::copy_from_slice(value)).collect())
        }
        data => data.clone(),
    }
}

/// Values that JSON has no number for, such as NaN, are `null`, as are hidden ones; bytes that are no text are replaced.
fn write_data(out: &mut Bounded, data: &TensorData, hidden: &Hidden) -> io::Result<()> {
    match data {
        TensorData::Bool(values) => write_list(out, hidden, values.iter()),
        TensorData::Uint8(values) => write_list(out, hidden, values.iter()),
        TensorData::Uint16(values) => write_list(out, hidden, values.iter()),
        TensorData::Uint32(values) => write_list(out, hidden, values.iter()),
        TensorData::Uint64(values) => write_list(out, hidden, values.iter()),
        TensorData::Int8(values) => write_list(out, hidden, values.iter()),
        TensorData::Int16(values) => write_list(out, hidden, values.iter()),
        TensorData::Int32(values) => write_list(out, hidden, values.iter()),
        TensorData::Int64(values) => write_list(out, hidden, values.iter()),
        TensorData::Fp16(values) => write_list(out, hidden, values.iter().map(|value| f32::from(*value))),
        TensorData::Bf16(values) => write_list(out, hidden, values.iter().map(|value| f32::from(*value))),
        TensorData::Fp32(values) => write_list(out, hidden, values.iter()),
        TensorData::Fp64(values) => write_list(out, hidden, values.iter()),
        TensorData::Bytes(values) => {
            write_list(out, hidden, values.iter().map(|value| String::from_utf8_lossy(value)))
        }
    }
}

fn write_list(
    out: &mut Bounded,
    hidden: &Hidden,
    values: impl Iterator<Item = impl Serialize>,
) -> io::Result<()> {
    out.write_all(b"[")?;
    for (index, value) in values.enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        match hidden {
            Hidden::Columns { width, positions, .. } if positions.contains(&(index % width)) => {
                out.write_all(b"null")?;
            }
            _ => serde_json::to_writer(&mut *out, &value)?,
        }
    }
    out.write_all(b"]")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn payload(values: Vec<Values>) -> Payload {
        let kept = |values| Kept { name: "x".to_owned(), datatype: "FP32", shape: vec![2, 2], values };
        Payload(values.into_iter().map(kept).collect())
    }

    fn read(payload: &Payload, max_bytes: usize) -> Value {
        serde_json::from_slice(&payload.to_json(max_bytes)).unwrap()
    }

    #[test]
    fn hidden_columns_and_missing_values_are_null() {
        let data = TensorData::Fp32(vec![1.5, 42.0, f32::NAN, 43.0]);
        let hidden = Hidden::Columns { width: 2, positions: [1].into(), names: vec!["age".to_owned()] };
        let json = read(&payload(vec![Values::There(data, hidden)]), 1000);
        let expected = json!([{"name": "x", "datatype": "FP32", "shape": [2, 2],
                               "parameters": {"redacted": "age"}, "data": [1.5, null, null, null]}]);
        assert_eq!(json, expected);
    }

    #[test]
    fn redacted_tensor_keeps_its_datatype_and_shape() {
        let json = read(&payload(vec![Values::Redacted]), 1000);
        let expected =
            json!([{"name": "x", "datatype": "FP32", "shape": [2, 2], "parameters": {"redacted": true}}]);
        assert_eq!(json, expected);
    }

    #[test]
    fn text_over_the_bound_has_no_elements_at_all() {
        let large = || Values::There(TensorData::Int64(vec![123_456; 50]), Hidden::Nothing);
        let json = read(&payload(vec![large(), Values::Redacted]), 200);
        assert_eq!(json[0]["parameters"], json!({"omitted": "maxBytes"}));
        assert!(json[0].get("data").is_none() && json[1]["parameters"]["redacted"] == json!(true));
        assert!(read(&payload(vec![large()]), 2000)[0]["data"].is_array());
    }

    #[test]
    fn what_cannot_fit_is_not_even_copied() {
        let tensor = Tensor::new("x", vec![100], TensorData::Int8(vec![1; 100])).unwrap();
        let kept = Payload::copy(std::slice::from_ref(&tensor), &Redaction::default(), 199);
        assert!(matches!(kept.0[0].values, Values::TooLarge));
        let kept = Payload::copy(&[tensor], &Redaction::default(), 200);
        assert!(matches!(kept.0[0].values, Values::There(..)) && kept.bytes() > 100);
    }

    #[test]
    fn texts_and_halves_are_written() {
        let texts = TensorData::Bytes(vec!["ä\"".into(), Bytes::from_static(b"\xff")]);
        let json = read(&payload(vec![Values::There(texts, Hidden::Nothing)]), 1000);
        assert_eq!(json[0]["data"], json!(["ä\"", "\u{fffd}"]));
        assert_eq!(read(&payload(vec![]), 10), json!([]));
    }
}
