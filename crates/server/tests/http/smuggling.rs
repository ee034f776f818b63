//! Requests whose end two readers could see in different places.
//!
//! A proxy in front of the server may frame a request by one header and the server by another; what one of them takes
//! for a body is a request for the other (RFC 9112, section 11.2). Every head here is followed by bytes that are a
//! whole request for who is mistaken. It must never be answered.
use rstest::rstest;

use crate::harness::TestServer;

const SMUGGLED: &str = "GET /v2/models/smuggled HTTP/1.1\r\nHost: x\r\n\r\n";

fn answers(text: &str) -> usize {
    text.matches("HTTP/1.1 ").count()
}

/// What cannot be read in one way only is refused, and nothing that follows on the connection is read.
#[rstest]
#[case::two_lengths("Content-Length: 0\r\nContent-Length: 49\r\n")]
#[case::list_of_lengths("Content-Length: 0, 49\r\n")]
#[case::signed("Content-Length: +0\r\n")]
#[case::negative("Content-Length: -1\r\n")]
#[case::hexadecimal("Content-Length: 0x0\r\n")]
#[case::overflow("Content-Length: 18446744073709551616\r\n")]
#[case::not_chunked("Transfer-Encoding: identity\r\n")]
#[case::chunked_not_last("Transfer-Encoding: chunked, identity\r\n")]
#[case::nearly_chunked("Transfer-Encoding: xchunked\r\n")]
#[case::vertical_tab("Transfer-Encoding: \u{b}chunked\r\n")]
#[case::space_before_colon("Transfer-Encoding : chunked\r\n")]
#[case::folded_line("Transfer-Encoding:\r\n chunked\r\n")]
#[case::nul("X-Nul: a\0b\r\n")]
#[case::line_without_a_name(": 0\r\n")]
#[case::return_in_a_value("X-Return: a\rContent-Length: 49\r\n")]
#[tokio::test]
async fn ambiguous_heads_are_refused(#[case] headers: &str) {
    let server = TestServer::start(&["add"]).await;
    let head = format!("POST /v2/models/add/infer HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
    let answer = server.raw(format!("{head}{SMUGGLED}").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(answers(&answer), 1, "{answer}");
}

/// With both headers the encoding counts, and the connection ends after the answer (RFC 9112, section 6.1).
#[rstest]
#[case("Content-Length: 49\r\nTransfer-Encoding: chunked\r\n")]
#[case("Transfer-Encoding: chunked\r\nContent-Length: 49\r\n")]
#[tokio::test]
async fn length_beside_an_encoding_ends_the_connection(#[case] headers: &str) {
    let server = TestServer::start(&["add"]).await;
    let head = format!("POST /v2/models/add/infer HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
    let answer = server.raw(format!("{head}0\r\n\r\n{SMUGGLED}").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(answers(&answer), 1, "{answer}");
}

/// HTTP/1.0 has no chunks.
#[tokio::test]
async fn chunks_of_an_old_client_are_refused() {
    let server = TestServer::start(&["add"]).await;
    let head =
        "POST /v2/models/add/infer HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = server.raw(format!("{head}0\r\n\r\n{SMUGGLED}").as_bytes()).await;
    assert_eq!(answers(&answer), 1, "{answer}");
    assert!(answer.starts_with("HTTP/1.1 400") || answer.starts_with("HTTP/1.0 400"), "{answer}");
}

/// Chunks that are not what they say end the request and the connection.
#[rstest]
#[case::overflow("FFFFFFFFFFFFFFFFF\r\n")]
#[case::negative("-1\r\n")]
#[case::prefix("0x1\r\n{\r\n0\r\n\r\n")]
#[case::longer_than_it_says("1\r\n{}\r\n0\r\n\r\n")]
#[case::return_alone("1\r{\r0\r\r")]
#[case::feed_in_an_extension("1;a\nb\r\n{\r\n0\r\n\r\n")]
#[tokio::test]
async fn broken_chunks_end_the_connection(#[case] body: &str) {
    let server = TestServer::start(&["add"]).await;
    let head = "POST /v2/models/add/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = server.raw(format!("{head}{body}{SMUGGLED}").as_bytes()).await;
    assert!(answers(&answer) <= 1 && !answer.contains("smuggled"), "{answer}");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
}

/// The same length twice is one length, and what follows is a request of its own.
#[tokio::test]
async fn plain_requests_in_one_piece_are_all_answered() {
    let server = TestServer::start(&["add"]).await;
    let first = "POST /v2/models/add/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n{";
    let last = "GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = server.raw(format!("{first}{SMUGGLED}{last}").as_bytes()).await;
    assert_eq!(answers(&answer), 3, "{answer}");
    assert!(answer.contains("smuggled"), "{answer}");
}
