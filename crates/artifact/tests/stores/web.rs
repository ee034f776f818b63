//! Web servers: with and without ranges, redirects, TLS, and what may not be asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use modelwright_artifact::{
    AccessRules, Class, Digest, Kind, NoProgress, ResolveRequest, Retrievable, Retry, probe,
    resolve_if_changed,
};
use rstest::rstest;
use tokio::io::AsyncWriteExt as _;

use crate::fixture::{credentials, model, request, resolved};
use crate::web_server::{Reply, Request, WebServer};

async fn good(content: Vec<u8>) -> WebServer {
    WebServer::start(move |request| Reply::file(request, &content, "1")).await
}

async fn failure(request: &ResolveRequest) -> (&'static str, String) {
    let error = resolved(request).await.unwrap_err();
    (error.reason(), error.to_string())
}

#[tokio::test]
async fn file_is_resolved_by_ranges() {
    let content = model(20_000, 0);
    let server = good(content.clone()).await;
    let resolved = resolved(&request(&server.url("/a%20b/model"))).await.unwrap();
    assert_eq!((resolved.kind, resolved.retrievable), (Kind::File, Retrievable::WhileUnchanged));
    assert_eq!(resolved.pin, Digest::of(&content));
    assert_eq!(resolved.digest, resolved.manifest.digest().unwrap());
    assert_eq!(resolved.facts.inputs[0].name, "x");
    let ranges = server.requests().iter().filter(|request| request.range().is_some()).count();
    assert!(ranges >= 5, "{ranges} ranges of {} bytes", content.len());
    assert!(server.requests().iter().all(|request| request.path == "/a%20b/model"));
}

#[tokio::test]
async fn server_without_head_is_asked_for_the_first_byte() {
    let content = model(20_000, 0);
    let server = WebServer::start(move |request| match request.method.as_str() {
        "HEAD" => Reply::new(405, ""),
        _ => Reply::file(request, &content, "1"),
    })
    .await;
    resolved(&request(&server.url("/m"))).await.unwrap();
}

#[rstest]
#[case::with_a_length(true)]
#[case::without_a_length(false)]
#[tokio::test]
async fn server_without_ranges_is_read_in_one_answer(#[case] length: bool) {
    let content = model(20_000, 0);
    let digest = Digest::of(&content);
    let server = WebServer::start(move |_| Reply { length, ..Reply::new(200, content.clone()) }).await;
    assert_eq!(resolved(&request(&server.url("/m"))).await.unwrap().pin, digest);
}

#[rstest]
#[case(404, "SourceNotFound", Class::Missing)]
#[case(401, "AccessDenied", Class::Missing)]
#[case(403, "AccessDenied", Class::Missing)]
#[case(418, "StoreRefused", Class::Missing)]
#[case(500, "StoreUnreachable", Class::Unreachable)]
#[case(503, "StoreUnreachable", Class::Unreachable)]
#[tokio::test]
async fn status_has_its_reason_and_the_body_stays_unsaid(
    #[case] status: u16,
    #[case] reason: &str,
    #[case] class: Class,
) {
    let server = WebServer::start(move |_| Reply::new(status, "hunter2")).await;
    let error = resolved(&request(&server.url("/m"))).await.unwrap_err();
    assert_eq!((error.reason(), error.class()), (reason, class));
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[tokio::test]
async fn failing_server_is_asked_again_within_limits() {
    let content = model(10, 0);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let server = WebServer::start(move |request| match count.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => Reply::new(503, ""),
        _ => Reply::file(request, &content, "1"),
    })
    .await;
    let mut request = request(&server.url("/m"));
    request.connection.retry = Retry { timeout: Duration::from_mins(1), attempts: 1 };
    assert_eq!(failure(&request).await.0, "StoreUnreachable");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    resolved(&request).await.unwrap();
}

