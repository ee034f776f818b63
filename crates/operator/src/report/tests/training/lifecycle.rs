//! What becomes of trained revisions from one report to the next, and what the pages say.

use super::*;

#[test]
fn refused_revision_is_listed_with_its_numbers_and_the_active_one_stays_ready() {
    let mut world = World::trained(TrainingState::Idle);
    world.pass();
    world.job(SECOND, 1, running(TrainingPhase::Training));
    assert_eq!(events(&world.pass()), ["Training"]);
    world.training().newest = Some(refused(OTHER));
    world.training().state = TrainingState::Idle;
    let report = world.pass();
    assert_eq!(events(&report), ["!RequirementNotMet"]);
    let status = &report.status;
    assert!(status.holds(ConditionType::Ready) && status.holds(ConditionType::Available));
    assert!(!status.holds(ConditionType::Stalled) && !status.holds(ConditionType::Progressing));
    let revisions = status.revisions.clone().unwrap();
    let active = revisions.active.unwrap();
    assert_eq!((active.digest.as_str(), active.metrics["valAccuracy"]), (DIGEST, 0.978));
    let rejected = &revisions.rejected[0];
    assert_eq!((rejected.digest.as_str(), rejected.reason.as_str()), (OTHER, "RequirementNotMet"));
    assert_eq!(rejected.message, "valAccuracy is 0.6100, and the gate requires at least 0.9");
    assert_eq!(rejected.metrics.get("valAccuracy"), Some(&0.61));
    let training = status.training.clone().unwrap();
    assert_eq!((training.phase, training.passed), (Some(TrainingPhase::Refused), Some(false)));
    assert_eq!((training.revision.as_deref(), revisions.candidate), (Some(OTHER), None));
}

#[test]
fn revision_that_was_there_before_is_told_apart_from_one_that_was_trained() {
    let mut world = World::trained(TrainingState::Idle);
    world.pass();
    world.job(SECOND, 1, TrainingState::Idle);
    world.training().newest = Some(Trained { reused: true, ..trained(OTHER, 0.99) });
    let report = world.pass();
    let status = report.status.training.clone().unwrap();
    assert_eq!(status.reason.as_deref(), Some("Reused"));
    let message = "nothing was trained: of the same data and settings there is revision";
    assert!(status.message.unwrap().starts_with(message));
    assert_eq!(events(&report).first().map(String::as_str), Some("Reused"));
}

#[test]
fn revision_that_waits_for_approval_is_the_candidate_until_it_is_pinned() {
    let mut world = World::trained(TrainingState::Idle);
    world.pass();
    world.job(SECOND, 1, TrainingState::Idle);
    world.training().newest = Some(Trained { needs_approval: true, ..trained(OTHER, 0.99) });
    let report = world.pass();
    assert_eq!(events(&report), ["Trained", "ApprovalRequired"]);
    let candidate = report.status.revisions.unwrap().candidate.unwrap();
    assert_eq!((candidate.digest.as_str(), candidate.metrics["valAccuracy"]), (OTHER, 0.99));
    // The pin approves it.
    world.training().newest.as_mut().unwrap().needs_approval = false;
    world.situation.wanted = Some(revision(OTHER));
    world.situation.deployed = Some(revision(OTHER));
    world.situation.rollout = RolloutState::Settled;
    world.pods([server("bc-a", OTHER, &samples::ready()), server("bc-b", OTHER, &samples::ready())]);
    world.deployment(OTHER);
    let report = world.pass();
    assert_eq!(events(&report), ["Serving"]);
    let revisions = report.status.revisions.unwrap();
    let active = revisions.active.unwrap();
    assert_eq!((active.digest.as_str(), active.metrics["valAccuracy"]), (OTHER, 0.99));
    assert_eq!(
        revisions.former[0].metrics.get("valAccuracy"),
        Some(&0.978),
        "the former one keeps its numbers"
    );
}

