//! From binding to the end.

use std::sync::Arc;
use std::time::Duration;

use modelwright_server::{Error, Registry, Server};
use tokio::net::TcpStream;

use crate::harness::{ADD, ENDLESS, TestServer, answer, config, load, load_request, slow, until};

const LONG: Duration = Duration::from_hours(1);

#[tokio::test]
async fn a_port_in_use_is_named_with_the_way_out() {
    let server = TestServer::start(&["add"]).await;
    let bind = async |change: &dyn Fn(&mut modelwright_server::ServerConfig)| {
        let mut config = config();
        change(&mut config);
        Server::bind(config, Arc::new(Registry::new())).await.unwrap_err()
    };
    let (data, admin) = (server.data, server.admin);
    for (error, address, option) in [
        (bind(&|config| config.listen = data).await, data, "--listen"),
        (bind(&|config| config.admin_listen = admin).await, admin, "--admin-listen"),
    ] {
        assert!(matches!(error, Error::AddressInUse { .. }), "{error:?}");
        let message = error.to_string();
        assert!(
            message.contains(&address.to_string()) && message.contains(&format!("with {option} ")),
            "{message}"
        );
    }
}

#[tokio::test]
async fn probes_are_answered_before_the_data_port_is() {
    let registry = Arc::new(Registry::new());
    registry.loading("add");
    let server = Server::bind(config(), Arc::clone(&registry)).await.unwrap();
    let admin = server.admin_addr();
    let get = async |path: &str| answer(reqwest::get(format!("http://{admin}{path}")).await.unwrap()).await;
    assert_eq!(get("/livez").await.status, 200);
    let ready = get("/readyz").await;
    assert_eq!((ready.status, ready.body.as_str()), (503, "model \"add\" is still loading\n"));
    registry.ready("add", load(&load_request("add")));
    assert_eq!(get("/readyz").await.status, 200);
}

#[tokio::test]
async fn readiness_goes_first_and_everything_else_goes_on_for_the_delay() {
    let mut config = config();
    config.drain.delay = LONG;
    let server = TestServer::start_with(config, &["add"]).await;
    assert_eq!(server.post("/v2/models/add/infer", ADD).await.header("connection"), "");
    let ending = server.begin_shutdown();
    until(async || ending.get(ending.admin, "/readyz").await.status == 503).await;
    assert!(ending.get(ending.admin, "/readyz").await.body.contains("shutting down"));
    assert_eq!(ending.get(ending.data, "/v2/health/ready").await.status, 503);
    assert_eq!(ending.get(ending.admin, "/livez").await.status, 200);
    assert_eq!(ending.get(ending.data, "/v2/health/live").await.status, 200);
    let url = format!("http://{}/v2/models/add/infer", ending.data);
    let late = answer(ending.client.post(url).body(ADD).send().await.unwrap()).await;
    assert_eq!((late.status, late.header("connection")), (200, "close"));
}

#[tokio::test]
async fn requests_in_flight_are_finished_and_new_connections_refused() {
    let server = TestServer::start(&["slow"]).await;
    let request = server.client.post(server.url("/v2/models/slow/infer")).body(slow(1000));
    let in_flight = tokio::spawn(async move { answer(request.send().await.unwrap()).await });
    until(async || server.load_of("slow").running == 1).await;
    let (data, admin) = (server.data, server.admin);
    let report = server.stop().await;
    assert_eq!(report.abandoned, 0);
    assert_eq!(in_flight.await.unwrap().status, 200);
    assert!(TcpStream::connect(data).await.is_err());
    assert!(TcpStream::connect(admin).await.is_err());
}

#[tokio::test]
async fn what_is_left_after_the_grace_period_is_given_up() {
    let mut config = config();
    config.drain.grace = Duration::from_millis(100);
    let server = TestServer::start_with(config, &["slow"]).await;
    let requests: Vec<_> = (0..3)
        .map(|_| {
            let request = server.client.post(server.url("/v2/models/slow/infer")).body(slow(ENDLESS));
            tokio::spawn(async move { answer(request.send().await.unwrap()).await.status })
        })
        .collect();
    until(async || server.load_of("slow").running + server.load_of("slow").waiting == 3).await;
    assert_eq!(server.stop().await.abandoned, 3);
    for request in requests {
        assert_eq!(request.await.unwrap(), 503);
    }
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let mut config = config();
    config.drain.grace = LONG;
    let server = TestServer::start_with(config, &["add"]).await;
    let _silent = server.connect().await;
    assert_eq!(server.post("/v2/models/add/infer", ADD).await.status, 200);
    assert_eq!(server.stop().await.abandoned, 0);
}
