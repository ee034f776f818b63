//! Other formats by their first bytes, so that a refusal can name what was uploaded and what converts it.

/// How many bytes from the start of a file [`sniff`] can use.
pub const SNIFF_BYTES: usize = 512;

/// A kind of file that is often uploaded in place of ONNX.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// A Python pickle: scikit-learn and joblib models (`.pkl`, `.joblib`), `PyTorch` before 1.6.
    Pickle,
    /// `PyTorch`'s zip archive (`.pt`, `.pth`).
    PyTorch,
    /// Keras' zip archive (`.keras`).
    Keras,
    /// HDF5, Keras' older form (`.h5`).
    Hdf5,
    /// Weights without a graph (`.safetensors`).
    Safetensors,
    /// `TensorFlow`'s `saved_model.pb`.
    SavedModel,
    /// `TensorFlow` Lite (`.tflite`).
    TfLite,
    /// Weights for llama.cpp (`.gguf`).
    Gguf,
    /// ONNX Runtime's own format (`.ort`).
    Ort,
    /// `XGBoost`'s JSON or UBJSON.
    XgBoost,
    /// `LightGBM`'s text.
    LightGbm,
    /// `CatBoost`'s binary (`.cbm`).
    CatBoost,
    /// `NumPy` arrays (`.npy`, `.npz`).
    NumPy,
    /// A zip archive of something else.
    Zip,
    /// A gzip stream.
    Gzip,
    /// A pointer that git LFS puts in place of a large file.
    GitLfsPointer,
    /// An HTML page, usually a sign-in or error page.
    Html,
    /// XML, usually an object store's error.
    Xml,
    /// JSON, usually an error of an API.
    Json,
}

impl Format {
    /// The format's name in a sentence: `the file is ...`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pickle => "a Python pickle (.pkl, .joblib, old .pt)",
            Self::PyTorch => "a PyTorch file (.pt, .pth)",
            Self::Keras => "a Keras file (.keras)",
            Self::Hdf5 => "an HDF5 file (.h5)",
            Self::Safetensors => "a safetensors file",
            Self::SavedModel => "a TensorFlow SavedModel (saved_model.pb)",
            Self::TfLite => "a TensorFlow Lite file (.tflite)",
            Self::Gguf => "a GGUF file (.gguf)",
            Self::Ort => "an ONNX Runtime file (.ort)",
            Self::XgBoost => "an XGBoost model",
            Self::LightGbm => "a LightGBM model",
            Self::CatBoost => "a CatBoost model (.cbm)",
            Self::NumPy => "a NumPy array file (.npy, .npz)",
            Self::Zip => "a zip archive",
            Self::Gzip => "gzip-compressed",
            Self::GitLfsPointer => "a git LFS pointer",
            Self::Html => "an HTML page",
            Self::Xml => "XML",
            Self::Json => "JSON",
        }
    }

    /// The tool that makes ONNX of it; `None` for files that are no model.
    pub const fn converter(self) -> Option<&'static str> {
        match self {
            Self::Pickle => Some("skl2onnx (scikit-learn) or torch.onnx.export (PyTorch)"),
            Self::PyTorch => Some("torch.onnx.export"),
            Self::Keras | Self::Hdf5 => Some("Keras' model.export(path, format=\"onnx\")"),
            Self::Safetensors => Some("Hugging Face optimum: optimum-cli export onnx"),
            Self::SavedModel => {
                Some("tf2onnx: python3 -m tf2onnx.convert --saved-model DIR --output model.onnx")
            }
            Self::TfLite => Some("tf2onnx: python3 -m tf2onnx.convert --tflite FILE --output model.onnx"),
            Self::Gguf => Some("Hugging Face optimum, from the original weights"),
            Self::Ort => Some("the exporter of the .onnx file it was made from"),
            Self::XgBoost | Self::LightGbm => Some("onnxmltools"),
            Self::CatBoost => Some("CatBoost's save_model(path, format=\"onnx\")"),
            Self::NumPy
            | Self::Zip
            | Self::Gzip
            | Self::GitLfsPointer
            | Self::Html
            | Self::Xml
            | Self::Json => None,
        }
    }

    /// What to do about it, as the second half of a sentence.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Pickle => "convert it with skl2onnx (scikit-learn) or torch.onnx.export (PyTorch)",
            Self::PyTorch => "convert it with torch.onnx.export",
            Self::Keras | Self::Hdf5 => "convert it with Keras' model.export(path, format=\"onnx\")",
            Self::Safetensors => {
                "it holds weights without a graph: convert the model with Hugging Face optimum (optimum-cli export onnx)"
            }
            Self::SavedModel => {
                "convert it with tf2onnx (python3 -m tf2onnx.convert --saved-model DIR --output model.onnx)"
            }
            Self::TfLite => {
                "convert it with tf2onnx (python3 -m tf2onnx.convert --tflite FILE --output model.onnx)"
            }
            Self::Gguf => "convert the original weights with Hugging Face optimum (optimum-cli export onnx)",
            Self::Ort => "give the .onnx file it was made from",
            Self::XgBoost | Self::LightGbm => "convert it with onnxmltools",
            Self::CatBoost => "convert it with CatBoost's save_model(path, format=\"onnx\")",
            Self::NumPy => "it holds arrays without a graph: export the model itself to ONNX",
            Self::Zip => "unpack it and give the .onnx file inside, or a prefix that holds it",
            Self::Gzip => "decompress it first",
            Self::GitLfsPointer => "run `git lfs pull` and upload the file it points to",
            Self::Html => "the address answers with a page: check it, and whether it needs credentials",
            Self::Xml | Self::Json => {
                "the address answers with an error or a description: check what was uploaded there"
            }
        }
    }
}

