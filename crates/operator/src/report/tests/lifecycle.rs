//! What changes from one report to the next.

use super::*;

fn ids(revisions: &[Revision]) -> Vec<&str> {
    revisions.iter().map(|revision| revision.id.as_str()).collect()
}

/// A digest that ends and begins with a number.
fn digest(number: usize) -> String {
    format!("sha256:{number:064x}").replacen("sha256:0", "sha256:a", 1)
}

#[test]
fn first_deploy_is_told_when_its_source_is_known_and_when_it_serves() {
    let mut world = World::new();
    world.situation.source = SourceState::Resolving { job: JOB.into(), poll: false };
    assert!(events(&world.pass()).is_empty());
    world.situation = Situation {
        resolution: Some(resolution(DIGEST)),
        wanted: Some(revision(DIGEST)),
        replicas: Some(2),
        ..Situation::default()
    };
    assert_eq!(events(&world.pass()), ["Resolved"]);
    world.situation.deployed = Some(revision(DIGEST));
    world.situation.rollout = RolloutState::First;
    let report = world.pass();
    assert!(report.announcements.is_empty());
    assert_eq!(report.status.revisions.unwrap().candidate.unwrap().digest, DIGEST);
    world.observed = World::serving().observed;
    world.situation.rollout = RolloutState::Settled;
    let report = world.pass();
    assert_eq!(events(&report), ["Serving"]);
    let revisions = report.status.revisions.unwrap();
    let active = revisions.active.unwrap();
    assert_eq!((active.id.as_str(), revisions.candidate), ("0011223344556677", None));
    assert_eq!(active.since.as_deref(), Some("2026-11-27T11:50:07Z"));
    assert!(world.pass().announcements.is_empty());
}

#[test]
fn status_says_where_the_model_answers_and_what_it_is() {
    let status = World::serving().report().status;
    assert_eq!(status.observed_generation, Some(3));
    assert_eq!(status.url.as_deref(), Some("http://bc.demo.svc"));
    assert_eq!((status.replicas, status.ready_replicas), (Some(2), Some(2)));
    assert_eq!(status.selector.as_deref(), Some("modelwright.dev/model=bc,modelwright.dev/role=server"));
    let facts = status.model.unwrap();
    let input = TensorFacts { name: "features".into(), datatype: "FP32".into(), shape: vec![-1, 30] };
    assert_eq!((facts.inputs, facts.inputs_total), (vec![input], Some(1)));
    let cold = status.cold_start.unwrap();
    assert_eq!((cold.pod.as_str(), cold.scheduled, cold.image), ("bc-a", Some(1_000), Some(2_000)));
    assert_eq!((cold.fetch, cold.total), (Some(2_000), Some(6_000)));
    assert_eq!(with_server_times(&cold, "bc-b", Some(80), None), None);
    assert_eq!(with_server_times(&cold, "bc-a", Some(80), None).unwrap().session, Some(80));
}

#[test]
fn what_a_server_told_is_kept_until_another_revision_is_active() {
    let mut world = World::serving();
    world.pass();
    let status = world.model.status.as_mut().unwrap();
    status.cold_start = with_server_times(status.cold_start.as_ref().unwrap(), "bc-a", Some(80), Some(3));
    status.runtime.as_mut().unwrap().version = Some("1.23.0".into());
    let kept = world.pass().status;
    assert_eq!(kept.cold_start.as_ref().unwrap().warmup, Some(3));
    assert_eq!(kept.runtime.unwrap().version.as_deref(), Some("1.23.0"));
    world.pods([server("bc-c", OTHER, &samples::ready())]);
    world.deployment(OTHER);
    world.situation.deployed = Some(revision(OTHER));
    world.situation.wanted = Some(revision(OTHER));
    let cold = world.pass().status.cold_start.unwrap();
    assert_eq!((cold.pod.as_str(), cold.session), ("bc-c", None));
}

