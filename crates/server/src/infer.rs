//! Running a model for a request.

use std::time::{Duration, Instant};

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, StatusCode};
use modelwright_protocol::v2::{self, EncodedResponse, InferResponse, OutputTensor, RequestedOutput};
use modelwright_protocol::{Datatype, Limits, Signature, Tensor, v1};

use crate::answer::{self, Refusal, Response};
use crate::body::{ReadBody, Upload};
use crate::counters::ModelCounters;
use crate::data::Data;
use crate::memory::{Share, keeping};
use crate::observe;
use crate::registry::ReadyModel;
use crate::ticks::within;

/// Bytes of tensors that a byte of text becomes at most, as far as the elements are numbers: `1,` is two bytes, and an
/// INT64 or FP64 is eight.
const NUMBERS: usize = 4;
/// The same for texts: `"",`, shorter than a `null`, is three bytes, and an element of BYTES takes 32 beside what it says,
/// in a list that may have grown half as large again.
const TEXTS: usize = 16;

/// The length of the JSON that binary tensors follow, in requests and answers. It decides, never the content type:
/// tritonclient sends none.
pub(crate) const JSON_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");
/// The content type of an answer with binary tensors.
const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// `POST /v2/models/{model}/infer`.
pub(crate) async fn v2_infer(
    data: &Data,
    name: &str,
    ready: ReadyModel,
    headers: &HeaderMap,
    body: &mut Upload,
) -> Result<Response, Refusal> {
    let json_length = json_length(headers)?;
    let body = data.bodies.read(headers, body, data.max_body_bytes(&ready)).await?;
    let read = move |body: &[u8], signature: &Signature, limits: &Limits| {
        v2::parse_infer_request(body, json_length, signature, limits)
    };
    let (request, memory) = parse(data, &ready, body, read).await?;
    let timeout = allowed(data.request_timeout(&ready), request.timeout);
    let all = run(data, &ready, request.inputs, timeout, request.id.as_deref()).await?;
    let outputs = select(all, &request.outputs, &ready)?;
    let (name, id) = (name.to_owned(), request.id);
    let written = data.workers.compute(elements(outputs.iter().map(|output| &output.tensor)), move || {
        let _written = Timed::new(&ready, ModelCounters::wrote);
        let version = ready.version();
        let response = InferResponse {
            model_name: &name,
            model_version: Some(version),
            id: id.as_deref(),
            outputs: &outputs,
        };
        v2::write_infer_response(&response)
    });
    let EncodedResponse { bytes, json_length } = written.await??;
    let bytes = keeping(bytes, memory);
    let Some(length) = json_length else { return Ok(answer::json_bytes(bytes)) };
    let mut response = answer::with_type(StatusCode::OK, BINARY, bytes);
    response.headers_mut().insert(JSON_LENGTH, HeaderValue::from(length));
    Ok(response)
}

/// What the request says of the length of its JSON, if anything.
fn json_length(headers: &HeaderMap) -> Result<Option<usize>, Refusal> {
    let Some(value) = headers.get(JSON_LENGTH) else { return Ok(None) };
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.and_then(|text| text.parse().ok()) {
        Some(length) => Ok(Some(length)),
        None => Err(Refusal::bad_request(
            "Inference-Header-Content-Length: not a number; send the length of the JSON part of the body in bytes",
        )),
    }
}

/// `POST /v1/models/{model}:predict` and `POST /predict`.
pub(crate) async fn v1_predict(
    data: &Data,
    ready: ReadyModel,
    headers: &HeaderMap,
    body: &mut Upload,
) -> Result<Response, Refusal> {
    let body = data.bodies.read(headers, body, data.max_body_bytes(&ready)).await?;
    let view = ready.view().cloned();
    let read = move |body: &[u8], signature: &Signature, limits: &Limits| {
        read_rows(view.as_deref(), body, signature, limits)
    };
    let (inputs, memory) = parse(data, &ready, body, read).await?;
    let outputs = run(data, &ready, inputs, data.request_timeout(&ready), None).await?;
    let text = data.workers.compute(elements(&outputs), move || {
        let _written = Timed::new(&ready, ModelCounters::wrote);
        match ready.view() {
            Some(view) => view.write_predictions(&outputs),
            None => v1::write_predictions(&outputs, &ready.model().signature().outputs),
        }
    });
    Ok(answer::json_bytes(keeping(text.await??, memory)))
}

