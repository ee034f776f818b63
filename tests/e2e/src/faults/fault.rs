//! What goes wrong, and for which requests. Pure: a request goes in, what is to happen to it comes out.
use std::time::Duration;

use super::request::{Request, Requests};

/// Something that goes wrong with requests to the API server.
///
/// ```
/// # use std::time::Duration;
/// # use modelwright_e2e::faults::{Fault, Requests};
/// // The third write reaches the API server and its answer does not come back.
/// let lost = Fault::lost_answer().on(Requests::writes()).nth(3);
/// // Two requests for pods are sent away for a second.
/// let busy = Fault::answer(429).retry_after(Duration::from_secs(1)).on(Requests::any().resource("pods")).times(2);
/// ```
#[derive(Clone, Debug)]
pub struct Fault {
    effect: Effect,
    requests: Requests,
    first: u64,
    every: u64,
    times: Option<u64>,
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Effect {
    /// It waits that long before it goes on.
    Delay(Duration),
    /// It is answered here and does not reach the API server.
    Answer { code: u16, retry_after: Option<Duration> },
    /// The connection is cut before the request reaches the API server.
    Refuse,
    /// The API server does what is asked, and the connection is cut before its answer comes back.
    LoseAnswer,
    /// The answer ends after so many events or so much time, whichever comes first.
    CutWatch { events: Option<u64>, after: Option<Duration> },
}

impl Fault {
    /// The request takes that much longer.
    pub fn latency(delay: Duration) -> Self {
        Self::new(Effect::Delay(delay))
    }

    /// The answer is that error with a `Status` as Kubernetes gives it: 409, 429, 500, 503 and others. The request does
    /// not reach the API server.
    pub fn answer(code: u16) -> Self {
        Self::new(Effect::Answer { code, retry_after: None })
    }

    /// The connection is cut before the request reaches the API server.
    pub fn refused() -> Self {
        Self::new(Effect::Refuse)
    }

    /// The API server does what is asked, and the connection is cut before its answer comes back.
    pub fn lost_answer() -> Self {
        Self::new(Effect::LoseAnswer)
    }

    /// Watches are cut after so many events.
    pub fn watch_cut_after_events(events: u64) -> Self {
        Self::new(Effect::CutWatch { events: Some(events), after: None })
    }

    /// Watches are cut after that time.
    pub fn watch_cut_after(time: Duration) -> Self {
        Self::new(Effect::CutWatch { events: None, after: Some(time) })
    }

    /// An answer's `Retry-After`, in whole seconds. Without it 429 and 503 say 1 s.
    #[must_use]
    pub fn retry_after(mut self, time: Duration) -> Self {
        if let Effect::Answer { retry_after, .. } = &mut self.effect {
            *retry_after = Some(time);
        }
        self
    }

    /// Only these requests. What is counted below is these.
    #[must_use]
    pub fn on(mut self, requests: Requests) -> Self {
        self.requests = requests;
        self
    }

    /// So many times, then no more.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Only every so manyth request.
    #[must_use]
    pub fn every(mut self, count: u64) -> Self {
        self.every = count.max(1);
        self
    }

    /// From that request on, counted from 1: as if the client had been cut off at that moment.
    #[must_use]
    pub fn from_nth(mut self, number: u64) -> Self {
        self.first = number.max(1);
        self
    }

    /// That request alone, counted from 1.
    #[must_use]
    pub fn nth(self, number: u64) -> Self {
        self.from_nth(number).times(1)
    }

    fn new(effect: Effect) -> Self {
        let requests = match effect {
            Effect::CutWatch { .. } => Requests::any().verb("watch"),
            _ => Requests::any(),
        };
        Self { effect, requests, first: 1, every: 1, times: None }
    }
}

/// The faults in effect.
#[derive(Debug, Default)]
pub(super) struct Faults {
    next: u64,
    active: Vec<Active>,
}

#[derive(Debug)]
struct Active {
    id: u64,
    fault: Fault,
    seen: u64,
    hits: u64,
}

impl Faults {
    /// A number to ask for it again.
    pub(super) fn add(&mut self, fault: Fault) -> u64 {
        self.next += 1;
        self.active.push(Active { id: self.next, fault, seen: 0, hits: 0 });
        self.next
    }

    /// How often it has struck; it does not any more.
    pub(super) fn remove(&mut self, id: u64) -> u64 {
        let hits = self.hits(id);
        self.active.retain(|active| active.id != id);
        hits
    }

    pub(super) fn clear(&mut self) {
        self.active.clear();
    }

    pub(super) fn hits(&self, id: u64) -> u64 {
        self.active.iter().find(|active| active.id == id).map_or(0, |active| active.hits)
    }

    /// What happens to a request, in the order in which the faults were added.
    pub(super) fn strike(&mut self, request: &Request) -> Vec<Effect> {
        self.active.iter_mut().filter_map(|active| active.strike(request)).collect()
    }
}

impl Active {
    fn strike(&mut self, request: &Request) -> Option<Effect> {
        let fault = &self.fault;
        if !fault.requests.contain(request) {
            return None;
        }
        self.seen += 1;
        let due = self.seen >= fault.first && (self.seen - fault.first).is_multiple_of(fault.every);
        if !due || fault.times.is_some_and(|times| self.hits >= times) {
            return None;
        }
        self.hits += 1;
        Some(fault.effect.clone())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::always(Fault::refused(), &[1, 2, 3, 4, 5, 6])]
    #[case::twice(Fault::refused().times(2), &[1, 2])]
    #[case::every_third(Fault::refused().every(3), &[1, 4])]
    #[case::the_third(Fault::refused().nth(3), &[3])]
    #[case::from_the_third(Fault::refused().from_nth(3), &[3, 4, 5, 6])]
    #[case::every_second_from_the_second_twice(Fault::refused().from_nth(2).every(2).times(2), &[2, 4])]
    fn faults_strike_by_count(#[case] fault: Fault, #[case] expected: &[u64]) {
        let mut faults = Faults::default();
        let id = faults.add(fault.on(Requests::writes()));
        let write = Request::new(&http::Method::POST, &"/api/v1/namespaces/n/pods".parse().unwrap());
        let read = Request::new(&http::Method::GET, &"/api/v1/namespaces/n/pods".parse().unwrap());
        let mut struck = vec![];
        for number in 1..=6 {
            assert!(faults.strike(&read).is_empty());
            if !faults.strike(&write).is_empty() {
                struck.push(number);
            }
        }
        assert_eq!(struck, expected);
        assert_eq!(faults.remove(id), expected.len() as u64);
        assert!(faults.strike(&write).is_empty());
    }

    #[test]
    fn several_faults_strike_one_request() {
        let mut faults = Faults::default();
        faults.add(Fault::latency(Duration::from_secs(1)));
        faults.add(Fault::answer(503));
        faults.add(Fault::watch_cut_after_events(1));
        let get = Request::new(&http::Method::GET, &"/api/v1/namespaces/n/pods".parse().unwrap());
        assert_eq!(
            faults.strike(&get),
            [Effect::Delay(Duration::from_secs(1)), Effect::Answer { code: 503, retry_after: None }]
        );
    }
}
