//! What a source turns out to be: files, prefixes and revisions on a disk, which behave as in any store that lists.

use std::fs;
use std::path::Path;

use modelwright_artifact::{
    Class, Digest, Kind, MODEL_FILE, NoProgress, Probe, Progress, Retrievable, probe, resolve,
    resolve_if_changed,
};
use rstest::rstest;

use crate::fixture::{
    file_request, model, model_with_external_data, request, resolved, revision, uncovered_revision,
};

fn folder<const N: usize>(files: [(&str, Vec<u8>); N]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let place = folder.path().join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, bytes).unwrap();
    }
    folder
}

async fn refusal(path: &Path) -> (&'static str, Class, String) {
    let error = resolved(&file_request(path)).await.unwrap_err();
    (error.reason(), error.class(), error.to_string())
}

#[tokio::test]
async fn file_is_stored_as_model_onnx_whatever_its_name() {
    let content = model(20_000, 0);
    let folder = folder([("net v2.onnx", content.clone())]);
    let resolved = resolved(&file_request(&folder.path().join("net v2.onnx"))).await.unwrap();
    assert_eq!(resolved.kind, Kind::File);
    assert_eq!(resolved.files[0].path.as_str(), MODEL_FILE);
    assert_eq!(resolved.files[0].entry.size, content.len() as u64);
    assert_eq!(resolved.pin, Digest::of(&content));
    assert_eq!(resolved.facts.opset(), Some(17));
    assert_eq!(resolved.facts.parameter_bytes, 80_000);
}

#[tokio::test]
async fn prefix_is_its_model_and_the_external_data_that_it_names() {
    let files = [
        ("net.onnx", model_with_external_data(100, "weights/w.bin")),
        ("weights/w.bin", vec![7; 400]),
        ("README.md", b"not part of it".to_vec()),
    ];
    let folder = folder(files);
    for uri in [format!("file:{}", folder.path().display()), format!("file:{}/", folder.path().display())] {
        let resolved = resolved(&request(&uri)).await.unwrap();
        assert_eq!(resolved.kind, Kind::Prefix);
        let paths: Vec<&str> = resolved.manifest.files().keys().map(AsRef::as_ref).collect();
        assert_eq!(paths, [MODEL_FILE, "weights/w.bin"]);
        assert_eq!((resolved.pin, resolved.retrievable), (resolved.digest, Retrievable::WhileUnchanged));
    }
}

#[tokio::test]
async fn same_bytes_are_the_same_revision_wherever_they_are() {
    let (one, other) = (folder([("a.onnx", model(10, 0))]), folder([("b/c.onnx", model(10, 0))]));
    let one = resolved(&file_request(&one.path().join("a.onnx"))).await.unwrap();
    let other = resolved(&file_request(&other.path().join("b"))).await.unwrap();
    assert_eq!(one.digest, other.digest);
}

#[tokio::test]
async fn revision_folder_is_that_revision() {
    let (folder, manifest) = revision(20_000, 0);
    let resolved = resolved(&file_request(folder.path())).await.unwrap();
    assert_eq!((resolved.kind, resolved.retrievable), (Kind::Revision, Retrievable::Always));
    assert_eq!(resolved.manifest, manifest);
    assert_eq!(resolved.files.len(), 2);
}

#[tokio::test]
async fn revision_whose_manifest_lacks_weights_of_the_model_is_refused() {
    let (folder, manifest) = uncovered_revision();
    let (reason, class, message) = refusal(folder.path()).await;
    assert_eq!((reason, class), ("MissingExternalData", Class::BadData));
    assert!(message.contains("w.bin") && message.contains("manifest"), "{message}");
    assert!(!manifest.files().contains_key("w.bin"));
}

#[tokio::test]
async fn external_data_may_be_named_with_a_dot_before_it() {
    let folder = folder([("net.onnx", model_with_external_data(100, "./w.bin")), ("w.bin", vec![7; 400])]);
    let resolved = resolved(&file_request(folder.path())).await.unwrap();
    assert!(resolved.manifest.files().contains_key("w.bin"));
}

#[tokio::test]
async fn names_in_messages_cannot_command_a_terminal() {
    let folder = folder([("a\u{1b}[2J.onnx", model(1, 0)), ("b.onnx", model(1, 0))]);
    let (reason, _, message) = refusal(folder.path()).await;
    assert_eq!(reason, "AmbiguousSource");
    assert!(message.contains("[2J") && !message.contains('\u{1b}'), "{message:?}");
}

