//! Bounds on time that cost next to nothing while they are kept.
//!
//! A timer of the runtime takes its lock twice and, being the next to go off, wakes the thread that sets it by a system call:
//! more than reading a head. Nearly all bounds are long, are set for every request, and never go off. Those are kept by
//! one clock per I/O thread, which ticks while anybody waits. Shorter ones, and those of other threads, are timers.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;

/// How long a tick is.
const TICK: Duration = Duration::from_millis(50);
/// From here on, a bound may be kept a tick late: by a twentieth of it.
const COARSE_FROM: Duration = Duration::from_secs(1);

thread_local! {
    static CLOCK: RefCell<Option<Clock>> = const { RefCell::new(None) };
}

/// The time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Elapsed;

/// Waits for a future, but not longer than so; a bound of a second or more may be exceeded by a twentieth.
pub(crate) async fn within<F: Future>(bound: Duration, future: F) -> Result<F::Output, Elapsed> {
    let mut future = std::pin::pin!(future);
    let mut sleep = Sleep::new(bound);
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => sleep.poll(context).map(|()| Err(Elapsed)),
    })
    .await
}

/// Completes after a time, counted from when it is first polled; of a second or more, up to a twentieth later.
#[derive(Debug)]
pub(crate) struct Sleep {
    time: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    New,
    Ticks(Place),
    Timer(Pin<Box<tokio::time::Sleep>>),
}

impl Sleep {
    pub(crate) const fn new(time: Duration) -> Self {
        Self { time, state: State::New }
    }

    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.state {
                State::New => self.state = Self::begin(self.time),
                State::Timer(timer) => return timer.as_mut().poll(context),
                State::Ticks(place) => match with_clock(|clock| clock.poll(*place, context.waker())) {
                    Some(Some(over)) => return if over { Poll::Ready(()) } else { Poll::Pending },
                    // Polled on another thread than before, whose clock does not know it: it begins again.
                    _ => self.state = State::New,
                },
            }
        }
    }

    fn begin(time: Duration) -> State {
        let place = if time < COARSE_FROM { None } else { with_clock(|clock| clock.enter(time)) };
        place.map_or_else(|| State::Timer(Box::pin(tokio::time::sleep(time))), State::Ticks)
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let State::Ticks(place) = self.state {
            // Outside of the clock: a waker may be the last that holds what it would wake.
            drop(with_clock(|clock| clock.leave(place)));
        }
    }
}

/// Starts the clock of this thread, on a runtime that only this thread drives.
pub(crate) fn start() {
    let wanted = Arc::new(Notify::new());
    CLOCK.set(Some(Clock { wanted: Arc::clone(&wanted), ..Clock::default() }));
    tokio::spawn(tick(wanted));
}

/// Ticks while anybody waits, for as long as the runtime lives.
async fn tick(wanted: Arc<Notify>) {
    loop {
        wanted.notified().await;
        while with_clock(Clock::is_waited_for) == Some(true) {
            tokio::time::sleep(TICK).await;
            for waker in with_clock(Clock::advance).unwrap_or_default() {
                waker.wake();
            }
        }
    }
}

fn with_clock<T>(act: impl FnOnce(&mut Clock) -> T) -> Option<T> {
    CLOCK.try_with(|clock| clock.borrow_mut().as_mut().map(act)).ok().flatten()
}

/// A place in a clock, and who has it.
#[derive(Debug, Clone, Copy)]
struct Place {
    index: usize,
    owner: u64,
}

/// Those who wait on a thread. Pure but for `wanted`.
#[derive(Debug, Default)]
struct Clock {
    ticks: u64,
    entered: u64,
    places: Vec<Waiting>,
    free: Vec<usize>,
    ticking: bool,
    wanted: Arc<Notify>,
}

#[derive(Debug)]
struct Waiting {
    owner: u64,
    /// The tick at which its time is over.
    due: u64,
    /// `None`: the place is free, or it has been woken.
    waker: Option<Waker>,
}

