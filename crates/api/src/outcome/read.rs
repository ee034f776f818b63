//! Reads a line that may have been cut anywhere.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Outcome, OutcomeTensor};
use crate::contract::OUTCOME_MAX_INPUTS;

/// The most bytes that are looked at; a kubelet keeps no more of one container.
const MAX_READ_BYTES: usize = 4_096;

impl Outcome {
    /// Reads an outcome from a termination message, which may be cut at any byte; keys after the cut keep their empty
    /// values and [`cut`](Self::cut) is set. Unknown keys and values of other types are passed over.
    ///
    /// `None` if the text is not the beginning of an outcome that still says whether the command succeeded.
    pub fn read(text: &str) -> Option<Self> {
        let text = super::clipped(text, MAX_READ_BYTES).trim();
        let (object, cut) = match serde_json::from_str::<Map<String, Value>>(text) {
            Ok(object) => (object, false),
            Err(_) => (repair(text)?, true),
        };
        let text_of = |key: &str| object.get(key).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            ok: object.get("ok")?.as_bool()?,
            reason: text_of("reason").unwrap_or_default(),
            digest: text_of("digest"),
            bytes: object.get("bytes").and_then(Value::as_u64),
            retrievable: typed(&object, "retrievable"),
            fingerprint: text_of("fingerprint"),
            inputs_digest: text_of("inputsDigest"),
            message: text_of("message").unwrap_or_default(),
            metrics: numbers(&object, "metrics"),
            baseline: numbers(&object, "baseline"),
            revisions: object
                .get("revisions")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(|id| id.as_str().map(str::to_owned))
                .collect(),
            inputs: tensors(&object, "inputs"),
            inputs_total: typed(&object, "inputsTotal"),
            model: typed(&object, "model"),
            runtime: typed(&object, "runtime"),
            outputs: tensors(&object, "outputs"),
            outputs_total: typed(&object, "outputsTotal"),
            cut,
        })
    }
}

/// The value of a key, if there is one that is understood.
fn typed<T: DeserializeOwned>(object: &Map<String, Value>, key: &str) -> Option<T> {
    object.get(key).and_then(|value| serde_json::from_value(value.clone()).ok())
}

/// The numbers by name beneath a key.
fn numbers(object: &Map<String, Value>, key: &str) -> BTreeMap<String, f64> {
    let listed = object.get(key).and_then(Value::as_object).into_iter().flatten();
    listed.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect()
}

/// The tensors of a list that are understood.
fn tensors(object: &Map<String, Value>, key: &str) -> Vec<OutcomeTensor> {
    let listed = object.get(key).and_then(Value::as_array).into_iter().flatten();
    listed.take(OUTCOME_MAX_INPUTS).filter_map(|tensor| serde_json::from_value(tensor.clone()).ok()).collect()
}

/// Closes a JSON object whose end is missing.
///
/// Every place outside a text where a comma or the end of a value stood is a place where closing what is open gives
/// valid JSON again; a message that was cut is closed inside its text. The longest beginning that parses wins.
fn repair(text: &str) -> Option<Map<String, Value>> {
    let mut scan = Scan::default();
    let mut ends = Vec::new();
    for (index, byte) in text.bytes().enumerate() {
        if byte == b',' && !scan.in_text {
            ends.push((index, scan.closers.clone()));
        }
        scan.step(byte)?;
    }
    let closed = |end: usize, quote: bool, closers: &[u8]| {
        let mut candidate = text.get(..end)?.to_owned();
        if quote {
            candidate.push('"');
        }
        candidate.extend(closers.iter().rev().map(|closer| char::from(*closer)));
        serde_json::from_str(&candidate).ok()
    };
    // The cut may have left a part of an escape, at most `\u` and three digits.
    let inside_a_text = || (0..6).find_map(|back| closed(text.len().checked_sub(back)?, true, &scan.closers));
    let at_the_end = || closed(text.len(), false, &scan.closers);
    let at_a_comma = || ends.iter().rev().find_map(|(end, closers)| closed(*end, false, closers));
    // A number that ends where the text ends may lack digits, so it counts only where a comma follows it.
    let whole = !text.ends_with(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e' | 'E'));
    scan.in_text
        .then(inside_a_text)
        .flatten()
        .or_else(|| (!scan.in_text && whole).then(at_the_end).flatten())
        .or_else(at_a_comma)
}

/// Where in JSON a byte stands.
#[derive(Default)]
struct Scan {
    in_text: bool,
    escaped: bool,
    /// What closes each list and object that is open.
    closers: Vec<u8>,
}

impl Scan {
    /// Takes one byte; `None` if the nesting is not that of an outcome.
    fn step(&mut self, byte: u8) -> Option<()> {
        if self.in_text {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_text = false,
                _ => {}
            }
            return Some(());
        }
        match byte {
            b'"' => self.in_text = true,
            b'{' => self.closers.push(b'}'),
            b'[' => self.closers.push(b']'),
            b'}' | b']' => {
                self.closers.pop().filter(|closer| *closer == byte)?;
            }
            _ => {}
        }
        // An outcome is at most four levels deep.
        (self.closers.len() <= 8).then_some(())
    }
}
