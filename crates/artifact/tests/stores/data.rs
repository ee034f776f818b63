//! Training data from disks and web servers; `training` does the same on object stores.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use modelwright_artifact::data::{
    DataFile, DataListing, DataRequest, MAX_TAIL_BYTES, data_digest, fetch_data, list_data, read_tail,
};
use modelwright_artifact::{Class, Digest, Error, NoProgress, Progress, SourceUri};
use rstest::rstest;

use crate::fixture::{connection, files_below};
use crate::web_server::{Reply, WebServer};

/// Several reads long, and different everywhere.
fn content(seed: usize) -> Vec<u8> {
    (0..100_000).flat_map(|row: usize| format!("{}\n", row * 31 + seed).into_bytes()).collect()
}

fn wanted(uri: &str) -> DataRequest {
    let uri = SourceUri::parse(uri, None).unwrap();
    DataRequest { uri, endings: vec![".csv"], connection: connection() }
}

fn on_disk(path: &Path) -> DataRequest {
    wanted(&format!("file:{}", path.display()))
}

async fn listed(request: &DataRequest) -> DataListing {
    list_data(request).await.unwrap()
}

async fn fetched(listing: &DataListing, folder: &Path) -> Result<Vec<DataFile>, Error> {
    fetch_data(listing, folder, &NoProgress).await
}

/// A folder with two files of data, in small and capital letters, and things that are none.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let files =
        ["b.csv", "a/part-0.CSV", "notes.txt", "_SUCCESS", ".hidden.csv", "_temporary/0/c.csv", "d.csv.bak"];
    for (seed, path) in files.into_iter().enumerate() {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content(seed)).unwrap();
    }
    folder
}

#[tokio::test]
async fn folder_is_copied_with_the_digest_of_each_file_of_data() {
    let (source, out) = (folder(), tempfile::tempdir().unwrap());
    let listing = listed(&on_disk(source.path())).await;
    let paths: Vec<&str> = listing.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["a/part-0.CSV", "b.csv"]);
    assert_eq!(listing.total_bytes(), Some((content(0).len() + content(1).len()) as u64));
    let files = fetched(&listing, &out.path().join("in")).await.unwrap();
    for (index, (name, seed)) in [("000000-part-0.CSV", 1), ("000001-b.csv", 0)].into_iter().enumerate() {
        let (file, content) = (&files[index], content(seed));
        assert_eq!(file.path, out.path().join("in").join(name));
        assert_eq!(file.name, listing.names()[index]);
        assert_eq!((file.sha256, file.size), (Digest::of(&content), content.len() as u64));
        assert_eq!(fs::read(&file.path).unwrap(), content);
    }
    assert_eq!(files_below(out.path()).len(), 2);
    // Again, over the first copies.
    assert_eq!(fetched(&listing, &out.path().join("in")).await.unwrap(), files);
}

#[tokio::test]
async fn same_bytes_elsewhere_are_the_same_data_and_the_same_probe_is_the_same_source() {
    let (source, out) = (folder(), tempfile::tempdir().unwrap());
    let before = listed(&on_disk(source.path())).await;
    let first = fetched(&before, &out.path().join("1")).await.unwrap();
    assert!(before.probe().is_conclusive());
    let text = serde_json::to_string(&before.probe()).unwrap();
    let again = listed(&on_disk(source.path())).await;
    assert_eq!(serde_json::from_str::<modelwright_artifact::Probe>(&text).unwrap(), again.probe());

    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("x.csv"), content(1)).unwrap();
    fs::write(elsewhere.path().join("y.csv"), content(0)).unwrap();
    let other = fetched(&listed(&on_disk(elsewhere.path())).await, &out.path().join("2")).await.unwrap();
    assert_eq!(data_digest(&first, None, None).unwrap(), data_digest(&other, None, None).unwrap());

    fs::write(source.path().join("new.csv"), "1\n").unwrap();
    assert_ne!(listed(&on_disk(source.path())).await.probe(), again.probe());
}

#[tokio::test]
async fn file_is_data_whatever_it_is_called() {
    let (source, out) = (folder(), tempfile::tempdir().unwrap());
    let listing = listed(&on_disk(&source.path().join("notes.txt"))).await;
    let files = fetched(&listing, out.path()).await.unwrap();
    assert_eq!(files[0].path, out.path().join("000000-notes.txt"));
    assert_eq!(files[0].sha256, Digest::of(&content(2)));
}

