//! A request to try: what `run` prints for a model that just became ready.

use std::path::Path;

use modelwright_protocol::{Datatype, Signature, TensorMetadata};
use modelwright_trainer::export::schema::{Schema, SchemaColumn};
use modelwright_trainer::pipeline::samples::Samples;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::{Value, json};

/// Requests longer than this are put into a file instead of the command line.
const LONGEST_ON_COMMAND_LINE: usize = 1_000;

/// A request in the protocol's usual order of keys, which a map would lose.
#[derive(serde::Serialize)]
struct Request<'a> {
    inputs: Vec<Input<'a>>,
}

#[derive(serde::Serialize)]
struct Input<'a> {
    name: &'a str,
    shape: Vec<i64>,
    datatype: Datatype,
    data: Vec<Value>,
}

/// A valid V2 request of zeros (empty strings, false) with one row: variable dimensions are 1.
///
/// Returns `None` if the request would have more than `most_elements` elements.
pub(crate) fn sample(signature: &Signature, most_elements: u64) -> Option<String> {
    let mut total = 0_u64;
    let mut inputs = Vec::with_capacity(signature.inputs.len());
    for input in &signature.inputs {
        let shape: Vec<i64> =
            input.shape.iter().map(|&dimension| if dimension < 0 { 1 } else { dimension }).collect();
        let elements =
            shape.iter().try_fold(1_u64, |product, &d| product.checked_mul(u64::try_from(d).ok()?))?;
        total = total.checked_add(elements).filter(|&total| total <= most_elements)?;
        let elements = usize::try_from(elements).ok()?;
        inputs.push(Input {
            name: &input.name,
            shape,
            datatype: input.datatype,
            data: vec![zero(input); elements],
        });
    }
    serde_json::to_string(&Request { inputs }).ok()
}

/// A `:predict` request with the first sample of a revision that was trained here, by the names of its columns.
pub(crate) fn first_record(samples: &Samples, schema: &Schema) -> Option<String> {
    let values: Vec<(&str, &Value)> = match samples.inputs.as_slice() {
        // One matrix: its columns are those of the data, in their order.
        [matrix] if matrix.shape.get(1).copied() == i64::try_from(schema.columns.len()).ok() => {
            schema.columns.iter().map(SchemaColumn::name).zip(&matrix.data).collect()
        }
        inputs => inputs
            .iter()
            .map(|input| Some((input.name.as_str(), input.data.first()?)))
            .collect::<Option<_>>()?,
    };
    serde_json::to_string(&Instances { instances: [Record(values)] }).ok()
}

#[derive(serde::Serialize)]
struct Instances<'a> {
    instances: [Record<'a>; 1],
}

/// Values by name in the order of the data, which a map of `serde_json` would lose.
struct Record<'a>(Vec<(&'a str, &'a Value)>);

impl Serialize for Record<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        self.0.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        map.end()
    }
}

fn zero(input: &TensorMetadata) -> Value {
    match input.datatype {
        Datatype::Bool => Value::Bool(false),
        Datatype::Bytes => Value::String(String::new()),
        Datatype::Fp16 | Datatype::Bf16 | Datatype::Fp32 | Datatype::Fp64 => json!(0.0),
        _ => json!(0),
    }
}

/// Whether the request belongs into a file.
pub(crate) fn is_long(request: &str) -> bool {
    request.len() > LONGEST_ON_COMMAND_LINE
}

/// The command that sends a request written on the command line, with these options.
pub(crate) fn curl(options: &str, url: &str, request: &str) -> String {
    format!("curl -s {options}{} -d {}", quote(url), quote(request))
}

/// The command that sends a request from a file.
pub(crate) fn curl_file(options: &str, url: &str, file: &Path) -> String {
    format!("curl -s {options}{} -d {}", quote(url), quote(&format!("@{}", file.display())))
}

/// Quotes a word for a POSIX shell.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/:._-@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(inputs: &[(&str, Datatype, &[i64])]) -> Signature {
        let inputs = inputs
            .iter()
            .map(|(name, datatype, shape)| TensorMetadata {
                name: (*name).to_owned(),
                datatype: *datatype,
                shape: shape.to_vec(),
            })
            .collect();
        Signature { inputs, outputs: Vec::new() }
    }

    #[test]
    fn variable_dimensions_become_one_row() {
        let request =
            sample(&signature(&[("x", Datatype::Fp32, &[-1, 2]), ("s", Datatype::Bytes, &[-1])]), 100)
                .unwrap();
        let request: Value = serde_json::from_str(&request).unwrap();
        assert_eq!(
            request,
            json!({"inputs": [
                {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [0.0, 0.0]},
                {"name": "s", "shape": [1], "datatype": "BYTES", "data": [""]},
            ]})
        );
    }

    #[test]
    fn huge_inputs_have_no_sample() {
        assert_eq!(sample(&signature(&[("x", Datatype::Fp32, &[i64::MAX, i64::MAX])]), 1_000_000), None);
        assert_eq!(sample(&signature(&[("x", Datatype::Fp32, &[1000, 1001])]), 1_000_000), None);
    }

    #[test]
    fn quoted_words_survive_a_real_shell() {
        for word in ["it's", "a b", "$HOME `id` \\ \"x\"", "{\"inputs\":[]}", ""] {
            let output = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", quote(word))])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }
}
