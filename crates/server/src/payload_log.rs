//! The log of payloads: what a model was asked and what it answered, for a share of its predictions, sent to a sink as
//! `CloudEvents`.
//!
//! A prediction that is chosen costs a copy of its tensors; all else happens on a thread of its own. What waits is bounded
//! in bytes, and what finds no place is counted. Hidden values are not even copied. Explanations are not logged.
//!
//! * `redaction`: which values stay here.
//! * `payload`, `event`: tensors as JSON, and the envelope around them.
//! * `sink`: the way out.

mod event;
mod payload;
mod redaction;
mod sink;

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use modelwright_protocol::v1::View;
use modelwright_protocol::{Signature, Tensor};
use tokio::sync::mpsc::{self, UnboundedSender};

use self::event::{Event, Half, Origin, RequestFacts};
use self::payload::Payload;
pub(crate) use self::redaction::Redaction;
pub use self::sink::PayloadSink;
use crate::outbound::{Background, Outcomes};
use crate::trace;

/// Bytes that may wait for the sink.
const QUEUE: usize = 32 << 20;
/// The longest id of a client that is taken over.
const MAX_ID: usize = 256;

/// Which payloads of a model are logged, and where to.
#[derive(Debug, Clone)]
pub struct PayloadLogConfig {
    /// The model's name.
    pub model: String,
    /// Its namespace, where it has one.
    pub namespace: Option<String>,
    /// Where payloads go.
    pub sink: PayloadSink,
    /// What is logged.
    pub mode: PayloadMode,
    /// The share of predictions that are logged, in percent.
    pub sample_percent: u8,
    /// Inputs, outputs and columns of the training data whose values are not logged.
    pub redact: Vec<String>,
    /// The most bytes of JSON for the tensors of a request or an answer. Of larger ones only names, datatypes and shapes are
    /// logged.
    pub max_bytes: usize,
}

/// What is logged of a prediction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PayloadMode {
    /// Requests and answers.
    #[default]
    All,
    /// Requests alone.
    Request,
    /// Answers alone.
    Response,
}

/// A log that cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadLogError {
    /// A name to be hidden is none of the model's.
    #[error("payloadLogging.redact: the model has nothing that is called {name:?}; write one of {known}")]
    UnknownName {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// The file cannot be written.
    #[error("payloadLogging.url: {path} cannot be written: {problem}")]
    Unwritable {
        /// The file.
        path: String,
        /// Why.
        problem: String,
    },
    /// There are no more threads.
    #[error("the thread for the log of payloads cannot be started: {0}")]
    Thread(String),
}

/// A model's log of payloads, which outlives its revisions.
#[derive(Debug)]
pub struct PayloadLog {
    events: UnboundedSender<Event>,
    shared: Arc<Shared>,
    mode: PayloadMode,
    sample_percent: u64,
    redact: Vec<String>,
    asked: AtomicU64,
    /// Begins the ids of requests that have none.
    run: u64,
    background: Background,
}

/// What both ends of the queue know.
#[derive(Debug)]
struct Shared {
    origin: Origin,
    max_bytes: usize,
    outcomes: Outcomes,
    /// Bytes of the events that wait or are on their way.
    waiting: AtomicUsize,
}

/// A log with what it hides of one revision.
#[derive(Debug)]
pub(crate) struct RevisionLog {
    pub(crate) log: Arc<PayloadLog>,
    redaction: Redaction,
}

/// A prediction whose answer is to be logged, too.
#[derive(Debug)]
pub(crate) struct Logged(Arc<RequestFacts>);

impl PayloadLog {
    /// Opens the sink and starts the thread that feeds it.
    pub fn start(config: PayloadLogConfig) -> Result<Arc<Self>, PayloadLogError> {
        let PayloadLogConfig { model, namespace, sink, mode, sample_percent, redact, max_bytes } = config;
        let sink = sink::Opened::open(sink)?;
        let place =
            namespace.as_ref().map_or_else(String::new, |namespace| format!("namespaces/{namespace}/"));
        let source = format!("/apis/modelwright.dev/v1alpha1/{place}models/{model}");
        let shared = Arc::new(Shared {
            origin: Origin { model, namespace, source },
            max_bytes,
            outcomes: Outcomes::default(),
            waiting: AtomicUsize::new(0),
        });
        let (events, receiver) = mpsc::unbounded_channel();
        let there = Arc::clone(&shared);
        let background =
            Background::start("payloads", move |ending| sink::run(sink, there, receiver, ending))
                .map_err(|error| PayloadLogError::Thread(error.to_string()))?;
        Ok(Arc::new(Self {
            events,
            shared,
            mode,
            sample_percent: u64::from(sample_percent.min(100)),
            redact,
            asked: AtomicU64::new(0),
            run: RandomState::new().build_hasher().finish(),
            background,
        }))
    }

