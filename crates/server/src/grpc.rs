//! gRPC on the data port: the Open Inference Protocol, Triton's superset, health and reflection.
//!
//! A request is gRPC if its content type says so. Everything happens on the thread of its connection: no call is handed to
//! another thread, and a message is decoded once, with its raw tensors left where they are until they are copied into the
//! typed buffers of the runtime. What a message takes is counted with all other requests' memory as it arrives, before it
//! is decoded, and until the answer is written.
//!
//! * `call`: from a path to its handler, and what is counted of it.
//! * `codec`, `inbound`: messages within bounds of size, memory and time.
//! * `infer`, `inform`, `health`, `reflection`: the services.
//! * `status`, `timeout`: codes and `grpc-timeout`. Pure.

mod call;
mod codec;
mod health;
mod inbound;
mod infer;
mod inform;
mod reflection;
mod status;
mod timeout;

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use futures::FutureExt;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Request, StatusCode, Version};
use hyper::body::Incoming;
use tonic::Status;

use crate::answer::{Body, Outgoing, Refusal};
use crate::data::{Data, PANICKED};
use crate::label::Label;
use crate::memory::keeping;
use crate::trace;
use call::{Call, Count};

/// What the content type of every call begins with.
const GRPC: &[u8] = b"application/grpc";

/// Whether a request wants to be a call of gRPC.
pub(crate) fn is_call(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(GRPC))
}

/// Answers a call, whatever happens.
pub(crate) async fn answer(data: &Arc<Data>, request: Request<Incoming>) -> Outgoing {
    let in_flight = data.phase.begin_request();
    let rpc = call::Rpc::parse(request.uri().path());
    let parent = data.tracer.as_ref().map(|tracer| tracer.parent(request.headers()));
    let label = rpc.map_or(Label::None, call::Rpc::label);
    let mut count = Count::new(Arc::clone(data), label, parent.as_ref());
    if let Err(refusal) = check(&request) {
        count.status = Some(refusal.status());
        return refusal.into_response().map(|body| Body::from(keeping(body, in_flight)));
    }
    let admitted = data.admit(request.uri().path(), request.headers()).await;
    let (call, admitted, denied) = match admitted {
        Ok(admitted) => (Call::new(data, request.headers(), parent), Some(admitted), None),
        Err(denial) => (Err(status::of_denial(&denial)), None, Some(Refusal::from(denial).status())),
    };
    let answer = async {
        match call {
            Ok(ref call) => call.dispatch(rpc, &count, request).await,
            Err(ref status) => status.clone().into_http(),
        }
    };
    let answered = {
        let answer = pin!(answer);
        AssertUnwindSafe(trace::within(count.span.as_ref(), answer)).catch_unwind().await
    };
    let response = answered.unwrap_or_else(|_| Status::internal(PANICKED).into_http());
    // Of a stream this says how it began; its messages are counted one by one.
    let code = Status::from_header_map(response.headers()).map_or(tonic::Code::Ok, |status| status.code());
    count.ended(code);
    // A client's limit and the server's have the same code, and not the same status.
    count.status = denied.or(count.status);
    let in_flight = if rpc.is_some_and(call::Rpc::stays_open) { in_flight.into_stream() } else { in_flight };
    let memory = call.ok().and_then(Call::into_memory);
    response.map(|messages| Body::Grpc { messages, _kept: Box::new((in_flight, memory, admitted)) })
}

/// Refuses in HTTP what no client of gRPC sends.
fn check(request: &Request<Incoming>) -> Result<(), Refusal> {
    if request.version() != Version::HTTP_2 {
        let message = "gRPC needs HTTP/2; connect with prior knowledge (h2c), and check that no proxy turns it into HTTP/1.1";
        return Err(Refusal::bad_request(message));
    }
    if request.method() != Method::POST {
        return Err(Refusal::method("POST"));
    }
    let kind = request.headers().get(CONTENT_TYPE).map_or(&[][..], |value| &value.as_bytes()[GRPC.len()..]);
    if !kind.is_empty() && !kind.starts_with(b"+proto") && !kind.starts_with(b";") {
        let message =
            "of gRPC there is only the content type application/grpc[+proto] here, and not gRPC-Web or JSON";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    Ok(())
}