#[tokio::test]
async fn truncated_download_says_how_much_came() {
    let content = model(20_000, 0);
    let server = WebServer::start(move |request| match request.range() {
        Some(range) if range.start > 0 => Reply { cut: 100, ..Reply::file(request, &content, "1") },
        _ => Reply::file(request, &content, "1"),
    })
    .await;
    let (reason, message) = failure(&request(&server.url("/m"))).await;
    assert_eq!(reason, "Truncated");
    assert!(message.contains("after 100 of 16384 bytes"), "{message}");

    let content = model(20_000, 0);
    let server = WebServer::start(move |_| Reply { cut: 1000, ..Reply::new(200, content.clone()) }).await;
    assert_eq!(failure(&request(&server.url("/m"))).await.0, "Truncated");
}

#[tokio::test]
async fn file_that_changes_while_it_is_read_is_noticed() {
    for tags in [["\"1\"", "\"2\""], ["W/\"1\"", "W/\"2\""]] {
        let content = model(20_000, 0);
        let server = WebServer::start(move |request| {
            let reply =
                Reply::file(&Request { headers: request.headers.clone(), ..request.clone() }, &content, "1");
            let late = request.range().is_some_and(|range| range.start > 0);
            let mut reply = if reply.status == 412 { Reply::new(412, "") } else { reply };
            reply.headers.retain(|(name, _)| *name != "ETag");
            reply.with("ETag", tags[usize::from(late)])
        })
        .await;
        let error = resolved(&request(&server.url("/m"))).await.unwrap_err();
        assert_eq!((error.reason(), error.class()), ("SourceChanged", Class::TryAgain));
    }
}

#[tokio::test]
async fn probe_tells_whether_anything_changed() {
    let tag = Arc::new(AtomicUsize::new(1));
    let (now, content) = (tag.clone(), model(10, 0));
    let server = WebServer::start(move |request| {
        Reply::file(request, &content, &now.load(Ordering::SeqCst).to_string())
    })
    .await;
    let request = request(&server.url("/m"));
    let first = resolved(&request).await.unwrap().probe;
    assert!(first.is_conclusive());
    assert_eq!(probe(&request).await.unwrap(), first);
    let known = first.fingerprint(&request.uri).unwrap();
    assert!(resolve_if_changed(&request, &known, &NoProgress).await.unwrap().is_none());
    tag.store(2, Ordering::SeqCst);
    assert_ne!(probe(&request).await.unwrap(), first);
    let changed = resolve_if_changed(&request, &known, &NoProgress).await.unwrap().unwrap();
    assert_ne!(changed.probe.fingerprint(&request.uri), Some(known));
}

#[tokio::test]
async fn modification_time_makes_a_fingerprint_and_nothing_makes_none() {
    let at = |headers: &'static [(&'static str, &'static str)]| async move {
        let content = model(10, 0);
        let server = WebServer::start(move |_| {
            headers
                .iter()
                .fold(Reply::new(200, content.clone()), |reply, (name, value)| reply.with(name, *value))
        })
        .await;
        let request = request(&server.url("/m"));
        let of_resolved = resolved(&request).await.unwrap().probe.fingerprint(&request.uri);
        let of_probe = probe(&request).await.unwrap().fingerprint(&request.uri);
        assert_eq!(of_resolved, of_probe);
        of_probe
    };
    assert!(at(&[("Last-Modified", "Tue, 03 Nov 2026 10:00:00 GMT")]).await.is_some());
    assert_eq!(at(&[]).await, None);
}

#[rstest]
#[case(3, None)]
#[case(4, Some("RedirectRefused"))]
#[tokio::test]
async fn at_most_three_redirects_are_followed(#[case] hops: usize, #[case] reason: Option<&str>) {
    let content = model(10, 0);
    let server = WebServer::start(move |request| {
        let at: usize = request.path.trim_start_matches('/').parse().unwrap();
        if at == hops {
            Reply::file(request, &content, "1")
        } else {
            Reply::new(302, "").with("Location", format!("/{}", at + 1))
        }
    })
    .await;
    let answer = resolved(&request(&server.url("/0"))).await;
    assert_eq!(answer.err().map(|error| error.reason()), reason);
}