#[test]
fn first_training_is_told_from_its_start_to_its_end() {
    let mut world = World::untrained(TrainingState::Queued);
    assert_eq!(events(&world.pass()), ["Queued"]);
    world.training().state = running(TrainingPhase::Starting);
    assert_eq!(events(&world.pass()), ["Training"]);
    world.training().state = running(TrainingPhase::Fetching);
    assert!(events(&world.pass()).is_empty());
    let killed = Cause::new(Reason::OutOfMemory, "pod bc-x, container train: limit of 1Gi");
    world.training().state = TrainingState::Retrying { cause: unreachable(), at: now() };
    assert_eq!(events(&world.pass()), ["!StoreUnreachable"]);
    world.job(SECOND, 2, running(TrainingPhase::Training));
    assert_eq!(events(&world.pass()), ["Training"]);
    world.training().state = TrainingState::Failed { cause: killed };
    let report = world.pass();
    assert_eq!(events(&report), ["!OutOfMemory"]);
    assert!(report.status.holds(ConditionType::Stalled));
    assert!(report.announcements[0].note.contains("limit of 1Gi"));
    assert!(world.pass().announcements.is_empty());
}

#[test]
fn cleared_job_and_lost_status_are_no_news() {
    let mut world = World::trained(TrainingState::Idle);
    world.pass();
    world.training().job = None;
    assert!(events(&world.pass()).is_empty());
    world.model.status = None;
    assert_eq!(events(&world.pass()), ["Serving"]);
}

#[test]
fn spec_that_cannot_be_carried_out_keeps_what_is_known_of_the_training() {
    let mut world = World::trained(TrainingState::Idle);
    let known = world.pass().status;
    world.situation = Situation {
        blocked: Some(Cause::new(Reason::InvalidPodTemplate, "podTemplate.spec.x: unknown")),
        ..Situation::default()
    };
    let blocked = world.pass().status;
    assert_eq!(blocked.training, known.training);
    assert_eq!(condition(&blocked, ConditionType::Trained), condition(&known, ConditionType::Trained));
    assert_eq!(blocked.revisions.unwrap().active.unwrap().metrics.get("valAccuracy"), Some(&0.978));
}

#[test]
fn hash_of_the_last_finished_training_stays_until_the_next_is_finished() {
    let mut world = World::trained(TrainingState::Idle);
    world.pass();
    world.training().trained_from = "another".to_owned();
    world.training().state = running(TrainingPhase::Training);
    assert_eq!(world.pass().status.training.unwrap().trained_from.as_deref(), Some("hash"));
    world.training().state = TrainingState::Idle;
    assert_eq!(world.pass().status.training.unwrap().trained_from.as_deref(), Some("another"));
}

#[test]
fn pin_holds_the_served_revision_against_a_newer_one() {
    let mut world = World::trained(TrainingState::Idle);
    world.situation.pinned = true;
    world.training().newest = Some(trained(OTHER, 0.99));
    let status = world.report().status;
    let ready = condition(&status, ConditionType::Ready);
    assert_eq!(ready.reason, "Pinned");
    assert_eq!(
        ready.message,
        "revision 0011223344556677 is served, as spec.rollout.revision says; the newest training gave ffeeddccbbaa9988"
    );
}

#[test]
fn revisions_that_are_deleted_next_are_listed_before() {
    let mut world = World::trained(TrainingState::Idle);
    world.training().expiring = (0..50).map(|number| format!("{number:016x}")).collect();
    let expiring = world.report().status.revisions.unwrap().expiring;
    assert_eq!((expiring.len(), expiring[1].as_str()), (32, "0000000000000001"));
}

#[test]
fn hostile_words_of_a_pod_are_bounded() {
    let mut world = World::trained(TrainingState::Idle);
    let long = "\u{1b}]0;owned\u{7}".repeat(2_000);
    let training = world.training();
    (training.job, training.fingerprint) = (Some(long.clone()), Some(long.clone()));
    training.newest = Some(Trained {
        inputs_digest: Some(long.clone()),
        refused: Some(Cause::reported("RequirementNotMet", long.clone(), Class::User)),
        metrics: Metrics::from([(long.clone(), 1.0), ("valLoss".to_owned(), f64::INFINITY)]),
        ..trained(OTHER, 0.5)
    });
    let status = world.report().status;
    let training = status.training.unwrap();
    let bounded = |text: &Option<String>, most: usize| {
        let text = text.as_deref().unwrap();
        assert!(text.len() <= most && !text.contains(char::is_control), "{text}");
    };
    bounded(&training.job, 63);
    bounded(&training.fingerprint, 71);
    bounded(&training.inputs_digest, 71);
    bounded(&training.message, 1_024);
    assert!(training.metrics.is_empty() && training.metric.is_none());
    let rejected = &status.revisions.unwrap().rejected[0];
    bounded(&Some(rejected.message.clone()), 1_024);
    assert!(rejected.metrics.is_empty());
}

