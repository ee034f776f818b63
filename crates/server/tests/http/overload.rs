//! More work than there are sessions for.

use std::time::Duration;

use modelwright_runtime::{LoadRequest, QueueBounds};
use modelwright_server::ModelState;

use crate::harness::{ADD, ENDLESS, TestServer, answer, config, load, load_request, slow, until};

/// A server whose model `slow` computes an endless request, and lets one more wait.
async fn busy_server() -> (TestServer, tokio::task::JoinHandle<u16>) {
    let server = TestServer::start(&["add"]).await;
    let queue = QueueBounds { requests: 1, ..QueueBounds::default() };
    server.registry.ready("slow", load(&LoadRequest { queue, ..load_request("slow") }));
    let request = server.client.post(server.url("/v2/models/slow/infer")).body(slow(ENDLESS));
    let running = tokio::spawn(async move { answer(request.send().await.unwrap()).await.status });
    until(async || server.load_of("slow").running == 1).await;
    (server, running)
}

fn abort(server: &TestServer) {
    if let Some(ModelState::Ready(ready)) = server.registry.get("slow") {
        ready.model().abort();
    }
}

#[tokio::test]
async fn overload_is_refused_at_once_with_a_time_to_come_back() {
    let (server, running) = busy_server().await;
    let request = server.client.post(server.url("/v2/models/slow/infer")).body(slow(1));
    let waiting = tokio::spawn(async move { answer(request.send().await.unwrap()).await.status });
    until(async || server.load_of("slow").waiting == 1).await;

    let refused = server.post("/v2/models/slow/infer", slow(1)).await;
    assert_eq!(refused.status, 503);
    assert!(refused.error().contains("overloaded"), "{refused:?}");
    assert!((1..=60).contains(&refused.header("retry-after").parse::<u64>().unwrap()));

    assert_eq!(server.post("/v2/models/add/infer", ADD).await.status, 200, "another model is not concerned");
    assert_eq!(server.admin("/readyz").await.status, 200, "a busy server is a ready one");
    let metrics = server.admin("/metrics").await.body;
    assert!(metrics.contains("modelwright_queue_requests{model=\"slow\"} 1"), "{metrics}");
    assert!(metrics.contains("modelwright_running_requests{model=\"slow\"} 1"), "{metrics}");
    // An answer can be read here before the server's thread has counted its request as finished.
    until(async || server.admin("/metrics").await.body.contains("modelwright_requests_in_flight 2\n")).await;

    abort(&server);
    assert_eq!((running.await.unwrap(), waiting.await.unwrap()), (503, 503));
}

#[tokio::test]
async fn a_client_that_gives_up_frees_its_place() {
    let (server, running) = busy_server().await;
    let impatient = server.client.post(server.url("/v2/models/slow/infer")).body(slow(1));
    let impatient = tokio::spawn(impatient.send());
    until(async || server.load_of("slow").waiting == 1).await;
    impatient.abort();
    // Once the server has noticed, the place is free for the next one, which then waits in it.
    let mut next = None;
    until(async || {
        let request = server.client.post(server.url("/v2/models/slow/infer")).body(slow(1));
        let mut attempt = tokio::spawn(request.send());
        if let Ok(refused) = tokio::time::timeout(Duration::from_millis(100), &mut attempt).await {
            assert_eq!(refused.unwrap().unwrap().status(), 503);
            return false;
        }
        next = Some(attempt);
        true
    })
    .await;
    abort(&server);
    assert_eq!(next.unwrap().await.unwrap().unwrap().status(), 503);
    assert_eq!(running.await.unwrap(), 503);
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_a_504() {
    let mut config = config();
    config.bounds.request_timeout = Duration::from_millis(100);
    let server = TestServer::start_with(config, &["slow"]).await;
    let late = server.post("/v2/models/slow/infer", slow(ENDLESS)).await;
    assert_eq!(late.status, 504);
    assert!(late.error().contains("did not answer within 0.1 s"), "{late:?}");
    // Its run was ended, and the only session is free again.
    until(async || server.load_of("slow").running == 0).await;
    until(async || server.post("/v2/models/slow/infer", slow(1)).await.status == 200).await;
}

#[tokio::test]
async fn inputs_that_a_model_cannot_compute_are_the_requests_fault() {
    let server = TestServer::start(&["picky"]).await;
    let body = |index: i64| {
        format!(r#"{{"inputs":[{{"name":"index","shape":[1],"datatype":"INT64","data":[{index}]}}]}}"#)
    };
    let refused = server.post("/v2/models/picky/infer", body(0)).await;
    assert_eq!(refused.status, 400);
    assert!(refused.error().contains("Gather"), "{refused:?}");
    assert_eq!(server.post("/v2/models/picky/infer", body(6)).await.status, 200);
}

#[tokio::test]
async fn a_request_holds_its_memory_until_it_is_answered() {
    let mut config = config();
    // One request to `slow` with its tensors, but not two.
    config.bounds.max_bodies_bytes = 8 * slow(ENDLESS).len();
    let server = TestServer::start_with(config, &["slow"]).await;
    let request = server.client.post(server.url("/v2/models/slow/infer")).body(slow(ENDLESS));
    let running = tokio::spawn(async move { answer(request.send().await.unwrap()).await.status });
    until(async || server.load_of("slow").running == 1).await;
    let refused = server.post("/v2/models/slow/infer", slow(1)).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"), "{refused:?}");
    assert!(refused.error().contains("memory"), "{refused:?}");
    abort(&server);
    assert_eq!(running.await.unwrap(), 503);
}

#[tokio::test]
async fn a_lone_request_is_never_too_large_for_memory() {
    let mut config = config();
    config.bounds.max_bodies_bytes = 1;
    let server = TestServer::start_with(config, &["add"]).await;
    assert_eq!(server.post("/v2/models/add/infer", ADD).await.status, 200);
    // The memory comes back: once the first answer has left, there is room again.
    until(async || server.post("/v2/models/add/infer", ADD).await.status == 200).await;
}

#[tokio::test]
async fn a_request_whose_client_goes_away_is_counted_as_cancelled() {
    let (server, running) = busy_server().await;
    running.abort();
    let line = "modelwright_requests_total{model=\"slow\",route=\"infer\",code=\"cancelled\"} 1";
    until(async || server.admin("/metrics").await.body.contains(line)).await;
}
