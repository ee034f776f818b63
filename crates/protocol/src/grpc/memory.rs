//! How much memory a message takes.

use prost::encoding::{WireType, decode_key, decode_varint};

/// The number of `ModelInferRequest.raw_input_contents`.
const RAW_INPUT_CONTENTS: u32 = 7;
/// Bytes of memory that a byte of other fields becomes at most: an empty element of BYTES is two bytes in a message and 32 in
/// memory, in a list that may have grown twice as large as needed.
const OTHER: usize = 32;

/// The most memory that an encoded `ModelInferRequest` takes when it is decoded, beside its own bytes, before any of it is
/// taken. Raw contents stay where they are.
///
/// A message that is malformed is none of this function's business: what it cannot read counts as other fields.
pub fn decoded_bytes(message: &[u8]) -> usize {
    let mut rest = message;
    let mut raw = 0_usize;
    while let Ok((field, wire_type)) = decode_key(&mut rest) {
        let length = match wire_type {
            WireType::LengthDelimited => decode_varint(&mut rest).ok(),
            WireType::Varint => decode_varint(&mut rest).ok().map(|_| 0),
            WireType::SixtyFourBit => Some(8),
            WireType::ThirtyTwoBit => Some(4),
            WireType::StartGroup | WireType::EndGroup => None,
        };
        let Some(length) = length.and_then(|length| usize::try_from(length).ok()) else { break };
        let Some(after) = rest.get(length..) else { break };
        if field == RAW_INPUT_CONTENTS {
            raw += length;
        }
        rest = after;
    }
    (message.len() - raw).saturating_mul(OTHER)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use prost::Message;

    use super::super::inference::model_infer_request::InferInputTensor;
    use super::super::inference::{InferTensorContents, ModelInferRequest};
    use super::*;

    #[test]
    fn raw_contents_cost_nothing_more_and_typed_ones_do() {
        let raw = ModelInferRequest {
            model_name: "m".into(),
            raw_input_contents: vec![Bytes::from(vec![0; 1 << 20]); 2],
            ..Default::default()
        };
        assert!(decoded_bytes(&raw.encode_to_vec()) < 1024);
        let contents = InferTensorContents { bytes_contents: vec![Bytes::new(); 1000], ..Default::default() };
        let input = InferInputTensor { contents: Some(contents), ..Default::default() };
        let typed = ModelInferRequest { inputs: vec![input], ..Default::default() };
        assert!(decoded_bytes(&typed.encode_to_vec()) > 1000 * 32);
    }

    #[test]
    fn hostile_messages_count_as_a_whole() {
        let endless = [&[0x3a][..], &[0xff; 9], &[0x01], &[0; 20]].concat();
        for message in [&[0xff; 30][..], &[0x3a, 0x7f, 0, 0], &[0x3b, 0, 0], &endless] {
            assert_eq!(decoded_bytes(message), message.len() * 32, "{message:?}");
        }
        assert_eq!(decoded_bytes(&[]), 0);
    }
}
