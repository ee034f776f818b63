//! The log of payloads, as a sink gets it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use modelwright_protocol::v1::View;
use modelwright_server::{PayloadLog, PayloadLogConfig, PayloadMode, PayloadSink};
use serde_json::{Value, json};

use crate::grpc::client::{Client as GrpcClient, add};
use crate::harness::{ADD, TestServer, config, load, load_request, until};
use crate::receiver::{Client, Receiver};

fn wanted(sink: PayloadSink) -> PayloadLogConfig {
    PayloadLogConfig {
        model: "add".to_owned(),
        namespace: Some("demo".to_owned()),
        sink,
        mode: PayloadMode::All,
        sample_percent: 100,
        redact: vec![],
        max_bytes: 1000,
    }
}

fn to(receiver: &Receiver) -> PayloadSink {
    PayloadSink::Http { url: receiver.url("/events"), poster: Client::new() }
}

/// A server whose model `add` has such a log.
async fn server_with(config_of_log: PayloadLogConfig) -> TestServer {
    let server = TestServer::start_with(config(), &[]).await;
    let log = PayloadLog::start(config_of_log).unwrap();
    server.registry.ready("add", load(&load_request("add")).with_payload_log(log).unwrap());
    server
}

fn events(receiver: &Receiver) -> Vec<Value> {
    let events = receiver.received().into_iter().map(|received| {
        assert_eq!(received.path, "/events");
        assert_eq!(received.headers["content-type"], "application/cloudevents+json");
        serde_json::from_slice(&received.body).unwrap()
    });
    events.collect()
}

fn of<'a>(events: &'a [Value], half: &str) -> Vec<&'a Value> {
    let kind = format!("dev.modelwright.inference.{half}");
    events.iter().filter(|event| event["type"] == kind.as_str()).collect()
}

#[tokio::test]
async fn a_prediction_is_two_events_with_the_tensors_as_json() {
    let receiver = Receiver::start().await;
    let server = server_with(wanted(to(&receiver))).await;
    let request = server.client.post(server.url("/v2/models/add/infer")).bearer_auth("secret-key").body(ADD);
    assert_eq!(server.send(request).await.status, 200);
    server.stop().await;
    let events = events(&receiver);
    assert_eq!(events.len(), 2, "{events:?}");
    let request = of(&events, "request")[0];
    for (key, expected) in [
        ("specversion", "1.0"),
        ("id", "7"),
        ("source", "/apis/modelwright.dev/v1alpha1/namespaces/demo/models/add"),
        ("datacontenttype", "application/json"),
        ("modelname", "add"),
        ("revision", "1"),
        ("namespace", "demo"),
    ] {
        assert_eq!(request[key], expected, "{key}");
    }
    assert!(request["time"].as_str().unwrap().ends_with('Z'));
    let inputs = json!([
        {"name": "a", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.0]},
        {"name": "b", "datatype": "FP32", "shape": [1, 2], "data": [10.0, 20.5]}]);
    assert_eq!(request["data"], json!({"id": "7", "inputs": inputs}));
    let response = &of(&events, "response")[0]["data"];
    assert_eq!((&response["model_name"], &response["model_version"]), (&json!("add"), &json!("1")));
    assert_eq!(response["outputs"][0]["data"], json!([11.0, 22.5]));
    assert!(!format!("{:?}", receiver.received()).contains("secret"));
}

#[tokio::test]
async fn calls_of_grpc_and_v1_are_logged_as_the_same_json() {
    let receiver = Receiver::start().await;
    let server = server_with(wanted(to(&receiver))).await;
    GrpcClient::of(&server).await.infer(add()).await.unwrap();
    let body = r#"{"inputs":{"a":[[1,2]],"b":[[10,20.5]]}}"#;
    assert_eq!(server.post("/v1/models/add:predict", body).await.status, 200);
    until(async || receiver.received().len() == 4).await;
    let events = events(&receiver);
    let (requests, responses) = (of(&events, "request"), of(&events, "response"));
    assert_eq!(requests[0]["data"]["inputs"], requests[1]["data"]["inputs"]);
    let ids: Vec<_> = requests.iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert!(ids.contains(&"7") && ids[0] != ids[1], "{ids:?}");
    assert_eq!(responses[0]["data"]["outputs"][0]["data"], json!([11.0, 22.5]));
}

#[tokio::test]
async fn sampling_takes_request_and_answer_together_and_modes_one_of_them() {
    let receiver = Receiver::start().await;
    let server = server_with(PayloadLogConfig { sample_percent: 25, ..wanted(to(&receiver)) }).await;
    for _ in 0..100 {
        assert_eq!(server.post("/v2/models/add/infer", ADD.replace("\"7\"", "\"\"")).await.status, 200);
    }
    server.stop().await;
    let events = events(&receiver);
    let ids = |half| {
        let mut ids: Vec<_> = of(&events, half).iter().map(|event| event["id"].clone().to_string()).collect();
        ids.sort();
        ids.dedup();
        ids
    };
    assert_eq!((ids("request").len(), ids("request")), (25, ids("response")));
    for (mode, half) in [(PayloadMode::Request, "request"), (PayloadMode::Response, "response")] {
        let receiver = Receiver::start().await;
        let server = server_with(PayloadLogConfig { mode, ..wanted(to(&receiver)) }).await;
        assert_eq!(server.post("/v2/models/add/infer", ADD).await.status, 200);
        server.stop().await;
        let events = self::events(&receiver);
        assert_eq!((events.len(), of(&events, half).len()), (1, 1));
    }
}

