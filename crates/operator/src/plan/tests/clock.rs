//! Clocks that jump: nothing is done twice, nothing at once again and again, and nothing is put off for ever.

use serde_json::json;

use super::{
    training::{self, trained},
    *,
};

const POLLED: &str = r#"{"source": {"uri": "s3://m/x", "pollInterval": "10m"}, "serving": {"replicas": 2}}"#;
const HOUR: i64 = 3_600;
const YEAR: i64 = 365 * 24 * HOUR;

/// A Model that serves `a`, and whose source is looked at every ten minutes.
fn polled() -> World {
    serving_by(POLLED)
}

fn jobs_made(world: &mut World) -> usize {
    world.written().iter().filter(|write| write.starts_with("create ")).count()
}

#[test]
fn clock_that_is_put_forward_makes_one_look_and_the_next_after_the_interval() {
    let mut world = polled();
    world.pass_time(YEAR);
    world.converge();
    assert_eq!(jobs_made(&mut world), 1);
    world.job_finds('a');
    for _ in 0..9 {
        world.converge();
        assert_eq!(jobs_made(&mut world), 0);
        world.pass_time(60);
    }
    world.pass_time(60);
    world.converge();
    assert_eq!(jobs_made(&mut world), 1);
}

#[test]
fn clock_that_is_put_back_puts_a_look_off_by_its_interval_and_no_more() {
    let mut world = polled();
    // The Job of the last look is gone, and what the status says of it is a year ahead.
    world.observed.jobs.clear();
    world.observed.pods.clear();
    world.pass_time(-YEAR);
    world.converge();
    assert_eq!(jobs_made(&mut world), 0);
    world.pass_time(600);
    world.converge();
    assert_eq!(jobs_made(&mut world), 1);
    world.job_finds('a');
    world.converge();
    assert_eq!(jobs_made(&mut world), 0);
}

/// A Model whose source could not be read.
fn unreachable() -> World {
    let mut world = World::new(SPEC);
    world.converge();
    fails(&mut world);
    world.written();
    world
}

fn fails(world: &mut World) {
    world.job_ends(69, &Outcome::failure("StoreUnreachable", "s3://m/x: it does not answer"));
    world.converge();
}

/// Seconds until the source is read again.
fn pause(world: &World) -> i64 {
    match world.plan().situation.source {
        SourceState::Retrying { at, .. } => at.duration_since(world.now).as_secs(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn pause_after_a_failure_is_kept_when_the_clock_is_put_forward() {
    let mut world = unreachable();
    assert_eq!(pause(&world), 10);
    world.pass_time(YEAR);
    world.converge();
    assert_eq!(jobs_made(&mut world), 1);
    fails(&mut world);
    assert_eq!((jobs_made(&mut world), pause(&world)), (0, 20));
}

#[test]
fn pause_after_a_failure_is_over_when_the_clock_is_put_back_and_the_next_is_kept() {
    let mut world = unreachable();
    world.pass_time(-HOUR);
    world.converge();
    assert_eq!(jobs_made(&mut world), 1);
    fails(&mut world);
    assert_eq!((jobs_made(&mut world), pause(&world)), (0, 20));
}

#[test]
fn clock_that_ends_jobs_ahead_of_the_others_takes_no_pause_away() {
    let mut world = World::new(SPEC);
    world.converge();
    // The controller of Jobs is an hour ahead of the API server, which made the Job a minute ago.
    world.pass_time(HOUR);
    world.job_ends(69, &Outcome::failure("StoreUnreachable", "s3://m/x: it does not answer"));
    world.pass_time(60 - HOUR);
    world.converge();
    assert_eq!(jobs_made(&mut world), 2, "the first, and the next a pause after the first was made");
    world.pass_time(HOUR);
    world.job_ends(69, &Outcome::failure("StoreUnreachable", "s3://m/x: it does not answer"));
    world.pass_time(5 - HOUR);
    world.converge();
    assert_eq!((jobs_made(&mut world), pause(&world)), (0, 15));
}

#[test]
fn outage_that_passes_is_noticed_within_a_minute_however_long_it_was() {
    let mut world = unreachable();
    let mut pauses = vec![pause(&world)];
    for _ in 0..5 {
        world.pass_time(pauses.last().copied().unwrap());
        world.converge();
        fails(&mut world);
        pauses.push(pause(&world));
    }
    assert_eq!(pauses, [10, 20, 40, 60, 60, 60]);
}

#[test]
fn tick_of_a_schedule_trains_once_whatever_the_clock_does() {
    let mut world = trained(&json!({"cron": "0 3 * * *"}));
    // Forward over a year of ticks.
    world.pass_time(YEAR + 4 * HOUR);
    world.converge();
    assert_eq!(world.active_jobs().len(), 1);
    assert_eq!(training::active_job(&world, annotations::TRIGGER), "cron 2026-01-01T03:00:00Z");
    world.training_gives('a');
    world.converge();
    assert!(world.active_jobs().is_empty());
    // Back before the tick of that day, and over it once more.
    world.pass_time(-2 * HOUR);
    world.converge();
    assert!(world.active_jobs().is_empty());
    world.pass_time(2 * HOUR + 60);
    world.converge();
    assert!(world.active_jobs().is_empty());
    // The next day's.
    world.pass_time(23 * HOUR);
    world.converge();
    assert_eq!(training::active_job(&world, annotations::TRIGGER), "cron 2027-01-02T03:00:00Z");
}
