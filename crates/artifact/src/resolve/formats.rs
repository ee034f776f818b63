//! Models of other formats, recognised by their names before anything is read. The scanner recognises them by content.

use crate::Error;
use crate::onnx::{Format, OnnxError};

/// Refuses a file whose name says that it is a model of another format, with what converts it.
pub(crate) fn refuse_name(what: &str, name: &str) -> Result<(), Error> {
    match by_name(name) {
        Some(format) => Err(Error::Onnx { what: what.to_owned(), source: OnnxError::OtherFormat(format) }),
        None => Ok(()),
    }
}

/// The format that a file's name promises.
fn by_name(name: &str) -> Option<Format> {
    let file = name.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or(name).to_ascii_lowercase();
    let (stem, extension) = file.rsplit_once('.')?;
    Some(match extension {
        "pkl" | "pickle" | "joblib" | "dill" => Format::Pickle,
        "pt" | "pth" | "pt2" | "ckpt" => Format::PyTorch,
        "bin" if stem.starts_with("pytorch_model") => Format::PyTorch,
        "keras" => Format::Keras,
        "h5" | "hdf5" => Format::Hdf5,
        "safetensors" => Format::Safetensors,
        "pb" if stem == "saved_model" => Format::SavedModel,
        "tflite" => Format::TfLite,
        "gguf" | "ggml" => Format::Gguf,
        "bin" if stem.contains("llama") || stem.contains("ggml") => Format::Gguf,
        "ort" => Format::Ort,
        "ubj" => Format::XgBoost,
        "cbm" => Format::CatBoost,
        "npy" | "npz" => Format::NumPy,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("model.pkl", "skl2onnx")]
    #[case("a/pipeline.JOBLIB", "skl2onnx")]
    #[case("model.pt", "torch.onnx.export")]
    #[case("model.pth", "torch.onnx.export")]
    #[case("pytorch_model.bin", "torch.onnx.export")]
    #[case("model.h5", "model.export")]
    #[case("model.keras", "model.export")]
    #[case("model.safetensors", "optimum")]
    #[case("1/saved_model.pb", "tf2onnx")]
    #[case("file:saved_model.pb", "tf2onnx")]
    #[case("model.tflite", "--tflite")]
    #[case("llama.gguf", "optimum")]
    #[case("llama-7b.bin", "optimum")]
    fn other_format_is_refused_by_name_with_its_converter(#[case] name: &str, #[case] converter: &str) {
        let error = refuse_name("s3://b/x", name).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(converter) && message.contains("s3://b/x"), "{message}");
        assert_eq!((error.reason(), error.class()), ("UnsupportedFormat", crate::Class::BadData));
    }

    #[rstest]
    #[case("dir.pkl/model.onnx")]
    #[case("download")]
    #[case("weights.bin")]
    #[case("model.pb")]
    fn other_names_pass(#[case] name: &str) {
        assert!(refuse_name("x", name).is_ok());
    }
}
