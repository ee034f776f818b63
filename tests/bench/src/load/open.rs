//! An open loop: requests are sent when they are due, whether or not earlier ones have been answered.
//!
//! What a closed loop cannot do: it slows down with the server, and never asks for more than the server gives. Connections
//! are bounded all the same; a request that is due when all of them wait for an answer is held back, and counted as such.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;

use super::{Answer, Connection, Target};

/// How often what is due is looked at.
const TICK: Duration = Duration::from_millis(1);
/// How long the last answers may take.
const PATIENCE: Duration = Duration::from_secs(70);
/// The resolution of latencies: a power of two has so many steps, as a power of two.
const STEPS: u32 = 6;

/// How much is asked for, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) per_second: f64,
    pub(crate) time: Duration,
    /// The most requests that wait for their answers at once.
    pub(crate) connections: usize,
}

/// What became of the requests.
#[derive(Debug, Default)]
pub(crate) struct Offered {
    /// 200, with the time from when each was due.
    pub(crate) accepted: Latencies,
    /// 503.
    pub(crate) refused: usize,
    /// Everything else, broken connections included.
    pub(crate) failed: usize,
    pub(crate) first_failure: Option<String>,
    /// Due when no connection was free.
    pub(crate) held_back: usize,
    pub(crate) elapsed: Duration,
}

/// Counts of latencies in steps of less than two percent.
#[derive(Debug, Default)]
pub(crate) struct Latencies(Vec<u64>);

impl Latencies {
    fn add(&mut self, latency: Duration) {
        let place = Self::place(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
        if place >= self.0.len() {
            self.0.resize(place + 1, 0);
        }
        self.0[place] += 1;
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The step that `percent` of all are not above; zero for none.
    pub(crate) fn percentile(&self, percent: u64) -> Duration {
        let rank = (self.count() * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let place = self.0.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        place.map_or(Duration::ZERO, |place| Duration::from_nanos(Self::value(place)))
    }

    /// Values below two times the steps have their own place; each power of two above has as many as there are steps.
    fn place(value: u64) -> usize {
        let shift = (u64::BITS - value.leading_zeros()).saturating_sub(STEPS + 1);
        (shift as usize * (1 << STEPS)) + usize::try_from(value >> shift).unwrap_or(usize::MAX)
    }

    /// The least value of a place.
    fn value(place: usize) -> u64 {
        let steps = 1_usize << STEPS;
        let shift = (place / steps).saturating_sub(1);
        ((place - shift * steps) as u64) << shift
    }
}

/// The connections that wait for work, by the way to each of them.
type Idle = Rc<RefCell<Vec<UnboundedSender<Due>>>>;

/// A request that is due, and the way back to whoever sends it: a worker to which there is no way ends.
struct Due {
    at: Instant,
    way: UnboundedSender<Due>,
}

/// Offers requests at a steady pace.
pub(crate) fn offer(target: &Target, pace: Pace) -> anyhow::Result<Offered> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (seen, idle) = (Rc::new(RefCell::new(Offered::default())), Idle::default());
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let workers: Vec<_> = (0..pace.connections)
            .map(|_| {
                let (way, due) = unbounded_channel();
                let worker = work(target.clone(), Rc::clone(&seen), Rc::clone(&idle), due);
                idle.borrow_mut().push(way);
                tokio::task::spawn_local(worker)
            })
            .collect();
        let begin = Instant::now();
        let mut ticks = tokio::time::interval(TICK);
        let mut issued = 0;
        while begin.elapsed() < pace.time {
            ticks.tick().await;
            let now = Instant::now();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a count of requests"
            )]
            let due = (begin.elapsed().as_secs_f64() * pace.per_second) as u64;
            for _ in issued..due {
                // The last in is the first out: as few connections are in use as the answers leave.
                let free = idle.borrow_mut().pop();
                if free.is_none_or(|way| way.send(Due { at: now, way: way.clone() }).is_err()) {
                    seen.borrow_mut().held_back += 1;
                }
            }
            issued = due;
        }
        seen.borrow_mut().elapsed = begin.elapsed();
        // Without a way to it, a worker ends after the answer that it waits for.
        let unanswered = async {
            while workers.iter().any(|worker| !worker.is_finished()) {
                idle.borrow_mut().clear();
                tokio::time::sleep(TICK).await;
            }
        };
        let answered = tokio::time::timeout(PATIENCE, unanswered).await;
        ensure!(answered.is_ok(), "requests were not answered within {} s of the end", PATIENCE.as_secs());
        Ok(())
    })?;
    drop(local);
    Ok(seen.take())
}

/// Sends a request whenever one is due, on a connection that is opened again when it breaks.
async fn work(target: Target, seen: Rc<RefCell<Offered>>, idle: Idle, mut due: UnboundedReceiver<Due>) {
    let mut connection = None;
    while let Some(Due { at, way }) = due.recv().await {
        let outcome = exchange(&target, &mut connection).await;
        {
            let mut seen = seen.borrow_mut();
            match outcome {
                Ok(Answer::Success) => seen.accepted.add(at.elapsed()),
                Ok(Answer::Failure { overloaded: true, .. }) => seen.refused += 1,
                Ok(Answer::Failure { message, .. }) => seen.fail(message),
                Err(error) => {
                    connection = None;
                    seen.fail(error.to_string());
                }
            }
        }
        idle.borrow_mut().push(way);
    }
}

async fn exchange(target: &Target, connection: &mut Option<Connection>) -> std::io::Result<Answer> {
    let open = match connection.take() {
        Some(open) => open,
        None => Connection::open(target).await?,
    };
    let open = connection.insert(open);
    let answer = open.exchange().await;
    if open.ends() {
        *connection = None;
    }
    answer
}

impl Offered {
    fn fail(&mut self, message: String) {
        self.failed += 1;
        self.first_failure.get_or_insert(message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_two_percent() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentile(99), Duration::ZERO);
        for milliseconds in 1..=1000 {
            latencies.add(Duration::from_millis(milliseconds));
        }
        for percent in [1, 50, 99, 100] {
            let (got, exact) = (latencies.percentile(percent), Duration::from_millis(10 * percent));
            assert!(got <= exact && got.as_secs_f64() > 0.98 * exact.as_secs_f64(), "{percent}: {got:?}");
        }
        assert_eq!(latencies.count(), 1000);
    }

    #[test]
    fn places_follow_each_other_without_a_gap() {
        let mut last = 0;
        for value in (0..5000).chain([u64::MAX / 2, u64::MAX]) {
            let place = Latencies::place(value);
            assert!(place >= last && (value >= 5000 || place <= last + 1), "{value}");
            let bound = Latencies::value(place);
            assert!(bound <= value && value - bound <= value >> STEPS, "{value} {bound}");
            last = place;
        }
    }
}
