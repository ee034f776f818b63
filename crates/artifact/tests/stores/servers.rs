//! S3 (a server that honours conditional writes and one that ignores them), Azure and Google servers.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use modelwright_artifact::{
    AccessRules, Class, Connection, Credentials, Digest, FetchRequest, Kind, MANIFEST_FILE, MODEL_FILE,
    NoProgress, PublishRequest, ResolveRequest, Retrievable, Retry, SourceUri, Transfers, fetch, provenance,
    publish, resolve, resolve_if_changed, verify,
};
use modelwright_test_servers::Server;
use object_store::ObjectStoreExt as _;
use object_store::aws::AmazonS3Builder;
use rstest::rstest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::fixture::{
    connection, credentials, files_below, model, model_with_external_data, request, resolved, revision,
};
use crate::web_server::{Reply, WebServer};

pub(crate) type Start = fn() -> anyhow::Result<Option<Server>>;

/// The server, or `None` where its program is not installed, which it says itself.
pub(crate) fn started(start: Start) -> Option<Server> {
    start().unwrap()
}

/// How to reach a server.
pub(crate) fn reach(server: &Server) -> Connection {
    let mut secrets = server.credentials();
    let endpoint = secrets.remove("AZURE_STORAGE_ENDPOINT");
    Connection {
        credentials: Credentials::from_map(secrets).unwrap(),
        endpoint,
        transfers: Transfers { chunk_bytes: 1 << 20, concurrency: 4 },
        retry: Retry { timeout: Duration::from_secs(20), attempts: 5 },
        ..connection()
    }
}

pub(crate) fn at(server: &Server, path: &str) -> ResolveRequest {
    ResolveRequest {
        uri: SourceUri::parse(&server.uri(path), None).unwrap(),
        digest: None,
        connection: reach(server),
    }
}

pub(crate) fn publishing(server: &Server, path: &str, folder: &std::path::Path) -> PublishRequest {
    let (prefix, connection) = (at(server, path).uri, reach(server));
    PublishRequest { folder: folder.to_owned(), digest: None, prefix, connection }
}

#[rstest]
#[case::versitygw(modelwright_test_servers::versitygw)]
#[case::s3rver(modelwright_test_servers::s3rver)]
#[case::azurite(modelwright_test_servers::azurite)]
#[case::fake_gcs(modelwright_test_servers::fake_gcs)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revision_goes_out_and_comes_back(#[case] start: Start) {
    let Some(server) = started(start) else { return };
    // Large enough for an upload in parts.
    let (folder, manifest) = revision(2_000_000, 0);
    let digest = manifest.digest().unwrap();
    let request = publishing(&server, "a/b", folder.path());

    // Two at once, then one more.
    let (one, other) = tokio::join!(publish(&request, &NoProgress), publish(&request, &NoProgress));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!((one.digest, &one.uri), (digest, &other.uri));
    assert_eq!(publish(&request, &NoProgress).await.unwrap().bytes_written, 0);
    let run = provenance::Run { id: "run-1".into(), ..provenance::Run::default() };
    provenance::write(&request.prefix, &request.connection, &manifest, &run).await.unwrap();
    provenance::write(&request.prefix, &request.connection, &manifest, &run).await.unwrap();

    let mut source = ResolveRequest { uri: one.uri, digest: Some(digest), connection: reach(&server) };
    let resolved = resolve(&source, &NoProgress).await.unwrap();
    assert_eq!((resolved.kind, resolved.retrievable), (Kind::Revision, Retrievable::Always));
    let out = tempfile::tempdir().unwrap();
    let fetching = FetchRequest { source: &source, resolved: None, folder: out.path().to_owned() };
    let fetched = fetch(&fetching, &NoProgress).await.unwrap();
    assert_eq!(fetched.digest, digest);
    verify(out.path(), &digest).unwrap();
    assert!(fetch(&fetching, &NoProgress).await.unwrap().reused);

    source.uri = at(&server, &format!("a/b/revisions/{}/{MODEL_FILE}", digest.id())).uri;
    source.digest = None;
    let file = resolve(&source, &NoProgress).await.unwrap();
    assert_eq!((file.kind, file.pin), (Kind::File, manifest.files()[MODEL_FILE].sha256));

    let missing = resolve(&at(&server, "a/none/"), &NoProgress).await.unwrap_err();
    assert_eq!((missing.reason(), missing.class()), ("SourceNotFound", Class::Missing));
}

