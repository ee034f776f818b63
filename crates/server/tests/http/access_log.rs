//! The log of requests.

use std::fmt::Write;
use std::sync::{Mutex, OnceLock};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::harness::{ADD, TestServer, config, until};

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps the lines of the access log of all servers of this process.
struct Keep;

#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, "{}={value:?} ", field.name()).unwrap();
    }
}

impl Subscriber for Keep {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "modelwright::access"
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        LINES.lock().unwrap().push(line.0);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn lines_of(model: &str) -> Vec<String> {
    let needle = format!("model=\"{model}\"");
    LINES.lock().unwrap().iter().filter(|line| line.contains(&needle)).cloned().collect()
}

/// A server whose model `add` has another name, so that its lines are told from those of other tests.
async fn server(share: f64, name: &str) -> TestServer {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| tracing::subscriber::set_global_default(Keep).unwrap());
    let mut config = config();
    config.access_log = share;
    let server = TestServer::start_with(config, &[]).await;
    server.registry.ready(name, crate::harness::load(&crate::harness::load_request("add")));
    server
}

#[tokio::test]
async fn a_line_says_what_was_asked_and_how_it_ended_but_no_content() {
    let server = server(1.0, "logged").await;
    let secret = ADD.replace("\"7\"", "\"secret-id\"");
    let answer = server.post("/v2/models/logged/infer?token=secret", secret.clone()).await;
    until(async || lines_of("logged").len() == 1).await;
    let line = lines_of("logged").remove(0);
    for part in [
        "method=\"POST\"",
        "route=\"infer\"",
        "status=200",
        "duration_us=",
        &format!("bytes_in={}", secret.len()),
        &format!("bytes_out={}", answer.body.len()),
    ] {
        assert!(line.contains(part), "{part} is missing in {line}");
    }
    server.get("/v2/models/made-up-secret").await;
    assert!(!LINES.lock().unwrap().iter().any(|line| line.contains("secret")));
}

#[tokio::test]
async fn a_share_of_requests_is_logged() {
    let server = server(0.25, "sampled").await;
    for _ in 0..8 {
        // One connection, hence one thread.
        assert_eq!(server.post("/v2/models/sampled/infer", ADD).await.status, 200);
    }
    assert_eq!(lines_of("sampled").len(), 2);
}

#[tokio::test]
async fn nothing_is_logged_unless_it_is_wanted() {
    let server = server(0.0, "silent").await;
    assert_eq!(server.post("/v2/models/silent/infer", ADD).await.status, 200);
    assert!(lines_of("silent").is_empty());
}
