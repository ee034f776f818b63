//! From ended spans to the collector: a bounded queue, and a thread that empties it.
//!
//! Spans are sent every second, or when the queue is half full. A batch that the collector does not take is tried again after
//! growing pauses and then given up; in the meantime the queue fills, and what finds no place is counted.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response};
use opentelemetry::{Context, KeyValue};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use prost::Message;
use tokio::sync::{Notify, mpsc};

use super::config::TraceConfig;
use crate::outbound::{Delivery, Ending, Outage, Outcomes, Poster, ended, pause};

/// Spans that wait for the collector, about a kilobyte each.
const QUEUE: usize = 8192;
/// Spans of one export.
const BATCH: usize = 512;
/// How long spans wait for others.
const INTERVAL: Duration = Duration::from_secs(1);
/// Attempts for one batch.
const ATTEMPTS: u32 = 4;

/// Takes the spans that have ended. Never waits.
#[derive(Debug)]
pub(super) struct Queue {
    spans: mpsc::Sender<SpanData>,
    shared: Arc<Shared>,
}

/// What both ends of the queue know.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) outcomes: Outcomes,
    wake: Notify,
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.spans.try_send(span).is_err() {
            self.shared.outcomes.dropped.fetch_add(1, Ordering::Relaxed);
        }
        if self.spans.capacity() < QUEUE / 2 {
            self.shared.wake.notify_one();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Sends what the queue takes.
#[derive(Debug)]
pub(super) struct Exporter {
    spans: mpsc::Receiver<SpanData>,
    shared: Arc<Shared>,
    poster: Arc<dyn Poster>,
    config: TraceConfig,
    resource: ResourceAttributesWithSchema,
    outage: Outage,
    pending: Option<Batch>,
}

/// Spans as the collector gets them.
#[derive(Debug)]
struct Batch {
    body: Bytes,
    spans: u64,
    failures: u32,
}

/// Both ends.
pub(super) fn channel(config: TraceConfig, poster: Arc<dyn Poster>) -> (Queue, Arc<Shared>, Exporter) {
    let (sender, spans) = mpsc::channel(QUEUE);
    let shared = Arc::new(Shared::default());
    let attributes = config.resource.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    let resource = Resource::builder_empty().with_attributes(attributes).build();
    let exporter = Exporter {
        spans,
        shared: Arc::clone(&shared),
        poster,
        config,
        resource: (&resource).into(),
        outage: Outage::none("traces"),
        pending: None,
    };
    (Queue { spans: sender, shared: Arc::clone(&shared) }, shared, exporter)
}

impl Exporter {
    /// Sends until it is told to end, and then what is left, until the deadline.
    pub(super) async fn run(mut self, ending: Ending) {
        let mut told = std::pin::pin!(ended(ending));
        let deadline = loop {
            let failures = self.pending.as_ref().map_or(0, |batch| batch.failures);
            let shared = Arc::clone(&self.shared);
            let wait = async {
                match failures {
                    // Not `interval`: a second after an export that took long is soon enough.
                    0 => drop(tokio::time::timeout(INTERVAL, shared.wake.notified()).await),
                    failures => tokio::time::sleep(pause(failures)).await,
                }
            };
            tokio::select! {
                deadline = &mut told => break deadline,
                () = wait => {}
            }
            tokio::select! {
                deadline = &mut told => break deadline,
                () = self.export() => {}
            }
        };
        drop(tokio::time::timeout_at(deadline.into(), self.export()).await);
        let left = self.pending.take().map_or(0, |batch| batch.spans) + self.spans.len() as u64;
        if left > 0 {
            self.shared.outcomes.failed.fetch_add(left, Ordering::Relaxed);
            tracing::warn!(
                spans = left,
                url = self.config.endpoint,
                "the last traces were not delivered in time"
            );
        }
    }

    /// Sends everything that is there, until the collector does not take it.
    async fn export(&mut self) {
        loop {
            if self.pending.is_none() {
                self.pending = self.next_batch();
            }
            let Some(batch) = &self.pending else { return };
            let answer = self.send(batch.body.clone()).await;
            self.settle(&answer);
            if self.pending.is_some() {
                return;
            }
        }
    }

    fn next_batch(&mut self) -> Option<Batch> {
        let batch: Vec<SpanData> = std::iter::from_fn(|| self.spans.try_recv().ok()).take(BATCH).collect();
        if batch.is_empty() {
            return None;
        }
        let spans = batch.len() as u64;
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let message = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let body = if self.config.gzip { gzip(&message) } else { message };
        Some(Batch { body: body.into(), spans, failures: 0 })
    }

    async fn send(&self, body: Bytes) -> Result<Response<Bytes>, String> {
        let mut headers: HeaderMap = self.config.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        if self.config.gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let posting = self.poster.post(&self.config.endpoint, headers, body);
        tokio::time::timeout(self.config.timeout, posting)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} ms", self.config.timeout.as_millis())))
    }

    /// Counts what became of the batch that was sent, and keeps it if it is worth another attempt.
    fn settle(&mut self, answer: &Result<Response<Bytes>, String>) {
        let Some(mut batch) = self.pending.take() else { return };
        let outcomes = &self.shared.outcomes;
        let problem = match Delivery::of(answer) {
            Delivery::Taken => {
                let refused = answer.as_ref().map_or(0, |answer| refused(answer.body())).min(batch.spans);
                outcomes.sent.fetch_add(batch.spans - refused, Ordering::Relaxed);
                outcomes.failed.fetch_add(refused, Ordering::Relaxed);
                if refused == 0 {
                    return self.outage.is_over(&self.config.endpoint);
                }
                format!("it refused {refused} spans of {}", batch.spans)
            }
            Delivery::Later(problem) if batch.failures + 1 < ATTEMPTS => {
                batch.failures += 1;
                self.pending = Some(batch);
                problem
            }
            Delivery::Later(problem) | Delivery::Refused(problem) => {
                outcomes.failed.fetch_add(batch.spans, Ordering::Relaxed);
                problem
            }
        };
        self.outage.began(&self.config.endpoint, &problem);
    }
}

