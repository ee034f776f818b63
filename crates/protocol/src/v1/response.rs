//! Writing predictions.

use bytes::Bytes;

use crate::error::Error;
use crate::signature::TensorMetadata;
use crate::tensor::{Tensor, TensorData};
use crate::write::{Write, length_hint, writable, write_nested, write_string};

/// The most rows, summed over the outputs, that are written one by one where an output has no elements: nothing else
/// bounds their number, because beside a zero the first dimension may be anything.
const EMPTY_ROWS: usize = 1 << 16;

/// Writes `{"predictions": …}`; the module says in which form.
///
/// `signature` describes the outputs, in the same order; names are taken from `outputs`. Outputs that it does not
/// describe are written whole, and so are outputs of which one has no elements and which have more than 65,536 rows
/// together.
///
/// An output with a value that JSON cannot carry (not finite, or bytes that are not text) is an error of the class
/// [`Internal`](crate::ErrorClass::Internal).
pub fn write_predictions(outputs: &[Tensor], signature: &[TensorMetadata]) -> Result<Vec<u8>, Error> {
    outputs.iter().try_for_each(writable)?;
    let length: usize = outputs.iter().map(|output| length_hint(output.data())).sum();
    let mut out = Vec::with_capacity(length + 64);
    out.extend_from_slice(b"{\"predictions\":");
    match (shared_rows(outputs, signature), outputs) {
        (Some(rows), _) => write_rows(&mut out, outputs, signature, rows),
        (None, [single]) => write_whole(&mut out, single),
        (None, _) => write_object(&mut out, outputs, |out, _, output| write_whole(out, output)),
    }
    out.push(b'}');
    Ok(out)
}

/// Writes `{"predictions": […]}` with a label and a probability for each class; `classes` are the keys with their colons.
///
/// The outputs must be `label` BYTES `[N]` and `probabilities` FP32 `[N, K]`, in this order.
pub(super) fn write_classes(outputs: &[Tensor], classes: &[Vec<u8>]) -> Result<Vec<u8>, Error> {
    outputs.iter().try_for_each(writable)?;
    let (labels, probabilities) =
        classified(outputs, classes.len()).ok_or_else(|| unexpected_outputs(outputs, classes.len()))?;
    let names: usize = classes.iter().map(|class| class.len() + f32::LENGTH).sum();
    let length =
        labels.iter().map(|label| label.len().saturating_add(names).saturating_add(32)).sum::<usize>();
    let mut out = Vec::with_capacity(length + 32);
    out.extend_from_slice(b"{\"predictions\":[");
    for (row, (label, probabilities)) in
        labels.iter().zip(probabilities.chunks_exact(classes.len())).enumerate()
    {
        out.extend_from_slice(if row == 0 { b"{\"label\":" } else { b",{\"label\":" });
        label.write(&mut out);
        out.extend_from_slice(b",\"probabilities\":");
        for (index, (class, probability)) in classes.iter().zip(probabilities).enumerate() {
            out.push(if index == 0 { b'{' } else { b',' });
            out.extend_from_slice(class);
            probability.write(&mut out);
        }
        out.extend_from_slice(b"}}");
    }
    out.extend_from_slice(b"]}");
    Ok(out)
}

/// The labels, and as many rows of probabilities.
fn classified(outputs: &[Tensor], classes: usize) -> Option<(&[Bytes], &[f32])> {
    let [label, probabilities] = outputs else { return None };
    let (TensorData::Bytes(labels), TensorData::Fp32(values)) = (label.data(), probabilities.data()) else {
        return None;
    };
    let (&[rows], &[same_rows, columns]) = (label.shape(), probabilities.shape()) else { return None };
    (rows == same_rows && usize::try_from(columns) == Ok(classes)).then_some((labels, values))
}

#[cold]
fn unexpected_outputs(outputs: &[Tensor], classes: usize) -> Error {
    let text = |output: &Tensor| {
        let (name, datatype, shape) = (output.name(), output.datatype(), output.shape().to_vec());
        TensorMetadata { name: name.to_owned(), datatype, shape }.to_string()
    };
    Error::UnexpectedOutputs {
        got: outputs.iter().map(text).collect::<Vec<_>>().join(", "),
        wanted: format!("\"label\" BYTES [N], \"probabilities\" FP32 [N, {classes}]"),
    }
}

/// The number of rows, if by the signature every output has rows, and in fact as many as the others.
fn shared_rows(outputs: &[Tensor], signature: &[TensorMetadata]) -> Option<usize> {
    let has_rows = |metadata: &TensorMetadata| metadata.shape.first().is_some_and(|&dimension| dimension < 0);
    if outputs.len() != signature.len() || !signature.iter().all(has_rows) {
        return None;
    }
    let rows = outputs.first().map_or(0, Tensor::rows);
    let few = rows.saturating_mul(outputs.len()) <= EMPTY_ROWS;
    let shares =
        |output: &Tensor| !output.shape().is_empty() && output.rows() == rows && (few || !output.is_empty());
    outputs.iter().all(shares).then_some(rows)
}

fn write_rows(out: &mut Vec<u8>, outputs: &[Tensor], signature: &[TensorMetadata], rows: usize) {
    let bare: Vec<bool> = signature.iter().map(has_bare_rows).collect();
    out.push(b'[');
    for row in 0..rows {
        if row > 0 {
            out.push(b',');
        }
        match outputs {
            [single] => write_row(out, single, row, rows, bare == [true]),
            _ => write_object(out, outputs, |out, index, output| {
                write_row(out, output, row, rows, bare[index]);
            }),
        }
    }
    out.push(b']');
}

/// Whether the signature leaves a row no more than one element.
fn has_bare_rows(metadata: &TensorMetadata) -> bool {
    metadata.shape.iter().skip(1).all(|&dimension| dimension == 1)
}

/// Appends an object with a member per output; `value` gets the position of the output too.
fn write_object(out: &mut Vec<u8>, outputs: &[Tensor], value: impl Fn(&mut Vec<u8>, usize, &Tensor)) {
    out.push(b'{');
    for (index, output) in outputs.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(out, output.name());
        out.push(b':');
        value(out, index, output);
    }
    out.push(b'}');
}

fn write_whole(out: &mut Vec<u8>, output: &Tensor) {
    write_nested(out, output.data(), output.shape(), 0..output.len());
}

fn write_row(out: &mut Vec<u8>, output: &Tensor, row: usize, rows: usize, bare: bool) {
    let length = output.len().checked_div(rows).unwrap_or(0);
    // A model may break its own signature; no element is left out then.
    let shape = if bare && length == 1 { &[] } else { output.shape().get(1..).unwrap_or_default() };
    write_nested(out, output.data(), shape, row * length..(row + 1) * length);
}

#[cfg(test)]
mod tests;
