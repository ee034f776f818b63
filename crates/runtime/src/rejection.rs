//! Turning ONNX Runtime's error codes and texts into [`Error`]s.
//!
//! ONNX Runtime has few codes and puts the cause into the text; the texts looked for here are those of 1.20 to 1.32. A text
//! that is not recognised still becomes an error with that text.

use std::path::Path;

use ort::ErrorCode;

use crate::error::Error;

/// The longest text of ONNX Runtime that is repeated, in characters.
const LONGEST: usize = 600;

/// Why a session could not be made.
pub(crate) fn of_model(code: ErrorCode, message: &str, path: &Path, version: &str) -> Error {
    let detail = shorten(message, path);
    let lower = detail.to_lowercase();
    let has = |text: &str| lower.contains(text);
    let path = path.to_path_buf();
    let version = version.to_owned();
    if out_of_memory(&lower) {
        return Error::OutOfMemory { detail };
    }
    if has("external data") || has("external_data") || has("external initializer") {
        let absent =
            ["does not exist", "no such file", "not found", "open file", "filelength", "cannot be opened"];
        return if absent.iter().any(|text| has(text)) {
            Error::MissingExternalData { path, detail }
        } else {
            Error::ModelRejected { path, detail }
        };
    }
    if has("is not a registered function/op") || has("could not find an implementation for") {
        return Error::CustomOperator { path, operator: operator(&detail), version };
    }
    if has("unsupported model ir version") || (has("opset") && has("under development")) {
        return Error::UnsupportedOpset { path, detail: until(&detail, "The operator schemas"), version };
    }
    if code == ErrorCode::NoSuchFile {
        return Error::ModelMissing { path, detail };
    }
    Error::ModelRejected { path, detail }
}

/// Why a run failed.
///
/// The model has been loaded and checked, so on the CPU a failing node means that it cannot compute these inputs (shapes
/// that do not go together, an index out of range): the request's fault, as with Python's `ort.InferenceSession.run`.
pub(crate) fn of_run(code: ErrorCode, message: &str) -> Error {
    let detail = shorten(message, Path::new(""));
    let lower = detail.to_lowercase();
    if lower.contains("terminate flag") {
        return Error::Closed;
    }
    if out_of_memory(&lower) {
        return Error::OutOfMemory { detail };
    }
    let device = ["cuda", "cudnn", "cublas"].iter().any(|text| lower.contains(text));
    let node = lower.contains("while running") && lower.contains("node");
    if !device && (node || code == ErrorCode::InvalidArgument) {
        return Error::InvalidInput { detail: format!("the model cannot compute these inputs: {detail}") };
    }
    Error::RunFailed { detail }
}

fn out_of_memory(lower: &str) -> bool {
    ["failed to allocate", "bad_alloc", "bad allocation", "out of memory"]
        .iter()
        .any(|text| lower.contains(text))
}

/// The operator in `com.example:Frobnicate(-1) is not a registered function/op` and in
/// `Could not find an implementation for Neg(13) node with name 'n'`.
fn operator(detail: &str) -> String {
    let word = detail
        .split_whitespace()
        .zip(detail.split_whitespace().skip(1))
        .find(|(word, next)| word.ends_with(')') && (*next == "is" || *next == "node"))
        .map(|(word, _)| word);
    word.unwrap_or(detail).trim_end_matches("(-1)").to_owned()
}

fn until(text: &str, end: &str) -> String {
    text.split(end).next().unwrap_or(text).trim().to_owned()
}

