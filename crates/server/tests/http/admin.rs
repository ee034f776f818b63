//! Probes, metrics and the cold-start report.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::{ADD, ENDLESS, TestServer, load, load_request, slow, until};

#[tokio::test]
async fn metrics_count_by_model_route_and_class() {
    let server = TestServer::start(&["add"]).await;
    for _ in 0..3 {
        server.post("/v2/models/add/infer", ADD).await;
    }
    server.post("/v2/models/add/infer", "{").await;
    for n in 0..20 {
        server.get(&format!("/v2/models/made-up-{n}")).await;
        server.get(&format!("/made-up-{n}")).await;
    }
    // An answer counts until it has left, which the client may know before the server does.
    until(async || server.admin("/metrics").await.body.contains("modelwright_requests_in_flight 0")).await;
    let answer = server.admin("/metrics").await;
    assert!(answer.header("content-type").starts_with("application/openmetrics-text"));
    for line in [
        "modelwright_requests_total{model=\"add\",route=\"infer\",code=\"2xx\"} 3",
        "modelwright_requests_total{model=\"add\",route=\"infer\",code=\"4xx\"} 1",
        "modelwright_requests_total{model=\"unknown\",route=\"model_metadata\",code=\"4xx\"} 20",
        "modelwright_requests_total{model=\"unknown\",route=\"none\",code=\"4xx\"} 20",
        "modelwright_inference_duration_seconds_count{model=\"add\",priority=\"normal\"} 3",
        "modelwright_queue_duration_seconds_count{model=\"add\",priority=\"normal\"} 3",
        "modelwright_model_ready{model=\"add\"} 1",
        "modelwright_queue_requests{model=\"add\"} 0",
        "modelwright_running_requests{model=\"add\"} 0",
        "modelwright_model_sessions{model=\"add\"} 1",
        "# TYPE modelwright_model_busy_seconds counter",
        "modelwright_model_busy_seconds_total{model=\"add\"} ",
        "modelwright_requests_in_flight 0",
        "modelwright_model_info{model=\"add\",version=\"1\",execution_provider=\"CPU\",runtime_version=\"1.",
        "modelwright_model_load_seconds{model=\"add\"} ",
        "modelwright_model_warmup_seconds{model=\"add\"} ",
        "process_start_time_seconds ",
        "modelwright_build_info{version=\"",
    ] {
        assert!(answer.body.contains(line), "{line} is missing in:\n{}", answer.body);
    }
    assert!(!answer.body.contains("made-up"), "a client made a time series");
    assert!(answer.body.ends_with("# EOF\n"));
}

#[tokio::test]
async fn the_cold_start_report_has_the_stages_of_every_model() {
    let server = TestServer::start(&["picky"]).await;
    server.registry.ready("add", load(&load_request("add")).with_fetch_time(Duration::from_millis(1500)));
    server.registry.loading("later");
    server.registry.failed("bad", "ModelRejected", "no graph");
    let report = server.admin("/debug/coldstart").await.json();
    assert!(report["uptimeMs"].as_f64().unwrap() > 0.0);
    let model = |name: &str| {
        report["models"].as_array().unwrap().iter().find(|model| model["name"] == name).unwrap().clone()
    };
    let add = model("add");
    assert_eq!(
        (&add["state"], &add["version"], &add["fetchMs"]),
        (&"Ready".into(), &"1".into(), &1500.0.into())
    );
    for stage in ["readyAfterMs", "libraryMs", "sessionMs", "warmUpMs", "firstRunMs", "steadyRunMs"] {
        assert!(add[stage].as_f64().unwrap() >= 0.0, "{stage}: {add}");
    }
    assert!(model("picky")["warmUpFailure"].as_str().unwrap().contains("Gather"));
    assert_eq!(model("later")["state"], "Loading");
    assert_eq!(model("bad")["message"], "ModelRejected: no graph");
}

