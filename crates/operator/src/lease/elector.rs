//! One process's part of an election as a state machine: what it asks next, and what it makes of the answer. It has no clock:
//! every time is given to it, as the time since some moment on a monotonic clock.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;

use super::{Decision, Me, Record, Settings, decide};

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Nothing until then.
    Wait(Duration),
    /// Ask the API server.
    Ask(Request),
    /// We led and do not any more.
    Lost(&'static str),
}

/// A request to the API server.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Request {
    /// Read the Lease.
    Read,
    /// Hold the Lease, as this object: with a `resourceVersion` a replacement, without one a creation.
    Hold(Box<Lease>),
    /// Give the Lease up.
    Release(Box<Lease>),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// The Lease as it is now.
    Lease(Box<Lease>),
    /// There is none.
    Missing,
    /// Somebody else wrote it since we saw it.
    Conflict,
    /// It is not known whether the request was carried out.
    Failed,
}

/// One process's part.
#[derive(Debug)]
pub(super) struct Elector {
    identity: String,
    settings: Settings,
    /// What the Lease said when last seen, and when it was first seen to say so.
    observed: Option<(Record, Duration)>,
    /// The object itself, for the next write to be made from; `None` if there was none.
    lease: Option<Box<Lease>>,
    leads: Option<Leadership>,
    /// The term in which this process led before it stopped by its own will.
    led: Option<i32>,
    /// Whether the Lease must be read before anything else is done: it was never, or a request failed.
    stale: bool,
    /// When it was last read or written.
    looked_at: Duration,
    /// No request before this.
    not_before: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Leadership {
    term: i32,
    /// When the last successful write began.
    confirmed: Duration,
}

impl Elector {
    pub(super) fn new(identity: String, settings: Settings) -> Self {
        Self {
            identity,
            settings,
            observed: None,
            lease: None,
            leads: None,
            led: None,
            stale: true,
            looked_at: Duration::ZERO,
            not_before: Duration::ZERO,
        }
    }

    /// Until when this process leads, if it does.
    pub(super) fn leads_until(&self) -> Option<Duration> {
        self.leads.map(|leadership| leadership.confirmed + self.settings.deadline)
    }

    /// Who held the Lease when it was last seen.
    pub(super) fn holder(&self) -> Option<&str> {
        self.observed.as_ref()?.0.holder.as_deref()
    }

    /// How long a request that begins now may take.
    pub(super) fn patience(&self, now: Duration) -> Duration {
        let rest = self.leads_until().map(|until| until.saturating_sub(now));
        self.settings.attempt.min(rest.unwrap_or(Duration::MAX))
    }

    /// What to do at this time; `wall` is written into the Lease for people to read.
    pub(super) fn next(&self, now: Duration, wall: Timestamp) -> Step {
        let observed = self.observed.as_ref();
        let since = match (self.leads, observed) {
            (Some(leadership), _) => leadership.confirmed,
            (None, Some((_, since))) => *since,
            (None, None) => now,
        };
        let me = Me { identity: &self.identity, leads: self.leads.map(|leadership| leadership.term) };
        let unchanged_for = now.saturating_sub(since);
        let decision = decide(observed.map(|(record, _)| record), me, unchanged_for, &self.settings);
        match decision {
            Decision::Lost if unchanged_for >= self.settings.deadline => {
                Step::Lost("the Lease could not be renewed in time")
            }
            Decision::Lost => Step::Lost("somebody else wrote or deleted the Lease"),
            _ if now < self.not_before => {
                Step::Wait(self.leads_until().map_or(self.not_before, |until| until.min(self.not_before)))
            }
            Decision::Hold(rest) => Step::Wait(now + rest),
            _ if self.stale => Step::Ask(Request::Read),
            Decision::Renew | Decision::Acquire => Step::Ask(Request::Hold(Box::new(self.held(wall)))),
            Decision::Wait(rest) => match (self.looked_at + self.settings.look_every).saturating_sub(now) {
                Duration::ZERO => Step::Ask(Request::Read),
                until_look => Step::Wait(now + rest.min(until_look)),
            },
        }
    }

    /// Takes note of an answer to a request that began at `started` and was answered at `now`.
    pub(super) fn answered(&mut self, started: Duration, now: Duration, request: &Request, answer: Answer) {
        match (request, answer) {
            (Request::Read | Request::Release(_), Answer::Lease(lease)) => self.see(now, lease),
            (Request::Hold(_), Answer::Lease(lease)) => {
                let term = Record::from(&*lease).term;
                self.leads = Some(Leadership { term, confirmed: started });
                self.see(now, lease);
            }
            (Request::Read, Answer::Missing) => {
                // What was seen before stays: whoever held it may not know yet that it is gone.
                if self.leads.is_some() {
                    self.observed = None;
                }
                (self.lease, self.stale, self.looked_at) = (None, false, now);
            }
            // Worth another look at once: somebody wrote, or deleted it.
            (Request::Hold(_) | Request::Release(_), Answer::Missing) | (_, Answer::Conflict) => {
                self.stale = true;
            }
            (_, Answer::Failed) => {
                self.stale = true;
                // Those that lead are in a hurry, the others are not.
                let pause =
                    if self.leads.is_some() { self.settings.retry_after } else { self.settings.look_every };
                self.not_before = now + pause;
            }
        }
    }

    /// Stops to lead, and says how to tell the others, if this process led.
    pub(super) fn release(&mut self, wall: Timestamp) -> Option<Request> {
        self.led = Some(self.leads.take()?.term);
        let lease = self.lease.take()?;
        self.release_of(*lease, wall)
    }

    /// After [`release`](Self::release): how to give up the Lease as it is now, if it is still ours.
    pub(super) fn release_of(&self, mut lease: Lease, wall: Timestamp) -> Option<Request> {
        let record = Record::from(&lease);
        if record.holder.as_deref() != Some(&*self.identity) || Some(record.term) != self.led {
            return None;
        }
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        spec.holder_identity = Some(String::new());
        spec.renew_time = Some(MicroTime(wall));
        Some(Request::Release(Box::new(lease)))
    }

    fn see(&mut self, now: Duration, lease: Box<Lease>) {
        let record = Record::from(&*lease);
        if self.observed.as_ref().is_none_or(|(known, _)| *known != record) {
            self.observed = Some((record, now));
        }
        (self.lease, self.stale, self.looked_at) = (Some(lease), false, now);
    }

    /// The Lease as we hold it: what others put into it, labels for instance, stays.
    fn held(&self, wall: Timestamp) -> Lease {
        let mut lease = self.lease.as_deref().cloned().unwrap_or_default();
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        if self.leads.is_none() {
            let before = self.observed.as_ref().map_or(0, |(record, _)| record.term);
            spec.lease_transitions = Some(before.saturating_add(1));
            spec.acquire_time = Some(MicroTime(wall));
        }
        spec.holder_identity = Some(self.identity.clone());
        spec.renew_time = Some(MicroTime(wall));
        spec.lease_duration_seconds =
            Some(i32::try_from(self.settings.duration.as_secs()).unwrap_or(i32::MAX));
        lease
    }
}