/// The server's bucket, past our own code.
fn bucket(server: &Server) -> impl object_store::ObjectStore {
    let secrets = server.credentials();
    AmazonS3Builder::new()
        .with_bucket_name(server.bucket())
        .with_endpoint(server.endpoint())
        .with_allow_http(true)
        .with_region(&secrets["AWS_REGION"])
        .with_access_key_id(&secrets["AWS_ACCESS_KEY_ID"])
        .with_secret_access_key(&secrets["AWS_SECRET_ACCESS_KEY"])
        .build()
        .unwrap()
}

#[rstest]
#[case::versitygw(modelwright_test_servers::versitygw)]
#[case::s3rver(modelwright_test_servers::s3rver)]
#[tokio::test]
async fn changed_revision_is_refused_by_readers_and_publishers(#[case] start: Start) {
    let Some(server) = started(start) else { return };
    let (folder, manifest) = revision(20_000, 0);
    let request = publishing(&server, "m", folder.path());
    let published = publish(&request, &NoProgress).await.unwrap();
    let key = format!("m/revisions/{}/data/notes.txt", published.digest.id());
    bucket(&server).put(&key.as_str().into(), "n0tes".into()).await.unwrap();

    let error = publish(&request, &NoProgress).await.unwrap_err();
    assert_eq!((error.reason(), error.class()), ("RevisionCollision", Class::Refused));
    let source = ResolveRequest { uri: published.uri, digest: None, connection: reach(&server) };
    let out = tempfile::tempdir().unwrap();
    let fetching = FetchRequest { source: &source, resolved: None, folder: out.path().to_owned() };
    let error = fetch(&fetching, &NoProgress).await.unwrap_err();
    assert_eq!(error.class(), Class::DigestMismatch);
    let message = error.to_string();
    let expected = manifest.files()["data/notes.txt"].sha256;
    for part in ["data/notes.txt", &expected.to_string(), &Digest::of(b"n0tes").to_string()] {
        assert!(message.contains(part), "{message}");
    }
    assert!(files_below(out.path()).is_empty());
}

#[tokio::test]
async fn prefix_with_external_data_is_resolved_and_a_wrong_key_is_denied() {
    let Some(server) = started(modelwright_test_servers::versitygw) else { return };
    let bucket = bucket(&server);
    bucket.put(&"bc/net.onnx".into(), model_with_external_data(100, "w.bin").into()).await.unwrap();
    bucket.put(&"bc/w.bin".into(), vec![7; 400].into()).await.unwrap();
    bucket.put(&"bcd/other.onnx".into(), vec![7; 400].into()).await.unwrap();
    for path in ["bc", "bc/", "bc/net.onnx"] {
        let request = at(&server, path);
        if path == "bc/net.onnx" {
            bucket.put(&path.into(), model(10, 0).into()).await.unwrap();
        }
        let resolved = resolved(&request).await.unwrap();
        let known = resolved.probe.fingerprint(&request.uri).unwrap();
        assert!(resolve_if_changed(&request, &known, &NoProgress).await.unwrap().is_none(), "{path}");
        if resolved.kind == Kind::Prefix {
            assert_eq!(resolved.files.len(), 2);
            bucket.put(&"bc/w.bin".into(), vec![path.len().to_le_bytes()[0]; 400].into()).await.unwrap();
            assert!(resolve_if_changed(&request, &known, &NoProgress).await.unwrap().is_some(), "{path}");
        }
    }
    let mut request = at(&server, "bc/");
    let mut secrets = server.credentials();
    secrets.insert("AWS_SECRET_ACCESS_KEY".into(), "hunter2".into());
    request.connection.credentials = Credentials::from_map(secrets).unwrap();
    let error = resolved(&request).await.unwrap_err();
    assert_eq!((error.reason(), error.class()), ("AccessDenied", Class::Missing));
    assert!(!format!("{error:?}{request:?}").contains("hunter2"));
}

