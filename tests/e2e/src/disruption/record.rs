//! What a load generator writes to its log, a line of JSON each, and what of it lies in a span of time. Pure.
use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Line {
    /// How far it is.
    Tick(Tick),
    /// A request that failed.
    Failure(Failure),
}

/// The counters at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// In milliseconds since 1970.
    pub at: u64,
    /// Requests over HTTP/1.1.
    pub http: Counts,
    /// Calls of gRPC.
    pub grpc: Counts,
}

/// What has become of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Those that were begun.
    pub sent: u64,
    /// Those that were answered with success.
    pub ok: u64,
    /// Those that were not.
    pub failed: u64,
    /// Those that were not begun when it was their time, because too many others had no answer yet.
    pub withheld: u64,
}

/// How a client reaches the Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Protocol {
    /// Connections of HTTP/1.1 that are kept, with one request at a time.
    Http,
    /// Connections of gRPC with many calls at a time.
    Grpc,
}

/// A request that failed, for good: none is sent twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// How it was sent.
    pub protocol: Protocol,
    /// When it was begun, in milliseconds since 1970.
    pub begun: u64,
    /// When it had failed.
    pub ended: u64,
    /// How: `refused`, `unreachable`, `reset`, `timeout`, the status of HTTP such as `503`, or that of gRPC such as `grpc-14`.
    pub kind: String,
    /// In the client's words.
    pub detail: String,
}

/// What became of the requests that were begun in a span of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Requests over HTTP/1.1 and calls of gRPC that were begun.
    pub sent: [u64; 2],
    /// Those that were not begun.
    pub withheld: u64,
    /// Those that failed.
    pub failures: Vec<Failure>,
}

impl Counts {
    fn open(&self) -> u64 {
        self.sent.saturating_sub(self.ok + self.failed)
    }
}

impl Tick {
    /// Requests without an answer.
    pub fn open(&self) -> u64 {
        self.http.open() + self.grpc.open()
    }
}

/// Reads a log; lines that are none of these are passed over.
pub fn read(log: &str) -> Vec<Line> {
    log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

impl Window {
    /// Between two times in milliseconds since 1970; `None` as long as a request that was begun before the end may still be
    /// without its answer.
    pub fn between(lines: &[Line], begin: u64, end: u64) -> Option<Self> {
        let ticks: Vec<&Tick> = lines
            .iter()
            .filter_map(|line| if let Line::Tick(tick) = line { Some(tick) } else { None })
            .collect();
        let before = ticks.iter().rev().find(|tick| tick.at <= begin).copied().copied().unwrap_or_default();
        let after = ticks.iter().find(|tick| tick.at >= end).copied()?;
        let done = |now: Counts, then: Counts| now.ok + now.failed >= then.sent;
        if !ticks.iter().any(|tick| done(tick.http, after.http) && done(tick.grpc, after.grpc)) {
            return None;
        }
        let failures = lines.iter().filter_map(|line| match line {
            Line::Failure(failure) if failure.begun >= before.at && failure.begun <= after.at => {
                Some(failure.clone())
            }
            _ => None,
        });
        Some(Self {
            sent: [after.http.sent - before.http.sent, after.grpc.sent - before.grpc.sent],
            withheld: after.http.withheld + after.grpc.withheld - before.http.withheld - before.grpc.withheld,
            failures: failures.collect(),
        })
    }

    /// Requests of both kinds.
    pub fn total(&self) -> u64 {
        self.sent.iter().sum()
    }

    /// How many failed, by how.
    pub fn kinds(&self) -> BTreeMap<&str, usize> {
        let mut kinds = BTreeMap::new();
        for failure in &self.failures {
            *kinds.entry(&*failure.kind).or_default() += 1;
        }
        kinds
    }

    /// Milliseconds from a time until the last of the requests that failed was begun; 0 if none did.
    pub fn last_failure_after(&self, time: u64) -> u64 {
        self.failures.iter().map(|failure| failure.begun.saturating_sub(time)).max().unwrap_or(0)
    }

    /// Milliseconds from the first failure until the last.
    pub fn failing(&self) -> u64 {
        let ended = || self.failures.iter().map(|failure| failure.ended);
        ended().max().unwrap_or(0) - ended().min().unwrap_or(0)
    }

    /// The same with what another saw.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        for (mine, theirs) in self.sent.iter_mut().zip(other.sent) {
            *mine += theirs;
        }
        self.withheld += other.withheld;
        self.failures.extend(other.failures);
        self
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [http, grpc] = self.sent;
        write!(f, "{http} + {grpc} sent, {} failed", self.failures.len())?;
        for (kind, count) in self.kinds() {
            write!(f, ", {count} {kind}")?;
        }
        if self.withheld > 0 {
            write!(f, "; {} not sent, the answers were too slow", self.withheld)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(at: u64, sent: u64, ok: u64, failed: u64) -> Line {
        Line::Tick(Tick { at, http: Counts { sent, ok, failed, withheld: 0 }, grpc: Counts::default() })
    }

    fn failure(begun: u64, kind: &str) -> Line {
        Line::Failure(Failure {
            protocol: Protocol::Http,
            begun,
            ended: begun + 1,
            kind: kind.into(),
            detail: String::new(),
        })
    }

    #[test]
    fn a_window_has_what_was_begun_in_it_once_all_of_that_has_ended() {
        let mut lines =
            vec![tick(100, 10, 10, 0), failure(150, "reset"), tick(200, 20, 17, 1), tick(300, 30, 18, 1)];
        assert_eq!(Window::between(&lines, 110, 190), None);
        lines.extend([failure(310, "refused"), tick(400, 40, 38, 2)]);
        let window = Window::between(&lines, 110, 190).unwrap();
        assert_eq!((window.total(), window.kinds()), (10, BTreeMap::from([("reset", 1)])));
        assert_eq!((window.last_failure_after(120), window.failing()), (30, 0));
        assert_eq!(Window::between(&lines, 110, 450), None);
        assert_eq!(Window::between(&lines, 110, 390).unwrap().failing(), 160);
    }

    #[test]
    fn lines_survive_the_log() {
        let lines = vec![tick(1, 2, 3, 4), failure(5, "grpc-14")];
        let text: Vec<String> = lines.iter().map(|line| serde_json::to_string(line).unwrap()).collect();
        assert_eq!(read(&format!("load begins\n{}", text.join("\n"))), lines);
    }
}