/// Reads a body of V1: by the columns of the training data where they are known, else by the model's inputs.
pub(crate) fn read_rows(
    view: Option<&v1::View>,
    body: &[u8],
    signature: &Signature,
    limits: &Limits,
) -> Result<Vec<Tensor>, modelwright_protocol::Error> {
    match view {
        Some(view) => view.parse_predict_request(body, limits),
        None => v1::parse_predict_request(body, signature, limits),
    }
}

/// Parses a body and lets go of it. The memory that comes back is counted for the tensors, before they are made; it is to
/// be kept until the answer is written.
pub(crate) async fn parse<T: Send + 'static>(
    data: &Data,
    ready: &ReadyModel,
    body: ReadBody,
    parse: impl FnOnce(&[u8], &Signature, &Limits) -> Result<T, modelwright_protocol::Error> + Send + 'static,
) -> Result<(T, Share), Refusal> {
    let (ready, limits) = (ready.clone(), data.limits);
    let ReadBody { bytes, mut memory } = body;
    memory.grow_to(memory_for(bytes.len(), ready.model().signature()))?;
    let parsed = data.workers.compute(bytes.len(), move || {
        let _parsed = Timed::new(&ready, ModelCounters::parsed);
        // The memory goes with the work, which goes on even when nobody waits for it any more.
        parse(&bytes, ready.model().signature(), &limits).map(|parsed| (parsed, memory))
    });
    Ok(parsed.await??)
}

/// The most that a request of so many bytes of text takes with its tensors.
fn memory_for(text: usize, signature: &Signature) -> usize {
    let texts = signature.inputs.iter().any(|input| input.datatype == Datatype::Bytes);
    text.saturating_mul(1 + if texts { TEXTS } else { NUMBERS })
}

/// Why a request has no outputs.
#[derive(Debug)]
pub(crate) enum NoOutputs {
    /// The model refused it, or failed.
    Failed(modelwright_runtime::Error),
    /// They were not there within this time.
    Late(Duration),
}

impl NoOutputs {
    /// What a client that waited so long is told.
    pub(crate) fn late(timeout: Duration) -> String {
        format!("the model did not answer within {} s", timeout.as_secs_f32())
    }
}

impl From<modelwright_runtime::Error> for NoOutputs {
    fn from(error: modelwright_runtime::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<NoOutputs> for Refusal {
    fn from(none: NoOutputs) -> Self {
        match none {
            NoOutputs::Failed(error) => error.into(),
            NoOutputs::Late(timeout) => Self::new(StatusCode::GATEWAY_TIMEOUT, NoOutputs::late(timeout)),
        }
    }
}

/// Computes all outputs within a time, whatever the protocol of the request, and counts, traces and logs it.
pub(crate) async fn run(
    data: &Data,
    ready: &ReadyModel,
    inputs: Vec<Tensor>,
    timeout: Duration,
    id: Option<&str>,
) -> Result<Vec<Tensor>, NoOutputs> {
    let rows = rows(&inputs);
    let logged = observe::asked(ready, id, &inputs);
    let pending = ready.model().submit(inputs, Instant::now().checked_add(timeout))?;
    let outcome = within(timeout, pending).await.map_err(|_| NoOutputs::Late(timeout))??;
    ready.counters().ran(&outcome, rows);
    observe::ran(data, ready, logged.as_ref(), rows, &outcome);
    Ok(outcome.outputs)
}

/// How long a request may wait and run: as long as the server allows, or its client wants where that is less.
pub(crate) fn allowed(server: Duration, asked: Option<Duration>) -> Duration {
    asked.map_or(server, |asked| asked.min(server))
}

/// The rows of a request: the first dimension of its first input, as clients count them.
fn rows(inputs: &[Tensor]) -> u64 {
    let first = inputs.first().and_then(|input| input.shape().first());
    first.and_then(|&rows| u64::try_from(rows).ok()).unwrap_or(1)
}

/// Counts for a model how long it lives.
pub(crate) struct Timed<'a> {
    counters: &'a ModelCounters,
    count: fn(&ModelCounters, Duration),
    started: Instant,
}

impl<'a> Timed<'a> {
    pub(crate) fn new(ready: &'a ReadyModel, count: fn(&ModelCounters, Duration)) -> Self {
        Self { counters: ready.counters(), count, started: Instant::now() }
    }
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        (self.count)(self.counters, self.started.elapsed());
    }
}