/// Passes bytes on to `server` until `budget` is used up, then breaks every connection.
async fn breaking_proxy(server: &Server, budget: i64) -> (String, tokio::task::JoinHandle<()>) {
    let to = server.endpoint().trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let budget = Arc::new(AtomicI64::new(budget));
    let task = tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (to, budget) = (to.clone(), budget.clone());
            tokio::spawn(async move {
                let Ok(server) = TcpStream::connect(to).await else { return };
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let outward = async {
                    let mut buffer = vec![0; 16 << 10];
                    while let Ok(count) = from_client.read(&mut buffer).await {
                        let size = i64::try_from(count).unwrap();
                        let left = budget.fetch_sub(size, Ordering::SeqCst);
                        if count == 0 || left < size || to_server.write_all(&buffer[..count]).await.is_err() {
                            return;
                        }
                    }
                };
                let inward = tokio::io::copy(&mut from_server, &mut to_client);
                tokio::select! { () = outward => {}, _ = inward => {} }
            });
        }
    });
    (endpoint, task)
}

#[rstest]
#[case::versitygw(modelwright_test_servers::versitygw)]
#[case::s3rver(modelwright_test_servers::s3rver)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upload_cut_at_any_point_leaves_nothing_visible(#[case] start: Start) {
    let Some(server) = started(start) else { return };
    let (folder, manifest) = revision(1_600_000, 0);
    let digest = manifest.digest().unwrap();
    let mut cut = 0;
    for (index, budget) in
        [500, 2_000, 300_000, 3_000_000, 6_000_000, 6_404_000, 6_408_000, 6_412_000].into_iter().enumerate()
    {
        let prefix = format!("cut-{index}");
        let (endpoint, proxy) = breaking_proxy(&server, budget).await;
        let mut request = publishing(&server, &prefix, folder.path());
        let mut secrets = server.credentials();
        secrets.insert("AWS_ENDPOINT_URL".into(), endpoint);
        request.connection.credentials = Credentials::from_map(secrets).unwrap();
        request.connection.retry = Retry::NEVER;
        let result = publish(&request, &NoProgress).await;
        proxy.abort();
        let revision = at(&server, &format!("{prefix}/revisions/{}/", digest.id()));
        match result {
            Err(error) => {
                assert_eq!(error.class(), Class::Unreachable, "{error}");
                cut += 1;
                let manifest = at(&server, &format!("{prefix}/revisions/{}/{MANIFEST_FILE}", digest.id()));
                let visible = resolved(&revision).await.is_ok_and(|found| found.kind == Kind::Revision);
                // Only the very last answer can be lost after the manifest is there; then the revision is whole.
                assert!(!visible || resolved(&manifest).await.is_err(), "{prefix}");
            }
            Ok(_) => assert!(cut > 0),
        }
        publish(&publishing(&server, &prefix, folder.path()), &NoProgress).await.unwrap();
        let mut whole = revision;
        whole.digest = Some(digest);
        let out = tempfile::tempdir().unwrap();
        let fetching = FetchRequest { source: &whole, resolved: None, folder: out.path().to_owned() };
        fetch(&fetching, &NoProgress).await.unwrap();
    }
    assert!(cut >= 5, "{cut} uploads were cut");
    assert!(fs::exists(folder.path()).unwrap());
}

fn s3(endpoint: &str) -> ResolveRequest {
    let mut request = request("s3://bucket/model");
    request.connection.credentials = credentials([("AWS_ENDPOINT_URL", endpoint)]);
    request
}

