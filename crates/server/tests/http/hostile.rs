//! Clients that are slow, large, broken or unfriendly.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use modelwright_server::{ModelState, ServerConfig};
use rstest::rstest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{ADD, TestServer, config, read_to_end};

const SOON: Duration = Duration::from_millis(200);

fn small_bodies() -> ServerConfig {
    let mut config = config();
    config.bounds.max_body_bytes = 10_000;
    config
}

#[tokio::test]
async fn a_body_announced_as_too_large_is_refused_before_it_is_read() {
    let server = TestServer::start_with(small_bodies(), &["add"]).await;
    let head = "POST /v2/models/add/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 10001\r\n\r\n";
    let answer = server.raw(head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("larger than 10000 bytes"), "{answer}");
}

#[tokio::test]
async fn a_models_own_bound_on_bodies_replaces_the_servers() {
    let server = TestServer::start_with(small_bodies(), &["add"]).await;
    let Some(ModelState::Ready(model)) = server.registry.get("add") else { panic!("not ready") };
    server.registry.ready("tight", model.clone().with_max_body_bytes(ADD.len()));
    server.registry.ready("wide", model.with_max_body_bytes(20_000));
    for (model, bytes, status) in [("tight", ADD.len() + 1, 413), ("add", 10_001, 413), ("wide", 10_001, 200)]
    {
        let body = ADD.to_owned() + &" ".repeat(bytes - ADD.len());
        let request = server.client.post(server.url(&format!("/v2/models/{model}/infer"))).body(body);
        assert_eq!(server.send(request).await.status, status, "{model}");
    }
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_not_to_send_too_much() {
    let server = TestServer::start_with(small_bodies(), &["add"]).await;
    let head = "POST /v2/models/add/infer HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999\r\n\r\n";
    let answer = server.raw(head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let head = format!(
        "POST /v2/models/add/infer HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        ADD.len()
    );
    let mut stream = server.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut first = [0; 25];
    stream.read_exact(&mut first).await.unwrap();
    assert!(first.starts_with(b"HTTP/1.1 100 Continue"));
    stream.write_all(ADD.as_bytes()).await.unwrap();
    assert!(read_to_end(&mut stream).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_body_without_a_length_is_cut_off_at_the_bound() {
    let server = TestServer::start_with(small_bodies(), &["add"]).await;
    let mut stream = server.connect().await;
    stream
        .write_all(b"POST /v2/models/add/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    let chunk = format!("{:x}\r\n{}\r\n", 4000, " ".repeat(4000));
    for _ in 0..3 {
        stream.write_all(chunk.as_bytes()).await.unwrap();
    }
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn a_chunked_body_within_the_bound_is_read() {
    let server = TestServer::start(&["add"]).await;
    let chunk = |piece: &[u8]| format!("{:x}\r\n{}\r\n", piece.len(), std::str::from_utf8(piece).unwrap());
    let chunks = ADD.as_bytes().chunks(7).map(chunk).collect::<Vec<_>>().concat();
    let request = format!(
        "POST /v2/models/add/infer HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"
    );
    let answer = server.raw(request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("[11.0,22.5]"), "{answer}");
}

#[rstest]
#[case("gzip")]
#[case("deflate")]
#[tokio::test]
async fn packed_bodies_are_inflated(#[case] encoding: &str) {
    let server = TestServer::start_with(small_bodies(), &["add"]).await;
    let pack = |content: &[u8]| {
        if encoding == "gzip" {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        } else {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        }
    };
    let send = async |body: Vec<u8>| {
        let request =
            server.client.post(server.url("/v2/models/add/infer")).header("Content-Encoding", encoding);
        server.send(request.body(body)).await
    };
    let answer = send(pack(ADD.as_bytes())).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(send(pack(&vec![b' '; 10_000_000])).await.status, 413);
    let broken = send(ADD.as_bytes().to_vec()).await;
    assert_eq!(broken.status, 400);
    assert!(broken.error().contains("inflated"), "{broken:?}");
}

#[tokio::test]
async fn an_unknown_content_encoding_is_a_415() {
    let server = TestServer::start(&["add"]).await;
    let request =
        server.client.post(server.url("/v2/models/add/infer")).header("Content-Encoding", "br").body(ADD);
    let answer = server.send(request).await;
    assert_eq!(answer.status, 415);
    assert!(answer.error().contains("gzip or deflate"), "{answer:?}");
}

#[rstest]
#[case::nothing("")]
#[case::one_letter("P")]
#[case::half_a_head("POST /v2/models/add/infer HTTP/1.1\r\nHost: x\r\nX-Slow: ")]
#[case::half_a_preface("PRI * HTTP/2.0\r\n")]
#[tokio::test]
async fn a_client_that_stops_in_its_head_is_closed(#[case] sent: &str) {
    let mut config = config();
    config.bounds.header_read_timeout = SOON;
    let server = TestServer::start_with(config, &["add"]).await;
    let answer = server.raw(sent.as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!(server.get("/v2/health/live").await.status, 200);
}

#[tokio::test]
async fn a_client_that_stops_in_its_body_is_told_so() {
    let mut config = config();
    config.bounds.body_read_timeout = SOON;
    let server = TestServer::start_with(config, &["add"]).await;
    let sent = "POST /v2/models/add/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"in";
    let answer = server.raw(sent.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("did not arrive"), "{answer}");
}

#[tokio::test]
async fn a_client_that_leaves_in_its_body_harms_nobody() {
    let server = TestServer::start(&["add"]).await;
    let mut stream = server.connect().await;
    stream
        .write_all(b"POST /v2/models/add/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"in")
        .await
        .unwrap();
    drop(stream);
    assert_eq!(server.post("/v2/models/add/infer", ADD).await.status, 200);
}

/// A server whose answer a client does not read, and that client.
async fn unread_answer(config: ServerConfig) -> (TestServer, TcpStream) {
    let server = TestServer::start_with(config, &["log"]).await;
    // More than the kernel's buffers hold.
    let count = 3_000_000;
    let ones = "1,".repeat(count - 1) + "1";
    let body =
        format!(r#"{{"inputs":[{{"name":"x","shape":[{count}],"datatype":"FP32","data":[{ones}]}}]}}"#);
    let head =
        format!("POST /v2/models/log/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(server.data).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    crate::harness::until(async || {
        server
            .admin("/metrics")
            .await
            .body
            .contains("modelwright_requests_total{model=\"log\",route=\"infer\",code=\"2xx\"} 1")
    })
    .await;
    (server, stream)
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_closed() {
    let mut config = config();
    (config.bounds.header_read_timeout, config.bounds.write_timeout) = (SOON, SOON);
    config.drain.grace = Duration::from_hours(1);
    let (server, mut stream) = unread_answer(config).await;
    // The drain waits for the connection, which the grace period alone would not end.
    assert_eq!(server.stop().await.abandoned, 0);
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && !answer.ends_with("]}]}"), "the whole answer arrived");
}

#[tokio::test]
async fn an_answer_that_has_not_left_at_the_end_counts_as_abandoned() {
    let mut config = config();
    config.drain.grace = SOON;
    let (server, _stream) = unread_answer(config).await;
    assert_eq!(server.stop().await.abandoned, 1);
}

#[rstest]
#[case::no_such_model("/v2/models/nope/infer", "404", "there is no model")]
#[case::no_such_path("/nowhere", "404", "there is no path")]
#[case::too_large("/v2/models/tight/infer", "413", "larger than 100 bytes")]
#[tokio::test]
async fn a_client_that_sends_everything_first_sees_why_it_was_refused(
    #[case] path: &str,
    #[case] status: &str,
    #[case] why: &str,
) {
    let server = TestServer::start(&["add"]).await;
    let Some(ModelState::Ready(model)) = server.registry.get("add") else { panic!("not ready") };
    server.registry.ready("tight", model.with_max_body_bytes(100));
    let body = " ".repeat(5_000_000);
    for framing in ["Content-Length: 5000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n4c4b40\r\n"] {
        let answer =
            server.raw(format!("POST {path} HTTP/1.1\r\nHost: x\r\n{framing}{body}").as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(why), "{answer}");
        assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn a_refusal_after_the_whole_body_keeps_the_connection() {
    let server = TestServer::start(&["add"]).await;
    let refused = "POST /v2/models/add/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n\r\n";
    let last = "GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answers = server.raw(format!("{refused}{last}").as_bytes()).await;
    assert!(answers.starts_with("HTTP/1.1 400") && answers.contains("HTTP/1.1 200"), "{answers}");
}

#[rstest]
#[case::many("X-Many: 1\r\n".repeat(500))]
#[case::long(format!("X-Long: {}\r\n", "a".repeat(100_000)))]
#[tokio::test]
async fn heads_are_bounded(#[case] headers: String) {
    let server = TestServer::start(&["add"]).await;
    let answer = server.raw(format!("GET /v2 HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert_eq!(server.get("/v2").await.status, 200);
}

#[rstest]
#[case::depth(format!("{{\"inputs\":{}", "[".repeat(1_000_000)))]
#[case::depth_of_unknown(format!("{{\"x\":{}", "{\"a\":".repeat(200_000)))]
#[case::depth_of_data(format!(
    "{{\"inputs\":[{{\"name\":\"a\",\"shape\":[1,2],\"datatype\":\"FP32\",\"data\":{}",
    "[".repeat(100_000)
))]
#[case::many_inputs(format!("{{\"inputs\":[{}1]}}", "{},".repeat(100_000)))]
#[tokio::test]
async fn nesting_and_counts_are_bounded(#[case] body: String) {
    let server = TestServer::start(&["add"]).await;
    let answer = server.post("/v2/models/add/infer", body.clone()).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.error().len() < 500);
    assert_eq!(server.post("/v1/models/add:predict", body).await.status, 400);
}

#[rstest]
#[case("GET /v2/models/../../etc/passwd HTTP/1.1", "404")]
#[case("GET /v2/models/%2e%2e%2f%2e%2e%2fetc HTTP/1.1", "404")]
#[case("GET /v2/models/%00/ready HTTP/1.1", "404")]
#[case("GET /v2/models/%ff/ready HTTP/1.1", "404")]
#[case("GET /v2/models/%/ready HTTP/1.1", "404")]
#[case("GET //v2//models//add HTTP/1.1", "404")]
#[case("GET /v2/models/add/versions/1/versions/1 HTTP/1.1", "404")]
#[case("GET /v2/models/add?x=/../../ HTTP/1.1", "200")]
#[case("GET http://elsewhere/v2/models/add HTTP/1.1", "200")]
#[case("OPTIONS * HTTP/1.1", "404")]
#[case("CONNECT elsewhere:443 HTTP/1.1", "404")]
#[case("GET /v2/models/\u{e9} HTTP/1.1", "404")]
#[case("BREW /v2 HTTP/1.1", "405")]
#[case("GET /v2 HTTP/3.0", "400")]
#[case("nonsense", "400")]
#[tokio::test]
async fn strange_request_lines_get_plain_answers(#[case] line: &str, #[case] status: &str) {
    let server = TestServer::start(&["add"]).await;
    let answer = server.raw(format!("{line}\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await;
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    assert_eq!(server.get("/v2/models/add").await.status, 200);
}

#[tokio::test]
async fn a_path_of_thirty_kilobytes_is_not_echoed() {
    let server = TestServer::start(&["add"]).await;
    let answer = server.get(&format!("/v2/models/{}/ready", "a".repeat(30_000))).await;
    assert_eq!(answer.status, 404);
    assert!(answer.body.len() < 500, "{}", answer.body.len());
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_their_turn() {
    let mut config = config();
    config.bounds.max_connections = 1;
    let server = TestServer::start_with(config, &["add"]).await;
    let mut first = server.connect().await;
    first.write_all(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    first.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    let second = server.raw(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let mut second = std::pin::pin!(second);
    assert!(tokio::time::timeout(SOON, &mut second).await.is_err(), "the bound does not hold");
    drop(first);
    assert!(second.await.starts_with("HTTP/1.1 200"));
}
