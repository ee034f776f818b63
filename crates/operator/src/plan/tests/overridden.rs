//! Histories of revisions that the gate refused and somebody names.

use modelwright_api::training::order::DeletionOrder;
use rstest::rstest;
use serde_json::{Value, json};

use super::{
    training::{active_job, retrain, situation, spec, state, trained},
    world::digest,
    *,
};
use crate::plan::training::TrainingState;

/// The gate refuses the revision of the next training, which `cron` begins.
fn refuses(world: &mut World, digit: char) {
    world.pass_time(24 * 3600);
    world.converge();
    let refused = Outcome {
        ok: false,
        reason: "WorseThanActive".into(),
        message: "valAccuracy is 0.7, and that of the active revision 0.97".into(),
        ..World::trained(digit)
    };
    world.training_ends("train", 78, &refused.to_line());
    world.converge();
}

fn names(world: &mut World, more: &Value, revision: Option<String>) {
    let mut more = more.clone();
    if let Some(revision) = revision {
        more["rollout"] = json!({"revision": revision});
    }
    world.spec(&spec(&more));
    world.converge();
}

fn serves(world: &mut World, digit: char) {
    world.deployment_is_ready();
    world.converge();
    assert_eq!(deployed(world), digest(digit));
}

/// The status is deleted, and every Job is gone.
fn forget(world: &mut World) {
    world.model.status = None;
    world.observed.jobs.clear();
    world.observed.pods.clear();
}

/// The settings of a Model that is trained every day, with these.
fn daily(more: &Value) -> Value {
    let mut more = more.clone();
    more["cron"] = json!("0 3 * * *");
    more
}

/// Revision `a` was served, and now `b` is, which the gate refused and somebody named.
fn overridden(more: &Value) -> World {
    let mut world = trained(more);
    refuses(&mut world, 'b');
    assert_eq!(deployed(&world), digest('a'));
    names(&mut world, more, Some("b".repeat(16)));
    serves(&mut world, 'b');
    world
}

#[rstest]
#[case::with_status(false)]
#[case::without_status_and_jobs(true)]
fn last_good_revision_is_served_again_when_a_refused_one_is_not_named_any_more(#[case] lost: bool) {
    let mut world = overridden(&daily(&json!({})));
    let there = world.plan().situation;
    assert_eq!((there.pinned, there.overridden.unwrap().reason.as_ref()), (true, "WorseThanActive"));
    world.written();
    if lost {
        forget(&mut world);
        world.converge();
        assert!(world.written().is_empty(), "nothing is trained or restarted");
        let newest = situation(&world).newest.unwrap();
        assert_eq!(
            (newest.revision.digest, newest.refused.unwrap().reason.as_ref()),
            (digest('b'), "WorseThanActive")
        );
    }
    names(&mut world, &daily(&json!({})), None);
    serves(&mut world, 'a');
    assert_eq!((state(&world), world.plan().situation.overridden), (TrainingState::Idle, None));
    // That stays so without any other memory than the Deployment's.
    forget(&mut world);
    world.converge();
    serves(&mut world, 'a');
    assert!(world.active_jobs().is_empty());
}

#[test]
fn refused_revision_without_a_good_one_before_it_is_served_until_one_passes() {
    let mut world = super::training::world(&json!({}));
    world.converge();
    let refused = Outcome { ok: false, reason: "RequirementNotMet".into(), ..World::trained('b') };
    world.training_ends("train", 78, &refused.to_line());
    names(&mut world, &json!({}), Some(digest('b')));
    serves(&mut world, 'b');
    names(&mut world, &json!({}), None);
    forget(&mut world);
    world.converge();
    serves(&mut world, 'b');
    assert_eq!(situation(&world).newest.unwrap().refused.unwrap().reason, "RequirementNotMet");
    retrain(&mut world, "better");
    world.converge();
    world.training_gives('c');
    world.converge();
    serves(&mut world, 'c');
    assert_eq!(world.plan().situation.overridden, None);
}

#[test]
fn approval_lasts_where_a_refused_revision_was_named_in_between() {
    let manual = daily(&json!({"gate": {"approval": "Manual"}}));
    let mut world = super::training::world(&manual);
    world.converge();
    world.training_gives('a');
    names(&mut world, &manual, Some(digest('a')));
    serves(&mut world, 'a');
    refuses(&mut world, 'b');
    names(&mut world, &manual, Some(digest('b')));
    serves(&mut world, 'b');
    forget(&mut world);
    names(&mut world, &manual, None);
    serves(&mut world, 'a');
}

#[test]
fn refusal_goes_when_another_gate_lets_the_revision_pass() {
    let mut world = overridden(&daily(&json!({})));
    let before = world.observed.deployment.clone().unwrap().spec.clone().unwrap().template;
    let looser = daily(&json!({"gate": {"require": [{"metric": "valAccuracy", "min": 0.5}]}}));
    names(&mut world, &looser, Some(digest('b')));
    world.training_gives('b');
    world.converge();
    names(&mut world, &looser, None);
    serves(&mut world, 'b');
    assert_eq!(world.plan().situation.overridden, None);
    let after = world.observed.deployment.clone().unwrap().spec.clone().unwrap().template;
    assert_eq!(before, after, "no pod is replaced for it");
}

#[test]
fn refused_pods_that_are_put_back_are_still_known_as_refused() {
    let mut world = overridden(&daily(&json!({})));
    let settings = daily(&json!({"serving": {"batching": {"maxBatchSize": 7}}}));
    names(&mut world, &settings, Some(digest('b')));
    world.deployment_says("False", "ProgressDeadlineExceeded", 0);
    world.converge();
    assert_eq!(deployed(&world), digest('b'));
    assert_eq!(world.plan().situation.overridden.unwrap().reason, "WorseThanActive");
}

#[test]
fn older_refused_revision_can_be_named_by_its_id_and_leaves_with_its_name() {
    let more = daily(&json!({}));
    let mut world = trained(&more);
    refuses(&mut world, 'b');
    world.model.status.as_mut().unwrap().revisions.as_mut().unwrap().rejected =
        serde_json::from_value(json!([
            {"digest": digest('b'), "reason": "WorseThanActive", "message": "0.7 is less than 0.97"},
        ]))
        .unwrap();
    let listed = world.model.status.clone().unwrap().revisions;
    refuses(&mut world, 'c');
    world.model.status.as_mut().unwrap().revisions = listed;
    names(&mut world, &more, Some("b".repeat(16)));
    serves(&mut world, 'b');
    assert!(world.plan().situation.overridden.is_some());
    names(&mut world, &more, None);
    serves(&mut world, 'a');
}

#[test]
fn revision_before_the_served_one_is_never_deleted_even_without_a_status() {
    let more = json!({"keep": 1});
    let mut world = trained(&more);
    world.job_ends(0, &Outcome::success("Listed"));
    retrain(&mut world, "again");
    world.converge();
    world.training_gives('b');
    world.converge();
    world.deployment_is_ready();
    forget(&mut world);
    world.converge();
    let order: DeletionOrder = serde_json::from_str(&active_job(&world, annotations::ORDER)).unwrap();
    assert_eq!(order.protected, vec![digest('a'), digest('b')]);
}
