//! ONNX Runtime inside Triton's process, as a backend by Triton's C interface (`tritonbackend.h`).
//!
//! Triton's own backend for ONNX Runtime comes only in container images. This one does what that does for one FP32 input
//! `[N, 1000]` and one output `[N, 1]`, and no more; it is not part of the project's programs.

use std::ffi::{CStr, c_char, c_void};
use std::ptr::{null, null_mut};

use ort::environment::Environment;
use ort::session::Session;
use ort::value::TensorRef;

const FEATURES: usize = 1000;
const OUTPUT: &CStr = c"output";
/// `TRITONSERVER_TYPE_FP32`.
const FP32: u32 = 11;
/// `TRITONSERVER_RESPONSE_COMPLETE_FINAL` and `TRITONSERVER_REQUEST_RELEASE_ALL`.
const FINAL: u32 = 1;

/// What Triton hands out are pointers whose targets are its own affair.
type Handle = *mut c_void;
/// Null for success.
type Outcome = *mut c_void;

unsafe extern "C" {
    fn TRITONBACKEND_ModelInstanceSetState(instance: Handle, state: *mut c_void) -> Outcome;
    fn TRITONBACKEND_ModelInstanceState(instance: Handle, state: *mut *mut c_void) -> Outcome;
    fn TRITONBACKEND_RequestInputByIndex(request: Handle, index: u32, input: *mut Handle) -> Outcome;
    fn TRITONBACKEND_InputProperties(
        input: Handle, name: *mut *const c_char, datatype: *mut u32, shape: *mut *const i64, dims: *mut u32,
        bytes: *mut u64, buffers: *mut u32,
    ) -> Outcome;
    fn TRITONBACKEND_InputBuffer(
        input: Handle, index: u32, buffer: *mut *const c_void, bytes: *mut u64, memory: *mut u32, id: *mut i64,
    ) -> Outcome;
    fn TRITONBACKEND_ResponseNew(response: *mut Handle, request: Handle) -> Outcome;
    fn TRITONBACKEND_ResponseOutput(
        response: Handle, output: *mut Handle, name: *const c_char, datatype: u32, shape: *const i64, dims: u32,
    ) -> Outcome;
    fn TRITONBACKEND_OutputBuffer(
        output: Handle, buffer: *mut *mut c_void, bytes: u64, memory: *mut u32, id: *mut i64,
    ) -> Outcome;
    fn TRITONBACKEND_ResponseSend(response: Handle, flags: u32, error: Outcome) -> Outcome;
    fn TRITONBACKEND_RequestRelease(request: Handle, flags: u32) -> Outcome;
}

/// A session and the buffer that batches are gathered in.
struct State {
    _environment: Environment,
    session: Session,
    rows: Vec<f32>,
}

fn open() -> ort::Result<State> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let environment = ort::init_from(variable("ORT_DYLIB_PATH")).map_err(ort::Error::wrap)?.with_telemetry(false).build()?;
    let session = Session::builder(&environment)?
        .with_intra_threads(1)?
        .with_intra_op_spinning(false)?
        .commit_from_file(variable("BENCH_MODEL"))?;
    Ok(State { _environment: environment, session, rows: Vec::new() })
}

/// # Safety
/// Called by Triton with an instance of its own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_ModelInstanceInitialize(instance: Handle) -> Outcome {
    // A panic ends the server, and its log says why.
    let state = Box::new(open().expect("the session opens"));
    unsafe { TRITONBACKEND_ModelInstanceSetState(instance, Box::into_raw(state).cast()) }
}

/// # Safety
/// Called by Triton, once, with an instance that was initialised.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_ModelInstanceFinalize(instance: Handle) -> Outcome {
    let mut state = null_mut();
    unsafe {
        TRITONBACKEND_ModelInstanceState(instance, &raw mut state);
        drop(Box::from_raw(state.cast::<State>()));
    }
    null_mut()
}

/// # Safety
/// Called by Triton, on one thread at a time for an instance.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn TRITONBACKEND_ModelInstanceExecute(
    instance: Handle,
    requests: *mut Handle,
    count: u32,
) -> Outcome {
    unsafe {
        let mut state = null_mut();
        TRITONBACKEND_ModelInstanceState(instance, &raw mut state);
        let state = &mut *state.cast::<State>();
        let requests = std::slice::from_raw_parts(requests, count as usize);
        state.rows.clear();
        let counts: Vec<usize> = requests.iter().map(|&request| gather(request, &mut state.rows)).collect();
        let rows = state.rows.len() / FEATURES;
        let input = TensorRef::from_array_view(([rows, FEATURES], state.rows.as_slice())).expect("whole rows");
        let outputs = state.session.run(ort::inputs![input]).expect("the model runs");
        let (_, predictions) = outputs[0].try_extract_tensor::<f32>().expect("an FP32 output");
        let mut start = 0;
        for (&request, rows) in requests.iter().zip(counts) {
            answer(request, &predictions[start..start + rows]);
            start += rows;
        }
    }
    null_mut()
}

/// Appends the rows of a request; how many they are.
unsafe fn gather(request: Handle, rows: &mut Vec<f32>) -> usize {
    let before = rows.len();
    unsafe {
        let mut input = null_mut();
        TRITONBACKEND_RequestInputByIndex(request, 0, &raw mut input);
        let mut buffers = 0;
        let (name, datatype, shape, dims, bytes) = (null_mut(), null_mut(), null_mut(), null_mut(), null_mut());
        TRITONBACKEND_InputProperties(input, name, datatype, shape, dims, bytes, &raw mut buffers);
        for index in 0..buffers {
            let (mut buffer, mut bytes, mut memory, mut id) = (null(), 0, 0, 0);
            TRITONBACKEND_InputBuffer(input, index, &raw mut buffer, &raw mut bytes, &raw mut memory, &raw mut id);
            let numbers = bytes as usize / size_of::<f32>();
            let end = rows.len();
            rows.resize(end + numbers, 0.0);
            // Not as a slice of f32: the buffer is a piece of the request's body and may lie at any address.
            std::ptr::copy_nonoverlapping(buffer.cast::<u8>(), rows[end..].as_mut_ptr().cast(), numbers * size_of::<f32>());
        }
    }
    (rows.len() - before) / FEATURES
}

unsafe fn answer(request: Handle, predictions: &[f32]) {
    unsafe {
        let (mut response, mut output) = (null_mut(), null_mut());
        TRITONBACKEND_ResponseNew(&raw mut response, request);
        let shape = [predictions.len() as i64, 1];
        TRITONBACKEND_ResponseOutput(response, &raw mut output, OUTPUT.as_ptr(), FP32, shape.as_ptr(), 2);
        let (mut buffer, mut memory, mut id) = (null_mut(), 0, 0);
        let bytes = size_of_val(predictions);
        TRITONBACKEND_OutputBuffer(output, &raw mut buffer, bytes as u64, &raw mut memory, &raw mut id);
        std::ptr::copy_nonoverlapping(predictions.as_ptr().cast::<u8>(), buffer.cast(), bytes);
        TRITONBACKEND_ResponseSend(response, FINAL, null_mut());
        TRITONBACKEND_RequestRelease(request, FINAL);
    }
}
