//! Models from a web server that behaves, and from several that do not.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rstest::rstest;

use crate::command::{Workbench, fixture, manifest};

/// How the server answers every request for a model.
#[derive(Clone, Copy)]
pub(crate) enum Manner {
    /// Sends the file and when it was modified; knows neither ranges nor etags, like `python -m http.server`.
    Plain,
    Status(&'static str),
    /// Redirects to this target.
    Redirect(&'static str),
    /// Promises the whole file and closes the connection in the middle.
    Truncated,
    /// Promises the whole file and stops in the middle.
    Stalled,
    /// Sends the file and says nothing by which a change could be noticed.
    Anonymous,
}

/// A web server on loopback, one thread per connection.
pub(crate) struct Web {
    port: u16,
    pub(crate) downloads: Arc<AtomicUsize>,
}

impl Web {
    pub(crate) fn start(content: Vec<u8>, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (content, downloads) = (Arc::new(content), Arc::new(AtomicUsize::new(0)));
        let counter = Arc::clone(&downloads);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (content, counter) = (Arc::clone(&content), Arc::clone(&counter));
                // A client that goes away is its own business.
                std::thread::spawn(move || drop(answer(&stream, &content, manner, &counter)));
            }
        });
        Self { port, downloads }
    }

    pub(crate) fn uri(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }
}

fn answer(
    mut stream: &TcpStream,
    content: &[u8],
    manner: Manner,
    downloads: &AtomicUsize,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let head = request.starts_with("HEAD ");
    let (status, extra, length) = match manner {
        Manner::Anonymous => ("200 OK", String::new(), content.len()),
        Manner::Plain | Manner::Truncated | Manner::Stalled => {
            ("200 OK", "last-modified: Tue, 03 Nov 2026 10:00:00 GMT\r\n".to_owned(), content.len())
        }
        Manner::Status(status) => (status, String::new(), 0),
        Manner::Redirect(target) => ("302 Found", format!("location: {target}\r\n"), 0),
    };
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{extra}connection: close\r\n\r\n")?;
    if !head && length > 0 {
        downloads.fetch_add(1, Ordering::SeqCst);
        let sent = if matches!(manner, Manner::Truncated | Manner::Stalled) { length / 2 } else { length };
        stream.write_all(&content[..sent])?;
        if matches!(manner, Manner::Stalled) {
            // Until the client has gone.
            let _ = stream.read(&mut [0; 16]);
        }
    }
    Ok(())
}

#[test]
fn model_from_a_plain_web_server_is_served_and_fetched_once() {
    let bench = Workbench::new();
    let web = Web::start(std::fs::read(fixture("add.onnx")).unwrap(), Manner::Plain);
    let text = manifest("web", &web.uri("add.onnx"));
    bench.run_once(&text).expect_code(0);
    let downloads = web.downloads.load(Ordering::SeqCst);
    bench.run_once(&text).expect_code(0);
    assert_eq!((downloads > 0, web.downloads.load(Ordering::SeqCst)), (true, downloads));
}

#[test]
fn sigterm_while_a_source_is_tried_again_ends_in_order() {
    let bench = Workbench::new();
    bench.copy_fixture("add.onnx", "add.onnx");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let gone = manifest("gone", &format!("http://127.0.0.1:{port}/model.onnx"));
    // The other Model says when everything is under way.
    let serving = bench.serve(&format!("{gone}---\n{}", manifest("there", "file:add.onnx")), 1);
    let finished = serving.terminate();
    assert!(!finished.expect_code(0).stderr.contains("panicked"), "{}", finished.stderr);
}

#[test]
fn web_server_that_is_gone_leaves_the_former_revision_serving() {
    let bench = Workbench::new();
    let web = Web::start(std::fs::read(fixture("add.onnx")).unwrap(), Manner::Plain);
    let text = manifest("web", &web.uri("add.onnx"));
    bench.run_once(&text).expect_code(0);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let record = bench.path("data/models/default/web/source.json");
    let moved = std::fs::read_to_string(&record).unwrap().replace(&web.port.to_string(), &port.to_string());
    std::fs::write(&record, moved).unwrap();
    let gone = text.replace(&web.port.to_string(), &port.to_string());
    bench.run_once(&gone).expect_code(0).expect_error(&["former revision", &port.to_string()]);
}

#[rstest]
#[case::missing(Manner::Status("404 Not Found"), &["does not exist"])]
#[case::forbidden(Manner::Status("403 Forbidden"), &["denied", "credentials"])]
#[case::truncated(Manner::Truncated, &["ended after"])]
#[case::other_scheme(Manner::Redirect("https://127.0.0.1:1/model.onnx"), &["redirect"])]
#[case::link_local(Manner::Redirect("http://169.254.169.254/latest"), &["169.254.169.254", "metadata"])]
#[case::for_ever(Manner::Redirect("/model.onnx"), &["redirect"])]
fn answers_of_a_web_server_that_are_no_model_are_named(#[case] manner: Manner, #[case] says: &[&str]) {
    let bench = Workbench::new();
    let web = Web::start(std::fs::read(fixture("add.onnx")).unwrap(), manner);
    let uri = web.uri("model.onnx");
    bench.run_once(&manifest("web", &uri)).expect_code(1).expect_error(&["failed web: "]).expect_error(says);
}

#[test]
fn plain_http_behind_an_https_uri_is_a_tls_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("https://{}/model.onnx", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // What the client sends first is no HTTP; a web server says so, in plain HTTP.
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    Workbench::new().run_once(&manifest("web", &uri)).expect_code(1).expect_error(&["TLS", &uri]);
}

#[test]
fn server_that_is_not_there_is_named_with_its_address() {
    let bench = Workbench::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let uri = format!("http://127.0.0.1:{port}/model.onnx");
    bench.run_once(&manifest("web", &uri)).expect_code(1).expect_error(&[&format!("127.0.0.1:{port}")]);
}

#[test]
fn html_page_in_place_of_a_model_is_recognised() {
    let bench = Workbench::new();
    let web = Web::start(b"<!DOCTYPE html><html><body>Sign in</body></html>".to_vec(), Manner::Plain);
    bench.run_once(&manifest("web", &web.uri("model.onnx"))).expect_code(1).expect_error(&["HTML"]);
}
