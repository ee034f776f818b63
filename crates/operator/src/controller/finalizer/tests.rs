use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

const DELETED: &str = "2026-01-01T00:00:00Z";

fn spec(policy: &str) -> String {
    let training = r#"{"data": {"source": {"uri": "s3://d/x"}, "target": "y"}, "output": {"uri": "s3://m"}}"#;
    format!(r#"{{"training": {training}{policy}}}"#)
}

/// A Model that is being deleted and has the finalizer.
fn model() -> Model {
    let spec = spec(r#", "deletionPolicy": "DeleteArtifacts""#);
    let mut model = Model::new("bc", serde_json::from_str(&spec).unwrap());
    model.metadata.namespace = Some("demo".into());
    model.metadata.uid = Some("u".into());
    model.metadata.finalizers = Some(vec!["other/one".into(), finalizers::ARTIFACTS.into()]);
    model.metadata.deletion_timestamp = Some(Time(DELETED.parse().unwrap()));
    model
}

fn at(seconds: i64) -> Timestamp {
    DELETED.parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

fn step_at(model: &Model, observed: &Observed, seconds: i64) -> Step {
    step(model, observed, &Settings::with_image("i:1", "1"), at(seconds))
}

fn job(name: &str, owned: bool, status: &Value) -> std::sync::Arc<Job> {
    let the_model = json!([{"apiVersion": "modelwright.dev/v1alpha1", "kind": "Model", "name": "bc", "uid": "u",
        "controller": true}]);
    let owners = if owned { the_model } else { json!([]) };
    let job = json!({"metadata": {"name": name, "uid": "j", "ownerReferences": owners}, "status": status});
    serde_json::from_value(job).map(std::sync::Arc::new).unwrap()
}

/// The Job that deletes, with this status and this pod.
fn deleting(model: &Model, status: &Value, pod: Option<Value>) -> Observed {
    let pods = pod.map(|status| {
        let name = "p";
        let owners =
            json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "j", "controller": true}]);
        serde_json::from_value(
            json!({"metadata": {"name": name, "ownerReferences": owners}, "status": status}),
        )
        .unwrap()
    });
    Observed {
        jobs: vec![job(&delete_all_name(model).unwrap(), false, status)],
        pods: pods.into_iter().map(std::sync::Arc::new).collect(),
        ..Observed::default()
    }
}