#[rstest]
#[case(400, "StoreRefused")]
#[case(403, "AccessDenied")]
#[case(301, "RedirectRefused")]
#[case(503, "StoreUnreachable")]
#[tokio::test]
async fn http_status_is_found_in_the_stores_errors(#[case] status: u16, #[case] reason: &str) {
    let server =
        WebServer::start(move |_| Reply::new(status, "hunter2").with("Location", "http://127.0.0.1/")).await;
    let error = resolved(&s3(&server.url(""))).await.unwrap_err();
    assert_eq!(error.reason(), reason, "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[rstest]
#[case("127.0.0.1")]
#[case("localhost")]
#[tokio::test]
async fn endpoint_on_loopback_is_refused_in_a_cluster_without_waiting(#[case] host: &str) {
    let server = WebServer::start(|_| Reply::new(200, "")).await;
    let mut request = s3(&format!("http://{host}:{}", server.address.port()));
    request.connection.rules = AccessRules::CLUSTER;
    request.connection.retry = Retry::FETCH;
    assert_eq!(resolved(&request).await.unwrap_err().reason(), "AddressRefused");
    assert!(server.requests().is_empty());
}

#[rstest]
#[case("http://169.254.169.254", "InvalidCredentials")]
#[case("http://169.254.1.1", "AddressRefused")]
#[case("ftp://127.0.0.1", "InvalidCredentials")]
#[case("http://user:hunter2@127.0.0.1", "InvalidCredentials")]
#[case("http://127.0.0.1:1", "ConnectionRefused")]
#[tokio::test]
async fn unusable_endpoint_has_its_reason(#[case] endpoint: &str, #[case] reason: &str) {
    let mut request = s3(endpoint);
    request.connection.rules.instance_identity = true;
    request.connection.credentials = credentials([
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
    ]);
    let error = resolved(&request).await.unwrap_err();
    assert_eq!(error.reason(), reason, "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[rstest]
#[case("s3://b/m", [("AWS_ACCESS_KEY_ID", "id")], "belong together")]
#[case("s3://b/m", [("AWS_REGION", "x@127.0.0.1/")], "AWS_REGION may hold")]
#[case("az://c/m", [("AWS_REGION", "x")], "AZURE_STORAGE_ACCOUNT_NAME is missing")]
#[case("az://c/m", [("AZURE_STORAGE_ACCOUNT_NAME", "evil.example/")], "lower-case letters and digits")]
#[case("gs://b/m", [("GOOGLE_SERVICE_ACCOUNT_KEY", "hunter2")], "not the JSON")]
#[tokio::test]
async fn half_of_the_credentials_are_refused_by_name(
    #[case] uri: &str,
    #[case] secrets: [(&str, &str); 1],
    #[case] problem: &str,
) {
    let mut request = request(uri);
    request.connection.credentials = credentials(secrets);
    let error = resolved(&request).await.unwrap_err();
    assert_eq!((error.reason(), error.class()), ("InvalidCredentials", Class::InvalidConfiguration));
    assert!(error.to_string().contains(problem) && !error.to_string().contains("hunter2"), "{error}");
}

#[tokio::test]
async fn client_without_credentials_asks_no_metadata_service() {
    let server = WebServer::start(|_| Reply::new(404, "")).await;
    let error = resolved(&s3(&server.url(""))).await.unwrap_err();
    assert_eq!(error.reason(), "SourceNotFound", "{error}");
    assert!(server.requests().iter().all(|request| !request.headers.contains_key("authorization")));
}

#[tokio::test]
async fn store_that_sends_more_than_was_asked_for_is_cut_off() {
    let content = model(10, 0);
    let server = WebServer::start(move |request| {
        let mut reply = Reply::file(request, &content, "1").with("Last-Modified", MODIFIED);
        if request.range().is_some() {
            reply.body.extend([0; 1000]);
        }
        reply
    })
    .await;
    let error = resolved(&s3(&server.url(""))).await.unwrap_err();
    assert_eq!(error.reason(), "StoreUnreachable", "{error}");
    assert!(error.to_string().contains("more bytes"), "{error}");
}

/// When the objects of the fake stores were written.
const MODIFIED: &str = "Tue, 24 Nov 2026 00:00:00 GMT";

/// A Google store that names generations, as every bucket does; `gone` once that generation is not there any more.
async fn google(gone: bool) -> (WebServer, ResolveRequest) {
    let content = model(10, 0);
    let server = WebServer::start(move |request| match request.method.as_str() {
        "GET" if gone => Reply::new(404, ""),
        _ => Reply::file(request, &content, "1")
            .with("Last-Modified", MODIFIED)
            .with("x-goog-generation", "1700000000000000"),
    })
    .await;
    let mut request = request("gs://bucket/model.onnx");
    request.connection.endpoint = Some(server.url(""));
    (server, request)
}

#[tokio::test]
async fn generation_of_a_google_object_is_no_promise_to_keep_it() {
    let (server, request) = google(false).await;
    let resolved = resolved(&request).await.unwrap();
    assert_eq!(resolved.retrievable, Retrievable::WhileUnchanged);
    assert!(resolved.files[0].remote.version.is_some());
    drop(server);
}

#[tokio::test]
async fn version_that_is_gone_is_a_change_of_the_source() {
    let (_server, request) = google(true).await;
    let error = resolved(&request).await.unwrap_err();
    assert_eq!((error.reason(), error.class()), ("SourceChanged", Class::TryAgain));
}
