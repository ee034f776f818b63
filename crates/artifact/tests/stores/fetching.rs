//! Into a folder: verified, continued after an interruption, and never through a link.

use std::io::Write as _;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use modelwright_artifact::{
    Class, Digest, Error, FetchRequest, Fetched, MANIFEST_FILE, MODEL_FILE, NoProgress, ResolveRequest,
    fetch, verify,
};

use crate::fixture::{
    CHUNK, file_request, files_below, model, model_with_external_data, request, resolved, revision,
    uncovered_revision,
};
use crate::web_server::{Reply, WebServer};

async fn fetched(source: &ResolveRequest, folder: &Path) -> Result<Fetched, Error> {
    fetch(&FetchRequest { source, resolved: None, folder: folder.to_owned() }, &NoProgress).await
}

/// A source file, a request for it with its digest, and a folder to fetch into.
fn source(count: u64) -> (tempfile::TempDir, ResolveRequest, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let content = model(count, 0);
    fs::write(folder.path().join("net.onnx"), &content).unwrap();
    let mut request = file_request(&folder.path().join("net.onnx"));
    request.digest = Some(Digest::of(&content));
    (folder, request, content)
}

#[tokio::test]
async fn file_becomes_a_revision_and_is_not_fetched_again() {
    let (folder, request, content) = source(20_000);
    let out = folder.path().join("a/b/out");
    let first = fetched(&request, &out).await.unwrap();
    assert_eq!((first.bytes_read, first.reused), (content.len() as u64, false));
    assert_eq!(fs::read(out.join(MODEL_FILE)).unwrap(), content);
    verify(&out, &first.digest).unwrap();
    assert_eq!(files_below(&out).len(), 2, "{:?}", files_below(&out));
    // Not even the source is needed.
    fs::remove_file(folder.path().join("net.onnx")).unwrap();
    let second = fetched(&request, &out).await.unwrap();
    assert_eq!((second.bytes_read, second.reused), (0, true));
    assert_eq!((second.digest, second.pin, second.facts), (first.digest, first.pin, first.facts));
}

#[tokio::test]
async fn damaged_folder_is_fetched_again() {
    let (folder, request, content) = source(20_000);
    let out = folder.path().join("out");
    fetched(&request, &out).await.unwrap();
    let mut damaged = content.clone();
    damaged[50_000] ^= 1;
    fs::write(out.join(MODEL_FILE), damaged).unwrap();
    assert!(!fetched(&request, &out).await.unwrap().reused);
    assert_eq!(fs::read(out.join(MODEL_FILE)).unwrap(), content);
}

#[tokio::test]
async fn prefix_is_fetched_with_its_external_data_with_or_without_a_resolve_before() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("src")).unwrap();
    fs::write(folder.path().join("src/net.onnx"), model_with_external_data(100, "w.bin")).unwrap();
    fs::write(folder.path().join("src/w.bin"), vec![7; 400]).unwrap();
    let source = file_request(&folder.path().join("src"));
    let resolved = resolved(&source).await.unwrap();
    for (name, resolved) in [("a", Some(&resolved)), ("b", None)] {
        let out = folder.path().join(name);
        let fetched = fetch(&FetchRequest { source: &source, resolved, folder: out.clone() }, &NoProgress)
            .await
            .unwrap();
        assert_eq!(fs::read(out.join("w.bin")).unwrap(), vec![7; 400]);
        assert_eq!(verify(&out, &fetched.digest).unwrap().manifest.files().len(), 2);
    }
}

#[tokio::test]
async fn revision_that_does_not_cover_its_weights_is_neither_fetched_nor_reused() {
    let (folder, manifest) = uncovered_revision();
    let mut source = file_request(folder.path());
    source.digest = Some(manifest.digest().unwrap());
    let out = tempfile::tempdir().unwrap();
    let error = fetched(&source, out.path()).await.unwrap_err();
    assert_eq!((error.reason(), error.class()), ("MissingExternalData", Class::BadData));
    assert!(!out.path().join(MANIFEST_FILE).exists());
    // The folder itself: what it holds has that digest, and is not taken for it.
    assert_eq!(fetched(&source, folder.path()).await.unwrap_err().reason(), "MissingExternalData");
}

