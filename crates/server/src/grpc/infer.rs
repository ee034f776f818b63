//! Running a model for a call.

use std::borrow::Cow;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use modelwright_protocol::grpc::inference::{ModelInferResponse, ModelStreamInferResponse};
use modelwright_protocol::grpc::{InferResponse, read_infer_request, write_infer_response};
use modelwright_protocol::{Datatype, Tensor};
use prost::Message;
use tonic::{Status, Streaming};

use super::call::Count;
use super::codec::Received;
use super::status;
use crate::counters::ModelCounters;
use crate::data::Data;
use crate::infer::{Timed, allowed, run, select};
use crate::label::Label;
use crate::memory::Share;
use crate::phase::Step;
use crate::route::Target;
use crate::trace::{self, Parent};

/// Requests of one stream that are worked on at once, so that they can share a batch.
const AHEAD: usize = 16;
/// Memory that a byte of raw BYTES becomes at most: an empty element is four bytes in the message and 32 in memory.
const RAW_BYTES: usize = 8;

/// Runs a model for a request. `count` learns which. The memory that comes back is to be held until the answer is written.
pub(super) async fn infer(
    data: &Data,
    received: Received,
    deadline: Option<Instant>,
    count: &Count,
) -> Result<(ModelInferResponse, Share), Status> {
    let Received { mut message, length, mut memory } = received;
    let name = std::mem::take(&mut message.model_name);
    let name = count.model.get_or_init(|| name);
    count.received.store(length, Ordering::Relaxed);
    let version = Some(message.model_version.as_str()).filter(|version| !version.is_empty());
    let target = Target { model: Cow::Borrowed(name), version: version.map(Cow::Borrowed) };
    let ready = data.model(&target).map_err(status::of_refusal)?;
    let most = data.max_body_bytes(&ready);
    if length > most {
        let message = format!("the message is larger than {most} bytes; send a smaller batch");
        return Err(Status::out_of_range(message));
    }
    let signature = ready.model().signature();
    if signature.inputs.iter().any(|input| input.datatype == Datatype::Bytes) {
        memory
            .grow_to(memory.bytes().saturating_add(length.saturating_mul(RAW_BYTES)))
            .map_err(status::overloaded)?;
    }
    let request = {
        let _parsed = Timed::new(&ready, ModelCounters::parsed);
        read_infer_request(message, signature, &data.limits).map_err(|error| status::of_protocol(&error))?
    };
    // What was reserved by the look of the message is now known.
    memory.shrink_to(length.saturating_add(request.inputs.iter().map(tensor_bytes).sum()));
    // The client's deadline holds as far as the server's own bound allows.
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    let asked = [left, request.timeout].into_iter().flatten().min();
    let timeout = allowed(data.request_timeout(&ready), asked);
    let all = run(data, &ready, request.inputs, timeout, Some(&request.id)).await;
    let all = all.map_err(|none| status::of_no_outputs(&none))?;
    let _written = Timed::new(&ready, ModelCounters::wrote);
    let outputs = select(all, &request.outputs, &ready).map_err(|error| status::of_protocol(&error))?;
    let response = InferResponse {
        model_name: name.clone(),
        model_version: ready.version().to_owned(),
        id: request.id,
        outputs: outputs.into_iter().map(|output| output.tensor).collect(),
    };
    let message = write_infer_response(response, request.raw);
    count.sent.store(message.encoded_len(), Ordering::Relaxed);
    Ok((message, memory))
}

fn tensor_bytes(tensor: &Tensor) -> usize {
    tensor.len().saturating_mul(tensor.datatype().size().unwrap_or(size_of::<Bytes>()))
}

/// Answers the requests of a stream in their order. One that fails is answered with its error, and the stream goes on. When
/// the server ends, so does the stream, after the answers to what it has read.
pub(super) fn stream(
    data: Arc<Data>,
    requests: Streaming<Received>,
    deadline: Option<Instant>,
    parent: Option<Parent>,
) -> impl Stream<Item = Result<ModelStreamInferResponse, Status>> + Send + 'static {
    let steps = data.phase.steps();
    let requests = stream::unfold((requests, steps), |(mut requests, mut steps)| async move {
        let next = {
            let ending = pin!(steps.wait_for(|step| *step == Step::Ending));
            tokio::select! {
                biased;
                _ = ending => Some(Err(Status::unavailable("the server is shutting down; open the stream again"))),
                next = requests.next() => next,
            }
        };
        next.map(|next| (next, (requests, steps)))
    });
    requests
        .map(move |request| {
            let (data, parent) = (Arc::clone(&data), parent.clone());
            async move { Ok(answer(&data, request?, deadline, parent.as_ref()).await) }
        })
        .buffered(AHEAD)
}

/// The answer to one request of a stream, which has its error beside it and not as the stream's.
async fn answer(
    data: &Arc<Data>,
    received: Received,
    deadline: Option<Instant>,
    parent: Option<&Parent>,
) -> ModelStreamInferResponse {
    let _in_flight = data.phase.begin_message();
    let mut count = Count::new(Arc::clone(data), Label::GrpcStreamInfer, parent);
    let id = received.message.id.clone();
    let answered = trace::within(count.span.as_ref(), pin!(infer(data, received, deadline, &count))).await;
    match answered {
        Ok((message, _memory)) => {
            count.ended(tonic::Code::Ok);
            ModelStreamInferResponse { infer_response: Some(message), ..Default::default() }
        }
        Err(status) => {
            count.ended(status.code());
            let message = ModelInferResponse { id, ..Default::default() };
            ModelStreamInferResponse {
                error_message: status.message().to_owned(),
                infer_response: Some(message),
            }
        }
    }
}