/// The rules for Prometheus' adapter name series as a scrape has them.
#[tokio::test]
async fn metrics_that_the_documentation_scales_by_are_in_a_scrape() {
    let document = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/autoscaling-signals.md");
    let document = std::fs::read_to_string(document).unwrap();
    let words = document.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    let series: BTreeSet<_> = words.filter(|word| word.starts_with("modelwright_")).collect();
    assert!(series.len() >= 6, "{series:?}");
    let server = TestServer::start(&["add"]).await;
    server.post("/v2/models/add/infer", ADD).await;
    let scrape = server.admin("/metrics").await.body;
    for name in series {
        let line = format!("\n{name}{{model=\"add\"");
        assert!(scrape.contains(&line), "{name} is not in:\n{scrape}");
    }
    assert!(scrape.contains("modelwright_queue_duration_seconds_count{model=\"add\",priority=\"normal\"} 1"));
}

#[tokio::test]
async fn the_load_of_a_busy_model_is_reported_and_that_of_others_is_none() {
    let server = TestServer::start(&["slow", "add"]).await;
    server.registry.loading("later");
    let request = server.client.post(server.url("/v2/models/slow/infer")).body(slow(ENDLESS));
    let endless = tokio::spawn(request.send());
    let report = async || server.admin("/load").await.json();
    // A look a second, so the share of the time of the session gets near to all of it.
    until(async || report().await["models"][1]["utilization"].as_f64().is_some_and(|share| share > 0.2))
        .await;
    let report = report().await;
    let slow = &report["models"][1];
    assert_eq!((&slow["name"], &slow["version"]), (&"slow".into(), &"1".into()));
    assert_eq!((&slow["running"], &slow["waiting"], &slow["capacity"]), (&1.into(), &0.into(), &1.into()));
    assert!(slow["inFlight"].as_f64().unwrap() > 0.0, "{slow}");
    assert!(slow["busySeconds"].as_f64().unwrap() > 0.0, "{slow}");
    let add = &report["models"][0];
    for number in ["inFlight", "utilization", "queueSeconds", "waiting", "waitingRows", "running"] {
        assert_eq!(add[number].as_f64(), Some(0.0), "{number}: {add}");
    }
    assert_eq!(report["models"].as_array().unwrap().len(), 2, "a model that loads has no load: {report}");
    endless.abort();
}

#[tokio::test]
async fn the_admin_port_has_probes_and_nothing_else() {
    let server = TestServer::start(&["add"]).await;
    assert_eq!(server.admin("/livez").await.body, "ok\n");
    assert_eq!(server.admin("/readyz").await.body, "ok\n");
    let absent = server.admin("/v2/models/add").await;
    assert_eq!(absent.status, 404);
    assert!(absent.error().contains("/readyz"), "{absent:?}");
    let post = server.send(server.client.post(format!("http://{}/livez", server.admin))).await;
    assert_eq!((post.status, post.header("allow")), (405, "GET, HEAD"));
    let head = server.send(server.client.head(format!("http://{}/readyz", server.admin))).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(server.get("/metrics").await.status, 404, "metrics are not for clients");
}

#[tokio::test]
async fn a_server_without_models_is_not_ready() {
    let server = TestServer::start(&[]).await;
    let ready = server.admin("/readyz").await;
    assert_eq!((ready.status, ready.body.as_str()), (503, "no model has been declared\n"));
    assert_eq!(server.post("/predict", ADD).await.status, 404);
}

#[tokio::test]
async fn idle_connections_do_not_keep_probes_out() {
    let server = TestServer::start(&["add"]).await;
    let mut idle = Vec::new();
    for n in 0..200 {
        let mut stream = TcpStream::connect(server.admin).await.unwrap();
        if n % 2 == 0 {
            stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.unwrap();
        }
        idle.push(stream);
    }
    for _ in 0..3 {
        let probe = server.admin("/livez").await;
        assert_eq!((probe.status, probe.header("connection")), (200, "close"));
    }
}

#[tokio::test]
async fn the_admin_port_does_not_speak_http2() {
    let server = TestServer::start(&[]).await;
    let client = crate::harness::client().http2_prior_knowledge().build().unwrap();
    assert!(client.get(format!("http://{}/livez", server.admin)).send().await.is_err());
}
