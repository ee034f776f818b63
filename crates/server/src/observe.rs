//! Where traces and the log of payloads hear of a prediction, and what is counted of both.

use std::sync::Arc;
use std::time::{Duration, Instant};

use modelwright_protocol::Tensor;
use modelwright_runtime::Outcome;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use crate::data::Data;
use crate::metrics::NoExample;
use crate::payload_log::Logged;
use crate::registry::{ModelState, ReadyModel, Registry};
use crate::trace::{Ran, Tracer};

/// How long the last traces and payloads may take to leave, together: what is left of the time that a pod has to end.
const GOODBYE: Duration = Duration::from_secs(5);

/// A request is about to be run. `Some`: its answer is to be logged.
pub(crate) fn asked(ready: &ReadyModel, id: Option<&str>, inputs: &[Tensor]) -> Option<Logged> {
    ready.payload_log()?.request(id, ready.version(), inputs)
}

/// A request was run.
pub(crate) fn ran(data: &Data, ready: &ReadyModel, logged: Option<&Logged>, rows: u64, outcome: &Outcome) {
    if let Some((log, logged)) = ready.payload_log().zip(logged) {
        log.response(logged, &outcome.outputs);
    }
    if let Some(tracer) = &data.tracer {
        let Outcome { waited, ran, batch_rows, .. } = *outcome;
        tracer.ran(&Ran { revision: ready.version(), rows, batch_rows, waited, computed: ran });
    }
}

/// Traces an explanation from now until the value is dropped.
pub(crate) fn explaining<'a>(data: &'a Data, ready: &'a ReadyModel) -> Option<Explaining<'a>> {
    data.tracer.as_ref().map(|tracer| Explaining { tracer, ready, started: Instant::now() })
}

/// An explanation that is traced.
pub(crate) struct Explaining<'a> {
    tracer: &'a Tracer,
    ready: &'a ReadyModel,
    started: Instant,
}

impl Drop for Explaining<'_> {
    fn drop(&mut self) {
        self.tracer.explained(self.ready.version(), self.started.elapsed());
    }
}

/// Sends the last traces and payloads when all requests are answered.
pub(crate) async fn finish(data: &Data) {
    let models = data.registry.snapshot();
    let logs = models.values().filter_map(|state| match state {
        ModelState::Ready(ready) => ready.payload_log(),
        _ => None,
    });
    let payloads = futures::future::join_all(logs.map(|log| log.log.finish(GOODBYE)));
    let traces = async {
        if let Some(tracer) = &data.tracer {
            tracer.finish(GOODBYE).await;
        }
    };
    futures::future::join(payloads, traces).await;
}

/// What is counted of traces and of logs of payloads.
#[derive(Debug)]
pub(crate) struct Counted {
    models: Arc<Registry>,
    tracer: Option<Arc<Tracer>>,
}

impl Counted {
    pub(crate) const fn new(models: Arc<Registry>, tracer: Option<Arc<Tracer>>) -> Self {
        Self { models, tracer }
    }
}

impl Collector for Counted {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        if let Some(tracer) = &self.tracer {
            let help = "Spans of traced requests: taken by the collector, dropped because it was too slow, or failed to be delivered.";
            let mut spans =
                encoder.encode_descriptor("modelwright_trace_spans", help, None, MetricType::Counter)?;
            for (outcome, count) in tracer.outcomes() {
                spans
                    .encode_family(&[("outcome", outcome)])?
                    .encode_counter::<NoExample, _, f64>(&count, None)?;
            }
        }
        let models = self.models.snapshot();
        let logs: Vec<_> = models
            .iter()
            .filter_map(|(name, state)| match state {
                ModelState::Ready(ready) => Some((name.as_str(), &ready.payload_log()?.log)),
                _ => None,
            })
            .collect();
        if logs.is_empty() {
            return Ok(());
        }
        let help = "Events of the log of payloads: taken by the sink, dropped because it was too slow, or failed to be delivered.";
        let mut events =
            encoder.encode_descriptor("modelwright_payload_log_events", help, None, MetricType::Counter)?;
        for &(model, log) in &logs {
            for (outcome, count) in log.outcomes() {
                let labels = [("model", model), ("outcome", outcome)];
                events.encode_family(&labels)?.encode_counter::<NoExample, _, f64>(&count, None)?;
            }
        }
        let help = "Bytes of payloads that wait for the sink";
        let mut waiting = encoder.encode_descriptor(
            "modelwright_payload_log_waiting_bytes",
            help,
            None,
            MetricType::Gauge,
        )?;
        for (model, log) in logs {
            let bytes = i64::try_from(log.waiting()).unwrap_or(i64::MAX);
            waiting.encode_family(&[("model", model)])?.encode_gauge(&bytes)?;
        }
        Ok(())
    }
}
