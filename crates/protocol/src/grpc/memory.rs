//! How much memory a message takes.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::inference::InferParameter;
use super::inference::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use super::request::at_most;
use crate::error::Error;
use crate::limits::Limits;
use crate::path::Path;

/// The numbers of `ModelInferRequest`'s fields.
const PARAMETERS: u32 = 4;
const INPUTS: u32 = 5;
const OUTPUTS: u32 = 6;
const RAW_INPUT_CONTENTS: u32 = 7;
/// The number of `InferInputTensor.parameters`, and of `InferRequestedOutputTensor.parameters`.
const INPUT_PARAMETERS: u32 = 4;
const OUTPUT_PARAMETERS: u32 = 2;
/// Bytes of memory that a byte of other fields becomes at most: an empty element of BYTES is two bytes in a message and 32 in
/// memory, in a list that may have grown twice as large as needed.
const OTHER: usize = 32;
/// What an entry takes beside its own bytes, however short it is: a list or a map of one has room for four.
const INPUT: usize = 4 * size_of::<InferInputTensor>();
const OUTPUT: usize = 4 * size_of::<InferRequestedOutputTensor>();
const PARAMETER: usize = 4 * (size_of::<(String, InferParameter)>() + 8);

/// The most memory that an encoded `ModelInferRequest` takes when it is decoded, beside its own bytes, before any of it is
/// taken. Raw contents stay where they are.
///
/// A message that is malformed is none of this function's business: what it cannot read counts as other fields.
///
/// # Errors
///
/// More inputs, outputs or parameters than the limits allow, as [`read_infer_request`](super::read_infer_request) would say
/// it: an entry of two bytes takes hundreds, so it is too late to count them when they are decoded.
pub fn decoded_bytes(message: &[u8], limits: &Limits) -> Result<usize, Error> {
    let (root, inputs_path, outputs_path) = (Path::Root, Path::Root.key("inputs"), Path::Root.key("outputs"));
    let (mut raw, mut entries) = (0, 0);
    let (mut inputs, mut outputs, mut parameters) = (0, 0, 0);
    for (field, value) in Fields(message) {
        match field {
            PARAMETERS => parameters += 1,
            INPUTS => {
                let path = inputs_path.index(inputs);
                inputs += 1;
                at_most(inputs, limits.max_inputs, "inputs", &inputs_path)?;
                entries += INPUT + parameter_bytes(value, INPUT_PARAMETERS, limits, &path)?;
            }
            OUTPUTS => {
                let path = outputs_path.index(outputs);
                outputs += 1;
                at_most(outputs, limits.max_outputs, "outputs", &outputs_path)?;
                entries += OUTPUT + parameter_bytes(value, OUTPUT_PARAMETERS, limits, &path)?;
            }
            RAW_INPUT_CONTENTS => raw += value.len(),
            _ => {}
        }
    }
    at_most(parameters, limits.max_parameters, "parameters", &root.key("parameters"))?;
    entries += parameters * PARAMETER;
    Ok((message.len() - raw).saturating_mul(OTHER).saturating_add(entries))
}

/// What the parameters of an input or an output take beside their own bytes.
fn parameter_bytes(entry: &[u8], number: u32, limits: &Limits, path: &Path<'_>) -> Result<usize, Error> {
    let count = Fields(entry).filter(|(field, _)| *field == number).count();
    at_most(count, limits.max_parameters, "parameters", &path.key("parameters"))?;
    Ok(count * PARAMETER)
}

/// The fields of an encoded message that have a length, by their numbers; up to what is malformed, where decoding ends as
/// well.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u32, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (field, wire_type) = decode_key(&mut self.0).ok()?;
            if wire_type == WireType::LengthDelimited {
                let length = usize::try_from(decode_varint(&mut self.0).ok()?).ok()?;
                let (value, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                return Some((field, value));
            }
            skip_field(wire_type, field, &mut self.0, DecodeContext::default()).ok()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use prost::Message;
    use rstest::rstest;

    use super::super::inference::{InferTensorContents, ModelInferRequest};
    use super::*;

    fn bytes_of(message: &[u8]) -> usize {
        decoded_bytes(message, &Limits::default()).unwrap()
    }

    #[test]
    fn raw_contents_cost_nothing_more_and_typed_ones_do() {
        let raw = ModelInferRequest {
            model_name: "m".into(),
            raw_input_contents: vec![Bytes::from(vec![0; 1 << 20]); 2],
            ..Default::default()
        };
        assert!(bytes_of(&raw.encode_to_vec()) < 1024);
        let contents = InferTensorContents { bytes_contents: vec![Bytes::new(); 1000], ..Default::default() };
        let input = InferInputTensor { contents: Some(contents), ..Default::default() };
        let typed = ModelInferRequest { inputs: vec![input], ..Default::default() };
        assert!(bytes_of(&typed.encode_to_vec()) > 1000 * 32);
    }

    #[test]
    fn hostile_messages_count_as_a_whole() {
        let endless = [&[0x3a][..], &[0xff; 9], &[0x01], &[0; 20]].concat();
        for message in [&[0xff; 30][..], &[0x3a, 0x7f, 0, 0], &[0x3b, 0, 0], &endless] {
            assert_eq!(bytes_of(message), message.len() * 32, "{message:?}");
        }
        assert_eq!(bytes_of(&[]), 0);
    }

    #[test]
    fn empty_entries_count_with_what_they_become() {
        let message = [0x2a, 0].repeat(1000);
        let decoded = ModelInferRequest::decode(&message[..]).unwrap();
        let held = decoded.inputs.capacity() * size_of::<InferInputTensor>();
        assert!(bytes_of(&message) > held, "{held}");
        let message = [0x32, 0].repeat(1000);
        let decoded = ModelInferRequest::decode(&message[..]).unwrap();
        let held = decoded.outputs.capacity() * size_of::<InferRequestedOutputTensor>();
        assert!(bytes_of(&message) > held, "{held}");
        // A map of its own for each of them, of which the first entry has room for more.
        let held = 1000 * 4 * size_of::<(String, InferParameter)>();
        assert!(bytes_of(&[0x32, 2, 0x12, 0].repeat(1000)) > held, "{held}");
    }

    #[rstest]
    #[case(&[0x2a, 0], 4096, "inputs: more than 4096 inputs; send a smaller request")]
    #[case(&[0x32, 0], 4096, "outputs: more than 4096 outputs; send a smaller request")]
    #[case(&[0x22, 0], 64, "parameters: more than 64 parameters; send a smaller request")]
    fn entries_beyond_the_limits_are_refused_before_they_are_decoded(
        #[case] entry: &[u8],
        #[case] limit: usize,
        #[case] says: &str,
    ) {
        decoded_bytes(&entry.repeat(limit), &Limits::default()).unwrap();
        // An unknown field that has no length, or a group, hides nothing.
        for before in [&[][..], &[0x48, 1], &[0x4b, 0x4c]] {
            let message = [before, &entry.repeat(limit + 1)].concat();
            let error = decoded_bytes(&message, &Limits::default()).unwrap_err().to_string();
            assert_eq!(error, says);
        }
    }

    #[test]
    fn parameters_of_one_input_or_output_are_bounded_as_well() {
        for (entry, at) in
            [((0x2a, 0x22), "inputs[0].parameters: "), ((0x32, 0x12), "outputs[0].parameters: ")]
        {
            let message = [&[entry.0, 130, 1][..], &[entry.1, 0].repeat(65)].concat();
            let error = decoded_bytes(&message, &Limits::default()).unwrap_err().to_string();
            assert!(error.starts_with(at), "{error}");
        }
    }
}
