//! How busy each model was in the last seconds, for whoever decides how many servers there shall be.
//!
//! A number of one moment says little: of a server that is half used every second look finds it idle. So a look is taken every
//! second, and the report compares now with the oldest look of the last fifteen seconds. That is as often as an autoscaler
//! looks, so each of its looks sees what happened since the one before. Requests pay nothing for it: everything is read from
//! what is counted anyway.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use modelwright_runtime::{Load, Priority};
use serde::Serialize;

use crate::registry::{ModelState, ReadyModel, Registry};

/// The time between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// The looks of fifteen seconds, and the one that they begin with.
const MOST_LOOKS: usize = 16;
const NANOSECONDS: f64 = 1e9;

/// The body of `GET /load`. Times are in seconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LoadReport {
    uptime_seconds: f64,
    models: Vec<ModelLoad>,
}

/// One model that answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ModelLoad {
    name: String,
    version: String,
    /// Requests that wait for a session now.
    waiting: usize,
    /// Their rows.
    waiting_rows: usize,
    /// Requests that sessions are computing now.
    running: usize,
    /// Sessions.
    capacity: usize,
    /// How long they have run together.
    busy_seconds: f64,
    #[serde(flatten)]
    recent: Recent,
}

/// What happened within the window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Recent {
    /// How long it is: shorter than others where the model has just become ready.
    window_seconds: f64,
    /// Requests that waited or ran, on average.
    in_flight: f64,
    /// The share of the sessions' time that they ran, from 0 to 1.
    utilization: f64,
    /// How long those that ran had waited, on average.
    queue_seconds: f64,
}

/// What there was at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Look {
    at: Instant,
    waiting: usize,
    running: usize,
    capacity: usize,
    busy: Duration,
    /// Nanoseconds that all requests that ran had waited.
    waited: u64,
    /// How many they are.
    ran: u64,
}

/// The looks at one revision of a model, from the oldest.
#[derive(Debug, Default)]
struct Window {
    version: String,
    looks: VecDeque<Look>,
}

/// The windows of all models.
#[derive(Debug)]
pub(crate) struct Loads {
    registry: Arc<Registry>,
    windows: Mutex<BTreeMap<String, Window>>,
    started: Instant,
}

impl Loads {
    pub(crate) fn new(registry: Arc<Registry>, started: Instant) -> Self {
        Self { registry, windows: Mutex::default(), started }
    }

    /// Looks again and again.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(PAUSE);
        // After a pause of the whole machine one look is enough.
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look();
        }
    }

    /// Takes one look at each model, and forgets those that are gone.
    fn look(&self) {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let mut former = std::mem::take(&mut *windows);
        for (name, state) in self.registry.snapshot().iter() {
            let ModelState::Ready(ready) = state else { continue };
            let mut window = former.remove(name).unwrap_or_default();
            window.add(ready.version(), Look::at(Instant::now(), &ready.model().load_now(), ready));
            windows.insert(name.clone(), window);
        }
    }

    pub(crate) fn report(&self) -> LoadReport {
        let windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let mut models = Vec::new();
        for (name, state) in self.registry.snapshot().iter() {
            let ModelState::Ready(ready) = state else { continue };
            let load = ready.model().load_now();
            let now = Look::at(Instant::now(), &load, ready);
            let window = windows.get(name).filter(|window| window.goes_on(ready.version(), &now));
            models.push(ModelLoad {
                name: name.clone(),
                version: ready.version().to_owned(),
                waiting: load.waiting,
                waiting_rows: load.waiting_rows,
                running: load.running,
                capacity: load.capacity,
                busy_seconds: load.busy.as_secs_f64(),
                recent: window.map_or_else(|| Window::default().recent(now), |window| window.recent(now)),
            });
        }
        LoadReport { uptime_seconds: self.started.elapsed().as_secs_f64(), models }
    }
}

impl Look {
    fn at(at: Instant, load: &Load, ready: &ReadyModel) -> Self {
        // Explanations are many rows that wait for gaps by intention.
        let queue = ready.counters().queue_times(Priority::Normal);
        Self {
            at,
            waiting: load.waiting,
            running: load.running,
            capacity: load.capacity,
            busy: load.busy,
            waited: queue.sum,
            ran: queue.count(),
        }
    }
}

impl Window {
    /// Whether a look is at what the looks before it were at, and not at another revision or at the same one loaded again,
    /// whose sessions count from nothing.
    fn goes_on(&self, version: &str, look: &Look) -> bool {
        self.version == version && self.looks.back().is_none_or(|last| last.busy <= look.busy)
    }

    fn add(&mut self, version: &str, look: Look) {
        if !self.goes_on(version, &look) {
            *self = Self { version: version.to_owned(), looks: VecDeque::with_capacity(MOST_LOOKS) };
        }
        if self.looks.len() == MOST_LOOKS {
            self.looks.pop_front();
        }
        self.looks.push_back(look);
    }