    /// For a revision of the model: finds what is hidden of it.
    pub(crate) fn of_revision(
        self: Arc<Self>,
        signature: &Signature,
        view: Option<&View>,
    ) -> Result<RevisionLog, PayloadLogError> {
        Ok(RevisionLog { redaction: Redaction::of(&self.redact, signature, view)?, log: self })
    }

    /// Events by what became of them.
    pub(crate) fn outcomes(&self) -> [(&'static str, u64); 3] {
        self.shared.outcomes.counts()
    }

    /// Bytes that wait for the sink.
    pub(crate) fn waiting(&self) -> usize {
        self.shared.waiting.load(Ordering::Relaxed)
    }

    /// Sends what is left, within a time.
    pub(crate) async fn finish(&self, within: Duration) {
        self.background.finish(within).await;
    }

    /// Chooses evenly, so that ten percent is every tenth.
    fn choose(&self) -> Option<u64> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        is_chosen(number, self.sample_percent).then_some(number)
    }

    fn offer(&self, half: Half, request: &Arc<RequestFacts>, payload: Payload) {
        let event = Event { half, request: Arc::clone(request), time: SystemTime::now(), payload };
        let bytes = event.bytes();
        let before = self.shared.waiting.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > QUEUE || self.events.send(event).is_err() {
            self.shared.waiting.fetch_sub(bytes, Ordering::Relaxed);
            self.shared.outcomes.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Event {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.request.id.len() + self.payload.bytes()
    }
}

impl RevisionLog {
    /// Logs a request if it is its turn.
    pub(crate) fn request(&self, id: Option<&str>, revision: &str, inputs: &[Tensor]) -> Option<Logged> {
        let number = self.log.choose()?;
        let id = id.filter(|id| !id.is_empty() && id.len() <= MAX_ID);
        let facts = Arc::new(RequestFacts {
            id: id.map_or_else(|| format!("{:016x}-{number}", self.log.run), str::to_owned),
            revision: revision.to_owned(),
            traceparent: trace::current_traceparent(),
        });
        if self.log.mode != PayloadMode::Response {
            let payload = Payload::copy(inputs, &self.redaction, self.log.shared.max_bytes);
            self.log.offer(Half::Request, &facts, payload);
        }
        Some(Logged(facts))
    }

    /// Logs the answer to a request that was logged: all outputs, whichever the client asked for.
    pub(crate) fn response(&self, logged: &Logged, outputs: &[Tensor]) {
        if self.log.mode != PayloadMode::Request {
            let payload = Payload::copy(outputs, &self.redaction, self.log.shared.max_bytes);
            self.log.offer(Half::Response, &logged.0, payload);
        }
    }
}

/// Whether the request of this number is among so many percent.
const fn is_chosen(number: u64, percent: u64) -> bool {
    let number = number % 100;
    (number + 1) * percent / 100 > number * percent / 100
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;
    use modelwright_protocol::TensorData;

    use super::*;
    use crate::outbound::{Poster, Posting};

    /// A receiver that never answers.
    #[derive(Debug)]
    struct Silent;

    impl Poster for Silent {
        fn post<'a>(&'a self, _: &'a str, _: HeaderMap, _: Bytes) -> Posting<'a> {
            Box::pin(std::future::pending())
        }
    }

    #[test]
    fn events_that_find_no_place_are_counted_and_hold_no_memory() {
        let log = PayloadLog::start(PayloadLogConfig {
            model: "m".to_owned(),
            namespace: None,
            sink: PayloadSink::Http { url: "http://127.0.0.1/".to_owned(), poster: Arc::new(Silent) },
            mode: PayloadMode::Request,
            sample_percent: 100,
            redact: Vec::new(),
            max_bytes: QUEUE,
        })
        .unwrap();
        let revision = Arc::clone(&log).of_revision(&Signature::default(), None).unwrap();
        let third = TensorData::Bytes(vec![Bytes::from(vec![b'a'; QUEUE / 3])]);
        let inputs = [Tensor::new("x", vec![1], third).unwrap()];
        for _ in 0..5 {
            assert!(revision.request(None, "1", &inputs).is_some(), "the request goes on all the same");
        }
        // Beside its text an event takes a little more, so that there is no room for a third one.
        assert_eq!(log.outcomes(), [("sent", 0), ("dropped", 3), ("failed", 0)]);
        assert!((QUEUE / 2..=QUEUE).contains(&log.waiting()), "{}", log.waiting());
    }

    #[test]
    fn the_share_is_exact_and_even() {
        for percent in [0, 1, 10, 33, 50, 99, 100] {
            let chosen = (0..1000).filter(|number| is_chosen(*number, percent)).count();
            assert_eq!(chosen as u64, percent * 10);
        }
        assert!(is_chosen(u64::MAX, 100));
        let tenth: Vec<u64> = (0..30).filter(|number| is_chosen(*number, 10)).collect();
        assert_eq!(tenth, [9, 19, 29]);
    }
}
