//! How connections are spread over the I/O threads, and how they end.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use modelwright_server::ServerConfig;
use rstest::rstest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{ADD, TestServer, answer, client, config, read_to_end, until};

/// What a client of HTTP/2 says first: the preface and empty settings.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const GOAWAY: u8 = 7;
const LIVE: &[u8] = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n";

/// Sends a request and reads the head of its answer, and the few bytes of its body.
async fn ask(stream: &mut TcpStream) -> String {
    stream.write_all(LIVE).await.unwrap();
    let mut text = Vec::new();
    while !text.ends_with(b"}") {
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap();
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap().to_lowercase()
}

/// Reads frames of HTTP/2 until one of this kind.
async fn read_until(stream: &mut TcpStream, kind: u8) {
    let reading = async {
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut body = vec![0; length.try_into().unwrap()];
            stream.read_exact(&mut body).await.unwrap();
            if head[3] == kind {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reading).await.expect("it never came");
}

fn threads(count: usize) -> ServerConfig {
    ServerConfig { io_threads: NonZeroUsize::new(count).unwrap(), ..config() }
}

#[rstest]
#[case(1)]
#[case(2)]
#[case(4)]
#[tokio::test]
async fn eight_connections_are_spread_evenly(#[case] count: usize) {
    let server = TestServer::start_with(threads(count), &[]).await;
    let mut open = Vec::new();
    for _ in 0..8 {
        let mut stream = server.connect().await;
        ask(&mut stream).await;
        open.push(stream);
    }
    let metrics = server.admin("/metrics").await.body;
    for thread in 0..count {
        let line = format!("modelwright_connections{{thread=\"{thread}\"}} {}\n", 8 / count);
        assert!(metrics.contains(&line), "{line} is missing in:\n{metrics}");
    }
}

#[tokio::test]
async fn a_closed_connection_makes_room_on_its_thread() {
    let server = TestServer::start_with(threads(2), &[]).await;
    let mut open = Vec::new();
    for _ in 0..4 {
        let mut stream = server.connect().await;
        ask(&mut stream).await;
        open.push(stream);
    }
    // Both that the first thread has.
    drop((open.remove(2), open.remove(0)));
    let has = async |line: &str| server.admin("/metrics").await.body.contains(line);
    until(async || has("modelwright_connections{thread=\"0\"} 0\n").await).await;
    for _ in 0..2 {
        let mut stream = server.connect().await;
        ask(&mut stream).await;
        open.push(stream);
    }
    assert!(has("modelwright_connections{thread=\"0\"} 2\n").await);
    assert!(has("modelwright_connections{thread=\"1\"} 2\n").await);
}

#[tokio::test]
async fn the_admin_port_answers_while_every_io_thread_is_busy() {
    let server = TestServer::start_with(threads(2), &["log"]).await;
    let count = 20_000;
    let ones = "1.25,".repeat(count - 1) + "1.25";
    let body =
        format!(r#"{{"inputs":[{{"name":"x","shape":[{count}],"datatype":"FP32","data":[{ones}]}}]}}"#);
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let (client, url, body) =
                (client().build().unwrap(), server.url("/v2/models/log/infer"), body.clone());
            tokio::spawn(async move {
                let end = Instant::now() + Duration::from_secs(2);
                while Instant::now() < end {
                    let status = client.post(&url).body(body.clone()).send().await.unwrap().status().as_u16();
                    assert!([200, 503].contains(&status), "{status}");
                }
            })
        })
        .collect();
    for path in ["/livez", "/readyz", "/metrics", "/livez", "/readyz", "/metrics"] {
        let asked = Instant::now();
        assert_eq!(server.admin(path).await.status, 200, "{path}");
        assert!(asked.elapsed() < Duration::from_secs(30), "{path} took {:?}", asked.elapsed());
    }
    for client in clients {
        client.await.unwrap();
    }
}

fn aging() -> ServerConfig {
    let mut config = config();
    config.bounds.max_connection_age = Some(Duration::from_secs(2));
    config
}

#[tokio::test]
async fn an_old_connection_of_http1_ends_with_its_next_answer() {
    let server = TestServer::start_with(aging(), &[]).await;
    let mut stream = server.connect().await;
    assert!(!ask(&mut stream).await.contains("connection: close"));
    let mut is_last = false;
    while !is_last {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let answer = ask(&mut stream).await;
        assert!(answer.starts_with("http/1.1 200"), "{answer}");
        is_last = answer.contains("connection: close");
    }
    assert_eq!(read_to_end(&mut stream).await, "");
}

#[tokio::test]
async fn an_old_connection_of_http2_is_told_to_go() {
    let server = TestServer::start_with(aging(), &[]).await;
    let mut stream = server.connect().await;
    stream.write_all(HTTP2).await.unwrap();
    read_until(&mut stream, GOAWAY).await;
}

#[rstest]
#[case::http1(false)]
#[case::http2(true)]
#[tokio::test]
async fn no_request_is_lost_when_connections_grow_old(#[case] http2: bool) {
    let mut config = aging();
    config.bounds.max_connection_age = Some(Duration::from_millis(20));
    let server = TestServer::start_with(config, &["add"]).await;
    let builder = client();
    let client = if http2 { builder.http2_prior_knowledge() } else { builder }.build().unwrap();
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        let requests = (0..4).map(|_| client.post(server.url("/v2/models/add/infer")).body(ADD).send());
        for response in futures::future::join_all(requests).await {
            assert_eq!(answer(response.unwrap()).await.status, 200);
        }
    }
}

#[tokio::test]
async fn any_age_is_possible() {
    let mut config = config();
    config.bounds.max_connection_age = None;
    let server = TestServer::start_with(config, &[]).await;
    let mut stream = server.connect().await;
    assert!(!ask(&mut stream).await.contains("connection: close"));
}

#[tokio::test]
async fn the_end_is_announced_on_http2() {
    let server = TestServer::start(&[]).await;
    let mut stream = server.connect().await;
    stream.write_all(HTTP2).await.unwrap();
    // The settings: the server has understood what it is spoken to.
    read_until(&mut stream, 4).await;
    let ending = server.begin_shutdown();
    read_until(&mut stream, GOAWAY).await;
    drop(stream);
    assert_eq!(ending.wait().await.abandoned, 0);
}
