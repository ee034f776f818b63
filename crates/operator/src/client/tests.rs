use rstest::rstest;

use super::*;

#[rstest]
#[case("/api/v1/namespaces/demo/services", "Service")]
#[case("/api/v1/namespaces/demo/services/bc", "Service")]
#[case("/api/v1/namespaces/demo/pods/x/exec", "Other")]
#[case("/apis/apps/v1/namespaces/demo/deployments/bc", "Deployment")]
#[case("/apis/apps/v1/namespaces/services/deployments/bc/scale", "Deployment/scale")]
#[case("/apis/modelwright.dev/v1alpha1/namespaces/demo/models/bc/status", "Model/status")]
#[case("/apis/modelwright.dev/v1alpha1/namespaces/demo/models/bc", "Model")]
#[case("/apis/events.k8s.io/v1/namespaces/demo/events", "Event")]
#[case("/apis/coordination.k8s.io/v1/namespaces/demo/leases/l", "Lease")]
#[case("/api/v1/namespaces/demo", "Other")]
#[case("/api/v1/namespaces", "Other")]
#[case("/version", "Other")]
#[case("", "Other")]
fn path_tells_the_kind(#[case] path: &str, #[case] expected: &str) {
    assert_eq!(kind(path), expected);
}

#[rstest]
#[case("GET", "", None)]
#[case("POST", "application/json", Some("create"))]
#[case("PUT", "application/json", Some("update"))]
#[case("PATCH", "application/apply-patch+yaml", Some("apply"))]
#[case("PATCH", "application/merge-patch+json", Some("patch"))]
#[case("DELETE", "", Some("delete"))]
fn method_tells_the_verb(#[case] method: &str, #[case] content_type: &str, #[case] expected: Option<&str>) {
    let request = Request::builder().method(method).header(CONTENT_TYPE, content_type).body(()).unwrap();
    assert_eq!(write_verb(&request), expected);
}

/// A client whose requests end here, and what is counted of them.
fn watched(claim: Claim) -> (Client, Arc<Metrics>) {
    let (client, metrics, _) = with_clock(claim);
    (client, metrics)
}

fn with_clock(claim: Claim) -> (Client, Arc<Metrics>, Clock) {
    let (metrics, clock) = (Metrics::shared(), Clock::default());
    let answering = tower::service_fn(|request: Request<Body>| async move {
        if request.uri().query() == Some("slow") {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let body = http_body_util::Full::new(bytes::Bytes::from_static(b"{}"));
        let answer = Response::builder().header("date", "Thu, 01 Jan 2099 00:00:00 GMT").body(body);
        Ok::<_, std::convert::Infallible>(answer.unwrap())
    });
    let builder = ClientBuilder::new(answering, "default");
    let watched = Watched { metrics: Arc::clone(&metrics), claim, clock: clock.clone() };
    (builder.with_layer(&watched).build(), metrics, clock)
}

#[rstest]
#[case("GET")]
#[case("PUT")]
#[tokio::test]
async fn every_answer_tells_the_time_of_the_cluster(#[case] method: &str) {
    let (client, _, clock) = with_clock(Claim::always());
    client.request_text(request(method)).await.unwrap();
    assert!(clock.now().to_string().starts_with("2099-01-01T00:0"), "{}", clock.now());
}

fn request(method: &str) -> Request<Vec<u8>> {
    Request::builder().method(method).uri("/api/v1/namespaces/demo/services/bc").body(Vec::new()).unwrap()
}

#[tokio::test]
async fn writes_of_the_leader_are_counted_and_reads_are_not() {
    let (client, metrics) = watched(Claim::always());
    for method in ["GET", "PUT", "PUT"] {
        client.request_text(request(method)).await.unwrap();
    }
    let text = metrics.text().unwrap();
    assert!(text.contains("modelwright_api_writes_total{verb=\"update\",kind=\"Service\"} 2\n"), "{text}");
    assert_eq!(text.matches("modelwright_api_writes_total{").count(), 1);
}

#[tokio::test]
async fn process_that_does_not_lead_reads_but_writes_nothing() {
    let (client, metrics) = watched(Claim::none());
    client.request_text(request("GET")).await.unwrap();
    let error = client.request_text(request("PUT")).await.unwrap_err();
    assert!(error.to_string().contains("not, or no longer, the leader"), "{error}");
    assert!(!metrics.text().unwrap().contains("modelwright_api_writes_total{"));
}

#[tokio::test]
async fn write_that_is_under_way_when_the_claim_ends_is_given_up() {
    let claim = Claim::none();
    claim.hold_until(Some(claim.now() + Duration::from_millis(100)));
    let (client, _) = watched(claim);
    let mut slow = request("PUT");
    *slow.uri_mut() = "/api/v1/namespaces/demo/services/bc?slow".parse().unwrap();
    let error = client.request_text(slow).await.unwrap_err();
    assert!(error.to_string().contains("no longer, the leader"), "{error}");
}

#[test]
fn causes_are_said_once_each() {
    let root = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "refused");
    let error = kube::Error::ReadEvents(root);
    assert_eq!(with_causes(&error), "Error reading events stream: refused");
}