/// How many spans of a batch the collector did not take.
fn refused(body: &Bytes) -> u64 {
    let answer = ExportTraceServiceResponse::decode(body.clone()).unwrap_or_default();
    answer.partial_success.map_or(0, |partial| u64::try_from(partial.rejected_spans).unwrap_or(0))
}

fn gzip(message: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Into memory nothing fails.
    drop(encoder.write_all(message));
    encoder.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::sync::Mutex;
    use std::time::SystemTime;

    use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status};
    use opentelemetry_sdk::trace::{Sampler, SpanEvents, SpanLinks};

    use super::*;
    use crate::outbound::Posting;

    /// A collector that takes everything and keeps it.
    #[derive(Debug, Default)]
    struct Keeper(Mutex<Vec<(HeaderMap, Bytes)>>);

    impl Poster for Keeper {
        fn post<'a>(&'a self, _: &'a str, headers: HeaderMap, body: Bytes) -> Posting<'a> {
            self.0.lock().unwrap().push((headers, body));
            Box::pin(std::future::ready(Ok(Response::new(Bytes::new()))))
        }
    }

    fn config(gzip: bool) -> TraceConfig {
        TraceConfig {
            endpoint: "http://127.0.0.1/v1/traces".to_owned(),
            headers: HeaderMap::new(),
            timeout: Duration::from_mins(1),
            gzip,
            certificate: None,
            resource: std::iter::once(("service.name".to_owned(), "test".to_owned())).collect(),
            sampler: Sampler::AlwaysOn,
        }
    }

    fn span() -> SpanData {
        SpanData {
            span_context: SpanContext::empty_context(),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Server,
            name: "request".into(),
            start_time: SystemTime::UNIX_EPOCH,
            end_time: SystemTime::UNIX_EPOCH,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: opentelemetry::InstrumentationScope::default(),
        }
    }

    #[tokio::test]
    async fn batches_are_packed_where_that_is_asked_for_and_say_so() {
        for packed in [false, true] {
            let keeper = Arc::new(Keeper::default());
            let (queue, shared, mut exporter) =
                channel(config(packed), Arc::clone(&keeper) as Arc<dyn Poster>);
            (0..3).for_each(|_| queue.on_end(span()));
            exporter.export().await;
            let (headers, body) = keeper.0.lock().unwrap().pop().unwrap();
            assert_eq!(
                headers.get(CONTENT_ENCODING),
                packed.then_some(&HeaderValue::from_static("gzip")),
                "{headers:?}"
            );
            let mut plain = Vec::new();
            if packed {
                flate2::read::GzDecoder::new(body.as_ref()).read_to_end(&mut plain).unwrap();
            } else {
                plain.extend_from_slice(&body);
            }
            let message = ExportTraceServiceRequest::decode(plain.as_slice()).unwrap();
            assert_eq!(message.resource_spans[0].scope_spans[0].spans.len(), 3);
            assert_eq!(shared.outcomes.counts(), [("sent", 3), ("dropped", 0), ("failed", 0)]);
        }
    }

    #[tokio::test]
    async fn spans_that_find_no_place_are_counted_and_the_others_are_sent() {
        let (queue, shared, mut exporter) = channel(config(false), Arc::new(Keeper::default()));
        (0..QUEUE + 5).for_each(|_| queue.on_end(span()));
        assert_eq!(shared.outcomes.counts(), [("sent", 0), ("dropped", 5), ("failed", 0)]);
        exporter.export().await;
        assert_eq!(shared.outcomes.counts(), [("sent", QUEUE as u64), ("dropped", 5), ("failed", 0)]);
        queue.on_end(span());
        assert_eq!(shared.outcomes.dropped.load(Ordering::Relaxed), 5, "there is room again");
    }
}