#[rstest]
#[case("https://example.com/m", "RedirectRefused")]
#[case("http://169.254.169.254/latest/meta-data", "AddressRefused")]
#[case("http://[::ffff:169.254.169.254]/", "AddressRefused")]
#[case("http://0.0.0.0/", "AddressRefused")]
#[tokio::test]
async fn redirect_to_another_scheme_or_a_forbidden_address_is_refused(
    #[case] to: &'static str,
    #[case] reason: &str,
) {
    let server = WebServer::start(move |_| Reply::new(307, "").with("Location", to)).await;
    let error = resolved(&request(&server.url("/m"))).await.unwrap_err();
    assert_eq!((error.reason(), error.class()), (reason, Class::InvalidConfiguration));
}

#[tokio::test]
async fn bearer_token_goes_to_its_host_and_to_no_other() {
    let content = model(10, 0);
    let other = good(content.clone()).await;
    let there = other.url("/elsewhere");
    let server = WebServer::start(move |request| match request.path.as_str() {
        "/direct" => Reply::file(request, &content, "1"),
        _ => Reply::new(302, "").with("Location", there.clone()),
    })
    .await;
    for path in ["/direct", "/redirected"] {
        let mut request = request(&server.url(path));
        request.connection.credentials = credentials([("HTTP_BEARER_TOKEN", "hunter2")]);
        resolved(&request).await.unwrap();
    }
    let carries = |request: &Request| {
        request.headers.get("authorization").is_some_and(|value| value == "Bearer hunter2")
    };
    assert!(server.requests().iter().all(carries));
    assert!(!other.requests().is_empty() && !other.requests().iter().any(carries));
}

#[tokio::test]
async fn bearer_token_does_not_come_back_on_the_second_redirect_of_another_host() {
    let content = model(10, 0);
    let other = WebServer::start(move |request| match request.path.as_str() {
        "/first" => Reply::new(302, "").with("Location", "/second"),
        _ => Reply::file(request, &content, "1"),
    })
    .await;
    let there = other.url("/first");
    let server = WebServer::start(move |_| Reply::new(302, "").with("Location", there.clone())).await;
    let mut request = request(&server.url("/m"));
    request.connection.credentials = credentials([("HTTP_BEARER_TOKEN", "hunter2")]);
    resolved(&request).await.unwrap();
    assert!(server.requests().iter().all(|request| request.headers.contains_key("authorization")));
    assert!(other.requests().iter().any(|request| request.path == "/second"));
    assert!(other.requests().iter().all(|request| !request.headers.contains_key("authorization")));
}

#[rstest]
#[case(None, "Location")]
#[case(Some("http://"), "no address")]
#[case(Some("http://user:hunter2@127.0.0.1/"), "user or password")]
#[tokio::test]
async fn redirect_that_leads_nowhere_is_refused_as_such(
    #[case] to: Option<&'static str>,
    #[case] problem: &str,
) {
    let server = WebServer::start(move |_| match to {
        Some(to) => Reply::new(302, "").with("Location", to),
        None => Reply::new(302, ""),
    })
    .await;
    let (reason, message) = failure(&request(&server.url("/m"))).await;
    assert_eq!(reason, "RedirectRefused");
    assert!(message.contains(problem) && !message.contains("object store"), "{message}");
    assert!(!message.contains("hunter2"), "{message}");
}

#[tokio::test]
async fn tls_needs_an_authority_that_is_trusted() {
    let content = model(10, 0);
    let (server, authority) = WebServer::start_tls(move |request| Reply::file(request, &content, "1")).await;
    let mut request = request(&server.url("/m"));
    let error = resolved(&request).await.unwrap_err();
    assert_eq!((error.reason(), error.class()), ("TlsFailed", Class::Unreachable));
    assert!(error.to_string().contains("ca.crt"), "{error}");
    request.connection.credentials = credentials([("ca.crt", &authority)]);
    resolved(&request).await.unwrap();
    request.connection.credentials = credentials([("ca.crt", "nonsense")]);
    assert_eq!(failure(&request).await.0, "InvalidCredentials");
}

