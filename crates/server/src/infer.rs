//! Running a model for a request.

use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, StatusCode};
use modelwright_protocol::v2::{self, InferResponse};
use modelwright_protocol::{Datatype, Limits, Signature, Tensor, v1};
use modelwright_runtime::LoadedModel;

use crate::answer::{self, Refusal, Response};
use crate::body::{ReadBody, Upload};
use crate::data::Data;
use crate::memory::{Share, keeping};
use crate::registry::ReadyModel;

/// Bytes of tensors that a byte of text becomes at most, as far as the elements are numbers: `1,` is two bytes, and an
/// INT64 or FP64 is eight.
const NUMBERS: usize = 4;
/// The same for texts: `"",`, shorter than a `null`, is three bytes, and an element of BYTES takes 32 beside what it says,
/// in a list that may have grown half as large again.
const TEXTS: usize = 16;

/// Set by clients that send tensors behind the JSON.
const BINARY_HEADER: &str = "inference-header-content-length";

/// `POST /v2/models/{model}/infer`.
pub(crate) async fn v2_infer(
    data: &Data,
    name: &str,
    ready: ReadyModel,
    headers: &HeaderMap,
    body: &mut Upload,
) -> Result<Response, Refusal> {
    if headers.contains_key(BINARY_HEADER) {
        let message = "Inference-Header-Content-Length: binary tensors are not available in this version; send the elements as \
                       JSON in `data` (tritonclient: binary_data=False)";
        return Err(Refusal::bad_request(message));
    }
    let body = data.bodies.read(headers, body, data.max_body_bytes(&ready)).await?;
    let (request, memory) = parse(data, &ready, body, v2::parse_infer_request).await?;
    let all = run(data, name, ready.model(), request.inputs).await?;
    let outputs = select(all, &request.outputs);
    let (name, version, id) = (name.to_owned(), ready.version().to_owned(), request.id);
    let text = data.workers.compute(elements(&outputs), move || {
        let response = InferResponse {
            model_name: &name,
            model_version: Some(&version),
            id: id.as_deref(),
            outputs: &outputs,
        };
        v2::write_infer_response(&response)
    });
    Ok(answer::json_bytes(keeping(text.await??, memory)))
}

/// `POST /v1/models/{model}:predict` and `POST /predict`.
pub(crate) async fn v1_predict(
    data: &Data,
    name: &str,
    ready: ReadyModel,
    headers: &HeaderMap,
    body: &mut Upload,
) -> Result<Response, Refusal> {
    let body = data.bodies.read(headers, body, data.max_body_bytes(&ready)).await?;
    let view = ready.view().cloned();
    let read = move |body: &[u8], signature: &Signature, limits: &Limits| match view {
        Some(view) => view.parse_predict_request(body, limits),
        None => v1::parse_predict_request(body, signature, limits),
    };
    let (inputs, memory) = parse(data, &ready, body, read).await?;
    let outputs = run(data, name, ready.model(), inputs).await?;
    let text = data.workers.compute(elements(&outputs), move || match ready.view() {
        Some(view) => view.write_predictions(&outputs),
        None => v1::write_predictions(&outputs, &ready.model().signature().outputs),
    });
    Ok(answer::json_bytes(keeping(text.await??, memory)))
}

/// Parses a body and lets go of it. The memory that comes back is counted for the tensors, before they are made; it is to
/// be kept until the answer is written.
async fn parse<T: Send + 'static>(
    data: &Data,
    ready: &ReadyModel,
    body: ReadBody,
    parse: impl FnOnce(&[u8], &Signature, &Limits) -> Result<T, modelwright_protocol::Error> + Send + 'static,
) -> Result<(T, Share), Refusal> {
    let (signature, limits) = (Arc::clone(ready.model().signature()), data.limits);
    let ReadBody { bytes, mut memory } = body;
    memory.grow_to(memory_for(bytes.len(), &signature))?;
    let parsed = data.workers.compute(bytes.len(), move || {
        // The memory goes with the work, which goes on even when nobody waits for it any more.
        parse(&bytes, &signature, &limits).map(|parsed| (parsed, memory))
    });
    Ok(parsed.await??)
}

/// The most that a request of so many bytes of text takes with its tensors.
fn memory_for(text: usize, signature: &Signature) -> usize {
    let texts = signature.inputs.iter().any(|input| input.datatype == Datatype::Bytes);
    text.saturating_mul(1 + if texts { TEXTS } else { NUMBERS })
}

async fn run(
    data: &Data,
    name: &str,
    model: &LoadedModel,
    inputs: Vec<Tensor>,
) -> Result<Vec<Tensor>, Refusal> {
    let timeout = data.request_timeout;
    let pending = model.submit(inputs, Instant::now().checked_add(timeout))?;
    let outcome = tokio::time::timeout(timeout, pending).await.map_err(|_| {
        let message = format!("the model did not answer within {} s", timeout.as_secs_f32());
        Refusal::new(StatusCode::GATEWAY_TIMEOUT, message)
    })??;
    data.metrics.ran(name, &outcome);
    Ok(outcome.outputs)
}

/// The outputs at the given positions, in that order; each position stands there once.
fn select(all: Vec<Tensor>, positions: &[usize]) -> Vec<Tensor> {
    let mut all: Vec<Option<Tensor>> = all.into_iter().map(Some).collect();
    positions.iter().filter_map(|&position| all.get_mut(position).and_then(Option::take)).collect()
}

fn elements(tensors: &[Tensor]) -> usize {
    // A number takes about ten characters.
    tensors.iter().map(Tensor::len).sum::<usize>().saturating_mul(10)
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
    fn outputs_come_in_the_order_asked_for() {
        let tensor = |name: &str| Tensor::new(name, vec![], TensorData::Int8(vec![1])).unwrap();
        let selected = select(vec![tensor("a"), tensor("b"), tensor("c")], &[2, 0]);
        assert_eq!(selected, [tensor("c"), tensor("a")]);
    }
}
