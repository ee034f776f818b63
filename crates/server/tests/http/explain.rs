//! Explanations over HTTP. What they are is proved in `modelwright-explain`; here, that a model's own tensors get there and back.

use std::path::Path;

use modelwright_protocol::v1::View;
use modelwright_runtime::LoadRequest;
use serde_json::{Value, json};

use crate::harness::{Answer, TestServer, config, load, load_request};

/// As in `trained.rs`, with what the training data had on average.
const SCHEMA: &str = r#"{"classes":["benign","malignant"],"columns":[
    {"baseline":1.0,"deviation":1.0,"fill":0.0,"mean":0.0,"name":"softness","type":"Numeric"},
    {"baseline":2.0,"deviation":1.0,"fill":0.0,"mean":0.0,"name":"mean_radius","type":"Numeric"}],
    "layout":"Features","target":"diagnosis","task":"Binary","version":"1"}"#;

const PATH: &str = "/v1/models/classifier:explain";

async fn server() -> TestServer {
    let server = TestServer::start_with(config(), &["add"]).await;
    let model = load(&load_request("classifier"));
    let view = View::from_schema(SCHEMA.as_bytes(), model.model().signature()).unwrap();
    server.registry.ready("classifier", model.with_view(view));
    server
}

/// The probability that the classifier gives the larger of two numbers: of benign, by softness less radius.
fn benign(softness: f64, radius: f64) -> f64 {
    1.0 / (1.0 + (radius - softness).exp())
}

fn near(found: &Value, expected: f64) {
    let found = found.as_f64().unwrap();
    assert!((found - expected).abs() < 1e-5, "{found} where {expected} is right");
}

