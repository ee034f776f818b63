//! A model that was trained here, asked and answering in the words of its data.

use modelwright_protocol::v1::View;
use serde_json::json;

use crate::harness::{TestServer, config, load, load_request};

/// What the training of `classifier.onnx` would have written: the class of the larger number, and NaN counts as 0.
const SCHEMA: &str = r#"{"classes":["benign","malignant"],"columns":[
    {"deviation":1.0,"fill":0.0,"mean":0.0,"name":"softness","type":"Numeric"},
    {"deviation":1.0,"fill":0.0,"mean":0.0,"name":"mean_radius","type":"Numeric"}],
    "layout":"Features","target":"diagnosis","task":"Binary","version":"1"}"#;

async fn server() -> TestServer {
    let server = TestServer::start_with(config(), &[]).await;
    let model = load(&load_request("classifier"));
    let view = View::from_schema(SCHEMA.as_bytes(), model.model().signature()).unwrap();
    server.registry.ready("classifier", model.with_view(view));
    server
}

#[tokio::test]
async fn records_name_columns_and_answers_name_classes() {
    let server = server().await;
    let body =
        r#"{"instances":[{"mean_radius":17.5,"softness":3},{"softness":0.5,"mean_radius":null},[1,1]]}"#;
    for path in ["/predict", "/v1/models/classifier:predict"] {
        let answer = server.post(path, body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let rows = answer.json()["predictions"].as_array().unwrap().clone();
        let labels: Vec<_> = rows.iter().map(|row| row["label"].as_str().unwrap()).collect();
        assert_eq!(labels, ["malignant", "benign", "benign"]);
        assert!(rows[0]["probabilities"]["malignant"].as_f64().unwrap() > 0.99, "{answer:?}");
        // The missing radius counts as 0: the difference is 0.5, and 1 / (1 + exp(-0.5)) is 0.622.
        let benign = rows[1]["probabilities"]["benign"].as_f64().unwrap();
        assert!((benign - 0.622_459_3).abs() < 1e-5, "{answer:?}");
        assert_eq!(rows[2]["probabilities"], json!({"benign": 0.5, "malignant": 0.5}));
    }
}

#[tokio::test]
async fn records_that_do_not_fit_are_refused_by_row_and_column() {
    let server = server().await;
    let refused = async |body: &str| {
        let answer = server.post("/predict", body.to_owned()).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        answer.error()
    };
    let error = refused(r#"{"instances":[[1,2],{"softness":1}]}"#).await;
    assert!(error.starts_with("instances[1]: the field \"mean_radius\" is missing; write null"), "{error}");
    let error = refused(r#"{"instances":[{"softness":1,"radius":1}]}"#).await;
    assert!(
        error.contains("unknown field \"radius\"; the model takes \"softness\", \"mean_radius\""),
        "{error}"
    );
    let error = refused(r#"{"instances":[{"softness":"1","mean_radius":1}]}"#).await;
    assert!(error.starts_with("instances[0].softness: got the string \"1\", wanted a number"), "{error}");
}

#[tokio::test]
async fn metadata_and_v2_are_those_of_the_tensors() {
    let server = server().await;
    let metadata = server.get("/v2/models/classifier").await.json();
    assert_eq!(metadata["inputs"], json!([{"name": "features", "datatype": "FP32", "shape": [-1, 2]}]));
    let request = |data: &str| {
        format!(r#"{{"inputs":[{{"name":"features","shape":[1,2],"datatype":"FP32","data":{data}}}]}}"#)
    };
    let answer = server.post("/v2/models/classifier/infer", request("[1,1]")).await.json();
    assert_eq!(
        (&answer["outputs"][0]["data"], &answer["outputs"][1]["data"]),
        (&json!(["benign"]), &json!([0.5, 0.5]))
    );
    let refused = server.post("/v2/models/classifier/infer", request("[1,null]")).await;
    assert_eq!(refused.status, 400);
    assert!(refused.error().contains("data[1]: got null"), "{refused:?}");
}

#[tokio::test]
async fn without_a_view_null_is_refused_and_probabilities_have_no_names() {
    let server = TestServer::start(&["classifier"]).await;
    let refused = server.post("/predict", r#"{"instances":[[1,null]]}"#).await;
    assert_eq!(refused.status, 400);
    assert!(refused.error().starts_with("instances[0][1]: got null"), "{refused:?}");
    let answer = server.post("/predict", r#"{"instances":[{"features":[1,1]}]}"#).await;
    assert_eq!(answer.json()["predictions"], json!([{"label": "benign", "probabilities": [0.5, 0.5]}]));
}
