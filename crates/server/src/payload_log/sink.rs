//! From the queue to the sink, on a thread of its own.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, stream};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use tokio::sync::mpsc::UnboundedReceiver;

use super::event::{self, Event};
use super::{PayloadLogError, Shared};
use crate::outbound::{Delivery, Ending, Outage, Poster, ended, pause};

/// Events on their way at the same time.
const AT_ONCE: usize = 8;
/// Attempts for one event.
const ATTEMPTS: u32 = 4;
/// How long the sink may take for one.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where payloads go.
#[derive(Debug, Clone)]
pub enum PayloadSink {
    /// Each event is sent to this URL.
    Http {
        /// The URL, without credentials.
        url: String,
        /// What sends.
        poster: Arc<dyn Poster>,
    },
    /// Each event is a line at the end of this file, which only its owner may read.
    File(PathBuf),
    /// Each event is a line of standard output.
    Stdout,
}

/// An opened sink.
#[derive(Debug)]
pub(super) enum Opened {
    Http { url: String, poster: Arc<dyn Poster> },
    File { path: PathBuf, file: Mutex<File> },
    Stdout,
}

impl Opened {
    pub(super) fn open(sink: PayloadSink) -> Result<Self, PayloadLogError> {
        Ok(match sink {
            PayloadSink::Http { url, poster } => Self::Http { url, poster },
            PayloadSink::Stdout => Self::Stdout,
            PayloadSink::File(path) => {
                let file = File::options().create(true).append(true).mode(0o600).open(&path);
                let file = file.map_err(|error| PayloadLogError::Unwritable {
                    path: path.display().to_string(),
                    problem: error.to_string(),
                })?;
                Self::File { path, file: Mutex::new(file) }
            }
        })
    }

    fn name(&self) -> String {
        match self {
            Self::Http { url, .. } => url.clone(),
            Self::File { path, .. } => path.display().to_string(),
            Self::Stdout => "standard output".to_owned(),
        }
    }

    async fn deliver(&self, text: &Bytes) -> Delivery {
        let written = match self {
            Self::Http { url, poster } => {
                let kind = HeaderValue::from_static(event::CONTENT_TYPE);
                let posting = poster.post(url, HeaderMap::from_iter([(CONTENT_TYPE, kind)]), text.clone());
                let answer = tokio::time::timeout(TIMEOUT, posting).await;
                return Delivery::of(
                    &answer.unwrap_or_else(|_| Err(format!("no answer within {} s", TIMEOUT.as_secs()))),
                );
            }
            Self::File { file, .. } => {
                // One call for a line: lines of several processes do not mix.
                file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&[text, &b"\n"[..]].concat())
            }
            Self::Stdout => std::io::stdout().lock().write_all(&[text, &b"\n"[..]].concat()),
        };
        written.map_or_else(|error| Delivery::Later(error.to_string()), |()| Delivery::Taken)
    }
}

/// Sends events until it is told to end, and then those that are left, until the deadline.
pub(super) async fn run(
    sink: Opened,
    shared: Arc<Shared>,
    mut events: UnboundedReceiver<Event>,
    ending: Ending,
) {
    let sender = Sender {
        sink,
        shared: Arc::clone(&shared),
        outage: Outage::none("payloads"),
        ending: ending.clone(),
    };
    let mut told = Box::pin(ended(ending.clone()).fuse());
    let mut open = true;
    let events = stream::poll_fn(|context| {
        // No more come then, so the stream ends after what is there.
        if open && told.poll_unpin(context).is_ready() {
            open = false;
            events.close();
        }
        events.poll_recv(context)
    });
    let overdue = async { tokio::time::sleep_until(ended(ending).await.into()).await };
    tokio::select! {
        () = events.for_each_concurrent(AT_ONCE, |event| sender.send(event)) => {}
        () = overdue => {
            let left = shared.waiting.load(Ordering::Relaxed);
            tracing::warn!(bytes = left, sink = sender.sink.name(), "the last payloads were not delivered in time");
        }
    }
}

struct Sender {
    sink: Opened,
    shared: Arc<Shared>,
    outage: Outage,
    ending: Ending,
}

impl Sender {
    async fn send(&self, event: Event) {
        let outcomes = &self.shared.outcomes;
        let delivered = match event.to_json(&self.shared.origin, self.shared.max_bytes) {
            Ok(text) => self.attempts(&Bytes::from(text)).await,
            Err(error) => Err(error.to_string()),
        };
        self.shared.waiting.fetch_sub(event.bytes(), Ordering::Relaxed);
        match delivered {
            Ok(()) => {
                outcomes.sent.fetch_add(1, Ordering::Relaxed);
                self.outage.is_over(&self.sink.name());
            }
            Err(problem) => {
                outcomes.failed.fetch_add(1, Ordering::Relaxed);
                self.outage.began(&self.sink.name(), &problem);
            }
        }
    }

    /// Pauses hold up the queue behind them, which then fills: a sink that is down gets few attempts and no flood.
    async fn attempts(&self, text: &Bytes) -> Result<(), String> {
        let mut failures = 0;
        loop {
            let problem = match self.sink.deliver(text).await {
                Delivery::Taken => return Ok(()),
                Delivery::Refused(problem) => return Err(problem),
                Delivery::Later(problem) => problem,
            };
            failures += 1;
            let is_ending = self.ending.has_changed().is_err() || self.ending.borrow().is_some();
            if failures >= ATTEMPTS || is_ending {
                return Err(problem);
            }
            self.outage.began(&self.sink.name(), &problem);
            tokio::select! {
                () = tokio::time::sleep(pause(failures)) => {}
                // One more attempt, then.
                _ = ended(self.ending.clone()) => {}
            }
        }
    }
}