#[test]
fn suspended_model_says_that_nothing_is_trained() {
    let mut world = World::untrained(TrainingState::Idle);
    let mut suspended = spec();
    suspended["suspend"] = true.into();
    world.spec(&suspended);
    let status = world.report().status;
    assert_eq!(condition(&status, ConditionType::Ready).reason, "Suspended");
    assert_eq!(condition(&status, ConditionType::Trained).reason, "Suspended");
}

#[test]
fn former_source_of_a_model_that_is_trained_now_is_forgotten_and_served_meanwhile() {
    let mut world = World::serving();
    world.pass();
    world.spec(&spec());
    let training = World::untrained(running(TrainingPhase::Training)).situation.training;
    (world.situation.training, world.situation.wanted) = (training, None);
    let status = world.report().status;
    assert_eq!(status.source, None);
    let ready = condition(&status, ConditionType::Ready);
    assert_eq!((ready.status, ready.reason.as_str()), (ConditionStatus::False, "Training"));
    assert!(ready.message.ends_with("trains; revision 0011223344556677 is served meanwhile"));
    assert!(status.holds(ConditionType::Available));
}

fn page(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn page_of_trainings_says_what_to_do_for_every_exit_code_and_every_reason_that_ends_one() {
    let page = page("cluster-training.md");
    for code in modelwright_api::ExitCode::ALL {
        let code = code.number();
        assert!(page.lines().any(|line| line.starts_with(&format!("| {code} |"))), "exit code {code}");
    }
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| ")).collect();
    for reason in [
        Reason::Queued,
        Reason::RetriesExhausted,
        Reason::TrainingDeadlineExceeded,
        Reason::TrainingStalled,
        Reason::TrainingPreempted,
        Reason::OutOfMemory,
        Reason::QuotaExceeded,
        Reason::AdmissionDenied,
        Reason::ImageUnavailable,
        Reason::ContainerConfigError,
        Reason::ContainerFailed,
        Reason::VolumeUnavailable,
        Reason::Unschedulable,
        Reason::WaitingForAccelerator,
        Reason::JobPodLost,
        Reason::InvalidPodTemplate,
        Reason::NameConflict,
    ] {
        let word = format!("`{}`", reason.as_str());
        assert!(rows.iter().any(|row| row.contains(&word)), "{word}");
    }
}

#[test]
fn page_of_the_status_has_the_order_of_deciding_metrics() {
    let page = page("status.md");
    let order = DECIDING_METRICS.map(|metric| format!("`{metric}`")).join(", ");
    assert!(page.contains(&order), "docs/status.md needs: {order}");
}

#[test]
fn failed_look_at_the_data_is_told_once_for_each_reason() {
    let mut world = World::trained(TrainingState::Idle);
    world.pass();
    for (failed, looking, told) in [
        (Some(unreachable()), false, &["!StoreUnreachable"][..]),
        (None, true, &[]),
        (Some(unreachable()), false, &[]),
        (None, false, &[]),
        (Some(unreachable()), false, &["!StoreUnreachable"]),
    ] {
        (world.training().look_failed, world.training().looking) = (failed.clone(), looking);
        assert_eq!(events(&world.pass()), told, "{failed:?}, {looking}");
        assert!(world.pass().announcements.is_empty());
    }
}

#[test]
fn revision_that_is_served_although_the_gate_refused_it_says_so_and_stays_listed() {
    let mut world = World::trained(TrainingState::Idle);
    world.pass();
    world.training().newest = Some(refused(DIGEST));
    world.situation.overridden = refused(DIGEST).refused;
    world.situation.pinned = true;
    for _ in 0..2 {
        let status = world.pass().status;
        let ready = condition(&status, ConditionType::Ready);
        assert_eq!((ready.status, ready.reason.as_str()), (ConditionStatus::True, "Pinned"));
        let said = "is served, as spec.rollout.revision says, although the gate refused it; the gate refused";
        assert!(ready.message.contains(said), "{}", ready.message);
        let revisions = status.revisions.unwrap();
        assert_eq!(revisions.active.unwrap().digest, DIGEST);
        assert_eq!(revisions.rejected[0].reason, "RequirementNotMet");
        assert_eq!(revisions.rejected.len(), 1);
        // Without a status, too.
        world.model.status = None;
    }
}
