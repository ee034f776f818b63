use bytes::Bytes;
use half::{bf16, f16};
use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::limits::Limits;
use crate::signature::{Signature, TensorMetadata};
use crate::tensor::TensorData;
use crate::v2::parse_infer_request;

fn vector(data: TensorData) -> Tensor {
    let length = i64::try_from(data.len()).unwrap();
    Tensor::new("y", vec![length], data).unwrap()
}

fn write(outputs: &[Tensor]) -> Result<String, Error> {
    let outputs: Vec<_> =
        outputs.iter().map(|tensor| OutputTensor { tensor: tensor.clone(), binary: false }).collect();
    let written = encode(&outputs)?;
    assert_eq!(written.json_length, None);
    Ok(String::from_utf8_lossy(&written.bytes).into_owned())
}

fn encode(outputs: &[OutputTensor]) -> Result<EncodedResponse, Error> {
    write_infer_response(&InferResponse { model_name: "m", model_version: None, id: None, outputs })
}

/// Writes a tensor as a response and reads it back as a request, whose `inputs` have the form of `outputs`.
fn round_trip(data: TensorData) -> TensorData {
    let tensor = vector(data);
    let signature = Signature {
        inputs: vec![TensorMetadata { name: "y".into(), datatype: tensor.datatype(), shape: vec![-1] }],
        outputs: vec![],
    };
    let body = write(std::slice::from_ref(&tensor)).unwrap().replace("\"outputs\":", "\"inputs\":");
    let request = parse_infer_request(body.as_bytes(), None, &signature, &Limits::default()).unwrap();
    request.inputs.into_iter().next().unwrap().into_parts().2
}

#[test]
fn a_response_has_the_keys_of_the_protocol_and_no_nulls() {
    let output = Tensor::new("y", vec![1, 2], TensorData::Fp32(vec![0.1, 1.0])).unwrap();
    let outputs = [output, Tensor::new("z", vec![], TensorData::Bool(vec![true])).unwrap()];
    assert_eq!(
        write(&outputs).unwrap(),
        r#"{"model_name":"m","outputs":[{"name":"y","shape":[1,2],"datatype":"FP32","data":[0.1,1.0]},{"name":"z","shape":[],"datatype":"BOOL","data":[true]}]}"#
    );
    let full = InferResponse { model_name: "m\"", model_version: Some("7"), id: Some("a\n"), outputs: &[] };
    let body = String::from_utf8(write_infer_response(&full).unwrap().bytes).unwrap();
    assert_eq!(body, r#"{"model_name":"m\"","model_version":"7","id":"a\n","outputs":[]}"#);
}

#[rstest]
#[case(TensorData::Fp32(vec![1.0, f32::NAN]), "output \"y\": element 1 is NaN")]
#[case(TensorData::Fp64(vec![f64::INFINITY]), "output \"y\": element 0 is inf")]
#[case(TensorData::Fp16(vec![f16::NEG_INFINITY]), "output \"y\": element 0 is -inf")]
#[case(TensorData::Bf16(vec![bf16::NAN]), "output \"y\": element 0 is NaN")]
#[case(TensorData::Bytes(vec![Bytes::from_static(b"\xff")]), "output \"y\": element 0 is not UTF-8")]
fn what_json_cannot_carry_is_the_servers_error(#[case] data: TensorData, #[case] expected: &str) {
    let error = write(&[vector(data)]).unwrap_err();
    assert!(error.to_string().starts_with(expected), "{error}");
    assert!(error.to_string().contains("ask for the output as binary tensor data"), "{error}");
    assert_eq!(error.status(), 500);
}

#[test]
fn binary_outputs_follow_the_json_in_their_order() {
    let floats = Tensor::new("y", vec![2], TensorData::Fp32(vec![f32::NAN, 1.0])).unwrap();
    let flags = Tensor::new("f", vec![1], TensorData::Bool(vec![true])).unwrap();
    let raw = Tensor::new("b", vec![1], TensorData::Bytes(vec![Bytes::from_static(b"\xff")])).unwrap();
    let outputs =
        [(floats, true), (flags, false), (raw, true)].map(|(tensor, binary)| OutputTensor { tensor, binary });
    let written = encode(&outputs).unwrap();
    let (json, tail) = written.bytes.split_at(written.json_length.unwrap());
    assert_eq!(
        std::str::from_utf8(json).unwrap(),
        r#"{"model_name":"m","outputs":[{"name":"y","shape":[2],"datatype":"FP32","parameters":{"binary_data_size":8}},{"name":"f","shape":[1],"datatype":"BOOL","data":[true]},{"name":"b","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":5}}]}"#
    );
    assert_eq!(tail, [&f32::NAN.to_le_bytes()[..], &1_f32.to_le_bytes(), &[1, 0, 0, 0, 0xff]].concat());
}

#[rstest]
#[case(TensorData::Fp32(vec![f32::MAX, f32::MIN_POSITIVE, f32::from_bits(1), -0.0, 16_777_216.0, 1e21]))]
#[case(TensorData::Fp64(vec![f64::MAX, f64::MIN_POSITIVE, f64::from_bits(1), -0.0, 9_007_199_254_740_993.0]))]
#[case(TensorData::Uint64(vec![u64::MAX]))]
#[case(TensorData::Int64(vec![i64::MIN]))]
#[case(TensorData::Bytes(vec![Bytes::from_static("\u{0}\u{1f}\"\\/\u{7f}\u{2028}😀".as_bytes())]))]
fn extremes_survive_writing_and_reading(#[case] data: TensorData) {
    assert_eq!(round_trip(data.clone()), data);
}

#[test]
fn every_half_survives_writing_and_reading() {
    let halves: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).filter(|value| value.is_finite()).collect();
    let TensorData::Fp16(read) = round_trip(TensorData::Fp16(halves.clone())) else {
        panic!("FP16 was written")
    };
    assert!(halves.iter().zip(&read).all(|(left, right)| left.to_bits() == right.to_bits()));
    let brains: Vec<bf16> = (0..=u16::MAX).map(bf16::from_bits).filter(|value| value.is_finite()).collect();
    let TensorData::Bf16(read) = round_trip(TensorData::Bf16(brains.clone())) else {
        panic!("BF16 was written")
    };
    assert!(brains.iter().zip(&read).all(|(left, right)| left.to_bits() == right.to_bits()));
}

