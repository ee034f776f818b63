//! Statistics, configuration and the repository index.

use serde_json::{Value, json};

use crate::harness::{ADD, TestServer};

#[tokio::test]
async fn the_server_names_its_extensions() {
    let server = TestServer::start(&[]).await;
    let extensions = server.get("/v2").await.json()["extensions"].clone();
    for extension in ["binary_tensor_data", "statistics", "model_configuration", "model_repository"] {
        assert!(extensions.as_array().unwrap().contains(&extension.into()), "{extensions}");
    }
}

#[tokio::test]
async fn statistics_count_rows_runs_and_times() {
    let server = TestServer::start(&["add", "log"]).await;
    let two = r#"{"instances":[{"a":[1,2],"b":[3,4]},{"a":[5,6],"b":[7,8]}]}"#;
    assert_eq!(server.post("/v2/models/add/infer", ADD).await.status, 200);
    assert_eq!(server.post("/v1/models/add:predict", two).await.status, 200);
    assert_eq!(server.post("/v2/models/add/infer", "{").await.status, 400);
    server.get("/v2/models/add/ready").await;
    for path in ["/v2/models/add/stats", "/v2/models/add/versions/1/stats"] {
        let body = server.get(path).await.json();
        let [add] = body["model_stats"].as_array().unwrap().as_slice() else { panic!("{body}") };
        assert_eq!((&add["name"], &add["version"]), (&"add".into(), &"1".into()));
        assert_eq!((&add["inference_count"], &add["execution_count"]), (&3.into(), &2.into()));
        assert!(add["last_inference"].as_u64().unwrap() > 1_600_000_000_000);
        let count = |what: &str| add["inference_stats"][what]["count"].as_u64().unwrap();
        assert_eq!(["success", "fail", "queue", "compute_infer"].map(count), [2, 1, 2, 2], "{add}");
        assert_eq!(["compute_input", "compute_output", "cache_hit", "cache_miss"].map(count), [3, 2, 0, 0]);
        for stage in ["success", "compute_infer", "compute_input", "compute_output"] {
            assert!(add["inference_stats"][stage]["ns"].as_u64().unwrap() > 0, "{stage}: {add}");
        }
        let batches: Vec<_> = add["batch_stats"].as_array().unwrap().iter().collect();
        assert_eq!(batches.iter().map(|batch| &batch["batch_size"]).collect::<Vec<_>>(), [1, 2], "{add}");
        for batch in batches {
            let counts =
                ["compute_input", "compute_infer", "compute_output"].map(|stage| &batch[stage]["count"]);
            assert_eq!(counts, [1, 1, 1], "{add}");
            assert!(batch["compute_infer"]["ns"].as_u64().unwrap() > 0, "{add}");
        }
    }
    let all = server.get("/v2/models/stats").await.json();
    let names: Vec<&Value> = all["model_stats"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["add", "log"]);
}

#[tokio::test]
async fn the_configuration_describes_the_model() {
    let server = TestServer::start(&["add"]).await;
    // Whether batches pay is measured when the model is loaded, and so is not the same each time.
    let config = async |path: &str| {
        let mut config = server.get(path).await.json();
        config.as_object_mut().unwrap().remove("dynamic_batching");
        let chosen = config.as_object_mut().unwrap().remove("parameters").unwrap();
        assert!(["inline", "pooled"].contains(&chosen["lane"]["string_value"].as_str().unwrap()), "{chosen}");
        assert!(chosen["lane_reason"]["string_value"].as_str().unwrap().len() > 5, "{chosen}");
        config["instance_group"][0].as_object_mut().unwrap().remove("count");
        config
    };
    let expected = json!({
        "name": "add",
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "max_batch_size": 0,
        "input": [
            {"name": "a", "data_type": "TYPE_FP32", "dims": [-1, 2]},
            {"name": "b", "data_type": "TYPE_FP32", "dims": [-1, 2]}
        ],
        "output": [{"name": "sum", "data_type": "TYPE_FP32", "dims": [-1, 2]}],
        "instance_group": [{"kind": "KIND_CPU"}]
    });
    assert_eq!(config("/v2/models/add/config").await, expected);
    assert_eq!(config("/v2/models/add/versions/1/config").await, expected);
}

#[tokio::test]
async fn the_index_lists_models_and_filters_by_readiness() {
    let server = TestServer::start(&["add"]).await;
    server.registry.loading("later");
    server.registry.failed("bad", "ModelRejected", "no graph");
    let all = json!([
        {"name": "add", "version": "1", "state": "READY"},
        {"name": "bad", "state": "UNAVAILABLE", "reason": "ModelRejected: no graph"},
        {"name": "later", "state": "LOADING"}
    ]);
    for body in ["", "{}", r#"{"ready":false}"#] {
        assert_eq!(server.post("/v2/repository/index", body).await.json(), all, "{body}");
    }
    let ready = server.post("/v2/repository/index", r#"{"ready":true}"#).await.json();
    assert_eq!(ready, json!([{"name": "add", "version": "1", "state": "READY"}]));
    for wrong in ["[", r#"{"ready":"yes"}"#] {
        assert_eq!(server.post("/v2/repository/index", wrong).await.status, 400);
    }
    assert_eq!(server.post("/v2/repository/index", " ".repeat(5000)).await.status, 413);
}