/// The format of a file by its first [`SNIFF_BYTES`] bytes (fewer if the file is shorter), or `None` if they may be ONNX.
///
/// Every rule needs bytes with which no ONNX file starts: a protobuf tag that does not exist in `ModelProto`, a wire
/// type that is not defined, or a field number of 0.
pub fn sniff(head: &[u8]) -> Option<Format> {
    let magic = |at: usize, magic: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(magic));
    let format = match head {
        [0x80, 2..=5, ..] => Format::Pickle,
        [b'P', b'K', 3, 4, ..] => zip(head),
        [0x89, b'H', b'D', b'F', ..] => Format::Hdf5,
        [b'G', b'G', b'U', b'F', ..] => Format::Gguf,
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Format::NumPy,
        [b'C', b'B', b'M', b'1', ..] => Format::CatBoost,
        [0x1f, 0x8b, ..] => Format::Gzip,
        // FlatBuffers: offset of the root (small), then the file identifier.
        [_, _, 0, 0, b'T', b'F', b'L', b'3', ..] => Format::TfLite,
        [_, _, 0, 0, b'O', b'R', b'T', b'M', ..] => Format::Ort,
        // Length of the header, little-endian, then its JSON.
        [_, _, _, _, 0, 0, 0, 0, b'{', b'"' | b' ' | b'\n' | b'}', ..] => Format::Safetensors,
        _ if magic(0, b"version https://git-lfs") => Format::GitLfsPointer,
        _ if magic(0, b"tree\nversion=") => Format::LightGbm,
        _ if is_saved_model(head) => Format::SavedModel,
        _ => return text(head),
    };
    Some(format)
}

/// What a zip archive is, by the name of its first entry.
fn zip(head: &[u8]) -> Format {
    // Local file header: length of the name at 26, the name at 30 (APPNOTE.TXT 4.3.7).
    let length = head.get(26..28).map_or(0, |bytes| usize::from(u16::from_le_bytes([bytes[0], bytes[1]])));
    let name = head.get(30..).unwrap_or_default();
    let name = &name[..length.min(name.len())];
    if name.ends_with(b"data.pkl") || name.ends_with(b"/version") || name.ends_with(b".format_version") {
        Format::PyTorch
    } else if matches!(name, b"metadata.json" | b"config.json" | b"model.weights.h5") {
        Format::Keras
    } else if name.ends_with(b".npy") {
        Format::NumPy
    } else {
        Format::Zip
    }
}

/// `SavedModel {saved_model_schema_version (1) = 1, meta_graphs (2) {meta_info_def (1) | graph_def (2) ...}}`.
///
/// ONNX would read this as IR version 1 and a producer name that begins with a control character.
fn is_saved_model(head: &[u8]) -> bool {
    let [0x08, 0x01, 0x12, rest @ ..] = head else { return false };
    let length = rest.iter().take_while(|byte| **byte >= 0x80).count() + 1;
    matches!(rest.get(length), Some(0x0a | 0x12))
}

/// What only a page has near its beginning.
const PAGE: [&[u8]; 5] = [b"<!doctype html", b"<html", b"<head>", b"<title>", b"<body"];