#[tokio::test]
async fn answer_without_an_end_is_left_where_it_must_have_ended() {
    // Two announce no size: one is larger than what was resolved, one than what is allowed at all.
    let (small, large) = (model(100, 0), model(200_000, 0));
    let (first, later) = (small.clone(), large.clone());
    let grown = Arc::new(AtomicUsize::new(0));
    let now = grown.clone();
    let server = WebServer::start(move |_| {
        let body = if now.load(Ordering::SeqCst) == 0 { first.clone() } else { later.clone() };
        Reply { length: false, ..Reply::new(200, body) }
    })
    .await;
    let mut source = request(&server.url("/m"));
    let known = resolved(&source).await.unwrap();
    grown.store(1, Ordering::SeqCst);
    let out = tempfile::tempdir().unwrap();
    let wanted = FetchRequest { source: &source, resolved: Some(&known), folder: out.path().to_owned() };
    let error = fetch(&wanted, &NoProgress).await.unwrap_err();
    assert_eq!((error.reason(), error.class()), ("TooLarge", Class::BadData), "{error}");
    assert!(files_below(out.path()).is_empty());

    source.connection.limits.total_bytes = 100_000;
    let error = fetched(&source, out.path()).await.unwrap_err();
    assert_eq!((error.reason(), error.class()), ("TooLarge", Class::BadData), "{error}");
    assert!(files_below(out.path()).is_empty());
}