#[test]
fn condition_keeps_its_time_until_its_status_flips() {
    let mut world = World::serving();
    world.pass();
    let later = now() + SignedDuration::from_hours(1);
    world.situation.pinned = true;
    let pinned = world.report_at(later).status;
    assert_eq!(condition(&pinned, ConditionType::Ready).last_transition_time, now().to_string());
    world.situation.rollout = RolloutState::Candidate;
    let rolling = world.report_at(later).status;
    assert_eq!(condition(&rolling, ConditionType::Ready).last_transition_time, later.to_string());
    assert_eq!(condition(&rolling, ConditionType::Available).last_transition_time, now().to_string());
}

#[test]
fn failed_candidate_keeps_the_active_revision_and_is_listed_as_rejected() {
    let mut world = World::rolling();
    world.pass();
    let revisions = world.model.status.as_ref().unwrap().revisions.clone().unwrap();
    assert_eq!(revisions.active.unwrap().digest, OTHER);
    assert_eq!(revisions.candidate.unwrap().digest, DIGEST);
    let cause = Cause::reported("UnsupportedOpset", REFUSAL, Class::User);
    world.situation.rollout = RolloutState::RolledBack { rejected: revision(DIGEST), cause: Some(cause) };
    assert_eq!(events(&world.pass()), ["!RollingBack"]);
    world.pods([server("bc-z", OTHER, &samples::ready()), server("bc-y", OTHER, &samples::ready())]);
    world.deployment(OTHER);
    world.situation.deployed = Some(revision(OTHER));
    // The pods that failed are gone, and with them what they said.
    world.situation.rollout = RolloutState::RolledBack { rejected: revision(DIGEST), cause: None };
    let report = world.pass();
    assert_eq!(events(&report), ["!RolledBack"]);
    let ready = condition(&report.status, ConditionType::Ready);
    assert!(ready.message.contains(REFUSAL), "{}", ready.message);
    let revisions = report.status.revisions.unwrap();
    let rejected = RejectedRevision {
        digest: DIGEST.into(),
        reason: "UnsupportedOpset".into(),
        message: REFUSAL.into(),
        ..RejectedRevision::default()
    };
    assert_eq!((revisions.rejected, revisions.candidate), (vec![rejected], None));
    assert_eq!(revisions.active.unwrap().digest, OTHER);
}

#[test]
fn rejected_revision_without_any_known_cause_reports_the_same_each_time() {
    let mut world = World::serving();
    world.situation.rollout = RolloutState::RolledBack { rejected: revision(OTHER), cause: None };
    world.pass();
    world.pass();
    let third = world.pass();
    let message = &condition(&third.status, ConditionType::Ready).message;
    assert_eq!(
        message,
        "revision ffeeddccbbaa9988 did not become ready: its pods were not ready in time; revision 0011223344556677 is served as before"
    );
}

#[test]
fn rejected_settings_do_not_reject_the_revision_that_is_served() {
    let mut world = World::serving();
    world.pass();
    let cause = Some(Cause::new(Reason::OutOfMemory, "limit of 16Mi"));
    world.situation.rollout = RolloutState::RolledBack { rejected: revision(DIGEST), cause };
    let status = world.pass().status;
    assert!(
        condition(&status, ConditionType::Ready)
            .message
            .starts_with("the changed settings did not become ready")
    );
    assert!(status.revisions.unwrap().rejected.is_empty());
}

#[test]
fn former_and_rejected_revisions_are_bounded_and_the_newest_come_first() {
    let mut world = World::serving();
    for number in 0..15 {
        let next = digest(number);
        world.pods([server("bc-a", &next, &samples::ready()), server("bc-b", &next, &samples::ready())]);
        world.deployment(&next);
        world.situation.deployed = Some(revision(&next));
        world.situation.wanted = Some(revision(&next));
        let cause = Cause::new(Reason::OutOfMemory, "m");
        world.situation.rollout =
            RolloutState::RolledBack { rejected: revision(&digest(100 + number)), cause: Some(cause) };
        world.pass();
        world.situation.rollout = RolloutState::Settled;
        world.pass();
    }
    let revisions = world.pass().status.revisions.unwrap();
    let expected: Vec<String> = (4..14).rev().map(|number| digest(number)[7..23].to_owned()).collect();
    assert_eq!(ids(&revisions.former), expected);
    let rejected: Vec<&str> = revisions.rejected.iter().map(|rejected| rejected.digest.as_str()).collect();
    assert_eq!(rejected, (110..115).rev().map(digest).collect::<Vec<_>>());
    // Going back to a former one takes it off the list.
    let back = digest(7);
    world.pods([server("bc-a", &back, &samples::ready()), server("bc-b", &back, &samples::ready())]);
    world.situation.deployed = Some(revision(&back));
    world.situation.wanted = Some(revision(&back));
    let revisions = world.pass().status.revisions.unwrap();
    assert_eq!(revisions.active.unwrap().digest, back);
    assert_eq!(ids(&revisions.former)[0], &digest(14)[7..23]);
    assert!(revisions.former.iter().all(|revision| revision.digest != back));
}

