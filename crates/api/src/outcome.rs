//! How a command that ran in a pod says what came of it: one line of JSON, at most 1,024 bytes, as its container's
//! termination message.
//!
//! Keys have one fixed order, the deciding ones first, because a kubelet may cut the line at any byte: what is left
//! still names the reason. [`Outcome::to_line`] keeps within the bound by shortening the message first and then
//! dropping what merely describes; digest and fingerprint always stay. [`Outcome::read`] takes whatever is left of a
//! line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::contract::{OUTCOME_MAX_BYTES, OUTCOME_MAX_INPUTS, OUTCOME_MAX_REVISIONS};
use crate::serving::ExecutionProvider;
use crate::status::Retrievable;

mod read;
#[cfg(test)]
mod tests;

/// The version of the format; a reader refuses none, since later versions only add keys.
pub const VERSION: u32 = 1;
/// How many bytes of a message remain when other keys have to go.
const MESSAGE_RESERVE: usize = 128;
/// What ends a message that was shortened.
const ELLIPSIS: char = '…';

/// What came of a command.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Whether the command did what it was asked.
    pub ok: bool,
    /// Why, as one CamelCase word of at most 64 characters.
    pub reason: String,
    /// The full digest of the revision it is about, `sha256:…`.
    pub digest: Option<String>,
    /// How many bytes were read or written.
    pub bytes: Option<u64>,
    /// Whether the source's bytes can be read again later.
    pub retrievable: Option<Retrievable>,
    /// What the source looked like without reading it, `sha256:…`: equal ones of one uri mean that nothing changed. Not
    /// there where the store tells too little to be sure.
    pub fingerprint: Option<String>,
    /// Of a training: the sha256 of the data and the settings, `sha256:…`.
    pub inputs_digest: Option<String>,
    /// Why, as a sentence for people; without line breaks.
    pub message: String,
    /// Measured numbers by name; only finite ones are written.
    pub metrics: BTreeMap<String, f64>,
    /// Of a training: the same numbers of the simple model that was fitted beside it.
    pub baseline: BTreeMap<String, f64>,
    /// Of a delete Job: ids of the revisions that are or would be deleted, at most 24.
    pub revisions: Vec<String>,
    /// The first inputs of the model, at most 8.
    pub inputs: Vec<OutcomeTensor>,
    /// How many inputs there are in all.
    pub inputs_total: Option<u32>,
    /// What the ONNX file says of itself.
    pub model: Option<OutcomeModel>,
    /// Of `serve`: what computed.
    pub runtime: Option<OutcomeRuntime>,
    /// The first outputs of the model, at most 8.
    pub outputs: Vec<OutcomeTensor>,
    /// How many outputs there are in all.
    pub outputs_total: Option<u32>,
    /// Whether this was read from a line that had been cut, so that later keys are missing.
    pub cut: bool,
}

/// One input or output of a model, as an outcome lists it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OutcomeTensor {
    /// The tensor's name.
    pub name: String,
    /// The element type as the Open Inference Protocol writes it.
    #[serde(default)]
    pub datatype: String,
    /// The length of each axis; -1 is an axis whose length each request chooses.
    #[serde(default)]
    pub shape: Vec<i64>,
}

/// What an ONNX file says of itself, as an outcome tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OutcomeModel {
    /// The version of the default operator set (`ai.onnx`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opset: Option<i64>,
    /// The version of ONNX's intermediate representation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ir_version: Option<i64>,
    /// The size of all parameters in bytes, external data included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters_bytes: Option<u64>,
}

/// What computed a model, as an outcome tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OutcomeRuntime {
    /// What computed the model's operators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_provider: Option<ExecutionProvider>,
    /// The version of ONNX Runtime.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// The line as it is written; the order of fields is the order of keys.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    v: u32,
    ok: bool,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retrievable: Option<Retrievable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inputs_digest: Option<&'a str>,
    message: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metrics: BTreeMap<&'a str, f64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    baseline: BTreeMap<&'a str, f64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    revisions: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    inputs: &'a [OutcomeTensor],
    #[serde(skip_serializing_if = "Option::is_none")]
    inputs_total: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<OutcomeModel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime: Option<OutcomeRuntime>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    outputs: &'a [OutcomeTensor],
    #[serde(skip_serializing_if = "Option::is_none")]
    outputs_total: Option<u32>,
}

