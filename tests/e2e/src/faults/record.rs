//! What went through the proxy.
use std::{collections::BTreeMap, time::Instant};

use super::request::Request;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// The API server answered with that code.
    Answered(u16),
    /// A fault answered with that code.
    Injected(u16),
    /// The API server answered with that code and the client did not hear of it.
    Lost(u16),
    /// It did not reach the API server.
    Refused,
}

/// A write.
#[derive(Clone, Debug)]
pub struct Write {
    /// When it came.
    pub at: Instant,
    /// What it asked for.
    pub request: Request,
    /// What became of it.
    pub outcome: Outcome,
}

/// Counts and writes.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) counts: BTreeMap<(String, String), u64>,
    pub(super) writes: Vec<Write>,
}

impl Record {
    pub(super) fn add(&mut self, at: Instant, request: Request, outcome: Outcome) {
        *self.counts.entry((request.verb.clone(), request.resource.clone())).or_default() += 1;
        if request.is_write() {
            self.writes.push(Write { at, request, outcome });
        }
    }
}