#[tokio::test]
async fn hidden_values_appear_nowhere() {
    let receiver = Receiver::start().await;
    let output = load(&load_request("add")).model().signature().outputs[0].name.clone();
    let redact = vec!["a".to_owned(), output];
    let server = server_with(PayloadLogConfig { redact, ..wanted(to(&receiver)) }).await;
    let secret = ADD.replace(
        "[1,2],\"datatype\":\"FP32\",\"data\":[1,2]",
        "[1,2],\"datatype\":\"FP32\",\"data\":[31337,2]",
    );
    assert_ne!(secret, ADD);
    assert_eq!(server.post("/v2/models/add/infer", secret).await.status, 200);
    server.stop().await;
    let events = events(&receiver);
    let input = &of(&events, "request")[0]["data"]["inputs"][0];
    assert_eq!(
        *input,
        json!({"name": "a", "datatype": "FP32", "shape": [1, 2], "parameters": {"redacted": true}})
    );
    let text = format!("{events:?}");
    // The sum would tell it, too.
    assert!(!text.contains("31337") && !text.contains("31347"), "{text}");
}

#[tokio::test]
async fn hidden_columns_of_the_training_data_are_null_in_their_tensor() {
    let receiver = Receiver::start().await;
    let server = TestServer::start_with(config(), &[]).await;
    let schema = r#"{"classes":["benign","malignant"],"columns":[
        {"deviation":1.0,"fill":0.0,"mean":0.0,"name":"softness","type":"Numeric"},
        {"deviation":1.0,"fill":0.0,"mean":0.0,"name":"mean_radius","type":"Numeric"}],
        "layout":"Features","target":"diagnosis","task":"Binary","version":"1"}"#;
    let model = load(&load_request("classifier"));
    let view = View::from_schema(schema.as_bytes(), model.model().signature()).unwrap();
    let redact = vec!["mean_radius".to_owned()];
    let log = PayloadLog::start(PayloadLogConfig { redact, ..wanted(to(&receiver)) }).unwrap();
    let misspelt =
        PayloadLog::start(PayloadLogConfig { redact: vec!["radius".to_owned()], ..wanted(to(&receiver)) });
    let refused = model.clone().with_view(view.clone()).with_payload_log(misspelt.unwrap()).unwrap_err();
    assert!(
        refused.to_string().contains("\"radius\"") && refused.to_string().contains("\"mean_radius\""),
        "{refused}"
    );
    server.registry.ready("classifier", model.with_view(view).with_payload_log(log).unwrap());
    let body = r#"{"instances":[{"mean_radius":31337.5,"softness":3},[1,31338.5]]}"#;
    assert_eq!(server.post("/predict", body).await.status, 200);
    server.stop().await;
    let events = events(&receiver);
    let input = &of(&events, "request")[0]["data"]["inputs"][0];
    assert_eq!(input["data"], json!([3.0, null, 1.0, null]));
    assert_eq!(input["parameters"], json!({"redacted": "mean_radius"}));
    assert!(!format!("{events:?}").contains("3133"));
}

#[tokio::test]
async fn of_a_payload_over_the_bound_only_its_shape_is_logged() {
    let receiver = Receiver::start().await;
    let server = server_with(PayloadLogConfig { max_bytes: 10, ..wanted(to(&receiver)) }).await;
    assert_eq!(server.post("/v2/models/add/infer", ADD).await.status, 200);
    server.stop().await;
    for event in events(&receiver) {
        let tensors = event["data"].get("inputs").or_else(|| event["data"].get("outputs")).unwrap();
        assert_eq!(
            (&tensors[0]["shape"], &tensors[0]["parameters"]),
            (&json!([1, 2]), &json!({"omitted": "maxBytes"}))
        );
        assert!(tensors[0].get("data").is_none());
    }
}

#[tokio::test]
async fn sink_that_is_down_neither_slows_nor_fails_requests_and_is_counted() {
    let receiver = Receiver::start().await;
    receiver.answer_with(503);
    let server = server_with(wanted(to(&receiver))).await;
    let started = Instant::now();
    for _ in 0..20 {
        assert_eq!(server.post("/v2/models/add/infer", ADD).await.status, 200);
    }
    assert!(started.elapsed() < Duration::from_secs(20));
    let waiting = server.admin("/metrics").await.body;
    assert!(waiting.contains("modelwright_payload_log_waiting_bytes{model=\"add\"}"), "{waiting}");
    receiver.answer_with(200);
    let sent = "modelwright_payload_log_events_total{model=\"add\",outcome=\"sent\"} 40";
    until(async || server.admin("/metrics").await.body.contains(sent)).await;
    receiver.answer_with(403);
    assert_eq!(server.post("/v2/models/add/infer", ADD).await.status, 200);
    let failed = "modelwright_payload_log_events_total{model=\"add\",outcome=\"failed\"} 2";
    until(async || server.admin("/metrics").await.body.contains(failed)).await;
}

#[tokio::test]
async fn a_file_gets_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("payloads.jsonl");
    let server = server_with(wanted(PayloadSink::File(path.clone()))).await;
    assert_eq!(server.post("/v2/models/add/infer", ADD).await.status, 200);
    server.stop().await;
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    let nowhere = PayloadSink::File(folder.path().join("missing/payloads.jsonl"));
    assert!(PayloadLog::start(wanted(nowhere)).unwrap_err().to_string().contains("cannot be written"));
    let _: Arc<PayloadLog> = PayloadLog::start(wanted(PayloadSink::Stdout)).unwrap();
}
