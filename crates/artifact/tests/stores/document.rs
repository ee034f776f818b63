//! Small documents of the web, such as an issuer's keys.

use modelwright_artifact::{AccessRules, read_document};
use rstest::rstest;

use crate::web_server::{Reply, WebServer};

async fn reason(url: &str, rules: AccessRules) -> Option<&'static str> {
    read_document(url, rules, 8).await.err().map(|error| error.reason())
}

#[tokio::test]
async fn document_is_read_with_its_query_and_without_credentials() {
    let server = WebServer::start(|request| match request.path.as_str() {
        "/keys?p=a%20b" => Reply::new(302, "").with("Location", "/there"),
        _ => Reply::new(200, "document"),
    })
    .await;
    let document = read_document(&server.url("/keys?p=a%20b"), AccessRules::LOCAL, 8).await.unwrap();
    assert_eq!(document, "document");
    let paths: Vec<_> = server.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/keys?p=a%20b", "/there"]);
    assert!(server.requests().iter().all(|request| !request.headers.contains_key("authorization")));
}

#[rstest]
#[case(Reply::new(200, "documents"), "TooLarge")]
#[case(Reply { length: false, ..Reply::new(200, "a longer document") }, "TooLarge")]
#[case(Reply::new(404, "no"), "SourceNotFound")]
#[case(Reply::new(403, "no"), "AccessDenied")]
#[case(Reply::new(503, "no"), "StoreUnreachable")]
#[case(Reply::new(302, "").with("Location", "http://169.254.169.254/"), "AddressRefused")]
#[case(Reply::new(302, "").with("Location", "https://example.com/"), "RedirectRefused")]
#[tokio::test]
async fn what_is_no_document_has_a_reason_and_is_not_tried_again(
    #[case] reply: Reply,
    #[case] expected: &str,
) {
    let server = WebServer::start(move |_| reply.clone()).await;
    assert_eq!(reason(&server.url("/keys"), AccessRules::LOCAL).await, Some(expected));
    assert_eq!(server.requests().len(), 1);
}

#[rstest]
#[case("http://127.0.0.1:9/", "AddressRefused")]
#[case("https://localhost:9/", "AddressRefused")]
#[case("https://a:b@127.0.0.1/", "InvalidUri")]
#[case("file:///etc/passwd", "InvalidUri")]
#[case("keys", "InvalidUri")]
#[tokio::test]
async fn address_that_may_not_be_asked_is_not(#[case] url: &str, #[case] expected: &str) {
    assert_eq!(reason(url, AccessRules::CLUSTER).await, Some(expected));
}
