//! The time by which passes decide: that of the API server, whatever the clock of this machine says.
//!
//! Times of Jobs, pods and schedules are the cluster's. Compared with a clock that is ahead, every pause would be over and Job
//! after Job be made; with one that is behind, nothing would be tried again. So the time is what the API server's last
//! answer said, and what has passed since on the monotonic clock: a clock here that is wrong or jumps changes nothing.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::{HeaderMap, header::DATE};
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};

/// Answers tell whole seconds, and come a moment later: so much more than they say is no difference.
const ROUNDING: Duration = Duration::from_secs(2);

/// A clock that goes by what the API server says. Clones are the same clock.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    told: Arc<Mutex<Option<Told>>>,
}

/// What time it was at a moment.
#[derive(Clone, Copy, Debug)]
struct Told {
    time: Timestamp,
    at: Instant,
}

impl Told {
    fn now(self, now: Instant) -> Timestamp {
        self.time.saturating_add(now.saturating_duration_since(self.at)).unwrap_or(Timestamp::MAX)
    }
}

impl Clock {
    /// The time of the cluster; before the first answer that of this machine.
    pub fn now(&self) -> Timestamp {
        let told = *self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.map_or_else(Timestamp::now, |told| told.now(Instant::now()))
    }

    /// Takes the time from the head of an answer, if it is there.
    pub(crate) fn listen(&self, headers: &HeaderMap) {
        let Some(date) = headers.get(DATE).and_then(|date| date.to_str().ok()) else { return };
        if let Ok(time) = DateTimeParser::new().parse_timestamp(date) {
            self.set(time, Instant::now());
        }
    }

    fn set(&self, time: Timestamp, at: Instant) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let known = told.map(|told| told.now(at));
        let agrees = known.is_some_and(|known| {
            let ahead = Duration::try_from(known.duration_since(time));
            ahead.is_ok_and(|ahead| ahead <= ROUNDING)
        });
        if !agrees {
            *told = Some(Told { time, at });
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn headers(date: &str) -> HeaderMap {
        [(DATE, date.parse().unwrap())].into_iter().collect()
    }

    /// Far from what the clock of this machine says.
    const LATER: &str = "Thu, 01 Jan 2099 00:00:00 GMT";

    #[test]
    fn clock_of_the_machine_is_of_no_account_once_the_api_server_answered() {
        let clock = Clock::default();
        assert!(Timestamp::now().duration_since(clock.now()).abs() < SignedDuration::from_mins(1));
        clock.clone().listen(&headers(LATER));
        let now = clock.now().to_string();
        assert!(now.starts_with("2099-01-01T00:0"), "{now}");
        // What is no time changes nothing.
        clock.listen(&headers("soon"));
        clock.listen(&HeaderMap::new());
        assert!(clock.now().to_string().starts_with("2099-01-01T00:0"));
    }

    #[test]
    fn time_goes_on_between_answers_and_their_rounding_does_not_set_it_back() {
        let (clock, start) = (Clock::default(), Instant::now());
        let at = |seconds: u64| Timestamp::from_second(i64::try_from(seconds).unwrap()).unwrap();
        let after = |milliseconds| start + Duration::from_millis(milliseconds);
        let shows = |now| clock.told.lock().unwrap().unwrap().now(now);
        clock.set(at(100), start);
        clock.set(at(100), after(900));
        assert_eq!(shows(after(900)).as_millisecond(), 100_900);
        // Its own clock, or ours, was slow, or is put forward.
        clock.set(at(200), after(1_000));
        assert_eq!(shows(after(1_000)), at(200));
        // Or back.
        clock.set(at(50), after(1_500));
        assert_eq!(shows(after(2_500)), at(51));
    }
}
