//! Running a model for a request.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use hyper::body::Incoming;
use modelwright_protocol::v2::{self, InferResponse};
use modelwright_protocol::{Limits, Signature, Tensor, v1};
use modelwright_runtime::LoadedModel;

use crate::answer::{self, Refusal, Response};
use crate::body::ReadBody;
use crate::data::Data;
use crate::registry::ReadyModel;

/// Text longer than this is parsed and written on a thread for blocking work, so that it does not hold up the others.
const BLOCKING_ABOVE: usize = 256 << 10;

/// Set by clients that send tensors behind the JSON.
const BINARY_HEADER: &str = "inference-header-content-length";

/// `POST /v2/models/{model}/infer`.
pub(crate) async fn v2_infer(
    data: &Data,
    name: &str,
    ready: ReadyModel,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Response, Refusal> {
    if headers.contains_key(BINARY_HEADER) {
        let message = "Inference-Header-Content-Length: binary tensors are not available in this version; send the elements as \
                       JSON in `data` (tritonclient: binary_data=False)";
        return Err(Refusal::bad_request(message).and_close());
    }
    let body = data.bodies.read(headers, body, data.max_body_bytes(&ready)).await?;
    let request = parse(data, &ready, body, v2::parse_infer_request).await?;
    let all = run(data, name, ready.model(), request.inputs).await?;
    let outputs = select(all, &request.outputs);
    let (name, version, id) = (name.to_owned(), ready.version().to_owned(), request.id);
    let text = compute(elements(&outputs), move || {
        let response = InferResponse {
            model_name: &name,
            model_version: Some(&version),
            id: id.as_deref(),
            outputs: &outputs,
        };
        v2::write_infer_response(&response)
    });
    Ok(answer::json_bytes(text.await??))
}

/// `POST /v1/models/{model}:predict` and `POST /predict`.
pub(crate) async fn v1_predict(
    data: &Data,
    name: &str,
    ready: ReadyModel,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Response, Refusal> {
    let body = data.bodies.read(headers, body, data.max_body_bytes(&ready)).await?;
    let inputs = parse(data, &ready, body, v1::parse_predict_request).await?;
    let outputs = run(data, name, ready.model(), inputs).await?;
    let signature = Arc::clone(ready.model().signature());
    let text = compute(elements(&outputs), move || v1::write_predictions(&outputs, &signature.outputs));
    Ok(answer::json_bytes(text.await??))
}

/// Parses a body and lets go of it.
async fn parse<T: Send + 'static>(
    data: &Data,
    ready: &ReadyModel,
    body: ReadBody,
    parse: impl FnOnce(&[u8], &Signature, &Limits) -> Result<T, modelwright_protocol::Error> + Send + 'static,
) -> Result<T, Refusal> {
    let (signature, limits) = (Arc::clone(ready.model().signature()), data.limits);
    let parsed = compute(body.bytes.len(), move || {
        let bytes: &Bytes = &body.bytes;
        parse(bytes, &signature, &limits)
    });
    Ok(parsed.await??)
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

/// Does work on text of so many bytes where it disturbs the least. A panic becomes a 500.
async fn compute<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    if bytes < BLOCKING_ABOVE {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, crate::data::PANICKED))
}

#[cfg(test)]
mod tests {
    use modelwright_protocol::TensorData;

    use super::*;

    #[tokio::test]
    async fn a_panic_on_a_blocking_thread_is_a_500() {
        let refusal = compute(BLOCKING_ABOVE, || panic!("a bug")).await.map(|never: ()| never).unwrap_err();
        assert_eq!(refusal.into_response().status(), StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[test]
    fn outputs_come_in_the_order_asked_for() {
        let tensor = |name: &str| Tensor::new(name, vec![], TensorData::Int8(vec![1])).unwrap();
        let selected = select(vec![tensor("a"), tensor("b"), tensor("c")], &[2, 0]);
        assert_eq!(selected, [tensor("c"), tensor("a")]);
    }
}