    /// What happened from the oldest look until now.
    fn recent(&self, now: Look) -> Recent {
        let first = self.looks.front().copied().unwrap_or(now);
        let span = now.at.saturating_duration_since(first.at).as_secs_f64();
        let looks = self.looks.iter().copied().chain([now]);
        let in_flight: usize = looks.map(|look| look.waiting + look.running).sum();
        let busy = now.busy.saturating_sub(first.busy).as_secs_f64();
        let available = span * now.capacity as f64;
        let ran = now.ran.saturating_sub(first.ran);
        let waited = now.waited.saturating_sub(first.waited) as f64 / NANOSECONDS;
        Recent {
            window_seconds: span,
            in_flight: in_flight as f64 / (self.looks.len() + 1) as f64,
            // Two clocks are read one after the other.
            utilization: if available > 0.0 { (busy / available).min(1.0) } else { 0.0 },
            queue_seconds: if ran > 0 { waited / ran as f64 } else { self.without_end(now) },
        }
    }

    /// For how long requests have waited at least, where none has run within the window.
    fn without_end(&self, now: Look) -> f64 {
        let waiting = self.looks.iter().rev().take_while(|look| look.waiting > 0).last();
        let since = waiting.filter(|_| now.waiting > 0);
        since.map_or(0.0, |first| now.at.saturating_duration_since(first.at).as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A look after so many seconds at two sessions, of which `running` are used all the time from the start on.
    fn look(start: Instant, after: u32, waiting: usize, running: u32, ran: u64) -> Look {
        Look {
            at: start + after * SECOND,
            waiting,
            running: running as usize,
            capacity: 2,
            busy: after * running * SECOND,
            waited: ran * 20_000_000,
            ran,
        }
    }

    fn window(looks: impl IntoIterator<Item = Look>) -> Window {
        let mut window = Window::default();
        looks.into_iter().for_each(|look| window.add("1", look));
        window
    }

    #[test]
    fn report_is_about_the_last_fifteen_seconds() {
        let start = Instant::now();
        // Idle for a minute, then one of two sessions at work.
        let idle = (0..60).map(|after| look(start, after, 0, 0, 0));
        let later = start + 60 * SECOND;
        let busy = (0..=20).map(|after| look(later, after, 3, 1, 10 * u64::from(after)));
        let recent = window(idle.chain(busy)).recent(look(later, 21, 3, 1, 210));
        let expected = Recent { window_seconds: 16.0, in_flight: 4.0, utilization: 0.5, queue_seconds: 0.02 };
        assert_eq!(recent, expected);
    }

    #[test]
    fn model_that_has_just_become_ready_reports_what_there_is() {
        let start = Instant::now();
        let recent = window([]).recent(look(start, 0, 0, 1, 0));
        let expected = Recent { window_seconds: 0.0, in_flight: 1.0, utilization: 0.0, queue_seconds: 0.0 };
        assert_eq!(recent, expected);
        let recent = window([look(start, 0, 0, 2, 0)]).recent(look(start, 1, 0, 2, 0));
        assert_eq!((recent.window_seconds, recent.utilization), (1.0, 1.0));
    }

    #[test]
    fn another_revision_begins_anew() {
        let start = Instant::now();
        let mut window = window((0..9).map(|after| look(start, after, 0, 2, 0)));
        window.add("2", look(start, 9, 0, 0, 0));
        assert_eq!(window.looks.len(), 1);
        assert_eq!(Some(window.recent(look(start, 10, 0, 0, 0)).in_flight), Some(0.0));
    }

    #[test]
    fn same_revision_that_is_loaded_again_begins_anew() {
        let start = Instant::now();
        let mut window = window((0..9).map(|after| look(start, after, 0, 2, 0)));
        let again = start + 9 * SECOND;
        assert!(!window.goes_on("1", &look(again, 0, 0, 2, 0)), "a report before the next look");
        window.add("1", look(again, 0, 0, 2, 0));
        assert_eq!(window.looks.len(), 1);
        assert_eq!(Some(window.recent(look(again, 1, 0, 2, 0)).utilization), Some(1.0));
    }

    #[test]
    fn requests_that_wait_behind_a_run_without_end_are_seen_to_wait() {
        let start = Instant::now();
        let looks = (0..=4).map(|after| look(start, after, usize::from(after >= 2), 1, 0));
        let stuck = window(looks);
        assert_eq!(Some(stuck.recent(look(start, 5, 1, 1, 0)).queue_seconds), Some(3.0));
        assert_eq!(Some(stuck.recent(look(start, 5, 0, 1, 0)).queue_seconds), Some(0.0));
    }
}
