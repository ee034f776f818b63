//! What the server sends on its own account, traces and payloads: on threads of their own, so that no request waits for it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use tokio::sync::{oneshot, watch};

/// An answer on its way, or a sentence about why there is none.
pub type Posting<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, String>> + Send + 'a>>;

/// Sends a body to a web server. The binary has the HTTP client and the rules for addresses; the server has neither.
pub trait Poster: fmt::Debug + Send + Sync {
    /// POSTs once and follows no redirect. Answers of any status are answers; their bodies are cut after a few kilobytes.
    /// Errors hold no credentials.
    fn post<'a>(&'a self, url: &'a str, headers: HeaderMap, body: Bytes) -> Posting<'a>;
}

/// How many have gone which way.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    /// The receiver took them.
    pub(crate) sent: AtomicU64,
    /// There was no room to keep them.
    pub(crate) dropped: AtomicU64,
    /// The receiver refused them, or was out of reach for too long.
    pub(crate) failed: AtomicU64,
}

impl Outcomes {
    /// Each with its name in metrics.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 3] {
        [("sent", &self.sent), ("dropped", &self.dropped), ("failed", &self.failed)]
            .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }
}

/// Says once that a receiver takes nothing, and once that it does again.
#[derive(Debug)]
pub(crate) struct Outage {
    what: &'static str,
    there: AtomicBool,
}

impl Outage {
    pub(crate) const fn none(what: &'static str) -> Self {
        Self { what, there: AtomicBool::new(false) }
    }

    pub(crate) fn began(&self, url: &str, problem: &str) {
        if !self.there.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                url,
                problem,
                "{} cannot be delivered; further failures are counted and not logged",
                self.what
            );
        }
    }

    pub(crate) fn is_over(&self, url: &str) {
        if self.there.load(Ordering::Relaxed) && self.there.swap(false, Ordering::Relaxed) {
            tracing::info!(url, "{} are delivered again", self.what);
        }
    }
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Delivery {
    Taken,
    /// It may be taken later.
    Later(String),
    /// It will never be taken.
    Refused(String),
}

impl Delivery {
    /// As the OTLP specification and the HTTP binding of `CloudEvents` say.
    pub(crate) fn of(answer: &Result<Response<Bytes>, String>) -> Self {
        match answer {
            Err(problem) => Self::Later(problem.clone()),
            Ok(answer) if answer.status().is_success() => Self::Taken,
            Ok(answer) => {
                let problem = format!("it answered {}", answer.status());
                match answer.status() {
                    StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Self::Later(problem),
                    status if status.is_server_error() => Self::Later(problem),
                    _ => Self::Refused(problem),
                }
            }
        }
    }
}

/// How long to wait before the next attempt: twice as long each time, from half a second to half a minute.
pub(crate) fn pause(failures: u32) -> Duration {
    Duration::from_millis(500 << failures.saturating_sub(1).min(6)).min(Duration::from_secs(30))
}

/// A thread with a runtime of its own, which is told when to end.
#[derive(Debug)]
pub(crate) struct Background {
    ending: watch::Sender<Option<Instant>>,
    done: Mutex<Option<oneshot::Receiver<()>>>,
}

/// Tells a background task that it is to end, and by when.
pub(crate) type Ending = watch::Receiver<Option<Instant>>;

impl Background {
    /// Starts a task, which ends by itself when it is told to, or when the handle is dropped.
    pub(crate) fn start<F: Future<Output = ()>>(
        name: &str,
        task: impl FnOnce(Ending) -> F + Send + 'static,
    ) -> Result<Self, std::io::Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (ending, told) = watch::channel(None);
        let (finished, done) = oneshot::channel();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            runtime.block_on(task(told));
            drop(finished);
        })?;
        Ok(Self { ending, done: Mutex::new(Some(done)) })
    }

    /// Tells the task to end and waits, at most so long.
    pub(crate) async fn finish(&self, within: Duration) {
        self.ending.send_replace(Instant::now().checked_add(within));
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(done) = done {
            // The other end says nothing: that it is gone is the message.
            drop(tokio::time::timeout(within, done).await);
        }
    }
}

/// Completes when the task is to end, with the time by which it must have.
pub(crate) async fn ended(mut ending: Ending) -> Instant {
    let deadline = ending.wait_for(Option::is_some).await.ok().and_then(|deadline| *deadline);
    deadline.unwrap_or_else(Instant::now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_say_whether_another_attempt_is_worth_it() {
        let of =
            |status: u16| Delivery::of(&Ok(Response::builder().status(status).body(Bytes::new()).unwrap()));
        assert_eq!((of(200), of(202)), (Delivery::Taken, Delivery::Taken));
        for status in [408, 429, 500, 503] {
            assert!(matches!(of(status), Delivery::Later(_)), "{status}");
        }
        for status in [301, 400, 401, 404, 413] {
            assert!(matches!(of(status), Delivery::Refused(_)), "{status}");
        }
        assert!(matches!(Delivery::of(&Err("no route".to_owned())), Delivery::Later(_)));
    }

    #[test]
    fn pauses_grow_to_half_a_minute() {
        let pauses: Vec<u128> = [1, 2, 3, 6, 7, 100].map(|failures| pause(failures).as_millis()).to_vec();
        assert_eq!(pauses, [500, 1000, 2000, 16_000, 30_000, 30_000]);
    }

    #[tokio::test]
    async fn a_task_is_told_to_end_and_waited_for() {
        let background = Background::start("test", |ending| async move {
            ended(ending).await;
        });
        let started = Instant::now();
        background.unwrap().finish(Duration::from_mins(1)).await;
        assert!(started.elapsed() < Duration::from_secs(30));
        let endless = Background::start("test", |_| std::future::pending()).unwrap();
        endless.finish(Duration::from_millis(20)).await;
    }
}
