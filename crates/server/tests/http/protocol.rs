//! What clients of the protocol see: routes, answers, and the table of errors.

use rstest::rstest;

use crate::harness::{ADD, TestServer, client, load, load_request, until};

#[tokio::test]
async fn inference_answers_with_name_version_and_id() {
    let server = TestServer::start(&["add"]).await;
    for path in ["/v2/models/add/infer", "/v2/models/add/versions/1/infer", "/v2/models/%61dd/infer"] {
        let answer = server.post(path, ADD).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(
            answer.body,
            r#"{"model_name":"add","model_version":"1","id":"7","outputs":[{"name":"sum","shape":[1,2],"datatype":"FP32","data":[11.0,22.5]}]}"#
        );
    }
}

#[tokio::test]
async fn named_records_are_predicted() {
    let server = TestServer::start(&["add"]).await;
    let body = r#"{"instances":[{"a":[1,2],"b":[3,4]},{"a":[5,6],"b":[7,8]}]}"#;
    for path in ["/v1/models/add:predict", "/predict"] {
        let answer = server.post(path, body).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, r#"{"predictions":[[4.0,6.0],[12.0,14.0]]}"#)
        );
    }
}

#[tokio::test]
async fn only_the_outputs_asked_for_are_sent_in_that_order() {
    let server = TestServer::start(&["identity"]).await;
    let types = [
        "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "BF16",
        "FP32", "FP64", "BYTES",
    ];
    let inputs: Vec<String> = types
        .iter()
        .map(|name| {
            let value = match *name {
                "BOOL" => "true",
                "BYTES" => "\"a\\u00e9\"",
                _ => "3",
            };
            let lower = name.to_lowercase();
            format!(r#"{{"name":"x_{lower}","shape":[1,1],"datatype":"{name}","data":[{value}]}}"#)
        })
        .collect();
    let body = |outputs: &str| format!(r#"{{"inputs":[{}]{outputs}}}"#, inputs.join(","));
    let all = server.post("/v2/models/identity/infer", body("")).await;
    assert_eq!(all.json()["outputs"].as_array().unwrap().len(), types.len(), "{all:?}");
    let some = server
        .post("/v2/models/identity/infer", body(r#","outputs":[{"name":"y_bytes"},{"name":"y_bool"}]"#))
        .await;
    let outputs = some.json()["outputs"].clone();
    assert_eq!(outputs[0]["data"], serde_json::json!(["aé"]), "{some:?}");
    assert_eq!(outputs[1]["name"], "y_bool");
    assert_eq!(outputs.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn metadata_and_health_have_the_protocols_form() {
    let server = TestServer::start(&["add"]).await;
    let is = async |path: &str, expected: &str| {
        let answer = server.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert_eq!(answer.json(), serde_json::from_str::<serde_json::Value>(expected).unwrap(), "{path}");
    };
    let metadata = server.get("/v2").await.json();
    assert_eq!(metadata["name"], "modelwright");
    assert_eq!(server.get("/v2/").await.json(), metadata);
    is("/v2/health/live", r#"{"live":true}"#).await;
    is("/v2/health/ready", r#"{"ready":true}"#).await;
    is("/v2/models/add/ready", r#"{"name":"add","ready":true}"#).await;
    is("/v2/models/add/versions/1/ready", r#"{"name":"add","ready":true}"#).await;
    is("/v1/models", r#"{"models":["add"]}"#).await;
    is("/v1/models/add", r#"{"name":"add","ready":true}"#).await;
    let model = r#"{"name":"add","versions":["1"],"platform":"onnxruntime_onnx",
        "inputs":[{"name":"a","datatype":"FP32","shape":[-1,2]},{"name":"b","datatype":"FP32","shape":[-1,2]}],
        "outputs":[{"name":"sum","datatype":"FP32","shape":[-1,2]}]}"#;
    is("/v2/models/add", model).await;
    is("/v2/models/add/versions/1", model).await;
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let server = TestServer::start(&["add"]).await;
    for path in ["/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/add", "/v2/models/add/ready"] {
        let answer = server.send(server.client.head(server.url(path))).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{path}");
        assert_ne!(answer.header("content-length"), "", "{path}");
    }
    let raw = server.raw(b"HEAD /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(raw.starts_with("HTTP/1.1 200") && raw.ends_with("\r\n\r\n"), "{raw}");
}

/// The rows of the error table that concern a request's content. `{a}` stands for a correct first input.
#[rstest]
#[case::empty("", "empty")]
#[case::white_space("  \n", "empty")]
#[case::malformed("{\"inputs\":[}", "JSON")]
#[case::truncated("{\"inputs\":[{\"name\":\"a\",\"shape\":[1,2],\"datatype\":\"FP32\",\"data\":[1,", "JSON")]
#[case::no_object("[1,2,3]", "object")]
#[case::trailing("{\"inputs\":[{a},{b}]} x", "JSON")]
#[case::not_utf8_text("\u{0}\u{1}", "JSON")]
#[case::no_inputs("{\"id\":\"1\"}", "\"inputs\" is missing")]
#[case::no_shape(r#"{"inputs":[{"name":"a","datatype":"FP32","data":[1,2]},{b}]}"#, "\"shape\" is missing")]
#[case::no_data(r#"{"inputs":[{"name":"a","shape":[1,2],"datatype":"FP32"},{b}]}"#, "\"data\" is missing")]
#[case::too_few(r#"{"inputs":[{"name":"a","shape":[1,2],"datatype":"FP32","data":[1]},{b}]}"#, "data")]
#[case::too_many(r#"{"inputs":[{"name":"a","shape":[1,2],"datatype":"FP32","data":[1,2,3]},{b}]}"#, "data")]
#[case::text(r#"{"inputs":[{"name":"a","shape":[1,2],"datatype":"FP32","data":["x",2]},{b}]}"#, "data[0]")]
#[case::null(r#"{"inputs":[{"name":"a","shape":[1,2],"datatype":"FP32","data":[1,null]},{b}]}"#, "data[1]")]
#[case::nan(r#"{"inputs":[{"name":"a","shape":[1,2],"datatype":"FP32","data":[NaN,1]},{b}]}"#, "data[0]")]
#[case::too_large_for_type(
    r#"{"inputs":[{"name":"a","shape":[1,2],"datatype":"FP32","data":[1e400,1]},{b}]}"#,
    "data[0]"
)]
#[case::datatype(r#"{"inputs":[{"name":"a","shape":[1,2],"datatype":"FP64","data":[1,2]},{b}]}"#, "FP64")]
#[case::no_such_datatype(
    r#"{"inputs":[{"name":"a","shape":[1,2],"datatype":"FLOAT","data":[1,2]},{b}]}"#,
    "FLOAT"
)]
#[case::dimensions(
    r#"{"inputs":[{"name":"a","shape":[1,3],"datatype":"FP32","data":[1,2,3]},{b}]}"#,
    "[1, 3]"
)]
#[case::rank(r#"{"inputs":[{"name":"a","shape":[2],"datatype":"FP32","data":[1,2]},{b}]}"#, "[2]")]
#[case::negative(
    r#"{"inputs":[{"name":"a","shape":[-1,2],"datatype":"FP32","data":[1,2]},{b}]}"#,
    "negative"
)]
#[case::zero_batch(r#"{"inputs":[{"name":"a","shape":[0,2],"datatype":"FP32","data":[]},{b}]}"#, "empty")]
#[case::huge(
    r#"{"inputs":[{"name":"a","shape":[4611686018427387904,2],"datatype":"FP32","data":[]},{b}]}"#,
    "elements"
)]
#[case::missing_input(r#"{"inputs":[{a}]}"#, "\"b\" is missing")]
#[case::unknown_input(
    r#"{"inputs":[{a},{b},{"name":"c","shape":[1],"datatype":"FP32","data":[1]}]}"#,
    "\"c\""
)]
#[case::twice(r#"{"inputs":[{a},{a},{b}]}"#, "more than once")]
#[case::unknown_output(r#"{"inputs":[{a},{b}],"outputs":[{"name":"z"}]}"#, "\"z\"")]
#[case::shapes_that_do_not_go_together(
    r#"{"inputs":[{"name":"a","shape":[3,2],"datatype":"FP32","data":[1,2,3,4,5,6]},{"name":"b","shape":[2,2],"datatype":"FP32","data":[1,2,3,4]}]}"#,
    "Add node"
)]
#[tokio::test]
async fn a_request_that_does_not_fit_is_a_400_that_names_what(#[case] body: &str, #[case] names: &str) {
    let server = TestServer::start(&["add"]).await;
    let input = |name: &str| format!(r#"{{"name":"{name}","shape":[1,2],"datatype":"FP32","data":[1,2]}}"#);
    let body = body.replace("{a}", &input("a")).replace("{b}", &input("b"));
    let answer = server.post("/v2/models/add/infer", body).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let error = answer.error();
    assert!(error.contains(names), "{error}");
    assert!(error.len() < 500, "{error}");
    let after = server.post("/v2/models/add/infer", ADD).await;
    assert_eq!(after.status, 200, "{after:?}");
}

#[tokio::test]
async fn an_output_that_json_cannot_carry_is_a_500_with_a_hint() {
    let server = TestServer::start(&["log"]).await;
    let body = r#"{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1,-1]}]}"#;
    let answer = server.post("/v2/models/log/infer", body).await;
    assert_eq!(answer.status, 500);
    let error = answer.error();
    assert!(error.contains("\"y\": element 1 is NaN") && error.contains("binary"), "{error}");
}

/// The request and answer of the binary tensor extension, as tritonclient sends and reads them.
#[tokio::test]
async fn binary_tensors_go_both_ways() {
    let server = TestServer::start(&["log"]).await;
    let json = r#"{"parameters":{"binary_data_output":true},"inputs":[{"name":"x","shape":[2],"datatype":"FP32","parameters":{"binary_data_size":8}}]}"#;
    let body = [json.as_bytes(), &1_f32.to_le_bytes(), &(-1_f32).to_le_bytes()].concat();
    let request = server.client.post(server.url("/v2/models/log/infer")).body(body);
    let answer = request.header("Inference-Header-Content-Length", json.len()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/octet-stream");
    let length = answer.headers()["inference-header-content-length"].to_str().unwrap().parse().unwrap();
    let body = answer.bytes().await.unwrap();
    let (json, tail) = body.split_at(length);
    let json: serde_json::Value = serde_json::from_slice(json).unwrap();
    assert_eq!(json["outputs"][0]["parameters"]["binary_data_size"], 8);
    assert_eq!(tail[..4], 0_f32.to_le_bytes());
    assert!(f32::from_le_bytes(tail[4..].try_into().unwrap()).is_nan());
}

#[tokio::test]
async fn a_length_of_the_json_that_does_not_fit_is_refused_by_its_name() {
    let server = TestServer::start(&["add"]).await;
    for length in
        ["abc".to_owned(), "-1".to_owned(), (ADD.len() + 1).to_string(), (ADD.len() - 1).to_string()]
    {
        let request = server.client.post(server.url("/v2/models/add/infer")).body(ADD);
        let answer = server.send(request.header("Inference-Header-Content-Length", &length)).await;
        assert_eq!(answer.status, 400, "{length}: {answer:?}");
    }
    let request = server.client.post(server.url("/v2/models/add/infer")).body(ADD);
    let answer = server.send(request.header("Inference-Header-Content-Length", ADD.len())).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn the_content_type_does_not_matter() {
    let server = TestServer::start(&["add"]).await;
    for content_type in ["application/json", "application/octet-stream", "text/plain", "nonsense"] {
        let request = server.client.post(server.url("/v2/models/add/infer")).body(ADD);
        let answer = server.send(request.header("Content-Type", content_type)).await;
        assert_eq!(answer.status, 200, "{content_type}");
    }
}

#[rstest]
#[case("GET", "/v2/models/nope", 404, "\"add\", \"log\"")]
#[case("GET", "/v2/models/nope/ready", 404, "there is no model \"nope\"")]
#[case("POST", "/v2/models/nope/infer", 404, "there is no model \"nope\"")]
#[case("POST", "/v1/models/nope:predict", 404, "there is no model \"nope\"")]
#[case("GET", "/v1/models/nope", 404, "there is no model \"nope\"")]
#[case("GET", "/v2/models/add/versions/2", 404, "version \"2\"; it serves version \"1\"")]
#[case("GET", "/v2/models/add/versions/2/ready", 404, "version \"2\"")]
#[case("POST", "/v2/models/add/versions/2/infer", 404, "version \"2\"")]
#[case("POST", "/predict", 404, "\"add\", \"log\"")]
#[case("GET", "/v3", 404, "GET /, /v2")]
#[case("POST", "/", 405, "GET, HEAD")]
#[case("GET", "/v2/models/add/", 404, "there is no path \"/v2/models/add/\"")]
#[case("POST", "/v2/repository/models/add/load", 403, "--repository-control")]
#[case("POST", "/v2/repository/models/nope/unload", 403, "admin port")]
#[case("GET", "/v2/repository/models/add/load", 405, "POST")]
#[case("GET", "/v2/repository/index", 405, "POST")]
#[case("POST", "/v2/models/add/config", 405, "GET, HEAD")]
#[case("GET", "/v2/models/nope/config", 404, "there is no model \"nope\"")]
#[case("GET", "/v2/models/nope/stats", 404, "there is no model \"nope\"")]
#[case("GET", "/v2/models/add/versions/2/stats", 404, "version \"2\"")]
#[case("GET", "/v2/models/add/versions/2/config", 404, "version \"2\"")]
#[case("GET", "/v2/repository", 404, "there is no path")]
#[case("POST", "/v1/models/nope:explain", 404, "there is no model \"nope\"")]
#[case("POST", "/v2/health/live", 405, "GET, HEAD")]
#[case("DELETE", "/v2/models/add", 405, "GET, HEAD")]
#[case("GET", "/v2/models/add/infer", 405, "POST")]
#[case("HEAD", "/v2/models/add/infer", 405, "")]
#[case("PUT", "/predict", 405, "POST")]
#[tokio::test]
async fn what_does_not_exist_says_what_does(
    #[case] method: &str,
    #[case] path: &str,
    #[case] status: u16,
    #[case] names: &str,
) {
    let server = TestServer::start(&["add", "log"]).await;
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let answer = server.send(server.client.request(method.clone(), server.url(path)).body("{}")).await;
    assert_eq!(answer.status, status, "{answer:?}");
    if method != reqwest::Method::HEAD {
        assert!(answer.error().contains(names), "{answer:?}");
    }
    if status == 405 {
        assert!(["POST", "GET, HEAD"].contains(&answer.header("allow")), "{answer:?}");
    }
}

#[tokio::test]
async fn a_model_that_is_not_ready_is_a_503_with_a_time_to_come_back() {
    let server = TestServer::start(&["add"]).await;
    server.registry.loading("slow");
    server.registry.failed("bad", "ModelRejected", "no graph");
    for (name, why) in [("slow", "still loading"), ("bad", "ModelRejected: no graph")] {
        for path in
            [format!("/v2/models/{name}"), format!("/v2/models/{name}/ready"), format!("/v1/models/{name}")]
        {
            let answer = server.get(&path).await;
            assert_eq!(answer.status, 503, "{path}");
            assert!(answer.error().contains(why), "{answer:?}");
            assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
        }
        assert_eq!(server.post(&format!("/v2/models/{name}/infer"), ADD).await.status, 503);
    }
    let ready = server.get("/v2/health/ready").await;
    assert_eq!(ready.status, 503);
    assert!(ready.error().contains("\"slow\" is still loading"), "{ready:?}");
    assert_eq!(server.get("/v2/health/live").await.status, 200);
    assert_eq!(server.post("/v2/models/add/infer", ADD).await.status, 200);
}

#[tokio::test]
async fn http2_without_tls_works_on_the_same_port() {
    let server = TestServer::start(&["add"]).await;
    let client = client().http2_prior_knowledge().build().unwrap();
    let requests = (0..20).map(|_| client.post(server.url("/v2/models/add/infer")).body(ADD).send());
    for response in futures::future::join_all(requests).await {
        let response = response.unwrap();
        assert_eq!((response.version(), response.status().as_u16()), (reqwest::Version::HTTP_2, 200));
    }
    let large = "x".repeat(100);
    assert_eq!(client.post(server.url("/nowhere")).body(large).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn requests_may_be_sent_before_answers_are_read() {
    let server = TestServer::start(&["add"]).await;
    let request = format!(
        "POST /v2/models/add/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{ADD}",
        ADD.len()
    );
    let last = "GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answers = server.raw(format!("{request}{request}{last}").as_bytes()).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "{answers}");
}

#[tokio::test]
async fn a_model_is_replaced_without_a_failed_request() {
    let server = TestServer::start(&["add"]).await;
    let version = async || {
        let answer = server.post("/v2/models/add/infer", ADD).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["model_version"].as_str().unwrap().to_owned()
    };
    assert_eq!(version().await, "1");
    let asking = until(async || version().await == "0123456789abcdef");
    let replacing = async {
        let model = tokio::task::spawn_blocking(|| load(&load_request("add"))).await.unwrap();
        let next = modelwright_server::ReadyModel::new("0123456789abcdef", model.model().clone());
        server.registry.ready("add", next);
    };
    tokio::join!(asking, replacing);
    assert_eq!(server.get("/v2/models/add/versions/1/ready").await.status, 404);
}
