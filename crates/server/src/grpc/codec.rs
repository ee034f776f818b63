//! Messages with tensors: their memory is counted before they are decoded, and written without growing buffers.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Buf;
use modelwright_protocol::Limits;
use modelwright_protocol::grpc::decoded_bytes;
use modelwright_protocol::grpc::inference::ModelInferRequest;
use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use super::status;
use crate::memory::Share;

/// A request with the memory that it takes.
pub(super) struct Received {
    pub(super) message: ModelInferRequest,
    /// The bytes of the message.
    pub(super) length: usize,
    pub(super) memory: Share,
}

/// Reads requests and writes answers of a type.
pub(super) struct InferCodec<R> {
    buffered: Arc<Mutex<Share>>,
    limits: Limits,
    answers: PhantomData<fn(R)>,
}

impl<R> InferCodec<R> {
    /// `buffered` is what the messages hold that are on their way.
    pub(super) const fn new(buffered: Arc<Mutex<Share>>, limits: Limits) -> Self {
        Self { buffered, limits, answers: PhantomData }
    }
}

impl<R: Message + 'static> Codec for InferCodec<R> {
    type Encode = R;
    type Decode = Received;
    type Encoder = InferEncoder<R>;
    type Decoder = InferDecoder;

    fn encoder(&mut self) -> InferEncoder<R> {
        InferEncoder(PhantomData)
    }

    fn decoder(&mut self) -> InferDecoder {
        InferDecoder { buffered: Arc::clone(&self.buffered), limits: self.limits }
    }
}

pub(super) struct InferEncoder<R>(PhantomData<fn(R)>);

impl<R: Message> Encoder for InferEncoder<R> {
    type Item = R;
    type Error = Status;

    fn encode(&mut self, message: R, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(message.encoded_len());
        message.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

pub(super) struct InferDecoder {
    buffered: Arc<Mutex<Share>>,
    limits: Limits,
}

impl Decoder for InferDecoder {
    type Item = Received;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Received>, Status> {
        let length = buffer.remaining();
        // What is held for the buffer goes to the message: with two shares, no request would ever be alone. What stays in
        // the buffer is at most the rest of one frame, and is counted with the next message.
        let mut buffered = self.buffered.lock().unwrap_or_else(PoisonError::into_inner);
        let nothing = buffered.empty();
        let mut memory = std::mem::replace(&mut *buffered, nothing);
        drop(buffered);
        // The message, and its tensors beside it.
        let decoded =
            decoded_bytes(buffer.chunk(), &self.limits).map_err(|error| status::of_protocol(&error))?;
        let most = length.saturating_mul(2).saturating_add(decoded);
        memory.grow_to(most).map_err(status::overloaded)?;
        let message = ModelInferRequest::decode(buffer).map_err(|error| {
            Status::invalid_argument(format!("the message is no ModelInferRequest: {error}"))
        })?;
        Ok(Some(Received { message, length, memory }))
    }
}
