use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use modelwright_api::contract::containers;
use serde_json::json;

use super::super::tests::world::{UID, digest, settings};
use super::*;

const SPEC: &str = r#"{"training": {"data": {"source": {"uri": "s3://d/x"}, "target": "y"}, "keep": 2,
    "output": {"uri": "s3://m/all/", "credentialsSecretRef": {"name": "s3"}}}}"#;

/// A Model whose Jobs end as a test says.
struct Store {
    model: Model,
    observed: Observed,
    protected: Vec<String>,
    quiet: bool,
    now: Timestamp,
}

impl Store {
    fn new() -> Self {
        let mut model = Model::new("bc", serde_json::from_str(SPEC).unwrap());
        model.metadata.namespace = Some("demo".into());
        model.metadata.uid = Some(UID.into());
        Self {
            model,
            observed: Observed::default(),
            protected: vec![digest('b'), digest('a')],
            quiet: true,
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
        }
    }

    fn plan(&self) -> RetentionPlan {
        let settings = settings("1");
        let owner = Owner::of(&self.model, "1");
        let Self { model, observed, protected, quiet, now } = self;
        let (protected, quiet, now) = (protected.clone(), *quiet, *now);
        View { model, owner: &owner, observed, settings: &settings, protected, quiet, now }.plan()
    }

    /// One pass. Returns what it planned.
    fn pass(&mut self) -> RetentionPlan {
        let plan = self.plan();
        let goes =
            |job: &std::sync::Arc<Job>| plan.jobs.deleted.contains(job.metadata.name.as_ref().unwrap());
        self.observed.jobs.retain(|job| !goes(job));
        if let Some(job) = &plan.jobs.created {
            let mut job = (**job).clone();
            let name = job.metadata.name.clone().unwrap();
            assert!(self.observed.jobs.iter().all(|other| other.metadata.name.as_ref() != Some(&name)));
            job.metadata.uid = Some(format!("uid-of-{name}"));
            job.metadata.creation_timestamp = Some(Time(self.now));
            self.observed.jobs.push(job.into());
        }
        plan
    }

