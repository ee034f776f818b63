//! A line per request, or for a share of them: which route and model, how it ended, how long it took; never a body, a path or
//! a header.

use std::cell::Cell;
use std::time::Duration;

use http::{Method, StatusCode};

use crate::label::Label;
use crate::trace::RequestSpan;

thread_local! {
    /// How much of the next line this thread has saved up.
    static SAVED: Cell<f64> = const { Cell::new(0.0) };
}

/// Which share of requests is logged, from 0 to 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AccessLog(f64);

/// What a line says.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) method: &'a Method,
    pub(crate) label: Label,
    pub(crate) model: Option<&'a str>,
    /// The request's span, if it is traced.
    pub(crate) trace: Option<&'a RequestSpan>,
    /// `None`: the client went away before there was one.
    pub(crate) status: Option<StatusCode>,
    pub(crate) took: Duration,
    pub(crate) received: usize,
    pub(crate) sent: usize,
}

impl AccessLog {
    pub(crate) const fn new(share: f64) -> Self {
        Self(share.clamp(0.0, 1.0))
    }

    /// Logs a request if it is its turn: evenly spread, so that a share of a tenth is every tenth request of a thread.
    pub(crate) fn request(self, entry: &Entry<'_>) {
        if self.0 > 0.0 && self.is_turn() {
            entry.log();
        }
    }

    fn is_turn(self) -> bool {
        SAVED.with(|saved| {
            let (now, turn) = take(saved.get() + self.0);
            saved.set(now);
            turn
        })
    }
}

/// Takes one line from what is saved, if that is enough.
fn take(saved: f64) -> (f64, bool) {
    // A tenth ten times is a little less than one.
    if saved >= 1.0 - 1e-9 { (saved - 1.0, true) } else { (saved, false) }
}

impl Entry<'_> {
    fn log(&self) {
        tracing::info!(
            target: "modelwright::access",
            method = self.method.as_str(),
            route = self.label.as_str(),
            model = self.model,
            trace_id = self.trace.map(|span| tracing::field::display(span.trace_id())),
            status = self.status.map(|status| status.as_u16()),
            duration_us = u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX),
            bytes_in = self.received,
            bytes_out = self.sent,
            "request"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(share: f64, requests: usize) -> usize {
        std::thread::spawn(move || (0..requests).filter(|_| AccessLog::new(share).is_turn()).count())
            .join()
            .unwrap()
    }

    #[test]
    fn the_share_is_exact() {
        assert_eq!(lines(1.0, 1000), 1000);
        assert_eq!(lines(0.1, 1000), 100);
        assert_eq!(lines(0.25, 1000), 250);
        assert_eq!(lines(0.001, 1000), 1);
        assert_eq!(lines(7.0, 10), 10);
        assert_eq!(lines(0.0, 1000), 0);
    }
}