fn ok(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[tokio::test]
async fn columns_get_their_shapley_values_against_the_training_data() {
    let server = server().await;
    let answer = ok(&server.post(PATH, r#"{"instances":[{"softness":3,"mean_radius":0.5},[0,4]]}"#).await);
    assert_eq!(
        answer["baseline"],
        json!({"source": "training", "rows": 1, "values": {"softness": 1.0, "mean_radius": 2.0}})
    );
    let row = &answer["explanations"][0];
    assert_eq!((&row["method"], &row["target"]), (&json!("shapley"), &json!("benign")));
    near(&row["prediction"], benign(3.0, 0.5));
    near(&row["base_value"], benign(1.0, 2.0));
    let softness = f64::midpoint(benign(3.0, 2.0) - benign(1.0, 2.0), benign(3.0, 0.5) - benign(1.0, 0.5));
    assert_eq!(
        (&row["attributions"][0]["name"], &row["attributions"][0]["value"]),
        (&json!("softness"), &json!(3.0))
    );
    near(&row["attributions"][0]["attribution"], softness);
    near(&row["attributions"][1]["attribution"], benign(3.0, 0.5) - benign(1.0, 2.0) - softness);
    near(&row["additivity_gap"], 0.0);
    assert_eq!(row["evaluations"], 4);
    // The second row is malignant, and that is what is explained.
    let row = &answer["explanations"][1];
    assert_eq!(row["target"], "malignant");
    near(&row["prediction"], 1.0 - benign(0.0, 4.0));
}

#[tokio::test]
async fn explanations_are_measured_apart_from_predictions() {
    let server = server().await;
    ok(&server.post(PATH, r#"{"instances":[[3,0.5]]}"#).await);
    let metrics = server.admin("/metrics").await.body;
    for name in ["inference_duration_seconds", "queue_duration_seconds", "batch_rows"] {
        let line = format!("modelwright_{name}_count{{model=\"classifier\",priority=\"low\"}} ");
        assert!(metrics.contains(&line), "{line} is missing in:\n{metrics}");
    }
    assert!(!metrics.contains("priority=\"normal\""), "{metrics}");
    let statistics = server.get("/v2/models/classifier/stats").await.json();
    assert_eq!(statistics["model_stats"][0]["inference_count"], 0);
}

#[tokio::test]
async fn sensitivities_are_no_attributions() {
    let server = server().await;
    let body = r#"{"instances":[[3,0.5]],"parameters":{"method":"sensitivity","target":"malignant","baseline":"zeros"}}"#;
    let answer = ok(&server.post(PATH, body).await);
    assert_eq!(answer["baseline"]["source"], "zeros");
    let row = &answer["explanations"][0];
    assert_eq!((&row["method"], row.get("attributions")), (&json!("sensitivity"), None));
    near(&row["sensitivities"][0]["sensitivity"], benign(0.0, 0.5) - benign(3.0, 0.5));
}

#[tokio::test]
async fn rows_of_the_request_are_a_baseline() {
    let server = server().await;
    let body = r#"{"instances":[[3,0.5]],"parameters":{"target":0,"baseline":[{"softness":0,"mean_radius":0},[1,3]]}}"#;
    let answer = ok(&server.post(PATH, body).await);
    assert_eq!(answer["baseline"], json!({"source": "request", "rows": 2}));
    near(&answer["explanations"][0]["base_value"], f64::midpoint(0.5, benign(1.0, 3.0)));
    assert_eq!(answer["explanations"][0]["evaluations"], 8);
}

#[tokio::test]
async fn v2_bodies_are_explained_by_the_elements_of_their_tensors() {
    let server = server().await;
    let body = r#"{"id":"7","parameters":{"method":"shapley","target":"benign"},
        "inputs":[{"name":"features","shape":[1,2],"datatype":"FP32","data":[3,0.5]}]}"#;
    let answer = ok(&server.post("/v2/models/classifier/explain", body).await);
    assert_eq!((&answer["model_name"], &answer["id"]), (&json!("classifier"), &json!("7")));
    near(&answer["explanations"][0]["prediction"], benign(3.0, 0.5));
}

#[tokio::test]
async fn requests_that_cannot_be_answered_say_what_can() {
    let server = server().await;
    for (parameters, expected) in [
        (r#"{"method":"integrated_gradients"}"#, "has no explain.onnx"),
        (r#"{"method":"lime"}"#, "unknown variant `lime`, expected one of `auto`"),
        (r#"{"samples":20}"#, "unknown field `samples`"),
        (
            r#"{"target":"unclear"}"#,
            "\"unclear\" is not explained by this model; it knows the classes benign",
        ),
        (r#"{"target":2}"#, "positions are below 2"),
        (r#"{"max_evaluations":0}"#, "nonzero"),
        (r#"{"max_evaluations":3}"#, "shapley of 2 columns takes at least 4 evaluations"),
        (r#"{"max_evaluations":1000000}"#, "a request may take 200000; send fewer rows"),
        (r#"{"baseline":"mean"}"#, "parameters.baseline: \"mean\" is unknown; \"training\""),
        (r#"{"baseline":{"softness":1}}"#, "parameters.baseline, as rows of its own: instances[0]"),
        (r#"{"output":"label"}"#, "name an output FP32 or FP64"),
    ] {
        let body = format!(r#"{{"instances":[[1,2]],"parameters":{parameters}}}"#);
        let answer = server.post(PATH, body).await;
        assert_eq!(answer.status, 400, "{parameters}: {answer:?}");
        assert!(answer.error().contains(expected), "{parameters}: {}", answer.error());
    }
    assert_eq!(server.get(PATH).await.status, 405);
    assert_eq!(server.post("/v1/models/none:explain", "{}").await.status, 404);
}

/// A revision as the built-in trainer writes it.
async fn trained() -> TestServer {
    let server = TestServer::start_with(config(), &[]).await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/trained");
    let model = load(&LoadRequest { path: folder.join("model.onnx"), ..load_request("add") });
    let schema = std::fs::read(folder.join("schema.json")).unwrap();
    let view = View::from_schema(&schema, model.model().signature()).unwrap();
    let ready = model.with_view(view).with_explain_model(folder.join("explain.onnx"));
    server.registry.ready("trained", ready);
    server
}

/// A row with every kind of value, one of them missing.
const ROW: &str = r#"{"output/scaled":true,"größe":false,"age/scaled":"Bern","layer1/sum":true,"日本":40.5,"ein Wort":null,
    "age/filled":true,"age":false,"output/second":true}"#;

#[tokio::test]
async fn gradients_explain_what_was_trained_here() {
    let server = trained().await;
    let explain = async |parameters: &str| {
        let body = format!(r#"{{"instances":[{ROW}],"parameters":{parameters}}}"#);
        ok(&server.post("/v1/models/trained:explain", body).await)
    };
    let predicted = server.post("/v1/models/trained:predict", format!(r#"{{"instances":[{ROW}]}}"#)).await;
    let predicted = ok(&predicted)["predictions"][0].clone();
    let answer = explain("{}").await;
    assert_eq!(answer["baseline"]["source"], "training");
    let row = &answer["explanations"][0];
    assert_eq!((&row["method"], &row["target"]), (&json!("integrated_gradients"), &predicted["label"]));
    near(&row["prediction"], predicted["probabilities"][row["target"].as_str().unwrap()].as_f64().unwrap());
    assert_eq!((row["attributions"].as_array().unwrap().len(), &row["evaluations"]), (9, &json!(258)));
    assert_eq!(
        row["attributions"][5],
        json!({"name": "ein Wort", "value": null, "attribution": row["attributions"][5]["attribution"]})
    );
    for class in 0..6 {
        let gradients = explain(&format!(r#"{{"target":"class {class}"}}"#)).await["explanations"][0].clone();
        let shapley =
            explain(&format!(r#"{{"target":{class},"method":"shapley"}}"#)).await["explanations"][0].clone();
        // Both distribute the same difference, the first as far as its steps go.
        assert!(gradients["additivity_gap"].as_f64().unwrap().abs() < 1e-4, "{gradients}");
        near(&shapley["additivity_gap"], 0.0);
        near(&gradients["base_value"], shapley["base_value"].as_f64().unwrap());
        near(&gradients["prediction"], shapley["prediction"].as_f64().unwrap());
        let none = |explanation: &Value, column: usize| {
            explanation["attributions"][column]["attribution"].as_f64().unwrap().abs() < 1e-6
        };
        // What a column has as in the baseline adds nothing, by any method.
        let same = |column: usize| {
            gradients["attributions"][column]["value"]
                == answer["baseline"]["values"][gradients["attributions"][column]["name"].as_str().unwrap()]
        };
        for column in (0..9).filter(|&column| same(column)) {
            assert!(none(&gradients, column) && none(&shapley, column), "{column}: {gradients} {shapley}");
        }
    }
}

#[tokio::test]
async fn an_unusable_explain_model_is_named_and_shapley_goes_on() {
    let server = TestServer::start_with(config(), &[]).await;
    let model = load(&load_request("classifier"));
    let view = View::from_schema(SCHEMA.as_bytes(), model.model().signature()).unwrap();
    // The file of another model.
    let other = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/trained/explain.onnx");
    server.registry.ready("classifier", model.with_view(view).with_explain_model(other));
    let refused = server.post(PATH, r#"{"instances":[[1,2]]}"#).await;
    assert_eq!(refused.status, 500);
    assert!(
        refused.error().contains("explain.onnx: it does not take what model.onnx beside it takes"),
        "{refused:?}"
    );
    ok(&server.post(PATH, r#"{"instances":[[1,2]],"parameters":{"method":"shapley"}}"#).await);
}

#[tokio::test]
async fn models_of_scalar_inputs_need_no_schema() {
    let server = server().await;
    let body = r#"{"instances":[{"a":[1,2],"b":[10,20]}]}"#;
    let answer = server.post("/v1/models/add:explain", body).await;
    let answer = ok(&answer);
    assert_eq!(answer["baseline"]["source"], "zeros");
    let row = &answer["explanations"][0];
    // The larger sum is the second: 2 + 20, and nothing else adds to it.
    assert_eq!((&row["target"], &row["prediction"]), (&json!(1), &json!(22.0)));
    for (column, (name, expected)) in
        [("a[0]", 0.0), ("a[1]", 2.0), ("b[0]", 0.0), ("b[1]", 20.0)].iter().enumerate()
    {
        let found = &row["attributions"][column];
        assert_eq!(found["name"], *name);
        near(&found["attribution"], *expected);
    }
}