    fn wait(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    /// The newest Job ends so.
    fn job_ends(&mut self, code: i32, outcome: &Outcome) {
        let ended = Time(self.now);
        let job = std::sync::Arc::make_mut(self.observed.jobs.last_mut().unwrap());
        let type_ = if code == 0 { "Complete" } else { "Failed" };
        job.status = serde_json::from_value(
            json!({"conditions": [{"type": type_, "status": "True", "lastTransitionTime": ended}]}),
        )
        .unwrap();
        let (name, uid) = (job.metadata.name.clone().unwrap(), job.metadata.uid.clone().unwrap());
        let pod = json!({
            "metadata": {"name": format!("{name}-x"), "ownerReferences": [
                {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid, "controller": true}]},
            "status": {"phase": if code == 0 { "Succeeded" } else { "Failed" }, "containerStatuses": [{
                "name": containers::DELETE, "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"terminated": {"exitCode": code, "message": outcome.to_line()}}}]}
        });
        self.observed.pods.push(serde_json::from_value(pod).map(std::sync::Arc::new).unwrap());
    }

    fn listed(&mut self, ids: &[String]) {
        assert_eq!(order_of(&self.pass()).delete, None);
        self.job_ends(0, &Outcome { revisions: ids.to_vec(), ..Outcome::success("Listed") });
    }
}

fn order_of(plan: &RetentionPlan) -> DeletionOrder {
    let job = plan.jobs.created.as_ref().expect("a Job");
    let template = job.spec.clone().unwrap().template.metadata.unwrap();
    serde_json::from_str(&template.annotations.unwrap()[annotations::ORDER]).unwrap()
}

fn id(digit: char) -> String {
    digit.to_string().repeat(16)
}

#[test]
fn what_goes_is_shown_for_five_minutes_and_then_exactly_that_is_deleted() {
    let mut store = Store::new();
    store.listed(&[id('1'), id('2')]);
    for wait in [0, 299] {
        store.wait(wait);
        let plan = store.pass();
        assert_eq!((plan.expiring.as_slice(), plan.jobs.created.is_none()), (&[id('1'), id('2')][..], true));
        assert!(plan.look_again_at.is_some());
    }
    store.wait(1);
    let plan = store.pass();
    let order = order_of(&plan);
    assert_eq!(order.delete, Some(vec![id('1'), id('2')]));
    assert_eq!(
        (order.keep, order.protected, order.uid),
        (Some(2), vec![digest('a'), digest('b')], UID.into())
    );
    store.job_ends(0, &Outcome::success("Deleted"));
    let plan = store.pass();
    assert!(plan.expiring.is_empty() && plan.jobs.created.is_none());
    store.wait(10 * 24 * 3600);
    let plan = store.pass();
    assert!(plan.jobs.created.is_none() && plan.jobs.deleted.is_empty(), "it is remembered");
}

#[test]
fn order_and_credentials_reach_the_command() {
    let job = Store::new().plan().jobs.created.unwrap();
    let pod = job.spec.unwrap().template.spec.unwrap();
    let container = &pod.containers[0];
    let args = container.args.as_ref().unwrap().join(" ");
    assert_eq!(args, "delete --config /etc/modelwright/order/order.json --credentials-secret s3");
    let env: Vec<&str> = container.env.iter().flatten().map(|variable| variable.name.as_str()).collect();
    assert!(env.contains(&"OUTPUT_AWS_ACCESS_KEY_ID") && !env.contains(&"AWS_ACCESS_KEY_ID"), "{env:?}");
}

#[test]
fn another_set_that_stays_stops_everything_and_asks_anew() {
    let mut store = Store::new();
    store.listed(&[id('1')]);
    store.wait(300);
    let deletion = store.pass().jobs.created.unwrap().metadata.name.unwrap();
    // Somebody pins what is being deleted.
    store.protected.push(digest('1'));
    let plan = store.pass();
    assert!(plan.jobs.deleted.len() == 2 && plan.jobs.deleted.contains(&deletion), "{:?}", plan.jobs.deleted);
    assert!(plan.expiring.is_empty());
    assert_eq!(order_of(&plan).delete, None);
}

#[test]
fn nothing_begins_while_something_else_is_at_work_or_the_model_is_suspended() {
    let mut store = Store::new();
    store.quiet = false;
    assert!(store.pass().jobs.created.is_none());
    store.quiet = true;
    store.model.spec.suspend = Some(true);
    assert!(store.pass().jobs.created.is_none());
    store.model.spec.suspend = None;
    store.listed(&[id('1')]);
    store.model.spec.suspend = Some(true);
    store.wait(600);
    let plan = store.pass();
    assert!(plan.jobs.created.is_none() && plan.expiring == [id('1')]);
}

#[test]
fn deletion_makes_way_for_a_training_and_is_done_afterwards() {
    let mut store = Store::new();
    store.listed(&[id('1')]);
    store.wait(300);
    let deletion = store.pass().jobs.created.unwrap().metadata.name.unwrap();
    store.quiet = false;
    let plan = store.pass();
    assert_eq!((plan.jobs.deleted, plan.expiring), (vec![deletion], vec![id('1')]));
    assert!(store.pass().jobs.deleted.is_empty());
    store.quiet = true;
    assert_eq!(order_of(&store.pass()).delete, Some(vec![id('1')]));
}

#[test]
fn nothing_to_delete_makes_no_second_job() {
    let mut store = Store::new();
    store.listed(&[]);
    store.wait(600);
    assert!(store.pass().jobs.created.is_none());
}

#[test]
fn longer_lists_than_an_outcome_holds_go_in_parts() {
    let mut store = Store::new();
    let many: Vec<String> = (0..OUTCOME_MAX_REVISIONS).map(|number| format!("{number:016x}")).collect();
    store.listed(&many);
    store.wait(300);
    assert_eq!(order_of(&store.pass()).delete.map(|all| all.len()), Some(OUTCOME_MAX_REVISIONS));
    store.job_ends(0, &Outcome::success("Deleted"));
    assert_eq!(store.pass().jobs.deleted.len(), 2);
    store.listed(&[]);
}

#[test]
fn failures_are_told_and_retried_only_if_waiting_can_help() {
    for (code, retried) in [(66, true), (69, true), (73, true), (64, false), (65, false)] {
        let mut store = Store::new();
        store.pass();
        store.job_ends(code, &Outcome::failure("Why", "because"));
        let plan = store.pass();
        assert!(plan.failure.as_ref().is_some_and(|cause| cause.reason == "Why"), "{code}");
        assert!(plan.jobs.created.is_none() && plan.look_again_at.is_some() == retried, "{code}");
        store.wait(60);
        let again = store.pass();
        assert_eq!(again.jobs.created.is_some(), retried, "{code}");
        if retried {
            assert_eq!(again.jobs.deleted.len(), 1);
            store.job_ends(code, &Outcome::failure("Why", "because"));
            store.wait(60);
            assert!(store.pass().jobs.created.is_none(), "the second pause is longer");
            store.wait(60);
            assert!(store.pass().jobs.created.is_some());
        }
    }
}

#[test]
fn jobs_go_when_every_revision_is_kept() {
    let mut store = Store::new();
    store.listed(&[id('1')]);
    store.model.spec.training.as_mut().unwrap().keep = None;
    let plan = store.pass();
    assert_eq!((plan.jobs.deleted.len(), plan.expiring.len()), (1, 0));
    assert!(store.pass().jobs.deleted.is_empty());
}
