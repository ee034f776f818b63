use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use rstest::rstest;
use rustix::fs::{CWD, FileType, Mode};

use super::*;
use crate::{AccessRules, Connection, Digest, Inputs, Manifest, NoProgress, SourceUri, publish_files};

const MODEL: &[u8] = include_bytes!("../onnx/testdata/dense.onnx");
const EXTERNAL: &[u8] = include_bytes!("../onnx/testdata/external.onnx");

/// What a training left: a model and its metrics.
struct Left(tempfile::TempDir);

impl Left {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(MODEL_FILE), MODEL).unwrap();
        fs::write(folder.path().join("metrics.json"), "{}").unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self) -> Result<Output, OutputError> {
        read_output(self.0.path(), &["explain.onnx"], &OutputLimits::default())
    }

    fn refusal(&self) -> (&'static str, String) {
        let error = self.read().unwrap_err();
        (error.reason(), error.to_string())
    }
}

#[test]
fn every_file_is_hashed_and_models_are_read() {
    let left = Left::new();
    fs::create_dir_all(left.path("vocabulary/de")).unwrap();
    fs::write(left.path("vocabulary/de/words.txt"), "ja\nnein\n").unwrap();
    fs::write(left.path("explain.onnx"), MODEL).unwrap();
    let output = left.read().unwrap();
    let names: Vec<&str> = output.files.keys().map(RelativePath::as_str).collect();
    assert_eq!(names, ["explain.onnx", "metrics.json", MODEL_FILE, "vocabulary/de/words.txt"]);
    assert_eq!(output.files[MODEL_FILE].sha256, Digest::of(MODEL));
    assert_eq!(output.models.keys().collect::<Vec<_>>(), ["explain.onnx", MODEL_FILE]);
    assert_eq!(output.model().unwrap().inputs.len(), output.models["explain.onnx"].inputs.len());
}

#[rstest]
#[case(&[], "it is empty")]
#[case(&["model.pt", "export/model.onnx"], "export/model.onnx, model.pt")]
fn without_a_model_the_message_says_what_there_is(#[case] files: &[&str], #[case] says: &str) {
    let left = Left::new();
    for name in [MODEL_FILE, "metrics.json"] {
        fs::remove_file(left.path(name)).unwrap();
    }
    for name in files {
        fs::create_dir_all(left.path(name).parent().unwrap()).unwrap();
        fs::write(left.path(name), "x").unwrap();
    }
    let (reason, message) = left.refusal();
    assert_eq!(reason, "NoModelWritten");
    assert!(message.contains(says) && message.contains("ML_OUT_DIR"), "{message}");
}

#[test]
fn symbolic_links_are_refused_wherever_they_lead() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "s3cr3t").unwrap();
    for (name, target) in [
        (MODEL_FILE, outside.path().join("secret")),
        ("samples.json", PathBuf::from("model.onnx")),
        ("assets", outside.path().to_owned()),
        ("loop", PathBuf::from(".")),
        ("nowhere", PathBuf::from("/nowhere")),
    ] {
        let left = Left::new();
        let _ = fs::remove_file(left.path(name));
        symlink(target, left.path(name)).unwrap();
        let (reason, message) = left.refusal();
        assert_eq!(reason, "UnsafeOutput", "{message}");
        assert!(message.starts_with(&format!("{name} in ML_OUT_DIR is a symbolic link")), "{message}");
        assert!(!message.contains("s3cr3t"), "{message}");
    }
}

#[test]
fn link_in_a_subfolder_is_named_by_its_path() {
    let left = Left::new();
    fs::create_dir_all(left.path("a/b")).unwrap();
    symlink("/etc/passwd", left.path("a/b/c")).unwrap();
    assert!(left.refusal().1.starts_with("a/b/c in ML_OUT_DIR is a symbolic link"), "{}", left.refusal().1);
}

#[test]
fn hard_link_is_refused() {
    let left = Left::new();
    let outside = tempfile::tempdir_in(left.0.path().parent().unwrap()).unwrap();
    fs::write(outside.path().join("secret"), "s3cr3t").unwrap();
    fs::hard_link(outside.path().join("secret"), left.path("labels.txt")).unwrap();
    let (reason, message) = left.refusal();
    assert_eq!(reason, "UnsafeOutput");
    assert!(message.contains("labels.txt") && message.contains("hard link"), "{message}");
}

