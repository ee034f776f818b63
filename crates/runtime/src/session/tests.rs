use bytes::Bytes;
use half::{bf16, f16};
use modelwright_protocol::{Datatype, TensorData};
use rstest::rstest;

use super::*;

/// The path of a model of `testdata/`.
fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(format!("{name}.onnx"))
}

/// Opens a model of `testdata/`; fails with the command to run if ONNX Runtime is missing.
fn open(name: &str) -> Session {
    Session::open(&model(name), &SessionOptions::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(name: &str) -> Error {
    Session::open(&model(name), &SessionOptions::default()).unwrap_err()
}

fn tensor(name: &str, shape: &[i64], data: TensorData) -> Tensor {
    Tensor::new(name, shape.to_vec(), data).unwrap()
}

fn identity_inputs(shape: &[i64], count: usize) -> Vec<Tensor> {
    let data = [
        TensorData::Bool(vec![true; count]),
        TensorData::Uint8(vec![u8::MAX; count]),
        TensorData::Uint16(vec![u16::MAX; count]),
        TensorData::Uint32(vec![u32::MAX; count]),
        TensorData::Uint64(vec![u64::MAX; count]),
        TensorData::Int8(vec![i8::MIN; count]),
        TensorData::Int16(vec![i16::MIN; count]),
        TensorData::Int32(vec![i32::MIN; count]),
        TensorData::Int64(vec![i64::MIN; count]),
        TensorData::Fp16(vec![f16::from_f32(0.1); count]),
        TensorData::Bf16(vec![bf16::from_f32(-3.5); count]),
        TensorData::Fp32(vec![f32::MIN_POSITIVE; count]),
        TensorData::Fp64(vec![f64::MAX; count]),
        TensorData::Bytes(vec![Bytes::from_static("größe".as_bytes()); count]),
    ];
    let name = |data: &TensorData| format!("x_{}", data.datatype().as_str().to_lowercase());
    data.into_iter().map(|data| tensor(&name(&data), shape, data)).collect()
}

#[rstest]
#[case(&[2, 3], 6)]
#[case(&[1, 1], 1)]
#[case(&[2, 0], 0)]
fn every_datatype_comes_back_as_it_went_in(#[case] shape: &[i64], #[case] count: usize) {
    let mut session = open("identity");
    let inputs = identity_inputs(shape, count);
    let outputs = session.run(&inputs).unwrap();
    assert_eq!(outputs.len(), Datatype::ALL.len());
    for (input, output) in inputs.iter().zip(&outputs) {
        assert_eq!(output.name(), input.name().replace("x_", "y_"));
        assert_eq!((output.shape(), output.data()), (input.shape(), input.data()));
    }
}

#[test]
fn scalars_have_no_dimensions() {
    let mut session = open("scalar");
    assert_eq!(session.signature().inputs[0].shape, Vec::<i64>::new());
    let outputs = session.run(&[tensor("x", &[], TensorData::Fp32(vec![4.5]))]).unwrap();
    assert_eq!(outputs, [tensor("y", &[], TensorData::Fp32(vec![4.5]))]);
}

#[test]
fn signature_has_names_types_and_minus_one_for_variable_dimensions() {
    let session = open("add");
    let names: Vec<_> = session.signature().inputs.iter().map(|input| input.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(session.signature().inputs[0].shape, [-1, 2]);
    assert_eq!(session.signature().outputs[0].datatype, Datatype::Fp32);
    assert_eq!(open("fixed").signature().inputs[0].shape, [2, 3]);
}

#[test]
fn two_inputs_are_added() {
    let a = tensor("a", &[1, 2], TensorData::Fp32(vec![1.0, 2.0]));
    let b = tensor("b", &[1, 2], TensorData::Fp32(vec![10.0, 20.0]));
    let outputs = open("add").run(&[a, b]).unwrap();
    assert_eq!(outputs, [tensor("sum", &[1, 2], TensorData::Fp32(vec![11.0, 22.0]))]);
}

#[test]
fn external_data_is_found_beside_the_model() {
    let outputs = open("external").run(&[tensor("x", &[1, 4], TensorData::Fp32(vec![0.0; 4]))]).unwrap();
    assert_eq!(outputs[0].data(), &TensorData::Fp32(vec![0.0, 1.0, 2.0, 3.0]));
}

#[test]
fn missing_external_data_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::copy(model("external"), &path).unwrap();
    let error = Session::open(&path, &SessionOptions::default()).unwrap_err();
    assert_eq!(error.reason(), "MissingExternalData");
    assert!(error.to_string().contains("external.onnx.data"), "{error}");
}

#[rstest]
#[case("opset", "UnsupportedOpset", "99")]
#[case("ir", "UnsupportedOpset", "99")]
#[case("custom", "CustomOperator", "com.example:Frobnicate")]
#[case("sequence", "UnsupportedType", "output \"y\"")]
#[case("complex", "ModelRejected", "complex64")]
#[case("absent", "ModelMissing", "absent.onnx")]
fn a_model_that_cannot_be_served_gets_its_reason(
    #[case] name: &str,
    #[case] reason: &str,
    #[case] names: &str,
) {
    let error = refusal(name);
    assert_eq!(error.reason(), reason, "{error}");
    assert!(error.to_string().contains(names), "{error}");
    assert!(!error.to_string().contains("onnxruntime_src"), "{error}");
}

#[rstest]
#[case(b"".as_slice())]
#[case(b"hello world, this is no model")]
#[case(b"\x08\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f")]
fn a_file_that_is_no_onnx_is_rejected(#[case] content: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, content).unwrap();
    let error = Session::open(&path, &SessionOptions::default()).unwrap_err();
    assert_eq!(error.reason(), "ModelRejected", "{error}");
}

#[test]
fn a_folder_is_no_model() {
    let folder = tempfile::tempdir().unwrap();
    let error = Session::open(folder.path(), &SessionOptions::default()).unwrap_err();
    assert!(error.to_string().contains("no regular file"), "{error}");
}

#[test]
fn asking_for_cuda_with_a_library_for_the_cpu_is_an_error() {
    let options = SessionOptions { execution_provider: ExecutionProvider::Cuda, ..Default::default() };
    let error = Session::open(&model("add"), &options).unwrap_err();
    assert_eq!(error.reason(), "ProviderUnavailable", "{error}");
}

#[rstest]
#[case(vec![], "takes 1 inputs, got 0")]
#[case(vec![tensor("z", &[2, 3], TensorData::Fp32(vec![0.0; 6]))], "\"z\" stands where \"x\" belongs")]
#[case(vec![tensor("x", &[2, 3], TensorData::Fp64(vec![0.0; 6]))], "datatype FP64")]
#[case(vec![tensor("x", &[3, 2], TensorData::Fp32(vec![0.0; 6]))], "shape [3, 2]")]
fn inputs_that_do_not_fit_are_refused_before_the_run(#[case] inputs: Vec<Tensor>, #[case] names: &str) {
    let error = open("fixed").run(&inputs).unwrap_err();
    assert_eq!(error.reason(), "InvalidInput");
    assert!(error.to_string().contains(names), "{error}");
}

#[test]
fn inputs_that_do_not_go_together_are_the_requests_fault() {
    let a = tensor("a", &[3, 2], TensorData::Fp32(vec![0.0; 6]));
    let b = tensor("b", &[2, 2], TensorData::Fp32(vec![0.0; 4]));
    let error = open("add").run(&[a, b]).unwrap_err();
    assert_eq!(error.reason(), "InvalidInput");
    assert!(error.to_string().contains("Add node") && !error.to_string().contains(".h:"), "{error}");
}

#[rstest]
#[case(Bytes::from_static(b"a\0b"), "NUL")]
#[case(Bytes::from_static(b"\xff"), "UTF-8")]
fn strings_that_onnx_cannot_hold_are_refused(#[case] text: Bytes, #[case] names: &str) {
    let error = open("text").run(&[tensor("x", &[1], TensorData::Bytes(vec![text]))]).unwrap_err();
    assert!(error.to_string().contains(names), "{error}");
    assert_eq!(error.reason(), "InvalidInput");
}

fn endless() -> [Tensor; 2] {
    let turns = tensor("times", &[1], TensorData::Int64(vec![i64::MAX]));
    [turns, tensor("x", &[1, 1], TensorData::Fp32(vec![1.0]))]
}

#[test]
fn a_stopped_run_ends_and_the_session_can_run_again() {
    let mut session = open("slow");
    let stopper = session.stopper();
    let run = std::thread::spawn(move || (session.run(&endless()), session));
    stopper.stop();
    let (outcome, mut session) = run.join().unwrap();
    assert_eq!(outcome.unwrap_err(), Error::Closed);
    stopper.allow();
    let once = tensor("times", &[1], TensorData::Int64(vec![1]));
    session.run(&[once, tensor("x", &[1, 1], TensorData::Fp32(vec![1.0]))]).unwrap();
}

#[test]
fn a_stop_for_good_is_not_taken_back() {
    let mut session = open("slow");
    let stopper = session.stopper();
    stopper.stop_for_good();
    stopper.allow();
    assert_eq!(session.run(&endless()).unwrap_err(), Error::Closed);
}
