//! When a Model is looked at again. Every pause between passes is in this file; those between Jobs are the
//! plan's.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::{error::ErrorClass, stores::ModelKey};

/// A Model is looked at this often although nothing changed: a watch may have lost something.
pub(super) const RESYNC: Duration = Duration::from_hours(1);
/// The shortest pause before a time that a plan asked for.
const SOONEST: Duration = Duration::from_millis(500);
/// The most that is added to a time that a plan asked for, so that deadlines are kept.
const MOST_JITTER_OF_A_DEADLINE: Duration = Duration::from_secs(5);

/// How long to wait after this many attempts in a row failed; `None` waits for a change.
fn pause(class: ErrorClass, attempts: u32) -> Option<Duration> {
    let doubled = |first: u64, most: u64, times: u32| {
        Duration::from_secs(first.saturating_mul(1_u64 << times.min(16)).min(most))
    };
    let failed_before = attempts.saturating_sub(1);
    match class {
        ErrorClass::User => None,
        ErrorClass::Wait => Some(doubled(30, 300, failed_before)),
        ErrorClass::Conflict if failed_before == 0 => Some(Duration::ZERO),
        ErrorClass::Conflict => Some(doubled(1, 120, failed_before - 1)),
        ErrorClass::Transient | ErrorClass::Bug => Some(doubled(1, 120, failed_before)),
    }
}

/// A pause made up to a quarter longer, always equally for the same Model, so that what failed together does not come back
/// together.
pub(super) fn spread(pause: Duration, model: &ModelKey) -> Duration {
    pause + pause.mul_f64(fraction(model) / 4.0)
}

/// From 0 up to, but not, 1.
fn fraction(model: &ModelKey) -> f64 {
    let digest = Sha256::digest(model.to_string());
    let number = digest.iter().take(4).fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    f64::from(number) / (f64::from(u32::MAX) + 1.0)
}

/// The pause until a time that a plan asked for. It never ends before that time.
pub(super) fn until(at: Timestamp, now: Timestamp, model: &ModelKey) -> Duration {
    let pause = Duration::try_from(at.duration_since(now)).unwrap_or_default().max(SOONEST);
    spread(pause, model).min(pause + MOST_JITTER_OF_A_DEADLINE)
}

/// How often each Model failed in a row.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    models: Mutex<HashMap<ModelKey, Attempt>>,
}

#[derive(Debug)]
struct Attempt {
    class: ErrorClass,
    count: u32,
    /// When the next attempt counts.
    due: Instant,
}

impl Attempts {
    /// A pass failed. Returns how long to wait. A pass that something else triggered before the pause was over does not count,
    /// or a Model with busy pods would soon wait the longest.
    pub(super) fn failed(&self, model: &ModelKey, class: ErrorClass, now: Instant) -> Duration {
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = models.entry(model.clone()).or_insert(Attempt { class, count: 0, due: now });
        if entry.class != class {
            *entry = Attempt { class, count: 0, due: now };
        }
        if now >= entry.due {
            entry.count = entry.count.saturating_add(1);
            entry.due = now + spread(pause(class, entry.count).unwrap_or(RESYNC), model);
        }
        entry.due - now
    }

    /// Whether the last pass failed.
    pub(super) fn failing(&self, model: &ModelKey) -> bool {
        self.models.lock().unwrap_or_else(PoisonError::into_inner).contains_key(model)
    }

    /// A pass succeeded, or the Model is gone.
    pub(super) fn forget(&self, model: &ModelKey) {
        self.models.lock().unwrap_or_else(PoisonError::into_inner).remove(model);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.models.lock().unwrap().len()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    fn key(name: &str) -> ModelKey {
        ModelKey::new("demo", name)
    }

    #[rstest]
    #[case(ErrorClass::User, [None, None, None])]
    #[case(ErrorClass::Wait, [Some(30), Some(60), Some(300)])]
    #[case(ErrorClass::Transient, [Some(1), Some(2), Some(120)])]
    #[case(ErrorClass::Bug, [Some(1), Some(2), Some(120)])]
    #[case(ErrorClass::Conflict, [Some(0), Some(1), Some(120)])]
    fn pauses_grow_to_a_bound(#[case] class: ErrorClass, #[case] expected: [Option<u64>; 3]) {
        assert_eq!([1, 2, 10_000].map(|attempts| pause(class, attempts)), expected.map(|s| s.map(seconds)));
    }

    #[test]
    fn models_are_spread_over_a_quarter_and_stay_where_they_are() {
        let spreads: Vec<_> = (0..200).map(|n| spread(seconds(100), &key(&format!("m{n}")))).collect();
        assert!(spreads.iter().all(|pause| (seconds(100)..seconds(125)).contains(pause)));
        assert!(spreads.iter().any(|pause| *pause < seconds(103)));
        assert!(spreads.iter().any(|pause| *pause > seconds(122)));
        assert_eq!(spread(seconds(100), &key("m0")), spreads[0]);
    }

    #[test]
    fn attempts_before_the_pause_is_over_do_not_count() {
        let (attempts, model, start) = (Attempts::default(), key("m"), Instant::now());
        let first = attempts.failed(&model, ErrorClass::Transient, start);
        assert!((seconds(1)..seconds(2)).contains(&first));
        for _ in 0..100 {
            assert_eq!(attempts.failed(&model, ErrorClass::Transient, start + first / 2), first / 2);
        }
        let second = attempts.failed(&model, ErrorClass::Transient, start + first);
        assert!((seconds(2)..seconds(3)).contains(&second), "{second:?}");
    }

    #[test]
    fn success_and_another_class_begin_anew() {
        let (attempts, model, start) = (Attempts::default(), key("m"), Instant::now());
        attempts.failed(&model, ErrorClass::Wait, start);
        let pause = attempts.failed(&model, ErrorClass::Transient, start);
        assert!(pause < seconds(2), "{pause:?}");
        attempts.failed(&model, ErrorClass::Transient, start + pause);
        attempts.forget(&model);
        assert_eq!(attempts.len(), 0);
        assert_eq!(attempts.failed(&model, ErrorClass::Transient, start), pause);
    }

    #[test]
    fn a_deadline_is_neither_missed_by_much_nor_looked_at_too_early() {
        let now = Timestamp::UNIX_EPOCH;
        let at = |seconds: i64| Timestamp::from_second(seconds).unwrap();
        for model in (0..50).map(|n| key(&n.to_string())) {
            let pause = until(at(600), now, &model);
            assert!((seconds(600)..=seconds(605)).contains(&pause), "{pause:?}");
            let past = until(at(-5), now, &model);
            assert!((SOONEST..seconds(1)).contains(&past), "{past:?}");
        }
    }
}