impl Line<'_> {
    /// Leaves out what matters least of what is there; false if nothing of that is left.
    fn drop_least(&mut self) -> bool {
        if let Some((_, fewer)) = self.outputs.split_last() {
            self.outputs = fewer;
            return true;
        }
        if self.model.take().is_some() || self.runtime.take().is_some() {
            return true;
        }
        if let Some((_, fewer)) = self.inputs.split_last() {
            self.inputs = fewer;
            return true;
        }
        if let Some((_, fewer)) = self.revisions.split_last() {
            self.revisions = fewer;
            return true;
        }
        self.baseline.pop_last().is_some() || self.metrics.pop_last().is_some()
    }
}

impl Outcome {
    /// A success: `reason` is what was done.
    pub fn success(reason: impl Into<String>) -> Self {
        Self { ok: true, reason: reason.into(), ..Self::default() }
    }

    /// A failure.
    pub fn failure(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { ok: false, reason: reason.into(), message: message.into(), ..Self::default() }
    }

    /// One line of JSON without a line break, at most 1,024 bytes.
    ///
    /// A longer outcome loses the end of its message down to 128 bytes, then outputs from the last on, the facts of the
    /// model, the runtime, inputs, revisions, the baseline's numbers and metrics, each from the last on.
    pub fn to_line(&self) -> String {
        let counted =
            |tensors: &[OutcomeTensor]| u32::try_from(tensors.len()).ok().filter(|total| *total > 0);
        let mut line = Line {
            v: VERSION,
            ok: self.ok,
            reason: clipped(&self.reason, 64),
            digest: self.digest.as_deref().map(|digest| clipped(digest, 80)),
            bytes: self.bytes,
            retrievable: self.retrievable,
            fingerprint: self.fingerprint.as_deref().map(|fingerprint| clipped(fingerprint, 80)),
            inputs_digest: self.inputs_digest.as_deref().map(|digest| clipped(digest, 80)),
            message: "",
            metrics: writable(&self.metrics),
            baseline: writable(&self.baseline),
            revisions: self.revisions.get(..OUTCOME_MAX_REVISIONS).unwrap_or(&self.revisions),
            inputs: first(&self.inputs),
            inputs_total: self.inputs_total.or_else(|| counted(&self.inputs)),
            model: self.model,
            runtime: self.runtime.clone(),
            outputs: first(&self.outputs),
            outputs_total: self.outputs_total.or_else(|| counted(&self.outputs)),
        };
        // However much else there is, this many bytes of the message always remain.
        let reserved = escaped_length(&self.message).min(MESSAGE_RESERVE);
        while write(&line).len() + reserved > OUTCOME_MAX_BYTES && line.drop_least() {}
        let message = shortened(&self.message, OUTCOME_MAX_BYTES.saturating_sub(write(&line).len()));
        line.message = &message;
        write(&line)
    }
}

/// The numbers that JSON can hold.
fn writable(metrics: &BTreeMap<String, f64>) -> BTreeMap<&str, f64> {
    let fit = metrics.iter().filter(|(name, value)| value.is_finite() && name.len() <= 64);
    fit.map(|(name, value)| (name.as_str(), *value)).collect()
}

/// As many inputs or outputs as an outcome lists.
fn first(tensors: &[OutcomeTensor]) -> &[OutcomeTensor] {
    tensors.get(..OUTCOME_MAX_INPUTS).unwrap_or(tensors)
}

fn write(line: &Line<'_>) -> String {
    // Strings, finite numbers and lists always serialise; if not, the reader sees an empty, cut line.
    serde_json::to_string(line).unwrap_or_default()
}

/// The beginning of a text, at most `most` bytes, cut between characters.
fn clipped(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or(text)
}

/// How many bytes a text takes between the quotes of a JSON string.
fn escaped_length(text: &str) -> usize {
    text.chars().map(escaped_char_length).sum()
}

/// The same for one character, as `serde_json` escapes.
fn escaped_char_length(character: char) -> usize {
    match character {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        control if control < ' ' => 6,
        other => other.len_utf8(),
    }
}

/// A text that takes at most `room` bytes in JSON, with an ellipsis where its end is missing.
fn shortened(text: &str, room: usize) -> String {
    if escaped_length(text) <= room {
        return text.to_owned();
    }
    let mut short = String::new();
    let Some(mut left) = room.checked_sub(ELLIPSIS.len_utf8()) else { return short };
    for character in text.chars() {
        match left.checked_sub(escaped_char_length(character)) {
            Some(rest) => left = rest,
            None => break,
        }
        short.push(character);
    }
    short.push(ELLIPSIS);
    short
}