fn ended(code: i32, message: &str) -> Value {
    let terminated = json!({"terminated": {"exitCode": code, "message": message}});
    let phase = if code == 0 { "Succeeded" } else { "Failed" };
    json!({"phase": phase, "containerStatuses": [
        {"name": "delete", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": terminated}]})
}

fn released(step: Step) -> Option<Announcement> {
    match step {
        Step::Release(announcement) => announcement,
        other => panic!("{other:?}"),
    }
}

#[rstest]
#[case::asked_for(r#", "deletionPolicy": "DeleteArtifacts""#, true)]
#[case::set_back(r#", "deletionPolicy": "Retain""#, false)]
#[case::never_said("", false)]
fn finalizer_is_on_models_whose_artifacts_go_with_them(#[case] policy: &str, #[case] expected: bool) {
    let model = Model::new("bc", serde_json::from_str(&spec(policy)).unwrap());
    assert_eq!(is_wanted(&model), expected);
    let source = r#"{"source": {"uri": "s3://m/x"}, "deletionPolicy": "DeleteArtifacts"}"#;
    assert!(!is_wanted(&Model::new("bc", serde_json::from_str(source).unwrap())), "it wrote nothing");
}

#[test]
fn job_outlives_what_the_model_owns_and_ends_in_time() {
    let Step::Make(job) = step_at(&model(), &Observed::default(), 60) else { panic!() };
    assert_eq!((job.metadata.owner_references, job.metadata.name), (None, delete_all_name(&model())));
    let spec = job.spec.unwrap();
    assert_eq!(spec.active_deadline_seconds, Some(540));
    assert!(spec.ttl_seconds_after_finished.is_some());
    assert_eq!(spec.template.spec.unwrap().service_account_name.as_deref(), Some("default"));
}

#[test]
fn what_could_still_write_ends_first() {
    let model = model();
    let mut observed = Observed { jobs: vec![job("bc-train-0-1", true, &json!({}))], ..Observed::default() };
    assert!(matches!(step_at(&model, &observed, 0), Step::End(jobs) if jobs == ["bc-train-0-1"]));
    observed.jobs.clear();
    let pod = json!({"metadata": {"name": "p", "labels": {"modelwright.dev/role": "train"}}, "status": {"phase": "Running"}});
    observed.pods.push(serde_json::from_value(pod).map(std::sync::Arc::new).unwrap());
    assert!(matches!(step_at(&model, &observed, 100), Step::End(jobs) if jobs.is_empty()));
    // A node that is lost does not tell when its pods end.
    assert!(matches!(step_at(&model, &observed, 200), Step::Make(_)));
}

#[test]
fn success_releases_the_model() {
    let done = r#"{"v":1,"ok":true,"reason":"Deleted","message":"2 revisions"}"#;
    let observed = deleting(&model(), &json!({}), Some(ended(0, done)));
    let announcement = released(step_at(&model(), &observed, 5)).unwrap();
    assert_eq!((announcement.warning, announcement.reason.as_str()), (false, "ArtifactsDeleted"));
}

#[test]
fn failure_is_retried_by_the_job_and_then_said() {
    let failed =
        ended(73, r#"{"v":1,"ok":false,"reason":"DeletionDenied","message":"grant s3:DeleteObject"}"#);
    let observed = deleting(&model(), &json!({"failed": 1}), Some(failed.clone()));
    assert!(matches!(step_at(&model(), &observed, 5), Step::Wait));
    let given_up = json!({"conditions": [{"type": "Failed", "status": "True"}]});
    for (status, seconds) in [(given_up, 5), (json!({"failed": 1}), 600)] {
        let observed = deleting(&model(), &status, Some(failed.clone()));
        let announcement = released(step_at(&model(), &observed, seconds)).unwrap();
        assert_eq!((announcement.warning, announcement.reason.as_str()), (true, "ArtifactsKept"));
        for part in ["s3:DeleteObject", "s3://m/demo/bc"] {
            assert!(announcement.note.contains(part), "{announcement:?}");
        }
    }
}

#[test]
fn nothing_holds_a_model_for_longer_than_ten_minutes() {
    let model = model();
    let running = deleting(&model, &json!({"active": 1}), None);
    assert!(matches!(step_at(&model, &running, 599), Step::Wait));
    let waiting = Observed { jobs: vec![job("bc-train-0-1", true, &json!({}))], ..Observed::default() };
    for observed in [running, waiting, Observed::default()] {
        assert!(released(step_at(&model, &observed, 600)).unwrap().warning);
    }
}

#[test]
fn model_that_asks_for_nothing_any_more_is_released_silently() {
    let mut model = model();
    model.spec.deletion_policy = Some(DeletionPolicy::Retain);
    assert!(released(step_at(&model, &Observed::default(), 0)).is_none());
    model.metadata.finalizers = Some(vec!["other/one".into()]);
    assert!(matches!(step_at(&model, &Observed::default(), 0), Step::Nothing));
}

/// Nobody can tell what it wrote, and its namespace must not wait for ever.
#[test]
fn model_that_cannot_be_read_waits_as_long_as_any() {
    let mut metadata = model().metadata;
    assert_eq!(unread_goes_at(&metadata), Some(at(600)));
    assert_eq!(patch(&metadata, false)["metadata"]["finalizers"], json!(["other/one"]));
    metadata.finalizers = Some(vec!["other/one".into()]);
    assert_eq!(unread_goes_at(&metadata), None);
}