#[test]
fn lost_status_is_found_again_in_the_pods() {
    let mut world = World::rolling();
    world.pass();
    let known = world.model.status.take().unwrap().revisions.unwrap();
    let again = world.pass().status.revisions.unwrap();
    assert_eq!(again, known);
}

#[test]
fn active_revision_stays_while_nothing_is_served() {
    let mut world = World::serving();
    let active = world.pass().status.revisions.unwrap().active;
    world.pods([]);
    world.situation.replicas = Some(0);
    assert_eq!(world.pass().status.revisions.unwrap().active, active);
}

#[test]
fn write_failure_of_a_changed_spec_is_not_ready() {
    let mut world = World::serving();
    world.pass();
    world.model.metadata.generation = Some(4);
    world.failing(Cause::new(Reason::ApplyFailed, "the API server is away"));
    let report = world.pass();
    assert_eq!(condition(&report.status, ConditionType::Ready).reason, "ApplyFailed");
    assert_eq!(events(&report), ["!ApplyFailed"]);
}

#[test]
fn denied_job_says_what_denies_it() {
    let mut world = World::new();
    world.situation.source = SourceState::Resolving { job: JOB.into(), poll: false };
    let denial = Cause::new(Reason::QuotaExceeded, "pods: used 10, limited 10");
    world.applied.denials.insert(JOB.into(), denial);
    let status = world.pass().status;
    let ready = condition(&status, ConditionType::Ready);
    assert_eq!(ready.reason, "QuotaExceeded");
    assert!(ready.message.ends_with("pods: used 10, limited 10"), "{}", ready.message);
    let progressing = condition(&status, ConditionType::Progressing);
    assert_eq!((progressing.status, progressing.reason.as_str()), (ConditionStatus::True, "Resolving"));
}

#[test]
fn denied_pods_say_what_denies_them() {
    let mut world = World::new();
    world.situation.deployed = Some(revision(DIGEST));
    world.situation.rollout = RolloutState::First;
    let deployment = json!({"metadata": {"name": "bc"}, "status": {"conditions": [
        {"type": "ReplicaFailure", "status": "True", "message": "pods \"bc-1\" is forbidden: exceeded quota: small"}]}});
    world.observed.deployment = Some(Arc::new(serde_json::from_value(deployment).unwrap()));
    let status = world.pass().status;
    let ready = condition(&status, ConditionType::Ready);
    assert_eq!(ready.reason, "QuotaExceeded");
    assert!(
        ready.message.contains("Deployment bc: pods \"bc-1\" is forbidden: exceeded quota"),
        "{}",
        ready.message
    );
}

#[test]
fn time_of_the_last_look_is_kept_only_where_the_source_is_polled() {
    let mut world = World::serving();
    world.situation.resolution.as_mut().unwrap().checked_at = Some(now());
    assert_eq!(world.report().status.source.unwrap().checked_at, None);
    world.spec(&json!({"source": {"uri": "s3://models/bc/", "pollInterval": "10m"}}));
    assert_eq!(world.report().status.source.unwrap().checked_at, Some(now().to_string()));
}

#[test]
fn update_that_will_interrupt_is_announced_beforehand() {
    let mut world = World::serving();
    world.spec(&json!({"source": {"uri": "s3://models/bc/"}, "rollout": {"surge": "None"}}));
    world.situation.replicas = Some(1);
    world.pods([server("bc-a", DIGEST, &samples::ready())]);
    let status = world.report().status;
    let message = &condition(&status, ConditionType::Ready).message;
    assert!(
        message.contains("; an update will interrupt it, because there is one pod and none may be added"),
        "{message}"
    );
}