proptest! {
    #[test]
    fn singles_survive_bit_for_bit_and_equal_serde_json(bits in prop::collection::vec(any::<u32>(), 1..40)) {
        let values: Vec<f32> = bits.into_iter().map(f32::from_bits).filter(|value| value.is_finite()).chain([0.0]).collect();
        let data = TensorData::Fp32(values.clone());
        let text = serde_json::to_string(&values).unwrap();
        prop_assert!(write(&[vector(data.clone())]).unwrap().contains(&text));
        let TensorData::Fp32(read) = round_trip(data) else { panic!("FP32 was written") };
        prop_assert!(values.iter().zip(&read).all(|(left, right)| left.to_bits() == right.to_bits()));
    }

    #[test]
    fn doubles_survive_bit_for_bit_and_equal_serde_json(bits in prop::collection::vec(any::<u64>(), 1..40)) {
        let values: Vec<f64> = bits.into_iter().map(f64::from_bits).filter(|value| value.is_finite()).chain([0.0]).collect();
        let data = TensorData::Fp64(values.clone());
        let text = serde_json::to_string(&values).unwrap();
        prop_assert!(write(&[vector(data.clone())]).unwrap().contains(&text));
        let TensorData::Fp64(read) = round_trip(data) else { panic!("FP64 was written") };
        prop_assert!(values.iter().zip(&read).all(|(left, right)| left.to_bits() == right.to_bits()));
    }

    #[test]
    fn integers_survive(wide in prop::collection::vec(any::<i64>(), 0..20), flags in prop::collection::vec(any::<bool>(), 0..20)) {
        // The narrow types take the low bits of the wide values.
        let low = |value: &i64| value.to_le_bytes();
        let all = [
            TensorData::Int64(wide.clone()),
            TensorData::Uint64(wide.iter().map(|value| u64::from_le_bytes(low(value))).collect()),
            TensorData::Int32(wide.iter().map(|value| i32::from_le_bytes(low(value)[..4].try_into().unwrap())).collect()),
            TensorData::Uint32(wide.iter().map(|value| u32::from_le_bytes(low(value)[..4].try_into().unwrap())).collect()),
            TensorData::Int16(wide.iter().map(|value| i16::from_le_bytes(low(value)[..2].try_into().unwrap())).collect()),
            TensorData::Uint16(wide.iter().map(|value| u16::from_le_bytes(low(value)[..2].try_into().unwrap())).collect()),
            TensorData::Int8(wide.iter().map(|value| i8::from_le_bytes([low(value)[0]])).collect()),
            TensorData::Uint8(wide.iter().map(|value| low(value)[0]).collect()),
            TensorData::Bool(flags),
        ];
        for data in all.into_iter().filter(|data| !data.is_empty()) {
            prop_assert_eq!(round_trip(data.clone()), data);
        }
    }

    #[test]
    fn text_survives_and_equals_serde_json(texts in prop::collection::vec(any::<String>(), 1..8)) {
        let data = TensorData::Bytes(texts.iter().cloned().map(Bytes::from).collect());
        let body: serde_json::Value = serde_json::from_str(&write(&[vector(data.clone())]).unwrap()).unwrap();
        prop_assert_eq!(&body["outputs"][0]["data"], &serde_json::json!(texts));
        prop_assert_eq!(round_trip(data.clone()), data);
    }
}