#[tokio::test]
async fn volume_is_read_where_it_is_mounted() {
    let (source, out) = (folder(), tempfile::tempdir().unwrap());
    let mut request = wanted("pvc://claim/a");
    request.connection.volume = Some(source.path().to_owned());
    let listing = listed(&request).await;
    assert_eq!(listing.names(), ["pvc://claim/a/part-0.CSV"]);
    assert_eq!(fetched(&listing, out.path()).await.unwrap()[0].sha256, Digest::of(&content(1)));
}

#[tokio::test]
async fn source_without_data_says_what_was_looked_for_and_what_is_there() {
    let source = folder();
    let mut request = on_disk(source.path());
    request.endings = vec![".parquet", ".pq"];
    let error = list_data(&request).await.unwrap_err();
    assert_eq!((error.reason(), error.class()), ("NoData", Class::Missing));
    for part in [".parquet or .pq", "7 others", ".hidden.csv, _SUCCESS"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    let empty = tempfile::tempdir().unwrap();
    let error = list_data(&on_disk(empty.path())).await.unwrap_err();
    assert_eq!(error.reason(), "NoData");
    let error = list_data(&on_disk(&source.path().join("none/"))).await.unwrap_err();
    assert_eq!((error.reason(), error.class()), ("SourceNotFound", Class::Missing));
    assert_eq!(list_data(&wanted("http://127.0.0.1:1/data/")).await.unwrap_err().reason(), "NoData");
}

#[tokio::test]
async fn more_data_than_allowed_is_refused_before_it_is_read() {
    let source = folder();
    let mut request = on_disk(source.path());
    request.connection.limits.total_bytes = (content(0).len() + 10) as u64;
    let error = list_data(&request).await.unwrap_err();
    assert_eq!((error.reason(), error.class()), ("TooLarge", Class::BadData));
    request.connection.limits.objects = 3;
    assert_eq!(list_data(&request).await.unwrap_err().reason(), "TooLarge");
}

#[tokio::test]
async fn source_that_changed_after_it_was_listed_is_refused_and_leaves_nothing() {
    let (source, out) = (folder(), tempfile::tempdir().unwrap());
    let listing = listed(&on_disk(source.path())).await;
    fs::write(source.path().join("b.csv"), content(5)).unwrap();
    let error = fetched(&listing, out.path()).await.unwrap_err();
    assert_eq!((error.reason(), error.class()), ("SourceChanged", Class::TryAgain));
    assert!(files_below(out.path()).is_empty());
    assert_eq!(read_tail(&listing, 1, 8).await.unwrap_err().reason(), "SourceChanged");
}

#[tokio::test]
async fn link_at_the_place_of_a_copy_is_refused_and_what_it_leads_to_stays() {
    let (source, out) = (folder(), tempfile::tempdir().unwrap());
    let precious = source.path().join("notes.txt");
    std::os::unix::fs::symlink(&precious, out.path().join("000001-b.csv")).unwrap();
    let error = fetched(&listed(&on_disk(source.path())).await, out.path()).await.unwrap_err();
    assert_eq!((error.reason(), error.class()), ("UnsafeTarget", Class::CannotWrite));
    assert_eq!(fs::read(precious).unwrap(), content(2));
}

#[tokio::test]
async fn tail_of_a_file_is_read_without_the_rest() {
    let body = content(0);
    let file = body.clone();
    let server = WebServer::start(move |request| Reply::file(request, &file, "1")).await;
    let listing = listed(&wanted(&server.url("/train.parquet"))).await;
    assert_eq!(read_tail(&listing, 0, 20_000).await.unwrap(), body[body.len() - 20_000..]);
    let read: usize = server.requests().iter().filter_map(|request| Some(request.range()?.len())).sum();
    assert_eq!(read, 20_000);
    assert_eq!(read_tail(&listing, 0, 1 << 20).await.unwrap(), body);
    assert_eq!(read_tail(&listing, 0, 0).await.unwrap(), "");
    let error = read_tail(&listing, 0, MAX_TAIL_BYTES + 1).await.unwrap_err();
    assert_eq!((error.reason(), error.class()), ("TooLarge", Class::BadData));
    assert_eq!(read_tail(&listing, 1, 8).await.unwrap_err().class(), Class::Bug);
}

/// Servers without ranges, without HEAD, without a size, and with nothing that identifies the content.
#[rstest]
#[case(true, true)]
#[case(false, true)]
#[case(false, false)]
#[tokio::test]
async fn server_with_few_manners_gives_its_file_and_its_tail(#[case] head: bool, #[case] length: bool) {
    let body = content(0);
    let file = body.clone();
    let server = WebServer::start(move |request| match request.method.as_str() {
        "HEAD" if !head => Reply::new(501, ""),
        _ => Reply { length, ..Reply::new(200, file.clone()) },
    })
    .await;
    let listing = listed(&wanted(&server.url("/train.csv"))).await;
    assert!(!listing.probe().is_conclusive());
    assert_eq!(listing.total_bytes(), length.then_some(body.len() as u64));
    assert_eq!(read_tail(&listing, 0, 20_000).await.unwrap(), body[body.len() - 20_000..]);
    let out = tempfile::tempdir().unwrap();
    assert_eq!(fetched(&listing, out.path()).await.unwrap()[0].sha256, Digest::of(&body));
}

#[tokio::test]
async fn answer_without_an_end_is_left_at_the_limit_and_leaves_nothing() {
    let body = content(0);
    let server = WebServer::start(move |_| Reply { length: false, ..Reply::new(200, body.clone()) }).await;
    let mut request = wanted(&server.url("/train.csv"));
    request.connection.limits.total_bytes = 100_000;
    let listing = listed(&request).await;
    let out = tempfile::tempdir().unwrap();
    assert_eq!(fetched(&listing, out.path()).await.unwrap_err().reason(), "TooLarge");
    assert!(files_below(out.path()).is_empty());
    assert_eq!(read_tail(&listing, 0, 8).await.unwrap_err().reason(), "TooLarge");
}

#[rstest]
#[case::breaks_off("1", 10, "Truncated")]
#[case::changes("2", usize::MAX, "SourceChanged")]
#[tokio::test]
async fn download_that_breaks_off_or_changes_leaves_nothing(
    #[case] etag: &'static str,
    #[case] cut: usize,
    #[case] reason: &str,
) {
    let body = content(0);
    let server = WebServer::start(move |request| match request.range() {
        // After many parts that are as they should be.
        Some(range) if range.start > 300_000 => Reply { cut, ..Reply::file(request, &body, etag) },
        _ => Reply::file(request, &body, "1"),
    })
    .await;
    let listing = listed(&wanted(&server.url("/train.csv"))).await;
    let out = tempfile::tempdir().unwrap();
    assert_eq!(fetched(&listing, out.path()).await.unwrap_err().reason(), reason);
    assert!(files_below(out.path()).is_empty());
}

/// What a [`Progress`] was told.
#[derive(Default)]
struct Told {
    begun: Mutex<Vec<(Option<u64>, String)>>,
    bytes: AtomicU64,
    finished: AtomicU64,
}

impl Progress for Told {
    fn begin(&self, total: Option<u64>, label: &str) {
        self.begun.lock().unwrap().push((total, label.to_owned()));
    }

    fn advance(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::SeqCst);
    }

    fn finish(&self) {
        self.finished.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn progress_names_every_file_and_counts_every_byte() {
    let (source, out, told) = (folder(), tempfile::tempdir().unwrap(), Told::default());
    let listing = listed(&on_disk(source.path())).await;
    fetch_data(&listing, out.path(), &told).await.unwrap();
    let expected: Vec<_> = listing.files.iter().map(|file| file.size).zip(listing.names()).collect();
    assert_eq!(told.begun.into_inner().unwrap(), expected);
    assert_eq!(Some(told.bytes.into_inner()), listing.total_bytes());
    assert_eq!(told.finished.into_inner(), 2);
}

/// On a disk of 64 KiB, which `fetching::full_disk_has_its_own_reason` mounts.
pub(crate) async fn full_disk_leaves_no_copies(disk: &Path) {
    let source = folder();
    let listing = listed(&on_disk(source.path())).await;
    let error = fetched(&listing, &disk.join("data")).await.unwrap_err();
    assert_eq!((error.reason(), error.class()), ("DiskFull", Class::CannotWrite));
    assert!(files_below(&disk.join("data")).is_empty());
}
