//! Which requests a plan makes, and what becomes of the answers.

use std::sync::{Arc, Mutex};

use http::{Request, Response};
use http_body_util::BodyExt;
use k8s_openapi::api::{
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::Job,
    core::v1::{Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kube::client::Body;
use modelwright_api::ModelSpec;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::plan::{Change, JobChanges};

/// One request as `VERB KIND-IN-PLURAL/NAME MANAGER force|-`, with its body.
type Requests = Arc<Mutex<Vec<(String, Value)>>>;

/// A client of an API server that answers as it is told, and what it was asked.
fn server(answer: impl Fn(&str) -> (u16, Value) + Clone + Send + 'static) -> (Client, Requests) {
    let requests = Requests::default();
    let seen = Arc::clone(&requests);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (seen, answer) = (Arc::clone(&seen), answer.clone());
        async move {
            let text = text(&request);
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let (code, reply) = answer(&text);
            seen.lock().unwrap().push((text, serde_json::from_slice(&body).unwrap_or_default()));
            let reply = Response::builder().status(code).body(Body::from(reply.to_string().into_bytes()));
            reply.map_err(std::io::Error::other)
        }
    });
    (Client::new(service, "default"), requests)
}

fn text(request: &Request<Body>) -> String {
    let path = request.uri().path().rsplit_once("/namespaces/demo/").unwrap().1;
    let query = request.uri().query().unwrap_or_default();
    let manager = query.split('&').find_map(|pair| pair.strip_prefix("fieldManager=modelwright-"));
    let force = if query.contains("force=true") { "force" } else { "-" };
    match manager {
        Some(manager) => format!("{} {path} {manager} {force}", request.method()),
        None => format!("{} {path}", request.method()),
    }
}

fn texts(requests: &Requests) -> Vec<String> {
    requests.lock().unwrap().iter().map(|(text, _)| text.clone()).collect()
}

fn failure(code: u16, reason: &str, message: &str) -> (u16, Value) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message,
    });
    (code, status)
}

fn conflict() -> (u16, Value) {
    failure(409, "Conflict", "Apply failed with 1 conflict: conflict with \"kubectl-create\": .spec.selector")
}

fn not_found() -> (u16, Value) {
    failure(404, "NotFound", "not found")
}

/// Good enough for every kind.
fn accepted() -> (u16, Value) {
    let spec = json!({
        "selector": {}, "template": {}, "maxReplicas": 1, "scaleTargetRef": {"kind": "Deployment", "name": "m"},
    });
    (200, json!({"metadata": {"name": "m"}, "spec": spec}))
}

fn owned_by(kind: &str, name: &str, uid: &str) -> (u16, Value) {
    let api_version = if kind == "Model" { "modelwright.dev/v1alpha1" } else { "apps/v1" };
    let owner =
        json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": true});
    let annotations = json!({"modelwright.dev/job-hash": "hash"});
    (200, json!({"metadata": {"name": "m", "ownerReferences": [owner], "annotations": annotations}}))
}

fn model() -> Model {
    let mut model = Model::new("m", ModelSpec::default());
    model.metadata.namespace = Some("demo".into());
    model.metadata.uid = Some("u".into());
    model
}

fn object<K: DeserializeOwned>(name: &str) -> K {
    let (_, mut object) = accepted();
    object["metadata"]["name"] = name.into();
    object["metadata"]["annotations"] = json!({"modelwright.dev/job-hash": "hash"});
    serde_json::from_value(object).unwrap()
}

fn change<K: DeserializeOwned>(name: &str) -> Change<K> {
    Change::Apply(Box::new(object(name)))
}

/// Everything at once.
fn whole_plan() -> Plan {
    Plan {
        service_account: change::<ServiceAccount>("m"),
        service: change::<Service>("m"),
        headless_service: change::<Service>("m-headless"),
        disruption_budget: change::<PodDisruptionBudget>("m"),
        network_policy: change::<NetworkPolicy>("m"),
        jobs: JobChanges {
            deleted: vec!["m-old".into()],
            created: Some(Box::new(object("m-new"))),
            ..JobChanges::default()
        },
        deployment: DeploymentChange::Apply(Box::new(object("m"))),
        replicas: Some(3),
        autoscaler: change::<HorizontalPodAutoscaler>("m"),
        ..Plan::default()
    }
}

fn causes(applied: &Applied) -> Vec<(&str, &str)> {
    applied.failures.iter().map(|failure| (failure.child.as_str(), failure.cause.reason.as_ref())).collect()
}