#[tokio::test]
async fn manifest_of_another_tool_makes_no_revision() {
    let folder = folder([("net.onnx", model(10, 0)), ("manifest.json", br#"{"name":"net"}"#.to_vec())]);
    assert_eq!(resolved(&file_request(folder.path())).await.unwrap().kind, Kind::Prefix);
}

#[tokio::test]
async fn manifest_of_ours_that_breaks_the_contract_is_refused() {
    let folder = folder([("net.onnx", model(10, 0)), ("manifest.json", br#"{"contract":"9"}"#.to_vec())]);
    let (reason, class, _) = refusal(folder.path()).await;
    assert_eq!((reason, class), ("InvalidManifest", Class::BadData));
}

#[tokio::test]
async fn damaged_model_of_a_revision_is_refused_with_the_file_and_both_digests() {
    let (folder, _) = revision(20_000, 0);
    let path = folder.path().join(MODEL_FILE);
    let before = fs::read(&path).unwrap();
    let mut after = before.clone();
    after[40_000] ^= 1;
    fs::write(&path, &after).unwrap();
    let (reason, class, message) = refusal(folder.path()).await;
    assert_eq!((reason, class), ("DigestMismatch", Class::DigestMismatch));
    for part in [MODEL_FILE, &Digest::of(&before).to_string(), &Digest::of(&after).to_string()] {
        assert!(message.contains(part), "{message}");
    }
}

#[tokio::test]
async fn pin_is_compared() {
    let content = model(10, 0);
    let folder = folder([("net.onnx", content.clone())]);
    let mut request = file_request(&folder.path().join("net.onnx"));
    let revision = resolved(&request).await.unwrap().digest;
    for right in [Digest::of(&content), revision] {
        request.digest = Some(right);
        resolved(&request).await.unwrap();
    }
    request.digest = Some(Digest::of(b"other"));
    let error = resolved(&request).await.unwrap_err();
    assert_eq!(error.class(), Class::DigestMismatch);
    assert!(error.to_string().contains(&Digest::of(&content).to_string()), "{error}");
}

#[rstest]
#[case::missing_file("missing.onnx", "SourceNotFound", Class::Missing)]
#[case::empty_folder("empty", "NoModel", Class::Missing)]
#[case::other_format("model.pkl", "UnsupportedFormat", Class::BadData)]
#[case::saved_model("saved", "UnsupportedFormat", Class::BadData)]
#[case::by_content("really_a_pickle.onnx", "UnsupportedFormat", Class::BadData)]
#[case::no_model("documents", "NoModel", Class::Missing)]
#[case::several("several", "AmbiguousSource", Class::BadData)]
#[case::lost_weights("lost", "MissingExternalData", Class::BadData)]
#[case::lone_file("lost/net.onnx", "MissingExternalData", Class::BadData)]
#[case::escape("escape", "UnsafeExternalDataPath", Class::BadData)]
#[case::empty_file("nothing.onnx", "NotOnnx", Class::BadData)]
#[tokio::test]
async fn unusable_source_has_its_reason(#[case] path: &str, #[case] reason: &str, #[case] class: Class) {
    let folder = folder([
        ("model.pkl", b"x".to_vec()),
        ("saved/saved_model.pb", b"x".to_vec()),
        ("really_a_pickle.onnx", b"\x80\x04\x95\x10\0\0\0\0\0\0\0".to_vec()),
        ("documents/README.md", b"x".to_vec()),
        ("several/a.onnx", model(1, 0)),
        ("several/b.onnx", model(2, 0)),
        ("lost/net.onnx", model_with_external_data(10, "w.bin")),
        ("escape/net.onnx", model_with_external_data(10, "../w.bin")),
        ("nothing.onnx", Vec::new()),
    ]);
    fs::create_dir(folder.path().join("empty")).unwrap();
    let (found, class_found, message) = refusal(&folder.path().join(path)).await;
    assert_eq!((found, class_found), (reason, class), "{message}");
    assert!(message.contains(path.split('/').next().unwrap()), "{message}");
}

#[tokio::test]
async fn link_to_a_model_is_followed_but_a_pipe_is_refused() {
    let folder = folder([("blobs/abc", model(10, 0))]);
    let link = folder.path().join("net.onnx");
    std::os::unix::fs::symlink("blobs/abc", &link).unwrap();
    resolved(&file_request(&link)).await.unwrap();
    let pipe = folder.path().join("pipe.onnx");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let (reason, class, message) = refusal(&pipe).await;
    assert_eq!((reason, class), ("NotAFile", Class::BadData));
    assert!(message.contains("a named pipe"), "{message}");
}

#[tokio::test]
async fn source_over_the_limits_is_refused_before_it_is_read() {
    let folder = folder([("net.onnx", model(1000, 0)), ("a", vec![1]), ("b", vec![1])]);
    let mut request = file_request(folder.path());
    request.connection.limits.objects = 2;
    assert_eq!(resolved(&request).await.unwrap_err().reason(), "TooLarge");
    request.connection.limits.objects = 3;
    request.connection.limits.total_bytes = 1000;
    assert_eq!(resolved(&request).await.unwrap_err().reason(), "TooLarge");
}

#[tokio::test]
async fn volume_is_read_where_it_is_mounted_and_exists_in_a_cluster_only() {
    let folder = folder([("models/net.onnx", model(10, 0))]);
    let mut request = request("pvc://claim/models/net.onnx");
    assert_eq!(resolved(&request).await.unwrap_err().reason(), "Unsupported");
    request.connection.volume = Some(folder.path().to_owned());
    resolved(&request).await.unwrap();
}

#[tokio::test]
async fn links_of_a_volume_reach_its_own_files_only() {
    let (outside, inside) = (folder([("secret", model(10, 0))]), folder([("blobs/abc", model(10, 0))]));
    let link = |from: &str, to: &Path| std::os::unix::fs::symlink(to, inside.path().join(from)).unwrap();
    link("good.onnx", Path::new("blobs/abc"));
    link("bad.onnx", &outside.path().join("secret"));
    link("up", outside.path());
    let at = |path: &str| {
        let mut request = request(&format!("pvc://claim/{path}"));
        request.connection.volume = Some(inside.path().to_owned());
        request
    };
    resolved(&at("good.onnx")).await.unwrap();
    for path in ["bad.onnx", "up/secret", "up/"] {
        let error = resolved(&at(path)).await.unwrap_err();
        assert_eq!((error.reason(), error.class()), ("UnsafePath", Class::BadData), "{path}: {error}");
    }
    // What leads out does not count as a file of the volume.
    assert_eq!(resolved(&at("")).await.unwrap().kind, Kind::Prefix);
}

#[tokio::test]
async fn probe_changes_when_the_file_does() {
    let folder = folder([("net.onnx", model(10, 0))]);
    let request = file_request(folder.path());
    let first = resolved(&request).await.unwrap().probe;
    assert_eq!(probe(&request).await.unwrap(), first);
    let known = first.fingerprint(&request.uri).unwrap();
    assert!(resolve_if_changed(&request, &known, &NoProgress).await.unwrap().is_none());
    fs::write(folder.path().join("net.onnx"), model(11, 0)).unwrap();
    assert_ne!(probe(&request).await.unwrap(), first);
    assert!(resolve_if_changed(&request, &known, &NoProgress).await.unwrap().is_some());
}

#[tokio::test]
async fn fingerprint_belongs_to_one_uri() {
    let probe = Probe { kind: Kind::File, files: Vec::new() };
    let [one, other] = ["s3://b/m", "s3://b/n"].map(|uri| probe.fingerprint(&request(uri).uri).unwrap());
    assert_ne!(one, other);
    // It is kept in statuses, so it may not change with a version of this program.
    assert_eq!(one, Digest::of(br#"{"files":[],"kind":"File","uri":"s3://b/m"}"#));
}

#[tokio::test]
async fn progress_is_told_every_byte() {
    #[derive(Default)]
    struct Recorder(std::sync::Mutex<Vec<(Option<u64>, u64, bool)>>);
    impl Progress for Recorder {
        fn begin(&self, total: Option<u64>, _label: &str) {
            self.0.lock().unwrap().push((total, 0, false));
        }
        fn advance(&self, bytes: u64) {
            self.0.lock().unwrap().last_mut().unwrap().1 += bytes;
        }
        fn finish(&self) {
            self.0.lock().unwrap().last_mut().unwrap().2 = true;
        }
    }
    let content = model(20_000, 0);
    let folder = folder([("net.onnx", content.clone())]);
    let recorder = Recorder::default();
    resolve(&file_request(folder.path()), &recorder).await.unwrap();
    let size = content.len() as u64;
    assert_eq!(*recorder.0.lock().unwrap(), [(Some(size), size, true)]);
}
