//! What a process may do now: the whole rule of the election, as one function.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;

use super::Settings;

/// The longest that a holder's own `leaseDurationSeconds` is respected beyond ours, so that a nonsensical one blocks nobody.
const LONGEST_DURATION: Duration = Duration::from_mins(1);

/// What a Lease says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// Who holds it, if anybody does.
    pub holder: Option<String>,
    /// How often it was taken. With `holder`, it names one period of leadership.
    pub term: i32,
    /// When its holder says that it wrote it; only ever compared for equality.
    pub renewed: Option<Timestamp>,
    /// How long its holder says that it shall be left alone.
    pub duration: Option<Duration>,
}

impl From<&Lease> for Record {
    fn from(lease: &Lease) -> Self {
        let spec = lease.spec.clone().unwrap_or_default();
        Self {
            holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
            term: spec.lease_transitions.unwrap_or_default(),
            renewed: spec.renew_time.map(|time| time.0),
            duration: spec
                .lease_duration_seconds
                .and_then(|seconds| u64::try_from(seconds).ok())
                .map(Duration::from_secs),
        }
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Me<'a> {
    /// A name that no other living process has.
    pub identity: &'a str,
    /// The term in which this process leads, if it does.
    pub leads: Option<i32>,
}

/// What to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decision {
    /// We lead, and have nothing to do for so long.
    Hold(Duration),
    /// We lead, and must say so again.
    Renew,
    /// Nobody leads: try to.
    Acquire,
    /// Somebody else leads, for at least so long.
    Wait(Duration),
    /// We led, and must stop at once.
    Lost,
}

/// Decides.
///
/// `unchanged_for` is on our own monotonic clock: for a leader, since its last successful write *began*; for others, since
/// they first *saw* the Lease as it is.
pub fn decide(
    observed: Option<&Record>,
    me: Me<'_>,
    unchanged_for: Duration,
    settings: &Settings,
) -> Decision {
    match (me.leads, observed) {
        (Some(term), Some(record))
            if record.holder.as_deref() == Some(me.identity) && record.term == term =>
        {
            if unchanged_for >= settings.deadline {
                Decision::Lost
            } else if unchanged_for >= settings.renew_every {
                Decision::Renew
            } else {
                Decision::Hold(settings.renew_every.saturating_sub(unchanged_for))
            }
        }
        // Taken by somebody, by an impostor with our name, or deleted.
        (Some(_), _) => Decision::Lost,
        (None, None) => Decision::Acquire,
        (None, Some(record)) => match &record.holder {
            None => Decision::Acquire,
            // Of an earlier process of ours, which is dead: the container was restarted.
            Some(holder) if holder == me.identity => Decision::Acquire,
            Some(_) => {
                let theirs = record.duration.unwrap_or_default().min(LONGEST_DURATION);
                match settings.duration.max(theirs).saturating_sub(unchanged_for) {
                    Duration::ZERO => Decision::Acquire,
                    rest => Decision::Wait(rest),
                }
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn record(holder: &str, term: i32) -> Record {
        let holder = Some(holder.to_owned()).filter(|holder| !holder.is_empty());
        Record { holder, term, renewed: None, duration: Some(seconds(15)) }
    }

    #[rstest]
    #[case::no_lease(None, None, 0, Decision::Acquire)]
    #[case::released(Some(record("", 3)), None, 0, Decision::Acquire)]
    #[case::own_former_process(Some(record("me", 3)), None, 0, Decision::Acquire)]
    #[case::others_fresh(Some(record("other", 3)), None, 0, Decision::Wait(seconds(15)))]
    #[case::others_older(Some(record("other", 3)), None, 14, Decision::Wait(seconds(1)))]
    #[case::others_expired(Some(record("other", 3)), None, 15, Decision::Acquire)]
    #[case::ours_fresh(Some(record("me", 3)), Some(3), 1, Decision::Hold(seconds(4)))]
    #[case::ours_due(Some(record("me", 3)), Some(3), 5, Decision::Renew)]
    #[case::ours_last_moment(Some(record("me", 3)), Some(3), 9, Decision::Renew)]
    #[case::ours_too_old(Some(record("me", 3)), Some(3), 10, Decision::Lost)]
    #[case::taken(Some(record("other", 4)), Some(3), 1, Decision::Lost)]
    #[case::taken_by_an_impostor(Some(record("me", 4)), Some(3), 1, Decision::Lost)]
    #[case::released_by_a_hand(Some(record("", 3)), Some(3), 1, Decision::Lost)]
    #[case::deleted(None, Some(3), 1, Decision::Lost)]
    fn decision_follows_from_the_lease_and_our_own_clock(
        #[case] observed: Option<Record>,
        #[case] leads: Option<i32>,
        #[case] unchanged_for: u64,
        #[case] expected: Decision,
    ) {
        let me = Me { identity: "me", leads };
        let decision = decide(observed.as_ref(), me, seconds(unchanged_for), &Settings::default());
        assert_eq!(decision, expected);
    }

    #[test]
    fn longer_duration_of_the_holder_is_respected_within_bounds() {
        let me = Me { identity: "me", leads: None };
        let mut theirs = record("other", 1);
        for (theirs_seconds, expected) in [(1, 15), (40, 40), (86_400, 60)] {
            theirs.duration = Some(seconds(theirs_seconds));
            let decision = decide(Some(&theirs), me, Duration::ZERO, &Settings::default());
            assert_eq!(decision, Decision::Wait(seconds(expected)));
        }
    }

    #[test]
    fn default_times_leave_room_for_slow_calls_and_different_clocks() {
        let settings = Settings::default();
        assert!(settings.renew_every + 2 * settings.attempt < settings.deadline);
        assert!(settings.deadline + 2 * settings.attempt < settings.duration);
    }
}