#[test]
fn pipes_and_sockets_are_refused_without_waiting() {
    let left = Left::new();
    rustix::fs::mknodat(CWD, left.path("pipe"), FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
    let (reason, message) = left.refusal();
    assert_eq!(reason, "UnsafeOutput");
    assert!(message.contains("a named pipe"), "{message}");

    let left = Left::new();
    let _socket = UnixListener::bind(left.path("socket")).unwrap();
    assert!(left.refusal().1.contains("a socket"), "{}", left.refusal().1);
}

#[test]
fn device_is_refused() {
    let left = Left::new();
    let zero = rustix::fs::makedev(1, 5);
    // Only root may make one.
    if rustix::fs::mknodat(
        CWD,
        left.path("zero"),
        FileType::CharacterDevice,
        Mode::from_raw_mode(0o644),
        zero,
    )
    .is_err()
    {
        return;
    }
    let (reason, message) = left.refusal();
    assert_eq!(reason, "UnsafeOutput");
    assert!(message.contains("a device"), "{message}");
}

#[test]
fn sparse_file_counts_with_its_size_and_is_not_read() {
    let left = Left::new();
    fs::File::create(left.path("weights.bin")).unwrap().set_len(1 << 42).unwrap();
    let (reason, message) = left.refusal();
    assert_eq!(reason, "OutputTooLarge");
    assert!(message.contains("weights.bin"), "{message}");
}

#[test]
fn bytes_of_all_files_together_are_bounded() {
    let left = Left::new();
    fs::write(left.path("z"), "12345").unwrap();
    let bytes = MODEL.len() as u64 + 2 + 5;
    let read = |total_bytes| {
        read_output(left.0.path(), &[], &OutputLimits { total_bytes, ..OutputLimits::default() })
    };
    assert!(read(bytes).is_ok());
    assert_eq!(read(bytes - 1).unwrap_err().reason(), "OutputTooLarge");
}

#[test]
fn files_and_folders_are_bounded() {
    let limits = OutputLimits { files: 4, ..OutputLimits::default() };
    let left = Left::new();
    for name in ["a", "b"] {
        fs::write(left.path(name), "").unwrap();
    }
    assert!(read_output(left.0.path(), &[], &limits).is_ok());
    fs::write(left.path("c"), "").unwrap();
    assert_eq!(read_output(left.0.path(), &[], &limits).unwrap_err().reason(), "OutputTooLarge");

    let left = Left::new();
    fs::create_dir_all(left.path("1/2/3/4/5")).unwrap();
    assert_eq!(read_output(left.0.path(), &[], &limits).unwrap_err().reason(), "OutputTooLarge");
}

#[test]
fn revisions_own_list_is_refused() {
    let left = Left::new();
    fs::write(left.path(MANIFEST_FILE), "{}").unwrap();
    let (reason, message) = left.refusal();
    assert_eq!(reason, "UnsafeOutput");
    assert!(message.contains("another name"), "{message}");
}

#[test]
fn names_that_no_revision_can_have_are_refused_and_shown_safely() {
    let left = Left::new();
    fs::write(left.path("\u{1b}[31mred"), "").unwrap();
    let (reason, message) = left.refusal();
    assert_eq!(reason, "UnsafePath");
    assert!(!message.contains('\u{1b}'), "{message}");
}

#[test]
fn weights_must_lie_in_the_folder_and_be_there() {
    let left = Left::new();
    fs::write(left.path(MODEL_FILE), EXTERNAL).unwrap();
    let (reason, message) = left.refusal();
    assert_eq!(reason, "MissingExternalData");
    assert!(message.contains("model.onnx.data"), "{message}");

    // The same length, so that the rest of the file stays right.
    let at = EXTERNAL.windows(15).position(|bytes| bytes == b"model.onnx.data").unwrap();
    for outside in ["../../etc/passw", "/etc/passwd/../"] {
        let mut model = EXTERNAL.to_vec();
        model[at..at + 15].copy_from_slice(outside.as_bytes());
        fs::write(left.path(MODEL_FILE), model).unwrap();
        assert_eq!(left.refusal().0, "UnsafeExternalDataPath");
    }
}

#[test]
fn what_is_no_model_is_refused_without_its_content() {
    let left = Left::new();
    fs::write(left.path(MODEL_FILE), "password=hunter2").unwrap();
    let (reason, message) = left.refusal();
    assert_eq!(reason, "NotOnnx");
    assert!(!message.contains("hunter2"), "{message}");
}

#[test]
fn file_that_others_may_not_read_comes_with_a_way_out() {
    let error = OutputError::at(
        Error::reading("/ml/out/model.onnx", std::io::Error::from_raw_os_error(13)),
        "model.onnx",
    );
    assert_eq!(error.reason(), "OutputUnreadable");
    assert!(error.to_string().contains("umask"), "{error}");
    // Root reads everything, so this can only be seen as somebody else.
    let left = Left::new();
    fs::set_permissions(left.path(MODEL_FILE), fs::Permissions::from_mode(0o000)).unwrap();
    if !rustix::process::geteuid().is_root() {
        assert_eq!(left.refusal().0, "OutputUnreadable");
    }
}

#[test]
fn small_files_are_read_with_a_bound_and_through_no_link() {
    let left = Left::new();
    assert_eq!(read_file(left.0.path(), "metrics.json", 2).unwrap().unwrap(), b"{}");
    assert_eq!(read_file(left.0.path(), "nothing", 2).unwrap(), None);
    assert_eq!(read_file(left.0.path(), "metrics.json", 1).unwrap_err().reason(), "OutputTooLarge");
    symlink("metrics.json", left.path("samples.json")).unwrap();
    assert_eq!(read_file(left.0.path(), "samples.json", 9).unwrap_err().reason(), "UnsafeOutput");
}

fn verdict(left: &Left) -> OutputVerdict {
    let inputs = Inputs { data: Digest::of(b"data"), spec: Digest::of(b"spec") };
    let manifest =
        Manifest::new(left.read().unwrap().files).unwrap().with_training(inputs, Some("none".into()), None);
    OutputVerdict {
        manifest: manifest.unwrap(),
        metrics: BTreeMap::from([("valAccuracy".to_owned(), 0.5)]),
        baseline: BTreeMap::new(),
        objections: vec![Objection { reason: "RequirementNotMet".into(), message: "too low".into() }],
    }
}

#[test]
fn verdict_is_read_as_it_was_written() {
    let (left, records) = (Left::new(), tempfile::tempdir().unwrap());
    assert_eq!(OutputVerdict::read(records.path()).unwrap(), None);
    verdict(&left).write(records.path()).unwrap();
    assert_eq!(OutputVerdict::read(records.path()).unwrap(), Some(verdict(&left)));
    fs::write(records.path().join(VERDICT_FILE), r#"{"version":"2","manifest":{}}"#).unwrap();
    assert!(OutputVerdict::read(records.path()).is_err());
}

#[tokio::test]
async fn file_that_changed_after_the_verdict_is_not_published() {
    let connection = Connection { rules: AccessRules::LOCAL, ..Connection::default() };
    for change in [
        (|path| fs::write(path, "other").unwrap()) as fn(PathBuf),
        |path| fs::remove_file(path).unwrap(),
        |path| {
            fs::remove_file(&path).unwrap();
            symlink("/etc/hostname", path).unwrap();
        },
    ] {
        let (left, store) = (Left::new(), tempfile::tempdir().unwrap());
        let manifest = verdict(&left).manifest;
        let prefix = SourceUri::from_path(store.path()).unwrap();
        change(left.path("metrics.json"));
        let error =
            publish_files(left.0.path(), &manifest, &prefix, &connection, &NoProgress).await.unwrap_err();
        assert!(["DigestMismatch", "FileMissing", "UnsafeTarget"].contains(&error.reason()), "{error}");
        let id = manifest.digest().unwrap().id();
        assert!(!store.path().join(format!("revisions/{id}/{MANIFEST_FILE}")).exists());
    }

    let (left, store) = (Left::new(), tempfile::tempdir().unwrap());
    let manifest = verdict(&left).manifest;
    let prefix = SourceUri::from_path(store.path()).unwrap();
    // What came later is not a part of the revision.
    fs::write(left.path("later"), "x").unwrap();
    let published = publish_files(left.0.path(), &manifest, &prefix, &connection, &NoProgress).await.unwrap();
    assert_eq!(published.digest, manifest.digest().unwrap());
    let revision = store.path().join("revisions").join(published.digest.id());
    assert!(revision.join(MODEL_FILE).exists() && !revision.join("later").exists());
    // Publishing again, as after a node was lost, is fine.
    assert_eq!(
        publish_files(left.0.path(), &manifest, &prefix, &connection, &NoProgress)
            .await
            .unwrap()
            .bytes_written,
        0
    );
}
