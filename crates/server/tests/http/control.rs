//! Loading models again and taking them out of service.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use modelwright_server::{ControlError, ModelControl, ReadyModel};

use crate::harness::{ADD, Answer, TestServer, config, load, load_request};

/// Loads `add` under a new version each time, unless it is told to fail.
#[derive(Debug, Default)]
struct Folder {
    loads: AtomicUsize,
    broken: AtomicBool,
}

impl ModelControl for Folder {
    fn load(&self, name: &str) -> Result<ReadyModel, ControlError> {
        if name != "add" {
            return Err(ControlError::Unknown(format!("nobody knows {name}")));
        }
        if self.broken.load(Ordering::SeqCst) {
            return Err(ControlError::Refused("model.onnx is gone".to_owned()));
        }
        let version = 2 + self.loads.fetch_add(1, Ordering::SeqCst);
        Ok(ReadyModel::new(version.to_string(), load(&load_request("add")).model().clone()))
    }
}

async fn server() -> (TestServer, Arc<Folder>) {
    let folder = Arc::new(Folder::default());
    let mut config = config();
    config.control = Some(folder.clone());
    (TestServer::start_with(config, &["add", "log"]).await, folder)
}

impl TestServer {
    async fn control(&self, model: &str, verb: &str, body: &'static str) -> Answer {
        let url = format!("http://{}/v2/repository/models/{model}/{verb}", self.admin);
        self.send(self.client.post(url).body(body)).await
    }
}

#[tokio::test]
async fn a_server_that_was_not_told_to_lets_nobody_control_it() {
    let server = TestServer::start(&["add"]).await;
    for verb in ["load", "unload"] {
        let refused = server.control("add", verb, "").await;
        assert_eq!(refused.status, 403);
        assert!(refused.error().contains("--repository-control"), "{refused:?}");
    }
    assert_eq!(server.post("/v2/models/add/infer", ADD).await.status, 200);
}

#[tokio::test]
async fn the_data_port_never_controls_models() {
    let (server, folder) = server().await;
    let refused = server.post("/v2/repository/models/add/load", "{}").await;
    assert_eq!(refused.status, 403);
    assert!(refused.error().contains("admin port"), "{refused:?}");
    assert_eq!(folder.loads.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_model_is_loaded_again_beside_the_one_that_answers() {
    let (server, _folder) = server().await;
    let loaded = server.control("add", "load", "{}").await;
    assert_eq!((loaded.status, loaded.body.as_str()), (200, r#"{"name":"add","ready":true}"#));
    let answer = server.post("/v2/models/add/infer", ADD).await;
    assert_eq!(answer.json()["model_version"], "2", "{answer:?}");
    assert_eq!(server.get("/v2/models/add/versions/1/ready").await.status, 404);
}

#[tokio::test]
async fn an_unloaded_model_is_out_of_service_until_it_is_loaded() {
    let (server, _folder) = server().await;
    // What tritonclient sends.
    let body = r#"{"parameters":{"unload_dependents":false}}"#;
    assert_eq!(server.control("add", "unload", body).await.status, 200);
    assert_eq!(server.control("add", "unload", body).await.status, 200, "once more changes nothing");
    let refused = server.post("/v2/models/add/infer", ADD).await;
    assert_eq!(refused.status, 503);
    assert!(refused.error().contains("unloaded"), "{refused:?}");
    assert_eq!(server.get("/v2/models/add/ready").await.status, 503);
    assert_eq!(server.get("/v2/health/ready").await.status, 503);
    assert!(server.admin("/readyz").await.body.contains("\"add\" was unloaded"));
    let index = server.post("/v2/repository/index", "").await.json();
    assert_eq!((&index[0]["state"], &index[0]["reason"]), (&"UNAVAILABLE".into(), &"unloaded".into()));
    assert_eq!(server.admin("/debug/coldstart").await.json()["models"][0]["state"], "Unloaded");
    assert_eq!(server.control("add", "load", "").await.status, 200);
    assert_eq!(server.post("/v2/models/add/infer", ADD).await.status, 200);
    assert_eq!(server.admin("/readyz").await.status, 200);
}

#[tokio::test]
async fn a_load_that_fails_leaves_the_model_in_service() {
    let (server, folder) = server().await;
    folder.broken.store(true, Ordering::SeqCst);
    let failed = server.control("add", "load", "{}").await;
    assert_eq!((failed.status, failed.error().as_str()), (400, "model.onnx is gone"));
    assert_eq!(server.post("/v2/models/add/infer", ADD).await.json()["model_version"], "1");
    assert_eq!(server.control("log", "load", "{}").await.status, 404, "this one cannot be loaded again");
    // One that is out of service stays so, and says why.
    server.control("add", "unload", "{}").await;
    assert_eq!(server.control("add", "load", "{}").await.status, 400);
    assert!(server.post("/v2/models/add/infer", ADD).await.error().contains("model.onnx is gone"));
    folder.broken.store(false, Ordering::SeqCst);
    assert_eq!(server.control("add", "load", "{}").await.status, 200);
}

#[tokio::test]
async fn control_requests_are_read_to_the_letter() {
    let (server, folder) = server().await;
    assert_eq!(server.control("nope", "load", "{}").await.status, 404);
    assert_eq!(server.control("add", "reload", "{}").await.status, 404);
    assert_eq!(server.control("add", "load", "nonsense").await.status, 400);
    let refused = server.control("add", "load", r#"{"parameters":{"config":"{}"}}"#).await;
    assert_eq!(refused.status, 400);
    assert!(refused.error().contains("parameters.config"), "{refused:?}");
    let url = format!("http://{}/v2/repository/models/add/load", server.admin);
    let get = server.send(server.client.get(url)).await;
    assert_eq!((get.status, get.header("allow")), (405, "POST"));
    server.registry.loading("later");
    assert_eq!(server.control("later", "load", "{}").await.status, 503);
    assert_eq!(folder.loads.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn hot_reload_in_a_loop_under_load_fails_no_request() {
    let (server, folder) = server().await;
    let running = Arc::new(AtomicBool::new(true));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (running, url) = (running.clone(), server.url("/v2/models/add/infer"));
            let client = crate::harness::client().build().unwrap();
            tokio::spawn(async move {
                let mut count = 0;
                while running.load(Ordering::SeqCst) {
                    let response = client.post(&url).body(ADD).send().await.unwrap();
                    assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
                    count += 1;
                }
                count
            })
        })
        .collect();
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end || folder.loads.load(Ordering::SeqCst) < 3 {
        assert_eq!(server.control("add", "load", "{}").await.status, 200);
        assert_eq!(server.admin("/readyz").await.status, 200);
    }
    running.store(false, Ordering::SeqCst);
    let mut total = 0;
    for client in clients {
        total += client.await.unwrap();
    }
    let loads = folder.loads.load(Ordering::SeqCst);
    assert!(loads > 2 && total > 8, "{loads} loads and {total} requests");
    let statistics = server.get("/v2/models/add/stats").await.json();
    assert_eq!(statistics["model_stats"][0]["inference_stats"]["success"]["count"], total);
}