#[tokio::test]
async fn children_are_written_in_the_plans_order_and_without_force_while_nobody_knows_them() {
    let (client, requests) =
        server(|request| if request.starts_with("GET") { not_found() } else { accepted() });
    let applied = apply(&client, &model(), &Observed::default(), &whole_plan()).await;
    assert_eq!(applied, Some(Applied::default()));
    let expected = [
        "GET serviceaccounts/m",
        "PATCH serviceaccounts/m children -",
        "PATCH services/m children -",
        "PATCH services/m-headless children -",
        "PATCH poddisruptionbudgets/m children -",
        "PATCH networkpolicies/m children -",
        "DELETE jobs/m-old",
        "POST jobs",
        "PATCH deployments/m template -",
        "PATCH deployments/m replicas force",
        "PATCH horizontalpodautoscalers/m children -",
    ];
    assert_eq!(texts(&requests), expected);
    let (_, replicas) = &requests.lock().unwrap()[9];
    let only_replicas = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "m"}, "spec": {"replicas": 3},
    });
    assert_eq!(*replicas, only_replicas);
}

#[tokio::test]
async fn known_children_are_written_with_force_and_deleted_only_if_they_are_the_ones() {
    let (client, requests) = server(|_| accepted());
    let mut autoscaler: HorizontalPodAutoscaler = object("m");
    autoscaler.metadata.uid = Some("h".into());
    let observed = Observed {
        service: Some(Arc::new(object("m"))),
        deployment: Some(Arc::new(object("m"))),
        autoscaler: Some(Arc::new(autoscaler)),
        ..Observed::default()
    };
    let plan = Plan {
        service: change("m"),
        deployment: DeploymentChange::Apply(Box::new(object("m"))),
        autoscaler: Change::Delete,
        ..Plan::default()
    };
    assert_eq!(apply(&client, &model(), &observed, &plan).await, Some(Applied::default()));
    let expected = [
        "PATCH services/m children force",
        "PATCH deployments/m template force",
        "DELETE horizontalpodautoscalers/m",
    ];
    assert_eq!(texts(&requests), expected);
    let (_, options) = &requests.lock().unwrap()[2];
    assert_eq!(*options, json!({"propagationPolicy": "Background", "preconditions": {"uid": "h"}}));
}

#[tokio::test]
async fn an_object_of_somebody_else_is_refused_and_independent_children_go_on() {
    let (client, requests) = server(|request| match request {
        "PATCH deployments/m template -" => conflict(),
        "GET deployments/m" => owned_by("Application", "shop", "x"),
        request if request.starts_with("GET") => not_found(),
        _ => accepted(),
    });
    let applied = apply(&client, &model(), &Observed::default(), &whole_plan()).await.unwrap();
    assert_eq!(causes(&applied), [("Deployment/m", "NameConflict")]);
    let message = &applied.failures[0].cause.message;
    assert!(
        message.contains("belongs to Application/shop") && message.contains("rename the Model"),
        "{message}"
    );
    let texts = texts(&requests);
    assert!(!texts.contains(&"PATCH deployments/m replicas force".to_owned()));
    assert!(texts.contains(&"PATCH horizontalpodautoscalers/m children -".to_owned()));
}

#[tokio::test]
async fn an_object_that_is_ours_after_all_is_taken_and_a_former_models_is_waited_for() {
    for (uid, expected) in [("u", None), ("former", Some(("Service/m", "WaitingForDeletion")))] {
        let (client, requests) = server(move |request| match request {
            "PATCH services/m children -" => conflict(),
            "GET services/m" => owned_by("Model", "m", uid),
            _ => accepted(),
        });
        let plan = Plan { service: change("m"), ..Plan::default() };
        let applied = apply(&client, &model(), &Observed::default(), &plan).await.unwrap();
        assert_eq!(causes(&applied), Vec::from_iter(expected));
        let forced = texts(&requests).contains(&"PATCH services/m children force".to_owned());
        assert_eq!(forced, expected.is_none());
    }
}

#[tokio::test]
async fn a_child_of_another_live_model_is_a_conflict() {
    let (client, _) = server(|request| match request {
        "PATCH services/m children -" => conflict(),
        _ => owned_by("Model", "other", "o"),
    });
    let plan = Plan { service: change("m"), ..Plan::default() };
    let applied = apply(&client, &model(), &Observed::default(), &plan).await.unwrap();
    assert_eq!(causes(&applied), [("Service/m", "NameConflict")]);
}

