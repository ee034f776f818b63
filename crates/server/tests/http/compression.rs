//! Packed answers.

use std::io::Read;

use flate2::read::{GzDecoder, ZlibDecoder};
use rstest::rstest;

use crate::harness::{TestServer, client};

/// A request whose answer has about so many characters.
fn request(count: usize) -> String {
    let ones = "1,".repeat(count - 1) + "1";
    format!(r#"{{"inputs":[{{"name":"x","shape":[{count}],"datatype":"FP32","data":[{ones}]}}]}}"#)
}

#[rstest]
#[case::here("gzip", 1000)]
#[case::on_another_thread("gzip", 100_000)]
#[case::deflate("deflate", 1000)]
#[tokio::test]
async fn a_long_answer_is_packed_for_a_client_that_asks(#[case] coding: &str, #[case] count: usize) {
    let server = TestServer::start(&["log"]).await;
    let post = || server.client.post(server.url("/v2/models/log/infer")).body(request(count));
    let plain = server.send(post()).await;
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), ("", "accept-encoding"));
    let packed = post().header("Accept-Encoding", coding).send().await.unwrap();
    assert_eq!(packed.headers()["content-encoding"], coding);
    assert_eq!(packed.headers()["vary"], "accept-encoding");
    let bytes = packed.bytes().await.unwrap();
    assert!(bytes.len() < plain.body.len() / 4);
    let mut text = String::new();
    if coding == "gzip" {
        GzDecoder::new(bytes.as_ref()).read_to_string(&mut text).unwrap();
    } else {
        ZlibDecoder::new(bytes.as_ref()).read_to_string(&mut text).unwrap();
    }
    assert_eq!(text, plain.body);
}

#[tokio::test]
async fn a_short_answer_is_never_packed() {
    let server = TestServer::start(&["log"]).await;
    let request = server.client.get(server.url("/v2/models/log")).header("Accept-Encoding", "gzip");
    let answer = server.send(request).await;
    assert_eq!((answer.header("content-encoding"), answer.header("vary")), ("", ""));
}

#[tokio::test]
async fn metrics_are_packed_for_scrapers() {
    let server = TestServer::start(&["log"]).await;
    let request = client().build().unwrap().get(format!("http://{}/metrics", server.admin));
    let packed = request.header("Accept-Encoding", "gzip").send().await.unwrap();
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    let mut text = String::new();
    GzDecoder::new(packed.bytes().await.unwrap().as_ref()).read_to_string(&mut text).unwrap();
    assert!(text.ends_with("# EOF\n"));
}