#[test]
fn conditions_of_others_and_a_service_of_others_are_left_alone() {
    let mut world = World::serving();
    world.pass();
    let foreign = Condition { type_: "Audited".into(), ..Condition::default() };
    world.model.status.as_mut().unwrap().conditions.push(foreign.clone());
    let service = json!({"metadata": {"name": "bc", "ownerReferences": [
        {"apiVersion": "v1", "kind": "Other", "name": "o", "uid": "o", "controller": true}]}});
    world.observed.service = Some(Arc::new(serde_json::from_value(service).unwrap()));
    let status = world.report().status;
    assert_eq!(status.conditions.last(), Some(&foreign));
    assert_eq!((status.conditions.len(), status.url), (5, None));
}

#[test]
fn counts_say_what_the_conditions_say_although_the_deployment_is_behind() {
    let mut world = World::serving();
    let behind = json!({"replicas": 2, "readyReplicas": 1});
    let deployment = Arc::make_mut(world.observed.deployment.as_mut().unwrap());
    deployment.status = Some(serde_json::from_value(behind).unwrap());
    let status = world.report().status;
    assert!(!status.holds(ConditionType::Progressing));
    assert_eq!((status.replicas, status.ready_replicas), (Some(2), Some(2)));

    // One that is being deleted is no replica any more, though it still answers.
    let mut leaving = server("bc-c", DIGEST, &samples::ready());
    leaving.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
    world.observed.pods.push(Arc::new(leaving));
    let status = world.report().status;
    assert_eq!((status.replicas, status.ready_replicas), (Some(2), Some(2)));
}

#[test]
fn deployment_of_others_is_not_counted() {
    let mut world = World::new();
    let deployment = json!({"status": {"replicas": 7, "readyReplicas": 7}, "metadata": {"name": "bc", "ownerReferences": [
        {"apiVersion": "v1", "kind": "Other", "name": "o", "uid": "o", "controller": true}]}});
    world.observed.deployment = Some(Arc::new(serde_json::from_value(deployment).unwrap()));
    world.situation.blocked = Some(Cause::new(Reason::NameConflict, "Deployment/bc belongs to Other o"));
    let status = world.report().status;
    assert_eq!((status.replicas, status.ready_replicas), (Some(0), Some(0)));
    assert_eq!(condition(&status, ConditionType::Stalled).reason, "NameConflict");
}

#[test]
fn long_and_hostile_words_are_bounded_everywhere() {
    let mut world = World::new();
    let message = "\u{1b}]0;owned\u{7}\n".repeat(2_000);
    world.situation.blocked = Some(Cause::new(Reason::InvalidSpec, message));
    let report = world.pass();
    for condition in &report.status.conditions {
        assert!(condition.message.len() <= 1_024 && !condition.message.contains(char::is_control));
    }
    assert!(report.announcements.iter().all(|event| event.note.len() <= 1_024));
}

#[test]
fn failed_look_at_the_source_is_told_once_for_each_reason() {
    let mut world = World::serving();
    world.pass();
    let looking = SourceState::Resolving { job: JOB.into(), poll: true };
    let denied = Cause::reported("AccessDenied", "the keys may not list", Class::Wait);
    let later = now() + SignedDuration::from_mins(5);
    for (source, told) in [
        (retrying(true), &["!StoreUnreachable"][..]),
        (looking.clone(), &[]),
        (retrying(true), &[]),
        (looking, &[]),
        (SourceState::Retrying { cause: denied.clone(), at: later, poll: true }, &["!AccessDenied"]),
        (SourceState::Refused { cause: denied, poll: true }, &[]),
        (SourceState::Quiet, &[]),
        (retrying(true), &["!StoreUnreachable"]),
    ] {
        world.situation.source = source.clone();
        let report = world.pass();
        assert_eq!(events(&report), told, "{source:?}");
        let note = report.announcements.first().map_or("", |event| &event.note);
        assert!(told.is_empty() || note.starts_with("looking whether the source changed failed"), "{note}");
        assert!(world.pass().announcements.is_empty());
    }
    // What was known before the status was lost is no news.
    world.model.status = None;
    assert!(!events(&world.pass()).contains(&"!StoreUnreachable".to_owned()));
}