#[tokio::test]
async fn an_orphan_with_our_labels_is_taken() {
    let (client, _) = server(|request| match request {
        "PATCH services/m children -" => conflict(),
        "GET services/m" => {
            let labels = json!({"modelwright.dev/model": "m", "app.kubernetes.io/managed-by": "modelwright"});
            (200, json!({"metadata": {"name": "m", "labels": labels}}))
        }
        _ => accepted(),
    });
    let plan = Plan { service: change("m"), ..Plan::default() };
    assert_eq!(apply(&client, &model(), &Observed::default(), &plan).await, Some(Applied::default()));
}

#[tokio::test]
async fn no_pod_runs_as_an_account_that_somebody_else_made() {
    let (client, requests) = server(|request| match request {
        "GET serviceaccounts/m" => (200, json!({"metadata": {"name": "m"}})),
        _ => accepted(),
    });
    let applied = apply(&client, &model(), &Observed::default(), &whole_plan()).await.unwrap();
    assert_eq!(causes(&applied), [("ServiceAccount/m", "NameConflict")]);
    assert!(applied.failures[0].cause.message.contains("spec.serviceAccountName: m"));
    let texts = texts(&requests);
    assert!(!texts.iter().any(|text| text.contains("deployments") || text == "POST jobs"), "{texts:?}");
}

#[tokio::test]
async fn a_job_that_exists_already_is_ours_only_with_our_hash_and_owner() {
    let cases = [
        (owned_by("Model", "m", "u"), None),
        (owned_by("Model", "m", "former"), Some(("Job/j", "WaitingForDeletion"))),
        (owned_by("CronJob", "c", "x"), Some(("Job/j", "NameConflict"))),
        (
            (200, json!({"metadata": {"name": "j", "labels": {"modelwright.dev/model": "m"}}})),
            Some(("Job/j", "NameConflict")),
        ),
        (not_found(), Some(("Job/j", "ApplyFailed"))),
    ];
    for (existing, expected) in cases {
        let (client, _) = server(move |request| match request {
            "POST jobs" => failure(409, "AlreadyExists", "jobs.batch \"j\" already exists"),
            _ => existing.clone(),
        });
        let jobs = JobChanges { created: Some(Box::new(object::<Job>("j"))), ..JobChanges::default() };
        let plan = Plan { jobs, ..Plan::default() };
        let applied = apply(&client, &model(), &Observed::default(), &plan).await.unwrap();
        assert_eq!(causes(&applied), Vec::from_iter(expected));
    }
}

#[tokio::test]
async fn no_job_is_made_beside_one_that_could_not_be_deleted() {
    let (client, requests) = server(|request| match request {
        "DELETE jobs/m-old" => failure(500, "InternalError", "etcd"),
        request if request.starts_with("GET") => not_found(),
        _ => accepted(),
    });
    let applied = apply(&client, &model(), &Observed::default(), &whole_plan()).await.unwrap();
    assert_eq!(causes(&applied), [("Job/m-old", "ApplyFailed")]);
    assert!(!texts(&requests).contains(&"POST jobs".to_owned()));
}

#[tokio::test]
async fn a_namespace_that_goes_away_ends_everything_quietly() {
    let terminating = "services \"m\" is forbidden: unable to create new content in namespace demo because it is \
                       being terminated";
    let (client, requests) = server(move |request| match request {
        "PATCH services/m children -" => failure(403, "Forbidden", terminating),
        request if request.starts_with("GET") => not_found(),
        _ => accepted(),
    });
    assert_eq!(apply(&client, &model(), &Observed::default(), &whole_plan()).await, None);
    assert_eq!(texts(&requests).last().unwrap(), "PATCH services/m children -");
}

#[tokio::test]
async fn a_job_without_a_pod_says_why() {
    let (client, requests) = server(|_| {
        let message = "Error creating: pods \"j-x\" is forbidden: exceeded quota: q";
        (200, json!({"metadata": {}, "items": [{"metadata": {}, "involvedObject": {}, "message": message}]}))
    });
    let mut job: Job = object("j");
    job.metadata.uid = Some("1".into());
    let observed = Observed { jobs: vec![Arc::new(job)], ..Observed::default() };
    let jobs = JobChanges { without_pod: vec!["j".into()], ..JobChanges::default() };
    let plan = Plan { jobs, ..Plan::default() };
    let applied = apply(&client, &model(), &observed, &plan).await.unwrap();
    assert_eq!(applied.denials["j"].reason, "QuotaExceeded");
    assert_eq!(texts(&requests), ["GET events"]);
}