/// Markup and JSON, after any white space and byte order mark.
fn text(head: &[u8]) -> Option<Format> {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    // `{L` opens UBJSON with a 64-bit length: XGBoost's default since 2.1.
    if head.starts_with(b"{L\0\0\0\0\0\0\0\x07learner") {
        return Some(Format::XgBoost);
    }
    let lower: Vec<u8> = head.iter().take(256).map(u8::to_ascii_lowercase).collect();
    let holds = |needle: &[u8]| lower.windows(needle.len()).any(|window| window == needle);
    match lower.first()? {
        b'<' if PAGE.iter().any(|mark| holds(mark)) => Some(Format::Html),
        b'<' if lower.starts_with(b"<?xml") || holds(b"</") || holds(b"xmlns") => Some(Format::Xml),
        b'{' | b'[' => {
            let inside = lower[1..].trim_ascii_start();
            match inside.first()? {
                b'"' if inside.starts_with(b"\"learner\"") => Some(Format::XgBoost),
                b'"' | b'{' | b'}' | b']' => Some(Format::Json),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// A zip archive's first local file header.
    fn zip_with(name: &str) -> Vec<u8> {
        let mut head = b"PK\x03\x04".to_vec();
        head.resize(26, 0);
        head.extend([u8::try_from(name.len()).unwrap(), 0, 0, 0]);
        head.extend(name.as_bytes());
        head.extend([0x80; 40]);
        head
    }

    #[rstest]
    #[case(zip_with("archive/data.pkl"), Format::PyTorch)]
    #[case(zip_with("metadata.json"), Format::Keras)]
    #[case(zip_with("arr_0.npy"), Format::NumPy)]
    #[case(zip_with("model/model.onnx"), Format::Zip)]
    #[case(b"PK\x03\x04".to_vec(), Format::Zip)]
    #[case(b"\x80\x02}q".to_vec(), Format::Pickle)]
    #[case(b"\x80\x05\x95".to_vec(), Format::Pickle)]
    #[case(b"\x89HDF\r\n\x1a\n".to_vec(), Format::Hdf5)]
    #[case(b"\x1c\0\0\0TFL3".to_vec(), Format::TfLite)]
    #[case(b"\x20\0\0\0ORTM".to_vec(), Format::Ort)]
    #[case(b"GGUF\x03\0\0\0".to_vec(), Format::Gguf)]
    #[case(b"\x48\x01\0\0\0\0\0\0{\"weight\":".to_vec(), Format::Safetensors)]
    #[case(b"\x08\x01\x12\xd0\x1f\x0a\x12".to_vec(), Format::SavedModel)]
    #[case(b"tree\nversion=v4\n".to_vec(), Format::LightGbm)]
    #[case(b"{\"learner\":{".to_vec(), Format::XgBoost)]
    #[case(b"{L\0\0\0\0\0\0\0\x07learner".to_vec(), Format::XgBoost)]
    #[case(b"CBM1\x10".to_vec(), Format::CatBoost)]
    #[case(b"\x93NUMPY\x01".to_vec(), Format::NumPy)]
    #[case(b"\x1f\x8b\x08".to_vec(), Format::Gzip)]
    #[case(b"version https://git-lfs.github.com/spec/v1\n".to_vec(), Format::GitLfsPointer)]
    #[case(b"\n<!doctype HTML><title>404</title>".to_vec(), Format::Html)]
    #[case(b"\xef\xbb\xbf<html lang=en>".to_vec(), Format::Html)]
    #[case(b"<!-- a proxy's --><head><meta charset=utf-8>".to_vec(), Format::Html)]
    #[case(b"<TITLE>503</TITLE><h1>Unavailable</h1>".to_vec(), Format::Html)]
    #[case(b"<?xml version=\"1.0\"?>".to_vec(), Format::Xml)]
    #[case(b"<Error><Code>AccessDenied</Code></Error>".to_vec(), Format::Xml)]
    #[case(b"{\"error\": \"not found\"}".to_vec(), Format::Json)]
    fn formats_are_known_by_their_first_bytes(#[case] head: Vec<u8>, #[case] format: Format) {
        assert_eq!(sniff(&head), Some(format));
        assert!(!format.name().is_empty() && !format.advice().is_empty());
    }

    #[rstest]
    #[case(b"")]
    #[case(b"\x08\x0a\x12\x07pytorch")]
    // IR version 1, as written in 2017.
    #[case(b"\x08\x01\x12\x07pytorch")]
    // The graph first: its tag is a colon.
    #[case(b":\x10\x0a\x0e")]
    #[case(b"P")]
    #[case(b"<")]
    fn what_may_be_onnx_passes(#[case] head: &[u8]) {
        assert_eq!(sniff(head), None);
    }
}
