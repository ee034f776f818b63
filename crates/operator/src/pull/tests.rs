use k8s_openapi::api::core::v1::{PodCondition, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use rstest::rstest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

fn pod() -> Pod {
    let label = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    let owner = OwnerReference {
        kind: "ReplicaSet".to_owned(),
        name: "bc-5d8f".to_owned(),
        controller: Some(true),
        ..OwnerReference::default()
    };
    let ready =
        PodCondition { type_: "Ready".to_owned(), status: "True".to_owned(), ..PodCondition::default() };
    Pod {
        metadata: ObjectMeta {
            name: Some("bc-5d8f-x".to_owned()),
            labels: Some([(labels::ROLE, "server"), (labels::MODEL, "bc")].map(label).into()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec::default()),
        status: Some(PodStatus {
            pod_ip: Some("10.1.2.3".to_owned()),
            host_ip: Some("192.168.0.7".to_owned()),
            conditions: Some(vec![ready]),
            ..PodStatus::default()
        }),
    }
}

#[test]
fn ready_server_of_the_model_is_asked_on_the_admin_port() {
    assert_eq!(address("bc", &pod()).unwrap().to_string(), "10.1.2.3:9090");
}

#[rstest]
#[case::other_model(|pod: &mut Pod| { pod.metadata.labels.as_mut().unwrap().insert(labels::MODEL.to_owned(), "x".to_owned()); })]
#[case::job(|pod: &mut Pod| { pod.metadata.labels.as_mut().unwrap().insert(labels::ROLE.to_owned(), "resolve".to_owned()); })]
#[case::nobodys(|pod: &mut Pod| pod.metadata.owner_references = None)]
#[case::others(|pod: &mut Pod| pod.metadata.owner_references.as_mut().unwrap()[0].name = "bcd-5d8f".to_owned())]
#[case::node_network(|pod: &mut Pod| pod.spec.as_mut().unwrap().host_network = Some(true))]
#[case::node_address(|pod: &mut Pod| pod.status.as_mut().unwrap().host_ip = Some("10.1.2.3".to_owned()))]
#[case::not_ready(|pod: &mut Pod| pod.status.as_mut().unwrap().conditions = None)]
#[case::without_status(|pod: &mut Pod| pod.status = None)]
#[case::without_address(|pod: &mut Pod| pod.status.as_mut().unwrap().pod_ip = None)]
#[case::loopback(|pod: &mut Pod| pod.status.as_mut().unwrap().pod_ip = Some("127.0.0.1".to_owned()))]
#[case::metadata_of_a_cloud(|pod: &mut Pod| pod.status.as_mut().unwrap().pod_ip = Some("::ffff:169.254.169.254".to_owned()))]
fn other_pods_are_not_asked(#[case] change: fn(&mut Pod)) {
    let mut pod = pod();
    change(&mut pod);
    assert!(address("bc", &pod).is_err());
}

#[rstest]
#[case("10.0.0.1", true)]
#[case("100.64.0.1", true)]
#[case("fd00::1", true)]
#[case("127.8.8.8", false)]
#[case("0.1.2.3", false)]
#[case("169.254.1.1", false)]
#[case("224.0.0.1", false)]
#[case("255.255.255.255", false)]
#[case("::1", false)]
#[case("::", false)]
#[case("fe80::1", false)]
#[case("ff02::1", false)]
#[case("::ffff:127.0.0.1", false)]
fn addresses_that_cannot_be_a_pods_are_known(#[case] ip: &str, #[case] expected: bool) {
    assert_eq!(is_a_pods(ip.parse().unwrap()), expected);
}

const REPORT: &str = r#"{"uptimeMs": 9000.5, "models": [
    {"name": "other", "state": "Loading"},
    {"name": "bc", "state": "Ready", "version": "0123", "readyAfterMs": 812.0, "libraryMs": 40.1, "sessionMs": 31.25,
     "warmUpMs": 7.5, "executionProvider": "CPU", "instances": 1, "intraOpThreads": 2, "runtimeVersion": "1.23.2"}]}"#;

#[test]
fn report_of_a_ready_model_is_read() {
    let expected = ColdStart {
        session: Duration::from_micros(31_250),
        warm_up: Duration::from_micros(7_500),
        runtime_version: "1.23.2".to_owned(),
        execution_provider: "CPU".to_owned(),
    };
    assert_eq!(parse("bc", REPORT.as_bytes()).unwrap(), expected);
}

#[rstest]
#[case::still_loading("other", REPORT, "no times")]
#[case::unknown("nothing", REPORT, "no model nothing")]
#[case::not_json("bc", "<html>", "not a cold-start report")]
#[case::negative("bc", r#"{"models":[{"name":"bc","sessionMs":-1,"warmUpMs":1,"runtimeVersion":"1","executionProvider":"CPU"}]}"#, "no times")]
#[case::prose("bc", r#"{"models":[{"name":"bc","sessionMs":1,"warmUpMs":1,"runtimeVersion":"a b","executionProvider":"CPU"}]}"#, "no times")]
fn other_reports_say_what_is_wrong(#[case] model: &str, #[case] body: &str, #[case] expected: &str) {
    let error = parse(model, body.as_bytes()).unwrap_err();
    assert!(error.contains(expected), "{error}");
}

/// A server that gives one answer to one connection, after it read something.
pub(super) async fn answering(path: &'static str, answer: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 1024];
        let read = stream.read(&mut head).await.unwrap();
        assert!(head[..read].starts_with(format!("GET {path} HTTP/1.1\r\n").as_bytes()));
        // The client hangs up in the middle of an answer that is too long.
        let _ = stream.write_all(&answer).await;
    });
    address
}

pub(super) fn http(status: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nLocation: http://127.0.0.1/\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into()
}

#[tokio::test]
async fn answer_of_a_server_is_read() {
    let address = answering(probes::COLD_START, http("200 OK", REPORT)).await;
    let start = Puller::default().ask("bc", address).await.unwrap();
    assert_eq!(start.execution_provider, "CPU");
}

#[tokio::test]
async fn redirects_are_not_followed_and_long_or_missing_answers_are_given_up() {
    let puller = Puller::default();
    let address = answering(probes::COLD_START, http("302 Found", "")).await;
    assert!(matches!(puller.ask("bc", address).await, Err(Error::Status(_, StatusCode::FOUND))));
    let address = answering(probes::COLD_START, http("200 OK", &" ".repeat(MAX_BYTES + 1))).await;
    assert!(matches!(puller.ask("bc", address).await, Err(Error::Connection { .. })));
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    assert!(matches!(puller.ask("bc", address).await, Err(Error::Slow(_))));
    drop(silent);
    assert!(matches!(puller.ask("bc", address).await, Err(Error::Connection { .. })));
}