#[tokio::test]
async fn plain_http_answer_to_tls_is_a_tls_failure() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    assert_eq!(failure(&request(&format!("https://127.0.0.1:{port}/m"))).await.0, "TlsFailed");
}

#[rstest]
#[case("127.0.0.1")]
#[case("localhost")]
#[case("[::ffff:127.0.0.1]")]
#[tokio::test]
async fn loopback_is_refused_in_a_cluster(#[case] host: &str) {
    let server = good(model(10, 0)).await;
    let mut request = request(&format!("http://{host}:{}/m", server.address.port()));
    request.connection.rules = AccessRules::CLUSTER;
    request.connection.retry = Retry::FETCH;
    let error = resolved(&request).await.unwrap_err();
    assert_eq!((error.reason(), error.class()), ("AddressRefused", Class::InvalidConfiguration));
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn nothing_there_has_its_own_reasons() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert_eq!(failure(&request(&format!("http://127.0.0.1:{port}/m"))).await.0, "ConnectionRefused");
    // A label of 64 characters cannot exist, so no name server is asked.
    let name = "x".repeat(64);
    assert_eq!(failure(&request(&format!("http://{name}.invalid/m"))).await.0, "NameNotResolved");
}

#[tokio::test]
async fn page_instead_of_a_model_is_refused_as_such() {
    let server = WebServer::start(|_| Reply::new(200, "<!DOCTYPE html><html>Sign in</html>")).await;
    let error = resolved(&request(&server.url("/m"))).await.unwrap_err();
    assert_eq!((error.reason(), error.class()), ("NotOnnx", Class::BadData));
}

#[rstest]
#[case(b"hunter2: the secret of another service")]
#[case(b"\xffhunter2")]
#[case(b"\x08\x04\x12\x07hunter2")]
#[tokio::test]
async fn bytes_of_an_answer_stay_unsaid(#[case] body: &'static [u8]) {
    let server = WebServer::start(move |_| Reply::new(200, body)).await;
    let error = resolved(&request(&server.url("/m"))).await.unwrap_err();
    assert_eq!(error.reason(), "NotOnnx");
    for secret in ["hunter2", "68 75 6e"] {
        assert!(!format!("{error} {error:?}").contains(secret), "{error}");
    }
}

#[tokio::test]
async fn server_with_ranges_that_identifies_nothing_is_read_in_one_answer() {
    let content = model(20_000, 0);
    let server = WebServer::start(move |request| {
        let mut reply = Reply::file(request, &content, "1");
        reply.headers.retain(|(name, _)| *name != "ETag");
        reply
    })
    .await;
    resolved(&request(&server.url("/m"))).await.unwrap();
    let ranges = server.requests().iter().filter(|request| request.range().is_some()).count();
    assert_eq!(ranges, 0, "parts of two contents could be put together unnoticed");
}

#[tokio::test]
async fn folder_on_a_web_server_must_be_a_revision() {
    let (folder, manifest) = crate::fixture::revision(20_000, 0);
    let root = folder.path().to_owned();
    let server = WebServer::start(move |request| {
        let path = request.path.trim_start_matches("/bc/");
        match std::fs::read(root.join(path)) {
            Ok(content) => Reply::file(request, &content, "1"),
            Err(_) => Reply::new(404, ""),
        }
    })
    .await;
    let resolved = resolved(&request(&server.url("/bc/"))).await.unwrap();
    assert_eq!((resolved.kind, resolved.retrievable), (Kind::Revision, Retrievable::Always));
    assert_eq!((resolved.digest, resolved.pin), (manifest.digest().unwrap(), manifest.digest().unwrap()));
    let (reason, message) = failure(&request(&server.url("/bc/data/"))).await;
    assert_eq!(reason, "NoModel");
    assert!(message.contains("name the .onnx file"), "{message}");
}