#[tokio::test]
async fn flipped_byte_is_refused_with_the_file_and_both_digests_and_leaves_nothing() {
    let (source, manifest) = revision(20_000, 0);
    let path = source.path().join("data/notes.txt");
    fs::write(&path, b"n0tes").unwrap();
    let out = tempfile::tempdir().unwrap();
    let error = fetched(&file_request(source.path()), out.path()).await.unwrap_err();
    assert_eq!((error.reason(), error.class()), ("DigestMismatch", Class::DigestMismatch));
    let message = error.to_string();
    for part in ["data/notes.txt", &Digest::of(b"notes").to_string(), &Digest::of(b"n0tes").to_string()] {
        assert!(message.contains(part), "{message}");
    }
    assert!(verify(out.path(), &manifest.digest().unwrap()).is_err());
    assert_eq!(files_below(out.path()), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn wrong_pin_is_refused_and_leaves_nothing() {
    let (folder, mut request, _) = source(100);
    request.digest = Some(Digest::of(b"other"));
    let out = folder.path().join("out");
    assert_eq!(fetched(&request, &out).await.unwrap_err().class(), Class::DigestMismatch);
    assert!(files_below(&out).is_empty());
}

#[tokio::test]
async fn source_that_changed_after_it_was_resolved_is_refused() {
    let (folder, request, _) = source(20_000);
    let resolved = resolved(&request).await.unwrap();
    fs::write(folder.path().join("net.onnx"), model(20_000, 1)).unwrap();
    let out = folder.path().join("out");
    let request = FetchRequest { source: &request, resolved: Some(&resolved), folder: out.clone() };
    let error = fetch(&request, &NoProgress).await.unwrap_err();
    assert_eq!((error.reason(), error.class()), ("SourceChanged", Class::TryAgain));
    assert!(!out.join(MANIFEST_FILE).exists());
}

/// A server whose first answer beyond `whole` ranges breaks off; and how many ranges it was asked for.
async fn breaking(content: Vec<u8>, whole: usize) -> (WebServer, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let server = WebServer::start(move |request| {
        let reply = Reply::file(request, &content, "1");
        match request.range() {
            Some(_) if count.fetch_add(1, Ordering::SeqCst) == whole => Reply { cut: 10, ..reply },
            _ => reply,
        }
    })
    .await;
    (server, asked)
}

#[tokio::test]
async fn interrupted_fetch_is_continued() {
    let content = model(50_000, 0);
    let (server, _) = breaking(content.clone(), 7).await;
    let mut request = request(&server.url("/m"));
    request.digest = Some(Digest::of(&content));
    // One range at a time, so that it is known what is there.
    request.connection.transfers.concurrency = 1;
    let out = tempfile::tempdir().unwrap();
    assert_eq!(fetched(&request, out.path()).await.unwrap_err().reason(), "Truncated");
    assert!(!out.path().join(MODEL_FILE).exists() && !out.path().join(MANIFEST_FILE).exists());
    let second = fetched(&request, out.path()).await.unwrap();
    assert_eq!(second.bytes_read, content.len() as u64 - 7 * u64::from(CHUNK));
    assert_eq!(fs::read(out.path().join(MODEL_FILE)).unwrap(), content);
    assert_eq!(files_below(out.path()).len(), 2);
}

#[tokio::test]
async fn damaged_beginning_is_thrown_away_and_fetched_again() {
    let content = model(50_000, 0);
    let (server, _) = breaking(content.clone(), 7).await;
    let mut request = request(&server.url("/m"));
    request.digest = Some(Digest::of(&content));
    request.connection.transfers.concurrency = 1;
    let out = tempfile::tempdir().unwrap();
    fetched(&request, out.path()).await.unwrap_err();
    let partial =
        files_below(out.path()).into_iter().find(|path| path.extension().is_some_and(|e| e == "partial"));
    let partial = partial.unwrap();
    let mut bytes = fs::read(&partial).unwrap();
    bytes[60_000] ^= 1;
    fs::write(&partial, bytes).unwrap();
    let second = fetched(&request, out.path()).await.unwrap();
    assert!(second.bytes_read > content.len() as u64);
    assert_eq!(fs::read(out.path().join(MODEL_FILE)).unwrap(), content);
}

#[tokio::test]
async fn beginning_of_another_version_is_not_continued() {
    let (old, new) = (model(50_000, 0), model(50_000, 1));
    let (server, _) = breaking(old.clone(), 7).await;
    let out = tempfile::tempdir().unwrap();
    let mut first = request(&server.url("/m"));
    first.digest = Some(Digest::of(&old));
    first.connection.transfers.concurrency = 1;
    fetched(&first, out.path()).await.unwrap_err();
    let content = new.clone();
    let other = WebServer::start(move |request| Reply::file(request, &content, "2")).await;
    let mut second = request(&other.url("/m"));
    second.digest = Some(Digest::of(&new));
    assert_eq!(fetched(&second, out.path()).await.unwrap().bytes_read, new.len() as u64);
    assert_eq!(fs::read(out.path().join(MODEL_FILE)).unwrap(), new);
}

#[tokio::test]
async fn link_or_pipe_in_the_folder_is_refused_and_what_it_leads_to_stays() {
    for name in [MODEL_FILE, MANIFEST_FILE] {
        let (folder, request, _) = source(100);
        let out = folder.path().join("out");
        fs::create_dir(&out).unwrap();
        let precious = folder.path().join("precious");
        fs::write(&precious, "precious").unwrap();
        std::os::unix::fs::symlink(&precious, out.join(name)).unwrap();
        let error = fetched(&request, &out).await.unwrap_err();
        assert_eq!((error.reason(), error.class()), ("UnsafeTarget", Class::CannotWrite), "{name}");
        assert!(error.to_string().contains("a symbolic link"), "{error}");
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");

        fs::remove_file(out.join(name)).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, out.join(name), rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert_eq!(fetched(&request, &out).await.unwrap_err().reason(), "UnsafeTarget", "{name}");
    }
}

#[tokio::test]
async fn link_at_a_folder_of_the_revision_is_refused() {
    let (source, _) = revision(100, 0);
    let (out, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::os::unix::fs::symlink(elsewhere.path(), out.path().join("data")).unwrap();
    assert_eq!(fetched(&file_request(source.path()), out.path()).await.unwrap_err().reason(), "UnsafeTarget");
    assert!(files_below(elsewhere.path()).is_empty());
}

#[tokio::test]
async fn manifest_that_leads_out_of_the_folder_is_refused() {
    let (source, manifest) = revision(100, 0);
    for escape in ["../notes.txt", "/notes.txt", "data/../../notes.txt", &"n".repeat(300)] {
        let text = String::from_utf8(manifest.to_bytes().unwrap()).unwrap().replace("data/notes.txt", escape);
        fs::write(source.path().join(MANIFEST_FILE), text).unwrap();
        let out = tempfile::tempdir().unwrap();
        let error = fetched(&file_request(source.path()), &out.path().join("in")).await.unwrap_err();
        assert_eq!((error.reason(), error.class()), ("InvalidManifest", Class::BadData), "{error}");
        assert!(files_below(out.path()).is_empty());
    }
}

#[tokio::test]
async fn folder_that_another_process_writes_into_is_left_alone() {
    let (folder, request, _) = source(100);
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    let held = fs::File::open(&out).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let error = fetched(&request, &out).await.unwrap_err();
    assert_eq!((error.reason(), error.class()), ("FolderInUse", Class::CannotWrite));
    drop(held);
    // A process that another test starts at this moment has a copy of the handle until it becomes another program.
    while let Err(Error::FolderInUse { .. }) = fetched(&request, &out).await {
        tokio::task::yield_now().await;
    }
    verify(&out, &request.digest.unwrap()).unwrap();
}

/// The folder of the small disk that [`full_disk_has_its_own_reason`] makes for its child.
const SMALL_DISK: &str = "MODELWRIGHT_TEST_SMALL_DISK";

/// Runs the next test in a mount namespace of its own, on a disk of 64 KiB.
#[test]
fn full_disk_has_its_own_reason() {
    let disk = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=64k tmpfs \"$1\" || exit 77; shift; exec \"$@\"";
    let status = std::process::Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(disk.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "fetching::small_disk", "--ignored"])
        .env(SMALL_DISK, disk.path())
        .status();
    match status.map(|status| status.code()) {
        Ok(Some(0)) => {}
        Ok(Some(101)) => panic!("the test on the small disk failed"),
        // Written past the test runner, which shows the output of a passing test to nobody.
        other => writeln!(std::io::stderr(), "SKIPPED: this system lets us mount no small disk: {other:?}")
            .unwrap(),
    }
}

#[tokio::test]
#[ignore = "run by full_disk_has_its_own_reason"]
async fn small_disk() {
    let disk = std::path::PathBuf::from(std::env::var_os(SMALL_DISK).unwrap());
    crate::data::full_disk_leaves_no_copies(&disk).await;
    let (_folder, request, _) = source(50_000);
    let error = fetched(&request, &disk.join("out")).await.unwrap_err();
    assert_eq!((error.reason(), error.class()), ("DiskFull", Class::CannotWrite));
    assert!(!disk.join("out").join(MANIFEST_FILE).exists());
    let (folder, _) = revision(50_000, 0);
    let prefix = modelwright_artifact::SourceUri::from_path(&disk.join("store")).unwrap();
    let connection = crate::fixture::connection();
    let folder = folder.path().to_owned();
    let publishing = modelwright_artifact::PublishRequest { folder, digest: None, prefix, connection };
    let error = modelwright_artifact::publish(&publishing, &NoProgress).await.unwrap_err();
    assert_eq!(error.reason(), "DiskFull");
    assert!(files_below(&disk.join("store")).iter().all(|path| path.ends_with("notes.txt")));
}

#[tokio::test]
async fn folder_that_cannot_be_made_is_said() {
    let (folder, request, _) = source(100);
    let error = fetched(&request, &folder.path().join("net.onnx/out")).await.unwrap_err();
    assert_eq!((error.reason(), error.class()), ("CannotWrite", Class::CannotWrite));
}

#[tokio::test]
async fn file_that_is_no_model_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("net.onnx"), b"\x80\x04\x95 pickled").unwrap();
    let out = folder.path().join("out");
    let error = fetched(&file_request(&folder.path().join("net.onnx")), &out).await.unwrap_err();
    assert_eq!(error.reason(), "UnsupportedFormat");
    assert!(files_below(&out).is_empty());
}