/// The outputs that were asked for, in that order and form; each position stands there once.
pub(crate) fn select(
    all: Vec<Tensor>,
    requested: &[RequestedOutput],
    ready: &ReadyModel,
) -> Result<Vec<OutputTensor>, modelwright_protocol::Error> {
    let signature = ready.model().signature();
    let mut outputs = Vec::with_capacity(requested.len());
    for (output, tensor) in in_order(all, requested) {
        let tensor = match output.classification {
            None => tensor,
            Some(count) => {
                let metadata = signature.outputs.get(output.index);
                let batched =
                    metadata.is_some_and(|output| output.shape.first().is_some_and(|&size| size < 0));
                let labels = ready.view().map_or(&[][..], |view| view.labels(tensor.name()));
                v2::classify(&tensor, count, batched, labels)?
            }
        };
        outputs.push(OutputTensor { tensor, binary: output.binary });
    }
    Ok(outputs)
}

/// The tensors at the positions that were asked for.
fn in_order(
    all: Vec<Tensor>,
    requested: &[RequestedOutput],
) -> impl Iterator<Item = (&RequestedOutput, Tensor)> {
    let mut all: Vec<Option<Tensor>> = all.into_iter().map(Some).collect();
    requested.iter().filter_map(move |output| Some((output, all.get_mut(output.index)?.take()?)))
}

fn elements<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> usize {
    // A number takes about ten characters.
    tensors.into_iter().map(Tensor::len).sum::<usize>().saturating_mul(10)
}

#[cfg(test)]
mod tests {
    use modelwright_protocol::TensorData;

    use super::*;

    #[test]
    fn memory_is_reserved_by_what_the_inputs_are() {
        let input = |datatype| modelwright_protocol::TensorMetadata {
            name: "x".to_owned(),
            datatype,
            shape: vec![-1],
        };
        let signature = |inputs| Signature { inputs, outputs: vec![] };
        assert_eq!(memory_for(100, &signature(vec![input(Datatype::Fp64)])), 500);
        assert_eq!(memory_for(100, &signature(vec![input(Datatype::Fp64), input(Datatype::Bytes)])), 1700);
        assert_eq!(memory_for(usize::MAX, &signature(vec![])), usize::MAX);
    }

    #[test]
    fn a_request_may_ask_for_less_time_but_not_for_more() {
        let (second, minute) = (Duration::from_secs(1), Duration::from_mins(1));
        assert_eq!(allowed(minute, None), minute);
        assert_eq!(allowed(minute, Some(second)), second);
        assert_eq!(allowed(second, Some(minute)), second);
    }

    #[test]
    fn rows_are_the_first_dimension() {
        let tensor =
            |shape: Vec<i64>, count| Tensor::new("x", shape, TensorData::Int8(vec![0; count])).unwrap();
        assert_eq!(rows(&[tensor(vec![3, 2], 6), tensor(vec![1], 1)]), 3);
        assert_eq!((rows(&[tensor(vec![], 1)]), rows(&[])), (1, 1));
    }

    #[test]
    fn outputs_come_in_the_order_asked_for() {
        let tensor = |name: &str| Tensor::new(name, vec![], TensorData::Int8(vec![1])).unwrap();
        let requested = |index| RequestedOutput { index, binary: false, classification: None };
        let wanted = [requested(2), requested(0), requested(2), requested(9)];
        let selected: Vec<Tensor> = in_order(vec![tensor("a"), tensor("b"), tensor("c")], &wanted)
            .map(|(_, tensor)| tensor)
            .collect();
        assert_eq!(selected, [tensor("c"), tensor("a")]);
    }

    #[test]
    fn the_length_of_the_json_is_digits() {
        let read = |text: &'static str| {
            json_length(&HeaderMap::from_iter([(JSON_LENGTH, HeaderValue::from_static(text))]))
        };
        assert_eq!(json_length(&HeaderMap::new()), Ok(None));
        assert_eq!((read("12"), read("0")), (Ok(Some(12)), Ok(Some(0))));
        for text in ["", "abc", "-1", "+1", "1.5", "99999999999999999999"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
