//! Writing predictions.

use crate::error::Error;
use crate::tensor::Tensor;
use crate::write::{length_hint, writable, write_nested, write_string};

/// Writes `{"predictions": …}`; the module says in which form.
///
/// An output with a value that JSON cannot carry (not finite, or bytes that are not text) is an error of the class
/// [`Internal`](crate::ErrorClass::Internal).
pub fn write_predictions(outputs: &[Tensor]) -> Result<Vec<u8>, Error> {
    outputs.iter().try_for_each(writable)?;
    let length: usize = outputs.iter().map(|output| length_hint(output.data())).sum();
    let mut out = Vec::with_capacity(length + 64);
    out.extend_from_slice(b"{\"predictions\":");
    match outputs {
        [single] if single.shape().is_empty() => write_whole(&mut out, single),
        _ => match shared_rows(outputs) {
            Some(rows) => write_rows(&mut out, outputs, rows),
            None => write_object(&mut out, outputs, write_whole),
        },
    }
    out.push(b'}');
    Ok(out)
}

/// The first dimension, if all outputs have the same. Rows without elements do not count: beside a zero, the first
/// dimension may be any number, and nothing bounds what would be written.
fn shared_rows(outputs: &[Tensor]) -> Option<usize> {
    let rows = outputs.first().map_or(0, Tensor::rows);
    let shares = |output: &Tensor| {
        !output.shape().is_empty() && output.rows() == rows && (rows == 0 || !output.is_empty())
    };
    outputs.iter().all(shares).then_some(rows)
}

fn write_rows(out: &mut Vec<u8>, outputs: &[Tensor], rows: usize) {
    out.push(b'[');
    for row in 0..rows {
        if row > 0 {
            out.push(b',');
        }
        match outputs {
            [single] => write_row(out, single, row, rows),
            _ => write_object(out, outputs, |out, output| write_row(out, output, row, rows)),
        }
    }
    out.push(b']');
}

/// Appends an object with a member per output.
fn write_object(out: &mut Vec<u8>, outputs: &[Tensor], value: impl Fn(&mut Vec<u8>, &Tensor)) {
    out.push(b'{');
    for (index, output) in outputs.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(out, output.name());
        out.push(b':');
        value(out, output);
    }
    out.push(b'}');
}

fn write_whole(out: &mut Vec<u8>, output: &Tensor) {
    write_nested(out, output.data(), output.shape(), 0..output.len());
}

fn write_row(out: &mut Vec<u8>, output: &Tensor, row: usize, rows: usize) {
    let length = output.len().checked_div(rows).unwrap_or(0);
    let shape = if length == 1 { &[] } else { output.shape().get(1..).unwrap_or_default() };
    write_nested(out, output.data(), shape, row * length..(row + 1) * length);
}

#[cfg(test)]
mod tests;