impl Clock {
    fn enter(&mut self, time: Duration) -> Place {
        if !self.ticking {
            self.ticking = true;
            self.wanted.notify_one();
        }
        self.entered += 1;
        // One more, for the tick that it comes in has begun already.
        let ticks = time.as_nanos().div_ceil(TICK.as_nanos()).saturating_add(1);
        let due = self.ticks.saturating_add(u64::try_from(ticks).unwrap_or(u64::MAX));
        let waiting = Waiting { owner: self.entered, due, waker: None };
        let index = if let Some(index) = self.free.pop() {
            self.places[index] = waiting;
            index
        } else {
            self.places.push(waiting);
            self.places.len() - 1
        };
        Place { index, owner: self.entered }
    }

    /// Whether the time of a place is over; else it will be woken then. `None`: it is not from this clock.
    fn poll(&mut self, place: Place, waker: &Waker) -> Option<bool> {
        let ticks = self.ticks;
        let waiting = self.places.get_mut(place.index).filter(|waiting| waiting.owner == place.owner)?;
        if waiting.due <= ticks {
            return Some(true);
        }
        if waiting.waker.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            waiting.waker = Some(waker.clone());
        }
        Some(false)
    }

    fn leave(&mut self, place: Place) -> Option<Waker> {
        let waiting = self.places.get_mut(place.index).filter(|waiting| waiting.owner == place.owner)?;
        waiting.owner = 0;
        self.free.push(place.index);
        waiting.waker.take()
    }

    /// Whether there is a reason to tick; if not, the next one who comes asks for it again.
    fn is_waited_for(&mut self) -> bool {
        self.ticking = self.free.len() < self.places.len();
        self.ticking
    }

    /// The next tick, and who is to be woken at it.
    fn advance(&mut self) -> Vec<Waker> {
        self.ticks += 1;
        let due = self.places.iter_mut().filter(|waiting| waiting.due <= self.ticks);
        due.filter_map(|waiting| waiting.waker.take()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    fn on_an_io_thread<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            start();
            work.await
        })
    }

    #[test]
    fn a_bound_is_kept_and_by_ticks_a_little_late() {
        on_an_io_thread(async {
            // Between two ticks.
            let second = Duration::from_secs(1);
            let (_, late) = futures::join!(within(second, pending::<()>()), async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let begun = std::time::Instant::now();
                assert_eq!(within(second, pending::<()>()).await, Err(Elapsed));
                begun.elapsed()
            });
            assert!(late >= second, "{late:?}");
        });
    }

    #[test]
    fn time_is_over_after_as_many_whole_ticks() {
        let mut clock = Clock::default();
        for _ in 0..3 {
            clock.advance();
        }
        let place = clock.enter(Duration::from_secs(1));
        let mut ticks = 0;
        while clock.poll(place, Waker::noop()) == Some(false) {
            let woken = clock.advance();
            ticks += 1;
            assert_eq!(woken.len(), usize::from(ticks == 21), "{ticks}");
        }
        assert_eq!(ticks, 21);
        drop(clock.leave(place));
        assert_eq!(clock.poll(place, Waker::noop()), None);
        assert!(!clock.is_waited_for());
    }

    #[test]
    fn short_bounds_are_timers() {
        on_an_io_thread(async {
            assert_eq!(within(Duration::from_millis(10), pending::<()>()).await, Err(Elapsed));
            assert_eq!(with_clock(|clock| clock.places.len()), Some(0));
        });
    }

    #[test]
    fn what_comes_in_time_leaves_nothing_behind() {
        on_an_io_thread(async {
            let second = Duration::from_secs(1);
            assert_eq!(within(second, ready(7)).await, Ok(7));
            for _ in 0..100 {
                assert_eq!(within(second, tokio::task::yield_now()).await, Ok(()));
            }
            assert_eq!(with_clock(|clock| (clock.places.len(), clock.free.len())), Some((1, 1)));
            let stops = async {
                while with_clock(|clock| clock.ticking) == Some(true) {
                    tokio::time::sleep(TICK).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(30), stops).await.unwrap();
        });
    }

    #[tokio::test]
    async fn without_a_clock_there_is_a_timer() {
        assert_eq!(within(COARSE_FROM, pending::<()>()).await, Err(Elapsed));
    }
}