/// Leaves out what helps nobody but ONNX Runtime's developers: the model's path (the error names it), source files with
/// their lines, C++ signatures; and cuts what is left.
fn shorten(message: &str, path: &Path) -> String {
    let mut text = message.trim().to_owned();
    for prefix in
        [format!("Load model from {} failed:", path.display()), "Exception during loading: ".to_owned()]
    {
        text = text.replace(&prefix, "");
    }
    while let Some((start, end)) = source_place(&text) {
        text.replace_range(start..end, "");
    }
    for noise in ["Non-zero status code returned ", "Name:'' ", "Status Message: ", "Fatal error: "] {
        text = text.replace(noise, "");
    }
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Finds `/path/file.cc:12 void f(int, std::x<int>&) ` in a text: the place and the signature after it.
fn source_place(text: &str) -> Option<(usize, usize)> {
    let suffix =
        [".cc:", ".h:", ".cpp:"].iter().filter_map(|end| text.find(end).map(|at| at + end.len())).min()?;
    let start = text[..suffix].rfind(char::is_whitespace).map_or(0, |at| at + 1);
    let rest = &text[suffix..];
    let digits = rest.len() - rest.trim_start_matches(|character: char| character.is_ascii_digit()).len();
    let after = suffix + digits;
    Some((start, after + signature(&text[after..])))
}

/// The length of a C++ function signature at the start of `text`: up to its closing parenthesis, or one word such as
/// `ValidateExternalDataPathFromDir`.
fn signature(text: &str) -> usize {
    let word = text.len() - text.trim_start().len();
    let first = text[word..].find(char::is_whitespace).map_or(text.len(), |at| word + at);
    let Some(open) = text.find('(') else { return first };
    // A sentence has no `::` or type before its first parenthesis.
    if !text[..open].contains("::") {
        return first;
    }
    let mut depth = 0_usize;
    for (at, character) in text.char_indices().skip_while(|(at, _)| *at < open) {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(message: &str) -> Error {
        of_model(ErrorCode::GenericFailure, message, Path::new("m.onnx"), "1.32.0")
    }

    #[test]
    fn an_unknown_operator_is_named() {
        let error = model(
            "Load model from m.onnx failed:Fatal error: com.example:Frobnicate(-1) is not a registered function/op",
        );
        assert_eq!(
            error,
            Error::CustomOperator {
                path: "m.onnx".into(),
                operator: "com.example:Frobnicate".into(),
                version: "1.32.0".into()
            }
        );
        let error = model("Could not find an implementation for Foo(7) node with name 'n'");
        assert!(matches!(error, Error::CustomOperator { operator, .. } if operator == "Foo(7)"));
    }

    #[test]
    fn a_newer_opset_or_ir_is_told_with_the_newest_that_works() {
        let error = model(
            "Load model from m.onnx failed:/onnxruntime_src/onnxruntime/core/graph/model_load_utils.h:46 void onnxruntime::model_load_utils::ValidateOpsetForDomain(const std::unordered_map<std::__cxx11::basic_string<char>, int>&, const onnxruntime::logging::Logger&, bool, const std::string&, int) ONNX Runtime only *guarantees* support for models stamped with official released onnx opset versions. Opset 99 is under development and support for this is limited. The operator schemas and or other functionality may change.",
        );
        let Error::UnsupportedOpset { detail, .. } = error else { panic!("{error}") };
        assert!(detail.starts_with("ONNX Runtime only") && detail.ends_with("is limited."), "{detail}");
        let error = model(
            "Load model from m.onnx failed:/onnxruntime_src/onnxruntime/core/graph/model.cc:256 onnxruntime::Model::Model(onnx::ModelProto&&, const onnxruntime::ModelOptions&) Unsupported model IR version: 99, max supported IR version: 14\n",
        );
        let Error::UnsupportedOpset { detail, .. } = error else { panic!("{error}") };
        assert_eq!(detail, "Unsupported model IR version: 99, max supported IR version: 14");
    }

    #[test]
    fn missing_external_data_is_told_from_wrong_external_data() {
        let missing = "External data path validation failed for initializer: weight. Error: tensorprotoutils.cc:619 ValidateExternalDataPathFromDir External data path does not exist: \"/m/w.data\"";
        let Error::MissingExternalData { detail, .. } = model(missing) else { panic!() };
        assert!(detail.contains("/m/w.data") && !detail.contains(".cc"), "{detail}");
        assert_eq!(model("External data is shorter than its length").reason(), "ModelRejected");
    }

    #[test]
    fn a_node_that_cannot_compute_the_inputs_is_the_requests_fault() {
        let message = "Non-zero status code returned while running Add node. Name:'' Status Message: /onnxruntime_src/onnxruntime/core/providers/cpu/math/element_wise_ops.h:583 void onnxruntime::BroadcastIterator::Append(ptrdiff_t, ptrdiff_t) axis == 1 || axis == largest was false. Attempting to broadcast an axis by a dimension other than 1. 2 by 3\n";
        assert_eq!(
            of_run(ErrorCode::GenericFailure, message).to_string(),
            "the model cannot compute these inputs: while running Add node. axis == 1 || axis == largest was false. Attempting to broadcast an axis by a dimension other than 1. 2 by 3"
        );
    }

    #[test]
    fn memory_devices_and_termination_are_not_the_requests_fault() {
        let reason = |message: &str| of_run(ErrorCode::GenericFailure, message).reason();
        assert_eq!(
            reason("while running MatMul node. Failed to allocate memory for requested buffer"),
            "OutOfMemory"
        );
        assert_eq!(reason("while running Conv node. CUDNN failure 4"), "RunFailed");
        assert_eq!(reason("Exiting due to terminate flag being set to true."), "Closed");
        assert_eq!(reason("something new"), "RunFailed");
    }

    #[test]
    fn texts_are_cut_at_a_character() {
        let long = "é".repeat(5000);
        assert_eq!(shorten(&long, Path::new("")).chars().count(), LONGEST + 1);
    }
}
